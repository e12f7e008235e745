//! Sessions, and the clients that took part in them.

use curfew_model::config::SessionLifetimes;
use curfew_model::{
    ClientId, EndingCause, Failure, SessionKey, Sid, Spares, TenantId, Timestamp, UserId, UserKey,
};

use crate::{Row, Tx, params, statements};

/// What [`session`] reads first: the row, its user, its identity, its tenant. The client's part follows.
macro_rules! columns {
    () => {
        "select s.session_key, s.counter, s.provider, s.identity_id, s.connection_id, s.secret_hash, \
        s.sealing_key, s.issuer, s.created_at, s.authenticated_at, s.updated_at, s.last_interacted_at, \
        s.idle_expires_at, s.expires_at, s.persistent, s.ended_at, s.ended_cause, s.device, s.methods, s.metadata, \
        s.user_key, a.counter, a.session_floor, a.blocked, i.session_floor, u.user_id, t.version, a.last_activity, \
        a.family_floor, u.updated_at, "
    };
}

/// How many choices there are for a cause, of the tenant and of clients.
macro_rules! choices {
    ($cause:literal) => {
        concat!(
            "(select count(*) from ending_policies p where p.tenant = sessions.tenant and p.cause = ",
            $cause,
            ")"
        )
    };
}

statements! {
    /// A session with everything its life hangs on: user, identity, the tenant's version; and what it has to do with
    /// one client.
    pub CHAIN = (columns!(), "u.doc, c.version, uc.family_floor, sc.joined_at \
        from sessions s \
        join tenants t on t.tenant = s.tenant \
        left join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        left join users u on u.tenant = s.tenant and u.user_key = s.user_key \
        left join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        left join clients c on c.tenant = s.tenant and c.client_id = $4 \
        left join user_clients uc on uc.tenant = s.tenant and uc.user_key = s.user_key and uc.client_id = $4 \
        left join session_clients sc on sc.tenant = s.tenant and sc.user_key = s.user_key \
            and sc.session_key = s.session_key and sc.client_id = $4 \
        where s.tenant = $1 and s.user_key = $2 and s.session_key = $3");
    /// A user's sessions that have not ended by themselves, by key.
    pub LIST = (columns!(), "null, cast(null as bigint), cast(null as bigint), cast(null as bigint) \
        from sessions s \
        join tenants t on t.tenant = s.tenant \
        join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        join users u on u.tenant = s.tenant and u.user_key = s.user_key \
        join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        where s.tenant = $1 and s.user_key = $2 and s.session_key > $3 and s.ended_at is null \
            and s.counter >= a.session_floor and s.counter >= i.session_floor \
            and s.expires_at > $4 and s.idle_expires_at > $4 \
        order by s.session_key limit $5");
    /// A new session.
    pub INSERT = "insert into sessions (tenant, user_key, session_key, counter, provider, identity_id, connection_id, \
        secret_hash, sealing_key, issuer, created_at, authenticated_at, updated_at, last_interacted_at, idle_expires_at, \
        expires_at, persistent, device, methods) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $11, $11, $12, $13, $14, $15, $16)";
    /// The same person authenticated again in the same browser.
    pub REAUTHENTICATE = "update sessions set counter = $4, provider = $5, identity_id = $6, connection_id = $7, \
        authenticated_at = $8, updated_at = $8, last_interacted_at = $8, idle_expires_at = $9, expires_at = $10, \
        persistent = $11, device = $12, methods = $13 \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null";
    /// The session was used. The absolute end only comes nearer, and stays where an authentication put it meanwhile.
    pub TOUCH = "update sessions set last_interacted_at = $4, updated_at = $4, idle_expires_at = $5, device = $6, \
        expires_at = case when authenticated_at = $7 and expires_at > $8 then $8 else expires_at end \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null";
    /// Brings the ends of a session forward to those that life-times of `$4` and `$5` microseconds give it. They count
    /// from the row's own instants, so that a use or an authentication of meanwhile counts.
    pub SHORTEN = "update sessions set \
        expires_at = case when authenticated_at + $4 < expires_at then authenticated_at + $4 else expires_at end, \
        idle_expires_at = case \
            when last_interacted_at + $5 < idle_expires_at and last_interacted_at + $5 < authenticated_at + $4 \
                then last_interacted_at + $5 \
            when authenticated_at + $4 < idle_expires_at then authenticated_at + $4 \
            else idle_expires_at end \
        where tenant = $1 and user_key = $2 and session_key = $3 and persistent = $6 and ended_at is null";
    /// The session ends; no row changes when it has ended before. Answers how much anybody has chosen for cause `$6`.
    pub END = ("update sessions set ended_at = $4, ended_cause = $5, updated_at = $4 \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null returning ", choices!("$6"));
    /// The session ends because its time is over; no row changes when it was used meanwhile, or has ended before.
    pub END_OVERDUE = ("update sessions set ended_at = $4, ended_cause = $5, updated_at = $4 \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null \
        and (expires_at <= $4 or idle_expires_at <= $4) returning ", choices!("$6"));
    /// Takes the row of a session that has ended, before what it left behind is listed.
    pub TAKE_ENDED = ("update sessions set updated_at = updated_at \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is not null \
        returning ended_cause, spares, ", choices!("$4"));
    /// Writes down what of an ended session lives on.
    pub SET_SPARES = "update sessions set spares = $4 \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is not null";
    /// Replaces the metadata.
    pub SET_METADATA = "update sessions set metadata = $4, updated_at = $5 \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null";
    /// Sets the ends of a living session, and whether its cookie outlives the browser.
    pub SET_ENDS = "update sessions set expires_at = $4, idle_expires_at = $5, persistent = $6, updated_at = $7 \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null";
    /// A client takes part in a session.
    pub JOIN_CLIENT = "insert into session_clients (tenant, user_key, session_key, client_id, joined_at) \
        values ($1, $2, $3, $4, $5) on conflict do nothing";
    /// The clients that took part.
    pub CLIENTS = "select client_id from session_clients where tenant = $1 and user_key = $2 and session_key = $3 \
        order by joined_at, client_id";
    /// The documents of those among them that have an address for the browser; the pattern only leaves out the others.
    pub FRONT_CHANNEL = "select c.doc from session_clients sc \
        join clients c on c.tenant = sc.tenant and c.client_id = sc.client_id \
        where sc.tenant = $1 and sc.user_key = $2 and sc.session_key = $3 and c.doc like '%frontchannel_logout_uri%' \
        order by sc.joined_at, sc.client_id limit $4";
    /// Moves the bound on the number of live sessions, and writes the parent row before the sessions are counted.
    pub COUNT_UP = "update user_access set sessions_bound = sessions_bound + 1 where tenant = $1 and user_key = $2 \
        returning sessions_bound";
    /// The live sessions of a user, the least recently used first.
    pub LEAST_RECENT = "select s.session_key from sessions s \
        join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        where s.tenant = $1 and s.user_key = $2 and s.ended_at is null and s.counter >= a.session_floor \
        and s.expires_at > $3 and s.idle_expires_at > $3 order by s.last_interacted_at, s.session_key";
    /// Sets the bound to the count.
    pub SET_BOUND = "update user_access set sessions_bound = $3 where tenant = $1 and user_key = $2";
    /// Writes the user's row before the sessions that count are listed. Nothing in it changes.
    pub TAKE_USER = "update user_access set sessions_bound = sessions_bound where tenant = $1 and user_key = $2";
    /// The other living sessions of a user that count, the oldest login first.
    pub COUNTED = "select s.session_key from sessions s \
        join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        where s.tenant = $1 and s.user_key = $2 and s.session_key <> $3 and s.ended_at is null \
        and s.counter >= a.session_floor and s.counter >= i.session_floor \
        and s.expires_at > $4 and s.idle_expires_at > $4 \
        and exists (select 1 from session_clients sc where sc.tenant = s.tenant and sc.user_key = s.user_key \
            and sc.session_key = s.session_key) \
        order by s.authenticated_at, s.created_at, s.session_key";
    /// Writes the row of a living session, before it and others end. Nothing in it changes.
    pub TAKE = "update sessions set updated_at = updated_at \
        where tenant = $1 and user_key = $2 and session_key = $3 and ended_at is null";
    /// Sessions whose time is over and which nothing else has ended, by key range.
    pub OVERDUE = "select s.user_key, s.session_key, s.expires_at from sessions s \
        join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        where s.tenant = $1 and (s.user_key > $2 or (s.user_key = $2 and s.session_key > $3)) and s.ended_at is null \
        and s.counter >= a.session_floor and s.counter >= i.session_floor \
        and (s.expires_at <= $4 or s.idle_expires_at <= $4) order by s.user_key, s.session_key limit $5";
    /// Ended or orphaned sessions on which nothing hangs any more, by key range.
    pub PURGE = "delete from sessions where tenant = $1 and user_key = $2 and session_key = $3";
    /// Its participants.
    pub PURGE_CLIENTS = "delete from session_clients where tenant = $1 and user_key = $2 and session_key = $3";
    /// Sessions that can be purged: not while an ending that may have ended them is not worked out, which needs their
    /// participants.
    pub PURGEABLE = "select s.user_key, s.session_key from sessions s \
        left join user_access a on a.tenant = s.tenant and a.user_key = s.user_key \
        where s.tenant = $1 and (s.user_key > $2 or (s.user_key = $2 and s.session_key > $3)) \
        and ((s.ended_at is not null and s.ended_at < $4) \
            or (s.updated_at < $4 and (a.user_key is null or s.counter < a.session_floor))) \
        and not exists (select 1 from families f where f.tenant = s.tenant and f.user_key = s.user_key \
            and f.session_key = s.session_key) \
        and not exists (select 1 from fanouts o join endings e on e.tenant = o.tenant and e.ending_id = o.ending_id \
            where o.tenant = s.tenant and o.expanded_at is null and (e.user_key is null or e.user_key = s.user_key)) \
        order by s.user_key, s.session_key limit $5";
}

