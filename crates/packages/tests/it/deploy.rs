//! What is chosen, where it lies, and what is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use curfew_packages::{
    By, DeployError, PackageSet, PlanError, RegistryError, SetError, TarballError, Target,
};
use serde_json::json;

use curfew_packages::Got;

use crate::registry::{HOST, Registry, got, tarball};

/// `path version` of every package.
fn tree(set: &PackageSet) -> Vec<String> {
    set.packages()
        .iter()
        .map(|package| format!("{} {}", package.path.replace("node_modules/", ""), package.version))
        .collect()
}

fn refused(result: Result<PackageSet, DeployError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn a_package_and_what_it_needs() {
    let set = Registry::default()
        .with_files(
            "@s/a@1.2.3",
            json!({"dependencies": {"b": "^1"}, "main": "lib/a.js"}),
            &[
                ("lib/a.js", "const b = require('b'); const s = require('./s');"),
                ("lib/s.js", ""),
                ("README.md", "not kept"),
            ],
        )
        .with("b@1.0.0", json!({}))
        .with("b@1.4.0", json!({}))
        .with("b@2.0.0", json!({}))
        .deploy(&[("@s/a", "latest")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["@s/a 1.2.3", "b 1.4.0"]);
    assert_eq!(set.roots().iter().collect::<Vec<_>>(), [(&"@s/a".to_owned(), &"1.2.3".to_owned())]);
    assert!(set.packages().iter().all(|package| package.integrity.starts_with("sha512-")));
    let main = set.resolve("", "@s/a", By::Require).unwrap();
    assert_eq!(main, Target::File("node_modules/@s/a/lib/a.js".into()));
    let table = &set.resolutions()["node_modules/@s/a/lib/a.js"];
    assert_eq!(table["b"], Target::File("node_modules/b/index.js".into()));
    assert_eq!(set.files().len(), 5);
}

#[tokio::test]
async fn one_copy_serves_all_whom_it_suits() {
    let set = Registry::default()
        .with("a@1.0.0", json!({"dependencies": {"c": "^1", "d": "1"}}))
        .with("b@1.0.0", json!({"dependencies": {"c": "^2", "d": "1.x"}}))
        .with("e@1.0.0", json!({"dependencies": {"c": "2.0.0"}}))
        .with("c@1.5.0", json!({}))
        .with("c@2.0.0", json!({}))
        .with("d@1.1.0", json!({"dependencies": {"c": ">=1"}}))
        .deploy(&[("a", "1"), ("b", "1"), ("e", "1")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["a 1.0.0", "b 1.0.0", "b/c 2.0.0", "c 1.5.0", "d 1.1.0", "e 1.0.0", "e/c 2.0.0"]);
    let of_b = set.resolve("node_modules/b/index.js", "c", By::Require).unwrap();
    assert_eq!(of_b, Target::File("node_modules/b/node_modules/c/index.js".into()));
    // What the Action asks for itself lies on top, whoever else would like another.
    let set = Registry::default()
        .with("a@1.0.0", json!({"dependencies": {"z": "^1"}}))
        .with("z@1.0.0", json!({}))
        .with("z@2.0.0", json!({}))
        .deploy(&[("a", "1"), ("z", "2")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["a 1.0.0", "a/z 1.0.0", "z 2.0.0"]);
}

#[tokio::test]
async fn nothing_is_hidden_from_who_found_it() {
    // x's own y needs z 2; placed beside x's dependencies it would hide z 1 from x.
    let set = Registry::default()
        .with("x@1.0.0", json!({"dependencies": {"y": "2", "z": "1"}}))
        .with("y@1.0.0", json!({}))
        .with("y@2.0.0", json!({"dependencies": {"z": "2"}}))
        .with("z@1.0.0", json!({}))
        .with("z@2.0.0", json!({}))
        .deploy(&[("x", "1"), ("y", "1"), ("z", "1")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["x 1.0.0", "x/y 2.0.0", "x/y/z 2.0.0", "y 1.0.0", "z 1.0.0"]);
}

#[tokio::test]
async fn another_version_may_stand_before_one_who_takes_either() {
    // y's z lies as high as it can: x takes that one too, and finds it from then on.
    let registry = || {
        Registry::default()
            .with("x@1.0.0", json!({"dependencies": {"y": "2", "z": ">=1"}}))
            .with("y@1.0.0", json!({}))
            .with("y@2.0.0", json!({"dependencies": {"z": "2"}}))
            .with("z@1.0.0", json!({}))
            .with("z@2.0.0", json!({}))
    };
    let set = registry().deploy(&[("x", "1"), ("y", "1"), ("z", "1")]).await.unwrap();
    assert_eq!(tree(&set), ["x 1.0.0", "x/y 2.0.0", "x/z 2.0.0", "y 1.0.0", "z 1.0.0"]);
}

#[tokio::test]
async fn a_name_is_not_a_package() {
    // Two packages that are wanted under one name, in the same version.
    let set = Registry::default()
        .with("a@1.0.0", json!({"dependencies": {"b": "npm:c@1"}}))
        .with("b@1.0.0", json!({}))
        .with("c@1.0.0", json!({}))
        .deploy(&[("a", "1"), ("b", "1")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["a 1.0.0", "a/b 1.0.0", "b 1.0.0"]);
    let Ok(Target::File(found)) = set.resolve("node_modules/a/index.js", "b", By::Require) else { panic!() };
    assert!(set.files()[&found].source.contains("c@1.0.0"));
}

#[tokio::test]
async fn packages_may_need_each_other() {
    let set = Registry::default()
        .with("a@1.0.0", json!({"dependencies": {"b": "1"}}))
        .with("b@1.0.0", json!({"dependencies": {"a": "1"}}))
        .deploy(&[("a", "1")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["a 1.0.0", "b 1.0.0"]);
    // Also where each wants another version of the other: this goes on only as far as there are versions.
    let set = Registry::default()
        .with("a@1.0.0", json!({"dependencies": {"b": "2"}}))
        .with("b@2.0.0", json!({"dependencies": {"a": "2"}}))
        .with("a@2.0.0", json!({"dependencies": {"b": "1"}}))
        .with("b@1.0.0", json!({"dependencies": {"a": "1"}}))
        .deploy(&[("a", "1")])
        .await;
    assert!(set.is_ok() || matches!(set, Err(DeployError::Plan(PlanError::TooMany))));
}

#[tokio::test]
async fn peers_lie_beside_who_needs_them() {
    let registry = || {
        Registry::default()
            .with("plugin@1.0.0", json!({"peerDependencies": {"host": "^1"}}))
            .with("either@1.0.0", json!({
                "peerDependencies": {"absent": "1"}, "peerDependenciesMeta": {"absent": {"optional": true}}
            }))
            .with("absent@1.0.0", json!({}))
            .with("host@1.0.0", json!({}))
            .with("host@1.1.0", json!({}))
            .with("host@2.0.0", json!({}))
            .with("old@1.0.0", json!({"dependencies": {"plugin": "1", "host": "1.0.0"}}))
    };
    let set = registry().deploy(&[("plugin", "1"), ("either", "1")]).await.unwrap();
    assert_eq!(tree(&set), ["either 1.0.0", "host 1.1.0", "plugin 1.0.0"]);
    let set = registry().deploy(&[("plugin", "1"), ("host", "1.0.0")]).await.unwrap();
    assert_eq!(tree(&set), ["host 1.0.0", "plugin 1.0.0"]);
    let error = registry().deploy(&[("plugin", "1"), ("host", "2")]).await;
    assert!(matches!(error, Err(DeployError::Plan(PlanError::Conflict { .. }))), "{error:?}");
    // Where the top has another, the package and what it wants beside it lie together further down.
    let set = registry().deploy(&[("old", "1"), ("host", "2")]).await.unwrap();
    assert_eq!(tree(&set), ["host 2.0.0", "old 1.0.0", "old/host 1.0.0", "old/plugin 1.0.0"]);
}

#[tokio::test]
async fn what_is_optional_and_for_machines_is_left_out() {
    let set = Registry::default()
        .with("a@1.0.0", json!({
            "dependencies": {"linux": "1"},
            "optionalDependencies": {
                "linux": "1", "arm": "1", "built": "1", "plain": "1", "missing": "1", "other": "^9", "git": "git+https://host/x.git"
            }
        }))
        .with("linux@1.0.0", json!({"os": ["linux"]}))
        .with("arm@1.0.0", json!({"cpu": ["arm64"]}))
        .with("built@1.0.0", json!({"hasInstallScript": true}))
        .with("plain@1.0.0", json!({}))
        .with("other@1.0.0", json!({}))
        .deploy(&[("a", "1")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["a 1.0.0", "plain 1.0.0"]);
}

#[tokio::test]
async fn another_name_leads_to_the_package() {
    let set = Registry::default()
        .with("a@1.0.0", json!({"dependencies": {"b-cjs": "npm:b@^1", "b": "2"}}))
        .with("b@1.0.0", json!({}))
        .with("b@2.0.0", json!({}))
        .deploy(&[("a", "1")])
        .await
        .unwrap();
    assert_eq!(tree(&set), ["a 1.0.0", "b 2.0.0", "b-cjs 1.0.0"]);
    let alias = set.packages().iter().find(|package| package.path == "node_modules/b-cjs").unwrap();
    assert_eq!(alias.name, "b");
}

#[tokio::test]
async fn machine_code_is_refused_when_it_is_required() {
    let set = Registry::default()
        .with_files(
            "a@1.0.0",
            json!({}),
            &[("index.js", "require('./build/a.node')"), ("build/a.node", "\u{7f}ELF")],
        )
        .deploy(&[("a", "1")])
        .await
        .unwrap();
    let error = set.resolve("node_modules/a/index.js", "./build/a.node", By::Require).unwrap_err();
    assert_eq!(error.code(), "ERR_DLOPEN_FAILED");
    assert!(set.files().keys().all(|path| !path.ends_with(".node")));
}

#[tokio::test]
async fn the_same_answers_give_the_same_set() {
    let registry = || {
        (0..20).fold(Registry::default(), |registry, number| {
            let next: serde_json::Map<_, _> = [1, 3, 4]
                .map(|step| {
                    (format!("p{}", number + step), json!(format!("^{}", (number + step / 2) % 2 + 1)))
                })
                .into_iter()
                .filter(|_| number < 16)
                .collect();
            registry
                .with(&format!("p{number}@1.0.0"), json!({"dependencies": next}))
                .with(&format!("p{number}@2.0.0"), json!({"dependencies": next}))
        })
    };
    let first = registry().deploy(&[("p1", "1"), ("p2", "2"), ("p3", "*")]).await.unwrap();
    let second = registry().deploy(&[("p3", "*"), ("p1", "1"), ("p2", "2")]).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(first.digest(), second.digest());
    let several = first.packages().iter().filter(|package| package.path.matches("node_modules").count() > 1);
    assert!(several.count() > 5, "{:?}", tree(&first));
    // Everything finds what it asks for: the tree serves each dependency with a version that it admits.
    for package in first.packages() {
        let text = &first.files()[&*format!("{}/package.json", package.path)].source;
        let manifest: serde_json::Value = serde_json::from_str(text).unwrap();
        for (name, range) in manifest["dependencies"].as_object().unwrap() {
            let from = format!("{}/index.js", package.path);
            let Ok(Target::File(found)) = first.resolve(&from, name, By::Require) else {
                panic!("{from} {name}")
            };
            let source = &first.files()[&found].source;
            let major = range.as_str().unwrap().trim_start_matches('^');
            assert!(
                source.contains(&format!("'{name}@{major}.0.0'")),
                "{from} finds {source} for {name} {range}"
            );
        }
    }
}

#[tokio::test]
async fn a_tarball_must_be_what_the_registry_says() {
    let registry = || Registry::default().with("a@1.0.0", json!({}));
    let mut changed = registry();
    changed.answers.insert(
        format!("{HOST}a/-/1.0.0.tgz"),
        got(200, tarball(&[("package.json", "{}"), ("evil.js", "")])),
    );
    assert_eq!(refused(changed.deploy(&[("a", "1")]).await), "a 1.0.0: the checksum is wrong");
    let weak = [
        ("shasum", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("integrity", "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="),
    ];
    for (member, value) in weak {
        let weak = registry().change("a", |packument| {
            let dist = packument["versions"]["1.0.0"]["dist"].as_object_mut().unwrap();
            dist.remove("integrity");
            dist.insert(member.to_owned(), value.into());
        });
        assert!(matches!(
            weak.deploy(&[("a", "1")]).await,
            Err(DeployError::Tarball { error: TarballError::NoChecksum, .. })
        ));
    }
}

#[tokio::test]
async fn without_a_registry_it_is_said_what_to_configure() {
    let registry = Arc::new(Registry::default());
    let text = refused(registry.deploy_shared("", &[("auth0", "7")]).await);
    assert!(
        text.contains("'auth0'") && text.contains("NPM_CONFIG_REGISTRY") && text.contains(".npmrc"),
        "{text}"
    );
    assert!(registry.asked.lock().unwrap().is_empty());
    // Nothing to get needs no registry.
    assert_eq!(registry.deploy_shared("", &[]).await.unwrap().files().len(), 0);
}

#[tokio::test]
async fn what_the_registry_refuses_is_said_without_its_address() {
    for (answer, text) in [
        (got(404, ""), "the registry has no package 'a'"),
        (got(401, ""), "the registry refuses to show 'a': see the credentials in the server's .npmrc"),
        (got(500, "secret"), "the registry gives no answer about 'a'"),
        (got(200, "secret"), "the registry's answer about 'a' is not that of an npm registry"),
        (got(302, ""), "the registry gives no answer about 'a'"),
        (got(200, "{\"versions\":{}}"), "'a' has no version that is '1'"),
    ] {
        let mut registry = Registry::default();
        registry.answers.insert(format!("{HOST}a"), answer);
        assert_eq!(refused(registry.deploy(&[("a", "1")]).await), text);
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect() {
    let moved = |to: &str| Got { status: 302, location: Some(to.to_owned()), body: Vec::new().into() };
    let mut registry = Registry::default().with("a@1.0.0", json!({}));
    let place = format!("{HOST}a/-/1.0.0.tgz");
    let bytes = registry.answers.insert(place.clone(), moved("https://cdn.example/x.tgz")).unwrap();
    registry.answers.insert("https://cdn.example/x.tgz".into(), moved("/y.tgz"));
    registry.answers.insert("https://cdn.example/y.tgz".into(), bytes);
    let registry = Arc::new(registry);
    let npmrc = format!("registry={HOST}\n//npm.example/:_authToken=t\n//cdn.example/:_authToken=other\n");
    registry.deploy_shared(&npmrc, &[("a", "1")]).await.unwrap();
    let asked = std::mem::take(&mut *registry.asked.lock().unwrap());
    let asked: Vec<_> = asked.iter().map(|(url, said)| (&**url, said.as_deref())).collect();
    assert_eq!(
        asked,
        [
            ("https://npm.example/a", Some("Bearer t")),
            ("https://npm.example/a/-/1.0.0.tgz", Some("Bearer t")),
            ("https://cdn.example/x.tgz", None),
            ("https://cdn.example/y.tgz", None),
        ]
    );
    // A redirect without an end.
    let mut registry = Registry::default();
    registry.answers.insert(format!("{HOST}a"), moved("/a"));
    let registry = Arc::new(registry);
    let result = registry.deploy_shared(&format!("registry={HOST}"), &[("a", "1")]).await;
    assert_eq!(refused(result), "the registry gives no answer about 'a'");
    assert_eq!(registry.asked.lock().unwrap().len(), 6, "the first address, and five others");
}

#[tokio::test]
async fn what_is_said_about_packages_has_limits() {
    // The same for every name: one version, and much that says nothing.
    let long = |bytes: usize| {
        let mut text = r#"{"versions":{"1.0.0":{"dist":{"integrity":"none"}}}}"#.to_owned().into_bytes();
        text.resize(bytes, b' ');
        got(200, text)
    };
    let said = |name: &str, answer: &Got, registry: &mut Registry| {
        registry.answers.insert(format!("{HOST}{name}"), answer.clone());
    };
    let largest = 32 << 20;
    let mut registry = Registry::default();
    said("a", &long(largest + 1), &mut registry);
    assert_eq!(refused(registry.deploy(&[("a", "1")]).await), "the registry gives no answer about 'a'");
    let answer = long(largest);
    for (count, text) in [
        (8, "the registry has no package 'p0'"),
        (9, "what the registry says about all the packages together is too much"),
    ] {
        let names: Vec<_> = (0..count).map(|number| format!("p{number}")).collect();
        let mut registry = Registry::default();
        names.iter().for_each(|name| said(name, &answer, &mut registry));
        let wanted: Vec<_> = names.iter().map(|name| (&**name, "1")).collect();
        let result = refused(registry.deploy(&wanted).await);
        // Those that are not too much are asked for their tarballs, which are not there.
        assert!(
            result == text || count == 8 && result.starts_with("the registry has no package"),
            "{result}"
        );
    }
}

#[tokio::test]
async fn what_is_looked_at_has_an_end() {
    // Few packages, of which each needs each.
    let all: serde_json::Map<_, _> = (0..150).map(|number| (format!("p{number}"), json!("1"))).collect();
    let registry = (0..150).fold(Registry::default(), |registry, number| {
        registry.with(&format!("p{number}@1.0.0"), json!({"dependencies": all}))
    });
    assert_eq!(registry.deploy(&[("p0", "1")]).await, Err(DeployError::Plan(PlanError::TooMany)));
}

#[tokio::test]
async fn a_tarball_is_had_from_the_registry_that_has_the_package() {
    let registry = Registry::default().with("a@1.0.0", json!({})).change("a", |packument| {
        packument["versions"]["1.0.0"]["dist"]["tarball"] = "https://elsewhere.example/a/-/1.0.0.tgz".into();
    });
    let registry = Arc::new(registry);
    registry.deploy_shared(&format!("registry={HOST}"), &[("a", "1")]).await.unwrap();
    let asked: BTreeSet<_> = registry.asked.lock().unwrap().iter().map(|(url, _)| url.clone()).collect();
    assert!(asked.iter().all(|url| url.starts_with(HOST)), "{asked:?}");
}

#[tokio::test]
async fn everything_has_a_limit() {
    let chain = |length: usize| {
        (0..length).fold(Registry::default(), |registry, number| {
            let next = if number + 1 < length { json!({format!("p{}", number + 1): "1"}) } else { json!({}) };
            registry.with(&format!("p{number}@1.0.0"), json!({"dependencies": next}))
        })
    };
    assert_eq!(chain(300).deploy(&[("p0", "1")]).await.unwrap().packages().len(), 300);
    let text = refused(chain(301).deploy(&[("p0", "1")]).await);
    assert_eq!(text, "an Action has at most 300 packages, those included that its packages need");
    let names: Vec<_> = (0..11).map(|number| format!("p{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (&**name, "1")).collect();
    assert_eq!(refused(chain(11).deploy(&many).await), "an Action has at most 10 dependencies");
    assert_eq!(refused(chain(1).deploy(&[("p0", "1"), ("p0", "2")]).await), "'p0' is asked for twice");

    // No tarball is too large, and all of them are.
    let mut state = 1_u32;
    let noise: String = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + (state >> 24) as u8 % 89)
        })
        .collect();
    let blank = " ".repeat(7 << 20);
    let large = (0..10).fold(Registry::default(), |registry, number| {
        let files = [("a.js", &*blank), ("noise.md", &*noise)];
        registry.with_files(&format!("p{number}@1.0.0"), json!({}), &files)
    });
    let result = large.deploy(&many[..10]).await;
    assert_eq!(result, Err(DeployError::Set(SetError::TooLarge("64 MiB of files"))));
}

#[tokio::test]
async fn nothing_but_registries_is_asked() {
    for version in
        ["https://host/a.tgz", "git+ssh://git@host/a.git", "file:../a", "user/repository", "npm:b@1"]
    {
        let result = Registry::default().deploy(&[("a", version)]).await;
        assert!(matches!(result, Err(DeployError::Spec(_))), "{version}");
        if version == "npm:b@1" {
            continue;
        }
        let registry = Registry::default().with("a@1.0.0", json!({"dependencies": {"b": version}}));
        let result = registry.deploy(&[("a", "1")]).await;
        assert!(matches!(result, Err(DeployError::Plan(PlanError::Spec { .. }))), "{version}");
    }
    let missing =
        Registry::default().with("a@1.0.0", json!({"dependencies": {"b": "1"}})).deploy(&[("a", "1")]).await;
    let expected = DeployError::Plan(PlanError::Registry(RegistryError::NoPackage("b".into())));
    assert_eq!(missing, Err(expected));
}
