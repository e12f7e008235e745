//! The Management API's dress for errors: `{"statusCode", "error", "message", "errorCode"}`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use curfew_core::management::Refused;
use curfew_model::Failure;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::{failure_status, set_retry_after};

/// What a Management API operation answers instead of its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status, also in the body as `statusCode`.
    pub status: StatusCode,
    /// What the caller is told.
    pub message: String,
    /// The machine's word for it, where Auth0 has one.
    pub error_code: Option<&'static str>,
    /// Whether the body repeats the message under `attributes`, as refused tokens do.
    pub attributes: bool,
    /// For `Retry-After`.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem without `errorCode`.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            error_code: None,
            attributes: false,
            retry_after_seconds: None,
        }
    }

    /// Names the `errorCode`.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.error_code = Some(code);
        self
    }

    /// 400 `invalid_body`: the body does not fit the operation.
    pub fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message).code("invalid_body")
    }

    /// 400 `invalid_query_string`: a query parameter does not fit.
    pub fn query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message).code("invalid_query_string")
    }

    /// 400 `invalid_uri`: a part of the path does not fit.
    pub fn uri(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message).code("invalid_uri")
    }

    /// 401: the token is not one for this API.
    pub fn token(message: impl Into<String>) -> Self {
        Self { attributes: true, ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// 401: there is no token.
    pub fn missing_authentication() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Missing authentication")
    }

    /// 400 `Bearer`: what stands in the header is not a bearer token.
    pub fn bad_authorization_header() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad HTTP authentication header format").code("Bearer")
    }

    /// 403: the token has none of these scopes.
    pub fn insufficient_scope(any_of: &[&str]) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("Insufficient scope, expected any of: {}", any_of.join(",")))
            .code("insufficient_scope")
    }

    /// 404 for a path or method that is no operation.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 413: the body is longer than `bytes_max`.
    pub fn too_large(bytes_max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Payload content length greater than maximum allowed: {bytes_max}"),
        )
    }

    /// 408: the body did not arrive in time.
    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "The request payload took too long to arrive")
    }

    fn body_json(&self) -> Value {
        let mut body = json!({
            "statusCode": self.status.as_u16(),
            "error": self.status.canonical_reason().unwrap_or("Error"),
            "message": self.message,
        });
        if let Some(code) = self.error_code {
            body["errorCode"] = json!(code);
        }
        if self.attributes {
            body["attributes"] = json!({ "error": self.message });
        }
        body
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Inexistent(entity) => {
                let problem = Self::new(StatusCode::NOT_FOUND, entity.message());
                match entity.error_code() {
                    Some(code) => problem.code(code),
                    None => problem,
                }
            }
            Refused::Exists { message, code } => {
                Self { error_code: code, ..Self::new(StatusCode::CONFLICT, message) }
            }
            Refused::Unmet { message } => Self::new(StatusCode::PRECONDITION_FAILED, message),
            Refused::Invalid { message, code } => Self::new(StatusCode::BAD_REQUEST, message).code(code),
            Refused::Forbidden { message, code } => Self::new(StatusCode::FORBIDDEN, message).code(code),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let (status, retry_after_seconds) = failure_status(&failure);
        let problem = Self::new(status, status.canonical_reason().unwrap_or("Error"));
        let problem = match status {
            StatusCode::TOO_MANY_REQUESTS => problem.code("too_many_requests"),
            _ => problem,
        };
        Self { retry_after_seconds, ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = respond(self.status, &self.body_json());
        set_retry_after(&mut response, self.retry_after_seconds);
        response
    }
}

/// A JSON answer of the Management API; never cached.
pub fn respond(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 204 without a body.
pub fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use curfew_core::management::Entity;

    use super::*;

    #[test]
    fn every_dress_has_status_reason_message_and_code() {
        let cases = [
            (
                Problem::body("Payload validation error: 'Missing required property: name'."),
                json!({"statusCode": 400, "error": "Bad Request",
                    "message": "Payload validation error: 'Missing required property: name'.", "errorCode": "invalid_body"}),
            ),
            (
                Problem::token("Invalid token"),
                json!({"statusCode": 401, "error": "Unauthorized", "message": "Invalid token",
                    "attributes": {"error": "Invalid token"}}),
            ),
            (
                Problem::insufficient_scope(&["read:users", "read:current_user"]),
                json!({"statusCode": 403, "error": "Forbidden", "errorCode": "insufficient_scope",
                    "message": "Insufficient scope, expected any of: read:users,read:current_user"}),
            ),
            (
                Problem::from(Refused::Inexistent(Entity::User)),
                json!({"statusCode": 404, "error": "Not Found", "message": "The user does not exist.",
                    "errorCode": "inexistent_user"}),
            ),
            (
                Problem::from(Refused::Inexistent(Entity::Client)),
                json!({"statusCode": 404, "error": "Not Found", "message": "The client does not exist",
                    "errorCode": "inexistent_client"}),
            ),
            (
                Problem::too_large(10),
                json!({"statusCode": 413, "error": "Payload Too Large",
                    "message": "Payload content length greater than maximum allowed: 10"}),
            ),
            (
                Problem::from(Failure::Busy { what: "password hashing", retry_after_seconds: 2 }),
                json!({"statusCode": 429, "error": "Too Many Requests", "message": "Too Many Requests",
                    "errorCode": "too_many_requests"}),
            ),
            (
                Problem::from(Failure::Internal("secret detail".into())),
                json!({"statusCode": 500, "error": "Internal Server Error", "message": "Internal Server Error"}),
            ),
        ];
        for (problem, expected) in cases {
            assert_eq!(problem.body_json(), expected);
        }
    }
}
