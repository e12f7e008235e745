//! Refresh-token families. A refresh token is a family and a generation of it.

use curfew_model::{
    Choice, ClientId, EndingCause, Failure, FamilyId, GrantKey, RequestId, SessionKey, Sid, Spares, TenantId,
    Timestamp, UserId, UserKey,
};

use crate::policies::choice;
use crate::{Row, Tx, params, sessions, statements};

/// What [`family`] reads.
macro_rules! columns {
    () => {
        "select f.user_key, f.grant_key, f.client_id, f.client_counter, f.connection_id, f.connection_epoch, \
        f.audience, f.scope, f.session_key, f.auth_time, f.provider, f.identity_id, f.counter, f.generation, f.rotating, \
        f.secret_hash, f.sealing_key, f.issuer, f.request_id, f.created_at, f.rotated_at, f.last_exchanged_at, \
        f.idle_expires_at, f.expires_at, f.ended_at, f.ended_cause, f.device, f.metadata, \
        a.counter, a.family_floor, a.blocked, u.user_id, uc.family_floor, s.ended_at, s.ended_cause, s.counter, \
        a.session_floor, i.session_floor, s.expires_at, s.idle_expires_at, c.version, t.version, a.last_activity, u.doc, u.updated_at, s.sealing_key, \
        f.auth_time_wanted, s.spares "
    };
}

