//! Streams of the Shared Signals Framework, whom their receivers want to hear of, and what waits for them.
//!
//! What is pushed waits like any other delivery. What a receiver fetches by itself, and what a paused stream holds back,
//! waits with `next_at` at [`HELD`], where the courier never comes to it; `leased_until` then says until when it is left to
//! the poll that took it.

use curfew_model::{ClientId, Failure, Secret, TenantId, Timestamp, UserId, UserKey};

use crate::deliveries::{Delivery, DeliveryId, ReceiverId, columns, delivery};
use crate::{Row, Tx, params, statements};

/// When something is due that waits for somebody to ask: 9999-01-01.
pub const HELD: Timestamp = Timestamp::from_seconds(253_370_764_800);

/// What a stream is made of, in the order in which [`stream`] reads it.
macro_rules! of_stream {
    () => {
        "stream_id, client_id, issuer, doc, authorization_header, status, reason, subjects, updated_at, active_at"
    };
}

/// What waits for a stream.
macro_rules! waiting {
    () => {
        " tenant = $1 and receiver = $2 and state = 'waiting' and kind = 'security_event'"
    };
}

statements! {
    /// A stream.
    pub INSERT = "insert into signal_streams (tenant, stream_id, client_id, issuer, doc, authorization_header, status, \
        subjects, created_at, updated_at, active_at) values ($1, $2, $3, $4, $5, $6, 'enabled', 0, $7, $7, $7)";
    /// How many streams a tenant has, and how many of them are a client's.
    pub COUNT = "select count(*), count(case when client_id = $2 then 1 end) from signal_streams where tenant = $1";
    /// One.
    pub FIND = ("select ", of_stream!(), " from signal_streams where tenant = $1 and stream_id = $2");
    /// A client's.
    pub LIST_OF_CLIENT = ("select ", of_stream!(), " from signal_streams where tenant = $1 and client_id = $2 \
        order by created_at, stream_id");
    /// All.
    pub LIST = ("select ", of_stream!(), " from signal_streams where tenant = $1 order by stream_id");
    /// Takes a client's stream for this transaction: whoever else wants it waits.
    pub TAKE = ("update signal_streams set active_at = $4 where tenant = $1 and stream_id = $2 and client_id = $3 \
        returning ", of_stream!());
    /// Replaces what is configured.
    pub UPDATE = "update signal_streams set doc = $3, authorization_header = $4, updated_at = $5 \
        where tenant = $1 and stream_id = $2";
    /// Replaces the sealed header.
    pub SEAL = "update signal_streams set authorization_header = $3 where tenant = $1 and stream_id = $2";
    /// Sets the status.
    pub SET_STATUS = "update signal_streams set status = $3, reason = $4, updated_at = $5 \
        where tenant = $1 and stream_id = $2";
    /// Disables a stream whose receiver has not been here for long.
    pub DISABLE = "update signal_streams set status = 'disabled', reason = $3, updated_at = $4 \
        where tenant = $1 and stream_id = $2 and status <> 'disabled' and active_at <= $5";
    /// Notes a verification, if the last was long enough ago.
    pub VERIFY = "update signal_streams set verified_at = $3 where tenant = $1 and stream_id = $2 \
        and (verified_at is null or verified_at <= $4)";
    /// Notes that the receiver was here, if that was not noted lately.
    pub NOTE_ACTIVE = "update signal_streams set active_at = $3 where tenant = $1 and stream_id = $2 and active_at < $4";
    /// Removes one.
    pub DELETE = "delete from signal_streams where tenant = $1 and stream_id = $2";
    /// Removes its subjects.
    pub DELETE_SUBJECTS = "delete from signal_subjects where tenant = $1 and stream_id = $2";
    /// No subject is there any more.
    pub RESET_SUBJECTS = "update signal_streams set subjects = 0 where tenant = $1 and stream_id = $2";
    /// Counts a subject, while there is room.
    pub COUNT_SUBJECT = "update signal_streams set subjects = subjects + 1 \
        where tenant = $1 and stream_id = $2 and subjects < $3";
    /// Counts some less.
    pub DISCOUNT_SUBJECTS = "update signal_streams set subjects = subjects - $3 where tenant = $1 and stream_id = $2";
    /// A subject, unless it is there.
    pub INSERT_SUBJECT = "insert into signal_subjects (tenant, stream_id, subject_hash, user_key, doc, created_at) \
        values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
    /// Removes those that are under one name, or are one person.
    pub DELETE_SUBJECT = "delete from signal_subjects where tenant = $1 and stream_id = $2 \
        and (subject_hash = $3 or user_key = $4)";
    /// Whether one of a stream's subjects is a person, by their key or under one of two names.
    pub NAMES = "select 1 from signal_subjects where tenant = $1 and stream_id = $2 \
        and (user_key = $3 or subject_hash = $4 or subject_hash = $5) limit 1";

    /// Whether something waits that no poll has taken.
    pub ANY_WAITING = ("select 1 from deliveries where", waiting!(),
        " and (leased_until is null or leased_until <= $3) and ($4 = '' or event_type = $4) limit 1");
    /// Takes what waits for a poll, the oldest first, until `$4`, and counts the attempt. `$6`: only of this type.
    pub FETCH = {
        postgres: concat!("with due as materialized (select d.delivery_id from deliveries d where d.tenant = $1 \
                and d.receiver = $2 and d.state = 'waiting' and d.kind = 'security_event' \
                and (d.leased_until is null or d.leased_until <= $3) and ($6 = '' or d.event_type = $6) \
                order by d.created_at, d.delivery_id limit $5 for update skip locked) \
            update deliveries set attempts = attempts + 1, leased_until = $4 where", waiting!(),
            " and (leased_until is null or leased_until <= $3) \
            and delivery_id in (select due.delivery_id from due) returning ", columns!()),
        sqlite: concat!("update deliveries set attempts = attempts + 1, leased_until = $4 where", waiting!(),
            " and (leased_until is null or leased_until <= $3) and delivery_id in (\
                select d.delivery_id from deliveries d where d.tenant = $1 and d.receiver = $2 \
                and d.state = 'waiting' and d.kind = 'security_event' \
                and (d.leased_until is null or d.leased_until <= $3) and ($6 = '' or d.event_type = $6) \
                order by d.created_at, d.delivery_id limit $5) returning ", columns!()),
    };
    /// The receiver acknowledges (RFC 8936 §2.2) what it was handed; written as the answer to a push would be.
    pub ACKNOWLEDGE = ("update deliveries set state = 'confirmed', settled_at = $4, leased_until = null, \
        last_status = 202, last_error = null where", waiting!(), " and delivery_id = $3 and attempts > 0");
    /// The receiver cannot take it (RFC 8936 §2.6).
    pub REJECT = ("update deliveries set state = 'dead', settled_at = $4, leased_until = null, last_error = $5 where",
        waiting!(), " and delivery_id = $3 and attempts > 0");
    /// Holds back what waits, until somebody asks, or until `$4` at the latest.
    pub HOLD = ("update deliveries set next_at = $3, retry_until = $4, leased_until = null where", waiting!());
    /// What is held is due again, the oldest first, and is tried until `$4`.
    pub RELEASE = ("update deliveries set next_at = created_at, retry_until = $4, leased_until = null where", waiting!(),
        " and next_at >= $3");
    /// What nobody has fetched in time.
    pub EXPIRE = ("update deliveries set state = 'dead', settled_at = $4, leased_until = null, \
        last_error = 'nobody fetched it in time' where", waiting!(), " and next_at >= $3 and retry_until <= $4");
    /// The oldest beyond what a stream holds.
    pub OVERFLOW = ("update deliveries set state = 'dead', settled_at = $4, leased_until = null, \
        last_error = 'the stream held too much' where", waiting!(), " and next_at >= $3 and delivery_id in (\
            select d.delivery_id from deliveries d where d.tenant = $1 and d.receiver = $2 and d.state = 'waiting' \
            and d.kind = 'security_event' order by d.created_at desc, d.delivery_id desc limit 1000000 offset $5)");
    /// Gives up what waits for streams that are gone.
    pub CANCEL_ORPHANS = "update deliveries set state = 'cancelled', settled_at = $2, leased_until = null, \
        last_error = 'the stream was deleted' where tenant = $1 and state = 'waiting' and kind = 'security_event' \
        and not exists (select 1 from signal_streams s where s.tenant = deliveries.tenant \
            and s.stream_id = deliveries.receiver)";
    /// Whether something of one type waits about a person.
    pub WAITS_OF = ("select min(next_at) from deliveries where", waiting!(), " and sub = $3 and event_type = $4");
    /// A later event says all that these of one type would say about a person.
    pub SUPERSEDE = ("update deliveries set state = 'superseded', settled_at = $5, leased_until = null, \
        last_error = 'a later event says it' where", waiting!(), " and sub = $3 and event_type = $4 returning body");
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamStatus {
    /// Events are sent.
    Enabled,
    /// Events are held back.
    Paused,
    /// There are none.
    Disabled,
}

impl StreamStatus {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Enabled, Self::Paused, Self::Disabled];

    /// As it is stored, and on the wire (SSF §8.1.2).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

/// A stream's row.
#[derive(Debug, Clone)]
pub struct StreamRow {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub client_id: ClientId,
    /// In whose name its events are.
    pub issuer: String,
    /// What is configured, JSON.
    pub doc: String,
    /// What its endpoint wants to find in `Authorization`, sealed.
    pub authorization: Option<Secret<String>>,
    /// Where it is.
    pub status: StreamStatus,
    /// Why, if somebody said so.
    pub reason: Option<String>,
    /// How many subjects it treats otherwise than its default.
    pub subjects: i64,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When its receiver was last heard of.
    pub active_at: Timestamp,
}

impl StreamRow {
    /// Under which id deliveries name it.
    pub fn receiver(&self) -> ReceiverId {
        ReceiverId(self.id.clone())
    }
}

fn stream(row: &Row) -> Result<StreamRow, Failure> {
    let (id, status): (String, String) = (row.get(0)?, row.get(5)?);
    let Some(status) = StreamStatus::parse(&status) else {
        return Err(Failure::Inconsistent { table: "signal_streams", column: "status", id });
    };
    Ok(StreamRow {
        id,
        client_id: row.get(1)?,
        issuer: row.get(2)?,
        doc: row.get(3)?,
        authorization: row.get(4)?,
        status,
        reason: row.get(6)?,
        subjects: row.get(7)?,
        updated_at: row.get(8)?,
        active_at: row.get(9)?,
    })
}

/// Makes a stream, enabled. The caller has counted, under a row that is its own.
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &StreamRow, now: Timestamp) -> Result<(), Failure> {
    let parameters =
        params![tenant, &new.id, &new.client_id, &new.issuer, &new.doc, new.authorization.as_ref(), now];
    tx.run(&INSERT, parameters).await.map(drop)
}

