//! What Actions did, as the API shows it.

use curfew_model::{Ctx, Failure};
pub use curfew_store::action_executions::Filter;
use curfew_store::action_executions::{self as rows, ExecutionRow};
use serde_json::json;

use crate::Core;
use crate::management::{Document, Entity, Outcome, Refused, stored};

fn view(row: &ExecutionRow) -> Result<Document, Failure> {
    let mut doc = stored("action_executions", &row.execution_id, &row.doc)?;
    doc.insert("id".into(), json!(row.execution_id));
    doc.insert("trigger_id".into(), json!(row.trigger.as_str()));
    doc.insert("status".into(), json!(row.status));
    doc.insert("created_at".into(), json!(row.created_at.iso()));
    doc.insert("updated_at".into(), json!(row.updated_at.iso()));
    if let Some(user_id) = &row.user_id {
        doc.insert("user_id".into(), json!(user_id));
    }
    if let Some(client_id) = &row.client_id {
        doc.insert("client_id".into(), json!(client_id));
    }
    Ok(doc)
}

/// `GET /actions/executions/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    let found =
        core.store.read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(rows::find(tx, *tenant, id))).await?;
    match found {
        Some(row) => view(&row).map(Ok),
        None => Ok(Err(Refused::Inexistent(Entity::ActionExecution))),
    }
}

/// `GET /actions/executions`, the newest first, before an execution. Answers also before which one the next part begins.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    filter: Filter,
    before: String,
    take: usize,
) -> Result<(Vec<Document>, Option<String>), Failure> {
    let limit = i64::try_from(take).unwrap_or(i64::MAX).saturating_add(1);
    let mut found = core
        .store
        .read((ctx.tenant, filter, before), move |tx, (tenant, filter, before)| {
            Box::pin(rows::list(tx, *tenant, filter, before, limit))
        })
        .await?;
    let more = found.len() > take;
    found.truncate(take);
    let next = found.last().filter(|_| more).map(|row| row.execution_id.clone());
    Ok((found.iter().map(view).collect::<Result<_, _>>()?, next))
}
