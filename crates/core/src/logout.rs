//! Logout by the person: `/v2/logout`, and OIDC RP-Initiated Logout at `/oidc/logout`.

use std::sync::Arc;

use curfew_model::config::{Client, ClientDoc};
use curfew_model::{ClientId, Ctx, EndingCause, Failure, LogCode, Sid};
use curfew_store::{Lane, Tx};
use curfew_tokens::claims::IdTokenHint;
use curfew_tokens::{JwsAlg, parse_compact};
use serde_json::json;

use crate::authorize::redirect;
use crate::endings::{self, Actor, Ending, Target};
use crate::logs::LogEntry;
use crate::sessions;
use crate::{Core, TenantConfig};

/// Where the browser goes after a logout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// To an allowed address.
    Redirect(String),
    /// To our own page.
    Page,
    /// To our error page: the address is not on the list.
    NotAllowed(String),
}

/// How many applications the browser tells in one page; a person has fewer open, and each costs the page time.
const FRAMES_MAX: usize = 20;

/// How many participants with an address for the browser are looked at: those with one for logout tokens as well are
/// told with those.
const FRONT_CHANNEL_MAX: i64 = 100;

/// Ends the session behind a cookie, if it lives; the cookie is cleared in any case. Answers the addresses that the
/// browser has to open, each in a frame, to tell applications that nobody else can tell (OIDC Front-Channel Logout §2).
pub async fn end_by_cookie(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    cookie: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let Some(cookie) = cookie else { return Ok(Vec::new()) };
    let Some(row) = sessions::find_by_cookie(core, ctx, config, cookie, None).await? else {
        return Ok(Vec::new());
    };
    let ending = Ending::new(EndingCause::RpLogout, Target::Session(row.sid), Actor::User);
    core.store
        .transact(Lane::Endings, (ctx.clone(), ending, row.sid), |tx, (ctx, ending, sid)| {
            Box::pin(async move {
                endings::end(tx, ctx, ending).await?;
                // In the same transaction: who tries again after a failure finds the session as it was.
                frames(tx, ctx, sid).await
            })
        })
        .await
}

/// What the browser has to open. `iss` and `sid` are always there: an application may need them, and none is disturbed.
async fn frames(tx: &mut Tx, ctx: &Ctx, sid: &Sid) -> Result<Vec<String>, Failure> {
    let documents = curfew_store::sessions::front_channel(tx, ctx.tenant, sid, FRONT_CHANNEL_MAX).await?;
    let sid_text = sid.to_string();
    let mut frames = Vec::new();
    for text in documents {
        let doc: ClientDoc = serde_json::from_str(&text).map_err(|_| Failure::Inconsistent {
            table: "clients",
            column: "doc",
            id: sid_text.clone(),
        })?;
        if let Some(uri) = doc.front_channel().filter(|_| frames.len() < FRAMES_MAX) {
            frames.push(redirect::with_query(uri, &[("iss", &*ctx.issuer), ("sid", &*sid_text)]));
        }
    }
    Ok(frames)
}

/// Where `/v2/logout` leads: `returnTo` against the client's list, or the tenant's when no client is named; a client
/// that does not exist has no list. Without `returnTo` the first entry of the client's list. Query and fragment are not
/// compared.
pub fn v2_target(
    config: &TenantConfig,
    client: Option<&Client>,
    client_is_named: bool,
    return_to: Option<&str>,
) -> After {
    let list = match client {
        Some(client) => &client.doc.allowed_logout_urls[..],
        None if client_is_named => &[],
        None => &config.settings.allowed_logout_urls,
    };
    match return_to {
        Some(url) if redirect::matches_logout_url(list, url) => After::Redirect(url.to_owned()),
        Some(url) => After::NotAllowed(url.to_owned()),
        None => match client.and_then(|client| client.doc.allowed_logout_urls.first()) {
            Some(first) => After::Redirect(first.clone()),
            None => After::Page,
        },
    }
}

/// What `/oidc/logout` was asked.
#[derive(Debug, Clone, Default)]
pub struct LogoutRequest {
    /// `id_token_hint`.
    pub id_token_hint: Option<String>,
    /// `logout_hint`: the `sid`.
    pub logout_hint: Option<String>,
    /// `post_logout_redirect_uri`.
    pub post_logout_redirect_uri: Option<String>,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `state`.
    pub state: Option<String>,
}

/// What `/oidc/logout` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogoutStep {
    /// The request is wrong: our error page.
    Invalid(&'static str),
    /// Ask the person first.
    Confirm {
        /// Where to then.
        after: After,
    },
    /// End the session behind the cookie, then go on.
    End {
        /// Where to.
        after: After,
    },
}

