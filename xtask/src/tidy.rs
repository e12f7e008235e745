//! Rules about the checkout that no compiler keeps. Each is a function over texts, shown once to be able to
//! fail, and then applied to every file. Lists of exceptions may only get shorter.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::program;
use crate::workspace::{self, Manifest};

const LINES_MAX: usize = 900;

/// Files that may be longer than [`LINES_MAX`], with the number of lines that they may have today.
const LONG_FILES: &[(&str, usize)] = &[];

/// A text file of the checkout, by its path below the top folder.
struct File {
    path: String,
    text: String,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    fn is(&self, extensions: &[&str]) -> bool {
        Path::new(&self.path)
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| extensions.contains(&extension))
    }

    /// `path:line` of each line that `bad` finds fault with.
    fn lines_where(&self, bad: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        lines.filter(|(_, line)| bad(line)).map(|(at, _)| format!("{}:{}", self.path, at + 1)).collect()
    }
}

/// Every text file that is, or could be, committed.
fn files() -> Vec<File> {
    let root = workspace::root();
    let listed = program::output_of(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root),
    )
    .unwrap();
    let files: Vec<_> = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        // A file that is deleted but not yet committed so, and pictures, have no text.
        .filter_map(|path| {
            Some(File { path: path.into(), text: std::fs::read_to_string(root.join(path)).ok()? })
        })
        .collect();
    assert!(files.len() > 20, "the checkout has more files than {}", files.len());
    files
}

/// Fails with every fault, so that one run shows all of them.
fn assert_none(faults: impl IntoIterator<Item = String>, rule: &str) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

// ---- The length of files

fn too_long(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    let allowed =
        LONG_FILES.iter().find(|(path, _)| *path == file.path).map_or(LINES_MAX, |(_, lines)| *lines);
    let written_by_people = file.is(&["rs", "sql", "js", "mjs", "ts", "py", "html", "css"]);
    (written_by_people && lines > allowed).then(|| format!("{}: {lines} lines", file.path))
}

#[test]
fn no_file_is_too_long_to_be_read() {
    assert!(too_long(&File::new("a.rs", &"x\n".repeat(LINES_MAX + 1))).is_some());
    assert!(too_long(&File::new("a.rs", &"x\n".repeat(LINES_MAX))).is_none());
    assert!(too_long(&File::new("Cargo.lock", &"x\n".repeat(LINES_MAX + 1))).is_none());
    let files = files();
    assert_none(files.iter().filter_map(too_long), "a file of more than 900 lines has more than one subject");
    for (path, lines) in LONG_FILES {
        let now = files.iter().find(|file| file.path == *path).map_or(0, |file| file.text.lines().count());
        assert!(now > LINES_MAX, "{path} is short now: take it off the list");
        assert_eq!(now, *lines, "{path} became shorter: so should its entry");
    }
}

// ---- What must not be committed

/// Traces of one machine: its folders, and the hosts that its package managers were pointed at.
fn machine_traces(file: &File) -> Vec<String> {
    // In pieces, so that this file is not found.
    let folders =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];
    let hosts = [
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("registry.npm", "js.org"),
        concat!("files.python", "hosted.org"),
        concat!("deb.deb", "ian.org"),
    ];
    file.lines_where(|line| {
        folders.iter().any(|folder| names_a_folder(line, folder))
            || hosts.iter().any(|host| line.contains(host))
    })
}

/// Whether `folder` stands there as the start of a path, and not inside a URL such as `https://host/home/x`.
fn names_a_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|sign| sign.is_alphanumeric() || "-_.}".contains(sign))
    })
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let bad =
        File::new("a.md", concat!("fine\nsee /wo", "rk/main\n\"/ho", "me/me/x\"\nat index.crates", ".io\n"));
    assert_eq!(machine_traces(&bad), ["a.md:2", "a.md:3", "a.md:4"]);
    let good = File::new("a.md", concat!("https://app.example/ho", "me/x\n~/.cache\n/var/lib/curfew\n"));
    assert_eq!(machine_traces(&good), [""; 0]);
    assert_none(files().iter().flat_map(machine_traces), "paths and hosts of one machine");
}

/// Signed tokens, live or long over: whoever finds one cannot tell. The corpus of the fuzz targets is made of them, and
/// tests in Rust have those of the specifications.
fn signed_tokens(file: &File) -> Vec<String> {
    if file.path.contains("/corpus/") || file.is(&["rs"]) {
        return Vec::new();
    }
    file.lines_where(|line| {
        line.match_indices("eyJ").any(|(at, _)| {
            let end = |from: usize| {
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                from + line.as_bytes()[from..].iter().take_while(|byte| word(byte)).count()
            };
            let header = end(at);
            header > at + 20 && line[header..].starts_with(".eyJ") && end(header + 1) > header + 20
        })
    })
}

