//! What holds for every page, whatever is shown on it.

use std::collections::{BTreeMap, BTreeSet};

use curfew_model::Entropy;

use super::samples::{PLAIN, Words, each};
use super::*;

/// Draws the same nonce every time, so that snapshots stay.
#[derive(Debug)]
struct Fixed;

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

/// The same word wherever others choose one.
fn same_words(word: &str) -> Words<'_> {
    Words { client: word, person: word, resource_server: word, scope: word, text: word }
}

const NONCE: &str = "HHHHHHHHHHHHHHHHHHHHHH";

/// Every sample in every language, with its headers by name.
fn all(words: &Words<'_>, mut check: impl FnMut(&str, &str, &BTreeMap<String, String>)) {
    let nonce = Nonce::generate(&Fixed);
    for lang in Lang::ALL {
        let chrome = Chrome {
            lang,
            tenant_name: words.client,
            accent: Some("#0a7"),
            support_url: Some("https://support.example.com/?q=1&x=2"),
            ..Chrome::new(&nonce)
        };
        each(words, &mut |name, page| {
            let headers = page.headers(&chrome);
            let named = |(name, value): &(http::HeaderName, http::HeaderValue)| {
                (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
            };
            let map: BTreeMap<_, _> = headers.iter().map(named).collect();
            assert_eq!(map.len(), headers.len(), "{name}: a header is sent twice");
            check(&format!("{name}.{}", lang.tag()), &page.render(&chrome), &map);
        });
    }
}

/// The start tags of a document in order: name, attributes, and where the tag begins. Fails on what a page of ours never
/// has: an unquoted or single-quoted attribute, an attribute twice.
fn tags(html: &str) -> Vec<(String, BTreeMap<String, String>, usize)> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(start) = html[at..].find('<').map(|offset| at + offset) {
        let rest = &html[start + 1..];
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        let mut attributes = BTreeMap::new();
        let mut position = start + 1 + name.len();
        if name.is_empty() {
            at = start + 1;
            continue;
        }
        loop {
            let rest = html[position..].trim_start();
            position = html.len() - rest.len();
            if rest.starts_with('>') || rest.starts_with("/>") {
                break;
            }
            let length = rest.find(['=', ' ', '>', '\n']).unwrap();
            let key = rest[..length].to_owned();
            position += length;
            let mut value = String::new();
            if let Some(quoted) = html[position..].strip_prefix('=') {
                let quoted = quoted.strip_prefix('"').expect("attributes are quoted");
                let length = quoted.find('"').unwrap();
                value = quoted[..length].to_owned();
                position += length + 3;
            }
            assert!(attributes.insert(key.clone(), value).is_none(), "{key} twice");
        }
        at = position;
        tags.push((name.clone(), attributes, start));
        // The content of these is no markup.
        if name == "script" || name == "style" {
            at += html[at..].find(&format!("</{name}>")).expect("it ends");
        }
    }
    tags
}

#[test]
fn every_page_looks_as_reviewed() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots");
    settings.set_omit_expression(true);
    let mut seen = BTreeSet::new();
    all(&PLAIN, |name, html, headers| {
        let (before, rest) = html.split_once("<style").unwrap();
        let (_, after) = rest.split_once("</style>\n").unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        settings.bind(|| insta::assert_snapshot!(name, format!("{headers}\n{before}{after}")));
        seen.insert(format!("{name}.snap"));
    });
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages/snapshots");
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(seen.contains(&file), "{file} belongs to no page");
    }
}

