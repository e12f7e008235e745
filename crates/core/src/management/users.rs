//! Users as the Management API shows and changes them. What ends with a change is [`users`](crate::users)' part.

use std::sync::Arc;

use curfew_model::config::Connection;
use curfew_model::{Ctx, Failure, Secret, UserId, UserKey};
use curfew_store::users::{self as rows, IdentityRow};
use curfew_store::{Lane, Tx};
use serde_json::Value;

use super::page::Page;
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted};
use crate::endings::Actor;
use crate::passwords;
use crate::users::{
    Change, Changed, Creation, NewUser, Registered, Registration, identity_view, register, view,
};
use crate::{Core, TenantConfig};

/// Longest metadata document, in bytes.
const METADATA_BYTES_MAX: usize = 32 * 1024;
/// Identities of one user.
const IDENTITIES_MAX: usize = 30;

async fn read(tx: &mut Tx, config: &TenantConfig, key: &UserKey) -> Result<Option<Document>, Failure> {
    let Some(row) = rows::find(tx, config.tenant, key).await? else { return Ok(None) };
    let identities = rows::identities(tx, config.tenant, key).await?;
    view(&|id| config.connection_name(id), &row, &identities).map(Some)
}

/// The key behind a `user_id`, or the refusal that there is none.
pub(super) async fn key_of(tx: &mut Tx, ctx: &Ctx, id: &UserId) -> Outcome<UserKey> {
    let found = rows::find_key(tx, ctx.tenant, id).await?;
    Ok(found.ok_or(Refused::Inexistent(Entity::User)))
}

/// Metadata is bounded.
fn check_metadata(doc: &Document) -> Result<(), Refused> {
    for name in ["user_metadata", "app_metadata"] {
        if doc.get(name).is_some_and(|value| value.to_string().len() > METADATA_BYTES_MAX) {
            return Err(Refused::property("Metadata must not exceed 32 kB", name));
        }
    }
    Ok(())
}

fn weak_password() -> Refused {
    Refused::Invalid {
        message: "PasswordStrengthError: Password is too weak".to_owned(),
        code: "invalid_body",
    }
}

fn database<'a>(config: &'a TenantConfig, name: &str) -> Result<&'a Connection, Refused> {
    config
        .connections
        .iter()
        .find(|connection| connection.name == name)
        .ok_or(Refused::Inexistent(Entity::Connection))
}

/// `POST /users`.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    super::drop_nulls(&mut doc);
    granted!(check_metadata(&doc));
    let body = doc.clone();
    let mut take = |name: &str| match doc.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let connection = granted!(database(&config, &take("connection").unwrap_or_default())).clone();
    let (password, user_id) = (take("password"), take("user_id"));
    let blocked = doc.remove("blocked").and_then(|value| value.as_bool());
    doc.remove("verify_email");
    if let Some(id) = &user_id
        && (id.is_empty() || id.contains('|') || id.chars().any(char::is_control))
    {
        return Ok(Err(Refused::property("Must not be empty or contain |", "user_id")));
    }
    let new = NewUser { connection, doc, password: password.map(Secret::new), identity_id: user_id, blocked };
    let registration =
        Registration { config: Arc::clone(&config), new, client: None, body, transaction: None };
    let row = match register(core, ctx, registration).await? {
        Registered::Decided(Creation::Created(row)) => row,
        // What the Action would tell a person is not for a machine, and why it said no is in the log.
        Registered::Refused { .. } => {
            return Ok(Err(Refused::Invalid {
                message: "Sandbox error.".to_owned(),
                code: "auth0_idp_error",
            }));
        }
        Registered::Decided(Creation::Exists) => {
            return Ok(Err(Refused::Exists {
                message: "The user already exists.".to_owned(),
                code: Some("auth0_idp_error"),
            }));
        }
        Registered::Decided(Creation::WeakPassword(_)) => return Ok(Err(weak_password())),
        Registered::Decided(Creation::Invalid(property)) => {
            return Ok(Err(Refused::property("Missing or invalid", property)));
        }
    };
    let answer = core
        .store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), write, config, row.user_key),
            |tx, (ctx, write, config, key)| {
                Box::pin(async move {
                    write.log(tx, ctx).await?;
                    read(tx, config, key).await
                })
            },
        )
        .await?;
    Ok(answer.ok_or(Refused::Inexistent(Entity::User)))
}

/// `GET /users/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: UserId) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let found = core
        .store
        .read((ctx.clone(), id, config), |tx, (ctx, id, config)| {
            Box::pin(async move {
                match rows::find_key(tx, ctx.tenant, id).await? {
                    Some(key) => read(tx, config, &key).await,
                    None => Ok(None),
                }
            })
        })
        .await?;
    Ok(found.ok_or(Refused::Inexistent(Entity::User)))
}

