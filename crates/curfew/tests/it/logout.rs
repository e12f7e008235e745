//! `/v2/logout` and `/oidc/logout` (OIDC RP-Initiated Logout). Where a story is one of the OpenID Foundation's
//! conformance modules, it says which.

use serde_json::json;

use crate::support::{Answer, Application, Browser, Curfew, Operator, Person, Tokens, claims};

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
}
