//! One connection and its times.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt as _;

use super::Limits;
use super::body::{Answer, Endless, timed};
use super::linger::Lingering;
use crate::context::Peer;

/// What serves one connection.
pub(super) struct Served {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) protocol: Arc<auto::Builder<TokioExecutor>>,
    pub(super) limits: Arc<Limits>,
    /// True once the server stops.
    pub(super) stopping: watch::Receiver<bool>,
}

impl Served {
    /// Waits for a TLS handshake, but neither longer than it may take nor into the server's stop.
    pub(super) async fn handshaken<S>(
        &self,
        handshake: impl Future<Output = std::io::Result<S>>,
    ) -> Option<S> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => None,
            done = tokio::time::timeout(self.limits.handshake_timeout, handshake) => done.ok()?.ok(),
        }
    }

    /// Serves requests until the client ends, is overdue, or the server stops and no request is open.
    pub(super) async fn serve<S>(mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let requests = Arc::new(Requests::new());
        let service = service(self.router, self.peer, Arc::clone(&requests), Arc::clone(&self.limits));
        let stream = Lingering::new(stream, Arc::clone(&requests), self.limits.farewell_timeout);
        let mut connection = pin!(self.protocol.serve_connection(TokioIo::new(stream), service));
        // The state is looked at now and then, so that a request costs no timer of its own.
        let mut look = pin!(sleep_until(Instant::now() + self.limits.shortest()));
        let mut ending = false;
        loop {
            let now_ends = tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                _ = self.stopping.wait_for(|stopping| *stopping), if !ending => true,
                () = look.as_mut() => match requests.state(&self.limits) {
                    State::Overdue => return,
                    _ if ending && requests.none_open() => return,
                    State::Idle => true,
                    State::Until(due) => {
                        let next = if ending { self.limits.farewell_timeout } else { self.limits.shortest() };
                        look.as_mut().reset(due.min(Instant::now() + next));
                        false
                    }
                },
            };
            if now_ends {
                ending = true;
                connection.as_mut().graceful_shutdown();
                look.as_mut().reset(Instant::now() + self.limits.farewell_timeout);
            }
        }
    }
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

fn service(
    router: Router,
    peer: SocketAddr,
    requests: Arc<Requests>,
    limits: Arc<Limits>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<Answer>,
    Error = Infallible,
    Future = Answered,
> {
    hyper::service::service_fn(move |request: Request<Incoming>| -> Answered {
        let open = requests.open();
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        let (body, late) = timed(body, open.begun + limits.body_timeout, &requests);
        parts.extensions.insert(Peer(peer));
        let answer = router.clone().oneshot(Request::from_parts(parts, body));
        Box::pin(async move {
            let Ok(mut response) = answer.await;
            if late.is_late() {
                // The body of the answer is the surface's own, for a request that is not complete.
                *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
                if version < Version::HTTP_2 {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
            }
            let endless = response.extensions().get::<Endless>().is_some();
            Ok(response.map(|body| Answer { body, open, endless }))
        })
    })
}

/// The requests of one connection, each from its head's last byte until the last byte of its answer is taken.
pub(super) struct Requests(Mutex<Record>);

struct Record {
    /// Their beginnings; of an endless answer, when its client took the last part.
    open: BTreeMap<u64, Instant>,
    next: u64,
    /// When the connection began, or the last request was over.
    quiet_since: Instant,
    /// A body was dropped before its end: the client may still be sending it.
    unread: bool,
}

/// How a connection stands.
enum State {
    /// In time, until then.
    Until(Instant),
    /// There was no request for too long.
    Idle,
    /// A request is not over that should be.
    Overdue,
}

impl Requests {
    fn new() -> Self {
        let record = Record { open: BTreeMap::new(), next: 0, quiet_since: Instant::now(), unread: false };
        Self(Mutex::new(record))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: &Arc<Self>) -> Open {
        let begun = Instant::now();
        let mut record = self.record();
        let number = record.next;
        record.next += 1;
        record.open.insert(number, begun);
        Open { begun, number, requests: Arc::clone(self) }
    }

    fn none_open(&self) -> bool {
        self.record().open.is_empty()
    }

    /// Notes that a body was not read to its end.
    pub(super) fn left_unread(&self) {
        self.record().unread = true;
    }

    /// Whether a body was not read to its end.
    pub(super) fn has_unread(&self) -> bool {
        self.record().unread
    }

    fn state(&self, limits: &Limits) -> State {
        let now = Instant::now();
        let record = self.record();
        let (due, overdue) = match record.open.values().min() {
            Some(oldest) => (*oldest + limits.request_timeout, State::Overdue),
            None if record.next == 0 => (record.quiet_since + limits.first_request_timeout, State::Idle),
            None => (record.quiet_since + limits.idle_timeout, State::Idle),
        };
        if now < due { State::Until(due) } else { overdue }
    }
}

/// A request that is open. Dropping it says that it is over.
pub(super) struct Open {
    begun: Instant,
    number: u64,
    requests: Arc<Requests>,
}

impl Open {
    /// The client took a part of an endless answer.
    pub(super) fn renew(&self) {
        self.requests.record().open.insert(self.number, Instant::now());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut record = self.requests.record();
        record.open.remove(&self.number);
        record.quiet_since = Instant::now();
    }
}
