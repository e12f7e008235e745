//! Reading access tokens back: whether one is ours, and whether it still lives.

use std::sync::Arc;

use curfew_model::config::Client;
use curfew_model::{Artefact, ClientId, Ctx, Failure, Timestamp, UserId};
use curfew_store::access::{ChainFamily, ChainSession, ChainUser, TokenChain};
use curfew_tokens::claims::{AccessToken, Cfw};
use curfew_tokens::{SealKind, parse_compact};

use crate::endings::{spares_tokens, takes_families, will_fall};
use crate::{Core, TenantConfig, sessions};

/// Tolerated difference of clocks, in seconds.
const CLOCK_SECONDS: i64 = 5;

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Not a token of this server: bad form, signature, issuer or audience.
    Invalid,
    /// Its time is over.
    Expired,
    /// It has been ended.
    Ended,
}

/// A token that lives.
#[derive(Debug)]
pub struct LiveToken {
    /// What it says.
    pub claims: AccessToken,
    /// The configuration it was checked against.
    pub config: Arc<TenantConfig>,
    /// The client it was issued to.
    pub client: Arc<Client>,
    /// Whom it is about; `None` for a client's own.
    pub user: Option<ChainUser>,
}

/// How often a check begins anew because the configuration moved under it.
const ATTEMPTS_MAX: usize = 8;

/// Checks an access token, JWT or sealed, that is presented to one of this server's own APIs.
///
/// Steps: 1 read it (signature with a key that is not revoked, or seal), 2 issuer, audience, time, 3 client, API and
/// key still there and above their floors, 4 the user's chain.
///
/// Step 1 uses the configuration that is cached. The one statement of step 3 or 4 tells which versions hold in the
/// instant it speaks of; when they are others everything is decided anew with those.
pub async fn check(
    core: &Core,
    ctx: &Ctx,
    token: &str,
    is_audience: &(dyn Fn(&str, &TenantConfig) -> bool + Sync),
) -> Result<Result<LiveToken, Rejection>, Failure> {
    let mut config = match core.cached_tenant(ctx.tenant) {
        Some(config) => config,
        None => core.tenant(ctx.tenant).await?,
    };
    for _ in 0..ATTEMPTS_MAX {
        match attempt(core, ctx, &config, token, is_audience).await? {
            Attempt::Decided(decided) => return Ok(*decided),
            Attempt::Moved(newer) => config = newer,
        }
    }
    Err(Failure::Contention)
}

enum Attempt {
    Decided(Box<Result<LiveToken, Rejection>>),
    /// The configuration is another one by now.
    Moved(Arc<TenantConfig>),
}

async fn attempt(
    core: &Core,
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    token: &str,
    is_audience: &(dyn Fn(&str, &TenantConfig) -> bool + Sync),
) -> Result<Attempt, Failure> {
    let decided = |decided| Ok(Attempt::Decided(Box::new(decided)));
    let claims = match read_for(config, ctx, token, is_audience) {
        Ok(claims) => claims,
        Err(rejection) => {
            // Perhaps its key, or its issuer, is newer than what is cached.
            let now = core.tenant(ctx.tenant).await?;
            return if now.version == config.version {
                decided(Err(rejection))
            } else {
                Ok(Attempt::Moved(now))
            };
        }
    };
    let client_id = ClientId(claims.client_id.clone());
    if claims.cfw.user.is_none() {
        let (now, client) = core.configuration(ctx.tenant, &client_id).await?;
        if now.version != config.version {
            return Ok(Attempt::Moved(now));
        }
        let Some(client) = client else { return decided(Err(Rejection::Ended)) };
        let live = client_token_lives(&Hold::of(&claims), config, &client)
            && claims.sub == format!("{}@clients", client.id);
        let token = LiveToken { claims, config: now, client, user: None };
        return decided(if live { Ok(token) } else { Err(Rejection::Ended) });
    }
    let chain = token_chain(core, ctx, &claims, client_id.clone()).await?;
    let now = core.tenant_at(ctx.tenant, chain.tenant_version).await?;
    if now.version != config.version {
        return Ok(Attempt::Moved(now));
    }
    let client = match chain.client_version {
        Some(version) => core.client_at(config, &client_id, version).await?,
        None => None,
    };
    let Some(client) = client else { return decided(Err(Rejection::Ended)) };
    let live = user_token_lives(&Hold::of(&claims), &chain, config, &client, ctx.now);
    decided(match chain.user {
        Some(user) if live && user.user_id == UserId(claims.sub.clone()) => {
            Ok(LiveToken { claims, config: now, client, user: Some(user) })
        }
        _ => Err(Rejection::Ended),
    })
}

