//! OIDC Back-Channel Logout: what a client is sent of sessions that ended.

use curfew_model::config::Client;
use curfew_model::{ClientId, Ctx, Failure, LogCode, SessionKey, Sid, UserId, UserKey};
use curfew_store::deliveries::{self, Delivery, DeliveryState, LogoutToken, Message, Outcome};
use curfew_store::{Lane, Tx};
use curfew_tokens::claims::LogoutTokenClaims;
use curfew_tokens::{SigningAlg, jws};
use serde_json::{Map, Value, json};
use url::Url;

use super::attempt::{Errand, Request, Tried};
use super::fanout::delivery_id;
use super::retry::Verdict;
use crate::logs::{self, LogEntry};
use crate::outbound::{NoReply, Post, Reply};
use crate::{Core, TenantConfig};

/// Characters of a token's id.
const JTI_LENGTH: usize = 22;
/// Ended sessions that one token without `sid` becomes when it must not be sent any more.
const SESSIONS_MAX: i64 = 1000;

/// What a try sends.
///
/// Steps: 1 the client's present address and keys, 2 a token that names a person alone is not for someone who is back,
/// 3 a fresh token.
pub(super) async fn prepare(
    core: &Core,
    ctx: &Ctx,
    delivery: &Delivery,
    told: &LogoutToken,
) -> Result<Errand, Failure> {
    // 1
    let id = ClientId(delivery.receiver.0.clone());
    let (config, client) = core.configuration(ctx.tenant, &id).await?;
    let url = match &client {
        None => told.url.clone(),
        Some(client) => match client.doc.oidc_logout.url() {
            Some(url) => url.to_owned(),
            None => return Ok(Errand::Over(DeliveryState::Cancelled, "the application has no address")),
        },
    };
    // 2
    if superseded(core, ctx, delivery, told, &id).await? {
        return Ok(Errand::Settled);
    }
    // 3
    let metadata = metadata(core, ctx, told, client.as_deref()).await?;
    let (jti, trace_id) = (ctx.entropy.url_safe(JTI_LENGTH), trace_id(delivery));
    let claims = LogoutTokenClaims {
        iss: &delivery.issuer,
        sub: delivery.sub.as_ref().map(UserId::as_str),
        aud: id.as_str(),
        iat: core.clock.now().seconds(),
        jti: &jti,
        sid: told.session.map(|session| Sid { user: told.user, session }),
        trace_id: &trace_id,
        session_metadata: metadata.as_ref(),
    };
    let token = sign(&config, client.as_deref(), &told.alg, &claims)?;
    let mut noted = Map::new();
    if let Some(metadata) = metadata {
        noted.insert("session_metadata".to_owned(), Value::Object(metadata));
    }
    Ok(Errand::Ask(Request { url, post: Post::form(form(&token)), noted }))
}

fn trace_id(delivery: &Delivery) -> String {
    delivery.ending.map_or_else(String::new, |ending| ending.to_string())
}

/// 400 says that the token was understood and is not accepted (OIDC Back-Channel Logout §2.8).
pub(super) fn refuses(reply: &Reply) -> Option<String> {
    (reply.status == 400).then(|| "the application answered 400".to_owned())
}

fn form(token: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", token).finish()
}

/// Sends a logout token of a session that never was: whoever gets it has nothing to end, and says whether it understands.
pub(crate) async fn try_address(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    client: &Client,
    url: &str,
) -> Result<Result<Reply, NoReply>, Failure> {
    let sid = Sid { user: UserKey::generate(&*ctx.entropy), session: SessionKey::generate(&*ctx.entropy) };
    let jti = ctx.entropy.url_safe(JTI_LENGTH);
    let claims = LogoutTokenClaims {
        iss: &ctx.issuer,
        sub: None,
        aud: client.id.as_str(),
        iat: ctx.now.seconds(),
        jti: &jti,
        sid: Some(sid),
        trace_id: &ctx.request.id.to_string(),
        session_metadata: None,
    };
    let token = sign(config, Some(client), "RS256", &claims)?;
    Ok(match Url::parse(url) {
        Ok(parsed) => core.outbound.post(parsed, Post::form(form(&token))).await,
        Err(_) => Err(NoReply("the address is no URL".to_owned())),
    })
}

/// Signed as the client's ID tokens are (OIDC Back-Channel Logout §2.4); `alg` is how they were when the client is gone.
/// The secret of such a client is gone with it.
fn sign(
    config: &TenantConfig,
    client: Option<&Client>,
    alg: &str,
    claims: &LogoutTokenClaims<'_>,
) -> Result<String, Failure> {
    let alg = match client {
        Some(client) => client.doc.jwt_configuration.alg.as_deref().unwrap_or("RS256"),
        None => alg,
    };
    match client {
        Some(client) if alg == "HS256" => jws::sign_hs256(client.secret.expose().as_bytes(), "JWT", claims),
        _ => {
            let alg = SigningAlg::parse(alg).unwrap_or(SigningAlg::RS256);
            jws::sign_compact(config.signing_key(alg)?, "JWT", claims)
        }
    }
}

