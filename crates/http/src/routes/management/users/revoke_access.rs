//! `POST /users/{id}/revoke-access`.

use curfew_core::management::sessions;
use curfew_model::UserId;
use serde_json::Value;

use super::super::{Answer, Call};

pub(in super::super) async fn post(mut call: Call) -> Answer {
    let write = call.write();
    let mut doc = call.document();
    let session = match doc.remove("session_id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    };
    let preserve = doc.get("preserve_refresh_tokens").and_then(Value::as_bool).unwrap_or(false);
    let user = UserId(call.param(0));
    sessions::revoke_access(&call.core, &call.ctx, write, user, session, preserve).await??;
    call.done()
}
