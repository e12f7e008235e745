//! `/connections`.

use std::sync::Arc;

use curfew_core::management::connections::{self, Filter, Switch};
use curfew_core::management::users;
use curfew_model::ClientId;
use serde_json::{Value, json};

use super::{Answer, Call};
use crate::render::management::respond;

pub(super) async fn list(call: Call) -> Answer {
    let window = call.window().await?;
    let filter = Filter { name: call.text("name"), strategies: call.texts("strategy"), client_id: None };
    let page = connections::list(&call.core, &call.ctx, window.clone(), filter).await?;
    call.show_page(&window, "connections", page).await
}

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = connections::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(super) async fn get(call: Call) -> Answer {
    let connection = connections::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(connection)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let connection = connections::update(&call.core, &call.ctx, write, call.param(0), doc).await??;
    call.show(connection)
}

/// Answers when the connection is gone and all access by it has ended; its users' rows follow.
pub(super) async fn delete(call: Call) -> Answer {
    let (id, write) = (call.param(0), call.write());
    connections::delete(&call.core, &call.ctx, write.clone(), id.clone()).await?;
    let (core, ctx) = (Arc::clone(&call.core), call.ctx.clone());
    tokio::spawn(async move {
        if let Err(failure) = users::delete_of_connection(&core, &ctx, &write.caller.actor(), &id).await {
            tracing::error!(
                error = &failure as &dyn std::error::Error,
                "users of a deleted connection remain"
            );
        }
    });
    Ok(respond(call.operation.status, &json!({ "deleted_at": call.ctx.now.iso() })))
}

pub(super) async fn list_clients(call: Call) -> Answer {
    let after = call.checkpoint().await?.map(|position| position.id).unwrap_or_default();
    let take = i64::try_from(call.take()).unwrap_or(i64::MAX);
    let (clients, next) =
        connections::list_clients(&call.core, &call.ctx, call.param(0), after, take).await??;
    let items = clients.iter().map(|client| json!({ "client_id": client })).collect();
    call.show_keyed("clients", items, next.map(|client| client.0)).await
}

pub(super) async fn update_clients(call: Call) -> Answer {
    let sent = call.body.as_array().map(Vec::as_slice).unwrap_or_default();
    let switches = sent
        .iter()
        .filter_map(|entry| {
            let client = ClientId::from(entry.get("client_id")?.as_str()?);
            Some(Switch { client, enabled: entry.get("status").and_then(Value::as_bool)? })
        })
        .collect();
    connections::update_clients(&call.core, &call.ctx, call.write(), call.param(0), switches).await??;
    call.done()
}

pub(super) async fn delete_user(call: Call) -> Answer {
    let email = call.text("email").unwrap_or_default();
    users::delete_by_email(&call.core, &call.ctx, call.write(), call.param(0), &email).await??;
    call.done()
}
