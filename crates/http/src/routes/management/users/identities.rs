//! `POST /users/{id}/identities`, `DELETE /users/{id}/identities/{provider}/{user_id}`.

use curfew_core::management::users::{self, Secondary};
use curfew_model::{Secret, UserId};
use serde_json::{Value, json};

use super::super::{Answer, Call};
use crate::render::management::{Problem, respond};

pub(in super::super) async fn link(mut call: Call) -> Answer {
    let write = call.write();
    let mut doc = call.document();
    let mut take = |name: &str| match doc.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let secondary = match (take("link_with"), take("provider"), take("user_id")) {
        (Some(token), None, None) => Secondary::IdToken(Secret::new(token)),
        // Who may only act on themselves proves the other account by its ID token; a name proves nothing.
        (None, Some(_), Some(_)) if !call.caller.has("update:users") => {
            return Err(Problem::insufficient_scope(&["update:users"]));
        }
        (None, Some(provider), Some(user_id)) => Secondary::Named { provider, user_id },
        _ => {
            return Err(Problem::body(
                "Payload validation error: 'Either link_with or provider and user_id are required'.",
            ));
        }
    };
    let id = UserId(call.param(0));
    let identities = users::link(&call.core, &call.ctx, write, id, secondary).await??;
    Ok(respond(call.operation.status, &json!(identities)))
}

pub(in super::super) async fn unlink(call: Call) -> Answer {
    let (id, provider, identity_id) = (UserId(call.param(0)), call.param(1), call.param(2));
    let identities = users::unlink(&call.core, &call.ctx, call.write(), id, provider, identity_id).await??;
    Ok(respond(call.operation.status, &json!(identities)))
}