/// `session_metadata`, for who wants it.
async fn metadata(
    core: &Core,
    ctx: &Ctx,
    told: &LogoutToken,
    client: Option<&Client>,
) -> Result<Option<Map<String, Value>>, Failure> {
    let wanted =
        client.is_some_and(|client| client.doc.oidc_logout.backchannel_logout_session_metadata.include);
    let Some(session) = told.session.filter(|_| wanted) else { return Ok(None) };
    let sid = Sid { user: told.user, session };
    let stored = core
        .store
        .read((ctx.tenant, sid), |tx, (tenant, sid)| {
            Box::pin(deliveries::session_metadata(tx, *tenant, &sid.user, &sid.session))
        })
        .await?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|_| Failure::Inconsistent {
            table: "sessions",
            column: "metadata",
            id: sid.to_string(),
        })
    };
    stored.map(read).transpose()
}

/// Whether a token that names a person alone must not be sent any more, because the person has a newer session at the
/// application, which it would end as well. The ended sessions are then told one by one, as far as they are known.
async fn superseded(
    core: &Core,
    ctx: &Ctx,
    delivery: &Delivery,
    told: &LogoutToken,
    client: &ClientId,
) -> Result<bool, Failure> {
    let (None, Some(counter)) = (told.session, told.counter) else { return Ok(false) };
    let args = (ctx.tenant, told.user, counter, client.clone());
    let is_back = core
        .store
        .read(args, |tx, (tenant, user, counter, client)| {
            Box::pin(deliveries::has_newer_session(tx, *tenant, user, *counter, client))
        })
        .await?;
    if !is_back {
        return Ok(false);
    }
    let args = (ctx.clone(), delivery.clone(), told.clone(), counter);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, old, told, counter)| {
            Box::pin(tell_one_by_one(tx, ctx, old, told, *counter))
        })
        .await?;
    Ok(true)
}

async fn tell_one_by_one(
    tx: &mut Tx,
    ctx: &Ctx,
    old: &Delivery,
    told: &LogoutToken,
    counter: i64,
) -> Result<(), Failure> {
    let outcome = Outcome {
        status: old.last_status,
        error: Some("the person has a newer session at the application".to_owned()),
    };
    if !deliveries::settle(tx, ctx.tenant, old, DeliveryState::Superseded, ctx.now, &outcome).await? {
        return Ok(());
    }
    let Some(ending) = old.ending else { return Ok(()) };
    let client = ClientId(old.receiver.0.clone());
    let place = (&client, old.issuer.as_str());
    for session in
        deliveries::older_sessions(tx, ctx.tenant, &told.user, counter, place, SESSIONS_MAX).await?
    {
        let one = Delivery {
            id: delivery_id(&ending, &client, &old.issuer, Some(&session)),
            message: Message::LogoutToken(LogoutToken {
                session: Some(session),
                counter: None,
                ..told.clone()
            }),
            // The pause it has come to; this try is not made.
            attempts: old.attempts.saturating_sub(1),
            next_at: ctx.now,
            created_at: ctx.now,
            ..old.clone()
        };
        deliveries::insert(tx, ctx.tenant, &one).await?;
    }
    Ok(())
}

/// Writes into the tenant's log what came of a try: the first that failed and the one that ended it. A receiver that is
/// away for a day would fill it otherwise.
pub(super) async fn log(tx: &mut Tx, ctx: &Ctx, tried: &Tried, told: &LogoutToken) -> Result<(), Failure> {
    let delivery = &tried.delivery;
    let (code, description, error) = match &tried.verdict {
        Verdict::Confirmed => (LogCode::BackchannelLogout, "the application confirmed", None),
        Verdict::Dead(error) => (
            LogCode::BackchannelLogoutFailed,
            "the application did not confirm, and is not asked again",
            Some(error),
        ),
        Verdict::Again(..) if delivery.attempts > 1 => return Ok(()),
        Verdict::Again(_, error) => (
            LogCode::BackchannelLogoutFailed,
            "the application did not confirm, and is asked again",
            Some(error),
        ),
    };
    let mut details = json!({
        "initiator": told.initiator.as_str(),
        "request": { "method": "POST", "backchannel_logout_uri": shown(&tried.url) },
        "response": { "statusCode": tried.status },
        "errors": error.into_iter().collect::<Vec<_>>(),
        "attempts": delivery.attempts,
        "ending_id": delivery.ending,
    });
    if let Value::Object(details) = &mut details {
        details.extend(tried.noted.clone());
    }
    let entry = LogEntry {
        code,
        user_id: delivery.sub.as_ref().map(UserId::as_str),
        client_id: Some(&delivery.receiver.0),
        description,
        details,
    };
    logs::write(tx, ctx, &entry).await
}

/// The address for the log: what stands behind a question mark may be the receiver's secret.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_shows_no_query() {
        assert_eq!(shown("https://app.example/out?key=secret#x"), "https://app.example/out");
        assert_eq!(shown("https://app.example/out"), "https://app.example/out");
    }
}
