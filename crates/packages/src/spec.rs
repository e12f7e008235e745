//! Which package, and which of its versions.

use serde::{Deserialize, Serialize};

use crate::version::{Range, Version};

/// Longest name of a package, as npm has it.
const NAME_BYTES_MAX: usize = 214;
const TAG_BYTES_MAX: usize = 128;

/// What an Action asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// A version, a range, or a tag such as `latest`; empty means `latest`.
    pub version: String,
}

/// Why a dependency is none that can be had. Its text may be shown to whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name is none.
    #[error("'{0}' is not the name of a package")]
    Name(String),
    /// An address, a repository, a file, or another package's name.
    #[error("'{name}' asks for '{version}': only a version, a range of versions or a tag can be had")]
    Version {
        /// The package's name.
        name: String,
        /// What was asked for.
        version: String,
    },
}

/// Which versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Range(Range),
    Tag(String),
}

/// A package of the registry, by its name there, and which of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) wanted: Wanted,
}

impl Dependency {
    /// Checks that it names a package of a registry.
    pub fn check(&self) -> Result<(), SpecError> {
        self.spec().map(drop)
    }

    pub(crate) fn spec(&self) -> Result<Spec, SpecError> {
        Spec::new(&self.name, &self.version)
    }
}

impl Spec {
    pub(crate) fn new(name: &str, version: &str) -> Result<Self, SpecError> {
        if !is_name(name) {
            return Err(SpecError::Name(excerpt(name)));
        }
        let text = version.trim();
        let wanted = if text.is_empty() {
            Wanted::Tag("latest".to_owned())
        } else if let Some(range) = Range::parse(text) {
            Wanted::Range(range)
        } else if is_tag(text) {
            Wanted::Tag(text.to_owned())
        } else {
            return Err(SpecError::Version { name: name.to_owned(), version: excerpt(version) });
        };
        Ok(Self { name: name.to_owned(), wanted })
    }

    /// What a package says about one that it depends on: there an alias (`npm:name@range`) is common, and an empty text means any
    /// version.
    pub(crate) fn of_dependency(name: &str, version: &str) -> Result<Self, SpecError> {
        let Some(target) = version.trim().strip_prefix("npm:") else {
            return match version.trim() {
                "" => Self::new(name, "*"),
                _ => Self::new(name, version),
            };
        };
        if !is_name(name) {
            return Err(SpecError::Name(excerpt(name)));
        }
        // The first letter may be the `@` of a scope.
        match target.char_indices().skip(1).find(|&(_, letter)| letter == '@') {
            Some((at, _)) => Self::new(&target[..at], &target[at + 1..]),
            None => Self::new(target, "*"),
        }
    }

    pub(crate) fn admits(&self, name: &str, version: &Version) -> bool {
        self.name == name
            && match &self.wanted {
                Wanted::Range(range) => range.admits(version),
                // A tag is what it was when it was asked for.
                Wanted::Tag(_) => true,
            }
    }
}

/// The first letters of something that may be long.
fn excerpt(text: &str) -> String {
    text.chars().take(100).collect()
}

fn is_name(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '_'])
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
    };
    let parts_are_plain = match name.strip_prefix('@') {
        Some(rest) => rest.split_once('/').is_some_and(|(scope, name)| plain(scope) && plain(name)),
        None => plain(name),
    };
    parts_are_plain && name.len() <= NAME_BYTES_MAX && name != "node_modules" && name != "favicon.ico"
}

fn is_tag(text: &str) -> bool {
    text.len() <= TAG_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_ranges_and_tags_can_be_had() {
        for (name, version) in [
            ("auth0", "7.1.0"),
            ("@slack/webhook", "^8"),
            ("lodash.get", "latest"),
            ("JSONStream", ""),
            ("a", "1 || 2"),
            ("a", "beta-2"),
        ] {
            let asked = Dependency { name: name.into(), version: version.into() };
            assert_eq!(asked.check(), Ok(()), "{name} {version}");
        }
        assert_eq!(Spec::new("a", "").unwrap().wanted, Wanted::Tag("latest".into()));
    }

    #[test]
    fn nothing_else_can() {
        for version in [
            "https://host/a.tgz",
            "git+ssh://git@host/a.git",
            "git://host/a",
            "user/repository",
            "github:user/repository",
            "file:../a",
            "link:../a",
            "workspace:*",
            "npm:b@1",
            "../a",
            "./a",
            "/a",
            "~/a",
            "a b",
            "1.0.0 latest",
            "é",
            "-x",
        ] {
            let asked = Dependency { name: "a".into(), version: version.into() };
            assert!(matches!(asked.check(), Err(SpecError::Version { .. })), "{version}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "@a",
            "@a/",
            "@/a",
            "@a/b/c",
            "../a",
            "_a",
            ".a",
            "a b",
            "a%2fb",
            "node_modules",
            "é",
            "a\\b",
            "a:b",
        ] {
            let asked = Dependency { name: name.into(), version: "1".into() };
            assert!(matches!(asked.check(), Err(SpecError::Name(_))), "{name}");
        }
        assert!(Dependency { name: "a".repeat(215), version: "1".into() }.check().is_err());
    }

    #[test]
    fn packages_may_use_other_names() {
        let spec = |version| Spec::of_dependency("b", version).map(|spec| spec.name);
        assert_eq!(spec("npm:@s/a@^1"), Ok("@s/a".into()));
        assert_eq!(spec("npm:a"), Ok("a".into()));
        assert_eq!(spec(""), Ok("b".into()));
        assert!(spec("npm:").is_err() && spec("npm:https://host/").is_err() && spec("npm:é@1").is_err());
        assert!(Spec::of_dependency("../b", "npm:a@1").is_err());
    }
}
