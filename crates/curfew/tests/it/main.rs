//! Stories over HTTP, on SQLite and on PostgreSQL, in one binary. Each ends with the store's check of its own integrity.
//!
//! Most are told in process ([`support`]): the real server on a real database, with a clock that the tests move. What
//! needs a process that can be killed, real sockets or real load runs the real binary ([`process`]).

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
#[macro_use]
#[expect(dead_code, reason = "callers of every kind are offered; not every kind of story is told yet")]
mod support;

#[cfg(test)]
#[macro_use]
mod process;

#[cfg(test)]
mod crashes;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod races;
#[cfg(test)]
mod smoke;

#[cfg(test)]
mod action_events;
#[cfg(test)]
mod action_flows;
#[cfg(test)]
mod actions;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod backchannel;
#[cfg(test)]
mod busy;
#[cfg(test)]
mod cached;
#[cfg(test)]
mod client_auth;
#[cfg(test)]
mod cors;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod event_streams;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod geography;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod live;
#[cfg(test)]
mod logout;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod post_login;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod session_limit;
#[cfg(test)]
mod session_management;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod signup;
#[cfg(test)]
mod status_lists;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod token;
