//! The pages of logout: asking first, and afterwards.

use askama::Template;

use super::destination::Destination;
use super::error::Back;
use super::headers::{Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// What is shown when a logout has no address to return to.
#[derive(Clone, Default)]
pub struct LoggedOutPage<'a> {
    /// A way back to the application, where one is registered.
    pub back: Option<Back<'a>>,
    /// What is opened in frames that nobody sees: addresses of applications that end their own sessions there
    /// (OIDC Front-Channel Logout §3). Whether they do, nobody learns.
    pub frames: &'a [Destination],
}

#[derive(Template)]
#[template(path = "logged_out.html")]
struct LoggedOutTemplate<'a> {
    page: &'a LoggedOutPage<'a>,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for LoggedOutPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        render(&LoggedOutTemplate { page: self, frame: chrome.frame(), t: chrome.lang.texts() })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Cut).image(chrome.logo_url).frames(self.frames).headers()
    }
}

/// What is shown after a logout while applications end their own sessions in frames. It goes on by itself once all of
/// them have loaded, and after three seconds whether or not they have; without script there is a link.
#[derive(Clone)]
pub struct SigningOutPage<'a> {
    /// The registered address to go on to.
    pub to: &'a Destination,
    /// As in [`LoggedOutPage::frames`].
    pub frames: &'a [Destination],
}

#[derive(Template)]
#[template(path = "signing_out.html")]
struct SigningOutTemplate<'a> {
    page: &'a SigningOutPage<'a>,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for SigningOutPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        render(&SigningOutTemplate { page: self, frame: chrome.frame(), t: chrome.lang.texts() })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        // Kept, as of the question before it.
        Policy::new(chrome.nonce, Opener::Kept).script().image(chrome.logo_url).frames(self.frames).headers()
    }
}

/// The question before a logout that nobody can show to be the person's own wish (OIDC RP-Initiated Logout §2). It
/// posts `state`, `csrf` and `action`, which is `accept` or `deny`.
#[derive(Clone, Default)]
pub struct LogoutConfirmPage<'a> {
    /// Where the form goes, on our own origin.
    pub action_url: &'a str,
    /// The sealed parameters of the logout.
    pub state: &'a str,
    /// The value against forged posts.
    pub csrf: &'a str,
    /// Who is signed in.
    pub user_email: Option<&'a str>,
    /// The `post_logout_redirect_uri`, and the client's other addresses to which it may redirect.
    pub form_ends_at: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "logout_confirm.html")]
struct LogoutConfirmTemplate<'a> {
    page: &'a LogoutConfirmPage<'a>,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for LogoutConfirmPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        render(&LogoutConfirmTemplate { page: self, frame: chrome.frame(), t: chrome.lang.texts() })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        // Kept: a client may run its logout in a pop-up and wait for it to come back.
        Policy::new(chrome.nonce, Opener::Kept)
            .image(chrome.logo_url)
            .own_form()
            .form_ends_at(self.form_ends_at.iter().copied())
            .headers()
    }
}
