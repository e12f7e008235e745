//! Security event tokens (RFC 8417), as the Shared Signals Framework profiles them (SSF §4).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// `typ` of a security event token (RFC 8417 §2.3): no other kind of JWT has it.
pub const SECURITY_EVENT_TYP: &str = "secevent+jwt";

/// The claims of a security event token with one event. There is never an `exp` or a `sub`: that is how other kinds of JWT
/// are told from it (SSF §4.1.3).
#[derive(Debug, Clone, Copy)]
pub struct SecurityEventClaims<'a> {
    /// The stream's `iss`, with the trailing slash.
    pub iss: &'a str,
    /// The stream's `aud`.
    pub aud: &'a str,
    /// When the event was put on the stream, Unix seconds: the same in each try.
    pub iat: i64,
    /// The same in each try: receivers tell by it what they have had.
    pub jti: &'a str,
    /// What lies behind the event: events of one cause have the same.
    pub txn: Option<&'a str>,
    /// Whom the event is about (RFC 9493, SSF §3).
    pub sub_id: &'a Map<String, Value>,
    /// The event's type, a URI.
    pub event_type: &'a str,
    /// The event.
    pub event: &'a Map<String, Value>,
}

impl Serialize for SecurityEventClaims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", self.iss)?;
        map.serialize_entry("aud", self.aud)?;
        map.serialize_entry("iat", &self.iat)?;
        map.serialize_entry("jti", self.jti)?;
        if let Some(txn) = self.txn {
            map.serialize_entry("txn", txn)?;
        }
        map.serialize_entry("sub_id", self.sub_id)?;
        map.serialize_entry("events", &json!({ self.event_type: self.event }))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    /// SSF §5, the example of a session that was revoked, with this server's values.
    #[test]
    fn the_claims_are_those_of_the_profile() {
        const TYPE: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
        let sub_id = object(json!({"format": "iss_sub", "iss": "https://id.example/", "sub": "auth0|1"}));
        let event = object(json!({"event_timestamp": 990}));
        let claims = SecurityEventClaims {
            iss: "https://id.example/",
            aud: "receiver",
            iat: 1_000,
            jti: "one",
            txn: Some("cause"),
            sub_id: &sub_id,
            event_type: TYPE,
            event: &event,
        };
        assert_eq!(
            serde_json::to_value(claims).unwrap(),
            json!({
                "iss": "https://id.example/", "aud": "receiver", "iat": 1_000, "jti": "one", "txn": "cause",
                "sub_id": {"format": "iss_sub", "iss": "https://id.example/", "sub": "auth0|1"},
                "events": {TYPE: {"event_timestamp": 990}},
            })
        );
        let without = serde_json::to_value(SecurityEventClaims { txn: None, ..claims }).unwrap();
        for absent in ["txn", "exp", "sub", "nonce"] {
            assert_eq!(without.get(absent), None, "{absent}");
        }
    }
}
