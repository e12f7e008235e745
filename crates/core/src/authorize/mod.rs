//! The authorization endpoint (RFC 6749 §3.1, OIDC Core §3).
//!
//! [`CHECKS`] is every check of a request, in order; each is a small function in [`checks`]. Before client and
//! `redirect_uri` are proven an error goes to our own page, afterwards to the client. What follows is decided in
//! [`begin`]: single sign-on, the login page, consent, the answer.

pub mod checks;
pub mod interact;
mod post_login;
pub mod redirect;
pub mod respond;
mod sent;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use curfew_model::config::{ActionTrigger, Client};
use curfew_model::{ClientId, Ctx, Failure, LogCode, OAuthCode, Sid, Timestamp, UserKey};
use curfew_store::sessions::SessionRow;
use curfew_store::{Lane, Tx, grants as consents};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use checks::{CHECKS, Denial};
pub use interact::{CookieChange, Interaction, LoginState, Screen, SessionCookie, TransactionCookie};
pub use respond::Response;

use crate::issue::{Extras, has_scope};
use crate::logs::LogEntry;
use crate::sessions::{self, touch, touch_due};
use crate::{Core, TenantConfig};

/// Largest sum of the parameters' bytes; a browser's address line takes no more.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// How the answer reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// OAuth 2.0 Multiple Response Type Encoding Practices §2.1.
    Query,
    /// The same.
    Fragment,
    /// OAuth 2.0 Form Post Response Mode.
    FormPost,
    /// A page that posts a message to the window that framed or opened it.
    WebMessage,
}

impl ResponseMode {
    /// Reads `response_mode`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "query" => Some(Self::Query),
            "fragment" => Some(Self::Fragment),
            "form_post" => Some(Self::FormPost),
            "web_message" => Some(Self::WebMessage),
            _ => None,
        }
    }

    /// As it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Fragment => "fragment",
            Self::FormPost => "form_post",
            Self::WebMessage => "web_message",
        }
    }
}

/// A request that passed every check. Sealed into the login page's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// `client_id`.
    #[serde(rename = "c")]
    pub client_id: String,
    /// `redirect_uri`, registered.
    #[serde(rename = "r")]
    pub redirect_uri: String,
    /// Whether the request named it; else it is the client's only one.
    #[serde(rename = "rs", default)]
    pub redirect_uri_sent: bool,
    /// `response_type` holds `code`.
    #[serde(rename = "rc", default)]
    pub wants_code: bool,
    /// `response_type` holds `token`.
    #[serde(rename = "rt", default)]
    pub wants_token: bool,
    /// `response_type` holds `id_token`.
    #[serde(rename = "ri", default)]
    pub wants_id_token: bool,
    /// `response_mode`, or the response type's default.
    #[serde(rename = "m", default)]
    pub response_mode: Option<ResponseMode>,
    /// What may be granted of `scope`.
    #[serde(rename = "p", default)]
    pub scope: String,
    /// `audience`, or the tenant's default.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// `state`.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `nonce`.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// `code_challenge`.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<String>,
    /// `code_challenge_method`.
    #[serde(rename = "hm", default, skip_serializing_if = "Option::is_none")]
    pub code_challenge_method: Option<String>,
    /// `prompt=none`.
    #[serde(rename = "pn", default)]
    pub prompt_none: bool,
    /// `prompt=login`, `select_account` or `create`: whoever is logged in, the person is asked.
    #[serde(rename = "pl", default)]
    pub prompt_login: bool,
    /// `prompt=consent`.
    #[serde(rename = "pc", default)]
    pub prompt_consent: bool,
    /// `max_age`, seconds.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i64>,
    /// `login_hint`.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub login_hint: Option<String>,
    /// `screen_hint=signup` or `prompt=create`.
    #[serde(rename = "u", default)]
    pub signup: bool,
    /// The connection named by `connection`.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
    /// `ui_locales`.
    #[serde(rename = "ui", default, skip_serializing_if = "Option::is_none")]
    pub ui_locales: Option<String>,
    /// For Actions, where there are any: what was sent beside all that, or otherwise; empty what was not sent.
    #[serde(rename = "z", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sent: BTreeMap<String, String>,
}