/// A session with everything its life hangs on.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub sid: Sid,
    /// The user's counter when it began.
    pub counter: i64,
    /// Provider of the identity it was opened with.
    pub provider: String,
    /// Id of that identity.
    pub identity_id: String,
    /// Connection of that identity.
    pub connection_id: String,
    /// Hash of the cookie's secret.
    pub secret_hash: Vec<u8>,
    /// The key that sealed its cookie.
    pub sealing_key: u32,
    /// The issuer under which it began.
    pub issuer: String,
    /// When it began.
    pub created_at: Timestamp,
    /// Last interactive authentication.
    pub authenticated_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// Last use.
    pub last_interacted_at: Timestamp,
    /// End by idleness.
    pub idle_expires_at: Timestamp,
    /// End in any case.
    pub expires_at: Timestamp,
    /// Whether the cookie outlives the browser.
    pub persistent: bool,
    /// When it was ended by itself.
    pub ended_at: Option<Timestamp>,
    /// And why.
    pub ended_cause: Option<String>,
    /// JSON.
    pub device: String,
    /// JSON.
    pub methods: String,
    /// JSON.
    pub metadata: Option<String>,
    /// The user's counter now; `None` when the user is gone.
    pub user_counter: Option<i64>,
    /// The user's session floor.
    pub user_session_floor: i64,
    /// Whether the user is blocked.
    pub blocked: bool,
    /// The identity's session floor; `None` when the identity is gone.
    pub identity_session_floor: Option<i64>,
    /// `sub`; `None` when the user is gone.
    pub user_id: Option<UserId>,
    /// The tenant's version in the same instant.
    pub tenant_version: i64,
    /// Last sign of the person.
    pub last_activity: Option<Timestamp>,
    /// The floor of the user's families.
    pub user_family_floor: i64,
    /// Last change of the user's document; `None` when the user is gone.
    pub user_updated_at: Option<Timestamp>,
    /// The user's document, JSON; `None` when the user is gone, and in lists.
    pub user_doc: Option<String>,
    /// The asking client's version in the same instant.
    pub client_version: Option<i64>,
    /// The floor of what the asking client holds for the user.
    pub pair_family_floor: i64,
    /// Since when the asking client takes part in the session.
    pub client_joined_at: Option<Timestamp>,
}

