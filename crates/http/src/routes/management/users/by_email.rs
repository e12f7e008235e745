//! `GET /users-by-email`.

use curfew_core::management::users;
use http::StatusCode;
use serde_json::Value;

use super::super::{Answer, Call, fields};
use crate::render::management::respond;

pub(in super::super) async fn get(call: Call) -> Answer {
    let email = call.text("email").unwrap_or_default();
    let found = users::by_email(&call.core, &call.ctx, &email).await?;
    let items = found.into_iter().map(|user| Value::Object(fields::select(&call.query, user))).collect();
    Ok(respond(StatusCode::OK, &Value::Array(items)))
}
