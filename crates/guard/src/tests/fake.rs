//! A server in the same process that speaks the protocol, and does what a test wants it to do wrong. Time is Tokio's, which
//! the tests pause.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use curfew_model::Timestamp;
use curfew_tokens::{SigningAlg, SigningKey};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::client::Dial;
use crate::clock::{Clocks, Moment};
use crate::config::Config;
use crate::guard::Guard;
use crate::position::Position;

pub(super) const ISSUER: &str = "http://localhost/";
pub(super) const AUDIENCE: &str = "https://api.example/";
/// 2026-11-22T00:00:00Z.
pub(super) const START: i64 = 1_795_305_600;
const LANES: usize = 2;
/// The number of its feed.
const FEED: u64 = 7;

/// Tokio's clock, and a wall clock that can be set.
#[derive(Debug)]
pub(super) struct TestClocks {
    start: Instant,
    set_seconds: AtomicI64,
}

impl TestClocks {
    fn new() -> Self {
        Self { start: Instant::now(), set_seconds: AtomicI64::new(0) }
    }

    /// Sets the wall clock forward, or back: what the machine's sleep looks like, or an operator's mistake.
    pub(super) fn set(&self, seconds: i64) {
        self.set_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clocks for TestClocks {
    fn now(&self) -> Moment {
        let monotonic = self.start.elapsed();
        let set = self.set_seconds.load(Ordering::SeqCst);
        Moment { monotonic, wall: Timestamp::from_seconds(START).plus_seconds(set) + monotonic }
    }
}

/// What becomes of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probes {
    /// Echoed in the stream.
    Echoed,
    /// Taken, but never echoed: the node has lost its database.
    NotEchoed,
    /// Answered by another node, which has read the whole feed.
    Elsewhere,
    /// Not answered.
    Hanging,
}

/// What becomes of introspections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Introspection {
    Active(bool),
    Status(u16),
    Hanging,
}

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Up,
    /// Refused.
    Down,
    /// Accepted, and nothing more.
    Hanging,
}

pub(super) struct State {
    pub(super) network: Network,
    pub(super) probes: Probes,
    pub(super) introspection: Introspection,
    /// Another status than 200 for the feed.
    pub(super) feed_status: Option<u16>,
    /// Another status than 200 for the JWKS.
    pub(super) jwks_status: Option<u16>,
    pub(super) token_seconds: u64,
    /// What the streams are to say is kept back.
    pub(super) delayed: bool,
    /// Whether snapshots are compressed, and how many bytes their end is short of.
    pub(super) gzip: bool,
    pub(super) snapshot_lacks: usize,
    /// How far each lane has come.
    position: [u64; LANES],
    /// Every entry: lane, number, cutoff.
    log: Vec<(usize, u64, Value)>,
    /// Up to where the log has gone into the snapshot.
    snapshot_length: usize,
    streams: BTreeMap<String, mpsc::UnboundedSender<Bytes>>,
    kept_back: VecDeque<(String, Bytes)>,
    connections: Vec<AbortHandle>,
    hanging: Vec<DuplexStream>,
    keys: Vec<Arc<SigningKey>>,
    /// Requests, by path.
    asked: BTreeMap<String, usize>,
    /// The bodies of the probes.
    pub(super) told: Vec<Value>,
    /// From where the streams were taken up.
    pub(super) taken_up: Vec<String>,
}

#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    pub(super) clocks: Arc<TestClocks>,
    changed: watch::Sender<()>,
}

pub(super) fn signing_key(kid: &str) -> Arc<SigningKey> {
    let generated = SigningKey::generate(SigningAlg::ES256).unwrap();
    Arc::new(SigningKey::from_pkcs8(kid, SigningAlg::ES256, generated.pkcs8.expose()).unwrap())
}

