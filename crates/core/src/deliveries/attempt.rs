//! One try to tell an application.

use curfew_model::config::Client;
use curfew_model::{Ctx, Failure, LogCode, SessionKey, Sid, UserId, UserKey};
use curfew_store::deliveries::{self, Delivery, DeliveryState, Outcome};
use curfew_store::{Lane, Tx};
use curfew_tokens::claims::LogoutTokenClaims;
use curfew_tokens::{SigningAlg, jws};
use serde_json::{Map, Value, json};
use url::Url;

use super::fanout::delivery_id;
use super::retry::{Verdict, judge};
use crate::logs::{self, LogEntry};
use crate::outbound::{NoReply, Reply};
use crate::{Core, TenantConfig};

/// Characters of a token's id.
const JTI_LENGTH: usize = 22;
/// Ended sessions that one token without `sid` becomes when it must not be sent any more.
const SESSIONS_MAX: i64 = 1000;

/// Tells an application, once. The attempt is counted already.
///
/// Steps: 1 its present address and keys, 2 a token that names a person alone is not for someone who is back, 3 a fresh
/// token, 4 ask, with no transaction open, 5 settle. Answers whether the application is well: a try that was not made
/// says nothing against it.
///
/// Failure: nothing is settled, and the lease runs out.
pub(super) async fn attempt(core: &Core, ctx: &Ctx, delivery: &Delivery) -> Result<bool, Failure> {
    // 1
    let (config, client) = core.configuration(ctx.tenant, &delivery.client_id).await?;
    let url = match &client {
        None => delivery.url.clone(),
        Some(client) => match client.doc.oidc_logout.url() {
            Some(url) => url.to_owned(),
            None => {
                let outcome =
                    Outcome { status: None, error: Some("the application has no address".to_owned()) };
                settle_unsent(core, ctx, delivery, DeliveryState::Cancelled, outcome).await?;
                return Ok(true);
            }
        },
    };
    // 2
    if superseded(core, ctx, delivery).await? {
        return Ok(true);
    }
    // 3
    let metadata = metadata(core, ctx, delivery, client.as_deref()).await?;
    let now = core.clock.now();
    let (jti, trace_id) = (ctx.entropy.url_safe(JTI_LENGTH), delivery.ending.to_string());
    let claims = LogoutTokenClaims {
        iss: &delivery.issuer,
        sub: delivery.sub.as_ref().map(UserId::as_str),
        aud: delivery.client_id.as_str(),
        iat: now.seconds(),
        jti: &jti,
        sid: delivery.session.map(|session| Sid { user: delivery.user, session }),
        trace_id: &trace_id,
        session_metadata: metadata.as_ref(),
    };
    let token = sign(&config, client.as_deref(), &delivery.alg, &claims)?;
    // 4
    let answer = match Url::parse(&url) {
        Ok(parsed) => core.outbound.post_form(parsed, form(&token)).await,
        Err(_) => Err(NoReply("the address is no URL".to_owned())),
    };
    // 5
    let ctx = Ctx { now: core.clock.now(), ..ctx.clone() };
    let verdict = judge(&answer, delivery.attempts, (ctx.now, delivery.retry_until), &*ctx.entropy);
    let well = verdict == Verdict::Confirmed;
    let status = answer.ok().map(|reply| reply.status);
    let tried = Tried { delivery: delivery.clone(), url, status, verdict, metadata };
    core.store
        .transact(Lane::Ordinary, (ctx, tried), |tx, (ctx, tried)| Box::pin(settle(tx, ctx, tried)))
        .await?;
    Ok(well)
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
        Ok(parsed) => core.outbound.post_form(parsed, form(&token)).await,
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
    delivery: &Delivery,
    client: Option<&Client>,
) -> Result<Option<Map<String, Value>>, Failure> {
    let wanted =
        client.is_some_and(|client| client.doc.oidc_logout.backchannel_logout_session_metadata.include);
    let Some(session) = delivery.session.filter(|_| wanted) else { return Ok(None) };
    let sid = Sid { user: delivery.user, session };
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
async fn superseded(core: &Core, ctx: &Ctx, delivery: &Delivery) -> Result<bool, Failure> {
    let (None, Some(counter)) = (delivery.session, delivery.counter) else { return Ok(false) };
    let args = (ctx.tenant, delivery.user, counter, delivery.client_id.clone());
    let is_back = core
        .store
        .read(args, |tx, (tenant, user, counter, client)| {
            Box::pin(deliveries::has_newer_session(tx, *tenant, user, *counter, client))
        })
        .await?;
    if !is_back {
        return Ok(false);
    }
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), delivery.clone(), counter), |tx, (ctx, old, counter)| {
            Box::pin(async move {
                let outcome = Outcome {
                    status: old.last_status,
                    error: Some("the person has a newer session at the application".to_owned()),
                };
                let state = DeliveryState::Superseded;
                if !deliveries::settle(tx, ctx.tenant, old, state, ctx.now, &outcome).await? {
                    return Ok(());
                }
                for session in deliveries::older_sessions(tx, ctx.tenant, old, *counter, SESSIONS_MAX).await?
                {
                    let one = Delivery {
                        id: delivery_id(&old.ending, &old.client_id, &old.issuer, Some(&session)),
                        session: Some(session),
                        counter: None,
                        // The pause it has come to; this try is not made.
                        attempts: old.attempts.saturating_sub(1),
                        next_at: ctx.now,
                        created_at: ctx.now,
                        ..old.clone()
                    };
                    deliveries::insert(tx, ctx.tenant, &one).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(true)
}

async fn settle_unsent(
    core: &Core,
    ctx: &Ctx,
    delivery: &Delivery,
    state: DeliveryState,
    outcome: Outcome,
) -> Result<(), Failure> {
    core.store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), delivery.clone(), state, outcome),
            |tx, (ctx, delivery, state, outcome)| {
                Box::pin(async move {
                    deliveries::settle(tx, ctx.tenant, delivery, *state, ctx.now, outcome).await.map(drop)
                })
            },
        )
        .await
}

