//! The catalogue of causes: every door by which access ends.

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// Why access ended. Each cause has a row in the cascade (`core::endings`) and in the test matrix; the
        /// exhaustive matches there make a door without a row fail the build.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EndingCause { $($(#[$doc])* $name,)* }

        impl EndingCause {
            /// Every cause, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in the store, the feed and the log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// Reads a stored name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|cause| cause.as_str() == text)
            }
        }
    };
}

causes! {
    /// `PATCH /api/v2/users/{id}` with `blocked: true`.
    UserBlocked = "user_blocked",
    /// `DELETE /api/v2/users/{id}`.
    UserDeleted = "user_deleted",
    /// `POST /api/v2/users/{id}/revoke-access` without `session_id`.
    AccessRevoked = "access_revoked",
    /// The password of an identity changed.
    PasswordChanged = "password_changed",
    /// E-mail or user name changed, or `email_verified` went to false.
    IdentifierChanged = "identifier_changed",
    /// `/v2/logout` or `/oidc/logout`.
    RpLogout = "rp_logout",
    /// `DELETE /api/v2/sessions/{id}`.
    SessionDeleted = "session_deleted",
    /// `POST /api/v2/sessions/{id}/revoke`, or revoke-access with a `session_id`.
    SessionRevoked = "session_revoked",
    /// `DELETE /api/v2/users/{id}/sessions`.
    UserSessionsDeleted = "user_sessions_deleted",
    /// `DELETE /api/v2/users/{id}/refresh-tokens`, `POST /api/v2/refresh-tokens/revoke` by user.
    UserFamiliesRevoked = "user_refresh_tokens_revoked",
    /// `POST /api/v2/refresh-tokens/revoke` by user and client.
    ClientFamiliesRevoked = "client_refresh_tokens_revoked",
    /// `DELETE /api/v2/refresh-tokens/{id}`, `POST /api/v2/refresh-tokens/revoke` by ids.
    FamilyRevoked = "refresh_token_revoked",
    /// `POST /oauth/revoke` (RFC 7009).
    TokenRevoked = "token_revoked",
    /// A refresh token was presented again outside the leeway (RFC 9700 §4.14.2).
    RefreshTokenReuse = "refresh_token_reuse",
    /// An authorization code was presented again (RFC 6749 §4.1.2).
    CodeReplay = "code_replay",
    /// Rotation was switched on or off for the client since the family began.
    RotationToggled = "rotation_toggled",
    /// The oldest families beyond the limit per user and client.
    FamilyLimit = "refresh_token_limit",
    /// A session's idle time is over.
    IdleTimeout = "idle_timeout",
    /// A session's absolute life-time is over.
    LifetimeReached = "lifetime_reached",
    /// A family's idle or absolute life-time is over.
    FamilyExpired = "refresh_token_expired",
    /// `DELETE /api/v2/grants/{id}` or by user.
    GrantDeleted = "grant_deleted",
    /// `DELETE /api/v2/client-grants/{id}`.
    ClientGrantDeleted = "client_grant_deleted",
    /// `DELETE /api/v2/clients/{id}`.
    ClientDeleted = "client_deleted",
    /// `POST /api/v2/endings` by client: everything it was ever given, and it stays.
    ClientAccessRevoked = "client_access_revoked",
    /// `POST /api/v2/clients/{id}/rotate-secret`: only what Auth0 ends, which is nothing already issued.
    ClientSecretRotated = "client_secret_rotated",
    /// `DELETE /api/v2/resource-servers/{id}`.
    ResourceServerDeleted = "resource_server_deleted",
    /// `DELETE /api/v2/connections/{id}`.
    ConnectionDeleted = "connection_deleted",
    /// A connection was disabled for a client.
    ConnectionDisabled = "connection_disabled",
    /// `DELETE /api/v2/users/{id}/identities/{provider}/{user_id}`; also what linking ends of the secondary.
    IdentityUnlinked = "identity_unlinked",
    /// `PUT /api/v2/keys/signing/{kid}/revoke`.
    SigningKeyRevoked = "signing_key_revoked",
    /// A sealing key was revoked.
    SealingKeyRevoked = "sealing_key_revoked",
    /// A new login displaced it: a limit of sessions (`sessions.max_per_user`, or the cap), or another user in the same browser.
    Superseded = "superseded",
}

macro_rules! initiators {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// What Auth0 calls the kinds of endings of which an application may want logout tokens.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Initiator { $($(#[$doc])* $name,)* }

        impl Initiator {
            /// Every initiator.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name in a client's configuration and in the log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }

            /// Reads a name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|initiator| initiator.as_str() == text)
            }
        }
    };
}

initiators! {
    /// The person logged out at an application.
    RpLogout = "rp-logout",
    /// The person logged out at an identity provider.
    IdpLogout = "idp-logout",
    /// The password changed.
    PasswordChanged = "password-changed",
    /// A session's time is over.
    SessionExpired = "session-expired",
    /// A session was ended by an administrator or a rule.
    SessionRevoked = "session-revoked",
    /// The user was deleted.
    AccountDeleted = "account-deleted",
    /// E-mail or user name changed.
    EmailIdentifierChanged = "email-identifier-changed",
    /// A telephone number for the second factor was taken away.
    MfaPhoneUnenrolled = "mfa-phone-unenrolled",
    /// The user was blocked.
    AccountDeactivated = "account-deactivated",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_read_back() {
        for cause in EndingCause::ALL {
            assert_eq!(EndingCause::parse(cause.as_str()), Some(*cause));
        }
        for initiator in Initiator::ALL {
            assert_eq!(Initiator::parse(initiator.as_str()), Some(*initiator));
        }
    }
}
