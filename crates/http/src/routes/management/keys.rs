//! `/keys/signing`.

use curfew_core::management::signing_keys;
use http::StatusCode;
use serde_json::Value;

use super::{Answer, Call};
use crate::render::management::respond;

pub(super) async fn list(call: Call) -> Answer {
    let keys = signing_keys::list(&call.core, &call.ctx).await?;
    Ok(respond(StatusCode::OK, &Value::Array(keys.into_iter().map(Value::Object).collect())))
}

pub(super) async fn get(call: Call) -> Answer {
    let key = signing_keys::get(&call.core, &call.ctx, call.param(0)).await??;
    call.show(key)
}

pub(super) async fn rotate(call: Call) -> Answer {
    let key = signing_keys::rotate(&call.core, &call.ctx, call.write()).await?;
    call.show(key)
}

pub(super) async fn revoke(call: Call) -> Answer {
    let key = signing_keys::revoke(&call.core, &call.ctx, call.write(), call.param(0)).await??;
    call.show(key)
}
