//! What Curfew's tests stand on: a throw-away PostgreSQL server, links to it that break, stores of both engines, a
//! clock that is moved, and applications that misbehave.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "this crate is linked into tests only, where a panic is how a test fails"
)]

pub mod clock;
pub mod engines;
pub mod postgres;
pub mod proxy;
pub mod receiver;

pub use clock::VirtualClock;
pub use engines::{START, TestDatabase};
pub use postgres::{OwnPostgres, TestPostgres};
pub use receiver::{Behaviour, Receiver, Request};
