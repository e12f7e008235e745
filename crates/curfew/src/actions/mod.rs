//! Actions at work: what the rules ask to be run, the worker processes that run it, and what it may reach from there.

mod bytecode;
mod cache;
pub mod command;
mod packages;
mod reach;
mod workers;

pub use bytecode::Shelved;
pub use cache::Caches;
pub use packages::{Packaged, PackagesError};
pub use reach::{Own, Reach, Reached};
pub use workers::Workers;
pub(crate) use workers::{limits, pool_config};
