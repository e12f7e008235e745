//! `PATCH /users/{id}`. With `blocked: true` it is the first door by which access ends.

use curfew_core::management::users;
use curfew_model::UserId;

use super::super::{Answer, Call};
use crate::render::management::Problem;

/// What each scope lets one change; `None` is everything.
const SCOPES: [(&str, Option<&str>); 3] = [
    ("update:users", None),
    ("update:users_app_metadata", Some("app_metadata")),
    ("update:current_user_metadata", Some("user_metadata")),
];

pub(in super::super) async fn patch(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let id = UserId(call.param(0));
    for name in doc.keys() {
        let allowed = SCOPES.iter().any(|(scope, only)| {
            let acts_on_self =
                *scope != "update:current_user_metadata" || call.caller.user_id.as_ref() == Some(&id);
            call.caller.has(scope) && acts_on_self && only.is_none_or(|only| only == name)
        });
        if !allowed {
            return Err(Problem::insufficient_scope(&["update:users"]));
        }
    }
    let user = users::update(&call.core, &call.ctx, write, id, doc).await??;
    call.show(user)
}
