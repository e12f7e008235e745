//! Parameters from queries, forms and JSON bodies. A name that comes twice is refused (RFC 6749 §3.1 and §3.2).

use std::collections::HashMap;

use axum::extract::rejection::BytesRejection;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use curfew_core::clients::ClientCredentials;
use curfew_core::grants::Parameters;
use curfew_model::Secret;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::server::is_too_slow;

/// Why a body of an endpoint that speaks JSON is not taken; may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    /// 400, or what HTTP has for a body that is too large or too slow.
    pub(super) status: StatusCode,
    pub(super) text: String,
}

/// Why a body or query cannot be read; may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadForm(pub(super) String);

/// Reads a query or a form body.
pub(crate) fn urlencoded(text: &str) -> Result<HashMap<String, String>, BadForm> {
    let mut values = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        if value.contains('\0') {
            return Err(BadForm("A parameter holds a character that is not allowed".to_owned()));
        }
        let name = name.into_owned();
        if values.insert(name.clone(), value.into_owned()).is_some() {
            let shown: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
            return Err(BadForm(format!("Parameter sent twice: {shown}")));
        }
    }
    Ok(values)
}

/// Reads a JSON object; `null` is as good as absent, numbers and flags are read as their text.
fn json(body: &[u8]) -> Result<HashMap<String, String>, BadForm> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| BadForm("The body is no JSON object".to_owned()))?;
    let serde_json::Value::Object(members) = value else {
        return Err(BadForm("The body is no JSON object".to_owned()));
    };
    let mut values = HashMap::new();
    for (name, value) in members {
        let text = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        if text.contains('\0') {
            return Err(BadForm("A parameter holds a character that is not allowed".to_owned()));
        }
        values.insert(name, text);
    }
    Ok(values)
}

/// Whether the body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads a body of either kind.
pub(crate) fn body(headers: &HeaderMap, body: &[u8]) -> Result<HashMap<String, String>, BadForm> {
    if is_json(headers) {
        return json(body);
    }
    let text = std::str::from_utf8(body).map_err(|_| BadForm("The body is not UTF-8".to_owned()))?;
    urlencoded(text)
}

/// Reads a body of either kind as it came from the connection: it may be too large, too slow, or broken off.
pub(crate) fn read(
    headers: &HeaderMap,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<HashMap<String, String>, Unread> {
    let bytes = bytes.map_err(|error| unread(&error))?;
    body(headers, &bytes).map_err(|BadForm(text)| Unread { status: StatusCode::BAD_REQUEST, text })
}

/// Why a body did not arrive whole.
pub(crate) fn unread(error: &BytesRejection) -> Unread {
    let (status, text) = if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large")
    } else if is_too_slow(error) {
        (StatusCode::REQUEST_TIMEOUT, "The body took too long to arrive")
    } else {
        (StatusCode::BAD_REQUEST, "The body is incomplete")
    };
    Unread { status, text: text.to_owned() }
}

/// The client's authentication from body and `Authorization` header (RFC 6749 §2.3.1).
pub(crate) fn client_credentials(headers: &HeaderMap, values: &HashMap<String, String>) -> ClientCredentials {
    let own = |name: &str| values.get(name).filter(|value| !value.is_empty()).cloned();
    let mut credentials = ClientCredentials {
        client_id: own("client_id"),
        client_secret: own("client_secret").map(Secret::new),
        assertion: own("client_assertion"),
        assertion_type: own("client_assertion_type"),
        ambiguous: false,
    };
    if let Some((id, secret)) = basic(headers) {
        let other_client = credentials.client_id.as_ref().is_some_and(|own| *own != id);
        let other_method = credentials.client_secret.is_some() || credentials.assertion.is_some();
        credentials.ambiguous = other_client || other_method;
        credentials.client_id = Some(id);
        credentials.client_secret = Some(Secret::new(secret));
    }
    credentials.ambiguous |= credentials.client_secret.is_some() && credentials.assertion.is_some();
    credentials
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((percent_decode(id), percent_decode(secret)))
}

/// RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
fn percent_decode(text: &str) -> String {
    let pair = format!("x={text}");
    let mut parsed = url::form_urlencoded::parse(pair.as_bytes());
    parsed.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The bearer token of a request's header (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// As the rules want them.
pub(crate) fn parameters(values: HashMap<String, String>) -> Parameters {
    Parameters::new(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_sent_twice_is_refused() {
        assert!(urlencoded("a=1&b=2").is_ok());
        assert_eq!(urlencoded("a=1&a=2"), Err(BadForm("Parameter sent twice: a".to_owned())));
    }

    #[test]
    fn json_null_counts_as_absent() {
        let values = json(br#"{"a":null,"b":"x","c":3}"#).unwrap();
        assert_eq!(values.len(), 2);
        assert_eq!(values["c"], "3");
        assert!(json(b"[1]").is_err());
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Basic {}", STANDARD.encode("a%2Bb:c+d")).parse().unwrap());
        assert_eq!(basic(&headers), Some(("a+b".to_owned(), "c d".to_owned())));
        let credentials =
            client_credentials(&headers, &HashMap::from([("client_id".into(), "other".into())]));
        assert!(credentials.ambiguous);
    }
}