/// A session that begins.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub sid: Sid,
    /// The user's counter at the credential step.
    pub counter: i64,
    /// Provider of the identity.
    pub provider: String,
    /// Id of the identity.
    pub identity_id: String,
    /// Connection of the identity.
    pub connection_id: String,
    /// Hash of the cookie's secret.
    pub secret_hash: Vec<u8>,
    /// The key that seals its cookie.
    pub sealing_key: u32,
    /// The issuer.
    pub issuer: String,
    /// Now.
    pub now: Timestamp,
    /// End by idleness.
    pub idle_expires_at: Timestamp,
    /// End in any case.
    pub expires_at: Timestamp,
    /// Whether the cookie outlives the browser.
    pub persistent: bool,
    /// JSON.
    pub device: String,
    /// JSON.
    pub methods: String,
}

fn session(row: &Row) -> Result<SessionRow, Failure> {
    Ok(SessionRow {
        sid: Sid { session: row.get(0)?, user: row.get(20)? },
        counter: row.get(1)?,
        provider: row.get(2)?,
        identity_id: row.get(3)?,
        connection_id: row.get(4)?,
        secret_hash: row.get(5)?,
        sealing_key: row.get(6)?,
        issuer: row.get(7)?,
        created_at: row.get(8)?,
        authenticated_at: row.get(9)?,
        updated_at: row.get(10)?,
        last_interacted_at: row.get(11)?,
        idle_expires_at: row.get(12)?,
        expires_at: row.get(13)?,
        persistent: row.get(14)?,
        ended_at: row.get(15)?,
        ended_cause: row.get(16)?,
        device: row.get(17)?,
        methods: row.get(18)?,
        metadata: row.get(19)?,
        user_counter: row.get(21)?,
        user_session_floor: row.get::<Option<i64>>(22)?.unwrap_or(i64::MAX),
        blocked: row.get::<Option<bool>>(23)?.unwrap_or(false),
        identity_session_floor: row.get(24)?,
        user_id: row.get(25)?,
        tenant_version: row.get(26)?,
        last_activity: row.get(27)?,
        user_family_floor: row.get::<Option<i64>>(28)?.unwrap_or(i64::MAX),
        user_updated_at: row.get(29)?,
        user_doc: row.get(30)?,
        client_version: row.get(31)?,
        pair_family_floor: row.get::<Option<i64>>(32)?.unwrap_or(0),
        client_joined_at: row.get(33)?,
    })
}

