//! What falls with what: the table, and the one function that applies it.

use curfew_model::{ClientId, Ctx, EndingCause, Failure, FamilyId, Sid, UserKey};
use curfew_store::access::{self, Floors, Raised};
use curfew_store::{Tx, codes, families, sessions, users};

use super::notify::Entry;
use super::policy::{self, Left};
use super::{Ending, Fallen, Preserve, Scope, Target};

/// How much of one kind of thing a cause ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing of it.
    Stays,
    /// All that the user has.
    AllOfUser,
    /// What one identity opened.
    OfIdentity,
    /// The one named.
    ThatOne,
    /// What hangs on the named session.
    OfSession,
    /// What hangs on the named family, code or grant.
    OfGrant,
    /// What the named client holds, for the named user or for all.
    OfClient,
    /// What the named API, connection or key stands behind.
    OfIt,
    /// Only where no surviving family stands behind it.
    UnlessFamily,
}

/// What falls for one cause, by kind of artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Falls {
    /// Session cookies and silent login.
    pub sessions: Reach,
    /// Pending logins and unredeemed codes.
    pub pending: Reach,
    /// Refresh-token families.
    pub families: Reach,
    /// Access tokens, opaque ones too.
    pub tokens: Reach,
}

const fn row(sessions: Reach, pending: Reach, families: Reach, tokens: Reach) -> Falls {
    Falls { sessions, pending, families, tokens }
}

/// The table, as it is where no policy of an operator says otherwise ([`policy`]). The match is exhaustive: a cause without a row does not compile.
pub const fn falls(cause: EndingCause) -> Falls {
    use EndingCause as C;
    use Reach::{AllOfUser, OfClient, OfGrant, OfIdentity, OfIt, OfSession, Stays, ThatOne, UnlessFamily};
    match cause {
        C::UserBlocked | C::UserDeleted | C::AccessRevoked => row(AllOfUser, AllOfUser, AllOfUser, AllOfUser),
        C::PasswordChanged | C::IdentifierChanged | C::IdentityUnlinked => {
            row(OfIdentity, OfIdentity, Stays, OfSession)
        }
        C::RpLogout | C::SessionDeleted => row(ThatOne, OfSession, Stays, OfSession),
        C::SessionRevoked | C::Superseded => row(ThatOne, OfSession, OfSession, OfSession),
        C::UserSessionsDeleted => row(AllOfUser, AllOfUser, Stays, OfSession),
        // Of pending logins and codes those that would begin a family.
        C::UserFamiliesRevoked => row(Stays, OfGrant, AllOfUser, OfGrant),
        C::ClientFamiliesRevoked | C::GrantDeleted => row(Stays, OfClient, OfClient, OfClient),
        C::FamilyRevoked
        | C::TokenRevoked
        | C::RefreshTokenReuse
        | C::RotationToggled
        | C::FamilyLimit
        | C::FamilyExpired => row(Stays, Stays, ThatOne, OfGrant),
        C::CodeReplay => row(Stays, ThatOne, OfGrant, OfGrant),
        C::IdleTimeout | C::LifetimeReached => row(ThatOne, OfSession, Stays, UnlessFamily),
        C::ClientGrantDeleted => row(Stays, Stays, Stays, OfIt),
        C::ClientDeleted | C::ClientAccessRevoked => row(Stays, OfClient, OfClient, OfClient),
        C::ClientSecretRotated => row(Stays, Stays, Stays, Stays),
        C::ResourceServerDeleted => row(Stays, OfIt, OfIt, OfIt),
        C::ConnectionDeleted => row(OfIt, OfIt, OfIt, OfIt),
        C::ConnectionDisabled => row(Stays, OfIt, OfIt, OfClient),
        C::SigningKeyRevoked => row(Stays, Stays, Stays, OfIt),
        C::SealingKeyRevoked => row(OfIt, OfIt, OfIt, OfIt),
    }
}

