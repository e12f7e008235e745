//! The rules: who may log in, what is issued, what ends with what. Never HTTP: the crate that knows HTTP calls these
//! functions and renders what they decide.
//!
//! A flow is entered with a [`Ctx`](curfew_model::Ctx) and answers a
//! [`Decision`](curfew_model::Decision) (both arms commit) or a [`Failure`](curfew_model::Failure) (rolls back).

pub mod access_tokens;
pub mod actions;
pub mod authorize;
mod changes;
pub mod clients;
pub mod config;
pub mod deliveries;
pub mod endings;
mod event_streams;
pub mod feed;
pub mod fuzz;
pub mod grants;
pub mod introspect;
pub mod issue;
pub mod logout;
pub mod logs;
pub mod management;
pub mod outbound;
pub mod passwords;
pub mod revoke;
pub mod sessions;
mod shared;
pub mod signals;
pub mod status_lists;
pub mod sweep;
pub mod userinfo;
pub mod users;

use std::sync::Arc;

use curfew_model::{Clock, Entropy};
use curfew_store::Store;
use curfew_tokens::KeyEncryptionKey;

pub use config::TenantConfig;

/// Everything the rules need: where data is, what time it is, where chance comes from.
#[derive(Debug)]
pub struct Core {
    /// The database.
    pub store: Store,
    /// The present instant.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Password hashing, on threads of its own.
    pub passwords: passwords::Passwords,
    /// Opens the keys at rest.
    pub kek: KeyEncryptionKey,
    /// Parsed configuration by version.
    pub cache: config::Cache,
    /// Log rows on their way to the database.
    pub logs: logs::LogWriter,
    /// Endings on their way to guards.
    pub feed: Arc<feed::Feed>,
    /// Token Status Lists, as this node has built them.
    pub(crate) status_lists: status_lists::Lists,
    /// The way out to applications.
    pub outbound: Arc<dyn outbound::Outbound>,
    /// Polls of streams that wait at this node.
    pub(crate) signals_waiting: signals::Waiting,
    /// What runs Actions.
    pub runner: Arc<dyn actions::Runner>,
    /// Where addresses are, for Actions.
    pub geography: Arc<dyn actions::Geography>,
    /// What makes them deployable.
    pub builder: Arc<dyn actions::Builder>,
    /// Wakes this node's builds.
    pub(crate) builds_due: tokio::sync::Notify,
    /// Wakes this node's runs of Actions that nobody waits for.
    pub(crate) runs_due: tokio::sync::Notify,
}

impl Core {
    /// Puts the parts together. `argon2_threads` is how many passwords are hashed at once.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        kek: KeyEncryptionKey,
        passwords: passwords::Passwords,
    ) -> Self {
        let logs = logs::LogWriter::new(store.clone());
        let feed = Arc::new(feed::Feed::new(store.clone(), Arc::clone(&clock), entropy.alphanumeric(12)));
        let outbound = Arc::new(outbound::Closed);
        Self {
            store,
            clock,
            entropy,
            passwords,
            kek,
            cache: config::Cache::default(),
            logs,
            feed,
            status_lists: status_lists::Lists::default(),
            outbound,
            signals_waiting: signals::Waiting::default(),
            runner: Arc::new(actions::NoRunner),
            geography: Arc::new(actions::NoGeography),
            builder: Arc::new(actions::NoBuilder),
            builds_due: tokio::sync::Notify::new(),
            runs_due: tokio::sync::Notify::new(),
        }
    }

    /// The same with a way out to applications, which there is not otherwise.
    #[must_use]
    pub fn with_outbound(self, outbound: Arc<dyn outbound::Outbound>) -> Self {
        Self { outbound, ..self }
    }

    /// The same with an engine for Actions, which there is not otherwise.
    #[must_use]
    pub fn with_actions(self, runner: Arc<dyn actions::Runner>, builder: Arc<dyn actions::Builder>) -> Self {
        Self { runner, builder, ..self }
    }

    /// The same knowing where addresses are, which it does not otherwise.
    #[must_use]
    pub fn with_geography(self, geography: Arc<dyn actions::Geography>) -> Self {
        Self { geography, ..self }
    }
}