/// `GET /users`, by creation.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    newest_first: bool,
    start: usize,
    limit: usize,
) -> Result<Page, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let (start, limit) = (i64::try_from(start).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    core.store
        .read_long((config, newest_first, start, limit), |tx, (config, newest_first, start, limit)| {
            Box::pin(async move {
                let found = rows::list(tx, config.tenant, *newest_first, *limit, *start).await?;
                let mut items = Vec::with_capacity(found.len());
                for row in found {
                    let identities = rows::identities(tx, config.tenant, &row.user_key).await?;
                    items.push(view(&|id| config.connection_name(id), &row, &identities)?);
                }
                let total = usize::try_from(rows::count(tx, config.tenant).await?).unwrap_or(0);
                Ok(Page { items, total, next: None })
            })
        })
        .await
}

/// `GET /users-by-email`: users whose own e-mail this is, in any connection.
pub async fn by_email(core: &Core, ctx: &Ctx, email: &str) -> Result<Vec<Document>, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let Some(email) = crate::users::normalize_email(email) else { return Ok(Vec::new()) };
    core.store
        .read((config, email), |tx, (config, email)| {
            Box::pin(async move {
                let mut found = Vec::new();
                for key in rows::keys_by_identifier(tx, config.tenant, "email", email).await? {
                    let user = read(tx, config, &key).await?;
                    // A linked identity's e-mail is not the user's own.
                    let own =
                        |user: &Document| user.get("email").and_then(Value::as_str) == Some(email.as_str());
                    found.extend(user.filter(own));
                }
                Ok(found)
            })
        })
        .await
}

/// The combinations of changes Auth0 refuses in one request.
fn check_combination(sent: &Document) -> Result<(), Refused> {
    let has = |name: &str| sent.contains_key(name);
    let refused = |first: &str, second: &str| {
        Err(Refused::not_supported(format!("Cannot update {first} and {second} simultaneously")))
    };
    if has("email") && has("username") {
        return refused("email", "username");
    }
    for own in ["email", "username", "email_verified", "phone_number"] {
        if has(own) && has("password") {
            return refused("password", own);
        }
    }
    if has("email_verified") && has("username") {
        return refused("email_verified", "username");
    }
    Ok(())
}

/// Whether a change may be an ending, which then waits for nothing else.
fn ends_access(change: &Change) -> bool {
    const IDENTIFYING: [&str; 4] = ["email", "username", "phone_number", "email_verified"];
    change.blocked == Some(true)
        || change.password_hash.is_some()
        || IDENTIFYING.iter().any(|name| change.attributes.contains_key(*name))
}

/// `PATCH /users/{id}`.
///
/// Steps: 1 what may not change together, 2 the new password by the connection's policy, hashed, 3 the change with its
/// endings and its log row in one transaction.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: UserId,
    mut sent: Document,
) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    // 1
    granted!(check_combination(&sent));
    granted!(check_metadata(&sent));
    for name in ["verify_email", "verify_phone_number", "client_id"] {
        sent.remove(name);
    }
    let named = sent.remove("connection");
    let blocked = sent.remove("blocked").and_then(|value| value.as_bool());
    let password = match sent.remove("password") {
        Some(Value::String(password)) => Some(Secret::new(password)),
        _ => None,
    };
    let (user_metadata, app_metadata) = (sent.remove("user_metadata"), sent.remove("app_metadata"));
    // 2
    let primary = core
        .store
        .read((ctx.clone(), id.clone()), |tx, (ctx, id)| {
            Box::pin(async move {
                let key = granted!(key_of(tx, ctx, id).await?);
                let row = rows::find(tx, ctx.tenant, &key).await?;
                Ok(row.ok_or(Refused::Inexistent(Entity::User)))
            })
        })
        .await?;
    let row = granted!(primary);
    let Some(connection) = config.connection(&row.connection_id).cloned() else {
        return Ok(Err(Refused::Inexistent(Entity::Connection)));
    };
    if let Some(Value::String(name)) = &named
        && *name != connection.name
    {
        return Ok(Err(Refused::property("The user has no such connection", "connection")));
    }
    let password_hash = match &password {
        None => None,
        Some(password) if !passwords::is_acceptable(&connection, password.expose()) => {
            return Ok(Err(weak_password()));
        }
        Some(password) => Some(core.passwords.hash(password).await?),
    };
    // 3
    let wakes = password_hash.is_some();
    let change = Change { attributes: sent, user_metadata, app_metadata, blocked, password_hash };
    let lane = if ends_access(&change) { Lane::Endings } else { Lane::Ordinary };
    let args = (ctx.clone(), write, row.user_key, change, connection, config);
    let changed = core
        .store
        .transact(lane, args, |tx, (ctx, write, key, change, connection, config)| {
            Box::pin(async move {
                write.log(tx, ctx).await?;
                let actor = write.caller.actor();
                match crate::users::update(tx, ctx, config, connection, key, change, &actor).await? {
                    Changed::Updated(_) => {
                        read(tx, config, key).await.map(|user| user.ok_or(Refused::Inexistent(Entity::User)))
                    }
                    Changed::NotFound => Ok(Err(Refused::Inexistent(Entity::User))),
                    // Rolls back what was claimed already.
                    Changed::Exists => Err(Failure::Conflict),
                    Changed::Invalid(property) => Ok(Err(Refused::property("Invalid", property))),
                }
            })
        })
        .await;
    if wakes && changed.as_ref().is_ok_and(Result::is_ok) {
        core.runs_due.notify_one();
    }
    match changed {
        Err(Failure::Conflict) => {
            Ok(Err(Refused::exists("The specified new email or username already exists")))
        }
        changed => changed,
    }
}

