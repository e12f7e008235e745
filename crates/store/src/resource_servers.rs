//! Resource servers, and how long what they accept may live.
//!
//! The caller of every write moved the tenant's version with [`tenants::touch`](crate::tenants::touch) first.

use curfew_model::{Ctx, Failure, Secret, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

/// A resource server's row.
#[derive(Debug)]
pub struct ResourceServerRow {
    /// 24 hexadecimal digits.
    pub id: String,
    /// The audience.
    pub identifier: String,
    /// Everything but id, identifier and signing secret, as JSON.
    pub doc: String,
    /// `signing_secret`, sealed.
    pub signing_secret: Option<Secret<String>>,
    /// When it was made.
    pub created_at: Timestamp,
}

statements! {
    INSERT = "insert into resource_servers (tenant, id, identifier, doc, signing_secret, created_at, floor)
        values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
    FIND = "select id, identifier, doc, signing_secret, created_at from resource_servers
        where tenant = $1 and id = $2";
    FIND_BY_IDENTIFIER = "select id, identifier, doc, signing_secret, created_at from resource_servers
        where tenant = $1 and identifier = $2";
    LIST = "select id, identifier, doc, signing_secret, created_at from resource_servers
        where tenant = $1 and (created_at > $2 or (created_at = $2 and id > $3))
        order by created_at, id limit $4";
    UPDATE = "update resource_servers set doc = $3, signing_secret = $4 where tenant = $1 and id = $2";
    DELETE = "delete from resource_servers where tenant = $1 and id = $2";
    FIND_LIFETIME = "select lifetime, falls_to, falls_at from token_lifetimes where tenant = $1 and audience = $2";
    SET_LIFETIME = "insert into token_lifetimes (tenant, audience, lifetime, falls_to, falls_at)
        values ($1, $2, $3, $4, $5)
        on conflict (tenant, audience)
        do update set lifetime = excluded.lifetime, falls_to = excluded.falls_to, falls_at = excluded.falls_at";
}

fn resource_server(row: &Row) -> Result<ResourceServerRow, Failure> {
    Ok(ResourceServerRow {
        id: row.get(0)?,
        identifier: row.get(1)?,
        doc: row.get(2)?,
        signing_secret: row.get(3)?,
        created_at: row.get(4)?,
    })
}

/// Makes a resource server; `false` when the identifier is taken. Where there was one of this name before, nothing that
/// was issued for it until now comes to life again: its life-times are still known.
pub async fn insert(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &str,
    identifier: &str,
    doc: &str,
    signing_secret: Option<&Secret<String>>,
) -> Result<bool, Failure> {
    let before = tx.maybe(&FIND_LIFETIME, params![ctx.tenant, identifier]).await?;
    let floor = if before.is_some() { ctx.now } else { Timestamp::from_micros(0) };
    let parameters = params![ctx.tenant, id, identifier, doc, signing_secret, ctx.now, floor];
    Ok(tx.run(&INSERT, parameters).await? == 1)
}

/// The resource server with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ResourceServerRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(resource_server).transpose()
}

/// The resource server with this audience.
pub async fn find_by_identifier(
    tx: &mut Tx,
    tenant: TenantId,
    identifier: &str,
) -> Result<Option<ResourceServerRow>, Failure> {
    tx.maybe(&FIND_BY_IDENTIFIER, params![tenant, identifier])
        .await?
        .as_ref()
        .map(resource_server)
        .transpose()
}

/// Resource servers in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<ResourceServerRow>, Failure> {
    tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?.iter().map(resource_server).collect()
}

/// Replaces document and signing secret; `false` when there is no such resource server.
pub async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    doc: &str,
    signing_secret: Option<&Secret<String>>,
) -> Result<bool, Failure> {
    Ok(tx.run(&UPDATE, params![tenant, id, doc, signing_secret]).await? == 1)
}

/// Deletes a resource server; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE, params![tenant, id]).await? == 1)
}

/// Writes down that access tokens for `audience` live `seconds` from now on (0: none are issued any more).
///
/// A longer life-time counts at once. A shorter one counts only when the longest token issued before can have
/// ended, so that the feed keeps an ending as long as there are tokens it is about.
pub async fn set_lifetime(tx: &mut Tx, ctx: &Ctx, audience: &str, seconds: i64) -> Result<(), Failure> {
    let in_force = match tx.maybe(&FIND_LIFETIME, params![ctx.tenant, audience]).await? {
        None => 0,
        Some(row) => {
            let (lifetime, falls_to, falls_at) =
                (row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<Timestamp>(2)?);
            if falls_at <= ctx.now { falls_to } else { lifetime }
        }
    };
    let falls_at = if seconds >= in_force { ctx.now } else { ctx.now.plus_seconds(in_force) };
    let longest = seconds.max(in_force);
    tx.run(&SET_LIFETIME, params![ctx.tenant, audience, longest, seconds, falls_at]).await.map(drop)
}
