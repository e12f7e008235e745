//! Every route. One file per endpoint or family of pages.

mod authorize;
mod dbconnections;
mod endings;
pub(crate) mod form;
mod guard;
mod live;
mod login;
mod logout;
pub mod management;
mod oauth;
mod session_check;
mod setup;
mod signals;
mod status_lists;
mod userinfo;
mod well_known;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use http::{HeaderValue, StatusCode};

use crate::{App, context};

/// Largest body of the protocol's endpoints and pages.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The whole surface of the server.
pub fn router(app: Arc<App>) -> Router {
    let protocol = Router::new()
        .route("/.well-known/openid-configuration", get(well_known::openid_configuration))
        .route("/.well-known/oauth-authorization-server", get(well_known::authorization_server))
        .route("/.well-known/jwks.json", get(well_known::jwks))
        .route("/.well-known/ssf-configuration", get(well_known::ssf_configuration))
        .route("/pem", get(well_known::pem))
        .route("/authorize", get(authorize::get).post(authorize::post))
        .route("/u/login", get(login::show_login).post(login::submit_login))
        .route("/u/signup", get(login::show_signup).post(login::submit_signup))
        .route("/u/consent", get(login::show_consent).post(login::submit_consent))
        .route("/continue", get(login::come_back).post(login::come_back_with_form))
        .route("/oauth/token", post(oauth::token::post).options(oauth::preflight))
        .route("/oauth/revoke", post(oauth::revoke::post).options(oauth::preflight))
        .route("/oauth/introspect", post(oauth::introspect::post))
        .route("/endings/snapshot", get(endings::snapshot))
        .route("/endings/feed", get(endings::stream))
        .route("/endings/probe", post(endings::probe))
        .route("/status-lists", get(status_lists::list))
        .route("/status-lists/{id}", get(status_lists::get))
        .route(
            "/ssf/streams",
            get(signals::read)
                .post(signals::create)
                .patch(signals::update)
                .put(signals::replace)
                .delete(signals::delete),
        )
        .route("/ssf/status", get(signals::status).post(signals::set_status))
        .route("/ssf/subjects:add", post(signals::add_subject))
        .route("/ssf/subjects:remove", post(signals::remove_subject))
        .route("/ssf/verify", post(signals::verify))
        .route("/ssf/poll/{stream_id}", post(signals::poll))
        .route("/session/check", get(session_check::get))
        .route("/session/live", get(live::open).post(live::ticket))
        // A proxy asks with the method, and some with the path, of the request it holds back.
        .route("/guard/check", any(guard::check))
        .route("/guard/check/{*path}", any(guard::check))
        .route("/userinfo", get(userinfo::get).post(userinfo::post).options(oauth::preflight))
        .route("/v2/logout", get(logout::v2))
        .route("/oidc/logout", get(logout::get).post(logout::post))
        .route("/u/logout", post(logout::confirm))
        .route("/dbconnections/signup", post(dbconnections::signup).options(oauth::preflight))
        .route(
            "/dbconnections/change_password",
            post(dbconnections::change_password).options(oauth::preflight),
        )
        .route("/setup", get(setup::get).post(setup::post))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&app), context::provide))
        .with_state(Arc::clone(&app));
    let api = management::router(&app.core).layer(from_fn_with_state(Arc::clone(&app), context::provide));
    Router::new()
        .route("/health", get(|| async { "ok\n" }))
        .merge(protocol)
        .merge(api)
        .fallback(not_found)
        .layer(from_fn(common_headers))
}

async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "Not Found\n")
}

/// What every answer carries.
async fn common_headers(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .entry(http::header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    response
}
