//! Builds: what fails is said, what is left is taken over, and what is late changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use curfew::serve::job_ctx;
use curfew_core::actions::{BuildError, BuildFailure, Builder, Builds, Built, Draft, Packages, bytecode};
use curfew_store::action_packages;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::*;
use crate::support::ISSUER;

type Outcome = Result<Built, BuildFailure>;

/// Answers what it is told to, each time the next.
#[derive(Debug)]
struct Scripted {
    outcomes: Vec<Outcome>,
    at: AtomicUsize,
}

impl Builder for Scripted {
    fn build(&self, _: Draft) -> BoxFuture<'_, Outcome> {
        let outcome = self.outcomes[self.at.fetch_add(1, Ordering::Relaxed)].clone();
        Box::pin(async move { outcome })
    }
}

/// Builds when it is let.
#[derive(Debug, Default)]
struct Held {
    begun: Notify,
    go: Notify,
}

impl Builder for Held {
    fn build(&self, _: Draft) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            self.begun.notify_one();
            self.go.notified().await;
            Ok(Built::default())
        })
    }
}

fn by(curfew: &Curfew, builder: Arc<dyn Builder>) -> Builds {
    Builds::new(Arc::clone(&curfew.core), job_ctx(&curfew.core, ISSUER)).by(builder)
}

fn scripted(curfew: &Curfew, outcomes: Vec<Outcome>) -> Builds {
    by(curfew, Arc::new(Scripted { outcomes, at: AtomicUsize::new(0) }))
}

async fn keep_bytecode(curfew: &Curfew, of: (&str, &str)) {
    let ctx = job_ctx(&curfew.core, ISSUER);
    bytecode::keep(&curfew.core, &ctx, of, Bytes::from_static(b"compiled")).await.expect("kept");
}

async fn find_bytecode(curfew: &Curfew, of: (&str, &str)) -> bool {
    bytecode::find(&curfew.core, TENANT, of).await.expect("a read").is_some()
}

async fn status(operator: &Operator, action: &Value) -> Value {
    operator.get(&path(action, "")).await.expect(200).json()["status"].clone()
}

fn packages(digest: &str, bytes: &'static [u8]) -> Outcome {
    Ok(Built { packages: Some(Packages { digest: digest.to_owned(), bytes: Bytes::from_static(bytes) }) })
}

async fn kept(curfew: &Curfew, digest: &'static str) -> Option<Vec<u8>> {
    let found = curfew.store().read((), move |tx, ()| Box::pin(action_packages::find(tx, TENANT, digest)));
    found.await.expect("a read")
}

