//! Counters and floors: raising them, and reading the chain an access token hangs on.

use curfew_model::{
    ClientId, EndingCause, Failure, GrantKey, SessionKey, Spares, TenantId, Timestamp, UserId, UserKey,
};

use crate::{Row, Tx, params, sessions, statements};

/// What is read of a chain, in the order of [`chain_of`]; `$doc` is the user's document, or something shorter.
macro_rules! chain_columns {
    ($doc:literal) => {
        concat!(
            "a.counter, a.credential_floor, a.session_floor, a.blocked, a.family_floor, \
            s.counter, s.ended_at, s.ended_cause, s.expires_at, s.idle_expires_at, s.connection_id, si.session_floor, \
            f.counter, f.ended_at, f.client_counter, f.connection_id, f.connection_epoch, f.expires_at, \
            f.idle_expires_at, cc.replayed_at, uc.family_floor, t.version, c.version, u.user_id, ",
            $doc,
            ", a.last_activity, u.connection_id, u.updated_at, s.sealing_key, f.sealing_key, s.spares"
        )
    };
}
pub(crate) use chain_columns;

/// Where it stands, beside the tenant's row `t`: the keys of user, session, grant and client.
macro_rules! chain_joins {
    ($user:literal, $session:literal, $grant:literal, $client:literal) => {
        concat!(
            "left join user_access a on a.tenant = t.tenant and a.user_key = ",
            $user,
            " left join users u on u.tenant = t.tenant and u.user_key = ",
            $user,
            " left join sessions s on s.tenant = t.tenant and s.user_key = ",
            $user,
            " and s.session_key = ",
            $session,
            " left join identities si on si.tenant = t.tenant and si.user_key = ",
            $user,
            " and si.provider = s.provider and si.identity_id = s.identity_id \
            left join families f on f.tenant = t.tenant and f.user_key = ",
            $user,
            " and f.grant_key = ",
            $grant,
            " left join consumed_codes cc on cc.tenant = t.tenant and cc.user_key = ",
            $user,
            " and cc.grant_key = ",
            $grant,
            " left join user_clients uc on uc.tenant = t.tenant and uc.user_key = ",
            $user,
            " and uc.client_id = ",
            $client,
            " left join clients c on c.tenant = t.tenant and c.client_id = ",
            $client,
            " "
        )
    };
}
pub(crate) use chain_joins;

statements! {
    /// Raises the counter and the named floors to it. One row, whatever hangs on it. Answers as well whether anybody has
    /// chosen that refresh tokens fall for the cause.
    pub RAISE = "update user_access set counter = counter + 1, \
        credential_floor = case when $3 = 1 then counter + 1 else credential_floor end, \
        session_floor = case when $4 = 1 then counter + 1 else session_floor end, \
        family_floor = case when $5 = 1 then counter + 1 else family_floor end \
        where tenant = $1 and user_key = $2 returning counter, family_floor, \
        (select count(*) from ending_policies p where p.tenant = $1 and p.cause = $6 \
            and p.artefact = 'refresh_tokens' and p.choice = 'revoke')";
    /// Raises an identity's session floor.
    pub RAISE_IDENTITY = "update identities set session_floor = $5 \
        where tenant = $1 and user_key = $2 and provider = $3 and identity_id = $4";
    /// Raises the floor of a user and client.
    pub RAISE_PAIR = "insert into user_clients (tenant, user_key, client_id, family_floor, families_bound) \
        values ($1, $2, $3, $4, 0) on conflict (tenant, user_key, client_id) \
        do update set family_floor = excluded.family_floor";
    /// Raises a client's counter, its token floor, and if `$3` its floor.
    pub RAISE_CLIENT = "update clients set counter = counter + 1, token_floor = counter + 1, \
        floor = case when $3 = 1 then counter + 1 else floor end, version = version + 1 \
        where tenant = $1 and client_id = $2 returning counter";
    /// Everything the life of an access token of a user hangs on.
    pub TOKEN_CHAIN = ("select ", chain_columns!("u.doc"), " from tenants t ",
        chain_joins!("$2", "$3", "$4", "$5"), "where t.tenant = $1");
}

