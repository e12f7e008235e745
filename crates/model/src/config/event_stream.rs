//! Event streams: webhooks that hear of what changes and of what ends.

use serde::Deserialize;

/// Every type of event that a stream can be subscribed to: Auth0's, in its order, and our own at the end.
pub const EVENT_TYPES: &[&str] = &[
    "connection.created",
    "connection.deleted",
    "connection.updated",
    "group.created",
    "group.deleted",
    "group.member.added",
    "group.member.deleted",
    "group.role.assigned",
    "group.role.deleted",
    "group.updated",
    "organization.connection.added",
    "organization.connection.removed",
    "organization.connection.updated",
    "organization.created",
    "organization.deleted",
    "organization.group.role.assigned",
    "organization.group.role.deleted",
    "organization.member.added",
    "organization.member.deleted",
    "organization.member.role.assigned",
    "organization.member.role.deleted",
    "organization.updated",
    USER_CREATED,
    USER_DELETED,
    USER_UPDATED,
    ENDING_CREATED,
];

/// A user was made.
pub const USER_CREATED: &str = "user.created";
/// A user was changed.
pub const USER_UPDATED: &str = "user.updated";
/// A user was deleted.
pub const USER_DELETED: &str = "user.deleted";
/// Access ended. Not Auth0's, which tells no stream of sessions and tokens.
pub const ENDING_CREATED: &str = "ending.created";

/// The fields of an event stream's document that this server acts on.
#[derive(Debug, Clone, Deserialize)]
pub struct EventStreamDoc {
    /// What it is called.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it is told of anything.
    pub status: EventStreamStatus,
    /// Of which types of events.
    pub subscriptions: Vec<EventSubscription>,
    /// Where to.
    pub destination: EventDestination,
}

impl EventStreamDoc {
    /// Whether it is told of events of a type.
    pub fn hears_of(&self, event_type: &str) -> bool {
        self.status == EventStreamStatus::Enabled
            && self.subscriptions.iter().any(|subscription| subscription.event_type == event_type)
    }
}

/// Whether a stream is told of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStreamStatus {
    /// It is.
    Enabled,
    /// It is not: nothing is queued for it.
    Disabled,
}

/// One type of event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventSubscription {
    /// One of [`EVENT_TYPES`].
    pub event_type: String,
}

/// Where events go.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", content = "configuration", rename_all = "snake_case")]
pub enum EventDestination {
    /// They are posted to an address.
    Webhook(Webhook),
}

/// An address that events are posted to.
#[derive(Debug, Clone, Deserialize)]
pub struct Webhook {
    /// The address.
    pub webhook_endpoint: String,
    /// How a request authenticates itself there.
    pub webhook_authorization: WebhookAuthorization,
}

/// How a request to a webhook authenticates itself. What is secret of it is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum WebhookAuthorization {
    /// RFC 7617.
    Basic {
        /// The user name; the password is secret.
        username: String,
    },
    /// RFC 6750 §2.1; the token is secret.
    Bearer,
    /// A header of the receiver's own.
    CustomHeader {
        /// Its name; its value is secret.
        header_key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(status: &str, authorization: &str) -> Result<EventStreamDoc, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"name": "crm", "status": "{status}", "subscriptions": [{{"event_type": "user.created"}}],
                "destination": {{"type": "webhook", "configuration": {{
                    "webhook_endpoint": "https://app.example/events", "webhook_authorization": {authorization}}}}}}}"#
        ))
    }

    #[test]
    fn a_stream_hears_of_what_it_is_subscribed_to_while_it_is_enabled() {
        let enabled = doc("enabled", r#"{"method": "bearer"}"#).expect("a document");
        assert!(enabled.hears_of(USER_CREATED));
        assert!(!enabled.hears_of(USER_UPDATED));
        let disabled = doc("disabled", r#"{"method": "bearer"}"#).expect("a document");
        assert!(!disabled.hears_of(USER_CREATED));
    }

    #[test]
    fn each_method_of_authorization_reads() {
        for (text, expected) in [
            (r#"{"method": "bearer"}"#, WebhookAuthorization::Bearer),
            (
                r#"{"method": "basic", "username": "ada"}"#,
                WebhookAuthorization::Basic { username: "ada".to_owned() },
            ),
            (
                r#"{"method": "custom_header", "header_key": "x-key"}"#,
                WebhookAuthorization::CustomHeader { header_key: "x-key".to_owned() },
            ),
        ] {
            let EventDestination::Webhook(webhook) = doc("enabled", text).expect("a document").destination;
            assert_eq!(webhook.webhook_authorization, expected);
        }
        assert!(doc("enabled", r#"{"method": "basic"}"#).is_err());
        assert!(doc("enabled", r#"{"method": "digest"}"#).is_err());
    }
}
