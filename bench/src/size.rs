//! The second part: what many sessions cost in memory and at a restart, and how long it takes to end them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::arguments::Scale;
use crate::browser::{Credentials, Jar};
use crate::failed::{Failed, Result, While};
use crate::measure::Spread;
use crate::proc::{Memory, cores, cpu_of, memory_of};
use crate::program::{Place, Program};
use crate::progress::Progress;
use crate::wire::{Connection, Request, Server};
use crate::world::{Management, NewUser, Wanted, World};

/// Logins a second and core, for the plan.
const LOGINS_PER_CORE: f64 = 55.0;
/// Sessions of an ordinary user.
const SESSIONS_OF_MANY: usize = 100;
/// How often an ending is measured with one session, and with [`SESSIONS_OF_MANY`].
const ENDINGS_OF_ONE: usize = 20;
const ENDINGS_OF_MANY: usize = 5;
/// Rest after the start, before the memory of an idle server is read: longer than hashing keeps its own.
const IDLE_REST: Duration = Duration::from_secs(15);

/// How long it took to end a user.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Logins of the user.
    pub(crate) logins: usize,
    /// Sessions that lived before the ending, as the Management API counts them.
    pub(crate) live: usize,
    /// Milliseconds from the request to the answer.
    pub(crate) milliseconds: Spread,
    /// How many users were ended.
    pub(crate) users: usize,
}

/// What was measured in the second part.
#[derive(Debug)]
pub(crate) struct Size {
    /// Sessions made, each by a login.
    pub(crate) sessions: usize,
    /// Seconds that the logins took.
    pub(crate) seeding: Duration,
    /// Memory after the start and one request.
    pub(crate) idle: Memory,
    /// Memory with the sessions, right after the last login.
    pub(crate) loaded: Memory,
    /// Memory with the sessions, after the rest.
    pub(crate) rested: Memory,
    /// The rest, and the processor time that the server used in it.
    pub(crate) rest: (Duration, Duration),
    /// Bytes of the embedded database with its log; of PostgreSQL nothing is known.
    pub(crate) database_bytes: u64,
    /// With few sessions and with many.
    pub(crate) endings: Vec<Ending>,
    /// Milliseconds from the start of the process to its first answer, with that database.
    pub(crate) restart: Spread,
    /// The same of the floor.
    pub(crate) floor_restart: Spread,
}

/// Seconds that [`measure`] takes, for the plan.
pub(crate) fn planned_seconds(scale: Scale) -> f64 {
    if scale.sessions == 0 {
        return 0.0;
    }
    IDLE_REST.as_secs_f64() + logins_seconds(scale) + float(scale.rest_seconds) + 10.0
}

fn logins_seconds(scale: Scale) -> f64 {
    // Making a user costs a hash as well.
    let hashes = scale.sessions + scale.sessions / SESSIONS_OF_MANY + ENDINGS_OF_ONE;
    float(hashes) / (LOGINS_PER_CORE * float(cores().max(2)))
}

fn float(number: impl TryInto<u32>) -> f64 {
    number.try_into().map_or(f64::MAX, f64::from)
}

/// A user of this part, with the number of logins that are planned.
struct Person {
    user: NewUser,
    logins: usize,
}

/// Fills an empty Curfew with sessions and measures it. It runs on all cores while it is filled, on one afterwards.
pub(crate) async fn measure(
    place: &Place,
    scale: Scale,
    server_core: usize,
    engine: &str,
    progress: &mut Progress,
) -> Result<Size> {
    progress.step(&format!("{engine} · memory of an idle server"), IDLE_REST.as_secs_f64());
    let curfew = place.start(None)?;
    first_answer(&curfew.server).await?;
    tokio::time::sleep(IDLE_REST).await;
    let idle = memory_of(curfew.pid)?;

    let began = Instant::now();
    progress.step(&format!("{engine} · {} sessions, by logins", scale.sessions), logins_seconds(scale));
    let world = Rc::new(World::prepare(&curfew.server, 1).await?);
    let people = people(&curfew.server, scale).await?;
    let witnesses = fill(&world, &people, scale, engine, progress).await?;
    let seeding = began.elapsed();

    let loaded = memory_of(curfew.pid)?;
    progress.step(&format!("{engine} · rest"), float(scale.rest_seconds));
    let cpu_before = cpu_of(curfew.pid)?;
    let rest = Duration::from_secs(scale.rest_seconds);
    tokio::time::sleep(rest).await;
    let rested = memory_of(curfew.pid)?;
    let rest_cpu = cpu_of(curfew.pid)? - cpu_before;

    progress.step(&format!("{engine} · endings"), 2.0);
    let endings = end(&curfew.server, &world, &people, &witnesses).await?;
    curfew.stop().await?;
    let database_bytes = place.database_bytes();

    progress.step(&format!("{engine} · restarts"), 8.0);
    let (mut restarts, mut floor_restarts) = (Vec::new(), Vec::new());
    for _ in 0..scale.restarts {
        restarts.push(restart(place.start(Some(server_core))?).await?);
        floor_restarts.push(restart(Program::start_floor(server_core)?).await?);
    }
    Ok(Size {
        sessions: people.iter().map(|person| person.logins).sum(),
        seeding,
        idle,
        loaded,
        rested,
        rest: (rest, rest_cpu),
        database_bytes,
        endings,
        restart: Spread::of(restarts)?,
        floor_restart: Spread::of(floor_restarts)?,
    })
}

