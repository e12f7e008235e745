//! Poll delivery (RFC 8936): a receiver fetches what waits on its stream, and acknowledges what it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use curfew_model::{Ctx, Failure};
use curfew_store::deliveries::{Delivery, DeliveryId, Message};
use curfew_store::signals::{self as rows, StreamStatus};
use curfew_store::{Lane, Tx};
use serde::Deserialize;
use tokio::time::Instant;

use super::events::STREAM_UPDATED;
use super::push::{SaidError, jti, sign};
use super::stream::Stream;
use super::{ACTIVE_SECONDS, Outcome, Receiver, Refused, may_hear};
use crate::Core;
use crate::management::granted;

/// Events that one answer brings.
pub const EVENTS_MAX: i64 = 100;
/// Events that one request acknowledges or rejects.
const SETTLED_MAX: usize = 1000;
/// How long a request waits for something to come.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often a request that waits looks without having been told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Requests that wait at this node. One more is answered at once.
const WAITING_MAX: usize = 2000;
/// How long what was handed out is left to who fetched it, until somebody else gets it.
const LEASE_SECONDS: i64 = 10;

/// What a receiver sends (RFC 8936 §2.2).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Poll {
    max_events: Option<i64>,
    return_immediately: bool,
    ack: Vec<String>,
    set_errs: BTreeMap<String, SaidError>,
}

/// What it is answered (RFC 8936 §2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Polled {
    /// Tokens by their `jti`, the oldest first.
    pub sets: Vec<(String, String)>,
    /// Whether more waits.
    pub more_available: bool,
}

impl Poll {
    /// Reads a request; a body of nothing asks for what there is.
    pub fn read(body: &[u8]) -> Result<Self, Refused> {
        let invalid = |text: String| Refused::Invalid(text);
        let poll: Self = if body.is_empty() {
            Self::default()
        } else {
            // A list would read as well.
            serde_json::from_slice::<serde_json::Map<_, _>>(body)
                .and_then(|members| serde_json::from_value(members.into()))
                .map_err(|error| invalid(format!("No poll request: {error}")))?
        };
        if poll.max_events.is_some_and(|max| max < 0) {
            return Err(invalid("maxEvents is negative".to_owned()));
        }
        if poll.ack.len() + poll.set_errs.len() > SETTLED_MAX {
            return Err(invalid(format!("ack and setErrs have at most {SETTLED_MAX} entries")));
        }
        Ok(poll)
    }
}

/// Answers a poll.
///
/// Steps: 1 the stream, 2 settle what the receiver acknowledges and what it cannot take, 3 hand out what waits, the oldest
/// first, or wait for something: until it comes, for [`WAIT_MAX`], or until this node stops. What is handed out
/// and not acknowledged is handed out again.
pub async fn poll(core: &Core, ctx: &Ctx, receiver: &Receiver, id: &str, poll: &Poll) -> Outcome<Polled> {
    // The subscription comes first: what is written from here on is heard of.
    let mut written = core.store.endings_written();
    // 1
    let row = core
        .store
        .read((ctx.tenant, id.to_owned()), |tx, (tenant, id)| Box::pin(rows::find(tx, *tenant, id)))
        .await?;
    let Some(row) = row.filter(|row| row.client_id == receiver.client) else {
        return Ok(Err(Refused::Absent(super::manage::NO_STREAM)));
    };
    let stream = Arc::new(Stream::read(row)?);
    if !stream.polls() {
        return Ok(Err(Refused::Invalid("The stream has push delivery".to_owned())));
    }
    // 2
    settle(core, ctx, &stream, poll).await?;
    // 3
    let wanted = poll.max_events.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    if wanted == 0 {
        return Ok(Ok(Polled::default()));
    }
    let polled = fetch(core, ctx, &stream.row.id, receiver, wanted).await?;
    let polled = granted!(polled);
    if poll.return_immediately || !polled.sets.is_empty() {
        return Ok(Ok(polled));
    }
    let Some(_seat) = Seat::take(&core.signals_waiting) else { return Ok(Ok(polled)) };
    let until = Instant::now() + WAIT_MAX;
    loop {
        let next = until.min(Instant::now() + LOOK_EVERY);
        tokio::select! {
            _ = written.changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
        let polled = granted!(fetch(core, ctx, &stream.row.id, receiver, wanted).await?);
        if !polled.sets.is_empty() || Instant::now() >= until || core.feed.is_closed() {
            return Ok(Ok(polled));
        }
    }
}

async fn settle(core: &Core, ctx: &Ctx, stream: &Arc<Stream>, poll: &Poll) -> Result<(), Failure> {
    let is_known = stream.row.active_at > ctx.now.plus_seconds(-ACTIVE_SECONDS);
    if is_known && poll.ack.is_empty() && poll.set_errs.is_empty() {
        return Ok(());
    }
    let acknowledged: Vec<DeliveryId> = poll.ack.iter().filter_map(|jti| parse_jti(jti)).collect();
    let rejected: Vec<(DeliveryId, String)> =
        poll.set_errs.iter().filter_map(|(jti, said)| Some((parse_jti(jti)?, said.text()))).collect();
    let args = (ctx.clone(), Arc::clone(stream), acknowledged, rejected);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, stream, acknowledged, rejected)| {
            Box::pin(async move {
                let id = &stream.row.id;
                let before = ctx.now.plus_seconds(-ACTIVE_SECONDS);
                rows::note_active(tx, ctx.tenant, id, ctx.now, before).await?;
                for delivery in acknowledged {
                    rows::acknowledge(tx, ctx.tenant, id, delivery, ctx.now).await?;
                }
                for (delivery, why) in rejected {
                    rows::reject(tx, ctx.tenant, id, delivery, (ctx.now, why)).await?;
                }
                Ok(())
            })
        })
        .await
}

