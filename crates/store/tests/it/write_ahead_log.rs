//! The write-ahead log stays near its cap, also beside readers.

use std::path::PathBuf;
use std::time::Duration;

use curfew_store::executor::Database;
use curfew_store::{Engine, Lane, Store, StoreOptions, params};
use curfew_testkit::TestDatabase;

use crate::notes;

const CAP: u64 = 256 << 10;

/// More than one of our writes puts into the log.
const BATCH: u64 = 64 << 10;

struct Log(PathBuf);

impl Log {
    fn bytes(&self) -> u64 {
        std::fs::metadata(&self.0).map_or(0, |file| file.len())
    }
}

async fn open(database: &TestDatabase) -> (Store, Log) {
    let options = StoreOptions { wal_bytes_max: CAP, ..database.options() };
    let Database::Sqlite(path) = &options.database else { panic!("SQLite is a file") };
    let log = Log(PathBuf::from(format!("{}-wal", path.display())));
    (Store::open(options).await.expect("it opens"), log)
}

/// Writes about 10 KB.
async fn write(store: &Store, id: i64) {
    let flow = store.transact(Lane::Ordinary, id, |tx, id| {
        Box::pin(async move { tx.run(&notes::INSERT, params![*id, &"a".repeat(10_000)]).await.map(drop) })
    });
    flow.await.expect("a commit");
}

#[tokio::test]
async fn it_is_emptied_at_its_cap() {
    let database = TestDatabase::new(Engine::Sqlite);
    let (store, log) = open(&database).await;
    notes::create(&store).await;
    let mut largest = 0;
    for id in 0..200 {
        write(&store, id).await;
        assert_eq!(notes::find(&store, id).await.map(|text| text.len()), Some(10_000));
        largest = largest.max(log.bytes());
    }
    // 2 MB went through it. One batch may go over the cap before the writer looks.
    assert!(largest < CAP + BATCH, "{largest} bytes");
}

#[tokio::test]
async fn a_long_reader_only_delays_it() {
    let database = TestDatabase::new(Engine::Sqlite);
    let (store, log) = open(&database).await;
    notes::create(&store).await;
    let Database::Sqlite(path) = database.options().database else { panic!("SQLite is a file") };
    let reader = rusqlite::Connection::open(path).expect("it opens");
    reader.execute_batch("begin; select count(*) from notes;").expect("a snapshot");
    for id in 0..100 {
        write(&store, id).await;
    }
    assert!(log.bytes() > CAP + BATCH, "the snapshot needs what is in the log");
    reader.execute_batch("commit").expect("it lets go");
    // The next attempt comes after at most another megabyte.
    let mut id = 100;
    while log.bytes() > CAP + BATCH {
        write(&store, id).await;
        id += 1;
        assert!(id < 300, "{} bytes after another 2 MB", log.bytes());
    }
    assert_eq!(notes::count(&store).await, id);
}

#[tokio::test]
async fn it_is_copied_back_beside_the_writer() {
    let database = TestDatabase::new(Engine::Sqlite);
    let Database::Sqlite(path) = database.options().database else { panic!("SQLite is a file") };
    // With the cap out of reach, so that whatever is copied was copied in the background.
    let store = Store::open(StoreOptions { wal_bytes_max: u64::MAX, ..database.options() });
    let store = store.await.expect("it opens");
    notes::create(&store).await;
    let observer = rusqlite::Connection::open(path).expect("it opens");
    let copied = || {
        let report = observer.query_row("pragma wal_checkpoint(noop)", [], |row| row.get::<_, i64>(2));
        report.expect("a report that copies nothing itself") > 0
    };
    // Looking takes the lock that copying needs: whoever copies then comes again at a later write, and on a busy
    // machine later still.
    let seen = tokio::time::timeout(Duration::from_secs(30), async {
        for id in 0.. {
            write(&store, id).await;
            if id % 100 == 99 && copied() {
                return;
            }
        }
    });
    assert!(seen.await.is_ok(), "what goes through the log stays there");
}

#[tokio::test]
async fn a_closed_store_leaves_no_log_to_recover() {
    let database = TestDatabase::new(Engine::Sqlite);
    let (store, log) = open(&database).await;
    notes::create(&store).await;
    write(&store, 1).await;
    assert_eq!(notes::count(&store).await, 1);
    assert!(log.bytes() > 0);
    drop(store);
    assert_eq!(log.bytes(), 0);
}
