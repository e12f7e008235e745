//! The packages that an Action may load, resolved beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Every file that an Action's dependencies may load, and what each `require` and `import` in them means.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PackageSet {
    /// Of everything below: two sets that differ in anything have two digests.
    pub digest: String,
    /// By path.
    pub files: BTreeMap<String, File>,
    /// By the path of the file that asks (empty for the Action itself) and what it asks for.
    pub resolutions: BTreeMap<(String, String), Target>,
    /// The dependencies that the Action named, with the versions they got.
    pub roots: BTreeMap<String, String>,
}

/// A file of a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct File {
    /// What it is.
    pub kind: FileKind,
    /// Its text.
    pub source: Arc<str>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A CommonJS module.
    CommonJs,
    /// An ECMAScript module.
    EsModule,
    /// Data.
    Json,
}

/// What a specifier means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A file of the set.
    File(String),
    /// A module of Node's, without `node:`.
    Builtin(String),
}
