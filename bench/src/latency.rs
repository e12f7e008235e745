//! How soon everybody knows: from the answer to `PATCH blocked` to the first refusal at each layer, to the guards'
//! streams and to the applications' logout tokens. `docs/latency.md` is what it writes.
//!
//! Guards and applications are connections of this process, on a core of its own: what it needs to read them is part of
//! the times, and its processor time stands beside them.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::arguments::{Arguments, EngineName};
use crate::browser::{FORM, Jar};
use crate::checkpoints::Checkpoints;
use crate::failed::{Failed, Result, While};
use crate::guards::{Asked, Followers, Language, PATIENCE};
use crate::measure::Percentiles;
use crate::proc::{Machine, cores, cpu_of, memory_of};
use crate::program::{Place, Program};
use crate::progress::Progress;
use crate::receivers::Receivers;
use crate::wire::{Connection, Request};
use crate::world::{GuardClient, Management, NewUser, Wanted, World};

/// How often each is measured; with many applications or sessions, which take long to make, less often.
const ROUNDS: usize = 40;
const ROUNDS_OF_MANY: usize = 5;
const ROUNDS_OF_VERY_MANY: usize = 3;
/// As many sessions as a user may have at a time, and as many logins as `--full` makes for one user.
const SESSIONS_MAX: usize = 1_000;
const LOGINS_OF_FULL: usize = 100_000;
/// Connections on which password logins go on in the background, and on which one user's logins are made.
const LOAD_CONNECTIONS: usize = 4;
const LOGIN_CONNECTIONS: usize = 8;
/// Seconds until guards that have just connected have all probed, and what that took is given back.
const SETTLING: Duration = Duration::from_secs(3);
/// For the plan.
const STEP_SECONDS: f64 = 18.0;

/// What one line of the table measures.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    what: &'static str,
    guards: usize,
    applications: usize,
    /// Of the user; more than may live at a time are logins.
    sessions: usize,
    rounds: usize,
    /// A guard that is asked.
    asked: Option<Language>,
    /// Password logins go on meanwhile.
    load: bool,
}

const ONE: Plan =
    Plan { what: "", guards: 1, applications: 0, sessions: 1, rounds: ROUNDS, asked: None, load: false };

/// The lines in their order. Those with many guards come one after the other, each with more than the one before, for the
/// sake of memory.
const PLANS: [Plan; 14] = [
    Plan { what: "1 guard", ..ONE },
    Plan { what: "100 guards", guards: 100, ..ONE },
    Plan { what: "1,000 guards", guards: 1_000, ..ONE },
    Plan { what: "guard for Rust: first refusal", guards: 0, asked: Some(Language::Rust), ..ONE },
    Plan {
        what: "guard for Rust beside 1,000 guards: first refusal",
        guards: 1_000,
        asked: Some(Language::Rust),
        rounds: 20,
        ..ONE
    },
    Plan { what: "guard for Node: first refusal", guards: 0, asked: Some(Language::Node), ..ONE },
    Plan { what: "1 application", applications: 1, ..ONE },
    Plan { what: "100 applications", applications: 100, ..ONE },
    Plan { what: "1,000 applications", applications: 1_000, rounds: ROUNDS_OF_MANY, ..ONE },
    Plan { what: "a user with 1 session", ..ONE },
    Plan { what: "a user with 100 sessions", sessions: 100, rounds: ROUNDS_OF_MANY, ..ONE },
    Plan {
        what: "a user with 1,000 sessions, as many as may live",
        sessions: SESSIONS_MAX,
        rounds: ROUNDS_OF_VERY_MANY,
        ..ONE
    },
    Plan { what: "1 guard, the server full with password logins", load: true, ..ONE },
    Plan {
        what: "a user with 1,000 sessions, all that live of very many logins",
        sessions: LOGINS_OF_FULL,
        rounds: 1,
        ..ONE
    },
];

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
    memory: Option<Memory>,
    round_trip: Option<Duration>,
}

/// The server's memory in KiB, before and with so many guards.
struct Memory {
    guards: usize,
    before: u64,
    with: u64,
}

/// Measures on each engine and writes the document.
pub(crate) async fn run(arguments: &Arguments, engines: &[EngineName], machine: &Machine) -> Result<()> {
    let mut plans: Vec<Plan> = PLANS.into_iter().filter(|plan| is_wanted(plan, arguments)).collect();
    for plan in plans.iter_mut().filter(|plan| plan.sessions > SESSIONS_MAX) {
        plan.sessions = arguments.sessions.unwrap_or(plan.sessions).max(SESSIONS_MAX + 1);
    }
    let mut progress = Progress::new(STEP_SECONDS * as_float(plans.len() * engines.len()));
    let mut out = String::from(HEAD);
    let Machine { processor, cores, kernel, file_system, .. } = machine;
    let _ = writeln!(
        out,
        "{}: {processor}, {cores} cores, Linux {kernel}, databases on {file_system}; server on core {}, guards and \
         applications on core {}.\n",
        arguments.date, arguments.server_core, arguments.generator_core
    );
    if let Some(plan) = plans.iter().find(|plan| plan.sessions > SESSIONS_MAX) {
        let _ = writeln!(out, "The very many logins are {}.\n", plan.sessions);
    }
    for engine in engines {
        let lines = Measured::start(arguments, *engine).await?.all(&plans, &mut progress).await?;
        table(&mut out, *engine, &lines);
    }
    progress.note("done");
    println!("{out}");
    if let Some(path) = &arguments.write {
        std::fs::write(path, out).doing(&path.display().to_string())?;
    }
    Ok(())
}

