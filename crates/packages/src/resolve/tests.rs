//! What specifiers mean, in tables.

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
        assert_eq!(found(set, &from, specifier, By::Require), *required, "require('{specifier}') in {from}");
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
        ("node_modules/a/lib/both.js", ""),
        ("node_modules/a/lib/both.json", ""),
        ("node_modules/a/two/index.js", ""),
        ("node_modules/a/two/index.json", ""),
        ("node_modules/node_modules/z/index.js", ""),
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
            ("a/lib/x.js", "../../../../../../node_modules/b/index.json", NONE, NO_IMPORT),
            ("a/lib/x.js", "../../../node_modules/b/index.json", "b/index.json", "b/index.json"),
            ("a/lib/x.js", "./x/", "a/lib/x/index.json", NO_IMPORT),
            ("a/lib/x.js", "./both", "a/lib/both.js", NO_IMPORT),
            ("a/lib/x.js", "../two", "a/two/index.js", NO_IMPORT),
            ("a/lib/x.js", "z", NONE, NO_IMPORT),
            ("a/lib/x.js", &"x".repeat(SPECIFIER_BYTES_MAX), NONE, NO_IMPORT),
            (
                "a/lib/x.js",
                &"x".repeat(SPECIFIER_BYTES_MAX + 1),
                "ERR_INVALID_MODULE_SPECIFIER",
                "ERR_INVALID_MODULE_SPECIFIER",
            ),
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
                "./bare":"f",
                "./absolute":"/node_modules/f/f.js",
                "./spelt":"./%2e%2e/f/f.js",
                "./stop":{"node":null,"default":"./lib/a.js"},
                "./folder/":"./lib/",
                "./t/*":"./lib/*",
                "./t/*.js":"./deep/*.js",
                "./list":["no","./lib/a.js"],
                "./first":["./lib/a.js","./lib/xay.js"],
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
        ("node_modules/other-name/package.json", r#"{"name":"real-name","exports":{"./sub":"./sub.js"}}"#),
        ("node_modules/other-name/sub.js", ""),
        ("node_modules/other-name/x.js", ""),
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
            ("", "e/bare", target, target),
            ("", "e/absolute", target, target),
            ("", "e/spelt", target, target),
            ("", "e/stop", not, not),
            ("", "e/folder/", not, not),
            ("", "e/folder/a.js", not, not),
            ("", "e/t/a.js", "e/deep/a.js", "e/deep/a.js"),
            ("", "e/first", "e/lib/a.js", "e/lib/a.js"),
            ("other-name/x.js", "real-name/sub", "other-name/sub.js", "other-name/sub.js"),
            ("other-name/x.js", "real-name", not, not),
            ("", "real-name/sub", NONE, NO_IMPORT),
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
                "#/slash":"./a.cjs",
                "#null":null
            }}"##,
        ),
        ("node_modules/p/a.cjs", ""),
        ("node_modules/p/a.mjs", ""),
        ("node_modules/p/lib/x.js", ""),
        ("node_modules/p/node_modules/r/x.js", ""),
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
            ("p/lib/x.js", "#/slash", "ERR_INVALID_MODULE_SPECIFIER", "ERR_INVALID_MODULE_SPECIFIER"),
            // What lies in a package's own `node_modules` is not of the package.
            ("p/node_modules/r/x.js", "#a", not, not),
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
