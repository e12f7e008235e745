//! What happens once: redeemed authorization codes, and other consumptions.

use curfew_model::{ClientId, Failure, FamilyId, RequestId, TenantId, Timestamp};

use crate::{Tx, params, statements};

statements! {
    /// Consumes a code; no row when it was consumed before.
    pub CONSUME = "insert into consumed_codes (tenant, user_key, grant_key, client_id, request_id, consumed_at, keep_until) \
        values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing";
    /// Who consumed it.
    pub CONSUMED = "select request_id, replayed_at from consumed_codes \
        where tenant = $1 and user_key = $2 and grant_key = $3";
    /// The first replay; no row changes at the second.
    pub REPLAY = "update consumed_codes set replayed_at = $4, keep_until = $5 \
        where tenant = $1 and user_key = $2 and grant_key = $3 and replayed_at is null";
    /// Other things that happen once.
    pub CONSUME_ONCE = "insert into consumptions (tenant, kind, id, consumed_at, keep_until) \
        values ($1, $2, $3, $4, $5) on conflict do nothing";
    /// Whether such a thing has happened.
    pub WAS_CONSUMED = "select consumed_at from consumptions where tenant = $1 and kind = $2 and id = $3";
    /// What is over.
    pub PURGE_CODES = "delete from consumed_codes where tenant = $1 and keep_until < $2";
    /// What is over.
    pub PURGE_CONSUMPTIONS = "delete from consumptions where tenant = $1 and keep_until < $2";
}

/// How a consumption went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumption {
    /// This request is the first.
    Won,
    /// This very request won before: its commit was not acknowledged.
    WonBefore,
    /// Another request was first.
    Lost,
}

/// Consumes the code of a grant; `false` when it was consumed before, be it by this very request.
pub async fn consume_first(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    client: &ClientId,
    request: &RequestId,
    now: Timestamp,
    keep_until: Timestamp,
) -> Result<bool, Failure> {
    let parameters = params![tenant, &id.user, &id.grant, client, request, now, keep_until];
    Ok(tx.run(&CONSUME, parameters).await? == 1)
}

/// Consumes the code of a grant.
pub async fn consume(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    client: &ClientId,
    request: &RequestId,
    now: Timestamp,
    keep_until: Timestamp,
) -> Result<Consumption, Failure> {
    if consume_first(tx, tenant, id, client, request, now, keep_until).await? {
        return Ok(Consumption::Won);
    }
    let row = tx.one(&CONSUMED, params![tenant, &id.user, &id.grant]).await?;
    Ok(if row.get::<RequestId>(0)? == *request { Consumption::WonBefore } else { Consumption::Lost })
}

/// Whether the code of a grant was redeemed, as far back as redemptions are kept.
pub async fn was_redeemed(tx: &mut Tx, tenant: TenantId, id: &FamilyId) -> Result<bool, Failure> {
    Ok(tx.maybe(&CONSUMED, params![tenant, &id.user, &id.grant]).await?.is_some())
}

/// Notes a replay; `true` at the first.
pub async fn replay(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    now: Timestamp,
    keep_until: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&REPLAY, params![tenant, &id.user, &id.grant, now, keep_until]).await? == 1)
}

/// Consumes a thing that happens once (`kind`: `client_assertion`, `login`, …); `false` when it happened before.
pub async fn consume_once(
    tx: &mut Tx,
    tenant: TenantId,
    kind: &str,
    id: &[u8],
    now: Timestamp,
    keep_until: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&CONSUME_ONCE, params![tenant, kind, id, now, keep_until]).await? == 1)
}

/// Whether a thing that happens once has happened.
pub async fn was_consumed(tx: &mut Tx, tenant: TenantId, kind: &str, id: &[u8]) -> Result<bool, Failure> {
    Ok(tx.maybe(&WAS_CONSUMED, params![tenant, kind, id]).await?.is_some())
}

/// Removes consumptions that no longer guard anything.
pub async fn purge(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<u64, Failure> {
    let codes = tx.run(&PURGE_CODES, params![tenant, now]).await?;
    Ok(codes + tx.run(&PURGE_CONSUMPTIONS, params![tenant, now]).await?)
}
