//! `POST /oauth/revoke` (RFC 7009).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use curfew_core::revoke;
use curfew_model::{Ctx, Decision};
use http::HeaderMap;

use super::super::form;
use super::{allow_origin, challenge};
use crate::App;
use crate::render::oauth;

/// Revokes a refresh token; 200 with an empty body.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let values = match form::read(&headers, body) {
        Ok(values) => values,
        Err(unread) => return oauth::unread(unread.status, &unread.text),
    };
    let credentials = form::client_credentials(&headers, &values);
    let parameters = form::parameters(values);
    let mut response = match revoke::revoke(&app.core, &ctx, &credentials, &parameters).await {
        Ok(Decision::Granted(())) => Response::new(Body::empty()),
        Ok(Decision::Refused(refusal)) => oauth::refusal(&refusal),
        Err(failure) => oauth::failure(&failure),
    };
    challenge(&headers, &mut response);
    allow_origin(&app, &ctx, &headers, &credentials, &mut response).await;
    response
}
