//! `refresh_token` (RFC 6749 §6, RFC 9700 §4.14.2).

use std::sync::Arc;

use curfew_model::config::{Client, ResourceServer};
use curfew_model::{
    Artefact, Ctx, Decision, EndingCause, Failure, FamilyId, LogCode, OAuthCode, Refusal, Sid, Timestamp,
};
use curfew_store::families::{self, Exchange, FamilyRow};
use curfew_store::status_lists::Entry;
use curfew_store::{Lane, Tx, users};
use curfew_tokens::SealKind;
use curfew_tokens::opaque::RefreshTokenValue;
use serde_json::{Value, json};

use super::Request;
use super::authorization_code::{idle_end, secret_matches};
use super::post_login::{self, About, Passed};
use crate::TenantConfig;
use crate::actions::apply;
use crate::actions::commands::Limits;
use crate::endings::{self, Actor, Ending, Target, takes_families, will_fall};
use crate::issue::{self, IdTokenRequest, Issue, Subject, TokenResponse, has_scope, scope_values};
use crate::logs::LogEntry;
use crate::status_lists::{self, Holder, More, Wanted};

fn unknown(detail: &'static str) -> Refusal {
    Refusal::new(OAuthCode::InvalidGrant, "Unknown or invalid refresh token.")
        .detail(detail)
        .log(LogCode::RefreshTokenExchangeFailed)
}

/// What the transaction answers.
struct Exchanged {
    row: FamilyRow,
    /// The generation to hand out; `None` when the family does not rotate.
    generation: Option<u32>,
    /// Where the access token's status stands, when the API asks for it.
    status: Option<Entry>,
}

/// Exchanges a refresh token for new tokens, or ends its family.
///
/// Steps: 0 Actions have their say about a token that would be exchanged, 1 unseal and read the family by its key, 2 same
/// client and issuer (a foreign client's presentation ends nothing), 3 the family lives, up the chain, 4 rotate, answer the same successor within the leeway, or see a replay,
/// which ends the family with [`EndingCause::RefreshTokenReuse`], 5 issue for the family's own audience and scope.
/// Writes: families, user_access, for an API that asks for a status status_entries, on replay an ending. Failure: `Contention` when the database could not order two
/// writers.
pub async fn exchange(request: &Request<'_>) -> Result<Decision<TokenResponse>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let presented = match parameters.require("refresh_token") {
        Ok(presented) => presented,
        Err(refusal) => return Ok(Decision::Refused(refusal)),
    };
    let Some(value) = unseal(config, presented) else {
        return Ok(refused(request, unknown("not one of our refresh tokens")));
    };
    let passed = match actions(request, &value).await? {
        Decision::Granted(passed) => passed,
        Decision::Refused(refusal) => return Ok(refused(request, refusal)),
    };
    let ctx = passed.as_ref().map_or(*ctx, |passed| &passed.ctx);
    let request = &Request { ctx, ..*request };
    let resource = parameters.get("resource").map(str::to_owned);
    let arguments = (ctx.clone(), Arc::clone(config), Arc::clone(client), value, (resource, passed.clone()));
    let exchanged = core
        .store
        .transact(Lane::Ordinary, arguments, |tx, (ctx, config, client, value, (resource, passed))| {
            Box::pin(decide(tx, ctx, config, client, value, (resource.as_deref(), passed.as_ref())))
        })
        .await?;
    match exchanged {
        Decision::Granted(exchanged) => {
            respond(request, &value, &exchanged, passed.as_ref()).map(Decision::Granted)
        }
        Decision::Refused(refusal) => Ok(refused(request, refusal)),
    }
}

fn unseal(config: &TenantConfig, presented: &str) -> Option<RefreshTokenValue> {
    let unsealed = config.sealing.unseal(SealKind::RefreshToken, config.tenant, presented).ok()?;
    RefreshTokenValue::decode(&unsealed.plaintext)
}

