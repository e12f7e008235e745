//! `sessions.max_per_user`: how many sessions of one user live at a time, which go, and when.

use serde_json::{Value, json};

use crate::support::{Answer, Application, Browser, Curfew, Operator, Person, Tokens};

const OFFLINE: &[(&str, &str)] = &[("scope", "openid offline_access")];

async fn limit(operator: &Operator, limit: Value) {
    let settings = json!({ "sessions": { "max_per_user": limit } });
    operator.patch("/tenants/settings", settings).await.expect(200);
}

/// Whether a browser is logged in, by silent login.
async fn is_in(browser: &Browser, application: &Application) -> bool {
    let answer = browser.authorize_silently(application, &[]).await.expect(302);
    assert!(answer.code().is_some() || answer.error().as_deref() == Some("login_required"));
    answer.code().is_some()
}

/// Which of the browsers are logged in.
async fn who_is_in(browsers: &[Browser], application: &Application) -> Vec<bool> {
    let mut found = Vec::new();
    for browser in browsers {
        found.push(is_in(browser, application).await);
    }
    found
}

async fn sessions(operator: &Operator, person: &Person) -> usize {
    let listed = operator.get(&format!("/users/{}/sessions", person.path())).await.expect(200).json();
    listed["sessions"].as_array().expect("a list").len()
}

/// Somebody else's application, which asks for consent.
async fn third_party(operator: &Operator) -> Application {
    operator.make_client(json!({ "app_type": "spa", "is_first_party": false })).await
}

/// Logs in as far as the consent page.
async fn as_far_as_consent(browser: &Browser, application: &Application, person: &Person) -> Answer {
    let to_login = browser.authorize(application, &[]).await.expect(302);
    let answer = browser.submit_login(&to_login, &person.email, &person.password).await.expect(302);
    assert!(answer.leads_to("u/consent"), "{:?}", answer.location());
    answer
}

async fn newest_ending(curfew: &Curfew) -> Value {
    let operator = curfew.operator().await;
    let listed = operator.get("/endings?cause=superseded").await.expect(200).json();
    let id = listed["endings"][0]["id"].as_str().expect("an ending").to_owned();
    operator.get(&format!("/endings/{id}")).await.expect(200).json()
}

