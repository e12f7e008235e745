//! `GET|POST /authorize`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::authorize::{self, Outcome};
use curfew_model::Ctx;
use http::{HeaderMap, StatusCode};

use super::form;
use crate::App;
use crate::cookies;
use crate::pages::ErrorKind;
use crate::render::page::Look;

/// Parameters in the query.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&app, &ctx, &headers, form::urlencoded(query.as_deref().unwrap_or(""))).await
}

/// Parameters in a form (OIDC Core §3.1.2.1).
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&app, &ctx, &headers, form::body(&headers, &body)).await
}

async fn answer(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    parameters: Result<std::collections::HashMap<String, String>, form::BadForm>,
) -> Response {
    let parameters = match parameters {
        Ok(parameters) => parameters,
        Err(form::BadForm(text)) => {
            let look = Look::new(ctx, None, headers, None);
            return look.error(ctx, StatusCode::BAD_REQUEST, ErrorKind::Request, "invalid_request", &text);
        }
    };
    let locales = parameters.get("ui_locales").map(String::as_str);
    let outcome = authorize::begin(&app.core, ctx, &parameters, cookies::session(headers, ctx)).await;
    // Only a page that people read needs the tenant's languages and name; a redirect is not kept waiting for them.
    let config = match &outcome {
        Ok(Outcome::Page(_)) => app.core.tenant(ctx.tenant).await.ok(),
        _ => None,
    };
    let look = Look::new(ctx, config.as_deref(), headers, locales);
    match outcome {
        Ok(outcome) => look.outcome(ctx, headers, outcome, None),
        Err(failure) => look.failure(ctx, &failure),
    }
}
