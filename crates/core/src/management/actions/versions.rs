//! Versions of Actions: what was deployed, and going back to it.

use curfew_model::{Ctx, TenantId};
use curfew_store::actions::{self as rows, ActionRow, VersionRow};
use curfew_store::{Lane, Tx, tenants};

use super::{Numbered, view_version};
use crate::Core;
use crate::actions::build::{new_id, write_doc};
use crate::management::write::Write;
use crate::management::{Document, Entity, Outcome, Refused, granted};

/// `GET /actions/actions/{actionId}/versions`, the newest first.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    action: String,
    (start, limit): (usize, usize),
) -> Outcome<Numbered> {
    core.store
        .read_long((ctx.tenant, action), move |tx, (tenant, action)| {
            Box::pin(async move {
                let Some(row) = rows::find(tx, *tenant, action).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Action)));
                };
                let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
                let page = rows::versions(tx, *tenant, action, (number(limit), number(start))).await?;
                let total = rows::count_versions(tx, *tenant, action).await?;
                let items =
                    page.iter().map(|version| view_version(&row, version)).collect::<Result<_, _>>()?;
                Ok(Ok(Numbered { items, total: usize::try_from(total).unwrap_or(usize::MAX) }))
            })
        })
        .await
}

/// `GET /actions/actions/{actionId}/versions/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, action: String, id: String) -> Outcome<Document> {
    core.store
        .read((ctx.tenant, action, id), |tx, (tenant, action, id)| {
            Box::pin(async move {
                let (row, version) = granted!(find(tx, *tenant, action, id).await?);
                view_version(&row, &version).map(Ok)
            })
        })
        .await
}

async fn find(tx: &mut Tx, tenant: TenantId, action: &str, id: &str) -> Outcome<(ActionRow, VersionRow)> {
    let Some(row) = rows::find(tx, tenant, action).await? else {
        return Ok(Err(Refused::Inexistent(Entity::Action)));
    };
    let found = rows::find_version(tx, tenant, action, id).await?;
    Ok(found.map(|version| (row, version)).ok_or(Refused::Inexistent(Entity::ActionVersion)))
}

/// `POST /actions/actions/{actionId}/versions/{id}/deploy`: a new version like an old one runs from now on, and the draft
/// becomes the same where that is asked for.
pub async fn deploy(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    (action, id): (String, String),
    update_draft: bool,
) -> Outcome<Document> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, action, id), move |tx, args| {
            Box::pin(async move {
                let (ctx, write, action, id) = args;
                tenants::touch(tx, ctx.tenant).await?;
                let (row, old) = granted!(find(tx, ctx.tenant, action, id).await?);
                // What is bound stays bound, so it must still be written for the same trigger.
                if rows::is_bound(tx, ctx.tenant, action).await?
                    && old.doc.supported_triggers != row.doc.supported_triggers
                {
                    return Ok(Err(Refused::not_supported(
                        "The version is written for another trigger than the action is bound to",
                    )));
                }
                let version = VersionRow {
                    version_id: new_id(ctx),
                    number: row.last_number + 1,
                    created_at: ctx.now,
                    ..old
                };
                let doc = write_doc(&version.doc)?;
                let revision = update_draft.then_some(row.revision + 1);
                if update_draft {
                    rows::restore(tx, ctx, &doc, &version).await?;
                }
                rows::deploy(tx, ctx.tenant, &version, &doc, revision).await?;
                write.log(tx, ctx).await?;
                let row = rows::find(tx, ctx.tenant, action).await?.unwrap_or(row);
                view_version(&row, &version).map(Ok)
            })
        })
        .await
}
