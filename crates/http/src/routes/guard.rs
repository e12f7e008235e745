//! `/guard/check`: a guard for reverse proxies that hold a request back and ask whether it may pass (nginx
//! `auth_request`, Caddy `forward_auth`, Traefik `forwardAuth`, Envoy `ext_authz`).
//!
//! The proxy names the API by `audience`, and the scopes that are needed by `scope`, in the query of the address it is
//! configured with, or in `X-Curfew-Audience` and `X-Curfew-Scope`, which it must overwrite. The request's own
//! `Authorization` header is what is judged. Whoever asks learns nothing but about the token they hold.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use curfew_core::access_tokens::LiveToken;
use curfew_core::introspect;
use curfew_core::issue::has_scope;
use curfew_model::Ctx;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::form;
use crate::App;
use crate::render::oauth;

/// 200 with who asks, 401 or 403 with a challenge.
pub(super) async fn check(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut values = match form::urlencoded(query.as_deref().unwrap_or("")) {
        Ok(values) => values,
        Err(form::BadForm(text)) => return oauth::unread(StatusCode::BAD_REQUEST, &text),
    };
    let mut setting = |name: &str, header: &str| {
        let sent = headers.get(header).and_then(|value| value.to_str().ok()).map(str::to_owned);
        values.remove(name).or(sent).filter(|value| !value.is_empty())
    };
    let Some(audience) = setting("audience", "x-curfew-audience") else {
        return oauth::unread(
            StatusCode::BAD_REQUEST,
            "The proxy did not say which API it protects: audience",
        );
    };
    let scope = setting("scope", "x-curfew-scope").unwrap_or_default();
    let Some(token) = form::bearer(&headers) else {
        return refused(StatusCode::UNAUTHORIZED, "Bearer".to_owned());
    };
    let live = match introspect::check_for(&app.core, &ctx, &audience, token).await {
        Ok(Ok(live)) => live,
        Ok(Err(_)) => {
            let challenge = "Bearer error=\"invalid_token\", \
                error_description=\"The access token is not valid, has expired or has ended\"";
            return refused(StatusCode::UNAUTHORIZED, challenge.to_owned());
        }
        Err(failure) => return oauth::failure(&failure),
    };
    let missing =
        scope.split(' ').filter(|value| !value.is_empty()).any(|value| !has_scope(&live.claims.scope, value));
    if missing {
        let shown: String =
            scope.chars().filter(|c| c.is_ascii_graphic() && *c != '"' || *c == ' ').collect();
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{shown}\"");
        return refused(StatusCode::FORBIDDEN, challenge);
    }
    allowed(&live)
}

/// Who asks, for the proxy to hand on.
fn allowed(live: &LiveToken) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let sid = live.claims.sid.map(|sid| sid.to_string());
    for (name, value) in [
        ("x-auth-subject", Some(live.claims.sub.as_str())),
        ("x-auth-client", Some(live.claims.client_id.as_str())),
        ("x-auth-scope", Some(live.claims.scope.as_str())),
        ("x-auth-session", sid.as_deref()),
    ] {
        // A subject that no header can carry is left out rather than changed.
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    response
}

fn refused(status: StatusCode, challenge: String) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Made of graphic ASCII above.
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}
