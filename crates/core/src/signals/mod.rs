//! The transmitter of the OpenID Shared Signals Framework 1.0: receivers make [streams](stream) and are told of events of
//! the CAEP and RISC profiles on them, as security event tokens.
//!
//! A stream is a receiver of the same [deliveries](crate::deliveries) that applications get: [`fanout`] writes them beside
//! the logout tokens of an ending, or of a change that ended nothing. Those of a stream with push delivery are carried out by
//! the courier ([`push`], RFC 8935); those of one with poll delivery wait until they are fetched ([`mod@poll`], RFC 8936).

mod events;
mod fanout;
mod manage;
mod poll;
mod push;
mod stream;
mod subject;
mod sweep;

pub use events::EventType;
pub(crate) use fanout::{of_change, of_ending};
pub use manage::{
    STREAMS_OF_CLIENT_MAX, VERIFICATION_SECONDS_MIN, add_subject, create, delete, list, read, remove_subject,
    replace, set_status, status, update, verify,
};
pub(crate) use poll::Waiting;
pub use poll::{EVENTS_MAX, Poll, Polled, WAIT_MAX, poll};
pub(crate) use push::{prepare, refuses};
pub use stream::{Document, POLL, PUSH};
pub(crate) use sweep::sweep;

use curfew_model::config::Client;
use curfew_model::{ClientId, Ctx, Failure};

use crate::access_tokens::{self, is_management};
use crate::management::Caller;
use crate::{Core, TenantConfig};

/// Lets a receiver manage its streams (CAEP Interoperability Profile §2.7.2).
pub const MANAGE_SCOPE: &str = "ssf.manage";
/// Lets a receiver read its streams, and fetch what waits on them.
pub const READ_SCOPE: &str = "ssf.read";

/// How long an event waits on a stream that is paused or polled.
pub const HELD_SECONDS: i64 = 7 * 86_400;
/// How many events wait on one stream.
pub const HELD_MAX: i64 = 100_000;
/// After how long without a word of its receiver a polled stream is disabled (SSF §8.1.1, `inactivity_timeout`).
pub const INACTIVE_SECONDS: i64 = 30 * 86_400;
/// How exactly is known when a receiver was here last.
const ACTIVE_SECONDS: i64 = 3600;

/// A receiver, by the token it sent.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// As which client.
    pub client: ClientId,
    /// The token, for the log.
    pub caller: Caller,
    /// Whether it may change its streams, and see what it wrote into them.
    pub manages: bool,
}

/// What a receiver is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To change something.
    Manage,
}

/// Why somebody is no receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The token is not accepted.
    Token,
    /// It lives, and is not for this.
    Scope,
}

/// A "no" to a receiver. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The request makes no sense (400).
    Invalid(String),
    /// This client has no such stream, or there is no such subject (404).
    Absent(&'static str),
    /// There are as many as there may be (409).
    Full(String),
    /// It was asked too soon again (429).
    TooSoon(i64),
}

/// What the management of streams answers.
pub type Outcome<T> = Result<Result<T, Refused>, Failure>;

/// Checks a receiver's token: a client's own, for the Management API, with a scope that its client grant still gives.
pub async fn authorize(
    core: &Core,
    ctx: &Ctx,
    token: &str,
    access: Access,
) -> Result<Result<Receiver, Denied>, Failure> {
    let Ok(caller) = access_tokens::authorize_management(core, ctx, token).await? else {
        return Ok(Err(Denied::Token));
    };
    let has = |scope: &str| caller.scopes.iter().any(|own| own == scope);
    let manages = has(MANAGE_SCOPE);
    if caller.user.is_some() || !(manages || (access == Access::Read && has(READ_SCOPE))) {
        return Ok(Err(Denied::Scope));
    }
    Ok(Ok(Receiver {
        client: caller.client_id.clone(),
        caller: Caller {
            client_id: Some(caller.client_id),
            user_id: None,
            sub: caller.sub,
            jti: Some(caller.jti),
            scopes: caller.scopes,
        },
        manages,
    }))
}

/// Whether a client is still granted what it made its streams with: whoever takes that away ends what they say.
fn may_hear(config: &TenantConfig, client: &Client) -> bool {
    client.grants.iter().filter(|grant| is_management(&grant.audience, config)).any(|grant| {
        grant.doc.allow_all_scopes
            || grant.doc.scope.iter().any(|scope| scope == MANAGE_SCOPE || scope == READ_SCOPE)
    })
}
