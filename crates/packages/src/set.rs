//! The packages of one Action version, as they lie in memory: files, what their specifiers mean, and what was chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::ops::Bound;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize, Serializer};

use crate::limits::{FILES_MAX, PACKAGES_MAX, SET_BYTES_MAX, SET_ENCODED_BYTES_MAX};
use crate::manifest::{PackageJson, Type};
use crate::resolve::{self, By, ResolveError, Target, Tree};
use crate::scan::{Scan, scan};

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The body of a function of `exports`, `require`, `module`, `__filename` and `__dirname`.
    CommonJs,
    /// An ECMAScript module.
    EsModule,
    /// JSON.
    Json,
}

/// A file that can be required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// How it is read.
    pub kind: Kind,
    /// Its text, without a byte order mark; a first line `#!…` is a comment `//…`.
    pub source: Arc<str>,
}

/// A package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Where it lies: `node_modules/a/node_modules/b`.
    pub path: String,
    /// Its name in the registry, which an alias hides.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The checksum of its tarball: `sha512-` and 64 bytes in base64.
    pub integrity: String,
}

/// From the path of a file to what each specifier in it means.
pub type Resolutions = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Target>>;

/// All packages of one Action version. It does not change, and `digest` names it: two sets with the same digest have the
/// same files, which mean the same.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Content")]
pub struct PackageSet {
    digest: String,
    content: Content,
}

/// What the digest is over, in the order in which it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// Of this shape, and of what the loader makes of it.
    format: u32,
    roots: BTreeMap<String, String>,
    packages: Vec<Package>,
    files: BTreeMap<Arc<str>, File>,
    native: BTreeSet<Arc<str>>,
    resolutions: Resolutions,
}

const FORMAT: u32 = 1;

/// Why bytes are no set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// They are not what a set is written as.
    #[error("not a set of packages: {0}")]
    Malformed(String),
    /// It is larger than a set may be.
    #[error("a set of packages has at most {0}")]
    TooLarge(&'static str),
}

impl TryFrom<Content> for PackageSet {
    type Error = SetError;

    fn try_from(content: Content) -> Result<Self, SetError> {
        if content.format != FORMAT {
            return Err(SetError::Malformed(format!("format {}, not {FORMAT}", content.format)));
        }
        if content.packages.len() > PACKAGES_MAX {
            return Err(SetError::TooLarge("300 packages"));
        }
        if content.files.len() + content.native.len() > FILES_MAX {
            return Err(SetError::TooLarge("20,000 files"));
        }
        if content.files.values().map(|file| file.source.len()).sum::<usize>() > SET_BYTES_MAX {
            return Err(SetError::TooLarge("64 MiB of files"));
        }
        let encoded = content.encode();
        if encoded.len() > SET_ENCODED_BYTES_MAX {
            return Err(SetError::TooLarge("128 MiB when written"));
        }
        let digest = digest(&SHA256, &encoded);
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { digest, content })
    }
}

impl Serialize for PackageSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.content.serialize(serializer)
    }
}

impl Content {
    fn encode(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "maps with keys of text, lists and text are always JSON")]
        serde_json::to_vec(self).expect("a set is JSON")
    }
}

