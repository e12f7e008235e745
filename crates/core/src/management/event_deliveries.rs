//! What event streams were told: what failed and is told again, a test, how it goes.

use curfew_model::config::EventStreamDoc;
use curfew_model::{Ctx, Failure, Timestamp};
use curfew_store::deliveries::{
    self as delivered, Delivery, DeliveryId, DeliveryState, Kind, Message, ReceiverId, Standing,
};
use curfew_store::event_streams::{self as rows, Counts, Filter, hour_of};
use curfew_store::{Lane, Tx};
use serde_json::{Value, json};

use super::event_streams::find;
use super::page::Position;
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted};
use crate::Core;
use crate::deliveries::TRIED_SECONDS;
use crate::event_streams::event::{Event, Purpose, delivery_id, id_from};
use crate::event_streams::news::{About, delivery};
use crate::event_streams::{sample, tries};

/// Dead letters that are revived in one transaction.
const REVIVED_AT_ONCE: i64 = 500;
/// Longest data of a test event, in bytes.
const TEST_DATA_BYTES_MAX: usize = 64 * 1024;
/// Seconds of an hour.
const HOUR_SECONDS: i64 = 3600;
/// Hours that statistics show at most: as many as are remembered.
const HOURS_MAX: i64 = 31 * 24;

/// What the API calls the states of a delivery.
const STATUSES: [(&str, DeliveryState); 5] = [
    ("failed", DeliveryState::Dead),
    ("pending", DeliveryState::Waiting),
    ("delivered", DeliveryState::Confirmed),
    ("cancelled", DeliveryState::Cancelled),
    ("expired", DeliveryState::Expired),
];

fn status_of(state: DeliveryState) -> &'static str {
    STATUSES.iter().find(|(_, own)| *own == state).map_or(state.as_str(), |(name, _)| name)
}

/// A delivery with its tries, as the API answers it.
fn view(delivery: &Delivery, tries: &[tries::Try]) -> Result<Document, Failure> {
    let Message::Event(told) = &delivery.message else {
        return Err(Failure::Internal("a delivery to an event stream is of another kind".into()));
    };
    let event: Value = serde_json::from_str(&told.body).map_err(|error| Failure::Inconsistent {
        table: "deliveries",
        column: "body",
        id: error.to_string(),
    })?;
    let mut doc = Document::new();
    doc.insert("id".into(), event.get("id").cloned().unwrap_or_default());
    doc.insert("event_stream_id".into(), json!(delivery.receiver.0));
    doc.insert("event_type".into(), json!(told.event_type));
    doc.insert("status".into(), json!(status_of(delivery.state)));
    doc.insert("attempts".into(), tries.iter().map(tries::Try::view).collect());
    match delivery.state {
        DeliveryState::Waiting => {
            doc.insert("next_attempt_at".into(), json!(delivery.next_at.iso()));
        }
        DeliveryState::Confirmed => {}
        // Perhaps no try was made that could say why.
        _ => {
            doc.insert("error_message".into(), json!(delivery.last_error));
        }
    }
    doc.insert("event".into(), event);
    Ok(doc)
}

async fn view_now(tx: &mut Tx, ctx: &Ctx, delivery: &Delivery) -> Result<Document, Failure> {
    let text = rows::tries(tx, ctx.tenant, &delivery.id).await?;
    view(delivery, &tries::read(text.as_deref())?)
}

/// Which deliveries of a stream.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// With which statuses; those that failed when it names none.
    pub statuses: Vec<String>,
    /// Of which types.
    pub event_types: Vec<String>,
    /// Made from this instant on.
    pub from: Option<Timestamp>,
    /// And before this one.
    pub to: Option<Timestamp>,
}

impl Query {
    fn filter(self) -> Result<Filter, Refused> {
        let mut states = Vec::new();
        for name in &self.statuses {
            match STATUSES.iter().find(|(own, _)| own == name) {
                Some((_, state)) => states.push(*state),
                None => return Err(invalid_query("There is no such status", "statuses")),
            }
        }
        if states.is_empty() {
            states.push(DeliveryState::Dead);
        }
        // They stand between commas and percent signs in a pattern.
        let is_plain = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'.');
        if !self.event_types.iter().all(is_plain) {
            return Err(invalid_query("There is no such event type", "event_types"));
        }
        Ok(Filter {
            states,
            event_types: self.event_types,
            from: self.from.unwrap_or(Timestamp::from_micros(i64::MIN)),
            to: self.to.unwrap_or(Timestamp::from_micros(i64::MAX)),
        })
    }
}

fn invalid_query(what: &str, property: &str) -> Refused {
    let message = format!("Query validation error: '{what}' on property {property}.");
    Refused::Invalid { message, code: "invalid_query_string" }
}