/// A session with its chain, also when it is over. `client` is whose version, whose floor for the user and whose part in
/// the session to read along.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    client: Option<&ClientId>,
) -> Result<Option<SessionRow>, Failure> {
    let parameters = params![tenant, &sid.user, &sid.session, client.map_or("", ClientId::as_str)];
    tx.maybe(&CHAIN, parameters).await?.as_ref().map(session).transpose()
}

/// Up to `limit` live sessions of a user, in key order after `after`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    after: Option<&SessionKey>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<SessionRow>, Failure> {
    let after: &[u8] = after.map_or(&[], |key| key.as_bytes());
    tx.all(&LIST, params![tenant, user, after, now, limit]).await?.iter().map(session).collect()
}

/// Begins a session. It is born dead when the user's floors have moved past its counter.
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &NewSession) -> Result<(), Failure> {
    let parameters = params![
        tenant,
        &new.sid.user,
        &new.sid.session,
        new.counter,
        &new.provider,
        &new.identity_id,
        &new.connection_id,
        &new.secret_hash,
        new.sealing_key,
        &new.issuer,
        new.now,
        new.idle_expires_at,
        new.expires_at,
        new.persistent,
        &new.device,
        &new.methods
    ];
    tx.run(&INSERT, parameters).await.map(|_| ())
}

/// Renews a session by authentication; `false` when it has ended meanwhile.
pub async fn reauthenticate(tx: &mut Tx, tenant: TenantId, new: &NewSession) -> Result<bool, Failure> {
    let parameters = params![
        tenant,
        &new.sid.user,
        &new.sid.session,
        new.counter,
        &new.provider,
        &new.identity_id,
        &new.connection_id,
        new.now,
        new.idle_expires_at,
        new.expires_at,
        new.persistent,
        &new.device,
        &new.methods
    ];
    Ok(tx.run(&REAUTHENTICATE, parameters).await? == 1)
}

/// A use of a session.
#[derive(Debug, Clone)]
pub struct Use {
    /// Of which.
    pub sid: Sid,
    /// Now.
    pub now: Timestamp,
    /// End by idleness, counted anew.
    pub idle_expires_at: Timestamp,
    /// End in any case, as it was seen; a later one is brought forward to it.
    pub expires_at: Timestamp,
    /// The authentication from which that end counts.
    pub authenticated_at: Timestamp,
    /// JSON.
    pub device: String,
}

