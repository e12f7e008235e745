//! The answer to the client: what it is handed, and how.

use std::sync::Arc;

use curfew_model::config::Client;
use curfew_model::{ClientId, Ctx, Failure, GrantKey, LogCode, OAuthCode};
use curfew_store::Lane;
use curfew_store::status_lists::Entry;
use curfew_tokens::SealKind;
use curfew_tokens::seal::SEALED_BYTES_MAX;

use super::interact::CookieChange;
use super::{Outcome, PageError, Request, ResponseMode, Standing, log_silent, no_session, redirect};
use crate::grants::authorization_code::{CODE_SECONDS, CodeValue};
use crate::issue::{self, IdTokenRequest, Issue, Subject, has_scope};
use crate::sessions::limit::take_part;
use crate::status_lists::{self, Holder, More, Wanted};
use crate::{Core, TenantConfig};

/// An answer that goes to the client's `redirect_uri`.
#[derive(Debug, Clone)]
pub struct Response {
    /// Proven to be the client's.
    pub redirect_uri: String,
    /// How.
    pub mode: ResponseMode,
    /// What.
    pub parameters: Vec<(&'static str, String)>,
    /// For `web_message`: where the page may be framed.
    pub web_origins: Vec<String>,
    /// The session cookie to set with it.
    pub cookie: Option<CookieChange>,
    /// Whether the login transaction is over, so that its cookie goes.
    pub ends_transaction: bool,
    /// For an authorization: to which client. The answer then carries `session_state` (OIDC Session Management §3).
    pub granted_to: Option<ClientId>,
}

/// An error to the client (RFC 6749 §4.1.2.1), with `state` and `iss` (RFC 9207). Without a proven client and
/// `redirect_uri` it is our own page.
pub fn error(
    ctx: &Ctx,
    config: &TenantConfig,
    client: Option<&Client>,
    request: &Request,
    code: OAuthCode,
    description: &str,
) -> Outcome {
    let Some(client) = client.filter(|_| !request.redirect_uri.is_empty()) else {
        return Outcome::Page(PageError::new(code, description).of(
            config,
            &request.client_id,
            request.state.as_deref(),
        ));
    };
    let parameters = vec![("error", code.as_str().to_owned()), ("error_description", description.to_owned())];
    deliver(ctx, config, client, request, parameters, None)
}

fn deliver(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    request: &Request,
    mut parameters: Vec<(&'static str, String)>,
    cookie: Option<CookieChange>,
) -> Outcome {
    if let Some(state) = &request.state {
        parameters.push(("state", state.clone()));
    }
    if config.settings.authorization_response_iss_parameter_supported != Some(false) {
        parameters.push(("iss", ctx.issuer.to_string()));
    }
    let front = request.wants_token || request.wants_id_token;
    let default = if front { ResponseMode::Fragment } else { ResponseMode::Query };
    let mode = request.response_mode.unwrap_or(default);
    if mode == ResponseMode::WebMessage && !may_receive_messages(client, &request.redirect_uri) {
        return Outcome::Page(PageError::new(OAuthCode::InvalidRequest, NO_WEB_ORIGIN));
    }
    Outcome::Respond(Box::new(Response {
        redirect_uri: request.redirect_uri.clone(),
        mode,
        parameters,
        web_origins: client.doc.web_origins.clone(),
        cookie,
        ends_transaction: true,
        granted_to: None,
    }))
}

/// What is said when a message would have nobody to go to.
pub(super) const NO_WEB_ORIGIN: &str =
    "The origin of redirect_uri is not among the client's allowed web origins";

pub(super) fn may_receive_messages(client: &Client, redirect_uri: &str) -> bool {
    redirect::origin(redirect_uri).is_some_and(|origin| {
        client.doc.web_origins.iter().any(|entry| entry.trim_end_matches('/').eq_ignore_ascii_case(&origin))
    })
}

/// An authorization: a code, tokens, or both.
///
/// Steps: 1 seal the code, 2 for tokens handed out here, and under a limit of sessions, read user and session once more and
/// note that the client took part, 3 sign, 4 answer. When the session has ended meanwhile, as if there had been none.
#[expect(clippy::too_many_arguments, reason = "the one meeting point of request, person, consent and cookie")]
pub async fn success(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    request: Request,
    standing: Standing,
    consent: Option<String>,
    cookie: Option<CookieChange>,
) -> Result<Outcome, Failure> {
    let grant = GrantKey::generate(&*ctx.entropy);
    let mut parameters = Vec::with_capacity(6);
    let code =
        request.wants_code.then(|| seal_code(ctx, config, client, &request, &standing, grant, consent));
    // A value that long could never be opened again.
    if code.as_ref().is_some_and(|code| code.len() > SEALED_BYTES_MAX) {
        let text = "The request is too large";
        return Ok(error(ctx, config, Some(client), &request, OAuthCode::InvalidRequest, text));
    }
    if let Some(code) = &code {
        parameters.push(("code", code.clone()));
    }
    if request.wants_token || request.wants_id_token {
        let holder = Holder {
            user: Some((standing.sid.user, standing.counter)),
            session: Some(standing.sid.session),
            grant,
            more: if request.wants_code { More::MayCome } else { More::Never },
            from_authorization_endpoint: true,
        };
        let server = request.audience.as_deref().and_then(|audience| config.resource_server(audience));
        let server = server.filter(|_| request.wants_token);
        let wanted = status_lists::wanted(ctx, config, client, server, &holder)?;
        let Some((subject, status)) = subject(core, ctx, config, client, &standing, wanted).await? else {
            return no_session(core, ctx, config, client, request);
        };
        issue_here(
            ctx,
            config,
            client,
            &request,
            &standing,
            &subject,
            grant,
            status.as_ref(),
            code.as_deref(),
            &mut parameters,
        )?;
    } else if config.settings.sessions.max_per_user.is_some()
        && !standing.counts
        && subject(core, ctx, config, client, &standing, None).await?.is_none()
    {
        return no_session(core, ctx, config, client, request);
    }
    if request.prompt_none || !standing.fresh {
        let text = "Successful silent authentication";
        log_silent(core, ctx, LogCode::SilentLogin, client, Some(&standing), text);
    }
    let mut outcome = deliver(ctx, config, client, &request, parameters, cookie);
    if let Outcome::Respond(response) = &mut outcome {
        response.granted_to = Some(client.id.clone());
    }
    Ok(outcome)
}

fn seal_code(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    request: &Request,
    standing: &Standing,
    grant: GrantKey,
    consent: Option<String>,
) -> String {
    let value = CodeValue {
        issuer: ctx.issuer.to_string(),
        client_id: client.id.0.clone(),
        client_counter: client.counter,
        user: standing.sid.user,
        session: standing.sid.session,
        grant,
        counter: standing.counter,
        epoch: standing.epoch,
        redirect_uri: request.redirect_uri.clone(),
        redirect_uri_sent: request.redirect_uri_sent,
        code_challenge: request.code_challenge.clone(),
        code_challenge_method: request.code_challenge_method.clone(),
        nonce: request.nonce.clone(),
        scope: request.scope.clone(),
        audience: request.audience.clone(),
        auth_time: standing.auth_time.micros(),
        auth_time_wanted: auth_time_wanted(request),
        consent,
        expires_at: ctx.now.plus_seconds(CODE_SECONDS).micros(),
        cnf: None,
        extras: standing.extras.as_ref().and_then(|extras| extras.of_code()),
    };
    let plaintext = serde_json::to_vec(&value).unwrap_or_default();
    config.seal(SealKind::AuthorizationCode, &plaintext, ctx)
}

/// OIDC Core §2: `auth_time` is there when `max_age` was sent; Auth0 adds it for `prompt=login`.
fn auth_time_wanted(request: &Request) -> bool {
    request.max_age.is_some() || request.prompt_login
}

/// The person as they stand now, and the client among the session's participants; `None` when it ended meanwhile.
async fn subject(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    standing: &Standing,
    wanted: Option<Wanted>,
) -> Result<Option<(Subject, Option<Entry>)>, Failure> {
    let arguments = (ctx.clone(), Arc::clone(config), Arc::clone(client), standing.clone(), wanted);
    core.store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, config, client, standing, wanted)| {
            Box::pin(async move {
                let taken = take_part(tx, ctx, config, &standing.sid, &client.id, standing.fresh).await?;
                let Some(row) = taken else { return Ok(None) };
                let status = match wanted {
                    Some(wanted) => Some(status_lists::allot(tx, ctx, wanted).await?),
                    None => None,
                };
                Ok(Subject::of_session(row, standing.counter).map(|subject| (subject, status)))
            })
        })
        .await
}

