//! `POST /oauth/introspect` (RFC 7662), for guards and for clients that hold `curfew:guard` for an API.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use curfew_core::introspect::{Caller, Unanswered, introspect};
use curfew_model::Ctx;
use http::{HeaderMap, StatusCode};

use super::super::{endings, form};
use super::challenge;
use crate::App;
use crate::render::{json, oauth};

/// Says whether a token is active.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut values = match form::read(&headers, body) {
        Ok(values) => values,
        Err(unread) => return oauth::unread(unread.status, &unread.text),
    };
    let Some(token) = values.remove("token").filter(|token| !token.is_empty()) else {
        return oauth::unread(StatusCode::BAD_REQUEST, "Missing required parameter: token");
    };
    let caller = match form::bearer(&headers) {
        Some(own) => Caller::Bearer(own.to_owned()),
        None => Caller::Client(form::client_credentials(&headers, &values)),
    };
    match introspect(&app.core, &ctx, &caller, &token).await {
        Ok(Ok(answer)) => json(StatusCode::OK, answer.to_string()),
        Ok(Err(Unanswered::Bearer(denial))) => endings::denied(Some(denial)),
        Ok(Err(Unanswered::Client(refusal))) => {
            let mut response = oauth::refusal(&refusal);
            challenge(&headers, &mut response);
            response
        }
        Err(failure) => oauth::failure(&failure),
    }
}
