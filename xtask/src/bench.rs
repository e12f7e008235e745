//! `cargo xtask bench`: the server and the load generator, both as they would be shipped.

use std::process::{Command, ExitCode};

use crate::postgres::{Durability, Postgres};
use crate::steps::Steps;
use crate::{install, packages, program, workspace};

/// Steps: 1 build both in release, 2 a PostgreSQL that syncs to the disk, 3 run the generator.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut steps = Steps::new("bench");
    run_steps(arguments, &mut steps);
    steps.finish()
}

/// `None` where the rest makes no sense after a failure; the failure is in `steps`.
fn run_steps(arguments: &[String], steps: &mut Steps) -> Option<()> {
    let root = workspace::root();
    steps.run("install what is missing", || install::debian(&[install::POSTGRESQL]))?;
    steps.run("build", || {
        let packages = ["--package", "curfew", "--package", "curfew-bench"];
        program::run(program::cargo(&root).args(["build", "--locked", "--release"]).args(packages))
    })?;
    if arguments.iter().any(|argument| argument == "--latency") {
        steps.run("install what the guard for Node needs", || {
            install::debian(&[install::NODE])?;
            install::node_packages(&root.join("clients/js/guard"))
        })?;
    }
    if arguments.iter().any(|argument| argument == "--actions") {
        steps.run("packages beside the server", || {
            install::debian(&[install::NODE])?;
            packages::install(&root)
        })?;
    }
    let postgres = steps.run("start PostgreSQL", || Postgres::start(Durability::Disk))?;
    let release = workspace::target().join("release");
    steps.run("run", || {
        program::run(
            Command::new(release.join("curfew-bench"))
                .args(arguments)
                .env("CURFEW_BIN", release.join("curfew"))
                .env("CURFEW_BENCH_POSTGRES_URL", postgres.url())
                // Whose processor time is the database's: this process and its children.
                .env("CURFEW_BENCH_POSTGRES_PID", postgres.pid().to_string())
                .current_dir(&root),
        )
    })
}
