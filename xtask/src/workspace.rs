//! The checkout: where it is, which packages it has, and what its manifests say.

use std::path::{Path, PathBuf};

/// The top folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Where Cargo puts what it builds from this checkout.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The names of the direct dependencies of a package, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) dependencies: Vec<String>,
    pub(crate) dev_dependencies: Vec<String>,
    pub(crate) build_dependencies: Vec<String>,
    pub(crate) inherits_lints: bool,
}

/// The manifests of all members: `crates/*`, then `xtask` and `bench`; each with its folder below the root.
pub(crate) fn members(root: &Path) -> Result<Vec<(String, Manifest)>, String> {
    let mut folders = Vec::new();
    let crates = root.join("crates");
    for entry in std::fs::read_dir(&crates).map_err(|error| format!("{}: {error}", crates.display()))? {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        folders.push(format!("crates/{}", name.to_string_lossy()));
    }
    folders.sort();
    folders.extend(["xtask".to_owned(), "bench".to_owned()]);
    let mut members = Vec::new();
    for folder in folders {
        let path = root.join(&folder).join("Cargo.toml");
        if path.is_file() {
            members.push((folder, parse(&read(&path)?)));
        }
    }
    Ok(members)
}

/// A file as text; the complaint names it.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads what we need of a manifest in the plain form that ours have: a table a header, a key a line.
pub(crate) fn parse(text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    let mut table = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_end_matches(']').to_owned();
            // `[dependencies.name]` names a dependency as `name = ..` would.
            if let Some((kind, name)) = table.rsplit_once('.')
                && let Some(list) = manifest.list_of(kind)
            {
                list.push(name.to_owned());
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let text = || value.trim_matches('"').to_owned();
        match (table.as_str(), key) {
            ("package", "name") => manifest.name = text(),
            ("package", "description") => manifest.description = Some(text()),
            ("lints", "workspace") => manifest.inherits_lints = value == "true",
            (kind, _) => {
                let name = key.split('.').next().unwrap_or(key).to_owned();
                if let Some(list) = manifest.list_of(kind) {
                    list.push(name);
                }
            }
        }
    }
    manifest
}

impl Manifest {
    /// The list that a table fills; tables for one platform count like those for all.
    fn list_of(&mut self, table: &str) -> Option<&mut Vec<String>> {
        let kind = match table.strip_prefix("target.") {
            Some(rest) => rest.rsplit('.').next().unwrap_or(rest),
            None => table,
        };
        match kind {
            "dependencies" => Some(&mut self.dependencies),
            "dev-dependencies" => Some(&mut self.dev_dependencies),
            "build-dependencies" => Some(&mut self.build_dependencies),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_in_all_its_spellings() {
        let manifest = parse(
            r#"
[package]
name = "curfew-example"
description = "An example"
version.workspace = true

[dependencies]
serde.workspace = true
tokio = { workspace = true, features = ["rt"] }
# axum = "1"

[dependencies.url]
version = "2"

[target.'cfg(unix)'.dependencies]
libc = "0.2"

[dev-dependencies]
curfew-testkit.workspace = true

[build-dependencies]
cc = "1"

[lints]
workspace = true
"#,
        );
        assert_eq!(
            manifest,
            Manifest {
                name: "curfew-example".into(),
                description: Some("An example".into()),
                dependencies: ["serde", "tokio", "url", "libc"].map(Into::into).into(),
                dev_dependencies: vec!["curfew-testkit".into()],
                build_dependencies: vec!["cc".into()],
                inherits_lints: true,
            }
        );
    }

    #[test]
    fn the_members_of_this_checkout_are_found() {
        let members = members(&root()).unwrap();
        let names: Vec<_> = members.iter().map(|(_, manifest)| manifest.name.as_str()).collect();
        for expected in ["curfew-model", "curfew-store", "curfew", "xtask", "curfew-bench"] {
            assert!(names.contains(&expected), "{expected} is missing in {names:?}");
        }
    }
}
