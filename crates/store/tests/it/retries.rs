//! Who comes in the way of whom, and what is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use curfew_model::Failure;
use curfew_store::{Engine, Lane, Store, StoreOptions, params};
use curfew_testkit::TestDatabase;
use tokio::sync::Barrier;

use crate::notes;

curfew_store::statements! {
    pub(crate) REPEATABLE_READ = "set transaction isolation level repeatable read";
    pub(crate) CREATE_TRIES = "create sequence tries";
    pub(crate) CREATE_FLAKY = "create function flaky(enough bigint) returns bigint language plpgsql as
        $$ begin
            if nextval('tries') < enough then raise exception 'again' using errcode = '40001'; end if;
            return 1;
        end $$";
    pub(crate) FLAKY = "select flaky($1)";
    pub(crate) CREATE_WARNING = "create function warn() returns trigger language plpgsql as
        $$ begin raise warning 'not replicated'; return null; end $$";
    pub(crate) CREATE_TRIGGER = "create constraint trigger warns after insert on notes
        deferrable initially deferred for each row execute function warn()";
    pub(crate) SLEEP = "select 1 from pg_sleep(60)";
    pub(crate) TRIES = "select last_value from tries";
}

async fn store(engine: Engine) -> (TestDatabase, Store) {
    let database = TestDatabase::new(engine);
    let store = database.open().await;
    notes::create(&store).await;
    (database, store)
}

#[tokio::test]
async fn a_deadlocks_victim_runs_again() {
    let (_database, store) = store(Engine::Postgres).await;
    for id in [1, 2] {
        notes::insert(&store, id).await.expect("a commit");
    }
    let both_hold_one = Arc::new(Barrier::new(2));
    let runs = Arc::new(AtomicU32::new(0));
    let flows = [(1_i64, 2_i64), (2, 1)].map(|(first, second)| {
        let (store, barrier, runs) = (store.clone(), Arc::clone(&both_hold_one), Arc::clone(&runs));
        tokio::spawn(async move {
            let args = (first, second, barrier, runs, AtomicU32::new(0));
            let flow = store.transact(Lane::Ordinary, args, |tx, (first, second, barrier, runs, own)| {
                Box::pin(async move {
                    runs.fetch_add(1, Ordering::Relaxed);
                    tx.run(&notes::UPDATE, params![*first, "a"]).await?;
                    if own.fetch_add(1, Ordering::Relaxed) == 0 {
                        barrier.wait().await;
                    }
                    tx.run(&notes::UPDATE, params![*second, "b"]).await.map(drop)
                })
            });
            flow.await
        })
    });
    for flow in flows {
        flow.await.expect("no panic").expect("a commit");
    }
    // Or more: the victim may be back before the other has woken up.
    assert!(runs.load(Ordering::Relaxed) >= 3, "the victim's second run");
}

#[tokio::test]
async fn a_transaction_that_could_not_be_ordered_runs_again() {
    let (_database, store) = store(Engine::Postgres).await;
    notes::insert(&store, 1).await.expect("a commit");
    let args = (store.clone(), AtomicU32::new(0));
    let flow = store.transact(Lane::Ordinary, args, |tx, (store, runs)| {
        Box::pin(async move {
            tx.run(&REPEATABLE_READ, params![]).await?;
            let text: String = tx.one(&notes::FIND, params![1_i64]).await?.get(0)?;
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                // Another transaction gets in between our reading and our writing: 40001 at the update.
                let other = store.transact(Lane::Ordinary, (), |tx, ()| {
                    Box::pin(async move { tx.run(&notes::UPDATE, params![1_i64, "second"]).await })
                });
                other.await?;
            }
            tx.run(&notes::UPDATE, params![1_i64, &format!("{text} and third")]).await?;
            Ok(runs.load(Ordering::Relaxed))
        })
    });
    assert_eq!(flow.await.expect("a commit"), 2);
    assert_eq!(notes::find(&store, 1).await.as_deref(), Some("second and third"));
}

