//! What Actions did.

use curfew_model::config::ActionTrigger;
use curfew_model::{Failure, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

statements! {
    INSERT = "insert into action_executions (tenant, execution_id, trigger_id, status, user_id, client_id, doc, created_at, \
        updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing";
    FIND = "select execution_id, trigger_id, status, user_id, client_id, doc, created_at, updated_at \
        from action_executions where tenant = $1 and execution_id = $2";
    /// The newest first.
    LIST = "select execution_id, trigger_id, status, user_id, client_id, doc, created_at, updated_at \
        from action_executions where tenant = $1 and ($2 = '' or execution_id < $2) and ($3 = '' or trigger_id = $3) \
        and ($4 = '' or user_id = $4) and ($5 = '' or status = $5) order by execution_id desc limit $6";
    PURGEABLE = "select execution_id from action_executions where tenant = $1 and execution_id > $2 and execution_id < $3 \
        order by execution_id limit $4";
    PURGE = "delete from action_executions where tenant = $1 and execution_id = $2";
}

/// What ran at one place of one flow.
#[derive(Debug, Clone)]
pub struct ExecutionRow {
    /// Begins with the instant.
    pub execution_id: String,
    /// Where.
    pub trigger: ActionTrigger,
    /// `final`, `partial`, `canceled` or `suspended`.
    pub status: String,
    /// Whose login it was.
    pub user_id: Option<String>,
    /// At which client.
    pub client_id: Option<String>,
    /// What each Action did, JSON.
    pub doc: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ended.
    pub updated_at: Timestamp,
}

fn execution(row: &Row) -> Result<ExecutionRow, Failure> {
    let (execution_id, trigger): (String, String) = (row.get(0)?, row.get(1)?);
    let trigger = ActionTrigger::parse(&trigger).ok_or_else(|| Failure::Inconsistent {
        table: "action_executions",
        column: "trigger_id",
        id: execution_id.clone(),
    })?;
    Ok(ExecutionRow {
        execution_id,
        trigger,
        status: row.get(2)?,
        user_id: row.get(3)?,
        client_id: row.get(4)?,
        doc: row.get(5)?,
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
    })
}

/// Writes one down.
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &ExecutionRow) -> Result<(), Failure> {
    let parameters = params![
        tenant,
        &new.execution_id,
        new.trigger.as_str(),
        &new.status,
        &new.user_id,
        &new.client_id,
        &new.doc,
        new.created_at,
        new.updated_at
    ];
    tx.run(&INSERT, parameters).await.map(drop)
}

/// The execution with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ExecutionRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(execution).transpose()
}

/// Which executions; an empty text is any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// At which trigger.
    pub trigger: String,
    /// Whose.
    pub user_id: String,
    /// How they ended.
    pub status: String,
}

/// Executions before `before`, the newest first; all when that is empty.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: &str,
    limit: i64,
) -> Result<Vec<ExecutionRow>, Failure> {
    let parameters = params![tenant, before, &filter.trigger, &filter.user_id, &filter.status, limit];
    tx.all(&LIST, parameters).await?.iter().map(execution).collect()
}

/// Ids from before `before`, in order after `after`.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    after: &str,
    before: &str,
    limit: i64,
) -> Result<Vec<String>, Failure> {
    tx.all(&PURGEABLE, params![tenant, after, before, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// Removes one.
pub async fn purge(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<(), Failure> {
    tx.run(&PURGE, params![tenant, id]).await.map(drop)
}
