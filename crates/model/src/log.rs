//! The catalogue of the tenant's log: Auth0's event type codes, as far as this server emits them.

macro_rules! log_codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// Under which code the tenant's log has an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum LogCode { $($(#[$doc])* $name,)* }

        impl LogCode {
            /// Every code this server emits.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

log_codes! {
    /// Login succeeded.
    Login = "s",
    /// Login failed: blocked user, denied, other causes.
    LoginFailed = "f",
    /// Wrong password.
    WrongPassword = "fp",
    /// Unknown user name or e-mail.
    UnknownUser = "fu",
    /// Silent login succeeded.
    SilentLogin = "ssa",
    /// Silent login failed.
    SilentLoginFailed = "fsa",
    /// Sign-up succeeded.
    Signup = "ss",
    /// Sign-up failed.
    SignupFailed = "fs",
    /// Logout succeeded.
    Logout = "slo",
    /// Logout failed.
    LogoutFailed = "flo",
    /// Code exchanged.
    CodeExchange = "seacft",
    /// Code exchange failed.
    CodeExchangeFailed = "feacft",
    /// client_credentials succeeded.
    ClientCredentials = "seccft",
    /// client_credentials failed.
    ClientCredentialsFailed = "feccft",
    /// Password grant succeeded.
    PasswordGrant = "sepft",
    /// Password grant failed.
    PasswordGrantFailed = "fepft",
    /// Refresh token exchanged.
    RefreshTokenExchange = "sertft",
    /// Refresh-token exchange failed.
    RefreshTokenExchangeFailed = "fertft",
    /// A rotated refresh token was presented again.
    RefreshTokenReuse = "ferrt",
    /// Refresh token revoked.
    RefreshTokenRevoked = "srrt",
    /// Refresh tokens beyond the limit removed.
    ResourceCleanup = "resource_cleanup",
    /// A request's origin is not allowed.
    CorsRejected = "fco",
    /// Management API write succeeded.
    ManagementWrite = "sapi",
    /// Management API read that returned secrets.
    ManagementRead = "mgmt_api_read",
    /// Password changed.
    PasswordChanged = "scp",
    /// Password change asked for.
    PasswordChangeRequest = "scpr",
    /// E-mail changed.
    EmailChanged = "sce",
    /// User name changed.
    UsernameChanged = "scu",
    /// User deleted.
    UserDeleted = "sdu",
    /// Warning during login.
    Warning = "w",
    /// An Action failed, and the flow with it.
    ActionsFailed = "actions_execution_failed",
    /// A session ended for a cause that has no code of its own at Auth0.
    SessionRevoked = "session_revoked",
    /// An application confirmed a logout token.
    BackchannelLogout = "oidc_backchannel_logout_succeeded",
    /// A logout token was not confirmed: the first try that failed, and the end of the tries; or an application has no address for it.
    BackchannelLogoutFailed = "oidc_backchannel_logout_failed",
}
