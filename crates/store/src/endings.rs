//! What an ending writes beside the floors: its own row, its feed entry, its fan-out row.

use curfew_model::{
    EndingCause, EndingId, Failure, FamilyId, GrantKey, SessionKey, TenantId, Timestamp, UserId, UserKey,
};

use crate::{Engine, Row, Tx, params, statements};

statements! {
    /// The ending itself.
    pub INSERT = "insert into endings (tenant, ending_id, at, cause, user_key, user_id, session_key, grant_key, client_id, detail) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    /// Whom to tell is worked out from this later.
    pub INSERT_FANOUT = "insert into fanouts (tenant, ending_id, created_at, scope) values ($1, $2, $3, $4)";
    /// Takes the next position of a lane. The last statements of an ending's transaction, so that within a lane
    /// numbers appear in order and without gaps.
    pub NEXT_POSITION = "update feed_lanes set head = head + 1 where lane = $1 returning head";
    /// The entry at that position.
    pub INSERT_ENTRY = "insert into feed_entries (lane, position, tenant, ending_id, at, cause, kind, user_key, subject, \
        audience, counter, spared, keep_until) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    /// The high-water mark of a tenant's access-token life-times.
    pub LONGEST_LIFETIME = "select max(case when falls_at > $2 then lifetime else falls_to end) from token_lifetimes \
        where tenant = $1";
    /// The endings of a user, newest first.
    pub OF_USER = "select ending_id, at, cause from endings where tenant = $1 and user_key = $2 order by at desc limit $3";
    /// The newest endings of a tenant, each with its fan-out row.
    pub NEWEST = "select e.ending_id, e.at, e.cause, e.user_id, e.client_id, f.created_at from endings e \
        left join fanouts f on f.tenant = e.tenant and f.ending_id = e.ending_id \
        where e.tenant = $1 order by e.at desc, e.ending_id limit $2";
    /// One ending.
    pub FIND = "select ending_id, at, cause, user_id, client_id, user_key, session_key, grant_key, detail from endings \
        where tenant = $1 and ending_id = $2";
    /// The endings of a span, newest first, after a place; of one cause unless it is empty.
    pub PAGE = "select ending_id, at, cause, user_id, client_id, user_key, session_key, grant_key, detail from endings \
        where tenant = $1 and (at < $2 or (at = $2 and ending_id < $3)) and at >= $4 and ($5 = '' or cause = $5) \
        order by at desc, ending_id desc limit $6";
    /// As PAGE, of one user.
    pub PAGE_OF_USER = "select ending_id, at, cause, user_id, client_id, user_key, session_key, grant_key, detail \
        from endings where tenant = $1 and (at < $2 or (at = $2 and ending_id < $3)) and at >= $4 \
        and ($5 = '' or cause = $5) and user_key = $7 order by at desc, ending_id desc limit $6";
    /// What one ending told the feed.
    pub ENTRIES = "select kind, user_key, subject, audience, counter, spared, keep_until from feed_entries \
        where tenant = $1 and ending_id = $2 order by lane, position";
    /// Endings of before an instant, in the order of their instants, whose fan-out is done and whose session is gone.
    pub PURGEABLE = "select e.at, e.ending_id from endings e join fanouts f on f.tenant = e.tenant \
        and f.ending_id = e.ending_id where e.tenant = $1 and (e.at > $2 or (e.at = $2 and e.ending_id > $3)) \
        and e.at < $4 and f.expanded_at is not null and not exists (select 1 from sessions s where s.tenant = e.tenant \
        and s.user_key = e.user_key and s.session_key = e.session_key) and not exists (select 1 from deliveries d \
        where d.tenant = e.tenant and d.ending_id = e.ending_id) order by e.at, e.ending_id limit $5";
    /// Removes one, after what hangs on it.
    pub PURGE = "delete from endings where tenant = $1 and ending_id = $2";
    /// Removes its fan-out row.
    pub PURGE_FANOUT = "delete from fanouts where tenant = $1 and ending_id = $2";
    /// Removes what nodes said of it.
    pub PURGE_HEARD = "delete from ending_guards where tenant = $1 and ending_id = $2";
    /// Feed entries that no guard needs any more.
    pub PURGEABLE_ENTRIES = "select lane, position from feed_entries \
        where (lane > $1 or (lane = $1 and position > $2)) and keep_until < $3 order by lane, position limit $4";
    /// Removes one.
    pub PURGE_ENTRY = "delete from feed_entries where lane = $1 and position = $2";
}

