//! The socket: plain HTTP or TLS, and what one client may take of the server. Nobody holds a connection for ever: the
//! handshake, the first request, each body, each answer and the silence in between have their time ([`Limits`]).

mod body;
mod connection;
mod linger;
mod tls;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

pub(crate) use body::{Endless, is_too_slow};
pub use tls::{Tls, TlsError, TlsFiles};

/// Largest head of a request: its line and its headers. A longer one is answered 431, or 414.
const HEAD_BYTES_MAX: u32 = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// What an HTTP/2 client may send ahead on one stream, and on one connection, before somebody reads it.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// What waits to be sent on one HTTP/2 stream.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// How often, at most, the log says that no connection is free.
const SAY_FULL_EVERY: Duration = Duration::from_secs(60);
/// The pause after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What clients may take of the server, in connections and in time.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once. Further ones wait in the kernel's queue until one of these ends.
    pub connections_max: usize,
    /// A TLS handshake is done by then.
    pub handshake_timeout: Duration,
    /// The first request's head is complete by then, from its first byte to its last; counted from the handshake's end.
    pub first_request_timeout: Duration,
    /// How long a connection stays without a request. The head of each further request is complete by then.
    pub idle_timeout: Duration,
    /// A request's body is complete by then, counted from its head. Later it is answered 408.
    pub body_timeout: Duration,
    /// A request is over by then, with its answer sent, counted from its head. Later the connection is cut.
    pub request_timeout: Duration,
    /// How long a connection that is told to end, with no request open, may take to send what is left.
    pub farewell_timeout: Duration,
    /// How long open requests may go on when the server stops.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 8192,
            handshake_timeout: Duration::from_secs(10),
            first_request_timeout: Duration::from_secs(15),
            // Longer than the 60 seconds for which proxies keep connections to us: who closes last, loses no request.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(120),
            farewell_timeout: Duration::from_secs(1),
            // Less than the 10 seconds after which container runtimes kill what they stop.
            drain_timeout: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// The shortest time after which a connection can be overdue.
    fn shortest(&self) -> Duration {
        self.first_request_timeout.min(self.idle_timeout).min(self.request_timeout)
    }
}

/// Both versions of HTTP, with a bound on whatever a client can make grow.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The times of heads are kept by `connection`, for both versions alike.
        .header_read_timeout(None)
        // Who has sent a request and closes its half still gets the answer.
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX);
    builder
}

/// Serves until `shutdown` is done, then lets open requests finish for a while. When this returns no connection is
/// left.
pub async fn run(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    // Ends with this function.
    let mut follower = JoinSet::new();
    if let Some(tls) = tls.clone() {
        follower.spawn(tls.follow());
    }
    let (stop, stopping) = watch::channel(false);
    let mut door = Door {
        listener,
        permits: Arc::new(Semaphore::new(limits.connections_max)),
        connections_max: limits.connections_max,
        said_full: None,
    };
    let drain_timeout = limits.drain_timeout;
    let (limits, protocol) = (Arc::new(limits), Arc::new(protocol()));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let (permit, stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = door.accept() => accepted,
        };
        let _ = stream.set_nodelay(true);
        let served = connection::Served {
            router: router.clone(),
            peer,
            protocol: Arc::clone(&protocol),
            limits: Arc::clone(&limits),
            stopping: stopping.clone(),
        };
        let tls = tls.as_ref().map(Tls::config);
        connections.spawn(async move {
            let _permit = permit;
            match tls {
                None => served.serve(stream).await,
                Some(config) => {
                    let handshake = TlsAcceptor::from(config).accept(stream);
                    if let Some(stream) = served.handshaken(handshake).await {
                        served.serve(stream).await;
                    }
                }
            }
        });
    }
    drop(door);
    stop.send_replace(true);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(drain_timeout, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "some requests did not finish in time");
        connections.shutdown().await;
    }
}

/// Where connections come in, as many at once as there is room for.
struct Door {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    connections_max: usize,
    said_full: Option<Instant>,
}

impl Door {
    /// The next connection, once there is room for it: until then it waits where the kernel keeps it.
    async fn accept(&mut self) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
        loop {
            let permit = match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(permit) => Ok(permit),
                Err(_) => {
                    self.say_full();
                    Arc::clone(&self.permits).acquire_owned().await
                }
            };
            match (permit, self.listener.accept().await) {
                (Ok(permit), Ok((stream, peer))) => return (permit, stream, peer),
                // Nobody closes the semaphore.
                (Err(_), _) => std::future::pending().await,
                (_, Err(error)) => {
                    // Out of descriptors, or a connection that is gone already: go on, but not in a hot loop.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn say_full(&mut self) {
        if self.said_full.is_none_or(|said| said.elapsed() >= SAY_FULL_EVERY) {
            self.said_full = Some(Instant::now());
            let most = self.connections_max;
            tracing::warn!("all {most} connections are taken; further ones wait until one of them ends");
        }
    }
}