impl PackageSet {
    /// Lays out files: `sources` by path, and the paths of `.node` files, of which nothing is kept.
    pub fn new(
        roots: BTreeMap<String, String>,
        mut packages: Vec<Package>,
        sources: BTreeMap<Arc<str>, Arc<str>>,
        native: BTreeSet<Arc<str>>,
    ) -> Result<Self, SetError> {
        packages.sort();
        let scans: BTreeMap<Arc<str>, Scan> = sources
            .iter()
            .filter(|(path, _)| !path.ends_with(".json"))
            .map(|(path, source)| (Arc::clone(path), scan(source)))
            .collect();
        let tree = Sources { sources: &sources, native: &native, package_jsons: package_jsons(&sources) };
        let mut resolutions = Resolutions::new();
        let mut kinds = BTreeMap::new();
        for (path, scan) in &scans {
            let kind = tree.kind(path, scan);
            kinds.insert(Arc::clone(path), kind);
            let (by, specifiers) = match kind {
                Kind::EsModule => (By::Import, scan.imports.iter().chain(&scan.dynamic_imports)),
                // What it imports dynamically is found by other conditions; it is looked for when it is asked for.
                Kind::CommonJs | Kind::Json => (By::Require, scan.requires.iter().chain(&[])),
            };
            let found: BTreeMap<Arc<str>, Target> = specifiers
                .filter_map(|specifier| {
                    let target = resolve::resolve(&tree, path, specifier, by).ok()?;
                    Some((Arc::from(&**specifier), target))
                })
                .collect();
            if !found.is_empty() {
                resolutions.insert(Arc::clone(path), found);
            }
        }
        let files = sources
            .into_iter()
            .map(|(path, source)| {
                let kind = kinds.get(&path).copied().unwrap_or(Kind::Json);
                (path, File { kind, source })
            })
            .collect();
        Content { format: FORMAT, roots, packages, files, native, resolutions }.try_into()
    }

    /// Names the set: SHA-256 over everything in it, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its files by path. A path has no leading slash and begins with `node_modules/`.
    pub fn files(&self) -> &BTreeMap<Arc<str>, File> {
        &self.content.files
    }

    /// What the literals in `require('x')` of CommonJS files, and in the imports of modules, mean.
    pub fn resolutions(&self) -> &Resolutions {
        &self.content.resolutions
    }

    /// The packages that were asked for, with the versions that were chosen.
    pub fn roots(&self) -> &BTreeMap<String, String> {
        &self.content.roots
    }

    /// Every package, ordered by path.
    pub fn packages(&self) -> &[Package] {
        &self.content.packages
    }

    /// What `specifier` means in the file `from` (the empty string: the Action's own code).
    pub fn resolve(&self, from: &str, specifier: &str, by: By) -> Result<Target, ResolveError> {
        let of_table = match self.content.files.get(from).map(|file| file.kind) {
            Some(Kind::CommonJs) => by == By::Require,
            Some(Kind::EsModule) => by == By::Import,
            Some(Kind::Json) | None => false,
        };
        if of_table
            && let Some(target) = self.content.resolutions.get(from).and_then(|table| table.get(specifier))
        {
            return Ok(target.clone());
        }
        resolve::resolve(self, from, specifier, by)
    }

    /// The files that requiring the roots leads to, as far as literals say: what is worth compiling beforehand.
    pub fn reachable(&self) -> BTreeSet<Arc<str>> {
        let roots = self.content.roots.keys().filter_map(|name| self.resolve("", name, By::Require).ok());
        let mut next: Vec<Target> = roots.collect();
        let mut reached = BTreeSet::new();
        while let Some(target) = next.pop() {
            if let Target::File(path) = target
                && reached.insert(Arc::clone(&path))
                && let Some(table) = self.content.resolutions.get(&path)
            {
                next.extend(table.values().cloned());
            }
        }
        reached
    }

    /// The set in few bytes, for storage.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        #[expect(clippy::expect_used, reason = "writing to memory does not fail")]
        encoder.write_all(&self.content.encode()).and_then(|()| encoder.finish()).expect("memory takes bytes")
    }

    /// Reads what [`PackageSet::to_bytes`] wrote. The digest is computed anew.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SetError> {
        let malformed = |error: &dyn std::fmt::Display| SetError::Malformed(error.to_string());
        let mut encoded = Vec::new();
        ZlibDecoder::new(bytes)
            .take(SET_ENCODED_BYTES_MAX as u64 + 1)
            .read_to_end(&mut encoded)
            .map_err(|error| malformed(&error))?;
        if encoded.len() > SET_ENCODED_BYTES_MAX {
            return Err(SetError::TooLarge("128 MiB when written"));
        }
        serde_json::from_slice(&encoded).map_err(|error| malformed(&error))
    }
}

