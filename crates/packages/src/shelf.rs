//! Packages that lie beside the server, so that they can be deployed where there is no registry.
//!
//! The lock file in the repository says which, with their checksums; the tarballs are what the registry gave, unchanged. One that is
//! not there is simply not on the shelf.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::limits::TARBALL_BYTES_MAX;
use crate::registry::{Packument, Release};
use crate::spec::Wanted;
use crate::version::Version;

/// The lock file: npm's own, without addresses.
const LOCK: &str = include_str!("../shelf/package-lock.json");

/// Why a lock file is none.
#[derive(Debug, thiserror::Error)]
#[error("the lock file of the packages beside the server makes no sense: {0}")]
pub struct ShelfError(String);

/// The packages that lie beside the server.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    packages: BTreeMap<String, Packument>,
    tarballs: BTreeMap<(String, Version), PathBuf>,
}

/// A package that the lock file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The name of its tarball, as `npm pack` gives it.
    pub tarball: String,
}

impl Shelf {
    /// Nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What of the lock file lies in one of `folders`; the first that has a package gives it. A folder that is not there has none.
    pub fn open(folders: &[PathBuf]) -> Result<Self, ShelfError> {
        Self::of(LOCK, folders)
    }

    fn of(lock: &str, folders: &[PathBuf]) -> Result<Self, ShelfError> {
        let mut shelf = Self::default();
        for (locked, release) in locked(lock)? {
            let version = Version::parse(&locked.version)
                .ok_or_else(|| ShelfError(format!("{} has no version", locked.name)))?;
            let paths = folders.iter().map(|folder| folder.join(&locked.tarball));
            let Some(path) = paths.into_iter().find(|path| path.is_file()) else { continue };
            let packument = shelf.packages.entry(locked.name.clone()).or_default();
            packument.releases.insert(version.clone(), Arc::new(release));
            shelf.tarballs.insert((locked.name, version), path);
        }
        for packument in shelf.packages.values_mut() {
            let newest = packument.releases.keys().rev().find(|version| !version.is_prerelease());
            let newest = newest.cloned();
            packument.tags.extend(newest.map(|version| ("latest".to_owned(), version)));
        }
        Ok(shelf)
    }

    /// Whether nothing lies on it.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// How many packages lie on it.
    pub fn len(&self) -> usize {
        self.tarballs.len()
    }

    pub(crate) fn pick(&self, name: &str, wanted: &Wanted) -> Option<(Version, Arc<Release>)> {
        let (version, release) = self.packages.get(name)?.pick(wanted)?;
        Some((version.clone(), Arc::clone(release)))
    }

    /// Reads a tarball. It is not checked yet.
    pub(crate) fn tarball(&self, name: &str, version: &Version) -> std::io::Result<Bytes> {
        let path =
            self.tarballs.get(&(name.to_owned(), version.clone())).ok_or(std::io::ErrorKind::NotFound)?;
        if std::fs::metadata(path)?.len() > TARBALL_BYTES_MAX as u64 {
            return Err(std::io::Error::other("too large"));
        }
        std::fs::read(path).map(Bytes::from)
    }
}

/// What the lock file in the repository names.
pub fn shelf_lock() -> Result<Vec<Locked>, ShelfError> {
    Ok(locked(LOCK)?.into_iter().map(|(locked, _)| locked).collect())
}

fn locked(lock: &str) -> Result<Vec<(Locked, Release)>, ShelfError> {
    let lock: Value = serde_json::from_str(lock).map_err(|error| ShelfError(error.to_string()))?;
    let packages =
        lock.get("packages").and_then(Value::as_object).ok_or_else(|| ShelfError("no packages".into()))?;
    let mut found = BTreeMap::new();
    for (path, value) in packages {
        // The first entry is the folder itself.
        let Some((_, name)) = path.rsplit_once("node_modules/") else { continue };
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let name = text("name").unwrap_or(name);
        let (Some(version), Some(integrity)) = (text("version"), text("integrity")) else {
            return Err(ShelfError(format!("{name} has no version or no checksum")));
        };
        let mut release = Release::read(value);
        release.integrity = Some(integrity.to_owned());
        let tarball = format!("{}-{version}.tgz", name.trim_start_matches('@').replace('/', "-"));
        let locked = Locked { name: name.to_owned(), version: version.to_owned(), tarball };
        found.insert((locked.name.clone(), locked.version.clone()), (locked, release));
    }
    Ok(found.into_values().collect())
}

