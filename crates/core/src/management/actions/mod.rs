//! Actions: drafts, what is deployed of them, and where it runs.

mod draft;
pub mod executions;
pub mod modules;
pub mod triggers;
pub mod versions;

use curfew_model::config::{ACTIONS_MAX, ActionTrigger};
use curfew_model::{Ctx, Failure, TenantId};
use curfew_store::actions::{self as rows, ActionRow, BuildStatus, Inserted, NewAction, VersionRow};
use curfew_store::{Lane, Tx, tenants};
use serde_json::{Value, json};

use super::page::{More, Position, Window, scan};
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, drop_nulls, granted, object};
use crate::Core;
use crate::actions::build::{deploy_draft, new_id, requirements, write_doc};
use crate::actions::executions::result;
use crate::actions::{Execution, Program, secrets};

/// A part of a list by number.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// The items.
    pub items: Vec<Document>,
    /// How many there are in all.
    pub total: usize,
}

/// Which Actions.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Written for this trigger.
    pub trigger: Option<String>,
    /// Of this name.
    pub name: Option<String>,
    /// Deployed, or not.
    pub deployed: Option<bool>,
    /// Of an integration, which none is.
    pub installed: Option<bool>,
}

impl Filter {
    fn admits(&self, row: &ActionRow) -> bool {
        let of_trigger = |id: &String| ActionTrigger::parse(id).is_some_and(|id| row.doc.supports(id));
        self.trigger.as_ref().is_none_or(of_trigger)
            && self.name.as_ref().is_none_or(|name| *name == row.name)
            && self.deployed.is_none_or(|deployed| deployed == row.deployed_version.is_some())
            && self.installed != Some(true)
    }
}

/// What an Action is made of, as the API shows it; the same of a draft and of a version.
fn shown(doc: &curfew_model::config::ActionDoc) -> Document {
    object(json!({
        "code": doc.code,
        "dependencies": doc.dependencies,
        "runtime": doc.runtime,
        "supported_triggers": doc.supported_triggers,
        "modules": doc.modules,
    }))
}

/// The Action as it stands beside a version.
fn summary(row: &ActionRow) -> Document {
    object(json!({
        "id": row.action_id,
        "name": row.name,
        "supported_triggers": row.doc.supported_triggers,
        "all_changes_deployed": all_changes_deployed(row),
        "created_at": row.created_at.iso(),
        "updated_at": row.updated_at.iso(),
    }))
}

fn all_changes_deployed(row: &ActionRow) -> bool {
    row.deployed_revision == Some(row.revision)
}

/// The draft, without what is deployed of it.
fn view_draft(row: &ActionRow) -> Result<Document, Failure> {
    let mut doc = shown(&row.doc);
    doc.append(&mut summary(row));
    doc.insert("status".into(), json!(row.status.as_str()));
    doc.insert("deploy".into(), json!(row.deploy));
    doc.insert(
        "secrets".into(),
        Value::Array(draft::shown_secrets("actions", &row.action_id, &row.secrets)?),
    );
    if let Some(built_at) = row.built_at {
        doc.insert("built_at".into(), json!(built_at.iso()));
    }
    if let Some(errors) = &row.errors {
        let errors: Value = curfew_model::config::read_doc("actions", &row.action_id, errors)?;
        doc.insert("errors".into(), errors);
    }
    Ok(doc)
}

/// The Action as the API shows it.
async fn view(tx: &mut Tx, tenant: TenantId, row: &ActionRow) -> Result<Document, Failure> {
    let mut doc = view_draft(row)?;
    if let Some(id) = &row.deployed_version {
        let version = rows::find_version(tx, tenant, &row.action_id, id).await?;
        let version = version.ok_or_else(|| Failure::Inconsistent {
            table: "actions",
            column: "deployed_version",
            id: row.action_id.clone(),
        })?;
        doc.insert("deployed_version".into(), Value::Object(view_version(row, &version)?));
    }
    Ok(doc)
}

