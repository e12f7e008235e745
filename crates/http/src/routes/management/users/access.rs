//! `/users/{id}/access`.

use curfew_core::management::access;
use curfew_model::UserId;

use super::super::{Answer, Call};

pub(in super::super) async fn get(call: Call) -> Answer {
    let doc = access::of_user(&call.core, &call.ctx, UserId(call.param(0))).await??;
    call.show(doc)
}