/// An error that cannot go to a client.
#[derive(Debug, Clone)]
pub struct PageError {
    /// The code.
    pub code: OAuthCode,
    /// For people.
    pub description: String,
    /// Whether the login transaction is lost, which has a page of its own.
    pub lost: bool,
    /// Where the login can start again, if the client or the tenant says.
    pub start_again: Option<String>,
    /// The tenant's own error page, which is told what happened.
    pub error_page: Option<String>,
}

impl PageError {
    /// An error for our own page.
    pub fn new(code: OAuthCode, description: impl Into<String>) -> Self {
        let description = description.into();
        Self { code, description, lost: false, start_again: None, error_page: None }
    }

    /// Sends it to the tenant's own error page instead, if there is one.
    #[must_use]
    pub fn of(mut self, config: &TenantConfig, client_id: &str, state: Option<&str>) -> Self {
        self.error_page =
            config.settings.error_page.url.as_deref().filter(|url| !url.is_empty()).map(|url| {
                let mut parameters = vec![
                    ("client_id", client_id),
                    ("error", self.code.as_str()),
                    ("error_description", &*self.description),
                ];
                parameters.extend(state.map(|state| ("state", state)));
                redirect::with_query(url, &parameters)
            });
        self
    }
}

/// What the endpoint answers.
#[derive(Debug)]
pub enum Outcome {
    /// Our own error page.
    Page(PageError),
    /// An answer to the client.
    Respond(Box<Response>),
    /// A page of ours.
    Interact(Box<Interaction>),
}

/// The person behind an authorization, proven by a session.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The session.
    pub sid: Sid,
    /// The user's counter at which the session was seen alive.
    pub counter: i64,
    /// The connection's epoch for the client in that instant; `None` when the client does not have the connection.
    pub epoch: Option<i64>,
    /// When the person authenticated.
    pub auth_time: Timestamp,
    /// Whether that was in this very transaction.
    pub fresh: bool,
    /// Whether the client is known to take part in the session, which then counts for the limit of sessions.
    pub counts: bool,
    /// What Actions added.
    pub extras: Option<Arc<Extras>>,
}

/// Begins an authorization.
///
/// Steps: 1 every check of [`CHECKS`], 2 the session behind the cookie, if it serves this request, 3 without one the
/// login page, or `login_required` under `prompt=none`, 4 go on with [`proceed`].
pub async fn begin(
    core: &Core,
    ctx: &Ctx,
    parameters: &HashMap<String, String>,
    cookie: Option<&str>,
) -> Result<Outcome, Failure> {
    let client_id = ClientId(parameters.get("client_id").cloned().unwrap_or_default());
    let (config, client, session) = configuration_and_session(core, ctx, &client_id, cookie).await?;
    let request = match checks::run(&config, client.as_deref(), parameters) {
        Ok(request) => request,
        Err(denied) => {
            return Ok(match *denied {
                (Denial::Page(error), draft) => {
                    Outcome::Page(error.of(&config, &client_id.0, draft.state.as_deref()))
                }
                (Denial::Client(code, description), draft) => {
                    respond::error(ctx, &config, client.as_deref(), &draft, code, &description)
                }
            });
        }
    };
    let Some(client) = client else {
        return Err(Failure::Internal("a request without client passed the checks".into()));
    };
    let session = match session {
        Some(session) => sessions::living(core, ctx, &config, session).await?,
        None => None,
    };
    let usable = session.filter(|session| serves(&request, session, &config, &client, ctx.now));
    match usable {
        Some(session) => {
            let standing = Standing {
                sid: session.sid,
                // The session lives at this counter: what is made from it ends by what comes after. The counter it began
                // at may lie below floors that spared it, and what carries that would be born dead.
                counter: session.user_counter.unwrap_or(session.counter),
                epoch: epoch(&config, &session.connection_id, &client),
                auth_time: session.authenticated_at,
                fresh: false,
                counts: session.client_joined_at.is_some(),
                extras: None,
            };
            if !note_use(core, ctx, &config, &session).await? {
                return no_session(core, ctx, &config, &client, request);
            }
            let cookie = cookie.map(SessionCookie::kept);
            proceed(core, ctx, &config, &client, request, standing, cookie).await
        }
        None => no_session(core, ctx, &config, &client, request),
    }
}

