//! What Actions asked for, done: in the flow's own transaction, after them.

use curfew_model::{ClientId, Ctx, EndingCause, Failure, FamilyId, LogCode, Sid, Timestamp, UserId, UserKey};
use curfew_store::sessions::{self, SessionRow};
use curfew_store::{Tx, families};
use serde_json::json;

use super::commands::{Effects, Limits, MetadataChange};
use crate::TenantConfig;
use crate::endings::{self, Actor, Ending, Preserve, Target};
use crate::issue::grantable_scope;
use crate::logs::{self, LogEntry};
use crate::sessions::{Life, life};
use crate::users::merge_metadata;

/// Why what an Action asked for cannot be done; said to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Undone(pub String);

/// What became of the session.
#[derive(Debug)]
pub(crate) enum OfSession {
    /// It lives, and is as it says.
    Lives(Box<SessionRow>),
    /// It is over.
    Over,
    /// What was asked for cannot be.
    Undone(Undone),
}

impl Effects {
    /// Whether there is nothing to write down of user and session.
    pub(crate) fn writes_nothing(&self) -> bool {
        self.app_metadata.is_empty()
            && self.user_metadata.is_empty()
            && self.session.is_empty()
            && self.persistent.is_none()
            && self.session_revoked.is_none()
    }

    /// The scope that is granted after Actions have added to what was asked for and removed from it: at the server's own
    /// API no more than a user may have.
    pub(crate) fn granted_scope(&self, config: &TenantConfig, audience: Option<&str>, asked: &str) -> String {
        let scope = self.scope_of(asked);
        let server = audience.and_then(|audience| config.resource_server(audience));
        match server.filter(|server| server.doc.is_system) {
            Some(server) => grantable_scope(Some(server), &scope),
            None => scope,
        }
    }
}

/// Merges what was set of the user, key by key. Nothing when nothing was.
pub(crate) async fn to_user(
    tx: &mut Tx,
    ctx: &Ctx,
    user: &UserKey,
    effects: &Effects,
) -> Result<(), Failure> {
    if effects.app_metadata.is_empty() && effects.user_metadata.is_empty() {
        return Ok(());
    }
    merge_metadata(tx, ctx, user, &effects.user_metadata, &effects.app_metadata).await.map(drop)
}

/// Does what was asked of the session, and says what has become of it. One that ended meanwhile is over, whatever was
/// asked.
pub(crate) async fn to_session(
    tx: &mut Tx,
    ctx: &Ctx,
    config: &TenantConfig,
    (sid, client): (&Sid, &ClientId),
    effects: &Effects,
) -> Result<OfSession, Failure> {
    if let Some(revoked) = &effects.session_revoked {
        let mut ending = Ending::new(EndingCause::SessionRevoked, Target::Session(*sid), Actor::Policy);
        if revoked.preserve_refresh_tokens {
            ending.preserve = Preserve::Families;
        }
        ending.details.insert("by".to_owned(), json!("action"));
        endings::end(tx, ctx, &ending).await?;
        return Ok(OfSession::Over);
    }
    let writes = !effects.session.is_empty() || effects.persistent.is_some();
    if writes {
        sessions::take(tx, ctx.tenant, sid).await?;
    }
    let found = sessions::find(tx, ctx.tenant, sid, Some(client)).await?;
    let Some(mut row) = found.filter(|row| life(row, config, ctx.now) == Life::Alive) else {
        return Ok(OfSession::Over);
    };
    if !writes {
        return Ok(OfSession::Lives(Box::new(row)));
    }
    if !effects.session.metadata.is_empty() {
        let metadata = match MetadataChange::apply(&effects.session.metadata, row.metadata.as_deref()) {
            Ok(metadata) => metadata,
            Err(why) => {
                return Ok(OfSession::Undone(Undone(format!("Failed to set session metadata: {why}"))));
            }
        };
        sessions::set_metadata(tx, ctx.tenant, sid, metadata.as_deref(), ctx.now).await?;
        row.metadata = metadata;
    }
    row.persistent = effects.persistent.unwrap_or(row.persistent);
    warn_of_limits(tx, ctx, (&row, client), config, &effects.session).await?;
    (row.expires_at, row.idle_expires_at) = ends(&row, config, &effects.session);
    let ends = (row.expires_at, row.idle_expires_at);
    sessions::set_ends(tx, ctx.tenant, sid, ends, row.persistent, ctx.now).await?;
    match crate::sessions::overdue(row.expires_at, row.idle_expires_at, ctx.now) {
        Some(cause) => {
            endings::end(tx, ctx, &Ending::new(cause, Target::Session(*sid), Actor::Policy)).await?;
            Ok(OfSession::Over)
        }
        None => Ok(OfSession::Lives(Box::new(row))),
    }
}