statements! {
    /// A family with everything its life hangs on: user, user and client, session, client, tenant.
    pub CHAIN = (columns!(), "from families f \
        join tenants t on t.tenant = f.tenant \
        left join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        left join users u on u.tenant = f.tenant and u.user_key = f.user_key \
        left join user_clients uc on uc.tenant = f.tenant and uc.user_key = f.user_key and uc.client_id = f.client_id \
        left join sessions s on s.tenant = f.tenant and s.user_key = f.user_key and s.session_key = f.session_key \
        left join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        left join clients c on c.tenant = f.tenant and c.client_id = f.client_id \
        where f.tenant = $1 and f.user_key = $2 and f.grant_key = $3");
    /// A user's families that have not ended by themselves or by a floor, by key.
    pub LIST = (columns!(), "from families f \
        join tenants t on t.tenant = f.tenant \
        join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        join users u on u.tenant = f.tenant and u.user_key = f.user_key \
        join clients c on c.tenant = f.tenant and c.client_id = f.client_id \
        left join user_clients uc on uc.tenant = f.tenant and uc.user_key = f.user_key and uc.client_id = f.client_id \
        left join sessions s on s.tenant = f.tenant and s.user_key = f.user_key and s.session_key = f.session_key \
        left join identities i on i.tenant = s.tenant and i.user_key = s.user_key \
            and i.provider = s.provider and i.identity_id = s.identity_id \
        where f.tenant = $1 and f.user_key = $2 and f.grant_key > $3 and f.ended_at is null \
            and f.counter >= a.family_floor and f.counter >= coalesce(uc.family_floor, 0) \
            and f.client_counter >= c.floor \
            and (f.expires_at is null or f.expires_at > $4) and (f.idle_expires_at is null or f.idle_expires_at > $4) \
            and ($6 = '' or f.client_id = $6) \
        order by f.grant_key limit $5");
    /// A new family.
    pub INSERT = "insert into families (tenant, user_key, grant_key, client_id, client_counter, connection_id, \
        connection_epoch, audience, scope, session_key, auth_time, provider, identity_id, counter, generation, rotating, \
        secret_hash, sealing_key, issuer, request_id, created_at, rotated_at, idle_expires_at, expires_at, device, \
        auth_time_wanted) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, $17, $18, $19, $20, $20, \
        $21, $22, $23, $24)";
    /// One rotation: the newest generation gives way to the next. The floors are guarded here as well, because they
    /// may have moved since the chain was read.
    pub ROTATE = "update families set generation = generation + 1, rotated_at = $5, last_exchanged_at = $5, \
        idle_expires_at = $6, expires_at = $7, request_id = $8, device = $9, sealing_key = $10 \
        where tenant = $1 and user_key = $2 and grant_key = $3 and generation = $4 and ended_at is null \
        and counter >= coalesce((select a.family_floor from user_access a where a.tenant = families.tenant \
            and a.user_key = families.user_key and coalesce(a.blocked, 0) = 0), families.counter + 1)";
    /// An exchange without rotation.
    pub EXCHANGE = "update families set last_exchanged_at = $4, idle_expires_at = $5, expires_at = $6, device = $7 \
        where tenant = $1 and user_key = $2 and grant_key = $3 and ended_at is null";
    /// The family ends; no row changes when it has ended before. Answers as well what was chosen for its session.
    pub END = ("update families set ended_at = $4, ended_cause = $5 \
        where tenant = $1 and user_key = $2 and grant_key = $3 and ended_at is null \
        returning session_key, ", choice!(families, "$5", "sessions", "'keep'"));
    /// A family of before rotation was switched on begins to rotate.
    pub START_ROTATING = "update families set rotating = 1 where tenant = $1 and user_key = $2 and grant_key = $3";
    /// A family that an ending spares.
    pub RESTAMP = "update families set counter = $4 where tenant = $1 and user_key = $2 and grant_key = $3";
    /// Sets the ends of a living family; `null` leaves one as it is.
    pub SET_ENDS = "update families set expires_at = coalesce($4, expires_at), \
        idle_expires_at = coalesce($5, idle_expires_at) \
        where tenant = $1 and user_key = $2 and grant_key = $3 and ended_at is null";
    /// Replaces the metadata.
    pub SET_METADATA = "update families set metadata = $4 \
        where tenant = $1 and user_key = $2 and grant_key = $3 and ended_at is null";
    /// The families of a session that have not ended by themselves, by a floor or by time, each with what was chosen for it
    /// and cause `$4`; `$5` is the cause's own.
    pub OF_SESSION = ("select f.grant_key, f.client_id, ", choice!(f, "$4", "refresh_tokens", "$5"), ", ",
        choice!(f, "$4", "access_tokens", "'keep'"), " from families f \
        join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        left join user_clients uc on uc.tenant = f.tenant and uc.user_key = f.user_key and uc.client_id = f.client_id \
        where f.tenant = $1 and f.user_key = $2 and f.session_key = $3 and f.ended_at is null \
        and f.counter >= a.family_floor and f.counter >= coalesce(uc.family_floor, 0) \
        and (f.expires_at is null or f.expires_at > $6) and (f.idle_expires_at is null or f.idle_expires_at > $6) \
        order by f.grant_key");
    /// The living families of a user that are not of identity (`$6`, `$7`), if one is named, or that are kept by what was
    /// chosen for cause `$5`, are lifted to counter `$3`. `$4` is the floor that they have to be above.
    pub SPARE = ("update families set counter = $3 where tenant = $1 and user_key = $2 and ended_at is null \
        and counter >= $4 and counter >= coalesce((select uc.family_floor from user_clients uc \
            where uc.tenant = families.tenant and uc.user_key = families.user_key \
            and uc.client_id = families.client_id), 0) \
        and (($6 <> '' and not (provider = $6 and identity_id = $7)) or ",
        choice!(families, "$5", "refresh_tokens", "'keep'"), " = 'keep') returning client_id");
    /// The families of a user and client, oldest first, with the audience.
    pub OF_CLIENT = "select f.grant_key, f.audience, f.rotating from families f \
        join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        left join user_clients uc on uc.tenant = f.tenant and uc.user_key = f.user_key and uc.client_id = f.client_id \
        where f.tenant = $1 and f.user_key = $2 and f.client_id = $3 and f.ended_at is null \
        and f.counter >= a.family_floor and f.counter >= coalesce(uc.family_floor, 0) \
        and (f.expires_at is null or f.expires_at > $4) and (f.idle_expires_at is null or f.idle_expires_at > $4) \
        order by f.created_at, f.grant_key";
    /// Writes the parent row before families are counted or listed.
    pub COUNT_UP = "insert into user_clients (tenant, user_key, client_id, family_floor, families_bound) \
        values ($1, $2, $3, 0, 1) on conflict (tenant, user_key, client_id) \
        do update set families_bound = user_clients.families_bound + 1 returning families_bound";
    /// Sets the bound to the count.
    pub SET_BOUND = "update user_clients set families_bound = $4 where tenant = $1 and user_key = $2 and client_id = $3";
    /// Families that are over and can be purged, by key range.
    pub PURGEABLE = "select f.user_key, f.grant_key from families f \
        left join user_access a on a.tenant = f.tenant and a.user_key = f.user_key \
        where f.tenant = $1 and (f.user_key > $2 or (f.user_key = $2 and f.grant_key > $3)) \
        and ((f.ended_at is not null and f.ended_at < $4) or f.expires_at < $4 or f.idle_expires_at < $4 \
            or (f.rotated_at < $4 and (a.user_key is null or f.counter < a.family_floor))) \
        order by f.user_key, f.grant_key limit $5";
    /// Removes a family.
    pub PURGE = "delete from families where tenant = $1 and user_key = $2 and grant_key = $3";
}

