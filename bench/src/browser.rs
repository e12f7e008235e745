//! What a person's browser does in a login: cookies, redirects, forms. No more of it than Curfew's pages need.

use crate::failed::{Failed, Result};
use crate::wire::{Answer, Connection, Request};

/// The media type of forms.
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Redirects and pages of one login; more is a loop.
const STEPS_MAX: usize = 12;

/// The cookies of one browser.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jar {
    cookies: Vec<(String, String)>,
}

impl Jar {
    /// The value of the `cookie` header; empty without cookies.
    pub(crate) fn header(&self) -> String {
        let mut text = String::with_capacity(512);
        for (name, value) in &self.cookies {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        }
        text
    }

    /// Keeps what an answer sets, and forgets what it takes back.
    pub(crate) fn keep(&mut self, answer: &Answer<'_>) {
        for line in answer.headers("set-cookie") {
            let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            let over =
                attributes.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0"));
            let known = self.cookies.iter_mut().find(|(other, _)| other == name);
            match known {
                _ if over || value.is_empty() => self.cookies.retain(|(other, _)| other != name),
                Some((_, old)) => {
                    old.clear();
                    old.push_str(value);
                }
                None => self.cookies.push((name.to_owned(), value.to_owned())),
            }
        }
    }
}

/// A name and its password.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    /// What is typed into the first field.
    pub(crate) username: String,
    /// What is typed into the second.
    pub(crate) password: String,
}

/// Goes to `target`, follows the redirects, fills in the forms, and answers the URL at which Curfew sends the
/// browser away: one that begins with `callback`. Without credentials a page is a failure: a silent login shows none.
pub(crate) async fn authorize(
    connection: &mut Connection,
    jar: &mut Jar,
    target: &str,
    callback: &str,
    credentials: Option<&Credentials>,
) -> Result<String> {
    let mut next = Next::Get(target.to_owned());
    for _ in 0..STEPS_MAX {
        let cookies = jar.header();
        let headers = [("cookie", cookies.as_str()), FORM];
        let sent = match &next {
            Next::Get(target) => {
                let headers = if cookies.is_empty() { &[][..] } else { &headers[..1] };
                connection.send(&Request { method: "GET", target, headers, body: b"" }).await
            }
            Next::Post(target, body) => {
                let headers = if cookies.is_empty() { &headers[1..] } else { &headers[..] };
                connection.send(&Request { method: "POST", target, headers, body: body.as_bytes() }).await
            }
        };
        let answer = sent?;
        jar.keep(&answer);
        next = match (answer.status, answer.header("location")) {
            (302 | 303, Some(to)) if to.starts_with(callback) => return Ok(to.to_owned()),
            (302 | 303, Some(to)) => Next::Get(path_of(to).to_owned()),
            (200, _) => {
                let page = String::from_utf8_lossy(answer.body);
                let filled = credentials.and_then(|credentials| fill_in(&page, credentials));
                filled.ok_or_else(|| Failed(format!("{next:?} answered a page: {}", answer.describe())))?
            }
            _ => return Err(Failed(format!("{next:?} answered {}", answer.describe()))),
        };
    }
    Err(Failed(format!("the login does not end: {next:?}")))
}

#[derive(Debug)]
enum Next {
    Get(String),
    Post(String, String),
}

/// A parameter of a URL's query, decoded.
pub(crate) fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let query = query.split('#').next().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).ok()?;
    pairs.into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

/// Path and query of a URL, which is ours wherever it is followed.
fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => url,
    }
}

/// The form of a page, filled in: the login form, or the answer "accept" to a question.
fn fill_in(page: &str, credentials: &Credentials) -> Option<Next> {
    let form = page.split_once("<form")?.1.split_once("</form>")?.0;
    let action = attribute(form.split_once('>')?.0, "action")?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for tag in form.split("<input").skip(1) {
        let tag = tag.split_once('>').map_or(tag, |(tag, _)| tag);
        let Some(name) = attribute(tag, "name") else { continue };
        match name.as_str() {
            "username" | "email" => fields.push((name, credentials.username.clone())),
            "password" => fields.push((name, credentials.password.clone())),
            _ if attribute(tag, "type").as_deref() == Some("hidden") => {
                fields.push((name, attribute(tag, "value").unwrap_or_default()));
            }
            _ => {}
        }
    }
    if form.contains("name=\"action\"") {
        fields.push(("action".to_owned(), "accept".to_owned()));
    }
    Some(Next::Post(path_of(&action).to_owned(), serde_urlencoded::to_string(fields).ok()?))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0;
    Some(unescape(value))
}

fn unescape(text: &str) -> String {
    let named =
        [("&#38;", "&"), ("&amp;", "&"), ("&#34;", "\""), ("&quot;", "\""), ("&#39;", "'"), ("&#60;", "<")];
    let mut text = text.to_owned();
    for (escaped, plain) in named {
        if text.contains(escaped) {
            text = text.replace(escaped, plain);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<h1>Sign in</h1><form method="post" action="/u/login?x=1&#38;y=2">
<input type="hidden" name="state" value="c3Rh.sealed"><input type="hidden" name="csrf" value="v">
<input id="username" name="username" type="text" value=""><input id="password" name="password" type="password">
<input id="remember" name="remember" type="checkbox" value="true"><button type="submit">Sign in</button></form>"#;

    #[test]
    fn the_login_form_is_filled_in() {
        let credentials = Credentials { username: "a@b.example".into(), password: "p&w".into() };
        let Some(Next::Post(target, body)) = fill_in(PAGE, &credentials) else { panic!("no form") };
        assert_eq!(target, "/u/login?x=1&y=2");
        assert_eq!(body, "state=c3Rh.sealed&csrf=v&username=a%40b.example&password=p%26w");
        assert!(fill_in("<p>nothing to fill in</p>", &credentials).is_none());
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(path_of("http://localhost:1/u/login?s=1"), "/u/login?s=1");
        assert_eq!(path_of("/u/login"), "/u/login");
        assert_eq!(parameter("https://app.example/cb?code=a%2Bb&state=s", "code").as_deref(), Some("a+b"));
        assert_eq!(parameter("https://app.example/cb", "code"), None);
    }
}
