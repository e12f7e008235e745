//! What a try sends to a webhook, and what is written down of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curfew_model::config::{EventDestination, EventStreamDoc, WebhookAuthorization, read_doc};
use curfew_model::{Ctx, Failure, Secret};
use curfew_store::deliveries::{Delivery, DeliveryState, Event};
use curfew_store::event_streams::{self, Counts, EventStreamRow};
use curfew_store::{Lane, Tx, tenants};
use curfew_tokens::webhook::headers;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::secrets;
use super::tries::{self, Try};
use crate::deliveries::{Errand, Request, Tried, Verdict};
use crate::outbound::{Post, Reply};
use crate::{Core, TenantConfig};

/// Deliveries that have failed, and are not redelivered, when a stream is disabled.
const FAILED_MAX: i64 = 5000;

/// What of a message's body is needed to sign it.
#[derive(Deserialize)]
struct Head {
    id: String,
}

/// What a try sends, by the stream as it is now.
pub(crate) async fn prepare(
    core: &Core,
    ctx: &Ctx,
    delivery: &Delivery,
    event: &Event,
) -> Result<Errand, Failure> {
    let row = core
        .store
        .read((ctx.tenant, delivery.receiver.0.clone()), |tx, (tenant, id)| {
            Box::pin(event_streams::find(tx, *tenant, id))
        })
        .await?;
    let Some(row) = row else {
        return Ok(Errand::Over(DeliveryState::Cancelled, "the event stream is gone"));
    };
    if !row.enabled {
        // A dead letter, which can be redelivered when the stream is enabled again.
        return Ok(Errand::Over(DeliveryState::Dead, "the event stream is disabled"));
    }
    let config = core.tenant(ctx.tenant).await?;
    let head: Head = serde_json::from_str(&event.body).map_err(|error| Failure::Inconsistent {
        table: "deliveries",
        column: "body",
        id: error.to_string(),
    })?;
    let now = Ctx { now: core.clock.now(), ..ctx.clone() };
    let (url, post) = request(&config, &now, &row, &head.id, &event.body)?;
    Ok(Errand::Ask(Request { url, post, noted: Map::new() }))
}

/// The request that posts an event: its address, and the signed body.
fn request(
    config: &TenantConfig,
    ctx: &Ctx,
    row: &EventStreamRow,
    event_id: &str,
    body: &str,
) -> Result<(String, Post), Failure> {
    let doc: EventStreamDoc = read_doc("event_streams", &row.stream_id, &row.doc)?;
    let EventDestination::Webhook(webhook) = doc.destination;
    let secret = secrets::authorization(config, row)?;
    let authorization = match &webhook.webhook_authorization {
        WebhookAuthorization::Basic { username } => {
            let credentials = Secret::new(format!("{username}:{}", secret.expose()));
            ("authorization".into(), Secret::new(format!("Basic {}", STANDARD.encode(credentials.expose()))))
        }
        WebhookAuthorization::Bearer => {
            ("authorization".into(), Secret::new(format!("Bearer {}", secret.expose())))
        }
        WebhookAuthorization::CustomHeader { header_key } => (header_key.to_ascii_lowercase().into(), secret),
    };
    let seconds = ctx.now.seconds();
    let signatures: Vec<String> = secrets::signing(config, ctx, row)?
        .iter()
        .map(|secret| secret.sign(event_id, seconds, body))
        .collect();
    let headers = vec![
        authorization,
        (headers::ID.into(), Secret::new(event_id.to_owned())),
        (headers::TIMESTAMP.into(), Secret::new(seconds.to_string())),
        (headers::SIGNATURE.into(), Secret::new(signatures.join(" "))),
    ];
    Ok((webhook.webhook_endpoint, Post { content_type: "application/json", headers, body: body.to_owned() }))
}

/// Disables a stream of which too much has failed, so that no more is queued for it: whoever looks after it has to see to
/// its receiver first. A transaction of its own, because changes of streams begin with the tenant's row.
pub(crate) async fn disable_if_hopeless(core: &Core, ctx: &Ctx, stream_id: &str) -> Result<(), Failure> {
    let args = (ctx.tenant, stream_id.to_owned());
    let failed = core
        .store
        .read(args, |tx, (tenant, id)| Box::pin(event_streams::count_dead(tx, *tenant, id, FAILED_MAX)))
        .await?;
    if failed < FAILED_MAX {
        return Ok(());
    }
    let disabled = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), stream_id.to_owned()), |tx, (ctx, id)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                let Some(mut row) = event_streams::find(tx, ctx.tenant, id).await? else { return Ok(false) };
                if !row.enabled {
                    return Ok(false);
                }
                let mut doc: Map<String, Value> = read_doc("event_streams", &row.stream_id, &row.doc)?;
                doc.insert("status".to_owned(), json!("disabled"));
                row.doc = Value::Object(doc).to_string();
                row.enabled = false;
                event_streams::update(tx, ctx, &row).await?;
                Ok(true)
            })
        })
        .await?;
    if disabled {
        tracing::warn!(
            stream_id,
            failed,
            "an event stream is disabled: too much of what it is told has failed"
        );
    }
    Ok(())
}

/// Answers after which an event is not sent again: it was read and is not wanted (400), or nothing ever will be (410).
pub(crate) fn refuses(reply: &Reply) -> Option<String> {
    matches!(reply.status, 400 | 410).then(|| format!("the receiver answered {}", reply.status))
}

/// Writes down what came of a try: with the delivery, and in the stream's statistics.
pub(crate) async fn note(tx: &mut Tx, ctx: &Ctx, tried: &Tried) -> Result<(), Failure> {
    let delivery = &tried.delivery;
    let (error, counts) = match &tried.verdict {
        Verdict::Confirmed => (None, Counts { confirmed: 1, ..Counts::default() }),
        Verdict::Again(_, error) => (Some(error.clone()), Counts { failed: 1, ..Counts::default() }),
        Verdict::Dead(error) => (Some(error.clone()), Counts { dead: 1, failed: 1, ..Counts::default() }),
    };
    let took = u64::try_from(ctx.now.since(tried.began).as_millis()).unwrap_or(u64::MAX);
    let one = Try { at: tried.began.micros(), ms: took, error };
    if let Some(before) = event_streams::claim_tries(tx, ctx.tenant, &delivery.id).await? {
        let tries = tries::with(before.as_deref(), one)?;
        event_streams::set_tries(tx, ctx.tenant, &delivery.id, &tries).await?;
    }
    event_streams::count_up(tx, ctx, &delivery.receiver.0, counts).await
}