/// The configurations of tenant and client as they are now, and the session that the cookie opens. In one read, where
/// what is cached is of the versions that the session's chain tells.
async fn configuration_and_session(
    core: &Core,
    ctx: &Ctx,
    client_id: &ClientId,
    cookie: Option<&str>,
) -> Result<(Arc<TenantConfig>, Option<Arc<Client>>, Option<SessionRow>), Failure> {
    if let (Some(cookie), Some((config, client))) =
        (cookie, core.cached_configuration(ctx.tenant, client_id.clone()))
    {
        let session = sessions::read_by_cookie(core, ctx, &config, cookie, Some(client_id)).await?;
        let newest = |session: &SessionRow| {
            session.tenant_version == config.version && session.client_version == Some(client.version)
        };
        if let Some(session) = session.filter(newest) {
            return Ok((config, Some(client), Some(session)));
        }
    }
    let (config, client) = core.configuration(ctx.tenant, client_id).await?;
    let session = match cookie {
        // A client that is not there is not asked about: its id may be anything.
        Some(cookie) => sessions::read_by_cookie(core, ctx, &config, cookie, None).await?,
        None => None,
    };
    Ok((config, client, session))
}

fn no_session(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    request: Request,
) -> Result<Outcome, Failure> {
    if request.prompt_none {
        log_silent(core, ctx, LogCode::SilentLoginFailed, client, None, "Login required");
        return Ok(respond::error(
            ctx,
            config,
            Some(client),
            &request,
            OAuthCode::LoginRequired,
            "Login required",
        ));
    }
    Ok(interact::start(ctx, config, request))
}

/// Whether a living session serves this request: no fresh login demanded, young enough, of the demanded connection,
/// which the client may use.
fn serves(
    request: &Request,
    session: &SessionRow,
    config: &TenantConfig,
    client: &Client,
    now: Timestamp,
) -> bool {
    let young = request
        .max_age
        .is_none_or(|max_age| max_age > 0 && session.authenticated_at.plus_seconds(max_age) >= now);
    let connection = request.connection_id.as_ref().is_none_or(|id| *id == session.connection_id);
    let enabled = config.connection(&session.connection_id).and_then(|c| c.epoch_for(&client.id)).is_some();
    !request.prompt_login && young && connection && enabled
}

/// The epoch of a connection for a client; `None` when it is not enabled for it.
fn epoch(config: &TenantConfig, connection_id: &str, client: &Client) -> Option<i64> {
    config.connection(connection_id).and_then(|connection| connection.epoch_for(&client.id))
}

/// Writes a use of the session when one is due; `false` when the session ended meanwhile.
async fn note_use(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    session: &SessionRow,
) -> Result<bool, Failure> {
    let Some(ends) = touch_due(session, config, ctx.now) else { return Ok(true) };
    let arguments = (ctx.clone(), session.clone(), ends);
    core.store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, session, ends)| {
            Box::pin(touch(tx, ctx, session, *ends))
        })
        .await
}

/// Goes on with a person who is proven: Actions, consent if it is due, then the answer.
///
/// `cookie` is the browser's session cookie, to be set with whatever is answered where it is new.
pub async fn proceed(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    request: Request,
    standing: Standing,
    cookie: Option<SessionCookie>,
) -> Result<Outcome, Failure> {
    if config.actions.at(ActionTrigger::PostLogin).is_empty() {
        let cookie = cookie.and_then(SessionCookie::change);
        return after_actions(core, ctx, config, client, request, standing, cookie).await;
    }
    let login = post_login::Login { request, standing, cookie };
    let judged = Box::pin(post_login::run(core, ctx, config, client, login, None)).await?;
    go_on(core, judged).await
}

async fn go_on(core: &Core, judged: post_login::Judged) -> Result<Outcome, Failure> {
    match judged {
        post_login::Judged::Goes { ctx, config, client, login } => {
            let post_login::Login { request, standing, cookie } = *login;
            let cookie = cookie.and_then(SessionCookie::change);
            after_actions(core, &ctx, &config, &client, request, standing, cookie).await
        }
        post_login::Judged::Answered(outcome) => Ok(*outcome),
    }
}