/// How many lanes the feed has on an engine.
pub const fn lanes(engine: Engine) -> u8 {
    match engine {
        Engine::Sqlite => 1,
        Engine::Postgres => 32,
    }
}

/// An ending as it is recorded.
#[derive(Debug, Clone)]
pub struct EndingRow {
    /// Its id.
    pub id: EndingId,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: &'static str,
    /// Whose access, where it is one user's.
    pub user_key: Option<UserKey>,
    /// `sub` of that user.
    pub user_id: Option<UserId>,
    /// Which session, where it is one.
    pub session: Option<SessionKey>,
    /// Which grant, where it is one.
    pub grant: Option<FamilyId>,
    /// Which client, where it is one.
    pub client_id: Option<String>,
    /// JSON: who did it, what fell.
    pub detail: String,
    /// JSON: which sessions fell, and so who is to be told; `None` when none did.
    pub scope: Option<String>,
}

/// One cutoff, as guards will read it.
#[derive(Debug, Clone)]
pub struct FeedEntry {
    /// `user`, `user_sessions`, `user_families`, `user_client`, `session`, `session_expired`, `grant`, `client`,
    /// `client_users`, `signing_key`, `audience`, `users`.
    pub kind: &'static str,
    /// Whose.
    pub user_key: Option<UserKey>,
    /// Session, grant, client, key id or connection, as text.
    pub subject: Option<String>,
    /// API.
    pub audience: Option<String>,
    /// Tokens below are over.
    pub counter: Option<i64>,
    /// A session that stays.
    pub spared: Option<SessionKey>,
    /// Until when a guard needs it.
    pub keep_until: Timestamp,
}

/// Records an ending with its fan-out row and its feed entries.
pub async fn insert(
    tx: &mut Tx,
    tenant: TenantId,
    row: &EndingRow,
    entries: &[FeedEntry],
) -> Result<(), Failure> {
    let grant = row.grant.as_ref().map(|id| &id.grant);
    let parameters = params![
        tenant,
        &row.id,
        row.at,
        row.cause,
        row.user_key.as_ref(),
        row.user_id.as_ref(),
        row.session.as_ref(),
        grant,
        row.client_id.as_deref(),
        &row.detail
    ];
    tx.run(&INSERT, parameters).await?;
    tx.run(&INSERT_FANOUT, params![tenant, &row.id, row.at, row.scope.as_deref()]).await?;
    tx.note_ending();
    for entry in entries {
        let lane = i64::from(lane_of(tx.engine(), entry, &row.id));
        let position: i64 = tx.one(&NEXT_POSITION, params![lane]).await?.get(0)?;
        let parameters = params![
            lane,
            position,
            tenant,
            &row.id,
            row.at,
            row.cause,
            entry.kind,
            entry.user_key.as_ref(),
            entry.subject.as_deref(),
            entry.audience.as_deref(),
            entry.counter,
            entry.spared.as_ref(),
            entry.keep_until
        ];
        tx.run(&INSERT_ENTRY, parameters).await?;
    }
    Ok(())
}

/// Entries of one user stay in one lane, so that they are read in order.
fn lane_of(engine: Engine, entry: &FeedEntry, ending: &EndingId) -> u8 {
    let byte = entry.user_key.map_or(ending.0[0], |key| key.0[0]);
    byte % lanes(engine)
}