/// Does what the table says; `None` when nothing was left to end.
pub(super) async fn apply(tx: &mut Tx, ctx: &Ctx, ending: &Ending) -> Result<Option<Fallen>, Failure> {
    match &ending.target {
        Target::User(user) | Target::UserSessions(user) | Target::UserFamilies(user) => {
            end_user(tx, ctx, ending, user).await
        }
        Target::Identity { user, provider, identity_id } => {
            end_identity(tx, ctx, ending.cause, user, (provider, identity_id)).await
        }
        Target::Session(sid) => end_session(tx, ctx, ending, sid).await,
        Target::UserClient { user, client, audience } => {
            end_pair(tx, ctx, ending.cause, user, client, audience.as_deref()).await
        }
        Target::Family(id) => end_family(tx, ctx, ending.cause, id).await,
        Target::Client(_)
        | Target::ClientGrant { .. }
        | Target::ResourceServer { .. }
        | Target::Connection { .. }
        | Target::ConnectionClient { .. }
        | Target::SigningKey { .. }
        | Target::SealingKey { .. } => end_configuration(tx, ctx, ending).await.map(Some),
    }
}

async fn end_user(
    tx: &mut Tx,
    ctx: &Ctx,
    ending: &Ending,
    user: &UserKey,
) -> Result<Option<Fallen>, Failure> {
    let falls = falls(ending.cause);
    let floors = Floors {
        credential: falls.pending == Reach::AllOfUser,
        session: falls.sessions == Reach::AllOfUser,
        family: falls.families == Reach::AllOfUser && ending.preserve == Preserve::Nothing,
    };
    // Read before it is raised. A floor that rises in between makes this one tell of more than fell, never of less.
    let Some(row) = users::find(tx, ctx.tenant, user).await? else { return Ok(None) };
    let floor = row.session_floor;
    let raised = access::raise(tx, ctx.tenant, user, floors, Some(ending.cause)).await?;
    let Some(Raised { mut counter, family_floor, families_may_fall }) = raised else { return Ok(None) };
    let mut spares = None;
    if families_may_fall && ending.preserve == Preserve::Nothing {
        let taken = policy::take_of_user(tx, ctx, ending.cause, user, None, family_floor).await?;
        (counter, spares) = (taken.0, Some(taken.1));
    }
    let user = *user;
    let (entries, scope) = match (floors.session, floors.family, &spares) {
        (true, true, _) => (vec![Entry::User { user, counter }], Some(Scope::Everything { counter, floor })),
        (true, false, None) => {
            (vec![Entry::UserSessions { user, counter }], Some(Scope::Sessions { counter, floor }))
        }
        (true, false, Some(spares)) => {
            // With the families everything has ended, and nobody needs to ask.
            let entries = if spares.refresh_tokens.is_empty() {
                vec![Entry::User { user, counter }]
            } else {
                vec![Entry::UserSessions { user, counter }, Entry::UserFamilies { user, counter }]
            };
            (entries, Some(Scope::Sessions { counter, floor }))
        }
        (false, ..) => (vec![Entry::UserFamilies { user, counter }], None),
    };
    Ok(Some(Fallen {
        user: Some(user),
        user_id: Some(row.user_id),
        counter: Some(counter),
        entries,
        scope,
        spares,
        ..Fallen::default()
    }))
}

/// Guards know sessions and users, not identities: with one identity all sessions are meant, with several the
/// sessions of this one are named (their number is bounded by the cap on live sessions).
async fn end_identity(
    tx: &mut Tx,
    ctx: &Ctx,
    cause: EndingCause,
    user: &UserKey,
    (provider, identity_id): (&str, &str),
) -> Result<Option<Fallen>, Failure> {
    let raised = access::raise(tx, ctx.tenant, user, Floors::default(), Some(cause)).await?;
    let Some(Raised { mut counter, family_floor, families_may_fall }) = raised else { return Ok(None) };
    let mut spares = None;
    if families_may_fall {
        let identity = Some((provider, identity_id));
        let taken = policy::take_of_user(tx, ctx, cause, user, identity, family_floor).await?;
        (counter, spares) = (taken.0, Some(taken.1));
    }
    let identities = users::identities(tx, ctx.tenant, user).await?;
    let mut entries = Vec::new();
    if identities.len() > 1 {
        let mut after = None;
        loop {
            let page = sessions::list(tx, ctx.tenant, user, after.as_ref(), ctx.now, 100).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.sid.session);
            let of_identity = page.iter().filter(|s| s.provider == provider && s.identity_id == identity_id);
            entries.extend(of_identity.map(|session| Entry::Session(session.sid)));
        }
    } else {
        entries.push(Entry::UserSessions { user: *user, counter });
    }
    if spares.is_some() {
        // Which tokens without a session are of this identity's families is known to the server alone.
        entries.push(Entry::UserFamilies { user: *user, counter });
    }
    let before = identities.iter().find(|i| i.provider == provider && i.identity_id == identity_id);
    access::raise_identity(tx, ctx.tenant, user, (provider, identity_id), counter).await?;
    let row = users::find(tx, ctx.tenant, user).await?;
    let floors = [before.map(|identity| identity.session_floor), row.as_ref().map(|row| row.session_floor)];
    let scope = Scope::Identity {
        provider: provider.to_owned(),
        identity_id: identity_id.to_owned(),
        counter,
        floor: floors.into_iter().flatten().max().unwrap_or(0),
    };
    Ok(Some(Fallen {
        user: Some(*user),
        user_id: row.map(|row| row.user_id),
        counter: Some(counter),
        entries,
        scope: Some(scope),
        spares,
        ..Fallen::default()
    }))
}

