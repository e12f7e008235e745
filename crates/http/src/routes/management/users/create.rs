//! `POST /users`.

use curfew_core::management::users;

use super::super::{Answer, Call};

pub(in super::super) async fn post(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let user = users::create(&call.core, &call.ctx, write, doc).await??;
    call.show(user)
}
