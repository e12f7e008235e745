//! Telling applications what ended: OIDC Back-Channel Logout.
//!
//! An ending writes down which sessions fell, and nothing else; [`fanout`] works out later who took part in them and
//! writes a delivery for each. The [`Courier`] takes deliveries by a short lease, counts the attempt before it makes it
//! ([`attempt`]), and settles them by what the application answers. So whatever stops between two steps, a process or a
//! database, the next step is taken by whoever comes next, and each application is told at least once or is listed as
//! one that could not be told.
//!
//! One application never delays another: each has a few tries at once, and one whose last try failed has one.

mod attempt;
mod courier;
mod fanout;
mod retry;

pub(crate) use attempt::try_address;
pub use courier::{Courier, Limits};

/// How long an application is tried.
pub(crate) const TRIED_SECONDS: i64 = 86_400;