#[test]
fn hostile_words_stay_words() {
    for hostile in [
        "</script><script>alert(1)</script>",
        "</style><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' autofocus onfocus='alert(1)",
        "\" autofocus onfocus=\"alert(1)",
        "-->{{7*7}}{% raw %}&lt;",
        "\u{2028}\u{2029}\u{202e}\u{0}",
        "</textarea></title><svg onload=alert(1)>",
    ] {
        let plain = |html: &str| -> Vec<(String, Vec<String>)> {
            tags(html).into_iter().map(|(name, keys, _)| (name, keys.into_keys().collect())).collect()
        };
        let mut expected = BTreeMap::new();
        let calm = same_words("x");
        all(&calm, |name, html, headers| {
            expected.insert(name.to_owned(), (plain(html), headers.clone()));
        });
        let words = same_words(hostile);
        all(&words, |name, html, headers| {
            let (tags, calm_headers) = &expected[name];
            assert_eq!(&plain(html), tags, "{name}: {hostile:?} changed the document");
            assert_eq!(headers, calm_headers, "{name}: {hostile:?} changed the headers");
            // The text of scripts is not seen by the parser above.
            assert_eq!(html.matches("</script").count(), html.matches("<script").count(), "{name}");
            assert!(!html.contains("<script>") && !html.contains("alert(1)</script"), "{name}");
        });
    }
}

#[test]
fn names_are_isolated_so_that_their_direction_stays_theirs() {
    let words = same_words("\u{202e}x");
    all(&words, |name, html, _| {
        let body = html.split_once("<body>").unwrap().1;
        for (at, _) in body.match_indices('\u{202e}') {
            let before = &body[..at];
            let isolated = before.ends_with("<bdi>") || before.ends_with('"') || before.ends_with("<code>");
            assert!(isolated, "{name}: …{}", &before[before.len().saturating_sub(40)..]);
        }
    });
}

#[test]
fn every_field_has_a_label_and_every_reference_a_target() {
    all(&PLAIN, |name, html, _| {
        let tags = tags(html);
        let ids: Vec<&String> = tags.iter().filter_map(|(_, keys, _)| keys.get("id")).collect();
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len(), "{name}: an id twice");
        let labels: BTreeSet<&String> =
            tags.iter().filter(|(tag, ..)| tag == "label").map(|(_, keys, _)| &keys["for"]).collect();
        for (tag, keys, _) in &tags {
            let shown = keys.get("type").is_none_or(|kind| kind != "hidden");
            if matches!(tag.as_str(), "input" | "textarea" | "select") && shown {
                let id = keys.get("id").unwrap_or_else(|| panic!("{name}: a field has no id"));
                assert!(labels.contains(id), "{name}: {id} has no label");
                let checkbox = keys.get("type").is_some_and(|kind| kind == "checkbox");
                assert!(checkbox || keys.contains_key("autocomplete"), "{name}: {id} has no autocomplete");
            }
            for reference in ["for", "aria-describedby", "aria-labelledby"] {
                for id in keys.get(reference).into_iter().flat_map(|value| value.split(' ')) {
                    assert!(ids.iter().any(|known| *known == id), "{name}: {reference} names {id}");
                }
            }
            assert!(!keys.contains_key("tabindex"), "{name}: the order is that of the document");
        }
        for label in labels {
            assert!(ids.contains(&label), "{name}: a label for nothing, {label}");
        }
    });
}

#[test]
fn a_form_begins_in_its_first_empty_field() {
    all(&PLAIN, |name, html, _| {
        let tags = tags(html);
        let focused: Vec<&str> = tags
            .iter()
            .filter(|(_, keys, _)| keys.contains_key("autofocus"))
            .map(|(_, keys, _)| keys["id"].as_str())
            .collect();
        let page = name.split('.').next().unwrap();
        let expected: &[&str] = match page {
            "login" | "login-bare" => &["username"],
            "signup" | "signup-wrong" | "setup" => &["email"],
            _ if page.starts_with("login-") || page.starts_with("signup-") || page == "setup-wrong" => {
                &["password"]
            }
            _ => &[],
        };
        assert_eq!(focused, expected, "{name}");
    });
}

