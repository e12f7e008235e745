//! Grants: what users allowed clients. Deleting one ends the refresh tokens that rest on it.

use curfew_model::{ClientId, Ctx, EndingCause, Failure, UserId};
use curfew_store::grants::{self as rows, GrantFilter, GrantRow};
use curfew_store::{Lane, Tx};
use serde_json::json;

use super::Document;
use super::page::Page;
use super::write::Write;
use crate::Core;
use crate::endings::{self, Ending, Target};

fn view(row: &GrantRow) -> Document {
    let scope: Vec<&str> = row.scope.split(' ').filter(|scope| !scope.is_empty()).collect();
    let mut doc = Document::new();
    doc.insert("id".into(), json!(row.id));
    doc.insert("clientID".into(), json!(row.client_id));
    doc.insert("user_id".into(), json!(row.user_id));
    doc.insert("audience".into(), json!(row.audience));
    doc.insert("scope".into(), json!(scope));
    doc
}

/// `GET /grants`, some of them by number.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    (user_id, client_id, audience): (Option<String>, Option<String>, Option<String>),
    start: usize,
    limit: usize,
) -> Result<Page, Failure> {
    let filter = GrantFilter { user_id: user_id.map(UserId), client_id: client_id.map(ClientId), audience };
    let (start, limit) = (i64::try_from(start).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    core.store
        .read_long((ctx.tenant, filter, start, limit), |tx, (tenant, filter, start, limit)| {
            Box::pin(async move {
                let found = rows::list(tx, *tenant, filter, *limit, *start).await?;
                let total = usize::try_from(rows::count(tx, *tenant, filter).await?).unwrap_or(0);
                Ok(Page { items: found.iter().map(view).collect(), total, next: None })
            })
        })
        .await
}

async fn end(tx: &mut Tx, ctx: &Ctx, write: &Write, grant: &GrantRow) -> Result<(), Failure> {
    if !rows::delete(tx, ctx.tenant, grant).await? {
        return Ok(());
    }
    let target = Target::UserClient {
        user: grant.user_key,
        client: grant.client_id.clone(),
        audience: Some(grant.audience.clone()),
    };
    endings::end(tx, ctx, &Ending::new(EndingCause::GrantDeleted, target, write.caller.actor()))
        .await
        .map(drop)
}

/// `DELETE /grants/{id}`, also of one that is not there.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String) -> Result<(), Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                write.log(tx, ctx).await?;
                match rows::find_by_id(tx, ctx.tenant, id).await? {
                    Some(grant) => end(tx, ctx, write, &grant).await,
                    None => Ok(()),
                }
            })
        })
        .await
}

/// `DELETE /grants?user_id=`: all of a user.
pub async fn delete_of_user(core: &Core, ctx: &Ctx, write: Write, user: UserId) -> Result<(), Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, user), |tx, (ctx, write, user)| {
            Box::pin(async move {
                write.log(tx, ctx).await?;
                let Some(key) = curfew_store::users::find_key(tx, ctx.tenant, user).await? else {
                    return Ok(());
                };
                for grant in rows::of_user(tx, ctx.tenant, &key).await? {
                    end(tx, ctx, write, &grant).await?;
                }
                Ok(())
            })
        })
        .await
}
