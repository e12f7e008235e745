//! The Management API v2.
//!
//! Invariant: [`OPERATIONS`] is the only way to a route. The router is built from it, the authorization tests go
//! through it, and each entry has its contract in `operations.json`: an operation that is not in the table does not
//! exist, and none exists without scopes.
//!
//! Steps of every request, in this order: 1 bearer token, 2 token alive, 3 scope, 4 path, query and body against the
//! contract, 5 the operation.

mod actions;
mod client_grants;
mod clients;
mod connections;
mod deliveries;
mod endings;
mod event_streams;
mod fields;
mod grants;
mod keys;
mod paging;
mod refresh_tokens;
mod resource_servers;
mod sessions;
mod tenants;
mod users;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::RawPathParams;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, any};
use axum::{Extension, Router};
use curfew_core::Core;
use curfew_core::access_tokens::{Rejection, authorize_management};
use curfew_core::logs::LogEntry;
use curfew_core::management::{Caller, Document, Write};
use curfew_model::{ClientId, Ctx, Failure, LogCode, UserId};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::render::management::Problem;

/// Longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Under which path the API lives.
pub const PREFIX: &str = "/api/v2";

/// What an operation answers.
type Answer = Result<Response, Problem>;

/// One operation.
pub struct Operation {
    /// How it is called over HTTP.
    pub method: Method,
    /// Below [`PREFIX`], parameters in braces: `/users/{id}`.
    pub path: &'static str,
    /// The token needs one of these.
    pub scopes: &'static [&'static str],
    /// What it is called in the log: `Create a client`.
    pub summary: &'static str,
    /// What a success answers.
    pub status: StatusCode,
    handler: fn(Call) -> BoxFuture<'static, Answer>,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Operation {
    /// `GET /users/{id}`: under this name the contract has it.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path for the router: parameters are named by their place, because operations name them differently.
    pub fn route(&self) -> String {
        let mut count = 0;
        let segments = self.path.split('/').map(|segment| {
            if segment.starts_with('{') {
                count += 1;
                format!("{{p{count}}}")
            } else {
                segment.to_owned()
            }
        });
        format!("{PREFIX}{}", segments.collect::<Vec<_>>().join("/"))
    }
}

/// A request that may be served.
struct Call {
    core: Arc<Core>,
    ctx: Ctx,
    caller: Caller,
    operation: &'static Operation,
    path: String,
    params: Vec<String>,
    query: Map<String, Value>,
    body: Value,
}

impl Call {
    /// The path's parameters in order.
    fn param(&self, index: usize) -> String {
        self.params.get(index).cloned().unwrap_or_default()
    }

    /// What is written down of this request.
    fn write(&self) -> Write {
        Write {
            caller: self.caller.clone(),
            summary: self.operation.summary,
            method: method_name(&self.operation.method),
            path: self.path.clone(),
            query: Value::Object(self.query.clone()),
            body: self.body.clone(),
            status: self.operation.status.as_u16(),
        }
    }

