//! Auth0's `/dbconnections/signup` and `/dbconnections/change_password`, for applications with pages of their own.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use curfew_core::TenantConfig;
use curfew_core::users::{self, Creation, NewUser, Registered, Registration};
use curfew_model::config::{Client, Connection};
use curfew_model::{ClientId, Ctx, LogCode, Secret};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::form;
use super::oauth::allow_origin;
use crate::App;
use crate::render::{json as json_response, oauth};

type Document = Map<String, Value>;

/// Reads either kind of body; nested members come as JSON only.
fn document(headers: &HeaderMap, body: &[u8]) -> Option<Document> {
    if form::is_json(headers) {
        return match serde_json::from_slice(body).ok()? {
            Value::Object(doc) => Some(doc),
            _ => None,
        };
    }
    let values = form::body(headers, body).ok()?;
    Some(values.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

fn bad_request(code: &str, description: &str) -> Response {
    let body =
        json!({"name": "BadRequestError", "code": code, "description": description, "statusCode": 400});
    json_response(StatusCode::BAD_REQUEST, body.to_string())
}

fn text<'a>(doc: &'a Document, name: &str) -> &'a str {
    doc.get(name).and_then(Value::as_str).unwrap_or("")
}

/// What a request is about.
struct Place {
    config: Arc<TenantConfig>,
    client: Arc<Client>,
    connection: Connection,
}

async fn connection(app: &App, ctx: &Ctx, doc: &Document) -> Result<Option<Place>, Response> {
    let id = ClientId(text(doc, "client_id").to_owned());
    let (config, client) =
        app.core.configuration(ctx.tenant, &id).await.map_err(|failure| oauth::failure(&failure))?;
    let Some(client) = client else { return Ok(None) };
    let found = config.connection_by_name(text(doc, "connection"));
    let found = found.filter(|c| c.strategy == "auth0" && c.epoch_for(&client.id).is_some());
    Ok(found.cloned().map(|connection| Place { config, client, connection }))
}

/// `POST /dbconnections/signup`.
pub(super) async fn signup(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(doc) = document(&headers, &body) else { return bad_request("invalid_request", "Invalid body") };
    let credentials = form::client_credentials(
        &headers,
        &std::iter::once(("client_id".to_owned(), text(&doc, "client_id").to_owned())).collect(),
    );
    let mut response = match connection(&app, &ctx, &doc).await {
        Ok(Some(place)) if !place.connection.doc.options.disable_signup => {
            create(&app, &ctx, doc, place).await
        }
        Ok(Some(_)) => bad_request("public_signup", "Public signup is disabled"),
        Ok(None) => bad_request("invalid_request", "The connection is not available for this client"),
        Err(response) => response,
    };
    allow_origin(&app, &ctx, &headers, &credentials, &mut response).await;
    response
}

/// What is said when an Action said no and nothing else, or failed.
const ACTION_REFUSED: &str = "Something went wrong, please try again later";

/// As Auth0 shapes it, but that the Action's reason stays in the log: it may be none of the caller's business.
fn extensibility_error(user_message: Option<&str>) -> Response {
    let message = user_message.unwrap_or(ACTION_REFUSED);
    let body = json!({
        "name": "InternalExtensibilityError",
        "code": "extensibility_error",
        "message": message,
        "friendly_message": message,
        "description": message,
        "fromSandbox": true,
        "statusCode": 400,
    });
    json_response(StatusCode::BAD_REQUEST, body.to_string())
}

async fn create(app: &App, ctx: &Ctx, doc: Document, place: Place) -> Response {
    let password = text(&doc, "password");
    if password.is_empty() {
        return bad_request("invalid_request", "Missing required parameter: password");
    }
    let Place { config, client, connection } = place;
    let says_exists = config.settings.flags.enable_public_signup_user_exists_error;
    let new = NewUser {
        connection,
        doc: users::signup_document(&doc),
        password: Some(Secret::new(password.to_owned())),
        identity_id: None,
        blocked: None,
    };
    let registration = Registration { config, new, client: Some(client), body: doc, transaction: None };
    let registered = match users::register(&app.core, ctx, registration).await {
        Ok(registered) => registered,
        Err(failure) => return oauth::failure(&failure),
    };
    match registered {
        Registered::Decided(Creation::Created(row)) => {
            let stored: Document = serde_json::from_str(&row.doc).unwrap_or_default();
            let mut body = Document::new();
            body.insert("_id".to_owned(), json!(row.user_id.as_str().trim_start_matches("auth0|")));
            for name in [
                "email",
                "email_verified",
                "username",
                "phone_number",
                "given_name",
                "family_name",
                "name",
                "nickname",
                "picture",
                "user_metadata",
            ] {
                if let Some(value) = stored.get(name) {
                    body.insert(name.to_owned(), value.clone());
                }
            }
            json_response(StatusCode::OK, Value::Object(body).to_string())
        }
        Registered::Decided(Creation::WeakPassword(rules)) => weak_password(&rules),
        Registered::Decided(Creation::Exists) if says_exists => {
            bad_request("user_exists", "The user already exists.")
        }
        Registered::Decided(Creation::Exists | Creation::Invalid(_)) => {
            bad_request("invalid_signup", "Invalid sign up")
        }
        Registered::Refused { user_message } => extensibility_error(user_message.as_deref()),
    }
}

fn weak_password(rules: &[curfew_core::passwords::PolicyRule]) -> Response {
    let listed: Vec<Value> = rules
        .iter()
        .map(|rule| json!({"code": rule.code, "message": rule.message, "verified": rule.verified}))
        .collect();
    let policy: Vec<String> = rules.iter().map(|rule| format!("* {}", rule.message)).collect();
    let body = json!({
        "name": "PasswordStrengthError",
        "message": "Password is too weak",
        "code": "invalid_password",
        "description": {"rules": listed, "verified": false},
        "policy": policy.join("\n"),
        "statusCode": 400,
    });
    json_response(StatusCode::BAD_REQUEST, body.to_string())
}

/// `POST /dbconnections/change_password`. The answer is the same for every address. Mail is not sent yet by this
/// server: the request is in the tenant's log, and an administrator sets the password.
pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(doc) = document(&headers, &body) else { return bad_request("invalid_request", "Invalid body") };
    if text(&doc, "email").is_empty() {
        return bad_request("invalid_request", "Missing required parameter: email");
    }
    let credentials = form::client_credentials(
        &headers,
        &std::iter::once(("client_id".to_owned(), text(&doc, "client_id").to_owned())).collect(),
    );
    let mut response = match connection(&app, &ctx, &doc).await {
        Ok(Some(_)) => {
            let client_id = text(&doc, "client_id");
            log(&app, &ctx, LogCode::PasswordChangeRequest, None, client_id, text(&doc, "email"));
            let mut response =
                Response::new(Body::from("We've just sent you an email to reset your password."));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            response
        }
        Ok(None) => bad_request("invalid_request", "The connection is not available for this client"),
        Err(response) => response,
    };
    allow_origin(&app, &ctx, &headers, &credentials, &mut response).await;
    response
}

fn log(app: &App, ctx: &Ctx, code: LogCode, user_id: Option<&str>, client_id: &str, description: &str) {
    let entry = curfew_core::logs::LogEntry {
        code,
        user_id,
        client_id: Some(client_id),
        description,
        details: json!({}),
    };
    app.core.logs.send(ctx, &entry);
}
