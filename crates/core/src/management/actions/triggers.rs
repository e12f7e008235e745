//! Triggers, and which Actions are bound to them.

use std::collections::BTreeSet;

use curfew_model::config::{ActionTrigger, BINDINGS_MAX};
use curfew_model::{Ctx, Failure, TenantId};
use curfew_store::actions::{self as rows, ActionRow, BindingRow, NewBinding};
use curfew_store::{Lane, Tx, tenants};
use serde_json::{Value, json};

use super::draft::{DEFAULT_RUNTIME, RUNTIMES};
use super::{Numbered, view};
use crate::Core;
use crate::actions::build::new_id;
use crate::management::write::Write;
use crate::management::{Document, Outcome, Refused, granted, object};

/// `GET /actions/triggers`: those there are.
pub fn list() -> Document {
    let triggers: Vec<Value> = ActionTrigger::ALL
        .iter()
        .map(|trigger| {
            json!({
                "id": trigger.as_str(),
                "version": trigger.version(),
                "status": "CURRENT",
                "runtimes": RUNTIMES,
                "default_runtime": DEFAULT_RUNTIME,
                "compatible_triggers": [],
                "binding_policy": "trigger-bound",
            })
        })
        .collect();
    object(json!({ "triggers": triggers }))
}

/// A trigger of the path.
fn trigger_of(id: &str) -> Result<ActionTrigger, Refused> {
    ActionTrigger::parse(id).ok_or_else(|| Refused::Invalid {
        message: format!("Path validation error: 'No enum match for: {id}' on property triggerId."),
        code: "invalid_uri",
    })
}

async fn views(
    tx: &mut Tx,
    tenant: TenantId,
    trigger: ActionTrigger,
    bindings: &[BindingRow],
) -> Result<Vec<Document>, Failure> {
    let mut shown = Vec::with_capacity(bindings.len());
    for binding in bindings {
        shown.push(object(json!({
            "id": binding.binding_id,
            "trigger_id": trigger.as_str(),
            "display_name": binding.display_name,
            "action": view(tx, tenant, &binding.action).await?,
            "created_at": binding.created_at.iso(),
            "updated_at": binding.updated_at.iso(),
        })));
    }
    Ok(shown)
}

/// `GET /actions/triggers/{triggerId}/bindings`, in the order in which they run.
pub async fn bindings(
    core: &Core,
    ctx: &Ctx,
    trigger: &str,
    (start, limit): (usize, usize),
) -> Outcome<Numbered> {
    let trigger = granted!(trigger_of(trigger));
    core.store
        .read_long((ctx.tenant, trigger), move |tx, (tenant, trigger)| {
            Box::pin(async move {
                let bound = rows::bindings(tx, *tenant, *trigger).await?;
                let end = start.saturating_add(limit).min(bound.len());
                let page = bound.get(start..end).unwrap_or_default();
                let items = views(tx, *tenant, *trigger, page).await?;
                Ok(Ok(Numbered { items, total: bound.len() }))
            })
        })
        .await
}

/// A binding that is asked for.
#[derive(Debug, Clone)]
struct Asked {
    kind: String,
    value: String,
    display_name: Option<String>,
}

fn read(doc: &Document) -> Result<Vec<Asked>, Refused> {
    let list = doc.get("bindings").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if list.len() > BINDINGS_MAX {
        return Err(Refused::property(
            &format!("At most {BINDINGS_MAX} actions can be bound to a trigger"),
            "bindings",
        ));
    }
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    list.iter()
        .enumerate()
        .map(|(index, binding)| {
            let on = |name: &str| format!("bindings[{index}].{name}");
            if binding.get("secrets").and_then(Value::as_array).is_some_and(|secrets| !secrets.is_empty()) {
                return Err(Refused::not_supported(
                    "Secrets of a binding are not supported: give them to the action",
                ));
            }
            let asked = binding.get("ref").unwrap_or(&Value::Null);
            let kind = text(asked, "type").unwrap_or_default();
            if !["action_id", "action_name", "binding_id"].contains(&kind.as_str()) {
                return Err(Refused::property(&format!("No enum match for: {kind}"), &on("ref.type")));
            }
            let value = text(asked, "value")
                .ok_or_else(|| Refused::property("Missing required property: value", &on("ref")))?;
            Ok(Asked { kind, value, display_name: text(binding, "display_name") })
        })
        .collect()
}

