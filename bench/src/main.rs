//! The load generator, and the floor it compares with.

fn main() {}