#[tokio::test]
async fn commands_run_again_and_nothing_runs_forever() {
    let (_database, store) = store(Engine::Postgres).await;
    for statement in [&CREATE_TRIES, &CREATE_FLAKY] {
        let made = store.transact(Lane::Ordinary, statement, |tx, statement| {
            Box::pin(async move { tx.run(statement, params![]).await })
        });
        made.await.expect("it is made");
    }
    let third_time = store.command(Lane::Ordinary, (), |tx, ()| {
        Box::pin(async move { tx.one(&FLAKY, params![3_i64]).await?.get::<i64>(0) })
    });
    assert_eq!(third_time.await.expect("the third run succeeds"), 1);
    let never = store.transact(Lane::Ordinary, (), |tx, ()| {
        Box::pin(async move { tx.one(&FLAKY, params![1000_i64]).await?.get::<i64>(0) })
    });
    let never = never.await;
    assert!(matches!(never, Err(Failure::Contention)), "{never:?}");
    let tries =
        store.read((), |tx, ()| Box::pin(async move { tx.one(&TRIES, params![]).await?.get::<i64>(0) }));
    assert_eq!(tries.await.expect("a read"), 3 + 6);
}

// So does PostgreSQL say that nobody waited for the synchronous standby any more: committed here, and lost if this
// machine is.
#[tokio::test]
async fn a_warning_at_commit_leaves_the_outcome_unknown() {
    let (_database, store) = store(Engine::Postgres).await;
    for statement in [&CREATE_WARNING, &CREATE_TRIGGER] {
        let made = store.transact(Lane::Ordinary, statement, |tx, statement| {
            Box::pin(async move { tx.run(statement, params![]).await })
        });
        made.await.expect("it is made");
    }
    let warned = notes::insert(&store, 1).await;
    assert!(matches!(warned, Err(Failure::UnknownCommit(_))), "{warned:?}");
    assert_eq!(notes::count(&store).await, 1);
    let warned = store.command(Lane::Ordinary, (), |tx, ()| {
        Box::pin(async move { tx.run(&notes::INSERT_UNLESS_THERE, params![2_i64, "a"]).await })
    });
    // Its second run finds the row, inserts nothing, and is not warned.
    assert_eq!(warned.await.expect("an answer"), 0);
}

#[tokio::test]
async fn a_statement_does_not_run_for_ever() {
    let database = TestDatabase::new(Engine::Postgres);
    let options = StoreOptions { statement_timeout: Duration::from_millis(50), ..database.options() };
    let store = Store::open(options).await.expect("it opens");
    let cut = store.read((), |tx, ()| Box::pin(async move { tx.maybe(&SLEEP, params![]).await })).await;
    assert!(matches!(cut, Err(Failure::Storage { .. })), "{cut:?}");
}

#[tokio::test]
async fn sqlite_waits_for_another_process() {
    let (database, store) = store(Engine::Sqlite).await;
    let curfew_store::executor::Database::Sqlite(path) = database.options().database else {
        panic!("SQLite is a file")
    };
    let other = rusqlite::Connection::open(&path).expect("it opens");
    other.execute_batch("begin immediate").expect("the write lock is free");
    let write = {
        let store = store.clone();
        tokio::spawn(async move { notes::insert(&store, 1).await })
    };
    // Reads do not wait for anybody.
    assert_eq!(notes::count(&store).await, 0);
    other.execute_batch("commit").expect("it commits");
    write.await.expect("no panic").expect("it waited and then committed");

    let impatient = StoreOptions { wait: Duration::from_millis(20), ..database.options() };
    let impatient = Store::open(impatient).await.expect("it opens");
    other.execute_batch("begin immediate").expect("the write lock is free");
    let refused = notes::insert(&impatient, 2).await;
    assert!(matches!(refused, Err(Failure::Contention)), "{refused:?}");
    other.execute_batch("rollback").expect("it rolls back");
    notes::insert(&impatient, 2).await.expect("the store goes on");
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_its_disk_is_refused() {
    let database = TestDatabase::new(Engine::Postgres);
    let curfew_store::executor::Database::Postgres(url) = database.options().database else {
        panic!("PostgreSQL is a server")
    };
    let url = curfew_testkit::postgres::with_option(url.expose(), "synchronous_commit=off");
    let refused = Store::open(StoreOptions::postgres(url)).await;
    let Err(Failure::Storage { context, .. }) = refused else { panic!("{refused:?}") };
    assert!(context.contains("synchronous_commit"), "{context}");
}

#[tokio::test]
async fn a_connection_string_never_shows() {
    let refused = Store::open(StoreOptions::postgres("postgres://u:hunter2@[::bad/db")).await;
    let Err(failure) = refused else { panic!("it cannot be read") };
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
}
