//! Where Actions stand in an authorization: after the session, before consent.
//!
//! The person is proven and the session written down, so that an Action finds it in the Management API. Nothing is held
//! while Actions run. After them one transaction does what they asked for and looks again: a session that an Action has
//! ended, with its user or without, serves nothing, and the flow goes on as if there had been none, without running
//! Actions a second time.

use std::collections::HashMap;
use std::sync::Arc;

use curfew_model::config::{ActionTrigger, Client};
use curfew_model::{ClientId, Ctx, Failure, LogCode, OAuthCode, UserId};
use curfew_store::sessions::SessionRow;
use curfew_store::users::{IdentityRow, UserRow};
use curfew_store::{Lane, sessions as session_store, users};
use serde_json::{Map, Value, json};

use super::interact::{self, CookieChange, Pending, SessionCookie};
use super::{Outcome, PageError, Request, Standing, no_session, respond, sent};
use crate::actions::apply::{self, OfSession, Undone};
use crate::actions::commands::Effects;
use crate::actions::event;
use crate::actions::pipeline::{self, From, Run, Stop};
use crate::issue::Extras;
use crate::logs::LogEntry;
use crate::sessions::Life;
use crate::sessions::life;
use crate::{Core, TenantConfig};

/// A login on its way to the client.
#[derive(Debug)]
pub(super) struct Login {
    /// What was asked for.
    pub request: Request,
    /// Who is there.
    pub standing: Standing,
    /// The browser's session cookie.
    pub cookie: Option<SessionCookie>,
}

/// A browser that is back from where an Action had sent it.
#[derive(Debug)]
pub(super) struct Back {
    /// What was waiting.
    pub pending: Pending,
    /// With what it came back.
    pub query: HashMap<String, String>,
    /// With what it came back.
    pub body: HashMap<String, String>,
}

/// How it goes on.
pub(super) enum Judged {
    /// On to consent and the answer, at a later instant, perhaps by a newer configuration.
    Goes { ctx: Ctx, config: Arc<TenantConfig>, client: Arc<Client>, login: Box<Login> },
    /// It is answered.
    Answered(Box<Outcome>),
}

/// What an event is made of.
struct Known {
    session: SessionRow,
    clients: Vec<ClientId>,
    user: UserRow,
    identities: Vec<IdentityRow>,
}

/// Runs the Actions of post-login.
///
/// Steps: 1 what the event needs is read, 2 the Actions run, 3 what they asked for is done and the session looked at, in
/// one transaction, 4 a "no", a failure, a way out of here, or on.
pub(super) async fn run(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    login: Login,
    back: Option<Back>,
) -> Result<Judged, Failure> {
    let Some(known) = read(core, ctx, config, client, &login.standing).await? else {
        return no_session(core, ctx, config, client, login.request)
            .map(|outcome| Judged::Answered(Box::new(outcome)));
    };
    let user_id = known.user.user_id.clone();
    let transaction_id = match &back {
        Some(back) => back.pending.transaction.clone(),
        None => ctx.entropy.alphanumeric(24),
    };
    let event = event_of(ctx, config, client, &login, &known, (&transaction_id, back.as_ref()))?;
    let who = (Some(&user_id), Some(&client.id));
    let ran = match &back {
        Some(Back { pending, .. }) => {
            let from = From::Continue { binding_id: &pending.binding_id };
            let effects = pending.effects.clone();
            pipeline::run(core, ctx, config, (ActionTrigger::PostLogin, from), event, effects, who).await?
        }
        None => {
            let from = (ActionTrigger::PostLogin, From::Start);
            pipeline::run(core, ctx, config, from, event, Effects::default(), who).await?
        }
    };
    // Time has passed.
    let ctx = Ctx { now: core.clock.now(), ..ctx.clone() };
    conclude(core, ctx, config, client, login, ran, (user_id, transaction_id)).await
}

async fn read(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Client,
    standing: &Standing,
) -> Result<Option<Known>, Failure> {
    let arguments = (ctx.tenant, standing.sid, client.id.clone());
    let known = core
        .store
        .read(arguments, |tx, (tenant, sid, client)| {
            Box::pin(async move {
                let Some(session) = session_store::find(tx, *tenant, sid, Some(client)).await? else {
                    return Ok(None);
                };
                let clients = session_store::clients(tx, *tenant, sid).await?;
                let Some(user) = users::find(tx, *tenant, &sid.user).await? else { return Ok(None) };
                let identities = users::identities(tx, *tenant, &sid.user).await?;
                Ok(Some(Known { session, clients, user, identities }))
            })
        })
        .await?;
    Ok(known.filter(|known| life(&known.session, config, ctx.now) == Life::Alive))
}

