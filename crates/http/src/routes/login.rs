//! The pages of a login: identifier and password, sign-up, consent.
//!
//! Each POST carries the sealed state and a CSRF token derived from the transaction's cookie; a state of another
//! browser, or of an earlier step, gets the page for lost logins.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::authorize::interact::{self, LoginResult, Opened};
use curfew_core::authorize::redirect::with_query;
use curfew_model::config::PasswordPolicy;
use curfew_model::secret::constant_time_eq;
use curfew_model::{Ctx, Failure, Secret};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::form;
use crate::App;
use crate::cookies;
use crate::pages::{
    ConsentPage, ConsentScope, Destination, ErrorKind, FormFault, LoginError, LoginPage, PasswordRules,
    SignupPage,
};
use crate::render::page::Look;

/// A page's request, opened: its state is this browser's.
struct Visit {
    look: Look,
    sealed: String,
    secret: String,
    opened: Opened,
}

impl Visit {
    fn transaction(&self) -> String {
        self.opened.state.id.clone()
    }

    fn csrf(&self) -> String {
        interact::csrf_token(&self.secret)
    }
}

async fn open(app: &App, ctx: &Ctx, headers: &HeaderMap, sealed: Option<&str>) -> Result<Visit, Response> {
    let failed = |failure: Failure| Look::new(ctx, None, headers, None).failure(ctx, &failure);
    let sealed = sealed.unwrap_or("");
    let id = interact::transaction_id(&app.core, ctx, sealed).await.map_err(failed)?;
    let secret = id.and_then(|id| cookies::transaction(headers, ctx, &id)).map(str::to_owned);
    let opened = interact::open(&app.core, ctx, sealed, secret.as_deref()).await.map_err(failed)?;
    match opened {
        Ok(opened) => {
            let locales = opened.state.request.ui_locales.as_deref();
            let look = Look::new(ctx, Some(&opened.config), headers, locales);
            Ok(Visit { look, sealed: sealed.to_owned(), secret: secret.unwrap_or_default(), opened })
        }
        Err(error) => Err(Look::new(ctx, None, headers, None).page_error(ctx, &error)),
    }
}

