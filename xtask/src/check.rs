//! `cargo xtask check`: everything that is judged without running Curfew.

use std::process::ExitCode;

use crate::steps::Steps;
use crate::{generate, install, program, workspace};

/// Steps: 1 format, 2 clippy, 3 the guard as others build it, 4 documentation, 5 dependencies, 6 generated files. A
/// failure does not keep the next from running.
pub(crate) fn run() -> ExitCode {
    let root = workspace::root();
    let cargo = |arguments: &[&str]| {
        let mut command = program::cargo(&root);
        command.args(arguments);
        command
    };
    let mut steps = Steps::new("check");
    steps.run("format", || program::run(&mut cargo(&["fmt", "--all", "--check"])));
    steps.run("clippy", || {
        program::run(&mut cargo(&[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    // Without the features that the server's packages turn on for all.
    steps.run("clippy of the guard by itself", || {
        program::run(&mut cargo(&["clippy", "--locked", "--package", "curfew-guard", "--", "-D", "warnings"]))
    });
    steps.run("documentation", || {
        program::run(
            cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"])
                // Private items are documented as well, so that links to them lead somewhere.
                .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"),
        )
    });
    steps.run("dependencies", || {
        install::cargo_tool(&install::DENY)?;
        // Advisories are not among them: they need the network, and a verdict that changes by itself.
        program::run(
            cargo(&["deny", "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
                .env("PATH", install::path_with_tools()?),
        )
    });
    steps.run("generated files", || generate::check(&root));
    steps.finish()
}
