//! Typed views of the configuration documents. The store keeps the whole document as it was sent; these structs read
//! the fields this server acts on and ignore the rest.

mod action;
mod client;
mod connection;
mod event_stream;
mod resource_server;
mod tenant;

pub use action::{
    ACTIONS_MAX, ActionDoc, ActionTrigger, BINDINGS_MAX, CODE_BYTES_MAX, DEPENDENCIES_MAX, Dependency,
    MODULES_MAX, MODULES_PER_ACTION_MAX, ModuleDoc, ModuleRef, SECRETS_MAX, SupportedTrigger, VERSIONS_MAX,
};
pub use client::{
    AppType, AuthMethod, Client, ClientDoc, ClientGrant, ClientGrantDoc, Credential, JwtConfiguration,
    OidcLogout, RefreshTokenSettings,
};
pub use connection::{Connection, ConnectionClient, ConnectionDoc, ConnectionOptions, PasswordPolicy};
pub use event_stream::{
    ENDING_CREATED, EVENT_TYPES, EventDestination, EventStreamDoc, EventStreamStatus, EventSubscription,
    USER_CREATED, USER_DELETED, USER_UPDATED, Webhook, WebhookAuthorization,
};
pub use resource_server::{ResourceServer, ResourceServerDoc, ScopeEntry};
pub use tenant::{SessionLifetimes, TenantFlags, TenantSettings};

use crate::decision::Failure;

/// Reads a stored document; a document that does not read is a broken row, never a client's mistake.
pub fn read_doc<T: serde::de::DeserializeOwned>(
    table: &'static str,
    id: &str,
    doc: &str,
) -> Result<T, Failure> {
    serde_json::from_str(doc).map_err(|error| Failure::Inconsistent {
        table,
        column: "doc",
        id: format!("{id}: {error}"),
    })
}

/// `null` reads as absent, which reads as the default.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