/// How many streams a tenant has, and how many of them are a client's.
pub async fn count(tx: &mut Tx, tenant: TenantId, client: &ClientId) -> Result<(i64, i64), Failure> {
    let row = tx.one(&COUNT, params![tenant, client]).await?;
    Ok((row.get(0)?, row.get(1)?))
}

/// A stream by its id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<StreamRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(stream).transpose()
}

/// The streams of a client, in the order in which they were made.
pub async fn list_of_client(
    tx: &mut Tx,
    tenant: TenantId,
    client: &ClientId,
) -> Result<Vec<StreamRow>, Failure> {
    tx.all(&LIST_OF_CLIENT, params![tenant, client]).await?.iter().map(stream).collect()
}

/// Every stream of a tenant.
pub async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<StreamRow>, Failure> {
    tx.all(&LIST, params![tenant]).await?.iter().map(stream).collect()
}

/// Takes a client's stream for this transaction, and notes that its receiver was here; `None` when the client has none such.
pub async fn take(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    client: &ClientId,
    now: Timestamp,
) -> Result<Option<StreamRow>, Failure> {
    tx.maybe(&TAKE, params![tenant, id, client, now]).await?.as_ref().map(stream).transpose()
}

/// Replaces what is configured. The caller has [taken](take) the stream.
pub async fn update(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &StreamRow,
    now: Timestamp,
) -> Result<(), Failure> {
    let parameters = params![tenant, &stream.id, &stream.doc, stream.authorization.as_ref(), now];
    tx.run(&UPDATE, parameters).await.map(drop)
}

