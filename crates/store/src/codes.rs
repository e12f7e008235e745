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
    /// Redemptions that no longer guard anything, by key range.
    pub PURGEABLE_CODES = "select user_key, grant_key from consumed_codes \
        where tenant = $1 and (user_key > $2 or (user_key = $2 and grant_key > $3)) and keep_until < $4 \
        order by user_key, grant_key limit $5";
    /// Removes one, unless a replay has prolonged it meanwhile.
    pub PURGE_CODE = "delete from consumed_codes where tenant = $1 and user_key = $2 and grant_key = $3 and keep_until < $4";
    /// The same of other things, by key range.
    pub PURGEABLE_CONSUMPTIONS = "select kind, id from consumptions \
        where tenant = $1 and (kind > $2 or (kind = $2 and id > $3)) and keep_until < $4 order by kind, id limit $5";
    /// Removes one.
    pub PURGE_CONSUMPTION = "delete from consumptions where tenant = $1 and kind = $2 and id = $3 and keep_until < $4";
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

/// Redemptions that no longer guard anything at `now`, in key order after `after`.
pub async fn purgeable_codes(
    tx: &mut Tx,
    tenant: TenantId,
    after: &FamilyId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<FamilyId>, Failure> {
    let rows = tx.all(&PURGEABLE_CODES, params![tenant, &after.user, &after.grant, now, limit]).await?;
    rows.iter().map(|row| Ok(FamilyId { user: row.get(0)?, grant: row.get(1)? })).collect()
}

/// Removes a redemption that guards nothing at `now`.
pub async fn purge_code(tx: &mut Tx, tenant: TenantId, id: &FamilyId, now: Timestamp) -> Result<(), Failure> {
    tx.run(&PURGE_CODE, params![tenant, &id.user, &id.grant, now]).await.map(|_| ())
}

/// Other consumptions that guard nothing at `now`, as kind and id, in key order after `after`.
pub async fn purgeable_consumptions(
    tx: &mut Tx,
    tenant: TenantId,
    (kind, id): (&str, &[u8]),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let rows = tx.all(&PURGEABLE_CONSUMPTIONS, params![tenant, kind, id, now, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Removes a consumption that guards nothing at `now`.
pub async fn purge_consumption(
    tx: &mut Tx,
    tenant: TenantId,
    (kind, id): (&str, &[u8]),
    now: Timestamp,
) -> Result<(), Failure> {
    tx.run(&PURGE_CONSUMPTION, params![tenant, kind, id, now]).await.map(|_| ())
}
