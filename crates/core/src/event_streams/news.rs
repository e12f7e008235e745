//! Which streams are told of something that happened.

use curfew_model::config::{
    ENDING_CREATED, EventStreamDoc, USER_CREATED, USER_DELETED, USER_UPDATED, read_doc,
};
use curfew_model::{Ctx, EndingId, Failure, FamilyId, Sid, Timestamp, UserId};
use curfew_store::changes::ChangeRow;
use curfew_store::deliveries::{self, Delivery, Event as Told, Message, ReceiverId};
use curfew_store::fanouts::Claimed;
use curfew_store::{Tx, event_streams};
use serde_json::{Map, Value, json};

use super::event::{Event, Purpose, delivery_id, id_of};
use crate::TenantConfig;
use crate::changes::{Change, User, UserChange};
use crate::deliveries::TRIED_SECONDS;

/// Writes a delivery of a change for each stream that is subscribed to it.
pub(crate) async fn of_change(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    row: &ChangeRow,
    change: &Change,
) -> Result<(), Failure> {
    let Change::User(change) = change;
    let (event_type, user, data) = match change {
        UserChange::Created { user } => (USER_CREATED, user, json!({ "object": shown(config, user) })),
        UserChange::Updated { before, user, .. } => {
            let data = json!({ "object": shown(config, user), "previous_object": shown(config, before) });
            (USER_UPDATED, user, data)
        }
        UserChange::Deleted { user } => {
            let mut object = shown(config, user);
            object.insert("deleted_at".to_owned(), json!(row.at.iso()));
            (USER_DELETED, user, json!({ "object": object }))
        }
    };
    let event = Event {
        id: id_of(event_type, &row.id),
        event_type: event_type.to_owned(),
        at: row.at,
        data,
        purpose: Purpose::News,
    };
    tell(tx, ctx, config, &event, &About { ending: None, sub: Some(user.id.clone()), issuer: &row.issuer })
        .await
}

/// Writes a delivery of an ending for each stream that is subscribed to endings.
pub(crate) async fn of_ending(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    ending: &EndingId,
    claimed: &Claimed,
) -> Result<(), Failure> {
    let event = Event {
        id: id_of(ENDING_CREATED, ending.as_bytes()),
        event_type: ENDING_CREATED.to_owned(),
        at: claimed.at,
        data: json!({ "object": ended(ending, claimed) }),
        purpose: Purpose::News,
    };
    let about = About { ending: Some(*ending), sub: claimed.user_id.clone(), issuer: &ctx.issuer };
    tell(tx, ctx, config, &event, &about).await
}

/// The ending, as the Management API lists it.
fn ended(ending: &EndingId, claimed: &Claimed) -> Value {
    let detail: Map<String, Value> = serde_json::from_str(&claimed.detail).unwrap_or_default();
    let session = claimed.user.zip(claimed.session).map(|(user, session)| Sid { user, session }.to_string());
    let family = claimed.user.zip(claimed.grant).map(|(user, grant)| FamilyId { user, grant }.to_string());
    let mut object = json!({
        "id": ending,
        "cause": claimed.cause.as_str(),
        "at": claimed.at.iso(),
        "user_id": claimed.user_id,
        "client_id": claimed.client_id,
        "session_id": session,
        "refresh_token_id": family,
        "actor": detail.get("actor"),
        "reason": detail.get("reason"),
    });
    if let Value::Object(object) = &mut object {
        object.retain(|_, value| !value.is_null());
    }
    object
}

/// The user, as the Management API answers it: an identity names its connection by name, as long as there is one.
fn shown(config: &TenantConfig, user: &User) -> Map<String, Value> {
    let mut doc = user.doc.clone();
    if let Some(Value::Array(identities)) = doc.get_mut("identities") {
        for connection in identities.iter_mut().filter_map(|identity| identity.get_mut("connection")) {
            if let Some(name) = connection.as_str().and_then(|id| config.connection_name(id)) {
                *connection = json!(name);
            }
        }
    }
    doc
}

/// What a delivery says of itself beside the event.
pub(crate) struct About<'a> {
    /// The ending it tells of, if it is one.
    pub ending: Option<EndingId>,
    /// Whom it is about.
    pub sub: Option<UserId>,
    /// Under which issuer it happened.
    pub issuer: &'a str,
}

async fn tell(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    event: &Event,
    about: &About<'_>,
) -> Result<(), Failure> {
    for (stream_id, doc) in event_streams::enabled(tx, ctx.tenant).await? {
        let doc: EventStreamDoc = match read_doc("event_streams", &stream_id, &doc) {
            Ok(doc) => doc,
            Err(failure) => {
                // Nobody else waits for one that is broken.
                tracing::error!(%failure, "an event stream is not told of anything");
                continue;
            }
        };
        if doc.hears_of(&event.event_type) {
            let delivery = delivery(ctx.now, config, &stream_id, event, about);
            deliveries::insert(tx, ctx.tenant, &delivery).await?;
        }
    }
    Ok(())
}

/// The delivery of an event to a stream.
pub(crate) fn delivery(
    now: Timestamp,
    config: &TenantConfig,
    stream_id: &str,
    event: &Event,
    about: &About<'_>,
) -> Delivery {
    let told =
        Told { event_type: event.event_type.clone(), body: event.body(config, about.issuer, stream_id) };
    Delivery::new(
        delivery_id(stream_id, &event.id),
        about.ending,
        (ReceiverId(stream_id.to_owned()), Message::Event(told)),
        (about.sub.clone(), about.issuer.to_owned()),
        (now, now.plus_seconds(TRIED_SECONDS)),
    )
}
