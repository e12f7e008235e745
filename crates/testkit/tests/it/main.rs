//! What is shown without running the server: the protocol between the feed and its guards, state by state.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
mod feed_model;
