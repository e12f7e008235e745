//! `/resource-servers`.

use curfew_core::management::resource_servers;
use curfew_model::LogCode;

use super::{Answer, Call};

pub(super) async fn list(call: Call) -> Answer {
    let window = call.window().await?;
    let identifiers = call.texts("identifiers");
    let page = resource_servers::list(&call.core, &call.ctx, window.clone(), identifiers).await?;
    if page.items.iter().any(|item| item.contains_key("signing_secret")) {
        call.note_read(LogCode::ManagementRead);
    }
    call.show_page(&window, "resource_servers", page).await
}

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = resource_servers::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(super) async fn get(call: Call) -> Answer {
    let server = resource_servers::get(&call.core, &call.ctx, call.param(0)).await??;
    if server.contains_key("signing_secret") {
        call.note_read(LogCode::ManagementRead);
    }
    call.show(server)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let server = resource_servers::update(&call.core, &call.ctx, write, call.param(0), doc).await??;
    call.show(server)
}

pub(super) async fn delete(call: Call) -> Answer {
    resource_servers::delete(&call.core, &call.ctx, call.write(), call.param(0)).await??;
    call.done()
}
