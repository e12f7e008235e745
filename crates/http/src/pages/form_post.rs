//! `response_mode=form_post`: the answer as a form that submits itself.

use askama::Template;

use super::destination::Destination;
use super::headers::{Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// The answer of `/authorize` as a form that posts itself to the client (OAuth 2.0 Form Post Response Mode §2). Without
/// script there is a button.
#[derive(Clone)]
pub struct FormPostPage<'a> {
    /// The registered address that receives the form.
    pub redirect_uri: &'a Destination,
    /// The response parameters, in order.
    pub params: &'a [(&'a str, &'a str)],
    /// The client's other addresses, to which its callback may redirect; as in
    /// [`LoginPage::form_ends_at`](super::LoginPage::form_ends_at).
    pub form_ends_at: &'a [&'a str],
}

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPostTemplate<'a> {
    page: &'a FormPostPage<'a>,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for FormPostPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        render(&FormPostTemplate { page: self, frame: chrome.frame(), t: chrome.lang.texts() })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Kept)
            .script()
            .image(chrome.logo_url)
            .form_ends_at([self.redirect_uri.as_str()])
            .form_ends_at(self.form_ends_at.iter().copied())
            .tells_origin()
            .headers()
    }
}
