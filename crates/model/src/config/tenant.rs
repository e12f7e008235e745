//! A tenant's settings.

use serde::Deserialize;

use super::null_as_default;
use crate::policy::EndingPolicies;

/// `flags`: switches that change behaviour.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TenantFlags {
    /// `/oauth/revoke` ends the whole grant of user, client and audience.
    #[serde(default)]
    pub revoke_refresh_token_grant: bool,
    /// Leaves `alg` out of the JWKS.
    #[serde(default)]
    pub remove_alg_from_jwks: bool,
    /// Sign-up says that a user exists.
    #[serde(default)]
    pub enable_public_signup_user_exists_error: bool,
    /// A new first-party client may use every connection there is; on unless switched off.
    #[serde(default)]
    pub enable_client_connections: Option<bool>,
}

/// `session_cookie`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SessionCookie {
    /// `persistent` (default) or `non-persistent`.
    #[serde(default)]
    pub mode: Option<String>,
}

/// `sessions`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SessionsSettings {
    /// Whether `/oidc/logout` asks when it has no hint; on unless switched off.
    #[serde(default)]
    pub oidc_logout_prompt_enabled: Option<bool>,
    /// How many sessions of one user may live at a time, of those that have issued something.
    #[serde(default)]
    pub max_per_user: Option<u16>,
}

/// `action_executions`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ActionExecutionsSettings {
    /// How long they are kept.
    #[serde(default)]
    pub retention_days: Option<i64>,
}

/// `oidc_logout`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OidcLogoutSettings {
    /// Whether discovery announces `end_session_endpoint`; on unless switched off.
    #[serde(default)]
    pub rp_logout_end_session_endpoint_discovery: Option<bool>,
}

/// `error_page`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ErrorPage {
    /// Where errors are shown instead of our own page.
    #[serde(default)]
    pub url: Option<String>,
}

/// The life-times a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLifetimes {
    /// From authentication to the end, whatever happens.
    pub absolute_seconds: i64,
    /// From the last use to the end.
    pub idle_seconds: i64,
}

/// The fields of the settings document that this server acts on.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TenantSettings {
    /// Shown on the pages.
    #[serde(default)]
    pub friendly_name: Option<String>,
    /// What is kept of what Actions did.
    #[serde(default, deserialize_with = "null_as_default")]
    pub action_executions: ActionExecutionsSettings,
    /// The audience when a request names none.
    #[serde(default)]
    pub default_audience: Option<String>,
    /// The connection of the password grant.
    #[serde(default)]
    pub default_directory: Option<String>,
    /// Where a lost login starts again.
    #[serde(default)]
    pub default_redirection_uri: Option<String>,
    /// Allowed `returnTo` without `client_id`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub allowed_logout_urls: Vec<String>,
    /// Languages of the pages, the first being the default.
    #[serde(default, deserialize_with = "null_as_default")]
    pub enabled_locales: Vec<String>,
    /// Hours.
    #[serde(default)]
    pub session_lifetime: Option<f64>,
    /// Minutes; wins over the hours.
    #[serde(default)]
    pub session_lifetime_in_minutes: Option<i64>,
    /// Hours.
    #[serde(default)]
    pub idle_session_lifetime: Option<f64>,
    /// Minutes; wins over the hours.
    #[serde(default)]
    pub idle_session_lifetime_in_minutes: Option<i64>,
    /// Hours; of non-persistent sessions.
    #[serde(default)]
    pub ephemeral_session_lifetime: Option<f64>,
    /// Minutes; wins over the hours.
    #[serde(default)]
    pub ephemeral_session_lifetime_in_minutes: Option<i64>,
    /// Hours; of non-persistent sessions.
    #[serde(default)]
    pub idle_ephemeral_session_lifetime: Option<f64>,
    /// Minutes; wins over the hours.
    #[serde(default)]
    pub idle_ephemeral_session_lifetime_in_minutes: Option<i64>,
    /// The session cookie.
    #[serde(default, deserialize_with = "null_as_default")]
    pub session_cookie: SessionCookie,
    /// Logout confirmation.
    #[serde(default, deserialize_with = "null_as_default")]
    pub sessions: SessionsSettings,
    /// Discovery of the logout endpoint.
    #[serde(default, deserialize_with = "null_as_default")]
    pub oidc_logout: OidcLogoutSettings,
    /// Errors that cannot go to a client.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error_page: ErrorPage,
    /// Whether `iss` is added to authorization responses (RFC 9207); on unless switched off.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: Option<bool>,
    /// Skips the confirmation for callbacks anybody could register.
    #[serde(default)]
    pub skip_non_verifiable_callback_uri_confirmation_prompt: Option<bool>,
    /// What falls for which cause, where it was chosen.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ending_policies: EndingPolicies,
    /// Switches.
    #[serde(default, deserialize_with = "null_as_default")]
    pub flags: TenantFlags,
}

impl TenantSettings {
    /// For how many days it is kept what Actions did: 10 unless something else is set.
    pub fn action_executions_kept_days(&self) -> i64 {
        self.action_executions.retention_days.unwrap_or(10).clamp(1, 365)
    }

    /// Life-times of a session that begins now.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "hours are validated to be at most a year when written"
    )]
    pub fn session_lifetimes(&self, persistent: bool) -> SessionLifetimes {
        let seconds = |minutes: Option<i64>, hours: Option<f64>, default_hours: i64| match (minutes, hours) {
            (Some(minutes), _) => minutes.saturating_mul(60),
            (None, Some(hours)) => (hours * 3600.0) as i64,
            (None, None) => default_hours * 3600,
        };
        if persistent {
            SessionLifetimes {
                absolute_seconds: seconds(self.session_lifetime_in_minutes, self.session_lifetime, 168),
                idle_seconds: seconds(self.idle_session_lifetime_in_minutes, self.idle_session_lifetime, 72),
            }
        } else {
            SessionLifetimes {
                absolute_seconds: seconds(
                    self.ephemeral_session_lifetime_in_minutes,
                    self.ephemeral_session_lifetime,
                    72,
                ),
                idle_seconds: seconds(
                    self.idle_ephemeral_session_lifetime_in_minutes,
                    self.idle_ephemeral_session_lifetime,
                    24,
                ),
            }
        }
    }

    /// Whether session cookies outlive the browser.
    pub fn persistent_sessions(&self) -> bool {
        self.session_cookie.mode.as_deref() != Some("non-persistent")
    }
}
