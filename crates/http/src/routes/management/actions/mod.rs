//! `/actions`.

pub(super) mod modules;

use curfew_core::management::actions::{self, Filter, executions, triggers, versions};
use serde_json::Value;

use super::{Answer, Call};

pub(super) async fn list(call: Call) -> Answer {
    let filter = Filter {
        trigger: call.text("triggerId"),
        name: call.text("actionName"),
        deployed: call.flag("deployed"),
        installed: call.flag("installed"),
    };
    let page = actions::list(&call.core, &call.ctx, filter, call.numbered()).await?;
    call.show_part("actions", page.items, page.total)
}

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = actions::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(super) async fn get(call: Call) -> Answer {
    let action = actions::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(action)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let action = actions::update(&call.core, &call.ctx, write, call.param(0), doc).await??;
    call.show(action)
}

pub(super) async fn delete(call: Call) -> Answer {
    let force = call.flag("force").unwrap_or(false);
    actions::delete(&call.core, &call.ctx, call.write(), call.param(0), force).await??;
    call.done()
}

pub(super) async fn deploy(call: Call) -> Answer {
    let version = actions::deploy(&call.core, &call.ctx, call.write(), call.param(0)).await??;
    call.show(version)
}

pub(super) async fn test(mut call: Call) -> Answer {
    let write = call.write();
    let event = match call.document().get_mut("payload").and_then(|payload| payload.get_mut("event")) {
        Some(Value::Object(event)) => std::mem::take(event),
        _ => serde_json::Map::new(),
    };
    let tried = actions::test(&call.core, &call.ctx, write, call.param(0), event).await??;
    call.show(tried)
}

pub(super) async fn versions(call: Call) -> Answer {
    let page = versions::list(&call.core, &call.ctx, call.param(0), call.numbered()).await??;
    call.show_part("versions", page.items, page.total)
}

pub(super) async fn get_version(call: Call) -> Answer {
    let version = versions::get(&call.core, &call.ctx, call.param(0), call.param(1)).await??;
    call.show(version)
}

pub(super) async fn deploy_version(mut call: Call) -> Answer {
    let write = call.write();
    let update_draft = call.document().get("update_draft").and_then(Value::as_bool).unwrap_or(false);
    let id = (call.param(0), call.param(1));
    let version = versions::deploy(&call.core, &call.ctx, write, id, update_draft).await??;
    call.show(version)
}

pub(super) async fn triggers(call: Call) -> Answer {
    call.show(triggers::list())
}

pub(super) async fn bindings(call: Call) -> Answer {
    let page = triggers::bindings(&call.core, &call.ctx, &call.param(0), call.numbered()).await??;
    call.show_part("bindings", page.items, page.total)
}

pub(super) async fn update_bindings(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let bindings = triggers::replace(&call.core, &call.ctx, write, &call.param(0), &doc).await??;
    call.show(bindings)
}

pub(super) async fn executions(call: Call) -> Answer {
    let text = |name: &str| call.text(name).unwrap_or_default();
    let filter =
        executions::Filter { trigger: text("trigger_id"), user_id: text("user_id"), status: text("status") };
    let before = call.checkpoint().await?.map(|position| position.id).unwrap_or_default();
    let (found, next) = executions::list(&call.core, &call.ctx, filter, before, call.take()).await?;
    call.show_keyed("executions", found.into_iter().map(Value::Object).collect(), next).await
}

pub(super) async fn get_execution(call: Call) -> Answer {
    let execution = executions::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(execution)
}
