//! What runs an Action. The rules do not know the engine; whoever puts the server together hands in what does.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use curfew_model::config::ActionTrigger;
use curfew_model::{Secret, TenantId, Timestamp};
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::Program;

/// How deep an Action may be that an Action's own requests to this server cause to run.
pub const DEPTH_MAX: u8 = 2;

/// One run of one Action.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Whose.
    pub tenant: TenantId,
    /// What runs.
    pub program: Arc<Program>,
    /// Where in the flows.
    pub trigger: ActionTrigger,
    /// The export: [`ActionTrigger::function`], or `onContinuePostLogin`.
    pub function: &'static str,
    /// `event`, without `secrets`.
    pub event: Value,
    /// `event.secrets`.
    pub secrets: Arc<BTreeMap<String, Secret<String>>>,
    /// What `Date` begins with.
    pub now: Timestamp,
    /// How long it may take.
    pub time_limit: Duration,
    /// In how many Actions it is nested.
    pub depth: u8,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Whether it ran to its end.
    pub result: Result<(), ActionError>,
    /// What `api.*` recorded, in order: `{"type": "access.deny", "args": […]}`. Untrusted: whoever applies one reads it
    /// strictly.
    pub commands: Vec<Value>,
    /// What it wrote to the console.
    pub console: Vec<ConsoleLine>,
    /// Which requests it made.
    pub fetches: Vec<FetchRecord>,
    /// How long it took.
    pub duration: Duration,
}

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLine {
    /// `log`, `info`, `warn`, `error`, `debug`.
    pub level: String,
    /// What was written.
    pub text: String,
}

/// A request that an Action made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRecord {
    /// The method.
    pub method: String,
    /// The address; its query is not kept.
    pub url: String,
    /// The status; `None` when there was no answer.
    pub status: Option<u16>,
    /// Why there was none.
    pub error: Option<String>,
    /// How long it took.
    pub duration: Duration,
}

/// Why an Action did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionError {
    /// It threw something.
    Thrown {
        /// `name` of what it threw.
        name: String,
        /// `message`.
        message: String,
        /// `stack`.
        stack: String,
    },
    /// It took too long.
    TimedOut,
    /// It took too much memory.
    OutOfMemory,
    /// Its worker is gone.
    Crashed,
    /// It does not export the function.
    NoSuchFunction,
    /// There was no worker for it.
    Busy,
    /// It could not be begun.
    Unavailable(String),
    /// It ran, and what it asked for cannot be read or is too much: why.
    Unheard(&'static str),
}

impl ActionError {
    /// Its name as records have it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Thrown { .. } => "thrown",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::Crashed => "crashed",
            Self::NoSuchFunction => "no_such_function",
            Self::Busy => "busy",
            Self::Unavailable(_) => "unavailable",
            Self::Unheard(_) => "unheard",
        }
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thrown { name, message, .. } => write!(f, "{name}: {message}"),
            Self::TimedOut => f.write_str("the Action took too long"),
            Self::OutOfMemory => f.write_str("the Action took too much memory"),
            Self::Crashed => f.write_str("the Action's worker has crashed"),
            Self::NoSuchFunction => f.write_str("the Action does not export the function of this trigger"),
            Self::Busy => f.write_str("no worker was free for the Action"),
            Self::Unavailable(why) => write!(f, "the Action could not be begun: {why}"),
            Self::Unheard(why) => write!(f, "nothing of what the Action asked for was done: {why}"),
        }
    }
}

/// Runs Actions.
pub trait Runner: Debug + Send + Sync {
    /// Runs one, within its time.
    fn run(&self, execution: Execution) -> BoxFuture<'_, Finished>;

    /// How long the Actions of one trigger may take in one flow, together.
    fn trigger_time(&self) -> Duration {
        Duration::from_secs(20)
    }
}

/// Runs nothing: for servers without an engine.
#[derive(Debug, Clone, Copy)]
pub struct NoRunner;

impl Runner for NoRunner {
    fn run(&self, _: Execution) -> BoxFuture<'_, Finished> {
        Box::pin(async {
            Finished {
                result: Err(ActionError::Unavailable("this server runs no Actions".to_owned())),
                commands: Vec::new(),
                console: Vec::new(),
                fetches: Vec::new(),
                duration: Duration::ZERO,
            }
        })
    }
}