/// The folders in which the server looks: the one that is configured, or those beside the program and in the data folder.
pub fn shelf_folders(configured: Option<&Path>, program: Option<&Path>, data: &Path) -> Vec<PathBuf> {
    match configured {
        Some(folder) => vec![folder.to_owned()],
        None => {
            let beside = program.and_then(Path::parent).map(|folder| folder.join("packages"));
            beside.into_iter().chain([data.join("packages")]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use crate::tarball::tests::{gzip, integrity, tar};
    use crate::tarball::verify;

    fn picked(shelf: &Shelf, name: &str, wanted: &str) -> Option<String> {
        let spec = Spec::new(name, wanted).unwrap();
        shelf.pick(name, &spec.wanted).map(|(version, _)| version.to_string())
    }

    #[test]
    fn what_is_locked_and_there_lies_on_the_shelf() {
        let tarball = gzip(&tar(&[("package/package.json", b"{}")]));
        let lock = serde_json::json!({"packages": {
            "": {"name": "shelf"},
            "node_modules/@s/a": {"version": "1.2.3", "integrity": integrity(&tarball), "dependencies": {"b": "^1"}},
            "node_modules/b": {"version": "1.0.0", "integrity": integrity(b"")},
            "node_modules/@s/a/node_modules/b": {"version": "2.0.0-rc.1", "integrity": integrity(b"")},
            "node_modules/absent": {"version": "1.0.0", "integrity": integrity(b"")},
        }})
        .to_string();
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("s-a-1.2.3.tgz"), &tarball).unwrap();
        std::fs::write(two.path().join("b-1.0.0.tgz"), b"").unwrap();
        std::fs::write(two.path().join("b-2.0.0-rc.1.tgz"), b"").unwrap();
        std::fs::write(two.path().join("unlocked-1.0.0.tgz"), b"").unwrap();
        let folders = [one.path().join("none"), one.path().to_owned(), two.path().to_owned()];
        let shelf = Shelf::of(&lock, &folders).unwrap();
        assert_eq!(shelf.len(), 3);
        assert_eq!(picked(&shelf, "@s/a", "latest").as_deref(), Some("1.2.3"));
        assert_eq!(picked(&shelf, "@s/a", "^1.3"), None);
        assert_eq!(picked(&shelf, "b", "latest").as_deref(), Some("1.0.0"), "no version before a release");
        assert_eq!(picked(&shelf, "b", "2.0.0-rc.1").as_deref(), Some("2.0.0-rc.1"));
        assert_eq!(picked(&shelf, "absent", "1"), None);
        assert_eq!(picked(&shelf, "unlocked", "1"), None);
        let spec = Spec::new("@s/a", "1").unwrap();
        let (version, release) = shelf.pick("@s/a", &spec.wanted).unwrap();
        let bytes = shelf.tarball("@s/a", &version).unwrap();
        assert!(verify(&bytes, release.integrity.as_ref().unwrap()).is_ok());
        assert_eq!(release.dependencies["b"], "^1");
        // What was put in its place and is too large is not even read.
        let large = std::fs::File::create(one.path().join("s-a-1.2.3.tgz")).unwrap();
        large.set_len(TARBALL_BYTES_MAX as u64).unwrap();
        assert_eq!(shelf.tarball("@s/a", &version).unwrap().len(), TARBALL_BYTES_MAX);
        large.set_len(TARBALL_BYTES_MAX as u64 + 1).unwrap();
        assert!(shelf.tarball("@s/a", &version).is_err());
        assert!(Shelf::open(&[]).unwrap().is_empty());
    }

    #[test]
    fn the_lock_file_in_the_repository_makes_sense() {
        let lock = shelf_lock().unwrap();
        for name in [
            "auth0",
            "axios",
            "jsonwebtoken",
            "jose",
            "lodash",
            "uuid",
            "moment",
            "node-fetch",
            "@slack/webhook",
        ] {
            assert!(lock.iter().any(|locked| locked.name == name), "{name}");
        }
        for (locked, release) in locked(LOCK).unwrap() {
            assert!(release.integrity.unwrap().starts_with("sha512-"), "{}", locked.name);
            assert!(Version::parse(&locked.version).is_some(), "{}", locked.name);
        }
    }

    #[test]
    fn folders_are_looked_at_in_order() {
        let (program, data) = (Path::new("/opt/curfew/curfew"), Path::new("/var/lib/curfew"));
        let found = shelf_folders(None, Some(program), data);
        assert_eq!(found, [PathBuf::from("/opt/curfew/packages"), PathBuf::from("/var/lib/curfew/packages")]);
        assert_eq!(shelf_folders(Some(Path::new("/p")), Some(program), data), [PathBuf::from("/p")]);
    }
}
