//! `DELETE /users/{id}`.

use curfew_core::management::users;
use curfew_model::UserId;

use super::super::{Answer, Call};

pub(in super::super) async fn delete(call: Call) -> Answer {
    users::delete(&call.core, &call.ctx, call.write(), UserId(call.param(0))).await?;
    call.done()
}
