//! Requests to the server: over one pool of connections, each with its time and the size of its answer bounded.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use curfew_model::Secret;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue, InvalidHeaderValue};
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::config::{Config, ConfigError, Roots};

/// How long a request may take, from the connection to the end of a short answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read whole.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const IDLE_CONNECTIONS_MAX: usize = 4;
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no answer in time")]
    Timeout,
    #[error("the server cannot be reached")]
    Connection(#[source] legacy::Error),
    #[error("the answer broke off")]
    BrokenOff(#[source] BodyError),
    #[error("the answer is too long")]
    TooLong,
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    #[error("the answer is not what was asked for")]
    Malformed,
}

/// An answer that was read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body of a 200, read as JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, CallError> {
        match self.status {
            StatusCode::OK => serde_json::from_slice(&self.body).map_err(|_| CallError::Malformed),
            status => Err(CallError::Status(status)),
        }
    }
}

/// An answer that is read piece by piece.
pub(crate) type Body = BoxBody<Bytes, BodyError>;

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BodyError(String);

/// The one client of a guard: it speaks to the configured issuer and to nobody else.
pub(crate) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    issuer: String,
}

/// What the server is told of who asks.
pub(crate) type Bearer = Arc<Secret<String>>;

impl Client {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let uri: Uri = config.issuer.parse().map_err(|_| ConfigError::Issuer)?;
        let tls = match uri.scheme() == Some(&Scheme::HTTPS) {
            true => Some(TlsConnector::from(Arc::new(tls_config(&config.roots)?))),
            false => None,
        };
        #[cfg(test)]
        let connector = Connector { dial: config.dial.clone().unwrap_or_else(|| Dial::to(config)), tls };
        #[cfg(not(test))]
        let connector = Connector { dial: Dial::to(config), tls };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Self { http, issuer: config.issuer.clone() })
    }

    fn request(&self, path: &str, bearer: Option<&Bearer>) -> Result<http::request::Builder, CallError> {
        let mut request = Request::builder().uri(format!("{}{path}", self.issuer));
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, authorization(bearer).map_err(|_| CallError::Malformed)?);
        }
        Ok(request)
    }

    /// Sends a request; the answer's head is there within [`PATIENCE`].
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, CallError> {
        let sent = tokio::time::timeout(PATIENCE, self.http.request(request)).await;
        let response = sent.map_err(|_| CallError::Timeout)?.map_err(CallError::Connection)?;
        Ok(response.map(|body| body.map_err(|error| BodyError(error.to_string())).boxed()))
    }

    /// Sends a request, and reads the whole answer within `patience`.
    async fn call(&self, request: Request<Full<Bytes>>, patience: Duration) -> Result<Answer, CallError> {
        let whole = async {
            let response = self.send(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => CallError::TooLong,
                false => CallError::BrokenOff(BodyError(error.to_string())),
            })?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        tokio::time::timeout(patience, whole).await.map_err(|_| CallError::Timeout)?
    }

    /// `GET`, read whole.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, CallError> {
        let request = self.request(path, None)?.header(ACCEPT, "application/json");
        let request = request.body(Full::default()).map_err(|_| CallError::Malformed)?;
        self.call(request, PATIENCE).await
    }

    /// `GET`, to be read piece by piece, of a type and in an encoding.
    pub(crate) async fn open(
        &self,
        path: &str,
        (accept, encoding): (&'static str, &'static str),
        bearer: &Bearer,
    ) -> Result<Response<Body>, CallError> {
        let request = self.request(path, Some(bearer))?.header(ACCEPT, accept);
        let request = request.header(ACCEPT_ENCODING, encoding);
        self.send(request.body(Full::default()).map_err(|_| CallError::Malformed)?).await
    }

    /// `POST` of JSON.
    pub(crate) async fn post_json(
        &self,
        path: &str,
        bearer: Option<&Bearer>,
        body: &impl Serialize,
    ) -> Result<Answer, CallError> {
        let body = serde_json::to_vec(body).map_err(|_| CallError::Malformed)?;
        let request = self.request(path, bearer)?.method(http::Method::POST);
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body));
        self.call(request.map_err(|_| CallError::Malformed)?, PATIENCE).await
    }

    /// `POST` of a form.
    pub(crate) async fn post_form(
        &self,
        path: &str,
        bearer: &Bearer,
        form: String,
        patience: Duration,
    ) -> Result<Answer, CallError> {
        let request = self.request(path, Some(bearer))?.method(http::Method::POST);
        let request =
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Full::from(form));
        self.call(request.map_err(|_| CallError::Malformed)?, patience).await
    }
}

fn authorization(bearer: &Bearer) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", bearer.expose()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls_config(roots: &Roots) -> Result<ClientConfig, ConfigError> {
    let certificates: Vec<CertificateDer<'static>> = match roots {
        Roots::Platform => rustls_native_certs::load_native_certs().certs,
        Roots::Pem(pem) => {
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| ConfigError::Roots)?
        }
    };
    let mut store = RootCertStore::empty();
    // A platform's store may hold old certificates that rustls does not take; one's own must all be good.
    let (added, ignored) = store.add_parsable_certificates(certificates);
    if added == 0 || (matches!(roots, Roots::Pem(_)) && ignored > 0) {
        return Err(ConfigError::Roots);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ConfigError::Roots)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(config)
}

/// How a connection is begun.
#[derive(Clone)]
pub(crate) enum Dial {
    /// To where the issuer's name leads, or to this address instead.
    Tcp(Option<SocketAddr>),
    /// To a server in the same process.
    #[cfg(test)]
    Memory(Arc<dyn Fn() -> io::Result<tokio::io::DuplexStream> + Send + Sync>),
}

impl Dial {
    fn to(config: &Config) -> Self {
        Self::Tcp(config.address)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this client reaches the configured issuer and nobody else"
    )]
    async fn dial(&self, uri: &Uri) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => {
                let stream = match address {
                    Some(address) => TcpStream::connect(address).await?,
                    None => {
                        let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
                        let host = host(uri)?;
                        TcpStream::connect((host, uri.port_u16().unwrap_or(default))).await?
                    }
                };
                stream.set_nodelay(true)?;
                Ok(Stream(Box::new(stream)))
            }
            #[cfg(test)]
            Self::Memory(dial) => Ok(Stream(Box::new(dial()?))),
        }
    }
}

fn host(uri: &Uri) -> io::Result<&str> {
    let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

#[derive(Clone)]
struct Connector {
    dial: Dial,
    tls: Option<TlsConnector>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { dial, tls } = self.clone();
        let connect = async move {
            let stream = dial.dial(&uri).await?;
            let Some(tls) = tls else { return Ok(TokioIo::new(stream)) };
            let name = ServerName::try_from(host(&uri)?.to_owned()).map_err(io::Error::other)?;
            Ok(TokioIo::new(Stream(Box::new(tls.connect(name, stream).await?))))
        };
        // Connections that are begun go on when the request is given up, so the time is bounded here.
        Box::pin(async {
            tokio::time::timeout(PATIENCE, connect)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection, with TLS or without.
struct Stream(Box<dyn Duplex>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
