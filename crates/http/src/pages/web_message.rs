//! `response_mode=web_message`: the answer as a message to the window that asked.

use std::fmt::Write as _;

use askama::Template;

use super::destination::Origin;
use super::headers::{Headers, Opener, Policy};
use super::lang::Texts;
use super::{Chrome, Frame, Page, render};

/// The answer of `/authorize` as `{"type":"authorization_response","response":{…}}`, posted to the window that opened
/// the page, else to the one that frames it, and delivered by the browser only if that window's origin is
/// `target_origin`.
#[derive(Clone)]
pub struct WebMessagePage<'a> {
    /// The origin of the `redirect_uri`, which the caller has found among the client's `web_origins`.
    pub target_origin: &'a Origin,
    /// The client's `web_origins`, as registered: who may frame the page. What is no origin is passed over.
    pub web_origins: &'a [&'a str],
    /// The members of `response`, in order.
    pub params: &'a [(&'a str, &'a str)],
}

#[derive(Template)]
#[template(path = "web_message.html")]
struct WebMessageTemplate<'a> {
    message: String,
    target_origin: String,
    frame: Frame<'a>,
    t: &'static Texts,
}

impl Page for WebMessagePage<'_> {
    fn render(&self, chrome: &Chrome<'_>) -> String {
        let mut message = String::from("{\"type\":\"authorization_response\",\"response\":{");
        for (index, (name, value)) in self.params.iter().enumerate() {
            if index > 0 {
                message.push(',');
            }
            string_for_script(name, &mut message);
            message.push(':');
            string_for_script(value, &mut message);
        }
        message.push_str("}}");
        let mut target_origin = String::new();
        string_for_script(self.target_origin.as_str(), &mut target_origin);
        // No images: the page is gone before anyone could see one.
        let frame = Frame { logo: None, ..chrome.frame() };
        render(&WebMessageTemplate { message, target_origin, frame, t: chrome.lang.texts() })
    }

    fn headers(&self, chrome: &Chrome<'_>) -> Headers {
        Policy::new(chrome.nonce, Opener::Kept).script().framed_by(self.web_origins.iter().copied()).headers()
    }
}

/// Writes a JSON string that may stand inside a script element: nothing in it can end the element, open a comment, or,
/// for old engines, end the line. Everything that is not plain ASCII text is escaped, so no encoding can change it.
fn string_for_script(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit).map(char::from) {
            Ok(plain @ (' '..='~')) if !matches!(plain, '"' | '\\' | '<' | '>' | '&' | '\'' | '/') => {
                out.push(plain);
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_for_a_script_is_json_and_cannot_leave_it() {
        for text in [
            "",
            "plain",
            "</script><script>alert(1)</script>",
            "<!--",
            "]]>",
            "\"\\'",
            "a&b",
            "\u{2028}\u{2029}",
            "\0\n\r\t\u{7f}",
            "Grüße 🌒",
        ] {
            let mut json = String::new();
            string_for_script(text, &mut json);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(json.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{json}");
            assert!(!json.contains(['<', '>', '&', '\'', '/']), "{json}");
        }
    }
}