/// Rotates the newest token of a rotating family that lives; `None` when the request is anything else, when another
/// request won meanwhile, or when the configuration is not the cached one any more.
///
/// Writes: families. A run whose commit was not acknowledged finds itself in the family's row by [`exchange`].
pub(super) async fn rotate_newest(request: &Request<'_>) -> Result<Option<TokenResponse>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let Some(value) = parameters.get("refresh_token").and_then(|presented| unseal(config, presented)) else {
        return Ok(None);
    };
    let arguments = ((*ctx).clone(), Arc::clone(config), Arc::clone(client), value);
    let won = core
        .store
        .command(Lane::Ordinary, arguments, |tx, (ctx, config, client, value)| {
            Box::pin(async move {
                let found = families::find(tx, ctx.tenant, &value.family_id()).await?;
                let newest = found.filter(|row| is_newest(row, ctx, config, client, value));
                let Some(mut row) = newest else { return Ok(None) };
                let status = match status_wanted(ctx, config, client, &row)? {
                    Some(wanted) => match status_lists::find(tx, ctx, &wanted).await? {
                        None => return Ok(None),
                        found => found,
                    },
                    None => None,
                };
                let exchange = exchange_of(ctx, config, client, &row);
                let won = families::rotate(tx, ctx.tenant, &row.id, row.generation, &exchange).await?;
                row.generation += 1;
                Ok(won.then_some((row, status)))
            })
        })
        .await?;
    let Some((row, status)) = won else { return Ok(None) };
    let generation = Some(row.generation);
    respond(request, &value, &Exchanged { row, generation, status }, None).map(Some)
}

/// Whether this is the newest token of a rotating family that lives, in the configuration at hand, with nothing to write
/// but the rotation.
fn is_newest(
    row: &FamilyRow,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    value: &RefreshTokenValue,
) -> bool {
    row.tenant_version == config.version
        && row.client_version == Some(client.version)
        && is_presented_by(row, ctx, client, value)
        && life(ctx, config, client, row) == Life::Alive
        && row.rotating
        && client.rotates()
        && row.generation == value.generation
        && row.last_activity.is_some_and(|at| at > crate::users::stale(ctx.now))
}

fn refused<T>(request: &Request<'_>, refusal: Refusal) -> Decision<T> {
    if let Some(code) = refusal.log {
        let entry = LogEntry {
            code,
            user_id: None,
            client_id: Some(request.client.id.as_str()),
            description: &refusal.description,
            details: json!({"failure_reason": refusal.detail}),
        };
        request.core.logs.send(request.ctx, &entry);
    }
    Decision::Refused(refusal)
}

async fn decide(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    value: &RefreshTokenValue,
    (resource, passed): (Option<&str>, Option<&Passed>),
) -> Result<Decision<Exchanged>, Failure> {
    let id = value.family_id();
    let Some(row) = families::find(tx, ctx.tenant, &id).await? else {
        return Ok(Decision::Refused(unknown("no such family")));
    };
    if !is_presented_by(&row, ctx, client, value) {
        return Ok(Decision::Refused(unknown("another client's token")));
    }
    if let Some(refusal) = check_life(tx, ctx, config, client, &row).await? {
        return Ok(Decision::Refused(refusal));
    }
    if let Err(refusal) = super::check_resource(resource, row.audience.as_deref()) {
        return Ok(Decision::Refused(refusal));
    }
    if let Some(passed) = passed
        && let Some(refusal) = write_before(tx, ctx, config, client, &row, passed).await?
    {
        return Ok(Decision::Refused(refusal));
    }
    let mut decided = if row.rotating != client.rotates() {
        rotation_toggled(tx, ctx, config, client, row, value).await?
    } else if row.rotating {
        rotate(tx, ctx, config, client, row, value).await?
    } else {
        exchange_unrotated(tx, ctx, config, client, row, value).await?
    };
    if let Decision::Granted(exchanged) = &mut decided {
        if let Some(wanted) = status_wanted(ctx, config, client, &exchanged.row)? {
            exchanged.status = Some(status_lists::allot(tx, ctx, &wanted).await?);
        }
        if let Some(passed) = passed {
            let exchange = exchange_of(ctx, config, client, &exchanged.row);
            let ends = (exchange.expires_at, exchange.idle_expires_at);
            let limits = Limits { metadata: Vec::new(), ..passed.extras.refresh_token.clone() };
            let _ = apply::to_family(tx, ctx, &id, ends, None, &limits).await?;
        }
        let stale = crate::users::stale(ctx.now);
        if exchanged.row.last_activity.is_none_or(|at| at <= stale) {
            users::record_activity(tx, ctx.tenant, &id.user, ctx.now, stale).await?;
        }
    }
    Ok(decided)
}