#[test]
fn no_token_is_left_lying_about() {
    let header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";
    let left = File::new("answer.json", &format!("{{\"access_token\":\"{header}.{header}.c2ln\"}}"));
    assert_eq!(signed_tokens(&left), ["answer.json:1"]);
    assert!(signed_tokens(&File::new("a.md", "a token begins with eyJ and has two dots.")).is_empty());
    assert_none(files().iter().flat_map(signed_tokens), "a signed token is a credential");
}

/// What may lie at the top of the checkout, where a tool's output lands by accident.
const TOP: &[&str] = &[
    ".gitignore",
    ".npmrc",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

#[test]
fn nothing_strays_to_the_top() {
    let strays = files().into_iter().map(|file| file.path).filter(|path| !path.contains('/'));
    assert_none(strays.filter(|path| !TOP.contains(&path.as_str())), "not a file of the top folder");
}

/// Tests that do not run, and notes to oneself that outlive their writer.
fn unfinished(file: &File) -> Vec<String> {
    let marks = [
        concat!("#[ign", "ore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("test.sk", "ip("),
        concat!("it.sk", "ip("),
        concat!("describe.sk", "ip("),
        concat!("test.on", "ly("),
        concat!("it.on", "ly("),
    ];
    file.lines_where(|line| marks.iter().any(|mark| line.contains(mark)))
}

#[test]
fn nothing_is_left_for_later() {
    let bad = File::new("a.rs", concat!("#[ign", "ore = \"slow\"]\n// TO", "DO later\nfine\n"));
    assert_eq!(unfinished(&bad), ["a.rs:1", "a.rs:2"]);
    let rule = "a known gap is a sentence, and a test that cannot pass yet asserts what is true today";
    assert_none(files().iter().flat_map(unfinished), rule);
}

/// A lock file names packages and their checksums, not the place where one machine took them from.
fn resolved_hosts(file: &File) -> Vec<String> {
    if !file.path.ends_with("package-lock.json") {
        return Vec::new();
    }
    file.lines_where(|line| line.trim_start().starts_with("\"resolved\""))
}

#[test]
fn lock_files_name_no_hosts() {
    let bad = File::new("e2e/package-lock.json", "{\n  \"resolved\": \"https://host/x.tgz\",\n}");
    assert_eq!(resolved_hosts(&bad), ["e2e/package-lock.json:2"]);
    assert_none(
        files().iter().flat_map(resolved_hosts),
        "`omit-lockfile-registry-resolved` was not in force",
    );
}

/// A requirement that another day, or another machine, would read as another version.
fn loose_requirements(file: &File) -> Vec<String> {
    if !file.path.ends_with("requirements.txt") {
        return Vec::new();
    }
    file.lines_where(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with(['#', '-']) && !line.contains("==")
    })
}

#[test]
fn python_packages_are_pinned() {
    let bad = File::new("requirements.txt", "# these\nauth0-python==5.0.0\nrequests>=2\n");
    assert_eq!(loose_requirements(&bad), ["requirements.txt:3"]);
    assert_none(files().iter().flat_map(loose_requirements), "exact versions only");
}

// ---- The one direction of dependencies

/// The order in which our crates stand on each other. A crate may use those before it, none behind it.
const ORDER: &[&str] = &[
    "curfew-model",
    "curfew-packages",
    "curfew-tokens",
    "curfew-store",
    "curfew-core",
    "curfew-egress",
    "curfew-http",
    "curfew",
];

/// Who may name these dependencies in code that is shipped: the promise that the others keep by lacking them.
const RESERVED: &[(&[&str], &[&str])] = &[
    // SQL has one home.
    (
        &["rusqlite", "tokio-postgres", "deadpool-postgres", "postgres", "sqlx"],
        &["curfew-store", "curfew-testkit"],
    ),
    // Tenants' code runs in one place.
    (&["rquickjs"], &["curfew-actions"]),
    // Rules do not know how they are asked.
    (
        &["axum", "http", "http-body", "http-body-util", "hyper", "hyper-util", "tower-http", "askama"],
        &["curfew-egress", "curfew-guard", "curfew-http", "curfew", "curfew-testkit", "curfew-bench"],
    ),
];

/// Faults of a package's direct dependencies.
fn wrong_dependencies(manifest: &Manifest) -> Vec<String> {
    let place_of = |name: &str| ORDER.iter().position(|&other| other == name);
    let mut faults = Vec::new();
    let mut fault = |dependency: &str, why: &str| {
        faults.push(format!("{} depends on {dependency}: {why}", manifest.name));
    };
    for dependency in manifest.dependencies.iter().chain(&manifest.build_dependencies) {
        if let (Some(own), Some(other)) = (place_of(&manifest.name), place_of(dependency))
            && own <= other
        {
            fault(dependency, "dependencies point the other way");
        }
        if dependency == "curfew-testkit" {
            fault(dependency, "the test kit is for tests only");
        }
        for (reserved, owners) in RESERVED {
            if reserved.contains(&dependency.as_str()) && !owners.contains(&manifest.name.as_str()) {
                fault(dependency, &format!("only {} may", owners.join(", ")));
            }
        }
    }
    if manifest.name == "xtask" && !manifest.dependencies.is_empty() {
        fault(&manifest.dependencies.join(", "), "xtask has to be there in seconds");
    }
    faults
}

#[test]
fn dependencies_point_one_way() {
    let broken = |name: &str, dependency: &str| {
        let manifest =
            Manifest { name: name.into(), dependencies: vec![dependency.into()], ..Manifest::default() };
        !wrong_dependencies(&manifest).is_empty()
    };
    for (name, dependency) in [
        ("curfew-model", "curfew-tokens"),
        ("curfew-store", "curfew-core"),
        ("curfew-core", "curfew-http"),
        ("curfew-core", "axum"),
        ("curfew-core", "hyper"),
        ("curfew-http", "rusqlite"),
        ("curfew", "tokio-postgres"),
        ("curfew", "curfew-testkit"),
        ("xtask", "serde"),
    ] {
        assert!(broken(name, dependency), "{name} may not depend on {dependency}");
    }
    for (name, dependency) in [
        ("curfew-tokens", "curfew-model"),
        ("curfew", "curfew-model"),
        ("curfew-http", "axum"),
        ("curfew-store", "rusqlite"),
        ("curfew-testkit", "curfew-http"),
    ] {
        assert!(!broken(name, dependency), "{name} may depend on {dependency}");
    }
    let members = workspace::members(&workspace::root()).unwrap();
    assert_none(members.iter().flat_map(|(_, manifest)| wrong_dependencies(manifest)), "wrong dependencies");
}

/// What the whole graph under a package must not contain, however deep.
#[test]
fn rules_cannot_reach_the_network_or_the_databases() {
    let root = workspace::root();
    for (package, absent) in [
        ("curfew-model", &["tokio", "axum", "hyper", "http", "rusqlite", "tokio-postgres"][..]),
        ("curfew-tokens", &["tokio", "axum", "hyper", "http", "rusqlite", "tokio-postgres"]),
        ("curfew-store", &["axum", "hyper", "http"]),
        ("curfew-core", &["axum", "hyper", "http"]),
        // A library that others build into theirs.
        (
            "curfew-guard",
            &["axum", "rusqlite", "tokio-postgres", "rcgen", "curfew-store", "curfew-core", "curfew-http"],
        ),
    ] {
        let below = packages_of(&root, package);
        let found: Vec<_> = below.iter().filter(|name| absent.contains(&name.as_str())).collect();
        assert_eq!(found, [""; 0], "under {package}");
    }
}

/// A package and everything under it, by name.
fn packages_of(root: &Path, package: &str) -> BTreeSet<String> {
    let tree = program::output_of(program::cargo(root).args([
        "tree",
        "--locked",
        "--edges",
        "normal",
        // The same on every machine.
        "--target",
        "x86_64-unknown-linux-gnu",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        package,
    ]))
    .unwrap();
    assert!(tree.starts_with(package), "cargo tree said something else: {tree}");
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// What others build into theirs brings little with it. A number that may only get smaller.
#[test]
fn a_guard_stands_on_few_crates() {
    const PACKAGES_MAX: usize = 61;
    let below = packages_of(&workspace::root(), "curfew-guard");
    assert!(below.len() <= PACKAGES_MAX, "{} packages: {below:?}", below.len());
    assert!(below.len() >= PACKAGES_MAX, "there are only {} now: so should be said here", below.len());
}

#[test]
fn every_package_keeps_the_rules_of_the_workspace() {
    for (folder, manifest) in workspace::members(&workspace::root()).unwrap() {
        assert!(manifest.inherits_lints, "{folder} does not inherit the lints");
    }
    assert!(!workspace::parse("[package]\nname = \"x\"\n").inherits_lints);
}

// ---- SQL has one home

/// Statements outside the store, where no test would prepare them on both engines.
fn stray_sql(file: &File) -> Vec<String> {
    // The last two stop real requests and servers in the middle, for which they hold locks from outside.
    let may = [
        "crates/store/",
        "crates/testkit/",
        "bench/",
        "xtask/",
        "crates/curfew/tests/it/races/interleavings.rs",
        "crates/curfew/tests/it/crashes/deliveries.rs",
    ];
    if !file.is(&["rs"]) || may.iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    let openings = ["\"select ", "\"insert into ", "\"update ", "\"delete from ", "\"with "];
    let goes_on = [" from ", " into ", " set ", " where ", " as ("];
    file.lines_where(|line| {
        let line = format!("{} ", line.to_lowercase());
        openings.iter().any(|opening| line.contains(opening))
            && goes_on.iter().any(|word| line.contains(word))
    })
}

#[test]
fn sql_stands_in_the_store() {
    let bad = File::new("crates/core/src/x.rs", "let sql = \"SELECT id FROM users\";\n\"select a plan\"\n");
    assert_eq!(stray_sql(&bad), ["crates/core/src/x.rs:1"]);
    assert_eq!(stray_sql(&File::new("crates/store/src/x.rs", &bad.text)), [""; 0]);
    assert_none(files().iter().flat_map(stray_sql), "SQL outside the store");
}

// ---- Documents

/// Links to files that are not there.
fn broken_links(file: &File, exists: impl Fn(&str) -> bool) -> Vec<String> {
    if !file.is(&["md"]) {
        return Vec::new();
    }
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut broken = Vec::new();
    for (at, _) in file.text.match_indices("](") {
        let target = file.text[at + 2..].split([')', ' ', '#']).next().unwrap_or_default();
        if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let mut path: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in target.split('/') {
            match part {
                "." | "" => {}
                ".." => drop(path.pop()),
                part => path.push(part),
            }
        }
        if !exists(&path.join("/")) {
            broken.push(format!("{}: {target}", file.path));
        }
    }
    broken
}

#[test]
fn documents_link_to_what_is_there() {
    let page =
        File::new("docs/adr/a.md", "[a](../../README.md#top) [b](b.md) [c](https://host/x) [d](#here)");
    assert_eq!(broken_links(&page, |path| path == "README.md"), ["docs/adr/a.md: b.md"]);
    let root = workspace::root();
    let files = files();
    assert_none(
        files.iter().flat_map(|file| broken_links(file, |path| root.join(path).exists())),
        "broken links",
    );
}

/// The names of configuration variables in a text.
fn variables(text: &str) -> Vec<&str> {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.match_indices("CURFEW_")
        .filter(|(at, _)| *at == 0 || !is_part(text.as_bytes()[at - 1]))
        .map(|(at, _)| {
            let length = text[at..].bytes().take_while(|&byte| is_part(byte)).count();
            text[at..at + length].trim_end_matches('_')
        })
        .filter(|name| *name != "CURFEW")
        .collect()
}

/// Every variable that the server reads has its place in the reference.
#[test]
fn every_setting_is_documented() {
    assert_eq!(
        variables("a CURFEW_ISSUER=x, `CURFEW_TLS_KEY`. MY_CURFEW_X CURFEW_"),
        ["CURFEW_ISSUER", "CURFEW_TLS_KEY"]
    );
    let files = files();
    let reference = files.iter().find(|file| file.path == "docs/configuration.md").unwrap();
    let documented = variables(&reference.text);
    let shipped = |file: &&File| {
        file.is(&["rs", "html"])
            && file.path.starts_with("crates/")
            && !file.path.contains("/tests/")
            && !file.path.starts_with("crates/testkit/")
    };
    let of_tests = |name: &str| name.starts_with("CURFEW_TEST_");
    let missing = files.iter().filter(shipped).flat_map(|file| {
        let unknown =
            variables(&file.text).into_iter().filter(|name| !documented.contains(name) && !of_tests(name));
        unknown.map(|name| format!("{}: {name}", file.path)).collect::<Vec<_>>()
    });
    assert_none(missing, "not in docs/configuration.md");
}

/// The map shows the land: every package has its line in the code map.
#[test]
fn every_package_is_on_the_map() {
    let root = workspace::root();
    let map = workspace::read(&root.join("ARCHITECTURE.md")).unwrap();
    for (folder, _) in workspace::members(&root).unwrap() {
        assert!(map.contains(&format!("`{folder}`")), "ARCHITECTURE.md does not name `{folder}`");
    }
}

/// What people are told to run is what CI runs.
#[test]
fn ci_runs_the_two_commands() {
    let script = workspace::read(&workspace::root().join(".ci/run")).unwrap();
    for command in ["cargo --locked xtask check", "cargo --locked xtask test"] {
        assert!(script.contains(command), "{command}");
    }
}
