//! Connections: where users come from, and for which clients.

use curfew_model::config::ConnectionDoc;
use curfew_model::{ClientId, Ctx, EndingCause, Failure, TenantId};
use curfew_store::connections::{self as rows, ConnectionRow};
use curfew_store::{Lane, Tx};
use serde_json::{Value, json};

use super::page::{CHUNK, Collector, More, Page, Position, Window, scan};
use super::write::Write;
use super::{
    Document, Entity, Outcome, Refused, default_to, drop_nulls, granted, merge, readable, stored, text,
};
use crate::Core;
use crate::endings::{self, Ending, Target};

/// The strategy of users whose passwords are kept here.
const DATABASE: &str = "auth0";

/// Which connections to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only with this name.
    pub name: Option<String>,
    /// Only of these strategies.
    pub strategies: Vec<String>,
    /// Only those enabled for this client.
    pub client_id: Option<ClientId>,
}

/// The options a database connection is recorded with.
pub(super) fn database_options() -> Value {
    json!({
        "mfa": { "active": true, "return_enroll_settings": true },
        "passwordPolicy": "good",
        "strategy_version": 2,
        "brute_force_protection": true,
        "authentication_methods": { "password": { "enabled": true }, "passkey": { "enabled": false } },
        "passkey_options": {
            "challenge_ui": "both",
            "local_enrollment_enabled": true,
            "progressive_enrollment_enabled": true,
        },
    })
}

/// The defaults Auth0 answers.
pub(super) fn add_defaults(doc: &mut Document, name: &str) {
    let mut options = match doc.remove("options") {
        Some(Value::Object(options)) => options,
        _ => Document::new(),
    };
    drop_nulls(&mut options);
    default_to(&mut options, database_options());
    doc.insert("options".into(), Value::Object(options));
    default_to(doc, json!({ "realms": [name], "is_domain_connection": false }));
}

fn check(doc: &Document) -> Result<(), Refused> {
    readable::<ConnectionDoc>(doc)?;
    let min =
        doc.get("options").and_then(|options| options.pointer("/password_complexity_options/min_length"));
    if min.is_some_and(|min| !matches!(min.as_i64(), Some(1..=72))) {
        return Err(Refused::property(
            "Must be between 1 and 72",
            "options.password_complexity_options.min_length",
        ));
    }
    Ok(())
}

fn view(row: &ConnectionRow, clients: &[ClientId]) -> Result<Document, Failure> {
    let mut doc = stored("connections", &row.id, &row.doc)?;
    doc.insert("id".into(), json!(row.id));
    doc.insert("name".into(), json!(row.name));
    doc.insert("strategy".into(), json!(row.strategy));
    doc.insert("enabled_clients".into(), json!(clients));
    Ok(doc)
}

async fn clients_of(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Vec<ClientId>, Failure> {
    let mut clients: Vec<ClientId> = Vec::new();
    loop {
        let after = clients.last().map_or("", ClientId::as_str);
        let chunk = rows::list_clients(tx, tenant, id, after, CHUNK).await?;
        let over = chunk.len() < usize::try_from(CHUNK).unwrap_or(0);
        clients.extend(chunk);
        if over {
            return Ok(clients);
        }
    }
}

fn take_clients(doc: &mut Document) -> Option<Vec<ClientId>> {
    let Some(Value::Array(sent)) = doc.remove("enabled_clients") else { return None };
    let mut clients: Vec<ClientId> = sent.iter().filter_map(Value::as_str).map(ClientId::from).collect();
    clients.sort();
    clients.dedup();
    Some(clients)
}

async fn check_clients(
    tx: &mut Tx,
    tenant: TenantId,
    clients: &[ClientId],
) -> Result<Result<(), Refused>, Failure> {
    for client in clients {
        if curfew_store::clients::find(tx, tenant, client).await?.is_none() {
            return Ok(Err(Refused::property(&format!("No such client: {client}"), "enabled_clients")));
        }
    }
    Ok(Ok(()))
}

/// `POST /connections`. Only the database strategy is served.
pub async fn create(core: &Core, ctx: &Ctx, write: Write, mut doc: Document) -> Outcome<Document> {
    drop_nulls(&mut doc);
    let mut take = |name: &str| match doc.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (name, strategy) = (take("name"), take("strategy"));
    if strategy != DATABASE {
        return Ok(Err(Refused::not_supported(format!(
            "Connections of strategy {strategy} are not supported"
        ))));
    }
    let clients = take_clients(&mut doc).unwrap_or_default();
    add_defaults(&mut doc, &name);
    granted!(check(&doc));
    let row = ConnectionRow {
        id: format!("con_{}", ctx.entropy.alphanumeric(16)),
        name,
        strategy,
        doc: text(&doc)?,
        created_at: ctx.now,
    };
    let answer = view(&row, &clients)?;
    let created = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, row, clients), |tx, (ctx, write, row, clients)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                granted!(check_clients(tx, ctx.tenant, clients).await?);
                if !rows::insert(tx, ctx, &row.id, &row.name, &row.strategy, &row.doc).await? {
                    return Ok(Err(Refused::exists("A connection with the same name already exists")));
                }
                for client in clients {
                    rows::enable_for(tx, ctx.tenant, &row.id, client).await?;
                }
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await?;
    granted!(created);
    Ok(Ok(answer))
}

