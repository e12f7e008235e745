//! `/endings`: ask for one, list them, read receipts.

use std::time::Duration;

use axum::response::Response;
use curfew_core::management::endings::{self, Query, Wanted};
use curfew_core::management::page::Position;
use curfew_model::{EndingId, Timestamp, UserId};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, Call};
use crate::render::management::{Problem, respond};

/// How often somebody who waits for confirmations is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(10);

pub(super) async fn create(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let wanted = Wanted::read(&doc)?;
    let flag = |name: &str| doc.get(name).and_then(Value::as_bool).unwrap_or(false);
    if flag("dry_run") {
        let counts = endings::rehearse(&call.core, &call.ctx, wanted).await??;
        return Ok(respond(StatusCode::OK, &counts));
    }
    let text = |name: &str| doc.get(name).and_then(Value::as_str).map(str::to_owned);
    let (reason, key) = (text("reason"), text("idempotency_key"));
    let wait = doc.get("wait_ms").and_then(Value::as_u64).unwrap_or(0);
    let ids = endings::create(&call.core, &call.ctx, write, wanted, reason, key).await??;
    receipts(&call, &ids, Duration::from_millis(wait)).await
}

/// The receipts, as soon as all are complete or the time is up.
async fn receipts(call: &Call, ids: &[EndingId], wait: Duration) -> Answer {
    let until = Instant::now() + wait;
    loop {
        let mut receipts = Vec::new();
        for id in ids {
            let ctx = curfew_model::Ctx { now: call.core.clock.now(), ..call.ctx.clone() };
            receipts.push(endings::get(&call.core, &ctx, &id.to_string()).await??);
        }
        let complete = receipts.iter().all(|receipt| receipt.get("complete") == Some(&Value::Bool(true)));
        if complete || Instant::now() >= until {
            let body = json!({ "complete": complete, "endings": receipts });
            return Ok(respond(call.operation.status, &body));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(super) async fn get(call: Call) -> Answer {
    let receipt = endings::get(&call.core, &call.ctx, &call.param(0)).await??;
    call.show(receipt)
}

pub(super) async fn list(call: Call) -> Answer {
    let instant = |name: &str| match call.text(name) {
        None => Ok(None),
        Some(text) => Timestamp::parse_iso(&text).map(Some).ok_or_else(|| {
            Problem::query(format!("Query validation error: 'This is no date-time' on property {name}."))
        }),
    };
    // `from` is where a list by checkpoint goes on.
    let query = Query {
        user: call.text("user_id").map(UserId),
        cause: call.text("cause"),
        from: instant("after")?,
        to: instant("before")?,
    };
    let after = match call.checkpoint().await? {
        None => None,
        Some(Position { at, id }) => {
            let invalid = || Problem::query("Query validation error: 'Invalid cursor' on property from.");
            Some((at, EndingId::parse(&id).ok_or_else(invalid)?))
        }
    };
    let (found, next) = endings::list(&call.core, &call.ctx, query, after, call.take()).await??;
    let next = next.map(|(at, id)| Position { at, id: id.to_string() });
    let items: Vec<Value> = found.into_iter().map(Value::Object).collect();
    let response: Response = call.show_checkpointed("endings", items, next.as_ref()).await?;
    Ok(response)
}
