//! `authorization_code` (RFC 6749 §4.1.3, RFC 7636 §4.5).

use std::sync::Arc;

use curfew_model::config::{Client, ResourceServer};
use curfew_model::secret::constant_time_eq;
use curfew_model::{
    Ctx, Decision, EndingCause, Failure, FamilyId, GrantKey, LogCode, OAuthCode, Refusal, SessionKey, Sid,
    Timestamp, UserKey,
};
use curfew_store::codes::{self, Consumption};
use curfew_store::sessions::SessionRow;
use curfew_store::status_lists::Entry;
use curfew_store::{Lane, Tx, families, grants as consents, sessions, users};
use curfew_tokens::opaque::{SecretLabel, TokenSecret};
use curfew_tokens::{SealKind, pkce};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Request;
use crate::TenantConfig;
use crate::actions::apply;
use crate::endings::{self, Actor, Ending, Target};
use crate::issue::{self, Extras, IdTokenRequest, Issue, Subject, TokenResponse, has_scope};
use crate::logs::LogEntry;
use crate::sessions::limit::take_part;
use crate::sessions::{Life, life};
use crate::status_lists::{self, Holder, More, asks};

/// How long a code may wait for its redemption.
pub const CODE_SECONDS: i64 = 120;
/// How long a consumption outlives the code (so that a late replay is still seen).
const CONSUMED_KEPT_SECONDS: i64 = 3600;
/// Live families of one user and client.
pub const FAMILIES_MAX: usize = 200;

/// Everything a code is bound to; sealed, it is the code. Short names: the value travels in a URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CodeValue {
    /// Issuer.
    #[serde(rename = "i")]
    pub issuer: String,
    /// Client.
    #[serde(rename = "c")]
    pub client_id: String,
    /// The client's counter.
    #[serde(rename = "cc")]
    pub client_counter: i64,
    /// User.
    #[serde(rename = "u")]
    pub user: UserKey,
    /// Session.
    #[serde(rename = "s")]
    pub session: SessionKey,
    /// Grant: what everything issued from this code names.
    #[serde(rename = "g")]
    pub grant: GrantKey,
    /// The user's counter.
    #[serde(rename = "n")]
    pub counter: i64,
    /// The connection's epoch for the client.
    #[serde(rename = "ce", default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Exactly as it was sent.
    #[serde(rename = "r")]
    pub redirect_uri: String,
    /// Whether it was sent: then it must be sent again.
    #[serde(rename = "rs", default)]
    pub redirect_uri_sent: bool,
    /// PKCE.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub code_challenge: Option<String>,
    /// PKCE.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub code_challenge_method: Option<String>,
    /// For the ID token.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// Granted scope.
    #[serde(rename = "p")]
    pub scope: String,
    /// API.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// When the person authenticated, µs.
    #[serde(rename = "t")]
    pub auth_time: i64,
    /// Whether the ID token must say so.
    #[serde(rename = "w", default)]
    pub auth_time_wanted: bool,
    /// Consent this rests on.
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// Until when, µs.
    #[serde(rename = "e")]
    pub expires_at: i64,
    /// Reserved: the key the tokens will be bound to.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<String>,
    /// What Actions added.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Extras>,
}

impl CodeValue {
    /// The session it came from.
    fn sid(&self) -> Sid {
        Sid { user: self.user, session: self.session }
    }
}

fn invalid_code(detail: &'static str) -> Refusal {
    Refusal::new(OAuthCode::InvalidGrant, "Invalid authorization code")
        .detail(detail)
        .log(LogCode::CodeExchangeFailed)
}

/// What the transaction answers.
struct Redeemed {
    subject: Subject,
    sid: Sid,
    family: Option<TokenSecret>,
    status: Option<Entry>,
}

