//! Why a request does not pass, and how that is said.

use std::fmt;

use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

/// Why a request does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It has no token.
    NoToken,
    /// Its token is not valid, has expired or has ended.
    InvalidToken(Reason),
    /// Its token lives, but lacks one of these scopes.
    InsufficientScope(Vec<String>),
    /// Nobody can say now whether its token lives.
    Unavailable,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is no JWT, or no access token.
    Malformed,
    /// It is signed with an algorithm that is not taken.
    Algorithm,
    /// No key of the issuer made its signature.
    Signature,
    /// Its `typ` is another one.
    Type,
    /// It is another issuer's.
    Issuer,
    /// It is for another API.
    Audience,
    /// Its time is over.
    Expired,
    /// It was issued in the future.
    NotYetValid,
    /// Its access has ended.
    Ended,
    /// Its access may have ended, and this guard does not ask.
    MayHaveEnded,
}

impl Reason {
    /// For `error_description`: says no more than the token's bearer may know.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Malformed => "The access token is malformed",
            Self::Algorithm | Self::Signature => "The access token's signature is not valid",
            Self::Type => "The token is no access token",
            Self::Issuer => "The access token is another issuer's",
            Self::Audience => "The access token is for another audience",
            Self::Expired => "The access token has expired",
            Self::NotYetValid => "The access token is not valid yet",
            Self::Ended | Self::MayHaveEnded => "The access token has ended",
        }
    }
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `WWW-Authenticate` of the answer (RFC 6750 §3).
    pub fn challenge(&self) -> Option<String> {
        match self {
            Self::NoToken => Some("Bearer".to_owned()),
            Self::InvalidToken(reason) => {
                let description = reason.description();
                Some(format!(r#"Bearer error="invalid_token", error_description="{description}""#))
            }
            Self::InsufficientScope(_) => {
                Some(format!(r#"Bearer error="insufficient_scope", scope="{}""#, self.scope()))
            }
            Self::Unavailable => None,
        }
    }

    /// `Retry-After` of the answer, in seconds.
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Unavailable => Some(1),
            Self::NoToken | Self::InvalidToken(_) | Self::InsufficientScope(_) => None,
        }
    }

    /// The scopes that are needed, with spaces between them, and without what cannot stand in a scope (RFC 6749 §3.3).
    fn scope(&self) -> String {
        let Self::InsufficientScope(scopes) = self else { return String::new() };
        let allowed = |sign: &char| sign.is_ascii_graphic() && !matches!(sign, '"' | '\\');
        let scopes = scopes.iter().map(|scope| scope.chars().filter(allowed).collect::<String>());
        scopes.collect::<Vec<_>>().join(" ")
    }

    /// `error` and `error_description` of the body; there is no body where there was no token.
    fn error(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::NoToken => None,
            Self::InvalidToken(reason) => Some(("invalid_token", reason.description())),
            Self::InsufficientScope(_) => Some(("insufficient_scope", "The access token lacks a scope")),
            Self::Unavailable => {
                Some(("temporarily_unavailable", "It cannot be told now whether the access token lives"))
            }
        }
    }

    /// The whole answer.
    pub fn response<B: From<String>>(&self) -> Response<B> {
        let error = self.error();
        let body = error.map(|(error, description)| {
            serde_json::json!({ "error": error, "error_description": description }).to_string()
        });
        let mut response = Response::new(B::from(body.unwrap_or_default()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        // A challenge holds nothing but ASCII that may stand in a header.
        if let Some(challenge) = self.challenge().and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if error.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoToken => "there is no access token",
            _ => self.error().map_or("", |(_, description)| description),
        })
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_as_the_protocol_has_them() {
        let scopes = vec!["read:orders".to_owned(), "a\"\\\r\nb".to_owned()];
        for (refusal, status, challenge, retry_after, body) in [
            (Refusal::NoToken, 401, Some("Bearer"), None, ""),
            (
                Refusal::InvalidToken(Reason::Ended),
                401,
                Some(r#"Bearer error="invalid_token", error_description="The access token has ended""#),
                None,
                r#"{"error":"invalid_token","error_description":"The access token has ended"}"#,
            ),
            (
                Refusal::InsufficientScope(scopes),
                403,
                Some(r#"Bearer error="insufficient_scope", scope="read:orders ab""#),
                None,
                r#"{"error":"insufficient_scope","error_description":"The access token lacks a scope"}"#,
            ),
            (
                Refusal::Unavailable,
                503,
                None,
                Some("1"),
                r#"{"error":"temporarily_unavailable","error_description":"It cannot be told now whether the access token lives"}"#,
            ),
        ] {
            let response: Response<String> = refusal.response();
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(header(WWW_AUTHENTICATE), challenge);
            assert_eq!(header(RETRY_AFTER), retry_after);
            assert_eq!(header(CONTENT_TYPE), (!body.is_empty()).then_some("application/json"));
            assert_eq!(response.body(), body);
            assert!(!refusal.to_string().is_empty());
        }
    }
}
