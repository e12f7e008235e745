//! SQLite: one writer thread that commits for many, and read-only connections beside it.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use curfew_model::Failure;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Door, Lane, StoreOptions, Tx, Work, after_failure};
use crate::row::Row;
use crate::statement::Statement;
use crate::value::Value;

/// Prepared statements kept per connection: more than the store has, so that none is prepared twice.
const STATEMENTS_KEPT: usize = 512;

/// Page cache of the writer and of each reader, in KiB. The operating system caches the file as well; this only
/// saves system calls for the inner pages of the trees.
const CACHE_KIB: u32 = 2048;

/// From this size of the write-ahead log on, pages are copied back in the background, so that the writer finds
/// little left to do when it empties the log.
const WAL_BACKGROUND_BYTES: u64 = 2 << 20;

/// Least time between two background copies: each costs two fsyncs that the writer's COMMITs compete with.
const WAL_BACKGROUND_PAUSE: Duration = Duration::from_millis(500);

/// A page in the log: SQLite's page and its header.
const LOG_PAGE_BYTES: u64 = 4096 + 24;

/// How long the writer waits for readers (which are short) when it empties the log. Flows wait meanwhile.
const WAL_EMPTY_WAIT: Duration = Duration::from_millis(20);

/// After an emptying that a reader prevented, the log may grow this much before the next attempt.
const WAL_RETRY_BYTES: u64 = 1 << 20;

/// Seconds for `Retry-After`: a full queue is worked off in less.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A flow that waits for the writer.
pub(super) trait Job: Send {
    /// Runs it inside the batch's transaction.
    fn run(&mut self, tx: &mut Tx) -> Result<(), Failure>;
    /// Hands its value, or the failure, to who waits.
    fn answer(self: Box<Self>, outcome: Result<(), Failure>);
}

/// The embedded database.
pub(super) struct Sqlite {
    readers: Readers,
    long_reads: Arc<Semaphore>,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
    copier: Option<JoinHandle<()>>,
    background: Arc<Background>,
}

impl Sqlite {
    pub(super) fn open(path: &Path, options: &StoreOptions) -> Result<Self, Failure> {
        // The writer comes first: it makes the file and its log, which read-only connections cannot.
        let mut writer = connect(path, Door::Transact, options.wait)?;
        let log_pages = Arc::new(AtomicU32::new(0));
        watch_log(connection_mut(&mut writer), Arc::clone(&log_pages), options.wal_bytes_max)
            .map_err(|error| failure("open", error))?;
        let readers = Readers {
            path: path.to_owned(),
            wait: options.wait,
            kept_max: options.readers,
            idle: Mutex::new(vec![connect(path, Door::Read, options.wait)?]),
        };
        let queue = Arc::new(Queue {
            lanes: Mutex::new(Lanes::default()),
            filled: Condvar::new(),
            ordinary_max: options.queue_max,
            endings_max: options.endings_queue_max,
        });
        let background = Arc::new(Background::default());
        let copier = connect(path, Door::Transact, Duration::ZERO)?;
        let writer = Writer {
            tx: writer,
            queue: Arc::clone(&queue),
            background: Arc::clone(&background),
            batch_max: options.batch_max.max(1),
            wait: options.wait,
            log_pages,
            wal_bytes_max: options.wal_bytes_max,
            wal_empty_at: options.wal_bytes_max,
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|error| Failure::storage("start a thread", error))
        };
        let mut sqlite = Self {
            readers,
            long_reads: Arc::new(Semaphore::new(options.readers.max(1))),
            queue,
            writer: None,
            copier: None,
            background: Arc::clone(&background),
        };
        sqlite.writer = Some(spawn("sqlite-writer", Box::new(move || writer.work()))?);
        sqlite.copier = Some(spawn("sqlite-copier", Box::new(move || background.work(copier)))?);
        Ok(sqlite)
    }

    pub(super) fn submit(&self, lane: Lane, job: Box<dyn Job>) -> Result<(), Failure> {
        self.queue.push(lane, job)
    }

    pub(super) fn read(&self, work: &mut dyn Work) -> Result<(), Failure> {
        let mut tx = self.readers.take()?;
        let outcome = work.run_now(&mut tx);
        let failed = std::mem::take(&mut tx.failed);
        self.readers.put(tx);
        if outcome.is_ok() && failed { Err(after_failure()) } else { outcome }
    }

    /// Waits for room among the reads that have a thread of their own.
    pub(super) async fn long_read(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let permit = Arc::clone(&self.long_reads).acquire_owned();
        match tokio::time::timeout(self.readers.wait, permit).await {
            Ok(permit) => permit.map_err(|error| Failure::storage("read", error)),
            Err(_) => Err(busy()),
        }
    }
}

