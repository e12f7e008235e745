//! Sessions: whether one lives, how one begins, how one is used.

pub(crate) mod start;

pub use start::{Authenticated, Started, cookie_value, start};

use curfew_model::secret::constant_time_eq;
use curfew_model::{ClientId, Ctx, EndingCause, Failure, Sid, Timestamp};
use curfew_store::sessions::SessionRow;
use curfew_store::{Lane, Tx};
use curfew_tokens::SealKind;
use curfew_tokens::opaque::SessionCookieValue;

use crate::endings::{self, Actor, Ending, Target};
use crate::{Core, TenantConfig};

/// A use is written when the stored one is older than this, or than a hundredth of the idle time if that is less: a
/// session may end by idleness this much early, never late.
const TOUCH_SECONDS_MAX: i64 = 60;

/// Whether a session lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Alive,
    /// Its idle time is over and nobody has ended it yet.
    Idle,
    /// Its absolute time is over and nobody has ended it yet.
    Expired,
    /// It has ended, or what it hangs on has.
    Over,
}

/// Computes a session's life up the chain: the row, the user's and the identity's floors, the block, the connection,
/// the sealing key.
pub fn life(row: &SessionRow, config: &TenantConfig, now: Timestamp) -> Life {
    let above = row.user_counter.is_some()
        && row.counter >= row.user_session_floor
        && row.identity_session_floor.is_some_and(|floor| row.counter >= floor);
    let stands = config.connection(&row.connection_id).is_some() && config.sealing_key_lives(row.sealing_key);
    if row.ended_at.is_some() || row.blocked || !above || !stands {
        Life::Over
    } else if row.expires_at <= now {
        Life::Expired
    } else if row.idle_expires_at <= now {
        Life::Idle
    } else {
        Life::Alive
    }
}

/// The session behind a cookie, if it lives. One whose time is over is ended here, with its cause.
///
/// `client` is who asks; its version is read along.
pub async fn find_by_cookie(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    cookie: &str,
    client: Option<&ClientId>,
) -> Result<Option<SessionRow>, Failure> {
    let Some(value) = unseal_cookie(config, cookie) else { return Ok(None) };
    let sid = value.sid();
    let found = core
        .store
        .read((ctx.tenant, sid, client.cloned()), |tx, (tenant, sid, client)| {
            Box::pin(curfew_store::sessions::find(tx, *tenant, sid, client.as_ref()))
        })
        .await?;
    let Some(row) = found else { return Ok(None) };
    if !constant_time_eq(&row.secret_hash, value.secret_hash().as_bytes()) || row.issuer != *ctx.issuer {
        return Ok(None);
    }
    match life(&row, config, ctx.now) {
        Life::Alive => Ok(Some(row)),
        Life::Over => Ok(None),
        Life::Idle => end_overdue(core, ctx, &row.sid, EndingCause::IdleTimeout).await.map(|()| None),
        Life::Expired => end_overdue(core, ctx, &row.sid, EndingCause::LifetimeReached).await.map(|()| None),
    }
}

/// The id inside a session cookie, without asking whether the session lives.
pub fn sid_of_cookie(config: &TenantConfig, cookie: &str) -> Option<Sid> {
    unseal_cookie(config, cookie).map(|value| value.sid())
}

fn unseal_cookie(config: &TenantConfig, cookie: &str) -> Option<SessionCookieValue> {
    let unsealed = config.sealing.unseal(SealKind::SessionCookie, config.tenant, cookie).ok()?;
    SessionCookieValue::decode(&unsealed.plaintext)
}

/// Ends a session whose time is over.
pub async fn end_overdue(core: &Core, ctx: &Ctx, sid: &Sid, cause: EndingCause) -> Result<(), Failure> {
    let ending = Ending::new(cause, Target::Session(*sid), Actor::Policy);
    core.store
        .transact(Lane::Endings, (ctx.clone(), ending), |tx, (ctx, ending)| {
            Box::pin(async move { endings::end(tx, ctx, ending).await.map(|_| ()) })
        })
        .await
}

/// Whether a use must be written, and until when the session then lives idle.
pub fn touch_due(row: &SessionRow, config: &TenantConfig, now: Timestamp) -> Option<Timestamp> {
    let idle_seconds = config.settings.session_lifetimes(row.persistent).idle_seconds;
    let every = (idle_seconds / 100).clamp(1, TOUCH_SECONDS_MAX);
    let idle_expires_at = std::cmp::min(now.plus_seconds(idle_seconds), row.expires_at);
    let due = row.last_interacted_at.plus_seconds(every) <= now || idle_expires_at < row.idle_expires_at;
    due.then_some(idle_expires_at)
}

/// Notes a use of a session in the caller's transaction; `false` when it has ended meanwhile.
pub async fn touch(
    tx: &mut Tx,
    ctx: &Ctx,
    row: &SessionRow,
    idle_expires_at: Timestamp,
) -> Result<bool, Failure> {
    let device = start::device_now(Some(&row.device), ctx);
    curfew_store::sessions::touch(tx, ctx.tenant, &row.sid, ctx.now, idle_expires_at, &device).await
}
