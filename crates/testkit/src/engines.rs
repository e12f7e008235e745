//! Stores of both engines, one empty database per test.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use curfew_model::{Entropy, SystemEntropy, Timestamp};
use curfew_store::{Engine, Store, StoreOptions};
use tempfile::TempDir;

use crate::postgres::TestPostgres;

/// The instant at which tests begin: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

/// A database of one test: a file in a temporary folder, or a schema on the run's PostgreSQL server. Dropping it
/// removes it.
#[derive(Debug)]
pub struct TestDatabase {
    options: StoreOptions,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder { _folder: TempDir },
    Schema { url: String, schema: String },
}

impl TestDatabase {
    /// An empty database.
    pub fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let folder = folder();
                let options = StoreOptions::sqlite(folder.path().join("curfew.db"));
                Self { options, place: Place::Folder { _folder: folder } }
            }
            Engine::Postgres => {
                let url = TestPostgres::start().url().to_owned();
                let entropy: &dyn Entropy = &SystemEntropy;
                let schema = format!("test_{}", entropy.hex(16));
                on_server(&url, format!("create schema {schema}"));
                let options =
                    StoreOptions { schema: Some(schema.clone()), ..StoreOptions::postgres(url.clone()) };
                Self { options, place: Place::Schema { url, schema } }
            }
        }
    }

    /// What [`Store::open`] takes to open it; change the bounds at will.
    pub fn options(&self) -> StoreOptions {
        self.options.clone()
    }

    /// Opens it and brings its schema up to date. May be called again: that is a restart, or a second node.
    pub async fn open(&self) -> Store {
        let store = Store::open(self.options()).await.expect("the database opens");
        store.migrate(START).await.expect("the migrations apply");
        store
    }
}

/// A folder in memory, if the system has such a place: each COMMIT waits for its sync as always, but not for a disk
/// that other tests keep busy. Whether a sync reaches the disk is not what these tests can show.
fn folder() -> TempDir {
    const PREFIX: &str = "curfew-test-";
    TempDir::with_prefix_in(PREFIX, "/dev/shm")
        .or_else(|_| TempDir::with_prefix(PREFIX))
        .expect("a temporary folder")
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Place::Schema { url, schema } = &self.place {
            // What goes wrong here is the server's end, and the schema's with it.
            let (url, sql) = (url.clone(), format!("drop schema if exists {schema} cascade"));
            let _ = catch_unwind(AssertUnwindSafe(|| on_server(&url, sql)));
        }
    }
}

/// Runs a statement on a connection of its own, and on a thread of its own, so that it may be called from anywhere.
fn on_server(url: &str, sql: String) {
    let url = url.to_owned();
    let run = std::thread::spawn(move || {
        runtime().block_on(async move {
            let (client, connection) =
                tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the test server answers");
            tokio::spawn(connection);
            client.batch_execute(&sql).await.expect("the statement runs");
        });
    });
    run.join().expect("the test server's statement");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Runs a test's body with an empty database of `engine`.
pub fn with_database<B, F>(engine: Engine, body: B)
where
    B: FnOnce(TestDatabase) -> F,
    F: Future<Output = TestDatabase>,
{
    let database = TestDatabase::new(engine);
    let ran = catch_unwind(AssertUnwindSafe(|| runtime().block_on(body(database))));
    if let Err(panic) = ran {
        resume_unwind(panic);
    }
}

/// Declares tests that run on both engines.
///
/// `fn name(store) { … }` becomes the tests `name::sqlite` and `name::postgres`; the body is asynchronous and gets
/// a migrated [`Store`]. With `fn name(store, database)` it also gets the [`TestDatabase`], to open it once more.
#[macro_export]
macro_rules! both_engines {
    ($($(#[$attribute:meta])* fn $name:ident($store:ident $(, $database:ident)?) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn body($store: ::curfew_store::Store, database: &$crate::TestDatabase) {
                $(let $database = database;)?
                let _ = database;
                $body
            }

            async fn test(database: $crate::TestDatabase) -> $crate::TestDatabase {
                let store = database.open().await;
                ::std::boxed::Box::pin(body(store, &database)).await;
                database
            }

            #[test]
            fn sqlite() {
                $crate::engines::with_database(::curfew_store::Engine::Sqlite, test);
            }

            #[test]
            fn postgres() {
                $crate::engines::with_database(::curfew_store::Engine::Postgres, test);
            }
        }
    )*};
}