/// What Actions say of a token that would be exchanged as things are; nothing where there are none, and of any other token.
/// It is judged once more after them.
async fn actions(
    request: &Request<'_>,
    value: &RefreshTokenValue,
) -> Result<Decision<Option<Passed>>, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    if !post_login::due(config) {
        return Ok(Decision::Granted(None));
    }
    let found = core
        .store
        .read((ctx.tenant, value.family_id()), |tx, (tenant, id)| Box::pin(families::find(tx, *tenant, id)))
        .await?;
    let current = |row: &FamilyRow| {
        let previous = value.generation.checked_add(1) == Some(row.generation);
        let leeway = client.leeway_seconds();
        value.generation == row.generation
            || (previous && leeway > 0 && row.rotated_at.plus_seconds(leeway) > ctx.now)
    };
    let exchangeable = found.filter(|row| {
        is_presented_by(row, ctx, client, value)
            && life(ctx, config, client, row) == Life::Alive
            && current(row)
            && super::check_resource(parameters.get("resource"), row.audience.as_deref()).is_ok()
    });
    let Some(row) = exchangeable else { return Ok(Decision::Granted(None)) };
    let about = About {
        protocol: "oauth2-refresh-token",
        scope: parameters.get("scope").unwrap_or(&row.scope),
        audience: row.audience.as_deref(),
        user: row.id.user,
        connection_id: &row.connection_id,
        session: live_session(&row, config, ctx.now),
        family: Some(&row),
        method: None,
        log: LogCode::RefreshTokenExchangeFailed,
    };
    Ok(match Box::pin(post_login::run(request, &about)).await? {
        Decision::Granted(passed) => Decision::Granted(Some(passed)),
        Decision::Refused(refusal) => Decision::Refused(refusal),
    })
}

/// Writes down what Actions asked for, but for the ends of the family, which the exchange sets anew. Refused before
/// anything of the family has moved.
async fn write_before(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    row: &FamilyRow,
    passed: &Passed,
) -> Result<Option<Refusal>, Failure> {
    let session = live_session(row, config, ctx.now);
    let written =
        post_login::write(tx, ctx, config, &client.id, &row.id.user, session, &passed.effects).await?;
    if written.is_some() {
        return Ok(written);
    }
    let metadata = Limits { metadata: passed.extras.refresh_token.metadata.clone(), ..Limits::default() };
    let done = apply::to_family(tx, ctx, &row.id, (None, None), row.metadata.as_deref(), &metadata).await?;
    Ok(done.err().map(|undone| Refusal::new(OAuthCode::AccessDenied, undone.0)))
}

/// Whether a token is of this family, and in the hands of its client under its issuer.
fn is_presented_by(row: &FamilyRow, ctx: &Ctx, client: &Client, value: &RefreshTokenValue) -> bool {
    row.client_id == client.id
        && row.issuer == *ctx.issuer
        && secret_matches(&row.secret_hash, value.secret_hash().as_bytes())
}

/// Whether a family lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    UserGone,
    UserBlocked,
    /// It ended, or what it hangs on did: why.
    Over(&'static str),
    /// Its session's time is over, which takes it with it by a policy of the cause, and nobody has ended that yet.
    SessionOverdue(Sid, EndingCause),
    /// Its time is over and nobody has ended it yet.
    Expired,
}

/// Computes a family's life up the chain.
fn life(ctx: &Ctx, config: &TenantConfig, client: &Client, row: &FamilyRow) -> Life {
    if row.user_counter.is_none() || row.user_id.is_none() {
        return Life::UserGone;
    }
    if row.blocked {
        return Life::UserBlocked;
    }
    if let Some(why) = over(config, client, row) {
        return Life::Over(why);
    }
    if let Some((sid, cause)) = taken_by_time(ctx, config, client, row) {
        return Life::SessionOverdue(sid, cause);
    }
    let expired =
        row.expires_at.is_some_and(|at| at <= ctx.now) || row.idle_expires_at.is_some_and(|at| at <= ctx.now);
    if expired { Life::Expired } else { Life::Alive }
}

