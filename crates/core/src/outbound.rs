//! The way out to applications. The rules do not know how a request is sent; whoever puts the server together hands in
//! what does.

use std::borrow::Cow;
use std::fmt::{self, Debug};

use curfew_model::Secret;
use futures_util::future::BoxFuture;
use url::Url;

/// What an application answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Retry-After`, as it was sent.
    pub retry_after: Option<String>,
    /// The body, as far as it is text.
    pub body: String,
}

/// What is sent to an application.
#[derive(Debug, Clone)]
pub struct Post {
    /// `Content-Type` of the body.
    pub content_type: &'static str,
    /// Other headers, by name; what they say may be a secret.
    pub headers: Vec<(Cow<'static, str>, Secret<String>)>,
    /// The body.
    pub body: String,
}

impl Post {
    /// A form (`application/x-www-form-urlencoded`).
    pub fn form(body: String) -> Self {
        Self { content_type: "application/x-www-form-urlencoded", headers: Vec::new(), body }
    }
}

/// Why there was no whole answer, for the operator. Whether the request arrived is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoReply(pub String);

impl fmt::Display for NoReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sends requests to applications.
pub trait Outbound: Debug + Send + Sync {
    /// Whether requests to an address could be sent, as far as that is known beforehand; why not otherwise.
    fn admits(&self, url: &Url) -> Result<(), String>;

    /// Sends something, and waits for the answer, for a bounded time.
    fn post(&self, url: Url, post: Post) -> BoxFuture<'_, Result<Reply, NoReply>>;
}

/// No way out: for servers that only answer.
#[derive(Debug, Clone, Copy)]
pub struct Closed;

impl Outbound for Closed {
    fn admits(&self, url: &Url) -> Result<(), String> {
        if url.scheme() == "https" { Ok(()) } else { Err("the scheme is not https".to_owned()) }
    }

    fn post(&self, _: Url, _: Post) -> BoxFuture<'_, Result<Reply, NoReply>> {
        Box::pin(async { Err(NoReply("this server sends nothing".to_owned())) })
    }
}
