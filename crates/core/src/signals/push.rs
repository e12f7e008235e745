//! Push delivery (RFC 8935): what a try sends, and what its answer means. When it is tried is the courier's business.

use curfew_model::{Ctx, Failure, Secret};
use curfew_store::Lane;
use curfew_store::deliveries::{self, Delivery, DeliveryState, Event, Outcome};
use curfew_store::signals::{self as rows, StreamStatus};
use curfew_tokens::claims::{SECURITY_EVENT_TYP, SecurityEventClaims};
use curfew_tokens::{SigningAlg, jws};
use serde::Deserialize;

use super::events::{EventType, STREAM_UPDATED};
use super::fanout::Body;
use super::stream::{self, Delivery as Way, Stream};
use super::{HELD_SECONDS, may_hear};
use crate::deliveries::{Errand, Request};
use crate::outbound::{Post, Reply};
use crate::{Core, TenantConfig};

/// Errors that another try would not change: those of RFC 8935 §2.4, and what a receiver says of a verification that it did
/// not ask for (SSF §8.1.4.1).
const FINAL: [&str; 7] = [
    "invalid_request",
    "invalid_key",
    "invalid_issuer",
    "invalid_audience",
    "authentication_failed",
    "access_denied",
    "invalid_state",
];
/// Characters of a receiver's error that are kept.
const ERROR_MAX: usize = 300;
/// How long an event waits for one before it.
const IN_TURN_SECONDS: i64 = 1;

/// What a try sends.
///
/// Steps: 1 the stream as it is now, whose receiver is still granted it, 2 an event that must not overtake another waits,
/// 3 sign: `jti` and `iat` are the same in each try.
pub(crate) async fn prepare(
    core: &Core,
    ctx: &Ctx,
    delivery: &Delivery,
    event: &Event,
) -> Result<Errand, Failure> {
    // 1
    let id = delivery.receiver.0.clone();
    let row =
        core.store.read((ctx.tenant, id), |tx, (tenant, id)| Box::pin(rows::find(tx, *tenant, id))).await?;
    let Some(row) = row else {
        return Ok(Errand::Over(DeliveryState::Cancelled, "the stream was deleted"));
    };
    let stream = Stream::read(row)?;
    let (config, client) = core.configuration(ctx.tenant, &stream.row.client_id).await?;
    if !client.is_some_and(|client| may_hear(&config, &client)) {
        return Ok(Errand::Over(DeliveryState::Cancelled, "the receiver may not hear of this any more"));
    }
    let says_so = event.event_type == STREAM_UPDATED;
    match (stream.row.status, &stream.doc.delivery) {
        (StreamStatus::Disabled, _) if !says_so => {
            Ok(Errand::Over(DeliveryState::Cancelled, "the stream is disabled"))
        }
        (StreamStatus::Enabled, Way::Push { endpoint_url }) => {
            // 2
            if is_out_of_turn(core, ctx, delivery, event).await? {
                return Ok(Errand::Settled);
            }
            // 3
            let token = sign(&config, &stream, delivery, event)?;
            let mut headers = vec![("accept".into(), Secret::new("application/json".to_owned()))];
            if let Some(secret) = stream::authorization(&stream.row, &config)? {
                headers.push(("authorization".into(), secret));
            }
            let post = Post { content_type: "application/secevent+jwt", headers, body: token };
            Ok(Errand::Ask(Request { url: endpoint_url.clone(), post, noted: Default::default() }))
        }
        // It became so after this was written.
        _ => {
            let args = (ctx.clone(), stream.row.id.clone());
            core.store
                .transact(Lane::Ordinary, args, |tx, (ctx, id)| {
                    let until = ctx.now.plus_seconds(HELD_SECONDS);
                    Box::pin(async move { rows::hold(tx, ctx.tenant, id, until).await })
                })
                .await?;
            Ok(Errand::Settled)
        }
    }
}

