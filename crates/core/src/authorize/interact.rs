//! The pages of a login: sealed state, credentials, sign-up, consent.
//!
//! Nothing is written before a credential was verified. The state of a login is sealed into the page's address and
//! bound to the browser by a cookie per transaction; the credential step exchanges that cookie's secret, so that the
//! state of before it no longer serves: Back after a logout yields nothing. From then on the state carries the session
//! and its counter and dies with them.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_model::config::{ActionTrigger, Client, Connection};
use curfew_model::secret::constant_time_eq;
use curfew_model::{
    ClientId, Ctx, Decision, Failure, LogCode, OAuthCode, Refusal, Secret, SessionKey, Sid, Timestamp,
    UserKey,
};
use curfew_store::{Lane, Tx};
use curfew_tokens::SealKind;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::post_login::{self, Back, Login};
use super::{Outcome, PageError, Request, Standing, give_consent, go_on, proceed, respond};
use crate::actions::commands::Effects;
use crate::issue::Extras;
use crate::logs::{self, LogEntry};
use crate::sessions::start::record_login;
use crate::sessions::{self, Authenticated, Life, Started, cookie_value, life};
use crate::users::{self, Checked, Creation, NewUser, Registered, Registration, check_password};
use crate::{Core, TenantConfig};

/// How long a login may take, from the request to the last page.
pub const TRANSACTION_SECONDS: i64 = 3600;

/// What is said when the state is of another browser, of another step, or too old.
pub const LOST: &str = "You may have pressed the back button, refreshed during login, opened too many login dialogs, or there is some issue with cookies, since we couldn't find your session. Try logging in again from the application and if the problem persists please contact the administrator.";

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Identifier and password.
    Login,
    /// Sign-up.
    Signup,
    /// Consent.
    Consent,
    /// None of ours: where an Action sends the browser.
    Elsewhere,
}

/// The state of a login, sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginState {
    /// The request.
    #[serde(rename = "q")]
    pub request: Request,
    /// Names the transaction's cookie.
    #[serde(rename = "i")]
    pub id: String,
    /// Hash of that cookie's secret.
    #[serde(rename = "b")]
    browser: String,
    /// When it began, µs.
    #[serde(rename = "t")]
    started_at: i64,
    /// The issuer it began under.
    #[serde(rename = "d")]
    issuer: String,
    /// After the credential step: whose session.
    #[serde(rename = "su", default, skip_serializing_if = "Option::is_none")]
    user: Option<UserKey>,
    /// Which session.
    #[serde(rename = "ss", default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionKey>,
    /// At which counter.
    #[serde(rename = "sn", default, skip_serializing_if = "Option::is_none")]
    counter: Option<i64>,
    /// At which epoch of the connection for the client.
    #[serde(rename = "se", default, skip_serializing_if = "Option::is_none")]
    epoch: Option<i64>,
    /// When the person authenticated, µs.
    #[serde(rename = "sa", default, skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// Whether that was in this transaction.
    #[serde(rename = "sf", default)]
    fresh: bool,
    /// After the Actions: what they added.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    extras: Option<Extras>,
    /// While an Action has sent the browser elsewhere: what waits for it.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pending: Option<Pending>,
}

/// What waits for a browser that an Action has sent elsewhere.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The binding whose Action goes on.
    #[serde(rename = "b")]
    pub binding_id: String,
    /// What the Actions so far have asked for.
    #[serde(rename = "e")]
    pub effects: Effects,
    /// `event.transaction.id`.
    #[serde(rename = "t")]
    pub transaction: String,
}

/// The cookie that binds a transaction to its browser.
#[derive(Debug, Clone)]
pub struct TransactionCookie {
    /// Names the cookie.
    pub id: String,
    /// Its value.
    pub secret: Secret<String>,
}

/// A session cookie to set.
#[derive(Debug, Clone)]
pub struct CookieChange {
    /// The sealed value.
    pub value: Secret<String>,
    /// `Max-Age`; `None` for a cookie that ends with the browser.
    pub max_age_seconds: Option<i64>,
}

/// The session cookie of a browser whose person is proven.
#[derive(Debug, Clone)]
pub enum SessionCookie {
    /// The browser has it: its sealed value.
    Kept(Secret<String>),
    /// To be set.
    Set(CookieChange),
}

