//! The rules of the Management API: for what is configured (clients, resource servers, client grants, connections,
//! settings, keys), and how users, sessions and refresh tokens are shown. What ends with a change goes through [`endings`](crate::endings), in the change's transaction.
//!
//! Documents are kept as they were sent, together with the defaults Auth0 answers. Before one is stored its typed
//! view is read, so that no accepted document can make the configuration unreadable.

pub mod access;
pub mod actions;
pub mod client_grants;
pub mod clients;
pub mod connections;
pub mod consents;
pub mod credentials;
pub mod deliveries;
mod ending_policies;
pub mod endings;
pub mod event_deliveries;
pub mod event_streams;
pub mod page;
pub mod refresh_tokens;
pub mod resource_servers;
pub mod sealing_keys;
pub mod seed;
pub mod sessions;
pub mod signing_keys;
pub mod tenants;
pub mod users;
mod write;

use curfew_model::Failure;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use write::{Caller, Write};

/// The metadata of a session or a refresh token as they are stored; an empty map clears them.
pub(crate) fn session_metadata(map: &Value) -> Result<Option<String>, ()> {
    sessions::metadata(Some(map)).map_err(|_| ())
}

/// A JSON object: how documents come in and go out.
pub type Document = Map<String, Value>;

/// What the Management API is about, for saying that there is no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entity {
    /// A user.
    User,
    /// A linked identity.
    Identity,
    /// A session.
    Session,
    /// A refresh token (a family).
    RefreshToken,
    /// A client.
    Client,
    /// A client's credential.
    Credential,
    /// A resource server.
    ResourceServer,
    /// A client grant.
    ClientGrant,
    /// A connection.
    Connection,
    /// A signing key.
    SigningKey,
    /// An ending.
    Ending,
    /// A delivery.
    Delivery,
    /// An event stream.
    EventStream,
    /// An event that a stream was told of.
    EventDelivery,
    /// An Action.
    Action,
    /// A version of an Action.
    ActionVersion,
    /// An execution of Actions.
    ActionExecution,
    /// A module of Actions.
    ActionModule,
    /// A version of a module.
    ActionModuleVersion,
}

impl Entity {
    /// All of them, for tests that go through them.
    pub const ALL: &[Self] = &[
        Self::User,
        Self::Identity,
        Self::Session,
        Self::RefreshToken,
        Self::Client,
        Self::Credential,
        Self::ResourceServer,
        Self::ClientGrant,
        Self::Connection,
        Self::SigningKey,
        Self::Ending,
        Self::Delivery,
        Self::EventStream,
        Self::EventDelivery,
        Self::Action,
        Self::ActionVersion,
        Self::ActionExecution,
        Self::ActionModule,
        Self::ActionModuleVersion,
    ];

    /// What a caller is told who asked for one that is not there. The full stops are Auth0's.
    pub const fn message(self) -> &'static str {
        match self {
            Self::User => "The user does not exist.",
            Self::Identity => "The identity does not exist.",
            Self::Session => "The session does not exist.",
            Self::RefreshToken => "The refresh token does not exist.",
            Self::Client => "The client does not exist",
            Self::Credential => "The credential does not exist.",
            Self::ResourceServer => "The resource server does not exist",
            Self::ClientGrant => "The grant does not exist.",
            Self::Connection => "The connection does not exist",
            Self::SigningKey => "The signing key does not exist.",
            Self::Ending => "The ending does not exist.",
            Self::Delivery => "The delivery does not exist.",
            Self::EventStream => "The requested stream does not exist.",
            Self::EventDelivery => "The event delivery does not exist.",
            Self::Action => "That action does not exist.",
            Self::ActionVersion => "That version does not exist.",
            Self::ActionExecution => "That execution does not exist.",
            Self::ActionModule => "That module does not exist.",
            Self::ActionModuleVersion => "That module version does not exist.",
        }
    }

    /// The `errorCode` beside it, where Auth0 has one.
    pub const fn error_code(self) -> Option<&'static str> {
        match self {
            Self::User => Some("inexistent_user"),
            Self::Client => Some("inexistent_client"),
            Self::Connection => Some("inexistent_connection"),
            Self::ResourceServer => Some("inexistent_resource_server"),
            Self::ClientGrant => Some("inexistent_client_grant"),
            Self::Identity
            | Self::Session
            | Self::RefreshToken
            | Self::Credential
            | Self::SigningKey
            | Self::Ending
            | Self::Delivery
            | Self::EventStream
            | Self::EventDelivery
            | Self::Action
            | Self::ActionVersion
            | Self::ActionExecution
            | Self::ActionModule
            | Self::ActionModuleVersion => None,
        }
    }
}

