//! Policies of endings: which artefacts fall for a cause, where an operator has chosen otherwise than the cause has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ending::EndingCause;
use crate::ids::ClientId;

/// What a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Artefact {
    /// Refresh tokens that hang on what ended.
    RefreshTokens,
    /// Access tokens that a surviving refresh token stands behind.
    AccessTokens,
    /// The session in which what ended had begun.
    Sessions,
}

impl Artefact {
    /// The name in documents and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshTokens => "refresh_tokens",
            Self::AccessTokens => "access_tokens",
            Self::Sessions => "sessions",
        }
    }

    /// Of which artefacts an operator may choose whether they fall for a cause.
    ///
    /// What the promise of a cause rests on is not in question: a blocked user's tokens, a logout's access tokens. Only
    /// what one system lets live and another does not is: refresh tokens beyond the session they began in, access tokens
    /// beyond a session whose time is over, a session one of whose refresh tokens was stolen.
    pub const fn chosen_for(cause: EndingCause) -> &'static [Self] {
        use EndingCause as C;
        match cause {
            C::RpLogout
            | C::SessionDeleted
            | C::SessionRevoked
            | C::Superseded
            | C::UserSessionsDeleted
            | C::PasswordChanged
            | C::IdentifierChanged
            | C::IdentityUnlinked => &[Self::RefreshTokens],
            C::IdleTimeout | C::LifetimeReached => &[Self::RefreshTokens, Self::AccessTokens],
            C::RefreshTokenReuse => &[Self::Sessions],
            C::UserBlocked
            | C::UserDeleted
            | C::AccessRevoked
            | C::UserFamiliesRevoked
            | C::ClientFamiliesRevoked
            | C::FamilyRevoked
            | C::TokenRevoked
            | C::CodeReplay
            | C::RotationToggled
            | C::FamilyLimit
            | C::FamilyExpired
            | C::GrantDeleted
            | C::ClientGrantDeleted
            | C::ClientDeleted
            | C::ClientAccessRevoked
            | C::ClientSecretRotated
            | C::ResourceServerDeleted
            | C::ConnectionDeleted
            | C::ConnectionDisabled
            | C::SigningKeyRevoked
            | C::SealingKeyRevoked => &[],
        }
    }
}

/// What an operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// It stays.
    Keep,
    /// Tokens fall.
    Revoke,
    /// Sessions fall.
    End,
}

impl Choice {
    /// The name in documents and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Revoke => "revoke",
            Self::End => "end",
        }
    }

    /// What may be chosen of an artefact: it stays, or falls.
    pub const fn of(artefact: Artefact) -> [Self; 2] {
        match artefact {
            Artefact::RefreshTokens | Artefact::AccessTokens => [Self::Keep, Self::Revoke],
            Artefact::Sessions => [Self::Keep, Self::End],
        }
    }
}

/// `ending_policies` of a tenant or a client: by cause and artefact, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EndingPolicies(BTreeMap<String, BTreeMap<String, Choice>>);

impl EndingPolicies {
    /// What was chosen; `None`: nothing.
    pub fn choice(&self, cause: EndingCause, artefact: Artefact) -> Option<Choice> {
        self.0.get(cause.as_str())?.get(artefact.as_str()).copied()
    }

    /// Every choice, by the names of cause and artefact.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Choice)> {
        self.0.iter().flat_map(|(cause, artefacts)| {
            artefacts.iter().map(|(artefact, choice)| (cause.as_str(), artefact.as_str(), *choice))
        })
    }
}

/// What an ending has left alive by policy: the clients whose tokens stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spares {
    /// Whose refresh tokens.
    pub refresh_tokens: Vec<ClientId>,
    /// Whose access tokens, where a living refresh token stands behind them; of a session whose time is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_tokens: Vec<ClientId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_found_by_the_names_it_was_read_with() {
        let doc = r#"{"idle_timeout": {"refresh_tokens": "keep", "access_tokens": "revoke"},
            "refresh_token_reuse": {"sessions": "end"}}"#;
        let policies: EndingPolicies = serde_json::from_str(doc).unwrap();
        assert_eq!(policies.iter().count(), 3);
        for (cause, artefact, choice) in policies.iter() {
            let cause = EndingCause::parse(cause).unwrap();
            let chosen =
                Artefact::chosen_for(cause).iter().find(|chosen| chosen.as_str() == artefact).unwrap();
            assert_eq!(policies.choice(cause, *chosen), Some(choice));
            assert!(Choice::of(*chosen).contains(&choice));
        }
        assert_eq!(policies.choice(EndingCause::RpLogout, Artefact::RefreshTokens), None);
        assert!(
            serde_json::from_str::<EndingPolicies>(r#"{"rp_logout": {"refresh_tokens": "maybe"}}"#).is_err()
        );
    }
}
