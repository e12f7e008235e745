//! Users, their identities and identifiers, and the narrow row on which their access rests.

use curfew_model::{ClientId, Failure, TenantId, Timestamp, UserId, UserKey};

use crate::{Row, Tx, params, statements};

statements! {
    /// What clients held for users who are gone, once nothing hangs on it, by key range.
    pub PURGEABLE_CLIENTS = "select uc.user_key, uc.client_id from user_clients uc \
        where uc.tenant = $1 and (uc.user_key > $2 or (uc.user_key = $2 and uc.client_id > $3)) \
        and not exists (select 1 from user_access a where a.tenant = uc.tenant and a.user_key = uc.user_key) \
        and not exists (select 1 from families f where f.tenant = uc.tenant and f.user_key = uc.user_key) \
        order by uc.user_key, uc.client_id limit $4";
    /// Removes one.
    pub PURGE_CLIENT = "delete from user_clients where tenant = $1 and user_key = $2 and client_id = $3";
    /// The key behind a `user_id`.
    pub FIND_KEY = "select user_key from user_ids where tenant = $1 and user_id = $2";
    /// A user with the access row.
    pub GET = "select u.user_key, u.user_id, u.connection_id, u.doc, u.created_at, u.updated_at, a.blocked, \
        a.logins_count, a.last_login, a.last_ip, a.last_activity, a.counter, a.session_floor \
        from users u join user_access a on a.tenant = u.tenant and a.user_key = u.user_key \
        where u.tenant = $1 and u.user_key = $2";
    /// A page of users, oldest first.
    pub LIST = "select u.user_key, u.user_id, u.connection_id, u.doc, u.created_at, u.updated_at, a.blocked, \
        a.logins_count, a.last_login, a.last_ip, a.last_activity, a.counter, a.session_floor \
        from users u join user_access a on a.tenant = u.tenant and a.user_key = u.user_key \
        where u.tenant = $1 order by u.created_at, u.user_key limit $2 offset $3";
    /// The same, newest first.
    pub LIST_NEWEST = "select u.user_key, u.user_id, u.connection_id, u.doc, u.created_at, u.updated_at, a.blocked, \
        a.logins_count, a.last_login, a.last_ip, a.last_activity, a.counter, a.session_floor \
        from users u join user_access a on a.tenant = u.tenant and a.user_key = u.user_key \
        where u.tenant = $1 order by u.created_at desc, u.user_key desc limit $2 offset $3";
    /// How many users there are.
    pub COUNT = "select count(*) from users where tenant = $1";
    /// Users with an e-mail, in any connection.
    pub KEYS_BY_IDENTIFIER = "select distinct user_key from identifiers \
        where tenant = $1 and kind = $2 and value = $3 order by user_key limit 100";
    /// Users of a connection, by key range.
    pub KEYS_OF_CONNECTION = "select user_key from users where tenant = $1 and connection_id = $2 \
        order by user_key limit $3";
    /// Connections that are gone while users of theirs are still there.
    pub ORPHANED_CONNECTIONS = "select distinct u.connection_id from users u \
        where u.tenant = $1 and not exists (select 1 from connections c where c.tenant = u.tenant and c.id = u.connection_id) \
        limit 100";
    /// What a credential step needs to know.
    pub FIND_LOGIN = "select x.user_key, u.user_id, i.provider, i.identity_id, i.password_hash, a.blocked, a.counter, \
        a.credential_floor, i.session_floor, u.doc \
        from identifiers x \
        join users u on u.tenant = x.tenant and u.user_key = x.user_key \
        join user_access a on a.tenant = x.tenant and a.user_key = x.user_key \
        join identities i on i.tenant = x.tenant and i.user_key = x.user_key and i.identity_id = x.identity_id \
            and i.connection_id = x.connection_id \
        where x.tenant = $1 and x.connection_id = $2 and x.kind = $3 and x.value = $4";
    /// A new user.
    pub INSERT = "insert into users (tenant, user_key, user_id, connection_id, doc, created_at, updated_at) \
        values ($1, $2, $3, $4, $5, $6, $6)";
    /// Its index row.
    pub INSERT_ID = "insert into user_ids (tenant, user_id, user_key) values ($1, $2, $3) on conflict do nothing";
    /// Its access row; the counter starts at the creation instant.
    pub INSERT_ACCESS = "insert into user_access (tenant, user_key, counter, credential_floor, session_floor, \
        family_floor, blocked, logins_count, last_activity, sessions_bound) values ($1, $2, $3, 0, 0, 0, $4, 0, null, 0)";
    /// An identifier; no row when somebody has it.
    pub INSERT_IDENTIFIER = "insert into identifiers (tenant, connection_id, kind, value, user_key, identity_id) \
        values ($1, $2, $3, $4, $5, $6) on conflict do nothing";
    /// Gives up an identifier.
    pub DELETE_IDENTIFIER = "delete from identifiers where tenant = $1 and connection_id = $2 and kind = $3 \
        and value = $4 and user_key = $5";
    /// Hands the identifiers of one identity to another user.
    pub MOVE_IDENTIFIERS = "update identifiers set user_key = $4 where tenant = $1 and connection_id = $2 \
        and identity_id = $3 and user_key = $5";
    /// The identifiers of one identity.
    pub IDENTIFIERS = "select kind, value from identifiers where tenant = $1 and connection_id = $2 \
        and identity_id = $3 and user_key = $4";
    /// An identity.
    pub INSERT_IDENTITY = "insert into identities (tenant, user_key, provider, identity_id, connection_id, position, \
        session_floor, password_hash, password_set_at, profile) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    /// A user's identities, the primary one first.
    pub IDENTITIES = "select provider, identity_id, connection_id, position, session_floor, password_hash, \
        password_set_at, profile from identities where tenant = $1 and user_key = $2 order by position, provider, identity_id";
    /// Takes an identity away.
    pub DELETE_IDENTITY = "delete from identities where tenant = $1 and user_key = $2 and provider = $3 and identity_id = $4";
    /// Sets an identity's password.
    pub SET_PASSWORD = "update identities set password_hash = $5, password_set_at = $6 \
        where tenant = $1 and user_key = $2 and provider = $3 and identity_id = $4";
    /// Replaces a hash by a better one of the same password, if nobody changed it meanwhile.
    pub REHASH = "update identities set password_hash = $6 \
        where tenant = $1 and user_key = $2 and provider = $3 and identity_id = $4 and password_hash = $5";
    /// Replaces the document.
    pub UPDATE_DOC = "update users set doc = $3, updated_at = $4 where tenant = $1 and user_key = $2";
    /// Writes the row before its document is read and written anew. Nothing in it changes.
    pub TAKE = "update users set updated_at = updated_at where tenant = $1 and user_key = $2";
    /// Sets or lifts the block.
    pub SET_BLOCKED = "update user_access set blocked = $3 where tenant = $1 and user_key = $2";
    /// An interactive login happened.
    pub RECORD_LOGIN = "update user_access set logins_count = logins_count + 1, last_login = $3, last_ip = $4, \
        last_activity = $3 where tenant = $1 and user_key = $2";
    /// Moves `updated_at` with a login.
    pub STAMP_UPDATED = "update users set updated_at = $3 where tenant = $1 and user_key = $2";
    /// The person is there. Written at most every quarter of an hour.
    pub RECORD_ACTIVITY = "update user_access set last_activity = $3 where tenant = $1 and user_key = $2 \
        and (last_activity is null or last_activity < $4)";
    /// Removes the user; identifiers go after it.
    pub DELETE = "delete from users where tenant = $1 and user_key = $2";
    /// Removes its index row.
    pub DELETE_ID = "delete from user_ids where tenant = $1 and user_id = $2 and user_key = $3";
    /// Removes its access row: from here on nothing of the user is alive.
    pub DELETE_ACCESS = "delete from user_access where tenant = $1 and user_key = $2";
    /// Removes its identities.
    pub DELETE_IDENTITIES = "delete from identities where tenant = $1 and user_key = $2";
    /// Removes its identifiers.
    pub DELETE_IDENTIFIERS = "delete from identifiers where tenant = $1 and connection_id = $2 and user_key = $3";
    /// Removes its consents.
    pub DELETE_GRANTS = "delete from grants where tenant = $1 and user_key = $2";
}