/// Notes a use; `false` when the session has ended meanwhile.
pub async fn touch(tx: &mut Tx, tenant: TenantId, used: &Use) -> Result<bool, Failure> {
    let parameters = params![
        tenant,
        &used.sid.user,
        &used.sid.session,
        used.now,
        used.idle_expires_at,
        &used.device,
        used.authenticated_at,
        used.expires_at
    ];
    Ok(tx.run(&TOUCH, parameters).await? == 1)
}

/// Brings the ends of a session forward to those that the tenant's life-times give it now; they never move back.
/// `persistent` says which life-times these are.
pub async fn shorten(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    lifetimes: SessionLifetimes,
    persistent: bool,
) -> Result<(), Failure> {
    let micros = |seconds: i64| seconds.saturating_mul(1_000_000);
    let (absolute, idle) = (micros(lifetimes.absolute_seconds), micros(lifetimes.idle_seconds));
    tx.run(&SHORTEN, params![tenant, &sid.user, &sid.session, absolute, idle, persistent]).await.map(|_| ())
}

/// What a session ends for.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// When.
    pub now: Timestamp,
    /// As it is written down.
    pub cause: EndingCause,
    /// Whose policies are asked for; another one where the session ends as if for another cause.
    pub policies_of: EndingCause,
}

/// A session that has ended just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Whether the tenant or any client has chosen what falls for the cause.
    pub chosen: bool,
}

fn ended(row: &Row) -> Result<Ended, Failure> {
    Ok(Ended { chosen: row.get::<i64>(0)? > 0 })
}

/// Ends one session; `None` when it had ended before.
pub async fn end(tx: &mut Tx, tenant: TenantId, sid: &Sid, end: &End) -> Result<Option<Ended>, Failure> {
    let (cause, policies_of) = (end.cause.as_str(), end.policies_of.as_str());
    let parameters = params![tenant, &sid.user, &sid.session, end.now, cause, policies_of];
    tx.maybe(&END, parameters).await?.as_ref().map(ended).transpose()
}

/// Ends one session if its time is over; `None` when it was used meanwhile, or had ended before.
pub async fn end_overdue(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    end: &End,
) -> Result<Option<Ended>, Failure> {
    let (cause, policies_of) = (end.cause.as_str(), end.policies_of.as_str());
    let parameters = params![tenant, &sid.user, &sid.session, end.now, cause, policies_of];
    tx.maybe(&END_OVERDUE, parameters).await?.as_ref().map(ended).transpose()
}

/// A session that had ended before, and what it left behind.
#[derive(Debug, Clone)]
pub struct EndedBefore {
    /// Why it ended.
    pub cause: String,
    /// What lives on, where a policy decided it.
    pub spares: Option<Spares>,
    /// Whether the tenant or any client has chosen what falls for the cause that is asked about.
    pub chosen: bool,
}

/// Takes the row of a session that has ended, so that nobody else decides about what it left behind; `None` when there is
/// none, or it lives.
pub async fn take_ended(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    policies_of: EndingCause,
) -> Result<Option<EndedBefore>, Failure> {
    let parameters = params![tenant, &sid.user, &sid.session, policies_of.as_str()];
    let Some(row) = tx.maybe(&TAKE_ENDED, parameters).await? else { return Ok(None) };
    let chosen = row.get::<i64>(2)? > 0;
    Ok(Some(EndedBefore { cause: row.get(0)?, spares: spares(&row, 1)?, chosen }))
}

/// Writes down what of an ended session lives on, as JSON of [`Spares`]. Whose row was taken by the caller.
pub async fn set_spares(tx: &mut Tx, tenant: TenantId, sid: &Sid, spares: &str) -> Result<(), Failure> {
    tx.run(&SET_SPARES, params![tenant, &sid.user, &sid.session, spares]).await.map(drop)
}

/// Reads the column `spares`.
pub(crate) fn spares(row: &Row, index: usize) -> Result<Option<Spares>, Failure> {
    let Some(text) = row.get::<Option<String>>(index)? else { return Ok(None) };
    curfew_model::config::read_doc("sessions", "spares", &text).map(Some)
}

/// Replaces the metadata; `false` when there is no such live session.
pub async fn set_metadata(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    metadata: Option<&str>,
    now: Timestamp,
) -> Result<bool, Failure> {
    Ok(tx.run(&SET_METADATA, params![tenant, &sid.user, &sid.session, metadata, now]).await? == 1)
}