/// `GET /connections/{id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String) -> Outcome<Document> {
    core.store
        .read((ctx.tenant, id), |tx, (tenant, id)| {
            Box::pin(async move {
                let Some(row) = rows::find(tx, *tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Connection)));
                };
                let clients = clients_of(tx, *tenant, id).await?;
                view(&row, &clients).map(Ok)
            })
        })
        .await
}

/// `GET /connections`, and of one client `GET /clients/{id}/connections`.
pub async fn list(core: &Core, ctx: &Ctx, window: Window, filter: Filter) -> Result<Page, Failure> {
    core.store
        .read_long((ctx.tenant, window, filter), |tx, (tenant, window, filter)| {
            Box::pin(async move {
                let mut collector = Collector::new(window);
                scan!(tx, *tenant, rows::list, window, id, |row, position| {
                    let asked = filter.name.as_ref().is_none_or(|name| *name == row.name)
                        && (filter.strategies.is_empty() || filter.strategies.contains(&row.strategy));
                    if asked {
                        let clients = clients_of(tx, *tenant, &row.id).await?;
                        let doc = view(&row, &clients)?;
                        let domain =
                            doc.get("is_domain_connection").and_then(Value::as_bool).unwrap_or(false);
                        let enabled =
                            filter.client_id.as_ref().is_none_or(|client| domain || clients.contains(client));
                        if enabled {
                            collector.push(position, || Ok::<_, Failure>(doc))?
                        } else {
                            More::Wanted
                        }
                    } else {
                        More::Wanted
                    }
                });
                Ok(collector.finish())
            })
        })
        .await
}

/// Enables the connection for one client or disables it.
#[derive(Debug, Clone)]
pub struct Switch {
    /// Which client.
    pub client: ClientId,
    /// On or off.
    pub enabled: bool,
}

/// Applies switches. Whatever a disabled client was given through the connection ends.
async fn switch(tx: &mut Tx, ctx: &Ctx, write: &Write, id: &str, switches: &[Switch]) -> Result<(), Failure> {
    let mut disabled = Vec::new();
    for Switch { client, enabled } in switches {
        if *enabled {
            rows::enable_for(tx, ctx.tenant, id, client).await?;
        } else if rows::disable_for(tx, ctx.tenant, id, client).await? {
            disabled.push(client);
        }
    }
    for client in disabled {
        let target = Target::ConnectionClient { connection_id: id.to_owned(), client: client.clone() };
        endings::end(tx, ctx, &Ending::new(EndingCause::ConnectionDisabled, target, write.caller.actor()))
            .await?;
    }
    Ok(())
}

/// `PATCH /connections/{id}`. `options` are replaced as a whole, as at Auth0.
pub async fn update(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    mut sent: Document,
) -> Outcome<Document> {
    let clients = take_clients(&mut sent);
    let args = (ctx.clone(), write, id, sent, clients);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, write, id, sent, clients)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else {
                    return Ok(Err(Refused::Inexistent(Entity::Connection)));
                };
                let mut doc = stored("connections", id, &row.doc)?;
                let was_for_all = is_for_all(&doc);
                merge(&mut doc, sent.clone());
                if let Some(Value::Object(options)) = doc.get_mut("options") {
                    drop_nulls(options);
                }
                default_to(
                    &mut doc,
                    json!({ "options": {}, "realms": [row.name], "is_domain_connection": false }),
                );
                granted!(check(&doc));
                let mut switches = Vec::new();
                if let Some(wanted) = clients {
                    granted!(check_clients(tx, ctx.tenant, wanted).await?);
                    let had = clients_of(tx, ctx.tenant, id).await?;
                    let off = had.iter().filter(|client| !wanted.contains(client));
                    switches.extend(off.map(|client| Switch { client: client.clone(), enabled: false }));
                    let on = wanted.iter().filter(|client| !had.contains(client));
                    switches.extend(on.map(|client| Switch { client: client.clone(), enabled: true }));
                }
                let row = ConnectionRow { doc: text(&doc)?, ..row };
                rows::update(tx, ctx.tenant, id, &row.doc).await?;
                write.log(tx, ctx).await?;
                if was_for_all && !is_for_all(&doc) {
                    switches.extend(implicit_clients(tx, ctx, id).await?);
                }
                switch(tx, ctx, write, id, &switches).await?;
                let clients = clients_of(tx, ctx.tenant, id).await?;
                view(&row, &clients).map(Ok)
            })
        })
        .await
}

