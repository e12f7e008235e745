//! The error page: for errors that may not go to a client, or whose client is not known.

use askama::Template;

use super::destination::Destination;
use super::headers::{Headers, Opener, Policy};
use super::lang::{Explanation, Texts};
use super::{Chrome, Frame, Page, render};

/// The error page. What happened and what to do is said in the page's language; `error` and `description` are for those
/// who run the application, and stay as the protocol has them.
#[derive(Clone, Default)]
pub struct ErrorPage<'a> {
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// The code, such as `invalid_request`.
    pub error: Option<&'a str>,
    /// The `error_description`, or another sentence that may leave the server.
    pub description: Option<&'a str>,
    /// The id under which the request is in the log.
    pub request_id: Option<&'a str>,
    /// A way on, where one is known.
    pub back: Option<Back<'a>>,
    /// What a logout opens, although it may not lead where it was asked to; as in
    /// [`LoggedOutPage::frames`](super::LoggedOutPage::frames).
    pub frames: &'a [Destination],
}

/// What kind of error a page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorKind {
    /// The application's request cannot be accepted: unknown client, callback mismatch, a missing parameter.
    Request,
    /// The pending login is lost, over, or of another browser.
    Expired,
    /// The person declined, or was refused.
    Denied,
    /// Too many requests, or no capacity (429, 503).
    Busy,
    /// No such page.
    NotFound,
    /// The set-up link is used up or replaced.
    SetupLink,
    /// We failed.
    #[default]
    Server,
}

/// A link back to an application.
#[derive(Debug, Clone, Copy)]
pub struct Back<'a> {
    /// Where it leads: a registered address of the client.
    pub url: &'a Destination,
    /// The application's name, if it is known.
    pub client_name: Option<&'a str>,
}

impl ErrorKind {
    fn explanation(self, t: &Texts) -> Explanation {
        match self {
            Self::Request => t.error_request,
            Self::Expired => t.error_expired,
            Self::Denied => t.error_denied,
            Self::Busy => t.error_busy,
            Self::NotFound => t.error_not_found,
            Self::SetupLink => t.error_setup_link,
            Self::Server => t.error_server,
        }
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorTemplate<'a> {
    page: &'a ErrorPage<'a>,
    explanation: Explanation,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for ErrorPage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let t = chrome.lang.texts();
        render(&ErrorTemplate { page: self, explanation: self.kind.explanation(t), frame: chrome.frame(), t })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        // Kept: an error inside a login's pop-up must not look to the application as if the window were closed.
        Policy::new(chrome.nonce, Opener::Kept).image(chrome.logo_url).frames(self.frames).headers()
    }
}
