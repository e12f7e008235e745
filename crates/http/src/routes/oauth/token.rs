//! `POST /oauth/token` (RFC 6749 §3.2). Form or JSON; JSON on every status.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use curfew_core::grants;
use curfew_model::{Ctx, Decision, Failure, OAuthCode, Refusal};
use http::{HeaderMap, StatusCode};

use super::super::form;
use super::{allow_origin, challenge};
use crate::App;
use crate::render::{json, oauth};

/// Exchanges a grant for tokens.
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
    // RFC 9449 §5: a proof asks for a bound token. Who asked for one is not handed one that anybody can use.
    let exchanged = if headers.contains_key("dpop") {
        Ok(Decision::Refused(Refusal::new(OAuthCode::InvalidRequest, "DPoP is not supported")))
    } else {
        grants::exchange(&app.core, &ctx, &credentials, &parameters).await
    };
    let mut response = match exchanged {
        Ok(Decision::Granted(tokens)) => match serde_json::to_string(&tokens) {
            Ok(body) => json(StatusCode::OK, body),
            Err(error) => oauth::failure(&Failure::Crypto(format!("writing tokens: {error}").into())),
        },
        Ok(Decision::Refused(refusal)) => oauth::refusal(&refusal),
        Err(failure) => oauth::failure(&failure),
    };
    challenge(&headers, &mut response);
    allow_origin(&app, &ctx, &headers, &credentials, &mut response).await;
    response
}