/// The latest ends that the tenant's life-times allow: absolute, and by idleness.
fn latest(row: &SessionRow, config: &TenantConfig) -> (Timestamp, Timestamp) {
    let lifetimes = config.settings.session_lifetimes(row.persistent);
    let absolute = row.authenticated_at.plus_seconds(lifetimes.absolute_seconds);
    (absolute, row.last_interacted_at.plus_seconds(lifetimes.idle_seconds))
}

/// Says in the tenant's log where an Action asked for more than it got.
async fn warn_of_limits(
    tx: &mut Tx,
    ctx: &Ctx,
    (row, client): (&SessionRow, &ClientId),
    config: &TenantConfig,
    asked: &Limits,
) -> Result<(), Failure> {
    let (latest, latest_idle) = latest(row, config);
    let mut details = json!({ "session_id": row.sid.to_string() });
    let mut capped = false;
    for (name, asked, latest) in [
        ("expires_at", asked.expires_at(), latest),
        ("idle_expires_at", asked.idle_expires_at(), latest_idle),
    ] {
        if let Some(asked) = asked.filter(|asked| *asked > latest) {
            details[name] = json!({ "requested": asked.iso(), "limit": latest.iso() });
            capped = true;
        }
    }
    if !capped {
        return Ok(());
    }
    let entry = LogEntry {
        code: LogCode::Warning,
        user_id: row.user_id.as_ref().map(UserId::as_str),
        client_id: Some(client.as_str()),
        description: "An Action asked for a longer session than the tenant's life-times allow",
        details,
    };
    logs::write(tx, ctx, &entry).await
}

/// The ends that were asked for, no later than the tenant's life-times allow.
fn ends(row: &SessionRow, config: &TenantConfig, asked: &Limits) -> (Timestamp, Timestamp) {
    let (latest, latest_idle) = latest(row, config);
    let expires_at = asked.expires_at().unwrap_or(row.expires_at).min(latest);
    let idle = asked.idle_expires_at().unwrap_or(row.idle_expires_at).min(latest_idle);
    (expires_at, idle.min(expires_at))
}

/// Does what was asked of a refresh token that has begun or was exchanged in this transaction; `expires_at` and
/// `idle_expires_at` are the ends that its client gave it, and no end becomes later than these.
pub(crate) async fn to_family(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &FamilyId,
    (expires_at, idle_expires_at): (Option<Timestamp>, Option<Timestamp>),
    metadata: Option<&str>,
    asked: &Limits,
) -> Result<Result<(), Undone>, Failure> {
    if !asked.metadata.is_empty() {
        let metadata = match MetadataChange::apply(&asked.metadata, metadata) {
            Ok(metadata) => metadata,
            Err(why) => return Ok(Err(Undone(format!("Failed to set refresh token metadata: {why}")))),
        };
        families::set_metadata(tx, ctx.tenant, id, metadata.as_deref()).await?;
    }
    if asked.expires_at.is_some() || asked.idle_expires_at.is_some() {
        let earliest = |ends: &[Option<Timestamp>]| ends.iter().copied().flatten().min();
        let end = earliest(&[asked.expires_at(), expires_at]);
        let idle = earliest(&[asked.idle_expires_at(), idle_expires_at]);
        // No end by idleness lies behind the absolute one.
        let idle = idle.map(|idle| end.map_or(idle, |end| idle.min(end)));
        families::set_ends(tx, ctx.tenant, id, end, idle).await?;
    }
    Ok(Ok(()))
}