/// Whether a map of paths has one below `folder`.
fn has_below<V>(files: &BTreeMap<Arc<str>, V>, folder: &str) -> bool {
    let prefix = format!("{folder}/");
    files
        .range::<str, _>((Bound::Included(&*prefix), Bound::Unbounded))
        .next()
        .is_some_and(|(path, _)| path.starts_with(&prefix))
}

fn package_json_at(folder: &str) -> String {
    if folder.is_empty() { "package.json".to_owned() } else { format!("{folder}/package.json") }
}

fn parse_package_json(folder: &str, source: &str) -> Result<Arc<PackageJson>, ResolveError> {
    PackageJson::parse(source)
        .map(Arc::new)
        .ok_or_else(|| ResolveError::InvalidPackage { package: folder.to_owned() })
}

impl Tree for PackageSet {
    fn has_file(&self, path: &str) -> bool {
        self.content.files.contains_key(path)
    }

    fn has_folder(&self, path: &str) -> bool {
        has_below(&self.content.files, path)
    }

    fn has_native(&self, path: &str) -> bool {
        self.content.native.contains(path)
    }

    fn package_json(&self, folder: &str) -> Result<Option<Arc<PackageJson>>, ResolveError> {
        let Some(file) = self.content.files.get(&*package_json_at(folder)) else { return Ok(None) };
        parse_package_json(folder, &file.source).map(Some)
    }
}

/// The files of a set in the making, with every `package.json` read once.
struct Sources<'a> {
    sources: &'a BTreeMap<Arc<str>, Arc<str>>,
    native: &'a BTreeSet<Arc<str>>,
    package_jsons: BTreeMap<String, Result<Arc<PackageJson>, ResolveError>>,
}

fn package_jsons(
    sources: &BTreeMap<Arc<str>, Arc<str>>,
) -> BTreeMap<String, Result<Arc<PackageJson>, ResolveError>> {
    let named = sources.iter().filter(|(path, _)| path.rsplit('/').next() == Some("package.json"));
    named
        .map(|(path, source)| {
            let folder = resolve::parent(path);
            (folder.to_owned(), parse_package_json(folder, source))
        })
        .collect()
}

impl Sources<'_> {
    /// By the ending, then by the nearest `package.json`, then, where that has no `type`, by the syntax, as Node does.
    fn kind(&self, path: &str, scan: &Scan) -> Kind {
        if path.ends_with(".mjs") {
            return Kind::EsModule;
        }
        if path.ends_with(".cjs") {
            return Kind::CommonJs;
        }
        let stated =
            resolve::scope(self, resolve::parent(path)).ok().flatten().and_then(|(_, read)| read.kind);
        match stated {
            Some(Type::Module) => Kind::EsModule,
            Some(Type::CommonJs) => Kind::CommonJs,
            None if scan.is_module => Kind::EsModule,
            None => Kind::CommonJs,
        }
    }
}

