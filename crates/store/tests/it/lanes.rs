//! What waits is bounded, and endings go first.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use curfew_model::Failure;
use curfew_store::{Engine, Lane, Store, StoreOptions, params};
use curfew_testkit::TestDatabase;
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::notes::{self, Gate};

type Order = Arc<Mutex<Vec<i64>>>;

async fn noting(store: &Store, lane: Lane, id: i64, order: &Order) -> Result<(), Failure> {
    let flow = store.transact(lane, (id, Arc::clone(order)), |_, (id, order)| {
        Box::pin(async move {
            order.lock().expect("nobody panics with it").push(*id);
            Ok(())
        })
    });
    flow.await
}

#[tokio::test]
async fn sqlite_takes_endings_first_and_bounds_each_lane() {
    let database = TestDatabase::new(Engine::Sqlite);
    let options = StoreOptions { queue_max: 2, endings_queue_max: 2, ..database.options() };
    let store = Store::open(options).await.expect("it opens");
    let (gate, order) = (Gate::default(), Order::default());
    let held = gate.hold_writer(&store).await;
    let mut ordinary = [1, 2].map(|id| Box::pin(noting(&store, Lane::Ordinary, id, &order)));
    let mut endings = [3, 4].map(|id| Box::pin(noting(&store, Lane::Endings, id, &order)));
    for flow in ordinary.iter_mut().chain(&mut endings) {
        assert!(flow.now_or_never().is_none());
    }
    for lane in [Lane::Ordinary, Lane::Endings] {
        let refused = noting(&store, lane, 9, &order).now_or_never().expect("refused at once");
        assert!(
            matches!(refused, Err(Failure::Busy { what: "storage", retry_after_seconds: 1 })),
            "{refused:?}"
        );
    }
    gate.open();
    for flow in ordinary.into_iter().chain(endings) {
        flow.await.expect("a commit");
    }
    held.await.expect("no panic").expect("a commit");
    assert_eq!(*order.lock().expect("nobody panics with it"), [3, 4, 1, 2]);
}

#[tokio::test]
async fn postgres_keeps_connections_for_endings() {
    let database = TestDatabase::new(Engine::Postgres);
    let options = StoreOptions { connections: 2, wait: Duration::from_millis(50), ..database.options() };
    let store = Store::open(options).await.expect("it opens");
    notes::create(&store).await;
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = {
        let (store, signals) = (store.clone(), (Arc::clone(&entered), Arc::clone(&leave)));
        tokio::spawn(async move {
            let flow = store.transact(Lane::Ordinary, signals, |tx, (entered, leave)| {
                Box::pin(async move {
                    tx.run(&notes::INSERT, params![1_i64, "a"]).await?;
                    entered.notify_one();
                    leave.notified().await;
                    Ok(())
                })
            });
            flow.await
        })
    };
    entered.notified().await;
    let refused = notes::insert(&store, 2).await;
    assert!(matches!(refused, Err(Failure::Busy { what: "storage", .. })), "{refused:?}");
    notes::insert_in(&store, Lane::Endings, 3).await.expect("an ending finds a connection");
    leave.notify_one();
    held.await.expect("no panic").expect("a commit");
    notes::insert(&store, 2).await.expect("there is room again");
    assert_eq!(notes::count(&store).await, 3);
}

#[tokio::test]
async fn postgres_bounds_how_many_wait() {
    let database = TestDatabase::new(Engine::Postgres);
    let options = StoreOptions { connections: 2, queue_max: 1, ..database.options() };
    let store = Store::open(options).await.expect("it opens");
    notes::create(&store).await;
    let leave = Arc::new(Notify::new());
    let mut held = pin!(store.transact(Lane::Ordinary, Arc::clone(&leave), |_, leave| {
        Box::pin(async move {
            leave.notified().await;
            Ok(())
        })
    }));
    assert!((&mut held).now_or_never().is_none());
    let mut waits = pin!(notes::insert(&store, 1));
    assert!((&mut waits).now_or_never().is_none());
    let refused = notes::insert(&store, 2).now_or_never().expect("refused at once");
    assert!(matches!(refused, Err(Failure::Busy { .. })), "{refused:?}");
    leave.notify_one();
    held.await.expect("a commit");
    waits.await.expect("a commit");
}

// A request that is given up drops its flow at an await; the connection comes back clean.
#[tokio::test]
async fn postgres_rolls_back_what_is_given_up_midway() {
    let database = TestDatabase::new(Engine::Postgres);
    let store = Store::open(StoreOptions { connections: 2, ..database.options() }).await.expect("it opens");
    notes::create(&store).await;
    let entered = Arc::new(Notify::new());
    let given_up = {
        let (store, entered) = (store.clone(), Arc::clone(&entered));
        tokio::spawn(async move {
            let flow = store.transact(Lane::Ordinary, entered, |tx, entered| {
                Box::pin(async move {
                    tx.run(&notes::INSERT, params![1_i64, "a"]).await?;
                    entered.notify_one();
                    std::future::pending::<Result<(), Failure>>().await
                })
            });
            flow.await
        })
    };
    entered.notified().await;
    given_up.abort();
    assert!(given_up.await.is_err(), "it was given up");
    // There is one connection for ordinary flows, so this is the same one, and the row's lock is free.
    notes::insert(&store, 1).await.expect("a commit");
    assert_eq!(notes::count(&store).await, 1);
}
