//! The modules that Node brings with it. Which of them an Action finds is the loader's matter.

/// Those that are named with or without `node:`.
const NAMES: &[&str] = &[
    "assert",
    "assert/strict",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "dns/promises",
    "domain",
    "events",
    "fs",
    "fs/promises",
    "http",
    "http2",
    "https",
    "inspector",
    "inspector/promises",
    "module",
    "net",
    "os",
    "path",
    "path/posix",
    "path/win32",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "readline/promises",
    "repl",
    "stream",
    "stream/consumers",
    "stream/promises",
    "stream/web",
    "string_decoder",
    "sys",
    "timers",
    "timers/promises",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "util/types",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

/// Those that are named with `node:` alone: without it they are packages.
const PREFIXED: &[&str] = &["sea", "sqlite", "test", "test/reporters"];

/// The built-in module that a specifier names, without `node:`. `Err` when it says `node:` and there is none.
pub(crate) fn named(specifier: &str) -> Result<Option<&'static str>, ()> {
    let find = |names: &[&'static str], name: &str| names.iter().find(|&&known| known == name).copied();
    match specifier.strip_prefix("node:") {
        Some(name) => find(NAMES, name).or_else(|| find(PREFIXED, name)).map(Some).ok_or(()),
        None => Ok(find(NAMES, specifier)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_the_prefix() {
        assert_eq!(named("fs/promises"), Ok(Some("fs/promises")));
        assert_eq!(named("node:fs"), Ok(Some("fs")));
        assert_eq!(named("node:test"), Ok(Some("test")));
        assert_eq!(named("test"), Ok(None), "a package");
        assert_eq!(named("punycode/"), Ok(None), "a package");
        assert_eq!(named("node:lodash"), Err(()));
        assert!(NAMES.is_sorted() && PREFIXED.is_sorted());
    }
}