/// Replaces the sealed header.
pub async fn seal(tx: &mut Tx, tenant: TenantId, id: &str, sealed: &Secret<String>) -> Result<(), Failure> {
    tx.run(&SEAL, params![tenant, id, sealed]).await.map(drop)
}

/// Sets the status. The caller has [taken](take) the stream, or is the only one who does so.
pub async fn set_status(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    (status, reason): (StreamStatus, Option<&str>),
    now: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&SET_STATUS, params![tenant, id, status.as_str(), reason, now]).await? == 1)
}

/// Disables a stream, unless its receiver was here after `before`, or it is disabled already.
pub async fn disable(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    reason: &str,
    (now, before): (Timestamp, Timestamp),
) -> Result<bool, Failure> {
    Ok(tx.run(&DISABLE, params![tenant, id, reason, now, before]).await? == 1)
}

/// Notes a verification; `false` when the last one was after `before`.
pub async fn verify(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    now: Timestamp,
    before: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&VERIFY, params![tenant, id, now, before]).await? == 1)
}

/// Notes that the receiver was here, unless that was noted after `before`.
pub async fn note_active(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    now: Timestamp,
    before: Timestamp,
) -> Result<(), Failure> {
    tx.run(&NOTE_ACTIVE, params![tenant, id, now, before]).await.map(drop)
}

