//! What becomes of Actions where a system does not confine their workers.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use curfew_actions::{ActionError, Enforced, Nothing, Pool, PoolConfig, Unconfined, WorkerCommand};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::pool::worker;
use crate::support::{action, execution, that_says, with_packages};

/// What is logged, while a guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        (log, guard)
    }

    fn lines(&self, text: &str) -> usize {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).lines().filter(|line| line.contains(text)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A worker on a system without landlock, which writes down whatever it is told.
fn without_landlock(told: &Path) -> WorkerCommand {
    let ready = r#"{"is":"ready","confinement":{"landlock":"not","seccomp":"fully","limits":"fully"}}"#;
    that_says(&[(ready, b"")], &format!("exec cat > '{}'", told.display()))
}

fn pool(worker: WorkerCommand, unconfined: Unconfined) -> Pool {
    Pool::new(PoolConfig { unconfined, ..PoolConfig::new(worker) }).expect("a pool")
}

#[tokio::test]
async fn a_missing_wall_is_told_out_loud_and_once() {
    let (log, _guard) = Log::listen();
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(without_landlock(&folder.path().join("told")), Unconfined::Run);
    for _ in 0..3 {
        let confinement = pool.confinement().await.expect("it is told");
        assert_eq!((confinement.landlock, confinement.is_whole()), (Enforced::Not, false));
    }
    assert_eq!((log.lines("ACTIONS ARE NOT FULLY CONFINED"), log.lines("landlock=Not")), (1, 1));
}

#[tokio::test]
async fn where_walls_are_demanded_nothing_is_told_to_a_worker_without() {
    let (log, _guard) = Log::listen();
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let refusing = pool(without_landlock(&told), Unconfined::Refuse);
    let refused = |error: &ActionError| {
        let ActionError::NotStarted { reason } = error else { panic!("{error:?}") };
        assert!(reason.contains("could not be fully confined"), "{reason}");
    };
    refused(&refusing.confinement().await.expect_err("it is not whole"));
    // Neither code nor packages come out of here: `cat` would have kept them.
    for program in [action(""), with_packages()] {
        refused(&refusing.run(execution(&program), Arc::new(Nothing)).await.result.expect_err("refused"));
    }
    refusing.close().await;
    assert_eq!(std::fs::read(&told).unwrap_or_default(), b"");
    assert_eq!((log.lines("ACTIONS ARE REFUSED"), log.lines("NOT FULLY CONFINED")), (1, 0));
}

#[tokio::test]
async fn where_walls_are_demanded_and_stand_actions_run() {
    let (log, _guard) = Log::listen();
    let confinement = pool(worker(), Unconfined::Run).confinement().await.expect("it says");
    let demanding = pool(worker(), Unconfined::Refuse);
    let ran = demanding.run(execution(&with_packages()), Arc::new(Nothing)).await.result;
    assert_eq!(ran.is_ok(), confinement.is_whole(), "{ran:?}");
    let told = log.lines("Actions are fully confined");
    assert_eq!(told, if confinement.is_whole() { 2 } else { 0 }, "each pool says it once");
}
