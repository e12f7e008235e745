//! `/clients`.

pub(super) mod credentials;

use curfew_core::management::clients::{self, Filter, Show};
use curfew_core::management::page::Window;
use curfew_core::management::{Caller, connections as core_connections};
use curfew_model::{ClientId, LogCode};
use serde_json::json;

use super::{Answer, Call};

fn show_for(caller: &Caller) -> Show {
    if caller.has("read:client_keys") {
        Show::Keys
    } else if caller.has("read:clients") || caller.has("read:client_credentials") {
        Show::NoKeys
    } else {
        Show::Summary
    }
}

/// Reads that hand out secrets are in the log.
fn note_secrets(call: &Call, show: Show) {
    if show == Show::Keys {
        call.note_read(LogCode::ManagementRead);
    }
}

pub(super) async fn list(call: Call) -> Answer {
    let window = call.window().await?;
    let app_types = call.text("app_type").map(|list| list.split(',').map(|t| t.trim().to_owned()).collect());
    let filter = Filter {
        is_first_party: call.flag("is_first_party"),
        is_global: call.flag("is_global"),
        app_types: app_types.unwrap_or_default(),
    };
    let show = show_for(&call.caller);
    let page = clients::list(&call.core, &call.ctx, window.clone(), filter, show).await?;
    note_secrets(&call, show);
    call.show_page(&window, "clients", page).await
}

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = clients::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(super) async fn get(call: Call) -> Answer {
    let show = show_for(&call.caller);
    let client = clients::get(&call.core, &call.ctx, ClientId(call.param(0)), show).await??;
    note_secrets(&call, show);
    call.show(client)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    // Whoever may only write still sees what was written, but no secret.
    let show = if call.caller.has("read:client_keys") || call.caller.has("update:client_keys") {
        Show::Keys
    } else {
        Show::NoKeys
    };
    if doc.contains_key("client_secret") && !call.caller.has("update:client_keys") {
        return Err(crate::render::management::Problem::insufficient_scope(&["update:client_keys"]));
    }
    let id = ClientId(call.param(0));
    let client = clients::update(&call.core, &call.ctx, write, id, doc, show).await??;
    call.show(client)
}

pub(super) async fn delete(call: Call) -> Answer {
    clients::delete(&call.core, &call.ctx, call.write(), ClientId(call.param(0))).await?;
    call.done()
}

pub(super) async fn rotate_secret(call: Call) -> Answer {
    let id = ClientId(call.param(0));
    let client = clients::rotate_secret(&call.core, &call.ctx, call.write(), id).await??;
    call.show(client)
}

pub(super) async fn connections(call: Call) -> Answer {
    let id = ClientId(call.param(0));
    clients::get(&call.core, &call.ctx, id.clone(), Show::NoKeys).await??;
    let position = call.checkpoint().await?.unwrap_or_else(curfew_core::management::page::Position::start);
    let window = Window::After { position, take: call.take() };
    let filter =
        core_connections::Filter { name: None, strategies: call.texts("strategy"), client_id: Some(id) };
    let mut page = core_connections::list(&call.core, &call.ctx, window.clone(), filter).await?;
    for item in &mut page.items {
        item.remove("enabled_clients");
        // Options may hold secrets of the connection, which this list is not for.
        item.insert("options".into(), json!({}));
    }
    call.show_page(&window, "connections", page).await
}
