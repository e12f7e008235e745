//! Clients: applications that use this server.

use serde::Deserialize;
use serde_json::Value;

use super::null_as_default;
use crate::ending::Initiator;
use crate::ids::{ClientId, GrantKey};
use crate::policy::EndingPolicies;
use crate::secret::Secret;

/// What kind of application a client is; decides defaults only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppType {
    /// Installed on a device.
    Native,
    /// Runs in the browser.
    Spa,
    /// Runs on a server, with pages.
    RegularWeb,
    /// Machine to machine.
    NonInteractive,
    /// Any of Auth0's other values.
    #[serde(other)]
    Other,
}

/// How a client authenticates at the token endpoint (`token_endpoint_auth_method`, or `private_key_jwt` when
/// `client_authentication_methods` names it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Public client: its `client_id` and PKCE.
    None,
    /// Secret in the body or in the Basic header: both are accepted for either setting, as at Auth0.
    Secret,
    /// RFC 7523 assertion.
    PrivateKeyJwt,
}

/// `jwt_configuration`: the client's ID tokens.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct JwtConfiguration {
    /// `RS256` unless set; `HS256` signs with the client's secret.
    #[serde(default)]
    pub alg: Option<String>,
    /// Life-time of ID tokens; 36000 unless set.
    #[serde(default)]
    pub lifetime_in_seconds: Option<i64>,
}

/// `refresh_token`: rotation and life-times. Absent members have Auth0's defaults, which depend on the application type.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RefreshTokenSettings {
    /// `rotating` or `non-rotating`.
    #[serde(default)]
    pub rotation_type: Option<String>,
    /// `expiring` or `non-expiring`.
    #[serde(default)]
    pub expiration_type: Option<String>,
    /// Seconds after a rotation in which the previous token is answered with the same successor.
    #[serde(default)]
    pub leeway: Option<i64>,
    /// Absolute life-time in seconds.
    #[serde(default)]
    pub token_lifetime: Option<i64>,
    /// No absolute limit.
    #[serde(default)]
    pub infinite_token_lifetime: Option<bool>,
    /// Idle life-time in seconds.
    #[serde(default)]
    pub idle_token_lifetime: Option<i64>,
    /// No idle limit.
    #[serde(default)]
    pub infinite_idle_token_lifetime: Option<bool>,
}

/// `oidc_logout`: where logout tokens go, of which endings, and what is in them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OidcLogout {
    /// At most one URL.
    #[serde(default, deserialize_with = "null_as_default")]
    pub backchannel_logout_urls: Vec<String>,
    /// Of which endings the application wants to hear.
    #[serde(default, deserialize_with = "null_as_default")]
    pub backchannel_logout_initiators: LogoutInitiators,
    /// Whether every logout token must name a session (OIDC Back-Channel Logout §2.2): what ends for a person as a whole
    /// is then told session by session.
    #[serde(default, deserialize_with = "null_as_default")]
    pub backchannel_logout_session_required: bool,
    /// Whether logout tokens carry `session_metadata`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub backchannel_logout_session_metadata: LogoutSessionMetadata,
}

/// `backchannel_logout_initiators`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct LogoutInitiators {
    /// `all`, or `custom` (default).
    #[serde(default)]
    pub mode: Option<String>,
    /// Those of `custom`; `rp-logout` and `idp-logout` when there is no list.
    #[serde(default)]
    pub selected_initiators: Option<Vec<String>>,
}

/// `backchannel_logout_session_metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct LogoutSessionMetadata {
    /// Off unless set.
    #[serde(default, deserialize_with = "null_as_default")]
    pub include: bool,
}

impl OidcLogout {
    /// Where logout tokens go.
    pub fn url(&self) -> Option<&str> {
        self.backchannel_logout_urls.first().map(String::as_str)
    }

    /// Whether the application wants to hear of what an initiator ended.
    pub fn hears_of(&self, initiator: Initiator) -> bool {
        let initiators = &self.backchannel_logout_initiators;
        match (initiators.mode.as_deref(), &initiators.selected_initiators) {
            (Some("all"), _) => true,
            (_, Some(selected)) => selected.iter().any(|selected| selected == initiator.as_str()),
            (_, None) => matches!(initiator, Initiator::RpLogout | Initiator::IdpLogout),
        }
    }
}