/// `DELETE /users/{id}`, also of one that is not there.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: UserId) -> Result<(), Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                write.log(tx, ctx).await?;
                if let Some(key) = rows::find_key(tx, ctx.tenant, id).await? {
                    crate::users::delete(tx, ctx, &key, write.caller.actor()).await?;
                }
                Ok(())
            })
        })
        .await
}

/// `DELETE /connections/{id}/users`: the user with this e-mail.
pub async fn delete_by_email(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    connection_id: String,
    email: &str,
) -> Outcome<()> {
    let config = core.tenant(ctx.tenant).await?;
    if config.connection(&connection_id).is_none() {
        return Ok(Err(Refused::Inexistent(Entity::Connection)));
    }
    let Some(email) = crate::users::normalize_email(email) else {
        return Ok(Err(Refused::Invalid {
            message:
                "Query validation error: 'Object didn't pass validation for format email' on property email."
                    .to_owned(),
            code: "invalid_query_string",
        }));
    };
    core.store
        .transact(
            Lane::Endings,
            (ctx.clone(), write, connection_id, email),
            |tx, (ctx, write, connection, email)| {
                Box::pin(async move {
                    write.log(tx, ctx).await?;
                    let login = rows::find_login(tx, ctx.tenant, connection, "email", email).await?;
                    if let Some(login) = login {
                        crate::users::delete(tx, ctx, &login.user_key, write.caller.actor()).await?;
                    }
                    Ok(Ok(()))
                })
            },
        )
        .await
}

/// Deletes the users of a connection that was deleted, one by one, each with its own ending. Runs until none is left,
/// and may be run again by whoever finds some.
pub async fn delete_of_connection(
    core: &Core,
    ctx: &Ctx,
    actor: &Actor,
    connection_id: &str,
) -> Result<(), Failure> {
    loop {
        let keys = core
            .store
            .read((ctx.tenant, connection_id.to_owned()), |tx, (tenant, connection)| {
                Box::pin(rows::keys_of_connection(tx, *tenant, connection, 100))
            })
            .await?;
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys {
            core.store
                .transact(Lane::Ordinary, (ctx.clone(), key, actor.clone()), |tx, (ctx, key, actor)| {
                    Box::pin(crate::users::delete(tx, ctx, key, actor.clone()))
                })
                .await?;
        }
    }
}

/// Which user is to be linked.
#[derive(Debug, Clone)]
pub enum Secondary {
    /// By `provider` and `user_id`, with or without the provider's prefix.
    Named {
        /// `auth0`.
        provider: String,
        /// The id.
        user_id: String,
    },
    /// By an ID token of that user, issued to the calling client in a session that lives.
    IdToken(Secret<String>),
}

/// What of an ID token says whose it is.
#[derive(serde::Deserialize)]
struct IdTokenClaims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    sid: String,
}

fn named(provider: &str, user_id: &str) -> UserId {
    match user_id.strip_prefix(provider).and_then(|rest| rest.strip_prefix('|')) {
        Some(_) => UserId(user_id.to_owned()),
        None => UserId(format!("{provider}|{user_id}")),
    }
}

