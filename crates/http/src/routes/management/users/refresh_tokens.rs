//! `/users/{user_id}/refresh-tokens`.

use curfew_core::management::refresh_tokens::{self, Revoke};
use curfew_model::{GrantKey, UserId};
use serde_json::Value;

use super::super::{Answer, Call};

pub(in super::super) async fn list(call: Call) -> Answer {
    let after = call.checkpoint().await?.and_then(|position| GrantKey::parse(&position.id));
    let user = UserId(call.param(0));
    let (items, next) =
        refresh_tokens::list_of_user(&call.core, &call.ctx, user, None, after, call.take()).await??;
    let items = items.into_iter().map(Value::Object).collect();
    call.show_keyed("tokens", items, next.map(|key| key.to_string())).await
}

pub(in super::super) async fn delete(call: Call) -> Answer {
    let revoke = Revoke::User(UserId(call.param(0)));
    refresh_tokens::end(&call.core, &call.ctx, call.write(), revoke).await??;
    call.done()
}
