//! `cargo xtask bench`: the server and the load generator, both as they would be shipped.

use std::process::ExitCode;

use crate::steps::Steps;
use crate::{program, workspace};

/// Steps: 1 build both in release, 2 run the generator with the arguments given.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let root = workspace::root();
    let mut steps = Steps::new("bench");
    let built = steps.run("build", || {
        program::run(program::cargo(&root).args(["build", "--locked", "--release"]).args([
            "--package",
            "curfew",
            "--package",
            "curfew-bench",
        ]))
    });
    if built.is_some() {
        let release = workspace::target().join("release");
        steps.run("run", || {
            program::run(
                std::process::Command::new(release.join("curfew-bench"))
                    .args(arguments)
                    .env("CURFEW_BIN", release.join("curfew"))
                    .current_dir(&root),
            )
        });
    }
    steps.finish()
}