/// Which floors an ending raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floors {
    /// Pending logins, codes, tickets.
    pub credential: bool,
    /// Sessions.
    pub session: bool,
    /// Families.
    pub family: bool,
}

/// A user whose counter was raised.
#[derive(Debug, Clone, Copy)]
pub struct Raised {
    /// The counter now.
    pub counter: i64,
    /// The floor of families now.
    pub family_floor: i64,
    /// Whether the tenant or any client has chosen that refresh tokens fall for the cause.
    pub families_may_fall: bool,
}

/// Raises a user's counter and the named floors; `None` when there is no such user. `cause` is that of the ending, if
/// it is one.
pub async fn raise(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    floors: Floors,
    cause: Option<EndingCause>,
) -> Result<Option<Raised>, Failure> {
    let cause = cause.map_or("", EndingCause::as_str);
    let parameters = params![tenant, user, floors.credential, floors.session, floors.family, cause];
    let Some(row) = tx.maybe(&RAISE, parameters).await? else { return Ok(None) };
    let choices: i64 = row.get(2)?;
    Ok(Some(Raised { counter: row.get(0)?, family_floor: row.get(1)?, families_may_fall: choices > 0 }))
}

/// Ends the sessions opened with one identity, below `counter`.
pub async fn raise_identity(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    (provider, identity_id): (&str, &str),
    counter: i64,
) -> Result<(), Failure> {
    tx.run(&RAISE_IDENTITY, params![tenant, user, provider, identity_id, counter]).await.map(|_| ())
}

/// Ends what a client holds for a user, below `counter`.
pub async fn raise_pair(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    client: &ClientId,
    counter: i64,
) -> Result<(), Failure> {
    tx.run(&RAISE_PAIR, params![tenant, user, client, counter]).await.map(|_| ())
}

/// Ends a client's access tokens, and with `families` all it was given; the new counter, or `None` when there is no
/// such client.
pub async fn raise_client(
    tx: &mut Tx,
    tenant: TenantId,
    client: &ClientId,
    families: bool,
) -> Result<Option<i64>, Failure> {
    tx.maybe(&RAISE_CLIENT, params![tenant, client, families]).await?.map(|row| row.get(0)).transpose()
}

/// What an access token of a user hangs on, as it stands in one instant.
#[derive(Debug, Clone)]
pub struct TokenChain {
    /// The user; `None` when gone.
    pub user: Option<ChainUser>,
    /// The session the token names; `None` when it names none or it was purged.
    pub session: Option<ChainSession>,
    /// The family of the token's grant; `None` when the grant has none.
    pub family: Option<ChainFamily>,
    /// When the code of the token's grant was replayed.
    pub code_replayed_at: Option<Timestamp>,
    /// The floor of user and client.
    pub pair_family_floor: i64,
    /// The tenant's version in the same instant.
    pub tenant_version: i64,
    /// The client's version in the same instant; `None` when the client is gone.
    pub client_version: Option<i64>,
}

/// The user part of a chain.
#[derive(Debug, Clone)]
pub struct ChainUser {
    /// The counter now.
    pub counter: i64,
    /// Ends tokens that hang on neither session nor family.
    pub credential_floor: i64,
    /// Ends sessions.
    pub session_floor: i64,
    /// Ends families.
    pub family_floor: i64,
    /// Whether the user is blocked.
    pub blocked: bool,
    /// `sub`.
    pub user_id: UserId,
    /// Profile and metadata, JSON.
    pub doc: String,
    /// Last sign of the person.
    pub last_activity: Option<Timestamp>,
    /// Connection of the primary identity.
    pub connection_id: String,
    /// Last change of the profile.
    pub updated_at: Timestamp,
}

