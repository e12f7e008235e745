//! Client grants: what a client may do at an API on its own behalf.
//!
//! The caller of every write moved the client's version with [`clients::touch`](crate::clients::touch) first.

use curfew_model::{ClientId, Ctx, Failure, GrantKey, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

/// A client grant's row.
#[derive(Debug)]
pub struct ClientGrantRow {
    /// `cgr_` and 16 characters.
    pub id: String,
    /// Whose grant it is.
    pub client_id: ClientId,
    /// The API's identifier.
    pub audience: String,
    /// What access tokens name as `cfw.g`.
    pub grant_key: GrantKey,
    /// Everything else, as JSON.
    pub doc: String,
    /// When it was made.
    pub created_at: Timestamp,
}

statements! {
    INSERT = "insert into client_grants (tenant, id, client_id, audience, grant_key, doc, created_at)
        values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
    FIND = "select id, client_id, audience, grant_key, doc, created_at from client_grants
        where tenant = $1 and id = $2";
    LIST = "select id, client_id, audience, grant_key, doc, created_at from client_grants
        where tenant = $1 and (created_at > $2 or (created_at = $2 and id > $3))
        order by created_at, id limit $4";
    LIST_OF_AUDIENCE = "select id, client_id, audience, grant_key, doc, created_at from client_grants
        where tenant = $1 and audience = $2 order by created_at, id";
    UPDATE = "update client_grants set doc = $3 where tenant = $1 and id = $2";
    DELETE = "delete from client_grants where tenant = $1 and id = $2";
}

fn client_grant(row: &Row) -> Result<ClientGrantRow, Failure> {
    Ok(ClientGrantRow {
        id: row.get(0)?,
        client_id: row.get(1)?,
        audience: row.get(2)?,
        grant_key: row.get(3)?,
        doc: row.get(4)?,
        created_at: row.get(5)?,
    })
}

/// Makes a client grant with a grant key of its own; `false` when the client has one for this audience.
pub async fn insert(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &str,
    client_id: &ClientId,
    audience: &str,
    doc: &str,
) -> Result<bool, Failure> {
    let grant_key = GrantKey::generate(ctx.entropy.as_ref());
    Ok(tx.run(&INSERT, params![ctx.tenant, id, client_id, audience, &grant_key, doc, ctx.now]).await? == 1)
}

/// The client grant with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ClientGrantRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(client_grant).transpose()
}

/// Client grants in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<ClientGrantRow>, Failure> {
    tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?.iter().map(client_grant).collect()
}

/// All client grants for an audience.
pub async fn list_of_audience(
    tx: &mut Tx,
    tenant: TenantId,
    audience: &str,
) -> Result<Vec<ClientGrantRow>, Failure> {
    tx.all(&LIST_OF_AUDIENCE, params![tenant, audience]).await?.iter().map(client_grant).collect()
}

/// Replaces the document; `false` when there is no such grant.
pub async fn update(tx: &mut Tx, tenant: TenantId, id: &str, doc: &str) -> Result<bool, Failure> {
    Ok(tx.run(&UPDATE, params![tenant, id, doc]).await? == 1)
}

/// Deletes a client grant; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE, params![tenant, id]).await? == 1)
}
