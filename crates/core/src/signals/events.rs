//! What streams are told: the events of the profiles, and which of them an ending is.

use curfew_model::EndingCause;
use serde_json::{Map, Value, json};

macro_rules! event_types {
    ($($(#[$doc:meta])* $name:ident = $uri:literal,)*) => {
        /// An event that a receiver can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventType { $($(#[$doc])* $name,)* }

        impl EventType {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its URI.
            pub const fn uri(self) -> &'static str {
                match self { $(Self::$name => $uri,)* }
            }
        }
    };
}

event_types! {
    /// CAEP §3.1: a session, or every session of a user, has ended.
    SessionRevoked = "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    /// CAEP §3.2: claims that tokens carry have changed.
    TokenClaimsChange = "https://schemas.openid.net/secevent/caep/event-type/token-claims-change",
    /// CAEP §3.3: a password was set or changed.
    CredentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change",
    /// RISC §2.2: the user was deleted.
    AccountPurged = "https://schemas.openid.net/secevent/risc/event-type/account-purged",
    /// RISC §2.3: the user was blocked.
    AccountDisabled = "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    /// RISC §2.4: the user was unblocked.
    AccountEnabled = "https://schemas.openid.net/secevent/risc/event-type/account-enabled",
    /// RISC §2.5: the e-mail changed.
    IdentifierChanged = "https://schemas.openid.net/secevent/risc/event-type/identifier-changed",
    /// RISC §2.11, deprecated: every session of a user has ended.
    SessionsRevoked = "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
}

impl EventType {
    /// Reads a URI.
    pub fn parse(uri: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.uri() == uri)
    }
}

/// SSF §8.1.4.1: a receiver asked whether the stream works.
pub(super) const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
/// SSF §8.1.5: the transmitter changed a stream's status.
pub(super) const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// Who or what an event came from (CAEP §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entity {
    Admin,
    User,
    Policy,
    System,
}

impl Entity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Policy => "policy",
            Self::System => "system",
        }
    }
}

/// What an ending is beside the end of sessions.
pub(super) const fn also(cause: EndingCause) -> Option<EventType> {
    use EndingCause as C;
    match cause {
        C::UserBlocked => Some(EventType::AccountDisabled),
        C::UserDeleted => Some(EventType::AccountPurged),
        C::PasswordChanged => Some(EventType::CredentialChange),
        C::AccessRevoked
        | C::IdentifierChanged
        | C::RpLogout
        | C::SessionDeleted
        | C::SessionRevoked
        | C::UserSessionsDeleted
        | C::UserFamiliesRevoked
        | C::ClientFamiliesRevoked
        | C::FamilyRevoked
        | C::TokenRevoked
        | C::RefreshTokenReuse
        | C::CodeReplay
        | C::RotationToggled
        | C::FamilyLimit
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
        | C::Superseded => None,
    }
}

/// Who or what ended it: the cause says so, or else whoever did it (`type` of the ending's `actor`).
pub(super) fn initiating_entity(cause: EndingCause, actor: Option<&str>) -> Entity {
    use EndingCause as C;
    match cause {
        C::RpLogout => Entity::User,
        C::IdleTimeout
        | C::LifetimeReached
        | C::FamilyExpired
        | C::FamilyLimit
        | C::RotationToggled
        | C::Superseded => Entity::Policy,
        C::RefreshTokenReuse | C::CodeReplay => Entity::System,
        C::UserBlocked
        | C::UserDeleted
        | C::AccessRevoked
        | C::PasswordChanged
        | C::IdentifierChanged
        | C::SessionDeleted
        | C::SessionRevoked
        | C::UserSessionsDeleted
        | C::UserFamiliesRevoked
        | C::ClientFamiliesRevoked
        | C::FamilyRevoked
        | C::TokenRevoked
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
        | C::SealingKeyRevoked => match actor {
            Some("management_api") => Entity::Admin,
            Some("user") => Entity::User,
            Some("policy") => Entity::Policy,
            _ => Entity::System,
        },
    }
}

