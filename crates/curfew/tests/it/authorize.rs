//! `/authorize` (RFC 6749 §3.1 and §4, OIDC Core §3, RFC 7636, RFC 9207). Where a story is one of the OpenID
//! Foundation's conformance modules, it says which.

use std::collections::HashMap;

use curfew_core::authorize::CHECKS;
use curfew_tokens::JwsAlg;
use curfew_tokens::claims::half_hash;
use serde_json::json;

use crate::support::{Answer, Application, Browser, CALLBACK, Operator, Person, Tokens, VERIFIER, claims};

/// The seven response types, and what each hands out.
const RESPONSE_TYPES: [(&str, &[&str]); 7] = [
    ("code", &["code"]),
    ("token", &["access_token"]),
    ("id_token", &["id_token"]),
    ("code token", &["code", "access_token"]),
    ("code id_token", &["code", "id_token"]),
    ("token id_token", &["access_token", "id_token"]),
    ("code token id_token", &["code", "access_token", "id_token"]),
];

async fn web(operator: &Operator) -> Application {
    operator.make_client(json!({"app_type": "regular_web"})).await
}

/// A client that asked for the legacy response types.
async fn legacy(operator: &Operator) -> Application {
    let more = json!({
        "app_type": "regular_web",
        "grant_types": ["authorization_code", "implicit", "refresh_token"],
        "web_origins": ["https://app.example"],
    });
    operator.make_client(more).await
}

/// Logs somebody in, so that what follows needs no page.
async fn logged_in(browser: &Browser, application: &Application, person: &Person) {
    browser.log_in(application, person, &[]).await;
}

#[track_caller]
fn on_our_page(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 400, "{:?}", answer.location());
    assert_eq!(answer.location(), None);
    assert!(answer.text().contains(text), "{text} in {}", answer.text());
    assert!(answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
}

#[track_caller]
fn at_the_callback(answer: &Answer, error: &str, description: &str) {
    let response = answer.response();
    assert_eq!(
        response.get("error").map(String::as_str),
        Some(error),
        "{:?} {}",
        answer.location(),
        answer.text()
    );
    assert_eq!(response["error_description"], description);
    assert_eq!(response["state"], "a-state");
    assert_eq!(response["iss"], "https://id.example/");
    assert!(!response.contains_key("code"));
}

#[test]
fn the_order_of_checks_is_one_list() {
    let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "size",
            "client",
            "redirect_uri",
            "response_type",
            "response_mode",
            "web origin",
            "unsupported parameters",
            "grant types",
            "PKCE",
            "nonce",
            "prompt",
            "max_age",
            "audience",
            "scope",
            "connection",
        ]
    );
}

