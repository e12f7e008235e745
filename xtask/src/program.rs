//! Running other programs: what is run is printed, and a failure names it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs to the end with our own output, and complains unless it succeeded.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let line = shown(command);
    println!("$ {line}");
    let status = command.status().map_err(|error| format!("`{line}` did not start: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

/// What the program wrote on its standard output, without the last line break.
///
/// Errors as [`run`]; what it wrote on standard error becomes part of the complaint.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    let line = shown(command);
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("`{line}` did not start: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{line}` ended with {}:\n{}", output.status, complaint.trim_end()));
    }
    let text =
        String::from_utf8(output.stdout).map_err(|_| format!("`{line}` wrote something that is not text"))?;
    Ok(text.trim_end().to_owned())
}

/// Whether the program starts and succeeds; used to ask for versions.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The first program of these names that `PATH` leads to.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// The Cargo that runs us, in the given folder, without what it told us about ourselves.
///
/// `cargo run` describes this package in `CARGO_PKG_*` and its kin. Handed on, these would be seen by the
/// programs that the inner Cargo starts.
pub(crate) fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if about_us {
            command.env_remove(name);
        }
    }
    command
}

/// The command line as a person would type it, paths of programs shortened to their names.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_program() {
        let complaint = run(Command::new("false").arg("--really")).unwrap_err();
        assert!(complaint.contains("`false --really` ended with"), "{complaint}");
        let complaint = run(&mut Command::new("no-program-has-this-name")).unwrap_err();
        assert!(complaint.contains("did not start"), "{complaint}");
        let complaint = output_of(Command::new("sh").args(["-c", "echo because >&2; exit 3"])).unwrap_err();
        assert!(complaint.contains("because"), "{complaint}");
    }

    #[test]
    fn output_loses_its_last_line_break() {
        assert_eq!(output_of(Command::new("echo").arg("hello")).unwrap(), "hello");
    }

    #[test]
    fn programs_are_found_by_any_of_their_names() {
        assert!(find(&["no-program-has-this-name", "sh"]).is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find(&["no-program-has-this-name"]), None);
    }
}
