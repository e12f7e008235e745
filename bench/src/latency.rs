//! How soon everybody knows: from the answer to `PATCH blocked` to the first refusal at each layer, to the guards'
//! streams and to the applications' logout tokens. `docs/latency.md` is what it writes.
//!
//! Guards and applications are connections of this process, on a core of its own: what it needs to read them is part of
//! the times, and its processor time stands beside them.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::arguments::{Arguments, EngineName};
use crate::browser::{FORM, Jar};
use crate::failed::{Failed, Result, While};
use crate::measure::Percentiles;
use crate::proc::{Machine, cpu_of};
use crate::program::Place;
use crate::progress::Progress;
use crate::wire::{Connection, Request, Server};
use crate::world::{Application, GuardClient, Management, NewUser, Wanted, World};

/// How many guards follow the feed.
const GUARDS: [usize; 3] = [1, 100, 1000];
/// How many applications took part in the session.
const APPLICATIONS: [usize; 3] = [1, 100, 1000];
/// How many sessions the user has.
const SESSIONS: [usize; 2] = [1, 100];
/// How often each is measured; with many applications or sessions, which take long to make, less often.
const ROUNDS: usize = 40;
const ROUNDS_OF_MANY: usize = 5;
/// How long a guard or an application is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a guard probes.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// Connections on which password logins go on in the background.
const LOAD_CONNECTIONS: usize = 4;

/// One line of the table.
struct Line {
    what: String,
    block: Percentiles,
    /// What was accepted after the answer, at the layers inside Curfew.
    accepted: usize,
    guards: Option<Percentiles>,
    applications: Option<Percentiles>,
    /// This process's and the server's processor time for one ending.
    cpu: (Duration, Duration),
}

/// Measures on each engine and writes the document.
pub(crate) async fn run(arguments: &Arguments, engines: &[EngineName], machine: &Machine) -> Result<()> {
    let steps = GUARDS.len() + APPLICATIONS.len() + SESSIONS.len() + 1;
    let mut progress = Progress::new(12.0 * as_float(steps * engines.len()));
    let mut out = String::from(HEAD);
    let Machine { processor, cores, kernel, file_system, .. } = machine;
    let _ = writeln!(
        out,
        "{}: {processor}, {cores} cores, Linux {kernel}, databases on {file_system}; server on core {}, guards and \
         applications on core {}.\n",
        arguments.date, arguments.server_core, arguments.generator_core
    );
    for engine in engines {
        let lines = Measured::start(arguments, *engine).await?.all(*engine, &mut progress).await?;
        table(&mut out, *engine, &lines);
    }
    progress.note("done");
    println!("{out}");
    if let Some(path) = &arguments.write {
        std::fs::write(path, out).doing(&path.display().to_string())?;
    }
    Ok(())
}

const HEAD: &str = include_str!("latency.md");

fn as_float(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

fn table(out: &mut String, engine: EngineName, lines: &[Line]) {
    let _ = writeln!(out, "## {}\n", engine.title());
    let _ = writeln!(
        out,
        "| | the block itself, p50 / p99 ms | accepted inside Curfew after the answer | guards heard, p50 / p99 ms | logout \
         tokens arrived, p50 / p99 ms | CPU of generator / Curfew, ms |"
    );
    let _ = writeln!(out, "| --- | --- | --- | --- | --- | --- |");
    let pair = |found: &Percentiles| format!("{:.1} / {:.1}", millis(found.p50), millis(found.p99));
    let maybe = |found: &Option<Percentiles>| found.as_ref().map_or_else(|| "–".to_owned(), pair);
    for line in lines {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.0} / {:.0} |",
            line.what,
            pair(&line.block),
            line.accepted,
            maybe(&line.guards),
            maybe(&line.applications),
            millis(line.cpu.0),
            millis(line.cpu.1),
        );
    }
    out.push('\n');
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A running Curfew with what stands around it.
struct Measured {
    curfew: crate::program::Program,
    _place: Place,
    world: Rc<World>,
    management: Management,
    guard: GuardClient,
    number: usize,
}

/// What one ending showed.
#[derive(Default)]
struct Found {
    blocks: Vec<Duration>,
    accepted: usize,
    guards: Vec<Duration>,
    applications: Vec<Duration>,
}

impl Measured {
    async fn start(arguments: &Arguments, engine: EngineName) -> Result<Self> {
        let place = crate::place(engine, arguments)?;
        let curfew = place.start(Some(arguments.server_core))?;
        let world = World::prepare(&curfew.server, 4).await?;
        let mut management = Management::open(&curfew.server).await?;
        let guard = management.create_guard().await?;
        Ok(Self { curfew, _place: place, world: Rc::new(world), management, guard, number: 0 })
    }

