//! `/event-streams`.

use axum::response::Response;
use curfew_core::management::event_deliveries::{self, Query};
use curfew_core::management::event_streams;
use curfew_core::management::page::{Position, Window};
use curfew_model::Timestamp;
use serde_json::{Map, Value};

use super::{Answer, Call};
use crate::render::management::{Problem, respond};

pub(super) async fn list(call: Call) -> Answer {
    let position = call.checkpoint().await?.unwrap_or_else(Position::start);
    let window = Window::After { position, take: call.take() };
    let page = event_streams::list(&call.core, &call.ctx, window.clone()).await?;
    call.show_page(&window, "eventStreams", page).await
}

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let created = event_streams::create(&call.core, &call.ctx, write, doc).await??;
    call.show(created)
}

pub(super) async fn get(call: Call) -> Answer {
    let stream = event_streams::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(stream)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let stream = event_streams::update(&call.core, &call.ctx, write, call.param(0), doc).await??;
    call.show(stream)
}

pub(super) async fn delete(call: Call) -> Answer {
    event_streams::delete(&call.core, &call.ctx, call.write(), call.param(0)).await?;
    call.done()
}

pub(super) async fn rotate_secret(call: Call) -> Answer {
    let stream = event_streams::rotate_secret(&call.core, &call.ctx, call.write(), call.param(0)).await??;
    call.show(stream)
}

/// A date-time of the query.
fn instant(call: &Call, name: &str) -> Result<Option<Timestamp>, Problem> {
    match call.text(name) {
        None => Ok(None),
        Some(text) => Timestamp::parse_iso(&text).map(Some).ok_or_else(|| {
            Problem::query(format!("Query validation error: 'This is no date-time' on property {name}."))
        }),
    }
}

/// `a,b`.
fn names(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(super) async fn list_deliveries(call: Call) -> Answer {
    let query = Query {
        statuses: names(call.text("statuses")),
        event_types: names(call.text("event_types")),
        from: instant(&call, "date_from")?,
        to: instant(&call, "date_to")?,
    };
    let after = call.checkpoint().await?;
    let (found, next) =
        event_deliveries::list(&call.core, &call.ctx, call.param(0), query, after, call.take()).await??;
    let items: Vec<Value> = found.into_iter().map(Value::Object).collect();
    let response: Response = call.show_checkpointed("deliveries", items, next.as_ref()).await?;
    Ok(response)
}

pub(super) async fn get_delivery(call: Call) -> Answer {
    let (id, event_id) = (call.param(0), call.param(1));
    let delivery = event_deliveries::get(&call.core, &call.ctx, id, &event_id).await??;
    call.show(delivery)
}

pub(super) async fn redeliver_many(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let texts = |name: &str| -> Vec<String> {
        let list = doc.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let instant = |name: &str| doc.get(name).and_then(Value::as_str).and_then(Timestamp::parse_iso);
    let query = Query {
        statuses: texts("statuses"),
        event_types: texts("event_types"),
        from: instant("date_from"),
        to: instant("date_to"),
    };
    event_deliveries::redeliver_many(&call.core, &call.ctx, write, call.param(0), query).await??;
    // As Auth0 does: what was asked for.
    Ok(respond(call.operation.status, &Value::Object(doc)))
}

pub(super) async fn redeliver(call: Call) -> Answer {
    let (id, event_id) = (call.param(0), call.param(1));
    event_deliveries::redeliver(&call.core, &call.ctx, call.write(), id, &event_id).await??;
    Ok(respond(call.operation.status, &Value::Object(Map::new())))
}

pub(super) async fn test(mut call: Call) -> Answer {
    let write = call.write();
    let mut doc = call.document();
    let data = doc.remove("data").filter(|data| !data.is_null());
    let event_type = doc.get("event_type").and_then(Value::as_str).unwrap_or_default();
    let delivery =
        event_deliveries::test(&call.core, &call.ctx, write, call.param(0), event_type, data).await??;
    call.show(delivery)
}

pub(super) async fn stats(call: Call) -> Answer {
    let (from, to) = (instant(&call, "date_from")?, instant(&call, "date_to")?);
    let stats = event_deliveries::stats(&call.core, &call.ctx, call.param(0), from, to).await??;
    call.show(stats)
}
