//! What an ending leaves behind for others: its row, its feed entries, its fan-out row, its log row. Written in the
//! ending's own transaction; delivered later.

use curfew_model::{
    ClientId, Ctx, EndingCause, EndingId, Failure, FamilyId, GrantKey, Initiator, LogCode, Sid, Timestamp,
    UserKey,
};
use curfew_store::Tx;
use curfew_store::endings::{self, EndingRow, FeedEntry};
use serde_json::json;

use super::{Ending, Fallen};
use crate::logs::{self, LogEntry};

/// Opaque tokens and Auth0's default for APIs: no cutoff is kept shorter than this.
const LIFETIME_SECONDS_MIN: i64 = 86_400;
/// Allowance for clocks and for the time a token spends on its way.
const KEEP_EXTRA_SECONDS: i64 = 300;

/// A cutoff before it has a position.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    User {
        user: UserKey,
        counter: i64,
    },
    UserSessions {
        user: UserKey,
        counter: i64,
    },
    UserFamilies {
        user: UserKey,
        counter: i64,
    },
    UserClient {
        user: UserKey,
        client: ClientId,
        counter: i64,
    },
    Session(Sid),
    /// A session that only time has ended: tokens with a living refresh token behind them live on.
    SessionExpired(Sid),
    Grant(FamilyId),
    Client {
        client: ClientId,
        counter: Option<i64>,
    },
    /// What a client holds for users, and not what it holds on its own behalf.
    ClientUsers {
        client: ClientId,
        counter: i64,
    },
    /// A client grant; its tokens name it as users' tokens name theirs.
    ClientGrant(GrantKey),
    Audience(String),
    SigningKey(String),
    /// Perhaps everybody's: what a revoked sealing key had sealed is not known here.
    Users,
}

impl Entry {
    fn to_row(&self, keep_until: Timestamp) -> FeedEntry {
        let blank = |kind| FeedEntry {
            kind,
            user_key: None,
            subject: None,
            audience: None,
            counter: None,
            spared: None,
            keep_until,
        };
        match self {
            Self::User { user, counter } => {
                FeedEntry { user_key: Some(*user), counter: Some(*counter), ..blank("user") }
            }
            Self::UserSessions { user, counter } => {
                FeedEntry { user_key: Some(*user), counter: Some(*counter), ..blank("user_sessions") }
            }
            Self::UserFamilies { user, counter } => {
                FeedEntry { user_key: Some(*user), counter: Some(*counter), ..blank("user_families") }
            }
            Self::UserClient { user, client, counter } => FeedEntry {
                user_key: Some(*user),
                subject: Some(client.0.clone()),
                counter: Some(*counter),
                ..blank("user_client")
            },
            Self::Session(sid) => FeedEntry {
                user_key: Some(sid.user),
                subject: Some(sid.session.to_string()),
                ..blank("session")
            },
            Self::SessionExpired(sid) => FeedEntry {
                user_key: Some(sid.user),
                subject: Some(sid.session.to_string()),
                ..blank("session_expired")
            },
            Self::Grant(id) => {
                FeedEntry { user_key: Some(id.user), subject: Some(id.grant.to_string()), ..blank("grant") }
            }
            Self::Client { client, counter } => {
                FeedEntry { subject: Some(client.0.clone()), counter: *counter, ..blank("client") }
            }
            Self::ClientUsers { client, counter } => FeedEntry {
                subject: Some(client.0.clone()),
                counter: Some(*counter),
                ..blank("client_users")
            },
            Self::ClientGrant(key) => FeedEntry { subject: Some(key.to_string()), ..blank("grant") },
            Self::Audience(audience) => FeedEntry { audience: Some(audience.clone()), ..blank("audience") },
            Self::Users => blank("users"),
            Self::SigningKey(kid) => FeedEntry { subject: Some(kid.clone()), ..blank("signing_key") },
        }
    }
}

/// Until when a cutoff made now can matter: the longest access-token life-time in force, and a little.
pub(super) async fn keep_until(tx: &mut Tx, ctx: &Ctx) -> Result<Timestamp, Failure> {
    let longest = endings::longest_lifetime(tx, ctx.tenant, ctx.now).await?.max(LIFETIME_SECONDS_MIN);
    Ok(ctx.now.plus_seconds(longest + KEEP_EXTRA_SECONDS))
}