/// A version as the API shows it.
fn view_version(row: &ActionRow, version: &VersionRow) -> Result<Document, Failure> {
    let mut doc = shown(&version.doc);
    let secrets = draft::shown_secrets("action_versions", &version.version_id, &version.secrets)?;
    doc.append(&mut object(json!({
        "id": version.version_id,
        "action_id": version.action_id,
        "number": version.number,
        "deployed": row.deployed_version.as_ref() == Some(&version.version_id),
        "status": BuildStatus::Built.as_str(),
        "secrets": secrets,
        "errors": [],
        "action": summary(row),
        "built_at": version.built_at.iso(),
        "created_at": version.created_at.iso(),
        "updated_at": version.created_at.iso(),
    })));
    Ok(doc)
}

fn name_taken(name: &str) -> Refused {
    Refused::exists(format!("An action with the name \"{name}\" already exists"))
}

/// `POST /actions/actions`. The build begins at once.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    drop_nulls(&mut doc);
    let sent = granted!(draft::read(&doc));
    let deploy = doc.get("deploy").and_then(Value::as_bool).unwrap_or(false);
    let secrets = secrets::write(&granted!(sent.secrets(&config, ctx, &[])))?;
    let created = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, sent, secrets), move |tx, args| {
            Box::pin(async move {
                let (ctx, write, sent, secrets) = args;
                tenants::touch(tx, ctx.tenant).await?;
                let doc = granted!(sent.apply(tx, ctx.tenant, None).await?);
                let new = NewAction {
                    action_id: new_id(ctx),
                    name: sent.name.clone().unwrap_or_default(),
                    doc: write_doc(&doc)?,
                    secrets: secrets.clone(),
                    deploy,
                };
                match rows::insert(tx, ctx, &new).await? {
                    Inserted::Done => {}
                    Inserted::Full => {
                        return Ok(Err(Refused::not_supported(format!(
                            "A tenant has at most {ACTIONS_MAX} actions"
                        ))));
                    }
                    Inserted::NameTaken => return Ok(Err(name_taken(&new.name))),
                }
                write.log(tx, ctx).await?;
                show(tx, ctx.tenant, &new.action_id).await
            })
        })
        .await?;
    core.builds_due.notify_one();
    Ok(created)
}

/// The Action with this id as the API shows it.
async fn show(tx: &mut Tx, tenant: TenantId, id: &str) -> Outcome<Document> {
    match rows::find(tx, tenant, id).await? {
        Some(row) => view(tx, tenant, &row).await.map(Ok),
        None => Ok(Err(Refused::Inexistent(Entity::Action))),
    }
}

/// `GET /actions/actions/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    core.store.read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(show(tx, *tenant, id))).await
}

/// `GET /actions/actions`.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    filter: Filter,
    (start, limit): (usize, usize),
) -> Result<Numbered, Failure> {
    core.store
        .read_long((ctx.tenant, filter), move |tx, (tenant, filter)| {
            Box::pin(async move {
                let (mut items, mut total) = (Vec::new(), 0);
                for row in all(tx, *tenant).await?.iter().filter(|row| filter.admits(row)) {
                    total += 1;
                    if total > start && items.len() < limit {
                        items.push(view(tx, *tenant, row).await?);
                    }
                }
                Ok(Numbered { items, total })
            })
        })
        .await
}

/// Every Action; there are few.
async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<ActionRow>, Failure> {
    let mut found = Vec::new();
    let window = Window::After { position: Position::start(), take: ACTIONS_MAX };
    scan!(tx, tenant, rows::list, &window, action_id, |row, _position| {
        found.push(row);
        More::Wanted
    });
    Ok(found)
}

