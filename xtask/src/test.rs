//! `cargo xtask test`: install, start, build once, run everything, stop what was started.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::arguments::{Profile, Wanted};
use crate::postgres::{Durability, Postgres, URL_VARIABLE};
use crate::steps::Steps;
use crate::{clients, install, packages, program, workspace};

/// Steps: 1 what is missing, 2 guards in other languages, 3 PostgreSQL, 4 Rust tests, 5 examples in the
/// documentation, 6 the server, 7 real partners in Node, Python and a browser.
pub(crate) fn run(wanted: &Wanted) -> ExitCode {
    let mut steps = Steps::new("test");
    run_steps(wanted, &mut steps);
    steps.finish()
}

/// `None` where the rest makes no sense after a failure; the failure is in `steps`.
fn run_steps(wanted: &Wanted, steps: &mut Steps) -> Option<()> {
    let root = workspace::root();
    let end_to_end = root.join("e2e");
    let has_end_to_end = wanted.suite.has_end_to_end() && end_to_end.join("package.json").is_file();
    let installed = steps
        .run("install what is missing", || install_missing(wanted, has_end_to_end, &end_to_end, &root))?;
    if wanted.suite.has_clients() {
        clients::test(&root, &wanted.names, steps);
    }
    if !wanted.suite.has_rust() && !has_end_to_end {
        return Some(());
    }
    let postgres = steps.run("start PostgreSQL", || Postgres::start(Durability::Process))?;
    if wanted.suite.has_rust() {
        run_rust(wanted, steps, &root, &installed, postgres.url());
    }
    if has_end_to_end {
        let files = clients::files_named(&end_to_end.join("tests"), ".test.mjs", &wanted.names);
        if files.as_ref().is_some_and(Vec::is_empty) {
            println!("\nno end-to-end file has such a name");
            return Some(());
        }
        let server = steps.run("build the server", || build_server(&root, wanted.profile))?;
        steps.run("end-to-end tests", || {
            let mut command = Command::new("npm");
            command
                .args(["test", "--silent", "--"])
                .args(files.unwrap_or_default())
                .current_dir(&end_to_end)
                .env(URL_VARIABLE, postgres.url())
                .env("CURFEW_BIN", &server);
            if let Some(browser) = install::chromium() {
                command.env("CURFEW_E2E_CHROMIUM", browser);
            }
            if let Some(python) = &installed.python {
                command.env("CURFEW_E2E_PYTHON", python);
            }
            program::run(&mut command)
        });
    }
    Some(())
}

fn run_rust(wanted: &Wanted, steps: &mut Steps, root: &Path, installed: &Installed, database: &str) {
    let nextest = |arguments: &[&str]| {
        program::run(
            program::cargo(root)
                .env("PATH", &installed.path)
                .env(URL_VARIABLE, database)
                .args(["nextest", "run", "--locked", "--workspace", "--no-tests=pass"])
                .args(arguments)
                .args(&wanted.names),
        )
    };
    // Two steps for two numbers; what does not compile is not run.
    if steps.run("build Rust tests", || nextest(&["--no-run"])).is_none() {
        return;
    }
    steps.run("Rust tests", || nextest(&["--no-fail-fast"]));
    if wanted.names.is_empty() {
        steps.run("documentation examples", || {
            program::run(program::cargo(root).env(URL_VARIABLE, database).args([
                "test",
                "--locked",
                "--workspace",
                "--doc",
                "--quiet",
            ]))
        });
    }
}

/// What [`install_missing`] made usable.
struct Installed {
    /// `PATH` for Cargo, so that it finds its tools.
    path: std::ffi::OsString,
    /// The interpreter with the packages of `e2e/python`, if there are any.
    python: Option<PathBuf>,
}

fn install_missing(
    wanted: &Wanted,
    has_end_to_end: bool,
    end_to_end: &Path,
    root: &Path,
) -> Result<Installed, String> {
    let requirements = end_to_end.join("python/requirements.txt");
    let has_python = has_end_to_end && requirements.is_file();
    let mut needs = Vec::new();
    if wanted.suite.has_rust() || has_end_to_end {
        needs.push(install::POSTGRESQL);
    }
    if wanted.suite.has_rust() {
        needs.push(install::STRACE);
    }
    if has_end_to_end {
        needs.extend([install::NODE, install::OPENSSL, install::CHROMIUM, install::PROXIES, install::APACHE]);
    }
    if has_python {
        needs.push(install::PYTHON);
    }
    install::debian(&needs)?;
    if wanted.suite.has_rust() {
        install::cargo_tool(&install::NEXTEST)?;
    }
    if has_end_to_end {
        install::node_packages(end_to_end)?;
    }
    clients::install(root)?;
    packages::install(root)?;
    if wanted.suite.has_rust() {
        // What Actions load in the tests of their engine.
        install::node_packages(&root.join("crates/actions/tests/packages"))?;
    }
    let python = has_python.then(|| install::python_packages(&requirements)).transpose()?;
    Ok(Installed { path: install::path_with_tools()?, python })
}

/// Builds the server as the tests' own build did, so that nothing is compiled twice, and returns its path.
fn build_server(root: &Path, profile: Profile) -> Result<PathBuf, String> {
    let mut command = program::cargo(root);
    command.args(["build", "--locked"]);
    let folder = match profile {
        // With the tests: the features that their dependencies add are part of the build that is there already.
        Profile::Dev => {
            command.args(["--workspace", "--bins", "--tests"]);
            "debug"
        }
        Profile::Release => {
            command.args(["--release", "--package", "curfew"]);
            "release"
        }
    };
    program::run(&mut command)?;
    Ok(workspace::target().join(folder).join("curfew"))
}