/// What is no `jti` of ours is ignored, as one that is settled is.
fn parse_jti(text: &str) -> Option<DeliveryId> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// Hands out what waits now. The stream and what its receiver is granted are looked at anew: a request may have waited.
async fn fetch(core: &Core, ctx: &Ctx, id: &str, receiver: &Receiver, wanted: i64) -> Outcome<Polled> {
    let ctx = Ctx { now: core.clock.now(), ..ctx.clone() };
    let seen = core
        .store
        .read((ctx.clone(), id.to_owned()), |tx, (ctx, id)| {
            Box::pin(async move {
                let Some(row) = rows::find(tx, ctx.tenant, id).await? else { return Ok(None) };
                let any = rows::any_waiting(tx, ctx.tenant, id, ctx.now, only(row.status)).await?;
                Ok(Some((row, any)))
            })
        })
        .await?;
    let Some((row, any)) = seen else { return Ok(Err(Refused::Absent(super::manage::NO_STREAM))) };
    if !any {
        return Ok(Ok(Polled::default()));
    }
    let (config, client) = core.configuration(ctx.tenant, &receiver.client).await?;
    if !client.is_some_and(|client| may_hear(&config, &client)) {
        return Ok(Err(Refused::Absent(super::manage::NO_STREAM)));
    }
    let stream = Stream::read(row)?;
    let args = (ctx, stream.row.id.clone(), only(stream.row.status), wanted);
    let (taken, more_available) = core
        .store
        .transact(Lane::Ordinary, args, |tx, (ctx, id, only, wanted)| {
            Box::pin(take(tx, ctx, id, *only, *wanted))
        })
        .await?;
    let mut sets = Vec::with_capacity(taken.len());
    for delivery in &taken {
        if let Message::SecurityEvent(event) = &delivery.message {
            sets.push((jti(delivery), sign(&config, &stream, delivery, event)?));
        }
    }
    Ok(Ok(Polled { sets, more_available }))
}

async fn take(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &str,
    only: Option<&'static str>,
    wanted: i64,
) -> Result<(Vec<Delivery>, bool), Failure> {
    let times = (ctx.now, ctx.now.plus_seconds(LEASE_SECONDS));
    let taken = rows::fetch(tx, ctx.tenant, id, times, wanted, only).await?;
    let more = rows::any_waiting(tx, ctx.tenant, id, ctx.now, only).await?;
    Ok((taken, more))
}

/// On a stream that is not enabled only that it is not is told (SSF §8.1.2.1).
const fn only(status: StreamStatus) -> Option<&'static str> {
    match status {
        StreamStatus::Enabled => None,
        StreamStatus::Paused | StreamStatus::Disabled => Some(STREAM_UPDATED),
    }
}

/// How many requests wait at this node.
pub(crate) type Waiting = Arc<AtomicUsize>;

/// A request that waits.
struct Seat(Waiting);

impl Seat {
    fn take(waiting: &Waiting) -> Option<Self> {
        let seat = Self(Arc::clone(waiting));
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        // Dropped beyond the limit, it is given back.
        (before < WAITING_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_bounded() {
        assert!(Poll::read(b"").is_ok());
        assert!(
            Poll::read(br#"{"maxEvents": 0, "ack": ["a"], "setErrs": {"b": {"err": "invalid_key"}}}"#)
                .is_ok()
        );
        let many = serde_json::json!({ "ack": vec!["a"; SETTLED_MAX + 1] }).to_string();
        for wrong in [
            "[]",
            "{",
            r#"{"maxEvents": -1}"#,
            r#"{"maxEvents": "1"}"#,
            r#"{"ack": "a"}"#,
            r#"{"setErrs": {"a": 1}}"#,
            &many,
        ] {
            assert!(matches!(Poll::read(wrong.as_bytes()), Err(Refused::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn only_so_many_wait() {
        let waiting = Waiting::default();
        let seats: Vec<Seat> = (0..WAITING_MAX).filter_map(|_| Seat::take(&waiting)).collect();
        assert_eq!(seats.len(), WAITING_MAX);
        assert!(Seat::take(&waiting).is_none());
        drop(seats);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }
}
