//! The one-time set-up page: the first administrator, and the first credentials, shown once.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use curfew_core::users::{Creation, normalize_email};
use curfew_model::secret::constant_time_eq;
use curfew_model::{Ctx, Failure, Secret};
use http::{HeaderMap, StatusCode};

use super::form;
use crate::pages::{ErrorKind, FormFault, PasswordRules, SetupDonePage, SetupPage};
use crate::render::page::Look;
use crate::{App, SAMPLE_ORIGIN};

fn not_open(ctx: &Ctx, headers: &HeaderMap) -> Response {
    let text = "The link was used, or the server has started again since: it prints a new one while there is no administrator.";
    Look::new(ctx, None, headers, None).error(
        ctx,
        StatusCode::NOT_FOUND,
        ErrorKind::SetupLink,
        "not_found",
        text,
    )
}

async fn is_right(app: &App, token: &str) -> bool {
    let setup = app.setup.lock().await;
    setup.as_ref().is_some_and(|setup| constant_time_eq(setup.token.expose().as_bytes(), token.as_bytes()))
}

fn page(
    look: &Look,
    status: StatusCode,
    token: &Secret<String>,
    email: &str,
    errors: &[FormFault],
) -> Response {
    // The token in the form is what another site cannot know: it is the CSRF protection, too.
    let page = SetupPage {
        action_url: "/setup",
        token,
        csrf: "",
        email,
        password_rules: PasswordRules::default(),
        errors,
    };
    look.page(status, &page)
}

/// `GET /setup?token=…`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let values = form::urlencoded(query.as_deref().unwrap_or("")).unwrap_or_default();
    let token = values.get("token").cloned().unwrap_or_default();
    if !is_right(&app, &token).await {
        return not_open(&ctx, &headers);
    }
    page(&Look::new(&ctx, None, &headers, None), StatusCode::OK, &Secret::new(token), "", &[])
}

/// `POST /setup`.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(ctx): Extension<Ctx>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let values = form::body(&headers, &body).unwrap_or_default();
    let token = Secret::new(values.get("token").cloned().unwrap_or_default());
    if !is_right(&app, token.expose()).await {
        return not_open(&ctx, &headers);
    }
    let look = Look::new(&ctx, None, &headers, None);
    let email = values.get("email").map(|email| email.trim().to_owned()).unwrap_or_default();
    if normalize_email(&email).is_none() {
        return page(&look, StatusCode::BAD_REQUEST, &token, &email, &[FormFault::EmailInvalid]);
    }
    let password = Secret::new(values.get("password").cloned().unwrap_or_default());
    let fault = match curfew_core::users::make_administrator(&app.core, &ctx, &email, password).await {
        Ok(Some(Creation::Created(_))) => {
            let done = app.setup.lock().await.take();
            return match done {
                Some(setup) => finished(&ctx, &look, &setup),
                None => not_open(&ctx, &headers),
            };
        }
        Ok(None) => {
            app.setup.lock().await.take();
            return not_open(&ctx, &headers);
        }
        Ok(Some(Creation::WeakPassword(_))) => FormFault::PasswordTooWeak,
        Ok(Some(_)) => FormFault::NotPossible,
        Err(Failure::Busy { .. }) => FormFault::Busy,
        Err(failure) => return look.failure(&ctx, &failure),
    };
    page(&look, StatusCode::BAD_REQUEST, &token, &email, &[fault])
}

fn finished(ctx: &Ctx, look: &Look, setup: &crate::Setup) -> Response {
    let audience = format!("{}api/v2/", ctx.issuer);
    let domain =
        ctx.issuer.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let page = SetupDonePage {
        domain,
        client_id: setup.machine_client_id.as_str(),
        client_secret: &setup.machine_client_secret,
        audience: &audience,
        spa_client_id: setup.sample_client_id.as_str(),
        spa_origin: SAMPLE_ORIGIN,
        continue_url: None,
    };
    look.page(StatusCode::OK, &page)
}