async fn after_actions(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    client: &Arc<Client>,
    request: Request,
    standing: Standing,
    cookie: Option<CookieChange>,
) -> Result<Outcome, Failure> {
    let consent = match consent(core, ctx, config, client, &request, &standing.sid.user).await? {
        Consent::NotNeeded => None,
        Consent::Given(id) => Some(id),
        Consent::Due if request.prompt_none => {
            let text = "Consent required";
            log_silent(core, ctx, LogCode::SilentLoginFailed, client, Some(&standing), text);
            return Ok(respond::error(ctx, config, Some(client), &request, OAuthCode::ConsentRequired, text));
        }
        Consent::Due => return Ok(interact::ask_consent(ctx, config, request, &standing, cookie)),
    };
    respond::success(core, ctx, config, client, request, standing, consent, cookie).await
}

enum Consent {
    NotNeeded,
    Given(String),
    Due,
}

/// Whether the person must be asked: third parties always once, first parties at an API that wants it, or where
/// anybody could have registered the callback.
async fn consent(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    request: &Request,
    user: &UserKey,
) -> Result<Consent, Failure> {
    if !needs_consent(config, client, request) && !request.prompt_consent {
        return Ok(Consent::NotNeeded);
    }
    let audience = request.audience.clone().unwrap_or_default();
    let arguments = (ctx.tenant, *user, client.id.clone(), audience);
    let found = core
        .store
        .read(arguments, |tx, (tenant, user, client, audience)| {
            Box::pin(consents::find(tx, *tenant, user, client, audience))
        })
        .await?;
    let covers =
        |scope: &str| request.scope.split(' ').filter(|s| !s.is_empty()).all(|s| has_scope(scope, s));
    Ok(match found {
        Some(row) if covers(&row.scope) && !request.prompt_consent => Consent::Given(row.id),
        _ => Consent::Due,
    })
}

fn needs_consent(config: &TenantConfig, client: &Client, request: &Request) -> bool {
    if !client.doc.is_first_party {
        return true;
    }
    let Some(server) = request.audience.as_deref().and_then(|audience| config.resource_server(audience))
    else {
        return false;
    };
    let confirmation_skipped = client
        .doc
        .skip_non_verifiable_callback_uri_confirmation_prompt
        .or(config.settings.skip_non_verifiable_callback_uri_confirmation_prompt)
        .unwrap_or(false);
    let verifiable = redirect::is_verifiable(&request.redirect_uri) || confirmation_skipped;
    !(server.doc.skip_consent_for_verifiable_first_party_clients && verifiable)
}

/// Stores a consent in the caller's transaction and answers its id.
pub(crate) async fn give_consent(
    tx: &mut Tx,
    ctx: &Ctx,
    user: &UserKey,
    client: &ClientId,
    audience: &str,
    scope: &str,
) -> Result<String, Failure> {
    let before = consents::find(tx, ctx.tenant, user, client, audience).await?;
    let (id, scope) = match before {
        Some(row) => {
            let both = format!("{} {scope}", row.scope);
            (row.id, crate::issue::scope_values(&both).collect::<Vec<_>>().join(" "))
        }
        None => (ctx.entropy.hex(24), scope.to_owned()),
    };
    let row = consents::GrantRow {
        id: id.clone(),
        client_id: client.clone(),
        user_key: *user,
        audience: audience.to_owned(),
        scope,
        user_id: String::new(),
    };
    consents::upsert(tx, ctx.tenant, &row, ctx.now).await?;
    Ok(id)
}

pub(crate) fn log_silent(
    core: &Core,
    ctx: &Ctx,
    code: LogCode,
    client: &Client,
    standing: Option<&Standing>,
    description: &str,
) {
    let mut details =
        standing.map_or_else(|| json!({}), |standing| json!({"session_id": standing.sid.to_string()}));
    if let Some(extras) = standing.and_then(|standing| standing.extras.as_ref()) {
        extras.note_in(&mut details);
    }
    core.logs.send(
        ctx,
        &LogEntry { code, user_id: None, client_id: Some(client.id.as_str()), description, details },
    );
}
