//! `/client-grants`.

use curfew_core::management::client_grants::{self, Filter};

use super::{Answer, Call};

pub(super) async fn list(call: Call) -> Answer {
    let window = call.window().await?;
    let filter = Filter {
        client_id: call.text("client_id"),
        audience: call.text("audience"),
        subject_type: call.text("subject_type"),
        allow_any_organization: call.flag("allow_any_organization"),
    };
    let page = client_grants::list(&call.core, &call.ctx, window.clone(), filter).await?;
    call.show_page(&window, "client_grants", page).await
}

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = client_grants::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(super) async fn get(call: Call) -> Answer {
    let grant = client_grants::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(grant)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let grant = client_grants::update(&call.core, &call.ctx, write, call.param(0), doc).await??;
    call.show(grant)
}

pub(super) async fn delete(call: Call) -> Answer {
    client_grants::delete(&call.core, &call.ctx, call.write(), call.param(0)).await?;
    call.done()
}
