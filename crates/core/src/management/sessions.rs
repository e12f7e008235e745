//! Sessions as the Management API shows and ends them.

use std::sync::Arc;

use curfew_model::{Ctx, EndingCause, Failure, SessionKey, Sid, UserId};
use curfew_store::sessions::{self as rows, SessionRow};
use curfew_store::{Lane, Tx};
use serde_json::{Value, json};

use super::users::key_of;
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted, stored};
use crate::endings::{self, Ending, Preserve, Target};
use crate::sessions::{Life, life};
use crate::{Core, TenantConfig};

/// Checks `session_metadata` and `refresh_token_metadata`; an empty map and `null` clear it.
pub(super) fn metadata(sent: Option<&Value>) -> Result<Option<String>, Refused> {
    let refused = || Refused::Invalid {
        message: "Metadata must not exceed 25 entries. Each key and value must be ≤ 255 characters."
            .to_owned(),
        code: "invalid_body",
    };
    let Some(Value::Object(map)) = sent else { return Ok(None) };
    let fits = |text: &str| text.chars().count() <= 255;
    let named = |key: &str| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    let all_fit = map.iter().all(|(key, value)| named(key) && fits(key) && value.as_str().is_some_and(fits));
    if map.len() > 25 || !all_fit {
        return Err(refused());
    }
    Ok((!map.is_empty()).then(|| Value::Object(map.clone()).to_string()))
}

async fn view(tx: &mut Tx, ctx: &Ctx, row: &SessionRow) -> Result<Document, Failure> {
    let clients = rows::clients(tx, ctx.tenant, &row.sid).await?;
    let clients: Vec<Value> = clients.iter().map(|client| json!({ "client_id": client })).collect();
    let id = row.sid.to_string();
    let methods: Value = serde_json::from_str(&row.methods).map_err(|_| Failure::Inconsistent {
        table: "sessions",
        column: "methods",
        id: id.clone(),
    })?;
    let mut doc = Document::new();
    doc.insert("user_id".into(), json!(row.user_id));
    for (name, at) in [
        ("created_at", row.created_at),
        ("updated_at", row.updated_at),
        ("authenticated_at", row.authenticated_at),
        ("idle_expires_at", row.idle_expires_at),
        ("expires_at", row.expires_at),
        ("last_interacted_at", row.last_interacted_at),
    ] {
        doc.insert(name.into(), json!(at.iso()));
    }
    doc.insert("device".into(), Value::Object(stored("sessions", &id, &row.device)?));
    doc.insert("clients".into(), json!(clients));
    doc.insert("authentication".into(), json!({ "methods": methods }));
    let mode = if row.persistent { "persistent" } else { "non-persistent" };
    doc.insert("cookie".into(), json!({ "mode": mode }));
    if let Some(metadata) = &row.metadata {
        doc.insert("session_metadata".into(), Value::Object(stored("sessions", &id, metadata)?));
    }
    doc.insert("id".into(), json!(id));
    Ok(doc)
}

async fn find_live(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    sid: &Sid,
) -> Result<Option<SessionRow>, Failure> {
    let row = rows::find(tx, ctx.tenant, sid, None).await?;
    Ok(row.filter(|row| life(row, config, ctx.now) == Life::Alive))
}

/// `GET /sessions/{id}`: of a session that lives.
pub async fn get(core: &Core, ctx: &Ctx, id: &str) -> Outcome<Document> {
    let Some(sid) = Sid::parse(id) else { return Ok(Err(Refused::Inexistent(Entity::Session))) };
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .read((ctx.clone(), config, sid), |tx, (ctx, config, sid)| {
            Box::pin(async move {
                match find_live(tx, ctx, config, sid).await? {
                    Some(row) => view(tx, ctx, &row).await.map(Ok),
                    None => Ok(Err(Refused::Inexistent(Entity::Session))),
                }
            })
        })
        .await
}

/// `GET /users/{user_id}/sessions`: the user's live sessions after a key, and where to go on.
pub async fn list_of_user(
    core: &Core,
    ctx: &Ctx,
    user: UserId,
    after: Option<SessionKey>,
    take: usize,
) -> Outcome<(Vec<Document>, Option<SessionKey>)> {
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .read_long((ctx.clone(), config, user, after, take), |tx, args| {
            Box::pin(async move {
                let (ctx, config, user, after, take): &(
                    Ctx,
                    Arc<TenantConfig>,
                    UserId,
                    Option<SessionKey>,
                    usize,
                ) = args;
                let key = granted!(key_of(tx, ctx, user).await?);
                let limit = i64::try_from(*take + 1).unwrap_or(i64::MAX);
                let mut found = rows::list(tx, ctx.tenant, &key, after.as_ref(), ctx.now, limit).await?;
                let more = found.len() > *take;
                found.truncate(*take);
                let next = found.last().filter(|_| more).map(|row| row.sid.session);
                let mut items = Vec::with_capacity(found.len());
                for row in &found {
                    if life(row, config, ctx.now) == Life::Alive {
                        items.push(view(tx, ctx, row).await?);
                    }
                }
                Ok(Ok((items, next)))
            })
        })
        .await
}