/// Redeems a code.
///
/// Steps: 1 unseal, 2 check every binding (client, issuer, `redirect_uri`, PKCE) before the database, 3 consume it or see
/// a replay, which ends what the first redemption issued, also when the code's own time is over, 4 what it came from
/// lives, 5 begin a family if one is due, 6 issue. Writes: consumed_codes, session_clients, families, user_clients, for an API that
/// asks for a status status_entries, on replay an ending.
pub async fn exchange(request: &Request<'_>) -> Result<Decision<TokenResponse>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let code = match check_bindings(request) {
        Ok(code) => Arc::new(code),
        Err(refusal) => {
            log_failure(request, &refusal);
            return Ok(Decision::Refused(refusal));
        }
    };
    let arguments = ((*ctx).clone(), Arc::clone(config), Arc::clone(client), Arc::clone(&code));
    let redeemed = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, config, client, code)| {
            Box::pin(redeem(tx, ctx, config, client, code))
        })
        .await?;
    let redeemed = match redeemed {
        Decision::Granted(redeemed) => redeemed,
        Decision::Refused(refusal) => {
            log_failure(request, &refusal);
            return Ok(Decision::Refused(refusal));
        }
    };
    debug_assert!(parameters.get("code").is_some());
    respond(request, &code, &redeemed).map(Decision::Granted)
}

/// Redeems a fresh code that begins no family, in a session the client takes part in already; `None` when the request is
/// anything else, when another request won meanwhile, or when the configuration is not the cached one any more.
///
/// Writes: consumed_codes. A run whose commit was not acknowledged finds itself there by [`exchange`].
pub(super) async fn redeem_fresh(request: &Request<'_>) -> Result<Option<TokenResponse>, Failure> {
    let Request { core, ctx, config, client, .. } = request;
    let Ok(code) = check_bindings(request) else { return Ok(None) };
    let expires_at = Timestamp::from_micros(code.expires_at);
    let writes_more = begins_family(&code, config, client) || server_of(&code, config).is_some_and(asks);
    if expires_at <= ctx.now || code.consent.is_some() || writes_more {
        return Ok(None);
    }
    let code = Arc::new(code);
    let arguments = ((*ctx).clone(), Arc::clone(config), Arc::clone(client), Arc::clone(&code));
    let won = core
        .store
        .command(Lane::Ordinary, arguments, |tx, (ctx, config, client, code)| {
            Box::pin(async move {
                let found = sessions::find(tx, ctx.tenant, &code.sid(), Some(&client.id)).await?;
                let usual = found.filter(|session| is_usual(session, ctx, config, client, code));
                let Some(session) = usual else { return Ok(None) };
                let id = FamilyId { user: code.user, grant: code.grant };
                let keep_until = Timestamp::from_micros(code.expires_at).plus_seconds(CONSUMED_KEPT_SECONDS);
                let (request, now) = (&ctx.request.id, ctx.now);
                let won =
                    codes::consume_first(tx, ctx.tenant, &id, &client.id, request, now, keep_until).await?;
                Ok(won.then_some(session))
            })
        })
        .await?;
    let Some(subject) = won.and_then(|session| Subject::of_session(session, code.counter)) else {
        return Ok(None);
    };
    respond(request, &code, &Redeemed { subject, sid: code.sid(), family: None, status: None }).map(Some)
}

/// Whether the code's session lives, in the configuration at hand, with nothing to write but the consumption.
fn is_usual(
    session: &SessionRow,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    code: &CodeValue,
) -> bool {
    session.tenant_version == config.version
        && session.client_version == Some(client.version)
        && code_lives(code, session, config, client, ctx.now)
        && session.client_joined_at.is_some()
        && session.user_id.is_some()
        && session.last_activity.is_some_and(|at| at > crate::users::stale(ctx.now))
}

fn check_bindings(request: &Request<'_>) -> Result<CodeValue, Refusal> {
    let Request { ctx, config, client, parameters, .. } = request;
    let sealed = parameters.require("code")?;
    let unsealed = config
        .sealing
        .unseal(SealKind::AuthorizationCode, config.tenant, sealed)
        .map_err(|_| invalid_code("not one of our codes"))?;
    let code: CodeValue =
        serde_json::from_slice(&unsealed.plaintext).map_err(|_| invalid_code("code of another version"))?;
    if code.client_id != client.id.as_str() || code.client_counter < client.floor {
        return Err(invalid_code("code of another client"));
    }
    if code.issuer != *ctx.issuer {
        return Err(invalid_code("code of another issuer"));
    }
    // RFC 6749 §4.1.3: required if the authorization request had it, and identical.
    match parameters.get("redirect_uri") {
        Some(uri) if uri != code.redirect_uri => return Err(invalid_code("another redirect_uri")),
        None if code.redirect_uri_sent => parameters.require("redirect_uri").map(drop)?,
        _ => {}
    }
    super::check_resource(parameters.get("resource"), code.audience.as_deref())?;
    check_pkce(&code, client, parameters.get("code_verifier"))?;
    Ok(code)
}

