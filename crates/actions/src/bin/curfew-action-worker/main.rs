//! A worker alone, as `curfew action-worker` is one, and what this crate's own tests need beside it: a process behind some
//! of a worker's walls that runs against them, and one that only pretends to be a worker.

mod attempts;
mod pretence;

use std::process::ExitCode;

use curfew_actions::worker;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        None => worker::main(),
        Some((what, rest)) if what == "walls" => attempts::main(rest),
        Some((what, rest)) if what == "pretend" => pretence::main(rest),
        Some(_) => ExitCode::FAILURE,
    }
}
