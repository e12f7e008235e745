//! The tenant's log: rows of an ending are written with it; the others are batched, so that no login waits for them.

use std::fmt::Write as _;

use curfew_model::{Ctx, Failure, LogCode, TenantId, Timestamp};
use curfew_store::action_executions::ExecutionRow;
use curfew_store::logs::LogRow;
use curfew_store::{Lane, Store, Tx};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, watch};

/// Digits of a `log_id`.
const LOG_ID_DIGITS: usize = 56;
/// Rows that may wait; beyond it new ones are counted and dropped rather than slow the server down.
const WAITING_MAX: usize = 8192;
/// Rows written in one transaction.
const BATCH_MAX: usize = 1024;
/// How long the first row of a batch waits for others.
const GATHER: std::time::Duration = std::time::Duration::from_millis(200);

/// How long the end of the process waits for the last rows.
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// A log row in the making.
#[derive(Debug)]
pub struct LogEntry<'a> {
    /// What happened.
    pub code: LogCode,
    /// `sub`.
    pub user_id: Option<&'a str>,
    /// Which client.
    pub client_id: Option<&'a str>,
    /// One line for the operator.
    pub description: &'a str,
    /// Auth0's `details`.
    pub details: Value,
}

/// Auth0's log object.
#[derive(Serialize)]
struct Document<'a> {
    date: &'a str,
    r#type: &'a str,
    description: &'a str,
    client_id: Option<&'a str>,
    user_id: Option<&'a str>,
    ip: &'a str,
    user_agent: &'a str,
    hostname: &'a str,
    details: &'a Value,
}

/// How every `log_id` of a second begins; those of earlier ones are less.
pub(crate) fn first_id_of(second: Timestamp) -> String {
    let mut log_id = String::new();
    push_second(&mut log_id, &second.iso());
    log_id
}

fn push_second(log_id: &mut String, iso: &str) {
    log_id.push_str("900");
    log_id.extend(iso.chars().filter(char::is_ascii_digit).take(14));
}

/// A row of Auth0's shape (`log_id`: `900`, the instant to the microsecond, then digits that nobody can guess).
pub fn row(ctx: &Ctx, entry: &LogEntry<'_>) -> LogRow {
    let iso = ctx.now.iso();
    let mut log_id = String::with_capacity(LOG_ID_DIGITS);
    push_second(&mut log_id, &iso);
    let random: [u8; 16] = ctx.entropy.bytes();
    let (high, low) = random.split_at(8);
    let number = |half: &[u8], digits: u32| {
        half.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % 10_u64.pow(digits)
    };
    let micros = ctx.now.micros().rem_euclid(1_000_000);
    let _ = write!(log_id, "{micros:06}{:016}{:017}", number(high, 16), number(low, 17));
    let document = Document {
        date: &iso,
        r#type: entry.code.as_str(),
        description: entry.description,
        client_id: entry.client_id,
        user_id: entry.user_id,
        ip: &ctx.request.ip,
        user_agent: &ctx.request.user_agent,
        hostname: &ctx.request.host,
        details: &entry.details,
    };
    LogRow {
        log_id,
        at: ctx.now,
        code: entry.code,
        user_id: entry.user_id.map(str::to_owned),
        client_id: entry.client_id.map(str::to_owned),
        // Texts and a JSON value: nothing in it can fail to be written.
        doc: serde_json::to_string(&document).unwrap_or_default(),
    }
}

/// Writes a row in the caller's transaction.
pub async fn write(tx: &mut Tx, ctx: &Ctx, entry: &LogEntry<'_>) -> Result<(), Failure> {
    curfew_store::logs::insert(tx, ctx.tenant, &row(ctx, entry)).await
}

/// What [`LogWriter::run`] takes over.
type Waiting = (Store, mpsc::Receiver<(TenantId, Line)>);

/// What is written down without anybody waiting for it.
#[derive(Debug)]
enum Line {
    Log(LogRow),
    Execution(Box<ExecutionRow>),
}

/// Takes rows that no transaction waits for.
#[derive(Debug)]
pub struct LogWriter {
    sender: mpsc::Sender<(TenantId, Line)>,
    writer: std::sync::Mutex<Option<Waiting>>,
    /// How many rows are queued or being written.
    unwritten: watch::Sender<usize>,
    /// Cuts the gathering of a batch short.
    hurry: Notify,
}

impl LogWriter {
    /// A writer that holds rows until [`LogWriter::run`] takes them to the store.
    pub fn new(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let writer = std::sync::Mutex::new(Some((store, receiver)));
        Self { sender, writer, unwritten: watch::Sender::new(0), hurry: Notify::new() }
    }

    /// Queues a row; when the queue is full the row is dropped and the process log says so.
    pub fn send(&self, ctx: &Ctx, entry: &LogEntry<'_>) {
        if self.sender.capacity() == 0 {
            tracing::warn!(code = entry.code.as_str(), "log queue full: row dropped");
            return;
        }
        if !self.queue(ctx.tenant, Line::Log(row(ctx, entry))) {
            tracing::warn!(code = entry.code.as_str(), "log queue full: row dropped");
        }
    }

    /// Queues what Actions did, as [`LogWriter::send`] does a row.
    pub(crate) fn send_execution(&self, tenant: TenantId, execution: ExecutionRow) {
        if !self.queue(tenant, Line::Execution(Box::new(execution))) {
            tracing::warn!("log queue full: an execution of Actions is not written down");
        }
    }

    fn queue(&self, tenant: TenantId, line: Line) -> bool {
        self.unwritten.send_modify(|count| *count += 1);
        let queued = self.sender.try_send((tenant, line)).is_ok();
        if !queued {
            self.unwritten.send_modify(|count| *count -= 1);
        }
        queued
    }

    /// Waits until every row that is queued has been written, for at most [`DRAIN_MAX`].
    pub async fn drain(&self) {
        self.hurry.notify_one();
        let mut unwritten = self.unwritten.subscribe();
        let _ = tokio::time::timeout(DRAIN_MAX, unwritten.wait_for(|count| *count == 0)).await;
    }

    /// Writes queued rows in batches until the process ends. Returns at once when it runs already.
    pub async fn run(&self) {
        let taken = self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some((store, mut receiver)) = taken else { return };
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
            // One commit for what comes within a moment, instead of one sync of the disk for each login.
            if batch.len() < BATCH_MAX {
                let _ = tokio::time::timeout(GATHER, self.hurry.notified()).await;
                while batch.len() < BATCH_MAX
                    && let Ok(row) = receiver.try_recv()
                {
                    batch.push(row);
                }
            }
            let rows = std::mem::take(&mut batch);
            let count = rows.len();
            let written = store
                .transact(Lane::Ordinary, rows, |tx, rows| {
                    Box::pin(async move {
                        for (tenant, row) in rows {
                            match row {
                                Line::Log(row) => curfew_store::logs::insert(tx, *tenant, row).await?,
                                Line::Execution(row) => {
                                    curfew_store::action_executions::insert(tx, *tenant, row).await?;
                                }
                            }
                        }
                        Ok(())
                    })
                })
                .await;
            if let Err(failure) = written {
                tracing::error!(%failure, count, "log rows lost");
            }
            self.unwritten.send_modify(|unwritten| *unwritten -= count);
        }
    }
}