impl Fake {
    pub(super) fn new() -> Self {
        let state = State {
            network: Network::Up,
            probes: Probes::Echoed,
            introspection: Introspection::Active(true),
            feed_status: None,
            jwks_status: None,
            token_seconds: 86_400,
            delayed: false,
            gzip: true,
            snapshot_lacks: 0,
            position: [5; LANES],
            log: Vec::new(),
            snapshot_length: 0,
            streams: BTreeMap::new(),
            kept_back: VecDeque::new(),
            connections: Vec::new(),
            hanging: Vec::new(),
            keys: vec![signing_key("k1")],
            asked: BTreeMap::new(),
            told: Vec::new(),
            taken_up: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            clocks: Arc::new(TestClocks::new()),
            changed: watch::Sender::new(()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn config(&self) -> Config {
        let fake = self.clone();
        let mut config = Config::new(ISSUER, AUDIENCE, "guard", "a secret").clocks(self.clocks.clone());
        config.dial = Some(Dial::Memory(Arc::new(move || fake.dial())));
        config
    }

    /// A guard of this server that decides by its view.
    pub(super) async fn guard(&self, config: Config) -> Guard {
        let guard = Guard::start(config).unwrap();
        guard.ready().await;
        guard
    }

    /// How often a path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.state().asked(path)
    }

    /// Waits until something is so on the server's side.
    pub(super) async fn until(&self, so: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        while !so(&self.state()) {
            changed.changed().await.unwrap();
        }
    }

    /// The key that signs now.
    pub(super) fn key(&self) -> Arc<SigningKey> {
        self.state().keys[0].clone()
    }

    /// Another key signs from now on.
    pub(super) fn rotate(&self, kid: &str) {
        self.state().keys.insert(0, signing_key(kid));
    }

    /// Something has ended: it is in the feed from now on.
    pub(super) fn end(&self, cutoff: Value) {
        let mut state = self.state();
        let lane = state.log.len() % LANES;
        state.position[lane] += 1;
        let number = state.position[lane];
        state.log.push((lane, number, cutoff.clone()));
        let ending = ending(lane, number, &cutoff);
        let streams: Vec<String> = state.streams.keys().cloned().collect();
        streams.iter().for_each(|stream| state.say(stream, ending.clone()));
    }

    /// How far the feed has come.
    pub(super) fn position(&self) -> String {
        self.state().position()
    }

    /// The snapshot has in it what has ended until now.
    pub(super) fn write_snapshot(&self) {
        let mut state = self.state();
        state.snapshot_length = state.log.len();
    }

    /// Every connection breaks off.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        state.streams.clear();
        state.connections.drain(..).for_each(|connection| connection.abort());
    }

    /// Cuts everything, and lets nobody in any more.
    pub(super) fn go(&self, network: Network) {
        self.state().network = network;
        self.cut();
    }

    /// Says something in every stream.
    pub(super) fn say(&self, event: &str, data: &Value) {
        let mut state = self.state();
        let streams: Vec<String> = state.streams.keys().cloned().collect();
        streams.iter().for_each(|stream| state.say(stream, text(event, data)));
    }

    /// Lets the oldest of what was kept back through.
    pub(super) fn let_through(&self, pieces: usize) {
        let mut state = self.state();
        for _ in 0..pieces {
            let Some((stream, piece)) = state.kept_back.pop_front() else { return };
            if let Some(stream) = state.streams.get(&stream) {
                let _ = stream.send(piece);
            }
        }
    }

    fn dial(&self) -> io::Result<DuplexStream> {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let mut state = self.state();
        match state.network {
            Network::Up => {
                let fake = self.clone();
                let serve = async move {
                    let service = service_fn(move |request| fake.clone().answer(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
                };
                state.connections.push(tokio::spawn(serve).abort_handle());
            }
            Network::Down => return Err(io::ErrorKind::ConnectionRefused.into()),
            Network::Hanging => state.hanging.push(server),
        }
        Ok(client)
    }

    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or("").to_owned();
        let bearer = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let answered = self.decide(&path, &query, bearer.as_deref(), &body);
        self.changed.send_replace(());
        match answered {
            Some(response) => Ok(response),
            None => std::future::pending().await,
        }
    }

    /// `None` when there is to be no answer.
    fn decide(
        &self,
        path: &str,
        query: &str,
        bearer: Option<&str>,
        body: &[u8],
    ) -> Option<Response<UnsyncBoxBody<Bytes, Infallible>>> {
        let mut state = self.state();
        *state.asked.entry(path.to_owned()).or_default() += 1;
        let full = |status: u16, body: Bytes| {
            let mut response = Response::new(Full::new(body).boxed_unsync());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Some(response)
        };
        let json = |status: u16, body: Value| full(status, body.to_string().into());
        let own = bearer.is_some_and(|bearer| bearer.starts_with("Bearer token-"));
        if path != "/oauth/token" && path != "/.well-known/jwks.json" && !own {
            return json(401, json!({ "error": "invalid_token" }));
        }
        match path {
            "/oauth/token" => {
                let request: Value = serde_json::from_slice(body).unwrap();
                let expected = json!({
                    "grant_type": "client_credentials", "client_id": "guard", "client_secret": "a secret",
                    "audience": AUDIENCE,
                });
                assert_eq!(request, expected);
                let token = format!("token-{}", state.asked["/oauth/token"]);
                let seconds = state.token_seconds;
                json(200, json!({ "access_token": token, "token_type": "Bearer", "expires_in": seconds }))
            }
            "/.well-known/jwks.json" => match state.jwks_status {
                Some(status) => json(status, Value::Null),
                None => {
                    let keys: Vec<_> = state.keys.iter().map(|key| key.public().jwk()).collect();
                    json(200, json!({ "keys": keys }))
                }
            },
            "/endings/snapshot" => {
                let entries = &state.log[..state.snapshot_length];
                let mut position = [5; LANES];
                let mut lines = String::new();
                for (lane, number, cutoff) in entries {
                    position[*lane] = *number;
                    lines.push_str(&format!("{cutoff}\n"));
                }
                let position = written(position);
                let first = json!({ "position": position, "issuer": ISSUER, "cutoffs": entries.len() });
                let mut body = format!("{first}\n{lines}").into_bytes();
                if state.gzip {
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                    encoder.write_all(&body).unwrap();
                    body = encoder.finish().unwrap();
                }
                body.truncate(body.len() - state.snapshot_lacks);
                let mut response = full(200, body.into());
                if let (true, Some(response)) = (state.gzip, &mut response) {
                    response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
                }
                response
            }
            "/endings/feed" => {
                if let Some(status) = state.feed_status {
                    return json(status, json!({ "error": "position_unknown" }));
                }
                let position = query.strip_prefix("position=").unwrap().to_owned();
                Some(state.open(&position))
            }
            "/endings/probe" => {
                let probe: Value = serde_json::from_slice(body).unwrap();
                state.told.push(probe.clone());
                let position = state.position();
                match state.probes {
                    Probes::Echoed => {
                        let data = json!({ "probe": probe["probe"], "position": position });
                        state.say(probe["stream"].as_str().unwrap(), text("echo", &data));
                        full(202, Bytes::new())
                    }
                    Probes::NotEchoed => full(202, Bytes::new()),
                    Probes::Elsewhere => json(200, json!({ "position": position })),
                    Probes::Hanging => None,
                }
            }
            "/oauth/introspect" => match state.introspection {
                Introspection::Active(active) => json(200, json!({ "active": active })),
                Introspection::Status(status) => json(status, json!({ "active": true })),
                Introspection::Hanging => None,
            },
            _ => json(404, Value::Null),
        }
    }
}

impl State {
    pub(super) fn asked(&self, path: &str) -> usize {
        self.asked.get(path).copied().unwrap_or(0)
    }

    fn position(&self) -> String {
        written(self.position)
    }

    fn say(&mut self, stream: &str, piece: Bytes) {
        if self.delayed {
            self.kept_back.push_back((stream.to_owned(), piece));
        } else if let Some(stream) = self.streams.get(stream) {
            // Whoever has hung up hears nothing.
            let _ = stream.send(piece);
        }
    }

    fn open(&mut self, position: &str) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        self.taken_up.push(position.to_owned());
        let from = Position::parse(position).unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        let name = format!("stream-{}", self.taken_up.len());
        self.streams.insert(name.clone(), sender);
        let hello = json!({ "stream": name, "node": "n", "position": position, "probe_seconds": 1 });
        self.say(&name, text("hello", &hello));
        for (lane, number, cutoff) in self.log.clone() {
            let mut reached = from.clone();
            if reached.advance_lane(lane, number) && reached != from {
                self.say(&name, ending(lane, number, &cutoff));
            }
        }
        let position = self.position();
        self.say(&name, text("position", &json!({ "position": position })));
        Response::new(Pieces(receiver).boxed_unsync())
    }
}

fn written(lanes: [u64; LANES]) -> String {
    format!("{}.{FEED}", lanes.map(|number| number.to_string()).join("."))
}

fn text(event: &str, data: &Value) -> Bytes {
    format!("event: {event}\ndata: {data}\n\n").into()
}

fn ending(lane: usize, position: u64, cutoff: &Value) -> Bytes {
    let at = "2026-11-22T00:00:00.000Z";
    let data = json!({
        "cutoff": cutoff, "lane": lane, "position": position, "ending_id": "e", "cause": "c", "at": at,
    });
    text("ending", &data)
}

/// A body whose pieces come one by one.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Lets time pass.
pub(super) async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