in_a_box! {
    fn the_newest_live(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada, bob) =
            (operator.make_spa().await, operator.make_person().await, operator.make_person().await);
        limit(&operator, json!(2)).await;
        let others = curfew.browser();
        others.sign_in(&spa, &bob, &[]).await;
        let browsers = [curfew.browser(), curfew.browser(), curfew.browser()];
        let mut tokens = Vec::new();
        for browser in &browsers {
            curfew.advance(1);
            tokens.push(browser.sign_in(&spa, &ada, OFFLINE).await);
        }
        // At another node at once, and everything that hangs on the session.
        let node = curfew.another_node().await;
        assert_eq!(who_is_in(&browsers.clone().map(|b| b.at(&node)), &spa.at(&node)).await, [false, true, true]);
        spa.userinfo(&tokens[0].access).await.expect(401);
        spa.refresh(tokens[0].refresh()).await.expect(403);
        for tokens in &tokens[1..] {
            spa.userinfo(&tokens.access).await.expect(200);
            spa.refresh(tokens.refresh()).await.expect(200);
        }
        assert_eq!(sessions(&operator, &ada).await, 2);
        assert!(is_in(&others, &spa).await, "another person's sessions are not counted here");
        let receipt = newest_ending(&curfew).await;
        assert_eq!(receipt["cause"], "superseded");
        assert_eq!(receipt["actor"], json!({ "type": "policy" }));
        assert_eq!(receipt["user_id"], ada.user_id);
        let log = curfew.logs("session_revoked").await;
        assert_eq!(log.len(), 1);
        let of_id = |tokens: &Tokens| crate::support::claims(tokens.id.as_deref().unwrap())["sid"].clone();
        assert_eq!(log[0]["details"]["session_id"], of_id(&tokens[0]));
        assert_eq!(log[0]["details"]["displaced_by"], of_id(&tokens[2]));
        assert_eq!(log[0]["details"]["sessions_max_per_user"], 2);
    }

    fn a_password_alone_throws_nobody_out(curfew) {
        let operator = curfew.operator().await;
        let (spa, theirs, ada) =
            (operator.make_spa().await, third_party(&operator).await, operator.make_person().await);
        limit(&operator, json!(1)).await;
        let (first, second) = (curfew.browser(), curfew.browser());
        let tokens = first.sign_in(&spa, &ada, OFFLINE).await;
        let to_consent = as_far_as_consent(&second, &theirs, &ada).await;
        assert!(is_in(&first, &spa).await, "the password came, the consent did not");
        let declined = second.submit_consent(&to_consent, "deny").await;
        assert_ne!(declined.status, 200);
        assert!(is_in(&first, &spa).await, "it was declined");
        spa.refresh(tokens.refresh()).await.expect(200);
        let to_consent = second.authorize(&theirs, &[]).await.expect(302);
        let consented = second.submit_consent(&to_consent, "accept").await.expect(302);
        assert!(consented.code().is_some(), "{:?}", consented.location());
        assert!(!is_in(&first, &spa).await, "the code displaced it, redeemed or not");
        spa.userinfo(&tokens.access).await.expect(401);
        theirs.redeem(&consented.code().unwrap()).await.expect(200);
    }

    fn a_session_counts_however_it_comes_to_issue(curfew) {
        let operator = curfew.operator().await;
        let (spa, theirs) = (operator.make_spa().await, third_party(&operator).await);
        let implicit = json!({ "app_type": "spa", "grant_types": ["implicit", "authorization_code"] });
        let implicit = operator.make_client(implicit).await;
        limit(&operator, json!(1)).await;
        let ada = operator.make_person().await;
        let (first, second) = (curfew.browser(), curfew.browser());
        first.sign_in(&spa, &ada, &[]).await;
        // A session that has not counted yet does by a silent login.
        as_far_as_consent(&second, &theirs, &ada).await;
        assert!(is_in(&second, &spa).await);
        assert!(!is_in(&first, &spa).await);
        // And by tokens that leave from the authorization endpoint.
        let asked = [("response_type", "id_token"), ("response_mode", "form_post"), ("code_challenge", ""), ("code_challenge_method", "")];
        let third = curfew.browser();
        let to_login = third.authorize(&implicit, &asked).await.expect(302);
        third.submit_login(&to_login, &ada.email, &ada.password).await.expect(200);
        assert!(!is_in(&second, &spa).await);
        assert!(is_in(&third, &spa).await);
    }

    fn a_code_of_before_the_limit_counts_when_it_is_redeemed(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (first, second) = (curfew.browser(), curfew.browser());
        first.sign_in(&spa, &ada, &[]).await;
        let code = second.log_in(&spa, &ada, &[]).await;
        limit(&operator, json!(1)).await;
        assert_eq!(sessions(&operator, &ada).await, 2);
        spa.redeem(&code).await.expect(200);
        assert_eq!(who_is_in(&[first, second], &spa).await, [false, true]);
    }

    fn a_code_dies_with_the_session_that_was_displaced(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        limit(&operator, json!(1)).await;
        let code = curfew.browser().log_in(&spa, &ada, &[]).await;
        let newer = curfew.browser().log_in(&spa, &ada, &[]).await;
        spa.redeem(&code).await.expect(403);
        spa.redeem(&newer).await.expect(200);
    }

    fn a_limit_ends_nothing_by_itself(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browsers = [curfew.browser(), curfew.browser(), curfew.browser()];
        for browser in &browsers {
            curfew.advance(1);
            browser.sign_in(&spa, &ada, &[]).await;
        }
        limit(&operator, json!(1)).await;
        assert_eq!(who_is_in(&browsers, &spa).await, [true; 3]);
        // At the next login all of them go, in one transaction. Here it is one in a browser that has a session.
        curfew.advance(1);
        browsers[1].log_in(&spa, &ada, &[("prompt", "login")]).await;
        assert_eq!(who_is_in(&browsers, &spa).await, [false, true, false]);
        limit(&operator, Value::Null).await;
        browsers[0].sign_in(&spa, &ada, &[]).await;
        assert_eq!(who_is_in(&browsers, &spa).await, [true, true, false]);
    }

    fn who_logs_in_again_is_the_newest(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        limit(&operator, json!(2)).await;
        let browsers = [curfew.browser(), curfew.browser(), curfew.browser()];
        for (browser, prompt) in [(0, ""), (1, ""), (0, "login")] {
            curfew.advance(1);
            browsers[browser].log_in(&spa, &ada, &[("prompt", prompt)]).await;
            curfew.advance(1);
            // A use makes nobody newer.
            assert!(is_in(&browsers[0], &spa).await);
        }
        assert!(is_in(&browsers[1], &spa).await, "again in the same browser is the same session");
        browsers[2].log_in(&spa, &ada, &[]).await;
        assert_eq!(who_is_in(&browsers, &spa).await, [true, false, true]);
    }

    fn a_policy_keeps_the_refresh_tokens_of_the_displaced(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        limit(&operator, json!(1)).await;
        let policies = json!({ "ending_policies": { "superseded": { "refresh_tokens": "keep" } } });
        operator.patch(&format!("/clients/{}", spa.client_id), policies).await.expect(200);
        let tokens = curfew.browser().sign_in(&spa, &ada, OFFLINE).await;
        curfew.browser().sign_in(&spa, &ada, &[]).await;
        spa.userinfo(&tokens.access).await.expect(401);
        spa.refresh(tokens.refresh()).await.expect(200);
    }

    fn limits_that_are_none_are_refused(curfew) {
        let operator = curfew.operator().await;
        for wrong in [json!(0), json!(-1), json!(1001), json!(1.5), json!("1"), json!([1])] {
            let settings = json!({ "sessions": { "max_per_user": wrong } });
            let answer = operator.patch("/tenants/settings", settings).await.expect(400).json();
            assert!(answer["message"].as_str().unwrap().contains("max_per_user"), "{answer}");
        }
        limit(&operator, json!(1000)).await;
        let shown = operator.get("/tenants/settings").await.expect(200).json();
        assert_eq!(shown["sessions"], json!({ "oidc_logout_prompt_enabled": true, "max_per_user": 1000 }));
        limit(&operator, Value::Null).await;
        let shown = operator.get("/tenants/settings").await.expect(200).json();
        assert_eq!(shown["sessions"]["oidc_logout_prompt_enabled"], true);
    }
}
