//! Housekeeping: endings that only time brings, and rows that nothing needs any more. Aliveness never depends on it.

use curfew_model::{
    ClientId, Ctx, EndingCause, EndingId, Failure, FamilyId, GrantKey, SessionKey, Sid, Timestamp, UserKey,
};
use curfew_store::{
    Lane, Tx, action_executions, action_packages, action_runs, codes, deliveries, endings as ending_store,
    event_streams, families, logs, sessions, users,
};
use futures_util::future::BoxFuture;

use crate::Core;
use crate::endings::Actor;
use crate::sessions::end_overdue;
use crate::status_lists;

/// Rows of one transaction: long work goes in small ones.
const BATCH: i64 = 200;
/// How long ended sessions and families are kept: as long as an access token may live (30 days), and a day.
const KEPT_SECONDS: i64 = 31 * 86_400;
/// How long log rows are kept.
const LOGS_KEPT_SECONDS: i64 = 30 * 86_400;
/// How long a dead letter can be retried.
const DEAD_LETTERS_SECONDS: i64 = 7 * 86_400;

/// How long endings and their receipts are kept: a year's audit can look back on all of it.
const ENDINGS_KEPT_SECONDS: i64 = 400 * 86_400;
/// How long deliveries are kept that are over: receipts name them.
const DELIVERIES_KEPT_SECONDS: i64 = ENDINGS_KEPT_SECONDS;
/// How long what event streams were told of people is kept when it is over.
const EVENTS_KEPT_SECONDS: i64 = 7 * 86_400;
/// How long it is remembered how event streams went.
const HOURS_KEPT_SECONDS: i64 = 31 * 86_400;
/// How long packages of Actions are kept that nothing stands on, and what they compile to: longer than a build takes.
const PACKAGES_KEPT_SECONDS: i64 = 86_400;
/// How long Actions that nobody waits for wait themselves.
const RUNS_KEPT_SECONDS: i64 = 86_400;
/// How long it is kept what packages compile to for an engine when another one has come: nodes are replaced one by one,
/// and may be taken back.
const BYTECODE_KEPT_SECONDS: i64 = 30 * 86_400;
/// How long a node that says nothing is remembered; its guards' leases are over after a minute.
const NODES_KEPT_SECONDS: i64 = 86_400;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions ended because their time was over.
    pub sessions_ended: u64,
    /// Sessions removed.
    pub sessions_purged: u64,
    /// Families removed.
    pub families_purged: u64,
    /// Consumptions, feed entries, deliveries, log rows, what is kept of Actions, and what clients held for users who are gone.
    pub others_purged: u64,
}

/// Sweeps one tenant.
pub async fn sweep(core: &Core, ctx: &Ctx) -> Result<Swept, Failure> {
    let sessions_ended = end_overdue_sessions(core, ctx).await?;
    delete_orphaned_users(core, ctx).await?;
    // Families first: a session waits for the last family that began in it.
    let families_purged = purge(
        core,
        ctx,
        FIRST_FAMILY,
        |tx, ctx, after| Box::pin(families::purgeable(tx, ctx.tenant, after, kept_since(ctx), BATCH)),
        |tx, ctx, id| Box::pin(families::purge(tx, ctx.tenant, id)),
    )
    .await?;
    let sessions_purged = purge(
        core,
        ctx,
        FIRST_SID,
        |tx, ctx, after| Box::pin(sessions::purgeable(tx, ctx.tenant, after, kept_since(ctx), BATCH)),
        |tx, ctx, sid| Box::pin(sessions::purge(tx, ctx.tenant, sid)),
    )
    .await?;
    let mut others_purged = purge(
        core,
        ctx,
        (UserKey([0; 12]), ClientId(String::new())),
        |tx, ctx, (user, client)| Box::pin(users::purgeable_clients(tx, ctx.tenant, (user, client), BATCH)),
        |tx, ctx, (user, client)| Box::pin(users::purge_client(tx, ctx.tenant, user, client)),
    )
    .await?;
    others_purged += purge(
        core,
        ctx,
        FIRST_FAMILY,
        |tx, ctx, after| Box::pin(codes::purgeable_codes(tx, ctx.tenant, after, ctx.now, BATCH)),
        |tx, ctx, id| Box::pin(codes::purge_code(tx, ctx.tenant, id, ctx.now)),
    )
    .await?;
    others_purged += purge(
        core,
        ctx,
        (String::new(), Vec::new()),
        |tx, ctx, (kind, id)| {
            Box::pin(codes::purgeable_consumptions(tx, ctx.tenant, (kind, id), ctx.now, BATCH))
        },
        |tx, ctx, (kind, id)| Box::pin(codes::purge_consumption(tx, ctx.tenant, (kind, id), ctx.now)),
    )
    .await?;
    others_purged += purge(
        core,
        ctx,
        (i64::MIN, i64::MIN),
        |tx, ctx, after| Box::pin(ending_store::purgeable_entries(tx, *after, ctx.now, BATCH)),
        |tx, _, entry| Box::pin(ending_store::purge_entry(tx, *entry)),
    )
    .await?;
    crate::signals::sweep(core, ctx).await?;
    others_purged += sweep_deliveries(core, ctx).await?;
    others_purged += purge(
        core,
        ctx,
        String::new(),
        |tx, ctx, after| {
            Box::pin(async move {
                let before = crate::logs::first_id_of(ctx.now.plus_seconds(-LOGS_KEPT_SECONDS));
                logs::purgeable(tx, ctx.tenant, after, &before, BATCH).await
            })
        },
        |tx, ctx, log_id| Box::pin(logs::purge(tx, ctx.tenant, log_id)),
    )
    .await?;
    others_purged += sweep_actions(core, ctx).await?;
    others_purged += sweep_status_lists(core, ctx).await?;
    others_purged += sweep_endings(core, ctx).await?;
    Ok(Swept { sessions_ended, sessions_purged, families_purged, others_purged })
}

