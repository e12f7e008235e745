//! ID tokens, and the answer of `/userinfo`, which has the same claims about the End-User.

use curfew_model::{Sid, Timestamp};
use serde::de::IgnoredAny;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::{ClaimsError, CustomClaims, Organization, Text, audiences, is_reserved, parse_sid};

/// The End-User's claims by scope (OIDC Core §5.4), in ID tokens and in the answer of `/userinfo`. What the scope
/// does not cover is left `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProfileClaims<'a> {
    /// Scope `profile`.
    pub name: Option<&'a str>,
    /// Scope `profile`.
    pub nickname: Option<&'a str>,
    /// Scope `profile`.
    pub picture: Option<&'a str>,
    /// Scope `profile`.
    pub given_name: Option<&'a str>,
    /// Scope `profile`.
    pub family_name: Option<&'a str>,
    /// Scope `profile`. Written as an ISO 8601 string, as Auth0 does, where OIDC Core §5.1 has a number.
    pub updated_at: Option<Timestamp>,
    /// Scope `email`.
    pub email: Option<&'a str>,
    /// Scope `email`.
    pub email_verified: Option<bool>,
    /// Scope `phone`.
    pub phone_number: Option<&'a str>,
    /// Scope `phone`.
    pub phone_number_verified: Option<bool>,
}

impl ProfileClaims<'_> {
    fn serialize_into<M: SerializeMap>(
        &self,
        map: &mut M,
        custom: Option<&CustomClaims>,
    ) -> Result<(), M::Error> {
        // A custom claim stands instead of the profile's own.
        let own = |name: &str| custom.is_none_or(|custom| !custom.contains_key(name));
        let texts = [
            ("given_name", self.given_name),
            ("family_name", self.family_name),
            ("nickname", self.nickname),
            ("name", self.name),
            ("picture", self.picture),
            ("email", self.email),
            ("phone_number", self.phone_number),
        ];
        for (name, value) in texts {
            if let Some(value) = value.filter(|_| own(name)) {
                map.serialize_entry(name, value)?;
            }
        }
        let flags =
            [("email_verified", self.email_verified), ("phone_number_verified", self.phone_number_verified)];
        for (name, value) in flags {
            if let Some(value) = value.filter(|_| own(name)) {
                map.serialize_entry(name, &value)?;
            }
        }
        if let Some(updated_at) = self.updated_at.filter(|_| own("updated_at")) {
            map.serialize_entry("updated_at", &Text(updated_at))?;
        }
        if let Some(custom) = custom {
            for (name, value) in custom.iter().filter(|(name, _)| !is_reserved(name)) {
                map.serialize_entry(name, value)?;
            }
        }
        Ok(())
    }
}

/// The claims of an ID token, as they are written.
#[derive(Debug, Clone, Default)]
pub struct IdTokenClaims<'a> {
    /// The issuer, with the trailing slash.
    pub iss: &'a str,
    /// `user_id`.
    pub sub: &'a str,
    /// The client's id.
    pub aud: &'a str,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds.
    pub exp: i64,
    /// The session, when there is one.
    pub sid: Option<Sid>,
    /// As it came with the authorization request; never on a refresh.
    pub nonce: Option<&'a str>,
    /// When the End-User authenticated, Unix seconds; written when `max_age` or `prompt=login` was asked.
    pub auth_time: Option<i64>,
    /// The authentication context.
    pub acr: Option<&'a str>,
    /// The authentication methods; nothing is written when there are none.
    pub amr: &'a [&'a str],
    /// [`half_hash`](super::half_hash) of the access token of the same response.
    pub at_hash: Option<&'a str>,
    /// [`half_hash`](super::half_hash) of the code of the same response.
    pub c_hash: Option<&'a str>,
    /// [`half_hash`](super::half_hash) of the request's `state`.
    pub s_hash: Option<&'a str>,
    /// `org_id` and `org_name`.
    pub org: Option<Organization<'a>>,
    /// Upper bound of the session at the client, Unix seconds, when the tenant sets one.
    pub session_expiry: Option<i64>,
    /// What the scopes cover.
    pub profile: ProfileClaims<'a>,
    /// From Actions: may stand instead of profile claims; reserved names are dropped.
    pub custom: Option<&'a CustomClaims>,
}

impl Serialize for IdTokenClaims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.profile.serialize_into(&mut map, self.custom)?;
        map.serialize_entry("iss", self.iss)?;
        map.serialize_entry("aud", self.aud)?;
        map.serialize_entry("sub", self.sub)?;
        map.serialize_entry("iat", &self.iat)?;
        map.serialize_entry("exp", &self.exp)?;
        if let Some(sid) = self.sid {
            map.serialize_entry("sid", &Text(sid))?;
        }
        if !self.amr.is_empty() {
            map.serialize_entry("amr", self.amr)?;
        }
        if let Some(org) = self.org {
            map.serialize_entry("org_id", org.id)?;
            if let Some(name) = org.name {
                map.serialize_entry("org_name", name)?;
            }
        }
        let texts = [
            ("acr", self.acr),
            ("at_hash", self.at_hash),
            ("c_hash", self.c_hash),
            ("s_hash", self.s_hash),
            ("nonce", self.nonce),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in [("auth_time", self.auth_time), ("session_expiry", self.session_expiry)] {
            if let Some(value) = value {
                map.serialize_entry(name, &value)?;
            }
        }
        map.end()
    }
}

