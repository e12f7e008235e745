//! Signing and sealing keys at rest.
//!
//! The caller of every write moved the tenant's version with [`tenants::touch`](crate::tenants::touch) first, except
//! for the guarded inserts of the first start, which two nodes may run at once.

use curfew_model::{Ctx, Failure, Secret, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

/// Where a signing key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, not used yet.
    Next,
    /// Signs.
    Current,
    /// Still verifies what it signed.
    Previous,
    /// Verifies nothing any more.
    Revoked,
}

impl KeyState {
    /// The word in the `state` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Next, Self::Current, Self::Previous, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A signing key's row without the private key.
#[derive(Debug)]
pub struct SigningKeyRow {
    /// Key id.
    pub kid: String,
    /// `RS256`, `PS256`, `ES256` or `EdDSA`.
    pub alg: String,
    /// Where it is in its life.
    pub state: KeyState,
    /// The self-signed certificate as PEM.
    pub certificate: String,
    /// When it was made, and so first published.
    pub created_at: Timestamp,
    /// When it began to sign.
    pub current_since: Option<Timestamp>,
    /// When it ceased to sign.
    pub current_until: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A signing key to be stored.
#[derive(Debug)]
pub struct NewSigningKey {
    /// Key id.
    pub kid: String,
    /// `RS256`, `PS256`, `ES256` or `EdDSA`.
    pub alg: &'static str,
    /// The private key under the key-encryption key.
    pub wrapped: Secret<Vec<u8>>,
    /// The self-signed certificate as PEM.
    pub certificate: String,
}

statements! {
    INSERT = "insert into signing_keys
            (tenant, kid, alg, state, wrapped, certificate, created_at, current_since)
        values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing";
    LIST = "select kid, alg, state, certificate, created_at, current_since, current_until, revoked_at
        from signing_keys where tenant = $1 order by created_at, kid";
    FIND = "select kid, alg, state, certificate, created_at, current_since, current_until, revoked_at
        from signing_keys where tenant = $1 and kid = $2";
    PROMOTE = "update signing_keys set state = 'current', current_since = $3
        where tenant = $1 and alg = $2 and state = 'next'";
    RETIRE = "update signing_keys set state = 'previous', current_until = $3
        where tenant = $1 and alg = $2 and state = 'current'";
    REVOKE = "update signing_keys
        set state = 'revoked', revoked_at = $3,
            current_until = case when current_since is null then null else coalesce(current_until, $3) end
        where tenant = $1 and kid = $2 and state <> 'revoked'";
    INSERT_SEALING_KEY = "insert into sealing_keys (tenant, id, state, wrapped, created_at)
        values ($1, $2, 'current', $3, $4) on conflict do nothing";
    NEXT_SEALING_KEY = "select coalesce(max(id), 0) + 1 from sealing_keys where tenant = $1";
    RETIRE_SEALING_KEY = "update sealing_keys set state = 'previous' where tenant = $1 and state = 'current'";
    REVOKE_SEALING_KEY = "update sealing_keys set state = 'revoked', revoked_at = $3
        where tenant = $1 and id = $2 and state = 'previous'";
    COUNT_SEALING_KEYS = "select count(*) from sealing_keys where tenant = $1";
}

fn signing_key(row: &Row) -> Result<SigningKeyRow, Failure> {
    let kid: String = row.get(0)?;
    let state: String = row.get(2)?;
    Ok(SigningKeyRow {
        state: KeyState::parse(&state).ok_or_else(|| Failure::Inconsistent {
            table: "signing_keys",
            column: "state",
            id: kid.clone(),
        })?,
        kid,
        alg: row.get(1)?,
        certificate: row.get(3)?,
        created_at: row.get(4)?,
        current_since: row.get(5)?,
        current_until: row.get(6)?,
        revoked_at: row.get(7)?,
    })
}

/// Stores a key as `next` or `current`; `false` when the tenant has one in that state for this algorithm.
pub async fn insert(tx: &mut Tx, ctx: &Ctx, key: &NewSigningKey, state: KeyState) -> Result<bool, Failure> {
    let current_since = (state == KeyState::Current).then_some(ctx.now);
    let stored = tx
        .run(
            &INSERT,
            params![
                ctx.tenant,
                &key.kid,
                key.alg,
                state.as_str(),
                &key.wrapped,
                &key.certificate,
                ctx.now,
                current_since
            ],
        )
        .await?;
    Ok(stored == 1)
}

/// All keys of the tenant in the order they were made.
pub async fn list(tx: &mut Tx, tenant: TenantId) -> Result<Vec<SigningKeyRow>, Failure> {
    tx.all(&LIST, params![tenant]).await?.iter().map(signing_key).collect()
}

/// The key with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, kid: &str) -> Result<Option<SigningKeyRow>, Failure> {
    tx.maybe(&FIND, params![tenant, kid]).await?.as_ref().map(signing_key).transpose()
}

/// The current key of an algorithm becomes a previous one.
pub async fn retire_current(tx: &mut Tx, ctx: &Ctx, alg: &str) -> Result<bool, Failure> {
    Ok(tx.run(&RETIRE, params![ctx.tenant, alg, ctx.now]).await? == 1)
}

/// The next key of an algorithm becomes the current one; `false` when there is none.
pub async fn promote_next(tx: &mut Tx, ctx: &Ctx, alg: &str) -> Result<bool, Failure> {
    Ok(tx.run(&PROMOTE, params![ctx.tenant, alg, ctx.now]).await? == 1)
}

/// Revokes a key, whatever state it is in; `false` when it is gone or was revoked before.
pub async fn revoke(tx: &mut Tx, ctx: &Ctx, kid: &str) -> Result<bool, Failure> {
    Ok(tx.run(&REVOKE, params![ctx.tenant, kid, ctx.now]).await? == 1)
}

/// Stores the sealing key `id`, wrapped by the key-encryption key, as the current one; `false` when it exists.
pub async fn insert_sealing_key(
    tx: &mut Tx,
    ctx: &Ctx,
    id: u32,
    wrapped: &Secret<Vec<u8>>,
) -> Result<bool, Failure> {
    Ok(tx.run(&INSERT_SEALING_KEY, params![ctx.tenant, id, wrapped, ctx.now]).await? == 1)
}

/// The id after the highest that the tenant has had.
pub async fn next_sealing_key(tx: &mut Tx, tenant: TenantId) -> Result<u32, Failure> {
    tx.one(&NEXT_SEALING_KEY, params![tenant]).await?.get(0)
}

/// The current sealing key becomes a previous one: it opens, and seals no more.
pub async fn retire_sealing_key(tx: &mut Tx, tenant: TenantId) -> Result<bool, Failure> {
    Ok(tx.run(&RETIRE_SEALING_KEY, params![tenant]).await? == 1)
}

/// A previous sealing key opens nothing any more; `false` when it was revoked before, or is the current one.
pub async fn revoke_sealing_key(tx: &mut Tx, ctx: &Ctx, id: u32) -> Result<bool, Failure> {
    Ok(tx.run(&REVOKE_SEALING_KEY, params![ctx.tenant, id, ctx.now]).await? == 1)
}

/// How many sealing keys the tenant has, revoked ones included.
pub async fn count_sealing_keys(tx: &mut Tx, tenant: TenantId) -> Result<i64, Failure> {
    tx.one(&COUNT_SEALING_KEYS, params![tenant]).await?.get(0)
}
