//! Stories over HTTP, in process: the real server on a real database, with a clock that the tests move. One binary;
//! each story runs on SQLite and on PostgreSQL, and ends with the store's check of its own integrity.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
#[macro_use]
#[expect(dead_code, reason = "callers of every kind are offered; not every kind of story is told yet")]
mod support;

#[cfg(test)]
mod smoke;