/// A "no" of the Management API. Rules are checked before the first write; at most a version has moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such thing (404).
    Inexistent(Entity),
    /// There is one already (409).
    Exists {
        /// What the caller is told.
        message: String,
        /// The `errorCode`, where Auth0 has one.
        code: Option<&'static str>,
    },
    /// What it rests on must be changed first (412).
    Unmet {
        /// What the caller is told.
        message: String,
    },
    /// The request makes no sense (400).
    Invalid {
        /// What the caller is told.
        message: String,
        /// The `errorCode`.
        code: &'static str,
    },
    /// Not with this token, or never (403).
    Forbidden {
        /// What the caller is told.
        message: String,
        /// The `errorCode`.
        code: &'static str,
    },
}

impl Refused {
    /// 400 `invalid_body`, naming the property.
    pub fn property(what: &str, property: &str) -> Self {
        Self::Invalid {
            message: format!("Payload validation error: '{what}' on property {property}."),
            code: "invalid_body",
        }
    }

    /// 400 `operation_not_supported`.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), code: "operation_not_supported" }
    }

    /// 409.
    pub fn exists(message: impl Into<String>) -> Self {
        Self::Exists { message: message.into(), code: None }
    }
}

/// What a rule of this module answers: a value, a "no", or that it could not decide.
pub type Outcome<T> = Result<Result<T, Refused>, Failure>;

/// Leaves the flow with a refusal.
macro_rules! granted {
    ($decision:expr) => {
        match $decision {
            Ok(value) => value,
            Err(refused) => return Ok(Err(refused)),
        }
    };
}
pub(crate) use granted;

/// Reads a stored document.
fn stored(table: &'static str, id: &str, doc: &str) -> Result<Document, Failure> {
    curfew_model::config::read_doc(table, id, doc)
}

/// Whether `doc` reads as the typed view `T` that the rest of the server sees of it.
fn readable<T: DeserializeOwned>(doc: &Document) -> Result<(), Refused> {
    match T::deserialize(&Value::Object(doc.clone())) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refused::Invalid {
            message: format!("Payload validation error: '{error}'."),
            code: "invalid_body",
        }),
    }
}

/// `doc` as it is stored.
fn text(doc: &Document) -> Result<String, Failure> {
    serde_json::to_string(doc)
        .map_err(|error| Failure::Internal(format!("a document is not JSON: {error}").into()))
}

/// Puts what was sent over what is there: a `null` removes a field.
fn merge(doc: &mut Document, sent: Document) {
    for (name, value) in sent {
        if value.is_null() {
            doc.remove(&name);
        } else {
            doc.insert(name, value);
        }
    }
}

/// As [`merge`], one level down: what was sent for `name` goes over what is there, field by field.
fn merge_into(doc: &mut Document, sent: &mut Document, name: &str) {
    if !matches!(sent.get(name), Some(Value::Object(_))) {
        return;
    }
    let Some(Value::Object(new)) = sent.remove(name) else {
        return;
    };
    let mut merged = match doc.remove(name) {
        Some(Value::Object(old)) => old,
        _ => Document::new(),
    };
    merge(&mut merged, new);
    doc.insert(name.to_owned(), Value::Object(merged));
}

/// Adds what was not sent.
fn default_to(doc: &mut Document, defaults: Value) {
    if let Value::Object(defaults) = defaults {
        for (name, value) in defaults {
            doc.entry(name).or_insert(value);
        }
    }
}

/// An object written as JSON.
fn object(value: Value) -> Document {
    match value {
        Value::Object(doc) => doc,
        _ => Document::new(),
    }
}

/// Removes `null`s at the first level: they stand for "not set".
fn drop_nulls(doc: &mut Document) {
    doc.retain(|_, value| !value.is_null());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_replaces_adds_and_removes() {
        let mut doc = object(json!({"a": 1, "b": {"x": 1, "y": 2}, "c": 3}));
        let mut sent = object(json!({"a": 2, "b": {"x": null, "z": 3}, "c": null}));
        merge_into(&mut doc, &mut sent, "b");
        merge(&mut doc, sent);
        assert_eq!(Value::Object(doc), json!({"a": 2, "b": {"y": 2, "z": 3}}));
    }
}
