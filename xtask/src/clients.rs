//! The packages below `clients`, each tested in its own language against a server of its own making.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::install::{self, Need};
use crate::program;
use crate::steps::Steps;

/// One package. Another language is another entry here.
struct Client {
    /// What the step is called.
    title: &'static str,
    folder: &'static str,
    needs: &'static [Need],
    /// Installs what the package in this folder needs.
    install: fn(&Path) -> Result<(), String>,
    /// Runs its tests: all of them, or those whose name contains one of the names.
    test: fn(&Path, &[String]) -> Result<(), String>,
}

const CLIENTS: &[Client] = &[
    Client {
        title: "Node guard",
        folder: "clients/js/guard",
        needs: &[install::NODE],
        install: install::node_packages,
        test: test_node,
    },
    Client {
        title: "Python guard",
        folder: "clients/python/guard",
        needs: &[install::PYTHON],
        install: install_python,
        test: test_python,
    },
];

/// Installs what the packages need. The Rust tests and the end-to-end tests need it as well: they run the guards, which
/// find it beside their packages.
pub(crate) fn install(root: &Path) -> Result<(), String> {
    for client in CLIENTS {
        install::debian(client.needs)?;
        (client.install)(&root.join(client.folder))?;
    }
    Ok(())
}

/// One step for each package.
pub(crate) fn test(root: &Path, names: &[String], steps: &mut Steps) {
    for client in CLIENTS {
        steps.run(client.title, || (client.test)(&root.join(client.folder), names));
    }
}

fn test_node(folder: &Path, names: &[String]) -> Result<(), String> {
    let files = files_named(&folder.join("tests"), ".test.js", names);
    if files.as_ref().is_some_and(Vec::is_empty) {
        println!("no file of these tests has such a name");
        return Ok(());
    }
    let mut command = Command::new("npm");
    command.args(["test", "--silent", "--"]).args(files.unwrap_or_default()).current_dir(folder);
    program::run(&mut command)
}

/// The interpreter that sees what the package in `folder` needs.
fn python(folder: &Path) -> Result<PathBuf, String> {
    install::python_packages(&folder.join("requirements.txt"))
}

/// Links it to `folder/.venv/bin/python`.
fn install_python(folder: &Path) -> Result<(), String> {
    let interpreter = python(folder)?;
    let packages = interpreter.ancestors().nth(2).ok_or("an interpreter outside of any folder")?;
    install::link(packages, &folder.join(".venv"))
}

fn test_python(folder: &Path, names: &[String]) -> Result<(), String> {
    let files = files_named(&folder.join("tests"), ".py", names).map(|mut files| {
        // Beside them lie files that tests use.
        files.retain(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("test_")));
        files
    });
    if files.as_ref().is_some_and(Vec::is_empty) {
        println!("no file of these tests has such a name");
        return Ok(());
    }
    let mut command = Command::new(python(folder)?);
    // `-B`: nothing is compiled into the checkout.
    command.args(["-B", "-m", "pytest", "--quiet"]).args(files.unwrap_or_default()).current_dir(folder);
    program::run(&mut command)
}

/// The files in `folder` that end in `ending` and whose name contains one of `names`; `None` stands for all of them.
pub(crate) fn files_named(folder: &Path, ending: &str, names: &[String]) -> Option<Vec<PathBuf>> {
    if names.is_empty() {
        return None;
    }
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(ending) && names.iter().any(|wanted| name.contains(wanted.as_str()))
        })
        .collect();
    files.sort();
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn names_choose_files() {
        let folder = std::env::temp_dir().join(format!("curfew-xtask-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["spa.test.mjs", "express.test.mjs", "spa.mjs"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let chosen = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            files_named(&folder, ".test.mjs", &names).map(|files| {
                files.iter().map(|file| file.file_name().unwrap().to_owned()).collect::<Vec<_>>()
            })
        };
        assert_eq!(chosen(&[]), None, "all of them");
        assert_eq!(chosen(&["spa"]).unwrap(), ["spa.test.mjs"]);
        assert_eq!(chosen(&["express", "spa"]).unwrap(), ["express.test.mjs", "spa.test.mjs"]);
        assert!(chosen(&["refresh_token::reuse"]).unwrap().is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_client_is_where_it_is_said_to_be() {
        for client in CLIENTS {
            assert!(workspace::root().join(client.folder).join("README.md").is_file(), "{}", client.folder);
        }
    }
}
