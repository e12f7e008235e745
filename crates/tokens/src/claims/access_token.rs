//! Access tokens.

use curfew_model::{GrantKey, Sid, UserKey};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{ClaimsError, CustomClaims, Organization, Text, audiences, is_reserved, parse_sid};

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

/// Where the token's status stands (draft-ietf-oauth-status-list §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusReference<'a> {
    /// The list's address.
    pub uri: &'a str,
    /// The index in it.
    pub idx: u32,
}

impl Serialize for StatusReference<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct StatusList<'a> {
            idx: u32,
            uri: &'a str,
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("status_list", &StatusList { idx: self.idx, uri: self.uri })?;
        map.end()
    }
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
    /// `status`, for APIs that ask for it.
    pub status: Option<StatusReference<'a>>,
    /// `org_id` and `org_name`.
    pub org: Option<Organization<'a>>,
    /// From Actions. Reserved names are dropped.
    pub custom: Option<&'a CustomClaims>,
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
        if let Some(status) = self.status {
            map.serialize_entry("status", &status)?;
        }
        map.end()
    }
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

#[cfg(test)]
pub(super) mod tests {
    use curfew_model::SessionKey;
    use serde_json::{Value, json};

    use super::*;

    pub(in crate::claims) fn sid() -> Sid {
        Sid { user: UserKey([1; 12]), session: SessionKey([2; 12]) }
    }

    pub(in crate::claims) fn access_token() -> AccessTokenClaims<'static> {
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
            status: None,
            org: None,
            custom: None,
        }
    }

    pub(in crate::claims) fn custom(value: Value) -> CustomClaims {
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
                status: None,
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
}
