//! Sessions: whether one lives, how one begins, how one is used.

pub(crate) mod limit;
pub(crate) mod start;

pub use start::{Authenticated, SESSIONS_MAX, Started, cookie_value, start};

use curfew_model::config::SessionLifetimes;
use curfew_model::secret::constant_time_eq;
use curfew_model::{ClientId, Ctx, EndingCause, Failure, Sid, Timestamp};
use curfew_store::sessions::{SessionRow, Use};
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

/// The instants at which a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// In any case.
    pub expires_at: Timestamp,
    /// By idleness.
    pub idle_expires_at: Timestamp,
}

/// When a session ends: as it was written down, or earlier where the tenant has lowered a life-time since. A raised one
/// does not reach back.
pub fn ends(row: &SessionRow, config: &TenantConfig) -> Ends {
    let lifetimes = config.settings.session_lifetimes(row.persistent);
    let expires_at = row.expires_at.min(row.authenticated_at.plus_seconds(lifetimes.absolute_seconds));
    let idle = row.idle_expires_at.min(row.last_interacted_at.plus_seconds(lifetimes.idle_seconds));
    Ends { expires_at, idle_expires_at: idle.min(expires_at) }
}

/// Computes a session's life up the chain: the row, the tenant's life-times, the user's and the identity's floors, the
/// block, the connection, the sealing key.
pub fn life(row: &SessionRow, config: &TenantConfig, now: Timestamp) -> Life {
    let above = row.user_counter.is_some()
        && row.counter >= row.user_session_floor
        && row.identity_session_floor.is_some_and(|floor| row.counter >= floor);
    let stands = config.connection(&row.connection_id).is_some() && config.sealing_key_lives(row.sealing_key);
    if row.ended_at.is_some() || row.blocked || !above || !stands {
        Life::Over
    } else {
        let ends = ends(row, config);
        if ends.expires_at <= now {
            Life::Expired
        } else if ends.idle_expires_at <= now {
            Life::Idle
        } else {
            Life::Alive
        }
    }
}

/// For which cause a session ends that nobody has ended yet; `None` while its time is not over.
pub(crate) fn overdue(
    expires_at: Timestamp,
    idle_expires_at: Timestamp,
    now: Timestamp,
) -> Option<EndingCause> {
    if expires_at <= now {
        Some(EndingCause::LifetimeReached)
    } else {
        (idle_expires_at <= now).then_some(EndingCause::IdleTimeout)
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
    match read_by_cookie(core, ctx, config, cookie, client).await? {
        Some(row) => living(core, ctx, config, row).await,
        None => Ok(None),
    }
}

/// The session that a cookie opens, whether or not it lives.
pub(crate) async fn read_by_cookie(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    cookie: &str,
    client: Option<&ClientId>,
) -> Result<Option<SessionRow>, Failure> {
    let Some(value) = unseal_cookie(config, cookie) else { return Ok(None) };
    let found = core
        .store
        .read((ctx.tenant, value.sid(), client.cloned()), |tx, (tenant, sid, client)| {
            Box::pin(curfew_store::sessions::find(tx, *tenant, sid, client.as_ref()))
        })
        .await?;
    Ok(found.filter(|row| {
        constant_time_eq(&row.secret_hash, value.secret_hash().as_bytes()) && row.issuer == *ctx.issuer
    }))
}

/// The session, if it lives; one whose time is over is ended here.
pub(crate) async fn living(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    row: SessionRow,
) -> Result<Option<SessionRow>, Failure> {
    let cause = match life(&row, config, ctx.now) {
        Life::Alive => return Ok(Some(row)),
        Life::Over => return Ok(None),
        Life::Idle => EndingCause::IdleTimeout,
        Life::Expired => EndingCause::LifetimeReached,
    };
    let lifetimes = config.settings.session_lifetimes(row.persistent);
    end_overdue(core, ctx, &row.sid, cause, Some((lifetimes, row.persistent))).await?;
    Ok(None)
}

/// The id inside a session cookie, without asking whether the session lives.
pub fn sid_of_cookie(config: &TenantConfig, cookie: &str) -> Option<Sid> {
    unseal_cookie(config, cookie).map(|value| value.sid())
}

fn unseal_cookie(config: &TenantConfig, cookie: &str) -> Option<SessionCookieValue> {
    let unsealed = config.sealing.unseal(SealKind::SessionCookie, config.tenant, cookie).ok()?;
    SessionCookieValue::decode(&unsealed.plaintext)
}

/// Ends a session whose time is over. `lifetimes` are the tenant's for sessions that are persistent, or are not, when it
/// was judged by them.
pub async fn end_overdue(
    core: &Core,
    ctx: &Ctx,
    sid: &Sid,
    cause: EndingCause,
    lifetimes: Option<(SessionLifetimes, bool)>,
) -> Result<(), Failure> {
    let ending = Ending::new(cause, Target::Session(*sid), Actor::Policy);
    core.store
        .transact(Lane::Endings, (ctx.clone(), *sid, ending, lifetimes), |tx, args| {
            Box::pin(async move {
                let (ctx, sid, ending, lifetimes) = args;
                if let Some((lifetimes, persistent)) = *lifetimes {
                    curfew_store::sessions::shorten(tx, ctx.tenant, sid, lifetimes, persistent).await?;
                }
                endings::end(tx, ctx, ending).await.map(|_| ())
            })
        })
        .await
}

/// Whether a use must be written, and when the session then ends.
pub fn touch_due(row: &SessionRow, config: &TenantConfig, now: Timestamp) -> Option<Ends> {
    let idle_seconds = config.settings.session_lifetimes(row.persistent).idle_seconds;
    let every = (idle_seconds / 100).clamp(1, TOUCH_SECONDS_MAX);
    let expires_at = ends(row, config).expires_at;
    let idle_expires_at = now.plus_seconds(idle_seconds).min(expires_at);
    let shortened = idle_expires_at < row.idle_expires_at || expires_at < row.expires_at;
    let due = row.last_interacted_at.plus_seconds(every) <= now || shortened;
    due.then_some(Ends { expires_at, idle_expires_at })
}

/// Notes a use of a session in the caller's transaction; `false` when it has ended meanwhile.
pub async fn touch(tx: &mut Tx, ctx: &Ctx, row: &SessionRow, ends: Ends) -> Result<bool, Failure> {
    let used = Use {
        sid: row.sid,
        now: ctx.now,
        idle_expires_at: ends.idle_expires_at,
        expires_at: ends.expires_at,
        authenticated_at: row.authenticated_at,
        device: start::device_now(Some(&row.device), ctx),
    };
    curfew_store::sessions::touch(tx, ctx.tenant, &used).await
}
