//! PostgreSQL: a bounded pool of connections, each with its prepared statements.
//!
//! The pool is our own: last used, first out keeps few connections warm; statements are found by address instead
//! of by their text; a connection whose flow was given up midway is rolled back before it is lent again; and some
//! connections are kept for endings.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use curfew_model::{Failure, Secret};
use futures_util::future::join;
use futures_util::{StreamExt, pin_mut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};

use super::tls::{self, Tls};
use super::{Door, Lane, StoreOptions, Tx, Work, after_failure};
use crate::row::Row;
use crate::statement::Statement;
use crate::value::Value;

/// Connections that only endings use: at full load an ending waits for the flow of another ending at most.
const CONNECTIONS_FOR_ENDINGS: usize = 2;

/// How often a flow is run in all when the database answers 40001 or 40P01, or has lost the connection.
const RUNS_MAX: u32 = 6;

/// Pause before the second run; doubles with each further one, so that the last begins after 62 ms.
const PAUSE: Duration = Duration::from_millis(2);

/// How long to try to reach the server before the next of its addresses is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After how much silence inside a transaction the server drops it, and its locks: what a node that vanished
/// without closing its connections can hold up others.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// How long what was sent may stay unacknowledged by the server's machine before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// After how much silence the server's machine is asked whether it is still there, and how long it has then. A
/// statement that waits for an answer from a machine that vanished fails after the sum of both.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Seconds for `Retry-After` when no connection came free.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The server and the connections to it.
pub(super) struct Postgres {
    pool: Arc<Pool>,
}

struct Pool {
    config: Config,
    tls: Option<Tls>,
    set_up: String,
    idle: Mutex<Vec<Connection>>,
    ordinary: Arc<Semaphore>,
    endings: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
    wait: Duration,
}

impl Postgres {
    pub(super) async fn open(url: &Secret<String>, options: &StoreOptions) -> Result<Self, Failure> {
        let (url, root_certificates) = tls::take_parameters(url.expose());
        let mut config = Config::from_str(&url)
            // The driver's words may hold parts of the text, and so the password.
            .map_err(|_| Failure::storage("the connection string", "it cannot be read"))?;
        let tls = match config.get_ssl_mode() {
            SslMode::Require => Some(Tls::new(root_certificates.as_deref())?),
            _ => None,
        };
        config.application_name("curfew");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_idle(KEEPALIVE.0).keepalives_interval(KEEPALIVE.1).keepalives_retries(1);
        }
        // No deciding read goes to a standby.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let mut set_up = format!(
            "set timezone = 'UTC'; set default_transaction_isolation = 'read committed'; \
             set statement_timeout = {}; set idle_in_transaction_session_timeout = {}; ",
            options.statement_timeout.as_millis(),
            IDLE_IN_TRANSACTION.as_millis()
        );
        if let Some(schema) = &options.schema {
            set_up.push_str(&format!("set search_path = \"{}\"; ", schema.replace('"', "\"\"")));
        }
        set_up.push_str("show synchronous_commit");
        let connections = options.connections.max(2);
        let for_endings = CONNECTIONS_FOR_ENDINGS.min(connections - 1);
        let pool = Arc::new(Pool {
            config,
            tls,
            set_up,
            idle: Mutex::new(Vec::new()),
            ordinary: Arc::new(Semaphore::new(connections - for_endings)),
            endings: Arc::new(Semaphore::new(for_endings)),
            waiting: AtomicUsize::new(0),
            waiting_max: options.queue_max,
            wait: options.wait,
        });
        // A server that cannot be used is found out now, not at the first request.
        drop(pool.lend(Lane::Ordinary).await?);
        Ok(Self { pool })
    }

    /// Runs a flow in a transaction, again when the database could not order it among others.
    pub(super) async fn transact(&self, lane: Lane, work: &mut dyn Work) -> Result<(), Failure> {
        let mut runs = Runs::default();
        loop {
            let mut tx = self.begin(Door::Transact, lane).await?;
            let outcome = work.run(&mut tx).await;
            let (mut session, failed) = into_session(tx);
            let trouble = session.trouble;
            let outcome = match outcome {
                Ok(()) if failed => Err(after_failure()),
                Ok(()) => session.commit().await,
                Err(failure) => Err(failure),
            };
            let Err(failure) = outcome else { return Ok(()) };
            session.rollback().await;
            // A connection that broke before COMMIT was sent has changed nothing, and the likely reason is that it
            // had been idle while the server restarted.
            let again = match (trouble, &failure) {
                (Some(Trouble::Order | Trouble::Connection), _) => true,
                (None, Failure::Contention) => session.trouble == Some(Trouble::Order),
                _ => false,
            };
            drop(session);
            if !(again && runs.another().await) {
                return Err(failure);
            }
        }
    }

    /// Runs a flow whose statements commit by themselves.
    pub(super) async fn autocommit(
        &self,
        door: Door,
        lane: Lane,
        work: &mut dyn Work,
    ) -> Result<(), Failure> {
        let mut runs = Runs::default();
        loop {
            let mut tx = self.begin(door, lane).await?;
            let outcome = work.run(&mut tx).await;
            let (session, failed) = into_session(tx);
            let failure = match outcome {
                Ok(()) if !failed => return Ok(()),
                Ok(()) => after_failure(),
                Err(failure) => failure,
            };
            // Also where it is unknown whether the statement committed: a command recognises its own work.
            let trouble = session.trouble;
            drop(session);
            if !(trouble.is_some() && runs.another().await) {
                return Err(failure);
            }
        }
    }

    async fn begin(&self, door: Door, lane: Lane) -> Result<Tx, Failure> {
        let lease = self.pool.lend(lane).await?;
        Ok(Tx::new(super::Session::Postgres(Session {
            lease,
            door,
            begun: false,
            written: false,
            trouble: None,
        })))
    }
}

