//! Tenants' own code: the JavaScript engine, and the process it is confined to.
//!
//! An *Action* is a CommonJS file of a tenant's. [`Pool::run`] runs one of its functions in a child process that has no
//! files, no environment, no sockets and no other tenant's data, that is stopped when it takes too long and killed when
//! it does not stop. What it may do outside, two things, it asks the parent to do: [`Host::fetch`] and [`Host::cache`].
//!
//! Inside the child, `engine` holds QuickJS and gives the Action what Node would (`runtime/`, in JavaScript). What the
//! Action did through `api` comes back as a list of commands, which the rules then judge: everything that comes out of
//! a worker is untrusted input.

mod calls;
mod engine;
mod finished;
mod host;
pub mod in_process;
mod lookups;
mod pool;
mod program;
mod protocol;
pub mod types;
pub mod worker;

pub use curfew_model::config::ActionTrigger;
pub use curfew_packages::PackageSet;
pub use engine::{ACTION_FILE, FIRST_LINE_COLUMNS, MODULE_PREFIX};
pub use finished::{ActionError, ConsoleLevel, ConsoleLine, FetchRecord, Finished};
pub use host::{
    CacheAnswer, CacheRequest, FetchError, FetchRequest, FetchResponse, Host, HostFuture, Nothing,
};
pub use pool::{BytecodeOf, Bytecodes, DEPTH_MAX, Pool, PoolConfig, Unconfined, WorkerCommand};
pub use program::{Execution, Limits, Program};
pub use worker::{Confinement, Enforced};