/// A family with everything its life hangs on.
#[derive(Debug, Clone)]
pub struct FamilyRow {
    /// Its id.
    pub id: FamilyId,
    /// Whose tokens these are.
    pub client_id: ClientId,
    /// The client's counter when it began.
    pub client_counter: i64,
    /// Connection of the identity.
    pub connection_id: String,
    /// That connection's epoch for the client.
    pub connection_epoch: i64,
    /// The API; `None` for `/userinfo` only.
    pub audience: Option<String>,
    /// Granted scope; never shrinks.
    pub scope: String,
    /// The session it began in.
    pub session_key: Option<SessionKey>,
    /// When the person authenticated.
    pub auth_time: Timestamp,
    /// Whether ID tokens say so.
    pub auth_time_wanted: bool,
    /// Provider of the identity.
    pub provider: String,
    /// Id of the identity.
    pub identity_id: String,
    /// The user's counter when it began.
    pub counter: i64,
    /// The newest generation.
    pub generation: u32,
    /// Whether it rotates.
    pub rotating: bool,
    /// Hash of the tokens' secret.
    pub secret_hash: Vec<u8>,
    /// The key that sealed the newest generation.
    pub sealing_key: u32,
    /// The issuer.
    pub issuer: String,
    /// The request that won the newest generation.
    pub request_id: RequestId,
    /// When it began.
    pub created_at: Timestamp,
    /// When the newest generation was made.
    pub rotated_at: Timestamp,
    /// Last exchange.
    pub last_exchanged_at: Option<Timestamp>,
    /// End by idleness.
    pub idle_expires_at: Option<Timestamp>,
    /// End in any case.
    pub expires_at: Option<Timestamp>,
    /// When it was ended by itself.
    pub ended_at: Option<Timestamp>,
    /// And why.
    pub ended_cause: Option<String>,
    /// JSON.
    pub device: String,
    /// JSON.
    pub metadata: Option<String>,
    /// The user's counter now; `None` when the user is gone.
    pub user_counter: Option<i64>,
    /// The user's family floor.
    pub user_family_floor: i64,
    /// Whether the user is blocked.
    pub blocked: bool,
    /// `sub`; `None` when the user is gone.
    pub user_id: Option<UserId>,
    /// The floor of user and client.
    pub pair_family_floor: i64,
    /// The session as it stands; `None` when there is none or it was purged.
    pub session: Option<FamilySession>,
    /// The client's version in the same instant.
    pub client_version: Option<i64>,
    /// The tenant's version in the same instant.
    pub tenant_version: i64,
    /// Last sign of the person.
    pub last_activity: Option<Timestamp>,
    /// The user's document.
    pub user_doc: Option<String>,
    /// Last change of it.
    pub user_updated_at: Option<Timestamp>,
}

/// The state of the session a family began in.
#[derive(Debug, Clone)]
pub struct FamilySession {
    /// When it was ended by itself.
    pub ended_at: Option<Timestamp>,
    /// And why.
    pub ended_cause: Option<String>,
    /// What lives on, where a policy decided it.
    pub spares: Option<Spares>,
    /// Whether it is above its floors.
    pub above_floors: bool,
    /// End in any case.
    pub expires_at: Timestamp,
    /// End by idleness.
    pub idle_expires_at: Timestamp,
    /// The key that sealed its cookie.
    pub sealing_key: u32,
}

