//! SQLite's group commit: flows share a COMMIT, and nothing else.

use std::pin::pin;

use curfew_model::Failure;
use curfew_store::{Engine, Lane, Store, Tx, params};
use curfew_testkit::TestDatabase;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::notes::{self, Gate};

curfew_store::statements! {
    /// SQLite ends the whole transaction at this conflict, as it does at a full disk.
    pub(crate) INSERT_OR_ROLLBACK = "insert or rollback into notes (id, text) values ($1, $2)";
}

type Ran = Result<(), Failure>;

async fn store() -> (TestDatabase, Store) {
    let database = TestDatabase::new(Engine::Sqlite);
    let store = database.open().await;
    notes::create(&store).await;
    (database, store)
}

fn err_after_write<'a>(tx: &'a mut Tx, id: &'a i64) -> BoxFuture<'a, Ran> {
    Box::pin(async move {
        tx.run(&notes::INSERT, params![*id, "a"]).await?;
        Err(Failure::Crypto("no key".into()))
    })
}

fn panic_after_write<'a>(tx: &'a mut Tx, id: &'a i64) -> BoxFuture<'a, Ran> {
    Box::pin(async move {
        tx.run(&notes::INSERT, params![*id, "a"]).await?;
        panic!("inside a flow")
    })
}

fn pending_after_write<'a>(tx: &'a mut Tx, id: &'a i64) -> BoxFuture<'a, Ran> {
    Box::pin(async move {
        tx.run(&notes::INSERT, params![*id, "a"]).await?;
        std::future::pending().await
    })
}

fn end_the_transaction<'a>(tx: &'a mut Tx, id: &'a i64) -> BoxFuture<'a, Ran> {
    Box::pin(async move { tx.run(&INSERT_OR_ROLLBACK, params![*id, "a"]).await.map(drop) })
}

#[tokio::test]
async fn one_that_fails_takes_nothing_with_it() {
    let (_database, store) = store().await;
    let gate = Gate::default();
    let held = gate.hold_writer(&store).await;
    let (mut before, mut after) = (pin!(notes::insert(&store, 1)), pin!(notes::insert(&store, 5)));
    let mut err = pin!(store.transact(Lane::Ordinary, 2, err_after_write));
    let mut panic = pin!(store.transact(Lane::Ordinary, 3, panic_after_write));
    let mut pending = pin!(store.transact(Lane::Ordinary, 4, pending_after_write));
    // The first poll queues: all of them are in the batch that the gate holds open.
    assert!((&mut before).now_or_never().is_none());
    assert!((&mut err).now_or_never().is_none());
    assert!((&mut panic).now_or_never().is_none());
    assert!((&mut pending).now_or_never().is_none());
    assert!((&mut after).now_or_never().is_none());
    gate.open();
    held.await.expect("no panic").expect("a commit");
    before.await.expect("a commit");
    assert!(matches!(err.await, Err(Failure::Crypto(_))));
    assert!(matches!(panic.await, Err(Failure::Internal(_))));
    assert!(matches!(pending.await, Err(Failure::Internal(_))));
    after.await.expect("a commit");
    assert_eq!(notes::count(&store).await, 2);
    assert!(notes::find(&store, 1).await.is_some() && notes::find(&store, 5).await.is_some());
}

#[tokio::test]
async fn a_lost_transaction_fails_the_whole_batch() {
    let (_database, store) = store().await;
    notes::insert(&store, 1).await.expect("a commit");
    let gate = Gate::default();
    let held = gate.hold_writer(&store).await;
    let mut before = pin!(notes::insert(&store, 2));
    let mut ends = pin!(store.transact(Lane::Ordinary, 1, end_the_transaction));
    let mut after = pin!(notes::insert(&store, 3));
    assert!((&mut before).now_or_never().is_none());
    assert!((&mut ends).now_or_never().is_none());
    assert!((&mut after).now_or_never().is_none());
    gate.open();
    // Both had answered Ok, and what they wrote is gone.
    let held = held.await.expect("no panic");
    assert!(matches!(held, Err(Failure::Storage { .. })), "{held:?}");
    let before = before.await;
    assert!(matches!(before, Err(Failure::Storage { .. })), "{before:?}");
    assert!(matches!(ends.await, Err(Failure::Conflict)));
    after.await.expect("the next batch is another transaction");
    assert_eq!(notes::find(&store, 2).await, None);
    assert_eq!(notes::count(&store).await, 2);
}

#[tokio::test]
async fn a_value_leaves_only_after_its_commit() {
    let (database, store) = store().await;
    let other = database.open().await;
    let (gate, second_gate) = (Gate::default(), Gate::default());
    let held = gate.hold_writer(&store).await;
    let mut first = pin!(notes::insert(&store, 1));
    assert!((&mut first).now_or_never().is_none());
    let mut second = pin!(store.transact(Lane::Ordinary, second_gate.way(), |_, way| {
        Box::pin(async move {
            way.wait();
            Ok(())
        })
    }));
    assert!((&mut second).now_or_never().is_none());
    gate.open();
    second_gate.entered().await;
    // The first flow has run to its end, in the same transaction as the second, which has not.
    assert!((&mut first).now_or_never().is_none(), "an answer before its COMMIT");
    assert_eq!(notes::count(&other).await, 0);
    second_gate.open();
    first.await.expect("a commit");
    assert_eq!(notes::count(&other).await, 1);
    second.await.expect("a commit");
    held.await.expect("no panic").expect("a commit");
}

#[tokio::test]
async fn what_was_accepted_is_done_before_the_store_closes() {
    let (database, store) = store().await;
    let gate = Gate::default();
    let held = gate.hold_writer(&store).await;
    {
        let mut given_up = pin!(notes::insert(&store, 1));
        assert!((&mut given_up).now_or_never().is_none());
    }
    drop(store);
    gate.open();
    held.await.expect("no panic").expect("a commit");
    let store = database.open().await;
    assert_eq!(notes::count(&store).await, 1);
}

#[tokio::test]
async fn the_last_clone_may_be_a_flows_argument() {
    let (database, store) = store().await;
    let gate = Gate::default();
    let held = gate.hold_writer(&store).await;
    {
        let mut given_up = pin!(store.transact(Lane::Ordinary, store.clone(), |tx, _| {
            Box::pin(async move { tx.run(&notes::INSERT, params![1_i64, "a"]).await.map(drop) })
        }));
        assert!((&mut given_up).now_or_never().is_none());
    }
    held.abort();
    drop(store);
    gate.open();
    // The writer drops the last clone itself. Another store of the same file waits for its lock until it is done.
    let store = database.open().await;
    notes::insert(&store, 2).await.expect("a commit");
    assert_eq!(notes::count(&store).await, 2);
}
