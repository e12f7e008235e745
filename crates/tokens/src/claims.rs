//! The claims of access tokens and ID tokens, written as Auth0 writes them and read back typed.

use std::fmt;

use aws_lc_rs::digest::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::{GrantKey, Sid, Timestamp, UserKey};
use serde::de::{self, IgnoredAny, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::alg::JwsAlg;

/// What Actions set with `setCustomClaim`, by name.
pub type CustomClaims = serde_json::Map<String, serde_json::Value>;

/// Names that custom claims cannot have: Auth0's list, and what else this server writes into tokens (`cfw`,
/// `scope`, `session_expiry`). With them a custom claim could stand beside the server's own of the same name.
const RESERVED: [&str; 63] = [
    "acr",
    "act",
    "active",
    "amr",
    "at_hash",
    "ath",
    "attest",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "c_hash",
    "cfw",
    "client_id",
    "cnf",
    "cty",
    "dest",
    "entitlements",
    "events",
    "exp",
    "groups",
    "gty",
    "htm",
    "htu",
    "iat",
    "internalService",
    "iss",
    "jcard",
    "jku",
    "jti",
    "jwe",
    "jwk",
    "kid",
    "may_act",
    "mky",
    "nbf",
    "nonce",
    "object_id",
    "org_id",
    "org_name",
    "orig",
    "origid",
    "permissions",
    "roles",
    "rph",
    "s_hash",
    "scope",
    "session_expiry",
    "sid",
    "sip_callid",
    "sip_cseq_num",
    "sip_date",
    "sip_from_tag",
    "sip_via_branch",
    "sub",
    "sub_jwk",
    "toe",
    "txn",
    "typ",
    "uuid",
    "vot",
    "vtm",
    "x5t#S256",
];

/// Whether custom claims of this name are silently dropped.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// `token_dialect` of an API: which claims its access tokens have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TokenDialect {
    /// Auth0's own profile.
    #[default]
    AccessToken,
    /// Auth0's own profile with `permissions`.
    AccessTokenAuthz,
    /// RFC 9068.
    Rfc9068Profile,
    /// RFC 9068 with `permissions`.
    Rfc9068ProfileAuthz,
}

impl TokenDialect {
    /// Every dialect.
    pub const ALL: &[Self] =
        &[Self::AccessToken, Self::AccessTokenAuthz, Self::Rfc9068Profile, Self::Rfc9068ProfileAuthz];

    /// The value of `token_dialect`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::AccessTokenAuthz => "access_token_authz",
            Self::Rfc9068Profile => "rfc9068_profile",
            Self::Rfc9068ProfileAuthz => "rfc9068_profile_authz",
        }
    }

    /// Reads `token_dialect`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == text)
    }

    /// The header's `typ`.
    pub const fn typ(self) -> &'static str {
        if self.is_rfc9068() { "at+jwt" } else { "JWT" }
    }

    /// Whether the client is named `client_id` instead of `azp`.
    pub const fn is_rfc9068(self) -> bool {
        matches!(self, Self::Rfc9068Profile | Self::Rfc9068ProfileAuthz)
    }

    /// Whether `permissions` are in the token.
    pub const fn has_permissions(self) -> bool {
        matches!(self, Self::AccessTokenAuthz | Self::Rfc9068ProfileAuthz)
    }
}

/// The claim by which guards see whether the token's access has ended: identities and counters, never seconds.
/// A member that is absent does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cfw {
    /// The user's key.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserKey>,
    /// The user's counter when the token was issued.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub user_counter: Option<i64>,
    /// The client's counter when the token was issued.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub client_counter: Option<i64>,
    /// The grant the token came from.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantKey>,
}

/// To which key a token is bound (RFC 7800). Reserved: nothing issues bound tokens yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confirmation {
    /// Thumbprint of a DPoP key (RFC 9449 §6.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Thumbprint of a client certificate (RFC 8705 §3.1).
    #[serde(rename = "x5t#S256", default, skip_serializing_if = "Option::is_none")]
    pub x5t_s256: Option<String>,
}

/// `aud`: a string when there is one, an array when there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience<'a> {
    /// The API alone.
    One(&'a str),
    /// The API and, when `openid` was granted, `https://DOMAIN/userinfo`.
    Many(&'a [&'a str]),
}

