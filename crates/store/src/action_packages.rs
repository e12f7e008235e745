//! What Actions stand on: the packages that dependencies were resolved to, and what those compile to.

use curfew_model::{Ctx, Failure, TenantId, Timestamp};

use crate::{Tx, params, statements};

statements! {
    KEEP = "insert into action_packages (tenant, digest, bytes, used_at) values ($1, $2, $3, $4) \
        on conflict (tenant, digest) do update set used_at = excluded.used_at";
    FIND = "select bytes from action_packages where tenant = $1 and digest = $2";
    /// What nothing stands on, and no build has come to for a while.
    PURGE = "delete from action_packages where tenant = $1 and used_at < $2 \
        and not exists (select 1 from actions a where a.tenant = $1 and a.packages = action_packages.digest) \
        and not exists (select 1 from action_versions v where v.tenant = $1 and v.packages = action_packages.digest)";
    KEEP_BYTECODE = "insert into action_bytecode (tenant, digest, engine, bytes, mac, created_at) values ($1, $2, $3, $4, $5, $6) \
        on conflict (tenant, digest, engine) do update set bytes = excluded.bytes, mac = excluded.mac, \
        created_at = excluded.created_at";
    FIND_BYTECODE = "select bytes, mac from action_bytecode where tenant = $1 and digest = $2 and engine = $3";
    /// What packages that are gone compiled to, and what an engine made before the one that made it last.
    PURGE_BYTECODE = "delete from action_bytecode where tenant = $1 and ((created_at < $2 and not exists (select 1 \
            from action_packages p where p.tenant = $1 and p.digest = action_bytecode.digest)) \
        or (created_at < $3 and exists (select 1 from action_bytecode newer where newer.tenant = $1 \
            and newer.digest = action_bytecode.digest and newer.created_at > action_bytecode.created_at)))";
}

/// Keeps packages under their digest.
pub async fn keep(tx: &mut Tx, ctx: &Ctx, digest: &str, bytes: &[u8]) -> Result<(), Failure> {
    tx.run(&KEEP, params![ctx.tenant, digest, bytes, ctx.now]).await.map(drop)
}

/// The packages of a digest.
pub async fn find(tx: &mut Tx, tenant: TenantId, digest: &str) -> Result<Option<Vec<u8>>, Failure> {
    tx.maybe(&FIND, params![tenant, digest]).await?.map(|row| row.get(0)).transpose()
}

/// Forgets packages that nothing stands on, and that no build came to since `before`.
pub async fn purge(tx: &mut Tx, tenant: TenantId, before: Timestamp) -> Result<u64, Failure> {
    tx.run(&PURGE, params![tenant, before]).await
}

/// Keeps what something compiles to.
pub async fn keep_bytecode(
    tx: &mut Tx,
    ctx: &Ctx,
    (digest, engine): (&str, &str),
    bytes: &[u8],
    mac: &[u8; 32],
) -> Result<(), Failure> {
    let parameters = params![ctx.tenant, digest, engine, bytes, mac, ctx.now];
    tx.run(&KEEP_BYTECODE, parameters).await.map(drop)
}

/// What something compiles to, and the MAC over it.
pub async fn find_bytecode(
    tx: &mut Tx,
    tenant: TenantId,
    (digest, engine): (&str, &str),
) -> Result<Option<(Vec<u8>, Vec<u8>)>, Failure> {
    let found = tx.maybe(&FIND_BYTECODE, params![tenant, digest, engine]).await?;
    found.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Forgets what packages compile to that are gone, when it was made before `unused`; and what one engine made of packages before
/// `superseded`, when another one made it later.
pub async fn purge_bytecode(
    tx: &mut Tx,
    tenant: TenantId,
    (unused, superseded): (Timestamp, Timestamp),
) -> Result<u64, Failure> {
    tx.run(&PURGE_BYTECODE, params![tenant, unused, superseded]).await
}