/// A try that was made.
struct Tried {
    delivery: Delivery,
    url: String,
    status: Option<u16>,
    verdict: Verdict,
    metadata: Option<Map<String, Value>>,
}

/// Writes down what came of a try. In the tenant's log are the first that failed and the one that ended it: a receiver
/// that is away for a day would fill it otherwise.
async fn settle(tx: &mut Tx, ctx: &Ctx, tried: &Tried) -> Result<(), Failure> {
    let Tried { delivery, status, .. } = tried;
    let outcome = |error: &str| Outcome { status: status.map(i64::from), error: Some(error.to_owned()) };
    let (written, code, error) = match &tried.verdict {
        Verdict::Confirmed => {
            let status = i64::from(status.unwrap_or_default());
            let written = deliveries::confirm(tx, ctx.tenant, &delivery.id, ctx.now, status).await?;
            (written, LogCode::BackchannelLogout, None)
        }
        Verdict::Dead(error) => {
            let state = DeliveryState::Dead;
            let outcome = outcome(error);
            let written = deliveries::settle(tx, ctx.tenant, delivery, state, ctx.now, &outcome).await?;
            (written, LogCode::BackchannelLogoutFailed, Some(error))
        }
        Verdict::Again(at, error) => {
            let written = deliveries::again(tx, ctx.tenant, delivery, *at, &outcome(error)).await?;
            (written && delivery.attempts == 1, LogCode::BackchannelLogoutFailed, Some(error))
        }
    };
    if !written {
        return Ok(());
    }
    let mut details = json!({
        "initiator": delivery.initiator.as_str(),
        "request": { "method": "POST", "backchannel_logout_uri": shown(&tried.url) },
        "response": { "statusCode": status },
        "errors": error.into_iter().collect::<Vec<_>>(),
        "attempts": delivery.attempts,
        "ending_id": delivery.ending,
    });
    if let (Value::Object(details), Some(metadata)) = (&mut details, &tried.metadata) {
        details.insert("session_metadata".to_owned(), Value::Object(metadata.clone()));
    }
    let description = match &tried.verdict {
        Verdict::Confirmed => "the application confirmed",
        Verdict::Dead(_) => "the application did not confirm, and is not asked again",
        Verdict::Again(..) => "the application did not confirm, and is asked again",
    };
    let entry = LogEntry {
        code,
        user_id: delivery.sub.as_ref().map(UserId::as_str),
        client_id: Some(delivery.client_id.as_str()),
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