/// Dead letters expire first, and are then kept like everything that is over.
async fn sweep_deliveries(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    core.store
        .transact(Lane::Ordinary, ctx.clone(), |tx, ctx| {
            let before = ctx.now.plus_seconds(-DEAD_LETTERS_SECONDS);
            Box::pin(deliveries::expire(tx, ctx.tenant, before, ctx.now))
        })
        .await?;
    let events = purge(
        core,
        ctx,
        Vec::new(),
        |tx, ctx, after| {
            let before = ctx.now.plus_seconds(-EVENTS_KEPT_SECONDS);
            Box::pin(event_streams::purgeable(tx, ctx.tenant, after, before, BATCH))
        },
        |tx, ctx, id| Box::pin(deliveries::purge(tx, ctx.tenant, id)),
    )
    .await?;
    let others = purge(
        core,
        ctx,
        Vec::new(),
        |tx, ctx, after| {
            let before = ctx.now.plus_seconds(-DELIVERIES_KEPT_SECONDS);
            Box::pin(deliveries::purgeable(tx, ctx.tenant, after, before, BATCH))
        },
        |tx, ctx, id| Box::pin(deliveries::purge(tx, ctx.tenant, id)),
    )
    .await?;
    let hours = core
        .store
        .transact(Lane::Ordinary, ctx.clone(), |tx, ctx| {
            let before = ctx.now.plus_seconds(-HOURS_KEPT_SECONDS);
            Box::pin(event_streams::purge_hours(tx, ctx.tenant, before))
        })
        .await?;
    Ok(events + others + hours)
}

/// What Actions did is kept as long as the tenant wants it, packages as long as something stands on them.
async fn sweep_actions(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let kept = core.tenant(ctx.tenant).await?.settings.action_executions_kept_days();
    let before = ctx.now.plus_seconds(-kept * 86_400);
    let mut purged = purge(
        core,
        &Ctx { now: before, ..ctx.clone() },
        String::new(),
        |tx, before, after| {
            Box::pin(async move {
                let before_id = crate::actions::executions::first_id_of(before.now);
                action_executions::purgeable(tx, before.tenant, after, &before_id, BATCH).await
            })
        },
        |tx, ctx, id| Box::pin(action_executions::purge(tx, ctx.tenant, id)),
    )
    .await?;
    purged += core
        .store
        .transact(Lane::Ordinary, ctx.clone(), |tx, ctx| {
            Box::pin(async move {
                let unused = ctx.now.plus_seconds(-PACKAGES_KEPT_SECONDS);
                let superseded = ctx.now.plus_seconds(-BYTECODE_KEPT_SECONDS);
                let late = ctx.now.plus_seconds(-RUNS_KEPT_SECONDS);
                let forgotten = action_runs::forget(tx, ctx.tenant, late).await?;
                if forgotten > 0 {
                    tracing::error!(
                        forgotten,
                        "Actions that nobody waits for had no turn for a day; they are left out"
                    );
                }
                Ok(forgotten
                    + action_packages::purge(tx, ctx.tenant, unused).await?
                    + action_packages::purge_bytecode(tx, ctx.tenant, (unused, superseded)).await?)
            })
        })
        .await?;
    Ok(purged)
}