/// Reads a token and holds issuer, audience and time against this request.
fn read_for(
    config: &TenantConfig,
    ctx: &Ctx,
    token: &str,
    is_audience: &(dyn Fn(&str, &TenantConfig) -> bool + Sync),
) -> Result<AccessToken, Rejection> {
    let claims = read(config, token)?;
    if !config.is_own_issuer(&claims.iss) || !claims.aud.iter().any(|aud| is_audience(aud, config)) {
        return Err(Rejection::Invalid);
    }
    if claims.exp <= ctx.now.seconds() {
        return Err(Rejection::Expired);
    }
    if claims.iat > ctx.now.seconds() + CLOCK_SECONDS {
        return Err(Rejection::Invalid);
    }
    Ok(claims)
}

/// Reads a token without asking whether it lives.
pub fn read(config: &TenantConfig, token: &str) -> Result<AccessToken, Rejection> {
    let payload = if token.contains('.') {
        let parsed = parse_compact(token).map_err(|_| Rejection::Invalid)?;
        if !matches!(parsed.header.typ.as_deref(), Some("JWT" | "at+jwt" | "application/at+jwt")) {
            return Err(Rejection::Invalid);
        }
        let kid = parsed.header.kid.as_deref().ok_or(Rejection::Invalid)?;
        let key = config.verifying_key(kid).ok_or(Rejection::Invalid)?;
        if !parsed.verify(key) {
            return Err(Rejection::Invalid);
        }
        parsed.payload
    } else {
        let unsealed = config.sealing.unseal(SealKind::AccessToken, config.tenant, token);
        unsealed.map_err(|_| Rejection::Invalid)?.plaintext
    };
    AccessToken::from_payload(&payload).map_err(|_| Rejection::Invalid)
}

async fn token_chain(
    core: &Core,
    ctx: &Ctx,
    claims: &AccessToken,
    client_id: ClientId,
) -> Result<TokenChain, Failure> {
    let arguments = (ctx.tenant, claims.cfw, claims.sid, client_id);
    core.store
        .read(arguments, |tx, (tenant, cfw, sid, client)| {
            Box::pin(async move {
                let Some(user) = cfw.user else {
                    return Err(Failure::Internal("a chain needs a user".into()));
                };
                let session = sid.map(|sid| sid.session);
                curfew_store::access::token_chain(
                    tx,
                    *tenant,
                    &user,
                    session.as_ref(),
                    cfw.grant.as_ref(),
                    client,
                )
                .await
            })
        })
        .await
}

/// What a token says of what it hangs on: everything its life depends on but its key, its issuer and its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold<'a> {
    pub cfw: &'a Cfw,
    /// Whether it names a session.
    pub in_session: bool,
    pub aud: &'a [String],
    pub iat: i64,
}

impl<'a> Hold<'a> {
    fn of(claims: &'a AccessToken) -> Self {
        let AccessToken { cfw, sid, aud, iat, .. } = claims;
        Self { cfw, in_session: sid.is_some(), aud, iat: *iat }
    }
}

/// Whether a client's own token lives.
pub(crate) fn client_token_lives(hold: &Hold<'_>, config: &TenantConfig, client: &Client) -> bool {
    let granted = hold.cfw.grant.is_some_and(|key| client.grants.iter().any(|grant| grant.grant_key == key));
    configuration_lives(hold, config, client) && granted
}

/// Whether a user's token lives, up the chain.
pub(crate) fn user_token_lives(
    hold: &Hold<'_>,
    chain: &TokenChain,
    config: &TenantConfig,
    client: &Client,
    now: Timestamp,
) -> bool {
    configuration_lives(hold, config, client) && user_lives(hold, chain, config, client, now)
}

/// The client and the APIs: above the floors, still there. The client's token floor is about what it holds for users;
/// what it holds on its own behalf hangs on no connection.
fn configuration_lives(hold: &Hold<'_>, config: &TenantConfig, client: &Client) -> bool {
    let counter = hold.cfw.client_counter.unwrap_or(i64::MIN);
    let api_lives = hold.aud.iter().all(|aud| {
        let of_api = config.resource_server(aud).is_some_and(|server| hold.iat > server.floor.seconds());
        is_userinfo(aud, config) || is_management(aud, config) || of_api
    });
    let floor = if hold.cfw.user.is_some() { client.floor.max(client.token_floor) } else { client.floor };
    counter >= floor && api_lives
}

/// Whether what stands behind a user's token lives.
fn user_lives(
    hold: &Hold<'_>,
    chain: &TokenChain,
    config: &TenantConfig,
    client: &Client,
    now: Timestamp,
) -> bool {
    let (Some(user), Some(counter)) = (&chain.user, hold.cfw.user_counter) else { return false };
    let user_stands = !user.blocked
        && counter >= chain.pair_family_floor
        && chain.code_replayed_at.is_none()
        && config.connection(&user.connection_id).is_some();
    if !user_stands {
        return false;
    }
    let family = chain.family.as_ref().map(|family| family_lives(family, chain, config, client, now));
    match (hold.in_session, &chain.session, family) {
        (_, _, Some(false)) => false,
        (true, Some(session), family) => {
            session_lives(session, user, config, now)
                || (family == Some(true) && time_alone_ran_out(session, user, config, client, now))
        }
        // The session was purged: it ended longer ago than any token lives.
        (true, None, _) => false,
        (false, _, Some(true)) => true,
        // Neither session nor family: the password grant without a refresh token.
        (false, _, None) => counter >= user.credential_floor,
    }
}