fn check_pkce(code: &CodeValue, client: &Client, verifier: Option<&str>) -> Result<(), Refusal> {
    let failed = |detail| {
        Err(Refusal::new(OAuthCode::InvalidGrant, "Failed to verify code verifier")
            .detail(detail)
            .log(LogCode::CodeExchangeFailed))
    };
    match (&code.code_challenge, verifier) {
        (Some(challenge), Some(verifier)) => {
            let method = code.code_challenge_method.as_deref().unwrap_or("plain");
            let right = pkce::Method::parse(method).is_some_and(|m| pkce::verify(m, verifier, challenge));
            if right { Ok(()) } else { failed("wrong verifier") }
        }
        (Some(_), None) => failed("verifier missing"),
        // RFC 9700 §2.1.1: a verifier for a code without challenge is a downgrade.
        (None, Some(_)) => failed("verifier without challenge"),
        (None, None) if client.auth_method() == curfew_model::config::AuthMethod::None => {
            failed("a public client needs PKCE")
        }
        (None, None) => Ok(()),
    }
}

async fn redeem(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    code: &CodeValue,
) -> Result<Decision<Redeemed>, Failure> {
    let id = FamilyId { user: code.user, grant: code.grant };
    let expires_at = Timestamp::from_micros(code.expires_at);
    let consumed = if expires_at <= ctx.now {
        if !codes::was_redeemed(tx, ctx.tenant, &id).await? {
            return Ok(Decision::Refused(invalid_code("code expired")));
        }
        Consumption::Lost
    } else {
        let keep_until = expires_at.plus_seconds(CONSUMED_KEPT_SECONDS);
        codes::consume(tx, ctx.tenant, &id, &client.id, &ctx.request.id, ctx.now, keep_until).await?
    };
    if consumed == Consumption::Lost {
        let actor = Actor::Client(client.id.clone());
        endings::end(tx, ctx, &Ending::new(EndingCause::CodeReplay, Target::Family(id), actor)).await?;
        return Ok(Decision::Refused(invalid_code("code was redeemed before")));
    }
    let sid = code.sid();
    let session = sessions::find(tx, ctx.tenant, &sid, Some(&client.id)).await?;
    let Some(session) = session.filter(|session| code_lives(code, session, config, client, ctx.now)) else {
        return Ok(Decision::Refused(invalid_code("what the code came from has ended")));
    };
    if !consent_stands(tx, ctx, client, code).await? {
        return Ok(Decision::Refused(invalid_code("consent was withdrawn")));
    }
    if config.settings.sessions.max_per_user.is_none() {
        sessions::join_client(tx, ctx.tenant, &sid, &client.id, ctx.now).await?;
    } else if session.client_joined_at.is_none()
        && take_part(tx, ctx, config, &sid, &client.id, false).await?.is_none()
    {
        return Ok(Decision::Refused(invalid_code("what the code came from has ended")));
    }
    let stale = crate::users::stale(ctx.now);
    if session.last_activity.is_none_or(|at| at <= stale) {
        users::record_activity(tx, ctx.tenant, &code.user, ctx.now, stale).await?;
    }
    let family = if begins_family(code, config, client) {
        Some(begin_family(tx, ctx, config, client, code, &session, consumed).await?)
    } else {
        None
    };
    let Some(subject) = Subject::of_session(session, code.counter) else {
        return Ok(Decision::Refused(invalid_code("the user is gone")));
    };
    let holder = Holder {
        user: Some((code.user, code.counter)),
        session: Some(code.session),
        grant: code.grant,
        more: if family.is_some() { More::MayCome } else { More::Never },
        from_authorization_endpoint: false,
    };
    let status = match status_lists::wanted(ctx, config, client, server_of(code, config), &holder)? {
        Some(wanted) => Some(status_lists::allot(tx, ctx, &wanted).await?),
        None => None,
    };
    Ok(Decision::Granted(Redeemed { subject, sid, family, status }))
}

