//! Every check of an authorization request, in order.

use std::collections::HashMap;

use curfew_model::OAuthCode;
use curfew_model::config::{ActionTrigger, AuthMethod, Client};
use curfew_tokens::pkce;

use super::{PageError, REQUEST_BYTES_MAX, Request, ResponseMode, redirect, respond, sent};
use crate::grants::{RESOURCE_IS_AUDIENCE, shown};
use crate::{TenantConfig, issue};

/// Where a check's "no" goes.
#[derive(Debug, Clone)]
pub enum Denial {
    /// To our own page: client or `redirect_uri` are not proven.
    Page(PageError),
    /// To the client.
    Client(OAuthCode, String),
}

/// What a check sees.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    config: &'a TenantConfig,
    client: Option<&'a Client>,
    parameters: &'a HashMap<String, String>,
}

type Check = fn(&mut Request, &Input<'_>) -> Result<(), Denial>;

/// The list. Order matters: what is proven first decides where the later errors go, and what a caller learns.
pub const CHECKS: &[(&str, Check)] = &[
    ("size", check_size),
    ("client", check_client),
    ("redirect_uri", check_redirect_uri),
    ("response_type", check_response_type),
    ("response_mode", check_response_mode),
    ("web origin", check_web_origin),
    ("unsupported parameters", check_unsupported),
    ("grant types", check_grant_types),
    ("PKCE", check_pkce),
    ("nonce", check_nonce),
    ("prompt", check_prompt),
    ("max_age", check_max_age),
    ("audience", check_audience),
    ("scope", check_scope),
    ("connection", check_connection),
];

/// Runs the list. With an error comes the request as far as it was read, which says how to answer the client.
pub fn run(
    config: &TenantConfig,
    client: Option<&Client>,
    parameters: &HashMap<String, String>,
) -> Result<Request, Box<(Denial, Request)>> {
    let input = Input { config, client, parameters };
    let mut request = Request {
        // Before it is checked, so that an error before that check goes the way the client asked for.
        response_mode: input.get("response_mode").and_then(ResponseMode::parse),
        state: input.get("state").map(str::to_owned),
        nonce: input.get("nonce").map(str::to_owned),
        login_hint: input.get("login_hint").map(str::to_owned),
        ui_locales: input.get("ui_locales").map(str::to_owned),
        signup: input.get("screen_hint") == Some("signup"),
        ..Request::default()
    };
    for (_, check) in CHECKS {
        if let Err(denial) = check(&mut request, &input) {
            return Err(Box::new((denial, request)));
        }
    }
    let told = [ActionTrigger::PostLogin, ActionTrigger::PreUserRegistration];
    if told.iter().any(|trigger| !config.actions.at(*trigger).is_empty()) {
        request.sent = sent::kept(&request, parameters);
    }
    Ok(request)
}

impl<'a> Input<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn page<T>(code: OAuthCode, description: impl Into<String>) -> Result<T, Denial> {
    Err(Denial::Page(PageError::new(code, description)))
}

fn client<T>(code: OAuthCode, description: impl Into<String>) -> Result<T, Denial> {
    Err(Denial::Client(code, description.into()))
}

fn check_size(_: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let bytes: usize = input.parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > REQUEST_BYTES_MAX {
        return page(OAuthCode::InvalidRequest, "The request is too large");
    }
    Ok(())
}

fn check_client(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let Some(id) = input.get("client_id") else {
        return page(OAuthCode::InvalidRequest, "Missing required parameter: client_id");
    };
    if input.client.is_none() {
        return page(OAuthCode::InvalidRequest, format!("Unknown client: {}", shown(id)));
    }
    id.clone_into(&mut request.client_id);
    Ok(())
}

fn check_redirect_uri(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let callbacks = input.client.map_or(&[][..], |client| &client.doc.callbacks);
    request.redirect_uri_sent = input.get("redirect_uri").is_some();
    let uri = match (input.get("redirect_uri"), callbacks) {
        (Some(uri), _) => uri,
        (None, [only]) => only,
        (None, _) => return page(OAuthCode::InvalidRequest, "Missing required parameter: redirect_uri"),
    };
    if !redirect::matches_callback(callbacks, uri) {
        let text = format!(
            "Callback URL mismatch. The provided redirect_uri ({}) is not in the list of allowed callback URLs.",
            shown(uri)
        );
        return page(OAuthCode::InvalidRequest, text);
    }
    uri.clone_into(&mut request.redirect_uri);
    Ok(())
}