impl Serialize for Audience<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(audience) => serializer.serialize_str(audience),
            Self::Many(audiences) => audiences.serialize(serializer),
        }
    }
}

/// Writes a value by its `Display` form.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The claims of an access token, as they are written. Signed as a JWT, or, without an API, as the plaintext of
/// a sealed [`AccessToken`](crate::seal::SealKind::AccessToken). Read back by [`AccessToken`].
#[derive(Debug, Clone)]
pub struct AccessTokenClaims<'a> {
    /// Decides between `azp` and `client_id` and whether `permissions` are written.
    pub dialect: TokenDialect,
    /// The issuer, with the trailing slash.
    pub iss: &'a str,
    /// `user_id`, or `CLIENT_ID@clients`.
    pub sub: &'a str,
    /// Whom the token is for.
    pub aud: Audience<'a>,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds.
    pub exp: i64,
    /// Granted scopes; nothing is written when they are empty.
    pub scope: &'a str,
    /// To which client it was issued: `azp`, or `client_id` under RFC 9068.
    pub client_id: &'a str,
    /// `client-credentials`, `password`, `refresh_token`…; absent for the code flow.
    pub gty: Option<&'a str>,
    /// The token's id.
    pub jti: &'a str,
    /// The session, unless there is none or the family outlived it.
    pub sid: Option<Sid>,
    /// What it hangs on.
    pub cfw: Cfw,
    /// The user's or client's permissions, written under the `_authz` dialects only.
    pub permissions: &'a [String],
    /// The key the token is bound to.
    pub cnf: Option<&'a Confirmation>,
    /// `org_id` and `org_name`.
    pub org: Option<Organization<'a>>,
    /// From Actions. Reserved names are dropped.
    pub custom: Option<&'a CustomClaims>,
}

/// The organization of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Organization<'a> {
    /// `org_id`.
    pub id: &'a str,
    /// `org_name`, when the tenant wants it in tokens.
    pub name: Option<&'a str>,
}

impl Serialize for AccessTokenClaims<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(custom) = self.custom {
            for (name, value) in custom.iter().filter(|(name, _)| !is_reserved(name)) {
                map.serialize_entry(name, value)?;
            }
        }
        map.serialize_entry("iss", self.iss)?;
        map.serialize_entry("sub", self.sub)?;
        map.serialize_entry("aud", &self.aud)?;
        map.serialize_entry("iat", &self.iat)?;
        map.serialize_entry("exp", &self.exp)?;
        if !self.scope.is_empty() {
            map.serialize_entry("scope", self.scope)?;
        }
        if let Some(org) = self.org {
            map.serialize_entry("org_id", org.id)?;
            if let Some(name) = org.name {
                map.serialize_entry("org_name", name)?;
            }
        }
        if let Some(gty) = self.gty {
            map.serialize_entry("gty", gty)?;
        }
        map.serialize_entry(if self.dialect.is_rfc9068() { "client_id" } else { "azp" }, self.client_id)?;
        if self.dialect.has_permissions() {
            map.serialize_entry("permissions", self.permissions)?;
        }
        map.serialize_entry("jti", self.jti)?;
        if let Some(sid) = self.sid {
            map.serialize_entry("sid", &Text(sid))?;
        }
        map.serialize_entry("cfw", &self.cfw)?;
        if let Some(cnf) = self.cnf {
            map.serialize_entry("cnf", cnf)?;
        }
        map.end()
    }
}

/// Why a payload is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not a JSON object, a required claim missing or of the wrong type, or a claim there twice.
    #[error("malformed claims")]
    Malformed,
    /// Another kind of token: an ID token where an access token is due, or the reverse.
    #[error("another kind of token")]
    Kind,
}

/// An access token of this server, read back. Its signature, or seal, is checked before; its `iss`, `aud` and
/// `exp` by the caller; whether its access has ended, by what `cfw` and `sid` name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The issuer.
    pub iss: String,
    /// The subject.
    pub sub: String,
    /// Whom it is for.
    pub aud: Vec<String>,
    /// To which client it was issued (`azp` or `client_id`).
    pub client_id: String,
    /// Granted scopes; empty when none.
    pub scope: String,
    /// The grant type, when it is written.
    pub gty: Option<String>,
    /// The token's id.
    pub jti: String,
    /// The session.
    pub sid: Option<Sid>,
    /// What it hangs on.
    pub cfw: Cfw,
    /// Permissions; `None` under dialects without them.
    pub permissions: Option<Vec<String>>,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds.
    pub exp: i64,
    /// The key it is bound to.
    pub cnf: Option<Confirmation>,
    /// The organization's id.
    pub org_id: Option<String>,
}

