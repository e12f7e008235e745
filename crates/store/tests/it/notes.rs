//! A table to try the executor on, and a gate to hold a flow at.

use std::sync::{Arc, Condvar, Mutex};

use curfew_model::Failure;
use curfew_store::{Lane, Store, params};
use tokio::sync::Semaphore;

curfew_store::statements! {
    pub(crate) CREATE = "create table notes (id bigint not null primary key, text text not null)";
    pub(crate) INSERT = "insert into notes (id, text) values ($1, $2)";
    pub(crate) INSERT_UNLESS_THERE =
        "insert into notes (id, text) values ($1, $2) on conflict (id) do nothing";
    pub(crate) UPDATE = "update notes set text = $2 where id = $1";
    pub(crate) FIND = "select text from notes where id = $1";
    pub(crate) COUNT = "select count(*) from notes";
}

/// Makes the table.
pub(crate) async fn create(store: &Store) {
    let created = store.transact(Lane::Ordinary, (), |tx, ()| {
        Box::pin(async move { tx.run(&CREATE, params![]).await.map(drop) })
    });
    created.await.expect("the table is made");
}

/// Writes one note in a transaction of its own.
pub(crate) async fn insert(store: &Store, id: i64) -> Result<(), Failure> {
    insert_in(store, Lane::Ordinary, id).await
}

/// As [`insert`], in a lane.
pub(crate) async fn insert_in(store: &Store, lane: Lane, id: i64) -> Result<(), Failure> {
    let inserted = store.transact(lane, id, |tx, id| {
        Box::pin(async move { tx.run(&INSERT, params![*id, "first"]).await.map(drop) })
    });
    inserted.await
}

/// A note's text.
pub(crate) async fn find(store: &Store, id: i64) -> Option<String> {
    let row = store
        .read(id, |tx, id| Box::pin(async move { tx.maybe(&FIND, params![*id]).await }))
        .await
        .expect("a read");
    row.map(|row| row.get(0).expect("a text"))
}

/// How many notes there are.
pub(crate) async fn count(store: &Store) -> i64 {
    let row = store
        .read((), |tx, ()| Box::pin(async move { tx.one(&COUNT, params![]).await }))
        .await
        .expect("a read");
    row.get(0).expect("a count")
}

/// Holds SQLite's writer inside a flow, until it is opened, or dropped: a test that fails must not hang.
#[derive(Default)]
pub(crate) struct Gate {
    way: Arc<Way>,
}

/// What the flow sees of a gate.
pub(crate) struct Way {
    entered: Semaphore,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Default for Way {
    fn default() -> Self {
        Self { entered: Semaphore::new(0), open: Mutex::new(false), opened: Condvar::new() }
    }
}

impl Way {
    /// Says that it is here, and blocks the thread.
    pub(crate) fn wait(&self) {
        self.entered.add_permits(1);
        let mut open = self.open.lock().expect("nobody panics with it");
        while !*open {
            open = self.opened.wait(open).expect("nobody panics with it");
        }
    }
}

impl Gate {
    pub(crate) fn way(&self) -> Arc<Way> {
        Arc::clone(&self.way)
    }

    /// Returns when a flow is at the gate.
    pub(crate) async fn entered(&self) {
        self.way.entered.acquire().await.expect("it is never closed").forget();
    }

    pub(crate) fn open(&self) {
        *self.way.open.lock().expect("nobody panics with it") = true;
        self.way.opened.notify_all();
    }

    /// Occupies the writer; the answer comes when the gate is open.
    pub(crate) async fn hold_writer(&self, store: &Store) -> tokio::task::JoinHandle<Result<(), Failure>> {
        let (store, way) = (store.clone(), self.way());
        let held = tokio::spawn(async move {
            let flow = store.transact(Lane::Ordinary, way, |_, way| {
                Box::pin(async move {
                    way.wait();
                    Ok(())
                })
            });
            flow.await
        });
        self.entered().await;
        held
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}
