//! Refresh tokens (families) as the Management API shows and ends them.

use curfew_model::{ClientId, Ctx, EndingCause, Failure, FamilyId, GrantKey, Sid, UserId};
use curfew_store::families::{self as rows, FamilyRow};
use curfew_store::{Lane, Tx};
use serde_json::{Value, json};

use super::sessions::metadata;
use super::users::key_of;
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted, stored};
use crate::endings::{self, Ending, Target};
use crate::grants::refresh_token::{over, taken_by_time};
use crate::{Core, TenantConfig};

fn view(row: &FamilyRow) -> Result<Document, Failure> {
    let id = row.id.to_string();
    let iso = |at: Option<curfew_model::Timestamp>| at.map(curfew_model::Timestamp::iso);
    let mut doc = Document::new();
    doc.insert("user_id".into(), json!(row.user_id));
    doc.insert("client_id".into(), json!(row.client_id));
    let session = row.session_key.map(|session| Sid { user: row.id.user, session }.to_string());
    doc.insert("session_id".into(), json!(session));
    doc.insert("created_at".into(), json!(row.created_at.iso()));
    doc.insert("idle_expires_at".into(), json!(iso(row.idle_expires_at)));
    doc.insert("expires_at".into(), json!(iso(row.expires_at)));
    doc.insert("last_exchanged_at".into(), json!(iso(row.last_exchanged_at)));
    doc.insert("rotating".into(), json!(row.rotating));
    doc.insert(
        "resource_servers".into(),
        json!([{ "audience": row.audience.as_deref().unwrap_or(""), "scopes": row.scope }]),
    );
    doc.insert("device".into(), Value::Object(stored("families", &id, &row.device)?));
    if let Some(metadata) = &row.metadata {
        doc.insert("refresh_token_metadata".into(), Value::Object(stored("families", &id, metadata)?));
    }
    doc.insert("id".into(), json!(id));
    Ok(doc)
}

/// Whether the family could still be exchanged.
async fn lives(core: &Core, ctx: &Ctx, row: &FamilyRow) -> Result<bool, Failure> {
    let (config, client) = core.configuration(ctx.tenant, &row.client_id).await?;
    let Some(client) = client else { return Ok(false) };
    Ok(lives_for(ctx, &config, &client, row))
}

fn lives_for(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &curfew_model::config::Client,
    row: &FamilyRow,
) -> bool {
    let in_time = |at: Option<curfew_model::Timestamp>| at.is_none_or(|at| at > ctx.now);
    row.user_counter.is_some()
        && !row.blocked
        && over(config, client, row).is_none()
        && taken_by_time(ctx, config, client, row).is_none()
        && in_time(row.expires_at)
        && in_time(row.idle_expires_at)
}

async fn find_live(core: &Core, ctx: &Ctx, id: &str) -> Outcome<FamilyRow> {
    let Some(id) = FamilyId::parse(id) else { return Ok(Err(Refused::Inexistent(Entity::RefreshToken))) };
    let found =
        core.store.read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(rows::find(tx, *tenant, id))).await?;
    match found {
        Some(row) if lives(core, ctx, &row).await? => Ok(Ok(row)),
        _ => Ok(Err(Refused::Inexistent(Entity::RefreshToken))),
    }
}

/// `GET /refresh-tokens/{id}`: of one that lives.
pub async fn get(core: &Core, ctx: &Ctx, id: &str) -> Outcome<Document> {
    let row = granted!(find_live(core, ctx, id).await?);
    view(&row).map(Ok)
}

