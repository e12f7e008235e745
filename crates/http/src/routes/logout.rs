//! `/v2/logout` and `/oidc/logout` (OIDC RP-Initiated Logout).

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::TenantConfig;
use curfew_core::authorize::interact::csrf_token;
use curfew_core::logout::{self, After, LogoutRequest, LogoutStep};
use curfew_core::sessions;
use curfew_model::secret::constant_time_eq;
use curfew_model::{ClientId, Ctx, Failure};
use curfew_tokens::SealKind;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::form;
use crate::App;
use crate::cookies;
use crate::pages::{Destination, ErrorKind, ErrorPage, LoggedOutPage, LogoutConfirmPage, SigningOutPage};
use crate::render::page::{Look, redirect};

/// What the confirmation page's form carries, sealed: whose session, and where to then.
#[derive(Serialize, Deserialize)]
struct ConfirmState {
    sid: String,
    to: Option<String>,
    refused: Option<String>,
    until: i64,
}

/// How long a confirmation page may wait.
const CONFIRM_SECONDS: i64 = 3600;

/// Goes on, over a page with `frames` where there are some.
fn go(app: &App, ctx: &Ctx, look: &Look, after: &After, frames: &[Destination]) -> Response {
    match after {
        // A link to what a browser would run is no redirect: it would run here.
        After::Redirect(url) => match Destination::parse(url).filter(|_| !frames.is_empty()) {
            Some(to) => look.page(StatusCode::OK, &SigningOutPage { to: &to, frames }),
            None => redirect(url),
        },
        After::Page => look.page(StatusCode::OK, &LoggedOutPage { frames, ..LoggedOutPage::default() }),
        After::NotAllowed(url) => {
            let shown: String = url.chars().filter(char::is_ascii_graphic).take(200).collect();
            let text = format!("The address \"{shown}\" is not among the allowed logout URLs");
            logout::log_refused(&app.core, ctx, None, &text);
            let request_id = ctx.request.id.to_string();
            let page = ErrorPage {
                kind: ErrorKind::Request,
                error: Some("invalid_request"),
                description: Some(&text),
                request_id: Some(&request_id),
                frames,
                ..ErrorPage::default()
            };
            look.page(StatusCode::BAD_REQUEST, &page)
        }
    }
}

async fn end_and_go(
    app: &App,
    ctx: &Ctx,
    config: &TenantConfig,
    headers: &HeaderMap,
    look: &Look,
    after: &After,
) -> Result<Response, Failure> {
    let frames = logout::end_by_cookie(&app.core, ctx, config, cookies::session(headers, ctx)).await?;
    let frames: Vec<Destination> = frames.iter().filter_map(|url| Destination::parse(url)).collect();
    let mut response = go(app, ctx, look, after, &frames);
    cookies::clear_session(response.headers_mut(), ctx);
    Ok(response)
}

/// `GET /v2/logout`. The session ends before the target is looked at: whoever asks to be out is out.
pub(super) async fn v2(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let values = form::urlencoded(query.as_deref().unwrap_or("")).unwrap_or_default();
    let id = ClientId(values.get("client_id").cloned().unwrap_or_default());
    let (config, client) = match app.core.configuration(ctx.tenant, &id).await {
        Ok(found) => found,
        Err(failure) => return Look::new(&ctx, None, &headers, None).failure(&ctx, &failure),
    };
    let look = Look::new(&ctx, Some(&config), &headers, None);
    let return_to = values.get("returnTo").map(String::as_str).filter(|url| !url.is_empty());
    let after = logout::v2_target(&config, client.as_deref(), !id.0.is_empty(), return_to);
    match end_and_go(&app, &ctx, &config, &headers, &look, &after).await {
        Ok(response) => response,
        Err(failure) => look.failure(&ctx, &failure),
    }
}

/// `GET /oidc/logout`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    oidc(&app, &ctx, &headers, form::urlencoded(query.as_deref().unwrap_or(""))).await
}

/// `POST /oidc/logout`.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    oidc(&app, &ctx, &headers, form::body(&headers, &body)).await
}