async fn open_query(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Visit, Response> {
    let values = form::urlencoded(query.unwrap_or("")).unwrap_or_default();
    open(app, ctx, headers, values.get("state").map(String::as_str)).await
}

/// Opens a POST and checks its CSRF token.
async fn open_form(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(Visit, HashMap<String, String>), Response> {
    let values = match form::body(headers, body) {
        Ok(values) => values,
        Err(form::BadForm(text)) => {
            let look = Look::new(ctx, None, headers, None);
            return Err(look.error(
                ctx,
                StatusCode::BAD_REQUEST,
                ErrorKind::Request,
                "invalid_request",
                &text,
            ));
        }
    };
    let visit = open(app, ctx, headers, values.get("state").map(String::as_str)).await?;
    let sent = values.get("csrf").map_or("", String::as_str);
    if !constant_time_eq(sent.as_bytes(), visit.csrf().as_bytes()) {
        let text = interact::LOST;
        return Err(visit.look.error(
            ctx,
            StatusCode::BAD_REQUEST,
            ErrorKind::Expired,
            "invalid_request",
            text,
        ));
    }
    Ok((visit, values))
}

/// Where the form's answer may lead: the client's callback and what that redirects to. Browsers hold `form-action` to
/// every redirect that follows, and an application may send the person anywhere over https.
fn form_ends_at(visit: &Visit) -> Vec<&str> {
    vec![visit.opened.state.request.redirect_uri.as_str(), "https:"]
}

fn own_url(ctx: &Ctx, place: &str) -> String {
    format!("{}{place}", ctx.issuer)
}

fn render_login(
    ctx: &Ctx,
    visit: &Visit,
    status: StatusCode,
    username: &str,
    error: Option<LoginError>,
) -> Response {
    let signup_open = interact::connections(&visit.opened).any(|c| !c.doc.options.disable_signup);
    let signup_url = with_query(&own_url(ctx, "u/signup"), &[("state", &visit.sealed)]);
    let hint = visit.opened.state.request.login_hint.as_deref().unwrap_or("");
    let page = LoginPage {
        action_url: "/u/login",
        state: &visit.sealed,
        csrf: &visit.csrf(),
        username_prefill: if username.is_empty() { hint } else { username },
        username_allowed: interact::connections(&visit.opened).any(|c| c.doc.options.requires_username),
        error,
        signup_url: signup_open.then_some(signup_url.as_str()),
        client_name: Some(&visit.opened.client.doc.name),
        form_ends_at: &form_ends_at(visit),
        ..LoginPage::default()
    };
    visit.look.page(status, &page)
}

/// `GET /u/login`.
pub(super) async fn show_login(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match open_query(&app, &ctx, &headers, query.as_deref()).await {
        Ok(visit) if visit.opened.state.is_consent() => render_consent(&app, &ctx, &visit).await,
        Ok(visit) => render_login(&ctx, &visit, StatusCode::OK, "", None),
        Err(response) => response,
    }
}

/// `POST /u/login`.
pub(super) async fn submit_login(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (visit, mut values) = match open_form(&app, &ctx, &headers, &body).await {
        Ok(opened) => opened,
        Err(response) => return response,
    };
    let username = values.remove("username").unwrap_or_default();
    let password = Secret::new(values.remove("password").unwrap_or_default());
    let cookie = cookies::session(&headers, &ctx);
    let transaction = visit.transaction();
    let result =
        interact::submit_login(&app.core, &ctx, copy(&visit.opened), &username, &password, cookie).await;
    match result {
        Ok(LoginResult::Done(outcome)) => visit.look.outcome(&ctx, &headers, outcome, Some(&transaction)),
        Ok(_) => {
            render_login(&ctx, &visit, StatusCode::BAD_REQUEST, &username, Some(LoginError::WrongCredentials))
        }
        Err(failure @ Failure::Busy { .. }) => {
            busy(&failure, |status| render_login(&ctx, &visit, status, &username, Some(LoginError::Busy)))
        }
        Err(failure) => visit.look.failure(&ctx, &failure),
    }
}

/// The same page again for who has to wait, with `Retry-After` (RFC 6585 §4).
fn busy(failure: &Failure, page: impl FnOnce(StatusCode) -> Response) -> Response {
    let (status, retry_after) = crate::render::failure_status(failure);
    let mut response = page(status);
    crate::render::set_retry_after(&mut response, retry_after);
    response
}

fn copy(opened: &Opened) -> Opened {
    Opened {
        state: opened.state.clone(),
        config: Arc::clone(&opened.config),
        client: Arc::clone(&opened.client),
    }
}

fn password_rules(visit: &Visit) -> PasswordRules {
    let Some(connection) = interact::connections(&visit.opened).next() else {
        return PasswordRules::default();
    };
    let options = &connection.doc.options;
    let length = |own: u32| options.password_complexity_options.min_length.unwrap_or(own) as usize;
    match options.password_policy {
        PasswordPolicy::None => PasswordRules::Length(length(1)),
        PasswordPolicy::Low => PasswordRules::Length(length(6)),
        PasswordPolicy::Fair => PasswordRules::ThreeClasses(length(8)),
        PasswordPolicy::Good => PasswordRules::ThreeOfFour(length(8)),
        PasswordPolicy::Excellent => PasswordRules::ThreeOfFourNoRepeats(length(10)),
    }
}

fn render_signup(
    ctx: &Ctx,
    visit: &Visit,
    status: StatusCode,
    (email, username): (&str, &str),
    (errors, message): (&[FormFault], Option<&str>),
) -> Response {
    let login_url = with_query(&own_url(ctx, "u/login"), &[("state", &visit.sealed)]);
    let needs_username = interact::connections(&visit.opened).any(|c| c.doc.options.requires_username);
    let page = SignupPage {
        action_url: "/u/signup",
        state: &visit.sealed,
        csrf: &visit.csrf(),
        email,
        username: needs_username.then_some(username),
        password_rules: password_rules(visit),
        errors,
        message,
        login_url: Some(&login_url),
        client_name: Some(&visit.opened.client.doc.name),
        form_ends_at: &form_ends_at(visit),
    };
    visit.look.page(status, &page)
}

/// `GET /u/signup`.
pub(super) async fn show_signup(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match open_query(&app, &ctx, &headers, query.as_deref()).await {
        Ok(visit) if visit.opened.state.is_consent() => render_consent(&app, &ctx, &visit).await,
        Ok(visit) => {
            let hint = visit.opened.state.request.login_hint.clone().unwrap_or_default();
            render_signup(&ctx, &visit, StatusCode::OK, (&hint, ""), (&[], None))
        }
        Err(response) => response,
    }
}

/// `POST /u/signup`.
pub(super) async fn submit_signup(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (visit, values) = match open_form(&app, &ctx, &headers, &body).await {
        Ok(opened) => opened,
        Err(response) => return response,
    };
    let text = |name: &str| values.get(name).map(|value| value.trim().to_owned()).unwrap_or_default();
    let (email, username) = (text("email"), text("username"));
    let password = Secret::new(values.get("password").cloned().unwrap_or_default());
    let mut doc = serde_json::Map::new();
    doc.insert("email".to_owned(), json!(email));
    if !username.is_empty() {
        doc.insert("username".to_owned(), json!(username));
    }
    if curfew_core::users::normalize_email(&email).is_none() {
        return render_signup(
            &ctx,
            &visit,
            StatusCode::BAD_REQUEST,
            (&email, &username),
            (&[FormFault::EmailInvalid], None),
        );
    }
    let asks_username = interact::connections(&visit.opened).any(|c| c.doc.options.requires_username);
    if asks_username && curfew_core::users::normalize_username(&username).is_none() {
        let faults = [FormFault::UsernameInvalid];
        return render_signup(&ctx, &visit, StatusCode::BAD_REQUEST, (&email, &username), (&faults, None));
    }
    let cookie = cookies::session(&headers, &ctx);
    let transaction = visit.transaction();
    let result = interact::submit_signup(&app.core, &ctx, copy(&visit.opened), doc, password, cookie).await;
    let (fault, message) = match result {
        Ok(LoginResult::Done(outcome)) => {
            return visit.look.outcome(&ctx, &headers, outcome, Some(&transaction));
        }
        Ok(LoginResult::WeakPassword) => (FormFault::PasswordTooWeak, None),
        Ok(LoginResult::Told(message)) => (FormFault::NotPossible, Some(message)),
        Ok(_) => (FormFault::NotPossible, None),
        Err(failure @ Failure::Busy { .. }) => {
            return busy(&failure, |status| {
                render_signup(&ctx, &visit, status, (&email, &username), (&[FormFault::Busy], None))
            });
        }
        Err(failure) => return visit.look.failure(&ctx, &failure),
    };
    let said = (&[fault][..], message.as_deref());
    render_signup(&ctx, &visit, StatusCode::BAD_REQUEST, (&email, &username), said)
}

async fn render_consent(app: &App, ctx: &Ctx, visit: &Visit) -> Response {
    let Opened { state, config, client } = &visit.opened;
    let email = match interact::person_of(&app.core, ctx, state).await {
        Ok(email) => email.unwrap_or_default(),
        Err(failure) => return visit.look.failure(ctx, &failure),
    };
    let server = state.request.audience.as_deref().and_then(|audience| config.resource_server(audience));
    let describe = |name: &str| {
        let entry = server.and_then(|server| server.doc.scopes.iter().find(|entry| entry.value == name));
        entry.and_then(|entry| entry.description.as_deref())
    };
    let scopes: Vec<ConsentScope<'_>> = state
        .request
        .scope
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .map(|name| ConsentScope { name, description: describe(name) })
        .collect();
    let destination = Destination::parse(&state.request.redirect_uri);
    let page = ConsentPage {
        action_url: "/u/consent",
        state: &visit.sealed,
        csrf: &visit.csrf(),
        client_name: &client.doc.name,
        client_logo_url: client.doc.logo_uri.as_deref(),
        user_email: &email,
        scopes: &scopes,
        resource_server_name: server.map(|server| server.doc.name.as_str()),
        returns_to: destination.as_ref(),
        form_ends_at: &form_ends_at(visit),
    };
    visit.look.page(StatusCode::OK, &page)
}

/// `GET /u/consent`.
pub(super) async fn show_consent(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match open_query(&app, &ctx, &headers, query.as_deref()).await {
        Ok(visit) if visit.opened.state.is_consent() => render_consent(&app, &ctx, &visit).await,
        Ok(visit) => render_login(&ctx, &visit, StatusCode::OK, "", None),
        Err(response) => response,
    }
}

/// `POST /u/consent`.
pub(super) async fn submit_consent(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (visit, values) = match open_form(&app, &ctx, &headers, &body).await {
        Ok(opened) => opened,
        Err(response) => return response,
    };
    let accepted = values.get("action").is_some_and(|action| action == "accept");
    let cookie = cookies::session(&headers, &ctx);
    let transaction = visit.transaction();
    match interact::submit_consent(&app.core, &ctx, visit.opened, accepted, cookie).await {
        Ok(outcome) => visit.look.outcome(&ctx, &headers, outcome, Some(&transaction)),
        Err(failure) => visit.look.failure(&ctx, &failure),
    }
}

/// `GET /continue`: a browser is back from where an Action had sent it, with `state` and whatever it was given.
pub(super) async fn come_back(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    take_back(&app, &ctx, &headers, query.as_deref(), HashMap::new()).await
}

/// `POST /continue`: the same with a form; `state` is in the query.
pub(super) async fn come_back_with_form(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match form::body(&headers, &body) {
        Ok(values) => take_back(&app, &ctx, &headers, query.as_deref(), values).await,
        Err(form::BadForm(text)) => {
            let look = Look::new(&ctx, None, &headers, None);
            look.error(&ctx, StatusCode::BAD_REQUEST, ErrorKind::Request, "invalid_request", &text)
        }
    }
}

async fn take_back(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    query: Option<&str>,
    body: HashMap<String, String>,
) -> Response {
    let visit = match open_query(app, ctx, headers, query).await {
        Ok(visit) => visit,
        Err(response) => return response,
    };
    let query = form::urlencoded(query.unwrap_or("")).unwrap_or_default();
    let cookie = cookies::session(headers, ctx);
    let transaction = visit.transaction();
    match interact::come_back(&app.core, ctx, visit.opened, (query, body), cookie).await {
        Ok(outcome) => visit.look.outcome(ctx, headers, outcome, Some(&transaction)),
        Err(failure) => visit.look.failure(ctx, &failure),
    }
}
