//! The way out to applications. The rules do not know how a request is sent; whoever puts the server together hands in
//! what does.

use std::fmt::{self, Debug};

use futures_util::future::BoxFuture;
use url::Url;

/// What an application answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// `Retry-After`, as it was sent.
    pub retry_after: Option<String>,
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

    /// Sends a form, and waits for the answer, for a bounded time.
    fn post_form(&self, url: Url, form: String) -> BoxFuture<'_, Result<Reply, NoReply>>;
}

/// No way out: for servers that only answer.
#[derive(Debug, Clone, Copy)]
pub struct Closed;

impl Outbound for Closed {
    fn admits(&self, url: &Url) -> Result<(), String> {
        if url.scheme() == "https" { Ok(()) } else { Err("the scheme is not https".to_owned()) }
    }

    fn post_form(&self, _: Url, _: String) -> BoxFuture<'_, Result<Reply, NoReply>> {
        Box::pin(async { Err(NoReply("this server sends nothing".to_owned())) })
    }
}