#[derive(Deserialize)]
struct ReadAccessToken {
    iss: String,
    sub: String,
    #[serde(deserialize_with = "audiences")]
    aud: Vec<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    gty: Option<String>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    cfw: Option<Cfw>,
    #[serde(default)]
    permissions: Option<Vec<String>>,
    iat: i64,
    exp: i64,
    #[serde(default)]
    cnf: Option<Confirmation>,
    #[serde(default)]
    org_id: Option<String>,
}

impl AccessToken {
    /// Reads a payload. Claims that decide anything must not be there twice; `azp` and `client_id` not both. An
    /// ID token has no `cfw` and is refused.
    pub fn from_payload(payload: &[u8]) -> Result<Self, ClaimsError> {
        let read: ReadAccessToken = serde_json::from_slice(payload).map_err(|_| ClaimsError::Malformed)?;
        let (Some(cfw), Some(jti)) = (read.cfw, read.jti) else {
            return Err(ClaimsError::Kind);
        };
        let client_id = match (read.azp, read.client_id) {
            (Some(client_id), None) | (None, Some(client_id)) => client_id,
            (None, None) | (Some(_), Some(_)) => return Err(ClaimsError::Malformed),
        };
        Ok(Self {
            iss: read.iss,
            sub: read.sub,
            aud: read.aud,
            client_id,
            scope: read.scope,
            gty: read.gty,
            jti,
            sid: parse_sid(read.sid)?,
            cfw,
            permissions: read.permissions,
            iat: read.iat,
            exp: read.exp,
            cnf: read.cnf,
            org_id: read.org_id,
        })
    }

    /// Whether it is for `audience`.
    pub fn is_for(&self, audience: &str) -> bool {
        self.aud.iter().any(|aud| aud == audience)
    }

    /// Whether `scope` was granted.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }
}

fn parse_sid(text: Option<String>) -> Result<Option<Sid>, ClaimsError> {
    text.map(|text| Sid::parse(&text).ok_or(ClaimsError::Malformed)).transpose()
}

