//! What changed, until each stream that wants to hear of it has its delivery. A row is written in the transaction that
//! changes something, and goes in the one that writes the deliveries.

use curfew_model::{Failure, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

statements! {
    /// A change.
    pub INSERT = "insert into changes (tenant, change_id, at, issuer, doc) values ($1, $2, $3, $4, $5)";
    /// Those that nobody was told of yet, the oldest first.
    pub OPEN = "select change_id from changes where tenant = $1 order by at, change_id limit $2";
    /// Takes one: whoever else wants it waits, and finds that it is gone.
    pub TAKE = "delete from changes where tenant = $1 and change_id = $2 returning change_id, at, issuer, doc";
    /// How many there are.
    pub COUNT = "select count(*) from changes where tenant = $1";
}

/// The key of a change.
pub type ChangeId = [u8; 16];

/// One change.
#[derive(Debug, Clone)]
pub struct ChangeRow {
    /// Its key.
    pub id: ChangeId,
    /// When it was.
    pub at: Timestamp,
    /// Under which issuer.
    pub issuer: String,
    /// JSON: what changed.
    pub doc: String,
}

fn change(row: &Row) -> Result<ChangeRow, Failure> {
    Ok(ChangeRow { id: row.get(0)?, at: row.get(1)?, issuer: row.get(2)?, doc: row.get(3)? })
}

/// Writes a change down.
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &ChangeRow) -> Result<(), Failure> {
    tx.note_ending();
    tx.run(&INSERT, params![tenant, &new.id, new.at, &new.issuer, &new.doc]).await.map(drop)
}

/// Up to `limit` changes that nobody was told of yet, the oldest first.
pub async fn open(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<ChangeId>, Failure> {
    tx.all(&OPEN, params![tenant, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// Takes a change for this transaction; `None` when it is gone.
pub async fn take(tx: &mut Tx, tenant: TenantId, id: &ChangeId) -> Result<Option<ChangeRow>, Failure> {
    tx.maybe(&TAKE, params![tenant, id]).await?.as_ref().map(change).transpose()
}

/// How many changes nobody was told of yet.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64, Failure> {
    tx.one(&COUNT, params![tenant]).await?.get(0)
}
