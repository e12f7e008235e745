//! What Actions are told of an authorization request: its parameters as they were sent, also those that the server has no
//! use for.

use std::collections::{BTreeMap, HashMap};

use super::{Request, ResponseMode};
use crate::actions::event::is_secret;

/// Bytes of what is kept beside the request itself: it travels in the address of the login page.
const KEPT_BYTES_MAX: usize = 2048;

/// What the parameters say that `request` does not: those it does not have, and those it has otherwise; an empty one was
/// not sent. What proves something is not kept, nor what does not fit.
pub(super) fn kept(request: &Request, parameters: &HashMap<String, String>) -> BTreeMap<String, String> {
    let own = of_request(request);
    let sent = |name: &str| parameters.get(name).map_or("", String::as_str);
    let others = parameters.keys().map(String::as_str).filter(|name| !own.contains_key(name));
    let mut kept: BTreeMap<String, String> = own
        .iter()
        .filter(|(name, value)| sent(name) != value.as_str())
        .map(|(name, _)| *name)
        .chain(others.filter(|name| !sent(name).is_empty()))
        .filter(|name| !is_secret(name))
        .map(|name| (name.to_owned(), sent(name).to_owned()))
        .collect();
    let mut left = KEPT_BYTES_MAX;
    kept.retain(|name, value| {
        let after = left.checked_sub(name.len() + value.len());
        left = after.unwrap_or(left);
        after.is_some()
    });
    kept
}

/// The parameters as they were sent, as far as they were kept.
pub(super) fn query(request: &Request) -> BTreeMap<String, String> {
    let own = of_request(request).into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut query: BTreeMap<String, String> = own.collect();
    query.extend(request.sent.clone());
    query.retain(|_, value| !value.is_empty());
    query
}

fn of_request(request: &Request) -> BTreeMap<&'static str, String> {
    let types =
        [(request.wants_code, "code"), (request.wants_id_token, "id_token"), (request.wants_token, "token")];
    let prompts =
        [(request.prompt_none, "none"), (request.prompt_login, "login"), (request.prompt_consent, "consent")];
    let words = |words: &[(bool, &str)]| {
        let wanted: Vec<&str> = words.iter().filter(|(wanted, _)| *wanted).map(|(_, word)| *word).collect();
        Some(wanted.join(" "))
    };
    let mode = request.response_mode.map(ResponseMode::as_str);
    [
        ("client_id", Some(request.client_id.clone())),
        ("redirect_uri", Some(request.redirect_uri.clone())),
        ("response_type", words(&types)),
        ("response_mode", mode.map(str::to_owned)),
        ("scope", Some(request.scope.clone())),
        ("audience", request.audience.clone()),
        ("state", request.state.clone()),
        ("nonce", request.nonce.clone()),
        ("code_challenge", request.code_challenge.clone()),
        ("code_challenge_method", request.code_challenge_method.clone()),
        ("prompt", words(&prompts)),
        ("max_age", request.max_age.map(|seconds| seconds.to_string())),
        ("login_hint", request.login_hint.clone()),
        ("ui_locales", request.ui_locales.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
    .collect()
}

/// The language of a transaction: of what is asked for by `ui_locales`, and by the browser, the first that the tenant has,
/// looked up as RFC 4647 §3.4 says; else the tenant's own.
pub(super) fn locale(enabled: &[String], asked: &[&str], browser: &str) -> String {
    let found = asked.iter().copied().chain([browser]).find_map(|tag| {
        std::iter::successors(Some(tag), shorter)
            .find_map(|tag| enabled.iter().find(|own| own.eq_ignore_ascii_case(tag)))
    });
    found.or(enabled.first()).map_or("en", String::as_str).to_owned()
}

fn shorter<'a>(tag: &&'a str) -> Option<&'a str> {
    tag.rsplit_once('-').map(|(start, _)| start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(parameters: &[(&str, &str)]) -> HashMap<String, String> {
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn request() -> Request {
        Request {
            client_id: "c".into(),
            redirect_uri: "https://app.example/".into(),
            wants_code: true,
            response_mode: Some(ResponseMode::Query),
            scope: "openid".into(),
            prompt_login: true,
            ..Request::default()
        }
    }

    #[test]
    fn an_action_is_told_what_was_sent_and_nothing_else() {
        let sent = given(&[
            ("client_id", "c"),
            ("response_type", "code"),
            ("scope", "openid  unknown"),
            ("prompt", "select_account"),
            ("acr_values", "urn:a urn:b"),
            ("ext-plan", "gold"),
            ("empty", ""),
            ("id_token_hint", "a.b.c"),
            ("password", "hunter2"),
        ]);
        let mut request = request();
        request.sent = kept(&request, &sent);
        let expected = given(&[
            ("client_id", "c"),
            ("response_type", "code"),
            ("scope", "openid  unknown"),
            ("prompt", "select_account"),
            ("acr_values", "urn:a urn:b"),
            ("ext-plan", "gold"),
        ]);
        assert_eq!(query(&request), expected.into_iter().collect());
        // What the request says by itself takes no room.
        assert!(!request.sent.contains_key("client_id") && !request.sent.contains_key("response_type"));
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let (large, small) = ("x".repeat(KEPT_BYTES_MAX), "y".repeat(1000));
        let sent = given(&[("a", &large), ("b", &small), ("c", &small), ("d", &small), ("e", "short")]);
        let kept = kept(&Request::default(), &sent);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["b", "c", "e"]);
    }

    #[test]
    fn the_language_is_one_that_the_tenant_has() {
        let enabled = ["en".to_owned(), "de".to_owned(), "pt-BR".to_owned()];
        for (asked, browser, found) in [
            (&["de-CH", "en"][..], "pt-BR", "de"),
            (&["fr"][..], "PT-br", "pt-BR"),
            (&[][..], "de-AT", "de"),
            (&["fr"][..], "", "en"),
            (&["pt"][..], "", "en"),
        ] {
            assert_eq!(locale(&enabled, asked, browser), found, "{asked:?} {browser}");
        }
        assert_eq!(locale(&[], &["de"], "de"), "en");
    }
}
