//! The headers that go with each kind of page.
//!
//! A page is sent with exactly the permissions it needs: nothing is loaded from anywhere but the frames that tell
//! applications of a logout, styles and the few scripts carry the answer's nonce, forms go where they must, and nothing
//! may be framed but the `web_message` answer, by the client, and the frame for session management, by anybody.

use curfew_model::Entropy;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue};

use super::destination::{Destination, Origin, origin_source};

/// The headers of one answer, in the order in which they are sent.
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// What allows the inline style and script of one answer. Unpredictable, and used for that answer only (CSP3 §7.1).
#[derive(Clone)]
pub struct Nonce(String);

impl Nonce {
    /// Draws a nonce of 132 bits.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(entropy.url_safe(22))
    }

    /// The nonce as it stands in attributes and in the policy: characters of base64url only.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many sources one directive names. A client may have hundreds of addresses; a header may not.
const SOURCES_MAX: usize = 40;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What one page needs beyond the least, to be turned into its headers.
pub(super) struct Policy<'a> {
    nonce: &'a Nonce,
    script: bool,
    images: Vec<String>,
    frames: Vec<String>,
    forms: Vec<String>,
    ancestors: Vec<String>,
    referrer: &'static str,
    opener: Opener,
}

/// Whether the page keeps its connection with the window that opened it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opener {
    /// The page may stand in a pop-up of a login. A `Cross-Origin-Opener-Policy` would cut it off, the final
    /// `postMessage` would reach nobody, and to the application the window would look closed.
    Kept,
    /// The page is never part of a login: nobody may hold a reference to its window.
    Cut,
}

impl<'a> Policy<'a> {
    /// A page that shows text and its own style, and does nothing else.
    pub(super) fn new(nonce: &'a Nonce, opener: Opener) -> Self {
        Self {
            nonce,
            script: false,
            images: Vec::new(),
            frames: Vec::new(),
            forms: Vec::new(),
            ancestors: Vec::new(),
            // Not `no-referrer`: under that browsers send `Origin: null` with our own forms, and the check of the
            // origin, the second lock against forged posts, would have nothing to check. Nothing leaves to others.
            referrer: "same-origin",
            opener,
        }
    }

    /// The page has a script.
    pub(super) fn script(mut self) -> Self {
        self.script = true;
        self
    }

    /// The page shows this image, if the address is one.
    pub(super) fn image(mut self, url: Option<&str>) -> Self {
        self.images.extend(url.and_then(image).map(|url| url.source()));
        self
    }

    /// The page opens these addresses in frames, those with an origin that a policy can name.
    pub(super) fn frames(mut self, addresses: &[Destination]) -> Self {
        self.frames
            .extend(addresses.iter().filter_map(|address| origin_source(Origin::of(address)?.as_str())));
        self
    }

    /// The page posts a form to ourselves.
    pub(super) fn own_form(mut self) -> Self {
        self.forms.push("'self'".to_owned());
        self
    }

    /// The page posts a form that may end at one of these addresses: URLs, patterns with a wildcard label, or `https:`
    /// for wherever that scheme leads. What is none of these is passed over.
    ///
    /// Chromium holds every redirect that follows a form, to the last one in the chain, against `form-action`, and a
    /// redirect that is not listed does nothing at all; Firefox does not look at redirects.
    pub(super) fn form_ends_at<'b>(mut self, ends: impl IntoIterator<Item = &'b str>) -> Self {
        self.forms.extend(ends.into_iter().filter_map(form_source));
        self
    }

    /// The page may be framed by these origins, all that are valid among them.
    pub(super) fn framed_by<'b>(mut self, origins: impl IntoIterator<Item = &'b str>) -> Self {
        self.ancestors.extend(origins.into_iter().filter_map(origin_source));
        self
    }

    /// The page may be framed by every origin: it has nothing to show, and nothing to press.
    pub(super) fn framed_by_anybody(mut self) -> Self {
        self.ancestors = vec!["*".to_owned()];
        self
    }

    /// The page posts to a client, which may want to know from where (its own defence against forged posts). Our
    /// origin is no secret, it is the issuer; the path and query are, and stay.
    pub(super) fn tells_origin(mut self) -> Self {
        self.referrer = "origin";
        self
    }

    /// The headers.
    pub(super) fn headers(self) -> Headers {
        let nonce = self.nonce.as_str();
        let mut csp = format!("default-src 'none'; style-src 'nonce-{nonce}'");
        if self.script {
            csp.push_str(&format!("; script-src 'nonce-{nonce}'"));
        }
        if !self.images.is_empty() {
            csp.push_str(&format!("; img-src {}", sources(&self.images)));
        }
        if !self.frames.is_empty() {
            csp.push_str(&format!("; frame-src {}", sources(&self.frames)));
        }
        csp.push_str(&format!("; form-action {}", sources(&self.forms)));
        csp.push_str(&format!("; frame-ancestors {}", sources(&self.ancestors)));
        csp.push_str("; base-uri 'none'");

        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (CONTENT_SECURITY_POLICY, policy_value(csp)),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static(self.referrer)),
            (
                PERMISSIONS_POLICY,
                HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
            ),
        ];
        if self.ancestors.is_empty() {
            headers.push((X_FRAME_OPTIONS, HeaderValue::from_static("DENY")));
        }
        if self.opener == Opener::Cut {
            headers.push((CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")));
        }
        headers
    }
}

/// An address where a form may end, as a source expression.
fn form_source(end: &str) -> Option<String> {
    if matches!(end, "https:" | "http:") {
        return Some(end.to_owned());
    }
    match end.split_once("://*.") {
        // A callback with a wildcard label; its path is of no interest here.
        Some((scheme, rest)) => {
            origin_source(&format!("{scheme}://*.{}", rest.split(['/', '?', '#']).next()?))
        }
        None => Destination::parse(end).map(|destination| destination.source()),
    }
}

/// The address of an image that a page may show: `https`, or `http` for a server on this machine.
pub(super) fn image(url: &str) -> Option<Destination> {
    let destination = Destination::parse(url)?;
    let source = destination.source();
    let local = || matches!(destination.place().split(':').next(), Some("localhost" | "127.0.0.1"));
    (source.starts_with("https://") || source.starts_with("http://") && local()).then_some(destination)
}

/// A directive's list of sources, without repetition; an empty one allows nothing.
fn sources(list: &[String]) -> String {
    let mut once: Vec<&str> = Vec::new();
    for source in list {
        if once.len() < SOURCES_MAX && !once.contains(&source.as_str()) {
            once.push(source);
        }
    }
    if once.is_empty() { "'none'".to_owned() } else { once.join(" ") }
}

#[expect(clippy::expect_used, reason = "nonce and sources are printable ASCII by construction")]
fn policy_value(csp: String) -> HeaderValue {
    HeaderValue::try_from(csp).expect("a policy is a header value")
}
