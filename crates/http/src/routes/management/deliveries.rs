//! `/deliveries`, and what clients have of them: dead letters, their retry, an application's health, a test.

use curfew_core::management::deliveries;
use curfew_model::ClientId;
use serde_json::{Map, Value, json};

use super::{Answer, Call};
use crate::render::management::respond;

pub(super) async fn list(call: Call) -> Answer {
    let (state, from) = (call.text("state").unwrap_or_default(), call.text("from"));
    let (found, next) =
        deliveries::list(&call.core, &call.ctx, &state, from.as_deref(), call.take()).await??;
    let mut body = Map::new();
    body.insert("deliveries".into(), json!(found));
    if let Some(next) = next {
        body.insert("next".into(), json!(next));
    }
    Ok(respond(call.operation.status, &Value::Object(body)))
}

pub(super) async fn retry(call: Call) -> Answer {
    let delivery = deliveries::retry(&call.core, &call.ctx, call.write(), &call.param(0)).await??;
    Ok(respond(call.operation.status, &delivery))
}

pub(super) async fn health(call: Call) -> Answer {
    let health = deliveries::health(&call.core, &call.ctx, &ClientId(call.param(0))).await??;
    Ok(respond(call.operation.status, &health))
}

pub(super) async fn test(call: Call) -> Answer {
    let id = ClientId(call.param(0));
    let outcome = deliveries::test(&call.core, &call.ctx, call.write(), &id).await??;
    Ok(respond(call.operation.status, &outcome))
}
