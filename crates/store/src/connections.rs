//! Connections, and the clients they are enabled for.
//!
//! The caller of every write moved the tenant's version with [`tenants::touch`](crate::tenants::touch) first.

use curfew_model::{ClientId, Ctx, Failure, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

/// A connection's row.
#[derive(Debug)]
pub struct ConnectionRow {
    /// `con_` and 16 characters.
    pub id: String,
    /// Unique in the tenant.
    pub name: String,
    /// `auth0` for the database strategy.
    pub strategy: String,
    /// Everything but id, name and strategy, as JSON.
    pub doc: String,
    /// When it was made.
    pub created_at: Timestamp,
}

statements! {
    INSERT = "insert into connections (tenant, id, name, strategy, doc, created_at)
        values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
    FIND = "select id, name, strategy, doc, created_at from connections where tenant = $1 and id = $2";
    FIND_BY_NAME = "select id, name, strategy, doc, created_at from connections where tenant = $1 and name = $2";
    LIST = "select id, name, strategy, doc, created_at from connections
        where tenant = $1 and (created_at > $2 or (created_at = $2 and id > $3))
        order by created_at, id limit $4";
    UPDATE = "update connections set doc = $3 where tenant = $1 and id = $2";
    DELETE = "delete from connections where tenant = $1 and id = $2";
    DELETE_CLIENTS = "delete from connection_clients where tenant = $1 and connection_id = $2";
    ENABLE = "insert into connection_clients (tenant, connection_id, client_id, enabled, epoch)
        values ($1, $2, $3, 1, 0)
        on conflict (tenant, connection_id, client_id) do update set enabled = 1";
    DISABLE = "update connection_clients set enabled = 0, epoch = epoch + 1
        where tenant = $1 and connection_id = $2 and client_id = $3 and enabled = 1";
    LIST_CLIENTS = "select client_id from connection_clients
        where tenant = $1 and connection_id = $2 and enabled = 1 and client_id > $3
        order by client_id limit $4";
    ADD = "insert into connection_clients (tenant, connection_id, client_id, enabled, epoch)
        values ($1, $2, $3, 1, 0) on conflict do nothing";
}

fn connection(row: &Row) -> Result<ConnectionRow, Failure> {
    Ok(ConnectionRow {
        id: row.get(0)?,
        name: row.get(1)?,
        strategy: row.get(2)?,
        doc: row.get(3)?,
        created_at: row.get(4)?,
    })
}

/// Makes a connection; `false` when the name is taken.
pub async fn insert(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &str,
    name: &str,
    strategy: &str,
    doc: &str,
) -> Result<bool, Failure> {
    Ok(tx.run(&INSERT, params![ctx.tenant, id, name, strategy, doc, ctx.now]).await? == 1)
}

/// The connection with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ConnectionRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(connection).transpose()
}

/// The connection with this name.
pub async fn find_by_name(
    tx: &mut Tx,
    tenant: TenantId,
    name: &str,
) -> Result<Option<ConnectionRow>, Failure> {
    tx.maybe(&FIND_BY_NAME, params![tenant, name]).await?.as_ref().map(connection).transpose()
}

/// Connections in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<ConnectionRow>, Failure> {
    tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?.iter().map(connection).collect()
}

/// Replaces the document; `false` when there is no such connection.
pub async fn update(tx: &mut Tx, tenant: TenantId, id: &str, doc: &str) -> Result<bool, Failure> {
    Ok(tx.run(&UPDATE, params![tenant, id, doc]).await? == 1)
}

/// Deletes a connection and its clients' places in it; `false` when there was none. Its users are deleted one by
/// one, each with its own ending.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    let deleted = tx.run(&DELETE, params![tenant, id]).await? == 1;
    tx.run(&DELETE_CLIENTS, params![tenant, id]).await?;
    Ok(deleted)
}

/// Enables the connection for a client. What an earlier disabling ended stays ended: the epoch is not touched.
pub async fn enable_for(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    client_id: &ClientId,
) -> Result<(), Failure> {
    tx.run(&ENABLE, params![tenant, id, client_id]).await.map(drop)
}

/// Disables the connection for a client and moves the epoch; `false` when it was not enabled.
pub async fn disable_for(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    client_id: &ClientId,
) -> Result<bool, Failure> {
    Ok(tx.run(&DISABLE, params![tenant, id, client_id]).await? == 1)
}

/// The clients it is enabled for, by id, after a position; at most `limit`.
pub async fn list_clients(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<ClientId>, Failure> {
    tx.all(&LIST_CLIENTS, params![tenant, id, after, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// Gives a client a place in the connection, enabled; `false` when it has one already, enabled or not.
pub async fn add_for(tx: &mut Tx, tenant: TenantId, id: &str, client_id: &ClientId) -> Result<bool, Failure> {
    Ok(tx.run(&ADD, params![tenant, id, client_id]).await? == 1)
}
