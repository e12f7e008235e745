//! What runs Actions: the engine's workers, with what each execution may reach.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use curfew_actions as engine;
use curfew_core::actions::{ActionError, ConsoleLine, Execution, FetchRecord, Finished, Program, Runner};
use curfew_model::{Failure, TenantId};
use curfew_packages::PackageSet;
use curfew_store::{Store, action_packages};
use curfew_tokens::digest::sha256;
use engine::{Pool, PoolConfig, WorkerCommand};
use futures_util::future::BoxFuture;
use serde_json::value::to_raw_value;

use super::{Reach, Reached};
use crate::config::ActionsConfig;

/// Programs that are kept ready to be sent to a worker.
const PROGRAMS_MAX: usize = 1024;

type Ready = (Weak<Program>, Arc<engine::Program>);

/// Worker processes that run Actions.
pub struct Workers {
    pool: Pool,
    reach: Arc<Reach>,
    store: Store,
    limits: engine::Limits,
    trigger_time: Duration,
    /// By id: the program of the rules, and the same as the engine takes it.
    ready: Mutex<HashMap<String, Ready>>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// What one execution may use.
pub(crate) fn limits(config: &ActionsConfig) -> engine::Limits {
    engine::Limits {
        wall: config.time,
        cpu: config.cpu,
        memory_bytes: config.memory_bytes,
        ..engine::Limits::default()
    }
}

/// Workers that are started like this.
pub(crate) fn pool_config(worker: WorkerCommand, config: &ActionsConfig) -> PoolConfig {
    let ActionsConfig { workers, idle, unconfined, .. } = *config;
    let pool = match workers {
        Some(workers) => PoolConfig::with_workers(worker, workers),
        None => PoolConfig::new(worker),
    };
    PoolConfig { idle, unconfined, ..pool }
}

impl Workers {
    /// Runs Actions in the workers of `pool`, which reach what `reach` says and use no more than `config` lets them.
    pub fn new(pool: Pool, reach: Arc<Reach>, store: Store, config: &ActionsConfig) -> Self {
        let limits = limits(config);
        Self { pool, reach, store, limits, trigger_time: config.time, ready: Mutex::default() }
    }

    async fn execute(&self, execution: Execution) -> Result<engine::Finished, ActionError> {
        let program = self.program(execution.tenant, &execution.program).await?;
        let event = to_raw_value(&execution.event)
            .map_err(|error| ActionError::Unavailable(format!("the event cannot be written: {error}")))?;
        let limits = engine::Limits { wall: execution.time_limit, ..self.limits };
        let host = Reached {
            reach: Arc::clone(&self.reach),
            tenant: execution.tenant,
            trigger: execution.trigger,
            depth: execution.depth,
        };
        let asked = engine::Execution {
            tenant: execution.tenant.0.unsigned_abs(),
            program,
            trigger: execution.trigger,
            function: execution.function.to_owned(),
            event,
            secrets: (*execution.secrets).clone(),
            now: execution.now,
            limits,
            depth: execution.depth,
        };
        Ok(self.pool.run(asked, Arc::new(host)).await)
    }

    /// The program as the engine takes it. Its packages are read and looked through once.
    async fn program(
        &self,
        tenant: TenantId,
        of: &Arc<Program>,
    ) -> Result<Arc<engine::Program>, ActionError> {
        if let Some(program) = self.ready(of) {
            return Ok(program);
        }
        let packages = match &of.packages {
            Some(digest) => Some(self.packages(tenant, digest).await?),
            None => None,
        };
        let program = Arc::new(engine::Program {
            id: id(of),
            code: Arc::clone(&of.code),
            packages,
            modules: of.modules.clone(),
        });
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= PROGRAMS_MAX {
            ready.retain(|_, (of, _)| of.strong_count() > 0);
        }
        if ready.len() < PROGRAMS_MAX {
            ready.insert(of.id.clone(), (Arc::downgrade(of), Arc::clone(&program)));
        }
        Ok(program)
    }