/// Reads and checks the ID token of the account that is to be linked: who holds it must still be signed in.
async fn holder_of(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    write: &Write,
    token: &str,
) -> Outcome<UserId> {
    let refused = || {
        Ok(Err(Refused::property("Not an ID token of a living session, issued to this client", "link_with")))
    };
    let Ok(parsed) = curfew_tokens::parse_compact(token) else { return refused() };
    let key = parsed.header.kid.as_deref().and_then(|kid| config.verifying_key(kid));
    if !key.is_some_and(|key| parsed.verify(key)) {
        return refused();
    }
    let Ok(claims) = serde_json::from_slice::<IdTokenClaims>(&parsed.payload) else { return refused() };
    let own_client = write.caller.client_id.as_ref().is_some_and(|client| client.0 == claims.aud);
    if !config.is_own_issuer(&claims.iss) || !own_client || claims.exp <= ctx.now.seconds() {
        return refused();
    }
    let Some(sid) = curfew_model::Sid::parse(&claims.sid) else { return refused() };
    match curfew_store::sessions::find(tx, ctx.tenant, &sid, None).await? {
        Some(session)
            if crate::sessions::life(&session, config, ctx.now) == crate::sessions::Life::Alive
                && session.user_id.as_ref().is_some_and(|id| id.0 == claims.sub) =>
        {
            Ok(Ok(UserId(claims.sub)))
        }
        _ => refused(),
    }
}

/// `POST /users/{id}/identities`: answers all identities of the primary user.
pub async fn link(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: UserId,
    secondary: Secondary,
) -> Outcome<Vec<Value>> {
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id, secondary, config), |tx, args| {
            Box::pin(async move {
                let (ctx, write, id, secondary, config): &(Ctx, Write, UserId, Secondary, Arc<TenantConfig>) =
                    args;
                let primary = granted!(key_of(tx, ctx, id).await?);
                let other = match secondary {
                    Secondary::Named { provider, user_id } => named(provider, user_id),
                    Secondary::IdToken(token) => {
                        granted!(holder_of(tx, ctx, config, write, token.expose()).await?)
                    }
                };
                if other == *id {
                    return Ok(Err(Refused::not_supported(
                        "Main account and secondary account are the same.",
                    )));
                }
                let own = rows::identities(tx, ctx.tenant, &primary).await?;
                let linked = own.iter().any(|own| format!("{}|{}", own.provider, own.identity_id) == other.0);
                if linked {
                    return Ok(Err(Refused::exists("Specified identity is already linked to another user.")));
                }
                let key = granted!(key_of(tx, ctx, &other).await?);
                let moving = rows::identities(tx, ctx.tenant, &key).await?;
                if own.len() + moving.len() > IDENTITIES_MAX {
                    return Ok(Err(Refused::not_supported(
                        "The user has as many identities as it may have.",
                    )));
                }
                write.log(tx, ctx).await?;
                if !crate::users::link(tx, ctx, &primary, &key, write.caller.actor()).await? {
                    return Ok(Err(Refused::Inexistent(Entity::User)));
                }
                identities(tx, config, &primary).await.map(Ok)
            })
        })
        .await
}

async fn identities(tx: &mut Tx, config: &TenantConfig, key: &UserKey) -> Result<Vec<Value>, Failure> {
    let rows = rows::identities(tx, config.tenant, key).await?;
    rows.iter().map(|identity| identity_view(&|id| config.connection_name(id), identity)).collect()
}

/// `DELETE /users/{id}/identities/{provider}/{user_id}`: answers what is left.
pub async fn unlink(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: UserId,
    provider: String,
    identity_id: String,
) -> Outcome<Vec<Value>> {
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id, provider, identity_id, config), |tx, args| {
            Box::pin(async move {
                let (ctx, write, id, provider, identity_id, config) = args;
                let key = granted!(key_of(tx, ctx, id).await?);
                let own = rows::identities(tx, ctx.tenant, &key).await?;
                let is_it = |identity: &&IdentityRow| {
                    identity.provider == *provider && identity.identity_id == *identity_id
                };
                match own.iter().find(is_it) {
                    None => return Ok(Err(Refused::Inexistent(Entity::Identity))),
                    Some(identity) if identity.position == 0 => {
                        return Ok(Err(Refused::not_supported(
                            "The main identity of a user cannot be unlinked.",
                        )));
                    }
                    Some(_) => {}
                }
                write.log(tx, ctx).await?;
                let identity = (provider.as_str(), identity_id.as_str());
                if !crate::users::unlink(tx, ctx, &key, identity, write.caller.actor()).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Identity)));
                }
                identities(tx, config, &key).await.map(Ok)
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secondary_user_is_named_with_or_without_its_prefix() {
        for user_id in ["abc", "auth0|abc"] {
            assert_eq!(named("auth0", user_id), UserId("auth0|abc".into()));
        }
    }

    #[test]
    fn some_changes_do_not_go_together() {
        let refused = |sent: Value| match sent {
            Value::Object(sent) => check_combination(&sent).is_err(),
            other => panic!("{other} is no object"),
        };
        assert!(refused(json!({"email": "a@b.example", "username": "a"})));
        assert!(refused(json!({"email": "a@b.example", "password": "x"})));
        assert!(refused(json!({"email_verified": true, "password": "x"})));
        assert!(!refused(json!({"email": "a@b.example", "email_verified": true})));
        assert!(!refused(json!({"password": "x", "connection": "Users"})));
    }
}