/// The session with which a family ends as soon as somebody ends it, because its time is over and a policy has that
/// take refresh tokens. They do not wait for that.
pub(crate) fn taken_by_time(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    row: &FamilyRow,
) -> Option<(Sid, EndingCause)> {
    let session =
        row.session.as_ref().filter(|session| session.ended_at.is_none() && session.above_floors)?;
    let cause = crate::sessions::overdue(session.expires_at, session.idle_expires_at, ctx.now)?;
    let sid = Sid { user: row.id.user, session: row.session_key? };
    will_fall(config, client, cause, Artefact::RefreshTokens).then_some((sid, cause))
}

/// Why a family gives nothing, if so; one whose time is over is ended here, and a session that takes it with it.
async fn check_life(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    row: &FamilyRow,
) -> Result<Option<Refusal>, Failure> {
    let refuse = |text: &'static str| {
        Refusal::new(OAuthCode::InvalidGrant, text).log(LogCode::RefreshTokenExchangeFailed)
    };
    Ok(match life(ctx, config, client, row) {
        Life::Alive => None,
        Life::UserGone => {
            Some(refuse("The refresh_token was generated for a user who doesn't exist anymore."))
        }
        Life::UserBlocked => Some(refuse("user is blocked")),
        Life::Over(why) => Some(unknown(why)),
        Life::SessionOverdue(sid, cause) => {
            // Used meanwhile, the session lives on; whoever comes again is judged by that.
            endings::end(tx, ctx, &Ending::new(cause, Target::Session(sid), Actor::Policy)).await?;
            Some(unknown("its session expired"))
        }
        Life::Expired => {
            let ending = Ending::new(EndingCause::FamilyExpired, Target::Family(row.id), Actor::Policy);
            endings::end(tx, ctx, &ending).await?;
            Some(unknown("expired"))
        }
    })
}

/// Why a family is over, apart from time.
pub(crate) fn over(config: &TenantConfig, client: &Client, row: &FamilyRow) -> Option<&'static str> {
    let epoch = config.connection(&row.connection_id).and_then(|connection| connection.epoch_for(&client.id));
    let session_took_it = row.session.as_ref().is_some_and(|session| {
        let cause = session.ended_cause.as_deref();
        cause.is_some_and(|cause| takes_families(cause, session.spares.as_ref(), &row.client_id))
    });
    if row.ended_at.is_some() {
        Some("family ended")
    } else if row.counter < row.user_family_floor || row.counter < row.pair_family_floor {
        Some("grant_revoked")
    } else if row.client_counter < client.floor {
        Some("client_revoked")
    } else if session_took_it {
        Some("session_not_found")
    } else if epoch.is_none_or(|epoch| row.connection_epoch < epoch) {
        Some("connection disabled")
    } else if row.audience.as_deref().is_some_and(|audience| {
        config.resource_server(audience).is_none_or(|server| row.created_at <= server.floor)
    }) {
        Some("resource server deleted")
    } else if !config.sealing_key_lives(row.sealing_key) {
        Some("sealing key revoked")
    } else {
        None
    }
}

/// The ends this exchange gives the family: the absolute one is fixed once set, the idle one counts from now.
fn exchange_of(ctx: &Ctx, config: &TenantConfig, client: &Client, row: &FamilyRow) -> Exchange {
    let expires_at = row
        .expires_at
        .or_else(|| client.refresh_lifetime_seconds().map(|seconds| ctx.now.plus_seconds(seconds)));
    Exchange {
        now: ctx.now,
        idle_expires_at: idle_end(client, ctx.now, expires_at),
        expires_at,
        request_id: ctx.request.id,
        device: crate::sessions::start::device_now(Some(&row.device), ctx),
        sealing_key: config.sealing.current().id(),
    }
}