/// `PATCH /sessions/{id}`: replaces the metadata.
pub async fn update(core: &Core, ctx: &Ctx, write: Write, id: &str, sent: Document) -> Outcome<Document> {
    let Some(sid) = Sid::parse(id) else { return Ok(Err(Refused::Inexistent(Entity::Session))) };
    let new = granted!(metadata(sent.get("session_metadata")));
    let given = sent.contains_key("session_metadata");
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, config, sid, new, given), |tx, args| {
            Box::pin(async move {
                let (ctx, write, config, sid, new, given) = args;
                let Some(row) = find_live(tx, ctx, config, sid).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Session)));
                };
                let row = if *given {
                    if !rows::set_metadata(tx, ctx.tenant, sid, new.as_deref(), ctx.now).await? {
                        return Ok(Err(Refused::Inexistent(Entity::Session)));
                    }
                    SessionRow { metadata: new.clone(), updated_at: ctx.now, ..row }
                } else {
                    row
                };
                write.log(tx, ctx).await?;
                view(tx, ctx, &row).await.map(Ok)
            })
        })
        .await
}

/// `DELETE /sessions/{id}`, also of one that is not there: the refresh tokens stay.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: &str) -> Result<(), Failure> {
    end(core, ctx, write, Sid::parse(id), EndingCause::SessionDeleted).await.map(drop)
}

/// `POST /sessions/{id}/revoke`: the refresh tokens of the session end with it.
pub async fn revoke(core: &Core, ctx: &Ctx, write: Write, id: &str) -> Outcome<()> {
    let ended = end(core, ctx, write, Sid::parse(id), EndingCause::SessionRevoked).await?;
    Ok(if ended { Ok(()) } else { Err(Refused::Inexistent(Entity::Session)) })
}

/// Ends one session; `false` when there was none that could end.
async fn end(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    sid: Option<Sid>,
    cause: EndingCause,
) -> Result<bool, Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, sid, cause), |tx, (ctx, write, sid, cause)| {
            Box::pin(async move {
                write.log(tx, ctx).await?;
                let Some(sid) = sid else { return Ok(false) };
                let ending = Ending::new(*cause, Target::Session(*sid), write.caller.actor());
                Ok(endings::end(tx, ctx, &ending).await?.id.is_some())
            })
        })
        .await
}

/// `DELETE /users/{user_id}/sessions`.
pub async fn delete_of_user(core: &Core, ctx: &Ctx, write: Write, user: UserId) -> Outcome<()> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, user), |tx, (ctx, write, user)| {
            Box::pin(async move {
                let key = granted!(key_of(tx, ctx, user).await?);
                write.log(tx, ctx).await?;
                let target = Target::UserSessions(key);
                let ending = Ending::new(EndingCause::UserSessionsDeleted, target, write.caller.actor());
                endings::end(tx, ctx, &ending).await?;
                Ok(Ok(()))
            })
        })
        .await
}

/// `POST /users/{id}/revoke-access`: all of a user, or one session; refresh tokens may be spared.
pub async fn revoke_access(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    user: UserId,
    session: Option<String>,
    preserve_families: bool,
) -> Outcome<()> {
    let args = (ctx.clone(), write, user, session, preserve_families);
    core.store
        .transact(Lane::Endings, args, |tx, (ctx, write, user, session, preserve_families)| {
            Box::pin(async move {
                let key = granted!(key_of(tx, ctx, user).await?);
                let (cause, target) = match session {
                    None => (EndingCause::AccessRevoked, Target::User(key)),
                    Some(id) => match Sid::parse(id).filter(|sid| sid.user == key) {
                        Some(sid) => (EndingCause::SessionRevoked, Target::Session(sid)),
                        None => return Ok(Err(Refused::Inexistent(Entity::Session))),
                    },
                };
                write.log(tx, ctx).await?;
                let ending = Ending {
                    preserve: if *preserve_families { Preserve::Families } else { Preserve::Nothing },
                    ..Ending::new(cause, target, write.caller.actor())
                };
                endings::end(tx, ctx, &ending).await?;
                Ok(Ok(()))
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_bounded_and_cleared_by_nothing() {
        assert_eq!(metadata(None), Ok(None));
        assert_eq!(metadata(Some(&Value::Null)), Ok(None));
        assert_eq!(metadata(Some(&json!({}))), Ok(None));
        assert_eq!(metadata(Some(&json!({"k": "v"}))), Ok(Some("{\"k\":\"v\"}".to_owned())));
        let many: Document = (0..26).map(|n| (format!("k{n}"), json!("v"))).collect();
        for bad in [
            Value::Object(many),
            json!({"k": 1}),
            json!({"a b": "v"}),
            json!({"": "v"}),
            json!({"k": "v".repeat(256)}),
            json!({"k".repeat(256): "v"}),
        ] {
            assert!(metadata(Some(&bad)).is_err(), "{bad}");
        }
    }
}
