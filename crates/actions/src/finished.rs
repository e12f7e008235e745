//! What an execution leaves behind.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of an error's name that are kept.
pub(crate) const THROWN_NAME_BYTES_MAX: usize = 128;
/// Bytes of its stack, and of something that was thrown and is no error.
pub(crate) const THROWN_TEXT_BYTES_MAX: usize = 8 << 10;

/// How an execution ended, and what it did until then.
#[derive(Debug)]
pub struct Finished {
    /// Whether the function came to its end.
    pub result: Result<(), ActionError>,
    /// What it did through `api`, in order: `{"type":"access.deny","args":[…]}`. Written by the tenant's code: a reader
    /// takes nothing for granted.
    pub commands: Vec<Box<RawValue>>,
    /// What it wrote to the console.
    pub console: Vec<ConsoleLine>,
    /// Lines that are missing from `console`, since they were too many.
    pub console_dropped: u64,
    /// What it asked of the network.
    pub fetches: Vec<FetchRecord>,
    /// From start to end, without the time it waited for a worker.
    pub duration: Duration,
}

impl Finished {
    /// An execution that never began.
    pub fn failed(error: ActionError) -> Self {
        Self {
            result: Err(error),
            commands: Vec::new(),
            console: Vec::new(),
            console_dropped: 0,
            fetches: Vec::new(),
            duration: Duration::ZERO,
        }
    }
}

/// Why an execution failed. The text is for the Action's author, never for the person who logs in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum ActionError {
    /// It threw, or its promise was rejected.
    #[error("{name}: {message}")]
    Thrown {
        /// Of the error; `Error` where something else was thrown.
        name: String,
        /// Of the error, or what was thrown.
        message: String,
        /// Where: the lines are those of the Action's own file (`action.js`) and of its packages.
        stack: String,
    },
    /// It took too long, or too much processor time.
    #[error("the Action took longer than it may")]
    TimedOut {
        /// Whether the worker had to be killed for it.
        hard: bool,
    },
    /// It needed more memory than it may have.
    #[error("the Action needed more memory than it may have")]
    OutOfMemory,
    /// Its promise never settles: nothing is left that could settle it.
    #[error("the Action waits for something that never comes")]
    Unsettled,
    /// Its file does not export the function.
    #[error("the Action does not export the function that the trigger calls")]
    NoSuchFunction,
    /// The worker ended, or answered nonsense.
    #[error("the worker of the Action ended unexpectedly")]
    Crashed,
    /// Every worker was busy for too long, or too many executions were waiting.
    #[error("no worker was free")]
    Busy,
    /// Actions called each other deeper than they may.
    #[error("Actions called each other too deep")]
    TooDeep,
    /// What was handed in is larger than a worker takes, or no worker could be started.
    #[error("the Action could not be started: {reason}")]
    NotStarted {
        /// Why, for the operator.
        reason: String,
    },
}

/// A line that the Action wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleLine {
    /// By which of the console's functions.
    pub level: ConsoleLevel,
    /// As it was formatted; cut where it was too long.
    pub text: String,
    /// Since the start.
    pub at: Duration,
}

/// The functions of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleLevel {
    /// `console.debug`, `console.trace`
    Debug,
    /// `console.log`
    Log,
    /// `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error`
    Error,
}

impl ConsoleLevel {
    /// Its name in JavaScript.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Log => "log",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// The level with this name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        [Self::Debug, Self::Log, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.name() == name)
    }
}

/// A request that the Action made, as the parent saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchRecord {
    /// The method.
    pub method: String,
    /// The address without its query, which may hold secrets.
    pub url: String,
    /// The status of the answer, or none.
    pub status: Option<u16>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// Since the start of the execution.
    pub at: Duration,
    /// Until the whole answer was there.
    pub duration: Duration,
    /// Of the request's body.
    pub request_bytes: u64,
    /// Of the answer's body.
    pub response_bytes: u64,
}
