//! Token Status Lists (draft-ietf-oauth-status-list, `docs/status-list.md`): the lists, and the list of lists. Public, as
//! the keys are: they say which of many tokens live, and not whose those are.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use curfew_core::status_lists::TTL_SECONDS;
use curfew_model::Ctx;
use http::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, PRAGMA, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::form;
use crate::App;
use crate::render::{json as json_response, oauth};

const MEDIA_TYPE: &str = "application/statuslist+jwt";

/// `GET /status-lists/{id}`: a Status List Token (§8.2).
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    // §8.4: what the list said in the past is not kept.
    if query.as_deref().is_some_and(|query| {
        form::urlencoded(query).map_or(true, |mut values| values.remove("time").is_some())
    }) {
        return refusal(
            StatusCode::NOT_IMPLEMENTED,
            "not_implemented",
            "There is no history of a status list",
        );
    }
    let accepted: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if !accepts(&accepted) {
        let text = "A status list is served as application/statuslist+jwt";
        return refusal(StatusCode::NOT_ACCEPTABLE, "not_acceptable", text);
    }
    let list = match app.core.status_list(&ctx, &id).await {
        Ok(Some(list)) => list,
        Ok(None) => return refusal(StatusCode::NOT_FOUND, "not_found", "There is no such status list"),
        Err(failure) => return public(oauth::failure(&failure)),
    };
    let etag = format!("\"{}\"", list.etag);
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = if known.flat_map(|value| value.split(',')).any(|own| is_same(own, &etag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(list.jwt.clone()))
    };
    let own = response.headers_mut();
    own.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        own.insert(ETAG, etag);
    }
    cacheable(response)
}

/// `GET /status-lists`: where all of them are (§9.3).
pub(super) async fn list(State(app): State<Arc<App>>, Extension(ctx): Extension<Ctx>) -> Response {
    match app.core.status_lists(&ctx).await {
        Ok(lists) => cacheable(json_response(StatusCode::OK, json!({"status_lists": lists}).to_string())),
        Err(failure) => public(oauth::failure(&failure)),
    }
}

/// Whether an entity tag of `If-None-Match` is this one; also as a weak one, as which a proxy may have handed it on.
fn is_same(own: &str, etag: &str) -> bool {
    let own = own.trim();
    own == "*" || own.strip_prefix("W/").unwrap_or(own) == etag
}

/// Whether the answer's media type is among those the request takes (RFC 9110 §12.5.1); without `Accept` any is.
fn accepts(values: &[&str]) -> bool {
    let mut ranges = values.iter().flat_map(|value| value.split(',')).map(str::trim).peekable();
    if ranges.peek().is_none() {
        return true;
    }
    // The most specific range that fits decides.
    let mut best: Option<(usize, bool)> = None;
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let Some(specific) = ["*/*", "application/*", MEDIA_TYPE].iter().position(|own| *own == name) else {
            continue;
        };
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
        });
        if best.is_none_or(|(known, _)| known <= specific) {
            best = Some((specific, !refused));
        }
    }
    best.is_some_and(|(_, taken)| taken)
}

fn refusal(status: StatusCode, code: &str, text: &str) -> Response {
    public(json_response(status, json!({"error": code, "error_description": text}).to_string()))
}

/// Readable from every origin (§8.1).
fn public(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag"));
    response
}

fn cacheable(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.remove(PRAGMA);
    headers.insert(VARY, HeaderValue::from_static("accept"));
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={TTL_SECONDS}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    public(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_negotiated() {
        for (values, taken) in [
            (&[][..], true),
            (&["application/statuslist+jwt"], true),
            (&["Application/StatusList+JWT;q=0.5"], true),
            (&["application/statuslist+cwt, */*;q=0.1"], true),
            (&["application/statuslist+cwt", "application/*"], true),
            (&["application/statuslist+cwt"], false),
            (&["application/json"], false),
            (&["application/jwt"], false),
            (&["*/*;q=0"], false),
            (&["application/statuslist+jwt;q=0, */*"], false),
            (&["*/*, application/statuslist+jwt; q=0.000"], false),
            (&["text/html,"], false),
            (&[";;,,q=1"], false),
        ] {
            assert_eq!(accepts(values), taken, "{values:?}");
        }
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        assert!(is_same(" \"a\"", "\"a\"") && is_same("W/\"a\"", "\"a\"") && is_same("*", "\"a\""));
        assert!(!is_same("\"b\"", "\"a\"") && !is_same("a", "\"a\""));
    }
}
