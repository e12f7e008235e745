//! What a specifier means in a file: Node's algorithms for `require` and `import`, over files in memory.
//!
//! The names in capitals are those of the algorithms in Node's documentation ("CommonJS modules: all together",
//! "ECMAScript modules: resolution algorithm specification"). The conditions are `node`, `default`, and `require` or
//! `import`; `module-sync` and `node-addons`, which a package may do without, are not among them, and `browser` has no
//! meaning in Node.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::builtins;
use crate::manifest::{Json, PackageJson};

/// Longest specifier that is looked at.
const SPECIFIER_BYTES_MAX: usize = 4096;

/// Who asks: `require(…)`, or `import` in any of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// `require('x')`.
    Require,
    /// `import … from 'x'`, `export … from 'x'`, `import('x')`.
    Import,
}

/// What a specifier means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A file of the set, by its path.
    File(Arc<str>),
    /// A module of Node's own, by its name without `node:`.
    Builtin(Arc<str>),
}

/// Why a specifier means nothing. Its text is what Node would say, and names no path outside of the set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no such module.
    #[error("Cannot find module '{specifier}'{}", importer(.from))]
    NotFound {
        /// What was asked for.
        specifier: String,
        /// The file that asked; empty for the Action's own code.
        from: String,
        /// Who asked.
        by: By,
    },
    /// `node:` with a name that Node has not.
    #[error("No such built-in module: {specifier}")]
    UnknownBuiltin {
        /// What was asked for.
        specifier: String,
    },
    /// The package has `exports`, and this is not among them.
    #[error("Package subpath '{subpath}' is not defined by \"exports\" in {package}/package.json")]
    NotExported {
        /// What was asked for in it, beginning with `.`.
        subpath: String,
        /// The package's folder.
        package: String,
    },
    /// The package has no such entry among its `imports`.
    #[error("Package import specifier \"{specifier}\" is not defined{}", importer(.from))]
    ImportNotDefined {
        /// What was asked for.
        specifier: String,
        /// The file that asked.
        from: String,
    },
    /// A `package.json` says nothing that could be followed.
    #[error("Invalid package config {package}/package.json")]
    InvalidPackage {
        /// The package's folder.
        package: String,
    },
    /// An entry of `exports` or `imports` points out of the package.
    #[error("Invalid target for '{key}' defined in the package config {package}/package.json")]
    InvalidTarget {
        /// The entry.
        key: String,
        /// The package's folder.
        package: String,
    },
    /// The specifier is none.
    #[error("Invalid module '{specifier}'")]
    InvalidSpecifier {
        /// What was asked for.
        specifier: String,
    },
    /// The module is machine code, which Actions cannot load.
    #[error("Cannot load '{path}': native add-ons do not run in Actions")]
    Native {
        /// The file.
        path: String,
    },
}

fn importer(from: &str) -> String {
    if from.is_empty() { String::new() } else { format!(" imported from {from}") }
}

impl ResolveError {
    /// The `code` that Node gives the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { by: By::Require, .. } => "MODULE_NOT_FOUND",
            Self::NotFound { by: By::Import, .. } => "ERR_MODULE_NOT_FOUND",
            Self::UnknownBuiltin { .. } => "ERR_UNKNOWN_BUILTIN_MODULE",
            Self::NotExported { .. } => "ERR_PACKAGE_PATH_NOT_EXPORTED",
            Self::ImportNotDefined { .. } => "ERR_PACKAGE_IMPORT_NOT_DEFINED",
            Self::InvalidPackage { .. } => "ERR_INVALID_PACKAGE_CONFIG",
            Self::InvalidTarget { .. } => "ERR_INVALID_PACKAGE_TARGET",
            Self::InvalidSpecifier { .. } => "ERR_INVALID_MODULE_SPECIFIER",
            Self::Native { .. } => "ERR_DLOPEN_FAILED",
        }
    }
}

