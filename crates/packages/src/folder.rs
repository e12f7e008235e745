//! A set made of what a package manager has installed into a folder: for an Action that is tried out at the command line, and for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::limits::{FILE_BYTES_MAX, FILES_MAX, SET_BYTES_MAX};
use crate::set::{Package, PackageSet, SetError};
use crate::source::{Keep, text_of};

/// Why a folder gives no set.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// What.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A `package.json` is none.
    #[error("{path} is not a package.json: {error}")]
    PackageJson {
        /// Which.
        path: String,
        /// Why.
        error: serde_json::Error,
    },
    /// It holds more than a set may.
    #[error(transparent)]
    Set(#[from] SetError),
}

/// What is read of a `package.json` beside what the loader reads.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    dependencies: BTreeMap<String, serde_json::Value>,
}

impl PackageSet {
    /// Reads `folder/node_modules`. The roots are the `dependencies` of `folder/package.json`. Links are not followed, and checksums are
    /// unknown.
    pub fn from_folder(folder: &Path) -> Result<Self, FolderError> {
        let manifest = folder.join("package.json");
        let top = named(&manifest)?;
        let mut found = Found::default();
        found.read(&folder.join("node_modules"), "node_modules")?;
        let version = |name: &str| {
            let path = format!("node_modules/{name}");
            found.packages.iter().find(|package| package.path == path).map(|package| package.version.clone())
        };
        let roots = top.dependencies.keys().filter_map(|name| Some((name.clone(), version(name)?))).collect();
        Ok(Self::new(roots, found.packages, found.sources, found.native)?)
    }
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.display().to_string();
    move |error| FolderError::Read { path, error }
}

fn named(path: &Path) -> Result<Named, FolderError> {
    let text = std::fs::read(path).map_err(read_error(path))?;
    serde_json::from_slice(&text)
        .map_err(|error| FolderError::PackageJson { path: path.display().to_string(), error })
}

#[derive(Default)]
struct Found {
    packages: Vec<Package>,
    sources: BTreeMap<Arc<str>, Arc<str>>,
    native: BTreeSet<Arc<str>>,
    bytes: usize,
}

impl Found {
    /// Reads a folder, which lies at `inside` in the set. A path is no longer than the system allows, so this goes no deeper.
    fn read(&mut self, folder: &Path, inside: &str) -> Result<(), FolderError> {
        for entry in std::fs::read_dir(folder).map_err(read_error(folder))? {
            let entry = entry.map_err(read_error(folder))?;
            let (path, name) = (entry.path(), entry.file_name());
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            let inside = format!("{inside}/{name}");
            let kind = entry.file_type().map_err(read_error(&path))?;
            if kind.is_dir() {
                self.read(&path, &inside)?;
                continue;
            }
            if !kind.is_file() {
                continue;
            }
            match Keep::of(name) {
                Keep::Nothing => continue,
                Keep::Name => drop(self.native.insert(inside.into())),
                Keep::Text => {
                    let bytes = std::fs::read(&path).map_err(read_error(&path))?;
                    self.bytes += bytes.len();
                    if bytes.len() > FILE_BYTES_MAX {
                        return Err(SetError::TooLarge("8 MiB in a file").into());
                    }
                    if name == "package.json" && is_package(&inside) {
                        self.package(&path, &inside)?;
                    }
                    self.sources.insert(inside.into(), text_of(&bytes));
                }
            }
            if self.bytes > SET_BYTES_MAX {
                return Err(SetError::TooLarge("64 MiB of files").into());
            }
            if self.sources.len() + self.native.len() > FILES_MAX {
                return Err(SetError::TooLarge("20,000 files").into());
            }
        }
        Ok(())
    }

    fn package(&mut self, path: &Path, inside: &str) -> Result<(), FolderError> {
        let Named { name, version, .. } = named(path)?;
        let path = inside.trim_end_matches("/package.json").to_owned();
        self.packages.push(Package { path, name, version, integrity: String::new() });
        Ok(())
    }
}

/// Whether a `package.json` is that of a package, not of a folder in one.
fn is_package(path: &str) -> bool {
    let below = path.rsplit_once("node_modules/").map_or(path, |(_, below)| below);
    let slashes = below.bytes().filter(|&byte| byte == b'/').count();
    slashes == 1 + usize::from(below.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::{By, Target};

    #[test]
    fn an_installed_folder_is_a_set() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("package.json", r#"{"dependencies":{"a":"^1","absent":"1","@s/b":"x"}}"#);
        write("node_modules/.package-lock.json", "{}");
        write("node_modules/a/package.json", r#"{"name":"a","version":"1.2.3"}"#);
        write("node_modules/a/index.js", "require('@s/b')");
        write("node_modules/a/lib/package.json", r#"{"type":"module"}"#);
        write("node_modules/a/README.md", "");
        write("node_modules/a/a.node", "");
        write("node_modules/@s/b/package.json", r#"{"name":"@s/b","version":"2.0.0"}"#);
        write("node_modules/@s/b/index.js", "");
        let set = PackageSet::from_folder(folder.path()).unwrap();
        let roots = [("@s/b", "2.0.0"), ("a", "1.2.3")].map(|(name, version)| (name.into(), version.into()));
        assert_eq!(*set.roots(), BTreeMap::from(roots));
        let paths: Vec<_> = set.packages().iter().map(|package| &*package.path).collect();
        assert_eq!(paths, ["node_modules/@s/b", "node_modules/a"]);
        assert_eq!(set.files().len(), 5);
        let found = set.resolve("node_modules/a/index.js", "@s/b", By::Require);
        assert_eq!(found, Ok(Target::File("node_modules/@s/b/index.js".into())));
        assert_eq!(set.resolve("", "a/a", By::Require).unwrap_err().code(), "ERR_DLOPEN_FAILED");
        let large = std::fs::File::create(folder.path().join("node_modules/a/large.json")).unwrap();
        large.set_len(FILE_BYTES_MAX as u64 + 1).unwrap();
        let error = PackageSet::from_folder(folder.path()).unwrap_err();
        assert!(matches!(error, FolderError::Set(SetError::TooLarge("8 MiB in a file"))), "{error}");
    }

    #[test]
    fn a_folder_without_packages_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(PackageSet::from_folder(folder.path()), Err(FolderError::Read { .. })));
        std::fs::write(folder.path().join("package.json"), "no").unwrap();
        assert!(matches!(PackageSet::from_folder(folder.path()), Err(FolderError::PackageJson { .. })));
    }
}