async fn oidc(
    app: &App,
    ctx: &Ctx,
    headers: &HeaderMap,
    values: Result<HashMap<String, String>, form::BadForm>,
) -> Response {
    let plain = Look::new(ctx, None, headers, None);
    let mut values = match values {
        Ok(values) => values,
        Err(form::BadForm(text)) => {
            return plain.error(ctx, StatusCode::BAD_REQUEST, ErrorKind::Request, "invalid_request", &text);
        }
    };
    let mut take = |name: &str| values.remove(name).filter(|value| !value.is_empty());
    let request = LogoutRequest {
        id_token_hint: take("id_token_hint"),
        logout_hint: take("logout_hint"),
        post_logout_redirect_uri: take("post_logout_redirect_uri"),
        client_id: take("client_id"),
        state: take("state"),
    };
    let locales = take("ui_locales");
    let cookie = cookies::session(headers, ctx);
    let (config, step) = match logout::decide(&app.core, ctx, &request, cookie).await {
        Ok(decided) => decided,
        Err(failure) => return plain.failure(ctx, &failure),
    };
    let look = Look::new(ctx, Some(&config), headers, locales.as_deref());
    match step {
        LogoutStep::Invalid(text) => {
            logout::log_refused(&app.core, ctx, request.client_id.as_deref(), text);
            look.error(ctx, StatusCode::BAD_REQUEST, ErrorKind::Request, "invalid_request", text)
        }
        LogoutStep::End { after } => match end_and_go(app, ctx, &config, headers, &look, &after).await {
            Ok(response) => response,
            Err(failure) => look.failure(ctx, &failure),
        },
        LogoutStep::Confirm { after } => ask(app, ctx, &config, &look, cookie, &after),
    }
}

fn ask(
    app: &App,
    ctx: &Ctx,
    config: &TenantConfig,
    look: &Look,
    cookie: Option<&str>,
    after: &After,
) -> Response {
    let Some(sid) = cookie.and_then(|cookie| sessions::sid_of_cookie(config, cookie)) else {
        return go(app, ctx, look, after, &[]);
    };
    let (to, refused) = match after {
        After::Redirect(url) => (Some(url.clone()), None),
        After::Page => (None, None),
        After::NotAllowed(url) => (None, Some(url.clone())),
    };
    let until = ctx.now.plus_seconds(CONFIRM_SECONDS).micros();
    let ends_at: Vec<&str> = to.as_deref().into_iter().chain(["https:"]).collect();
    let state = ConfirmState { sid: sid.to_string(), to: to.clone(), refused, until };
    let plaintext = serde_json::to_vec(&state).unwrap_or_default();
    let sealed = config.seal(SealKind::LogoutState, &plaintext, ctx);
    let page = LogoutConfirmPage {
        action_url: "/u/logout",
        state: &sealed,
        csrf: &csrf_token(&sealed),
        user_email: None,
        form_ends_at: &ends_at,
    };
    look.page(StatusCode::OK, &page)
}

/// `POST /u/logout`: the answer of the confirmation page. The sealed state names the session it was made for, so no
/// other site can have made it.
pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let plain = Look::new(&ctx, None, &headers, None);
    let config = match app.core.tenant(ctx.tenant).await {
        Ok(config) => config,
        Err(failure) => return plain.failure(&ctx, &failure),
    };
    let look = Look::new(&ctx, Some(&config), &headers, None);
    let values = form::body(&headers, &body).unwrap_or_default();
    let sealed = values.get("state").map_or("", String::as_str);
    let state = config
        .sealing
        .unseal(SealKind::LogoutState, config.tenant, sealed)
        .ok()
        .and_then(|unsealed| serde_json::from_slice::<ConfirmState>(&unsealed.plaintext).ok());
    let csrf = values.get("csrf").map_or("", String::as_str);
    let own = cookies::session(&headers, &ctx).and_then(|cookie| sessions::sid_of_cookie(&config, cookie));
    let valid = state.filter(|state| {
        constant_time_eq(csrf.as_bytes(), csrf_token(sealed).as_bytes())
            && own.is_some_and(|sid| sid.to_string() == state.sid)
            && state.until > ctx.now.micros()
    });
    let Some(state) = valid else {
        let text = "This logout page is no longer valid.";
        return look.error(&ctx, StatusCode::BAD_REQUEST, ErrorKind::Expired, "invalid_request", text);
    };
    let after = match (state.to, state.refused) {
        (Some(url), _) => After::Redirect(url),
        (None, Some(url)) => After::NotAllowed(url),
        (None, None) => After::Page,
    };
    if values.get("action").is_some_and(|action| action == "accept") {
        match end_and_go(&app, &ctx, &config, &headers, &look, &after).await {
            Ok(response) => response,
            Err(failure) => look.failure(&ctx, &failure),
        }
    } else {
        go(&app, &ctx, &look, &after, &[])
    }
}
