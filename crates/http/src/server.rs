//! The socket: plain HTTP, or TLS with a certificate that is read again when its files change.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::context::Peer;

/// A client must have sent its headers by then.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(15);
/// A TLS handshake must be done by then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open requests may go on when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the certificate's files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(30);
/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 8192;

/// Where the certificate and its key are.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// PEM chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// Why TLS cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no PEM of its kind.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit, or rustls does not take them.
    #[error("certificate and key are not usable: {0}")]
    Config(#[from] rustls::Error),
}

/// A TLS configuration that follows its files.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    current: Arc<RwLock<Arc<rustls::ServerConfig>>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = Arc::new(RwLock::new(Arc::new(read(&files)?)));
        Ok(Self { files, current })
    }

    fn config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Looks at the files from time to time and takes over what has changed; a half-written pair is tried again.
    async fn follow(self) {
        let mut seen = modified(&self.files);
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let now = modified(&self.files);
            if now == seen {
                continue;
            }
            match read(&self.files) {
                Ok(config) => {
                    *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) =
                        Arc::new(config);
                    seen = now;
                    tracing::info!("certificate reloaded");
                }
                Err(error) => tracing::warn!(%error, "certificate not reloaded"),
            }
        }
    }
}

fn modified(files: &TlsFiles) -> [Option<std::time::SystemTime>; 2] {
    let of = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    [of(&files.certificate), of(&files.key)]
}

fn read(files: &TlsFiles) -> Result<rustls::ServerConfig, TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(failed(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Serves until `shutdown` is done, then lets open requests finish for a while.
pub async fn run(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    if let Some(tls) = tls.clone() {
        tokio::spawn(tls.follow());
    }
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
    let builder = Arc::new(builder);
    tokio::pin!(shutdown);
    loop {
        let permit = Arc::clone(&permits).acquire_owned();
        let (permit, (stream, peer)) = tokio::select! {
            () = &mut shutdown => break,
            accepted = async { (permit.await, listener.accept().await) } => match accepted {
                (Ok(permit), Ok(accepted)) => (permit, accepted),
                (_, Err(error)) => {
                    // Out of descriptors, or a connection that is gone already: go on, but not in a hot loop.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                (Err(_), Ok(_)) => break,
            },
        };
        let _ = stream.set_nodelay(true);
        let service = connection_service(router.clone(), peer);
        let builder = Arc::clone(&builder);
        let watcher = graceful.watcher();
        let tls = tls.as_ref().map(Tls::config);
        tokio::spawn(async move {
            let _permit = permit;
            match tls {
                None => {
                    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                    let _ = watcher.watch(connection).await;
                }
                Some(config) => {
                    let handshake = TlsAcceptor::from(config).accept(stream);
                    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await else {
                        return;
                    };
                    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                    let _ = watcher.watch(connection).await;
                }
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

type Answered = std::pin::Pin<Box<dyn Future<Output = Result<axum::response::Response, Infallible>> + Send>>;

fn connection_service(
    router: Router,
    peer: SocketAddr,
) -> impl hyper::service::Service<
    http::Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = Answered,
> + Clone {
    hyper::service::service_fn(move |mut request: http::Request<Incoming>| -> Answered {
        request.extensions_mut().insert(Peer(peer));
        Box::pin(router.clone().oneshot(request.map(Body::new)))
    })
}