/// The fields of a client's document that this server acts on.
#[derive(Debug, Clone, Deserialize)]
pub struct ClientDoc {
    /// Shown on the pages.
    #[serde(default)]
    pub name: String,
    /// What operators note, for Actions.
    #[serde(default, deserialize_with = "null_as_default")]
    pub client_metadata: serde_json::Map<String, serde_json::Value>,
    /// Shown on the consent page.
    #[serde(default)]
    pub logo_uri: Option<String>,
    /// See [`AppType`].
    #[serde(default)]
    pub app_type: Option<AppType>,
    /// Third-party clients ask the user for consent.
    #[serde(default = "yes")]
    pub is_first_party: bool,
    /// Whether refresh tokens are issued without an audience.
    #[serde(default)]
    pub oidc_conformant: bool,
    /// Allowed `redirect_uri`s.
    #[serde(default, deserialize_with = "null_as_default")]
    pub callbacks: Vec<String>,
    /// Allowed `returnTo` and `post_logout_redirect_uri`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub allowed_logout_urls: Vec<String>,
    /// Origins that may receive `web_message` answers and call with CORS.
    #[serde(default, deserialize_with = "null_as_default")]
    pub web_origins: Vec<String>,
    /// Further origins that may call with CORS.
    #[serde(default, deserialize_with = "null_as_default")]
    pub allowed_origins: Vec<String>,
    /// Grants this client may use; `implicit` also stands for the legacy response types.
    #[serde(default, deserialize_with = "null_as_default")]
    pub grant_types: Vec<String>,
    /// `none`, `client_secret_post` or `client_secret_basic`.
    #[serde(default)]
    pub token_endpoint_auth_method: Option<String>,
    /// `{private_key_jwt: {credentials: [{id}]}}`.
    #[serde(default)]
    pub client_authentication_methods: Option<Value>,
    /// ID tokens.
    #[serde(default, deserialize_with = "null_as_default")]
    pub jwt_configuration: JwtConfiguration,
    /// Refresh tokens.
    #[serde(default, deserialize_with = "null_as_default")]
    pub refresh_token: RefreshTokenSettings,
    /// Where a lost login starts again.
    #[serde(default)]
    pub initiate_login_uri: Option<String>,
    /// `deny` (default), `allow`, `require`.
    #[serde(default)]
    pub organization_usage: Option<String>,
    /// Logout tokens.
    #[serde(default, deserialize_with = "null_as_default")]
    pub oidc_logout: OidcLogout,
    /// Where a frame of the page after a logout tells the application.
    #[serde(default)]
    pub frontchannel_logout_uri: Option<String>,
    /// What of this client's falls for which cause; goes before the tenant's.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ending_policies: EndingPolicies,
    /// Skips the confirmation for callbacks anybody could register.
    #[serde(default)]
    pub skip_non_verifiable_callback_uri_confirmation_prompt: Option<bool>,
    /// Third-party clients: `allow_always` sends a declined consent to the callback.
    #[serde(default)]
    pub redirection_policy: Option<String>,
    /// Whether `auth0-forwarded-for` is believed.
    #[serde(default)]
    pub is_token_endpoint_ip_header_trusted: bool,
    /// For PAR, which this server does not offer yet: such a client cannot use `/authorize`.
    #[serde(default)]
    pub require_pushed_authorization_requests: bool,
    /// For DPoP, which this server does not offer yet: such a client gets no tokens.
    #[serde(default)]
    pub require_proof_of_possession: bool,
    /// Audience when the request names none (`default_audience` of client_credentials requests).
    #[serde(default)]
    pub default_audience: Option<String>,
}

impl ClientDoc {
    /// Where the browser has to tell the application that a session is over: only where nobody else does.
    pub fn front_channel(&self) -> Option<&str> {
        self.frontchannel_logout_uri.as_deref().filter(|_| self.oidc_logout.url().is_none())
    }
}

fn yes() -> bool {
    true
}

/// A public key a client authenticates with.
#[derive(Debug, Clone)]
pub struct Credential {
    /// `cred_…`.
    pub id: String,
    /// `kid`, when the assertion must name it.
    pub kid: Option<String>,
    /// RS256, RS384 or PS256.
    pub alg: Option<String>,
    /// The key or certificate as it was sent.
    pub pem: String,
    /// `expires_at`, when the credential expires.
    pub expires_at: Option<crate::Timestamp>,
}

/// The fields of a client grant's document that this server acts on.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ClientGrantDoc {
    /// What the client may ask for.
    #[serde(default, deserialize_with = "null_as_default")]
    pub scope: Vec<String>,
    /// Every scope of the API.
    #[serde(default)]
    pub allow_all_scopes: bool,
    /// `client` (default) or `user`.
    #[serde(default)]
    pub subject_type: Option<String>,
}

/// What a client may do at an API on its own behalf.
#[derive(Debug, Clone)]
pub struct ClientGrant {
    /// `cgr_…`.
    pub id: String,
    /// The API's identifier.
    pub audience: String,
    /// What access tokens name as `cfw.g`.
    pub grant_key: GrantKey,
    /// The document.
    pub doc: ClientGrantDoc,
}

