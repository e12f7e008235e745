//! `GET|POST /userinfo` (OIDC Core §5.3); the token in the header, the form or the query (RFC 6750 §2).

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::userinfo::{self, Denied};
use curfew_model::Ctx;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::form;
use crate::App;
use crate::render::{json, oauth};

/// The token in header or query.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&app, &ctx, &headers, query.as_deref(), &[]).await
}

/// The token in header, form or query.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&app, &ctx, &headers, query.as_deref(), &body).await
}

async fn answer(app: &App, ctx: &Ctx, headers: &HeaderMap, query: Option<&str>, body: &[u8]) -> Response {
    let of = |text: &str| form::urlencoded(text).ok().and_then(|mut values| values.remove("access_token"));
    let sent = [
        form::bearer(headers).map(str::to_owned),
        form::body(headers, body).ok().and_then(|mut values| values.remove("access_token")),
        query.and_then(of),
    ];
    let mut tokens = sent.into_iter().flatten();
    let mut response = match (tokens.next(), tokens.next()) {
        // RFC 6750 §2: one method only.
        (Some(_), Some(_)) => {
            denied(StatusCode::BAD_REQUEST, "Bearer error=\"invalid_request\"", "Send the token once")
        }
        (None, _) => denied(StatusCode::UNAUTHORIZED, "Bearer", "Unauthorized"),
        (Some(token), None) => match userinfo::claims(&app.core, ctx, &token).await {
            Ok(Ok(claims)) => json(StatusCode::OK, claims.to_string()),
            Ok(Err(Denied::Token(_))) => {
                denied(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"", "Unauthorized")
            }
            Ok(Err(Denied::Scope)) => denied(
                StatusCode::FORBIDDEN,
                "Bearer error=\"insufficient_scope\", scope=\"openid\"",
                "Insufficient scope",
            ),
            Err(failure) => oauth::failure(&failure),
        },
    };
    // Only the bearer of the token reads the answer; no cookie counts here.
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn denied(status: StatusCode, challenge: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(axum::body::Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
