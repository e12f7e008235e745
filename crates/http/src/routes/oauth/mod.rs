//! The OAuth endpoints that clients call directly, and their CORS rules.

pub(super) mod introspect;
pub(super) mod revoke;
pub(super) mod token;

use axum::body::Body;
use axum::response::Response;
use curfew_core::clients::{ClientCredentials, allows_origin};
use curfew_model::{ClientId, Ctx, LogCode};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, AUTHORIZATION, ORIGIN, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::App;

/// Answers a preflight. Which client asks is not known yet: the answer to the request itself is what is guarded, and
/// no cookie ever counts here.
pub(super) async fn preflight(headers: HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let own = response.headers_mut();
    if let Some(origin) = headers.get(ORIGIN) {
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    own.insert(VARY, HeaderValue::from_static("Origin"));
    own.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    own.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Content-Type, Authorization, Auth0-Client, DPoP"),
    );
    own.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// RFC 6749 §5.2: a client that tried Basic is told so when it is refused.
pub(super) fn challenge(headers: &HeaderMap, response: &mut Response) {
    let tried = headers.get(AUTHORIZATION).is_some_and(|value| {
        value.as_bytes().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "))
    });
    if tried && response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth\""));
    }
}

/// Lets the origin read the answer when it is one of the client's; logs `fco` when it is not.
pub(super) async fn allow_origin(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    credentials: &ClientCredentials,
    response: &mut Response,
) {
    let Some(origin) = headers.get(ORIGIN) else { return };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    let Some(text) = origin.to_str().ok() else { return };
    let id = credentials.client_id.clone().unwrap_or_default();
    let Ok((_, Some(client))) = app.core.configuration(ctx.tenant, &ClientId(id)).await else { return };
    if !allows_origin(&client, text) {
        let entry = curfew_core::logs::LogEntry {
            code: LogCode::CorsRejected,
            user_id: None,
            client_id: Some(client.id.as_str()),
            description: "Origin not allowed",
            details: serde_json::json!({"origin": text}),
        };
        app.core.logs.send(ctx, &entry);
        return;
    }
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response.headers_mut().insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "DPoP-Nonce, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset",
        ),
    );
}
