//! What Curfew's tests stand on: a throw-away PostgreSQL server, links to it that break, stores of both engines, and a
//! clock that is moved.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is linked into tests only, where a panic is how a test fails"
)]

pub mod clock;
pub mod engines;
pub mod postgres;
pub mod proxy;

pub use clock::VirtualClock;
pub use engines::{START, TestDatabase};
pub use postgres::{OwnPostgres, TestPostgres};