/// A client with everything that hangs on its version.
#[derive(Debug, Clone)]
pub struct Client {
    /// `client_id`.
    pub id: ClientId,
    /// The version all of this was read at.
    pub version: i64,
    /// What tokens issued now carry as `cfw.c`.
    pub counter: i64,
    /// Everything issued below ends.
    pub floor: i64,
    /// Access tokens issued below end.
    pub token_floor: i64,
    /// The document's fields.
    pub doc: ClientDoc,
    /// `client_secret`.
    pub secret: Secret<String>,
    /// For `private_key_jwt`.
    pub credentials: Vec<Credential>,
    /// Its client grants.
    pub grants: Vec<ClientGrant>,
}

impl Client {
    /// How this client authenticates.
    pub fn auth_method(&self) -> AuthMethod {
        let by_key = self
            .doc
            .client_authentication_methods
            .as_ref()
            .is_some_and(|m| m.get("private_key_jwt").is_some());
        if by_key {
            return AuthMethod::PrivateKeyJwt;
        }
        match (self.doc.token_endpoint_auth_method.as_deref(), self.doc.app_type) {
            (Some("none"), _) | (None, Some(AppType::Spa | AppType::Native)) => AuthMethod::None,
            _ => AuthMethod::Secret,
        }
    }

    /// Whether `grant_type` is enabled.
    pub fn allows_grant(&self, grant_type: &str) -> bool {
        self.doc.grant_types.iter().any(|allowed| allowed == grant_type)
    }

    /// Life-time of ID tokens in seconds.
    pub fn id_token_lifetime_seconds(&self) -> i64 {
        self.doc.jwt_configuration.lifetime_in_seconds.unwrap_or(36_000)
    }

    /// Whether refresh tokens rotate.
    pub fn rotates(&self) -> bool {
        self.doc.refresh_token.rotation_type.as_deref() == Some("rotating")
    }

    /// Seconds in which the previous refresh token is answered with the same successor.
    pub fn leeway_seconds(&self) -> i64 {
        self.doc.refresh_token.leeway.unwrap_or(0).max(0)
    }

    /// Absolute life-time of refresh tokens; `None` without limit.
    pub fn refresh_lifetime_seconds(&self) -> Option<i64> {
        let settings = &self.doc.refresh_token;
        if self.never_expires()
            || settings.infinite_token_lifetime.unwrap_or(settings.token_lifetime.is_none())
        {
            return None;
        }
        Some(settings.token_lifetime.unwrap_or(if self.is_web() { 31_557_600 } else { 2_592_000 }))
    }

    /// Idle life-time of refresh tokens; `None` without limit.
    pub fn refresh_idle_seconds(&self) -> Option<i64> {
        let settings = &self.doc.refresh_token;
        if self.never_expires()
            || settings.infinite_idle_token_lifetime.unwrap_or(settings.idle_token_lifetime.is_none())
        {
            return None;
        }
        Some(settings.idle_token_lifetime.unwrap_or(if self.is_web() { 2_592_000 } else { 1_296_000 }))
    }

    fn never_expires(&self) -> bool {
        self.doc.refresh_token.expiration_type.as_deref() == Some("non-expiring")
    }

    fn is_web(&self) -> bool {
        matches!(self.doc.app_type, Some(AppType::RegularWeb | AppType::NonInteractive))
    }

    /// The client's grant for an API.
    pub fn grant_for(&self, audience: &str) -> Option<&ClientGrant> {
        self.grants.iter().find(|grant| {
            grant.audience == audience && grant.doc.subject_type.as_deref().unwrap_or("client") == "client"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_hears_of_logouts_unless_it_says_otherwise() {
        let heard = |doc: &str| -> Vec<&str> {
            let logout: OidcLogout = serde_json::from_str(doc).unwrap();
            let heard = Initiator::ALL.iter().filter(|initiator| logout.hears_of(**initiator));
            heard.map(|initiator| initiator.as_str()).collect()
        };
        let logouts = ["rp-logout", "idp-logout"];
        for doc in [
            "{}",
            r#"{"backchannel_logout_initiators": null}"#,
            r#"{"backchannel_logout_initiators": {}}"#,
            r#"{"backchannel_logout_initiators": {"mode": "custom"}}"#,
        ] {
            assert_eq!(heard(doc), logouts, "{doc}");
        }
        let list = r#"{"backchannel_logout_initiators": {"mode": "custom",
            "selected_initiators": ["idp-logout", "rp-logout", "password-changed"]}}"#;
        assert_eq!(heard(list), ["rp-logout", "idp-logout", "password-changed"]);
        let all = r#"{"backchannel_logout_initiators": {"mode": "all"}}"#;
        assert_eq!(heard(all).len(), Initiator::ALL.len());
    }
}