/// A family that begins.
#[derive(Debug, Clone)]
pub struct NewFamily {
    /// Its id.
    pub id: FamilyId,
    /// Whose tokens these are.
    pub client_id: ClientId,
    /// The client's counter.
    pub client_counter: i64,
    /// Connection of the identity.
    pub connection_id: String,
    /// That connection's epoch for the client.
    pub connection_epoch: i64,
    /// The API.
    pub audience: Option<String>,
    /// Granted scope.
    pub scope: String,
    /// The session it begins in.
    pub session_key: Option<SessionKey>,
    /// When the person authenticated.
    pub auth_time: Timestamp,
    /// Whether ID tokens say so.
    pub auth_time_wanted: bool,
    /// Provider of the identity.
    pub provider: String,
    /// Id of the identity.
    pub identity_id: String,
    /// The user's counter.
    pub counter: i64,
    /// Whether it rotates.
    pub rotating: bool,
    /// Hash of the tokens' secret.
    pub secret_hash: Vec<u8>,
    /// The key that seals the first generation.
    pub sealing_key: u32,
    /// The issuer.
    pub issuer: String,
    /// The request that makes it.
    pub request_id: RequestId,
    /// Now.
    pub now: Timestamp,
    /// End by idleness.
    pub idle_expires_at: Option<Timestamp>,
    /// End in any case.
    pub expires_at: Option<Timestamp>,
    /// JSON.
    pub device: String,
}

fn family(row: &Row) -> Result<FamilyRow, Failure> {
    let session_counter: Option<i64> = row.get(35)?;
    let session_floor = row.get::<Option<i64>>(36)?.unwrap_or(i64::MAX);
    let identity_floor = row.get::<Option<i64>>(37)?.unwrap_or(i64::MAX);
    let session = match (session_counter, row.get(38)?, row.get(39)?, row.get(45)?) {
        (Some(counter), Some(expires_at), Some(idle_expires_at), Some(sealing_key)) => Some(FamilySession {
            ended_at: row.get(33)?,
            ended_cause: row.get(34)?,
            spares: sessions::spares(row, 47)?,
            above_floors: counter >= session_floor && counter >= identity_floor,
            expires_at,
            idle_expires_at,
            sealing_key,
        }),
        _ => None,
    };
    Ok(FamilyRow {
        id: FamilyId { user: row.get(0)?, grant: row.get(1)? },
        client_id: row.get(2)?,
        client_counter: row.get(3)?,
        connection_id: row.get(4)?,
        connection_epoch: row.get(5)?,
        audience: row.get(6)?,
        scope: row.get(7)?,
        session_key: row.get(8)?,
        auth_time: row.get(9)?,
        provider: row.get(10)?,
        identity_id: row.get(11)?,
        counter: row.get(12)?,
        generation: row.get(13)?,
        rotating: row.get(14)?,
        secret_hash: row.get(15)?,
        sealing_key: row.get(16)?,
        issuer: row.get(17)?,
        request_id: row.get(18)?,
        created_at: row.get(19)?,
        rotated_at: row.get(20)?,
        last_exchanged_at: row.get(21)?,
        idle_expires_at: row.get(22)?,
        expires_at: row.get(23)?,
        ended_at: row.get(24)?,
        ended_cause: row.get(25)?,
        device: row.get(26)?,
        metadata: row.get(27)?,
        user_counter: row.get(28)?,
        user_family_floor: row.get::<Option<i64>>(29)?.unwrap_or(i64::MAX),
        blocked: row.get::<Option<bool>>(30)?.unwrap_or(false),
        user_id: row.get(31)?,
        pair_family_floor: row.get::<Option<i64>>(32)?.unwrap_or(0),
        session,
        client_version: row.get(40)?,
        tenant_version: row.get(41)?,
        last_activity: row.get(42)?,
        user_doc: row.get(43)?,
        user_updated_at: row.get(44)?,
        auth_time_wanted: row.get(46)?,
    })
}

/// A family with its chain, also when it is over.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &FamilyId) -> Result<Option<FamilyRow>, Failure> {
    tx.maybe(&CHAIN, params![tenant, &id.user, &id.grant]).await?.as_ref().map(family).transpose()
}

/// Up to `limit` families of a user above their floors, in key order after `after`, optionally of one client.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    client: Option<&ClientId>,
    after: Option<&GrantKey>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<FamilyRow>, Failure> {
    let after: &[u8] = after.map_or(&[], |key| key.as_bytes());
    let client = client.map_or("", ClientId::as_str);
    tx.all(&LIST, params![tenant, user, after, now, limit, client]).await?.iter().map(family).collect()
}

