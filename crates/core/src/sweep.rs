//! Housekeeping: endings that only time brings, and rows that nothing needs any more. Aliveness never depends on it.

use curfew_model::{Ctx, EndingCause, Failure, FamilyId, GrantKey, SessionKey, Sid, UserKey};
use curfew_store::{Lane, codes, endings as ending_store, families, logs, sessions};

use crate::Core;
use crate::endings::Actor;
use crate::sessions::end_overdue;

/// Rows of one transaction: long work goes in small ones.
const BATCH: i64 = 200;
/// How long ended sessions and families are kept: as long as an access token may live (30 days), and a day.
const KEPT_SECONDS: i64 = 31 * 86_400;
/// How long log rows are kept.
const LOGS_KEPT_SECONDS: i64 = 30 * 86_400;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions ended because their time was over.
    pub sessions_ended: u64,
    /// Sessions removed.
    pub sessions_purged: u64,
    /// Families removed.
    pub families_purged: u64,
    /// Consumptions and feed entries removed.
    pub others_purged: u64,
}

/// Sweeps one tenant.
pub async fn sweep(core: &Core, ctx: &Ctx) -> Result<Swept, Failure> {
    let mut swept = Swept { sessions_ended: end_overdue_sessions(core, ctx).await?, ..Swept::default() };
    delete_orphaned_users(core, ctx).await?;
    // Families first: a session waits for the last family that began in it.
    swept.families_purged = purge_families(core, ctx).await?;
    swept.sessions_purged = purge_sessions(core, ctx).await?;
    swept.others_purged = core
        .store
        .transact(Lane::Ordinary, ctx.clone(), |tx, ctx| {
            Box::pin(async move {
                let consumed = codes::purge(tx, ctx.tenant, ctx.now).await?;
                let entries = ending_store::purge_entries(tx, ctx.now).await?;
                let oldest = ctx.now.plus_seconds(-LOGS_KEPT_SECONDS).iso();
                let digits: String = oldest.chars().filter(char::is_ascii_digit).take(14).collect();
                Ok(consumed + entries + logs::purge(tx, ctx.tenant, &format!("900{digits}")).await?)
            })
        })
        .await?;
    Ok(swept)
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

async fn purge_sessions(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let before = ctx.now.plus_seconds(-KEPT_SECONDS);
    let mut purged = 0;
    let mut after = FIRST_SID;
    loop {
        let page = core
            .store
            .read_long((ctx.clone(), after), move |tx, (ctx, after)| {
                Box::pin(sessions::purgeable(tx, ctx.tenant, after, before, BATCH))
            })
            .await?;
        let Some(last) = page.last() else { return Ok(purged) };
        after = *last;
        purged += page.len() as u64;
        core.store
            .transact(Lane::Ordinary, (ctx.clone(), page), |tx, (ctx, page)| {
                Box::pin(async move {
                    for sid in page {
                        sessions::purge(tx, ctx.tenant, sid).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
}

async fn purge_families(core: &Core, ctx: &Ctx) -> Result<u64, Failure> {
    let before = ctx.now.plus_seconds(-KEPT_SECONDS);
    let mut purged = 0;
    let mut after = FIRST_FAMILY;
    loop {
        let page = core
            .store
            .read_long((ctx.clone(), after), move |tx, (ctx, after)| {
                Box::pin(families::purgeable(tx, ctx.tenant, after, before, BATCH))
            })
            .await?;
        let Some(last) = page.last() else { return Ok(purged) };
        after = *last;
        purged += page.len() as u64;
        core.store
            .transact(Lane::Ordinary, (ctx.clone(), page), |tx, (ctx, page)| {
                Box::pin(async move {
                    for id in page {
                        families::purge(tx, ctx.tenant, id).await?;
                    }
                    Ok(())
                })
            })
            .await?;
    }
}
