//! How fast Actions begin and run: `cargo run --release -p curfew-actions --example pace -- target/release/curfew`, with a
//! folder of packages (`target/release/packages`) also those that depend on `auth0`.
//!
//! One line for each measurement, in microseconds: the middle one of all, and what 95 of 100 do not exceed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use curfew_actions::{
    ActionError, ActionTrigger, BytecodeOf, Bytecodes, Execution, HostFuture, Limits, Nothing, PackageSet,
    Pool, PoolConfig, Program, WorkerCommand,
};
use curfew_model::Timestamp;
use curfew_packages::{Dependency, Fetch, FetchError, Get, Got, Packages, Registries, Shelf};
use serde_json::value::RawValue;
use tokio::time::Instant;

/// Measurements of what starts a process.
const STARTS: usize = 50;
/// Measurements of what does not.
const RUNS: usize = 5000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program = std::env::args().nth(1).unwrap_or_else(|| "target/release/curfew".to_owned());
    let worker = WorkerCommand { program: program.into(), arguments: vec!["action-worker".into()] };
    let trivial = action(
        "trivial",
        "exports.onExecutePostLogin = async (event, api) => { api.user.setAppMetadata('a', event.user.user_id); };",
    );
    let loops = action(
        "loops",
        "exports.onExecutePostLogin = () => { 'a'.repeat(5e6).indexOf('a'.repeat(25e5) + 'b'); };",
    );

    let mut cold = Vec::new();
    for _ in 0..STARTS {
        let pool = Pool::new(PoolConfig::new(worker.clone()))?;
        cold.push(timed(&pool, &trivial, 1).await?);
    }
    say("the first Action of a server: the runtime is compiled and a process started", cold);

    let pool = Pool::new(PoolConfig::new(worker.clone()))?;
    let mut bound = Vec::new();
    for tenant in 0..STARTS as u64 {
        pool.warm().await?;
        // What stands ready has had time to get so.
        tokio::time::sleep(Duration::from_millis(50)).await;
        bound.push(timed(&pool, &trivial, tenant).await?);
    }
    say("a process that stood ready runs its first one", bound);

    let mut warm = Vec::new();
    for _ in 0..RUNS {
        warm.push(timed(&pool, &trivial, 1).await?);
    }
    say("a trivial Action, warm", warm);

    let mut back = Vec::new();
    for _ in 0..STARTS / 5 {
        let mut hostile = execution(&loops, 1);
        hostile.limits =
            Limits { cpu: Duration::from_millis(50), grace: Duration::from_millis(1), ..Limits::default() };
        let killed = pool.run(hostile, Arc::new(Nothing)).await.result;
        if killed != Err(ActionError::TimedOut { hard: true }) {
            return Err(format!("it was to be killed: {killed:?}").into());
        }
        back.push(timed(&pool, &trivial, 1).await?);
    }
    say("the next one after a process was killed", back);
    pool.close().await;
    match std::env::args().nth(2) {
        Some(folder) => with_auth0(worker, Path::new(&folder)).await,
        None => Ok(()),
    }
}

/// First executions of an Action that requires `auth0` 7.
async fn with_auth0(worker: WorkerCommand, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let packages = Packages::new(
        Shelf::open(&[folder.to_owned()])?,
        Registries::parse("", |_| None)?,
        Arc::new(NoRegistry),
    );
    let asked = Dependency { name: "auth0".to_owned(), version: "7".to_owned() };
    let set = packages.resolve(&[asked]).await?;
    let stored = set.to_bytes();
    let began = Instant::now();
    let set = Arc::new(PackageSet::from_bytes(&stored)?);
    println!("the packages of auth0 7 are read: {:.0} µs", began.elapsed().as_secs_f64() * 1e6);
    let action = Arc::new(Program {
        id: "auth0".to_owned(),
        code: "const { ManagementClient } = require('auth0');
               exports.onExecutePostLogin = async () => {
                 new ManagementClient({ domain: 'id.example', clientId: 'a', clientSecret: 'b' });
               };"
        .into(),
        packages: Some(set),
        modules: Vec::new(),
    });
    let kept = Arc::new(Kept::default());
    let (mut compiled, mut found, mut next) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..STARTS / 5 {
        *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for times in [&mut compiled, &mut found] {
            let bytecodes = Arc::<Kept>::clone(&kept);
            let pool = Pool::new(PoolConfig { bytecodes, ..PoolConfig::new(worker.clone()) })?;
            // Both have the runtime, and a process that stands ready.
            pool.warm().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            times.push(timed(&pool, &action, 1).await?);
            if round == 0 {
                println!("compiled {} times", pool.compilations());
            }
            pool.close().await;
        }
        // In memory already: a process is all that is new.
        let bytecodes = Arc::<Kept>::clone(&kept);
        let pool = Pool::new(PoolConfig { bytecodes, ..PoolConfig::new(worker.clone()) })?;
        pool.compile(1, action.packages.as_deref().ok_or("no packages")?).await?;
        pool.warm().await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        next.push(timed(&pool, &action, 1).await?);
        pool.close().await;
    }
    say("the first Action with auth0 7 of a server, which compiles it", compiled);
    say("the same, found where it was kept", found);
    say("the same, in memory already", next);
    let bytes = kept.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Bytes::len);
    println!("kept of it: {bytes} bytes");
    Ok(())
}

/// Keeps one set.
#[derive(Debug, Default)]
struct Kept(Mutex<Option<Bytes>>);

impl Bytecodes for Kept {
    fn find<'a>(&'a self, _: BytecodeOf<'a>) -> HostFuture<'a, Option<Bytes>> {
        Box::pin(async { self.0.lock().unwrap_or_else(PoisonError::into_inner).clone() })
    }

    fn keep<'a>(&'a self, _: BytecodeOf<'a>, bytecode: Bytes) -> HostFuture<'a, ()> {
        Box::pin(async { *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytecode) })
    }
}

/// What is not in the folder is not there.
struct NoRegistry;

impl Fetch for NoRegistry {
    fn get(&self, _: Get) -> HostFuture<'_, Result<Got, FetchError>> {
        Box::pin(async { Err(FetchError("there is no registry".to_owned())) })
    }
}

fn action(id: &str, code: &str) -> Arc<Program> {
    Arc::new(Program { id: id.to_owned(), code: code.into(), packages: None, modules: Vec::new() })
}

fn execution(program: &Arc<Program>, tenant: u64) -> Execution {
    let event: &RawValue =
        serde_json::from_str(r#"{"user":{"user_id":"auth0|1","app_metadata":{}}}"#).unwrap_or(RawValue::NULL);
    Execution {
        tenant,
        program: Arc::clone(program),
        trigger: ActionTrigger::PostLogin,
        function: "onExecutePostLogin".to_owned(),
        event: event.to_owned(),
        secrets: BTreeMap::new(),
        now: Timestamp::from_seconds(1_767_261_600),
        limits: Limits::default(),
        depth: 0,
    }
}

async fn timed(pool: &Pool, program: &Arc<Program>, tenant: u64) -> Result<Duration, ActionError> {
    let execution = execution(program, tenant);
    let began = Instant::now();
    pool.run(execution, Arc::new(Nothing)).await.result?;
    Ok(began.elapsed())
}

fn say(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    println!("{what}: {:.0} µs, 95 of 100 within {:.0} µs ({} times)", at(50), at(95), times.len());
}
