//! How flows reach a database, and what holds when they come back.
//!
//! Promises, the same on both engines:
//! - A value of [`Store::transact`] or [`Store::command`] leaves only after its COMMIT is durable.
//! - A flow that answers `Err`, panics, or answers `Ok` after one of its statements had failed leaves nothing behind.
//! - A read that begins after a commit was answered sees it.
//! - What waits is bounded in number, and on PostgreSQL in time as well; endings wait in a lane of their own.
//!
//! A flow may run more than once (PostgreSQL retries on 40001 and 40P01), so it is `Fn`, and draws what must not
//! differ between runs (keys, instants) beforehand, into its arguments. A dropped future of [`Store::transact`]
//! rolls back on PostgreSQL, unless COMMIT was already sent; on SQLite a flow that was queued runs to its end.

mod postgres;
mod sqlite;
mod tls;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use curfew_model::{Failure, Secret};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::row::Row;
use crate::statement::Statement;
use crate::value::Value;

/// Which database is behind a [`Store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// In the process: a file in the data folder.
    Sqlite,
    /// A server beside it.
    Postgres,
}

/// In which queue a writing flow waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Endings: prior to everything else, with room of their own, so that ending access works while everything else is full.
    Endings,
    /// Everything else.
    Ordinary,
}

/// Where the database is, and the bounds of the executor.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Where the database is.
    pub database: Database,
    /// SQLite: connections kept open for reads. 1 to 64; default one per core.
    pub readers: usize,
    /// Most flows that wait in [`Lane::Ordinary`]. One more is answered [`Failure::Busy`].
    pub queue_max: usize,
    /// Most flows that wait in [`Lane::Endings`].
    pub endings_queue_max: usize,
    /// SQLite: most flows that share one COMMIT.
    pub batch_max: usize,
    /// SQLite: the write-ahead log's size in bytes at which the writer empties it.
    pub wal_bytes_max: u64,
    /// How long to wait for a write lock that another process holds (SQLite), or for a free connection (PostgreSQL).
    pub wait: Duration,
    /// PostgreSQL: most open connections. At least 2: some are kept for endings.
    pub connections: usize,
    /// PostgreSQL: `statement_timeout`.
    pub statement_timeout: Duration,
    /// PostgreSQL: the schema to live in; `None` is the role's own `search_path`.
    pub schema: Option<String>,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Database {
    /// A file; it is made when absent, its folder is not.
    Sqlite(PathBuf),
    /// A connection string, `postgres://user:password@host/database` or key and value pairs. With `sslmode=require`
    /// (or stricter) the server's certificate is checked, with its name, against the file `sslrootcert`, or against
    /// the system's authorities.
    Postgres(Secret<String>),
}

impl StoreOptions {
    /// SQLite in the file `path`.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::new(Database::Sqlite(path.into()))
    }

    /// PostgreSQL at `url`.
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::new(Database::Postgres(Secret::new(url.into())))
    }

    fn new(database: Database) -> Self {
        Self {
            database,
            // A read occupies a thread of the runtime while it runs, and there is one per core.
            readers: std::thread::available_parallelism().map_or(2, usize::from).min(64),
            // At the 7,000 flows a second of a slow disk a full queue is a third of a second's work: who waits
            // longer is better served by 503.
            queue_max: 2048,
            // Endings are rarer by orders; this many at once is already an administrator's script.
            endings_queue_max: 1024,
            // Beyond 256 a batch gains nothing more from sharing its fsync, but the first in it waits longer.
            batch_max: 256,
            // A larger log slows every read (four times at 64 MB) and makes the stall of emptying it longer.
            wal_bytes_max: 8 << 20,
            wait: Duration::from_secs(5),
            // More only makes PostgreSQL's processes take turns; 32 saturated a two-core server.
            connections: 32,
            statement_timeout: Duration::from_secs(10),
            schema: None,
        }
    }
}

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    backend: Arc<Backend>,
    endings: Arc<Endings>,
}

/// Who is told that an ending was committed. Only a hint: what was missed is found by looking.
#[derive(Debug)]
struct Endings {
    /// Counts commits of this process that wrote endings.
    own: watch::Sender<u64>,
    /// Counts those, and what was heard of other nodes'.
    any: watch::Sender<u64>,
}

impl Endings {
    fn written(&self) {
        self.own.send_modify(|count| *count += 1);
        self.any.send_modify(|count| *count += 1);
    }
}