/// `GET /event-streams/{id}/deliveries`: in the order in which they were made, after a place, and where the list goes on.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    id: String,
    query: Query,
    after: Option<Position>,
    take: usize,
) -> Outcome<(Vec<Document>, Option<Position>)> {
    let filter = granted!(query.filter());
    let stream = granted!(find(core, ctx, id).await?);
    let after = match after {
        None => (Timestamp::from_micros(i64::MIN), Vec::new()),
        Some(Position { at, id }) => match super::deliveries::parse_id(&id) {
            Some(id) => (at, id.to_vec()),
            None => return Ok(Err(invalid_query("Invalid cursor", "from"))),
        },
    };
    let args = (ctx.clone(), stream.stream_id, filter, after, take);
    core.store
        .read_long(args, |tx, (ctx, id, filter, (at, key), take)| {
            Box::pin(async move {
                let limit = i64::try_from(*take + 1).unwrap_or(i64::MAX);
                let mut found = rows::deliveries(tx, ctx.tenant, id, filter, (*at, key), limit).await?;
                let more = found.len() > *take;
                found.truncate(*take);
                let next = found
                    .last()
                    .filter(|_| more)
                    .map(|last| Position { at: last.created_at, id: super::deliveries::id_text(&last.id) });
                let mut shown = Vec::with_capacity(found.len());
                for delivery in &found {
                    shown.push(view_now(tx, ctx, delivery).await?);
                }
                Ok(Ok((shown, next)))
            })
        })
        .await
}

/// `GET /event-streams/{id}/deliveries/{event_id}`.
pub async fn get(core: &Core, ctx: &Ctx, id: String, event_id: &str) -> Outcome<Document> {
    let stream = granted!(find(core, ctx, id).await?);
    let key = delivery_id(&stream.stream_id, event_id);
    core.store
        .read((ctx.clone(), key), |tx, (ctx, key)| {
            Box::pin(async move {
                let delivery = granted!(find_delivery(tx, ctx, key).await?);
                view_now(tx, ctx, &delivery).await.map(Ok)
            })
        })
        .await
}

async fn find_delivery(tx: &mut Tx, ctx: &Ctx, key: &DeliveryId) -> Outcome<Delivery> {
    let found = delivered::find(tx, ctx.tenant, key).await?;
    Ok(found.ok_or(Refused::Inexistent(Entity::EventDelivery)))
}

/// The refusal to send something to a stream that is not told of anything.
fn disabled() -> Refused {
    Refused::exists("The event stream is disabled. Enable it first.")
}

/// `POST /event-streams/{id}/redeliver`: what failed is tried again, with all its time. Answers when nothing is left that
/// fits.
pub async fn redeliver_many(core: &Core, ctx: &Ctx, write: Write, id: String, query: Query) -> Outcome<()> {
    if query.statuses.iter().any(|status| status != "failed") {
        return Ok(Err(Refused::property("Only failed deliveries can be redelivered", "statuses")));
    }
    let filter = granted!(query.filter());
    let stream = granted!(find(core, ctx, id).await?);
    if !stream.enabled {
        return Ok(Err(disabled()));
    }
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write), |tx, (ctx, write)| Box::pin(write.log(tx, ctx)))
        .await?;
    loop {
        let args = (ctx.clone(), stream.stream_id.clone(), filter.clone());
        let revived = core
            .store
            .transact(Lane::Ordinary, args, |tx, (ctx, id, filter)| {
                Box::pin(async move {
                    let times = (ctx.now, ctx.now.plus_seconds(TRIED_SECONDS));
                    rows::revive(tx, ctx.tenant, id, filter, times, REVIVED_AT_ONCE).await
                })
            })
            .await?;
        if revived < REVIVED_AT_ONCE.unsigned_abs() {
            return Ok(Ok(()));
        }
    }
}

/// `POST /event-streams/{id}/redeliver/{event_id}`: one that failed is tried again, with all its time.
pub async fn redeliver(core: &Core, ctx: &Ctx, write: Write, id: String, event_id: &str) -> Outcome<()> {
    let stream = granted!(find(core, ctx, id).await?);
    let key = delivery_id(&stream.stream_id, event_id);
    core.store
        .transact(
            Lane::Ordinary,
            (ctx.clone(), write, key, stream.enabled),
            |tx, (ctx, write, key, enabled)| {
                Box::pin(async move {
                    let delivery = granted!(find_delivery(tx, ctx, key).await?);
                    if !*enabled {
                        return Ok(Err(disabled()));
                    }
                    let times = (ctx.now, ctx.now.plus_seconds(TRIED_SECONDS));
                    if !rows::revive_one(tx, ctx.tenant, key, times).await? {
                        let status = status_of(delivery.state);
                        return Ok(Err(Refused::exists(format!(
                            "Only a failed delivery can be redelivered; this one is {status}."
                        ))));
                    }
                    write.log(tx, ctx).await.map(Ok)
                })
            },
        )
        .await
}