/// A user with what the access row says.
#[derive(Debug, Clone)]
pub struct UserRow {
    /// Internal key.
    pub user_key: UserKey,
    /// `sub`.
    pub user_id: UserId,
    /// The primary identity's connection.
    pub connection_id: String,
    /// Profile and metadata, JSON.
    pub doc: String,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When the document or the last login changed.
    pub updated_at: Timestamp,
    /// `None` when never set.
    pub blocked: Option<bool>,
    /// Interactive logins.
    pub logins_count: i64,
    /// Last interactive login.
    pub last_login: Option<Timestamp>,
    /// Its address.
    pub last_ip: Option<String>,
    /// Last sign of the person.
    pub last_activity: Option<Timestamp>,
    /// The counter now.
    pub counter: i64,
    /// Sessions below are over.
    pub session_floor: i64,
}

/// An identity of a user.
#[derive(Debug, Clone)]
pub struct IdentityRow {
    /// `auth0` for the database strategy.
    pub provider: String,
    /// The id without the provider prefix.
    pub identity_id: String,
    /// Its connection.
    pub connection_id: String,
    /// 0 for the primary one.
    pub position: i64,
    /// Sessions opened with it below this counter are over.
    pub session_floor: i64,
    /// PHC string.
    pub password_hash: Option<String>,
    /// When the password was set or changed.
    pub password_set_at: Option<Timestamp>,
    /// What the secondary user's profile was, JSON.
    pub profile: String,
}