impl Tree for Sources<'_> {
    fn has_file(&self, path: &str) -> bool {
        self.sources.contains_key(path)
    }

    fn has_folder(&self, path: &str) -> bool {
        has_below(self.sources, path)
    }

    fn has_native(&self, path: &str) -> bool {
        self.native.contains(path)
    }

    fn package_json(&self, folder: &str) -> Result<Option<Arc<PackageJson>>, ResolveError> {
        self.package_jsons.get(folder).cloned().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> BTreeMap<Arc<str>, Arc<str>> {
        files.iter().map(|&(path, source)| (path.into(), source.into())).collect()
    }

    fn set(files: &[(&str, &str)]) -> PackageSet {
        let roots = BTreeMap::from([("a".to_owned(), "1.0.0".to_owned())]);
        PackageSet::new(roots, Vec::new(), sources(files), BTreeSet::new()).unwrap()
    }

    const A: &[(&str, &str)] = &[
        ("node_modules/a/package.json", r#"{"name":"a","main":"a.js"}"#),
        (
            "node_modules/a/a.js",
            "require('b'); require('./x'); require('fs'); import('m'); require('missing')",
        ),
        ("node_modules/a/x.js", ""),
        ("node_modules/a/unused.js", ""),
        ("node_modules/a/test/package.json", r#"{"type":"module"}"#),
        ("node_modules/a/test/t.js", "module.exports = 1"),
        ("node_modules/b/index.js", "require('a')"),
        ("node_modules/m/package.json", r#"{"exports":"./m.js"}"#),
        ("node_modules/m/m.js", "import './n.js'; export { x } from 'b'; export const y = 1"),
        ("node_modules/m/n.js", ""),
        ("node_modules/m/c.cjs", "import 'x'"),
        ("node_modules/m/c.mjs", ""),
    ];

    #[test]
    fn files_know_how_they_are_read() {
        let set = set(A);
        let kind = |path: &str| set.files()[&*format!("node_modules/{path}")].kind;
        assert_eq!(kind("a/package.json"), Kind::Json);
        assert_eq!(kind("a/a.js"), Kind::CommonJs, "it imports only dynamically");
        assert_eq!(kind("a/test/t.js"), Kind::EsModule, "the nearest package.json says so");
        assert_eq!(kind("m/m.js"), Kind::EsModule, "no type is stated, and it exports");
        assert_eq!(kind("m/n.js"), Kind::CommonJs);
        assert_eq!((kind("m/c.cjs"), kind("m/c.mjs")), (Kind::CommonJs, Kind::EsModule));
    }

    #[test]
    fn literals_are_resolved_beforehand() {
        let set = set(A);
        let table = &set.resolutions()["node_modules/a/a.js"];
        let expected = BTreeMap::from([
            ("./x".into(), Target::File("node_modules/a/x.js".into())),
            ("b".into(), Target::File("node_modules/b/index.js".into())),
            ("fs".into(), Target::Builtin("fs".into())),
        ]);
        assert_eq!(*table, expected);
        let reachable = set.reachable();
        let reachable: Vec<&str> = reachable.iter().map(|path| &**path).collect();
        assert_eq!(reachable, ["node_modules/a/a.js", "node_modules/a/x.js", "node_modules/b/index.js"]);
        // Others are found when they are asked for.
        let found = set.resolve("node_modules/a/a.js", "m", By::Import);
        assert_eq!(found, Ok(Target::File("node_modules/m/m.js".into())));
    }

    #[test]
    fn a_set_is_written_and_read() {
        let before = set(A);
        let after = PackageSet::from_bytes(&before.to_bytes()).unwrap();
        assert_eq!(after, before);
        let json = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<PackageSet>(&json).unwrap(), before);
        assert_eq!(before.digest().len(), 64);
    }

    #[test]
    fn the_digest_is_over_everything() {
        let digest = set(A).digest().to_owned();
        assert_eq!(set(A).digest(), digest);
        for (at, changed) in [(1, "require('b')"), (0, "{}"), (2, " ")] {
            let mut files = A.to_vec();
            files[at].1 = changed;
            assert_ne!(set(&files).digest(), digest, "{}", files[at].0);
        }
        assert_ne!(set(&A[..A.len() - 1]).digest(), digest);
        let package = |integrity: &str| Package {
            path: "node_modules/a".into(),
            name: "a".into(),
            version: "1.0.0".into(),
            integrity: integrity.into(),
        };
        let with = |packages, native: &[&str]| {
            let roots = BTreeMap::from([("a".to_owned(), "1.0.0".to_owned())]);
            let native = native.iter().map(|&path| path.into()).collect();
            PackageSet::new(roots, packages, sources(A), native).unwrap().digest().to_owned()
        };
        let others = [
            with(vec![package("x")], &[]),
            with(vec![package("y")], &[]),
            with(vec![], &["node_modules/a/a.node"]),
        ];
        assert_eq!(BTreeSet::from(others).len(), 3);
        assert_eq!(with(vec![], &[]), digest);
        // Each part by itself.
        let own = set(A).content;
        let changes: [fn(&mut Content); 5] = [
            |content| content.roots.clear(),
            |content| {
                content.packages.push(Package {
                    path: String::new(),
                    name: String::new(),
                    version: String::new(),
                    integrity: String::new(),
                })
            },
            |content| drop(content.files.pop_last()),
            |content| content.native.extend(["node_modules/a/a.node".into()]),
            |content| content.resolutions.clear(),
        ];
        let mut digests = BTreeSet::from([digest]);
        for change in changes {
            let mut changed = own.clone();
            change(&mut changed);
            digests.insert(PackageSet::try_from(changed).unwrap().digest);
        }
        assert_eq!(digests.len(), 1 + changes.len());
    }

    #[test]
    fn who_asks_decides_and_not_only_where() {
        let set = set(&[
            ("node_modules/a/a.cjs", "require('e')"),
            ("node_modules/a/a.mjs", "import 'e'"),
            ("node_modules/a/package.json", r#"{"type":"commonjs"}"#),
            ("node_modules/a/odd.js", "export const x = 1"),
            ("node_modules/e/package.json", r#"{"exports":{"import":"./e.mjs","require":"./e.cjs"}}"#),
            ("node_modules/e/e.cjs", ""),
            ("node_modules/e/e.mjs", ""),
        ]);
        for from in ["node_modules/a/a.cjs", "node_modules/a/a.mjs"] {
            for (by, found) in [(By::Require, "node_modules/e/e.cjs"), (By::Import, "node_modules/e/e.mjs")] {
                assert_eq!(set.resolve(from, "e", by), Ok(Target::File(found.into())), "{from} {by:?}");
            }
        }
        let odd = &set.files()["node_modules/a/odd.js"];
        assert_eq!(odd.kind, Kind::CommonJs, "what its package states comes before what it looks like");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let whole = set(A).to_bytes();
        assert!(PackageSet::from_bytes(&whole[..whole.len() - 10]).is_err());
        assert!(PackageSet::from_bytes(b"").is_err());
        assert!(serde_json::from_str::<PackageSet>("{}").is_err());
        let mut json = serde_json::to_value(set(A)).unwrap();
        json["format"] = 2.into();
        let error = serde_json::from_value::<PackageSet>(json).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
        // A small thing that would be large when read.
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        let blank = vec![b' '; 1 << 20];
        for _ in 0..=SET_ENCODED_BYTES_MAX >> 20 {
            encoder.write_all(&blank).unwrap();
        }
        assert!(matches!(PackageSet::from_bytes(&encoder.finish().unwrap()), Err(SetError::TooLarge(_))));
    }

    #[test]
    fn a_set_has_limits() {
        let many =
            (0..=FILES_MAX).map(|at| (format!("node_modules/a/{at}.json").into(), "".into())).collect();
        let error = PackageSet::new(BTreeMap::new(), Vec::new(), many, BTreeSet::new()).unwrap_err();
        assert_eq!(error, SetError::TooLarge("20,000 files"));
        let large: Arc<str> = "x".repeat(SET_BYTES_MAX / 8).into();
        let much =
            (0..9).map(|at| (format!("node_modules/a/{at}.json").into(), Arc::clone(&large))).collect();
        let error = PackageSet::new(BTreeMap::new(), Vec::new(), much, BTreeSet::new()).unwrap_err();
        assert_eq!(error, SetError::TooLarge("64 MiB of files"));
        // Bytes that are written as six.
        let odd: Arc<str> = "\u{1}".repeat(6 << 20).into();
        let odd = (0..4).map(|at| (format!("node_modules/a/{at}.json").into(), Arc::clone(&odd))).collect();
        let error = PackageSet::new(BTreeMap::new(), Vec::new(), odd, BTreeSet::new()).unwrap_err();
        assert_eq!(error, SetError::TooLarge("128 MiB when written"));
        let package = Package {
            path: "node_modules/a".into(),
            name: "a".into(),
            version: "1.0.0".into(),
            integrity: String::new(),
        };
        let of = |count| {
            PackageSet::new(BTreeMap::new(), vec![package.clone(); count], sources(A), BTreeSet::new())
        };
        assert!(of(PACKAGES_MAX).is_ok());
        assert_eq!(of(PACKAGES_MAX + 1).unwrap_err(), SetError::TooLarge("300 packages"));
    }
}