#[expect(clippy::unreachable, reason = "`begin` makes PostgreSQL sessions only, and every `Tx` here is its")]
fn into_session(tx: Tx) -> (Session, bool) {
    match tx.session {
        super::Session::Postgres(session) => (session, tx.failed),
        super::Session::Sqlite(_) => unreachable!("a SQLite session on a connection to PostgreSQL"),
    }
}

/// Counts how often a flow ran, and pauses in between.
#[derive(Default)]
struct Runs {
    before: u32,
}

impl Runs {
    /// Pauses, and answers whether there may be another run.
    async fn another(&mut self) -> bool {
        self.before += 1;
        if self.before >= RUNS_MAX {
            return false;
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(self.before - 1)).await;
        true
    }
}

/// One connection and what is prepared on it.
struct Connection {
    client: Client,
    /// By the statement's address, which is its identity.
    prepared: HashMap<usize, tokio_postgres::Statement>,
    /// The server sent a warning since this was last cleared.
    warned: Arc<AtomicBool>,
}

impl Pool {
    async fn lend(self: &Arc<Self>, lane: Lane) -> Result<Lease, Failure> {
        let permit = self.permit(lane).await?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                match idle.pop() {
                    Some(connection) if connection.client.is_closed() => {}
                    other => break other,
                }
            }
        };
        let connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lease { pool: Arc::clone(self), connection: Some(connection), permit: Some(permit), dirty: false })
    }

    /// Waits for room, but not for long, and not with everybody.
    async fn permit(&self, lane: Lane) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(permit) = Arc::clone(&self.ordinary).try_acquire_owned() {
            return Ok(permit);
        }
        let room = match lane {
            Lane::Ordinary => Arc::clone(&self.ordinary),
            Lane::Endings => Arc::clone(&self.endings),
        };
        let _waiter = Waiter::new(&self.waiting);
        if lane == Lane::Ordinary && self.waiting.load(Ordering::Relaxed) > self.waiting_max {
            return Err(busy());
        }
        match tokio::time::timeout(self.wait, room.acquire_owned()).await {
            Ok(permit) => permit.map_err(|error| Failure::storage("connect", error)),
            Err(_) => Err(busy()),
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let warned = Arc::new(AtomicBool::new(false));
        let refused = |error: tokio_postgres::Error| match error.code() {
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => busy(),
            _ => said("connect", &error),
        };
        let client = match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(refused)?;
                tokio::spawn(drive(connection, Arc::clone(&warned)));
                client
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await.map_err(refused)?;
                tokio::spawn(drive(connection, Arc::clone(&warned)));
                client
            }
        };
        let answers =
            client.simple_query(&self.set_up).await.map_err(|error| said("set up a connection", &error))?;
        let synchronous = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        if matches!(synchronous, None | Some("off")) {
            return Err(Failure::storage(
                "PostgreSQL runs with synchronous_commit off",
                "what is acknowledged could be lost; set synchronous_commit to on for this role and database",
            ));
        }
        Ok(Connection { client, prepared: HashMap::new(), warned })
    }
}

