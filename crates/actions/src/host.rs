//! What an Action may ask of the world: answered by the parent, never by the worker.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An answer to come.
pub type HostFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The parent's side of an execution. What it is asked comes from the tenant's code.
///
/// A future that is dropped is a request that nobody waits for any more.
pub trait Host: Send + Sync {
    /// Sends a request and reads the whole answer. Redirects are answers.
    fn fetch(&self, request: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>>;

    /// Reads or writes the trigger's cache.
    fn cache(&self, request: CacheRequest) -> HostFuture<'_, CacheAnswer>;
}

/// A request of the Action's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The method.
    pub method: String,
    /// The whole address. Not looked at yet.
    pub url: String,
    /// Names and values, in the order in which they were given.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResponse {
    /// The status.
    pub status: u16,
    /// The reason beside it, or nothing.
    pub status_text: String,
    /// Where the answer came from in the end.
    pub url: String,
    /// Whether that is after a redirect.
    pub redirected: bool,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchError {
    /// As Node's errors name it (`ECONNREFUSED`), or `EACCES` for what may not be reached.
    pub code: String,
    /// For the Action's author.
    pub message: String,
}

impl FetchError {
    /// An error with this code and text.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// What the Action asks of its cache. Keys and values are checked by the one who keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "op", deny_unknown_fields)]
pub enum CacheRequest {
    /// `api.cache.get`
    Get {
        /// Of the entry.
        key: String,
    },
    /// `api.cache.set`
    Set {
        /// Of the entry.
        key: String,
        /// Its value.
        value: String,
        /// Milliseconds that it lives.
        ttl_ms: Option<i64>,
        /// Milliseconds since 1970 until which it lives.
        expires_at_ms: Option<i64>,
    },
    /// `api.cache.delete`
    Delete {
        /// Of the entry.
        key: String,
    },
}

/// The answer of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer", deny_unknown_fields)]
pub enum CacheAnswer {
    /// The entry, as it is now.
    Record {
        /// Its value.
        value: String,
        /// Milliseconds since 1970.
        created_at_ms: i64,
        /// Milliseconds since 1970.
        expires_at_ms: i64,
    },
    /// There is no such entry, or there is none any more.
    Nothing,
    /// It was not done.
    Failed {
        /// Which rule, as Auth0 names it: `CacheKeySizeExceeded`, `CacheValueSizeExceeded`, `ItemAlreadyExists`…
        code: String,
    },
}

/// A host that reaches nothing: what an Action gets where there is neither network nor cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Host for Nothing {
    fn fetch(&self, _: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>> {
        Box::pin(async { Err(FetchError::new("EACCES", "this Action may not reach the network")) })
    }

    fn cache(&self, request: CacheRequest) -> HostFuture<'_, CacheAnswer> {
        Box::pin(async move {
            match request {
                CacheRequest::Get { .. } | CacheRequest::Delete { .. } => CacheAnswer::Nothing,
                CacheRequest::Set { .. } => CacheAnswer::Failed { code: "CacheUnavailable".to_owned() },
            }
        })
    }
}