/// Deletes a stream with its subjects, and gives up what waits for it; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &str, now: Timestamp) -> Result<bool, Failure> {
    let deleted = tx.run(&DELETE, params![tenant, id]).await? == 1;
    tx.run(&DELETE_SUBJECTS, params![tenant, id]).await?;
    let why = (now, "the stream was deleted");
    crate::deliveries::cancel(tx, tenant, &ReceiverId(id.to_owned()), why).await?;
    Ok(deleted)
}

/// Deletes the streams of a client.
pub async fn delete_of_client(
    tx: &mut Tx,
    tenant: TenantId,
    client: &ClientId,
    now: Timestamp,
) -> Result<(), Failure> {
    for stream in list_of_client(tx, tenant, client).await? {
        delete(tx, tenant, &stream.id, now).await?;
    }
    Ok(())
}

/// A hash under which a subject is found.
pub type SubjectHash = [u8; 32];

/// What came of a subject that was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is there now, or was before.
    There,
    /// The stream has as many as it may.
    Full,
}

/// Writes a subject of a stream, of which there may be `max`.
pub async fn insert_subject(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    (hash, user, doc): (&SubjectHash, Option<&UserKey>, &str),
    now: Timestamp,
    max: i64,
) -> Result<Added, Failure> {
    if tx.run(&INSERT_SUBJECT, params![tenant, stream, hash, user, doc, now]).await? == 0 {
        return Ok(Added::There);
    }
    let counted = tx.run(&COUNT_SUBJECT, params![tenant, stream, max]).await? == 1;
    if counted {
        return Ok(Added::There);
    }
    tx.run(&DELETE_SUBJECT, params![tenant, stream, hash, None::<i64>]).await?;
    Ok(Added::Full)
}

/// Removes what of a stream's subjects is under one name, or is one person.
pub async fn delete_subject(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    hash: &SubjectHash,
    user: Option<&UserKey>,
) -> Result<(), Failure> {
    let deleted = tx.run(&DELETE_SUBJECT, params![tenant, stream, hash, user]).await?;
    let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
    tx.run(&DISCOUNT_SUBJECTS, params![tenant, stream, deleted]).await.map(drop)
}

/// Removes every subject of a stream.
pub async fn clear_subjects(tx: &mut Tx, tenant: TenantId, stream: &str) -> Result<(), Failure> {
    tx.run(&DELETE_SUBJECTS, params![tenant, stream]).await?;
    tx.run(&RESET_SUBJECTS, params![tenant, stream]).await.map(drop)
}