/// Begins a family. It is born dead when the floors above have moved past its counters.
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &NewFamily) -> Result<(), Failure> {
    let parameters = params![
        tenant,
        &new.id.user,
        &new.id.grant,
        &new.client_id,
        new.client_counter,
        &new.connection_id,
        new.connection_epoch,
        new.audience.as_deref(),
        &new.scope,
        new.session_key.as_ref(),
        new.auth_time,
        &new.provider,
        &new.identity_id,
        new.counter,
        new.rotating,
        &new.secret_hash,
        new.sealing_key,
        &new.issuer,
        &new.request_id,
        new.now,
        new.idle_expires_at,
        new.expires_at,
        &new.device,
        new.auth_time_wanted
    ];
    tx.run(&INSERT, parameters).await.map(|_| ())
}

/// What an exchange writes.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Now.
    pub now: Timestamp,
    /// End by idleness, counted anew.
    pub idle_expires_at: Option<Timestamp>,
    /// End in any case; only ever set from `None`.
    pub expires_at: Option<Timestamp>,
    /// This request.
    pub request_id: RequestId,
    /// JSON.
    pub device: String,
    /// The key that seals the new generation.
    pub sealing_key: u32,
}

/// Rotates from `generation` to the next; `false` when another request won, or the family is over.
pub async fn rotate(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    generation: u32,
    exchange: &Exchange,
) -> Result<bool, Failure> {
    let parameters = params![
        tenant,
        &id.user,
        &id.grant,
        generation,
        exchange.now,
        exchange.idle_expires_at,
        exchange.expires_at,
        &exchange.request_id,
        &exchange.device,
        exchange.sealing_key
    ];
    Ok(tx.run(&ROTATE, parameters).await? == 1)
}

/// Notes an exchange of a family that does not rotate; `false` when it is over.
pub async fn exchange(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    exchange: &Exchange,
) -> Result<bool, Failure> {
    let parameters = params![
        tenant,
        &id.user,
        &id.grant,
        exchange.now,
        exchange.idle_expires_at,
        exchange.expires_at,
        &exchange.device
    ];
    Ok(tx.run(&EXCHANGE, parameters).await? == 1)
}

/// A family that has ended just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The session it began in, where a policy of the cause has that end with it.
    pub session_falls: Option<SessionKey>,
}

/// Ends one family; `None` when it had ended before.
pub async fn end(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    now: Timestamp,
    cause: EndingCause,
) -> Result<Option<Ended>, Failure> {
    let parameters = params![tenant, &id.user, &id.grant, now, cause.as_str()];
    let Some(row) = tx.maybe(&END, parameters).await? else { return Ok(None) };
    let session: Option<SessionKey> = row.get(0)?;
    let falls = row.get::<String>(1)? == Choice::End.as_str();
    Ok(Some(Ended { session_falls: session.filter(|_| falls) }))
}

/// Which families of a user an ending that raises their floor spares.
#[derive(Debug, Clone, Copy)]
pub struct Spare<'a> {
    /// The cause, whose policies say whose are kept.
    pub cause: EndingCause,
    /// Provider and id of the identity that is meant: those of others are spared. `None`: the whole user is meant.
    pub identity: Option<(&'a str, &'a str)>,
    /// The floor before: what is below it is over, and stays so.
    pub floor: i64,
    /// The counter that the ending made.
    pub counter: i64,
}

/// Lifts the families that an ending spares to its counter; their clients. The caller wrote the user's row before, so that
/// no floor moves meanwhile.
pub async fn spare(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    spare: &Spare<'_>,
) -> Result<Vec<ClientId>, Failure> {
    let (provider, identity_id) = spare.identity.unwrap_or_default();
    let (cause, floor, counter) = (spare.cause.as_str(), spare.floor, spare.counter);
    let parameters = params![tenant, user, counter, floor, cause, provider, identity_id];
    tx.all(&SPARE, parameters).await?.iter().map(|row| row.get(0)).collect()
}

/// Makes a family rotate from here on.
pub async fn start_rotating(tx: &mut Tx, tenant: TenantId, id: &FamilyId) -> Result<(), Failure> {
    tx.run(&START_ROTATING, params![tenant, &id.user, &id.grant]).await.map(|_| ())
}

/// Lifts a family that an ending spares to the counter the ending made.
pub async fn restamp(tx: &mut Tx, tenant: TenantId, id: &FamilyId, counter: i64) -> Result<(), Failure> {
    tx.run(&RESTAMP, params![tenant, &id.user, &id.grant, counter]).await.map(|_| ())
}