/// One with very many sessions, some with many, some with one, and as many more with many as are needed.
async fn people(server: &Rc<Server>, scale: Scale) -> Result<Vec<Person>> {
    let mut plan = vec![scale.sessions_of_one];
    plan.extend([SESSIONS_OF_MANY; ENDINGS_OF_MANY]);
    plan.extend([1; ENDINGS_OF_ONE]);
    let mut left = scale.sessions.saturating_sub(plan.iter().sum());
    while left > 0 {
        plan.push(left.min(SESSIONS_OF_MANY));
        left -= left.min(SESSIONS_OF_MANY);
    }
    let mut management = Management::open(server).await?;
    let mut people = Vec::new();
    for (number, logins) in plan.into_iter().enumerate() {
        people.push(Person { user: management.create_user(&format!("person-{number}")).await?, logins });
    }
    Ok(people)
}

/// Makes the sessions, in an order that mixes the users. Answers the last browser of each user.
async fn fill(
    world: &Rc<World>,
    people: &[Person],
    scale: Scale,
    engine: &str,
    progress: &mut Progress,
) -> Result<Vec<Option<Jar>>> {
    let rounds = people.iter().map(|person| person.logins).max().unwrap_or(0);
    let mut queue: VecDeque<(usize, Credentials)> = VecDeque::new();
    for round in 0..rounds {
        let due = people.iter().enumerate().filter(|(_, person)| person.logins > round);
        queue.extend(due.map(|(at, person)| (at, person.user.credentials.clone())));
    }
    let total = queue.len();
    let queue = Rc::new(RefCell::new(queue));
    let witnesses = Rc::new(RefCell::new(vec![None; people.len()]));
    let failure = Rc::new(RefCell::new(None));
    let working = Rc::new(Cell::new(0));
    for _ in 0..4 * cores().max(2) {
        let (world, queue, witnesses) = (Rc::clone(world), Rc::clone(&queue), Rc::clone(&witnesses));
        let (failure, working) = (Rc::clone(&failure), Rc::clone(&working));
        working.set(working.get() + 1);
        spawn_local(async move {
            let mut connection = Connection::new(&world.server);
            loop {
                let next = queue.borrow_mut().pop_front();
                let Some((at, credentials)) = next else { break };
                let mut jar = Jar::default();
                match world.log_in(&mut connection, &mut jar, Some(&credentials), Wanted::ApiAndRefresh).await
                {
                    Ok(_) => witnesses.borrow_mut()[at] = Some(jar),
                    Err(failed) => {
                        failure.replace(Some(failed));
                        queue.borrow_mut().clear();
                    }
                }
            }
            working.set(working.get() - 1);
        });
    }
    while working.get() > 0 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let done = total - queue.borrow().len();
        let what = format!("{engine} · session {done} of {total}");
        progress.within(&what, logins_seconds(scale), float(done) / float(total.max(1)));
    }
    if let Some(failed) = failure.take() {
        return Err(failed);
    }
    Ok(witnesses.take())
}

/// Blocks users with few sessions and with many; afterwards no browser of theirs may still be in.
async fn end(
    server: &Rc<Server>,
    world: &World,
    people: &[Person],
    witnesses: &[Option<Jar>],
) -> Result<Vec<Ending>> {
    let mut management = Management::open(server).await?;
    let mut connection = Connection::new(server);
    let mut endings = Vec::new();
    let most = people.first().map_or(0, |person| person.logins);
    for (logins, users) in [(1, ENDINGS_OF_ONE), (SESSIONS_OF_MANY, ENDINGS_OF_MANY), (most, 1)] {
        let (mut milliseconds, mut live) = (Vec::new(), 0);
        let chosen = people.iter().zip(witnesses).filter(|(person, _)| person.logins == logins).take(users);
        for (person, witness) in chosen {
            live = management.count_sessions(&person.user.user_id).await?;
            let mut jar = witness.clone().ok_or_else(|| Failed("a user without a browser".into()))?;
            world
                .log_in(&mut connection, &mut jar, None, Wanted::Userinfo)
                .await
                .doing("before the ending")?;
            let began = Instant::now();
            management.block(&person.user.user_id).await?;
            milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
            match world.log_in(&mut connection, &mut jar, None, Wanted::Userinfo).await {
                Err(Failed(why)) if why.contains("login_required") => {}
                other => return Err(Failed(format!("a browser after the ending of its user: {other:?}"))),
            }
        }
        endings.push(Ending {
            logins,
            live,
            users: milliseconds.len(),
            milliseconds: Spread::of(milliseconds)?,
        });
    }
    Ok(endings)
}

/// Milliseconds from a program's start to its first answer; it is stopped afterwards.
async fn restart(program: Program) -> Result<f64> {
    first_answer(&program.server).await?;
    let milliseconds = program.started.elapsed().as_secs_f64() * 1000.0;
    program.stop().await?;
    Ok(milliseconds)
}

async fn first_answer(server: &Rc<Server>) -> Result<()> {
    let mut connection = Connection::new(server);
    let request = Request { method: "GET", target: "/.well-known/jwks.json", headers: &[], body: b"" };
    let answer = connection.send(&request).await?;
    if answer.status == 200 {
        Ok(())
    } else {
        Err(Failed(format!("the first answer was {}", answer.describe())))
    }
}
