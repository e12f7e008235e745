//! The schema is brought up once, by whoever comes first, and never behind anybody's back.

use curfew_model::{Failure, Timestamp};
use curfew_store::executor::Database;
use curfew_store::migrate::Migration;
use curfew_store::{Engine, Store, params};
use curfew_testkit::{START, TestDatabase, both_engines};

curfew_store::statements! {
    pub(crate) APPLIED = "select number, name, applied_at from schema_migrations order by number";
    pub(crate) ROWS = "select a from things order by a";
    pub(crate) SHAPE = {
        postgres: "select table_name::text, column_name::text,
                replace(data_type::text, 'bytea', 'blob'), is_nullable = 'NO'
            from information_schema.columns where table_schema = current_schema() order by 1, 2",
        sqlite: "select t.name, c.name, lower(c.type), c.\"notnull\" = 1
            from sqlite_master t join pragma_table_info(t.name) c where t.type = 'table' order by 1, 2",
    };
}

const FIRST: Migration = Migration {
    number: 1,
    name: "things",
    sql: "create table things (a bigint not null primary key, b bytea not null) /*sqlite without rowid */;",
};
const SECOND: Migration = Migration {
    number: 2,
    name: "more",
    sql: "-- engine: sqlite
        insert into things (a, b) values (2, x'00');
        -- engine: postgres
        insert into things (a, b) values (2, '\\x00');
        -- engine: both
        insert into things (a, b) select 3, b from things; update things set b = b;",
};
const CHANGED: Migration = Migration { sql: "create table things (a bigint)", ..FIRST };
const BROKEN: Migration = Migration {
    number: 2,
    name: "broken",
    sql: "create table half (a bigint); insert into nowhere (a) values (1);",
};

/// A store without our own schema.
async fn bare(database: &TestDatabase) -> Store {
    Store::open(database.options()).await.expect("it opens")
}

async fn numbers(store: &Store, statement: &'static curfew_store::Statement) -> Vec<i64> {
    let rows = store
        .read(statement, |tx, statement| Box::pin(async move { tx.all(statement, params![]).await }))
        .await
        .expect("a read");
    rows.iter().map(|row| row.get(0).expect("a number")).collect()
}

macro_rules! on_both {
    ($($name:ident($database:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn test($database: TestDatabase) -> TestDatabase {
                $body
                $database
            }

            #[test]
            fn sqlite() {
                curfew_testkit::engines::with_database(Engine::Sqlite, test);
            }

            #[test]
            fn postgres() {
                curfew_testkit::engines::with_database(Engine::Postgres, test);
            }
        }
    )*};
}

on_both! {
    they_apply_in_order_and_once(database) {
        let store = bare(&database).await;
        store.apply(&[FIRST], START).await.expect("the first");
        let later = START.plus_seconds(60);
        store.apply(&[FIRST, SECOND], later).await.expect("the second");
        store.apply(&[FIRST, SECOND], later.plus_seconds(60)).await.expect("nothing to do");
        assert_eq!(numbers(&store, &ROWS).await, [2, 3]);
        let applied = store
            .read((), |tx, ()| Box::pin(async move { tx.all(&APPLIED, params![]).await }))
            .await
            .expect("a read");
        let applied: Vec<(i64, String, Timestamp)> = applied
            .iter()
            .map(|row| (row.get(0).expect("it"), row.get(1).expect("it"), row.get(2).expect("it")))
            .collect();
        assert_eq!(applied, [(1, "things".into(), START), (2, "more".into(), later)]);
    }

    a_changed_one_refuses_to_start(database) {
        let store = bare(&database).await;
        store.apply(&[FIRST], START).await.expect("the first");
        let refused = store.apply(&[CHANGED, SECOND], START).await;
        assert!(matches!(refused, Err(Failure::Inconsistent { table: "schema_migrations", .. })), "{refused:?}");
        assert_eq!(numbers(&store, &APPLIED).await, [1]);
    }

    a_newer_database_refuses_to_start(database) {
        let store = bare(&database).await;
        store.apply(&[FIRST, SECOND], START).await.expect("both");
        let refused = store.apply(&[FIRST], START).await;
        assert!(matches!(refused, Err(Failure::Inconsistent { table: "schema_migrations", .. })), "{refused:?}");
    }

    one_that_fails_leaves_nothing(database) {
        let store = bare(&database).await;
        let failed = store.apply(&[FIRST, BROKEN], START).await;
        assert!(matches!(failed, Err(Failure::Storage { .. })), "{failed:?}");
        assert_eq!(numbers(&store, &APPLIED).await, [1]);
        store.apply(&[FIRST, Migration { name: "half", sql: "create table half (a bigint);", ..BROKEN }], START)
            .await
            .expect("its first table is not there yet");
    }

    nodes_may_start_at_once(database) {
        let mut starts = Vec::new();
        for _ in 0..8 {
            let store = bare(&database).await;
            starts.push(tokio::spawn(async move { store.apply(&[FIRST, SECOND], START).await }));
        }
        for start in starts {
            start.await.expect("no panic").expect("each starts");
        }
        let store = bare(&database).await;
        assert_eq!(numbers(&store, &APPLIED).await, [1, 2]);
        assert_eq!(numbers(&store, &ROWS).await, [2, 3]);
    }
}

both_engines! {
    fn ours_apply_and_apply_again(store, database) {
        store.migrate(START).await.expect("nothing to do");
        drop(store);
        let _again = database.open().await;
    }
}

// The engines' words differ only where a file says so.
#[tokio::test]
async fn tables_and_columns_are_the_same_on_both() {
    let (sqlite, postgres) = (TestDatabase::new(Engine::Sqlite), TestDatabase::new(Engine::Postgres));
    let _migrated = (sqlite.open().await, postgres.open().await);
    assert_eq!(shape(&sqlite).await, shape(&postgres).await);
}

async fn shape(database: &TestDatabase) -> Vec<(String, String, String, bool)> {
    let store = bare(database).await;
    let rows = store
        .read((), |tx, ()| Box::pin(async move { tx.all(&SHAPE, params![]).await }))
        .await
        .expect("a read");
    let mut shape: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |index| row.get::<String>(index).expect("a text");
            (text(0), text(1), text(2), row.get(3).expect("a truth value"))
        })
        .collect();
    shape.sort();
    shape
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_a_failure() {
    let database = TestDatabase::new(Engine::Sqlite);
    let Database::Sqlite(path) = database.options().database else { panic!("SQLite is a file") };
    let inside_a_file = path.join("curfew.db");
    let _store = database.open().await;
    let refused = Store::open(curfew_store::StoreOptions::sqlite(inside_a_file)).await;
    assert!(matches!(refused, Err(Failure::Storage { .. })), "{refused:?}");
}
