//! The tenant's log.

use curfew_model::{Failure, LogCode, TenantId, Timestamp};

use crate::{Tx, params, statements};

statements! {
    /// A log row.
    pub INSERT = "insert into logs (tenant, log_id, at, type, user_id, client_id, doc) \
        values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
    /// The newest rows.
    pub NEWEST = "select log_id, type, doc from logs where tenant = $1 order by log_id desc limit $2";
    /// What the retention time is over for, by key range.
    pub PURGEABLE = "select log_id from logs where tenant = $1 and log_id > $2 and log_id < $3 order by log_id limit $4";
    /// Removes a row.
    pub PURGE = "delete from logs where tenant = $1 and log_id = $2";
}

/// A row of the tenant's log.
#[derive(Debug, Clone)]
pub struct LogRow {
    /// 56 decimal digits, sortable by time.
    pub log_id: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub code: LogCode,
    /// `sub`.
    pub user_id: Option<String>,
    /// Which client.
    pub client_id: Option<String>,
    /// The rest of Auth0's log object, JSON.
    pub doc: String,
}

/// Writes a row.
pub async fn insert(tx: &mut Tx, tenant: TenantId, row: &LogRow) -> Result<(), Failure> {
    let parameters = params![
        tenant,
        &row.log_id,
        row.at,
        row.code.as_str(),
        row.user_id.as_deref(),
        row.client_id.as_deref(),
        &row.doc
    ];
    tx.run(&INSERT, parameters).await.map(|_| ())
}

/// The newest rows: id, type, document.
pub async fn newest(
    tx: &mut Tx,
    tenant: TenantId,
    limit: i64,
) -> Result<Vec<(String, String, String)>, Failure> {
    let rows = tx.all(&NEWEST, params![tenant, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Ids of rows from before `before` (the beginning of a `log_id`), in order after `after`.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    after: &str,
    before: &str,
    limit: i64,
) -> Result<Vec<String>, Failure> {
    let rows = tx.all(&PURGEABLE, params![tenant, after, before, limit]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Removes a row.
pub async fn purge(tx: &mut Tx, tenant: TenantId, log_id: &str) -> Result<(), Failure> {
    tx.run(&PURGE, params![tenant, log_id]).await.map(|_| ())
}