/// Whether one of a stream's subjects is a person: the one it named when it was written, or whom it names now.
pub async fn names(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    user: Option<&UserKey>,
    hashes: [Option<&SubjectHash>; 2],
) -> Result<bool, Failure> {
    let [one, other] = hashes;
    Ok(tx.maybe(&NAMES, params![tenant, stream, user, one, other]).await?.is_some())
}

/// Whether something waits for a stream that no poll has taken; with `of_type` only of that type.
pub async fn any_waiting(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    now: Timestamp,
    of_type: Option<&str>,
) -> Result<bool, Failure> {
    Ok(tx.maybe(&ANY_WAITING, params![tenant, stream, now, of_type.unwrap_or("")]).await?.is_some())
}

/// Takes up to `limit` of what waits for a stream until `leased_until`, the oldest first. The attempt is counted.
pub async fn fetch(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    (now, leased_until): (Timestamp, Timestamp),
    limit: i64,
    of_type: Option<&str>,
) -> Result<Vec<Delivery>, Failure> {
    let parameters = params![tenant, stream, now, leased_until, limit, of_type.unwrap_or("")];
    let mut fetched =
        tx.all(&FETCH, parameters).await?.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
    fetched.sort_by_key(|delivery| (delivery.created_at, delivery.id));
    Ok(fetched)
}

/// Notes that a receiver has acknowledged what a poll handed it; `false` when there is nothing such.
pub async fn acknowledge(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    id: &DeliveryId,
    now: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&ACKNOWLEDGE, params![tenant, stream, id, now]).await? == 1)
}

/// Notes that a receiver cannot take what a poll handed it; `false` when there is nothing such.
pub async fn reject(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    id: &DeliveryId,
    (now, why): (Timestamp, &str),
) -> Result<bool, Failure> {
    Ok(tx.run(&REJECT, params![tenant, stream, id, now, why]).await? == 1)
}

/// Holds back what waits for a stream, until `until` at the latest.
pub async fn hold(tx: &mut Tx, tenant: TenantId, stream: &str, until: Timestamp) -> Result<(), Failure> {
    tx.run(&HOLD, params![tenant, stream, HELD, until]).await.map(drop)
}

/// Has what a stream holds tried, the oldest first, until `until`.
pub async fn release(tx: &mut Tx, tenant: TenantId, stream: &str, until: Timestamp) -> Result<(), Failure> {
    tx.note_ending();
    tx.run(&RELEASE, params![tenant, stream, HELD, until]).await.map(drop)
}

/// Makes dead letters of what nobody fetched in time, and of the oldest beyond `max`.
pub async fn expire(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    now: Timestamp,
    max: i64,
) -> Result<u64, Failure> {
    let late = tx.run(&EXPIRE, params![tenant, stream, HELD, now]).await?;
    Ok(late + tx.run(&OVERFLOW, params![tenant, stream, HELD, now, max]).await?)
}

/// Gives up what waits for streams that are gone: written by who had read the stream before.
pub async fn cancel_orphans(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<u64, Failure> {
    tx.run(&CANCEL_ORPHANS, params![tenant, now]).await
}

/// When what waits for a stream of one type about a person is due; `None` when nothing such waits.
pub async fn waits_of(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    (sub, event_type): (&UserId, &str),
) -> Result<Option<Timestamp>, Failure> {
    tx.one(&WAITS_OF, params![tenant, stream, sub, event_type]).await?.get(0)
}

/// Takes back what waits for a stream of one type about a person; answers the bodies.
pub async fn supersede(
    tx: &mut Tx,
    tenant: TenantId,
    stream: &str,
    (sub, event_type): (&UserId, &str),
    now: Timestamp,
) -> Result<Vec<String>, Failure> {
    let rows = tx.all(&SUPERSEDE, params![tenant, stream, sub, event_type, now]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Tells those who wait for a stream's events that there are some, once this is committed.
pub fn note_waiting(tx: &mut Tx) {
    tx.note_ending();
}
