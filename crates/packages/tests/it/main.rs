//! From what an Action asks for to a set: against a registry that is made for each test, and with the packages that lie
//! beside the server, as npm and Node see them.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod shelf;
