//! What the server answered.

use std::collections::HashMap;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(super) async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Self { status: parts.status, headers: parts.headers, body }
    }

    /// This answer, which must have the status; else the test fails and shows the body.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{} {:?}", self.text(), self.location());
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Where a redirect leads.
    pub(crate) fn location(&self) -> Option<&str> {
        self.headers.get(http::header::LOCATION)?.to_str().ok()
    }

    /// Whether it redirects to a page of the server's own, given without the leading slash (`u/login`).
    pub(crate) fn leads_to(&self, page: &str) -> bool {
        let own = format!("{}{page}", super::ISSUER);
        self.location().is_some_and(|url| url.split('?').next() == Some(&own))
    }

    /// A parameter of the redirect's query.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        query_of(self.location()?).remove(name)
    }

    /// The code that the redirect hands to the application.
    pub(crate) fn code(&self) -> Option<String> {
        self.parameter("code")
    }

    /// `error` of the redirect's query, or of a JSON body.
    pub(crate) fn error(&self) -> Option<String> {
        self.parameter("error").or_else(|| self.json()["error"].as_str().map(str::to_owned))
    }

    /// `error_description`, from where [`Answer::error`] comes.
    pub(crate) fn error_description(&self) -> Option<String> {
        self.parameter("error_description")
            .or_else(|| self.json()["error_description"].as_str().map(str::to_owned))
    }

    /// The parameters of an authorization response, whichever way it came: in the query, in the fragment, as a form
    /// that posts itself, or as a message.
    #[track_caller]
    pub(crate) fn response(&self) -> HashMap<String, String> {
        if let Some((_, fragment)) = self.location().and_then(|url| url.split_once('#')) {
            return url::form_urlencoded::parse(fragment.as_bytes()).into_owned().collect();
        }
        if let Some(url) = self.location() {
            return query_of(url);
        }
        let page = self.text();
        if let Some((_, call)) = page.split_once("receiver.postMessage(") {
            let arguments = call.split(");\n").next().expect("the end of the call");
            let read: Value = serde_json::from_str(&format!("[{arguments}]")).expect("JSON");
            assert_eq!(read[0]["type"], "authorization_response");
            let members = read[0]["response"].as_object().expect("an object").iter();
            return members.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        }
        let fields = page.split("<input type=\"hidden\" name=\"").skip(1);
        fields
            .filter_map(|field| {
                let (name, rest) = field.split_once("\" value=\"")?;
                Some((name.to_owned(), rest.split('"').next()?.to_owned()))
            })
            .collect()
    }

    /// A header, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The `Set-Cookie` line of a cookie.
    pub(crate) fn set_cookie(&self, prefix: &str) -> Option<&str> {
        let lines =
            self.headers.get_all(http::header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
        lines.into_iter().find(|line| line.starts_with(prefix))
    }

    /// A hidden field of the page's form.
    #[track_caller]
    pub(crate) fn hidden(&self, name: &str) -> String {
        let page = self.text();
        let start = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
        let value = page.split_once(&start).and_then(|(_, rest)| rest.split('"').next());
        value.unwrap_or_else(|| panic!("no field {name} in {} {page}", self.status)).to_owned()
    }
}

/// The query of an address.
pub(crate) fn query_of(url: &str) -> HashMap<String, String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or("");
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}
