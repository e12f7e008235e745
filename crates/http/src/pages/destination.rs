//! Addresses that come from a client or a tenant, checked before a page or a header names them.

use std::fmt;

use url::{Host, Url};

/// Schemes that a browser executes or reads from itself instead of handing the address to someone else. A link, a
/// form or a redirect to one of them would run in our origin, or show something that looks like ours.
const FORBIDDEN_SCHEMES: [&str; 10] =
    ["javascript", "data", "vbscript", "blob", "filesystem", "file", "about", "view-source", "ws", "wss"];

/// An absolute URL that a page may link to or post to: `http`, `https`, or the private scheme of an app on the
/// device (RFC 8252 §7.1). It keeps the very string it was parsed from, because a `redirect_uri` is compared and
/// used as registered.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    text: String,
    url: Url,
}

impl Destination {
    /// Reads an address. `None` if it is relative, has white space or control characters, has a pattern
    /// for a host, or no host where one is due, or names a scheme that the browser itself would execute.
    pub fn parse(text: &str) -> Option<Self> {
        // The URL parser strips these silently, so that what it checked would not be what the browser gets.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return None;
        }
        let url = Url::parse(text).ok()?;
        if FORBIDDEN_SCHEMES.contains(&url.scheme()) {
            return None;
        }
        // To the URL standard a star is a letter of a host like others; here it only stands for a wildcard, and
        // a pattern is no address.
        if url.host_str().is_some_and(|host| host.contains('*')) {
            return None;
        }
        if matches!(url.scheme(), "http" | "https") && !url.has_host() {
            return None;
        }
        Some(Self { text: text.to_owned(), url })
    }

    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the address leads, in the few words a person can check: the host with its port, or the scheme of an
    /// app.
    pub fn place(&self) -> String {
        match (self.url.host_str(), self.url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) if matches!(self.url.scheme(), "http" | "https") => host.to_owned(),
            _ => format!("{}:", self.url.scheme()),
        }
    }

    /// The address as a source expression of a content security policy (CSP3 §2.3.1): the origin; for the scheme
    /// of an app, or a host that the grammar cannot name, the scheme.
    pub fn source(&self) -> String {
        let scheme = self.url.scheme();
        match self.url.host() {
            // The grammar of host-source has no place for the brackets of an IPv6 address; Chromium drops such
            // an entry and blocks.
            Some(Host::Domain(host)) if matches!(scheme, "http" | "https") && source_host(host) => {
                self.url.origin().ascii_serialization()
            }
            Some(Host::Ipv4(_)) if matches!(scheme, "http" | "https") => {
                self.url.origin().ascii_serialization()
            }
            _ => format!("{scheme}:"),
        }
    }
}

impl fmt::Debug for Destination {
    /// Only the place: the query of a `redirect_uri` may hold what belongs to the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Destination").field(&self.place()).finish()
    }
}

/// An origin, exactly as browsers serialize it: `https://app.example.com`, `http://localhost:3000`,
/// `capacitor://localhost`. Never `*`, never `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin. `None` for anything but scheme, host and an optional port that is not the scheme's own,
    /// all in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let origin = Self::of(&Destination::parse(text)?)?;
        (origin.0 == text).then_some(origin)
    }

    /// The origin of an address; `None` where there is no host.
    pub fn of(destination: &Destination) -> Option<Self> {
        let url = &destination.url;
        if matches!(url.scheme(), "http" | "https") {
            return Some(Self(url.origin().ascii_serialization()));
        }
        // To the URL standard the origin of any other scheme is opaque, but the web views that apps are built
        // with serialize it like this and post messages to it.
        let host = url.host_str().filter(|host| !host.is_empty() && source_host(host))?;
        Some(Self(match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        }))
    }

    /// The origin as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A registered origin as a source expression. A wildcard label is kept, since both sides write it alike:
/// `https://*.example.com`. `None` for what is no origin, and for a host that a policy cannot name.
pub(super) fn origin_source(text: &str) -> Option<String> {
    let origin = text.trim_end_matches('/');
    match origin.split_once("://*.") {
        Some((scheme, rest)) => {
            let plain = Origin::parse(&format!("{scheme}://{rest}"))?;
            plain.as_str().contains('.').then(|| origin.to_owned())
        }
        None => Origin::parse(origin).map(|origin| origin.0).filter(|origin| !origin.contains('[')),
    }
}

/// Whether a policy can name this host: letters, digits, hyphens, dots (CSP3 §2.3.1, `host-char`). An underscore
/// is no part of that grammar, a semicolon would end the directive.
fn source_host(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_execute_is_no_destination() {
        for text in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\nscript:alert(1)",
            " javascript:alert(1)",
            "\u{1}javascript:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:x",
            "blob:https://example.com/1",
            "file:///etc/passwd",
            "about:blank",
            "/relative",
            "//example.com",
            "https://",
            "https://*.example.com/callback",
            "",
            "*",
            "null",
        ] {
            assert!(Destination::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_destination_names_its_place_and_its_source() {
        for (text, place, source) in [
            ("https://app.example.com/callback?x=1", "app.example.com", "https://app.example.com"),
            ("https://app.example.com:443/", "app.example.com", "https://app.example.com"),
            ("http://localhost:3000", "localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:49152/cb", "127.0.0.1:49152", "http://127.0.0.1:49152"),
            ("http://[::1]:49152/cb", "[::1]:49152", "http:"),
            ("http://my_host/cb", "my_host", "http:"),
            ("com.example.app:/callback", "com.example.app:", "com.example.app:"),
            ("com.example.app://callback", "com.example.app:", "com.example.app:"),
            ("https://bücher.example/", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            let destination = Destination::parse(text).unwrap();
            assert_eq!(destination.as_str(), text);
            assert_eq!(destination.place(), place);
            assert_eq!(destination.source(), source);
        }
    }

    #[test]
    fn an_origin_is_exact() {
        for text in
            ["https://app.example.com", "http://localhost:3000", "http://[::1]:3000", "capacitor://localhost"]
        {
            assert_eq!(Origin::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "*",
            "null",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com:443",
            "https://App.example.com",
            "https://user@app.example.com",
            "https://app.example.com?x",
            "app.example.com",
            "javascript://example.com",
            "https://a.example https://b.example",
            "capacitor://a;b",
        ] {
            assert!(Origin::parse(text).is_none(), "{text:?}");
        }
        let callback = Destination::parse("https://app.example.com:8443/callback?x=1").unwrap();
        assert_eq!(Origin::of(&callback).unwrap().as_str(), "https://app.example.com:8443");
    }

    #[test]
    fn a_registered_origin_cannot_add_to_the_policy() {
        assert_eq!(origin_source("https://app.example.com/").as_deref(), Some("https://app.example.com"));
        assert_eq!(origin_source("https://*.example.com").as_deref(), Some("https://*.example.com"));
        for text in [
            "*",
            "https://*",
            "https://*.com",
            "https:",
            "'self'",
            "https://a.com; script-src *",
            "https://*.a.com *",
            "http://[::1]:3000",
        ] {
            assert_eq!(origin_source(text), None, "{text:?}");
        }
    }
}
