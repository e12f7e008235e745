//! The client against real sockets: receivers that redirect, hang, answer too much or break off, names that resolve
//! anew, and TLS with an authority of one's own.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
mod requests;
