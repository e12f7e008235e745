//! `/actions/modules`.

use curfew_core::management::actions::modules;
use serde_json::Value;

use crate::routes::management::{Answer, Call};

pub(in crate::routes::management) async fn list(call: Call) -> Answer {
    let page = modules::list(&call.core, &call.ctx, call.numbered()).await?;
    call.show_part("modules", page.items, page.total)
}

pub(in crate::routes::management) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = modules::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(in crate::routes::management) async fn get(call: Call) -> Answer {
    let module = modules::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(module)
}

pub(in crate::routes::management) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let module = modules::update(&call.core, &call.ctx, write, call.param(0), doc).await??;
    call.show(module)
}

pub(in crate::routes::management) async fn delete(call: Call) -> Answer {
    modules::delete(&call.core, &call.ctx, call.write(), call.param(0)).await??;
    call.done()
}

pub(in crate::routes::management) async fn actions(call: Call) -> Answer {
    let page = modules::actions(&call.core, &call.ctx, call.param(0), call.numbered()).await??;
    call.show_part("actions", page.items, page.total)
}

pub(in crate::routes::management) async fn rollback(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let version = doc.get("module_version_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let module = modules::rollback(&call.core, &call.ctx, write, call.param(0), version).await??;
    call.show(module)
}

pub(in crate::routes::management) async fn versions(call: Call) -> Answer {
    let page = modules::versions(&call.core, &call.ctx, call.param(0), call.numbered()).await??;
    call.show_part("versions", page.items, page.total)
}

pub(in crate::routes::management) async fn create_version(call: Call) -> Answer {
    let version = modules::create_version(&call.core, &call.ctx, call.write(), call.param(0)).await??;
    call.show(version)
}

pub(in crate::routes::management) async fn get_version(call: Call) -> Answer {
    let version = modules::get_version(&call.core, &call.ctx, call.param(0), call.param(1)).await??;
    call.show(version)
}
