//! One try to tell a receiver.

use curfew_model::{Ctx, Failure, Timestamp};
use curfew_store::deliveries::{self, Delivery, DeliveryState, Message, Outcome};
use curfew_store::{Lane, Tx};
use serde_json::{Map, Value};
use url::Url;

use super::backchannel;
use super::retry::{Verdict, judge};
use crate::event_streams::webhook;
use crate::outbound::{NoReply, Post};
use crate::{Core, signals};

/// What becomes of a delivery whose turn it is.
pub(crate) enum Errand {
    /// The receiver is asked.
    Ask(Request),
    /// It is over without being sent, and why.
    Over(DeliveryState, &'static str),
    /// It is settled already.
    Settled,
}

/// What a try sends.
pub(crate) struct Request {
    /// The receiver's present address.
    pub url: String,
    /// What is sent there.
    pub post: Post,
    /// What the log row says beside.
    pub noted: Map<String, Value>,
}

/// A try that was made.
pub(crate) struct Tried {
    /// As it was picked.
    pub delivery: Delivery,
    /// When it began.
    pub began: Timestamp,
    /// Where to it was sent.
    pub url: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What becomes of the delivery.
    pub verdict: Verdict,
    /// As in [`Request`].
    pub noted: Map<String, Value>,
}

/// Tells a receiver, once. The attempt is counted already.
///
/// Steps: 1 what is to be sent, and where, at present, 2 ask, with no transaction open, 3 settle. Answers whether the
/// receiver is well: a try that was not made says nothing against it.
///
/// Failure: nothing is settled, and the lease runs out.
pub(super) async fn attempt(core: &Core, ctx: &Ctx, delivery: &Delivery) -> Result<bool, Failure> {
    // 1
    let errand = match &delivery.message {
        Message::LogoutToken(told) => backchannel::prepare(core, ctx, delivery, told).await?,
        Message::SecurityEvent(told) => signals::prepare(core, ctx, delivery, told).await?,
        Message::Event(told) => webhook::prepare(core, ctx, delivery, told).await?,
    };
    let Request { url, post, noted } = match errand {
        Errand::Ask(request) => request,
        Errand::Over(state, why) => {
            settle_unsent(core, ctx, delivery, state, why).await?;
            return Ok(true);
        }
        Errand::Settled => return Ok(true),
    };
    // 2
    let began = core.clock.now();
    let answer = match Url::parse(&url) {
        Ok(parsed) => core.outbound.post(parsed, post).await,
        Err(_) => Err(NoReply("the address is no URL".to_owned())),
    };
    // 3
    let ctx = Ctx { now: core.clock.now(), ..ctx.clone() };
    let refuses = match &delivery.message {
        Message::LogoutToken(_) => backchannel::refuses,
        Message::SecurityEvent(_) => signals::refuses,
        Message::Event(_) => webhook::refuses,
    };
    let times = (ctx.now, delivery.retry_until);
    let verdict = judge(&answer, refuses, delivery.attempts, times, &*ctx.entropy);
    let well = verdict == Verdict::Confirmed;
    let status = answer.ok().map(|reply| reply.status);
    let is_dead = matches!(verdict, Verdict::Dead(_));
    let tried = Tried { delivery: delivery.clone(), began, url, status, verdict, noted };
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), tried), |tx, (ctx, tried)| Box::pin(settle(tx, ctx, tried)))
        .await?;
    if is_dead && matches!(delivery.message, Message::Event(_)) {
        webhook::disable_if_hopeless(core, &ctx, &delivery.receiver.0).await?;
    }
    Ok(well)
}

async fn settle_unsent(
    core: &Core,
    ctx: &Ctx,
    delivery: &Delivery,
    state: DeliveryState,
    why: &'static str,
) -> Result<(), Failure> {
    core.store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), delivery.clone(), state),
            move |tx, (ctx, delivery, state)| {
                Box::pin(async move {
                    let outcome = Outcome { status: None, error: Some(why.to_owned()) };
                    deliveries::settle(tx, ctx.tenant, delivery, *state, ctx.now, &outcome).await.map(drop)
                })
            },
        )
        .await
}

/// Writes down what came of a try.
async fn settle(tx: &mut Tx, ctx: &Ctx, tried: &Tried) -> Result<(), Failure> {
    let Tried { delivery, status, .. } = tried;
    let outcome = |error: &str| Outcome { status: status.map(i64::from), error: Some(error.to_owned()) };
    let written = match &tried.verdict {
        Verdict::Confirmed => {
            let status = i64::from(status.unwrap_or_default());
            deliveries::confirm(tx, ctx.tenant, &delivery.id, ctx.now, status).await?
        }
        Verdict::Dead(error) => {
            let (state, outcome) = (DeliveryState::Dead, outcome(error));
            deliveries::settle(tx, ctx.tenant, delivery, state, ctx.now, &outcome).await?
        }
        Verdict::Again(at, error) => {
            deliveries::again(tx, ctx.tenant, delivery, *at, &outcome(error)).await?
        }
    };
    if !written {
        return Ok(());
    }
    match &delivery.message {
        Message::LogoutToken(told) => backchannel::log(tx, ctx, tried, told).await,
        Message::SecurityEvent(_) => Ok(()),
        Message::Event(_) => webhook::note(tx, ctx, tried).await,
    }
}
