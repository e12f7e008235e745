//! Resource servers: APIs that accept this server's access tokens.

use serde::Deserialize;

use super::null_as_default;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// A scope of an API.
#[derive(Debug, Clone, Deserialize)]
pub struct ScopeEntry {
    /// `read:things`.
    pub value: String,
    /// Shown on the consent page.
    #[serde(default)]
    pub description: Option<String>,
}

/// The fields of an API's document that this server acts on.
#[derive(Debug, Clone, Deserialize)]
pub struct ResourceServerDoc {
    /// Shown on the consent page.
    #[serde(default)]
    pub name: String,
    /// Its scopes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub scopes: Vec<ScopeEntry>,
    /// `RS256` (default), `PS256`, `ES256`, `EdDSA` or `HS256`.
    #[serde(default)]
    pub signing_alg: Option<String>,
    /// Whether refresh tokens are issued.
    #[serde(default)]
    pub allow_offline_access: bool,
    /// Life-time of access tokens in seconds.
    #[serde(default)]
    pub token_lifetime: Option<i64>,
    /// Life-time of access tokens of the implicit and hybrid flows in seconds.
    #[serde(default)]
    pub token_lifetime_for_web: Option<i64>,
    /// First-party clients with a verifiable callback need no consent.
    #[serde(default)]
    pub skip_consent_for_verifiable_first_party_clients: bool,
    /// The shape of its access tokens; `access_token` unless set.
    #[serde(default)]
    pub token_dialect: Option<String>,
    /// RBAC: only granted permissions become scopes.
    #[serde(default)]
    pub enforce_policies: bool,
    /// The Management API itself.
    #[serde(default)]
    pub is_system: bool,
    /// Whether its access tokens say where their status stands.
    #[serde(default, deserialize_with = "null_as_default")]
    pub token_status_list: TokenStatusList,
}

/// `token_status_list` of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct TokenStatusList {
    /// Whether access tokens carry a `status` claim.
    #[serde(default)]
    pub enabled: bool,
}

/// An API.
#[derive(Debug, Clone)]
pub struct ResourceServer {
    /// 24 hexadecimal digits.
    pub id: String,
    /// The audience.
    pub identifier: String,
    /// The document's fields.
    pub doc: ResourceServerDoc,
    /// For HS256.
    pub signing_secret: Option<Secret<String>>,
    /// What was issued for the identifier up to this instant is over: it was for an API that was deleted.
    pub floor: Timestamp,
}

impl ResourceServer {
    /// Life-time of access tokens in seconds.
    pub fn token_lifetime_seconds(&self) -> i64 {
        self.doc.token_lifetime.unwrap_or(86_400)
    }

    /// Life-time of access tokens handed out at the authorization endpoint, in seconds.
    pub fn token_lifetime_for_web_seconds(&self) -> i64 {
        self.doc.token_lifetime_for_web.unwrap_or(7200).min(self.token_lifetime_seconds())
    }
}