    fn ready(&self, of: &Arc<Program>) -> Option<Arc<engine::Program>> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, program) = ready.get(&of.id)?;
        std::ptr::eq(known.as_ptr(), Arc::as_ptr(of)).then(|| Arc::clone(program))
    }

    async fn packages(&self, tenant: TenantId, digest: &str) -> Result<Arc<PackageSet>, ActionError> {
        let unavailable = |why: String| ActionError::Unavailable(format!("its packages: {why}"));
        let read = self.store.read_long((tenant, digest.to_owned()), |tx, (tenant, digest)| {
            Box::pin(action_packages::find(tx, *tenant, digest))
        });
        let bytes = read.await.map_err(|failure: Failure| unavailable(failure.to_string()))?;
        let bytes = bytes.ok_or_else(|| unavailable("they are gone; deploy it again".to_owned()))?;
        // A large set takes a while to read.
        let set = tokio::task::spawn_blocking(move || PackageSet::from_bytes(&bytes)).await;
        let set = set.map_err(|error| unavailable(error.to_string()))?;
        set.map(Arc::new).map_err(|error| unavailable(error.to_string()))
    }
}

impl Runner for Workers {
    fn run(&self, execution: Execution) -> BoxFuture<'_, Finished> {
        Box::pin(async move {
            match self.execute(execution).await {
                Ok(finished) => as_finished(finished),
                Err(error) => Finished {
                    result: Err(error),
                    commands: Vec::new(),
                    console: Vec::new(),
                    fetches: Vec::new(),
                    duration: Duration::ZERO,
                },
            }
        })
    }

    fn trigger_time(&self) -> Duration {
        self.trigger_time
    }
}

/// A name for everything that is in it: a draft may be written anew under the id it had.
fn id(program: &Program) -> String {
    let mut all = Vec::with_capacity(program.code.len());
    let modules = program.modules.iter().flat_map(|(name, code)| [name.as_bytes(), code.as_bytes()]);
    let packages = program.packages.as_deref().unwrap_or_default().as_bytes();
    for part in [program.code.as_bytes(), packages].into_iter().chain(modules) {
        all.extend_from_slice(&part.len().to_le_bytes());
        all.extend_from_slice(part);
    }
    let digest: String = sha256(&all).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{digest}", program.id)
}

fn as_finished(finished: engine::Finished) -> Finished {
    let value = |command: &serde_json::value::RawValue| serde_json::from_str(command.get()).ok();
    let commands = finished.commands.iter().map(|command| value(command)).collect::<Option<Vec<_>>>();
    // One that cannot be read is not left out in silence: what the others were to go with it is not known.
    let (result, commands) = match (finished.result, commands) {
        (Ok(()), None) => {
            let name = "RangeError".to_owned();
            let message = "what the Action asked for by its api is nested too deep".to_owned();
            (Err(engine::ActionError::Thrown { name, message, stack: String::new() }), Vec::new())
        }
        (result, commands) => (result, commands.unwrap_or_default()),
    };
    let line =
        |line: engine::ConsoleLine| ConsoleLine { level: line.level.name().to_owned(), text: line.text };
    let fetch = |fetch: engine::FetchRecord| FetchRecord {
        method: fetch.method,
        url: fetch.url,
        status: fetch.status,
        error: fetch.error,
        duration: fetch.duration,
    };
    Finished {
        result: result.map_err(as_error),
        commands,
        console: finished.console.into_iter().map(line).collect(),
        fetches: finished.fetches.into_iter().map(fetch).collect(),
        duration: finished.duration,
    }
}

fn as_error(error: engine::ActionError) -> ActionError {
    match error {
        engine::ActionError::Thrown { name, message, stack } => ActionError::Thrown { name, message, stack },
        engine::ActionError::TimedOut { .. } => ActionError::TimedOut,
        engine::ActionError::OutOfMemory => ActionError::OutOfMemory,
        engine::ActionError::Crashed => ActionError::Crashed,
        engine::ActionError::NoSuchFunction => ActionError::NoSuchFunction,
        engine::ActionError::Busy => ActionError::Busy,
        other => ActionError::Unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn finished(commands: &[&str]) -> Finished {
        let commands = commands.iter().map(|&text| RawValue::from_string(text.to_owned()).unwrap()).collect();
        as_finished(engine::Finished {
            result: Ok(()),
            commands,
            ..engine::Finished::failed(engine::ActionError::Busy)
        })
    }

    #[test]
    fn a_command_that_cannot_be_read_fails_the_execution() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let read = finished(&["{}", &deep(100)]);
        assert!(read.result.is_ok() && read.commands.len() == 2, "{read:?}");
        let refused = finished(&["{}", &deep(1000)]);
        assert!(matches!(refused.result, Err(ActionError::Thrown { .. })) && refused.commands.is_empty());
    }
}