/// The answer of `/userinfo` (OIDC Core §5.3.2): `sub`, what the scopes cover, custom claims of the ID token.
#[derive(Debug, Clone, Copy)]
pub struct UserinfoClaims<'a> {
    /// `user_id`.
    pub sub: &'a str,
    /// What the scopes cover.
    pub profile: ProfileClaims<'a>,
    /// Custom claims of the ID token.
    pub custom: Option<&'a CustomClaims>,
}

impl Serialize for UserinfoClaims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sub", self.sub)?;
        self.profile.serialize_into(&mut map, self.custom)?;
        map.end()
    }
}

/// An ID token that comes back as `id_token_hint`. Its signature is checked before; `exp` does not matter
/// (OIDC RP-Initiated Logout §4), `iss` and `aud` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdTokenHint {
    /// The issuer.
    pub iss: String,
    /// The subject.
    pub sub: String,
    /// The client it was issued to.
    pub aud: Vec<String>,
    /// The session.
    pub sid: Option<Sid>,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expired or expires at, Unix seconds.
    pub exp: i64,
}

#[derive(Deserialize)]
struct ReadIdToken {
    iss: String,
    sub: String,
    #[serde(deserialize_with = "audiences")]
    aud: Vec<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    cfw: Option<IgnoredAny>,
    iat: i64,
    exp: i64,
}

impl IdTokenHint {
    /// Reads a payload. An access token, which has `cfw`, is refused.
    pub fn from_payload(payload: &[u8]) -> Result<Self, ClaimsError> {
        let read: ReadIdToken = serde_json::from_slice(payload).map_err(|_| ClaimsError::Malformed)?;
        if read.cfw.is_some() {
            return Err(ClaimsError::Kind);
        }
        Ok(Self {
            iss: read.iss,
            sub: read.sub,
            aud: read.aud,
            sid: parse_sid(read.sid)?,
            iat: read.iat,
            exp: read.exp,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::access_token::tests::{custom, sid};
    use super::*;

    fn profile() -> ProfileClaims<'static> {
        ProfileClaims {
            name: Some("A B"),
            nickname: Some("a"),
            picture: Some("https://example.com/a.png"),
            updated_at: Some(Timestamp::from_seconds(1_767_261_600)),
            email: Some("a@example.com"),
            email_verified: Some(false),
            ..ProfileClaims::default()
        }
    }

    #[test]
    fn an_id_token_as_auth0_writes_it() {
        let custom = custom(json!({ "nickname": "from an Action", "sub": "x", "https://example.com/a": 1 }));
        let claims = IdTokenClaims {
            iss: "https://curfew.example/",
            sub: "auth0|a",
            aud: "client",
            iat: 1_767_261_600,
            exp: 1_767_297_600,
            sid: Some(sid()),
            nonce: Some("n-0S6_WzA2Mj"),
            auth_time: Some(1_767_261_500),
            profile: profile(),
            custom: Some(&custom),
            ..IdTokenClaims::default()
        };
        let text = serde_json::to_string(&claims).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            json!({
                "iss": "https://curfew.example/",
                "sub": "auth0|a",
                "aud": "client",
                "iat": 1_767_261_600,
                "exp": 1_767_297_600,
                "sid": "AQEBAQEBAQEBAQEBAgICAgICAgICAgIC",
                "nonce": "n-0S6_WzA2Mj",
                "auth_time": 1_767_261_500,
                "name": "A B",
                "nickname": "from an Action",
                "picture": "https://example.com/a.png",
                "updated_at": "2026-01-01T10:00:00.000Z",
                "email": "a@example.com",
                "email_verified": false,
                "https://example.com/a": 1,
            })
        );
        assert_eq!(text.matches("nickname").count(), 1);
        assert_eq!(text.matches("\"sub\"").count(), 1);
    }

    #[test]
    fn userinfo_has_sub_and_what_the_scopes_cover() {
        let claims = UserinfoClaims {
            sub: "auth0|a",
            profile: ProfileClaims {
                phone_number: Some("+15550100"),
                phone_number_verified: Some(true),
                ..ProfileClaims::default()
            },
            custom: None,
        };
        assert_eq!(
            serde_json::to_string(&claims).unwrap(),
            r#"{"sub":"auth0|a","phone_number":"+15550100","phone_number_verified":true}"#
        );
    }
}
