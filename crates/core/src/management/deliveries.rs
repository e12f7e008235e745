//! What applications were told, as the Management API shows it: dead letters, and how it stands with an application.

use curfew_model::{ClientId, Ctx, Sid, Timestamp};
use curfew_store::deliveries::{
    self as rows, Delivery, DeliveryId, DeliveryState, Kind, LogoutToken, Message, ReceiverId, Standing,
};
use curfew_store::signals::HELD;
use curfew_store::{Lane, Tx};
use serde_json::{Value, json};

use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted};
use crate::Core;
use crate::deliveries::{TRIED_SECONDS, try_address};

/// A delivery as the API answers it.
pub(super) fn view(delivery: &Delivery) -> Value {
    let (token, event) = match &delivery.message {
        Message::LogoutToken(token) => (Some(token), None),
        Message::SecurityEvent(event) | Message::Event(event) => (None, Some(event)),
    };
    let sid =
        |token: &LogoutToken| token.session.map(|session| Sid { user: token.user, session }.to_string());
    // What is held waits for somebody to ask, and not for a time.
    let is_due = delivery.state == DeliveryState::Waiting && delivery.next_at < HELD;
    let mut doc = Document::new();
    for (name, value) in [
        ("id", json!(id_text(&delivery.id))),
        ("kind", json!(delivery.message.kind().as_str())),
        ("ending_id", json!(delivery.ending)),
        ("client_id", json!(token.map(|_| &delivery.receiver.0))),
        ("stream_id", json!(event.map(|_| &delivery.receiver.0))),
        ("event_type", json!(event.map(|event| &event.event_type))),
        ("user_id", json!(delivery.sub)),
        ("session_id", json!(token.and_then(sid))),
        ("initiator", json!(token.map(|token| token.initiator.as_str()))),
        ("state", json!(delivery.state.as_str())),
        ("attempts", json!(delivery.attempts)),
        ("last_status", json!(delivery.last_status)),
        ("last_error", json!(delivery.last_error)),
        ("created_at", json!(delivery.created_at.iso())),
        ("next_at", json!(is_due.then(|| delivery.next_at.iso()))),
        ("settled_at", json!(delivery.settled_at.map(Timestamp::iso))),
    ] {
        if !value.is_null() {
            doc.insert(name.to_owned(), value);
        }
    }
    Value::Object(doc)
}

/// 32 hexadecimal digits.
pub(super) fn id_text(id: &DeliveryId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

pub(super) fn parse_id(text: &str) -> Option<DeliveryId> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// `GET /deliveries`: those in a state, after an id, and where the list goes on.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    state: &str,
    after: Option<&str>,
    take: usize,
) -> Outcome<(Vec<Value>, Option<String>)> {
    let invalid = |what: &str, property: &str| {
        let message = format!("Query validation error: '{what}' on property {property}.");
        Ok(Err(Refused::Invalid { message, code: "invalid_query_string" }))
    };
    let Some(state) = DeliveryState::parse(state) else { return invalid("There is no such state", "state") };
    let after = match after.map(parse_id) {
        None => None,
        Some(Some(id)) => Some(id),
        Some(None) => return invalid("Invalid cursor", "from"),
    };
    let limit = i64::try_from(take + 1).unwrap_or(i64::MAX);
    let mut found = core
        .store
        .read_long((ctx.tenant, state, after, limit), |tx, (tenant, state, after, limit)| {
            Box::pin(rows::in_state(tx, *tenant, *state, after.as_ref(), *limit))
        })
        .await?;
    let more = found.len() > take;
    found.truncate(take);
    let next = found.last().filter(|_| more).map(|last| id_text(&last.id));
    Ok(Ok((found.iter().map(view).collect(), next)))
}