/// What takes an hour is for `--full`.
fn is_wanted(plan: &Plan, arguments: &Arguments) -> bool {
    let named = arguments.only.is_empty() || arguments.only.iter().any(|part| plan.what.contains(part));
    named && (arguments.full || plan.sessions <= SESSIONS_MAX)
}

const HEAD: &str = include_str!("latency.md");

fn as_float(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

fn table(out: &mut String, engine: EngineName, lines: &[Line]) {
    let _ = writeln!(out, "## {}\n", engine.title());
    let _ = writeln!(
        out,
        "| | the block itself, p50 / p99 ms | accepted inside Curfew after the answer | guards heard or refused, p50 / p99 \
         ms | logout tokens arrived, p50 / p99 ms | CPU of generator / Curfew, ms |"
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
    if let Some(trip) = lines.iter().find_map(|line| line.round_trip) {
        let _ = writeln!(
            out,
            "A question to the process of the guard for Node took {:.2} ms there and back; half of it is in its times.\n",
            millis(trip)
        );
    }
    let memories: Vec<&Memory> = lines.iter().filter_map(|line| line.memory.as_ref()).collect();
    if memories.is_empty() {
        return;
    }
    let _ =
        writeln!(out, "| guards connected | the server's memory before, MiB | with them, MiB | each, KiB |");
    let _ = writeln!(out, "| --- | --- | --- | --- |");
    for Memory { guards, before, with } in memories {
        let mib = |kib: u64| kib_to_float(kib) / 1024.0;
        let each = kib_to_float(with.saturating_sub(*before)) / as_float(*guards);
        let _ = writeln!(out, "| {guards} | {:.1} | {:.1} | {each:.1} |", mib(*before), mib(*with));
    }
    out.push('\n');
}

fn kib_to_float(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::MAX, f64::from)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A running Curfew with what stands around it.
struct Measured {
    curfew: Program,
    place: Rc<Place>,
    engine: EngineName,
    /// Of the server, and of everything else.
    cores: (usize, usize),
    world: Rc<World>,
    management: Management,
    guard: GuardClient,
    number: usize,
}

/// What endings showed.
#[derive(Default)]
struct Found {
    blocks: Vec<Duration>,
    accepted: usize,
    guards: Vec<Duration>,
    applications: Vec<Duration>,
}

/// What stands around the server while a line is measured.
struct Around {
    followers: Followers,
    receivers: Receivers,
    asked: Option<Asked>,
}

impl Measured {
    async fn start(arguments: &Arguments, engine: EngineName) -> Result<Self> {
        let place = Rc::new(crate::place(engine, arguments)?);
        let cores = (arguments.server_core, arguments.generator_core);
        let curfew = place.start(Some(cores.0))?;
        let world = World::prepare(&curfew.server, 4).await?;
        let mut management = Management::open(&curfew.server).await?;
        let guard = management.create_guard().await?;
        Ok(Self { curfew, place, engine, cores, world: Rc::new(world), management, guard, number: 0 })
    }

    async fn all(mut self, plans: &[Plan], progress: &mut Progress) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for plan in plans {
            progress.step(&format!("{} · {}", self.engine.title(), plan.what), STEP_SECONDS);
            let load = if plan.load { self.load()? } else { Load::default() };
            let mut line = self.line(plan).await?;
            if let Some(checkpoints) = &load.checkpoints {
                let _ = write!(line.what, ", {}", checkpoints.so_far()?);
            }
            lines.push(line);
        }
        self.curfew.stop().await?;
        Ok(lines)
    }

    /// Password logins without a pause, and checkpoints.
    fn load(&self) -> Result<Load> {
        let logins = (0..LOAD_CONNECTIONS)
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
            .collect();
        Ok(Load { logins, checkpoints: Some(Checkpoints::of(&self.place)?) })
    }

    async fn line(&mut self, plan: &Plan) -> Result<Line> {
        let before = memory_of(self.curfew.pid)?.rss_kib;
        let followers = Followers::connect(&self.curfew.server, &self.guard, plan.guards).await?;
        let mut memory = None;
        if plan.asked.is_none() && plan.applications == 0 && plan.sessions == 1 && !plan.load {
            tokio::time::sleep(SETTLING).await;
            let with = memory_of(self.curfew.pid)?.rss_kib;
            memory = Some(Memory { guards: plan.guards, before, with });
        }
        let asked = match plan.asked {
            Some(language) => {
                Some(Asked::start(language, &self.curfew.server, &self.guard, self.cores.1).await?)
            }
            None => None,
        };
        let receivers = Receivers::listen(&mut self.management, plan.applications).await?;
        let mut around = Around { followers, receivers, asked };
        let mut found = Found::default();
        let (mut own, mut server) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..plan.rounds {
            self.number += 1;
            let name = format!("ended-{}", self.number);
            let user = self.management.create_user(&name).await?;
            if plan.sessions > SESSIONS_MAX {
                self.log_in_very_often(&user, plan.sessions).await?;
                around.followers = Followers::connect(&self.curfew.server, &self.guard, plan.guards).await?;
            }
            let sessions = if plan.sessions > SESSIONS_MAX { 1 } else { plan.sessions };
            let access = Access::of(&self.world, &user, sessions, &around.receivers).await?;
            let before = (cpu_of(own_pid())?, cpu_of(self.curfew.pid)?);
            self.end(&user, access, &mut around, &mut found).await?;
            own += cpu_of(own_pid())?.saturating_sub(before.0);
            server += cpu_of(self.curfew.pid)?.saturating_sub(before.1);
        }
        let many = u32::try_from(plan.rounds).unwrap_or(u32::MAX);
        let some = |found: Vec<Duration>| (!found.is_empty()).then(|| Percentiles::of(found)).transpose();
        Ok(Line {
            what: plan.what.to_owned(),
            block: Percentiles::of(found.blocks)?,
            accepted: found.accepted,
            guards: some(found.guards)?,
            applications: some(found.applications)?,
            cpu: (own / many, server / many),
            memory,
            round_trip: around.asked.as_ref().and_then(Asked::round_trip),
        })
    }

    /// Makes a user's sessions, with the server on all cores; it is on its own again afterwards.
    async fn log_in_very_often(&mut self, user: &NewUser, logins: usize) -> Result<()> {
        self.restart(None).await?;
        let left = Rc::new(std::cell::Cell::new(logins));
        let tasks: Vec<_> = (0..LOGIN_CONNECTIONS * cores().max(2))
            .map(|_| {
                let (world, left, user) =
                    (Rc::clone(&self.world), Rc::clone(&left), user.credentials.clone());
                spawn_local(async move {
                    let mut connection = Connection::new(&world.server);
                    while left.get() > 0 {
                        left.set(left.get() - 1);
                        let jar = &mut Jar::default();
                        world.log_in(&mut connection, jar, Some(&user), Wanted::Userinfo).await?;
                    }
                    Ok::<(), Failed>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.doing("logging in")??;
        }
        self.restart(Some(self.cores.0)).await
    }

    async fn restart(&mut self, core: Option<usize>) -> Result<()> {
        // Stopped first: two servers cannot listen at one place.
        self.curfew.end().await?;
        self.curfew = self.place.start(core)?;
        // The connection of before has ended with the server.
        self.management = Management::open(&self.curfew.server).await?;
        Ok(())
    }

    /// Blocks a user, tries everything at once, and waits for everybody.
    async fn end(
        &mut self,
        user: &NewUser,
        access: Access,
        around: &mut Around,
        found: &mut Found,
    ) -> Result<()> {
        let token = access.access_token.clone();
        if let Some(asked) = &mut around.asked {
            asked.accepts(&token).await?;
        }
        let began = Instant::now();
        self.management.block(&user.user_id).await?;
        let answered = Instant::now();
        found.blocks.push(answered - began);
        let refused = async {
            match &mut around.asked {
                Some(asked) => asked.refuses(&token).await.map(Some),
                None => Ok(None),
            }
        };
        let (accepted, refused) = tokio::join!(access.still_accepted(&self.world, &self.guard), refused);
        found.accepted += accepted?;
        let since = |instant: Instant| instant.saturating_duration_since(answered);
        let refused = refused?;
        found.guards.extend(refused.map(since));
        for _ in 0..around.followers.count {
            let instant = tokio::time::timeout(PATIENCE, around.followers.heard.recv())
                .await
                .doing("waiting for the guards")?;
            let instant = instant.ok_or_else(|| Failed("a guard's stream ended".into()))?;
            // Beside a guard that is asked they are there for the crowd.
            if refused.is_none() {
                found.guards.push(since(instant));
            }
        }
        for _ in 0..around.receivers.count {
            let instant = tokio::time::timeout(PATIENCE, around.receivers.arrived.recv())
                .await
                .doing("waiting for logout tokens")?;
            found.applications.push(since(instant.ok_or_else(|| Failed("the receiver ended".into()))?));
        }
        Ok(())
    }
}

/// What goes on in the background; it ends when it is dropped.
#[derive(Default)]
struct Load {
    logins: Vec<AbortHandle>,
    checkpoints: Option<Checkpoints>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.logins.iter().for_each(AbortHandle::abort);
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