async fn rotate(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    mut row: FamilyRow,
    value: &RefreshTokenValue,
) -> Result<Decision<Exchanged>, Failure> {
    // One retry: another presentation of the same token may win between the reading and the update; then its
    // generation is newest, and this one is within the leeway or a replay.
    for _ in 0..2 {
        if value.generation == row.generation {
            let exchange = exchange_of(ctx, config, client, &row);
            if families::rotate(tx, ctx.tenant, &row.id, row.generation, &exchange).await? {
                row.generation += 1;
                let generation = Some(row.generation);
                return Ok(Decision::Granted(Exchanged { row, generation, status: None }));
            }
            let Some(again) = families::find(tx, ctx.tenant, &row.id).await? else {
                return Ok(Decision::Refused(unknown("no such family")));
            };
            row = again;
            if let Some(refusal) = check_life(tx, ctx, config, client, &row).await? {
                return Ok(Decision::Refused(refusal));
            }
            continue;
        }
        let previous = value.generation.checked_add(1) == Some(row.generation);
        let own_rerun = previous && row.request_id == ctx.request.id;
        let within_leeway = previous
            && row.rotated_at.plus_seconds(client.leeway_seconds()) > ctx.now
            && client.leeway_seconds() > 0;
        if own_rerun || within_leeway {
            let generation = Some(row.generation);
            return Ok(Decision::Granted(Exchanged { row, generation, status: None }));
        }
        return reuse(tx, ctx, &row, value).await;
    }
    Err(Failure::Contention)
}

/// A replay: the family ends, and the log shows both requests.
async fn reuse(
    tx: &mut Tx,
    ctx: &Ctx,
    row: &FamilyRow,
    value: &RefreshTokenValue,
) -> Result<Decision<Exchanged>, Failure> {
    let mut ending = Ending::new(EndingCause::RefreshTokenReuse, Target::Family(row.id), Actor::Policy);
    let device: Value = serde_json::from_str(&row.device).unwrap_or_default();
    ending.details.extend([
        ("tokenCounter".to_owned(), json!(value.generation)),
        ("latestCounter".to_owned(), json!(row.generation)),
        ("rotated".to_owned(), json!({"at": row.rotated_at.iso(), "device": device})),
        (
            "replayed".to_owned(),
            json!({"at": ctx.now.iso(), "ip": ctx.request.ip, "user_agent": ctx.request.user_agent}),
        ),
    ]);
    endings::end(tx, ctx, &ending).await?;
    // The reuse itself is in the log already; a second line would say less.
    let mut refusal = unknown("reused");
    refusal.log = None;
    Ok(Decision::Refused(refusal))
}

async fn exchange_unrotated(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    row: FamilyRow,
    value: &RefreshTokenValue,
) -> Result<Decision<Exchanged>, Failure> {
    if value.generation != row.generation {
        return Ok(Decision::Refused(unknown("not the newest generation")));
    }
    let exchange = exchange_of(ctx, config, client, &row);
    if !families::exchange(tx, ctx.tenant, &row.id, &exchange).await? {
        return Ok(Decision::Refused(unknown("ended meanwhile")));
    }
    Ok(Decision::Granted(Exchanged { row, generation: None, status: None }))
}

/// Rotation was switched since the family began. On: the first exchange goes through, makes the family rotate, and
/// ends the other non-rotating ones of the same client, API and user. Off: the exchange ends the family.
async fn rotation_toggled(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    row: FamilyRow,
    value: &RefreshTokenValue,
) -> Result<Decision<Exchanged>, Failure> {
    let end_toggled =
        |id: FamilyId| Ending::new(EndingCause::RotationToggled, Target::Family(id), Actor::Policy);
    if row.rotating {
        endings::end(tx, ctx, &end_toggled(row.id)).await?;
        return Ok(Decision::Refused(unknown("rotation was switched off")));
    }
    families::start_rotating(tx, ctx.tenant, &row.id).await?;
    let user = row.id.user;
    for other in families::of_client(tx, ctx.tenant, &user, &client.id, ctx.now).await? {
        if !other.rotating && other.grant != row.id.grant && other.audience == row.audience {
            endings::end(tx, ctx, &end_toggled(FamilyId { user, grant: other.grant })).await?;
        }
    }
    rotate(tx, ctx, config, client, FamilyRow { rotating: true, ..row }, value).await
}

