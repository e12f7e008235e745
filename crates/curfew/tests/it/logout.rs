//! `/v2/logout` and `/oidc/logout` (OIDC RP-Initiated Logout). Where a story is one of the OpenID Foundation's
//! conformance modules, it says which.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{
    Answer, Application, Browser, CALLBACK, Curfew, ISSUER, Operator, Person, Tokens, claims,
};

const OUT: &str = "https://app.example/out";

async fn application(operator: &Operator) -> Application {
    let more = json!({
        "app_type": "spa",
        "allowed_logout_urls": [OUT, "https://app.example/out?then=home", "https://*.tenants.example/bye"],
    });
    operator.make_client(more).await
}

/// Somebody who is logged in, and their ID token.
async fn logged_in(curfew: &Curfew, application: &Application, person: &Person) -> (Browser, String) {
    let browser = curfew.browser();
    let code = browser.log_in(application, person, &[]).await;
    (browser, Tokens::of(&application.redeem(&code).await).id.unwrap())
}

async fn is_in(browser: &Browser, application: &Application) -> bool {
    browser.authorize_silently(application, &[]).await.code().is_some()
}

fn query(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("{path}?{query}")
}

#[track_caller]
fn clears_the_cookie(answer: &Answer) {
    let line = answer.set_cookie("__Host-curfew=").expect("a cookie line");
    assert!(line.starts_with("__Host-curfew=;") && line.contains("Max-Age=0"), "{line}");
}

/// Answers the confirmation page.
async fn confirm(browser: &Browser, page: &Answer, action: &str) -> Answer {
    let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
    browser.post("u/logout", &[("state", &state), ("csrf", &csrf), ("action", action)]).await
}

/// An application that the browser tells.
async fn front_channel(operator: &Operator, uri: &str) -> Application {
    let origin = url::Url::parse(uri).unwrap().origin().ascii_serialization();
    let callbacks = [CALLBACK.to_owned(), format!("{origin}/callback")];
    let more = json!({"app_type": "spa", "callbacks": callbacks, "frontchannel_logout_uri": uri});
    operator.make_client(more).await
}

/// Takes part in the session of a browser.
async fn join(browser: &Browser, application: &Application) {
    let code = browser.authorize_silently(application, &[]).await.code().expect("a code");
    Tokens::of(&application.redeem(&code).await);
}

