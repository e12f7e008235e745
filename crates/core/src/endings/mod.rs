//! The one door out. Everything that stops access is an [`Ending`] and passes [`end`], which in the caller's
//! transaction works out what falls ([`cascade`]) and records it with its feed entries, fan-out row and log row
//! ([`notify`]). Routes, pages, jobs and commands are only triggers.
//!
//! Ending is O(1): a user's counter and floors are one narrow row; what was made below a floor is over, however much
//! of it there is. Floors never go down.

mod cascade;
mod notify;
mod policy;
mod scope;

pub use cascade::{Falls, Reach, falls};
pub use notify::initiator;
pub(crate) use policy::{spares_tokens, takes_families, will_fall};
pub(crate) use scope::Scope;

use curfew_model::{
    ClientId, Ctx, EndingCause, EndingId, Failure, FamilyId, GrantKey, SessionKey, Sid, Spares, UserId,
    UserKey,
};
use curfew_store::Tx;
use serde_json::{Map, Value, json};

/// Whose access ends, or to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything of a user.
    User(UserKey),
    /// What one identity of a user opened.
    Identity {
        /// Whose.
        user: UserKey,
        /// `auth0`.
        provider: String,
        /// Id without prefix.
        identity_id: String,
    },
    /// All sessions of a user.
    UserSessions(UserKey),
    /// One session.
    Session(Sid),
    /// All refresh tokens of a user.
    UserFamilies(UserKey),
    /// What a client holds for a user, at one API or at all.
    UserClient {
        /// Whose.
        user: UserKey,
        /// Whose tokens.
        client: ClientId,
        /// `None`: every API.
        audience: Option<String>,
    },
    /// One refresh-token family, or what a code issued.
    Family(FamilyId),
    /// A client.
    Client(ClientId),
    /// What a client may do at an API on its own behalf.
    ClientGrant {
        /// Whose.
        client: ClientId,
        /// Where.
        audience: String,
        /// What its tokens name.
        grant_key: GrantKey,
    },
    /// An API.
    ResourceServer {
        /// Its identifier.
        audience: String,
    },
    /// A connection, with the clients it was enabled for.
    Connection {
        /// Which.
        id: String,
        /// Whose tokens end with it.
        clients: Vec<ClientId>,
    },
    /// A connection for one client.
    ConnectionClient {
        /// Which connection.
        connection_id: String,
        /// For which client.
        client: ClientId,
    },
    /// A signing key.
    SigningKey {
        /// Which.
        kid: String,
    },
    /// A sealing key.
    SealingKey {
        /// Which.
        id: u32,
    },
}

/// Who ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The person themselves.
    User,
    /// A client, through a protocol endpoint.
    Client(ClientId),
    /// A Management API caller.
    Management {
        /// Its client.
        client_id: Option<String>,
        /// Its `sub`.
        sub: String,
    },
    /// A rule of the server: time, limits, replay detection.
    Policy,
}

/// Whether refresh tokens stay that a cause takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preserve {
    /// It takes what it takes.
    Nothing,
    /// They stay here, unless a policy of the cause has them fall.
    UnlessPolicy,
    /// Whoever asked said that they stay; no policy has been asked.
    Families,
}

/// An ending that is to happen.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Why.
    pub cause: EndingCause,
    /// Of what.
    pub target: Target,
    /// By whom.
    pub actor: Actor,
    /// Its id, where whoever asked must find it again; `None` draws one.
    pub id: Option<EndingId>,
    /// Whether refresh tokens stay that the cause takes.
    pub preserve: Preserve,
    /// What else the log row and the receipt say.
    pub details: Map<String, Value>,
}

impl Ending {
    /// An ending by its cause's defaults.
    pub fn new(cause: EndingCause, target: Target, actor: Actor) -> Self {
        Self { cause, target, actor, id: None, preserve: Preserve::Nothing, details: Map::new() }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The ending's id; `None` when there was nothing left to end.
    pub id: Option<EndingId>,
    /// The user's or client's counter after it.
    pub counter: Option<i64>,
}

/// What the cascade found and did; [`notify`] writes it down.
#[derive(Debug, Default)]
pub(crate) struct Fallen {
    pub user: Option<UserKey>,
    pub user_id: Option<UserId>,
    pub session: Option<SessionKey>,
    pub grant: Option<FamilyId>,
    pub client: Option<ClientId>,
    pub counter: Option<i64>,
    pub entries: Vec<notify::Entry>,
    /// Which sessions fell.
    pub scope: Option<Scope>,
    /// Where a policy decided: whose tokens live on.
    pub spares: Option<Spares>,
}

/// Ends access, in the caller's transaction.
///
/// Steps: 1 work out and do what falls, 2 record the ending, its fan-out and its log row, 3 take the feed positions last.
/// An ending that finds nothing alive any more (a session that has ended before) writes nothing and has no id.
pub async fn end(tx: &mut Tx, ctx: &Ctx, ending: &Ending) -> Result<Ended, Failure> {
    let Some(fallen) = cascade::apply(tx, ctx, ending).await? else {
        return Ok(Ended { id: None, counter: None });
    };
    let id = ending.id.unwrap_or_else(|| EndingId::generate(&*ctx.entropy));
    let counter = fallen.counter;
    notify::record(tx, ctx, id, ending, fallen).await?;
    Ok(Ended { id: Some(id), counter })
}

impl Actor {
    fn to_json(&self) -> serde_json::Value {
        match self {
            Self::User => json!({"type": "user"}),
            Self::Client(client) => json!({"type": "client", "client_id": client}),
            Self::Management { client_id, sub } => {
                json!({"type": "management_api", "client_id": client_id, "sub": sub})
            }
            Self::Policy => json!({"type": "policy"}),
        }
    }
}