/// `PATCH /actions/actions/{id}`. Whatever a version is made of is built anew; a list of secrets replaces the one there is, and
/// those without a value keep theirs.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    mut sent: Document,
) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    drop_nulls(&mut sent);
    let sent = granted!(draft::read(&sent));
    let updated = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, id, sent, config), |tx, args| {
            Box::pin(async move {
                let (ctx, write, id, sent, config) = args;
                tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Action)));
                };
                let doc = granted!(sent.apply(tx, ctx.tenant, Some(&row.doc)).await?);
                let had = secrets::read("actions", id, &row.secrets)?;
                let secrets = secrets::write(&granted!(sent.secrets(config, ctx, &had)))?;
                let bound = rows::is_bound(tx, ctx.tenant, id).await?;
                if bound && doc.supported_triggers != row.doc.supported_triggers {
                    return Ok(Err(Refused::not_supported(
                        "The triggers of an action cannot be changed while it is bound",
                    )));
                }
                if let Some(name) = &sent.name
                    && !rows::rename(tx, ctx, id, name).await?
                {
                    return Ok(Err(name_taken(name)));
                }
                if sent.changes_the_draft() {
                    rows::redraft(tx, ctx, id, &write_doc(&doc)?, &secrets).await?;
                }
                write.log(tx, ctx).await?;
                show(tx, ctx.tenant, id).await
            })
        })
        .await?;
    core.builds_due.notify_one();
    Ok(updated)
}

/// `DELETE /actions/actions/{id}`; one that is bound only by force.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String, force: bool) -> Outcome<()> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), move |tx, (ctx, write, id)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                if !force && rows::is_bound(tx, ctx.tenant, id).await? {
                    return Ok(Err(Refused::not_supported(
                        "The action is bound to a trigger: unbind it first, or delete it with force=true",
                    )));
                }
                if !rows::delete(tx, ctx, id).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Action)));
                }
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await
}

/// `POST /actions/actions/{id}/deploy`: makes a version of a draft that is built.
pub async fn deploy(core: &Core, ctx: &Ctx, write: Write, id: String) -> Outcome<Document> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Action)));
                };
                granted!(is_built(&row));
                let version = deploy_draft(tx, ctx, &row).await?;
                write.log(tx, ctx).await?;
                let row = rows::find(tx, ctx.tenant, id).await?.unwrap_or(row);
                view_version(&row, &version).map(Ok)
            })
        })
        .await
}

fn is_built(row: &ActionRow) -> Result<(), Refused> {
    match row.status {
        BuildStatus::Built => Ok(()),
        status => Err(Refused::Invalid {
            message: format!(
                "A draft must be in the 'built' state before it can be deployed or tested; it is '{}'",
                status.as_str()
            ),
            code: "operation_not_supported",
        }),
    }
}

/// `POST /actions/actions/{id}/test`: runs the draft, and applies nothing of what it asks for. What it asks this server or
/// others for by itself happens.
pub async fn test(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    mut event: Document,
) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    event.remove("secrets");
    let tried = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Action)));
                };
                granted!(is_built(&row));
                let (_, modules) = match requirements(tx, ctx.tenant, &row.doc).await? {
                    Ok(requirements) => requirements,
                    Err(error) => return Ok(Err(Refused::not_supported(error.msg))),
                };
                write.log(tx, ctx).await?;
                Ok(Ok((row, modules)))
            })
        })
        .await?;
    let (row, modules) = granted!(tried);
    let Some(trigger) = row.doc.supported_triggers.first().map(|supported| supported.id) else {
        return Ok(Err(Refused::not_supported("The action is written for no trigger")));
    };
    let program = std::sync::Arc::new(Program::of_draft(&row, modules));
    let execution = Execution {
        tenant: ctx.tenant,
        secrets: program.secrets(&config)?,
        program,
        trigger,
        function: trigger.function(),
        event: Value::Object(event),
        now: ctx.now,
        time_limit: core.runner.trigger_time(),
        depth: 0,
    };
    let finished = core.runner.run(execution).await;
    let mut payload = result(
        &row.name,
        (&row.action_id, &format!("{}:{}", row.action_id, row.revision)),
        ctx.now,
        &finished,
    );
    payload["commands"] = Value::Array(finished.commands);
    Ok(Ok(object(json!({ "payload": payload }))))
}