/// Files in memory. A path has no leading slash; the top folder is the empty string.
pub(crate) trait Tree {
    fn has_file(&self, path: &str) -> bool;
    fn has_folder(&self, path: &str) -> bool;
    /// A `.node` file, which is known by its name alone.
    fn has_native(&self, path: &str) -> bool;
    /// The `package.json` in a folder, if there is one; an error if it is no JSON object.
    fn package_json(&self, folder: &str) -> Result<Option<Arc<PackageJson>>, ResolveError>;
}

/// What `specifier` means in the file `from` (the empty string: the Action's own code).
pub(crate) fn resolve(tree: &dyn Tree, from: &str, specifier: &str, by: By) -> Result<Target, ResolveError> {
    let asked = Asked { tree, from, specifier, by };
    if specifier.is_empty() || specifier.len() > SPECIFIER_BYTES_MAX || specifier.contains('\0') {
        return Err(ResolveError::InvalidSpecifier { specifier: specifier.chars().take(100).collect() });
    }
    match builtins::named(specifier) {
        Ok(Some(name)) => return Ok(Target::Builtin(name.into())),
        Ok(None) => {}
        Err(()) => return Err(ResolveError::UnknownBuiltin { specifier: specifier.to_owned() }),
    }
    let folder = parent(from);
    if is_relative(specifier) {
        return match by {
            By::Require => asked.file_or_folder(folder),
            By::Import => {
                let path = asked.url_path(folder)?;
                asked.exact(path)
            }
        };
    }
    if specifier.starts_with('#') {
        return asked.imports(folder);
    }
    asked.package(specifier, folder)
}

fn is_relative(specifier: &str) -> bool {
    specifier == "." || specifier == ".." || specifier.starts_with("./") || specifier.starts_with("../")
}

/// The folder of a file or folder; that of the top one is the top one.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// `folder` followed by a relative path. `None` when it leads out of the top folder.
fn follow(folder: &str, relative: &str) -> Option<String> {
    let mut segments: Vec<&str> = folder.split('/').filter(|segment| !segment.is_empty()).collect();
    for segment in relative.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            name => segments.push(name),
        }
    }
    Some(segments.join("/"))
}

/// The folders from `folder` up to the top one.
fn ancestors(folder: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(folder);
    std::iter::from_fn(move || {
        let here = next?;
        next = (!here.is_empty()).then(|| parent(here));
        Some(here)
    })
}

/// LOOKUP_PACKAGE_SCOPE: the nearest folder with a `package.json`, and what it says.
pub(crate) fn scope<'a>(
    tree: &dyn Tree,
    folder: &'a str,
) -> Result<Option<(&'a str, Arc<PackageJson>)>, ResolveError> {
    for folder in ancestors(folder) {
        if folder == "node_modules" || folder.ends_with("/node_modules") {
            return Ok(None);
        }
        if let Some(package_json) = tree.package_json(folder)? {
            return Ok(Some((folder, package_json)));
        }
    }
    Ok(None)
}

/// A package's name and what is asked for in it, which begins with `.`; `None` when it is no name.
fn split_name(specifier: &str) -> Option<(&str, String)> {
    let end = if specifier.starts_with('@') {
        let slash = specifier.find('/')?;
        specifier[slash + 1..].find('/').map_or(specifier.len(), |at| slash + 1 + at)
    } else {
        specifier.find('/').unwrap_or(specifier.len())
    };
    let (name, rest) = specifier.split_at(end);
    let bad = name.is_empty()
        || name.starts_with(['.', '/'])
        || name.ends_with('/')
        || name.contains(['\\', '%', ':'])
        || name.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    (!bad).then(|| (name, format!(".{rest}")))
}

/// One question, on its way through the algorithms.
struct Asked<'a> {
    tree: &'a dyn Tree,
    from: &'a str,
    specifier: &'a str,
    by: By,
}

/// What a target of `exports` or `imports` came to: `Null` stops the search, `Undefined` goes on.
enum Found {
    Undefined,
    Null,
    At(Target),
}