/// `PATCH /actions/triggers/{triggerId}/bindings`: replaces the whole list; each runs in its place from the next flow on.
pub async fn replace(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    trigger: &str,
    sent: &Document,
) -> Outcome<Document> {
    let trigger = granted!(trigger_of(trigger));
    let asked = granted!(read(sent));
    let replaced = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, trigger, asked), |tx, args| {
            Box::pin(async move {
                let (ctx, write, trigger, asked) = args;
                tenants::touch(tx, ctx.tenant).await?;
                let had = rows::bindings(tx, ctx.tenant, *trigger).await?;
                let (mut bindings, mut seen) = (Vec::new(), BTreeSet::new());
                for (index, one) in asked.iter().enumerate() {
                    let action = granted!(find(tx, ctx.tenant, &had, one, index).await?);
                    granted!(can_be_bound(&action, *trigger, index));
                    if !seen.insert(action.action_id.clone()) {
                        let on = format!("bindings[{index}].ref");
                        return Ok(Err(Refused::property("The action is bound twice", &on)));
                    }
                    let old = had.iter().find(|old| old.action.action_id == action.action_id);
                    bindings.push(bound(ctx, one, old, action));
                }
                rows::bind(tx, ctx, *trigger, &bindings).await?;
                write.log(tx, ctx).await?;
                let bound = rows::bindings(tx, ctx.tenant, *trigger).await?;
                views(tx, ctx.tenant, *trigger, &bound).await.map(Ok)
            })
        })
        .await?;
    let bindings: Vec<Value> = granted!(replaced).into_iter().map(Value::Object).collect();
    Ok(Ok(object(json!({ "bindings": bindings }))))
}

/// What a binding is to be; one that was there before goes on.
fn bound(ctx: &Ctx, asked: &Asked, old: Option<&BindingRow>, action: ActionRow) -> NewBinding {
    let display_name = asked.display_name.clone().filter(|name| !name.is_empty());
    match old {
        Some(old) => {
            let display_name = display_name.unwrap_or_else(|| old.display_name.clone());
            let updated_at = if display_name == old.display_name { old.updated_at } else { ctx.now };
            NewBinding {
                binding_id: old.binding_id.clone(),
                action_id: action.action_id,
                display_name,
                created_at: old.created_at,
                updated_at,
            }
        }
        None => NewBinding {
            binding_id: new_id(ctx),
            display_name: display_name.unwrap_or(action.name),
            action_id: action.action_id,
            created_at: ctx.now,
            updated_at: ctx.now,
        },
    }
}

async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    had: &[BindingRow],
    asked: &Asked,
    index: usize,
) -> Outcome<ActionRow> {
    let found = match asked.kind.as_str() {
        "action_id" => rows::find(tx, tenant, &asked.value).await?,
        "action_name" => rows::find_by_name(tx, tenant, &asked.value).await?,
        _ => had.iter().find(|old| old.binding_id == asked.value).map(|old| old.action.clone()),
    };
    Ok(found.ok_or_else(|| {
        let what =
            format!("There is no such {}", if asked.kind == "binding_id" { "binding" } else { "action" });
        Refused::property(&what, &format!("bindings[{index}].ref"))
    }))
}

fn can_be_bound(action: &ActionRow, trigger: ActionTrigger, index: usize) -> Result<(), Refused> {
    let refuse = |what: &str| Err(Refused::property(what, &format!("bindings[{index}].ref")));
    if !action.doc.supports(trigger) {
        return refuse("The action is written for another trigger");
    }
    if action.deployed_version.is_none() {
        return refuse("The action is not deployed");
    }
    Ok(())
}
