//! The browser's live line: `POST /session/live` for a ticket, `GET /session/live` for the line itself.
//!
//! No cookie counts here. Both answer to the web origins of the ID token's client alone.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::feed::live::{self, Line, News, NoLine, TICKET_SECONDS};
use curfew_model::Ctx;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::form;
use crate::App;
use crate::render::{events as event_stream, json as json_response, oauth, set_retry_after};

/// Trades an ID token for a ticket.
pub(super) async fn ticket(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let mut values = match form::read(&headers, body) {
        Ok(values) => values,
        Err(unread) => return oauth::unread(unread.status, &unread.text),
    };
    let (Some(origin), Some(id_token)) = (origin(&headers), values.remove("id_token")) else {
        return oauth::unread(StatusCode::BAD_REQUEST, "An Origin header and id_token are needed");
    };
    match live::ticket(&app.core, &ctx, &id_token, origin).await {
        Ok(Some(ticket)) => {
            let body = json!({"ticket": ticket, "expires_in": TICKET_SECONDS});
            for_origin(json_response(StatusCode::OK, body.to_string()), &headers)
        }
        // Also when the session is over, which the application finds out as it always did.
        Ok(None) => {
            let body = json!({"error": "login_required", "error_description": "There is no such session"});
            for_origin(json_response(StatusCode::FORBIDDEN, body.to_string()), &headers)
        }
        Err(failure) => oauth::failure(&failure),
    }
}

/// Opens the line.
pub(super) async fn open(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let ticket = query.as_deref().and_then(|query| form::urlencoded(query).ok()?.remove("ticket"));
    let (Some(origin), Some(ticket)) = (origin(&headers), ticket) else {
        return oauth::unread(StatusCode::BAD_REQUEST, "An Origin header and ticket are needed");
    };
    match live::line(&app.core, &ctx, &ticket, origin).await {
        Ok(Ok(line)) => for_origin(events(app, ctx, line), &headers),
        Ok(Err(NoLine::Ticket)) => {
            let body = json!({"error": "invalid_request", "error_description": "The ticket is not valid"});
            json_response(StatusCode::FORBIDDEN, body.to_string())
        }
        Ok(Err(NoLine::Full)) => {
            let body = json!({"error": "temporarily_unavailable", "error_description": "Too many lines"});
            let mut response = json_response(StatusCode::SERVICE_UNAVAILABLE, body.to_string());
            set_retry_after(&mut response, Some(30));
            response
        }
        Err(failure) => oauth::failure(&failure),
    }
}

fn events(app: Arc<App>, ctx: Ctx, line: Line) -> Response {
    let events = futures_util::stream::unfold((app, ctx, line), async |(app, ctx, mut line)| {
        let text = match line.next(&app.core, &ctx).await? {
            News::Alive => "event: alive\ndata: {}\n\n".to_owned(),
            News::Silence => ": \n\n".to_owned(),
            News::Ended(told) => {
                let data = match told {
                    Some((cause, at)) => json!({"cause": cause.as_str(), "at": at.iso()}),
                    None => json!({}),
                };
                format!("event: ended\ndata: {data}\n\n")
            }
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), (app, ctx, line)))
    });
    event_stream(events)
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(ORIGIN)?.to_str().ok().filter(|origin| *origin != "null")
}

/// Lets the origin read the answer: which one it is was checked, or the answer says nothing.
fn for_origin(mut response: Response, headers: &HeaderMap) -> Response {
    if let Some(origin) = headers.get(ORIGIN) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    response
}