/// What a credential step needs to know of the user behind an identifier.
#[derive(Debug, Clone)]
pub struct LoginRow {
    /// Internal key.
    pub user_key: UserKey,
    /// `sub`.
    pub user_id: UserId,
    /// The identity's provider.
    pub provider: String,
    /// The identity's id.
    pub identity_id: String,
    /// PHC string.
    pub password_hash: Option<String>,
    /// Whether an administrator blocked the user.
    pub blocked: bool,
    /// The counter now: what the login will be bound to.
    pub counter: i64,
    /// Profile and metadata, JSON.
    pub doc: String,
}

/// A new user with one identity.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// Internal key.
    pub user_key: UserKey,
    /// `sub`.
    pub user_id: &'a UserId,
    /// Provider of the identity.
    pub provider: &'a str,
    /// Id of the identity.
    pub identity_id: &'a str,
    /// Its connection.
    pub connection_id: &'a str,
    /// `(kind, value)` of each identifier.
    pub identifiers: &'a [(&'static str, String)],
    /// Profile and metadata, JSON.
    pub doc: &'a str,
    /// PHC string.
    pub password_hash: Option<&'a str>,
    /// Whether the user begins blocked.
    pub blocked: Option<bool>,
    /// The creation instant.
    pub now: Timestamp,
}

fn user(row: &Row) -> Result<UserRow, Failure> {
    Ok(UserRow {
        user_key: row.get(0)?,
        user_id: row.get(1)?,
        connection_id: row.get(2)?,
        doc: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
        blocked: row.get(6)?,
        logins_count: row.get(7)?,
        last_login: row.get(8)?,
        last_ip: row.get(9)?,
        last_activity: row.get(10)?,
        counter: row.get(11)?,
        session_floor: row.get(12)?,
    })
}

/// The key behind a `user_id`.
pub async fn find_key(tx: &mut Tx, tenant: TenantId, id: &UserId) -> Result<Option<UserKey>, Failure> {
    tx.maybe(&FIND_KEY, params![tenant, id]).await?.map(|row| row.get(0)).transpose()
}

/// A user by key.
pub async fn find(tx: &mut Tx, tenant: TenantId, key: &UserKey) -> Result<Option<UserRow>, Failure> {
    tx.maybe(&GET, params![tenant, key]).await?.as_ref().map(user).transpose()
}

/// A page of users, by creation.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    newest_first: bool,
    limit: i64,
    offset: i64,
) -> Result<Vec<UserRow>, Failure> {
    let statement = if newest_first { &LIST_NEWEST } else { &LIST };
    tx.all(statement, params![tenant, limit, offset]).await?.iter().map(user).collect()
}

/// How many users the tenant has.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64, Failure> {
    tx.one(&COUNT, params![tenant]).await?.get(0)
}

/// Keys of the users with an identifier, in any connection; at most 100.
pub async fn keys_by_identifier(
    tx: &mut Tx,
    tenant: TenantId,
    kind: &str,
    value: &str,
) -> Result<Vec<UserKey>, Failure> {
    tx.all(&KEYS_BY_IDENTIFIER, params![tenant, kind, value]).await?.iter().map(|row| row.get(0)).collect()
}