impl SessionCookie {
    /// One that the browser has sent.
    pub(super) fn kept(value: &str) -> Self {
        Self::Kept(Secret::new(value.to_owned()))
    }

    /// What is to be set.
    pub(super) fn change(self) -> Option<CookieChange> {
        match self {
            Self::Kept(_) => None,
            Self::Set(change) => Some(change),
        }
    }
}

/// A page to show.
#[derive(Debug, Clone)]
pub struct Interaction {
    /// Which.
    pub screen: Screen,
    /// Its sealed state.
    pub state: String,
    /// The transaction's cookie to set.
    pub transaction: Option<TransactionCookie>,
    /// The session cookie to set.
    pub cookie: Option<CookieChange>,
    /// Where an Action sends the browser.
    pub elsewhere: Option<String>,
}

fn browser_hash(secret: &str) -> String {
    // The secret has 128 bits of its own; the hash only keeps it out of the address line.
    let label = format!("curfew transaction v1|{secret}");
    URL_SAFE_NO_PAD.encode(curfew_tokens::digest::sha256(label.as_bytes()))
}

/// What the form of a page must carry beside its state: derived from the transaction's cookie, which another site
/// can neither read nor set.
pub fn csrf_token(secret: &str) -> String {
    let label = format!("curfew csrf v1|{secret}");
    URL_SAFE_NO_PAD.encode(curfew_tokens::digest::sha256(label.as_bytes()))
}

fn new_transaction(ctx: &Ctx, id: Option<String>) -> TransactionCookie {
    TransactionCookie {
        id: id.unwrap_or_else(|| ctx.entropy.alphanumeric(10)),
        secret: Secret::new(URL_SAFE_NO_PAD.encode(ctx.entropy.bytes::<16>())),
    }
}

fn seal(config: &TenantConfig, ctx: &Ctx, state: &LoginState) -> String {
    let plaintext = serde_json::to_vec(state).unwrap_or_default();
    config.seal(SealKind::LoginState, &plaintext, ctx)
}

/// Shows the first page of a login.
pub fn start(ctx: &Ctx, config: &TenantConfig, request: Request) -> Outcome {
    let transaction = new_transaction(ctx, None);
    let screen = if request.signup { Screen::Signup } else { Screen::Login };
    let state = LoginState {
        request,
        id: transaction.id.clone(),
        browser: browser_hash(transaction.secret.expose()),
        started_at: ctx.now.micros(),
        issuer: ctx.issuer.to_string(),
        user: None,
        session: None,
        counter: None,
        epoch: None,
        auth_time: None,
        fresh: false,
        extras: None,
        pending: None,
    };
    show(ctx, config, screen, &state, transaction, None)
}

/// A page with its sealed state, unless that would be too long to be opened again.
fn show(
    ctx: &Ctx,
    config: &TenantConfig,
    screen: Screen,
    state: &LoginState,
    transaction: TransactionCookie,
    cookie: Option<CookieChange>,
) -> Outcome {
    let sealed = seal(config, ctx, state);
    if sealed.len() > curfew_tokens::seal::SEALED_BYTES_MAX {
        let error = PageError::new(OAuthCode::InvalidRequest, "The request is too large");
        return Outcome::Page(error.of(config, &state.request.client_id, None));
    }
    let transaction = Some(transaction);
    Outcome::Interact(Box::new(Interaction { screen, state: sealed, transaction, cookie, elsewhere: None }))
}

/// Shows the consent page, its state bound to the session.
pub(super) fn ask_consent(
    ctx: &Ctx,
    config: &TenantConfig,
    request: Request,
    standing: &Standing,
    cookie: Option<CookieChange>,
) -> Outcome {
    let transaction = new_transaction(ctx, None);
    let state = state_of(ctx, &transaction, request, standing, None);
    show(ctx, config, Screen::Consent, &state, transaction, cookie)
}

/// The state of a login whose person is proven.
fn state_of(
    ctx: &Ctx,
    transaction: &TransactionCookie,
    request: Request,
    standing: &Standing,
    pending: Option<Pending>,
) -> LoginState {
    LoginState {
        request,
        id: transaction.id.clone(),
        browser: browser_hash(transaction.secret.expose()),
        started_at: ctx.now.micros(),
        issuer: ctx.issuer.to_string(),
        user: Some(standing.sid.user),
        session: Some(standing.sid.session),
        counter: Some(standing.counter),
        epoch: standing.epoch,
        auth_time: Some(standing.auth_time.micros()),
        fresh: standing.fresh,
        extras: standing.extras.as_deref().cloned(),
        pending,
    }
}