/// `POST /deliveries/{id}/retry`: a dead letter is tried again, with all its time.
pub async fn retry(core: &Core, ctx: &Ctx, write: Write, id: &str) -> Outcome<Value> {
    let Some(id) = parse_id(id) else { return Ok(Err(Refused::Inexistent(Entity::Delivery))) };
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write, id), |tx, (ctx, write, id)| {
            Box::pin(async move {
                let times = (ctx.now, ctx.now.plus_seconds(TRIED_SECONDS));
                let revived = rows::revive(tx, ctx.tenant, id, times).await?;
                let delivery = granted!(find(tx, ctx, id).await?);
                if !revived {
                    let state = delivery.state.as_str();
                    let message = format!("Only a dead letter can be retried; this delivery is {state}.");
                    return Ok(Err(Refused::not_supported(message)));
                }
                write.log(tx, ctx).await?;
                Ok(Ok(view(&delivery)))
            })
        })
        .await
}

async fn find(tx: &mut Tx, ctx: &Ctx, id: &DeliveryId) -> Outcome<Delivery> {
    Ok(rows::find(tx, ctx.tenant, id).await?.ok_or(Refused::Inexistent(Entity::Delivery)))
}

/// `GET /clients/{id}/logout-health`: whether an application hears of what ends.
pub async fn health(core: &Core, ctx: &Ctx, id: &ClientId) -> Outcome<Value> {
    let (_, client) = core.configuration(ctx.tenant, id).await?;
    let Some(client) = client else { return Ok(Err(Refused::Inexistent(Entity::Client))) };
    let standings = core
        .store
        .read_long((ctx.tenant, ReceiverId(id.0.clone())), |tx, (tenant, id)| {
            Box::pin(rows::health(tx, *tenant, (id, Kind::LogoutToken)))
        })
        .await?;
    let of = |state: DeliveryState| standings.iter().find(|standing| standing.state == state);
    let count = |state: DeliveryState| of(state).map_or(0, |standing| standing.count);
    let (confirmed, dead) =
        (count(DeliveryState::Confirmed), count(DeliveryState::Dead) + count(DeliveryState::Expired));
    let oldest = of(DeliveryState::Waiting).map(|standing| standing.first_created_at);
    let part = |count: i64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let settled = confirmed + dead;
    let success_rate = (settled > 0).then(|| part(confirmed) / part(settled));
    Ok(Ok(json!({
        "client_id": id,
        "has_address": client.doc.oidc_logout.url().is_some(),
        "confirmed": confirmed,
        "waiting": count(DeliveryState::Waiting),
        "dead": dead,
        "success_rate": success_rate,
        "last_confirmed_at":
            of(DeliveryState::Confirmed).and_then(|standing: &Standing| standing.last_settled_at).map(Timestamp::iso),
        "oldest_waiting_at": oldest.map(Timestamp::iso),
        "oldest_waiting_seconds": oldest.map(|at| ctx.now.since(at).as_secs()),
    })))
}

/// `POST /clients/{id}/test-logout`: sends a logout token of a session that never was, and answers what came of it.
pub async fn test(core: &Core, ctx: &Ctx, write: Write, id: &ClientId) -> Outcome<Value> {
    let (config, client) = core.configuration(ctx.tenant, id).await?;
    let Some(client) = client else { return Ok(Err(Refused::Inexistent(Entity::Client))) };
    let Some(url) = client.doc.oidc_logout.url() else {
        return Ok(Err(Refused::not_supported("The client has no address for logout tokens.")));
    };
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), write), |tx, (ctx, write)| Box::pin(write.log(tx, ctx)))
        .await?;
    let answer = try_address(core, ctx, &config, &client, url).await?;
    let (status, error) = match answer {
        Ok(reply) => (Some(reply.status), None),
        Err(no_reply) => (None, Some(no_reply.to_string())),
    };
    Ok(Ok(json!({
        "confirmed": status.is_some_and(|status| (200..=299).contains(&status)),
        "status": status,
        "error": error,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let id: DeliveryId = std::array::from_fn(|index| u8::try_from(index).expect("below 16"));
        assert_eq!(parse_id(&id_text(&id)), Some(id));
        for wrong in ["", "0", "+0000000000000000000000000000000", "g0000000000000000000000000000000"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