/// The longest access-token life-time, in seconds, that the store remembers of a tenant's APIs at `now`.
pub async fn longest_lifetime(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<i64, Failure> {
    Ok(tx.one(&LONGEST_LIFETIME, params![tenant, now]).await?.get::<Option<i64>>(0)?.unwrap_or(0))
}

/// The newest endings of a user: id, instant, cause.
pub async fn of_user(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    limit: i64,
) -> Result<Vec<(EndingId, Timestamp, String)>, Failure> {
    let rows = tx.all(&OF_USER, params![tenant, user, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// An ending as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its id.
    pub id: EndingId,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: EndingCause,
    /// `sub`, where it is one user's.
    pub user_id: Option<UserId>,
    /// Which client, where it is one.
    pub client_id: Option<String>,
    /// When its fan-out row was written; `None` when it has none.
    pub fanned_out_from: Option<Timestamp>,
}

/// The newest endings of a tenant.
pub async fn newest(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<Recorded>, Failure> {
    let rows = tx.all(&NEWEST, params![tenant, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Recorded {
                id: row.get(0)?,
                at: row.get(1)?,
                cause: row.get(2)?,
                user_id: row.get(3)?,
                client_id: row.get(4)?,
                fanned_out_from: row.get(5)?,
            })
        })
        .collect()
}

/// One cutoff as it stands in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// As [`FeedEntry::kind`].
    pub kind: String,
    /// Whose.
    pub user_key: Option<UserKey>,
    /// Session, grant, client, key id or connection, as text.
    pub subject: Option<String>,
    /// API.
    pub audience: Option<String>,
    /// Tokens below are over.
    pub counter: Option<i64>,
    /// A session that stays.
    pub spared: Option<SessionKey>,
    /// Until when a guard needs it.
    pub keep_until: Timestamp,
}

/// The feed entries of one ending that a guard may still need.
pub async fn entries(tx: &mut Tx, tenant: TenantId, id: &EndingId) -> Result<Vec<StoredEntry>, Failure> {
    let rows = tx.all(&ENTRIES, params![tenant, id]).await?;
    rows.iter()
        .map(|row| {
            Ok(StoredEntry {
                kind: row.get(0)?,
                user_key: row.get(1)?,
                subject: row.get(2)?,
                audience: row.get(3)?,
                counter: row.get(4)?,
                spared: row.get(5)?,
                keep_until: row.get(6)?,
            })
        })
        .collect()
}

/// Feed entries that no token lives long enough to need at `now`, as lane and position, in key order after `after`.
pub async fn purgeable_entries(
    tx: &mut Tx,
    (lane, position): (i64, i64),
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(i64, i64)>, Failure> {
    let rows = tx.all(&PURGEABLE_ENTRIES, params![lane, position, now, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Removes a feed entry.
pub async fn purge_entry(tx: &mut Tx, (lane, position): (i64, i64)) -> Result<(), Failure> {
    tx.run(&PURGE_ENTRY, params![lane, position]).await.map(|_| ())
}

/// An ending, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its id.
    pub id: EndingId,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: EndingCause,
    /// `sub`, where it is one user's.
    pub user_id: Option<UserId>,
    /// Which client, where it is one.
    pub client_id: Option<String>,
    /// Whose.
    pub user_key: Option<UserKey>,
    /// Which session, where it is one.
    pub session: Option<SessionKey>,
    /// Which grant, where it is one.
    pub grant: Option<GrantKey>,
    /// JSON: who did it, what fell.
    pub detail: String,
}

fn whole(row: &Row) -> Result<Whole, Failure> {
    Ok(Whole {
        id: row.get(0)?,
        at: row.get(1)?,
        cause: row.get(2)?,
        user_id: row.get(3)?,
        client_id: row.get(4)?,
        user_key: row.get(5)?,
        session: row.get(6)?,
        grant: row.get(7)?,
        detail: row.get(8)?,
    })
}

/// One ending.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &EndingId) -> Result<Option<Whole>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(whole).transpose()
}

/// Which endings are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one user.
    pub user: Option<UserKey>,
    /// Of one cause.
    pub cause: Option<EndingCause>,
    /// Not before.
    pub from: Option<Timestamp>,
}

/// Endings, newest first: those before an instant, and those of that instant with a lesser id.
pub async fn page(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    (at, id): (Timestamp, &EndingId),
    limit: i64,
) -> Result<Vec<Whole>, Failure> {
    let from = filter.from.unwrap_or(Timestamp::from_micros(i64::MIN));
    let cause = filter.cause.map_or("", EndingCause::as_str);
    let rows = match &filter.user {
        None => tx.all(&PAGE, params![tenant, at, id, from, cause, limit]).await?,
        Some(user) => tx.all(&PAGE_OF_USER, params![tenant, at, id, from, cause, limit, user]).await?,
    };
    rows.iter().map(whole).collect()
}

/// Endings of before an instant with their instants, in key order after `after`, that everybody has been told of.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    (at, id): (Timestamp, &EndingId),
    before: Timestamp,
    limit: i64,
) -> Result<Vec<(Timestamp, EndingId)>, Failure> {
    let rows = tx.all(&PURGEABLE, params![tenant, at, id, before, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Removes an ending with its receipt.
pub async fn purge(tx: &mut Tx, tenant: TenantId, id: &EndingId) -> Result<(), Failure> {
    for statement in [&PURGE_HEARD, &PURGE_FANOUT, &PURGE] {
        tx.run(statement, params![tenant, id]).await?;
    }
    Ok(())
}
