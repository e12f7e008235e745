//! Telling applications what ended, by OIDC Back-Channel Logout, and streams what ended or changed.
//!
//! An ending writes down which sessions fell, and a change what changed, and nothing else; [`fanout`] works out later who
//! has to hear of it and writes a delivery for each. The [`Courier`] takes deliveries by a short lease, counts the attempt
//! before it makes it ([`attempt`]), and settles them by what the receiver answers. So whatever stops between two steps, a process or a
//! database, the next step is taken by whoever comes next, and each receiver is told at least once or is listed as one
//! that could not be told.
//!
//! One receiver never delays another: each has a few tries at once, and one whose last try failed has one.

mod attempt;
mod backchannel;
mod courier;
mod fanout;
mod retry;

pub(crate) use attempt::{Errand, Request, Tried};
pub(crate) use backchannel::try_address;
pub use courier::{Courier, Limits};
pub(crate) use retry::Verdict;

/// How long a receiver is tried.
pub(crate) const TRIED_SECONDS: i64 = 86_400;
