//! A worker alone, as `curfew action-worker` is one: for this crate's own tests and measurements.

use std::process::ExitCode;

use curfew_actions::worker;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("walls") => ExitCode::from(worker::try_walls()),
        _ => worker::main(),
    }
}
