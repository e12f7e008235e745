//! Modules: code that Actions share as `actions:NAME`.

use curfew_model::config::{MODULES_MAX, ModuleDoc, VERSIONS_MAX};
use curfew_model::{Ctx, Failure, TenantId};
use curfew_store::action_modules::{self as rows, ModuleRow, ModuleVersionRow};
use curfew_store::actions::{ActionRow, Inserted};
use curfew_store::{Lane, Tx, tenants};
use serde_json::{Value, json};

use super::{Numbered, all, draft};
use crate::Core;
use crate::actions::build::{new_id, write_doc};
use crate::management::page::{More, Position, Window, scan};
use crate::management::write::Write;
use crate::management::{Document, Entity, Outcome, Refused, drop_nulls, granted, object};

/// What is sent; absent is what stays as it is.
#[derive(Debug, Clone)]
struct Sent {
    code: Option<std::sync::Arc<str>>,
    dependencies: Option<Vec<curfew_model::config::Dependency>>,
}

fn read(doc: &Document) -> Result<Sent, Refused> {
    let list = |name: &str| doc.get(name).and_then(Value::as_array);
    if list("secrets").is_some_and(|secrets| !secrets.is_empty()) {
        return Err(Refused::not_supported(
            "Secrets of a module are not supported: give them to the actions that require it",
        ));
    }
    let code = doc.get("code").and_then(Value::as_str).map(draft::code).transpose()?;
    let dependencies = list("dependencies").map(|list| draft::read_dependencies(list)).transpose()?;
    Ok(Sent { code, dependencies })
}

fn shown(doc: &ModuleDoc) -> Document {
    object(json!({ "code": doc.code, "dependencies": doc.dependencies, "secrets": [] }))
}

fn view_version(version: &ModuleVersionRow) -> Document {
    let mut doc = shown(&version.doc);
    doc.append(&mut object(json!({
        "id": version.version_id,
        "module_id": version.module_id,
        "version_number": version.number,
        "created_at": version.created_at.iso(),
    })));
    doc
}

async fn view(
    tx: &mut Tx,
    tenant: TenantId,
    row: &ModuleRow,
    actions: &[ActionRow],
) -> Result<Document, Failure> {
    let using = actions.iter().filter(|action| requires(action, &row.module_id).is_some()).count();
    let mut doc = shown(&row.doc);
    doc.append(&mut object(json!({
        "id": row.module_id,
        "name": row.name,
        "actions_using_module_total": using,
        "all_changes_published": row.latest_revision == Some(row.revision),
        "latest_version_number": row.last_number,
        "created_at": row.created_at.iso(),
        "updated_at": row.updated_at.iso(),
    })));
    if let Some(id) = &row.latest_version
        && let Some(version) = rows::find_version(tx, tenant, &row.module_id, id).await?
    {
        doc.insert("latest_version".into(), Value::Object(view_version(&version)));
    }
    Ok(doc)
}

/// How a draft requires a module.
fn requires<'a>(action: &'a ActionRow, id: &str) -> Option<&'a curfew_model::config::ModuleRef> {
    action.doc.modules.iter().find(|required| required.module_id == id)
}

async fn show(tx: &mut Tx, tenant: TenantId, id: &str) -> Outcome<Document> {
    let Some(row) = rows::find(tx, tenant, id).await? else {
        return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
    };
    let actions = all(tx, tenant).await?;
    view(tx, tenant, &row, &actions).await.map(Ok)
}

