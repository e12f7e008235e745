//! The load generator, and the floor it compares with. `docs/performance.md` is what it writes.
//!
//! One run: for each engine the scenarios in rounds, floor and server in turns; then many sessions, what they cost
//! and how long it takes to end them. Server and floor are processes on one core, the generator is on another.

#[cfg(not(target_os = "linux"))]
compile_error!("the bench reads processor time and memory from Linux's /proc");

mod actions;
mod arguments;
mod browser;
mod checkpoints;
mod failed;
mod floor;
mod guards;
mod latency;
mod load;
mod measure;
mod proc;
mod program;
mod progress;
mod receivers;
mod report;
mod scenario;
mod size;
mod wire;
mod world;

use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser as _;

use crate::arguments::{Arguments, EngineName, Scale};
use crate::failed::{Failed, Result};
use crate::load::Waiting;
use crate::measure::{Row, Stage};
use crate::proc::{Machine, Steal, pin_this_thread, pin_tree};
use crate::program::{Place, Program};
use crate::progress::Progress;
use crate::report::{Report, Results};
use crate::scenario::Scenario;
use crate::world::World;

/// Users of the scenarios.
const USERS: usize = 64;
/// Browsers that are signed in for the scenarios, and families; more than connections, so that each rests between.
const BROWSERS: usize = 256;
/// Seconds that making them takes, for the plan.
const PREPARATION_SECONDS: f64 = 7.0;

fn main() -> ExitCode {
    let outcome = if std::env::args().nth(1).as_deref() == Some(floor::COMMAND) {
        on_one_thread(floor::serve())
    } else {
        let arguments = Arguments::parse();
        on_one_thread(run(&arguments))
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nerror: {failed}");
            ExitCode::FAILURE
        }
    }
}

fn on_one_thread(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

async fn run(arguments: &Arguments) -> Result<()> {
    let scale = arguments.scale();
    let scenarios =
        if arguments.latency || arguments.actions { Vec::new() } else { chosen(&arguments.only)? };
    let folder = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let machine = Machine::read(&folder);
    let steal = Steal::read();
    let engines = engines(arguments)?;
    if machine.cores > 1 {
        pin_this_thread(arguments.generator_core)?;
    }
    let third = if machine.cores > 2 { 2 } else { arguments.generator_core };
    let database_core = arguments.database_core.unwrap_or(third);
    if let Some(pid) = arguments.postgres_pid {
        pin_tree(pid, database_core)?;
    }
    if arguments.latency {
        return latency::run(arguments, &engines, &machine).await;
    }
    if arguments.actions {
        return actions::run(arguments, &engines, &machine, database_core).await;
    }
    let each = PREPARATION_SECONDS
        + scenarios.iter().map(|&scenario| measure::planned_seconds(scenario, scale)).sum::<f64>()
        + size::planned_seconds(scale);
    let mut progress = Progress::new(each * if engines.len() == 2 { 2.0 } else { 1.0 });
    let floor = Program::start_floor(arguments.server_core)?;
    let results = Vec::new();
    let mut report = Report { arguments, scale, machine, stolen_percent: 0.0, database_core, results };
    for engine in engines {
        let waiting = waiting(engine, arguments, &report.machine, database_core);
        let rows = scenarios_on(engine, arguments, scale, waiting, &scenarios, &floor, &mut progress).await?;
        let size = if scale.sessions == 0 {
            None
        } else {
            let place = place(engine, arguments)?;
            Some(size::measure(&place, scale, arguments.server_core, engine.title(), &mut progress).await?)
        };
        report.results.push(Results { engine, rows, size });
        report.stolen_percent = steal.percent_since();
        // After each engine, so that a failure of the next does not lose an hour's work.
        if let Some(path) = &arguments.write {
            std::fs::write(path, report.document()?)?;
        }
    }
    progress.note("done");
    println!("{}", report.text()?);
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<Scenario>> {
    let unknown = only.iter().find(|name| Scenario::ALL.iter().all(|scenario| scenario.name() != **name));
    if let Some(name) = unknown {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        return Err(Failed(format!("there is no scenario `{name}`; there are {names}")));
    }
    let wanted = |scenario: &Scenario| only.is_empty() || only.iter().any(|name| name == scenario.name());
    Ok(Scenario::ALL.into_iter().filter(wanted).collect())
}

fn engines(arguments: &Arguments) -> Result<Vec<EngineName>> {
    match (arguments.engine, &arguments.postgres_url) {
        (Some(EngineName::Postgres), None) => {
            Err(Failed("PostgreSQL needs --postgres-url; `cargo xtask bench` starts a server".into()))
        }
        (Some(engine), _) => Ok(vec![engine]),
        (None, Some(_)) => Ok(vec![EngineName::Sqlite, EngineName::Postgres]),
        (None, None) => {
            eprintln!("PostgreSQL is left out: no --postgres-url; `cargo xtask bench` starts a server");
            Ok(vec![EngineName::Sqlite])
        }
    }
}

/// The generator looks for answers all the time where it has its core for itself.
fn waiting(engine: EngineName, arguments: &Arguments, machine: &Machine, database_core: usize) -> Waiting {
    let core_is_shared = engine == EngineName::Postgres && database_core == arguments.generator_core;
    if machine.cores > 1 && !core_is_shared { Waiting::Awake } else { Waiting::Asleep }
}

fn place(engine: EngineName, arguments: &Arguments) -> Result<Place> {
    let url = arguments.postgres_url.as_deref().filter(|_| engine == EngineName::Postgres);
    Place::new(&arguments.curfew, arguments.folder.as_deref(), url)
}

/// The first part on one engine.
async fn scenarios_on(
    engine: EngineName,
    arguments: &Arguments,
    scale: Scale,
    waiting: Waiting,
    scenarios: &[Scenario],
    floor: &Program,
    progress: &mut Progress,
) -> Result<Vec<Row>> {
    let place = place(engine, arguments)?;
    let curfew = place.start(Some(arguments.server_core))?;
    progress.note(&format!(
        "{}: curfew is process {}, the floor is process {}",
        engine.title(),
        curfew.pid,
        floor.pid
    ));
    progress.step(&format!("{} · clients, users, sessions", engine.title()), PREPARATION_SECONDS);
    let mut world = World::prepare(&curfew.server, USERS).await?;
    if scenarios.iter().any(|scenario| scenario.needs_sign_in()) {
        let browsers = BROWSERS.max(2 * arguments.connections);
        let what = |done| format!("{} · session {done} of {browsers}", engine.title());
        world
            .sign_in(browsers, |done| {
                if done % 32 == 0 {
                    progress.within(&what(done), PREPARATION_SECONDS, to_share(done, browsers));
                }
            })
            .await?;
    }
    let database_pid = arguments.postgres_pid.filter(|_| engine == EngineName::Postgres);
    let connections = arguments.connections;
    let stage = Stage { curfew: &curfew, floor, world: Rc::new(world), database_pid, connections, waiting };
    let mut rows = Vec::new();
    for &scenario in scenarios {
        rows.push(stage.measure(scenario, scale, engine.title(), progress).await?);
    }
    curfew.stop().await?;
    Ok(rows)
}

fn to_share(done: usize, all: usize) -> f64 {
    let float = |number: usize| u32::try_from(number).map_or(f64::MAX, f64::from);
    float(done) / float(all.max(1))
}
