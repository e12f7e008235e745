//! What changed and ended nothing, or more than access: written down where it changes, for streams that want to hear of
//! it ([`deliveries`](crate::deliveries)). What ended is in the ending itself.

use curfew_model::{Ctx, Failure, UserId, UserKey};
use curfew_store::Tx;
use curfew_store::changes::{self, ChangeRow};
use curfew_store::users::{self, IdentityRow, UserRow};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A user.
    User(UserChange),
}

/// What became of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum UserChange {
    /// It was made, by whatever way.
    Created {
        /// As it is now.
        user: User,
    },
    /// It was changed: profile, metadata, block, password, identities.
    Updated {
        /// As it was.
        before: User,
        /// As it is now.
        user: User,
        /// Whether the password was set or changed.
        password_changed: bool,
    },
    /// It was deleted, or went up into another.
    Deleted {
        /// As it was.
        user: User,
    },
}

/// A user at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    /// Its internal key.
    pub key: UserKey,
    /// `sub`.
    pub id: UserId,
    /// As the Management API answers it, but that an identity's `connection` is the connection's id.
    pub doc: Map<String, Value>,
}

impl User {
    /// A user as it is in this transaction; `None` when there is none such.
    pub(crate) async fn now(tx: &mut Tx, ctx: &Ctx, key: &UserKey) -> Result<Option<Self>, Failure> {
        let Some(row) = users::find(tx, ctx.tenant, key).await? else { return Ok(None) };
        let identities = users::identities(tx, ctx.tenant, key).await?;
        Self::of(&row, &identities).map(Some)
    }

    /// The user of these rows.
    pub(crate) fn of(row: &UserRow, identities: &[IdentityRow]) -> Result<Self, Failure> {
        let doc = crate::users::view(&|_| None, row, identities)?;
        Ok(Self { key: row.user_key, id: row.user_id.clone(), doc })
    }
}

/// Writes a change down, in the caller's transaction.
pub(crate) async fn record(tx: &mut Tx, ctx: &Ctx, change: &Change) -> Result<(), Failure> {
    let doc = serde_json::to_string(change)
        .map_err(|error| Failure::Internal(format!("a change is not JSON: {error}").into()))?;
    let row = ChangeRow { id: ctx.entropy.bytes(), at: ctx.now, issuer: ctx.issuer.to_string(), doc };
    changes::insert(tx, ctx.tenant, &row).await
}