enum Backend {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("engine", &self.engine()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database.
    ///
    /// Failure: [`Failure::Storage`] when it cannot be reached or opened, when PostgreSQL runs with
    /// `synchronous_commit` off (an answer would leave before its commit is durable), when it is a standby, or
    /// when the connection string asks for something that is not supported.
    pub async fn open(options: StoreOptions) -> Result<Self, Failure> {
        let backend = match &options.database {
            Database::Sqlite(path) => {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || sqlite::Sqlite::open(&path, &options)).await;
                Backend::Sqlite(opened.map_err(|error| Failure::storage("open", error))??)
            }
            Database::Postgres(url) => Backend::Postgres(postgres::Postgres::open(url, &options).await?),
        };
        let endings = Arc::new(Endings { own: watch::Sender::new(0), any: watch::Sender::new(0) });
        Ok(Self { backend: Arc::new(backend), endings })
    }

    /// Changes soon after an ending, or a change that streams hear of, was committed: at once for those of this process, for other nodes' while
    /// [`tell_other_nodes`](Self::tell_other_nodes) runs here and there. A change may be missed, and may come for
    /// nothing: whoever must not miss an ending looks as well.
    pub fn endings_written(&self) -> watch::Receiver<u64> {
        self.endings.any.subscribe()
    }

    /// Tells other nodes of this process's endings and hears of theirs, by LISTEN and NOTIFY, until it is dropped.
    /// NOTIFY is no part of an ending's own transaction: it would let all of them commit one after the other. On
    /// SQLite there are no other nodes.
    pub async fn tell_other_nodes(&self) {
        match &*self.backend {
            Backend::Sqlite(_) => std::future::pending().await,
            Backend::Postgres(postgres) => {
                let endings = &*self.endings;
                postgres
                    .tell_other_nodes(endings.own.subscribe(), || endings.any.send_modify(|n| *n += 1))
                    .await;
            }
        }
    }

    /// Which engine it is.
    pub fn engine(&self) -> Engine {
        match &*self.backend {
            Backend::Sqlite(_) => Engine::Sqlite,
            Backend::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs a flow that only reads.
    ///
    /// On SQLite it runs on the calling thread, on one of the read-only connections, so it is for point reads; on
    /// PostgreSQL each statement is a transaction of its own, on the primary. Two statements of one flow may see
    /// different states on either engine.
    pub async fn read<A, T, F>(&self, args: A, flow: F) -> Result<T, Failure>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
    {
        let mut work = Flow::new(args, flow);
        match &*self.backend {
            Backend::Sqlite(sqlite) => sqlite.read(&mut work)?,
            Backend::Postgres(postgres) => postgres.autocommit(Door::Read, Lane::Ordinary, &mut work).await?,
        }
        work.into_value()
    }

    /// Runs a flow that reads many rows: as [`read`](Self::read), but on SQLite it runs on a thread for blocking
    /// work, so that the runtime's threads stay free.
    pub async fn read_long<A, T, F>(&self, args: A, flow: F) -> Result<T, Failure>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
    {
        match &*self.backend {
            Backend::Postgres(_) => self.read(args, flow).await,
            Backend::Sqlite(sqlite) => {
                let permit = sqlite.long_read().await?;
                let backend = Arc::clone(&self.backend);
                let read = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    let mut work = Flow::new(args, flow);
                    if let Backend::Sqlite(sqlite) = &*backend {
                        sqlite.read(&mut work)?;
                    }
                    work.into_value()
                });
                read.await.map_err(|error| Failure::storage("read_long", error))?
            }
        }
    }

    /// Runs a flow in a transaction: `Ok` commits (a refusal is a value), `Err` rolls back.
    ///
    /// A statement that failed cannot be mended inside the flow: `Ok` after it is [`Failure::Internal`].
    ///
    /// Failure: what the flow answered; [`Failure::Busy`] when the queue is full; [`Failure::Contention`] when
    /// the database could not order the writers, also not after the retries; [`Failure::Conflict`] for a
    /// uniqueness rule; [`Failure::UnknownCommit`] when the connection broke at COMMIT (it is not run again);
    /// [`Failure::Internal`] when the flow panicked or waited for anything but the database.
    pub async fn transact<A, T, F>(&self, lane: Lane, args: A, flow: F) -> Result<T, Failure>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
    {
        self.write(Door::Transact, lane, args, flow).await
    }

