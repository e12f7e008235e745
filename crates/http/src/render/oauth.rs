//! The token endpoint's dress (RFC 6749 §5.2), with Auth0's statuses.

use axum::response::Response;
use curfew_model::{Failure, OAuthCode, Refusal};
use http::StatusCode;
use serde_json::json;

use super::{failure_status, json as json_response, set_retry_after};

/// Auth0 answers most refusals with 403; SDKs read the code and the description.
fn status(refusal: &Refusal) -> StatusCode {
    match refusal.code {
        OAuthCode::InvalidRequest
        | OAuthCode::UnsupportedTokenType
        | OAuthCode::InvalidTarget
        | OAuthCode::InvalidAuthorizationDetails => StatusCode::BAD_REQUEST,
        OAuthCode::InvalidClient | OAuthCode::InvalidToken => StatusCode::UNAUTHORIZED,
        OAuthCode::AccessDenied if refusal.description == "Unauthorized" => StatusCode::UNAUTHORIZED,
        OAuthCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        OAuthCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        OAuthCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}

/// A refusal.
pub fn refusal(refusal: &Refusal) -> Response {
    let mut body = json!({"error": refusal.code.as_str(), "error_description": refusal.description});
    if refusal.code == OAuthCode::UnauthorizedClient {
        body["error_uri"] = json!("https://auth0.com/docs/clients/client-grant-types");
    }
    json_response(status(refusal), body.to_string())
}

/// A body that could not be read. RFC 6749 §5.2 knows `invalid_request` for it, HTTP the status.
pub fn unread(status: StatusCode, text: &str) -> Response {
    let code = OAuthCode::InvalidRequest.as_str();
    json_response(status, json!({"error": code, "error_description": text}).to_string())
}

/// A failure.
pub fn failure(failure: &Failure) -> Response {
    let (status, retry_after) = failure_status(failure);
    let (code, text) = match status {
        StatusCode::TOO_MANY_REQUESTS => ("too_many_requests", "Too many logins at once. Try again shortly."),
        StatusCode::SERVICE_UNAVAILABLE => {
            ("temporarily_unavailable", "The server is busy. Try again shortly.")
        }
        _ => ("server_error", "Internal server error"),
    };
    let mut response = json_response(status, json!({"error": code, "error_description": text}).to_string());
    set_retry_after(&mut response, retry_after);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_a_refusal() {
        for code in OAuthCode::ALL {
            let status = refusal(&Refusal::new(*code, "text")).status();
            assert!(status.is_client_error() || status.is_server_error(), "{}", code.as_str());
        }
        assert_eq!(refusal(&Refusal::new(OAuthCode::AccessDenied, "Unauthorized")).status(), 401);
        assert_eq!(refusal(&Refusal::new(OAuthCode::InvalidGrant, "user is blocked")).status(), 403);
    }
}