/// Works off what is queued, so that nothing that was accepted is lost, and closes the file.
impl Drop for Sqlite {
    fn drop(&mut self) {
        // The connection that closes last empties the log, so that the next start has nothing to recover: not a
        // reader, which cannot, nor two at once, which keep each other from it.
        lock(&self.readers.idle).clear();
        self.background.close();
        let join = |thread: Option<JoinHandle<()>>| {
            // The last clone of a store may be an argument of a flow, and then this is the writer itself.
            if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            {
                let _ = thread.join();
            }
        };
        join(self.copier.take());
        self.queue.close();
        join(self.writer.take());
    }
}

fn busy() -> Failure {
    Failure::Busy { what: "storage", retry_after_seconds: RETRY_AFTER_SECONDS }
}

fn connect(path: &Path, door: Door, wait: Duration) -> Result<Tx, Failure> {
    let access = match door {
        Door::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Door::Transact | Door::Command => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let open = || {
        let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(wait)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // Plans do not depend on bound values: without this guarantee SQLite compiles a statement anew at every
        // execution whose values might suit another plan.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        if door != Door::Read {
            connection.execute_batch("pragma journal_mode = wal")?;
        }
        // FULL: a COMMIT returns only after its fsync. The log is copied back by us alone, not by whoever commits.
        // Savepoints keep their before-images in memory, not in temporary files.
        connection.execute_batch(&format!(
            "pragma synchronous = full; pragma wal_autocheckpoint = 0; pragma temp_store = memory; \
             pragma cache_size = -{CACHE_KIB}; pragma trusted_schema = off;"
        ))?;
        Ok(connection)
    };
    let connection = open().map_err(|error| failure("open", error))?;
    Ok(Tx::new(super::Session::Sqlite(Session { connection, door })))
}

/// One connection, as a flow sees it.
pub(super) struct Session {
    connection: Connection,
    door: Door,
}

impl Session {
    pub(super) fn door(&self) -> Door {
        self.door
    }

    pub(super) fn rows(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let fail = |error| failure(statement.name, error);
        let mut prepared = self.bind(statement, params)?;
        let columns = prepared.column_count();
        let mut cursor = prepared.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = cursor.next().map_err(fail)? {
            rows.push(Row::sqlite(statement, row, columns).ok_or_else(|| Failure::Inconsistent {
                table: statement.name,
                column: "*",
                id: String::from("a float, or a text that is not UTF-8"),
            })?);
        }
        Ok(rows)
    }