async fn end_session(tx: &mut Tx, ctx: &Ctx, ending: &Ending, sid: &Sid) -> Result<Option<Fallen>, Failure> {
    // Where families are preserved the session ends as if it were deleted; the stored cause says so to their chain.
    let preserved = ending.preserve != Preserve::Nothing;
    let cause = if preserved { EndingCause::SessionDeleted } else { ending.cause };
    let by_time = falls(cause).tokens == Reach::UnlessFamily;
    let end = sessions::End { now: ctx.now, cause, policies_of: ending.cause };
    let ended = if by_time {
        sessions::end_overdue(tx, ctx.tenant, sid, &end).await?
    } else {
        sessions::end(tx, ctx.tenant, sid, &end).await?
    };
    let left = match ended {
        Some(ended) => Left::Now(ended),
        // It may have been used meanwhile.
        None if by_time => return Ok(None),
        // A session that had ended before may have left families behind, and those can still be taken.
        None => match sessions::take_ended(tx, ctx.tenant, sid, ending.cause).await? {
            Some(before) => Left::Before(before),
            None => return Ok(None),
        },
    };
    let ended = ended.is_some();
    let taken = policy::take_of_session(tx, ctx, ending, sid, &left).await?;
    let mut entries = Vec::new();
    if ended {
        // Where a refresh token may stand behind a token of the session, guards ask.
        let asks = by_time && taken.spares.as_ref().is_none_or(|spares| !spares.access_tokens.is_empty());
        entries.push(if asks { Entry::SessionExpired(*sid) } else { Entry::Session(*sid) });
    }
    entries.extend(taken.entries);
    if entries.is_empty() {
        return Ok(None);
    }
    let user_id = users::find(tx, ctx.tenant, &sid.user).await?.map(|row| row.user_id);
    Ok(Some(Fallen {
        user: Some(sid.user),
        user_id,
        session: Some(sid.session),
        entries,
        scope: ended.then_some(Scope::Session),
        spares: taken.spares,
        ..Fallen::default()
    }))
}

/// Ends what a client holds for a user. Families of other APIs are spared: they are stamped with the new counter in
/// the same transaction (at most as many as the limit per user and client).
async fn end_pair(
    tx: &mut Tx,
    ctx: &Ctx,
    cause: EndingCause,
    user: &UserKey,
    client: &ClientId,
    audience: Option<&str>,
) -> Result<Option<Fallen>, Failure> {
    let raised = access::raise(tx, ctx.tenant, user, Floors::default(), None).await?;
    let Some(Raised { counter, .. }) = raised else { return Ok(None) };
    if let Some(audience) = audience {
        for family in families::of_client(tx, ctx.tenant, user, client, ctx.now).await? {
            let id = FamilyId { user: *user, grant: family.grant };
            if family.audience.as_deref().unwrap_or("") == audience {
                families::end(tx, ctx.tenant, &id, ctx.now, cause).await?;
            } else {
                families::restamp(tx, ctx.tenant, &id, counter).await?;
            }
        }
    }
    access::raise_pair(tx, ctx.tenant, user, client, counter).await?;
    let user_id = users::find(tx, ctx.tenant, user).await?.map(|row| row.user_id);
    let entry = Entry::UserClient { user: *user, client: client.clone(), counter };
    Ok(Some(Fallen {
        user: Some(*user),
        user_id,
        client: Some(client.clone()),
        counter: Some(counter),
        entries: vec![entry],
        ..Fallen::default()
    }))
}

