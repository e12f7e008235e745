//! The binary's parts: configuration, wiring, background jobs. Tests put the same server together with a clock they
//! move.

pub mod actions;
pub mod config;
pub mod descriptors;
pub mod geography;
pub mod outbound;
pub mod serve;