    pub(super) fn run(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<u64, Failure> {
        let changed = self.bind(statement, params)?.raw_execute();
        changed.map(|rows| rows as u64).map_err(|error| failure(statement.name, error))
    }

    pub(super) fn prepare(&mut self, statement: &'static Statement) -> Result<(), Failure> {
        self.connection
            .prepare_cached(statement.for_sqlite())
            .map(drop)
            .map_err(|error| failure(statement.name, error))
    }

    pub(super) fn script(&mut self, sql: &str) -> Result<(), Failure> {
        self.connection.execute_batch(sql).map_err(|error| failure("script", error))
    }

    fn bind(
        &self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<rusqlite::CachedStatement<'_>, Failure> {
        let fail = |error| failure(statement.name, error);
        let mut prepared = self.connection.prepare_cached(statement.for_sqlite()).map_err(fail)?;
        if prepared.parameter_count() != params.len() {
            return Err(Failure::Internal(
                format!(
                    "{} takes {} parameters and was given {}",
                    statement.name,
                    prepared.parameter_count(),
                    params.len()
                )
                .into(),
            ));
        }
        for (index, value) in params.iter().enumerate() {
            prepared.raw_bind_parameter(index + 1, value).map_err(fail)?;
        }
        Ok(prepared)
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(value) => ValueRef::Integer(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn failure(context: &'static str, error: rusqlite::Error) -> Failure {
    match error.sqlite_error() {
        Some(error)
            if matches!(
                error.extended_code,
                ffi::SQLITE_CONSTRAINT_UNIQUE
                    | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                    | ffi::SQLITE_CONSTRAINT_ROWID
            ) =>
        {
            Failure::Conflict
        }
        Some(error) if is_contention(error) => Failure::Contention,
        _ => Failure::storage(context, error),
    }
}

fn is_contention(error: &ffi::Error) -> bool {
    matches!(error.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
}

/// The read-only connections.
struct Readers {
    path: PathBuf,
    wait: Duration,
    kept_max: usize,
    idle: Mutex<Vec<Tx>>,
}

impl Readers {
    /// An idle connection, or a new one: a read never waits for another. There are never more than threads that
    /// read at once: the runtime's workers, and as many long reads as are let in.
    fn take(&self) -> Result<Tx, Failure> {
        let idle = lock(&self.idle).pop();
        idle.map_or_else(|| connect(&self.path, Door::Read, self.wait), Ok)
    }

    fn put(&self, tx: Tx) {
        let mut idle = lock(&self.idle);
        if idle.len() < self.kept_max.max(1) {
            idle.push(tx);
        }
    }
}

/// A lock whose holder panicked guards nothing here that could be half done: queues and lists of connections.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What waits for the writer: two lanes, each bounded.
struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    ordinary_max: usize,
    endings_max: usize,
}

#[derive(Default)]
struct Lanes {
    endings: VecDeque<Box<dyn Job>>,
    ordinary: VecDeque<Box<dyn Job>>,
    closed: bool,
}

impl Lanes {
    fn pop(&mut self) -> Option<(Lane, Box<dyn Job>)> {
        let ending = self.endings.pop_front().map(|job| (Lane::Endings, job));
        ending.or_else(|| self.ordinary.pop_front().map(|job| (Lane::Ordinary, job)))
    }
}

impl Queue {
    fn push(&self, lane: Lane, job: Box<dyn Job>) -> Result<(), Failure> {
        let mut lanes = lock(&self.lanes);
        let (queue, max) = match lane {
            Lane::Endings => (&mut lanes.endings, self.endings_max),
            Lane::Ordinary => (&mut lanes.ordinary, self.ordinary_max),
        };
        if queue.len() >= max {
            return Err(busy());
        }
        queue.push_back(job);
        drop(lanes);
        self.filled.notify_one();
        Ok(())
    }

    /// The next job, endings first; `None` when the store is closed and everything is done.
    fn wait(&self) -> Option<(Lane, Box<dyn Job>)> {
        let mut lanes = lock(&self.lanes);
        loop {
            if let Some(next) = lanes.pop() {
                return Some(next);
            }
            if lanes.closed {
                return None;
            }
            lanes = self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn try_pop(&self) -> Option<Box<dyn Job>> {
        lock(&self.lanes).pop().map(|(_, job)| job)
    }

    fn close(&self) {
        lock(&self.lanes).closed = true;
        self.filled.notify_all();
    }
}

/// The writer thread's own.
struct Writer {
    tx: Tx,
    queue: Arc<Queue>,
    background: Arc<Background>,
    batch_max: usize,
    wait: Duration,
    /// Pages in the log after the last COMMIT.
    log_pages: Arc<AtomicU32>,
    wal_bytes_max: u64,
    /// At which size of the log the next emptying is tried.
    wal_empty_at: u64,
}

impl Writer {
    fn work(mut self) {
        // Flows are caught on their own. What panics here is the writer, between BEGIN and the answers: nobody
        // could say what is committed, and everybody would wait forever.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            while let Some((lane, first)) = self.queue.wait() {
                if lane == Lane::Ordinary {
                    // Where others wait for this core, they bring more flows before this batch is begun, and one
                    // sync of the disk is for all of them; where nobody does, this returns at once.
                    std::thread::yield_now();
                }
                self.batch(first);
                self.tend_log();
            }
        }));
        if worked.is_err() {
            die("SQLite's writer panicked");
        }
    }

    /// Runs what waits, up to the batch's bound, in one transaction, and answers when it is committed.
    ///
    /// Each flow has a savepoint of its own, so that a failing one takes nothing else with it. Endings that come
    /// in meanwhile are next.
    fn batch(&mut self, first: Box<dyn Job>) {
        if let Err(error) = self.execute("begin immediate") {
            // Another process holds the write lock for longer than we wait. What waits has waited as long. Taken
            // out first: who is answered may come again at once, and has not waited then.
            let mut waiting = vec![first];
            while waiting.len() < self.batch_max {
                let Some(job) = self.queue.try_pop() else { break };
                waiting.push(job);
            }
            waiting.into_iter().for_each(|job| job.answer(Err(again("begin", &error))));
            return;
        }
        let mut done: Vec<(Box<dyn Job>, Result<(), Failure>)> = Vec::new();
        let mut next = Some(first);
        while let Some(mut job) = next {
            let outcome = self.in_savepoint(&mut *job);
            let lost = self.connection().is_autocommit();
            done.push((job, outcome));
            if lost {
                // SQLite rolls the whole transaction back by itself after some errors (a full disk, no memory,
                // OR ROLLBACK). Everything that ran in it is gone, also what had answered well.
                for (job, outcome) in done {
                    job.answer(outcome.and_then(|()| Err(rolled_back())));
                }
                return;
            }
            next = if done.len() < self.batch_max { self.queue.try_pop() } else { None };
        }
        match self.commit() {
            Ok(()) => done.into_iter().for_each(|(job, outcome)| job.answer(outcome)),
            Err(error) => {
                let rolled_back = self.execute("rollback");
                if rolled_back.is_err() && !self.connection().is_autocommit() {
                    die("SQLite can neither commit nor roll back");
                }
                for (job, outcome) in done {
                    job.answer(outcome.and_then(|()| Err(again("commit", &error))));
                }
            }
        }
    }

    fn in_savepoint(&mut self, job: &mut dyn Job) -> Result<(), Failure> {
        self.execute("savepoint flow").map_err(|error| failure("savepoint", error))?;
        let mut outcome = job.run(&mut self.tx);
        if std::mem::take(&mut self.tx.failed) && outcome.is_ok() {
            outcome = Err(after_failure());
        }
        if self.connection().is_autocommit() {
            return outcome;
        }
        let left = match &outcome {
            Ok(()) => self.execute("release flow"),
            Err(_) => self.execute("rollback to flow").and_then(|()| self.execute("release flow")),
        };
        match left {
            Ok(()) => outcome,
            Err(error) => {
                // The savepoint's work can neither be kept nor taken back alone.
                let _ = self.execute("rollback");
                outcome.and_then(|()| Err(failure("savepoint", error)))
            }
        }
    }

    fn commit(&self) -> Result<(), rusqlite::Error> {
        let committed = self.execute("commit");
        if let Err(error) = &committed {
            die_of_io("COMMIT", error);
        }
        committed
    }

    /// Keeps the write-ahead log near its cap.
    ///
    /// RESTART and not TRUNCATE: a file that keeps its size is overwritten in place, and syncing it writes no new
    /// size. For one client that was three times as many commits a second, at half the processor time.
    fn tend_log(&mut self) {
        let bytes = u64::from(self.log_pages.load(Ordering::Relaxed)) * LOG_PAGE_BYTES;
        if bytes >= self.wal_empty_at {
            let _ = self.connection().busy_timeout(WAL_EMPTY_WAIT);
            let emptied = checkpoint(self.connection(), "restart");
            let _ = self.connection().busy_timeout(self.wait);
            self.wal_empty_at =
                if emptied { self.wal_bytes_max } else { bytes.saturating_add(WAL_RETRY_BYTES) };
        } else if bytes >= WAL_BACKGROUND_BYTES.min(self.wal_bytes_max) {
            self.background.ask();
        }
    }

    fn connection(&self) -> &Connection {
        connection(&self.tx)
    }

    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection().prepare_cached(sql)?.raw_execute().map(drop)
    }
}

#[expect(
    clippy::unreachable,
    reason = "`connect` makes SQLite sessions only, and everything here comes from it"
)]
fn connection(tx: &Tx) -> &Connection {
    match &tx.session {
        super::Session::Sqlite(session) => &session.connection,
        super::Session::Postgres(_) => unreachable!("a PostgreSQL session on SQLite's threads"),
    }
}

