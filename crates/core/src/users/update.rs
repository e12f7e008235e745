//! How a user is changed, and which changes are endings: a block, a new password, another identifier, an e-mail that
//! is no longer verified.

use curfew_model::config::{ActionTrigger, Connection};
use curfew_model::{Ctx, EndingCause, Failure, UserKey};
use curfew_store::Tx;
use curfew_store::users::{self, IdentityRow, UserRow};
use serde_json::{Map, Value, json};

use super::{identifiers_of, normalize_email, normalize_username};
use crate::TenantConfig;
use crate::actions::{event, runs};
use crate::changes;
use crate::endings::{self, Actor, Ending, Target};

/// A change, as the Management API sends it; the password is hashed already.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Root attributes; `null` removes one.
    pub attributes: Map<String, Value>,
    /// Merged at the first level; `null` removes a key, `{}` clears.
    pub user_metadata: Option<Value>,
    /// Merged at the first level.
    pub app_metadata: Option<Value>,
    /// The administrator's block.
    pub blocked: Option<bool>,
    /// PHC string.
    pub password_hash: Option<String>,
}

/// How it went.
#[derive(Debug)]
pub enum Changed {
    /// The user as it is now.
    Updated(Box<UserRow>),
    /// No such user.
    NotFound,
    /// Somebody has the e-mail or user name; roll back.
    Exists,
    /// An attribute that cannot be.
    Invalid(&'static str),
}

/// Changes a user in the caller's transaction. `connection` is the primary identity's. After a new password the caller wakes
/// what runs then (`Core::runs_due`).
pub async fn update(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    connection: &Connection,
    user: &UserKey,
    change: &Change,
    actor: &Actor,
) -> Result<Changed, Failure> {
    if !users::take(tx, ctx.tenant, user).await? {
        return Ok(Changed::NotFound);
    }
    let Some(row) = users::find(tx, ctx.tenant, user).await? else { return Ok(Changed::NotFound) };
    let before: Map<String, Value> = serde_json::from_str(&row.doc).unwrap_or_default();
    let mut doc = before.clone();
    if let Some(fault) = apply(&mut doc, change) {
        return Ok(Changed::Invalid(fault));
    }
    let identities = users::identities(tx, ctx.tenant, user).await?;
    let Some(primary) = identities.first() else {
        return Err(Failure::Inconsistent { table: "identities", column: "user_key", id: user.to_string() });
    };
    if !move_identifiers(tx, ctx, connection, user, primary, (&before, &doc)).await? {
        return Ok(Changed::Exists);
    }
    users::update_doc(tx, ctx.tenant, user, &Value::Object(doc.clone()).to_string(), ctx.now).await?;
    if let Some(hash) = &change.password_hash {
        let identity = (primary.provider.as_str(), primary.identity_id.as_str());
        users::set_password(tx, ctx.tenant, user, identity, hash, ctx.now).await?;
    }
    if let Some(blocked) = change.blocked {
        users::set_blocked(tx, ctx.tenant, user, blocked).await?;
    }
    for cause in causes(change, &before, &doc) {
        let target = if cause == EndingCause::UserBlocked {
            Target::User(*user)
        } else {
            Target::Identity {
                user: *user,
                provider: primary.provider.clone(),
                identity_id: primary.identity_id.clone(),
            }
        };
        endings::end(tx, ctx, &Ending::new(cause, target, actor.clone())).await?;
    }
    let updated = users::find(tx, ctx.tenant, user)
        .await?
        .ok_or_else(|| Failure::Internal("a user vanished in its own transaction".into()))?;
    let password_changed = change.password_hash.is_some();
    let before = changes::User::of(&row, &identities)?;
    let identities =
        if password_changed { users::identities(tx, ctx.tenant, user).await? } else { identities };
    if password_changed && runs::due(config, ActionTrigger::PostChangePassword) {
        let mut event = json!({
            "connection": event::connection(connection),
            "request": event::origin(ctx),
            "tenant": event::tenant(config),
            "user": event::user(config, &updated, &identities)?,
        });
        if let Some(domain) = event::custom_domain(ctx, config) {
            event["custom_domain"] = domain;
        }
        runs::plan(tx, ctx, ActionTrigger::PostChangePassword, event, (&updated.user_id, None)).await?;
    }
    let user = changes::User::of(&updated, &identities)?;
    changes::record(
        tx,
        ctx,
        &changes::Change::User(changes::UserChange::Updated { before, user, password_changed }),
    )
    .await?;
    Ok(Changed::Updated(Box::new(updated)))
}

/// Merges single keys into a user's metadata, in the caller's transaction, where that changes anything. Nothing ends by
/// it. `false` when there is no such user.
pub(crate) async fn merge_metadata(
    tx: &mut Tx,
    ctx: &Ctx,
    user: &UserKey,
    user_metadata: &Map<String, Value>,
    app_metadata: &Map<String, Value>,
) -> Result<bool, Failure> {
    if !users::take(tx, ctx.tenant, user).await? {
        return Ok(false);
    }
    let Some(row) = users::find(tx, ctx.tenant, user).await? else { return Ok(false) };
    let before: Map<String, Value> = serde_json::from_str(&row.doc).unwrap_or_default();
    let mut doc = before.clone();
    for (name, change) in [("user_metadata", user_metadata), ("app_metadata", app_metadata)] {
        merge_keys(&mut doc, name, change);
    }
    if doc == before {
        return Ok(true);
    }
    users::update_doc(tx, ctx.tenant, user, &Value::Object(doc).to_string(), ctx.now).await?;
    let identities = users::identities(tx, ctx.tenant, user).await?;
    let before = changes::User::of(&row, &identities)?;
    let Some(after) = changes::User::now(tx, ctx, user).await? else { return Ok(false) };
    let change = changes::UserChange::Updated { before, user: after, password_changed: false };
    changes::record(tx, ctx, &changes::Change::User(change)).await?;
    Ok(true)
}

/// Which endings a change is. A block is one even when the user was blocked already: what was made since is ended, and
/// the caller's answer means what it says.
fn causes(change: &Change, before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<EndingCause> {
    let mut causes = Vec::new();
    if change.blocked == Some(true) {
        causes.push(EndingCause::UserBlocked);
    }
    if change.password_hash.is_some() {
        causes.push(EndingCause::PasswordChanged);
    }
    let verified = |doc: &Map<String, Value>| doc.get("email_verified") == Some(&Value::Bool(true));
    let identifier_moved = ["email", "username", "phone_number"]
        .iter()
        .any(|name| before.get(*name).is_some_and(|value| after.get(*name) != Some(value)));
    if identifier_moved || (verified(before) && !verified(after)) {
        causes.push(EndingCause::IdentifierChanged);
    }
    causes
}

fn apply(doc: &mut Map<String, Value>, change: &Change) -> Option<&'static str> {
    for (name, value) in &change.attributes {
        let value = match (name.as_str(), value) {
            ("email", Value::String(email)) => match normalize_email(email) {
                Some(email) => json!(email),
                None => return Some("email"),
            },
            ("username", Value::String(username)) => match normalize_username(username) {
                Some(username) => json!(username),
                None => return Some("username"),
            },
            (_, value) => value.clone(),
        };
        if value.is_null() {
            doc.remove(name);
        } else {
            doc.insert(name.clone(), value);
        }
    }
    merge(doc, "user_metadata", change.user_metadata.as_ref());
    merge(doc, "app_metadata", change.app_metadata.as_ref());
    None
}

/// Sets single keys of a metadata document; `null` removes one.
pub(super) fn merge_keys(doc: &mut Map<String, Value>, name: &str, set: &Map<String, Value>) {
    if !set.is_empty() {
        merge(doc, name, Some(&Value::Object(set.clone())));
    }
}

fn merge(doc: &mut Map<String, Value>, name: &str, change: Option<&Value>) {
    match change {
        None => {}
        Some(Value::Object(change)) if !change.is_empty() => {
            let entry = doc.entry(name.to_owned()).or_insert_with(|| json!({}));
            if !entry.is_object() {
                *entry = json!({});
            }
            if let Value::Object(own) = entry {
                for (key, value) in change {
                    if value.is_null() {
                        own.remove(key);
                    } else {
                        own.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        Some(_) => {
            doc.remove(name);
        }
    }
}

/// Claims new identifiers and gives up old ones; `false` when somebody has one.
async fn move_identifiers(
    tx: &mut Tx,
    ctx: &Ctx,
    connection: &Connection,
    user: &UserKey,
    primary: &IdentityRow,
    (before, after): (&Map<String, Value>, &Map<String, Value>),
) -> Result<bool, Failure> {
    let old = identifiers_of(before, connection);
    let new = identifiers_of(after, connection);
    let place = (primary.connection_id.as_str(), primary.identity_id.as_str());
    for (kind, value) in new.iter().filter(|identifier| !old.contains(identifier)) {
        if !users::insert_identifier(tx, ctx.tenant, user, place, (kind, value)).await? {
            return Ok(false);
        }
    }
    for (kind, value) in old.iter().filter(|identifier| !new.contains(identifier)) {
        users::delete_identifier(tx, ctx.tenant, user, place.0, (kind, value)).await?;
    }
    Ok(true)
}
