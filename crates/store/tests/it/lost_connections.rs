//! When the connection breaks around a COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use curfew_model::{Entropy, Failure, RequestId, SystemEntropy};
use curfew_store::executor::Database;
use curfew_store::{Engine, Lane, Store, StoreOptions, params};
use curfew_testkit::TestDatabase;
use curfew_testkit::proxy::{Cut, Proxy};

use crate::notes;

curfew_store::statements! {
    pub(crate) CREATE = {
        postgres: "create table wins (id bigint not null primary key, request bytea not null)",
        sqlite: "create table wins (id bigint not null primary key, request blob not null)",
    };
    /// The first request wins; the row says which one that was.
    pub(crate) WIN = "insert into wins (id, request) values ($1, $2)
        on conflict (id) do update set request = wins.request returning request";
}

struct Link {
    database: TestDatabase,
    /// Straight to the server.
    direct: Store,
    /// Through the proxy.
    store: Store,
    proxy: Proxy,
}

async fn link() -> Link {
    let database = TestDatabase::new(Engine::Postgres);
    let direct = database.open().await;
    notes::create(&direct).await;
    let Database::Postgres(url) = database.options().database else { panic!("PostgreSQL is a server") };
    let proxy = Proxy::to_postgres(url.expose()).await;
    let through = StoreOptions::postgres(proxy.url());
    let store = Store::open(StoreOptions { database: through.database, ..database.options() });
    Link { store: store.await.expect("it opens"), direct, proxy, database }
}

impl Link {
    /// Inserts a note, and answers how often the flow ran.
    async fn insert(&self, id: i64) -> (Result<(), Failure>, u32) {
        let runs = Arc::new(AtomicU32::new(0));
        let flow = self.store.transact(Lane::Ordinary, (id, Arc::clone(&runs)), |tx, (id, runs)| {
            Box::pin(async move {
                runs.fetch_add(1, Ordering::Relaxed);
                tx.run(&notes::INSERT, params![*id, "a"]).await.map(drop)
            })
        });
        (flow.await, runs.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn an_unknown_commit_is_not_run_again() {
    let link = link().await;
    for (id, cut, committed) in [(1, Cut::Before, false), (2, Cut::After, true)] {
        link.proxy.cut_at(b"commit\0", cut);
        let (outcome, runs) = link.insert(id).await;
        assert!(matches!(outcome, Err(Failure::UnknownCommit(_))), "{cut:?}: {outcome:?}");
        assert_eq!(runs, 1, "{cut:?}");
        assert_eq!(notes::find(&link.direct, id).await.is_some(), committed, "{cut:?}");
        let (outcome, _) = link.insert(id + 10).await;
        outcome.expect("the next flow has another connection");
    }
    drop(link.database);
}

#[tokio::test]
async fn what_broke_before_its_commit_runs_again() {
    let link = link().await;
    link.insert(0).await.0.expect("a connection with its statement prepared");
    // The marker is in the parameter, so this is the statement itself on its way.
    for (id, cut) in [(1, Cut::Before), (2, Cut::After)] {
        link.proxy.cut_at(b"begin\0", cut);
        let (outcome, runs) = link.insert(id).await;
        outcome.expect("a commit");
        assert_eq!(runs, 2, "{cut:?}");
        assert!(notes::find(&link.direct, id).await.is_some());
    }
}

#[tokio::test]
async fn a_command_recognises_its_own_work() {
    let link = link().await;
    let create = link
        .direct
        .transact(Lane::Ordinary, (), |tx, ()| Box::pin(async move { tx.run(&CREATE, params![]).await }));
    create.await.expect("the table is made");
    let win = |id: i64, request: RequestId| {
        link.store.command(Lane::Ordinary, (id, request), |tx, (id, request)| {
            Box::pin(async move { tx.one(&WIN, params![*id, request]).await?.get::<RequestId>(0) })
        })
    };
    let entropy: &dyn Entropy = &SystemEntropy;
    let requests = [(); 4].map(|()| RequestId::generate(entropy));
    win(0, requests[0]).await.expect("a connection with its statement prepared");
    for (id, request, cut) in [(1, requests[1], Cut::Before), (2, requests[2], Cut::After)] {
        link.proxy.cut_at(request.as_bytes(), cut);
        assert_eq!(win(id, request).await.expect("its second run"), request, "{cut:?}");
        assert_eq!(link.proxy.cuts(), u32::try_from(id).expect("small"), "it was cut");
        // And another request learns that it has not won.
        assert_eq!(win(id, requests[3]).await.expect("a row"), request);
    }
}

#[tokio::test]
async fn connections_that_died_in_the_pool_are_replaced() {
    let link = link().await;
    link.insert(1).await.0.expect("a commit");
    link.proxy.cut_all();
    link.insert(2).await.0.expect("a commit");
    link.proxy.cut_all();
    assert_eq!(notes::count(&link.store).await, 2);
}
