//! `/users/{user_id}/sessions`.

use curfew_core::management::sessions;
use curfew_model::{SessionKey, UserId};
use serde_json::Value;

use super::super::{Answer, Call};

pub(in super::super) async fn list(call: Call) -> Answer {
    let after = call.checkpoint().await?.and_then(|position| SessionKey::parse(&position.id));
    let user = UserId(call.param(0));
    let (items, next) = sessions::list_of_user(&call.core, &call.ctx, user, after, call.take()).await??;
    let items = items.into_iter().map(Value::Object).collect();
    call.show_keyed("sessions", items, next.map(|key| key.to_string())).await
}

pub(in super::super) async fn delete(call: Call) -> Answer {
    sessions::delete_of_user(&call.core, &call.ctx, call.write(), UserId(call.param(0))).await??;
    call.done()
}
