//! Event streams: what they are, and how it goes with what they are told.
//!
//! The caller of every write to [`event_streams`](self) moved the tenant's version with
//! [`tenants::touch`](crate::tenants::touch) first, so that two of them count one after the other.

use curfew_model::{Ctx, Failure, Secret, TenantId, Timestamp};

use crate::deliveries::{self, Delivery, DeliveryId, DeliveryState};
use crate::{Row, Tx, params, statements};

/// Streams of one tenant.
pub const STREAMS_MAX: usize = 20;

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;

statements! {
    INSERT = "insert into event_streams (tenant, stream_id, doc, enabled, signing_secret, authorization_secret, created_at, \
        updated_at) values ($1, $2, $3, $4, $5, $6, $7, $7)";
    COUNT = "select count(*) from event_streams where tenant = $1";
    FIND = "select stream_id, doc, enabled, signing_secret, previous_secret, previous_until, authorization_secret, \
        created_at, updated_at from event_streams where tenant = $1 and stream_id = $2";
    LIST = "select stream_id, doc, enabled, signing_secret, previous_secret, previous_until, authorization_secret, \
        created_at, updated_at from event_streams where tenant = $1 and (created_at > $2 or (created_at = $2 \
        and stream_id > $3)) order by created_at, stream_id limit $4";
    ENABLED = "select stream_id, doc from event_streams where tenant = $1 and enabled = 1 order by stream_id";
    UPDATE = "update event_streams set doc = $3, enabled = $4, authorization_secret = $5, updated_at = $6 \
        where tenant = $1 and stream_id = $2";
    SET_SECRETS = "update event_streams set signing_secret = $3, previous_secret = $4, previous_until = $5, \
        authorization_secret = $6 where tenant = $1 and stream_id = $2";
    DELETE = "delete from event_streams where tenant = $1 and stream_id = $2";
    /// Those that are dead, which are commonly few.
    DEAD = ("select ", deliveries::columns!(), " from deliveries where tenant = $1 and receiver = $2 and state = 'dead' \
        and created_at >= $3 and created_at < $4 and (created_at > $5 or (created_at = $5 and delivery_id > $6)) \
        and ($7 = '' or $7 like '%,' || event_type || ',%') order by created_at, delivery_id limit $8");
    /// Those in any of the states that stand in `$9` between commas.
    LIST_DELIVERIES = ("select ", deliveries::columns!(), " from deliveries where tenant = $1 and receiver = $2 \
        and created_at >= $3 and created_at < $4 and (created_at > $5 or (created_at = $5 and delivery_id > $6)) \
        and ($7 = '' or $7 like '%,' || event_type || ',%') and $9 like '%,' || state || ',%' \
        order by created_at, delivery_id limit $8");
    /// How many are dead, as far as `$3`.
    COUNT_DEAD = "select count(*) from (select d.delivery_id from deliveries d \
        where d.tenant = $1 and d.receiver = $2 and d.state = 'dead' limit $3) dead";
    /// Has those that are dead tried again, with all their time.
    REVIVE = "update deliveries set state = 'waiting', settled_at = null, attempts = 0, next_at = $3, retry_until = $4 \
        where tenant = $1 and state = 'dead' and delivery_id in (select d.delivery_id from deliveries d \
            where d.tenant = $1 and d.receiver = $2 and d.state = 'dead' and d.created_at >= $5 and d.created_at < $6 \
            and ($7 = '' or $7 like '%,' || d.event_type || ',%') order by d.created_at, d.delivery_id limit $8)";
    /// The tries of a delivery; whoever else notes one waits.
    CLAIM_TRIES = "update deliveries set tries = tries where tenant = $1 and delivery_id = $2 returning tries";
    TRIES = "select tries from deliveries where tenant = $1 and delivery_id = $2";
    SET_TRIES = "update deliveries set tries = $3 where tenant = $1 and delivery_id = $2";
    /// What is over and was told to event streams, by key range; what tells of an ending stays with its receipt.
    PURGEABLE = "select delivery_id from deliveries where tenant = $1 and delivery_id > $2 and settled_at < $3 \
        and kind = 'event' and ending_id is null and state <> 'dead' order by delivery_id limit $4";
    COUNT_UP = "insert into event_stream_hours (tenant, stream_id, hour, confirmed, dead, failed) \
        values ($1, $2, $3, $4, $5, $6) on conflict (tenant, stream_id, hour) do update set \
        confirmed = event_stream_hours.confirmed + excluded.confirmed, dead = event_stream_hours.dead + excluded.dead, \
        failed = event_stream_hours.failed + excluded.failed";
    HOURS = "select hour, confirmed, dead, failed from event_stream_hours \
        where tenant = $1 and stream_id = $2 and hour >= $3 and hour <= $4 order by hour";
    PURGE_HOURS = "delete from event_stream_hours where tenant = $1 and hour < $2";
}

