//! The one client through which outbound requests pass.
//!
//! Where they go is what tenants wrote into their configuration, so the client trusts no address: a name is resolved
//! once, every answer is judged ([`Policy`]), and the connection goes to an address that was judged, whatever the name
//! resolves to later. Redirects are answers like any other, nothing in the environment names a proxy, and what a
//! receiver may take is bounded: a time for everything together, and a size of its answer.
//!
//! One request is one connection. The receivers of a server are many and hear of it rarely; a connection kept open would
//! have to be judged again.

mod policy;
mod resolve;
mod roots;

pub use policy::{Policy, Refused};
pub use resolve::{Resolver, SystemResolver};
pub use roots::RootsError;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use url::{Host, Url};

/// How this client names itself.
const AGENT: &str = concat!("curfew/", env!("CARGO_PKG_VERSION"));
/// Most headers of an answer.
const HEADERS_MAX: usize = 100;
/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// What a receiver may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For everything together: resolving, connecting, sending, and the whole answer.
    pub total: Duration,
    /// To connect to one of several addresses, so that a dead one leaves time for the next.
    pub connect: Duration,
    /// Bytes of an answer's body; also of its head.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { total: Duration::from_secs(5), connect: Duration::from_secs(2), answer_bytes_max: 64 * 1024 }
    }
}

/// Why there is no whole answer. What was sent may have arrived all the same, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request was not sent: its address is none that may be reached.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The request was not sent: the name did not resolve.
    #[error("the name does not resolve: {0}")]
    Resolve(#[source] io::Error),
    /// The request was not sent: no connection to any address.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The request was not sent: the TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The connection broke, or what came over it is no HTTP.
    #[error("the answer broke off or is not HTTP")]
    Http(#[source] hyper::Error),
    /// The answer is larger than [`Limits::answer_bytes_max`], or broke off in its body.
    #[error("the answer is too large or broke off: {0}")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The time is over.
    #[error("no answer in time")]
    Timeout,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers beside `Host`, `Connection` and `User-Agent`, which are the client's own.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status. A redirect is one like any other.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The client. Clones share it.
#[derive(Clone)]
pub struct Egress {
    policy: Arc<Policy>,
    limits: Limits,
    resolver: Arc<dyn Resolver>,
    tls: TlsConnector,
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress")
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Egress {
    /// A client that keeps to `policy`. Certificates are checked against the system's authorities, and those in the PEM
    /// file `authorities`.
    pub fn new(policy: Policy, authorities: Option<&Path>) -> Result<Self, RootsError> {
        Ok(Self {
            policy: Arc::new(policy),
            limits: Limits::default(),
            resolver: Arc::new(SystemResolver),
            tls: TlsConnector::from(Arc::new(roots::client_config(authorities)?)),
        })
    }

    /// The same client with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same client with another way to resolve names.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, ..self }
    }

    /// Which addresses may be reached.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, outgoing: Outgoing) -> Result<Answer, Fault> {
        match tokio::time::timeout(self.limits.total, self.exchange(outgoing)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Timeout),
        }
    }

    /// Steps: 1 the URL by itself, 2 resolve, 3 judge every address, 4 connect to one that was judged, 5 TLS, with the
    /// name, 6 one request, one answer.
    async fn exchange(&self, outgoing: Outgoing) -> Result<Answer, Fault> {
        self.policy.admit(&outgoing.url)?;
        let host = outgoing.url.host().ok_or(Refused::NoHost)?;
        let port = outgoing.url.port_or_known_default().ok_or(Refused::NoHost)?;
        let addresses = self.addresses(&host, port).await?;
        let judged = self.policy.judge_all(&outgoing.url, &addresses)?;
        let stream = self.connect(&judged).await?;
        let request = request(&outgoing, &host, port)?;
        if outgoing.url.scheme() == "https" {
            let name = match &host {
                Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                    .map_err(|_| Refused::NoHost)?,
                Host::Ipv4(address) => ServerName::IpAddress(std::net::IpAddr::V4(*address).into()),
                Host::Ipv6(address) => ServerName::IpAddress(std::net::IpAddr::V6(*address).into()),
            };
            let stream = self.tls.connect(name, stream).await.map_err(Fault::Tls)?;
            self.ask(stream, request).await
        } else {
            self.ask(stream, request).await
        }
    }

    async fn addresses(&self, host: &Host<&str>, port: u16) -> Result<Vec<SocketAddr>, Fault> {
        match host {
            Host::Domain(name) => self.resolver.resolve(name, port).await.map_err(Fault::Resolve),
            Host::Ipv4(address) => Ok(vec![SocketAddr::from((*address, port))]),
            Host::Ipv6(address) => Ok(vec![SocketAddr::from((*address, port))]),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one client")]
    async fn connect(&self, judged: &[SocketAddr]) -> Result<TcpStream, Fault> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in judged.iter().take(ADDRESSES_MAX) {
            match tokio::time::timeout(self.limits.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // One small request: nothing is gained by waiting for more to send.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::from(io::ErrorKind::TimedOut),
            }
        }
        Err(Fault::Connect(last))
    }

    async fn ask<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut protocol = http1::Builder::new();
        protocol.max_headers(HEADERS_MAX).max_header_size(self.limits.answer_bytes_max);
        let (mut sender, connection) = protocol.handshake(TokioIo::new(stream)).await.map_err(Fault::Http)?;
        let _driven = Driven(tokio::spawn(async move {
            // What goes wrong on the connection is the request's error.
            let _ = connection.await;
        }));
        let answer = sender.send_request(request).await.map_err(Fault::Http)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, self.limits.answer_bytes_max).collect().await.map_err(Fault::Body)?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// The task that moves a connection's bytes; it ends with the request.
struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(outgoing: &Outgoing, host: &Host<&str>, port: u16) -> Result<Request<Full<Bytes>>, Refused> {
    let url = &outgoing.url;
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let named = match url.port() {
        Some(_) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let named = HeaderValue::try_from(named).map_err(|_| Refused::NoHost)?;
    let mut request = Request::builder()
        .method(outgoing.method.clone())
        .uri(path)
        .body(Full::new(outgoing.body.clone()))
        .map_err(|_| Refused::NoHost)?;
    let headers = request.headers_mut();
    *headers = outgoing.headers.clone();
    headers.insert(HOST, named);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}