/// Why, for the administrators of the other side. What an operator wrote down as a reason stays here.
const fn reason(cause: EndingCause) -> &'static str {
    use EndingCause as C;
    match cause {
        C::UserBlocked => "The user was blocked",
        C::UserDeleted => "The user was deleted",
        C::AccessRevoked => "All access of the user was revoked",
        C::PasswordChanged => "The password was changed",
        C::IdentifierChanged => "The e-mail or user name was changed",
        C::RpLogout => "The user logged out",
        C::SessionDeleted | C::SessionRevoked => "The session was ended",
        C::UserSessionsDeleted => "All sessions of the user were ended",
        C::UserFamiliesRevoked | C::ClientFamiliesRevoked | C::FamilyRevoked | C::TokenRevoked => {
            "Refresh tokens were revoked"
        }
        C::RefreshTokenReuse => "A refresh token was used twice",
        C::CodeReplay => "An authorization code was used twice",
        C::RotationToggled => "The client's rotation of refresh tokens was changed",
        C::FamilyLimit => "There were too many refresh tokens",
        C::IdleTimeout => "The session was idle for too long",
        C::LifetimeReached => "The session's life-time is over",
        C::FamilyExpired => "The refresh token expired",
        C::GrantDeleted => "The user's grant was deleted",
        C::ClientGrantDeleted => "The client's grant was deleted",
        C::ClientDeleted => "The client was deleted",
        C::ClientAccessRevoked => "All access of the client was revoked",
        C::ClientSecretRotated => "The client's secret was rotated",
        C::ResourceServerDeleted => "The API was deleted",
        C::ConnectionDeleted => "The connection was deleted",
        C::ConnectionDisabled => "The connection was disabled for the client",
        C::IdentityUnlinked => "The identity was unlinked",
        C::SigningKeyRevoked => "A signing key was revoked",
        C::SealingKeyRevoked => "A sealing key was revoked",
        C::Superseded => "Another login took its place",
    }
}

/// The event of an ending. RISC knows no attributes of these events; when it was they may say too (SSF §4.2.3).
pub(super) fn of_ending(
    event: EventType,
    cause: EndingCause,
    entity: Entity,
    at_seconds: i64,
) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("event_timestamp".to_owned(), json!(at_seconds));
    match event {
        EventType::SessionRevoked | EventType::CredentialChange | EventType::TokenClaimsChange => {
            members.insert("initiating_entity".to_owned(), json!(entity.as_str()));
            members.insert("reason_admin".to_owned(), json!({ "en": reason(cause) }));
        }
        EventType::AccountPurged
        | EventType::AccountDisabled
        | EventType::AccountEnabled
        | EventType::IdentifierChanged
        | EventType::SessionsRevoked => {}
    }
    if event == EventType::CredentialChange {
        members.insert("credential_type".to_owned(), json!("password"));
        members.insert("change_type".to_owned(), json!("update"));
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_back_and_are_of_the_two_profiles() {
        for event in EventType::ALL {
            assert_eq!(EventType::parse(event.uri()), Some(*event));
            let profile = event.uri().strip_prefix("https://schemas.openid.net/secevent/").expect("the base");
            assert!(
                profile.starts_with("caep/event-type/") || profile.starts_with("risc/event-type/"),
                "{profile}"
            );
        }
        assert_eq!(EventType::parse(VERIFICATION), None);
    }

    /// CAEP Interoperability Profile §3: `reason_admin` is never empty.
    #[test]
    fn every_cause_has_a_reason_and_an_initiator() {
        for cause in EndingCause::ALL {
            let event = of_ending(EventType::SessionRevoked, *cause, Entity::Admin, 1);
            assert!(event["reason_admin"]["en"].as_str().is_some_and(|text| !text.is_empty()));
        }
        for (cause, actor, entity) in [
            (EndingCause::UserBlocked, Some("management_api"), Entity::Admin),
            (EndingCause::RpLogout, None, Entity::User),
            (EndingCause::IdleTimeout, Some("policy"), Entity::Policy),
            (EndingCause::Superseded, Some("user"), Entity::Policy),
            (EndingCause::PasswordChanged, Some("user"), Entity::User),
            (EndingCause::SessionRevoked, Some("client"), Entity::System),
        ] {
            assert_eq!(initiating_entity(cause, actor), entity, "{}", cause.as_str());
        }
    }

    #[test]
    fn a_password_is_a_credential_and_a_block_has_no_attributes_but_when() {
        let event = of_ending(EventType::CredentialChange, EndingCause::PasswordChanged, Entity::User, 7);
        assert_eq!(
            Value::Object(event),
            json!({
                "event_timestamp": 7, "initiating_entity": "user", "credential_type": "password",
                "change_type": "update", "reason_admin": {"en": "The password was changed"},
            })
        );
        let event = of_ending(EventType::AccountDisabled, EndingCause::UserBlocked, Entity::Admin, 7);
        assert_eq!(Value::Object(event), json!({"event_timestamp": 7}));
    }
}