/// Reads `aud`: a string or an array of strings (RFC 7519 §4.1.3).
pub(crate) fn audiences<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Audiences;

    impl<'de> Visitor<'de> for Audiences {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or an array of strings")
        }

        fn visit_str<E: de::Error>(self, audience: &str) -> Result<Self::Value, E> {
            Ok(vec![audience.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut audiences = Vec::new();
            while let Some(audience) = seq.next_element()? {
                audiences.push(audience);
            }
            Ok(audiences)
        }
    }

    deserializer.deserialize_any(Audiences)
}

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
    fn serialize_into<M: serde::ser::SerializeMap>(
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
    /// [`half_hash`] of the access token of the same response.
    pub at_hash: Option<&'a str>,
    /// [`half_hash`] of the code of the same response.
    pub c_hash: Option<&'a str>,
    /// [`half_hash`] of the request's `state`.
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

/// `at_hash`, `c_hash` (OIDC Core §3.3.2.11) and `s_hash` (FAPI 1.0 Part 2 §5.1): base64url of the left half of
/// the hash of `value` that belongs to the ID token's `alg`.
pub fn half_hash(alg: JwsAlg, value: &str) -> String {
    let hash = digest(alg.half_hash_digest(), value.as_bytes());
    let octets = hash.as_ref();
    URL_SAFE_NO_PAD.encode(&octets[..octets.len() / 2])
}

#[cfg(test)]
mod tests {
    use curfew_model::SessionKey;
    use serde_json::{Value, json};

    use super::*;

    fn sid() -> Sid {
        Sid { user: UserKey([1; 12]), session: SessionKey([2; 12]) }
    }

    fn access_token() -> AccessTokenClaims<'static> {
        AccessTokenClaims {
            dialect: TokenDialect::AccessToken,
            iss: "https://curfew.example/",
            sub: "auth0|0123456789abcdef01234567",
            aud: Audience::Many(&["https://api.example/", "https://curfew.example/userinfo"]),
            iat: 1_767_261_600,
            exp: 1_767_348_000,
            scope: "openid profile",
            client_id: "client",
            gty: None,
            jti: "the-id",
            sid: Some(sid()),
            cfw: Cfw {
                user: Some(UserKey([1; 12])),
                user_counter: Some(1_767_000_000_000_000),
                client_counter: Some(7),
                grant: Some(GrantKey([3; 12])),
            },
            permissions: &[],
            cnf: None,
            org: None,
            custom: None,
        }
    }

    fn custom(value: Value) -> CustomClaims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn an_access_token_as_auth0_writes_it() {
        assert_eq!(
            serde_json::to_value(access_token()).unwrap(),
            json!({
                "iss": "https://curfew.example/",
                "sub": "auth0|0123456789abcdef01234567",
                "aud": ["https://api.example/", "https://curfew.example/userinfo"],
                "iat": 1_767_261_600,
                "exp": 1_767_348_000,
                "scope": "openid profile",
                "azp": "client",
                "jti": "the-id",
                "sid": "AQEBAQEBAQEBAQEBAgICAgICAgICAgIC",
                "cfw": { "u": "AQEBAQEBAQEBAQEB", "n": 1_767_000_000_000_000_i64, "c": 7, "g": "AwMDAwMDAwMDAwMD" },
            })
        );
    }

    #[test]
    fn a_machine_token_in_the_rfc_9068_profile() {
        let permissions = ["read:things".to_owned()];
        let claims = AccessTokenClaims {
            dialect: TokenDialect::Rfc9068ProfileAuthz,
            sub: "client@clients",
            aud: Audience::One("https://api.example/"),
            scope: "",
            gty: Some("client-credentials"),
            sid: None,
            cfw: Cfw { client_counter: Some(7), ..Cfw::default() },
            permissions: &permissions,
            ..access_token()
        };
        assert_eq!(
            serde_json::to_value(claims).unwrap(),
            json!({
                "iss": "https://curfew.example/",
                "sub": "client@clients",
                "aud": "https://api.example/",
                "iat": 1_767_261_600,
                "exp": 1_767_348_000,
                "gty": "client-credentials",
                "client_id": "client",
                "permissions": ["read:things"],
                "jti": "the-id",
                "cfw": { "c": 7 },
            })
        );
    }

    #[test]
    fn access_tokens_read_back_in_every_dialect() {
        let permissions = ["a".to_owned(), "b".to_owned()];
        let cnf = Confirmation { jkt: Some("thumbprint".to_owned()), x5t_s256: None };
        for dialect in TokenDialect::ALL {
            assert_eq!(TokenDialect::parse(dialect.as_str()), Some(*dialect));
            let claims = AccessTokenClaims {
                dialect: *dialect,
                permissions: &permissions,
                cnf: Some(&cnf),
                org: Some(Organization { id: "org_1", name: Some("one") }),
                ..access_token()
            };
            let read = AccessToken::from_payload(&serde_json::to_vec(&claims).unwrap()).unwrap();
            assert_eq!(
                read,
                AccessToken {
                    iss: claims.iss.to_owned(),
                    sub: claims.sub.to_owned(),
                    aud: vec![
                        "https://api.example/".to_owned(),
                        "https://curfew.example/userinfo".to_owned()
                    ],
                    client_id: "client".to_owned(),
                    scope: "openid profile".to_owned(),
                    gty: None,
                    jti: "the-id".to_owned(),
                    sid: Some(sid()),
                    cfw: claims.cfw,
                    permissions: dialect.has_permissions().then(|| permissions.to_vec()),
                    iat: claims.iat,
                    exp: claims.exp,
                    cnf: Some(cnf.clone()),
                    org_id: Some("org_1".to_owned()),
                }
            );
            assert!(read.is_for("https://api.example/") && !read.is_for("https://api.example"));
            assert!(read.has_scope("openid") && !read.has_scope("open") && !read.has_scope("openid profile"));
        }
    }

    /// The corpus has the same for each claim; this names the error.
    #[test]
    fn claims_that_decide_are_there_once() {
        let text = serde_json::to_string(&access_token()).unwrap();
        let with = |more: &str| format!("{},{more}}}", &text[..text.len() - 1]);
        assert!(AccessToken::from_payload(with(r#""other":1,"other":2"#).as_bytes()).is_ok());
        for more in [
            r#""sub":"someone|else""#,
            r#""exp":9999999999"#,
            r#""aud":"x""#,
            r#""scope":"x""#,
            r#""azp":"x""#,
            r#""client_id":"x""#,
            r#""cfw":{}"#,
            r#""su\u0062":"someone|else""#,
        ] {
            let read = AccessToken::from_payload(with(more).as_bytes());
            assert_eq!(read, Err(ClaimsError::Malformed), "{more}");
        }
    }

    #[test]
    fn a_kind_of_token_is_not_taken_for_another() {
        let access_token = serde_json::to_vec(&access_token()).unwrap();
        assert_eq!(IdTokenHint::from_payload(&access_token), Err(ClaimsError::Kind));
        let id_token =
            IdTokenClaims { iss: "i", sub: "s", aud: "c", sid: Some(sid()), ..IdTokenClaims::default() };
        let id_token = serde_json::to_string(&id_token).unwrap();
        assert_eq!(IdTokenHint::from_payload(id_token.as_bytes()).unwrap().sid, Some(sid()));
        let with_azp = id_token.replace("\"iss\"", "\"azp\":\"c\",\"iss\"");
        assert_eq!(AccessToken::from_payload(with_azp.as_bytes()), Err(ClaimsError::Kind));
    }

    #[test]
    fn custom_claims_cannot_stand_in_for_the_servers_own() {
        let attack = custom(json!({
            "sub": "someone|else", "cfw": {}, "exp": 1, "azp": "x", "client_id": "x", "scope": "all",
            "permissions": ["all"], "sid": "x", "jti": "x", "aud": "x", "iss": "x", "cnf": {}, "gty": "x",
            "org_id": "x", "org_name": "x", "iat": 1, "https://example.com/roles": ["admin"], "email": "a@b.c",
        }));
        let text =
            serde_json::to_string(&AccessTokenClaims { custom: Some(&attack), ..access_token() }).unwrap();
        let mut expected = serde_json::to_value(access_token()).unwrap();
        expected["https://example.com/roles"] = json!(["admin"]);
        expected["email"] = json!("a@b.c");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        assert!(AccessToken::from_payload(text.as_bytes()).is_ok(), "nothing is there twice");
    }

    #[test]
    fn every_claim_the_server_writes_but_profile_claims_is_reserved() {
        let cnf = Confirmation::default();
        let org = Some(Organization { id: "o", name: Some("n") });
        let mut names = Vec::new();
        for dialect in TokenDialect::ALL {
            let claims = AccessTokenClaims {
                dialect: *dialect,
                gty: Some("g"),
                cnf: Some(&cnf),
                org,
                ..access_token()
            };
            names.extend(serde_json::to_value(claims).unwrap().as_object().unwrap().keys().cloned());
        }
        let claims = IdTokenClaims {
            sid: Some(sid()),
            nonce: Some("n"),
            auth_time: Some(1),
            acr: Some("a"),
            amr: &["mfa"],
            at_hash: Some("a"),
            c_hash: Some("c"),
            s_hash: Some("s"),
            org,
            session_expiry: Some(2),
            ..IdTokenClaims::default()
        };
        names.extend(serde_json::to_value(claims).unwrap().as_object().unwrap().keys().cloned());
        for name in names {
            assert!(is_reserved(&name), "{name}");
        }
        assert!(RESERVED.is_sorted());
        assert!(!is_reserved("email") && !is_reserved("https://example.com/roles"));
    }

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

    /// OIDC Core A.3 and A.4.
    #[test]
    fn oidc_core_half_hashes() {
        assert_eq!(
            half_hash(JwsAlg::RS256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
        assert_eq!(
            half_hash(JwsAlg::RS256, "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"),
            "LDktKdoQak3Pk0cnXxCltA"
        );
        assert_eq!(half_hash(JwsAlg::RS384, "").len(), 32);
        assert_eq!(half_hash(JwsAlg::EdDSA, "").len(), 43);
    }
}