fn is_for_all(doc: &Document) -> bool {
    doc.get("is_domain_connection").and_then(Value::as_bool).unwrap_or(false)
}

/// Clients that had the connection only because it was for all: each gets a place in it to be disabled.
async fn implicit_clients(tx: &mut Tx, ctx: &Ctx, id: &str) -> Result<Vec<Switch>, Failure> {
    let mut switches = Vec::new();
    let window = Window::After { position: Position::start(), take: usize::MAX };
    scan!(tx, ctx.tenant, curfew_store::clients::list, &window, client_id, |row, _position| {
        if rows::add_for(tx, ctx.tenant, id, &row.client_id).await? {
            switches.push(Switch { client: row.client_id, enabled: false });
        }
        More::Wanted
    });
    Ok(switches)
}

/// `GET /connections/{id}/clients`: at most `take` after a client.
pub async fn list_clients(
    core: &Core,
    ctx: &Ctx,
    id: String,
    after: String,
    take: i64,
) -> Outcome<(Vec<ClientId>, Option<ClientId>)> {
    core.store
        .read((ctx.tenant, id, after, take), |tx, (tenant, id, after, take)| {
            Box::pin(async move {
                if rows::find(tx, *tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::Connection)));
                }
                let mut clients = rows::list_clients(tx, *tenant, id, after, take + 1).await?;
                let more = i64::try_from(clients.len()).unwrap_or(i64::MAX) > *take;
                if more {
                    clients.pop();
                }
                let next = if more { clients.last().cloned() } else { None };
                Ok(Ok((clients, next)))
            })
        })
        .await
}

/// `PATCH /connections/{id}/clients`.
pub async fn update_clients(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    switches: Vec<Switch>,
) -> Outcome<()> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id, switches), |tx, (ctx, write, id, switches)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                if rows::find(tx, ctx.tenant, id).await?.is_none() {
                    return Ok(Err(Refused::Inexistent(Entity::Connection)));
                }
                let named: Vec<ClientId> = switches.iter().map(|switch| switch.client.clone()).collect();
                granted!(check_clients(tx, ctx.tenant, &named).await?);
                write.log(tx, ctx).await?;
                switch(tx, ctx, write, id, switches).await.map(Ok)
            })
        })
        .await
}

/// `DELETE /connections/{id}`, also of one that is not there: nobody comes in by it any more, and what its users had
/// ends. The users themselves are deleted afterwards, one by one.
pub async fn delete(core: &Core, ctx: &Ctx, write: Write, id: String) -> Result<(), Failure> {
    core.store
        .transact(Lane::Endings, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                curfew_store::tenants::touch(tx, ctx.tenant).await?;
                let clients = clients_of(tx, ctx.tenant, id).await?;
                let deleted = rows::delete(tx, ctx.tenant, id).await?;
                write.log(tx, ctx).await?;
                if deleted {
                    let target = Target::Connection { id: id.clone(), clients };
                    let ending = Ending::new(EndingCause::ConnectionDeleted, target, write.caller.actor());
                    endings::end(tx, ctx, &ending).await?;
                }
                Ok(())
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_connection_has_the_recorded_defaults() {
        let Value::Object(mut doc) = json!({"options": {"passwordPolicy": "low", "validation": null}}) else {
            panic!("no object");
        };
        add_defaults(&mut doc, "Users");
        assert_eq!(doc["realms"], json!(["Users"]));
        assert_eq!(doc["options"]["passwordPolicy"], json!("low"));
        assert_eq!(doc["options"]["mfa"], json!({"active": true, "return_enroll_settings": true}));
        assert!(doc["options"].get("validation").is_none());
        assert!(check(&doc).is_ok());
    }

    #[test]
    fn options_the_rest_of_the_server_could_not_read_are_refused() {
        for bad in [
            json!({"password_complexity_options": {"min_length": "eight"}}),
            json!({"password_complexity_options": {"min_length": 0}}),
            json!({"password_complexity_options": {"min_length": 73}}),
            json!({"requires_username": "yes"}),
        ] {
            let Value::Object(mut doc) = json!({ "options": bad }) else { panic!("no object") };
            add_defaults(&mut doc, "Users");
            assert!(check(&doc).is_err(), "{doc:?}");
        }
    }
}
