//! The chores of the checkout, behind one word: `cargo xtask`.
//!
//! Invariant: no dependencies. Whoever clones the repository waits seconds for this program, not minutes,
//! and it can install what the rest needs.

mod arguments;
mod bench;
mod cache;
mod check;
mod clients;
mod generate;
mod install;
mod packages;
mod postgres;
mod program;
mod steps;
mod test;
#[cfg(test)]
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::arguments::Task;

fn main() -> ExitCode {
    let task = match arguments::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(complaint) => {
            eprintln!("error: {complaint}\n\n{}", arguments::HELP);
            return ExitCode::from(2);
        }
    };
    match task {
        Task::Help => {
            print!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Task::Test(wanted) => test::run(&wanted),
        Task::Check => check::run(),
        Task::Generate => generate::run(),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Packages => packages::run(),
        Task::Postgres { command } => postgres::run(&command),
    }
}