/// The live refresh tokens of a user after a key, optionally of one client, and where to go on.
pub async fn list_of_user(
    core: &Core,
    ctx: &Ctx,
    user: UserId,
    client: Option<ClientId>,
    after: Option<GrantKey>,
    take: usize,
) -> Outcome<(Vec<Document>, Option<GrantKey>)> {
    let args = (ctx.clone(), user, client, after, take);
    let found = core
        .store
        .read_long(args, |tx, (ctx, user, client, after, take)| {
            Box::pin(async move {
                let key = granted!(key_of(tx, ctx, user).await?);
                let limit = i64::try_from(*take + 1).unwrap_or(i64::MAX);
                rows::list(tx, ctx.tenant, &key, client.as_ref(), after.as_ref(), ctx.now, limit)
                    .await
                    .map(Ok)
            })
        })
        .await?;
    let mut found = granted!(found);
    let more = found.len() > take;
    found.truncate(take);
    let next = found.last().filter(|_| more).map(|row| row.id.grant);
    let mut items = Vec::with_capacity(found.len());
    for row in &found {
        if lives(core, ctx, row).await? {
            items.push(view(row)?);
        }
    }
    Ok(Ok((items, next)))
}

/// `PATCH /refresh-tokens/{id}`: replaces the metadata.
pub async fn update(core: &Core, ctx: &Ctx, write: Write, id: &str, sent: Document) -> Outcome<Document> {
    let new = granted!(metadata(sent.get("refresh_token_metadata")));
    let row = granted!(find_live(core, ctx, id).await?);
    let given = sent.contains_key("refresh_token_metadata");
    core.store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), write, row, new, given),
            |tx, (ctx, write, row, new, given)| {
                Box::pin(async move {
                    if *given && !rows::set_metadata(tx, ctx.tenant, &row.id, new.as_deref()).await? {
                        return Ok(Err(Refused::Inexistent(Entity::RefreshToken)));
                    }
                    write.log(tx, ctx).await?;
                    let metadata = if *given { new.clone() } else { row.metadata.clone() };
                    view(&FamilyRow { metadata, ..row.clone() }).map(Ok)
                })
            },
        )
        .await
}

/// `DELETE /refresh-tokens/{id}`, also of one that is not there.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: &str) -> Result<(), Failure> {
    let revoke = Revoke::Tokens(FamilyId::parse(id).into_iter().collect());
    end(core, ctx, write, revoke).await.map(drop)
}

/// What `POST /refresh-tokens/revoke` names.
#[derive(Debug, Clone)]
pub enum Revoke {
    /// These; unknown ones are passed over.
    Tokens(Vec<FamilyId>),
    /// All of a user.
    User(UserId),
    /// All that a client holds for a user, at one API or at all.
    Client {
        /// Whose.
        user: UserId,
        /// Which client.
        client: ClientId,
        /// Which API; `None`: every one.
        audience: Option<String>,
    },
}

/// `POST /refresh-tokens/revoke` and `DELETE /users/{user_id}/refresh-tokens`.
pub async fn end(core: &Core, ctx: &Ctx, write: Write, revoke: Revoke) -> Outcome<()> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, revoke), |tx, (ctx, write, revoke)| {
            Box::pin(async move {
                let endings = granted!(endings_of(tx, ctx, write, revoke).await?);
                write.log(tx, ctx).await?;
                for ending in endings {
                    endings::end(tx, ctx, &ending).await?;
                }
                Ok(Ok(()))
            })
        })
        .await
}

async fn endings_of(tx: &mut Tx, ctx: &Ctx, write: &Write, revoke: &Revoke) -> Outcome<Vec<Ending>> {
    let actor = write.caller.actor();
    Ok(Ok(match revoke {
        Revoke::Tokens(ids) => ids
            .iter()
            .map(|id| Ending::new(EndingCause::FamilyRevoked, Target::Family(*id), actor.clone()))
            .collect(),
        Revoke::User(user) => {
            let key = granted!(key_of(tx, ctx, user).await?);
            vec![Ending::new(EndingCause::UserFamiliesRevoked, Target::UserFamilies(key), actor)]
        }
        Revoke::Client { user, client, audience } => {
            let user = granted!(key_of(tx, ctx, user).await?);
            let target = Target::UserClient { user, client: client.clone(), audience: audience.clone() };
            vec![Ending::new(EndingCause::ClientFamiliesRevoked, target, actor)]
        }
    }))
}