/// Sets the ends of a living family; `None` leaves one as it is.
pub async fn set_ends(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    expires_at: Option<Timestamp>,
    idle_expires_at: Option<Timestamp>,
) -> Result<(), Failure> {
    tx.run(&SET_ENDS, params![tenant, &id.user, &id.grant, expires_at, idle_expires_at]).await.map(drop)
}

/// Replaces the metadata; `false` when there is no such family.
pub async fn set_metadata(
    tx: &mut Tx,
    tenant: TenantId,
    id: &FamilyId,
    metadata: Option<&str>,
) -> Result<bool, Failure> {
    Ok(tx.run(&SET_METADATA, params![tenant, &id.user, &id.grant, metadata]).await? == 1)
}

/// A family in the list of a session.
#[derive(Debug, Clone)]
pub struct SessionFamily {
    /// Its grant.
    pub grant: GrantKey,
    /// Whose tokens these are.
    pub client_id: ClientId,
    /// Whether it falls with the session.
    pub falls: bool,
    /// Whether access tokens that it stands behind fall with the session all the same.
    pub access_tokens_fall: bool,
}

/// The families that began in a session and are not over; whether they fall by what was chosen for a cause, and where
/// nothing was, by `default`.
pub async fn of_session(
    tx: &mut Tx,
    tenant: TenantId,
    sid: &Sid,
    (cause, default): (EndingCause, Choice),
    now: Timestamp,
) -> Result<Vec<SessionFamily>, Failure> {
    let parameters = params![tenant, &sid.user, &sid.session, cause.as_str(), default.as_str(), now];
    let rows = tx.all(&OF_SESSION, parameters).await?;
    rows.iter()
        .map(|row| {
            Ok(SessionFamily {
                grant: row.get(0)?,
                client_id: row.get(1)?,
                falls: row.get::<String>(2)? == Choice::Revoke.as_str(),
                access_tokens_fall: row.get::<String>(3)? == Choice::Revoke.as_str(),
            })
        })
        .collect()
}

/// A family in the list of a user and client.
#[derive(Debug, Clone)]
pub struct PairFamily {
    /// Its grant.
    pub grant: GrantKey,
    /// Its API.
    pub audience: Option<String>,
    /// Whether it rotates.
    pub rotating: bool,
}

/// The live families of a user and client, oldest first.
pub async fn of_client(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    client: &ClientId,
    now: Timestamp,
) -> Result<Vec<PairFamily>, Failure> {
    let rows = tx.all(&OF_CLIENT, params![tenant, user, client, now]).await?;
    rows.iter()
        .map(|row| Ok(PairFamily { grant: row.get(0)?, audience: row.get(1)?, rotating: row.get(2)? }))
        .collect()
}

/// Counts one more family of a user and client and answers those beyond `cap`, oldest first. The parent row is
/// written in a statement of its own before the families are listed.
pub async fn beyond_cap(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    client: &ClientId,
    now: Timestamp,
    cap: usize,
) -> Result<Vec<GrantKey>, Failure> {
    let bound: i64 = tx.one(&COUNT_UP, params![tenant, user, client]).await?.get(0)?;
    if usize::try_from(bound).is_ok_and(|bound| bound <= cap) {
        return Ok(Vec::new());
    }
    let live = of_client(tx, tenant, user, client, now).await?;
    let beyond = live.len().saturating_sub(cap);
    let kept = i64::try_from(live.len() - beyond).unwrap_or(i64::MAX);
    tx.run(&SET_BOUND, params![tenant, user, client, kept]).await?;
    Ok(live.into_iter().take(beyond).map(|family| family.grant).collect())
}

/// Families that were over before `before`, in key order after `after`.
pub async fn purgeable(
    tx: &mut Tx,
    tenant: TenantId,
    after: &FamilyId,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<FamilyId>, Failure> {
    let rows = tx.all(&PURGEABLE, params![tenant, &after.user, &after.grant, before, limit]).await?;
    rows.iter().map(|row| Ok(FamilyId { user: row.get(0)?, grant: row.get(1)? })).collect()
}

/// Removes a family.
pub async fn purge(tx: &mut Tx, tenant: TenantId, id: &FamilyId) -> Result<(), Failure> {
    tx.run(&PURGE, params![tenant, &id.user, &id.grant]).await.map(|_| ())
}
