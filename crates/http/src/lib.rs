//! curfew-http

pub mod pages;
