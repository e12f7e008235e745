//! The one place that turns refusals and failures into bytes, in the dress of each surface.

pub mod management;
pub mod oauth;
pub mod page;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use curfew_model::Failure;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::server::Endless;

/// A JSON answer that nobody may keep.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// An answer of server-sent events (HTML Living Standard §9.2) that goes on for as long as its client reads.
pub fn events(events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back unless it is told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.extensions_mut().insert(Endless);
    response
}

/// What a failure is outside: its status and, when waiting helps, for how long. It is logged here, once, with its
/// whole chain.
pub fn failure_status(failure: &Failure) -> (StatusCode, Option<u32>) {
    match failure {
        // Hashing is bounded so that logins cannot starve the server: the login is the one who waits.
        Failure::Busy { what: "password hashing", retry_after_seconds } => {
            (StatusCode::TOO_MANY_REQUESTS, Some(*retry_after_seconds))
        }
        Failure::Busy { retry_after_seconds, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, Some(*retry_after_seconds))
        }
        Failure::Contention => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        other => {
            let mut chain = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                chain.push_str(": ");
                chain.push_str(&cause.to_string());
                source = cause.source();
            }
            tracing::error!(failure = %chain, "request failed");
            (StatusCode::INTERNAL_SERVER_ERROR, None)
        }
    }
}

/// A failure where no surface is known yet.
pub fn failure(failure: &Failure) -> Response {
    let (status, retry_after) = failure_status(failure);
    let mut response = (status, "The server could not answer. Please try again.\n").into_response();
    set_retry_after(&mut response, retry_after);
    response
}

/// Sets `Retry-After`.
pub fn set_retry_after(response: &mut Response, seconds: Option<u32>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}
