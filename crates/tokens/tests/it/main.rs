//! Tests over the public face of the crate.

// The attribute tells clippy that these modules are tests through and through.
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod peer;
