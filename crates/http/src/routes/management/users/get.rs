//! `GET /users/{id}`.

use curfew_core::management::users;
use curfew_model::UserId;

use super::super::{Answer, Call};

pub(in super::super) async fn get(call: Call) -> Answer {
    let user = users::get(&call.core, &call.ctx, UserId(call.param(0))).await??;
    call.show(user)
}
