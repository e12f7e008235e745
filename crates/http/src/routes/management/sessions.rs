//! `/sessions`.

use curfew_core::management::sessions;

use super::{Answer, Call};

pub(super) async fn get(call: Call) -> Answer {
    let session = sessions::get(&call.core, &call.ctx, &call.param(0)).await??;
    call.show(session)
}

pub(super) async fn patch(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let session = sessions::update(&call.core, &call.ctx, write, &call.param(0), doc).await??;
    call.show(session)
}

pub(super) async fn delete(call: Call) -> Answer {
    sessions::delete(&call.core, &call.ctx, call.write(), &call.param(0)).await?;
    call.done()
}

pub(super) async fn revoke(call: Call) -> Answer {
    sessions::revoke(&call.core, &call.ctx, call.write(), &call.param(0)).await??;
    call.done()
}