/// A code lives with its session, above the floors it was made over, while its API and connection are those it was
/// made for. One that is to begin a family must be above the floors of families too.
fn code_lives(
    code: &CodeValue,
    session: &SessionRow,
    config: &TenantConfig,
    client: &Client,
    now: Timestamp,
) -> bool {
    let made_at = Timestamp::from_micros(code.expires_at).plus_seconds(-CODE_SECONDS);
    let server = code.audience.as_deref().map(|audience| config.resource_server(audience));
    let api = server.is_none_or(|server| server.is_some_and(|server| made_at > server.floor));
    let connection = config.connection(&session.connection_id).and_then(|c| c.epoch_for(&client.id));
    // A code of before a renewal of the session carries the older counter: it must be above the floors itself.
    let above = code.counter >= session.user_session_floor
        && session.identity_session_floor.is_some_and(|floor| code.counter >= floor)
        && code.counter >= session.pair_family_floor
        && (!begins_family(code, config, client) || code.counter >= session.user_family_floor);
    let same_epoch = connection.is_some() && connection == code.epoch;
    life(session, config, now) == Life::Alive && above && api && same_epoch
}

/// The API a code is for.
fn server_of<'a>(code: &CodeValue, config: &'a TenantConfig) -> Option<&'a ResourceServer> {
    code.audience.as_deref().and_then(|audience| config.resource_server(audience))
}

/// Whether a refresh token comes with the code's redemption.
fn begins_family(code: &CodeValue, config: &TenantConfig, client: &Client) -> bool {
    let server = server_of(code, config);
    has_scope(&code.scope, "offline_access") && issue::may_have_refresh_token(client, server)
}

async fn consent_stands(tx: &mut Tx, ctx: &Ctx, client: &Client, code: &CodeValue) -> Result<bool, Failure> {
    let Some(consent) = &code.consent else { return Ok(true) };
    let audience = code.audience.as_deref().unwrap_or("");
    let row = consents::find(tx, ctx.tenant, &code.user, &client.id, audience).await?;
    Ok(row.is_some_and(|row| row.id == *consent))
}

async fn begin_family(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    code: &CodeValue,
    session: &SessionRow,
    consumed: Consumption,
) -> Result<TokenSecret, Failure> {
    let id = FamilyId { user: code.user, grant: code.grant };
    // A re-run after an unknown commit makes the secret anew: the first answer never reached anybody.
    if consumed == Consumption::WonBefore {
        families::purge(tx, ctx.tenant, &id).await?;
    }
    let secret = TokenSecret::generate(&*ctx.entropy);
    let new = new_family(
        ctx,
        config,
        client,
        &FamilyOrigin {
            id,
            audience: code.audience.clone(),
            scope: code.scope.clone(),
            session: Some(code.session),
            auth_time: Timestamp::from_micros(code.auth_time),
            auth_time_wanted: code.auth_time_wanted,
            identity: (session.provider.clone(), session.identity_id.clone()),
            connection: (session.connection_id.clone(), code.epoch.unwrap_or(0)),
            counter: code.counter,
        },
        &secret,
    );
    insert_family(tx, ctx, &new).await?;
    if let Some(extras) = &code.extras {
        // What cannot be of the metadata is left out: the Action that asked for it is long over.
        let ends = (new.expires_at, new.idle_expires_at);
        let _ = apply::to_family(tx, ctx, &id, ends, None, &extras.refresh_token).await?;
    }
    Ok(secret)
}

/// Where a family comes from.
#[derive(Debug)]
pub(crate) struct FamilyOrigin {
    pub id: FamilyId,
    pub audience: Option<String>,
    pub scope: String,
    pub session: Option<SessionKey>,
    pub auth_time: Timestamp,
    pub auth_time_wanted: bool,
    pub identity: (String, String),
    pub connection: (String, i64),
    pub counter: i64,
}