/// Writes the ending down. The feed positions are taken last, so that the lanes are held as shortly as can be.
pub(super) async fn record(
    tx: &mut Tx,
    ctx: &Ctx,
    id: EndingId,
    ending: &Ending,
    fallen: Fallen,
) -> Result<(), Failure> {
    let keep_until = keep_until(tx, ctx).await?;
    let cause = ending.cause;
    let mut details = json!({
        "ending_id": id,
        "cause": cause.as_str(),
        "actor": ending.actor.to_json(),
        "counter": fallen.counter,
        "session_id": fallen.session.zip(fallen.user).map(|(session, user)| Sid { user, session }.to_string()),
        "familyId": fallen.grant.map(|id| id.to_string()),
    });
    if let (serde_json::Value::Object(members), Some(spares)) = (&mut details, &fallen.spares) {
        members.insert("spared".to_owned(), json!(spares));
    }
    if let serde_json::Value::Object(members) = &mut details {
        members.extend(ending.details.clone());
    }
    let entry = LogEntry {
        code: log_code(cause),
        user_id: fallen.user_id.as_ref().map(|id| id.as_str()),
        client_id: fallen.client.as_ref().map(ClientId::as_str),
        description: cause.as_str(),
        details: details.clone(),
    };
    logs::write(tx, ctx, &entry).await?;
    let entries: Vec<FeedEntry> = fallen.entries.iter().map(|entry| entry.to_row(keep_until)).collect();
    // The entries go when no token needs them any more; the receipt is kept.
    details["fell"] = entries.iter().map(|entry| entry.kind).collect();
    let row = EndingRow {
        id,
        at: ctx.now,
        cause: cause.as_str(),
        user_key: fallen.user,
        user_id: fallen.user_id,
        session: fallen.session,
        grant: fallen.grant,
        client_id: fallen.client.map(|client| client.0),
        detail: details.to_string(),
        scope: fallen.scope.as_ref().map(serde_json::to_string).transpose().map_err(unwritable)?,
    };
    endings::insert(tx, ctx.tenant, &row, &entries).await
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::Internal(format!("the scope of an ending is not JSON: {error}").into())
}

/// What applications that want to hear of endings are told was the initiator; `None` where no session falls. The
/// causes that Auth0 does not have are a session's revocation to them.
pub const fn initiator(cause: EndingCause) -> Option<Initiator> {
    use EndingCause as C;
    Some(match cause {
        C::UserBlocked => Initiator::AccountDeactivated,
        C::UserDeleted => Initiator::AccountDeleted,
        C::PasswordChanged => Initiator::PasswordChanged,
        C::IdentifierChanged => Initiator::EmailIdentifierChanged,
        C::RpLogout => Initiator::RpLogout,
        C::IdleTimeout | C::LifetimeReached => Initiator::SessionExpired,
        // A replay ends the session where a policy says so.
        C::RefreshTokenReuse
        | C::AccessRevoked
        | C::IdentityUnlinked
        | C::SessionDeleted
        | C::SessionRevoked
        | C::UserSessionsDeleted
        | C::ConnectionDeleted
        | C::SealingKeyRevoked
        | C::Superseded => Initiator::SessionRevoked,
        C::UserFamiliesRevoked
        | C::ClientFamiliesRevoked
        | C::FamilyRevoked
        | C::TokenRevoked
        | C::CodeReplay
        | C::RotationToggled
        | C::FamilyLimit
        | C::FamilyExpired
        | C::GrantDeleted
        | C::ClientGrantDeleted
        | C::ClientDeleted
        | C::ClientAccessRevoked
        | C::ClientSecretRotated
        | C::ResourceServerDeleted
        | C::ConnectionDisabled
        | C::SigningKeyRevoked => return None,
    })
}

const fn log_code(cause: EndingCause) -> LogCode {
    use EndingCause as C;
    match cause {
        C::RpLogout => LogCode::Logout,
        C::UserDeleted => LogCode::UserDeleted,
        C::PasswordChanged => LogCode::PasswordChanged,
        C::IdentifierChanged => LogCode::EmailChanged,
        C::RefreshTokenReuse => LogCode::RefreshTokenReuse,
        C::TokenRevoked | C::FamilyRevoked | C::UserFamiliesRevoked | C::ClientFamiliesRevoked => {
            LogCode::RefreshTokenRevoked
        }
        C::FamilyLimit => LogCode::ResourceCleanup,
        C::UserBlocked
        | C::AccessRevoked
        | C::SessionDeleted
        | C::SessionRevoked
        | C::UserSessionsDeleted
        | C::CodeReplay
        | C::RotationToggled
        | C::IdleTimeout
        | C::LifetimeReached
        | C::FamilyExpired
        | C::GrantDeleted
        | C::ClientGrantDeleted
        | C::ClientDeleted
        | C::ClientAccessRevoked
        | C::ClientSecretRotated
        | C::ResourceServerDeleted
        | C::ConnectionDeleted
        | C::ConnectionDisabled
        | C::IdentityUnlinked
        | C::SigningKeyRevoked
        | C::SealingKeyRevoked
        | C::Superseded => LogCode::SessionRevoked,
    }
}

#[cfg(test)]
mod tests {
    use curfew_model::Artefact;

    use super::*;
    use crate::endings::{Reach, falls};

    #[test]
    fn whatever_ends_a_session_has_an_initiator() {
        for cause in EndingCause::ALL {
            let by_policy = Artefact::chosen_for(*cause).contains(&Artefact::Sessions);
            let ends_sessions = falls(*cause).sessions != Reach::Stays || by_policy;
            assert_eq!(initiator(*cause).is_some(), ends_sessions, "{}", cause.as_str());
        }
    }
}