/// `POST /event-streams/{id}/test`: an event that did not happen, marked as such, goes the way of all others.
pub async fn test(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    id: String,
    event_type: &str,
    data: Option<Value>,
) -> Outcome<Document> {
    let stream = granted!(find(core, ctx, id).await?);
    if !stream.enabled {
        return Ok(Err(disabled()));
    }
    if data.as_ref().is_some_and(|data| data.to_string().len() > TEST_DATA_BYTES_MAX) {
        return Ok(Err(Refused::property("Must not exceed 64 kB", "data")));
    }
    let config = core.tenant(ctx.tenant).await?;
    let event = Event {
        id: id_from(ctx.entropy.bytes()),
        event_type: event_type.to_owned(),
        at: ctx.now,
        data: data.unwrap_or_else(|| sample::data(event_type, ctx.now)),
        purpose: Purpose::Test,
    };
    let about = About { ending: None, sub: None, issuer: &ctx.issuer };
    let delivery = delivery(ctx.now, &config, &stream.stream_id, &event, &about);
    let answer = view(&delivery, &[])?;
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, delivery), |tx, (ctx, write, delivery)| {
            Box::pin(async move {
                write.log(tx, ctx).await?;
                rows::insert_delivery(tx, ctx.tenant, delivery).await
            })
        })
        .await?;
    Ok(Ok(answer))
}

/// `GET /event-streams/{id}/stats`: how it went by the hour, and how it stands.
pub async fn stats(
    core: &Core,
    ctx: &Ctx,
    id: String,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Outcome<Document> {
    let stream = granted!(find(core, ctx, id).await?);
    let to = hour_of(to.unwrap_or(ctx.now));
    let from = hour_of(from.unwrap_or(to.plus_seconds(-23 * HOUR_SECONDS)));
    let span = (to.seconds() - from.seconds()) / HOUR_SECONDS;
    if !(0..HOURS_MAX).contains(&span) {
        return Ok(Err(invalid_query("At most 31 days, which do not end before they begin", "date_from")));
    }
    let args = (ctx.clone(), stream.stream_id.clone(), (from, to));
    let (hours, standings) = core
        .store
        .read_long(args, |tx, (ctx, id, window)| {
            Box::pin(async move {
                let hours = rows::hours(tx, ctx.tenant, id, *window).await?;
                let receiver = ReceiverId(id.clone());
                let standings = delivered::health(tx, ctx.tenant, (&receiver, Kind::Event)).await?;
                Ok((hours, standings))
            })
        })
        .await?;
    let buckets: Vec<Timestamp> = (0..=span).map(|hour| from.plus_seconds(hour * HOUR_SECONDS)).collect();
    let metric = |name: &str, of: fn(&Counts) -> i64| {
        let data: Vec<i64> = buckets
            .iter()
            .map(|bucket| hours.iter().find(|(hour, _)| hour == bucket).map_or(0, |(_, counts)| of(counts)))
            .collect();
        json!({ "name": name, "window_total": data.iter().sum::<i64>(), "type": "sum", "data": data })
    };
    let name = serde_json::from_str::<EventStreamDoc>(&stream.doc).ok().and_then(|doc| doc.name);
    let mut doc = Document::new();
    doc.insert("id".into(), json!(stream.stream_id));
    if let Some(name) = name {
        doc.insert("name".into(), json!(name));
    }
    doc.insert(
        "window".into(),
        json!({
            "date_from": from.iso(),
            "date_to": to.iso(),
            "bucket_interval": { "scale_factor": HOUR_SECONDS },
        }),
    );
    doc.insert("buckets".into(), buckets.iter().map(|bucket| json!(bucket.iso())).collect());
    doc.insert(
        "metrics".into(),
        json!([
            metric("auth0.event_streams.successful_deliveries", |counts| counts.confirmed),
            metric("auth0.event_streams.failed_deliveries", |counts| counts.dead),
            metric("curfew.event_streams.failed_attempts", |counts| counts.failed),
        ]),
    );
    doc.insert("health".into(), health(ctx, &standings));
    Ok(Ok(doc))
}

/// How it stands with what is kept.
fn health(ctx: &Ctx, standings: &[Standing]) -> Value {
    let of = |state: DeliveryState| standings.iter().find(|standing| standing.state == state);
    let count = |state: DeliveryState| of(state).map_or(0, |standing| standing.count);
    let oldest = of(DeliveryState::Waiting).map(|standing| standing.first_created_at);
    let last = of(DeliveryState::Confirmed).and_then(|standing| standing.last_settled_at);
    json!({
        "delivered": count(DeliveryState::Confirmed),
        "pending": count(DeliveryState::Waiting),
        "failed": count(DeliveryState::Dead),
        "last_delivered_at": last.map(Timestamp::iso),
        "oldest_pending_at": oldest.map(Timestamp::iso),
        "oldest_pending_seconds": oldest.map(|at| ctx.now.since(at).as_secs()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_listed_unless_something_else_is_asked_for() {
        let filter = Query::default().filter().expect("a filter");
        assert_eq!(filter.states, [DeliveryState::Dead]);
        let asked = Query { statuses: vec!["pending".into(), "delivered".into()], ..Query::default() };
        assert_eq!(
            asked.filter().expect("a filter").states,
            [DeliveryState::Waiting, DeliveryState::Confirmed]
        );
        for wrong in [
            Query { statuses: vec!["dead".into()], ..Query::default() },
            Query { event_types: vec!["user.%".into()], ..Query::default() },
            Query { event_types: vec!["user_created".into()], ..Query::default() },
        ] {
            assert!(wrong.clone().filter().is_err(), "{wrong:?}");
        }
    }
}
