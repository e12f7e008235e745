//! What time does to streams: what nobody fetched dies where it can be seen, and a stream that nobody polls is disabled.

use curfew_model::{Ctx, Failure};
use curfew_store::signals::{self as rows, StreamStatus};
use curfew_store::{Lane, Tx, deliveries};
use serde_json::{Map, json};

use super::events::STREAM_UPDATED;
use super::fanout::{self, Body};
use super::stream::Stream;
use super::subject;
use super::{HELD_MAX, INACTIVE_SECONDS};
use crate::Core;

/// Sweeps the streams of one tenant. Answers how many deliveries are over by it.
pub(crate) async fn sweep(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let streams = core.store.read_long(ctx.tenant, |tx, tenant| Box::pin(rows::list(tx, *tenant))).await?;
    let mut over = core
        .store
        .transact(Lane::Ordinary, ctx.clone(), |tx, ctx| {
            Box::pin(rows::cancel_orphans(tx, ctx.tenant, ctx.now))
        })
        .await?;
    for row in streams {
        let id = row.id.clone();
        let stream = match Stream::read(row) {
            Ok(stream) => stream,
            Err(failure) => {
                tracing::error!(%failure, stream_id = %id, "a stream does not read");
                continue;
            }
        };
        let args = (ctx.clone(), stream, ctx.entropy.bytes());
        over += core
            .store
            .transact(Lane::Ordinary, args, |tx, (ctx, stream, id)| {
                Box::pin(async move {
                    let over = rows::expire(tx, ctx.tenant, &stream.row.id, ctx.now, HELD_MAX).await?;
                    if is_left_alone(stream, ctx) {
                        disable(tx, ctx, stream, *id).await?;
                    }
                    Ok(over)
                })
            })
            .await?;
    }
    Ok(over)
}

fn is_left_alone(stream: &Stream, ctx: &Ctx) -> bool {
    stream.polls()
        && stream.row.status != StreamStatus::Disabled
        && stream.row.active_at <= ctx.now.plus_seconds(-INACTIVE_SECONDS)
}

/// Disables a stream; that it is disabled is all that waits on it from now on.
async fn disable(tx: &mut Tx, ctx: &Ctx, stream: &Stream, id: deliveries::DeliveryId) -> Result<(), Failure> {
    const REASON: &str = "Nobody has polled it for 30 days";
    let (tenant, id_of_stream) = (ctx.tenant, stream.row.id.as_str());
    let times = (ctx.now, ctx.now.plus_seconds(-INACTIVE_SECONDS));
    // Somebody may have been here since it was read.
    if !rows::disable(tx, tenant, id_of_stream, REASON, times).await? {
        return Ok(());
    }
    deliveries::cancel(tx, tenant, &stream.row.receiver(), (ctx.now, "the stream is disabled")).await?;
    let status = StreamStatus::Disabled;
    let mut event = Map::new();
    event.insert("status".to_owned(), json!(status.as_str()));
    event.insert("reason".to_owned(), json!(REASON));
    let body = Body { sub_id: subject::of_stream(id_of_stream), event, txn: None };
    fanout::write(tx, ctx, stream, id, None, (STREAM_UPDATED, &body), None).await
}
