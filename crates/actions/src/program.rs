//! What is run: a version of an Action, and one execution of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_model::config::ActionTrigger;
use curfew_model::{Secret, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::PackageSet;

/// One version of an Action. It never changes, so a worker keeps its context warm under `id`.
#[derive(Clone, Debug)]
pub struct Program {
    /// Names this code, its packages and its modules, for ever: two programs that differ in anything have two ids.
    pub id: String,
    /// The file, in CommonJS.
    pub code: Arc<str>,
    /// What `require` finds beside the built-in modules.
    pub packages: Option<Arc<PackageSet>>,
    /// Actions modules, each found by `require('actions:NAME')`.
    pub modules: Vec<(String, Arc<str>)>,
}

/// One execution of an Action.
#[derive(Debug)]
pub struct Execution {
    /// Whose code it is. A worker serves one tenant for its life.
    pub tenant: u64,
    /// What is run.
    pub program: Arc<Program>,
    /// Which objects `event` and `api` are.
    pub trigger: ActionTrigger,
    /// Which of the file's exports is called: `onExecutePostLogin`.
    pub function: String,
    /// `event`, without its secrets.
    pub event: Box<RawValue>,
    /// `event.secrets`.
    pub secrets: BTreeMap<String, Secret<String>>,
    /// What the clock says in the Action when it starts; from there on it runs with real time.
    pub now: Timestamp,
    /// What the execution may use.
    pub limits: Limits,
    /// How many Actions wait for this one: 1 where the request that runs it came out of an Action.
    pub depth: u8,
}

/// What one execution may use. Whatever is beyond is refused inside the worker, or ends the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// From start to end, also while it waits for answers. Then it is stopped.
    pub wall: Duration,
    /// Processor time. Then it is stopped.
    pub cpu: Duration,
    /// After either limit, for the engine to notice. Then the worker is killed.
    pub grace: Duration,
    /// Memory of the Action's context.
    pub memory_bytes: usize,
    /// Calls of `api` that are kept.
    pub commands_max: usize,
    /// All of them together, as JSON.
    pub commands_bytes_max: usize,
    /// Console lines that are kept.
    pub console_lines_max: usize,
    /// Bytes of one line that are kept.
    pub console_line_bytes_max: usize,
    /// Bytes of all lines together.
    pub console_bytes_max: usize,
    /// Timers at a time.
    pub timers_max: usize,
    /// Requests in all, to the network and to the cache.
    pub calls_max: usize,
    /// Requests at a time.
    pub calls_at_once_max: usize,
    /// Bytes of a request's address, headers and body.
    pub request_bytes_max: usize,
    /// Bytes of an answer's headers and body.
    pub response_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(20),
            cpu: Duration::from_secs(5),
            grace: Duration::from_millis(500),
            memory_bytes: 128 << 20,
            commands_max: 500,
            commands_bytes_max: 1 << 20,
            console_lines_max: 500,
            console_line_bytes_max: 8 << 10,
            console_bytes_max: 128 << 10,
            timers_max: 1000,
            calls_max: 500,
            calls_at_once_max: 16,
            request_bytes_max: 1 << 20,
            response_bytes_max: 8 << 20,
        }
    }
}
