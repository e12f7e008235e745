//! Clients and their credentials.
//!
//! Every write moves the client's `version` in the same transaction, because caches hold clients by it.

use curfew_model::{ClientId, Ctx, Failure, Secret, TenantId, Timestamp};

use crate::{Row, Tx, params, policies, statements};

/// A client's row.
#[derive(Debug)]
pub struct ClientRow {
    /// `client_id`.
    pub client_id: ClientId,
    /// Everything but id and secret, as JSON.
    pub doc: String,
    /// `client_secret`, sealed.
    pub secret: Secret<String>,
    /// The version this was read at.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A credential's row.
#[derive(Debug)]
pub struct CredentialRow {
    /// `cred_…`.
    pub id: String,
    /// Everything but the id, the key included, as JSON.
    pub doc: String,
    /// When it was made.
    pub created_at: Timestamp,
}

statements! {
    INSERT = "insert into clients
            (tenant, client_id, doc, secret, counter, floor, token_floor, version, created_at)
        values ($1, $2, $3, $4, $5, $5, $5, $5, $5)
        on conflict do nothing";
    FIND = "select client_id, doc, secret, version, created_at from clients where tenant = $1 and client_id = $2";
    LIST = "select client_id, doc, secret, version, created_at from clients
        where tenant = $1 and (created_at > $2 or (created_at = $2 and client_id > $3))
        order by created_at, client_id limit $4";
    UPDATE_DOC = "update clients set doc = $3, version = version + 1
        where tenant = $1 and client_id = $2 and version = $4";
    UPDATE_SECRET = "update clients set secret = $3, version = version + 1 where tenant = $1 and client_id = $2";
    TOUCH = "update clients set version = version + 1 where tenant = $1 and client_id = $2";
    DELETE = "delete from clients where tenant = $1 and client_id = $2";
    DELETE_CREDENTIALS = "delete from client_credentials where tenant = $1 and client_id = $2";
    DELETE_GRANTS = "delete from client_grants where tenant = $1 and client_id = $2";
    DELETE_CONNECTIONS = "delete from connection_clients where tenant = $1 and client_id = $2";
    INSERT_CREDENTIAL = "insert into client_credentials (tenant, client_id, id, doc, created_at)
        values ($1, $2, $3, $4, $5)";
    FIND_CREDENTIAL = "select id, doc, created_at from client_credentials
        where tenant = $1 and client_id = $2 and id = $3";
    LIST_CREDENTIALS = "select id, doc, created_at from client_credentials
        where tenant = $1 and client_id = $2 order by created_at, id";
    UPDATE_CREDENTIAL = "update client_credentials set doc = $4
        where tenant = $1 and client_id = $2 and id = $3";
    DELETE_CREDENTIAL = "delete from client_credentials where tenant = $1 and client_id = $2 and id = $3";
}

fn client(row: &Row) -> Result<ClientRow, Failure> {
    Ok(ClientRow {
        client_id: row.get(0)?,
        doc: row.get(1)?,
        secret: row.get(2)?,
        version: row.get(3)?,
        created_at: row.get(4)?,
    })
}

fn credential(row: &Row) -> Result<CredentialRow, Failure> {
    Ok(CredentialRow { id: row.get(0)?, doc: row.get(1)?, created_at: row.get(2)? })
}

/// Makes a client; `false` when the id is taken.
///
/// Counter, floors and version start at the present instant, so that a client made again under an old id neither
/// revives what was issued to the old one nor meets a cached copy of it.
pub async fn insert(
    tx: &mut Tx,
    ctx: &Ctx,
    client_id: &ClientId,
    doc: &str,
    secret: &Secret<String>,
) -> Result<bool, Failure> {
    Ok(tx.run(&INSERT, params![ctx.tenant, client_id, doc, secret, ctx.now]).await? == 1)
}

/// The client with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, client_id: &ClientId) -> Result<Option<ClientRow>, Failure> {
    tx.maybe(&FIND, params![tenant, client_id]).await?.as_ref().map(client).transpose()
}

/// Clients in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<ClientRow>, Failure> {
    tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?.iter().map(client).collect()
}

/// Replaces the document of a client that is still at `version`; `false` when it is not, or is gone.
pub async fn update_doc(
    tx: &mut Tx,
    tenant: TenantId,
    client_id: &ClientId,
    doc: &str,
    version: i64,
) -> Result<bool, Failure> {
    Ok(tx.run(&UPDATE_DOC, params![tenant, client_id, doc, version]).await? == 1)
}

/// Replaces the sealed secret; `false` when there is no such client.
pub async fn update_secret(
    tx: &mut Tx,
    tenant: TenantId,
    client_id: &ClientId,
    secret: &Secret<String>,
) -> Result<bool, Failure> {
    Ok(tx.run(&UPDATE_SECRET, params![tenant, client_id, secret]).await? == 1)
}

/// Moves the version, because something that hangs on the client changes; `false` when there is no such client.
/// Takes the client's row first, so that two such writers come one after the other.
pub async fn touch(tx: &mut Tx, tenant: TenantId, client_id: &ClientId) -> Result<bool, Failure> {
    Ok(tx.run(&TOUCH, params![tenant, client_id]).await? == 1)
}

/// Deletes a client with its credentials, its grants, its policies and its places in connections; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, client_id: &ClientId) -> Result<bool, Failure> {
    let deleted = tx.run(&DELETE, params![tenant, client_id]).await? == 1;
    for statement in [&DELETE_CREDENTIALS, &DELETE_GRANTS, &DELETE_CONNECTIONS, &policies::CLEAR] {
        tx.run(statement, params![tenant, client_id]).await?;
    }
    Ok(deleted)
}

/// Adds a credential. The caller moved the client's version with [`touch`].
pub async fn insert_credential(
    tx: &mut Tx,
    ctx: &Ctx,
    client_id: &ClientId,
    id: &str,
    doc: &str,
) -> Result<(), Failure> {
    tx.run(&INSERT_CREDENTIAL, params![ctx.tenant, client_id, id, doc, ctx.now]).await.map(drop)
}

/// One credential of a client.
pub async fn find_credential(
    tx: &mut Tx,
    tenant: TenantId,
    client_id: &ClientId,
    id: &str,
) -> Result<Option<CredentialRow>, Failure> {
    tx.maybe(&FIND_CREDENTIAL, params![tenant, client_id, id]).await?.as_ref().map(credential).transpose()
}

/// A client's credentials in the order they were made.
pub async fn list_credentials(
    tx: &mut Tx,
    tenant: TenantId,
    client_id: &ClientId,
) -> Result<Vec<CredentialRow>, Failure> {
    tx.all(&LIST_CREDENTIALS, params![tenant, client_id]).await?.iter().map(credential).collect()
}

/// Replaces a credential's document. The caller moved the client's version with [`touch`].
pub async fn update_credential(
    tx: &mut Tx,
    tenant: TenantId,
    client_id: &ClientId,
    id: &str,
    doc: &str,
) -> Result<bool, Failure> {
    Ok(tx.run(&UPDATE_CREDENTIAL, params![tenant, client_id, id, doc]).await? == 1)
}

/// Deletes a credential; `false` when there was none. The caller moved the client's version with [`touch`].
pub async fn delete_credential(
    tx: &mut Tx,
    tenant: TenantId,
    client_id: &ClientId,
    id: &str,
) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE_CREDENTIAL, params![tenant, client_id, id]).await? == 1)
}
