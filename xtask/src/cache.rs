//! The folder for what is installed once and used by every checkout: tools, packages, builds.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::hash::{Hash as _, Hasher as _};
use std::path::PathBuf;

/// `CURFEW_CACHE_DIR`, or `curfew` in the user's cache folder. Not made yet.
pub(crate) fn folder() -> Result<PathBuf, String> {
    choose(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .ok_or_else(|| "no folder for the cache: set CURFEW_CACHE_DIR, or HOME".to_owned())
}

fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(chosen) = variable("CURFEW_CACHE_DIR") {
        return Some(chosen.into());
    }
    let caches = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(caches.join("curfew"))
}

/// A name for a set of installed packages: another list of packages, another folder.
pub(crate) fn key_of(parts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_wins() {
        let with = |set: &[(&str, &str)]| {
            choose(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
        };
        let all = [("CURFEW_CACHE_DIR", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(with(&all), Some("/a".into()));
        assert_eq!(with(&all[1..]), Some("/b/curfew".into()));
        assert_eq!(with(&all[2..]), Some("/c/.cache/curfew".into()));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn another_list_has_another_key() {
        assert_eq!(key_of(&["a", "b"]), key_of(&["a", "b"]));
        assert_ne!(key_of(&["a", "b"]), key_of(&["ab", ""]));
    }
}