/// That an account is enabled must not arrive before that it was disabled, which is still being tried: the last one counts.
async fn is_out_of_turn(core: &Core, ctx: &Ctx, delivery: &Delivery, event: &Event) -> Result<bool, Failure> {
    let (Some(sub), Some(EventType::AccountEnabled)) = (&delivery.sub, EventType::parse(&event.event_type))
    else {
        return Ok(false);
    };
    let args = (ctx.clone(), delivery.clone(), sub.clone());
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, delivery, sub)| {
            Box::pin(async move {
                let before = (sub, EventType::AccountDisabled.uri());
                let stream = &delivery.receiver.0;
                let Some(due) = rows::waits_of(tx, ctx.tenant, stream, before).await? else {
                    return Ok(false);
                };
                let next = due.max(ctx.now).plus_seconds(IN_TURN_SECONDS);
                let why = "an earlier event about the account is first".to_owned();
                let outcome = Outcome { status: None, error: Some(why) };
                deliveries::again(tx, ctx.tenant, delivery, next, &outcome).await?;
                Ok(true)
            })
        })
        .await
}

/// The token of a delivery. RS256 is what every receiver understands (CAEP Interoperability Profile §2.6).
pub(super) fn sign(
    config: &TenantConfig,
    stream: &Stream,
    delivery: &Delivery,
    event: &Event,
) -> Result<String, Failure> {
    let jti = jti(delivery);
    let broken = || Failure::Inconsistent { table: "deliveries", column: "body", id: jti.clone() };
    let body: Body = serde_json::from_str(&event.body).map_err(|_| broken())?;
    let claims = SecurityEventClaims {
        iss: &stream.row.issuer,
        aud: stream.row.client_id.as_str(),
        iat: delivery.created_at.seconds(),
        jti: &jti,
        txn: body.txn.as_deref(),
        sub_id: &body.sub_id,
        event_type: &event.event_type,
        event: &body.event,
    };
    jws::sign_compact(config.signing_key(SigningAlg::RS256)?, SECURITY_EVENT_TYP, &claims)
}

/// 32 hexadecimal digits: under this id the Management API has the delivery.
pub(super) fn jti(delivery: &Delivery) -> String {
    format!("{:032x}", u128::from_be_bytes(delivery.id))
}

/// What a receiver says that cannot take a token (RFC 8935 §2.3).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SaidError {
    err: String,
    #[serde(default)]
    description: Option<String>,
}

impl SaidError {
    /// For the dead letter.
    pub(super) fn text(&self) -> String {
        let description = self.description.as_deref().filter(|text| !text.is_empty());
        let text = match description {
            Some(description) => format!("{}: {description}", self.err),
            None => self.err.clone(),
        };
        text.chars().filter(|character| !character.is_control()).take(ERROR_MAX).collect()
    }
}

/// Whether an answer says that the token is not wanted, and why.
pub(crate) fn refuses(reply: &Reply) -> Option<String> {
    if reply.status != 400 {
        return None;
    }
    let said: SaidError = serde_json::from_str(&reply.body).ok()?;
    FINAL.contains(&said.err.as_str()).then(|| said.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, retry_after: None, body: body.to_owned() }
    }

    #[test]
    fn what_is_final_is_what_another_try_would_not_change() {
        for err in FINAL {
            let body = format!(r#"{{"err": "{err}"}}"#);
            assert_eq!(refuses(&reply(400, &body)).as_deref(), Some(err));
            assert_eq!(refuses(&reply(500, &body)), None);
        }
        let told = reply(400, r#"{"err": "invalid_key", "description": "no\nsuch key"}"#);
        assert_eq!(refuses(&told).as_deref(), Some("invalid_key: nosuch key"));
        for other in [r#"{"err": "later"}"#, r#"{"error": "invalid_key"}"#, "", "<html>"] {
            assert_eq!(refuses(&reply(400, other)), None, "{other}");
        }
        let long = format!(r#"{{"err": "invalid_key", "description": "{}"}}"#, "x".repeat(9000));
        assert_eq!(refuses(&reply(400, &long)).map(|text| text.len()), Some(ERROR_MAX));
    }
}
