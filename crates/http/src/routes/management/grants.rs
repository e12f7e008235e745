//! `/grants`.

use curfew_core::management::consents;
use curfew_core::management::page::Window;
use curfew_model::UserId;

use super::{Answer, Call};

pub(super) async fn list(call: Call) -> Answer {
    let (start, limit) = call.window_of_first_thousand()?;
    let filter = (call.text("user_id"), call.text("client_id"), call.text("audience"));
    let page = consents::list(&call.core, &call.ctx, filter, start, limit).await?;
    call.show_page(&Window::Offset { start, limit }, "grants", page).await
}

pub(super) async fn delete(call: Call) -> Answer {
    consents::delete(&call.core, &call.ctx, call.write(), call.param(0)).await?;
    call.done()
}

pub(super) async fn delete_by_user(call: Call) -> Answer {
    let user = UserId(call.text("user_id").unwrap_or_default());
    consents::delete_of_user(&call.core, &call.ctx, call.write(), user).await?;
    call.done()
}
