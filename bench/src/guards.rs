//! Guards around the server that is measured: streams of the feed, as many as are wanted, and the guards that people use,
//! which are asked about a token until they refuse it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use curfew_guard::{Config, Guard};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::failed::{Failed, Result, While};
use crate::proc::spawn_on;
use crate::wire::{Connection, Request, Server};
use crate::world::GuardClient;

/// How long anybody is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How often a guard probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// What the guard for Node is driven by.
const NODE_SCRIPT: &str = "bench/node-guard.mjs";
/// How often the clocks are compared; the shortest round trip says most.
const COMPARISONS: usize = 100;

/// Guards: each a stream of its own, and probes once a second.
pub(crate) struct Followers {
    /// How many.
    pub(crate) count: usize,
    /// When each heard of something.
    pub(crate) heard: mpsc::UnboundedReceiver<Instant>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Followers {
    /// Connects so many.
    pub(crate) async fn connect(server: &Rc<Server>, guard: &GuardClient, count: usize) -> Result<Self> {
        let (sender, heard) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for number in 0..count {
            let (stream, id) = follow(server, &guard.token).await?;
            tasks.push(spawn_local(read_endings(stream, sender.clone())).abort_handle());
            let probes = probe(Rc::clone(server), guard.token.clone(), id, number, count);
            tasks.push(spawn_local(probes).abort_handle());
        }
        Ok(Self { count, heard, tasks })
    }
}

/// Opens a stream; answers it with its id, which the first event has.
#[expect(
    clippy::disallowed_methods,
    reason = "the generator's own connection to the server that it measures"
)]
async fn follow(server: &Rc<Server>, token: &str) -> Result<(TcpStream, String)> {
    let mut stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /endings/feed HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
        server.host
    );
    stream.write_all(request.as_bytes()).await?;
    let mut inbox = Vec::new();
    loop {
        if stream.read_buf(&mut inbox).await? == 0 {
            return Err(Failed(format!("no stream: {}", String::from_utf8_lossy(&inbox))));
        }
        let text = String::from_utf8_lossy(&inbox);
        if let Some(id) = text.split_once("\"stream\":\"").and_then(|(_, rest)| rest.split_once('"')) {
            return Ok((stream, id.0.to_owned()));
        }
    }
}

async fn read_endings(mut stream: TcpStream, sender: mpsc::UnboundedSender<Instant>) {
    let mut inbox = Vec::with_capacity(4096);
    while stream.read_buf(&mut inbox).await.is_ok_and(|read| read > 0) {
        let arrived = Instant::now();
        // Whole events; the rest waits for more.
        while let Some(end) = inbox.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = inbox.drain(..end + 2).collect();
            if event.windows(13).any(|part| part == b"event: ending") {
                let _ = sender.send(arrived);
            }
        }
    }
}

async fn probe(server: Rc<Server>, token: String, stream: String, number: usize, count: usize) {
    let float = |number: usize| u32::try_from(number).map_or(f64::MAX, f64::from);
    let mut connection = Connection::new(&server);
    let authorization = format!("Bearer {token}");
    // Spread over the second, as guards that started on their own are.
    tokio::time::sleep(PROBE_EVERY.mul_f64(float(number) / float(count))).await;
    for probe in 1_u64.. {
        let body = json!({
            "stream": stream, "probe": probe,
            "guard": {"name": format!("guard-{number}"), "lease_seconds": 10, "stale": "introspect"},
        });
        let body = body.to_string();
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let request =
            Request { method: "POST", target: "/endings/probe", headers: &headers, body: body.as_bytes() };
        drop(connection.send(&request).await);
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

/// Which of the guards that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// `curfew-guard`, in this process.
    Rust,
    /// `clients/js/guard`, a process of its own.
    Node,
}

/// Such a guard, which follows the feed.
pub(crate) enum Asked {
    Rust(Guard),
    Node(Box<Node>),
}

impl Asked {
    /// Starts it, on a core, and waits until it decides by its view.
    pub(crate) async fn start(
        language: Language,
        server: &Server,
        client: &GuardClient,
        core: usize,
    ) -> Result<Self> {
        let issuer = format!("http://localhost:{}/", server.address.port());
        let ready = async {
            Ok(match language {
                Language::Rust => {
                    let config = Config::new(issuer, &client.audience, &client.id, &client.secret);
                    let guard = Guard::start(config.address(server.address)).doing("the guard for Rust")?;
                    guard.ready().await;
                    Self::Rust(guard)
                }
                Language::Node => Self::Node(Box::new(Node::start(&issuer, client, core).await?)),
            })
        };
        tokio::time::timeout(PATIENCE, ready).await.doing("waiting for a guard")?
    }

    /// Shows a token that must be accepted.
    pub(crate) async fn accepts(&mut self, token: &str) -> Result<()> {
        let accepted = match self {
            Self::Rust(guard) => guard.check(token, &[]).await.is_ok(),
            Self::Node(node) => node.ask(&format!("before {token}")).await?.0 == "accepted",
        };
        if accepted { Ok(()) } else { Err(Failed("a guard refuses a token that lives".into())) }
    }

    /// Shows it again and again, until it is refused: when.
    pub(crate) async fn refuses(&mut self, token: &str) -> Result<Instant> {
        let refused = async {
            match self {
                Self::Rust(guard) => {
                    while guard.check(token, &[]).await.is_ok() {
                        tokio::task::yield_now().await;
                    }
                    Ok(Instant::now())
                }
                Self::Node(node) => {
                    let (line, _) = node.ask("after").await?;
                    node.clock.instant(&line)
                }
            }
        };
        tokio::time::timeout(PATIENCE, refused).await.doing("waiting for a guard to refuse")?
    }

    /// How long a question to it takes on the way there and back, where it is another process.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        match self {
            Self::Rust(_) => None,
            Self::Node(node) => Some(node.clock.round_trip),
        }
    }
}

