//! What the loader asks about packages: what a specifier means, and what a file says.
//!
//! A worker is sent what its program's roots lead to. The rest, which is most of a package, it asks for when the Action
//! does.

use std::sync::{Arc, LazyLock};

use curfew_packages::{By, Kind, PackageSet, Target};

/// Questions of one execution.
pub(crate) const LOOKUPS_MAX: usize = 20_000;
/// Longest path and longest specifier in a question.
pub(crate) const NAME_BYTES_MAX: usize = 8 << 10;

/// A question.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Resolve { from: &'a str, specifier: &'a str, by: By },
    Source { path: &'a str },
}

/// Its answer.
#[derive(Debug)]
pub(crate) enum Found {
    Target(Target),
    /// Why there is none: code and text, as Node has them.
    NoTarget(String, String),
    Source(Kind, Arc<str>),
    NoSource,
}

/// No packages: what the built-in modules are is known all the same.
static EMPTY: LazyLock<PackageSet> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "nothing is within every limit")]
    PackageSet::new(Default::default(), Vec::new(), Default::default(), Default::default())
        .expect("an empty set")
});

/// Answers from a program's packages.
pub(crate) fn look_up(packages: Option<&PackageSet>, lookup: &Lookup<'_>) -> Found {
    let packages = packages.unwrap_or(&EMPTY);
    match *lookup {
        Lookup::Resolve { from, specifier, by } => match packages.resolve(from, specifier, by) {
            Ok(target) => Found::Target(target),
            Err(error) => Found::NoTarget(error.code().to_owned(), error.to_string()),
        },
        Lookup::Source { path } => match packages.files().get(path) {
            Some(file) => Found::Source(file.kind, Arc::clone(&file.source)),
            None => Found::NoSource,
        },
    }
}
