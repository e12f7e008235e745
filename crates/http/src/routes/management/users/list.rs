//! `GET /users`.

use curfew_core::management::page::Window;
use curfew_core::management::users;
use http::StatusCode;

use super::super::{Answer, Call};
use crate::render::management::Problem;

/// The answer to what this list does not do: said aloud, because a list that ignores a filter shows too much.
fn not_supported(name: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("The parameter {name} is not supported by this server."))
        .code("operation_not_supported")
}

pub(in super::super) async fn get(call: Call) -> Answer {
    for name in ["q", "connection"] {
        if call.text(name).is_some_and(|value| !value.is_empty()) {
            return Err(not_supported(name));
        }
    }
    let newest_first = match call.text("sort").as_deref() {
        None | Some("created_at:1") => false,
        Some("created_at:-1") => true,
        Some(_) => return Err(not_supported("sort by anything but created_at")),
    };
    let (start, limit) = call.window_of_first_thousand()?;
    let page = users::list(&call.core, &call.ctx, newest_first, start, limit).await?;
    call.show_page(&Window::Offset { start, limit }, "users", page).await
}