/// Keys of up to `limit` users whose primary identity is of a connection.
pub async fn keys_of_connection(
    tx: &mut Tx,
    tenant: TenantId,
    connection_id: &str,
    limit: i64,
) -> Result<Vec<UserKey>, Failure> {
    let rows = tx.all(&KEYS_OF_CONNECTION, params![tenant, connection_id, limit]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Ids of connections that are gone while users of theirs are still there; at most 100.
pub async fn orphaned_connections(tx: &mut Tx, tenant: TenantId) -> Result<Vec<String>, Failure> {
    tx.all(&ORPHANED_CONNECTIONS, params![tenant]).await?.iter().map(|row| row.get(0)).collect()
}

/// The user behind an identifier, for a credential step.
pub async fn find_login(
    tx: &mut Tx,
    tenant: TenantId,
    connection_id: &str,
    kind: &str,
    value: &str,
) -> Result<Option<LoginRow>, Failure> {
    let Some(row) = tx.maybe(&FIND_LOGIN, params![tenant, connection_id, kind, value]).await? else {
        return Ok(None);
    };
    Ok(Some(LoginRow {
        user_key: row.get(0)?,
        user_id: row.get(1)?,
        provider: row.get(2)?,
        identity_id: row.get(3)?,
        password_hash: row.get(4)?,
        blocked: row.get::<Option<bool>>(5)?.unwrap_or(false),
        counter: row.get(6)?,
        doc: row.get(9)?,
    }))
}

/// Inserts a user; `false` when an identifier or the `user_id` is taken (then roll back).
pub async fn insert(tx: &mut Tx, tenant: TenantId, new: &NewUser<'_>) -> Result<bool, Failure> {
    for (kind, value) in new.identifiers {
        let parameters = params![tenant, new.connection_id, *kind, value, &new.user_key, new.identity_id];
        if tx.run(&INSERT_IDENTIFIER, parameters).await? == 0 {
            return Ok(false);
        }
    }
    if tx.run(&INSERT_ID, params![tenant, new.user_id, &new.user_key]).await? == 0 {
        return Ok(false);
    }
    tx.run(&INSERT, params![tenant, &new.user_key, new.user_id, new.connection_id, new.doc, new.now]).await?;
    tx.run(&INSERT_ACCESS, params![tenant, &new.user_key, new.now.micros(), new.blocked]).await?;
    insert_identity(
        tx,
        tenant,
        &new.user_key,
        &IdentityRow {
            provider: new.provider.to_owned(),
            identity_id: new.identity_id.to_owned(),
            connection_id: new.connection_id.to_owned(),
            position: 0,
            session_floor: 0,
            password_hash: new.password_hash.map(str::to_owned),
            password_set_at: new.password_hash.map(|_| new.now),
            profile: "{}".to_owned(),
        },
    )
    .await?;
    Ok(true)
}

/// Inserts an identity of a user.
pub async fn insert_identity(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    identity: &IdentityRow,
) -> Result<(), Failure> {
    let parameters = params![
        tenant,
        user,
        &identity.provider,
        &identity.identity_id,
        &identity.connection_id,
        identity.position,
        identity.session_floor,
        identity.password_hash.as_deref(),
        identity.password_set_at,
        &identity.profile
    ];
    tx.run(&INSERT_IDENTITY, parameters).await.map(|_| ())
}

/// A user's identities, the primary one first.
pub async fn identities(tx: &mut Tx, tenant: TenantId, user: &UserKey) -> Result<Vec<IdentityRow>, Failure> {
    let rows = tx.all(&IDENTITIES, params![tenant, user]).await?;
    rows.iter()
        .map(|row| {
            Ok(IdentityRow {
                provider: row.get(0)?,
                identity_id: row.get(1)?,
                connection_id: row.get(2)?,
                position: row.get(3)?,
                session_floor: row.get(4)?,
                password_hash: row.get(5)?,
                password_set_at: row.get(6)?,
                profile: row.get(7)?,
            })
        })
        .collect()
}

/// Takes an identity from a user; `false` when the user has none such.
pub async fn delete_identity(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    provider: &str,
    identity_id: &str,
) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE_IDENTITY, params![tenant, user, provider, identity_id]).await? == 1)
}

/// Claims an identifier; `false` when somebody has it.
pub async fn insert_identifier(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    (connection_id, identity_id): (&str, &str),
    (kind, value): (&str, &str),
) -> Result<bool, Failure> {
    Ok(tx.run(&INSERT_IDENTIFIER, params![tenant, connection_id, kind, value, user, identity_id]).await? == 1)
}

