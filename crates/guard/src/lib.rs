//! The guard of an API (a resource server): it checks access tokens of a Curfew server by itself, and refuses within
//! milliseconds those whose access has ended.
//!
//! An access token that is a JWT is checked without asking anybody, so whoever ends access must tell those who check. The
//! server writes every ending into a feed; a guard follows it, holds in memory what has ended, and looks there. It asks
//! nobody while a request waits. A guard that is cut off knows how old its view is. When that is older than its *lease*
//! (by default 10 seconds) it asks the server about each token, or refuses; no setting lets a token pass unasked.
//!
//! With axum, or any other server that stands on tower:
//!
//! ```no_run
#![doc = include_str!("../examples/axum.rs")]
//! ```
//!
//! Without tower: [`Guard::check`] decides about a token, and a [`Refusal`] knows the status, challenge and `Retry-After`
//! of the answer.
//!
//! The guard is a machine-to-machine application of its own: its client grant for the API holds the scope
//! `curfew:guard`.

mod activity;
mod answers;
mod claims;
mod client;
mod clock;
mod config;
mod cutoff;
mod feed;
mod follower;
pub mod fuzz;
mod guard;
mod keys;
mod layer;
mod messages;
mod position;
mod refusal;
mod snapshot;
mod sse;
mod view;

#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use clock::{Clocks, Moment, SystemClocks};
pub use config::{Config, ConfigError, Roots, Stale};
pub use curfew_tokens::claims::AccessToken;
pub use cutoff::{Cutoff, CutoffError};
pub use guard::{Guard, Status};
pub use layer::{GuardLayer, GuardService};
pub use refusal::{Reason, Refusal};
pub use view::{Question, TokenFacts, Verdict, View};
