//! Logout tokens (OIDC Back-Channel Logout §2.4).

use curfew_model::Sid;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::Text;

/// What makes a token a logout token (OIDC Back-Channel Logout §2.4).
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long a logout token is good for, in seconds. Each try has a token of its own.
const LIFETIME_SECONDS: i64 = 120;

/// The claims of a logout token. There is never a `nonce`: that is how an ID token is told from it.
///
/// It names a session (`sid`), or a person alone, which ends every session of theirs at the application.
#[derive(Debug, Clone, Copy)]
pub struct LogoutTokenClaims<'a> {
    /// The issuer under which the session began, with the trailing slash.
    pub iss: &'a str,
    /// `user_id`; `None` when only the session is known.
    pub sub: Option<&'a str>,
    /// The client's id.
    pub aud: &'a str,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// A new one for each try: receivers may refuse one that they have seen.
    pub jti: &'a str,
    /// The session; `None` for all of the person's.
    pub sid: Option<Sid>,
    /// Which ending this tells of, the same in each try.
    pub trace_id: &'a str,
    /// `session_metadata`, when the client asks for it.
    pub session_metadata: Option<&'a Map<String, Value>>,
}

impl Serialize for LogoutTokenClaims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", self.iss)?;
        if let Some(sub) = self.sub {
            map.serialize_entry("sub", sub)?;
        }
        map.serialize_entry("aud", self.aud)?;
        map.serialize_entry("iat", &self.iat)?;
        map.serialize_entry("exp", &(self.iat + LIFETIME_SECONDS))?;
        map.serialize_entry("jti", self.jti)?;
        if let Some(sid) = self.sid {
            map.serialize_entry("sid", &Text(sid))?;
        }
        map.serialize_entry("events", &json!({ LOGOUT_EVENT: {} }))?;
        map.serialize_entry("trace_id", self.trace_id)?;
        if let Some(metadata) = self.session_metadata {
            map.serialize_entry("session_metadata", metadata)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use curfew_model::{SessionKey, UserKey};

    use super::*;

    #[test]
    fn the_claims_are_those_of_the_reference() {
        let sid = Sid { user: UserKey([1; 12]), session: SessionKey([2; 12]) };
        let whole = LogoutTokenClaims {
            iss: "https://id.example/",
            sub: Some("auth0|1"),
            aud: "client",
            iat: 1_000,
            jti: "one",
            sid: Some(sid),
            trace_id: "trace",
            session_metadata: None,
        };
        let written = serde_json::to_value(whole).unwrap();
        assert_eq!(
            written,
            json!({
                "iss": "https://id.example/", "sub": "auth0|1", "aud": "client", "iat": 1_000, "exp": 1_120,
                "jti": "one", "sid": sid.to_string(), "trace_id": "trace",
                "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            })
        );
        let mut metadata = Map::new();
        metadata.insert("device".into(), json!("tv"));
        let of_person = LogoutTokenClaims { sid: None, session_metadata: Some(&metadata), ..whole };
        let written = serde_json::to_value(of_person).unwrap();
        assert_eq!(written.get("sid"), None);
        assert_eq!(written["session_metadata"], json!({"device": "tv"}));
    }
}