#[expect(
    clippy::unreachable,
    reason = "`connect` makes SQLite sessions only, and everything here comes from it"
)]
fn connection_mut(tx: &mut Tx) -> &mut Connection {
    match &mut tx.session {
        super::Session::Sqlite(session) => &mut session.connection,
        super::Session::Postgres(_) => unreachable!("a PostgreSQL session on SQLite's threads"),
    }
}

fn rolled_back() -> Failure {
    Failure::storage("the batch was rolled back", "another flow's error ended the shared transaction")
}

/// The batch's failure, for each of its flows.
fn again(context: &'static str, error: &rusqlite::Error) -> Failure {
    if error.sqlite_error().is_some_and(is_contention) {
        Failure::Contention
    } else {
        Failure::storage(context, error.to_string())
    }
}

/// Ends the process when the disk failed under a COMMIT or a copy back: whether it is durable is unknown, a second
/// fsync may say yes without having written, and only a start from what the disk really holds is sound.
fn die_of_io(context: &str, error: &rusqlite::Error) {
    if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
        tracing::error!(%error, context, "the disk failed");
        die("the disk failed under SQLite");
    }
}

/// Ends the process, so that the next start goes on from what the disk holds.
fn die(why: &str) -> ! {
    tracing::error!("{why}; the process ends");
    std::process::abort();
}

