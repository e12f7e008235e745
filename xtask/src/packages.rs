//! `cargo xtask packages`: the npm packages that lie beside the server, so that Actions deploy where there is no registry.
//!
//! Which, and their checksums, is in `crates/packages/shelf/package-lock.json`. The tarballs are npm's own, unchanged; the server checks them
//! against that file when it uses them.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::steps::Steps;
use crate::{cache, install, program, workspace};

/// The folder that says which.
const SHELF: &str = "crates/packages/shelf";

pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new("packages");
    steps.run("packages beside the server", || {
        install::debian(&[install::NODE])?;
        install(&workspace::root())
    });
    steps.finish()
}

/// Puts the tarballs beside the program, in each profile, and installs the same packages as npm does, for the tests that compare.
pub(crate) fn install(root: &Path) -> Result<(), String> {
    let shelf = root.join(SHELF);
    let lock = workspace::read(&shelf.join("package-lock.json"))?;
    let tarballs = install::install_once("tarballs", &cache::key_of(&[&lock]), |place| {
        let locked = locked(&lock);
        program::run(
            Command::new("npm")
                .args(["pack", "--silent", "--ignore-scripts", "--pack-destination", "."])
                .args(&locked)
                .current_dir(place),
        )?;
        let files = std::fs::read_dir(place).map_err(|error| format!("{}: {error}", place.display()))?;
        match files.count() {
            count if count == locked.len() => Ok(()),
            count => Err(format!("{count} tarballs, not {}", locked.len())),
        }
    })?;
    for profile in ["debug", "release"] {
        let folder = workspace::target().join(profile);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        install::link(&tarballs, &folder.join("packages"))?;
    }
    install::node_packages(&shelf)
}

/// `name@version` of everything in a lock file as npm writes it: a line for each member.
fn locked(lock: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut name = None;
    for line in lock.lines() {
        let Some((key, value)) = line.trim().split_once(": ") else { continue };
        let value = value.trim_end_matches(',').trim_matches('"');
        match key.trim_matches('"') {
            path if path.starts_with("node_modules/") => name = path.rsplit("node_modules/").next(),
            // The package that an alias stands for.
            "name" if name.is_some() => name = Some(value),
            "version" => found.extend(name.take().map(|name| format!("{name}@{value}"))),
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_names_packages() {
        let lock = r#"{
  "name": "shelf",
  "version": "1.0.0",
  "packages": {
    "": {
      "dependencies": {
        "a": "1"
      }
    },
    "node_modules/@s/a": {
      "version": "1.2.3",
      "integrity": "x",
      "dependencies": {
        "b": "^1"
      },
      "engines": {
        "version": "9"
      }
    },
    "node_modules/@s/a/node_modules/c": {
      "name": "b",
      "version": "2.0.0"
    },
    "node_modules/b": {
      "version": "2.0.0"
    }
  }
}"#;
        assert_eq!(locked(lock), ["@s/a@1.2.3", "b@2.0.0"]);
        let ours = workspace::read(&workspace::root().join(SHELF).join("package-lock.json")).unwrap();
        assert!(locked(&ours).iter().any(|package| package.starts_with("auth0@7")));
        // A package may lie in several places.
        let sums: std::collections::BTreeSet<_> =
            ours.lines().filter(|line| line.trim_start().starts_with("\"integrity\"")).collect();
        assert_eq!(locked(&ours).len(), sums.len());
    }
}