/// Decides an RP-initiated logout (OIDC RP-Initiated Logout §2, §3).
///
/// Steps: 1 read the hint (an expired one is accepted, §4), 2 which client, 3 hints agree, 4 the target is allowed,
/// exactly, 5 without a hint for this very browser's session the person is asked, unless the tenant switched that off.
pub async fn decide(
    core: &Core,
    ctx: &Ctx,
    request: &LogoutRequest,
    cookie: Option<&str>,
) -> Result<(Arc<TenantConfig>, LogoutStep), Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let hint = match &request.id_token_hint {
        Some(token) => match read_hint(core, ctx, &config, token).await? {
            Some(hint) => Some(hint),
            None => {
                return Ok((config, LogoutStep::Invalid("id_token_hint is not an ID token of this issuer")));
            }
        },
        None => None,
    };
    let hinted_client = hint.as_ref().and_then(|hint| hint.aud.first()).cloned();
    if let (Some(hinted), Some(named)) = (&hinted_client, &request.client_id)
        && hinted != named
    {
        return Ok((config, LogoutStep::Invalid("client_id does not match id_token_hint")));
    }
    let hinted_sid = hint.as_ref().and_then(|hint| hint.sid);
    let named_sid = request.logout_hint.as_deref().and_then(Sid::parse);
    if let (Some(one), Some(other)) = (hinted_sid, named_sid)
        && one != other
    {
        return Ok((config, LogoutStep::Invalid("logout_hint does not match id_token_hint")));
    }
    let client = match hinted_client.or_else(|| request.client_id.clone()) {
        Some(id) => match core.configuration(ctx.tenant, &ClientId(id)).await? {
            (_, Some(client)) => Some(client),
            (_, None) => return Ok((config, LogoutStep::Invalid("Unknown client"))),
        },
        None => None,
    };
    let after = oidc_target(&config, client.as_deref(), request);
    let session = match cookie {
        Some(cookie) => sessions::find_by_cookie(core, ctx, &config, cookie, None).await?,
        None => None,
    };
    let step = match (session, hinted_sid.or(named_sid)) {
        (None, _) => LogoutStep::End { after },
        (Some(session), Some(sid)) if session.sid == sid => LogoutStep::End { after },
        _ if config.settings.sessions.oidc_logout_prompt_enabled == Some(false) => LogoutStep::End { after },
        _ => LogoutStep::Confirm { after },
    };
    Ok((config, step))
}

/// Reads an ID token of ours, however old; those of clients with HS256 are signed with the client's secret.
pub(crate) async fn read_hint(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    token: &str,
) -> Result<Option<IdTokenHint>, Failure> {
    let Ok(parsed) = parse_compact(token) else { return Ok(None) };
    let Ok(hint) = IdTokenHint::from_payload(&parsed.payload) else { return Ok(None) };
    let verified = if parsed.header.alg == JwsAlg::HS256 {
        let id = ClientId(hint.aud.first().cloned().unwrap_or_default());
        let (_, client) = core.configuration(ctx.tenant, &id).await?;
        client.is_some_and(|client| {
            uses_hs256(&client) && parsed.verify_hs256(client.secret.expose().as_bytes())
        })
    } else {
        let key = parsed.header.kid.as_deref().and_then(|kid| config.verifying_key(kid));
        key.is_some_and(|key| parsed.verify(key))
    };
    Ok((verified && config.is_own_issuer(&hint.iss)).then_some(hint))
}

fn uses_hs256(client: &Client) -> bool {
    client.doc.jwt_configuration.alg.as_deref() == Some("HS256")
}

/// Notes a logout that could not lead where it was asked to (`flo`).
pub fn log_refused(core: &Core, ctx: &Ctx, client_id: Option<&str>, reason: &str) {
    core.logs.send(
        ctx,
        &LogEntry {
            code: LogCode::LogoutFailed,
            user_id: None,
            client_id,
            description: reason,
            details: json!({}),
        },
    );
}

fn oidc_target(config: &TenantConfig, client: Option<&Client>, request: &LogoutRequest) -> After {
    let Some(uri) = &request.post_logout_redirect_uri else { return After::Page };
    let list = client.map_or(&config.settings.allowed_logout_urls, |client| &client.doc.allowed_logout_urls);
    if !list.iter().any(|allowed| allowed == uri) {
        return After::NotAllowed(uri.clone());
    }
    match &request.state {
        Some(state) => After::Redirect(redirect::with_query(uri, &[("state", state)])),
        None => After::Redirect(uri.clone()),
    }
}