/// Sends the browser where an Action wants it, with a state to come back with; its session is written down already.
pub(super) fn leave(
    ctx: &Ctx,
    config: &TenantConfig,
    login: Login,
    pending: Pending,
    url: String,
) -> Outcome {
    let Login { request, standing, cookie } = login;
    let cookie = cookie.and_then(SessionCookie::change);
    let transaction = new_transaction(ctx, None);
    let state = state_of(ctx, &transaction, request, &standing, Some(pending));
    match show(ctx, config, Screen::Elsewhere, &state, transaction, cookie) {
        Outcome::Interact(mut interaction) => {
            interaction.elsewhere = Some(url);
            Outcome::Interact(interaction)
        }
        outcome => outcome,
    }
}

/// A page's state that is proven to be this browser's, with tenant and client as they are now.
#[derive(Debug)]
pub struct Opened {
    /// The state.
    pub state: LoginState,
    /// The tenant's configuration.
    pub config: Arc<TenantConfig>,
    /// The client.
    pub client: Arc<Client>,
}

fn lost(config: &TenantConfig, client: Option<&Client>) -> PageError {
    let start_again = client
        .and_then(|client| client.doc.initiate_login_uri.clone())
        .or_else(|| config.settings.default_redirection_uri.clone());
    let client_id = client.map_or("", |client| client.id.as_str());
    let error = PageError { lost: true, start_again, ..PageError::new(OAuthCode::InvalidRequest, LOST) };
    error.of(config, client_id, None)
}

/// Which transaction a sealed state belongs to, so that its cookie can be found. Proves nothing.
pub async fn transaction_id(core: &Core, ctx: &Ctx, sealed: &str) -> Result<Option<String>, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    Ok(unseal(&config, sealed).map(|state| state.id))
}

fn unseal(config: &TenantConfig, sealed: &str) -> Option<LoginState> {
    let unsealed = config.sealing.unseal(SealKind::LoginState, config.tenant, sealed).ok()?;
    serde_json::from_slice(&unsealed.plaintext).ok()
}

/// Opens a page's state.
///
/// Steps: 1 unseal, 2 same browser, same issuer, in time, 3 the client is still there and still has the callback, and the
/// API is the one that was asked for, 4 after the credential step: what that proved still stands.
pub async fn open(
    core: &Core,
    ctx: &Ctx,
    sealed: &str,
    secret: Option<&str>,
) -> Result<Result<Opened, PageError>, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let Some(state) = unseal(&config, sealed) else { return Ok(Err(lost(&config, None))) };
    let client_id = ClientId(state.request.client_id.clone());
    let (config, client) = core.configuration(ctx.tenant, &client_id).await?;
    let same_browser = secret
        .is_some_and(|secret| constant_time_eq(browser_hash(secret).as_bytes(), state.browser.as_bytes()));
    let age_micros = ctx.now.micros() - state.started_at;
    let in_time = (0..=TRANSACTION_SECONDS * 1_000_000).contains(&age_micros);
    let Some(client) = client else { return Ok(Err(lost(&config, None))) };
    if !same_browser || !in_time || state.issuer != *ctx.issuer {
        return Ok(Err(lost(&config, Some(&client))));
    }
    if !super::redirect::matches_callback(&client.doc.callbacks, &state.request.redirect_uri) {
        return Ok(Err(lost(&config, Some(&client))));
    }
    let started_at = Timestamp::from_micros(state.started_at);
    let server = state.request.audience.as_deref().map(|audience| config.resource_server(audience));
    if server.is_some_and(|server| server.is_none_or(|server| started_at <= server.floor)) {
        return Ok(Err(lost(&config, Some(&client))));
    }
    if let Some(standing) = state.standing()
        && !stands(core, ctx, &config, &client, &standing).await?
    {
        return Ok(Err(lost(&config, Some(&client))));
    }
    Ok(Ok(Opened { state, config, client }))
}