/// What a page opens in frames.
fn frames(page: &Answer) -> BTreeSet<String> {
    let text = page.text();
    let sources = text.split("<iframe src=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    sources.map(|source| source.replace("&#38;", "&")).collect()
}

/// The origins that a page may frame.
fn framed(page: &Answer) -> BTreeSet<String> {
    let policy = page.header("content-security-policy").unwrap();
    let sources = policy.split("; ").find_map(|directive| directive.strip_prefix("frame-src "));
    sources.unwrap_or("").split(' ').filter(|source| !source.is_empty()).map(str::to_owned).collect()
}

fn texts(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

in_a_box! {
    fn v2_logout_ends_the_browsers_session_and_goes_where_it_may(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (application(&operator).await, operator.make_person().await);
        let id = spa.client_id.clone();
        operator.patch("/tenants/settings", json!({"allowed_logout_urls": ["https://www.example.com/"]})).await.expect(200);
        for (parameters, leads_to) in [
            (vec![("client_id", &*id), ("returnTo", OUT)], Some(OUT)),
            (vec![("client_id", &*id), ("returnTo", "https://APP.example/out?a=1#b")], Some("https://APP.example/out?a=1#b")),
            (vec![("client_id", &*id), ("returnTo", "https://acme.tenants.example/bye")], Some("https://acme.tenants.example/bye")),
            (vec![("client_id", &*id)], Some(OUT)),
            (vec![("client_id", &*id), ("federated", "")], Some(OUT)),
            (vec![("returnTo", "https://www.example.com/")], Some("https://www.example.com/")),
        ] {
            let (browser, _) = logged_in(&curfew, &spa, &ada).await;
            let answer = browser.get(&query("v2/logout", &parameters)).await.expect(302);
            assert_eq!(answer.location(), leads_to);
            clears_the_cookie(&answer);
            assert!(!is_in(&browser, &spa).await);
        }
        assert_eq!(curfew.logs("slo").await.len(), 6);
        let (browser, _) = logged_in(&curfew, &spa, &ada).await;
        browser.get("v2/logout").await.expect(200);
        assert!(!is_in(&browser, &spa).await);
        // Whoever asks to be out is out, also when the address is not allowed.
        for parameters in [
            [("client_id", &*id), ("returnTo", "https://evil.example/")],
            [("client_id", &*id), ("returnTo", "https://app.example/OUT")],
            [("client_id", &*id), ("returnTo", "http://app.example/out")],
            [("client_id", &*id), ("returnTo", "//app.example/out")],
            [("client_id", &*id), ("returnTo", "https://a.b.tenants.example/bye")],
            [("client_id", "nobody"), ("returnTo", "https://www.example.com/")],
            [("client_id", ""), ("returnTo", OUT)],
        ] {
            let (browser, _) = logged_in(&curfew, &spa, &ada).await;
            let answer = browser.get(&query("v2/logout", &parameters)).await.expect(400);
            assert_eq!(answer.location(), None);
            clears_the_cookie(&answer);
            assert!(!is_in(&browser, &spa).await);
        }
        assert_eq!(curfew.logs("flo").await.len(), 7);
    }

    // oidcc-rp-initiated-logout, oidcc-rp-initiated-logout-no-state
    fn a_hint_for_this_browsers_session_logs_out_at_once(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (application(&operator).await, operator.make_person().await);
        for post in [false, true] {
            for (name, state) in [("id_token_hint", "a b&c"), ("id_token_hint", ""), ("logout_hint", "x")] {
                let (browser, id_token) = logged_in(&curfew, &spa, &ada).await;
                // The hint may be older than it is valid.
                curfew.advance(40_000);
                let sid = claims(&id_token)["sid"].as_str().unwrap().to_owned();
                let hint = if name == "id_token_hint" { id_token } else { sid };
                let parameters = [
                    (name, &*hint),
                    ("client_id", &*spa.client_id),
                    ("post_logout_redirect_uri", "https://app.example/out?then=home"),
                    ("state", state),
                ];
                let answer = if post {
                    browser.post("oidc/logout", &parameters).await
                } else {
                    browser.get(&query("oidc/logout", &parameters)).await
                };
                let answer = answer.expect(302);
                let expected = match state {
                    "" => "https://app.example/out?then=home".to_owned(),
                    "x" => "https://app.example/out?then=home&state=x".to_owned(),
                    _ => "https://app.example/out?then=home&state=a+b%26c".to_owned(),
                };
                assert_eq!(answer.location(), Some(&*expected));
                clears_the_cookie(&answer);
                assert!(!is_in(&browser, &spa).await);
            }
        }
    }

    // oidcc-rp-initiated-logout-no-id-token-hint, -no-params, -only-state
    fn without_a_hint_the_person_is_asked(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada, bob) = (application(&operator).await, operator.make_person().await, operator.make_person().await);
        let (browser, _) = logged_in(&curfew, &spa, &ada).await;
        let (_, of_bob) = logged_in(&curfew, &spa, &bob).await;
        let asked = [("client_id", &*spa.client_id), ("post_logout_redirect_uri", OUT), ("state", "s")];
        for url in [
            "oidc/logout".to_owned(),
            query("oidc/logout", &asked),
            query("oidc/logout", &[("id_token_hint", &of_bob)]),
            query("oidc/logout", &[("logout_hint", "not a sid")]),
        ] {
            let page = browser.get(&url).await.expect(200);
            assert!(page.text().contains("action=\"/u/logout\""), "{url}");
            assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
            assert!(is_in(&browser, &spa).await);
        }
        let page = browser.get(&query("oidc/logout", &asked)).await;
        // Another site knows neither the state nor the token; a stranger's page is no good either.
        let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
        browser.post("u/logout", &[("state", &state), ("csrf", "wrong"), ("action", "accept")]).await.expect(400);
        browser.post("u/logout", &[("action", "accept")]).await.expect(400);
        let (stranger, _) = logged_in(&curfew, &spa, &bob).await;
        stranger.post("u/logout", &[("state", &state), ("csrf", &csrf), ("action", "accept")]).await.expect(400);
        assert!(is_in(&stranger, &spa).await);
        let stays = confirm(&browser, &page, "deny").await.expect(302);
        assert_eq!(stays.location(), Some("https://app.example/out?state=s"));
        assert!(is_in(&browser, &spa).await);
        let goes = confirm(&browser, &page, "accept").await.expect(302);
        assert_eq!(goes.location(), Some("https://app.example/out?state=s"));
        clears_the_cookie(&goes);
        assert!(!is_in(&browser, &spa).await);
        // Nobody is there to be asked.
        let answer = browser.get(&query("oidc/logout", &asked)).await.expect(302);
        assert_eq!(answer.location(), Some("https://app.example/out?state=s"));
        let (browser, _) = logged_in(&curfew, &spa, &ada).await;
        let page = browser.get("oidc/logout").await.expect(200);
        curfew.advance(3600);
        confirm(&browser, &page, "accept").await.expect(400);
        assert!(is_in(&browser, &spa).await);
        operator.patch("/tenants/settings", json!({"sessions": {"oidc_logout_prompt_enabled": false}})).await.expect(200);
        browser.get(&query("oidc/logout", &asked)).await.expect(302);
        assert!(!is_in(&browser, &spa).await);
    }

    // oidcc-rp-initiated-logout-bad-post-logout-redirect-uri, -modified-id-token-hint, -bad-id-token-hint,
    // -query-added-to-post-logout-redirect-uri
    fn what_does_not_fit_together_is_refused(curfew) {
        let operator = curfew.operator().await;
        let (spa, other, ada) = (application(&operator).await, application(&operator).await, operator.make_person().await);
        let (browser, id_token) = logged_in(&curfew, &spa, &ada).await;
        let (_, another) = logged_in(&curfew, &spa, &ada).await;
        let sid = claims(&another)["sid"].as_str().unwrap().to_owned();
        let modified = format!("{}A{}", &id_token[..id_token.len() - 10], &id_token[id_token.len() - 9..]);
        for parameters in [
            vec![("id_token_hint", "bad")],
            vec![("id_token_hint", &*modified)],
            vec![("id_token_hint", &*id_token), ("client_id", &*other.client_id)],
            vec![("id_token_hint", &*id_token), ("logout_hint", &*sid)],
            vec![("client_id", "nobody")],
        ] {
            browser.get(&query("oidc/logout", &parameters)).await.expect(400);
            assert!(is_in(&browser, &spa).await, "{parameters:?}");
        }
        assert_eq!(curfew.logs("flo").await.len(), 5);
        // An address that is not registered exactly gets nobody anywhere; the logout itself is well asked for.
        for uri in ["https://evil.example/", "https://app.example/out?x", "https://acme.tenants.example/bye", "https://APP.example/out"] {
            let (browser, id_token) = logged_in(&curfew, &spa, &ada).await;
            let parameters = [("id_token_hint", &*id_token), ("post_logout_redirect_uri", uri)];
            let answer = browser.get(&query("oidc/logout", &parameters)).await.expect(400);
            assert_eq!(answer.location(), None);
            assert!(!is_in(&browser, &spa).await);
        }
    }

    fn an_id_token_signed_with_the_clients_secret_is_a_hint_too(curfew) {
        let operator = curfew.operator().await;
        let more = json!({"app_type": "regular_web", "jwt_configuration": {"alg": "HS256"}, "allowed_logout_urls": [OUT]});
        let (web, ada) = (operator.make_client(more).await, operator.make_person().await);
        let (browser, id_token) = logged_in(&curfew, &web, &ada).await;
        let foreign = curfew_tokens::jws::sign_hs256(b"another secret, as long as one must be", "JWT", &claims(&id_token)).unwrap();
        browser.get(&query("oidc/logout", &[("id_token_hint", &foreign)])).await.expect(400);
        let parameters = [("id_token_hint", &*id_token), ("post_logout_redirect_uri", OUT)];
        let answer = browser.get(&query("oidc/logout", &parameters)).await.expect(302);
        assert_eq!(answer.location(), Some(OUT));
        assert!(!is_in(&browser, &web).await);
    }

    fn the_browser_tells_those_that_nobody_else_can_tell(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (application(&operator).await, operator.make_person().await);
        let one = front_channel(&operator, "https://app.example/one?a=b").await;
        let other = front_channel(&operator, "https://other.example/out").await;
        let both = front_channel(&operator, "https://both.example/out").await;
        let back = json!({"oidc_logout": {"backchannel_logout_urls": ["https://both.example/back"]}});
        operator.patch(&format!("/clients/{}", both.client_id), back).await.expect(200);
        let elsewhere = front_channel(&operator, "https://elsewhere.example/out").await;
        logged_in(&curfew, &elsewhere, &ada).await;
        let id = &*spa.client_id;
        for way in ["v2", "hint", "confirmed", "no target", "not allowed"] {
            let (browser, id_token) = logged_in(&curfew, &spa, &ada).await;
            for application in [&one, &other, &both] {
                join(&browser, application).await;
            }
            let end = match way {
                "v2" => query("v2/logout", &[("client_id", id), ("returnTo", "https://app.example/out?x=\"><script>")]),
                "hint" => query("oidc/logout", &[("id_token_hint", &id_token), ("post_logout_redirect_uri", OUT), ("state", "a&b")]),
                "confirmed" => query("oidc/logout", &[("client_id", id), ("post_logout_redirect_uri", OUT)]),
                "no target" => "v2/logout".to_owned(),
                _ => query("v2/logout", &[("client_id", id), ("returnTo", "https://evil.example/")]),
            };
            let mut page = browser.get(&end).await;
            if way == "confirmed" {
                assert!(frames(&page).is_empty() && framed(&page).is_empty());
                let stays = confirm(&browser, &page, "deny").await.expect(302);
                assert_eq!(stays.location(), Some(OUT));
                page = confirm(&browser, &page, "accept").await;
            }
            let page = page.expect(if way == "not allowed" { 400 } else { 200 });
            clears_the_cookie(&page);
            assert!(!is_in(&browser, &spa).await, "{way}");
            let sid = claims(&id_token)["sid"].as_str().unwrap().to_owned();
            let iss_and_sid = query("", &[("iss", ISSUER), ("sid", &sid)]);
            let expected = [
                format!("https://app.example/one?a=b&{}", &iss_and_sid[1..]),
                format!("https://other.example/out{iss_and_sid}"),
            ];
            assert_eq!(frames(&page), BTreeSet::from(expected), "{way}");
            assert_eq!(framed(&page), texts(&["https://app.example", "https://other.example"]), "{way}");
            let leads_to = page.text().split_once("id=\"on\" href=\"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
            let expected = match way {
                "v2" => Some("https://app.example/out?x=&#34;&#62;&#60;script&#62;"),
                "hint" => Some("https://app.example/out?state=a%26b"),
                "confirmed" => Some(OUT),
                _ => None,
            };
            assert_eq!(leads_to.as_deref(), expected, "{way}");
            assert_eq!(page.text().matches("<script").count(), usize::from(expected.is_some()), "{way}");
            // Who is out already is not put out again.
            let again = browser.get(&query("v2/logout", &[("client_id", id)])).await.expect(302);
            assert_eq!(again.location(), Some(OUT));
        }
    }

    fn without_anybody_for_the_browser_to_tell_it_goes_on_at_once(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (application(&operator).await, operator.make_person().await);
        let front = front_channel(&operator, "https://app.example/front").await;
        let path = format!("/clients/{}", front.client_id);
        let made = operator.get(&path).await.expect(200).json();
        assert_eq!(made["frontchannel_logout_uri"], "https://app.example/front");
        let end = query("v2/logout", &[("client_id", &spa.client_id)]);
        for (change, told) in [
            (json!({"frontchannel_logout_session_required": true}), 1),
            (json!({"oidc_logout": {"backchannel_logout_urls": ["https://app.example/back"]}}), 0),
            (json!({"oidc_logout": null}), 1),
            (json!({"frontchannel_logout_uri": null}), 0),
        ] {
            operator.patch(&path, change).await.expect(200);
            let (browser, _) = logged_in(&curfew, &spa, &ada).await;
            join(&browser, &front).await;
            let answer = browser.get(&end).await.expect(if told == 0 { 302 } else { 200 });
            assert_eq!(frames(&answer).len(), told);
        }
        // An application's address that only an app can open: the page leads there, and never to a script.
        operator.patch(&path, json!({"frontchannel_logout_uri": "https://app.example/front"})).await.expect(200);
        for (target, status) in [("com.example.app://out", 200), ("javascript:alert(1)", 302)] {
            operator.patch(&format!("/clients/{}", spa.client_id), json!({"allowed_logout_urls": [target]})).await.expect(200);
            let (browser, _) = logged_in(&curfew, &spa, &ada).await;
            join(&browser, &front).await;
            let answer = browser.get(&end).await.expect(status);
            assert!(!answer.text().contains("javascript:"), "{target}");
        }
    }

    fn one_page_tells_no_more_than_twenty(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (application(&operator).await, operator.make_person().await);
        let (browser, _) = logged_in(&curfew, &spa, &ada).await;
        for number in 0..22 {
            let front = front_channel(&operator, &format!("https://app{number}.example/out")).await;
            join(&browser, &front).await;
        }
        let page = browser.get("v2/logout").await.expect(200);
        assert_eq!((frames(&page).len(), framed(&page).len()), (20, 20));
    }

    fn an_address_for_the_browser_that_is_not_the_applications_is_refused(curfew) {
        let operator = curfew.operator().await;
        let front = front_channel(&operator, "https://app.example/front").await;
        let path = format!("/clients/{}", front.client_id);
        let field = |answer: Answer| {
            let message = answer.expect(400).json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains("frontchannel_logout_uri"), "{message}");
        };
        for wrong in [
            json!("http://app.example/front"),
            json!("https://app.example/front#top"),
            json!("https://evil.example/front"),
            json!("https://app.example:444/front"),
            json!("javascript:alert(1)"),
            json!("/front"),
            json!(""),
            json!(["https://app.example/front"]),
            json!(format!("https://app.example/{}", "x".repeat(2000))),
        ] {
            field(operator.patch(&path, json!({"frontchannel_logout_uri": wrong})).await);
            let made = json!({"name": "x", "callbacks": [CALLBACK], "frontchannel_logout_uri": wrong});
            field(operator.post("/clients", made).await);
        }
        field(operator.patch(&path, json!({"callbacks": ["https://moved.example/callback"]})).await);
        let both = json!({"callbacks": ["http://localhost:3000/callback"], "frontchannel_logout_uri": "http://localhost:3000/out"});
        operator.patch(&path, both).await.expect(200);
        let refused = operator.patch(&path, json!({"frontchannel_logout_session_required": "yes"})).await.expect(400);
        assert!(refused.text().contains("frontchannel_logout_session_required"));
    }
}