/// `POST /actions/modules`.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    drop_nulls(&mut doc);
    let sent = granted!(read(&doc));
    let publish_it = doc.get("publish").and_then(Value::as_bool).unwrap_or(false);
    let name = doc.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_module_name(&name) {
        let what = "A name is of letters, digits, dots, underscores and hyphens";
        return Ok(Err(Refused::property(what, "name")));
    }
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, name, sent), move |tx, args| {
            Box::pin(async move {
                let (ctx, write, name, sent) = args;
                tenants::touch(tx, ctx.tenant).await?;
                let doc = ModuleDoc {
                    code: sent.code.clone().unwrap_or_else(|| std::sync::Arc::from("")),
                    dependencies: sent.dependencies.clone().unwrap_or_default(),
                };
                let id = new_id(ctx);
                match rows::insert(tx, ctx, &id, name, &write_doc(&doc)?).await? {
                    Inserted::Done => {}
                    Inserted::Full => {
                        return Ok(Err(Refused::not_supported(format!(
                            "A tenant has at most {MODULES_MAX} modules"
                        ))));
                    }
                    Inserted::NameTaken => {
                        return Ok(Err(Refused::exists(format!(
                            "A module with the name \"{name}\" already exists"
                        ))));
                    }
                }
                if publish_it && let Some(row) = rows::find(tx, ctx.tenant, &id).await? {
                    granted!(publish(tx, ctx, &row).await?);
                }
                write.log(tx, ctx).await?;
                show(tx, ctx.tenant, &id).await
            })
        })
        .await
}

/// What `require` can name: `actions:NAME`.
fn is_module_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// `GET /actions/modules/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    core.store.read_long((ctx.tenant, id), |tx, (tenant, id)| Box::pin(show(tx, *tenant, id))).await
}

/// `GET /actions/modules`.
pub async fn list(core: &Core, ctx: &Ctx, (start, limit): (usize, usize)) -> Result<Numbered, Failure> {
    core.store
        .read_long(ctx.tenant, move |tx, tenant| {
            Box::pin(async move {
                let actions = all(tx, *tenant).await?;
                let mut found = Vec::new();
                let window = Window::After { position: Position::start(), take: MODULES_MAX };
                scan!(tx, *tenant, rows::list, &window, module_id, |row, _position| {
                    found.push(row);
                    More::Wanted
                });
                let mut items = Vec::new();
                for row in found.iter().skip(start).take(limit) {
                    items.push(view(tx, *tenant, row, &actions).await?);
                }
                Ok(Numbered { items, total: found.len() })
            })
        })
        .await
}

/// `PATCH /actions/modules/{id}`: changes the draft; Actions go on with the versions that they require.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    mut sent: Document,
) -> Outcome<Document> {
    drop_nulls(&mut sent);
    let sent = granted!(read(&sent));
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id, sent), |tx, (ctx, write, id, sent)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                };
                let doc = ModuleDoc {
                    code: sent.code.clone().unwrap_or_else(|| row.doc.code.clone()),
                    dependencies: sent.dependencies.clone().unwrap_or_else(|| row.doc.dependencies.clone()),
                };
                if doc != row.doc {
                    rows::update(tx, ctx, id, &write_doc(&doc)?).await?;
                }
                write.log(tx, ctx).await?;
                show(tx, ctx.tenant, id).await
            })
        })
        .await
}

/// `DELETE /actions/modules/{id}`, unless something requires it.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String) -> Outcome<()> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                if rows::find(tx, ctx.tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                }
                if rows::is_in_use(tx, ctx.tenant, id).await? {
                    return Ok(Err(Refused::Unmet {
                        message: "The module is required by an action, or by a version of one".to_owned(),
                    }));
                }
                rows::delete(tx, ctx.tenant, id).await?;
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await
}

/// `GET /actions/modules/{id}/actions`: whose drafts require it.
pub async fn actions(
    core: &Core,
    ctx: &Ctx,
    id: String,
    (start, limit): (usize, usize),
) -> Outcome<Numbered> {
    core.store
        .read_long((ctx.tenant, id), move |tx, (tenant, id)| {
            Box::pin(async move {
                if rows::find(tx, *tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                }
                let all = all(tx, *tenant).await?;
                let using: Vec<Document> = all
                    .iter()
                    .filter_map(|action| {
                        let required = requires(action, id)?;
                        Some(object(json!({
                            "action_id": action.action_id,
                            "action_name": action.name,
                            "module_version_id": required.module_version_id,
                            "module_version_number": required.module_version_number,
                            "supported_triggers": action.doc.supported_triggers,
                        })))
                    })
                    .collect();
                let total = using.len();
                Ok(Ok(Numbered { items: using.into_iter().skip(start).take(limit).collect(), total }))
            })
        })
        .await
}