/// Whether what the credential step proved still stands: the session, above the floors, at the same epoch of its
/// connection.
async fn stands(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    standing: &Standing,
) -> Result<bool, Failure> {
    let found = core
        .store
        .read((ctx.tenant, standing.sid, client.id.clone()), |tx, (tenant, sid, client)| {
            Box::pin(curfew_store::sessions::find(tx, *tenant, sid, Some(client)))
        })
        .await?;
    Ok(found.is_some_and(|row| {
        let epoch = super::epoch(config, &row.connection_id, client);
        life(&row, config, ctx.now) == Life::Alive
            && standing.counter >= row.user_session_floor
            && row.identity_session_floor.is_some_and(|floor| standing.counter >= floor)
            && standing.counter >= row.pair_family_floor
            && epoch.is_some()
            && epoch == standing.epoch
    }))
}

impl LoginState {
    /// Whether the credential step is behind it, and consent is awaited.
    pub fn is_consent(&self) -> bool {
        self.session.is_some() && self.pending.is_none()
    }

    fn standing(&self) -> Option<Standing> {
        Some(Standing {
            sid: Sid { user: self.user?, session: self.session? },
            counter: self.counter?,
            epoch: self.epoch,
            auth_time: Timestamp::from_micros(self.auth_time?),
            fresh: self.fresh,
            counts: false,
            extras: self.extras.clone().map(Arc::new),
        })
    }
}

/// The e-mail, or user name, of the person a consent page asks; `None` when the user is gone.
pub async fn person_of(core: &Core, ctx: &Ctx, state: &LoginState) -> Result<Option<String>, Failure> {
    let Some(user) = state.user else { return Ok(None) };
    let found = core
        .store
        .read((ctx.tenant, user), |tx, (tenant, user)| Box::pin(curfew_store::users::find(tx, *tenant, user)))
        .await?;
    let doc: Option<serde_json::Map<String, serde_json::Value>> =
        found.and_then(|row| serde_json::from_str(&row.doc).ok());
    let text = |name: &str| doc.as_ref()?.get(name)?.as_str().map(str::to_owned);
    Ok(text("email").or_else(|| text("username")).or_else(|| text("name")))
}

/// The connections a login may use: the named one, or every one that the client has.
pub fn connections(opened: &Opened) -> impl Iterator<Item = &Connection> {
    let named = opened.state.request.connection_id.as_ref();
    opened.config.connections.iter().filter(move |connection| {
        connection.strategy == "auth0"
            && connection.epoch_for(&opened.client.id).is_some()
            && named.is_none_or(|id| *id == connection.id)
    })
}

/// What a submitted credential form comes to.
#[derive(Debug)]
pub enum LoginResult {
    /// Wrong; the same page again.
    Wrong,
    /// Sign-up: an e-mail or user name that cannot be, or that somebody has.
    NotPossible,
    /// Sign-up: the password breaks the policy.
    WeakPassword,
    /// Sign-up: an Action said no, with this for the person.
    Told(String),
    /// On to the client, or to the next page.
    Done(Outcome),
}

/// Takes identifier and password from the login page.
pub async fn submit_login(
    core: &Core,
    ctx: &Ctx,
    opened: Opened,
    identifier: &str,
    password: &Secret<String>,
    cookie: Option<&str>,
) -> Result<LoginResult, Failure> {
    if opened.state.session.is_some() {
        return Ok(LoginResult::Done(Outcome::Page(lost(&opened.config, Some(&opened.client)))));
    }
    let usable: Vec<&Connection> = connections(&opened).collect();
    if usable.is_empty() {
        return Ok(LoginResult::Done(no_connection(ctx, &opened)));
    }
    let client_id = opened.client.id.as_str();
    match check_password(core, ctx, &usable, client_id, identifier, password).await? {
        Checked::Wrong => Ok(LoginResult::Wrong),
        Checked::Right { person, .. } => {
            logged_in(core, ctx, opened, person, cookie).await.map(LoginResult::Done)
        }
    }
}

fn no_connection(ctx: &Ctx, opened: &Opened) -> Outcome {
    let Opened { state, config, client } = opened;
    let text = "the connection is not enabled";
    respond::error(ctx, config, Some(client), &state.request, OAuthCode::InvalidRequest, text)
}

