//! How fast Actions begin and run: `cargo run --release -p curfew-actions --example pace -- target/release/curfew`.
//!
//! One line for each measurement, in microseconds: the middle one of all, and what 95 of 100 do not exceed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{
    ActionError, ActionTrigger, Execution, Limits, Nothing, Pool, PoolConfig, Program, WorkerCommand,
};
use curfew_model::Timestamp;
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

    let pool = Pool::new(PoolConfig::new(worker))?;
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
    Ok(())
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