    /// Runs a hot flow: one statement that writes, last, after as many as it needs that only read. On PostgreSQL each
    /// is one round trip and commits by itself; anything after the one that writes is [`Failure::Internal`].
    ///
    /// So what a flow decided by its reads may have changed when it writes: what must not have changed stands in the
    /// condition of the statement that writes. (On SQLite the flow has the database to itself, as in a transaction.)
    ///
    /// After an unknown outcome the flow runs again: a command stores its request's id in the row it wins, and a
    /// run that finds its own id there answers as the winner. [`Failure::UnknownCommit`] comes only when that
    /// failed as well.
    pub async fn command<A, T, F>(&self, lane: Lane, args: A, flow: F) -> Result<T, Failure>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
    {
        self.write(Door::Command, lane, args, flow).await
    }

    async fn write<A, T, F>(&self, door: Door, lane: Lane, args: A, flow: F) -> Result<T, Failure>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync + 'static,
    {
        let mut work = Flow::new(args, flow);
        match &*self.backend {
            Backend::Sqlite(sqlite) => {
                let (answer, answered) = tokio::sync::oneshot::channel();
                let endings = Arc::clone(&self.endings);
                sqlite.submit(lane, Box::new(Job { work, answer, endings }))?;
                answered.await.unwrap_or_else(|_| {
                    Err(Failure::storage("the writer has stopped", "the store was closed"))
                })
            }
            Backend::Postgres(postgres) => {
                match door {
                    Door::Transact => postgres.transact(lane, &mut work).await?,
                    Door::Command | Door::Read => postgres.autocommit(door, lane, &mut work).await?,
                }
                if work.ended {
                    self.endings.written();
                }
                work.into_value()
            }
        }
    }
}

/// By which door a flow came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Read,
    Transact,
    Command,
}

/// A flow without its types, so that the executors are compiled once and not once per flow.
trait Work: Send {
    /// Runs the flow and keeps its value.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), Failure>>;

    /// As `run`, for an engine that never waits: the flow is polled exactly once.
    fn run_now(&mut self, tx: &mut Tx) -> Result<(), Failure>;
}

struct Flow<A, T, F> {
    args: A,
    flow: F,
    value: Option<T>,
    /// Its last run wrote an ending.
    ended: bool,
}

impl<A, T, F> Flow<A, T, F> {
    fn new(args: A, flow: F) -> Self {
        Self { args, flow, value: None, ended: false }
    }

    fn into_value(self) -> Result<T, Failure> {
        self.value.ok_or_else(|| Failure::Internal("a flow ended without a value".into()))
    }
}

fn panicked() -> Failure {
    Failure::Internal("a flow panicked".into())
}

impl<A, T, F> Work for Flow<A, T, F>
where
    A: Send + Sync,
    T: Send,
    F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync,
{
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            // The call itself may panic as well, before there is a future.
            let ran = AssertUnwindSafe(async { (self.flow)(tx, &self.args).await }).catch_unwind().await;
            self.ended = std::mem::take(&mut tx.ended);
            self.value = Some(ran.unwrap_or_else(|_| Err(panicked()))?);
            Ok(())
        })
    }

    fn run_now(&mut self, tx: &mut Tx) -> Result<(), Failure> {
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
            (self.flow)(tx, &self.args).poll_unpin(&mut Context::from_waker(Waker::noop()))
        }));
        self.ended = std::mem::take(&mut tx.ended);
        self.value = Some(match ran {
            Ok(Poll::Ready(outcome)) => outcome?,
            Ok(Poll::Pending) => {
                return Err(Failure::Internal("a flow waited for something that is not the database".into()));
            }
            Err(_) => return Err(panicked()),
        });
        Ok(())
    }
}

/// A flow on its way to SQLite's writer, and who waits for it.
struct Job<A, T, F> {
    work: Flow<A, T, F>,
    answer: tokio::sync::oneshot::Sender<Result<T, Failure>>,
    endings: Arc<Endings>,
}

impl<A, T, F> sqlite::Job for Job<A, T, F>
where
    A: Send + Sync,
    T: Send,
    F: for<'a> Fn(&'a mut Tx, &'a A) -> BoxFuture<'a, Result<T, Failure>> + Send + Sync,
{
    fn run(&mut self, tx: &mut Tx) -> Result<(), Failure> {
        self.work.run_now(tx)
    }

    fn answer(self: Box<Self>, outcome: Result<(), Failure>) {
        let Self { work, answer, endings } = *self;
        if work.ended && outcome.is_ok() {
            endings.written();
        }
        // Nobody waits any more when the request was given up; what is committed stays.
        let _ = answer.send(outcome.and_then(|()| work.into_value()));
    }
}

