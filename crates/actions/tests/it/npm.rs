//! The packages of `tests/packages`, as a set of what one of them needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use curfew_packages::{Package, PackageSet};

/// Where `cargo xtask test` installs them.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages");
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages are not installed: run `cargo xtask test --only rust`, or `npm ci` in {}",
        folder.display()
    );
    folder
}

/// A package and what it depends on. `alias` is its name in `tests/packages/package.json`, `name` the one to require.
pub(crate) fn set_of(alias: &str, name: &str) -> PackageSet {
    let folder = folder();
    let mut sources = BTreeMap::new();
    let mut packages = Vec::new();
    let mut done = BTreeSet::new();
    let mut next = vec![format!("node_modules/{alias}")];
    while let Some(path) = next.pop() {
        if !done.insert(path.clone()) {
            continue;
        }
        // The root lies under the name by which it is required.
        let inside =
            |path: &str| path.replacen(&format!("node_modules/{alias}"), &format!("node_modules/{name}"), 1);
        read(&folder.join(&path), &inside(&path), &mut sources);
        let manifest: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join(&path).join("package.json")).unwrap()).unwrap();
        packages.push(Package {
            path: inside(&path),
            name: manifest["name"].as_str().unwrap().to_owned(),
            version: manifest["version"].as_str().unwrap().to_owned(),
            integrity: String::new(),
        });
        for dependency in manifest["dependencies"].as_object().into_iter().flat_map(|all| all.keys()) {
            let nested = format!("{path}/node_modules/{dependency}");
            let hoisted = format!("node_modules/{dependency}");
            next.push(if folder.join(&nested).is_dir() { nested } else { hoisted });
        }
    }
    let version = packages.iter().find(|package| package.path == format!("node_modules/{name}")).unwrap();
    let roots = BTreeMap::from([(name.to_owned(), version.version.clone())]);
    PackageSet::new(roots, packages, sources, BTreeSet::new()).unwrap()
}

/// Reads what can be required. A package's own `node_modules` are packages of their own.
fn read(folder: &Path, inside: &str, sources: &mut BTreeMap<Arc<str>, Arc<str>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let inside = format!("{inside}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "node_modules" {
                read(&entry.path(), &inside, sources);
            }
        } else if [".js", ".cjs", ".mjs", ".json"].iter().any(|ending| name.ends_with(ending)) {
            let text = String::from_utf8(std::fs::read(entry.path()).unwrap()).unwrap();
            let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
            sources.insert(inside.into(), text.into());
        }
    }
}