#[test]
fn a_browser_can_fill_in_the_fields() {
    let kinds: BTreeMap<&str, &str> =
        [("username", "username"), ("email", "email"), ("current-password", "password")].into();
    let mut seen = BTreeSet::new();
    all(&PLAIN, |name, html, _| {
        for (_, keys, _) in tags(html) {
            let (Some(fill), Some(field)) = (keys.get("autocomplete"), keys.get("name")) else { continue };
            let fits = match fill.as_str() {
                "new-password" => field == "password" && !name.starts_with("login"),
                // The first administrator signs in with the address, so that is what a browser should keep.
                "username" if name.starts_with("setup") => field == "email",
                other => kinds.get(other) == Some(&field.as_str()),
            };
            assert!(fits, "{name}: {field} is filled with {fill}");
            seen.insert(fill.clone());
        }
    });
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn a_page_loads_nothing_and_runs_only_what_its_nonce_allows() {
    all(&PLAIN, |name, html, headers| {
        let csp = &headers["content-security-policy"];
        let (mut scripts, mut frames) = (0, 0);
        for (tag, keys, _) in tags(html) {
            match tag.as_str() {
                "script" => {
                    scripts += 1;
                    assert_eq!(keys["nonce"], NONCE, "{name}");
                    assert!(!keys.contains_key("src"), "{name}");
                }
                "style" => assert_eq!(keys["nonce"], NONCE, "{name}"),
                "iframe" => {
                    frames += 1;
                    assert_eq!(keys["sandbox"], "allow-same-origin allow-scripts", "{name}");
                    assert!(keys.contains_key("hidden"), "{name}");
                }
                "link" | "object" | "embed" | "base" | "img" => panic!("{name}: <{tag}>"),
                _ => {}
            }
            for key in keys.keys() {
                assert!(!key.starts_with("on") && key != "style", "{name}: {key}");
            }
        }
        let page = name.split('.').next().unwrap();
        let scripted = matches!(page, "form-post" | "web-message" | "setup-done" | "signing-out");
        let framing = matches!(page, "error-frames" | "logged-out-frames" | "signing-out");
        assert_eq!(frames, if framing { 3 } else { 0 }, "{name}");
        // What a policy cannot name exactly stays shut out.
        let allowed = csp.split("; ").find_map(|directive| directive.strip_prefix("frame-src "));
        assert_eq!(allowed, framing.then_some("https://app.example.com http://localhost:3000"), "{name}");
        assert_eq!(scripts, usize::from(scripted), "{name}");
        assert_eq!(csp.contains("script-src"), scripted, "{name}");
        assert!(
            csp.starts_with(&format!("default-src 'none'; style-src 'nonce-{NONCE}'; ")),
            "{name}: {csp}"
        );
        assert!(csp.ends_with("; base-uri 'none'"), "{name}: {csp}");
        assert!(!csp.contains("unsafe") && !csp.contains("img-src"), "{name}: {csp}");
    });
}

#[test]
fn every_page_is_sent_with_its_headers() {
    all(&PLAIN, |name, html, headers| {
        let page = name.split('.').next().unwrap();
        let csp: BTreeMap<&str, &str> = headers["content-security-policy"]
            .split("; ")
            .map(|directive| directive.split_once(' ').unwrap())
            .collect();
        assert_eq!(headers["content-type"], "text/html; charset=utf-8", "{name}");
        assert_eq!(headers["cache-control"], "no-store", "{name}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{name}");
        assert!(headers["permissions-policy"].contains("camera=()"), "{name}");

        let framed = page == "web-message";
        let ancestors = if framed { "http://localhost:3000 https://*.example.com" } else { "'none'" };
        assert_eq!(csp["frame-ancestors"], ancestors, "{name}");
        assert_eq!(headers.get("x-frame-options").map(String::as_str), (!framed).then_some("DENY"), "{name}");

        let client = "http://localhost:3000";
        let form = html.contains("<form");
        let action = match page {
            "form-post" => client.to_owned(),
            "setup" | "setup-wrong" | "login-bare" => "'self'".to_owned(),
            _ if form => format!("'self' {client} https://app.example.com"),
            _ => "'none'".to_owned(),
        };
        assert_eq!(csp["form-action"], action, "{name}");
        let referrer = if page == "form-post" { "origin" } else { "same-origin" };
        assert_eq!(headers["referrer-policy"], referrer, "{name}");

        // Whatever may be part of a login in a pop-up keeps its opener.
        let cut = page.starts_with("setup") || page.starts_with("logged-out");
        let opener = headers.get("cross-origin-opener-policy").map(String::as_str);
        assert_eq!(opener, cut.then_some("same-origin"), "{name}");
    });
}

#[test]
fn every_text_is_translated() {
    let mut english = BTreeMap::new();
    all(&PLAIN, |name, html, _| {
        let (page, lang) = name.rsplit_once('.').unwrap();
        assert!(html.contains(&format!("<html lang=\"{lang}\">")), "{name}");
        let heading = html.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0.to_owned();
        let title = html.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0.to_owned();
        match lang {
            "en" => drop(english.insert(page.to_owned(), (heading, title))),
            _ => {
                let (english_heading, english_title) = &english[page];
                assert_ne!(&heading, english_heading, "{name}");
                assert_ne!(&title, english_title, "{name}");
            }
        }
    });
}

#[test]
fn branding_that_is_not_safe_is_left_out() {
    let nonce = Nonce::generate(&Fixed);
    let plain = Chrome::new(&nonce);
    let page = LoggedOutPage::default();
    for url in [
        "javascript:alert(1)",
        "http://example.com/logo.png",
        "http://localhost.example.com/x",
        "/x",
        "data:image/png,x",
    ] {
        let chrome = Chrome { logo_url: Some(url), ..plain.clone() };
        assert_eq!(page.render(&chrome), page.render(&plain), "{url}");
        assert_eq!(page.headers(&chrome), page.headers(&plain), "{url}");
    }
    let chrome = Chrome {
        logo_url: Some("https://cdn.example.com/logo.svg?a=1&b=2"),
        support_url: Some("javascript:alert(1)"),
        ..plain.clone()
    };
    let html = page.render(&chrome);
    assert!(html.contains("<img src=\"https://cdn.example.com/logo.svg?a=1&#38;b=2\" alt=\"\">"), "{html}");
    assert!(!html.contains("javascript:"));
    let headers = page.headers(&chrome);
    assert!(
        headers.iter().any(|(_, value)| value.to_str().unwrap().contains("img-src https://cdn.example.com;"))
    );
}

#[test]
fn the_addresses_of_a_client_cannot_change_the_policy() {
    let nonce = Nonce::generate(&Fixed);
    let chrome = Chrome::new(&nonce);
    let long: Vec<String> =
        (0..200).map(|number| format!("https://app{number}.example.com/callback")).collect();
    let mut ends: Vec<&str> = vec![
        "https://*.example.com/callback",
        "com.example.app://callback",
        "http://[::1]:4000/callback",
        "javascript:alert(1)",
        "https://a.example/;script-src%20*",
        "https://b.example/ script-src",
        "*",
        "https://*",
        "'unsafe-inline'",
    ];
    ends.extend(long.iter().map(String::as_str));
    let page = LoginPage { form_ends_at: &ends, ..LoginPage::default() };
    let headers = page.headers(&chrome);
    let csp = headers
        .iter()
        .find(|(name, _)| name == http::header::CONTENT_SECURITY_POLICY)
        .map(|(_, value)| value.to_str().unwrap())
        .unwrap();
    let forms = csp.split("; ").find_map(|directive| directive.strip_prefix("form-action ")).unwrap();
    assert!(
        forms.starts_with(
            "'self' https://*.example.com com.example.app: http: https://a.example https://app0.example.com "
        ),
        "{forms}"
    );
    assert_eq!(forms.split(' ').count(), 40);

    let anywhere = LoginPage { form_ends_at: &["https:", "javascript:"], ..LoginPage::default() };
    let headers = anywhere.headers(&chrome);
    assert!(headers.iter().any(|(_, value)| value.to_str().unwrap().contains("form-action 'self' https:;")));
    assert!(!csp.contains("script-src"), "{csp}");
}