/// An event stream's row.
#[derive(Debug, Clone)]
pub struct EventStreamRow {
    /// `est_…`.
    pub stream_id: String,
    /// The stream without its id, times and secrets, as JSON.
    pub doc: String,
    /// Whether it is told of anything.
    pub enabled: bool,
    /// What it signs and authenticates itself with.
    pub secrets: Secrets,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// The secrets of an event stream, sealed.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// What its messages are signed with.
    pub signing: Secret<String>,
    /// What they are signed with as well, and until when.
    pub previous: Option<(Secret<String>, Timestamp)>,
    /// What its requests authenticate themselves with.
    pub authorization: Secret<String>,
}

fn stream(row: &Row) -> Result<EventStreamRow, Failure> {
    let previous: (Option<Secret<String>>, Option<Timestamp>) = (row.get(4)?, row.get(5)?);
    Ok(EventStreamRow {
        stream_id: row.get(0)?,
        doc: row.get(1)?,
        enabled: row.get(2)?,
        secrets: Secrets {
            signing: row.get(3)?,
            previous: previous.0.zip(previous.1),
            authorization: row.get(6)?,
        },
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
    })
}

/// Makes a stream; `false` when the tenant has as many as it may have.
pub async fn insert(tx: &mut Tx, ctx: &Ctx, new: &EventStreamRow) -> Result<bool, Failure> {
    let count: i64 = tx.one(&COUNT, params![ctx.tenant]).await?.get(0)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= STREAMS_MAX {
        return Ok(false);
    }
    let (signing, authorization) = (&new.secrets.signing, &new.secrets.authorization);
    let parameters =
        params![ctx.tenant, &new.stream_id, &new.doc, new.enabled, signing, authorization, ctx.now];
    Ok(tx.run(&INSERT, parameters).await? == 1)
}

/// The stream with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<EventStreamRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(stream).transpose()
}

/// Streams in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<EventStreamRow>, Failure> {
    tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?.iter().map(stream).collect()
}

