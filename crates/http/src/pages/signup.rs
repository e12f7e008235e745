//! The sign-up page.

use askama::Template;

use super::fields::{Faults, FormFault, PasswordRules};
use super::headers::{Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// The sign-up page. It posts `state`, `csrf`, `email`, `password` and, where asked for, `username`.
#[derive(Clone, Default)]
pub struct SignupPage<'a> {
    /// Where the form goes, on our own origin.
    pub action_url: &'a str,
    /// The sealed state of the pending login.
    pub state: &'a str,
    /// The value against forged posts.
    pub csrf: &'a str,
    /// What stands in the email field.
    pub email: &'a str,
    /// Whether the connection asks for a username, and if so what stands in its field.
    pub username: Option<&'a str>,
    /// What a password must have.
    pub password_rules: PasswordRules,
    /// What was wrong with the form.
    pub errors: &'a [FormFault],
    /// What an Action says to the person, in place of what is said of the form as a whole.
    pub message: Option<&'a str>,
    /// The login page, for those who have an account.
    pub login_url: Option<&'a str>,
    /// The application's name.
    pub client_name: Option<&'a str>,
    /// As in [`LoginPage::form_ends_at`](super::LoginPage::form_ends_at).
    pub form_ends_at: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "signup.html")]
struct SignupTemplate<'a> {
    page: &'a SignupPage<'a>,
    faults: Faults,
    rules: Vec<String>,
    described: Option<&'static str>,
    focus: &'static str,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for SignupPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let t = chrome.lang.texts();
        let faults = Faults::new(self.errors, t);
        let rules = self.password_rules.texts(t);
        render(&SignupTemplate {
            page: self,
            described: faults.described(&rules),
            focus: faults.focus(self.email, self.username),
            faults,
            rules,
            frame: chrome.frame(),
            t,
        })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Kept)
            .image(chrome.logo_url)
            .own_form()
            .form_ends_at(self.form_ends_at.iter().copied())
            .headers()
    }
}
