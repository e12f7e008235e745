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
mod tests;
