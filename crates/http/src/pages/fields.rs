//! What forms for new credentials share: the rules of the password, and what can be wrong with a field.

use super::lang::Texts;

/// What the connection's password policy asks for, as far as it can be told beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRules {
    /// Any password of at least this many characters (`none`, `low`).
    Length(usize),
    /// Also a lower-case letter, an upper-case letter and a number (`fair`).
    ThreeClasses(usize),
    /// Also three of lower case, upper case, numbers, symbols (`good`).
    ThreeOfFour(usize),
    /// Also no more than two identical characters in a row (`excellent`).
    ThreeOfFourNoRepeats(usize),
}

impl Default for PasswordRules {
    /// Auth0's default for new connections, `good` with eight characters.
    fn default() -> Self {
        Self::ThreeOfFour(8)
    }
}

impl PasswordRules {
    pub(super) fn texts(self, t: &Texts) -> Vec<String> {
        let (length, rest): (usize, &[&str]) = match self {
            Self::Length(length) => (length, &[]),
            Self::ThreeClasses(length) => (length, &[t.rule_three_classes]),
            Self::ThreeOfFour(length) => (length, &[t.rule_three_of_four]),
            Self::ThreeOfFourNoRepeats(length) => (length, &[t.rule_three_of_four, t.rule_no_repeats]),
        };
        let length = (length > 1).then(|| t.rule_length.with(length));
        length.into_iter().chain(rest.iter().map(|&rule| rule.to_owned())).collect()
    }
}

/// What was wrong with a form for new credentials. Each belongs to one field, or to the form as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormFault {
    /// The email address is missing or is none.
    EmailInvalid,
    /// The username is missing, or has characters or a length that the connection does not allow.
    UsernameInvalid,
    /// The password does not follow the rules (Auth0: `invalid_password`).
    PasswordTooWeak,
    /// The password is in the dictionary (Auth0: `password_dictionary_error`).
    PasswordTooCommon,
    /// The password contains personal data (Auth0: `password_no_user_info_error`).
    PasswordHoldsUserInfo,
    /// The password is in the user's history.
    PasswordUsedBefore,
    /// No user was made, and the page does not say why: the address may be taken (Auth0: `invalid_signup`).
    NotPossible,
    /// The server has no capacity to hash a password now.
    Busy,
    /// The form's state has expired; what was typed has to be sent again.
    Expired,
    /// Too many attempts from this address.
    TooManyAttempts,
}

/// The texts of the faults by field, the first of each. What the form as a whole has is told apart from a field's.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) form: Option<&'static str>,
    pub(super) email: Option<&'static str>,
    pub(super) username: Option<&'static str>,
    pub(super) password: Option<&'static str>,
}

impl Faults {
    pub(super) fn new(faults: &[FormFault], t: &'static Texts) -> Self {
        let mut texts = Self::default();
        for fault in faults {
            let (slot, text) = match fault {
                FormFault::EmailInvalid => (&mut texts.email, t.email_invalid),
                FormFault::UsernameInvalid => (&mut texts.username, t.username_invalid),
                FormFault::PasswordTooWeak => (&mut texts.password, t.password_too_weak),
                FormFault::PasswordTooCommon => (&mut texts.password, t.password_too_common),
                FormFault::PasswordHoldsUserInfo => (&mut texts.password, t.password_holds_user_info),
                FormFault::PasswordUsedBefore => (&mut texts.password, t.password_used_before),
                FormFault::NotPossible => (&mut texts.form, t.signup_not_possible),
                FormFault::Busy => (&mut texts.form, t.busy),
                FormFault::Expired => (&mut texts.form, t.form_expired),
                FormFault::TooManyAttempts => (&mut texts.form, t.too_many_attempts),
            };
            slot.get_or_insert(text);
        }
        texts
    }

    /// The field to start in: the first that is wrong, else the first that is empty. The password always is.
    pub(super) fn focus(&self, email: &str, username: Option<&str>) -> &'static str {
        let wrong = [
            (self.email.is_some(), "email"),
            (self.username.is_some(), "username"),
            (self.password.is_some(), "password"),
            (email.is_empty(), "email"),
            (username.is_some_and(str::is_empty), "username"),
        ];
        wrong.into_iter().find(|(start, _)| *start).map_or("password", |(_, field)| field)
    }

    /// The ids of what describes the password field (`aria-describedby`): its fault, then the rules.
    pub(super) fn described(&self, rules: &[String]) -> Option<&'static str> {
        match (self.password.is_some(), rules.is_empty()) {
            (true, true) => Some("password-error"),
            (true, false) => Some("password-error password-rules"),
            (false, false) => Some("password-rules"),
            (false, true) => None,
        }
    }
}
