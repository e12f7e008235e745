//! Actions: tenants' own code at fixed places of the flows.
//!
//! What runs is a [`Program`]: the deployed version of an Action, which comes with the cached configuration
//! ([`TenantConfig::actions`](crate::TenantConfig::actions)), so that a login without Actions pays nothing for there being
//! any. The engine is behind [`Runner`], what makes a draft deployable behind [`Builder`].

pub(crate) mod apply;
pub mod build;
pub mod bytecode;
pub(crate) mod commands;
pub(crate) mod event;
pub mod executions;
mod geography;
pub(crate) mod pipeline;
mod program;
mod runner;
pub(crate) mod runs;
pub(crate) mod secrets;

pub use build::{BuildError, BuildFailure, Builder, Builds, Built, Draft, NoBuilder, Packages};
pub use commands::{Verdict, judge};
pub use geography::{Geography, NoGeography, Place};
pub use program::{Bound, BoundAction, Program};
pub use runner::{ActionError, ConsoleLine, DEPTH_MAX, Execution, FetchRecord, Finished, NoRunner, Runner};
pub use runs::Runs;
