//! Actions that nobody waits for, until they have run. A row is written in the transaction that they are about, and taken by
//! a short lease: a node that dies with it gives it back by itself.

use curfew_model::config::ActionTrigger;
use curfew_model::{Ctx, Failure, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

statements! {
    INSERT = "insert into action_runs (tenant, run_id, trigger_id, doc, attempts, due_at, created_at) \
        values ($1, $2, $3, $4, 0, $5, $5)";
    /// Those that are due, the oldest first.
    DUE = "select run_id from action_runs where tenant = $1 and due_at <= $2 order by due_at, run_id limit $3";
    /// Takes one until `$4`.
    TAKE = "update action_runs set due_at = $4, attempts = attempts + 1 \
        where tenant = $1 and run_id = $2 and due_at <= $3 returning run_id, trigger_id, doc, attempts";
    /// Unless somebody else has taken it meanwhile.
    AGAIN = "update action_runs set due_at = $4 where tenant = $1 and run_id = $2 and attempts = $3";
    DONE = "delete from action_runs where tenant = $1 and run_id = $2 and attempts = $3";
    FORGET = "delete from action_runs where tenant = $1 and created_at < $2";
}

/// A run that is to be.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its key.
    pub run_id: String,
    /// What runs.
    pub trigger: ActionTrigger,
    /// With what, JSON.
    pub doc: String,
    /// How often it was taken, this time included.
    pub attempts: i64,
}

fn run(row: &Row) -> Result<RunRow, Failure> {
    let (run_id, trigger): (String, String) = (row.get(0)?, row.get(1)?);
    let trigger = ActionTrigger::parse(&trigger).ok_or_else(|| Failure::Inconsistent {
        table: "action_runs",
        column: "trigger_id",
        id: run_id.clone(),
    })?;
    Ok(RunRow { run_id, trigger, doc: row.get(2)?, attempts: row.get(3)? })
}

/// Writes one down, due at once.
pub async fn insert(
    tx: &mut Tx,
    ctx: &Ctx,
    run_id: &str,
    trigger: ActionTrigger,
    doc: &str,
) -> Result<(), Failure> {
    tx.run(&INSERT, params![ctx.tenant, run_id, trigger.as_str(), doc, ctx.now]).await.map(drop)
}

/// Up to `limit` that are due.
pub async fn due(tx: &mut Tx, tenant: TenantId, now: Timestamp, limit: i64) -> Result<Vec<String>, Failure> {
    tx.all(&DUE, params![tenant, now, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// Takes one that is due `now`, until `until`; `None` when somebody else has it.
pub async fn take(
    tx: &mut Tx,
    tenant: TenantId,
    run_id: &str,
    (now, until): (Timestamp, Timestamp),
) -> Result<Option<RunRow>, Failure> {
    tx.maybe(&TAKE, params![tenant, run_id, now, until]).await?.as_ref().map(run).transpose()
}

/// Gives one back until `at`.
pub async fn again(tx: &mut Tx, tenant: TenantId, run: &RunRow, at: Timestamp) -> Result<(), Failure> {
    tx.run(&AGAIN, params![tenant, &run.run_id, run.attempts, at]).await.map(drop)
}

/// It has run, or never will.
pub async fn done(tx: &mut Tx, tenant: TenantId, run: &RunRow) -> Result<(), Failure> {
    tx.run(&DONE, params![tenant, &run.run_id, run.attempts]).await.map(drop)
}

/// Removes those from before `before`, and says how many.
pub async fn forget(tx: &mut Tx, tenant: TenantId, before: Timestamp) -> Result<u64, Failure> {
    tx.run(&FORGET, params![tenant, before]).await
}
