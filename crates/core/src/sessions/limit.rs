//! The tenant's limit of sessions per user: `sessions.max_per_user`.
//!
//! A session counts from the moment a client takes part in it, that is when something is first issued from it: not at
//! the password, so that whoever only knows that throws nobody out, and not while consent is awaited. In the transaction
//! in which it comes to count the oldest others beyond the limit end.

use curfew_model::{ClientId, Ctx, EndingCause, Failure, Sid};
use curfew_store::Tx;
use curfew_store::sessions::{self, SessionRow};
use serde_json::json;

use super::{Life, life};
use crate::TenantConfig;
use crate::endings::{self, Actor, Ending, Target};

/// Has a client take part in a session, in the caller's transaction; `None` when the session does not live any more.
///
/// Steps: 1 under a limit the user's row is written, so that of logins at one instant each sees those before it, 2 the
/// session lives, 3 the client takes part, 4 under a limit, if the session has not counted before or the person has just
/// logged in (`fresh`), the oldest others beyond it end. Without a limit steps 1 and 4 cost nothing.
pub(crate) async fn take_part(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    sid: &Sid,
    client: &ClientId,
    fresh: bool,
) -> Result<Option<SessionRow>, Failure> {
    let limit = config.settings.sessions.max_per_user;
    if limit.is_some() && !sessions::take_user(tx, ctx.tenant, &sid.user).await? {
        return Ok(None);
    }
    let found = sessions::find(tx, ctx.tenant, sid, None).await?;
    let Some(row) = found.filter(|row| life(row, config, ctx.now) == Life::Alive) else { return Ok(None) };
    let counts = limit.is_some() && !fresh && !sessions::clients(tx, ctx.tenant, sid).await?.is_empty();
    sessions::join_client(tx, ctx.tenant, sid, client, ctx.now).await?;
    if let Some(limit) = limit.filter(|_| !counts) {
        displace(tx, ctx, sid, limit).await?;
    }
    Ok(Some(row))
}

async fn displace(tx: &mut Tx, ctx: &Ctx, newest: &Sid, limit: u16) -> Result<(), Failure> {
    let mut others = sessions::counted(tx, ctx.tenant, newest, ctx.now).await?;
    others.truncate((others.len() + 1).saturating_sub(usize::from(limit)));
    // An ending takes the session's row and then the feed's lane. Of several all rows come first: whoever ends one of them
    // meanwhile holds its row and waits for the lane.
    if others.len() > 1 {
        others.sort();
        for session in &others {
            sessions::take(tx, ctx.tenant, &Sid { user: newest.user, session: *session }).await?;
        }
    }
    for session in others {
        let target = Target::Session(Sid { user: newest.user, session });
        let mut ending = Ending::new(EndingCause::Superseded, target, Actor::Policy);
        ending.details.insert("displaced_by".to_owned(), json!(newest.to_string()));
        ending.details.insert("sessions_max_per_user".to_owned(), json!(limit));
        endings::end(tx, ctx, &ending).await?;
    }
    Ok(())
}