impl Asked<'_> {
    fn not_found(&self) -> ResolveError {
        ResolveError::NotFound {
            specifier: self.specifier.to_owned(),
            from: self.from.to_owned(),
            by: self.by,
        }
    }

    fn invalid_specifier(&self) -> ResolveError {
        ResolveError::InvalidSpecifier { specifier: self.specifier.to_owned() }
    }

    fn has_condition(&self, condition: &str) -> bool {
        match condition {
            "node" | "default" => true,
            "require" => self.by == By::Require,
            "import" => self.by == By::Import,
            _ => false,
        }
    }

    /// The file with exactly this path.
    fn exact(&self, path: String) -> Result<Target, ResolveError> {
        if self.tree.has_file(&path) {
            Ok(Target::File(path.into()))
        } else if self.tree.has_native(&path) {
            Err(ResolveError::Native { path })
        } else {
            Err(self.not_found())
        }
    }

    /// The path of a relative URL: without query and fragment, and decoded.
    fn url_path(&self, folder: &str) -> Result<String, ResolveError> {
        let end = self.specifier.find(['?', '#']).unwrap_or(self.specifier.len());
        let mut bytes = Vec::with_capacity(end);
        let mut rest = self.specifier[..end].bytes();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
            let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
                return Err(self.invalid_specifier());
            };
            let byte = (high * 16 + low) as u8;
            // A separator in disguise.
            if matches!(byte, b'/' | b'\\') {
                return Err(self.invalid_specifier());
            }
            bytes.push(byte);
        }
        let path = String::from_utf8(bytes).map_err(|_| self.invalid_specifier())?;
        follow(folder, &path).ok_or_else(|| self.not_found())
    }

    /// LOAD_AS_FILE, then LOAD_AS_DIRECTORY, of a relative specifier.
    fn file_or_folder(&self, folder: &str) -> Result<Target, ResolveError> {
        let path = follow(folder, self.specifier).ok_or_else(|| self.not_found())?;
        let names_folder = self.specifier.ends_with('/')
            || self.specifier.rsplit('/').next().is_some_and(|last| last == "." || last == "..");
        if !names_folder && let Some(found) = self.as_file(&path)? {
            return Ok(found);
        }
        self.as_folder(&path)?.ok_or_else(|| self.not_found())
    }

    /// LOAD_AS_FILE
    fn as_file(&self, path: &str) -> Result<Option<Target>, ResolveError> {
        if path.is_empty() {
            return Ok(None);
        }
        for ending in ["", ".js", ".json", ".node"] {
            let path = format!("{path}{ending}");
            if self.tree.has_file(&path) {
                return Ok(Some(Target::File(path.into())));
            }
            if self.tree.has_native(&path) {
                return Err(ResolveError::Native { path });
            }
        }
        Ok(None)
    }

    /// LOAD_INDEX
    fn as_index(&self, folder: &str) -> Result<Option<Target>, ResolveError> {
        for name in ["index.js", "index.json", "index.node"] {
            let path = join(folder, name);
            if self.tree.has_file(&path) {
                return Ok(Some(Target::File(path.into())));
            }
            if self.tree.has_native(&path) {
                return Err(ResolveError::Native { path });
            }
        }
        Ok(None)
    }

    /// LOAD_AS_DIRECTORY
    fn as_folder(&self, folder: &str) -> Result<Option<Target>, ResolveError> {
        if let Some(package_json) = self.tree.package_json(folder)?
            && let Some(main) = &package_json.main
            && let Some(path) = follow(folder, main)
        {
            if let Some(found) = self.as_file(&path)? {
                return Ok(Some(found));
            }
            if let Some(found) = self.as_index(&path)? {
                return Ok(Some(found));
            }
        }
        self.as_index(folder)
    }

    /// LOAD_PACKAGE_SELF, then LOAD_NODE_MODULES; PACKAGE_RESOLVE.
    fn package(&self, specifier: &str, folder: &str) -> Result<Target, ResolveError> {
        let Some((name, subpath)) = split_name(specifier) else {
            return Err(match self.by {
                By::Require => self.not_found(),
                By::Import => self.invalid_specifier(),
            });
        };
        if let Some((own, package_json)) = scope(self.tree, folder)?
            && package_json.name.as_deref() == Some(name)
            && let Some(exports) = &package_json.exports
        {
            return self.exports(own, &subpath, exports);
        }
        for folder in ancestors(folder) {
            if folder == "node_modules" || folder.ends_with("/node_modules") {
                continue;
            }
            let package = join(folder, &format!("node_modules/{name}"));
            if !self.tree.has_folder(&package) {
                // A module may also be a file in `node_modules`, but no package is.
                continue;
            }
            let package_json = self.tree.package_json(&package)?;
            if let Some(exports) = package_json.as_ref().and_then(|read| read.exports.as_ref()) {
                return self.exports(&package, &subpath, exports);
            }
            match self.by {
                By::Require => {
                    let path = follow(&package, &subpath).ok_or_else(|| self.not_found())?;
                    if path != package
                        && !subpath.ends_with('/')
                        && let Some(found) = self.as_file(&path)?
                    {
                        return Ok(found);
                    }
                    if let Some(found) = self.as_folder(&path)? {
                        return Ok(found);
                    }
                }
                By::Import if subpath == "." => {
                    return self.as_folder(&package)?.ok_or_else(|| self.not_found());
                }
                By::Import => {
                    let asked = Asked { specifier: &subpath, ..*self };
                    let path = asked.url_path(&package).map_err(|_| self.invalid_specifier())?;
                    return self.exact(path);
                }
            }
        }
        Err(self.not_found())
    }

    /// PACKAGE_EXPORTS_RESOLVE
    fn exports(&self, package: &str, subpath: &str, exports: &Json) -> Result<Target, ResolveError> {
        let subpaths = match exports {
            Json::Object(members) => {
                let dotted = members.iter().filter(|(key, _)| key.starts_with('.')).count();
                if dotted != 0 && dotted != members.len() {
                    return Err(ResolveError::InvalidPackage { package: package.to_owned() });
                }
                dotted != 0
            }
            _ => false,
        };
        let found = if subpath == "." && !subpaths {
            self.target(package, subpath, exports, None, Of::Exports)?
        } else if subpaths {
            self.entries(package, subpath, exports, Of::Exports)?
        } else {
            Found::Undefined
        };
        match found {
            Found::At(target) => Ok(target),
            Found::Null | Found::Undefined => {
                Err(ResolveError::NotExported { subpath: subpath.to_owned(), package: package.to_owned() })
            }
        }
    }

    /// PACKAGE_IMPORTS_RESOLVE
    fn imports(&self, folder: &str) -> Result<Target, ResolveError> {
        if self.specifier == "#" || self.specifier.starts_with("#/") {
            return Err(self.invalid_specifier());
        }
        if let Some((package, package_json)) = scope(self.tree, folder)?
            && let Some(imports) = &package_json.imports
            && let Found::At(target) = self.entries(package, self.specifier, imports, Of::Imports)?
        {
            return Ok(target);
        }
        Err(ResolveError::ImportNotDefined {
            specifier: self.specifier.to_owned(),
            from: self.from.to_owned(),
        })
    }

    /// PACKAGE_IMPORTS_EXPORTS_RESOLVE
    fn entries(&self, package: &str, wanted: &str, entries: &Json, of: Of) -> Result<Found, ResolveError> {
        if wanted.ends_with('/') {
            return Ok(Found::Null);
        }
        if !wanted.contains('*')
            && let Some(target) = entries.get(wanted)
        {
            return self.target(package, wanted, target, None, of);
        }
        let Json::Object(members) = entries else { return Ok(Found::Undefined) };
        // PATTERN_KEY_COMPARE: the longest part before `*`, then the longest key.
        let mut best: Option<(usize, usize, &str, &Json, &str)> = None;
        for (key, target) in members {
            let Some((before, after)) = key.split_once('*') else { continue };
            if after.contains('*') || wanted.len() < key.len() || wanted == before {
                continue;
            }
            let Some(rest) = wanted.strip_prefix(before) else { continue };
            let Some(matched) = rest.strip_suffix(after) else { continue };
            let rank = (before.len(), key.len());
            if best.as_ref().is_none_or(|best| rank > (best.0, best.1)) {
                best = Some((rank.0, rank.1, key, target, matched));
            }
        }
        match best {
            Some((_, _, key, target, matched)) => self.target(package, key, target, Some(matched), of),
            None => Ok(Found::Undefined),
        }
    }

    /// PACKAGE_TARGET_RESOLVE. It goes no deeper than the JSON that was read, which has its own limit.
    fn target(
        &self,
        package: &str,
        key: &str,
        target: &Json,
        matched: Option<&str>,
        of: Of,
    ) -> Result<Found, ResolveError> {
        let invalid = || ResolveError::InvalidTarget { key: key.to_owned(), package: package.to_owned() };
        match target {
            Json::Text(text) => {
                let replaced = matched.map_or_else(|| text.clone(), |matched| text.replace('*', matched));
                let Some(path) = text.strip_prefix("./") else {
                    if of == Of::Exports || text.starts_with("../") || text.starts_with('/') {
                        return Err(invalid());
                    }
                    if let Ok(Some(name)) = builtins::named(&replaced) {
                        return Ok(Found::At(Target::Builtin(name.into())));
                    }
                    if replaced.starts_with('#') || is_relative(&replaced) {
                        return Err(invalid());
                    }
                    return self.package(&replaced, package).map(Found::At);
                };
                if has_forbidden_segment(path) {
                    return Err(invalid());
                }
                if matched.is_some_and(has_forbidden_segment) {
                    return Err(self.invalid_specifier());
                }
                let path = follow(package, &replaced).ok_or_else(invalid)?;
                self.exact(path).map(Found::At)
            }
            Json::Object(members) => {
                let is_index = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
                if members.iter().any(|(condition, _)| is_index(condition)) {
                    return Err(ResolveError::InvalidPackage { package: package.to_owned() });
                }
                for (condition, target) in members {
                    if self.has_condition(condition) {
                        match self.target(package, key, target, matched, of)? {
                            Found::Undefined => {}
                            found => return Ok(found),
                        }
                    }
                }
                Ok(Found::Undefined)
            }
            Json::List(targets) => {
                let mut last = Ok(Found::Null);
                for target in targets {
                    match self.target(package, key, target, matched, of) {
                        Ok(Found::Undefined) => {}
                        Ok(Found::At(target)) => return Ok(Found::At(target)),
                        other @ (Ok(Found::Null) | Err(ResolveError::InvalidTarget { .. })) => last = other,
                        Err(error) => return Err(error),
                    }
                }
                last
            }
            Json::Null => Ok(Found::Null),
            Json::Other => Err(invalid()),
        }
    }
}