async fn end_family(
    tx: &mut Tx,
    ctx: &Ctx,
    cause: EndingCause,
    id: &FamilyId,
) -> Result<Option<Fallen>, Failure> {
    let ended = families::end(tx, ctx.tenant, id, ctx.now, cause).await?;
    let replayed = if cause == EndingCause::CodeReplay {
        let keep_until = super::notify::keep_until(tx, ctx).await?;
        codes::replay(tx, ctx.tenant, id, ctx.now, keep_until).await?
    } else {
        false
    };
    if ended.is_none() && !replayed {
        return Ok(None);
    }
    let mut entries = vec![Entry::Grant(*id)];
    let mut session = ended.and_then(|ended| ended.session_falls);
    if let Some(key) = session {
        let sid = Sid { user: id.user, session: key };
        let end = sessions::End { now: ctx.now, cause, policies_of: cause };
        match sessions::end(tx, ctx.tenant, &sid, &end).await? {
            Some(_) => entries.push(Entry::Session(sid)),
            None => session = None,
        }
    }
    let family = families::find(tx, ctx.tenant, id).await?;
    Ok(Some(Fallen {
        user: Some(id.user),
        user_id: users::find(tx, ctx.tenant, &id.user).await?.map(|row| row.user_id),
        grant: Some(*id),
        client: family.map(|family| family.client_id),
        session,
        scope: session.map(|_| Scope::Session),
        entries,
        ..Fallen::default()
    }))
}

/// The caller has written the configuration (deleted the row, moved the epoch, revoked the key) in this transaction;
/// here the counters of clients are raised and the cutoffs named.
async fn end_configuration(tx: &mut Tx, ctx: &Ctx, ending: &Ending) -> Result<Fallen, Failure> {
    let mut fallen = Fallen::default();
    match &ending.target {
        Target::Client(client) => {
            fallen.client = Some(client.clone());
            if falls(ending.cause).tokens == Reach::OfClient {
                // Of a client that is deleted the row is gone, or going: whatever is asked for it finds no client.
                let counter = access::raise_client(tx, ctx.tenant, client, true).await?;
                fallen.counter = counter;
                fallen.entries.push(Entry::Client { client: client.clone(), counter });
            }
        }
        Target::ClientGrant { client, audience: _, grant_key } => {
            fallen.client = Some(client.clone());
            fallen.entries.push(Entry::ClientGrant(*grant_key));
        }
        Target::ResourceServer { audience } => {
            fallen.entries.push(Entry::Audience(audience.clone()));
        }
        Target::Connection { id, clients } => {
            fallen.scope = Some(Scope::Connection { id: id.clone() });
            for client in clients {
                if let Some(counter) = access::raise_client(tx, ctx.tenant, client, false).await? {
                    fallen.entries.push(Entry::ClientUsers { client: client.clone(), counter });
                }
            }
        }
        Target::ConnectionClient { connection_id: _, client } => {
            fallen.client = Some(client.clone());
            if let Some(counter) = access::raise_client(tx, ctx.tenant, client, false).await? {
                fallen.counter = Some(counter);
                fallen.entries.push(Entry::ClientUsers { client: client.clone(), counter });
            }
        }
        Target::SigningKey { kid } => fallen.entries.push(Entry::SigningKey(kid.clone())),
        // What a sealing key sealed no longer opens here. The sessions and refresh tokens among it have issued access
        // tokens that are signed, and which ones is known to their rows alone: guards ask about every user's.
        Target::SealingKey { id } => {
            fallen.scope = Some(Scope::SealingKey { id: *id });
            fallen.entries.push(Entry::Users);
        }
        Target::User(_)
        | Target::Identity { .. }
        | Target::UserSessions(_)
        | Target::Session(_)
        | Target::UserFamilies(_)
        | Target::UserClient { .. }
        | Target::Family(_) => {
            return Err(Failure::Internal("a user's ending is no configuration ending".into()));
        }
    }
    Ok(fallen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_ends_all_of_a_user_ends_every_kind() {
        for cause in [EndingCause::UserBlocked, EndingCause::UserDeleted, EndingCause::AccessRevoked] {
            let falls = falls(cause);
            for reach in [falls.sessions, falls.pending, falls.families, falls.tokens] {
                assert_eq!(reach, Reach::AllOfUser, "{}", cause.as_str());
            }
        }
    }

    #[test]
    fn no_cause_but_a_secret_rotation_spares_everything() {
        for cause in EndingCause::ALL {
            let f = falls(*cause);
            let spares = [f.sessions, f.pending, f.families, f.tokens].iter().all(|r| *r == Reach::Stays);
            assert_eq!(spares, *cause == EndingCause::ClientSecretRotated, "{}", cause.as_str());
        }
    }
}