/// Sets the ends of a living session, and whether its cookie outlives the browser. Whose row was taken by the caller.
pub async fn set_ends(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    (expires_at, idle_expires_at): (Timestamp, Timestamp),
    persistent: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let parameters = params![tenant, &sid.user, &sid.session, expires_at, idle_expires_at, persistent, now];
    tx.run(&SET_ENDS, parameters).await.map(drop)
}

/// Notes that a client took part.
pub async fn join_client(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    client: &ClientId,
    now: Timestamp,
) -> Result<(), Failure> {
    tx.run(&JOIN_CLIENT, params![tenant, &sid.user, &sid.session, client, now]).await.map(|_| ())
}

/// The clients that took part, in the order they came.
pub async fn clients(tx: &mut Tx, tenant: TenantId, sid: &Sid) -> Result<Vec<ClientId>, Failure> {
    tx.all(&CLIENTS, params![tenant, &sid.user, &sid.session]).await?.iter().map(|row| row.get(0)).collect()
}

/// The documents (JSON) of clients that took part and may have a `frontchannel_logout_uri`, in the order they came.
pub async fn front_channel(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    limit: i64,
) -> Result<Vec<String>, Failure> {
    let rows = tx.all(&FRONT_CHANNEL, params![tenant, &sid.user, &sid.session, limit]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Counts one more session and answers those beyond `cap`, least recently used first. The parent row is written in a
/// statement of its own before the sessions are listed, so that two logins at once see each other.
pub async fn beyond_cap(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    now: Timestamp,
    cap: usize,
) -> Result<Vec<SessionKey>, Failure> {
    let Some(row) = tx.maybe(&COUNT_UP, params![tenant, user]).await? else { return Ok(Vec::new()) };
    if usize::try_from(row.get::<i64>(0)?).is_ok_and(|bound| bound <= cap) {
        return Ok(Vec::new());
    }
    let live: Vec<SessionKey> = tx
        .all(&LEAST_RECENT, params![tenant, user, now])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect::<Result<_, _>>()?;
    let beyond = live.len().saturating_sub(cap);
    tx.run(&SET_BOUND, params![tenant, user, i64::try_from(live.len() - beyond).unwrap_or(i64::MAX)]).await?;
    Ok(live.into_iter().take(beyond).collect())
}

/// Takes the user's row, so that whoever counts their sessions waits for the caller; `false` when there is no such user.
pub async fn take_user(tx: &mut Tx, tenant: TenantId, user: &UserKey) -> Result<bool, Failure> {
    Ok(tx.run(&TAKE_USER, params![tenant, user]).await? == 1)
}

/// The living sessions of a user in which a client takes part, but for this one, the oldest login first. The caller has
/// taken the user's row.
pub async fn counted(
    tx: &mut Tx,
    tenant: TenantId,
    but: &Sid,
    now: Timestamp,
) -> Result<Vec<SessionKey>, Failure> {
    let rows = tx.all(&COUNTED, params![tenant, &but.user, &but.session, now]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Takes the row of a living session.
pub async fn take(tx: &mut Tx, tenant: TenantId, sid: &Sid) -> Result<(), Failure> {
    tx.run(&TAKE, params![tenant, &sid.user, &sid.session]).await.map(drop)
}

/// Sessions whose time is over but which nobody ended, in key order after `after`, with their absolute end.
pub async fn overdue(
    tx: &mut Tx,
    tenant: TenantId,
    after: &Sid,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Sid, Timestamp)>, Failure> {
    let rows = tx.all(&OVERDUE, params![tenant, &after.user, &after.session, now, limit]).await?;
    rows.iter().map(|row| Ok((Sid { user: row.get(0)?, session: row.get(1)? }, row.get(2)?))).collect()
}

/// Ended sessions on which nothing hangs since `before`, in key order after `after`.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    after: &Sid,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Sid>, Failure> {
    let rows = tx.all(&PURGEABLE, params![tenant, &after.user, &after.session, before, limit]).await?;
    rows.iter().map(|row| Ok(Sid { user: row.get(0)?, session: row.get(1)? })).collect()
}

/// Removes an ended session and its participants.
pub async fn purge(tx: &mut Tx, tenant: TenantId, sid: &Sid) -> Result<(), Failure> {
    tx.run(&PURGE_CLIENTS, params![tenant, &sid.user, &sid.session]).await?;
    tx.run(&PURGE, params![tenant, &sid.user, &sid.session]).await.map(|_| ())
}
