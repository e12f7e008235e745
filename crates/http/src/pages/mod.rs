//! Every page that a person sees, the two that carry an answer to a client, and the frame that answers applications.
//!
//! A page is a struct of what it shows. It renders to HTML that works on a phone, by keyboard and without script, loads
//! nothing from anywhere but the applications that a logout tells, and it names the headers it has to be sent with:
//!
//! ```
//! use curfew_http::pages::{Chrome, Lang, LoggedOutPage, Nonce, Page};
//! use curfew_model::SystemEntropy;
//!
//! let nonce = Nonce::generate(&SystemEntropy);
//! let chrome = Chrome { lang: Lang::German, tenant_name: "Acme", ..Chrome::new(&nonce) };
//! let page = LoggedOutPage::default();
//! let (headers, body) = (page.headers(&chrome), page.render(&chrome));
//! # assert!(body.contains("abgemeldet") && !headers.is_empty());
//! ```
//!
//! Invariants: every value reaches the HTML through askama's escaping; what stands in a script is JSON whose `<`, `>`,
//! `&` and line separators are escaped; addresses that clients and tenants chose are [`Destination`]s; no text tells
//! whether a user exists.

mod check_session;
mod consent;
mod destination;
mod error;
mod fields;
mod form_post;
pub mod headers;
mod lang;
mod login;
mod logout;
mod setup;
mod signup;
mod style;
mod web_message;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use askama::Template;

pub use check_session::CheckSessionPage;
pub use consent::{ConsentPage, ConsentScope};
pub use destination::{Destination, Origin};
pub use error::{Back, ErrorKind, ErrorPage};
pub use fields::{FormFault, PasswordRules};
pub use form_post::FormPostPage;
pub use headers::{Headers, Nonce};
pub use lang::Lang;
pub use login::{LoginError, LoginPage};
pub use logout::{LoggedOutPage, LogoutConfirmPage, SigningOutPage};
pub use setup::{SetupDonePage, SetupPage};
pub use signup::SignupPage;
pub use web_message::WebMessagePage;

/// A page of ours.
pub trait Page {
    /// The whole document.
    fn render(&self, chrome: &Chrome<'_>) -> String;

    /// The headers this document must be sent with, `Content-Type` among them. The same `chrome` as for
    /// [`Page::render`], since both carry its nonce.
    fn headers(&self, chrome: &Chrome<'_>) -> Headers;
}

/// What surrounds the content of every page: the tenant's name and colours, the language, the nonce.
#[derive(Clone)]
pub struct Chrome<'a> {
    /// The nonce of this answer.
    pub nonce: &'a Nonce,
    /// The language of the page.
    pub lang: Lang,
    /// The tenant's `friendly_name`, else a name made from its domain.
    pub tenant_name: &'a str,
    /// The tenant's accent colour, `#rgb` or `#rrggbb`. Anything else is ignored, and a colour that could not be read
    /// is darkened or lightened until it can.
    pub accent: Option<&'a str>,
    /// The address of the tenant's logo, `https` only; anything else is ignored.
    pub logo_url: Option<&'a str>,
    /// Where the tenant's users get help; ignored if it is no address.
    pub support_url: Option<&'a str>,
}

impl<'a> Chrome<'a> {
    /// The chrome of a tenant without branding.
    pub const fn new(nonce: &'a Nonce) -> Self {
        Self {
            nonce,
            lang: Lang::English,
            tenant_name: "Curfew",
            accent: None,
            logo_url: None,
            support_url: None,
        }
    }

    /// The chrome as the layout's template uses it.
    fn frame(&self) -> Frame<'a> {
        let checked = |url: Option<&'a str>| url.filter(|url| Destination::parse(url).is_some());
        Frame {
            nonce: self.nonce.as_str(),
            lang: self.lang,
            tenant_name: self.tenant_name,
            initial: self.tenant_name.chars().find(|c| c.is_alphanumeric()).unwrap_or('C'),
            variables: style::variables(self.accent),
            stylesheet: style::STYLESHEET,
            logo: self.logo_url.filter(|url| headers::image(url).is_some()),
            support_url: checked(self.support_url),
        }
    }
}

/// [`Chrome`], checked and prepared.
struct Frame<'a> {
    nonce: &'a str,
    lang: Lang,
    tenant_name: &'a str,
    initial: char,
    variables: String,
    stylesheet: &'static str,
    logo: Option<&'a str>,
    support_url: Option<&'a str>,
}

#[expect(clippy::expect_used, reason = "a template fails only where a value's Display does, and ours do not")]
fn render(template: &impl Template) -> String {
    template.render().expect("a template renders")
}
