//! Who is told that an ending was committed.

use std::time::Duration;

use curfew_model::{EndingCause, EndingId, Entropy, Failure, SystemEntropy, TenantId, Timestamp};
use curfew_store::endings::{self, EndingRow};
use curfew_store::{Engine, Lane, Store};
use curfew_testkit::engines;
use tokio::sync::watch;

/// How long a test waits for a hint before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes an ending of nothing in particular; `keep` is whether it is committed.
async fn end(store: &Store, keep: bool) {
    let entropy: &dyn Entropy = &SystemEntropy;
    let row = EndingRow {
        id: EndingId::generate(entropy),
        at: Timestamp::from_seconds(1),
        cause: EndingCause::UserBlocked.as_str(),
        user_key: None,
        user_id: None,
        session: None,
        grant: None,
        client_id: None,
        detail: "{}".into(),
        scope: None,
    };
    let ended = store.transact(Lane::Endings, (row, keep), |tx, (row, keep)| {
        Box::pin(async move {
            endings::insert(tx, TenantId(1), row, &[]).await?;
            if *keep { Ok(()) } else { Err(Failure::Contention) }
        })
    });
    assert_eq!(ended.await.is_ok(), keep);
}

async fn told(hints: &mut watch::Receiver<u64>) {
    tokio::time::timeout(PATIENCE, hints.changed())
        .await
        .expect("nobody was told")
        .expect("the store is there");
}

fn story(engine: Engine) {
    engines::with_database(engine, |database| async move {
        let store = database.open().await;
        store.migrate(Timestamp::from_seconds(0)).await.expect("the schema");
        let mut hints = store.endings_written();
        // What is rolled back, and what ends nothing, is nobody's business.
        end(&store, false).await;
        let other = store.transact(Lane::Endings, (), |_, ()| Box::pin(async { Ok(()) }));
        other.await.expect("a commit");
        assert!(!hints.has_changed().expect("the store is there"));
        end(&store, true).await;
        // Before the answer, so that whoever looks after it sees it.
        assert!(hints.has_changed().expect("the store is there"));
        told(&mut hints).await;
        database
    });
}

#[test]
fn sqlite_tells_of_committed_endings() {
    story(Engine::Sqlite);
}

#[test]
fn postgres_tells_of_committed_endings() {
    story(Engine::Postgres);
}

#[test]
fn another_node_is_told() {
    engines::with_database(Engine::Postgres, |database| async move {
        let one = database.open().await;
        one.migrate(Timestamp::from_seconds(0)).await.expect("the schema");
        let other = database.open().await;
        let jobs = [&one, &other].map(|store| {
            let store = store.clone();
            tokio::spawn(async move { store.tell_other_nodes().await })
        });
        let mut hints = other.endings_written();
        // Each tells once when it begins; which of them is first, and who hears that, is left to chance. Told again and
        // again, the other hears it.
        for _ in 0..20 {
            end(&one, true).await;
            told(&mut hints).await;
        }
        jobs.iter().for_each(tokio::task::JoinHandle::abort);
        database
    });
}