fn respond(
    request: &Request<'_>,
    value: &RefreshTokenValue,
    exchanged: &Exchanged,
    passed: Option<&Passed>,
) -> Result<TokenResponse, Failure> {
    let Request { core, ctx, config, client, parameters } = request;
    let row = &exchanged.row;
    let user_id = row.user_id.clone().ok_or_else(|| Failure::Internal("a live family has a user".into()))?;
    let subject = Subject {
        user_key: row.id.user,
        user_id,
        counter: counter_of(row),
        doc: row.user_doc.as_deref().and_then(|doc| serde_json::from_str(doc).ok()).unwrap_or_default(),
        updated_at: row.user_updated_at.unwrap_or(row.created_at),
    };
    // Down-scoping holds for this answer only; what was not granted is dropped (RFC 6749 §6).
    let scope = match parameters.get("scope") {
        Some(asked) => {
            let kept: Vec<&str> = scope_values(asked).filter(|value| has_scope(&row.scope, value)).collect();
            if kept.is_empty() { row.scope.clone() } else { kept.join(" ") }
        }
        None => row.scope.clone(),
    };
    let scope = passed.map_or(scope.clone(), |passed| passed.scope(config, row.audience.as_deref(), &scope));
    let sid = live_session(row, config, ctx.now);
    let issue = Issue {
        client,
        subject: Some(&subject),
        resource_server: server_of(row, config),
        scope: &scope,
        sid,
        grant: row.id.grant,
        gty: Some("refresh_token"),
        from_authorization_endpoint: false,
        status: exchanged.status.as_ref(),
        extras: passed.map(|passed| &passed.extras),
    };
    let access = issue::access_token(config, ctx, &issue)?;
    let id_token = if has_scope(&scope, "openid") {
        // The ID token keeps the session it came from (OIDC Core §12.2), also when that is over.
        let original = row.session_key.map(|session| Sid { user: row.id.user, session });
        // OIDC Core §12.2: `auth_time` is of the original authentication. Who asked for it once checks it in every one.
        let auth_time = row.auth_time_wanted.then_some(row.auth_time);
        let request = IdTokenRequest { auth_time, claims_scope: &scope, ..IdTokenRequest::default() };
        Some(issue::id_token(config, ctx, &Issue { sid: original, ..issue.clone() }, &request)?)
    } else {
        None
    };
    let mut details = json!({
        "familyId": row.id.to_string(),
        "tokenCounter": exchanged.generation,
        "access_token_jti": access.jti,
    });
    if let Some(passed) = passed {
        passed.extras.note_in(&mut details);
    }
    core.logs.send(
        ctx,
        &LogEntry {
            code: LogCode::RefreshTokenExchange,
            user_id: Some(subject.user_id.as_str()),
            client_id: Some(client.id.as_str()),
            description: "Refresh Token for Access Token",
            details,
        },
    );
    let refresh_token = exchanged.generation.map(|generation| {
        issue::refresh_token(config, ctx, row.id.user, row.id.grant, generation, &value.secret)
    });
    Ok(TokenResponse {
        access_token: access.value,
        refresh_token,
        id_token,
        scope,
        expires_in: access.expires_in,
        token_type: "Bearer",
    })
}

/// The API a family is for.
fn server_of<'a>(row: &FamilyRow, config: &'a TenantConfig) -> Option<&'a ResourceServer> {
    row.audience.as_deref().and_then(|audience| config.resource_server(audience))
}

/// The user's counter in the tokens that are issued now.
fn counter_of(row: &FamilyRow) -> i64 {
    row.user_counter.unwrap_or(row.counter)
}

/// What an access token of a family needs of the status lists.
fn status_wanted(
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    row: &FamilyRow,
) -> Result<Option<Wanted>, Failure> {
    let holder = Holder {
        user: Some((row.id.user, counter_of(row))),
        session: live_session(row, config, ctx.now).map(|sid| sid.session),
        grant: row.id.grant,
        more: More::MayCome,
        from_authorization_endpoint: false,
    };
    status_lists::wanted(ctx, config, client, server_of(row, config), &holder)
}

/// The family's session while it lives: an access token names it, and then dies with it.
fn live_session(row: &FamilyRow, config: &TenantConfig, now: Timestamp) -> Option<Sid> {
    let session = row.session.as_ref()?;
    let lives = session.ended_at.is_none()
        && session.above_floors
        && session.expires_at > now
        && session.idle_expires_at > now
        && config.sealing_key_lives(session.sealing_key)
        && config.connection(&row.connection_id).is_some();
    let key = row.session_key.filter(|_| lives)?;
    Some(Sid { user: row.id.user, session: key })
}