#[expect(clippy::too_many_arguments, reason = "a split of `success` that shares its locals")]
fn issue_here(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    request: &Request,
    standing: &Standing,
    subject: &Subject,
    grant: GrantKey,
    status: Option<&Entry>,
    code: Option<&str>,
    parameters: &mut Vec<(&'static str, String)>,
) -> Result<(), Failure> {
    let scope = issue::without_scope(&request.scope, "offline_access");
    let issue = Issue {
        client,
        subject: Some(subject),
        resource_server: request.audience.as_deref().and_then(|audience| config.resource_server(audience)),
        scope: &scope,
        sid: Some(standing.sid),
        grant,
        gty: None,
        from_authorization_endpoint: true,
        status,
        extras: standing.extras.as_deref(),
    };
    let access = if request.wants_token { Some(issue::access_token(config, ctx, &issue)?) } else { None };
    if let Some(access) = &access {
        parameters.push(("access_token", access.value.clone()));
        parameters.push(("token_type", "Bearer".to_owned()));
        parameters.push(("expires_in", access.expires_in.to_string()));
        parameters.push(("scope", scope.clone()));
    }
    if request.wants_id_token && has_scope(&scope, "openid") {
        let id_token = IdTokenRequest {
            nonce: request.nonce.as_deref(),
            auth_time: auth_time_wanted(request).then_some(standing.auth_time),
            access_token: access.as_ref().map(|access| access.value.as_str()),
            code,
            state: request.state.as_deref(),
            claims_scope: &scope,
        };
        parameters.push(("id_token", issue::id_token(config, ctx, &issue, &id_token)?));
    }
    Ok(())
}