fn event_of(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    login: &Login,
    known: &Known,
    (transaction_id, back): (&str, Option<&Back>),
) -> Result<Value, Failure> {
    let request = match back {
        Some(back) => event::request(
            ctx,
            back.query.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            back.body.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        ),
        None => {
            let query = sent::query(&login.request);
            let query = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            event::request(ctx, query, std::iter::empty())
        }
    };
    let mut event = json!({
        "authentication": event::authentication(Some(&known.session.methods)),
        "authorization": { "roles": [] },
        "client": event::client(client),
        "request": request,
        "session": event::session(&known.session, &known.clients),
        "stats": { "logins_count": known.user.logins_count },
        "tenant": event::tenant(config),
        "transaction": transaction(ctx, config, &login.request, transaction_id),
        "user": event::user(config, &known.user, &known.identities)?,
    });
    if let Some(connection) = config.connection(&known.session.connection_id) {
        event["connection"] = event::connection(connection);
    }
    if let Some(domain) = event::custom_domain(ctx, config) {
        event["custom_domain"] = domain;
    }
    if let Some(audience) = &login.request.audience {
        event["resource_server"] = json!({ "identifier": audience });
    }
    Ok(event)
}

/// `event.transaction` of an authorization request.
pub(super) fn transaction(
    ctx: &Ctx,
    config: &TenantConfig,
    request: &Request,
    id: &str,
) -> Map<String, Value> {
    let front = request.wants_token || request.wants_id_token;
    let protocol = match (request.wants_code, front) {
        (true, false) => "oidc-basic-profile",
        (true, true) => "oidc-hybrid-profile",
        (false, _) => "oidc-implicit-profile",
    };
    let query = sent::query(request);
    let text = |name: &str| query.get(name).map_or("", String::as_str);
    let words = |name: &str| text(name).split_whitespace().collect::<Vec<_>>();
    let locales = words("ui_locales");
    let locale = sent::locale(&config.settings.enabled_locales, &locales, &ctx.request.language);
    let mut doc = event::transaction(id.to_owned(), protocol, text("scope"));
    for (name, value) in [
        ("acr_values", json!(words("acr_values"))),
        ("locale", json!(locale)),
        ("prompt", json!(words("prompt"))),
        ("redirect_uri", json!(request.redirect_uri)),
        ("response_mode", json!(request.response_mode)),
        ("response_type", json!(words("response_type"))),
        ("ui_locales", json!(locales)),
    ] {
        doc.insert(name.to_owned(), value);
    }
    for name in ["correlation_id", "login_hint", "state"] {
        if let Some(value) = query.get(name) {
            doc.insert(name.to_owned(), json!(value));
        }
    }
    doc
}

/// Does what the Actions asked for, and goes on.
async fn conclude(
    core: &Core,
    ctx: Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    mut login: Login,
    ran: Run,
    (user_id, transaction): (UserId, String),
) -> Result<Judged, Failure> {
    let Run { mut effects, stop, execution_id, .. } = ran;
    let url = effects.redirect.take();
    let mut no = match stop {
        Stop::Redirected { binding_id } if !login.request.prompt_none => {
            let pending = Pending { binding_id, effects, transaction };
            let outcome = interact::leave(&ctx, config, login, pending, url.unwrap_or_default());
            return Ok(Judged::Answered(Box::new(outcome)));
        }
        stop => stop.refusal(&mut effects),
    };
    let revoked = effects.session_revoked.is_some();
    let row = match write(core, &ctx, config, client, &login.standing, &effects).await? {
        OfSession::Lives(row) => Some(row).filter(|row| above(&login.standing, row)),
        OfSession::Over => None,
        OfSession::Undone(Undone(text)) => {
            no.get_or_insert((OAuthCode::AccessDenied, text));
            None
        }
    };
    let extras = Extras {
        access_claims: std::mem::take(&mut effects.access_claims),
        id_claims: std::mem::take(&mut effects.id_claims),
        refresh_token: std::mem::take(&mut effects.refresh_token),
        execution: Some(execution_id),
    };
    if let Some(row) = &row {
        login.cookie = cookie_of(&ctx, row, login.cookie, effects.persistent.is_some());
    }
    if let Some((code, text)) = no {
        log_end(core, &ctx, client, &login, &extras, (Some(&user_id), Err(&text)));
        let mut outcome = respond::error(&ctx, config, Some(client), &login.request, code, &text);
        // There is a session, whatever an Action says of this client.
        if let Outcome::Respond(response) = &mut outcome {
            response.cookie = login.cookie.and_then(SessionCookie::change).filter(|_| !revoked);
        }
        return Ok(Judged::Answered(Box::new(outcome)));
    }
    let Some(row) = row else {
        if login.standing.fresh {
            let text = "The session ended while Actions ran";
            log_end(core, &ctx, client, &login, &extras, (Some(&user_id), Err(text)));
        }
        return no_session(core, &ctx, config, client, login.request)
            .map(|outcome| Judged::Answered(Box::new(outcome)));
    };
    let (config, client) = match newest(core, &ctx, config, client, &row).await? {
        Some(found) => found,
        None => {
            let error = PageError::new(OAuthCode::InvalidRequest, "Unknown client");
            return Ok(Judged::Answered(Box::new(Outcome::Page(error))));
        }
    };
    if login.standing.fresh {
        log_end(core, &ctx, &client, &login, &extras, (Some(&user_id), Ok(())));
    }
    login.request.scope =
        effects.granted_scope(&config, login.request.audience.as_deref(), &login.request.scope);
    // Nobody is told of it any more, and a consent page has other things to carry.
    login.request.sent.clear();
    login.standing.extras = Some(Arc::new(extras));
    Ok(Judged::Goes { ctx, config, client, login: Box::new(login) })
}

