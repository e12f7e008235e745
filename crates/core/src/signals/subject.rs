//! Subjects (RFC 9493, SSF §3): whom an event is about, and whom a receiver names.

use curfew_model::{Sid, UserId};
use curfew_store::signals::SubjectHash;
use curfew_tokens::digest::sha256;
use serde_json::{Map, Value, json};

use super::Refused;
use crate::TenantConfig;
use crate::users::normalize_email;

/// Characters of an identifier.
const IDENTIFIER_MAX: usize = 500;

/// A user, as a receiver names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// `iss_sub`, where `iss` is one of the tenant's issuers.
    IssSub(UserId),
    /// `email`, as it is stored.
    Email(String),
}

impl Subject {
    /// Reads a simple subject, or a complex one that has a `user` and nothing else: events here are about users and their
    /// sessions, and a user's sessions are not told apart.
    pub(super) fn read(value: &Value, config: &TenantConfig) -> Result<Self, Refused> {
        let invalid = |text: &str| Err(Refused::Invalid(text.to_owned()));
        let Some(members) = value.as_object() else { return invalid("subject is no object") };
        let text = |name: &str| {
            members
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty() && text.len() <= IDENTIFIER_MAX && !text.contains('\0'))
        };
        match members.get("format").and_then(Value::as_str) {
            Some("complex") => {
                let only_user = members.keys().all(|name| name == "format" || name == "user");
                match members.get("user").filter(|_| only_user) {
                    Some(user) if user.get("format").and_then(Value::as_str) != Some("complex") => {
                        Self::read(user, config)
                    }
                    _ => invalid("a complex subject has a user, and nothing else"),
                }
            }
            Some("iss_sub") => match (text("iss"), text("sub")) {
                (Some(iss), Some(sub)) if config.is_own_issuer(iss) => Ok(Self::IssSub(sub.into())),
                (Some(_), Some(_)) => Err(Refused::Absent("The subject is another issuer's")),
                _ => invalid("an iss_sub subject has iss and sub"),
            },
            Some("email") => match text("email").and_then(normalize_email) {
                Some(email) => Ok(Self::Email(email)),
                None => invalid("an email subject has email"),
            },
            _ => invalid("subjects are of the formats iss_sub and email, or complex with a user of these"),
        }
    }

    /// Under which a stream's subject is found.
    pub(super) fn hash(&self) -> SubjectHash {
        let named = match self {
            Self::IssSub(sub) => json!(["iss_sub", sub]),
            Self::Email(email) => json!(["email", email]),
        };
        sha256(named.to_string().as_bytes())
    }
}

/// A user.
pub(super) fn of_user(iss: &str, sub: &UserId) -> Map<String, Value> {
    object([("format", json!("iss_sub")), ("iss", json!(iss)), ("sub", json!(sub))])
}

/// One session of a user.
pub(super) fn of_session(iss: &str, sub: Option<&UserId>, sid: &Sid) -> Map<String, Value> {
    let session = json!({ "format": "opaque", "id": sid.to_string() });
    let mut subject = object([("format", json!("complex")), ("session", session)]);
    if let Some(sub) = sub {
        subject.insert("user".to_owned(), Value::Object(of_user(iss, sub)));
    }
    subject
}

/// An e-mail address.
pub(super) fn of_email(email: &str) -> Map<String, Value> {
    object([("format", json!("email")), ("email", json!(email))])
}

/// A stream itself (SSF §8.1.4.1).
pub(super) fn of_stream(id: &str) -> Map<String, Value> {
    object([("format", json!("opaque")), ("id", json!(id))])
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
