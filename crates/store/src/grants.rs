//! Consent: what a user allowed a client.

use curfew_model::{ClientId, Failure, TenantId, Timestamp, UserId, UserKey};

use crate::{Row, Tx, params, statements};

statements! {
    /// The consent of a user for a client and API.
    pub FIND = "select id, client_id, user_key, audience, scope, '' from grants \
        where tenant = $1 and user_key = $2 and client_id = $3 and audience = $4";
    /// By its id.
    pub FIND_BY_ID = "select id, client_id, user_key, audience, scope, '' from grants where tenant = $1 and id = $2";
    /// Gives or widens consent.
    pub UPSERT = "insert into grants (tenant, user_key, client_id, audience, id, scope, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7) on conflict (tenant, user_key, client_id, audience) \
        do update set scope = excluded.scope";
    /// A page of consents, by user.
    pub LIST = "select g.id, g.client_id, g.user_key, g.audience, g.scope, u.user_id from grants g \
        join users u on u.tenant = g.tenant and u.user_key = g.user_key \
        where g.tenant = $1 and ($2 = '' or u.user_id = $2) and ($3 = '' or g.client_id = $3) \
        and ($4 = '' or g.audience = $4) order by g.user_key, g.client_id, g.audience limit $5 offset $6";
    /// How many there are.
    pub COUNT = "select count(*) from grants g \
        join users u on u.tenant = g.tenant and u.user_key = g.user_key \
        where g.tenant = $1 and ($2 = '' or u.user_id = $2) and ($3 = '' or g.client_id = $3) \
        and ($4 = '' or g.audience = $4)";
    /// Takes one back.
    pub DELETE = "delete from grants where tenant = $1 and user_key = $2 and client_id = $3 and audience = $4";
    /// The consents of one user.
    pub OF_USER = "select id, client_id, user_key, audience, scope, '' from grants where tenant = $1 and user_key = $2 \
        order by client_id, audience";
}

/// A consent. `audience` is empty where the client asked for no API.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// 24 hexadecimal digits.
    pub id: String,
    /// Whom it allows.
    pub client_id: ClientId,
    /// Whose it is.
    pub user_key: UserKey,
    /// For which API.
    pub audience: String,
    /// Allowed scope.
    pub scope: String,
    /// `sub`, in lists.
    pub user_id: String,
}

fn grant(row: &Row) -> Result<GrantRow, Failure> {
    Ok(GrantRow {
        id: row.get(0)?,
        client_id: row.get(1)?,
        user_key: row.get(2)?,
        audience: row.get(3)?,
        scope: row.get(4)?,
        user_id: row.get(5)?,
    })
}

/// The consent of a user for a client and API.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    user: &UserKey,
    client: &ClientId,
    audience: &str,
) -> Result<Option<GrantRow>, Failure> {
    tx.maybe(&FIND, params![tenant, user, client, audience]).await?.as_ref().map(grant).transpose()
}

/// A consent by its id.
pub async fn find_by_id(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<GrantRow>, Failure> {
    tx.maybe(&FIND_BY_ID, params![tenant, id]).await?.as_ref().map(grant).transpose()
}

/// Gives or widens consent.
pub async fn upsert(tx: &mut Tx, tenant: TenantId, row: &GrantRow, now: Timestamp) -> Result<(), Failure> {
    let parameters = params![tenant, &row.user_key, &row.client_id, &row.audience, &row.id, &row.scope, now];
    tx.run(&UPSERT, parameters).await.map(|_| ())
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Only of this user.
    pub user_id: Option<UserId>,
    /// Only for this client.
    pub client_id: Option<ClientId>,
    /// Only for this API.
    pub audience: Option<String>,
}

/// A page of consents.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &GrantFilter,
    limit: i64,
    offset: i64,
) -> Result<Vec<GrantRow>, Failure> {
    let user = filter.user_id.as_ref().map_or("", UserId::as_str);
    let client = filter.client_id.as_ref().map_or("", ClientId::as_str);
    let audience = filter.audience.as_deref().unwrap_or("");
    tx.all(&LIST, params![tenant, user, client, audience, limit, offset]).await?.iter().map(grant).collect()
}

/// How many consents a filter lets through.
pub async fn count(tx: &mut Tx, tenant: TenantId, filter: &GrantFilter) -> Result<i64, Failure> {
    let user = filter.user_id.as_ref().map_or("", UserId::as_str);
    let client = filter.client_id.as_ref().map_or("", ClientId::as_str);
    let audience = filter.audience.as_deref().unwrap_or("");
    tx.one(&COUNT, params![tenant, user, client, audience]).await?.get(0)
}

/// The consents of one user.
pub async fn of_user(tx: &mut Tx, tenant: TenantId, user: &UserKey) -> Result<Vec<GrantRow>, Failure> {
    tx.all(&OF_USER, params![tenant, user]).await?.iter().map(grant).collect()
}

/// Takes a consent back; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, row: &GrantRow) -> Result<bool, Failure> {
    Ok(tx.run(&DELETE, params![tenant, &row.user_key, &row.client_id, &row.audience]).await? == 1)
}