/// Ids and documents of the streams that are told of something.
pub async fn enabled(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(String, String)>, Failure> {
    tx.all(&ENABLED, params![tenant]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Replaces document and authorization of a stream.
pub async fn update(tx: &mut Tx, ctx: &Ctx, row: &EventStreamRow) -> Result<(), Failure> {
    let parameters =
        params![ctx.tenant, &row.stream_id, &row.doc, row.enabled, &row.secrets.authorization, ctx.now];
    tx.run(&UPDATE, parameters).await.map(drop)
}

/// Replaces the secrets of a stream.
pub async fn set_secrets(tx: &mut Tx, tenant: TenantId, id: &str, secrets: &Secrets) -> Result<(), Failure> {
    let (previous, until) = match &secrets.previous {
        Some((secret, until)) => (Some(secret), Some(*until)),
        None => (None, None),
    };
    let parameters = params![tenant, id, &secrets.signing, previous, until, &secrets.authorization];
    tx.run(&SET_SECRETS, parameters).await.map(drop)
}

/// Deletes a stream; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE, params![tenant, id]).await? == 1)
}

/// Which deliveries of a stream.
#[derive(Debug, Clone)]
pub struct Filter {
    /// In which states.
    pub states: Vec<DeliveryState>,
    /// Of which types of events; of all when it names none.
    pub event_types: Vec<String>,
    /// Made from this instant on.
    pub from: Timestamp,
    /// And before this one.
    pub to: Timestamp,
}

/// `,a,b,`; nothing when there is nothing.
fn between_commas<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names {
        if text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push(',');
    }
    text
}

/// Up to `limit` deliveries of a stream, in the order in which they were made, after a position.
pub async fn deliveries(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    filter: &Filter,
    after: (Timestamp, &[u8]),
    limit: i64,
) -> Result<Vec<Delivery>, Failure> {
    let types = between_commas(filter.event_types.iter().map(String::as_str));
    let found = if filter.states == [DeliveryState::Dead] {
        let parameters = params![tenant, id, filter.from, filter.to, after.0, after.1, &types, limit];
        tx.all(&DEAD, parameters).await?
    } else {
        let states = between_commas(filter.states.iter().map(|state| state.as_str()));
        let parameters =
            params![tenant, id, filter.from, filter.to, after.0, after.1, &types, limit, &states];
        tx.all(&LIST_DELIVERIES, parameters).await?
    };
    found.iter().map(deliveries::delivery).collect()
}

/// Writes a delivery that waits, and has it sent at once.
pub async fn insert_delivery(tx: &mut Tx, tenant: TenantId, new: &Delivery) -> Result<(), Failure> {
    tx.note_ending();
    deliveries::insert(tx, tenant, new).await.map(drop)
}

/// How many dead letters a stream has, as far as `limit`.
pub async fn count_dead(tx: &mut Tx, tenant: TenantId, id: &str, limit: i64) -> Result<i64, Failure> {
    tx.one(&COUNT_DEAD, params![tenant, id, limit]).await?.get(0)
}

/// Has up to `limit` dead letters of a stream tried again until `retry_until`, and at once. Answers how many.
pub async fn revive(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    filter: &Filter,
    (now, retry_until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<u64, Failure> {
    tx.note_ending();
    let types = between_commas(filter.event_types.iter().map(String::as_str));
    tx.run(&REVIVE, params![tenant, id, now, retry_until, filter.from, filter.to, &types, limit]).await
}

/// As [`revive`], of one; `false` when it is no dead letter.
pub async fn revive_one(
    tx: &mut Tx,
    tenant: TenantId,
    id: &DeliveryId,
    times: (Timestamp, Timestamp),
) -> Result<bool, Failure> {
    tx.note_ending();
    deliveries::revive(tx, tenant, id, times).await
}

/// The tries of a delivery, JSON.
pub async fn tries(tx: &mut Tx, tenant: TenantId, id: &DeliveryId) -> Result<Option<String>, Failure> {
    match tx.maybe(&TRIES, params![tenant, id]).await? {
        Some(row) => row.get(0),
        None => Ok(None),
    }
}

/// As [`tries`], for a transaction that replaces them; `None` when the delivery is gone.
pub async fn claim_tries(
    tx: &mut Tx,
    tenant: TenantId,
    id: &DeliveryId,
) -> Result<Option<Option<String>>, Failure> {
    tx.maybe(&CLAIM_TRIES, params![tenant, id]).await?.map(|row| row.get(0)).transpose()
}

/// Replaces the tries of a delivery.
pub async fn set_tries(tx: &mut Tx, tenant: TenantId, id: &DeliveryId, tries: &str) -> Result<(), Failure> {
    tx.run(&SET_TRIES, params![tenant, id, tries]).await.map(drop)
}

/// Deliveries of events, other than endings, that were settled before `before`, in key order after `after`.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    after: &[u8],
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Vec<u8>>, Failure> {
    tx.all(&PURGEABLE, params![tenant, after, before, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// How it went in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Deliveries that were confirmed.
    pub confirmed: i64,
    /// Deliveries that were given up.
    pub dead: i64,
    /// Tries that confirmed nothing.
    pub failed: i64,
}

/// The beginning of the hour of an instant.
pub const fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(HOUR))
}

/// Counts what happened now.
pub async fn count_up(tx: &mut Tx, ctx: &Ctx, id: &str, more: Counts) -> Result<(), Failure> {
    let parameters = params![ctx.tenant, id, hour_of(ctx.now), more.confirmed, more.dead, more.failed];
    tx.run(&COUNT_UP, parameters).await.map(drop)
}

/// The hours of a stream in which something happened, from one to another.
pub async fn hours(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<(Timestamp, Counts)>, Failure> {
    let rows = tx.all(&HOURS, params![tenant, id, from, to]).await?;
    rows.iter()
        .map(|row| {
            let counts = Counts { confirmed: row.get(1)?, dead: row.get(2)?, failed: row.get(3)? };
            Ok((row.get(0)?, counts))
        })
        .collect()
}

/// Forgets hours before an instant.
pub async fn purge_hours(tx: &mut Tx, tenant: TenantId, before: Timestamp) -> Result<u64, Failure> {
    tx.run(&PURGE_HOURS, params![tenant, before]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_between_commas() {
        assert_eq!(between_commas(["dead", "waiting"].into_iter()), ",dead,waiting,");
        assert_eq!(between_commas([].into_iter()), "");
    }

    #[test]
    fn hours_begin_on_the_hour() {
        let at = Timestamp::parse_iso("2026-01-01T10:59:59.999Z").expect("a date");
        assert_eq!(hour_of(at).iso(), "2026-01-01T10:00:00.000Z");
        assert_eq!(hour_of(hour_of(at)), hour_of(at));
    }
}
