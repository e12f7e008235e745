//! `/clients/{client_id}/credentials`.

use curfew_core::management::credentials;
use curfew_model::ClientId;
use http::StatusCode;
use serde_json::Value;

use super::super::{Answer, Call};
use crate::render::management::respond;

pub(in super::super) async fn list(call: Call) -> Answer {
    let items = credentials::list(&call.core, &call.ctx, ClientId(call.param(0))).await??;
    let items = items.into_iter().map(Value::Object).collect();
    Ok(respond(StatusCode::OK, &Value::Array(items)))
}

pub(in super::super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let client = ClientId(call.param(0));
    let created = credentials::create(&call.core, &call.ctx, write, client, doc).await??;
    call.show(created)
}

pub(in super::super) async fn get(call: Call) -> Answer {
    let (client, id) = (ClientId(call.param(0)), call.param(1));
    let credential = credentials::get(&call.core, &call.ctx, client, id).await??;
    call.show(credential)
}

pub(in super::super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let (client, id) = (ClientId(call.param(0)), call.param(1));
    let credential = credentials::update(&call.core, &call.ctx, write, client, id, doc).await??;
    call.show(credential)
}

pub(in super::super) async fn delete(call: Call) -> Answer {
    let (client, id) = (ClientId(call.param(0)), call.param(1));
    credentials::delete(&call.core, &call.ctx, call.write(), client, id).await??;
    call.done()
}
