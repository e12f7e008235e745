//! A "no" and a "could not".

use std::borrow::Cow;
use std::fmt;

use crate::log::LogCode;

/// What a flow decided. Both commit: a refusal may have ended a session.
#[derive(Debug)]
pub enum Decision<T> {
    /// Yes, and here it is.
    Granted(T),
    /// No.
    Refused(Refusal),
}

impl<T> Decision<T> {
    /// For code that goes on with `?` once the transaction is committed.
    pub fn into_result(self) -> Result<T, Refusal> {
        match self {
            Self::Granted(value) => Ok(value),
            Self::Refused(refusal) => Err(refusal),
        }
    }
}

/// A "no" with what the caller is told and what the operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The registered error code.
    pub code: OAuthCode,
    /// May leave the server.
    pub description: Cow<'static, str>,
    /// Never leaves the server: goes into the tenant's log only.
    pub detail: Cow<'static, str>,
    /// Under which code the tenant's log has it; `None` when it is not logged.
    pub log: Option<LogCode>,
}

impl Refusal {
    /// A refusal that says the same inside and outside and is not logged.
    pub fn new(code: OAuthCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into(), detail: Cow::Borrowed(""), log: None }
    }

    /// Adds what only the operator may read.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Names the log code.
    #[must_use]
    pub fn log(mut self, log: LogCode) -> Self {
        self.log = Some(log);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)
    }
}

macro_rules! oauth_codes {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// The error codes that go over the wire (RFC 6749 §4.1.2.1 and §5.2, OIDC Core §3.1.2.6, and Auth0's own).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum OAuthCode { $($(#[$doc])* $name,)* }

        impl OAuthCode {
            /// Every code, for tests that go through them all.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it goes over the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

oauth_codes! {
    /// RFC 6749 §5.2. Also parameters that are missing or malformed.
    InvalidRequest = "invalid_request",
    /// RFC 6749 §5.2.
    InvalidClient = "invalid_client",
    /// RFC 6749 §5.2.
    InvalidGrant = "invalid_grant",
    /// RFC 6749 §5.2.
    InvalidScope = "invalid_scope",
    /// RFC 6750 §3.1.
    InvalidToken = "invalid_token",
    /// RFC 6750 §3.1.
    InsufficientScope = "insufficient_scope",
    /// RFC 6749 §5.2.
    UnauthorizedClient = "unauthorized_client",
    /// RFC 6749 §5.2.
    UnsupportedGrantType = "unsupported_grant_type",
    /// RFC 6749 §4.1.2.1.
    UnsupportedResponseType = "unsupported_response_type",
    /// RFC 6749 §4.1.2.1; at Auth0 also wrong client credentials.
    AccessDenied = "access_denied",
    /// Auth0: a blocked user at `/authorize`.
    Unauthorized = "unauthorized",
    /// OIDC Core §3.1.2.6.
    LoginRequired = "login_required",
    /// OIDC Core §3.1.2.6.
    ConsentRequired = "consent_required",
    /// OIDC Core §3.1.2.6.
    InteractionRequired = "interaction_required",
    /// Auth0: rate limits and full queues.
    TooManyRequests = "too_many_requests",
    /// OIDC Core §3.1.2.6.
    RequestNotSupported = "request_not_supported",
    /// OIDC Core §3.1.2.6.
    RequestUriNotSupported = "request_uri_not_supported",
    /// OIDC Core §3.1.2.6.
    RegistrationNotSupported = "registration_not_supported",
    /// RFC 8707 §2.
    InvalidTarget = "invalid_target",
    /// RFC 9396 §5.
    InvalidAuthorizationDetails = "invalid_authorization_details",
    /// RFC 7009 §2.2.1.
    UnsupportedTokenType = "unsupported_token_type",
    /// RFC 6749 §4.1.2.1.
    TemporarilyUnavailable = "temporarily_unavailable",
    /// RFC 6749 §4.1.2.1: what a [`Failure`] becomes.
    ServerError = "server_error",
}

/// We could not decide: storage, keys, an upstream. Rolls back, becomes `server_error` (or 503 for
/// [`Failure::Busy`]), and is logged once with its whole chain.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database could not order two writers, also not after the retries.
    #[error("the database could not order two writers")]
    Contention,
    /// A bounded queue is full; try again in some seconds.
    #[error("{what} is busy")]
    Busy {
        /// Which queue.
        what: &'static str,
        /// For `Retry-After`.
        retry_after_seconds: u32,
    },
    /// The connection broke between COMMIT and its answer: nobody knows whether it is committed.
    #[error("the outcome of a commit is unknown")]
    UnknownCommit(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database answered with an error.
    #[error("storage: {context}")]
    Storage {
        /// What was being done.
        context: Cow<'static, str>,
        /// What the driver said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row that makes no sense.
    #[error("inconsistent row in {table}, column {column}: {id}")]
    Inconsistent {
        /// Which table.
        table: &'static str,
        /// Which column.
        column: &'static str,
        /// Which row, or what stands in it.
        id: String,
    },
    /// A uniqueness rule of the schema stopped an insert that no flow had foreseen.
    #[error("a row with this key exists already")]
    Conflict,
    /// Signing, sealing or hashing failed.
    #[error("cryptography: {0}")]
    Crypto(Cow<'static, str>),
    /// A flow broke a rule of the house: a bug.
    #[error("internal: {0}")]
    Internal(Cow<'static, str>),
}

impl Failure {
    /// Wraps a driver's error.
    pub fn storage(
        context: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Storage { context: context.into(), source: source.into() }
    }
}
