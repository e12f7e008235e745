//! `/tenants/settings`.

use curfew_core::management::tenants;

use super::{Answer, Call};

pub(super) async fn get(call: Call) -> Answer {
    let settings = tenants::get(&call.core, &call.ctx).await?;
    call.show(settings)
}

pub(super) async fn update(mut call: Call) -> Answer {
    let write = call.write();
    let doc = call.document();
    let settings = tenants::update(&call.core, &call.ctx, write, doc).await??;
    call.show(settings)
}