/// `POST /actions/modules/{id}/versions`: publishes the draft.
pub async fn create_version(core: &Core, ctx: &Ctx, write: Write, id: String) -> Outcome<Document> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                };
                let version = granted!(publish(tx, ctx, &row).await?);
                write.log(tx, ctx).await?;
                Ok(Ok(view_version(&version)))
            })
        })
        .await
}

/// Makes a version of a draft. The oldest that nothing requires goes when there are too many.
async fn publish(tx: &mut Tx, ctx: &Ctx, row: &ModuleRow) -> Outcome<ModuleVersionRow> {
    let kept = i64::try_from(VERSIONS_MAX).unwrap_or(i64::MAX);
    if rows::count_versions(tx, ctx.tenant, &row.module_id).await? >= kept {
        let mut versions = rows::versions(tx, ctx.tenant, &row.module_id, (kept, 0)).await?;
        versions.reverse();
        let mut forgotten = false;
        for old in versions.iter().filter(|old| Some(&old.version_id) != row.latest_version.as_ref()) {
            if rows::forget_version(tx, ctx.tenant, &old.version_id).await? {
                forgotten = true;
                break;
            }
        }
        if !forgotten {
            return Ok(Err(Refused::Unmet {
                message: format!("The module has {VERSIONS_MAX} versions, and actions require all of them"),
            }));
        }
    }
    let version = ModuleVersionRow {
        version_id: new_id(ctx),
        module_id: row.module_id.clone(),
        number: row.last_number + 1,
        doc: row.doc.clone(),
        created_at: ctx.now,
    };
    rows::publish(tx, ctx.tenant, &version, &write_doc(&version.doc)?).await?;
    Ok(Ok(version))
}

/// `GET /actions/modules/{id}/versions`, the newest first.
pub async fn versions(
    core: &Core,
    ctx: &Ctx,
    id: String,
    (start, limit): (usize, usize),
) -> Outcome<Numbered> {
    core.store
        .read_long((ctx.tenant, id), move |tx, (tenant, id)| {
            Box::pin(async move {
                if rows::find(tx, *tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                }
                let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
                let page = rows::versions(tx, *tenant, id, (number(limit), number(start))).await?;
                let total = rows::count_versions(tx, *tenant, id).await?;
                let items = page.iter().map(view_version).collect();
                Ok(Ok(Numbered { items, total: usize::try_from(total).unwrap_or(usize::MAX) }))
            })
        })
        .await
}

/// `GET /actions/modules/{id}/versions/{versionId}`.
pub async fn get_version(core: &Core, ctx: &Ctx, id: String, version: String) -> Outcome<Document> {
    core.store
        .read((ctx.tenant, id, version), |tx, (tenant, id, version)| {
            Box::pin(async move {
                if rows::find(tx, *tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                }
                let found = rows::find_version(tx, *tenant, id, version).await?;
                Ok(found
                    .map(|version| view_version(&version))
                    .ok_or(Refused::Inexistent(Entity::ActionModuleVersion)))
            })
        })
        .await
}

/// `POST /actions/modules/{id}/rollback`: the draft becomes what a version is.
pub async fn rollback(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    version: String,
) -> Outcome<Document> {
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id, version), |tx, args| {
            Box::pin(async move {
                let (ctx, write, id, version) = args;
                tenants::touch(tx, ctx.tenant).await?;
                if rows::find(tx, ctx.tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModule)));
                }
                let Some(version) = rows::find_version(tx, ctx.tenant, id, version).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::ActionModuleVersion)));
                };
                rows::update(tx, ctx, id, &write_doc(&version.doc)?).await?;
                write.log(tx, ctx).await?;
                show(tx, ctx.tenant, id).await
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_modules_can_be_required() {
        assert!(is_module_name("shared.helpers-2_a"));
        for name in ["", "-a", "a b", "a/b", "ä", "a:b"] {
            assert!(!is_module_name(name), "{name}");
        }
    }
}