/// The browser's cookie of a session that Actions may have changed: one to be set lasts as the session does, and one that
/// the browser has is set again where an Action said how long it is to be kept.
fn cookie_of(
    ctx: &Ctx,
    row: &SessionRow,
    cookie: Option<SessionCookie>,
    mode_set: bool,
) -> Option<SessionCookie> {
    let value = match cookie? {
        SessionCookie::Set(change) => change.value,
        SessionCookie::Kept(value) if mode_set => value,
        kept @ SessionCookie::Kept(_) => return Some(kept),
    };
    let seconds = (row.expires_at.micros() - ctx.now.micros()) / 1_000_000;
    let max_age_seconds = row.persistent.then_some(seconds);
    Some(SessionCookie::Set(CookieChange { value, max_age_seconds }))
}

/// Writes down what was asked for; without anything, only looks.
async fn write(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    standing: &Standing,
    effects: &Effects,
) -> Result<OfSession, Failure> {
    let arguments = (ctx.clone(), Arc::clone(config), client.id.clone(), standing.sid, effects.clone());
    if effects.writes_nothing() {
        return core
            .store
            .read(arguments, |tx, (ctx, config, client, sid, effects)| {
                Box::pin(apply::to_session(tx, ctx, config, (sid, client), effects))
            })
            .await;
    }
    core.store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, config, client, sid, effects)| {
            Box::pin(async move {
                apply::to_user(tx, ctx, &sid.user, effects).await?;
                apply::to_session(tx, ctx, config, (sid, client), effects).await
            })
        })
        .await
}

/// Whether what the credential step proved still stands.
fn above(standing: &Standing, row: &SessionRow) -> bool {
    standing.counter >= row.user_session_floor
        && row.identity_session_floor.is_some_and(|floor| standing.counter >= floor)
        && standing.counter >= row.pair_family_floor
}

/// The configurations as the last reading found them; `None` when the client is gone.
async fn newest(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    row: &SessionRow,
) -> Result<Option<(Arc<TenantConfig>, Arc<Client>)>, Failure> {
    if row.tenant_version == config.version && row.client_version == Some(client.version) {
        return Ok(Some((Arc::clone(config), Arc::clone(client))));
    }
    let (config, client) = core.configuration(ctx.tenant, &client.id).await?;
    Ok(client.map(|client| (config, client)))
}

fn log_end(
    core: &Core,
    ctx: &Ctx,
    client: &Client,
    login: &Login,
    extras: &Extras,
    (user_id, outcome): (Option<&UserId>, Result<(), &str>),
) {
    let (code, description) = match (outcome, login.standing.fresh) {
        (Ok(()), _) => (LogCode::Login, "Successful login"),
        (Err(text), true) => (LogCode::LoginFailed, text),
        (Err(text), false) => (LogCode::SilentLoginFailed, text),
    };
    let mut details = json!({ "session_id": login.standing.sid.to_string() });
    extras.note_in(&mut details);
    let user_id = user_id.map(UserId::as_str);
    let client_id = Some(client.id.as_str());
    core.logs.send(ctx, &LogEntry { code, user_id, client_id, description, details });
}
