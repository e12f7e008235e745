//! The transmitter of the Shared Signals Framework (`docs/signals.md`): management of streams, and polling. Whoever calls is
//! a receiver, by its token.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::signals::{self, Access, Denied, Document, Outcome, Poll, Polled, Receiver, Refused};
use curfew_model::Ctx;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::form;
use crate::App;
use crate::render::{json as json_response, oauth, set_retry_after};

/// A request that is not served: its answer.
type Refusal = Box<Response>;

/// `POST /ssf/streams`: makes a stream.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (receiver, body) = match manager(&app, &ctx, &headers, body).await {
        Ok(managed) => managed,
        Err(response) => return *response,
    };
    answer(signals::create(&app.core, &ctx, &receiver, body).await, |shown| {
        json_response(StatusCode::CREATED, Value::Object(shown).to_string())
    })
}

/// `GET /ssf/streams`: one stream, or all of the receiver's.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let receiver = match receiver(&app, &ctx, &headers, Access::Read).await {
        Ok(receiver) => receiver,
        Err(response) => return *response,
    };
    match stream_id(query.as_deref()) {
        Err(response) => *response,
        Ok(Some(id)) => answer(signals::read(&app.core, &ctx, &receiver, &id).await, show),
        Ok(None) => match signals::list(&app.core, &ctx, &receiver).await {
            Ok(list) => json_response(StatusCode::OK, json!(list).to_string()),
            Err(failure) => oauth::failure(&failure),
        },
    }
}

/// `PATCH /ssf/streams`: changes what is named.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match manager(&app, &ctx, &headers, body).await {
        Ok((receiver, body)) => answer(signals::update(&app.core, &ctx, &receiver, body).await, show),
        Err(response) => *response,
    }
}

/// `PUT /ssf/streams`: replaces what the receiver supplies.
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match manager(&app, &ctx, &headers, body).await {
        Ok((receiver, body)) => answer(signals::replace(&app.core, &ctx, &receiver, body).await, show),
        Err(response) => *response,
    }
}

/// `DELETE /ssf/streams`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let receiver = match receiver(&app, &ctx, &headers, Access::Manage).await {
        Ok(receiver) => receiver,
        Err(response) => return *response,
    };
    match required_stream_id(query.as_deref()) {
        Ok(id) => answer(signals::delete(&app.core, &ctx, &receiver, &id).await, |()| no_content()),
        Err(response) => *response,
    }
}

/// `GET /ssf/status`.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let receiver = match receiver(&app, &ctx, &headers, Access::Read).await {
        Ok(receiver) => receiver,
        Err(response) => return *response,
    };
    match required_stream_id(query.as_deref()) {
        Ok(id) => answer(signals::status(&app.core, &ctx, &receiver, &id).await, show),
        Err(response) => *response,
    }
}

/// `POST /ssf/status`.
pub(super) async fn set_status(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match manager(&app, &ctx, &headers, body).await {
        Ok((receiver, body)) => answer(signals::set_status(&app.core, &ctx, &receiver, body).await, show),
        Err(response) => *response,
    }
}

/// `POST /ssf/subjects:add`.
pub(super) async fn add_subject(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match manager(&app, &ctx, &headers, body).await {
        Ok((receiver, body)) => {
            answer(signals::add_subject(&app.core, &ctx, &receiver, &body).await, |()| empty(StatusCode::OK))
        }
        Err(response) => *response,
    }
}

/// `POST /ssf/subjects:remove`.
pub(super) async fn remove_subject(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match manager(&app, &ctx, &headers, body).await {
        Ok((receiver, body)) => {
            answer(signals::remove_subject(&app.core, &ctx, &receiver, &body).await, |()| no_content())
        }
        Err(response) => *response,
    }
}

/// `POST /ssf/verify`.
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match manager(&app, &ctx, &headers, body).await {
        Ok((receiver, body)) => {
            answer(signals::verify(&app.core, &ctx, &receiver, &body).await, |()| no_content())
        }
        Err(response) => *response,
    }
}

/// `POST /ssf/poll/{stream_id}` (RFC 8936). The answer waits for something to come, unless the request says otherwise.
pub(super) async fn poll(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let receiver = match receiver(&app, &ctx, &headers, Access::Read).await {
        Ok(receiver) => receiver,
        Err(response) => return *response,
    };
    let poll = match body.map_err(|error| form::unread(&error)) {
        Ok(body) => Poll::read(&body),
        Err(unread) => return oauth::unread(unread.status, &unread.text),
    };
    let id = if id.contains('\0') { String::new() } else { id };
    match poll {
        Ok(poll) => answer(signals::poll(&app.core, &ctx, &receiver, &id, &poll).await, polled),
        Err(refused) => refusal(&refused),
    }
}