/// A family as it begins, with the life-times the client has now.
pub(crate) fn new_family(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    origin: &FamilyOrigin,
    secret: &TokenSecret,
) -> families::NewFamily {
    let expires_at = client.refresh_lifetime_seconds().map(|seconds| ctx.now.plus_seconds(seconds));
    let hash = curfew_tokens::opaque::SecretHash::of(SecretLabel::RefreshToken, secret);
    families::NewFamily {
        id: origin.id,
        client_id: client.id.clone(),
        client_counter: client.counter,
        connection_id: origin.connection.0.clone(),
        connection_epoch: origin.connection.1,
        audience: origin.audience.clone(),
        scope: origin.scope.clone(),
        session_key: origin.session,
        auth_time: origin.auth_time,
        auth_time_wanted: origin.auth_time_wanted,
        provider: origin.identity.0.clone(),
        identity_id: origin.identity.1.clone(),
        counter: origin.counter,
        rotating: client.rotates(),
        secret_hash: hash.as_bytes().to_vec(),
        sealing_key: config.sealing.current().id(),
        issuer: ctx.issuer.to_string(),
        request_id: ctx.request.id,
        now: ctx.now,
        idle_expires_at: idle_end(client, ctx.now, expires_at),
        expires_at,
        device: crate::sessions::start::device_now(None, ctx),
    }
}

/// The end by idleness from now on: never later than the absolute end.
pub(crate) fn idle_end(client: &Client, now: Timestamp, expires_at: Option<Timestamp>) -> Option<Timestamp> {
    let idle = now.plus_seconds(client.refresh_idle_seconds()?);
    Some(expires_at.map_or(idle, |end| end.min(idle)))
}

/// Inserts a family and ends the oldest beyond the limit. The parent row is written before the families are listed.
pub(crate) async fn insert_family(tx: &mut Tx, ctx: &Ctx, new: &families::NewFamily) -> Result<(), Failure> {
    families::insert(tx, ctx.tenant, new).await?;
    let user = new.id.user;
    for grant in families::beyond_cap(tx, ctx.tenant, &user, &new.client_id, ctx.now, FAMILIES_MAX).await? {
        let target = Target::Family(FamilyId { user, grant });
        endings::end(tx, ctx, &Ending::new(EndingCause::FamilyLimit, target, Actor::Policy)).await?;
    }
    Ok(())
}

fn respond(request: &Request<'_>, code: &CodeValue, redeemed: &Redeemed) -> Result<TokenResponse, Failure> {
    let Request { core, ctx, config, client, .. } = request;
    let scope = match redeemed.family {
        Some(_) => code.scope.clone(),
        None => issue::without_scope(&code.scope, "offline_access"),
    };
    let issue = Issue {
        client,
        subject: Some(&redeemed.subject),
        resource_server: server_of(code, config),
        scope: &scope,
        sid: Some(redeemed.sid),
        grant: code.grant,
        gty: None,
        from_authorization_endpoint: false,
        status: redeemed.status.as_ref(),
        extras: code.extras.as_ref(),
    };
    let access = issue::access_token(config, ctx, &issue)?;
    let id_token = if has_scope(&scope, "openid") {
        let auth_time = code.auth_time_wanted.then(|| Timestamp::from_micros(code.auth_time));
        let request = IdTokenRequest {
            nonce: code.nonce.as_deref(),
            auth_time,
            claims_scope: &scope,
            ..IdTokenRequest::default()
        };
        Some(issue::id_token(config, ctx, &issue, &request)?)
    } else {
        None
    };
    core.logs.send(
        ctx,
        &LogEntry {
            code: LogCode::CodeExchange,
            user_id: Some(redeemed.subject.user_id.as_str()),
            client_id: Some(client.id.as_str()),
            description: "Authorization Code for Access Token",
            details: json!({"code": "*************", "access_token_jti": access.jti, "session_id": redeemed.sid.to_string()}),
        },
    );
    let refresh_token = redeemed
        .family
        .as_ref()
        .map(|secret| issue::refresh_token(config, ctx, code.user, code.grant, 0, secret));
    Ok(TokenResponse {
        access_token: access.value,
        refresh_token,
        id_token,
        scope,
        expires_in: access.expires_in,
        token_type: "Bearer",
    })
}

fn log_failure(request: &Request<'_>, refusal: &Refusal) {
    let Some(code) = refusal.log else { return };
    let entry = LogEntry {
        code,
        user_id: None,
        client_id: Some(request.client.id.as_str()),
        description: &refusal.description,
        details: json!({"reason": refusal.detail}),
    };
    request.core.logs.send(request.ctx, &entry);
}

/// Compares a presented secret with a stored hash.
pub(crate) fn secret_matches(stored: &[u8], presented: &[u8]) -> bool {
    constant_time_eq(stored, presented)
}