fn check_response_type(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let Some(response_type) = input.get("response_type") else {
        return page(OAuthCode::InvalidRequest, "Missing required parameter: response_type");
    };
    for value in response_type.split(' ').filter(|value| !value.is_empty()) {
        match value {
            "code" => request.wants_code = true,
            "token" => request.wants_token = true,
            "id_token" => request.wants_id_token = true,
            _ => {
                let text = format!("Unsupported response type: {}", shown(response_type));
                return client(OAuthCode::UnsupportedResponseType, text);
            }
        }
    }
    if request.wants_code || request.wants_token || request.wants_id_token {
        return Ok(());
    }
    client(OAuthCode::UnsupportedResponseType, "Unsupported response type")
}

fn check_response_mode(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let front = request.wants_token || request.wants_id_token;
    let mode = match input.get("response_mode") {
        None if front => ResponseMode::Fragment,
        None => ResponseMode::Query,
        Some(text) => match ResponseMode::parse(text) {
            Some(mode) => mode,
            None => {
                let text = format!("Unsupported response mode: {}", shown(text));
                return client(OAuthCode::InvalidRequest, text);
            }
        },
    };
    if mode == ResponseMode::Query && front {
        // Tokens in a query end up in logs and Referer headers.
        request.response_mode = Some(ResponseMode::Fragment);
        return client(
            OAuthCode::InvalidRequest,
            "response_mode query is not allowed for this response_type",
        );
    }
    request.response_mode = Some(mode);
    Ok(())
}

/// A message is only posted to an origin that the client registered; there is nobody else to tell.
fn check_web_origin(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let may = input.client.is_some_and(|client| respond::may_receive_messages(client, &request.redirect_uri));
    if request.response_mode == Some(ResponseMode::WebMessage) && !may {
        return page(OAuthCode::InvalidRequest, respond::NO_WEB_ORIGIN);
    }
    Ok(())
}

/// What asks for more than this server gives is refused: ignored, it would be answered with less protection than was
/// asked for.
const UNSUPPORTED: [(&str, OAuthCode); 5] = [
    ("request", OAuthCode::RequestNotSupported),
    ("request_uri", OAuthCode::RequestUriNotSupported),
    ("registration", OAuthCode::RegistrationNotSupported),
    ("authorization_details", OAuthCode::InvalidAuthorizationDetails),
    ("dpop_jkt", OAuthCode::InvalidRequest),
];

fn check_unsupported(_: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    for (name, code) in UNSUPPORTED {
        if input.get(name).is_some() {
            return client(code, format!("The {name} parameter is not supported"));
        }
    }
    if input.get("organization").is_some() || input.get("invitation").is_some() {
        let id = input.get("client_id").map(shown).unwrap_or_default();
        let text = format!("client {id} is not allowed to use organizations");
        return client(OAuthCode::InvalidRequest, text);
    }
    let doc = input.client.map(|client| &client.doc);
    if doc.is_some_and(|doc| doc.require_pushed_authorization_requests) {
        return client(
            OAuthCode::InvalidRequest,
            "Pushed authorization requests are required for this client",
        );
    }
    if doc.is_some_and(|doc| doc.organization_usage.as_deref() == Some("require")) {
        return client(OAuthCode::InvalidRequest, "parameter organization is required for this client");
    }
    Ok(())
}

/// The legacy response types are off unless the client asks for `implicit`.
fn check_grant_types(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let allows = |grant: &str| input.client.is_some_and(|client| client.allows_grant(grant));
    let front = request.wants_token || request.wants_id_token;
    if request.wants_code && !allows("authorization_code") {
        return client(
            OAuthCode::UnauthorizedClient,
            "Grant type 'authorization_code' not allowed for the client.",
        );
    }
    if front && !allows("implicit") {
        return client(OAuthCode::UnauthorizedClient, "Grant type 'implicit' not allowed for the client.");
    }
    Ok(())
}

fn check_pkce(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let challenge = input.get("code_challenge");
    let method = input.get("code_challenge_method");
    let public = input.client.is_some_and(|client| client.auth_method() == AuthMethod::None);
    match challenge {
        None if method.is_some() => {
            client(OAuthCode::InvalidRequest, "Missing required parameter: code_challenge")
        }
        // RFC 9700 §2.1.1: public clients must use PKCE.
        None if public && request.wants_code => {
            client(OAuthCode::InvalidRequest, "Missing required parameter: code_challenge")
        }
        None => Ok(()),
        Some(challenge) => {
            let method = method.unwrap_or("plain");
            if pkce::Method::parse(method).is_none() {
                let text = format!("Unsupported code_challenge_method: {}", shown(method));
                return client(OAuthCode::InvalidRequest, text);
            }
            if !pkce::is_well_formed(challenge) {
                return client(
                    OAuthCode::InvalidRequest,
                    "code_challenge must be 43 to 128 characters of base64url",
                );
            }
            request.code_challenge = Some(challenge.to_owned());
            request.code_challenge_method = Some(method.to_owned());
            Ok(())
        }
    }
}