    async fn all(mut self, engine: EngineName, progress: &mut Progress) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for guards in GUARDS {
            let what = format!("{guards} guards");
            progress.step(&format!("{} · {what}", engine.title()), 12.0);
            lines.push(self.line(&what, guards, 0, 1, ROUNDS).await?);
        }
        for applications in APPLICATIONS {
            let what = format!("{applications} applications");
            progress.step(&format!("{} · {what}", engine.title()), 12.0);
            let rounds = if applications > 100 { ROUNDS_OF_MANY } else { ROUNDS };
            lines.push(self.line(&what, 1, applications, 1, rounds).await?);
        }
        for sessions in SESSIONS {
            let what = format!("a user with {sessions} sessions");
            progress.step(&format!("{} · {what}", engine.title()), 12.0);
            let rounds = if sessions > 1 { ROUNDS_OF_MANY } else { ROUNDS };
            lines.push(self.line(&what, 1, 0, sessions, rounds).await?);
        }
        progress.step(&format!("{} · under password logins", engine.title()), 12.0);
        let load = self.load();
        lines.push(self.line("1 guard, the server full with password logins", 1, 0, 1, ROUNDS).await?);
        load.iter().for_each(AbortHandle::abort);
        self.curfew.stop().await?;
        Ok(lines)
    }

    /// Password logins without a pause.
    fn load(&self) -> Vec<AbortHandle> {
        (0..LOAD_CONNECTIONS)
            .map(|_| {
                let world = Rc::clone(&self.world);
                spawn_local(async move {
                    let mut connection = Connection::new(&world.server);
                    loop {
                        let user = world.any_user().clone();
                        // A full queue answers 429; the next try comes at once.
                        drop(
                            world
                                .log_in(&mut connection, &mut Jar::default(), Some(&user), Wanted::Userinfo)
                                .await,
                        );
                    }
                })
                .abort_handle()
            })
            .collect()
    }

    async fn line(
        &mut self,
        what: &str,
        guards: usize,
        applications: usize,
        sessions: usize,
        rounds: usize,
    ) -> Result<Line> {
        let mut followers = Followers::connect(&self.curfew.server, &self.guard, guards).await?;
        let mut receivers = Receivers::listen(&mut self.management, applications).await?;
        let mut found = Found::default();
        let (mut own, mut server) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            self.number += 1;
            let name = format!("ended-{}", self.number);
            let user = self.management.create_user(&name).await?;
            let access = Access::of(&self.world, &user, sessions, &receivers).await?;
            let before = (cpu_of(own_pid())?, cpu_of(self.curfew.pid)?);
            self.end(&user, access, &mut followers, &mut receivers, &mut found).await?;
            own += cpu_of(own_pid())?.saturating_sub(before.0);
            server += cpu_of(self.curfew.pid)?.saturating_sub(before.1);
        }
        let many = u32::try_from(rounds).unwrap_or(u32::MAX);
        let some = |found: Vec<Duration>| (!found.is_empty()).then(|| Percentiles::of(found)).transpose();
        Ok(Line {
            what: what.to_owned(),
            block: Percentiles::of(found.blocks)?,
            accepted: found.accepted,
            guards: some(found.guards)?,
            applications: some(found.applications)?,
            cpu: (own / many, server / many),
        })
    }

    /// Blocks a user, tries everything at once, and waits for everybody.
    async fn end(
        &mut self,
        user: &NewUser,
        access: Access,
        followers: &mut Followers,
        receivers: &mut Receivers,
        found: &mut Found,
    ) -> Result<()> {
        let asked = Instant::now();
        self.management.block(&user.user_id).await?;
        let answered = Instant::now();
        found.blocks.push(answered - asked);
        found.accepted += access.still_accepted(&self.world, &self.guard).await?;
        let since = |instant: Instant| instant.saturating_duration_since(answered);
        for _ in 0..followers.count {
            let instant = tokio::time::timeout(PATIENCE, followers.heard.recv())
                .await
                .doing("waiting for the guards")?;
            found.guards.push(since(instant.ok_or_else(|| Failed("a guard's stream ended".into()))?));
        }
        for _ in 0..receivers.count {
            let instant = tokio::time::timeout(PATIENCE, receivers.arrived.recv())
                .await
                .doing("waiting for logout tokens")?;
            found.applications.push(since(instant.ok_or_else(|| Failed("the receiver ended".into()))?));
        }
        Ok(())
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// What a user has: the browsers, a refresh token, an access token.
struct Access {
    jar: Jar,
    refresh_token: String,
    access_token: String,
}

impl Access {
    async fn of(world: &World, user: &NewUser, sessions: usize, receivers: &Receivers) -> Result<Self> {
        let mut connection = Connection::new(&world.server);
        let mut last = None;
        for _ in 0..sessions {
            let mut jar = Jar::default();
            let credentials = Some(&user.credentials);
            let tokens = world.log_in(&mut connection, &mut jar, credentials, Wanted::ApiAndRefresh).await?;
            last = Some((jar, tokens));
        }
        let (mut jar, tokens) = last.ok_or_else(|| Failed("no session".into()))?;
        for client in &receivers.clients {
            world.join(&mut connection, &mut jar, client).await?;
        }
        let refresh_token = tokens.refresh_token.ok_or_else(|| Failed("no refresh token".into()))?;
        Ok(Self { jar, refresh_token, access_token: tokens.access_token })
    }

    /// How many of the doors inside Curfew still open: silent login, refresh, `/guard/check`, introspection.
    async fn still_accepted(mut self, world: &World, guard: &GuardClient) -> Result<usize> {
        let mut connection = Connection::new(&world.server);
        let mut accepted = 0;
        let silent = world.log_in(&mut connection, &mut self.jar, None, Wanted::Api).await;
        accepted += usize::from(silent.is_ok());
        accepted += usize::from(world.rotate(&mut connection, &self.refresh_token).await.is_ok());
        let authorization = format!("Bearer {}", self.access_token);
        let target = format!(
            "/guard/check?{}",
            serde_urlencoded::to_string([("audience", &guard.audience)]).doing("the query")?
        );
        let headers = [("authorization", authorization.as_str())];
        let check = connection
            .send(&Request { method: "GET", target: &target, headers: &headers, body: b"" })
            .await?;
        accepted += usize::from(check.status == 200);
        let body = serde_urlencoded::to_string([("token", &self.access_token)]).doing("the form")?;
        let own = format!("Bearer {}", guard.token);
        let headers = [("authorization", own.as_str()), FORM];
        let request =
            Request { method: "POST", target: "/oauth/introspect", headers: &headers, body: body.as_bytes() };
        let answer: Value =
            serde_json::from_slice(connection.send(&request).await?.body).doing("introspection")?;
        accepted += usize::from(answer["active"] == true);
        Ok(accepted)
    }
}

/// Guards: each a stream of its own, and probes once a second.
struct Followers {
    count: usize,
    heard: mpsc::UnboundedReceiver<Instant>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Followers {
    async fn connect(server: &Rc<Server>, guard: &GuardClient, count: usize) -> Result<Self> {
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
    let mut connection = Connection::new(&server);
    let authorization = format!("Bearer {token}");
    // Spread over the second, as guards that started on their own are.
    tokio::time::sleep(PROBE_EVERY.mul_f64(as_float(number) / as_float(count))).await;
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

/// Applications that take part in sessions and hear of their ends.
struct Receivers {
    count: usize,
    clients: Vec<Application>,
    arrived: mpsc::UnboundedReceiver<Instant>,
    task: Option<AbortHandle>,
}

impl Drop for Receivers {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Receivers {
    async fn listen(management: &mut Management, count: usize) -> Result<Self> {
        let (sender, arrived) = mpsc::unbounded_channel();
        let mut clients = Vec::new();
        let mut task = None;
        if count > 0 {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let port = listener.local_addr()?.port();
            task = Some(spawn_local(receive(listener, sender)).abort_handle());
            for number in 0..count {
                clients.push(management.create_application(number, port).await?);
            }
        }
        Ok(Self { count, clients, arrived, task })
    }
}

/// Takes logout tokens and answers 200.
async fn receive(listener: TcpListener, sender: mpsc::UnboundedSender<Instant>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let sender = sender.clone();
        spawn_local(async move {
            let mut inbox = Vec::with_capacity(4096);
            while stream.read_buf(&mut inbox).await.is_ok_and(|read| read > 0) {
                let Some(head) = inbox.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
                let text = String::from_utf8_lossy(&inbox[..head]).to_lowercase();
                let length = text
                    .split_once("content-length:")
                    .and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
                if inbox.len() < head + 4 + length.unwrap_or(0) {
                    continue;
                }
                let _ = sender.send(Instant::now());
                inbox.clear();
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        });
    }
}