fn busy() -> Failure {
    Failure::Busy { what: "storage", retry_after_seconds: RETRY_AFTER_SECONDS }
}

/// The channel of PostgreSQL on which nodes tell each other that something ended.
const CHANNEL: &str = "curfew_endings";

/// How long after the last connection for hints was lost the next is tried.
const HINTS_PAUSE: Duration = Duration::from_secs(1);

impl Postgres {
    /// Tells other nodes each time `own` changes, and calls `heard` when another node tells us.
    pub(super) async fn tell_other_nodes(&self, mut own: watch::Receiver<u64>, heard: impl Fn()) {
        loop {
            if let Err(failure) = self.pool.exchange_hints(&mut own, &heard).await {
                tracing::warn!(%failure, "hints between nodes are interrupted; endings are found by polling");
            }
            tokio::time::sleep(HINTS_PAUSE).await;
        }
    }
}

impl Pool {
    /// A connection beside the pool: lent ones come and go, and a hint waits for nobody.
    async fn exchange_hints(&self, own: &mut watch::Receiver<u64>, heard: &impl Fn()) -> Result<(), Failure> {
        match &self.tls {
            None => {
                let connected = self.config.connect(NoTls).await.map_err(|error| said("connect", &error))?;
                hints(connected, own, heard).await
            }
            Some(tls) => {
                let connected = self.config.connect(tls.clone()).await;
                hints(connected.map_err(|error| said("connect", &error))?, own, heard).await
            }
        }
    }
}

/// Returns when the connection is lost.
async fn hints<S, T>(
    (client, mut connection): (Client, tokio_postgres::Connection<S, T>),
    own: &mut watch::Receiver<u64>,
    heard: &impl Fn(),
) -> Result<(), Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let own_process = AtomicI32::new(0);
    let listening = async {
        let answers = client
            .simple_query(&format!("listen {CHANNEL}; select pg_backend_pid()"))
            .await
            .map_err(|error| said("listen", &error))?;
        let process = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        own_process.store(process.unwrap_or(0), Ordering::Relaxed);
        // From here on nothing is missed; what was before is found by looking.
        heard();
        // Not `changed` alone: what was written while there was no connection is told now.
        loop {
            own.mark_unchanged();
            client
                .simple_query(&format!("notify {CHANNEL}"))
                .await
                .map_err(|error| said("notify", &error))?;
            if own.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let hearing = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notification(notification)) => {
                    if notification.process_id() != own_process.load(Ordering::Relaxed) {
                        heard();
                    }
                }
                Ok(_) => {}
                Err(error) => return Err(said("listen", &error)),
            }
        }
        Ok(())
    };
    tokio::select! {
        told = listening => told,
        ended = hearing => ended,
    }
}

/// Moves a connection's messages until it closes, and notes warnings.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, warned: Arc<AtomicBool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) if notice.parsed_severity() == Some(Severity::Warning) => {
                warned.store(true, Ordering::Release);
                tracing::warn!(code = notice.code().code(), message = notice.message(), "PostgreSQL warns");
            }
            Ok(_) => {}
            // Whoever waits for an answer on it learns it there.
            Err(_) => return,
        }
    }
}

/// Who stands in line for a connection, counted while it lives.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lent connection. It returns to the pool when dropped, after a ROLLBACK if a flow was given up midway.
struct Lease {
    pool: Arc<Pool>,
    connection: Option<Connection>,
    permit: Option<OwnedSemaphorePermit>,
    /// A transaction or a statement is open on it.
    dirty: bool,
}

