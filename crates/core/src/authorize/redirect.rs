//! Addresses a browser may be sent to.

use url::Url;

/// Whether a `redirect_uri` is registered: exactly the same text (RFC 9700 §2.1), or under a registered
/// `https://*.example.com/…` whose `*` stands for one label.
pub fn matches_callback(registered: &[String], uri: &str) -> bool {
    if uri.contains('#') || uri.chars().any(char::is_control) {
        return false;
    }
    registered.iter().any(|entry| entry == uri || matches_wildcard(entry, uri))
}

fn matches_wildcard(entry: &str, uri: &str) -> bool {
    let Some((scheme, rest)) = entry.split_once("://*.") else { return false };
    if scheme != "https" && scheme != "http" {
        return false;
    }
    let Some(after) = uri.strip_prefix(scheme).and_then(|uri| uri.strip_prefix("://")) else { return false };
    let Some((label, own)) = after.split_once('.') else { return false };
    let is_label = !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_label && own == rest
}

/// Whether a logout address is registered: scheme and host without regard to case, the path exactly, query and
/// fragment not at all; `*` as in callbacks.
pub fn matches_logout_url(registered: &[String], url: &str) -> bool {
    let Some(wanted) = comparable(url) else { return false };
    registered.iter().any(|entry| {
        if entry.contains("://*.") {
            return matches_wildcard(&without_query(entry).to_lowercase_host(), &wanted);
        }
        comparable(entry).is_some_and(|entry| entry == wanted)
    })
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or(text)
}

trait LowercaseHost {
    fn to_lowercase_host(&self) -> String;
}

impl LowercaseHost for str {
    fn to_lowercase_host(&self) -> String {
        let Some((scheme, rest)) = self.split_once("://") else { return self.to_owned() };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        format!(
            "{}://{}{}",
            scheme.to_lowercase(),
            host.to_lowercase(),
            if path.is_empty() { "/" } else { path }
        )
    }
}

fn comparable(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    Some(without_query(text).to_lowercase_host())
}

/// The origin of an address, as browsers write it; `None` for schemes without one.
pub fn origin(uri: &str) -> Option<String> {
    let origin = Url::parse(uri).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// Whether only its owner can have registered the callback: https on a real host (OIDC Core does not know the term;
/// Auth0 calls it verifiable).
pub fn is_verifiable(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| {
        url.scheme() == "https"
            && url.host_str().is_some_and(|host| host != "localhost" && !host.ends_with(".localhost"))
    })
}

/// The address with parameters added to its query.
pub fn with_query(uri: &str, parameters: &[(&str, &str)]) -> String {
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some((_, query)) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{}", encode(parameters))
}

/// The address with parameters in its fragment.
pub fn with_fragment(uri: &str, parameters: &[(&str, &str)]) -> String {
    format!("{uri}#{}", encode(parameters))
}

fn encode(parameters: &[(&str, &str)]) -> String {
    let mut encoder = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        encoder.append_pair(name, value);
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn callbacks_match_exactly() {
        let registered =
            list(&["https://app.example/cb", "com.example.app://cb", "https://*.tenants.example/cb"]);
        for right in ["https://app.example/cb", "com.example.app://cb", "https://a-1.tenants.example/cb"] {
            assert!(matches_callback(&registered, right), "{right}");
        }
        for wrong in [
            "https://app.example/cb/",
            "https://app.example/cb?x=1",
            "https://app.example/CB",
            "http://app.example/cb",
            "https://app.example/cb#x",
            "https://a.b.tenants.example/cb",
            "https://.tenants.example/cb",
            "https://evil.example/x.tenants.example/cb",
            "https://evil@x.tenants.example/cb",
            "https://x.tenants.example/cb?y",
            "https://app.example\n/cb",
        ] {
            assert!(!matches_callback(&registered, wrong), "{wrong}");
        }
    }

    #[test]
    fn logout_addresses_ignore_query_and_the_hosts_case() {
        let registered =
            list(&["https://App.example/out", "https://*.t.example/bye", "http://localhost:3000"]);
        for right in [
            "https://app.EXAMPLE/out?x=1#y",
            "https://a.t.example/bye?x",
            "http://localhost:3000/",
            "http://localhost:3000?x=1",
        ] {
            assert!(matches_logout_url(&registered, right), "{right}");
        }
        for wrong in [
            "https://app.example/OUT",
            "https://app.example.evil/out",
            "//app.example/out",
            "https://u@app.example/out",
        ] {
            assert!(!matches_logout_url(&registered, wrong), "{wrong}");
        }
    }

    #[test]
    fn parameters_join_what_is_there() {
        assert_eq!(with_query("https://a/cb", &[("code", "x y")]), "https://a/cb?code=x+y");
        assert_eq!(with_query("https://a/cb?z=1", &[("code", "x")]), "https://a/cb?z=1&code=x");
    }
}