/// Has the size of the log noted at each COMMIT, and its file cut to `bytes_max` whenever it begins anew.
fn watch_log(connection: &mut Connection, pages: Arc<AtomicU32>, bytes_max: u64) -> rusqlite::Result<()> {
    connection.wal_hook(Some(move |_: &mut Wal, count: c_int| {
        pages.store(u32::try_from(count).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }))?;
    connection
        .execute_batch(&format!("pragma journal_size_limit = {}", i64::try_from(bytes_max).unwrap_or(-1)))
}

/// Copies the log back; answers whether it was emptied, or copied whole.
fn checkpoint(connection: &Connection, mode: &str) -> bool {
    let sql = format!("pragma wal_checkpoint({mode})");
    match connection.query_row(&sql, [], |row| row.get::<_, i64>(0)) {
        Ok(busy) => busy == 0,
        Err(error) => {
            die_of_io("checkpoint", &error);
            if !error.sqlite_error().is_some_and(is_contention) {
                tracing::warn!(%error, "the write-ahead log could not be copied back");
            }
            false
        }
    }
}

/// Copies the log back beside the writer. It sleeps until asked: an idle server wakes for nothing.
#[derive(Default)]
struct Background {
    /// Read without the lock by the writer after each batch.
    asked: AtomicBool,
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Background {
    fn ask(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            let _closed = lock(&self.closed);
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        *lock(&self.closed) = true;
        self.changed.notify_all();
    }

    fn work(&self, tx: Tx) {
        loop {
            let mut closed = lock(&self.closed);
            while !*closed && !self.asked.load(Ordering::Acquire) {
                closed = self.changed.wait(closed).unwrap_or_else(PoisonError::into_inner);
            }
            if *closed {
                return;
            }
            drop(closed);
            checkpoint(connection(&tx), "passive");
            let closed = lock(&self.closed);
            let (closed, _) = self
                .changed
                .wait_timeout_while(closed, WAL_BACKGROUND_PAUSE, |closed| !*closed)
                .unwrap_or_else(PoisonError::into_inner);
            if *closed {
                return;
            }
            drop(closed);
            self.asked.store(false, Ordering::Release);
        }
    }
}
