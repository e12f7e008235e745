//! The store's promises, each on both engines.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
mod executor;
