//! Users: making, changing, linking and deleting them, and the endings that come with it.

mod administrator;
mod create;
mod delete;
mod link;
mod login;
mod register;
mod update;
mod view;

pub use administrator::{has_administrator, make_administrator};
pub use create::{Creation, NewUser, create, signup_document};
pub use delete::delete;
pub use link::{link, unlink};
pub use login::{Checked, check_password};
pub use register::{Registered, Registration, register};
pub(crate) use update::merge_metadata;
pub use update::{Change, Changed, update};
pub(crate) use view::{identity_view, view};

use curfew_model::Timestamp;
use curfew_model::config::Connection;
use serde_json::{Map, Value};

/// A sign of the person (`last_activity`) is written when the stored one is older than this.
pub(crate) const ACTIVITY_SECONDS: i64 = 900;

/// A last sign of the person from this instant or before is written anew.
pub(crate) fn stale(now: Timestamp) -> Timestamp {
    now.plus_seconds(-ACTIVITY_SECONDS)
}

/// Longest e-mail address (RFC 5321 §4.5.3.1).
pub const EMAIL_BYTES_MAX: usize = 254;

/// An e-mail as it is stored: trimmed, lower case. `None` when it cannot be one.
pub fn normalize_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    let fits = email.len() <= EMAIL_BYTES_MAX && local.len() <= 64;
    (fits && plain(local) && plain(domain) && !local.contains('@') && domain.contains('.')
        || is_local(domain, &email))
    .then_some(email)
}

/// `user@localhost` is an address too, on one's own machine.
fn is_local(domain: &str, email: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    domain == "localhost" && email.len() <= EMAIL_BYTES_MAX && email.chars().all(plain)
}

/// A user name as it is stored: lower case. `None` when the characters are not allowed.
pub fn normalize_username(text: &str) -> Option<String> {
    let name = text.trim().to_lowercase();
    let allowed = |c: char| c.is_alphanumeric() || "_.-+!#$'^`~@".contains(c);
    ((1..=128).contains(&name.len()) && name.chars().all(allowed)).then_some(name)
}

/// The identifiers a document claims in a connection.
pub(crate) fn identifiers_of(
    doc: &Map<String, Value>,
    connection: &Connection,
) -> Vec<(&'static str, String)> {
    let text = |name: &str| doc.get(name).and_then(Value::as_str);
    let mut identifiers = Vec::new();
    if let Some(email) = text("email").and_then(normalize_email) {
        identifiers.push(("email", email));
    }
    let named = connection.doc.options.requires_username || doc.contains_key("username");
    if let Some(username) = text("username").and_then(normalize_username).filter(|_| named) {
        identifiers.push(("username", username));
    }
    if let Some(phone) = text("phone_number") {
        identifiers.push(("phone_number", phone.to_owned()));
    }
    identifiers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emails_are_lower_case_and_have_two_parts() {
        assert_eq!(normalize_email(" Ada@Example.COM "), Some("ada@example.com".to_owned()));
        for wrong in ["ada", "@example.com", "ada@", "a b@example.com", "ada@example", "a\0@localhost"] {
            assert_eq!(normalize_email(wrong), None, "{wrong}");
        }
    }
}