/// The guard for Node. Dropping it ends the process.
pub(crate) struct Node {
    child: Child,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<(String, Instant)>,
    clock: NodeClock,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Node {
    async fn start(issuer: &str, client: &GuardClient, core: usize) -> Result<Self> {
        let mut command = Command::new("node");
        command.arg(NODE_SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn_on(Some(core), command)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failed("node has no pipes".into()));
        };
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                if sender.send((line, Instant::now())).is_err() {
                    return;
                }
            }
        });
        let clock = NodeClock { at: Instant::now(), nanos: 0, round_trip: Duration::MAX };
        let mut node = Self { child, input, lines, clock };
        let options = json!({
            "issuer": issuer, "audience": client.audience,
            "clientId": client.id, "clientSecret": client.secret, "name": "bench",
        });
        node.ask(&options.to_string()).await?;
        node.compare_clocks().await?;
        Ok(node)
    }

    /// One line there, one line back, with the instant at which it came.
    async fn ask(&mut self, line: &str) -> Result<(String, Instant)> {
        writeln!(self.input, "{line}")?;
        let answer = self.lines.recv().await;
        answer.ok_or_else(|| {
            Failed("the guard for Node ended; `cargo xtask bench` installs what it needs".into())
        })
    }

    async fn compare_clocks(&mut self) -> Result<()> {
        let mut trips = Vec::new();
        for _ in 0..COMPARISONS {
            let asked = Instant::now();
            let (line, answered) = self.ask("clock").await?;
            let trip = answered - asked;
            trips.push(trip);
            if trip < self.clock.round_trip {
                self.clock = NodeClock { at: asked + trip / 2, nanos: nanos(&line)?, round_trip: trip };
            }
        }
        // What is told is the usual one.
        trips.sort_unstable();
        self.clock.round_trip = trips.get(trips.len() / 2).copied().unwrap_or_default();
        Ok(())
    }
}

/// An instant by two clocks.
#[derive(Debug, Clone, Copy)]
struct NodeClock {
    at: Instant,
    nanos: u64,
    round_trip: Duration,
}

impl NodeClock {
    fn instant(&self, line: &str) -> Result<Instant> {
        Ok(self.at + Duration::from_nanos(nanos(line)?.saturating_sub(self.nanos)))
    }
}

/// The number behind the word.
fn nanos(line: &str) -> Result<u64> {
    let number = line.split_once(' ').and_then(|(_, number)| number.parse().ok());
    number.ok_or_else(|| Failed(format!("the guard for Node said {line:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_of_the_other_clock_is_one_of_ours() {
        let at = Instant::now();
        let clock = NodeClock { at, nanos: 5_000, round_trip: Duration::ZERO };
        assert_eq!(clock.instant("refused 7000").unwrap(), at + Duration::from_nanos(2_000));
        assert!(clock.instant("ready").is_err() && clock.instant("refused soon").is_err());
    }
}