/// The session part of a chain.
#[derive(Debug, Clone)]
pub struct ChainSession {
    /// The user's counter when it began.
    pub counter: i64,
    /// When it was ended by itself.
    pub ended_at: Option<Timestamp>,
    /// And why.
    pub ended_cause: Option<String>,
    /// End in any case.
    pub expires_at: Timestamp,
    /// End by idleness.
    pub idle_expires_at: Timestamp,
    /// Its connection.
    pub connection_id: String,
    /// What lives on, where a policy decided it.
    pub spares: Option<Spares>,
    /// The floor of its identity; `None` when that is gone.
    pub identity_floor: Option<i64>,
    /// The key that sealed its cookie.
    pub sealing_key: u32,
}

/// The family part of a chain.
#[derive(Debug, Clone)]
pub struct ChainFamily {
    /// The user's counter when it began.
    pub counter: i64,
    /// When it was ended by itself.
    pub ended_at: Option<Timestamp>,
    /// The client's counter when it began.
    pub client_counter: i64,
    /// Its connection.
    pub connection_id: String,
    /// That connection's epoch for the client.
    pub connection_epoch: i64,
    /// End in any case.
    pub expires_at: Option<Timestamp>,
    /// End by idleness.
    pub idle_expires_at: Option<Timestamp>,
    /// The key that sealed its newest token.
    pub sealing_key: u32,
}

/// Reads what an access token hangs on. A key that the token does not name is passed as `None`.
pub async fn token_chain(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    session: Option<&SessionKey>,
    grant: Option<&GrantKey>,
    client: &ClientId,
) -> Result<TokenChain, Failure> {
    let session: &[u8] = session.map_or(&[], |key| key.as_bytes());
    let grant: &[u8] = grant.map_or(&[], |key| key.as_bytes());
    chain_of(&tx.one(&TOKEN_CHAIN, params![tenant, user, session, grant, client]).await?)
}

/// Reads the columns of a chain, which stand first in their row.
pub(crate) fn chain_of(row: &Row) -> Result<TokenChain, Failure> {
    let user = match (row.get::<Option<i64>>(0)?, row.get::<Option<UserId>>(23)?) {
        (Some(counter), Some(user_id)) => Some(ChainUser {
            counter,
            credential_floor: row.get(1)?,
            session_floor: row.get(2)?,
            blocked: row.get::<Option<bool>>(3)?.unwrap_or(false),
            family_floor: row.get(4)?,
            user_id,
            doc: row.get(24)?,
            last_activity: row.get(25)?,
            connection_id: row.get(26)?,
            updated_at: row.get(27)?,
        }),
        _ => None,
    };
    let session = match row.get::<Option<i64>>(5)? {
        Some(counter) => Some(ChainSession {
            counter,
            ended_at: row.get(6)?,
            ended_cause: row.get(7)?,
            expires_at: row.get(8)?,
            idle_expires_at: row.get(9)?,
            connection_id: row.get(10)?,
            spares: sessions::spares(row, 30)?,
            identity_floor: row.get(11)?,
            sealing_key: row.get(28)?,
        }),
        None => None,
    };
    let family = match row.get::<Option<i64>>(12)? {
        Some(counter) => Some(ChainFamily {
            counter,
            ended_at: row.get(13)?,
            client_counter: row.get(14)?,
            connection_id: row.get(15)?,
            connection_epoch: row.get(16)?,
            expires_at: row.get(17)?,
            idle_expires_at: row.get(18)?,
            sealing_key: row.get(29)?,
        }),
        None => None,
    };
    Ok(TokenChain {
        user,
        session,
        family,
        code_replayed_at: row.get(19)?,
        pair_family_floor: row.get::<Option<i64>>(20)?.unwrap_or(0),
        tenant_version: row.get(21)?,
        client_version: row.get(22)?,
    })
}