/// What a flow sees of the database.
pub struct Tx {
    session: Session,
    /// Set by the first statement that fails. From then on nothing more is run and nothing will be committed: so
    /// it is on PostgreSQL anyway, and flows must not tell the engines apart.
    failed: bool,
    /// The flow wrote an ending.
    ended: bool,
}

enum Session {
    Sqlite(sqlite::Session),
    Postgres(postgres::Session),
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("engine", &self.engine()).finish_non_exhaustive()
    }
}

impl Tx {
    fn new(session: Session) -> Self {
        Self { session, failed: false, ended: false }
    }

    /// Notes that the flow wrote an ending or a change, which others are told of once it is committed.
    pub(crate) fn note_ending(&mut self) {
        self.ended = true;
    }

    /// Which engine runs the flow.
    pub fn engine(&self) -> Engine {
        match self.session {
            Session::Sqlite(_) => Engine::Sqlite,
            Session::Postgres(_) => Engine::Postgres,
        }
    }

    /// Runs a statement that returns exactly one row.
    ///
    /// Failure: [`Failure::Inconsistent`] when it returned none or several.
    pub async fn one(&mut self, statement: &'static Statement, params: &[Value<'_>]) -> Result<Row, Failure> {
        self.maybe(statement, params).await?.ok_or_else(|| Failure::Inconsistent {
            table: statement.name,
            column: "*",
            id: String::from("no row where one must be"),
        })
    }

    /// Runs a statement that returns one row or none.
    ///
    /// Failure: [`Failure::Inconsistent`] when it returned several.
    pub async fn maybe(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<Option<Row>, Failure> {
        let mut rows = self.all(statement, params).await?;
        let row = rows.pop();
        if rows.is_empty() {
            Ok(row)
        } else {
            Err(Failure::Inconsistent {
                table: statement.name,
                column: "*",
                id: String::from("several rows where at most one may be"),
            })
        }
    }

    /// Runs a statement and returns its rows.
    pub async fn all(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<Vec<Row>, Failure> {
        self.admit(statement, params)?;
        let rows = match &mut self.session {
            Session::Sqlite(session) => session.rows(statement, params),
            Session::Postgres(session) => session.rows(statement, params).await,
        };
        self.failed |= rows.is_err();
        rows
    }

    /// Runs a statement that returns no rows; answers how many it changed.
    pub async fn run(&mut self, statement: &'static Statement, params: &[Value<'_>]) -> Result<u64, Failure> {
        self.admit(statement, params)?;
        let changed = match &mut self.session {
            Session::Sqlite(session) => session.run(statement, params),
            Session::Postgres(session) => session.run(statement, params).await,
        };
        self.failed |= changed.is_err();
        changed
    }

    /// Asks the engine whether it understands a statement, without running it.
    pub async fn prepare(&mut self, statement: &'static Statement) -> Result<(), Failure> {
        match &mut self.session {
            Session::Sqlite(session) => session.prepare(statement),
            Session::Postgres(session) => session.prepare(statement).await,
        }
    }

    /// Runs several statements that take no parameters: for migrations.
    pub(crate) async fn script(&mut self, sql: &str) -> Result<(), Failure> {
        let ran = match &mut self.session {
            Session::Sqlite(session) => session.script(sql),
            Session::Postgres(session) => session.script(sql).await,
        };
        self.failed |= ran.is_err();
        ran
    }

    /// Refuses what one of the engines would let through.
    fn admit(&mut self, statement: &'static Statement, params: &[Value<'_>]) -> Result<(), Failure> {
        if self.failed {
            return Err(after_failure());
        }
        let door = match &self.session {
            Session::Sqlite(session) => session.door(),
            Session::Postgres(session) => session.door(),
        };
        let broken = if statement.steers_transactions() {
            "a flow steers its own transaction"
        } else if door == Door::Read && !statement.reads() {
            "a read writes"
        } else if params.iter().any(|value| matches!(value, Value::Text(text) if text.contains('\0'))) {
            // PostgreSQL has no such text.
            "a text holds U+0000"
        } else {
            return Ok(());
        };
        self.failed = true;
        Err(Failure::Internal(format!("{broken}: {}", statement.name).into()))
    }
}

fn after_failure() -> Failure {
    Failure::Internal("a flow went on after one of its statements had failed".into())
}