fn polled(polled: Polled) -> Response {
    let sets: Map<String, Value> =
        polled.sets.into_iter().map(|(jti, token)| (jti, Value::String(token))).collect();
    let mut body = json!({ "sets": sets });
    if polled.more_available {
        body["moreAvailable"] = json!(true);
    }
    json_response(StatusCode::OK, body.to_string())
}

/// The receiver that calls, or the answer to somebody who is none.
async fn receiver(app: &App, ctx: &Ctx, headers: &HeaderMap, access: Access) -> Result<Receiver, Refusal> {
    let Some(token) = form::bearer(headers) else { return Err(Box::new(denied(None, access))) };
    match signals::authorize(&app.core, ctx, token, access).await {
        Ok(Ok(receiver)) => Ok(receiver),
        Ok(Err(denial)) => Err(Box::new(denied(Some(denial), access))),
        Err(failure) => Err(Box::new(oauth::failure(&failure))),
    }
}

/// A receiver that changes something, and what it sent: an object.
async fn manager(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Receiver, Document), Refusal> {
    let receiver = receiver(app, ctx, headers, Access::Manage).await?;
    let body = body.map_err(|error| form::unread(&error));
    let body = body.map_err(|unread| Box::new(oauth::unread(unread.status, &unread.text)))?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(document)) => Ok((receiver, document)),
        _ => Err(Box::new(bad_request("The body is no JSON object"))),
    }
}

fn stream_id(query: Option<&str>) -> Result<Option<String>, Refusal> {
    match form::urlencoded(query.unwrap_or("")) {
        Ok(mut values) => Ok(values.remove("stream_id")),
        Err(form::BadForm(text)) => Err(Box::new(bad_request(&text))),
    }
}

fn required_stream_id(query: Option<&str>) -> Result<String, Refusal> {
    stream_id(query)?.ok_or_else(|| Box::new(bad_request("stream_id is missing")))
}

fn answer<T>(outcome: Outcome<T>, granted: impl FnOnce(T) -> Response) -> Response {
    match outcome {
        Ok(Ok(value)) => granted(value),
        Ok(Err(refused)) => refusal(&refused),
        Err(failure) => oauth::failure(&failure),
    }
}

fn show(document: Document) -> Response {
    json_response(StatusCode::OK, Value::Object(document).to_string())
}

fn no_content() -> Response {
    empty(StatusCode::NO_CONTENT)
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn bad_request(text: &str) -> Response {
    oauth::unread(StatusCode::BAD_REQUEST, text)
}

/// The statuses of SSF §8.1.
fn refusal(refused: &Refused) -> Response {
    let (status, code, text, wait) = match refused {
        Refused::Invalid(text) => (StatusCode::BAD_REQUEST, "invalid_request", text.as_str(), None),
        Refused::Absent(text) => (StatusCode::NOT_FOUND, "not_found", *text, None),
        Refused::Full(text) => (StatusCode::CONFLICT, "too_many_streams", text.as_str(), None),
        Refused::TooSoon(seconds) => {
            let text = "The stream was verified a moment ago";
            (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", text, u32::try_from(*seconds).ok())
        }
    };
    let mut response = json_response(status, json!({"error": code, "error_description": text}).to_string());
    set_retry_after(&mut response, wait);
    response
}

/// RFC 6750 §3.1.
fn denied(denial: Option<Denied>, access: Access) -> Response {
    let (status, challenge, code, text) = match (denial, access) {
        (None, _) => (StatusCode::UNAUTHORIZED, "Bearer", "invalid_request", "An access token is missing"),
        (Some(Denied::Token), _) => (
            StatusCode::UNAUTHORIZED,
            "Bearer error=\"invalid_token\"",
            "invalid_token",
            "The access token is not valid, has expired or has ended",
        ),
        (Some(Denied::Scope), Access::Read) => (
            StatusCode::FORBIDDEN,
            "Bearer error=\"insufficient_scope\", scope=\"ssf.read\"",
            "insufficient_scope",
            "A client's own access token with the scope ssf.read or ssf.manage is needed",
        ),
        (Some(Denied::Scope), Access::Manage) => (
            StatusCode::FORBIDDEN,
            "Bearer error=\"insufficient_scope\", scope=\"ssf.manage\"",
            "insufficient_scope",
            "A client's own access token with the scope ssf.manage is needed",
        ),
    };
    let mut response = json_response(status, json!({"error": code, "error_description": text}).to_string());
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}