/// Takes the sign-up page's form: makes the user and goes on as after a login.
pub async fn submit_signup(
    core: &Core,
    ctx: &Ctx,
    opened: Opened,
    doc: serde_json::Map<String, serde_json::Value>,
    password: Secret<String>,
    cookie: Option<&str>,
) -> Result<LoginResult, Failure> {
    if opened.state.session.is_some() {
        return Ok(LoginResult::Done(Outcome::Page(lost(&opened.config, Some(&opened.client)))));
    }
    let found = connections(&opened).find(|connection| !connection.doc.options.disable_signup).cloned();
    let Some(connection) = found else { return Ok(LoginResult::Done(no_connection(ctx, &opened))) };
    let connection_id = connection.id.clone();
    let new = NewUser {
        connection,
        doc: users::signup_document(&doc),
        password: Some(password),
        identity_id: None,
        blocked: None,
    };
    let id = ctx.entropy.alphanumeric(24);
    let transaction = post_login::transaction(ctx, &opened.config, &opened.state.request, &id);
    let registration = Registration {
        config: Arc::clone(&opened.config),
        new,
        client: Some(Arc::clone(&opened.client)),
        body: doc,
        transaction: Some(transaction),
    };
    let row = match users::register(core, ctx, registration).await? {
        Registered::Decided(Creation::Created(row)) => row,
        Registered::Decided(Creation::WeakPassword(_)) => return Ok(LoginResult::WeakPassword),
        Registered::Refused { user_message: Some(message) } => return Ok(LoginResult::Told(message)),
        Registered::Decided(Creation::Exists | Creation::Invalid(_))
        | Registered::Refused { user_message: None } => return Ok(LoginResult::NotPossible),
    };
    // Actions may have taken a while.
    let ctx = &Ctx { now: core.clock.now(), ..ctx.clone() };
    let identity_id = row.user_id.as_str().trim_start_matches("auth0|").to_owned();
    let person = Authenticated {
        user_key: row.user_key,
        user_id: row.user_id,
        counter: row.counter,
        provider: "auth0".to_owned(),
        identity_id,
        connection_id,
        method: "pwd",
    };
    logged_in(core, ctx, opened, person, cookie).await.map(LoginResult::Done)
}

/// After the credential step.
///
/// Steps: 1 count the login, 2 refuse a blocked user to the callback, 3 begin or renew the session, 4 go on.
async fn logged_in(
    core: &Core,
    ctx: &Ctx,
    opened: Opened,
    person: Authenticated,
    cookie: Option<&str>,
) -> Result<Outcome, Failure> {
    let Opened { state, config, client } = opened;
    let present = match cookie {
        Some(cookie) => sessions::find_by_cookie(core, ctx, &config, cookie, None).await?,
        None => None,
    };
    let counter = person.counter;
    let epoch = super::epoch(&config, &person.connection_id, &client);
    let arguments = (ctx.clone(), Arc::clone(&config), person, present, client.id.clone());
    let started = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, config, person, present, client_id)| {
            Box::pin(begin_session(tx, ctx, config, person, present.as_ref(), client_id))
        })
        .await?;
    let started = match started {
        Decision::Granted(started) => started,
        Decision::Refused(refusal) => {
            let error = respond::error(
                ctx,
                &config,
                Some(&client),
                &state.request,
                refusal.code,
                &refusal.description,
            );
            return Ok(error);
        }
    };
    // A renewed session keeps its secret; its cookie is sent again, because it now lives longer.
    let value = match &started.secret {
        Some(secret) => Some(cookie_value(&config, ctx, &started.sid, secret)),
        None => cookie.map(str::to_owned),
    };
    let change = value.map(|value| CookieChange {
        value: Secret::new(value),
        max_age_seconds: started.persistent.then_some(started.lifetime_seconds),
    });
    let standing = Standing {
        sid: started.sid,
        counter,
        epoch,
        auth_time: ctx.now,
        fresh: true,
        counts: false,
        extras: None,
    };
    proceed(core, ctx, &config, &client, state.request, standing, change.map(SessionCookie::Set)).await
}

async fn begin_session(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    person: &Authenticated,
    present: Option<&curfew_store::sessions::SessionRow>,
    client_id: &ClientId,
) -> Result<Decision<Started>, Failure> {
    record_login(tx, ctx, &person.user_key).await?;
    let row = curfew_store::users::find(tx, ctx.tenant, &person.user_key).await?;
    let blocked = row.is_none_or(|row| row.blocked == Some(true));
    let mut entry = LogEntry {
        code: LogCode::Login,
        user_id: Some(person.user_id.as_str()),
        client_id: Some(client_id.as_str()),
        description: "Successful login",
        details: json!({}),
    };
    if blocked {
        entry.code = LogCode::LoginFailed;
        entry.description = "user is blocked";
        logs::write(tx, ctx, &entry).await?;
        return Ok(Decision::Refused(Refusal::new(OAuthCode::Unauthorized, "user is blocked")));
    }
    let started = sessions::start(tx, ctx, config, person, present).await?;
    // Whether it succeeds is for Actions to say, where there are any.
    if config.actions.at(ActionTrigger::PostLogin).is_empty() {
        entry.details = json!({"session_id": started.sid.to_string()});
        logs::write(tx, ctx, &entry).await?;
    }
    Ok(Decision::Granted(started))
}