    /// The body, when it is an object.
    fn document(&mut self) -> Document {
        match self.body.take() {
            Value::Object(doc) => doc,
            _ => Document::new(),
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.query.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.query.get(name).and_then(Value::as_bool)
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let list = self.query.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Writes down that secrets were read.
    fn note_read(&self, code: LogCode) {
        let entry = LogEntry {
            code,
            user_id: self.caller.user_id.as_ref().map(UserId::as_str),
            client_id: self.caller.client_id.as_ref().map(ClientId::as_str),
            description: self.operation.summary,
            details: json!({ "request": { "method": "get", "path": self.path, "query": self.query } }),
        };
        self.core.logs.send(&self.ctx, &entry);
    }

    /// The answer of an operation that shows one thing, reduced to the fields that were asked for.
    fn show(&self, doc: Document) -> Answer {
        let doc = fields::select(&self.query, doc);
        Ok(crate::render::management::respond(self.operation.status, &Value::Object(doc)))
    }

    /// The answer of an operation that has nothing to show.
    fn done(&self) -> Answer {
        if self.operation.status == StatusCode::NO_CONTENT {
            return Ok(crate::render::management::no_content());
        }
        Ok(crate::render::management::respond(self.operation.status, &Value::Object(Map::new())))
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "GET",
    }
}

macro_rules! operations {
    ($($method:ident $path:literal [$($scope:literal),+] $status:ident $summary:literal => $handler:path;)*) => {
        /// Every operation.
        pub static OPERATIONS: &[Operation] = &[$(Operation {
            method: Method::$method,
            path: $path,
            scopes: &[$($scope),+],
            summary: $summary,
            status: StatusCode::$status,
            handler: |call| Box::pin($handler(call)),
        }),*];
    };
}

operations! {
    GET "/users" ["read:users", "read:user_idp_tokens"] OK "List or Search Users" => users::list::get;
    POST "/users" ["create:users"] CREATED "Create a User" => users::create::post;
    GET "/users-by-email" ["read:users"] OK "Search Users by Email" => users::by_email::get;
    GET "/users/{id}" ["read:users", "read:current_user", "read:user_idp_tokens"] OK "Get a User" => users::get::get;
    PATCH "/users/{id}" ["update:users", "update:users_app_metadata", "update:current_user_metadata"] OK
        "Update a User" => users::update::patch;
    DELETE "/users/{id}" ["delete:users", "delete:current_user"] NO_CONTENT "Delete a User" => users::delete::delete;
    GET "/users/{id}/access" ["read:endings"] OK "Get what of a user is still alive" => users::access::get;
    POST "/users/{id}/identities" ["update:users", "update:current_user_identities"] CREATED
        "Link a User Account" => users::identities::link;
    DELETE "/users/{id}/identities/{provider}/{user_id}" ["update:users", "update:current_user_identities"] OK
        "Unlink a User Identity" => users::identities::unlink;
    GET "/users/{user_id}/sessions" ["read:sessions"] OK "Get sessions for user" => users::sessions::list;
    DELETE "/users/{user_id}/sessions" ["delete:sessions"] ACCEPTED
        "Delete sessions for user" => users::sessions::delete;
    GET "/users/{user_id}/refresh-tokens" ["read:refresh_tokens"] OK
        "Get a list of refresh tokens for a user" => users::refresh_tokens::list;
    DELETE "/users/{user_id}/refresh-tokens" ["delete:refresh_tokens"] ACCEPTED
        "Delete all refresh tokens for a user" => users::refresh_tokens::delete;
    POST "/users/{id}/revoke-access" ["delete:sessions", "delete:refresh_tokens"] ACCEPTED
        "Revokes selected resources from a user" => users::revoke_access::post;

    GET "/sessions/{id}" ["read:sessions"] OK "Get session" => sessions::get;
    PATCH "/sessions/{id}" ["update:sessions"] OK "Update session" => sessions::patch;
    DELETE "/sessions/{id}" ["delete:sessions"] ACCEPTED "Delete session" => sessions::delete;
    POST "/sessions/{id}/revoke" ["delete:sessions", "delete:refresh_tokens"] ACCEPTED
        "Revokes a session" => sessions::revoke;

    GET "/refresh-tokens" ["read:refresh_tokens"] OK "Get refresh tokens" => refresh_tokens::list;
    POST "/refresh-tokens/revoke" ["delete:refresh_tokens"] ACCEPTED
        "Revoke refresh tokens" => refresh_tokens::revoke;
    GET "/refresh-tokens/{id}" ["read:refresh_tokens"] OK "Get a refresh token" => refresh_tokens::get;
    PATCH "/refresh-tokens/{id}" ["update:refresh_tokens"] OK "Update a refresh token" => refresh_tokens::patch;
    DELETE "/refresh-tokens/{id}" ["delete:refresh_tokens"] ACCEPTED
        "Delete a refresh token" => refresh_tokens::delete;

    GET "/clients" ["read:clients", "read:client_keys", "read:client_credentials", "read:client_summary"] OK
        "Get clients" => clients::list;
    POST "/clients" ["create:clients"] CREATED "Create a client" => clients::create;
    GET "/clients/{id}" ["read:clients", "read:client_keys", "read:client_credentials", "read:client_summary"] OK
        "Get a client by ID" => clients::get;
    PATCH "/clients/{id}" [
        "update:clients", "update:client_keys", "update:client_credentials", "update:client_token_vault_privileged_access"
    ] OK "Update a client" => clients::update;
    DELETE "/clients/{id}" ["delete:clients"] NO_CONTENT "Delete a client" => clients::delete;
    POST "/clients/{id}/rotate-secret" ["update:client_keys"] OK "Rotate a client secret" => clients::rotate_secret;
    GET "/clients/{id}/connections" ["read:connections", "read:clients", "read:client_summary"] OK
        "Get enabled connections for a client" => clients::connections;
    GET "/clients/{client_id}/credentials" ["read:client_credentials"] OK
        "Get client credentials" => clients::credentials::list;
    POST "/clients/{client_id}/credentials" ["create:client_credentials"] CREATED
        "Create a client credential" => clients::credentials::create;
    GET "/clients/{client_id}/credentials/{credential_id}" ["read:client_credentials"] OK
        "Get client credential details" => clients::credentials::get;
    PATCH "/clients/{client_id}/credentials/{credential_id}" ["update:client_credentials"] OK
        "Update a client credential" => clients::credentials::update;
    DELETE "/clients/{client_id}/credentials/{credential_id}" ["delete:client_credentials"] NO_CONTENT
        "Delete a client credential" => clients::credentials::delete;

    GET "/resource-servers" ["read:resource_servers"] OK "Get resource servers" => resource_servers::list;
    POST "/resource-servers" ["create:resource_servers"] CREATED
        "Create a resource server" => resource_servers::create;
    GET "/resource-servers/{id}" ["read:resource_servers"] OK "Get a resource server" => resource_servers::get;
    PATCH "/resource-servers/{id}" ["update:resource_servers"] OK
        "Update a resource server" => resource_servers::update;
    DELETE "/resource-servers/{id}" ["delete:resource_servers"] NO_CONTENT
        "Delete a resource server" => resource_servers::delete;

    GET "/client-grants" ["read:client_grants"] OK "Get client grants" => client_grants::list;
    POST "/client-grants" ["create:client_grants"] CREATED "Create client grant" => client_grants::create;
    GET "/client-grants/{id}" ["read:client_grants"] OK "Get client grant" => client_grants::get;
    PATCH "/client-grants/{id}" ["update:client_grants"] OK "Update client grant" => client_grants::update;
    DELETE "/client-grants/{id}" ["delete:client_grants"] NO_CONTENT "Delete client grant" => client_grants::delete;

    GET "/connections" ["read:connections"] OK "Get all connections" => connections::list;
    POST "/connections" ["create:connections"] CREATED "Create a connection" => connections::create;
    GET "/connections/{id}" ["read:connections"] OK "Get a connection" => connections::get;
    PATCH "/connections/{id}" ["update:connections"] OK "Update a connection" => connections::update;
    DELETE "/connections/{id}" ["delete:connections"] ACCEPTED "Delete a connection" => connections::delete;
    GET "/connections/{id}/clients" ["read:connections"] OK
        "Get enabled clients for a connection" => connections::list_clients;
    PATCH "/connections/{id}/clients" ["update:connections"] NO_CONTENT
        "Update enabled clients for a connection" => connections::update_clients;
    DELETE "/connections/{id}/users" ["delete:users"] NO_CONTENT "Delete a connection user" => connections::delete_user;

    GET "/grants" ["read:grants"] OK "Get grants" => grants::list;
    DELETE "/grants" ["delete:grants"] NO_CONTENT "Delete a grant by user_id" => grants::delete_by_user;
    DELETE "/grants/{id}" ["delete:grants"] NO_CONTENT "Delete a grant by id" => grants::delete;

    GET "/endings" ["read:endings"] OK "List endings" => endings::list;
    POST "/endings" ["create:endings"] CREATED "End access" => endings::create;
    GET "/endings/{id}" ["read:endings"] OK "Get the receipt of an ending" => endings::get;
    GET "/deliveries" ["read:endings"] OK "List deliveries of logout tokens" => deliveries::list;
    POST "/deliveries/{id}/retry" ["create:endings"] ACCEPTED "Retry a dead letter" => deliveries::retry;
    GET "/clients/{id}/logout-health" ["read:endings"] OK
        "See whether an application hears of endings" => deliveries::health;
    POST "/clients/{id}/test-logout" ["create:endings"] OK "Send a test logout token" => deliveries::test;

    GET "/event-streams" ["read:event_streams"] OK "Get event streams" => event_streams::list;
    POST "/event-streams" ["create:event_streams"] CREATED "Create an event stream" => event_streams::create;
    GET "/event-streams/{id}" ["read:event_streams"] OK "Get an event stream by ID" => event_streams::get;
    PATCH "/event-streams/{id}" ["update:event_streams"] OK "Update an event stream" => event_streams::update;
    DELETE "/event-streams/{id}" ["delete:event_streams"] NO_CONTENT "Delete an event stream" => event_streams::delete;
    POST "/event-streams/{id}/rotate-secret" ["update:event_streams"] OK
        "Rotate the signing secret of an event stream" => event_streams::rotate_secret;
    GET "/event-streams/{id}/deliveries" ["read:event_deliveries", "read:event_streams"] OK
        "Get this event stream's delivery history" => event_streams::list_deliveries;
    GET "/event-streams/{id}/deliveries/{event_id}" ["read:event_deliveries"] OK
        "Get a specific event's delivery history" => event_streams::get_delivery;
    POST "/event-streams/{id}/redeliver" ["update:event_deliveries"] ACCEPTED
        "Redeliver failed events" => event_streams::redeliver_many;
    POST "/event-streams/{id}/redeliver/{event_id}" ["update:event_deliveries"] ACCEPTED
        "Redeliver a single failed event by ID" => event_streams::redeliver;
    POST "/event-streams/{id}/test" ["update:event_streams"] ACCEPTED
        "Send a test event to an event stream" => event_streams::test;
    GET "/event-streams/{id}/stats" ["read:event_deliveries", "read:event_streams"] OK
        "See how it goes with an event stream" => event_streams::stats;

    GET "/actions/actions" ["read:actions"] OK "Get actions" => actions::list;
    POST "/actions/actions" ["create:actions"] CREATED "Create an action" => actions::create;
    GET "/actions/actions/{id}" ["read:actions"] OK "Get an action" => actions::get;
    PATCH "/actions/actions/{id}" ["update:actions"] OK "Update an action" => actions::update;
    DELETE "/actions/actions/{id}" ["delete:actions"] NO_CONTENT "Delete an action" => actions::delete;
    POST "/actions/actions/{id}/deploy" ["create:actions"] ACCEPTED "Deploy an action" => actions::deploy;
    POST "/actions/actions/{id}/test" ["create:actions"] OK "Test an Action" => actions::test;
    GET "/actions/actions/{actionId}/versions" ["read:actions"] OK "Get an action's versions" => actions::versions;
    GET "/actions/actions/{actionId}/versions/{id}" ["read:actions"] OK
        "Get a specific version of an action" => actions::get_version;
    POST "/actions/actions/{actionId}/versions/{id}/deploy" ["create:actions"] ACCEPTED
        "Roll back to a previous action version" => actions::deploy_version;
    GET "/actions/triggers" ["read:actions"] OK "Get triggers" => actions::triggers;
    GET "/actions/triggers/{triggerId}/bindings" ["read:actions"] OK "Get trigger bindings" => actions::bindings;
    PATCH "/actions/triggers/{triggerId}/bindings" ["update:actions"] OK
        "Update trigger bindings" => actions::update_bindings;
    GET "/actions/executions" ["read:actions"] OK "List executions" => actions::executions;
    GET "/actions/executions/{id}" ["read:actions"] OK "Get an execution" => actions::get_execution;
    GET "/actions/modules" ["read:actions"] OK "Get a list of Actions Modules" => actions::modules::list;
    POST "/actions/modules" ["create:actions"] CREATED "Create a new Actions Module" => actions::modules::create;
    GET "/actions/modules/{id}" ["read:actions"] OK "Get an Actions Module by its ID" => actions::modules::get;
    PATCH "/actions/modules/{id}" ["update:actions"] OK "Update an Actions Module" => actions::modules::update;
    DELETE "/actions/modules/{id}" ["delete:actions"] NO_CONTENT
        "Delete an Actions Module" => actions::modules::delete;
    GET "/actions/modules/{id}/actions" ["read:actions"] OK
        "Get all actions using an Actions Module" => actions::modules::actions;
    POST "/actions/modules/{id}/rollback" ["update:actions"] OK
        "Roll back an Actions Module to a previous version" => actions::modules::rollback;
    GET "/actions/modules/{id}/versions" ["read:actions"] OK
        "Get all versions of an Actions Module" => actions::modules::versions;
    POST "/actions/modules/{id}/versions" ["update:actions"] OK
        "Create a new version of an Actions Module" => actions::modules::create_version;
    GET "/actions/modules/{id}/versions/{versionId}" ["read:actions"] OK
        "Get a specific version of an Actions Module" => actions::modules::get_version;

    GET "/tenants/settings" ["read:tenant_settings"] OK "Get tenant settings" => tenants::get;
    PATCH "/tenants/settings" ["update:tenant_settings"] OK "Update tenant settings" => tenants::update;

    GET "/keys/signing" ["read:signing_keys"] OK "Get all Application Signing Keys" => keys::list;
    POST "/keys/signing/rotate" ["create:signing_keys", "update:signing_keys"] CREATED
        "Rotate the Application Signing Key" => keys::rotate;
    GET "/keys/signing/{kid}" ["read:signing_keys"] OK
        "Get an Application Signing Key by its key id" => keys::get;
    PUT "/keys/signing/{kid}/revoke" ["update:signing_keys"] OK
        "Revoke an Application Signing Key by its key id" => keys::revoke;
}

/// The routes of [`OPERATIONS`]. Whatever else is asked for below [`PREFIX`] does not exist. Every request carries its
/// [`Ctx`] as an extension.
pub fn router<S: Clone + Send + Sync + 'static>(core: &Arc<Core>) -> Router<S> {
    let mut paths: BTreeMap<String, Vec<&'static Operation>> = BTreeMap::new();
    for operation in OPERATIONS {
        paths.entry(operation.route()).or_default().push(operation);
    }
    let mut router = Router::new();
    for (path, operations) in paths {
        let mut methods = MethodRouter::new().fallback(not_found);
        for operation in operations {
            let Ok(filter) = MethodFilter::try_from(operation.method.clone()) else { continue };
            let core = Arc::clone(core);
            let handler =
                move |Extension(ctx): Extension<Ctx>, params: RawPathParams, request: Request<Body>| {
                    let params = params.iter().map(|(_, value)| value.to_owned()).collect();
                    serve(core, ctx, operation, params, request)
                };
            methods = methods.on(filter, handler);
        }
        router = router.route(&path, methods);
    }
    router
        .route(PREFIX, any(not_found))
        .route(&format!("{PREFIX}/"), any(not_found))
        .route(&format!("{PREFIX}/{{*rest}}"), any(not_found))
}

async fn not_found() -> Response {
    Problem::not_found().into_response()
}

/// Serves one request for one operation.
async fn serve(
    core: Arc<Core>,
    ctx: Ctx,
    operation: &'static Operation,
    params: Vec<String>,
    request: Request<Body>,
) -> Response {
    match answer(core, ctx, operation, params, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    core: Arc<Core>,
    ctx: Ctx,
    operation: &'static Operation,
    params: Vec<String>,
    request: Request<Body>,
) -> Answer {
    // 1, 2
    let token = bearer(request.headers())?;
    let caller = match authorize_management(&core, &ctx, token).await? {
        Ok(caller) => Caller {
            client_id: Some(caller.client_id),
            user_id: caller.user.is_some().then(|| UserId(caller.sub.clone())),
            sub: caller.sub,
            jti: Some(caller.jti),
            scopes: caller.scopes,
        },
        Err(rejection) => return Err(rejected(rejection)),
    };
    // 3
    check_scope(operation, &caller, &params)?;
    // 4
    if params.iter().any(|param| param.contains('\0') || param.len() > 1024) {
        return Err(Problem::uri(
            "Path validation error: 'String contains a character that is not allowed'.",
        ));
    }
    let contract = validate::contract(&operation.name())
        .ok_or_else(|| Problem::from(Failure::Internal("an operation has no contract".into())))?;
    let path = request.uri().path().to_owned();
    let query = contract.query(request.uri().query().unwrap_or(""))?;
    let form = is_form(request.headers());
    let body =
        if contract.takes_body() { contract.body(&read_body(request).await?, form)? } else { Value::Null };
    // 5
    (operation.handler)(Call { core, ctx, caller, operation, path, params, query, body }).await
}

/// The token in the `Authorization` header (RFC 6750 §2.1). Auth0 answers what is not shaped like a JWT with 400.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(Problem::missing_authentication());
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        Some(token) if curfew_tokens::parse_compact(token).is_ok() => Ok(token),
        _ => Err(Problem::bad_authorization_header()),
    }
}

