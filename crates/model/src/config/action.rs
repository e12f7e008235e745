//! Actions: tenants' own code, which runs at fixed places in the flows.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Actions of one tenant.
pub const ACTIONS_MAX: usize = 100;
/// Actions bound to one trigger.
pub const BINDINGS_MAX: usize = 20;
/// Versions of one Action, or of one module, that are kept.
pub const VERSIONS_MAX: usize = 50;
/// Modules of one tenant.
pub const MODULES_MAX: usize = 100;
/// Secrets of one Action.
pub const SECRETS_MAX: usize = 30;
/// Bytes of code of one Action, or of one module.
pub const CODE_BYTES_MAX: usize = 100_000;
/// Dependencies of one Action, those of its modules included.
pub const DEPENDENCIES_MAX: usize = 10;
/// Modules of one Action.
pub const MODULES_PER_ACTION_MAX: usize = 3;

/// Where in the flows an Action runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionTrigger {
    /// After a login, before anything is issued.
    PostLogin,
    /// Before a client gets a token for itself.
    CredentialsExchange,
    /// Before somebody who signs up becomes a user.
    PreUserRegistration,
    /// After that.
    PostUserRegistration,
    /// After a password was changed.
    PostChangePassword,
}

impl ActionTrigger {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::PostLogin,
        Self::CredentialsExchange,
        Self::PreUserRegistration,
        Self::PostUserRegistration,
        Self::PostChangePassword,
    ];

    /// Its id on the wire and at rest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PostLogin => "post-login",
            Self::CredentialsExchange => "credentials-exchange",
            Self::PreUserRegistration => "pre-user-registration",
            Self::PostUserRegistration => "post-user-registration",
            Self::PostChangePassword => "post-change-password",
        }
    }

    /// Reads an id.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|trigger| trigger.as_str() == text)
    }

    /// The version of its objects.
    pub const fn version(self) -> &'static str {
        match self {
            Self::PostLogin => "v3",
            _ => "v2",
        }
    }

    /// The export that runs.
    pub const fn function(self) -> &'static str {
        match self {
            Self::PostLogin => "onExecutePostLogin",
            Self::CredentialsExchange => "onExecuteCredentialsExchange",
            Self::PreUserRegistration => "onExecutePreUserRegistration",
            Self::PostUserRegistration => "onExecutePostUserRegistration",
            Self::PostChangePassword => "onExecutePostChangePassword",
        }
    }
}

impl fmt::Display for ActionTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A trigger that an Action is written for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportedTrigger {
    /// Which.
    pub id: ActionTrigger,
    /// The version of its objects.
    pub version: String,
}

/// A package that code requires.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// A version, a range of versions, or `latest`.
    pub version: String,
}

/// A version of a module that an Action requires as `actions:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRef {
    /// Which module.
    pub module_id: String,
    /// Its name.
    pub module_name: String,
    /// Which version.
    pub module_version_id: String,
    /// Its number.
    pub module_version_number: i64,
}

/// What an Action is made of: a draft's, or a version's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionDoc {
    /// What it is written for.
    pub supported_triggers: Vec<SupportedTrigger>,
    /// The code, CommonJS.
    pub code: Arc<str>,
    /// The packages it requires.
    pub dependencies: Vec<Dependency>,
    /// `node22`.
    pub runtime: String,
    /// The modules it requires.
    pub modules: Vec<ModuleRef>,
}

impl ActionDoc {
    /// Whether it is written for a trigger.
    pub fn supports(&self, trigger: ActionTrigger) -> bool {
        self.supported_triggers.iter().any(|supported| supported.id == trigger)
    }
}

/// What a module is made of: a draft's, or a version's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleDoc {
    /// The code, CommonJS.
    pub code: Arc<str>,
    /// The packages it requires.
    pub dependencies: Vec<Dependency>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_read_as_they_are_written() {
        for trigger in ActionTrigger::ALL {
            assert_eq!(ActionTrigger::parse(trigger.as_str()), Some(*trigger));
            assert_eq!(serde_json::to_value(trigger).expect("JSON"), trigger.as_str());
        }
        assert_eq!(ActionTrigger::parse("send-phone-message"), None);
    }
}