/// Takes the consent page's answer.
///
/// Steps: 1 the session of the state is the browser's and lives, 2 a "no" goes to the client (or to our page under
/// open-redirect protection), 3 a "yes" is stored, 4 the answer.
pub async fn submit_consent(
    core: &Core,
    ctx: &Ctx,
    opened: Opened,
    accepted: bool,
    cookie: Option<&str>,
) -> Result<Outcome, Failure> {
    let standing = standing_of(core, ctx, &opened, cookie).await?;
    let Opened { state, config, client } = opened;
    let standing = standing.filter(|_| state.is_consent());
    let Some(standing) = standing else { return Ok(Outcome::Page(lost(&config, Some(&client)))) };
    if !accepted {
        return Ok(declined(ctx, &config, &client, &state.request));
    }
    let arguments = (ctx.clone(), standing.sid.user, client.id.clone(), state.request.clone());
    let consent = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, user, client, request)| {
            let audience = request.audience.as_deref().unwrap_or("");
            Box::pin(give_consent(tx, ctx, user, client, audience, &request.scope))
        })
        .await?;
    respond::success(core, ctx, &config, &client, state.request, standing, Some(consent), None).await
}

/// Who stands behind a state, where it is the session of this browser.
async fn standing_of(
    core: &Core,
    ctx: &Ctx,
    opened: &Opened,
    cookie: Option<&str>,
) -> Result<Option<Standing>, Failure> {
    let session = match cookie {
        Some(cookie) => sessions::find_by_cookie(core, ctx, &opened.config, cookie, None).await?,
        None => None,
    };
    Ok(opened.state.standing().filter(|standing| {
        session.as_ref().is_some_and(|row| {
            row.sid == standing.sid
                && standing.counter >= row.user_session_floor
                && row.identity_session_floor.is_some_and(|floor| standing.counter >= floor)
        })
    }))
}

/// Takes back a browser that an Action had sent elsewhere, with what it was given there.
///
/// Steps: 1 the session of the state is the browser's and lives, 2 it comes back once, 3 the Action goes on, and those
/// behind it, 4 as after any login.
pub async fn come_back(
    core: &Core,
    ctx: &Ctx,
    opened: Opened,
    (query, body): (HashMap<String, String>, HashMap<String, String>),
    cookie: Option<&str>,
) -> Result<Outcome, Failure> {
    let standing = standing_of(core, ctx, &opened, cookie).await?;
    let Opened { state, config, client } = opened;
    let (Some(standing), Some(pending)) = (standing, state.pending) else {
        return Ok(Outcome::Page(lost(&config, Some(&client))));
    };
    let first = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), state.browser.clone()), |tx, (ctx, browser)| {
            Box::pin(async move {
                let keep_until = ctx.now.plus_seconds(TRANSACTION_SECONDS);
                let id = browser.as_bytes();
                curfew_store::codes::consume_once(tx, ctx.tenant, "continue", id, ctx.now, keep_until).await
            })
        })
        .await?;
    if !first {
        return Ok(Outcome::Page(lost(&config, Some(&client))));
    }
    let login = Login { request: state.request, standing, cookie: cookie.map(SessionCookie::kept) };
    let back = Back { pending, query, body };
    let judged = Box::pin(post_login::run(core, ctx, &config, &client, login, Some(back))).await?;
    go_on(core, judged).await
}

fn declined(ctx: &Ctx, config: &TenantConfig, client: &Client, request: &Request) -> Outcome {
    let text = "User did not authorize the request";
    if client.doc.is_first_party || client.doc.redirection_policy.as_deref() == Some("allow_always") {
        return respond::error(ctx, config, Some(client), request, OAuthCode::AccessDenied, text);
    }
    let error = PageError::new(OAuthCode::AccessDenied, text);
    Outcome::Page(error.of(config, client.id.as_str(), request.state.as_deref()))
}