/// Whether nothing but time has ended a session: floors, identity, connection, sealing key.
fn session_stands(session: &ChainSession, user: &ChainUser, config: &TenantConfig) -> bool {
    session.counter >= user.session_floor
        && session.identity_floor.is_some_and(|floor| session.counter >= floor)
        && config.connection(&session.connection_id).is_some()
        && config.sealing_key_lives(session.sealing_key)
}

fn session_lives(session: &ChainSession, user: &ChainUser, config: &TenantConfig, now: Timestamp) -> bool {
    session.ended_at.is_none()
        && session_stands(session, user, config)
        && session.expires_at > now
        && session.idle_expires_at > now
}

/// Whether the session is over by time alone, which tokens with a living family behind them survive unless a policy has
/// one of them fall.
fn time_alone_ran_out(
    session: &ChainSession,
    user: &ChainUser,
    config: &TenantConfig,
    client: &Client,
    now: Timestamp,
) -> bool {
    let spared = match session.ended_cause.as_deref() {
        Some(cause) => {
            let spares = session.spares.as_ref();
            spares_tokens(cause, spares, &client.id) && !takes_families(cause, spares, &client.id)
        }
        None => sessions::overdue(session.expires_at, session.idle_expires_at, now).is_some_and(|cause| {
            let falls = |artefact| will_fall(config, client, cause, artefact);
            !falls(Artefact::RefreshTokens) && !falls(Artefact::AccessTokens)
        }),
    };
    spared && session_stands(session, user, config)
}

fn family_lives(
    family: &ChainFamily,
    chain: &TokenChain,
    config: &TenantConfig,
    client: &Client,
    now: Timestamp,
) -> bool {
    let floor = chain.user.as_ref().map_or(i64::MAX, |user| user.family_floor);
    let epoch =
        config.connection(&family.connection_id).and_then(|connection| connection.epoch_for(&client.id));
    family.ended_at.is_none()
        && family.counter >= floor
        && family.counter >= chain.pair_family_floor
        && family.client_counter >= client.floor
        && config.sealing_key_lives(family.sealing_key)
        && epoch.is_some_and(|epoch| family.connection_epoch >= epoch)
        && family.expires_at.is_none_or(|at| at > now)
        && family.idle_expires_at.is_none_or(|at| at > now)
}

/// Whether an audience is this tenant's `/userinfo`, under any of its domains.
pub fn is_userinfo(audience: &str, config: &TenantConfig) -> bool {
    audience.strip_suffix("userinfo").is_some_and(|issuer| config.is_own_issuer(issuer))
}

/// Whether an audience is this tenant's Management API, under any of its domains.
pub fn is_management(audience: &str, config: &TenantConfig) -> bool {
    audience.strip_suffix("api/v2/").is_some_and(|issuer| config.is_own_issuer(issuer))
}

/// Who calls the Management API.
#[derive(Debug)]
pub struct ManagementCaller {
    /// The token's client.
    pub client_id: ClientId,
    /// The token's `sub`.
    pub sub: String,
    /// The user, when it is a user's token.
    pub user: Option<ChainUser>,
    /// What the token may do, as far as the client grant still allows it.
    pub scopes: Vec<String>,
    /// The token's id, for the log.
    pub jti: String,
    /// The configuration the check saw.
    pub config: Arc<TenantConfig>,
}

/// Checks the bearer token of a Management API request. What the client grant no longer allows is taken away at once.
pub async fn authorize_management(
    core: &Core,
    ctx: &Ctx,
    token: &str,
) -> Result<Result<ManagementCaller, Rejection>, Failure> {
    let live = match check(core, ctx, token, &is_management).await? {
        Ok(live) => live,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let grant = live.claims.cfw.grant.and_then(|key| live.client.grants.iter().find(|g| g.grant_key == key));
    let allowed = |scope: &str| match (&live.user, grant) {
        (Some(_), _) => true,
        (None, Some(grant)) => grant.doc.allow_all_scopes || grant.doc.scope.iter().any(|own| own == scope),
        (None, None) => false,
    };
    let scopes =
        live.claims.scope.split(' ').filter(|s| !s.is_empty() && allowed(s)).map(str::to_owned).collect();
    Ok(Ok(ManagementCaller {
        client_id: live.client.id.clone(),
        sub: live.claims.sub,
        user: live.user,
        scopes,
        jti: live.claims.jti,
        config: live.config,
    }))
}
