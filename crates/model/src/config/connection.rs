//! Connections: where users come from. This server has the database strategy (`auth0`).

use serde::Deserialize;

use super::null_as_default;
use crate::ids::ClientId;

/// Auth0's password policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordPolicy {
    /// At least one character.
    None,
    /// At least six characters.
    Low,
    /// At least eight, with lower case, upper case and digits.
    Fair,
    /// At least eight, with three of lower case, upper case, digits and others.
    #[default]
    Good,
    /// As good, at least ten, and no more than two identical characters in a row.
    Excellent,
}

/// `options` as far as this server acts on them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ConnectionOptions {
    /// See [`PasswordPolicy`].
    #[serde(default, rename = "passwordPolicy", deserialize_with = "null_as_default")]
    pub password_policy: PasswordPolicy,
    /// `{min_length}`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub password_complexity_options: PasswordComplexity,
    /// Users have a user name beside the e-mail.
    #[serde(default)]
    pub requires_username: bool,
    /// No sign-up by users themselves.
    #[serde(default)]
    pub disable_signup: bool,
}

/// `password_complexity_options`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PasswordComplexity {
    /// Shortest password, instead of the policy's own.
    #[serde(default)]
    pub min_length: Option<u32>,
}

/// The fields of a connection's document that this server acts on.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ConnectionDoc {
    /// Shown on the pages.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What operators note, for Actions.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Names by which the password-realm grant finds it, beside its own.
    #[serde(default, deserialize_with = "null_as_default")]
    pub realms: Vec<String>,
    /// Strategy options.
    #[serde(default, deserialize_with = "null_as_default")]
    pub options: ConnectionOptions,
    /// Enabled for every client, also of third parties.
    #[serde(default)]
    pub is_domain_connection: bool,
}

/// A client a connection is or was enabled for.
#[derive(Debug, Clone)]
pub struct ConnectionClient {
    /// Which client.
    pub client_id: ClientId,
    /// Whether it is enabled now.
    pub enabled: bool,
    /// Moves at each disabling; families of an older epoch are over.
    pub epoch: i64,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// `con_` and 16 characters.
    pub id: String,
    /// Unique in the tenant.
    pub name: String,
    /// `auth0` for the database strategy.
    pub strategy: String,
    /// The document's fields.
    pub doc: ConnectionDoc,
    /// Its clients.
    pub clients: Vec<ConnectionClient>,
}

impl Connection {
    /// The epoch of the connection for a client; `None` when it is not enabled for it.
    pub fn epoch_for(&self, client: &ClientId) -> Option<i64> {
        let row = self.clients.iter().find(|row| row.client_id == *client);
        match row {
            Some(row) => row.enabled.then_some(row.epoch),
            None => self.doc.is_domain_connection.then_some(0),
        }
    }
}
