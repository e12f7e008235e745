//! Client grants: what a client may do at an API on its own behalf.

use curfew_model::config::ClientGrantDoc;
use curfew_model::{ClientId, Ctx, EndingCause, Failure};
use curfew_store::Lane;
use curfew_store::client_grants::ClientGrantRow;
use serde_json::{Value, json};

use super::page::{Collector, More, Page, Window, scan};
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, drop_nulls, granted, merge, readable, stored, text};
use crate::Core;
use crate::endings::{self, Ending, Target};
use crate::feed::GUARD_SCOPE;

/// Which client grants to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this client.
    pub client_id: Option<String>,
    /// Only for this API.
    pub audience: Option<String>,
    /// Only `client` or `user` grants.
    pub subject_type: Option<String>,
    /// Only with, or only without.
    pub allow_any_organization: Option<bool>,
}

impl Filter {
    fn takes(&self, row: &ClientGrantRow, doc: &Document) -> bool {
        let subject_type = doc.get("subject_type").and_then(Value::as_str).unwrap_or("client");
        let any = doc.get("allow_any_organization").and_then(Value::as_bool).unwrap_or(false);
        self.client_id.as_ref().is_none_or(|asked| *asked == row.client_id.0)
            && self.audience.as_ref().is_none_or(|asked| *asked == row.audience)
            && self.subject_type.as_deref().is_none_or(|asked| asked == subject_type)
            && self.allow_any_organization.is_none_or(|asked| asked == any)
    }
}

fn view(row: &ClientGrantRow) -> Result<Document, Failure> {
    let mut doc = stored("client_grants", &row.id, &row.doc)?;
    doc.insert("id".into(), json!(row.id));
    doc.insert("client_id".into(), json!(row.client_id));
    doc.insert("audience".into(), json!(row.audience));
    Ok(doc)
}

/// Every scope of a grant must be one of the API's, or the one that guards of any API need.
fn check_scopes(doc: &Document, api: &curfew_model::config::ResourceServer) -> Result<(), Refused> {
    let asked = doc.get("scope").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for scope in asked.iter().filter_map(Value::as_str) {
        let of_guards = scope == GUARD_SCOPE && !api.doc.is_system;
        if !of_guards && !api.doc.scopes.iter().any(|entry| entry.value == scope) {
            return Err(Refused::Invalid {
                message: format!("Scope \"{scope}\" is not defined by the API {}", api.identifier),
                code: "invalid_body",
            });
        }
    }
    Ok(())
}

/// `POST /client-grants`.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    drop_nulls(&mut doc);
    let mut take = |name: &str| match doc.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let Some(client_id) = take("client_id") else {
        return Ok(Err(Refused::Invalid {
            message: "Payload validation error: 'Missing required property: client_id'.".to_owned(),
            code: "invalid_body",
        }));
    };
    let audience = take("audience").unwrap_or_default();
    let Some(api) = config.resource_server(&audience) else {
        return Ok(Err(Refused::Inexistent(Entity::ResourceServer)));
    };
    doc.entry("scope").or_insert_with(|| json!([]));
    granted!(readable::<ClientGrantDoc>(&doc));
    granted!(check_scopes(&doc, api));
    let id = format!("cgr_{}", ctx.entropy.alphanumeric(16));
    let args = (ctx.clone(), write, id, ClientId(client_id), audience, text(&doc)?);
    let row = core
        .store
        .transact(Lane::Ordinary, args, |tx, (ctx, write, id, client_id, audience, doc)| {
            Box::pin(async move {
                if !curfew_store::clients::touch(tx, ctx.tenant, client_id).await? {
                    return Ok(Err(Refused::Inexistent(Entity::Client)));
                }
                if !curfew_store::client_grants::insert(tx, ctx, id, client_id, audience, doc).await? {
                    return Ok(Err(Refused::exists(format!(
                        "A client grant with the specified properties already exists for client \"{client_id}\" and \
                         audience \"{audience}\""
                    ))));
                }
                write.log(tx, ctx).await?;
                let row = curfew_store::client_grants::find(tx, ctx.tenant, id).await?;
                row.ok_or(Failure::Contention).map(Ok)
            })
        })
        .await?;
    Ok(Ok(view(&granted!(row))?))
}

/// `GET /client-grants/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    let row = core
        .store
        .read((ctx.tenant, id), |tx, (tenant, id)| {
            Box::pin(curfew_store::client_grants::find(tx, *tenant, id))
        })
        .await?;
    match row {
        Some(row) => Ok(Ok(view(&row)?)),
        None => Ok(Err(Refused::Inexistent(Entity::ClientGrant))),
    }
}

/// `GET /client-grants`.
pub async fn list(core: &Core, ctx: &Ctx, window: Window, filter: Filter) -> Result<Page, Failure> {
    core.store
        .read_long((ctx.tenant, window, filter), |tx, (tenant, window, filter)| {
            Box::pin(async move {
                let mut collector = Collector::new(window);
                scan!(tx, *tenant, curfew_store::client_grants::list, window, id, |row, position| {
                    if filter.takes(&row, &stored("client_grants", &row.id, &row.doc)?) {
                        collector.push(position, || view(&row))?
                    } else {
                        More::Wanted
                    }
                });
                Ok(collector.finish())
            })
        })
        .await
}

/// `PATCH /client-grants/{id}`.
pub async fn update(core: &Core, ctx: &Ctx, write: Write, id: String, sent: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let row = core
        .store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), write, id, sent, config),
            |tx, (ctx, write, id, sent, config)| {
                Box::pin(async move {
                    let Some(row) = curfew_store::client_grants::find(tx, ctx.tenant, id).await? else {
                        return Ok(Err(Refused::Inexistent(Entity::ClientGrant)));
                    };
                    curfew_store::clients::touch(tx, ctx.tenant, &row.client_id).await?;
                    // Again, now that nobody else changes it.
                    let Some(row) = curfew_store::client_grants::find(tx, ctx.tenant, id).await? else {
                        return Ok(Err(Refused::Inexistent(Entity::ClientGrant)));
                    };
                    let mut doc = stored("client_grants", id, &row.doc)?;
                    merge(&mut doc, sent.clone());
                    doc.entry("scope").or_insert_with(|| json!([]));
                    granted!(readable::<ClientGrantDoc>(&doc));
                    if let Some(api) = config.resource_server(&row.audience) {
                        granted!(check_scopes(&doc, api));
                    }
                    let doc = text(&doc)?;
                    curfew_store::client_grants::update(tx, ctx.tenant, id, &doc).await?;
                    write.log(tx, ctx).await?;
                    Ok(Ok(ClientGrantRow { doc, ..row }))
                })
            },
        )
        .await?;
    Ok(Ok(view(&granted!(row))?))
}

/// `DELETE /client-grants/{id}`, also of one that is not there: the tokens issued by it end.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String) -> Result<(), Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                let found = curfew_store::client_grants::find(tx, ctx.tenant, id).await?;
                let Some(row) = found else { return write.log(tx, ctx).await };
                curfew_store::clients::touch(tx, ctx.tenant, &row.client_id).await?;
                if !curfew_store::client_grants::delete(tx, ctx.tenant, id).await? {
                    return write.log(tx, ctx).await;
                }
                write.log(tx, ctx).await?;
                let target = Target::ClientGrant {
                    client: row.client_id,
                    audience: row.audience,
                    grant_key: row.grant_key,
                };
                let ending = Ending::new(EndingCause::ClientGrantDeleted, target, write.caller.actor());
                endings::end(tx, ctx, &ending).await.map(drop)
            })
        })
        .await
}