/// Indexes that no token names any more are free again, and lists that nothing is left of go.
async fn sweep_status_lists(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let entries = purge(
        core,
        ctx,
        (String::new(), -1),
        |tx, ctx, (list, idx)| {
            let before = status_lists::unused_since(ctx);
            Box::pin(curfew_store::status_lists::purgeable(tx, ctx.tenant, (list, *idx), before, BATCH))
        },
        |tx, ctx, (list, idx)| {
            let before = status_lists::unused_since(ctx);
            Box::pin(curfew_store::status_lists::purge(tx, ctx.tenant, (list, *idx), before))
        },
    )
    .await?;
    Ok(entries + status_lists::sweep_lists(core, ctx).await?)
}

/// Old endings go with their receipts.
async fn sweep_endings(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let said_until = ctx.now.plus_seconds(-NODES_KEPT_SECONDS);
    let first = Timestamp::from_micros(i64::MIN);
    let nodes = core.store.read(first, |tx, first| Box::pin(curfew_store::feed::nodes(tx, *first))).await?;
    let mut nodes_purged = 0;
    let gone: Vec<_> = nodes.into_iter().filter(|node| node.seen_at < said_until).collect();
    for node in gone.iter().filter(|node| node.guards > 0) {
        core.store
            .transact(Lane::Ordinary, (ctx.clone(), node.clone()), |tx, (ctx, node)| {
                Box::pin(crate::management::endings::speak_for(tx, ctx, node))
            })
            .await?;
    }
    if !gone.is_empty() {
        nodes_purged = core
            .store
            .transact(Lane::Ordinary, said_until, |tx, until| {
                Box::pin(curfew_store::feed::purge_nodes(tx, *until))
            })
            .await?;
    }
    let endings = purge(
        core,
        ctx,
        (first, EndingId([0; 16])),
        |tx, ctx, (at, id)| {
            let before = ctx.now.plus_seconds(-ENDINGS_KEPT_SECONDS);
            Box::pin(ending_store::purgeable(tx, ctx.tenant, (*at, id), before, BATCH))
        },
        |tx, ctx, (_, id)| Box::pin(ending_store::purge(tx, ctx.tenant, id)),
    )
    .await?;
    Ok(nodes_purged + endings)
}

/// What ended before may go.
fn kept_since(ctx: &Ctx) -> Timestamp {
    ctx.now.plus_seconds(-KEPT_SECONDS)
}

/// Reads a page of what can go, in key order after a key.
type Purgeable<K> = for<'a> fn(&'a mut Tx, &'a Ctx, &'a K) -> BoxFuture<'a, Result<Vec<K>, Failure>>;
/// Removes one of them.
type Purge<K> = for<'a> fn(&'a mut Tx, &'a Ctx, &'a K) -> BoxFuture<'a, Result<(), Failure>>;

/// Removes everything that can go, a page in each transaction. Answers how much it was.
async fn purge<K: Clone + Send + Sync + 'static>(
    core: &Core,
    ctx: &Ctx,
    first: K,
    purgeable: Purgeable<K>,
    purge: Purge<K>,
) -> Result<u64, Failure> {
    let mut purged = 0;
    let mut after = first;
    loop {
        let page = core
            .store
            .read_long((ctx.clone(), after), move |tx, (ctx, after)| purgeable(tx, ctx, after))
            .await?;
        let Some(last) = page.last() else { return Ok(purged) };
        after = last.clone();
        purged += page.len() as u64;
        core.store
            .transact(Lane::Ordinary, (ctx.clone(), page), move |tx, (ctx, page)| {
                Box::pin(async move {
                    for key in page {
                        purge(tx, ctx, key).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
}

/// A connection takes its users with it; a process that died meanwhile left some.
async fn delete_orphaned_users(core: &Core, ctx: &Ctx) -> Result<(), Failure> {
    let gone = core
        .store
        .read_long(ctx.tenant, |tx, tenant| Box::pin(curfew_store::users::orphaned_connections(tx, *tenant)))
        .await?;
    for connection in gone {
        crate::management::users::delete_of_connection(core, ctx, &Actor::Policy, &connection).await?;
    }
    Ok(())
}

const FIRST_SID: Sid = Sid { user: UserKey([0; 12]), session: SessionKey([0; 12]) };
const FIRST_FAMILY: FamilyId = FamilyId { user: UserKey([0; 12]), grant: GrantKey([0; 12]) };

async fn end_overdue_sessions(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let mut ended = 0;
    let mut after = FIRST_SID;
    loop {
        let page = core
            .store
            .read_long((ctx.clone(), after), |tx, (ctx, after)| {
                Box::pin(sessions::overdue(tx, ctx.tenant, after, ctx.now, BATCH))
            })
            .await?;
        let Some((last, _)) = page.last() else { return Ok(ended) };
        after = *last;
        for (sid, expires_at) in &page {
            let over = *expires_at <= ctx.now;
            let cause = if over { EndingCause::LifetimeReached } else { EndingCause::IdleTimeout };
            end_overdue(core, ctx, sid, cause, None).await?;
            ended += 1;
        }
    }
}
