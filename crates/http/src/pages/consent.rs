//! The consent page.

use askama::Template;

use super::destination::Destination;
use super::headers::{self, Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// The consent page. It posts `state`, `csrf` and `action`, which is `accept` or `deny`.
#[derive(Clone, Default)]
pub struct ConsentPage<'a> {
    /// Where the form goes, on our own origin.
    pub action_url: &'a str,
    /// The sealed state of the pending login.
    pub state: &'a str,
    /// The value against forged posts.
    pub csrf: &'a str,
    /// The application's name.
    pub client_name: &'a str,
    /// The application's `logo_uri`, `https` only; anything else is ignored.
    pub client_logo_url: Option<&'a str>,
    /// Who is signed in: the email address, or another name the person knows.
    pub user_email: &'a str,
    /// What the application asks for, in order.
    pub scopes: &'a [ConsentScope<'a>],
    /// The name of the resource server the scopes belong to; `None` for those of OpenID Connect alone.
    pub resource_server_name: Option<&'a str>,
    /// The `redirect_uri`, whose host is shown where a person should check it: with third-party applications, and
    /// with callbacks that no one can verify (`localhost`, schemes of apps).
    pub returns_to: Option<&'a Destination>,
    /// As in [`LoginPage::form_ends_at`](super::LoginPage::form_ends_at).
    pub form_ends_at: &'a [&'a str],
}

/// One scope on the consent page.
#[derive(Debug, Clone, Copy)]
pub struct ConsentScope<'a> {
    /// Its value, such as `read:messages`.
    pub name: &'a str,
    /// What it means, as the resource server's owner wrote it. The scopes of OpenID Connect have texts of ours.
    pub description: Option<&'a str>,
}

/// What is shown for a scope.
enum ScopeText<'a> {
    Words(&'a str),
    Name(&'a str),
}

impl<'a> ConsentScope<'a> {
    fn text(&self, t: &'static Texts) -> ScopeText<'a> {
        match (self.description.filter(|text| !text.trim().is_empty()), self.name) {
            (Some(description), _) => ScopeText::Words(description),
            (None, "openid") => ScopeText::Words(t.scope_openid),
            (None, "profile") => ScopeText::Words(t.scope_profile),
            (None, "email") => ScopeText::Words(t.scope_email),
            (None, "address") => ScopeText::Words(t.scope_address),
            (None, "phone") => ScopeText::Words(t.scope_phone),
            (None, "offline_access") => ScopeText::Words(t.scope_offline_access),
            (None, name) => ScopeText::Name(name),
        }
    }
}

#[derive(Template)]
#[template(path = "consent.html")]
struct ConsentTemplate<'a> {
    page: &'a ConsentPage<'a>,
    logo: Option<&'a str>,
    scopes: Vec<ScopeText<'a>>,
    place: Option<String>,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for ConsentPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let t = chrome.lang.texts();
        render(&ConsentTemplate {
            page: self,
            logo: self.client_logo_url.filter(|url| headers::image(url).is_some()),
            scopes: self.scopes.iter().map(|scope| scope.text(t)).collect(),
            place: self.returns_to.map(Destination::place),
            frame: chrome.frame(),
            t,
        })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Kept)
            .image(chrome.logo_url)
            .image(self.client_logo_url)
            .own_form()
            .form_ends_at(self.form_ends_at.iter().copied())
            .headers()
    }
}