/// Which of the two maps of a package is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Exports,
    Imports,
}

/// Whether a target, or what stands for its `*`, would leave the package or enter another one.
fn has_forbidden_segment(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        // `%6e` and its like spell letters; no path of a package has a percent sign for another reason.
        plain == "." || plain == ".." || plain == "node_modules" || plain.contains('%')
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::set::PackageSet;

    fn set(files: &[(&str, &str)]) -> PackageSet {
        let (native, sources): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| path.ends_with(".node"));
        let sources: BTreeMap<Arc<str>, Arc<str>> =
            sources.into_iter().map(|&(path, source)| (path.into(), source.into())).collect();
        let native: BTreeSet<Arc<str>> = native.into_iter().map(|&(path, _)| path.into()).collect();
        PackageSet::new(BTreeMap::new(), Vec::new(), sources, native).unwrap()
    }

    /// The path that is found, `node:` and the name of a built-in module, or the error's code.
    fn found(set: &PackageSet, from: &str, specifier: &str, by: By) -> String {
        match set.resolve(from, specifier, by) {
            Ok(Target::File(path)) => path.strip_prefix("node_modules/").unwrap_or(&path).to_owned(),
            Ok(Target::Builtin(name)) => format!("node:{name}"),
            Err(error) => error.code().to_owned(),
        }
    }

    fn assert_found(set: &PackageSet, rows: &[(&str, &str, &str, &str)]) {
        for (from, specifier, required, imported) in rows {
            let from = if from.is_empty() { String::new() } else { format!("node_modules/{from}") };
            assert_eq!(
                found(set, &from, specifier, By::Require),
                *required,
                "require('{specifier}') in {from}"
            );
            assert_eq!(found(set, &from, specifier, By::Import), *imported, "import '{specifier}' in {from}");
        }
    }

    const NONE: &str = "MODULE_NOT_FOUND";
    const NO_IMPORT: &str = "ERR_MODULE_NOT_FOUND";

    #[test]
    fn built_in_modules_come_first() {
        let set = set(&[("node_modules/fs/index.js", ""), ("node_modules/punycode/index.js", "")]);
        assert_found(
            &set,
            &[
                ("", "fs", "node:fs", "node:fs"),
                ("", "node:crypto", "node:crypto", "node:crypto"),
                ("", "node:nothing", "ERR_UNKNOWN_BUILTIN_MODULE", "ERR_UNKNOWN_BUILTIN_MODULE"),
                ("", "punycode/", "punycode/index.js", NO_IMPORT),
            ],
        );
    }

    #[test]
    fn files_and_folders() {
        let set = set(&[
            ("node_modules/a/package.json", r#"{"main":"lib"}"#),
            ("node_modules/a/lib/index.js", ""),
            ("node_modules/a/lib/x.js", ""),
            ("node_modules/a/lib/x/index.json", ""),
            ("node_modules/a/lib/data.json", ""),
            ("node_modules/a/lib/name with space.js", ""),
            ("node_modules/a/node_modules/b/index.js", ""),
            ("node_modules/b/package.json", r#"{"main":"./missing.js"}"#),
            ("node_modules/b/index.json", ""),
            ("node_modules/@s/c/c.js", ""),
            ("node_modules/@s/c/package.json", r#"{"main":"c"}"#),
            ("node_modules/d/package.json", r#"{"main":"../b/index.json"}"#),
        ]);
        assert_found(
            &set,
            &[
                ("", "a", "a/lib/index.js", "a/lib/index.js"),
                ("", "a/", "a/lib/index.js", NO_IMPORT),
                ("", "a/lib/x", "a/lib/x.js", NO_IMPORT),
                ("", "a/lib/x.js", "a/lib/x.js", "a/lib/x.js"),
                ("", "a/lib/x/", "a/lib/x/index.json", NO_IMPORT),
                ("", "b", "b/index.json", "b/index.json"),
                ("", "@s/c", "@s/c/c.js", "@s/c/c.js"),
                ("", "@s", NONE, "ERR_INVALID_MODULE_SPECIFIER"),
                ("", "d", "b/index.json", "b/index.json"),
                ("", "c", NONE, NO_IMPORT),
                ("", "./a", NONE, NO_IMPORT),
                ("", "./node_modules/a/lib/x.js", "a/lib/x.js", "a/lib/x.js"),
                ("a/lib/x.js", "b", "a/node_modules/b/index.js", "a/node_modules/b/index.js"),
                ("a/lib/x.js", "./data", "a/lib/data.json", NO_IMPORT),
                ("a/lib/x.js", ".", "a/lib/index.js", NO_IMPORT),
                ("a/lib/x.js", "..", "a/lib/index.js", NO_IMPORT),
                ("a/lib/x.js", "./x/..", "a/lib/index.js", NO_IMPORT),
                ("a/lib/x.js", "./name%20with%20space.js?a#b", NONE, "a/lib/name with space.js"),
                ("a/lib/x.js", "./..%2fx.js", NONE, "ERR_INVALID_MODULE_SPECIFIER"),
                ("a/lib/x.js", "./%zz", NONE, "ERR_INVALID_MODULE_SPECIFIER"),
                ("a/lib/x.js", "../../../../../../etc/passwd", NONE, NO_IMPORT),
                ("a/lib/x.js", "/etc/passwd", NONE, "ERR_INVALID_MODULE_SPECIFIER"),
                ("a/lib/x.js", "https://host/x.js", NONE, "ERR_INVALID_MODULE_SPECIFIER"),
                ("a/lib/x.js", "", "ERR_INVALID_MODULE_SPECIFIER", "ERR_INVALID_MODULE_SPECIFIER"),
            ],
        );
    }

    #[test]
    fn exports_decide_where_there_are_some() {
        let set = set(&[
            (
                "node_modules/e/package.json",
                r#"{"name":"e","main":"./no.js","exports":{
                    ".":{"browser":"./browser.js","import":"./e.mjs","require":"./e.cjs"},
                    "./json":"./package.json",
                    "./sub/*":"./lib/*.js",
                    "./sub/deep/*":{"node":{"worker":"./no.js"},"default":"./deep/*.js"},
                    "./sub/private/*":null,
                    "./x*y":"./lib/x*y.js",
                    "./out":"../f/index.js",
                    "./out2":"./lib/../../f/index.js",
                    "./modules":"./node_modules/g/index.js",
                    "./list":["no","./lib/a.js"],
                    "./none":[],
                    "./number":1,
                    "./missing":"./missing.js",
                    "./nothing":{"browser":"./browser.js"}
                }}"#,
            ),
            ("node_modules/e/browser.js", ""),
            ("node_modules/e/e.mjs", ""),
            ("node_modules/e/e.cjs", ""),
            ("node_modules/e/lib/a.js", ""),
            ("node_modules/e/lib/xay.js", ""),
            ("node_modules/e/deep/a.js", ""),
            ("node_modules/f/package.json", r#"{"exports":"./f.js"}"#),
            ("node_modules/f/f.js", ""),
            ("node_modules/g/package.json", r#"{"exports":{".":"./g.js","import":"./g.js"}}"#),
            ("node_modules/h/package.json", r#"{"exports":{"0":"./h.js"}}"#),
            ("node_modules/i/package.json", r#"{"exports":"#),
            ("node_modules/j/package.json", r#"{"exports":null,"main":"j"}"#),
            ("node_modules/j/j.js", ""),
            ("node_modules/k/package.json", r#"{"exports":false}"#),
        ]);
        let not = "ERR_PACKAGE_PATH_NOT_EXPORTED";
        let target = "ERR_INVALID_PACKAGE_TARGET";
        let config = "ERR_INVALID_PACKAGE_CONFIG";
        assert_found(
            &set,
            &[
                ("", "e", "e/e.cjs", "e/e.mjs"),
                ("", "e/json", "e/package.json", "e/package.json"),
                ("", "e/package.json", not, not),
                ("", "e/sub/a", "e/lib/a.js", "e/lib/a.js"),
                ("", "e/sub/b", NONE, NO_IMPORT),
                ("", "e/sub/deep/a", "e/deep/a.js", "e/deep/a.js"),
                ("", "e/sub/private/a", not, not),
                ("", "e/sub/", not, not),
                ("", "e/sub/../a", "ERR_INVALID_MODULE_SPECIFIER", "ERR_INVALID_MODULE_SPECIFIER"),
                ("", "e/xay", "e/lib/xay.js", "e/lib/xay.js"),
                ("", "e/xy", not, not),
                ("", "e/out", target, target),
                ("", "e/out2", target, target),
                ("", "e/modules", target, target),
                ("", "e/list", "e/lib/a.js", "e/lib/a.js"),
                ("", "e/none", not, not),
                ("", "e/number", target, target),
                ("", "e/missing", NONE, NO_IMPORT),
                ("", "e/nothing", not, not),
                ("e/lib/a.js", "e", "e/e.cjs", "e/e.mjs"),
                ("e/lib/a.js", "e/sub/a", "e/lib/a.js", "e/lib/a.js"),
                ("", "f", "f/f.js", "f/f.js"),
                ("", "f/f.js", not, not),
                ("", "g", config, config),
                ("", "h", config, config),
                ("", "i", config, config),
                ("", "j", "j/j.js", "j/j.js"),
                ("", "k", target, target),
            ],
        );
    }

    #[test]
    fn a_package_imports_from_itself() {
        let set = set(&[
            (
                "node_modules/p/package.json",
                r##"{"imports":{
                    "#a":{"require":"./a.cjs","default":"./a.mjs"},
                    "#dep":"q/sub",
                    "#dep/*":"q/*",
                    "#fs":"node:fs",
                    "#os":{"node":"os"},
                    "#up":"../q/sub.js",
                    "#self":"#a",
                    "#null":null
                }}"##,
            ),
            ("node_modules/p/a.cjs", ""),
            ("node_modules/p/a.mjs", ""),
            ("node_modules/p/lib/x.js", ""),
            ("node_modules/q/sub.js", ""),
        ]);
        let not = "ERR_PACKAGE_IMPORT_NOT_DEFINED";
        let target = "ERR_INVALID_PACKAGE_TARGET";
        assert_found(
            &set,
            &[
                ("p/lib/x.js", "#a", "p/a.cjs", "p/a.mjs"),
                ("p/lib/x.js", "#dep", "q/sub.js", NO_IMPORT),
                ("p/lib/x.js", "#dep/sub.js", "q/sub.js", "q/sub.js"),
                ("p/lib/x.js", "#fs", "node:fs", "node:fs"),
                ("p/lib/x.js", "#os", "node:os", "node:os"),
                ("p/lib/x.js", "#up", target, target),
                ("p/lib/x.js", "#self", target, target),
                ("p/lib/x.js", "#null", not, not),
                ("p/lib/x.js", "#other", not, not),
                ("p/lib/x.js", "#", "ERR_INVALID_MODULE_SPECIFIER", "ERR_INVALID_MODULE_SPECIFIER"),
                ("q/sub.js", "#a", not, not),
                ("", "#a", not, not),
            ],
        );
    }

    #[test]
    fn machine_code_is_refused_by_name() {
        let set = set(&[
            ("node_modules/n/package.json", r#"{"main":"build/n.node"}"#),
            ("node_modules/n/build/n.node", ""),
            ("node_modules/n/index.node", ""),
            ("node_modules/n/x.js", ""),
        ]);
        let error = set.resolve("node_modules/n/x.js", "./build/n", By::Require).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Cannot load 'node_modules/n/build/n.node': native add-ons do not run in Actions"
        );
        let refused = "ERR_DLOPEN_FAILED";
        assert_found(&set, &[("", "n", refused, refused), ("n/x.js", ".", refused, NO_IMPORT)]);
    }

    /// Pieces that mean something to the algorithms.
    const PIECES: &[&str] = &[
        ".",
        "..",
        "/",
        "./",
        "*",
        "#",
        "@",
        "a",
        "b",
        "node_modules",
        "%2e",
        "%",
        ":",
        "\\",
        "\0",
        "é",
        ".js",
        ".node",
        "node:",
    ];

    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(PIECES), 0..6).prop_map(|pieces| pieces.concat())
    }

    fn exports() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            text().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
            Just(serde_json::Value::from(1))
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map(
                    prop_oneof![text(), Just("default".to_owned()), Just("node".to_owned())],
                    inner,
                    0..4
                )
                .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_package_says_only_its_files_are_found(
            exports in exports(), imports in exports(), main in text(), specifier in text(), name in text(),
        ) {
            let json = serde_json::json!({"name": name, "exports": exports, "imports": imports, "main": main}).to_string();
            let set = set(&[("node_modules/a/package.json", &json), ("node_modules/a/a.js", ""), ("node_modules/a/b/index.js", "")]);
            for from in ["", "node_modules/a/a.js"] {
                for by in [By::Require, By::Import] {
                    for specifier in [&specifier, &format!("a/{specifier}"), &format!("#{specifier}"), "a"] {
                        if let Ok(Target::File(path)) = set.resolve(from, specifier, by) {
                            prop_assert!(set.files().contains_key(&path));
                        }
                    }
                }
            }
        }

        #[test]
        fn no_package_json_panics(json in "\\PC{0,80}") {
            let set = set(&[("node_modules/a/package.json", &json), ("node_modules/a/index.js", "")]);
            let _ = set.resolve("", "a", By::Require);
        }
    }
}
