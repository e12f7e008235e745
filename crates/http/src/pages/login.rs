//! The login page: identifier and password on one page.

use askama::Template;

use super::headers::{Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// The login page. It posts `state`, `csrf`, `username`, `password` and, where offered, `remember=true`.
#[derive(Clone, Default)]
pub struct LoginPage<'a> {
    /// Where the form goes, on our own origin.
    pub action_url: &'a str,
    /// The sealed state of the pending login.
    pub state: &'a str,
    /// The value against forged posts.
    pub csrf: &'a str,
    /// What stands in the identifier field: the `login_hint`, or what was typed before.
    pub username_prefill: &'a str,
    /// Whether the connection also takes a username as identifier; changes the label.
    pub username_allowed: bool,
    /// Why the page is shown again.
    pub error: Option<LoginError>,
    /// The sign-up page, if the connection allows signing up.
    pub signup_url: Option<&'a str>,
    /// Where a forgotten password is replaced.
    pub reset_url: Option<&'a str>,
    /// The application's name.
    pub client_name: Option<&'a str>,
    /// Whether the checkbox "Keep me signed in" is offered, and if so whether it is checked.
    pub remember: Option<bool>,
    /// Where the redirects after the form may lead: the `redirect_uri` of the login first, then the client's other
    /// registered addresses, since its callback may redirect to one of them. Browsers built on Chromium refuse a
    /// redirect to any other origin, without a word to the person. `https:` among them allows every such address, for
    /// clients whose callback redirects where nothing is registered. At most 39 origins are named.
    pub form_ends_at: &'a [&'a str],
}

/// Why a login was not taken. None of them tells whether the user exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginError {
    /// Unknown user or wrong password.
    WrongCredentials,
    /// The server has no capacity to verify a password now (429).
    Busy,
    /// The form's state has expired, but the login can go on.
    Expired,
    /// Too many attempts, from this address or for this identifier, whether it exists or not.
    TooManyAttempts,
    /// No connection with passwords is enabled for the client.
    ConnectionUnavailable,
}

impl LoginError {
    fn text(self, t: &Texts) -> &'static str {
        match self {
            Self::WrongCredentials => t.wrong_credentials,
            Self::Busy => t.busy,
            Self::Expired => t.form_expired,
            Self::TooManyAttempts => t.too_many_attempts,
            Self::ConnectionUnavailable => t.connection_unavailable,
        }
    }
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginTemplate<'a> {
    page: &'a LoginPage<'a>,
    /// Attributes of both fields: which of them was wrong must not be told apart.
    wrong: &'static str,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for LoginPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let wrong = match self.error {
            Some(LoginError::WrongCredentials) => " aria-invalid=\"true\" aria-describedby=\"error\"",
            _ => "",
        };
        render(&LoginTemplate { page: self, wrong, frame: chrome.frame(), t: chrome.lang.texts() })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Kept)
            .image(chrome.logo_url)
            .own_form()
            .form_ends_at(self.form_ends_at.iter().copied())
            .headers()
    }
}