fn check_nonce(request: &mut Request, _: &Input<'_>) -> Result<(), Denial> {
    // OIDC Core §3.2.2.1 and §3.3.2.11.
    if request.wants_id_token && request.nonce.is_none() {
        return client(OAuthCode::InvalidRequest, "Missing required parameter: nonce");
    }
    Ok(())
}

fn check_prompt(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let Some(prompt) = input.get("prompt") else { return Ok(()) };
    let mut values = 0;
    for value in prompt.split(' ').filter(|value| !value.is_empty()) {
        values += 1;
        match value {
            "none" => request.prompt_none = true,
            "login" | "select_account" => request.prompt_login = true,
            "consent" => request.prompt_consent = true,
            // OIDC Prompt Create §4: the person is shown the sign-up page, also when somebody is logged in.
            "create" => {
                request.signup = true;
                request.prompt_login = true;
            }
            other => {
                return client(OAuthCode::InvalidRequest, format!("Unsupported prompt: {}", shown(other)));
            }
        }
    }
    // OIDC Core §3.1.2.1: "If this parameter contains none with any other value, an error is returned."
    if request.prompt_none && values > 1 {
        return client(OAuthCode::InvalidRequest, "prompt none must stand alone");
    }
    Ok(())
}

fn check_max_age(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let Some(text) = input.get("max_age") else { return Ok(()) };
    match text.parse::<i64>() {
        Ok(seconds) if (0..=i64::from(u32::MAX)).contains(&seconds) => {
            request.max_age = Some(seconds);
            Ok(())
        }
        _ => client(OAuthCode::InvalidRequest, "max_age must be a number of seconds"),
    }
}

fn check_audience(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let asked = input.get("audience").or(input.config.settings.default_audience.as_deref());
    if input.get("resource").is_some_and(|resource| Some(resource) != asked) {
        return client(OAuthCode::InvalidTarget, RESOURCE_IS_AUDIENCE);
    }
    let Some(audience) = asked else { return Ok(()) };
    // The /userinfo audience is what a token has anyhow.
    if crate::access_tokens::is_userinfo(audience, input.config) {
        return Ok(());
    }
    let Some(server) = input.config.requested_api(audience) else {
        return client(OAuthCode::AccessDenied, format!("Service not found: {}", shown(audience)));
    };
    request.audience = Some(server.identifier.clone());
    Ok(())
}

fn check_scope(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let asked = input.get("scope").unwrap_or("openid profile email");
    let offline = issue::has_scope(asked, "offline_access");
    if offline && issue::has_scope(asked, "online_access") {
        return client(
            OAuthCode::InvalidRequest,
            "Cannot request both online_access and offline_access scopes",
        );
    }
    // OIDC Core §3.1.2.1: without `openid` it is no OpenID Connect request, and there is no ID token to answer with.
    if request.wants_id_token && !issue::has_scope(asked, "openid") {
        return client(OAuthCode::InvalidRequest, "response_type id_token needs the scope openid");
    }
    let server = request.audience.as_deref().and_then(|audience| input.config.resource_server(audience));
    request.scope = issue::grantable_scope(server, asked);
    let may = input.client.is_some_and(|client| issue::may_have_refresh_token(client, server));
    if offline && !(may && request.wants_code) {
        request.scope = issue::without_scope(&request.scope, "offline_access");
    }
    Ok(())
}

fn check_connection(request: &mut Request, input: &Input<'_>) -> Result<(), Denial> {
    let Some(own) = input.client else { return Ok(()) };
    let mut enabled = input.config.connections.iter().filter(|c| c.epoch_for(&own.id).is_some());
    match input.get("connection") {
        None if enabled.next().is_some() => Ok(()),
        None => page(OAuthCode::InvalidRequest, "no connections enabled for the client"),
        Some(name) => match enabled.find(|connection| connection.name == name) {
            Some(connection) => {
                request.connection_id = Some(connection.id.clone());
                Ok(())
            }
            None => client(OAuthCode::InvalidRequest, "the connection is not enabled"),
        },
    }
}
