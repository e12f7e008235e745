//! `GET /session/check`: the frame of OIDC Session Management.

use axum::Extension;
use axum::response::Response;
use curfew_model::Ctx;
use http::{HeaderMap, StatusCode};

use crate::pages::CheckSessionPage;
use crate::render::page::Look;

/// The same for everybody; no cookie is read here.
pub(super) async fn get(Extension(ctx): Extension<Ctx>) -> Response {
    Look::new(&ctx, None, &HeaderMap::new(), None).page(StatusCode::OK, &CheckSessionPage)
}