impl Lease {
    #[expect(clippy::expect_used, reason = "only `drop` takes the connection out")]
    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a lease has its connection while it lives")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (pool, permit, dirty) = (Arc::clone(&self.pool), self.permit.take(), self.dirty);
        let give_back = move |connection: Connection| {
            if !connection.client.is_closed() {
                pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(permit);
        };
        if !dirty {
            give_back(connection);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Behind whatever is still being answered. A connection that cannot even do this is closed.
                if connection.client.batch_execute("rollback").await.is_ok() {
                    give_back(connection);
                }
            });
        }
    }
}

/// Why a flow may be run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// 40001 or 40P01.
    Order,
    /// The connection broke, or its prepared statements are stale.
    Connection,
}

/// One connection, as a flow sees it.
pub(super) struct Session {
    lease: Lease,
    door: Door,
    /// BEGIN was sent.
    begun: bool,
    /// A statement that writes was sent.
    written: bool,
    trouble: Option<Trouble>,
}

impl Session {
    pub(super) fn door(&self) -> Door {
        self.door
    }

    pub(super) async fn rows(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let (rows, _) = self.execute(statement, params).await?;
        Ok(rows.into_iter().map(|row| Row::postgres(statement, row)).collect())
    }

    pub(super) async fn run(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<u64, Failure> {
        self.execute(statement, params).await.map(|(_, changed)| changed)
    }

    pub(super) async fn prepare(&mut self, statement: &'static Statement) -> Result<(), Failure> {
        let prepared = self.prepared(statement).await.map(drop);
        prepared.map_err(|error| self.failure(statement.name, &error))
    }

    pub(super) async fn script(&mut self, sql: &str) -> Result<(), Failure> {
        self.lease.dirty = true;
        let begin = if self.begun { "" } else { "begin;" };
        self.begun = true;
        let connection = self.lease.connection();
        // A long migration is no reason to stop it.
        let script = format!("{begin} set local statement_timeout = 0; {sql}");
        let ran = connection.client.batch_execute(&script).await;
        ran.map_err(|error| self.failure("script", &error))
    }

    /// Sends one statement and collects its answer up to the point where, outside a transaction, it is committed.
    ///
    /// BEGIN goes out together with the first statement of a transaction: one round trip for both.
    async fn execute(
        &mut self,
        statement: &'static Statement,
        params: &[Value<'_>],
    ) -> Result<(Vec<tokio_postgres::Row>, u64), Failure> {
        if self.door == Door::Command && self.written {
            return Err(Failure::Internal(
                format!("a command goes on after the statement that commits: {}", statement.name).into(),
            ));
        }
        self.written |= !statement.reads();
        let prepared =
            self.prepared(statement).await.map_err(|error| self.failure(statement.name, &error))?;
        if prepared.params().len() != params.len() {
            return Err(Failure::Internal(
                format!(
                    "{} takes {} parameters and was given {}",
                    statement.name,
                    prepared.params().len(),
                    params.len()
                )
                .into(),
            ));
        }
        let begins = self.door == Door::Transact && !self.begun;
        self.begun |= begins;
        self.lease.dirty = true;
        let Connection { client, warned, .. } = self.lease.connection();
        warned.store(false, Ordering::Release);
        let query = async {
            let rows = client.query_raw(&prepared, params.iter()).await?;
            pin_mut!(rows);
            let mut all = Vec::new();
            while let Some(row) = rows.next().await {
                all.push(row?);
            }
            Ok((all, rows.rows_affected().unwrap_or(0)))
        };
        let answer = if begins {
            // `join` polls in this order, and what is polled first is sent first.
            let (begun, answer) = join(client.batch_execute("begin"), query).await;
            begun.and(answer)
        } else {
            query.await
        };
        let unsure = warned.load(Ordering::Acquire);
        match answer {
            Ok(_) if self.door == Door::Command && unsure => {
                self.trouble = Some(Trouble::Connection);
                Err(Failure::UnknownCommit("the server warned while it committed".into()))
            }
            Ok(answer) => {
                self.lease.dirty = self.begun;
                Ok(answer)
            }
            Err(error) => {
                self.lease.dirty = self.begun;
                let failure = self.failure(statement.name, &error);
                let lost =
                    self.door == Door::Command && self.written && self.trouble == Some(Trouble::Connection);
                Err(if lost { Failure::UnknownCommit(Box::new(Said::new(&error))) } else { failure })
            }
        }
    }

    async fn prepared(
        &mut self,
        statement: &'static Statement,
    ) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        let address = std::ptr::from_ref(statement).addr();
        let connection = self.lease.connection();
        if let Some(prepared) = connection.prepared.get(&address) {
            return Ok(prepared.clone());
        }
        let prepared = connection.client.prepare(statement.postgres).await?;
        connection.prepared.insert(address, prepared.clone());
        Ok(prepared)
    }

    /// Makes the transaction durable.
    ///
    /// Failure: [`Failure::UnknownCommit`] unless the server said that it rolled back.
    async fn commit(&mut self) -> Result<(), Failure> {
        if !self.begun {
            return Ok(());
        }
        let Connection { client, warned, .. } = self.lease.connection();
        warned.store(false, Ordering::Release);
        let committed = client.batch_execute("commit").await;
        let warned = warned.load(Ordering::Acquire);
        match committed {
            // A warning here says that a wait for the synchronous standby was given up: it is durable on one
            // machine only, and a failover may lose it.
            Ok(()) if warned => {
                self.lease.dirty = false;
                Err(Failure::UnknownCommit("the server warned while it committed".into()))
            }
            Ok(()) => {
                self.lease.dirty = false;
                Ok(())
            }
            Err(error) => {
                let code = error.code().map_or("", SqlState::code);
                // Class 40: rolled back. Class 23: a deferred constraint.
                if code.starts_with("40") || code.starts_with("23") {
                    Err(self.failure("commit", &error))
                } else {
                    Err(Failure::UnknownCommit(Box::new(Said::new(&error))))
                }
            }
        }
    }

    async fn rollback(&mut self) {
        if self.lease.dirty && self.lease.connection().client.batch_execute("rollback").await.is_ok() {
            self.lease.dirty = false;
        }
    }

    /// What a driver's error is to a flow; notes whether the flow may run again.
    fn failure(&mut self, context: &'static str, error: &tokio_postgres::Error) -> Failure {
        let Some(code) = error.code() else {
            // The connection closed, or its bytes made no sense, or a parameter was of the wrong type.
            if self.lease.connection().client.is_closed() || error.is_closed() {
                self.trouble = Some(Trouble::Connection);
            }
            return said(context, error);
        };
        if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
            self.trouble = Some(Trouble::Order);
            return Failure::Contention;
        }
        // The other two: CREATE TABLE IF NOT EXISTS on two nodes at once.
        if [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_OBJECT, SqlState::DUPLICATE_TABLE].contains(code)
        {
            return Failure::Conflict;
        }
        // 57P01 to 57P05: the server goes down, or threw this connection out. 0A000 and 26000: what was prepared
        // no longer fits, because the schema changed, or a pooler between us gave us another's connection.
        if code.code().starts_with("57P")
            || *code == SqlState::FEATURE_NOT_SUPPORTED
            || *code == SqlState::INVALID_SQL_STATEMENT_NAME
        {
            self.trouble = Some(Trouble::Connection);
            self.lease.connection().prepared.clear();
        }
        said(context, error)
    }
}

fn said(context: &'static str, error: &tokio_postgres::Error) -> Failure {
    Failure::storage(context, Said::new(error))
}

/// What the driver said, without the details that quote rows.
#[derive(Debug)]
struct Said(String);

impl Said {
    fn new(error: &tokio_postgres::Error) -> Self {
        Self(match error.as_db_error() {
            Some(error) => format!("{} {}", error.code().code(), error.message()),
            None => match std::error::Error::source(error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            },
        })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            // What the server infers for a parameter beside a literal.
            (Value::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(ty, out),
            (Value::Int(value), &Type::BOOL) => (*value != 0).to_sql(ty, out),
            (Value::Text(text), ty) if <&str as ToSql>::accepts(ty) => text.to_sql(ty, out),
            (Value::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            (value, ty) => Err(format!("{value:?} for a parameter of type {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        // `to_sql` looks at value and type together.
        true
    }

    to_sql_checked!();
}
