//! Tests over the public face of the crate.

// The attribute tells clippy that this module is a test through and through.
#[cfg(test)]
mod corpus;