in_a_box! {
    fn a_package_from_beside_the_server_is_enough(curfew) {
        curfew.assert_packages();
        let operator = curfew.operator().await;
        let mut doc = post_login("packaged");
        doc["dependencies"] = json!([{"name": "auth0", "version": "latest"}]);
        let action = make(&operator, doc).await;
        curfew.build().await;
        let shown = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!(shown["status"], "built", "{shown}");
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
    }

    fn what_cannot_be_built_says_why(curfew) {
        let operator = curfew.operator().await;
        let action = make(&operator, post_login("broken")).await;
        let error = BuildError::new("invalid_code", "line 3: unexpected token");
        scripted(&curfew, vec![Err(BuildFailure::Final(vec![error]))]).work_off().await.expect("a build");
        let shown = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&shown["status"], &shown["errors"][0]["msg"]), (&json!("failed"), &json!("line 3: unexpected token")));
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(400);
        operator.post(&path(&action, "/test"), json!({"payload": {"event": {}}})).await.expect(400);
        // Another draft, another try.
        operator.patch(&path(&action, ""), json!({"code": CODE})).await.expect(200);
        scripted(&curfew, vec![Ok(Built::default())]).work_off().await.expect("a build");
        let shown = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&shown["status"], shown.get("errors")), (&json!("built"), None));
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
    }

    fn what_fails_for_a_while_is_tried_again_and_not_for_ever(curfew) {
        let operator = curfew.operator().await;
        let action = make(&operator, post_login("patient")).await;
        let again = || Err(BuildFailure::Again(vec![BuildError::new("registry", "no answer")]));
        let builds = scripted(&curfew, vec![again(), Ok(Built::default()), again(), again(), again(), again(), again()]);
        builds.work_off().await.expect("a build");
        assert_eq!(status(&operator, &action).await, "retrying");
        builds.work_off().await.expect("nothing is due");
        assert_eq!(status(&operator, &action).await, "retrying");
        curfew.advance(15);
        builds.work_off().await.expect("a build");
        assert_eq!(status(&operator, &action).await, "built");
        operator.patch(&path(&action, ""), json!({"code": CODE})).await.expect(200);
        for tried in 1..=5 {
            builds.work_off().await.expect("a build");
            let expected = if tried < 5 { "retrying" } else { "failed" };
            assert_eq!(status(&operator, &action).await, expected, "{tried}");
            curfew.advance(15 * tried);
        }
    }

    fn a_build_that_is_left_is_taken_over(curfew) {
        let operator = curfew.operator().await;
        let action = make(&operator, post_login("left")).await;
        let another = curfew.another_node().await;
        let (dying, held) = (Arc::new(Held::default()), Arc::new(Held::default()));
        {
            // The node dies in the middle.
            let builds = by(&curfew, Arc::<Held>::clone(&dying));
            let mut work = std::pin::pin!(builds.work_off());
            tokio::select! {
                done = &mut work => panic!("{done:?}"),
                () = dying.begun.notified() => {}
            }
        }
        assert_eq!(status(&operator, &action).await, "building");
        another.build().await;
        assert_eq!(status(&operator, &action).await, "building", "the lease is not over");
        curfew.advance(120);
        // Two want it; one has it.
        let first = by(&curfew, Arc::<Held>::clone(&held));
        let mut work = Box::pin(first.work_off());
        tokio::select! {
            done = &mut work => panic!("{done:?}"),
            () = held.begun.notified() => {}
        }
        another.build().await;
        assert_eq!(status(&operator, &action).await, "building");
        held.go.notify_one();
        work.await.expect("the build");
        assert_eq!(status(&operator, &action).await, "built");
    }

    fn a_build_of_an_older_draft_says_nothing_of_the_newer(curfew) {
        let operator = curfew.operator().await;
        let mut doc = post_login("moving");
        doc["deploy"] = json!(true);
        let action = make(&operator, doc).await;
        let (older, newer) = (Arc::new(Held::default()), Arc::new(Held::default()));
        let builds = (by(&curfew, Arc::<Held>::clone(&older)), by(&curfew, Arc::<Held>::clone(&newer)));
        let mut first = Box::pin(builds.0.work_off());
        tokio::select! {
            done = &mut first => panic!("{done:?}"),
            () = older.begun.notified() => {}
        }
        operator.patch(&path(&action, ""), json!({"code": "// newer"})).await.expect(200);
        let mut second = Box::pin(builds.1.work_off());
        tokio::select! {
            done = &mut second => panic!("{done:?}"),
            () = newer.begun.notified() => {}
        }
        // The older one comes to its end while the newer one is at work.
        older.go.notify_one();
        first.await.expect("the older build");
        let shown = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&shown["status"], shown.get("deployed_version")), (&json!("building"), None));
        newer.go.notify_one();
        second.await.expect("the newer build");
        let shown = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&shown["status"], shown.get("deployed_version")), (&json!("built"), None));
    }

    fn packages_are_kept_while_something_stands_on_them(curfew) {
        let operator = curfew.operator().await;
        let action = make(&operator, post_login("heavy")).await;
        scripted(&curfew, vec![packages("first", b"one")]).work_off().await.expect("a build");
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
        bind(&operator, "post-login", &[by_id(&action)]).await;
        let config = curfew.core.tenant(TENANT).await.expect("the tenant");
        let bound = config.actions.at(curfew_model::config::ActionTrigger::PostLogin);
        assert_eq!(bound[0].program.packages.as_deref(), Some("first"));
        operator.patch(&path(&action, ""), json!({"code": "// two"})).await.expect(200);
        scripted(&curfew, vec![packages("second", b"two")]).work_off().await.expect("a build");
        assert_eq!(kept(&curfew, "second").await.as_deref(), Some(&b"two"[..]));
        operator.patch(&path(&action, ""), json!({"code": "// three"})).await.expect(200);
        curfew.build().await;
        // Nothing stands on the second any more, and a version on the first.
        curfew.sweep().await;
        assert!(kept(&curfew, "second").await.is_some(), "a build may be about to come to it");
        curfew.advance(86_401);
        curfew.sweep().await;
        assert_eq!((kept(&curfew, "first").await.as_deref(), kept(&curfew, "second").await), (Some(&b"one"[..]), None));
        curfew.operator().await.delete(&path(&action, "?force=true")).await.expect(204);
        curfew.sweep().await;
        assert_eq!(kept(&curfew, "first").await, None);
    }

    fn bytecode_is_kept_while_something_stands_on_its_packages(curfew) {
        let operator = curfew.operator().await;
        let action = make(&operator, post_login("heavy")).await;
        scripted(&curfew, vec![packages("used", b"one")]).work_off().await.expect("a build");
        for of in [("used", "engine-1"), ("unused", "engine-1")] {
            keep_bytecode(&curfew, of).await;
        }
        curfew.advance(86_401);
        keep_bytecode(&curfew, ("used", "engine-2")).await;
        curfew.sweep().await;
        let left = |of| find_bytecode(&curfew, of);
        assert!(!left(("unused", "engine-1")).await, "its packages are gone");
        assert!(left(("used", "engine-1")).await, "another node may need it");
        // However long: the one that was made last stays, and no other.
        curfew.advance(31 * 86_400);
        curfew.sweep().await;
        assert_eq!((left(("used", "engine-1")).await, left(("used", "engine-2")).await), (false, true));
        curfew.operator().await.delete(&path(&action, "?force=true")).await.expect(204);
        curfew.sweep().await;
        assert!(!left(("used", "engine-2")).await);
    }

    fn bytecode_is_taken_from_nobody_else(curfew) {
        use bytecode::{find, keep};
        let ctx = job_ctx(&curfew.core, ISSUER);
        let of = ("digest", "engine-1");
        keep(&curfew.core, &ctx, of, Bytes::from_static(b"compiled")).await.expect("kept");
        assert_eq!(find(&curfew.core, TENANT, of).await.expect("a read").as_deref(), Some(&b"compiled"[..]));
        assert_eq!(find(&curfew.core, TENANT, ("digest", "engine-2")).await.expect("a read"), None);
        let forged = curfew.core.kek.mac("bytecode:1:6:digest:engine-2", b"compiled");
        let writes = [(("digest", "engine-1"), &b"compiled!"[..]), (("digest", "engine-2"), &b"compiled"[..])];
        for ((digest, engine), bytes) in writes {
            let mac = if engine == "engine-1" { forged } else { [0; 32] };
            let row = (ctx.clone(), digest, engine, bytes, mac);
            let written = curfew.store().transact(curfew_store::Lane::Ordinary, row, |tx, (ctx, digest, engine, bytes, mac)| {
                Box::pin(action_packages::keep_bytecode(tx, ctx, (digest, engine), bytes, mac))
            });
            written.await.expect("a write");
            assert_eq!(find(&curfew.core, TENANT, (digest, engine)).await.expect("a read"), None);
        }
    }

    fn a_running_server_builds_by_itself(curfew) {
        let operator = curfew.operator().await;
        let held = Arc::new(Held::default());
        let builds = by(&curfew, Arc::<Held>::clone(&held));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(async move { builds.run(stopped.map(drop)).await });
        make(&operator, post_login("by-itself")).await;
        let begun = tokio::time::timeout(std::time::Duration::from_secs(60), held.begun.notified()).await;
        assert!(begun.is_ok(), "nobody builds it");
        drop(stop);
        // Also in the middle of a build.
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), running).await;
        assert!(matches!(ended, Ok(Ok(()))), "it does not stop");
    }
}
