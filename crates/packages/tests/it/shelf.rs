//! The packages that lie beside the server: what npm and Node make of the same files is what we make of them.
//!
//! `cargo xtask packages` puts them where these tests find them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use curfew_packages::{
    By, Dependency, Fetch, Kind, PackageSet, Packages, Registries, Shelf, Target, shelf_lock,
};

use crate::registry::Registry;

fn shelf_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shelf")
}

/// Beside the program, as in a release: the tests lie one folder further down.
fn tarballs() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("packages");
    assert!(folder.is_dir(), "no packages beside the server: run `cargo xtask packages`");
    folder
}

fn dependencies() -> Vec<Dependency> {
    let text = std::fs::read_to_string(shelf_folder().join("package.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = manifest["dependencies"].as_object().unwrap();
    all.iter()
        .map(|(name, version)| Dependency {
            name: name.clone(),
            version: version.as_str().unwrap().to_owned(),
        })
        .collect()
}

async fn deployed(dependencies: &[Dependency]) -> PackageSet {
    let shelf = Shelf::open(&[tarballs()]).unwrap();
    assert_eq!(shelf.len(), shelf_lock().unwrap().len(), "everything in the lock file is there");
    let nowhere = Arc::new(Registry::default());
    let fetch: Arc<dyn Fetch> = Arc::<Registry>::clone(&nowhere);
    let packages = Packages::new(shelf, Registries::default(), fetch);
    let set = packages.resolve(dependencies).await.unwrap();
    assert!(nowhere.asked.lock().unwrap().is_empty(), "nobody was asked");
    set
}

#[tokio::test]
async fn the_tree_is_that_of_npm() {
    let set = deployed(&dependencies()).await;
    let text = std::fs::read_to_string(shelf_folder().join("package-lock.json")).unwrap();
    let lock: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected: BTreeMap<_, _> = lock["packages"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(path, _)| !path.is_empty())
        .map(|(path, package)| {
            let text = |name: &str| package[name].as_str().unwrap().to_owned();
            (path.clone(), (text("version"), text("integrity")))
        })
        .collect();
    let found: BTreeMap<_, _> = set
        .packages()
        .iter()
        .map(|package| (package.path.clone(), (package.version.clone(), package.integrity.clone())))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_action_with_one_of_them_needs_no_registry() {
    for wanted in dependencies() {
        let latest = Dependency { version: "latest".into(), ..wanted.clone() };
        let set = deployed(&[latest]).await;
        assert_eq!(set.roots()[&wanted.name], wanted.version);
        let Target::File(path) = set.resolve("", &wanted.name, By::Require).unwrap() else {
            panic!("{wanted:?}")
        };
        assert!(set.reachable().contains(&path), "{path}");
        assert_eq!(PackageSet::from_bytes(&set.to_bytes()).unwrap().digest(), set.digest());
    }
}

/// Asks Node what specifiers mean; the answer to each is a path below the folder, or `!` and the error's code.
fn asked_of_node(folder: &Path, questions: &[(&str, &str, By)]) -> Vec<String> {
    const SCRIPT: &str = r"
        import { createRequire } from 'node:module';
        import { fileURLToPath, pathToFileURL } from 'node:url';
        import { existsSync, readFileSync, statSync } from 'node:fs';
        const [folder, questions] = JSON.parse(readFileSync(0, 'utf8'));
        const answers = questions.map(([from, specifier, by]) => {
            try {
                let found;
                if (by === 'require') {
                    found = createRequire(`${folder}/${from}`).resolve(specifier);
                } else {
                    found = import.meta.resolve(specifier, pathToFileURL(`${folder}/${from}`));
                    if (!found.startsWith('node:')) {
                        found = fileURLToPath(found);
                        if (!existsSync(found) || statSync(found).isDirectory()) return '!ERR_MODULE_NOT_FOUND';
                    }
                }
                return found.startsWith(folder) ? found.slice(folder.length + 1) : found.replace(/^node:/, '');
            } catch (error) {
                return `!${error.code}`;
            }
        });
        console.log(JSON.stringify(answers));
    ";
    let mut node = Command::new("node")
        .args([
            "--no-warnings",
            "--experimental-import-meta-resolve",
            "--input-type=module",
            "--eval",
            SCRIPT,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node, which `cargo xtask test` installs");
    let questions: Vec<_> = questions
        .iter()
        .map(|(from, specifier, by)| (from, specifier, if *by == By::Require { "require" } else { "import" }))
        .collect();
    let input = serde_json::to_vec(&(folder, questions)).unwrap();
    node.stdin.take().unwrap().write_all(&input).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn specifiers_mean_what_they_mean_in_node() {
    let installed = shelf_folder().join("node_modules");
    let installed =
        std::fs::canonicalize(installed).expect("packages to compare with: run `cargo xtask packages`");
    let folder = installed.parent().unwrap();
    let set = PackageSet::from_folder(folder).unwrap();
    // Every literal in every file, and from outside every package with some ways to ask for it.
    let mut questions: BTreeSet<(&str, String, By)> = BTreeSet::new();
    for (path, table) in set.resolutions() {
        let by = if set.files()[path].kind == Kind::EsModule { By::Import } else { By::Require };
        questions.extend(table.keys().map(|specifier| (&**path, specifier.to_string(), by)));
    }
    for package in set.packages() {
        let (_, name) = package.path.rsplit_once("node_modules/").unwrap();
        for by in [By::Require, By::Import] {
            for rest in
                ["", "/package.json", "/index.js", "/index", "/lib", "/dist/index.js", "/no-such", "/"]
            {
                questions.insert(("index.js", format!("{name}{rest}"), by));
            }
        }
    }
    assert!(questions.len() > 2000, "{}", questions.len());
    let asked: Vec<_> = questions.iter().map(|(from, specifier, by)| (*from, &**specifier, *by)).collect();
    let answers = asked_of_node(folder, &asked);
    assert_eq!(answers.len(), asked.len());
    let kept = |path: &str| [".js", ".cjs", ".mjs", ".json"].iter().any(|ending| path.ends_with(ending));
    let newer: BTreeSet<&str> = set
        .files()
        .iter()
        .filter(|(path, file)| path.ends_with("/package.json") && file.source.contains("\"module-sync\""))
        .filter_map(|(path, _)| path.split('/').nth(1))
        .collect();
    assert!(newer.len() < 5, "{newer:?}");
    let mut others = Vec::new();
    for ((from, specifier, by), answer) in asked.iter().zip(&answers) {
        let from = if *from == "index.js" { "" } else { from };
        let ours = match set.resolve(from, specifier, *by) {
            Ok(Target::File(path)) => path.to_string(),
            Ok(Target::Builtin(name)) => name.to_string(),
            Err(error) => format!("!{}", error.code()),
        };
        // Where both refuse, the reason may be another: a file that no JavaScript can be read from is not kept.
        let none = answer.starts_with('!') || (answer.starts_with("node_modules") && !kept(answer));
        // Newer versions of Node have one condition more, which we do without.
        let has_newer = |path: &str| path.split('/').nth(1).is_some_and(|name| newer.contains(name));
        if ours != *answer && !(none && ours.starts_with('!')) && !has_newer(answer) {
            others.push(format!("{by:?} '{specifier}' in {from}: {ours}, Node: {answer}"));
        }
    }
    assert!(others.is_empty(), "{}\n{}", others.len(), others.join("\n"));
}