/// Gives an identifier up.
pub async fn delete_identifier(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    connection_id: &str,
    (kind, value): (&str, &str),
) -> Result<(), Failure> {
    tx.run(&DELETE_IDENTIFIER, params![tenant, connection_id, kind, value, user]).await.map(|_| ())
}

/// The `(kind, value)` identifiers of one identity.
pub async fn identifiers(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    (connection_id, identity_id): (&str, &str),
) -> Result<Vec<(String, String)>, Failure> {
    let rows = tx.all(&IDENTIFIERS, params![tenant, connection_id, identity_id, user]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Hands the identifiers of one identity from one user to another.
pub async fn move_identifiers(
    tx: &mut Tx,
    tenant: TenantId,
    (connection_id, identity_id): (&str, &str),
    from: &UserKey,
    to: &UserKey,
) -> Result<(), Failure> {
    tx.run(&MOVE_IDENTIFIERS, params![tenant, connection_id, identity_id, to, from]).await.map(|_| ())
}

/// Sets an identity's password.
pub async fn set_password(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    (provider, identity_id): (&str, &str),
    password_hash: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    tx.run(&SET_PASSWORD, params![tenant, user, provider, identity_id, password_hash, now]).await.map(|_| ())
}

/// Replaces a hash by a better one of the same password.
pub async fn rehash(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    (provider, identity_id): (&str, &str),
    (old, new): (&str, &str),
) -> Result<(), Failure> {
    tx.run(&REHASH, params![tenant, user, provider, identity_id, old, new]).await.map(|_| ())
}

/// Replaces the document.
pub async fn update_doc(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    doc: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    tx.run(&UPDATE_DOC, params![tenant, user, doc, now]).await.map(|_| ())
}

/// Takes a user's row, so that of changes to the document at one instant none is lost; `false` when there is no such user.
pub async fn take(tx: &mut Tx, tenant: TenantId, user: &UserKey) -> Result<bool, Failure> {
    Ok(tx.run(&TAKE, params![tenant, user]).await? == 1)
}

/// Sets or lifts the administrator's block. Ending what the block ends is `core::endings`' part.
pub async fn set_blocked(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    blocked: bool,
) -> Result<(), Failure> {
    tx.run(&SET_BLOCKED, params![tenant, user, blocked]).await.map(|_| ())
}

/// Counts an interactive login.
pub async fn record_login(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    now: Timestamp,
    ip: &str,
) -> Result<(), Failure> {
    tx.run(&RECORD_LOGIN, params![tenant, user, now, ip]).await?;
    tx.run(&STAMP_UPDATED, params![tenant, user, now]).await.map(|_| ())
}

/// Notes that the person is there, if the stored value is older than `stale_before`.
pub async fn record_activity(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    now: Timestamp,
    stale_before: Timestamp,
) -> Result<(), Failure> {
    tx.run(&RECORD_ACTIVITY, params![tenant, user, now, stale_before]).await.map(|_| ())
}

/// Removes a user: the user first, the identifiers last. Sessions and families lose their access row, which is
/// their end; the sweeper takes the rows.
pub async fn delete(tx: &mut Tx, tenant: TenantId, user: &UserRow) -> Result<(), Failure> {
    let key = &user.user_key;
    let identities = identities(tx, tenant, key).await?;
    tx.run(&DELETE_ACCESS, params![tenant, key]).await?;
    tx.run(&DELETE, params![tenant, key]).await?;
    tx.run(&DELETE_ID, params![tenant, &user.user_id, key]).await?;
    tx.run(&DELETE_IDENTITIES, params![tenant, key]).await?;
    tx.run(&DELETE_GRANTS, params![tenant, key]).await?;
    for identity in &identities {
        tx.run(&DELETE_IDENTIFIERS, params![tenant, &identity.connection_id, key]).await?;
    }
    Ok(())
}

/// What clients held for users who are gone, with no family left, in key order after `after`.
pub async fn purgeable_clients(
    tx: &mut Tx,
    tenant: TenantId,
    (user, client): (&UserKey, &ClientId),
    limit: i64,
) -> Result<Vec<(UserKey, ClientId)>, Failure> {
    let rows = tx.all(&PURGEABLE_CLIENTS, params![tenant, user, client, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Removes what a client held for a user.
pub async fn purge_client(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    client: &ClientId,
) -> Result<(), Failure> {
    tx.run(&PURGE_CLIENT, params![tenant, user, client]).await.map(|_| ())
}