fn rejected(rejection: Rejection) -> Problem {
    match rejection {
        Rejection::Invalid | Rejection::Ended => Problem::token("Invalid token"),
        Rejection::Expired => Problem::token("Expired token received for JSON Web Token validation"),
    }
}

/// Any of the operation's scopes will do. Those that name the current user let a user's token act on that user only.
fn check_scope(operation: &Operation, caller: &Caller, params: &[String]) -> Result<(), Problem> {
    let own = caller.user_id.as_ref().map(UserId::as_str);
    let acts_on_self = own.is_some() && own == params.first().map(String::as_str);
    let allowed = operation
        .scopes
        .iter()
        .any(|scope| caller.has(scope) && (!scope.contains(":current_user") || acts_on_self));
    if allowed { Ok(()) } else { Err(Problem::insufficient_scope(operation.scopes)) }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

async fn read_body(request: Request<Body>) -> Result<bytes::Bytes, Problem> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(Problem::too_large(BODY_BYTES_MAX));
    }
    let limited = http_body_util::Limited::new(request.into_body(), BODY_BYTES_MAX);
    match http_body_util::BodyExt::collect(limited).await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Problem::too_large(BODY_BYTES_MAX))
        }
        Err(error) if crate::server::is_too_slow(&*error) => Err(Problem::too_slow()),
        Err(_) => Err(Problem::body("Invalid request payload")),
    }
}