in_a_box! {
    // oidcc-redirect-uri-query-mismatch, oidcc-ensure-registered-redirect-uri, oidcc-response-type-missing
    fn errors_before_the_client_is_proven_stay_on_our_page(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        let browser = curfew.browser();
        for (more, text) in [
            ([("client_id", "nobody")], "Unknown client: nobody"),
            ([("client_id", "")], "Missing required parameter: client_id"),
            ([("client_id", "a\0b")], "character that is not allowed"),
            ([("redirect_uri", "https://evil.example/callback")], "Callback URL mismatch."),
            ([("redirect_uri", "https://app.example/callback?x=1")], "Callback URL mismatch."),
            ([("redirect_uri", "https://app.example/callback#x")], "Callback URL mismatch."),
            ([("redirect_uri", "https://app.example/CALLBACK")], "Callback URL mismatch."),
            ([("response_type", "")], "Missing required parameter: response_type"),
            ([("state", "nul\0")], "character that is not allowed"),
            ([("response_mode", "web_message")], "not among the client&#39;s allowed web origins"),
        ] {
            on_our_page(&browser.authorize(&spa, &more).await, text);
        }
        let long = "x".repeat(17 * 1024);
        on_our_page(&browser.authorize(&spa, &[("state", &long)]).await, "too large");
        let twice = format!("{}&state=another", spa.authorize_url(&[]));
        on_our_page(&browser.get(&twice).await, "Parameter sent twice: state");
        operator.enable(crate::support::CONNECTION, &spa.client_id, false).await;
        on_our_page(&browser.authorize(&spa, &[]).await, "no connections enabled for the client");
    }

    fn a_tenant_may_have_an_error_page_of_its_own(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        let settings = json!({"error_page": {"url": "https://www.example.com/oops?from=login"}});
        operator.patch("/tenants/settings", settings).await.expect(200);
        let answer = curfew.browser().authorize(&spa, &[("redirect_uri", "https://evil.example/")]).await.expect(302);
        let url = answer.location().unwrap();
        assert!(url.starts_with("https://www.example.com/oops?from=login&"), "{url}");
        assert_eq!(answer.error().as_deref(), Some("invalid_request"));
        assert_eq!(answer.parameter("client_id").as_deref(), Some(&*spa.client_id));
        assert_eq!(answer.parameter("lang").as_deref(), Some("en"));
        assert!(answer.parameter("tracking").is_some());
        assert_eq!(answer.parameter("redirect_uri"), None, "an address that is not proven goes nowhere");
    }

    // oidcc-prompt-none-not-logged-in and the errors of reference §1.8
    fn errors_after_that_go_to_the_callback(curfew) {
        let operator = curfew.operator().await;
        let (spa, web) = (operator.make_spa().await, web(&operator).await);
        let browser = curfew.browser();
        let organizations = format!("client {} is not allowed to use organizations", spa.client_id);
        let not_43 = "code_challenge must be 43 to 128 characters of base64url";
        for (more, error, description) in [
            (&[("response_type", "code x")][..], "unsupported_response_type", "Unsupported response type: codex"),
            (&[("response_type", " ")], "unsupported_response_type", "Unsupported response type"),
            (&[("response_mode", "carrier_pigeon")], "invalid_request", "Unsupported response mode: carrier_pigeon"),
            (&[("request", "a.b.c")], "request_not_supported", "The request parameter is not supported"),
            (&[("request_uri", "urn:x")], "request_uri_not_supported", "The request_uri parameter is not supported"),
            (&[("organization", "org_1")], "invalid_request", &organizations),
            (&[("response_type", "token")], "unauthorized_client", "Grant type 'implicit' not allowed for the client."),
            (&[("response_type", "code id_token")], "unauthorized_client", "Grant type 'implicit' not allowed for the client."),
            (&[("code_challenge", ""), ("code_challenge_method", "")], "invalid_request", "Missing required parameter: code_challenge"),
            (&[("code_challenge", "")], "invalid_request", "Missing required parameter: code_challenge"),
            (&[("code_challenge", "short")], "invalid_request", not_43),
            (&[("code_challenge_method", "S512")], "invalid_request", "Unsupported code_challenge_method: S512"),
            (&[("prompt", "none login")], "invalid_request", "prompt none must stand alone"),
            (&[("prompt", "maybe")], "invalid_request", "Unsupported prompt: maybe"),
            (&[("max_age", "-1")], "invalid_request", "max_age must be a number of seconds"),
            (&[("max_age", "soon")], "invalid_request", "max_age must be a number of seconds"),
            (&[("audience", "https://nowhere.example/")], "access_denied", "Service not found: https://nowhere.example/"),
            (&[("scope", "openid offline_access online_access")], "invalid_request", "Cannot request both online_access and offline_access scopes"),
            (&[("connection", "google-oauth2")], "invalid_request", "the connection is not enabled"),
            (&[("prompt", "none")], "login_required", "Login required"),
        ] {
            at_the_callback(&browser.authorize(&spa, more).await.expect(302), error, description);
        }
        // A confidential client may do without PKCE, but not half with it.
        let half = [("code_challenge", "")];
        at_the_callback(&browser.authorize(&web, &half).await, "invalid_request", "Missing required parameter: code_challenge");
        let without = [("code_challenge", ""), ("code_challenge_method", "")];
        assert!(browser.authorize(&web, &without).await.leads_to("u/login"));
        // Also an error about what comes before `response_mode` in the list goes the way the client asked for.
        let form_post = [("response_mode", "form_post"), ("response_type", "x")];
        let answer = browser.authorize(&web, &form_post).await.expect(200);
        at_the_callback(&answer, "unsupported_response_type", "Unsupported response type: x");
        assert_eq!(curfew.logs("fsa").await.len(), 1);
    }

    // oidcc-server for each response type; oidcc-response-type-* ; fapi: s_hash
    fn every_response_type_in_every_mode(curfew) {
        let operator = curfew.operator().await;
        let (application, ada) = (legacy(&operator).await, operator.make_person().await);
        let browser = curfew.browser();
        logged_in(&browser, &application, &ada).await;
        for (response_type, handed) in RESPONSE_TYPES {
            for mode in ["", "query", "fragment", "form_post", "web_message"] {
                let more = [("response_type", response_type), ("response_mode", mode)];
                let answer = browser.authorize(&application, &more).await;
                let front = response_type != "code";
                if mode == "query" && front {
                    assert!(answer.location().unwrap().starts_with(&format!("{CALLBACK}#")));
                    at_the_callback(&answer, "invalid_request", "response_mode query is not allowed for this response_type");
                    continue;
                }
                let start = match mode {
                    "form_post" | "web_message" => None,
                    "fragment" => Some('#'),
                    _ if front => Some('#'),
                    _ => Some('?'),
                };
                let url = answer.location();
                assert_eq!(url.map(|url| url[CALLBACK.len()..].chars().next()), start.map(Some), "{response_type} {mode}");
                check_response(&application, &answer.response(), handed).await;
            }
        }
    }

    // oidcc-nonce-required, oidcc-ensure-request-without-nonce-succeeds-for-code-flow
    fn a_nonce_is_due_where_an_id_token_comes_through_the_browser(curfew) {
        let operator = curfew.operator().await;
        let (application, ada) = (legacy(&operator).await, operator.make_person().await);
        let browser = curfew.browser();
        logged_in(&browser, &application, &ada).await;
        for response_type in ["id_token", "code id_token", "token id_token", "code token id_token"] {
            let answer = browser.authorize(&application, &[("response_type", response_type), ("nonce", "")]).await;
            at_the_callback(&answer, "invalid_request", "Missing required parameter: nonce");
            let answer = browser.authorize(&application, &[("response_type", response_type), ("scope", "email")]).await;
            at_the_callback(&answer, "invalid_request", "response_type id_token needs the scope openid");
        }
        let code = browser.authorize(&application, &[("nonce", "")]).await.code().unwrap();
        let tokens = Tokens::of(&application.redeem(&code).await);
        assert_eq!(claims(&tokens.id.unwrap()).get("nonce"), None);
    }

    fn a_message_reaches_one_origin_and_cannot_leave_its_script(curfew) {
        let operator = curfew.operator().await;
        let more = json!({"app_type": "spa", "web_origins": ["https://app.example", "https://other.example/"]});
        let (spa, ada) = (operator.make_client(more).await, operator.make_person().await);
        let browser = curfew.browser();
        let asked = [("response_mode", "web_message"), ("prompt", "none"), ("state", "</script><script>alert(1)//")];
        let silent = browser.authorize(&spa, &asked).await.expect(200);
        assert_eq!(silent.response()["error"], "login_required");
        logged_in(&browser, &spa, &ada).await;
        let answer = browser.authorize(&spa, &asked).await.expect(200);
        assert_eq!(answer.response()["state"], "</script><script>alert(1)//");
        assert_eq!(answer.text().matches("</script>").count(), 1, "{}", answer.text());
        assert!(answer.text().contains("}, \"https:\\u002f\\u002fapp.example\");"), "{}", answer.text());
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors https://app.example https://other.example;"), "{policy}");
        assert_eq!(answer.header("x-frame-options"), None);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        Tokens::of(&spa.redeem(&answer.response()["code"]).await);
    }

    // oidcc-server with PKCE; RFC 7636 §4.6, RFC 9700 §4.8 (downgrade)
    fn pkce_binds_the_code_to_who_asked(curfew) {
        let operator = curfew.operator().await;
        let (spa, web, ada) = (operator.make_spa().await, web(&operator).await, operator.make_person().await);
        let browser = curfew.browser();
        logged_in(&browser, &spa, &ada).await;
        let code = |more: Vec<(&'static str, &'static str)>, application: Application| {
            let browser = browser.clone();
            async move { browser.authorize(&application, &more).await.code().unwrap() }
        };
        let redeem = |application: Application, code: String, verifier: &'static str| async move {
            let fields = [
                ("grant_type", "authorization_code"),
                ("code", &*code),
                ("redirect_uri", CALLBACK),
                ("code_verifier", verifier),
            ];
            application.token(&fields).await
        };
        let plain = vec![("code_challenge", VERIFIER), ("code_challenge_method", "plain")];
        redeem(spa.clone(), code(plain, spa.clone()).await, VERIFIER).await.expect(200);
        let unnamed = vec![("code_challenge", VERIFIER), ("code_challenge_method", "")];
        redeem(spa.clone(), code(unnamed, spa.clone()).await, VERIFIER).await.expect(200);
        let wrong = "another-verifier-of-at-least-forty-three-characters";
        for verifier in [wrong, "", "short"] {
            let answer = redeem(spa.clone(), code(vec![], spa.clone()).await, verifier).await.expect(403);
            assert_eq!(answer.error().as_deref(), Some("invalid_grant"));
            assert_eq!(answer.error_description().as_deref(), Some("Failed to verify code verifier"));
        }
        let without = vec![("code_challenge", ""), ("code_challenge_method", "")];
        let answer = redeem(web.clone(), code(without.clone(), web.clone()).await, VERIFIER).await.expect(403);
        assert_eq!(answer.error_description().as_deref(), Some("Failed to verify code verifier"));
        redeem(web.clone(), code(without, web.clone()).await, "").await.expect(200);
    }

    // oidcc-prompt-login, oidcc-prompt-none-logged-in, oidcc-prompt-none-not-logged-in
    fn prompt_says_whether_somebody_may_be_asked(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let first = claims(&Tokens::of(&spa.redeem(&browser.log_in(&spa, &ada, &[]).await).await).id.unwrap());
        assert_eq!(first.get("auth_time"), None);
        curfew.advance(100);
        let code = browser.authorize_silently(&spa, &[]).await.code().unwrap();
        let silent = claims(&Tokens::of(&spa.redeem(&code).await).id.unwrap());
        assert_eq!(silent["sid"], first["sid"]);
        for (prompt, page) in [
            ("login", "u/login"),
            ("select_account", "u/login"),
            ("create", "u/signup"),
            ("create login", "u/signup"),
            ("consent", "u/consent"),
        ] {
            let answer = browser.authorize(&spa, &[("prompt", prompt)]).await.expect(302);
            assert!(answer.leads_to(page), "{prompt}: {:?}", answer.location());
        }
        // A login asked for keeps the session and moves its time.
        let to_login = browser.authorize(&spa, &[("prompt", "login")]).await;
        let code = browser.submit_login(&to_login, &ada.email, &ada.password).await.code().unwrap();
        let again = claims(&Tokens::of(&spa.redeem(&code).await).id.unwrap());
        assert_eq!(again["sid"], first["sid"]);
        assert_eq!(again["auth_time"], json!(curfew.now().seconds()));
        assert_eq!(curfew.logs("ssa").await.len(), 1);
        assert_eq!(curfew.logs("s").await.len(), 2);
        let hinted = browser.authorize(&spa, &[("prompt", "login"), ("screen_hint", "signup")]).await;
        assert!(hinted.leads_to("u/signup"));
        let known = browser.authorize(&spa, &[("screen_hint", "signup")]).await;
        assert!(known.code().is_some(), "a hint asks nobody who is known");
    }

    // oidcc-max-age-1, oidcc-max-age-10000
    fn max_age_asks_again_when_the_login_is_older(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        logged_in(&browser, &spa, &ada).await;
        let began = curfew.now().seconds();
        curfew.advance(60);
        let code = browser.authorize(&spa, &[("max_age", "60")]).await.code().unwrap();
        let id_token = claims(&Tokens::of(&spa.redeem(&code).await).id.unwrap());
        assert_eq!(id_token["auth_time"], json!(began));
        assert!(browser.authorize(&spa, &[("max_age", "59")]).await.leads_to("u/login"));
        assert!(browser.authorize(&spa, &[("max_age", "0")]).await.leads_to("u/login"));
        let silent = browser.authorize_silently(&spa, &[("max_age", "59")]).await;
        at_the_callback(&silent, "login_required", "Login required");
        let to_login = browser.authorize(&spa, &[("max_age", "0")]).await;
        let code = browser.submit_login(&to_login, &ada.email, &ada.password).await.code().unwrap();
        let id_token = claims(&Tokens::of(&spa.redeem(&code).await).id.unwrap());
        assert_eq!(id_token["auth_time"], json!(began + 60));
    }

    // oidcc-server, POST at the authorization endpoint; oidcc-ensure-post-request-succeeds
    fn a_request_may_come_as_a_form(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let url = spa.authorize_url(&[]);
        let fields: Vec<(String, String)> =
            url::form_urlencoded::parse(url.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let to_login = browser.post("authorize", &fields).await.expect(302);
        let answer = browser.submit_login(&to_login, &ada.email, &ada.password).await.expect(302);
        Tokens::of(&spa.redeem(&answer.code().unwrap()).await);
    }

    // oidcc-login-hint, oidcc-ui-locales, oidcc-display-*
    fn the_login_page_takes_the_hints_of_the_request(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        operator.patch("/tenants/settings", json!({"enabled_locales": ["en", "de"]})).await.expect(200);
        let browser = curfew.browser();
        let hints = [("login_hint", "ada\"@example.com"), ("ui_locales", "de-CH en"), ("display", "popup"), ("ext-x", "1")];
        let to_login = browser.authorize(&spa, &hints).await.expect(302);
        let page = browser.get(to_login.location().unwrap()).await.expect(200).text();
        assert!(page.contains("<html lang=\"de\""), "{page}");
        assert!(page.contains("value=\"ada&#34;@example.com\""), "{page}");
        let wrong = browser.authorize(&spa, &[("redirect_uri", "https://evil.example/"), ("ui_locales", "de")]).await;
        assert!(wrong.text().contains("<html lang=\"de\""));
    }

    // oidcc-scope-*, oidcc-ensure-other-scope-order-succeeds
    fn audience_and_scope_say_what_is_granted(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let api = operator.make_api().await;
        let id = operator.get("/resource-servers").await.json();
        let id = id.as_array().unwrap().iter().find(|row| row["identifier"] == api.as_str()).unwrap()["id"].clone();
        let scopes = json!({"scopes": [{"value": "read:things"}]});
        operator.patch(&format!("/resource-servers/{}", id.as_str().unwrap()), scopes).await.expect(200);
        let browser = curfew.browser();
        logged_in(&browser, &spa, &ada).await;
        let exchange = |more: Vec<(&'static str, String)>| {
            let (browser, spa) = (browser.clone(), spa.clone());
            async move {
                let more: Vec<(&str, &str)> = more.iter().map(|(name, value)| (*name, &**value)).collect();
                let code = browser.authorize(&spa, &more).await.code().unwrap();
                Tokens::of(&spa.redeem(&code).await)
            }
        };
        let scope = |text: &str| ("scope", text.to_owned());
        let audience = |text: &str| ("audience", text.to_owned());
        let opaque = exchange(vec![scope("email openid read:things nonsense email")]).await;
        assert_eq!(opaque.scope, "email openid");
        assert!(!opaque.access.contains('.'), "without an API a token is for /userinfo");
        let token = exchange(vec![scope("openid read:things write:things"), audience(&api)]).await;
        assert_eq!(token.scope, "openid read:things");
        assert_eq!(token.claims()["aud"], json!([api, "https://id.example/userinfo"]));
        assert_eq!(token.claims()["azp"], json!(spa.client_id));
        let token = exchange(vec![scope("read:things"), audience(&api)]).await;
        assert_eq!(token.claims()["aud"], json!(api));
        assert_eq!(token.id, None);
        assert!(exchange(vec![scope("openid offline_access")]).await.refresh.is_some());
        assert!(exchange(vec![scope("openid offline_access"), audience(&api)]).await.refresh.is_some());
        operator.patch("/tenants/settings", json!({"default_audience": api})).await.expect(200);
        assert!(exchange(vec![scope("openid")]).await.access.contains('.'));
        // What a refresh token needs is not there: it is missing, and so is the scope that stands for it.
        let no_offline = json!({"allow_offline_access": false});
        operator.patch(&format!("/resource-servers/{}", id.as_str().unwrap()), no_offline).await.expect(200);
        let token = exchange(vec![scope("openid offline_access")]).await;
        assert_eq!((token.refresh, &*token.scope), (None, "openid"));
    }

    fn a_connection_may_be_named(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let made = operator.post("/connections", json!({"name": "staff", "strategy": "auth0"})).await.expect(201).json();
        operator.enable("staff", &spa.client_id, true).await;
        assert_eq!(made["name"], "staff");
        let browser = curfew.browser();
        logged_in(&browser, &spa, &ada).await;
        let default = [("connection", crate::support::CONNECTION)];
        assert!(browser.authorize(&spa, &default).await.code().is_some());
        let to_login = browser.authorize(&spa, &[("connection", "staff")]).await;
        assert!(to_login.leads_to("u/login"), "the session is of another connection");
        browser.submit_login(&to_login, &ada.email, &ada.password).await.expect(400);
        let silent = browser.authorize_silently(&spa, &[("connection", "staff")]).await;
        at_the_callback(&silent, "login_required", "Login required");
    }

    // oidcc-ensure-redirect-uri-in-authorization-request
    fn a_redirect_uri_that_was_sent_is_sent_again(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        logged_in(&browser, &spa, &ada).await;
        let fields = |code: &str, uri: &str| {
            let fields = [("grant_type", "authorization_code"), ("code", code), ("code_verifier", VERIFIER), ("redirect_uri", uri)];
            fields.map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        for (sent, again, status) in [
            (CALLBACK, "", 400),
            (CALLBACK, "https://app.example/other", 403),
            (CALLBACK, CALLBACK, 200),
            ("", "", 200),
            ("", CALLBACK, 200),
        ] {
            let code = browser.authorize(&spa, &[("redirect_uri", sent)]).await.code().unwrap();
            let fields = fields(&code, again);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            spa.token(&fields).await.expect(status);
        }
    }

    fn what_is_too_long_to_be_sealed_is_refused_at_once(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let long = "n".repeat(9000);
        on_our_page(&browser.authorize(&spa, &[("nonce", &long)]).await, "too large");
        logged_in(&browser, &spa, &ada).await;
        at_the_callback(&browser.authorize(&spa, &[("nonce", &long)]).await, "invalid_request", "The request is too large");
    }

    // oidcc-server-client-secret-post; the code's own rules (RFC 6749 §4.1.2)
    fn a_code_serves_once_its_own_client_for_two_minutes(curfew) {
        let operator = curfew.operator().await;
        let (spa, other, ada) = (operator.make_spa().await, operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let invalid = |answer: Answer| {
            assert_eq!(answer.error().as_deref(), Some("invalid_grant"));
            assert_eq!(answer.error_description().as_deref(), Some("Invalid authorization code"));
            answer.expect(403)
        };
        let code = browser.log_in(&spa, &ada, &[("scope", "openid offline_access")]).await;
        invalid(other.redeem(&code).await);
        let tokens = Tokens::of(&spa.redeem(&code).await);
        spa.userinfo(&tokens.access).await.expect(200);
        // oidcc-codereuse, oidcc-codereuse-30seconds
        invalid(spa.redeem(&code).await);
        spa.userinfo(&tokens.access).await.expect(401);
        spa.refresh(tokens.refresh()).await.expect(403);
        let code = browser.authorize(&spa, &[]).await.code().unwrap();
        curfew.advance(120);
        invalid(spa.redeem(&code).await);
        invalid(spa.redeem("not-a-code").await);
        assert_eq!(curfew.logs("feacft").await.len(), 4);
        assert_eq!(curfew.logs("seacft").await.len(), 1);
    }
}

/// Checks an authorization response: exactly what was to be handed out, each part bound to the others.
async fn check_response(application: &Application, response: &HashMap<String, String>, handed: &[&str]) {
    assert_eq!(response["state"], "a-state");
    assert_eq!(response["iss"], "https://id.example/");
    for name in ["code", "access_token", "id_token"] {
        assert_eq!(response.contains_key(name), handed.contains(&name), "{name} in {handed:?}");
    }
    if let Some(access) = response.get("access_token") {
        assert_eq!(response["token_type"], "Bearer");
        assert_eq!(response["expires_in"], "86400");
        application.userinfo(access).await.expect(200);
    }
    if let Some(id_token) = response.get("id_token") {
        let claims = crate::support::claims(id_token);
        let hash = |name: &str| response.get(name).map(|value| json!(half_hash(JwsAlg::RS256, value)));
        assert_eq!(claims["aud"], json!(application.client_id));
        assert_eq!(claims["nonce"], "a-nonce");
        assert_eq!(claims.get("at_hash"), hash("access_token").as_ref());
        assert_eq!(claims.get("c_hash"), hash("code").as_ref());
        assert_eq!(claims.get("s_hash"), hash("code").and_then(|_| hash("state")).as_ref());
        assert!(claims["sid"].is_string());
    }
    if let Some(code) = response.get("code") {
        let tokens = Tokens::of(&application.redeem(code).await);
        assert_eq!(claims(&tokens.id.unwrap())["nonce"], "a-nonce");
    }
}
