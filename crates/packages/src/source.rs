//! What is kept of a package's files.

use std::sync::Arc;

/// What is kept of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Its text: it can be required.
    Text,
    /// That it is there: requiring it is refused, and the refusal names it.
    Name,
    /// Nothing: it cannot be required.
    Nothing,
}

impl Keep {
    /// By a file's name.
    pub(crate) fn of(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("js" | "cjs" | "mjs" | "json") => Self::Text,
            Some("node") => Self::Name,
            _ => Self::Nothing,
        }
    }
}

/// A file's text as Node reads it: UTF-8, what is none replaced, without a byte order mark. A first line `#!…` becomes a comment, because
/// the loader puts something before it.
pub(crate) fn text_of(bytes: &[u8]) -> Arc<str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    match text.strip_prefix("#!") {
        Some(rest) => format!("//{rest}").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_node_reads_it() {
        assert_eq!(&*text_of(b"\xef\xbb\xbfx"), "x");
        assert_eq!(&*text_of(b"#!/usr/bin/env node\nx"), "///usr/bin/env node\nx");
        assert_eq!(&*text_of(b"\xffx"), "\u{fffd}x");
    }

    #[test]
    fn only_what_can_be_required_is_kept() {
        for (name, keep) in [
            ("a.js", Keep::Text),
            ("a.min.cjs", Keep::Text),
            ("package.json", Keep::Text),
            ("a.d.ts", Keep::Nothing),
            ("a.js.map", Keep::Nothing),
            ("LICENSE", Keep::Nothing),
            ("js", Keep::Nothing),
            ("a.node", Keep::Name),
        ] {
            assert_eq!(Keep::of(name), keep, "{name}");
        }
    }
}
