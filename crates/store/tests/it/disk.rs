//! What happens when the disk fails under a COMMIT.
//!
//! The test starts itself a second time, in a process that may write no file beyond a size, and that ignores the
//! signal for trying: so its writes fail with EFBIG, which SQLite reports as an I/O error.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use curfew_store::executor::Database;
use curfew_store::{Engine, Lane, Store, StoreOptions, params};
use curfew_testkit::TestDatabase;

use crate::notes;

const FILE: &str = "CURFEW_TEST_DISK_FILE";
const SIGABRT: i32 = 6;

#[tokio::test]
async fn an_io_error_at_commit_ends_the_process() {
    if let Ok(file) = std::env::var(FILE) {
        return write_until_the_disk_fails(&file).await;
    }
    let database = TestDatabase::new(Engine::Sqlite);
    notes::create(&database.open().await).await;
    let Database::Sqlite(path) = database.options().database else { panic!("SQLite is a file") };
    let ended = Command::new("sh")
        // In units of 512 bytes by POSIX, of 1024 in some shells: 1 or 2 MB.
        .args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" --nocapture --exact disk::an_io_error_at_commit_ends_the_process"])
        .arg(std::env::current_exe().expect("a program"))
        .env(FILE, &path)
        .output()
        .expect("sh");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{said}");
    // What was acknowledged before is there, and what failed was not acknowledged.
    let acknowledged = said.lines().filter(|line| line.contains("acknowledged")).count();
    assert!(acknowledged > 0, "{said}");
    assert!(!said.contains("refused"), "{said}");
    let store = database.open().await;
    assert_eq!(usize::try_from(notes::count(&store).await), Ok(acknowledged));
}

async fn write_until_the_disk_fails(file: &str) {
    // A log that is never emptied, so that it is the COMMIT that meets the limit.
    let options = StoreOptions { wal_bytes_max: u64::MAX, ..StoreOptions::sqlite(file) };
    let store = Store::open(options).await.expect("it opens");
    for id in 0..1000 {
        let flow = store.transact(Lane::Ordinary, id, |tx, id| {
            Box::pin(
                async move { tx.run(&notes::INSERT, params![*id, &"a".repeat(100_000)]).await.map(drop) },
            )
        });
        match flow.await {
            Ok(()) => eprintln!("acknowledged {id}"),
            Err(failure) => eprintln!("refused {id}: {failure:?}"),
        }
    }
}
