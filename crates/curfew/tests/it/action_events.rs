//! What Actions are told, whole: each flow's `event` stands beside this file, with ids by name, so that no member comes or
//! goes unseen.

use curfew_model::config::ActionTrigger;
use serde_json::{Value, json};

use crate::support::{
    Answer, Application, Browser, CONNECTION, Curfew, Double, Operator, PASSWORD, Person, Tokens,
};

/// A node with one Action at both triggers, an application and a person who fill what can be filled.
struct Scene {
    curfew: Curfew,
    double: Double,
    operator: Operator,
    spa: Application,
    ada: Person,
    api: String,
}

impl Scene {
    async fn set(curfew: &Curfew) -> Self {
        let double = Double::default();
        double.asks("one", &[]);
        let curfew = double.bound(curfew, "post-login", &["one"]).await;
        let operator = curfew.operator().await;
        let spa = operator
            .make_client(json!({
                "name": "The application",
                "app_type": "spa",
                "client_metadata": { "tier": "first" },
                "refresh_token": {
                    "rotation_type": "rotating",
                    "expiration_type": "expiring",
                    "infinite_token_lifetime": false,
                    "infinite_idle_token_lifetime": false,
                },
            }))
            .await;
        let ada = operator.make_person().await;
        let more = json!({
            "app_metadata": { "plan": "gold" },
            "user_metadata": { "colour": "red" },
            "given_name": "Ada",
            "family_name": "Lovelace",
            "name": "Ada Lovelace",
            "nickname": "ada",
            "picture": "https://app.example/ada.png",
        });
        operator.change_user(&ada, more).await.expect(200);
        let scopes = json!({ "scopes": [{ "value": "read:x" }], "allow_offline_access": true });
        let api = operator.make_api_with(scopes).await;
        Self { curfew, double, operator, spa, ada, api }
    }

    fn browser(&self) -> Browser {
        self.curfew.browser().moved([192, 0, 2, 1].into(), "A browser/1.0")
    }

    /// The last event, with the ids of this run by name.
    fn event(&self, names: &[(&str, &str)]) -> Value {
        let event = self.double.event();
        let own = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let mut names = names.to_vec();
        names.extend([
            (own("/session/id"), "SESSION"),
            (own("/refresh_token/id"), "REFRESH-TOKEN"),
            (own("/refresh_token/session_id"), "SESSION"),
            (own("/transaction/id"), "TRANSACTION"),
            (own("/connection/id"), "CONNECTION"),
            (&*self.spa.client_id, "CLIENT"),
            (&*self.ada.user_id, "auth0|USER"),
            (self.ada.user_id.trim_start_matches("auth0|"), "USER"),
            (&*self.ada.email, "EMAIL"),
            (&*self.api, "API"),
        ]);
        let mut text = event.to_string();
        for (value, name) in names {
            if !value.is_empty() {
                text = text.replace(value, name);
            }
        }
        serde_json::from_str(&text).expect("JSON")
    }
}

#[track_caller]
fn assert_is(event: &Value, written: &str) {
    let written: Value = serde_json::from_str(written).expect("JSON");
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON");
    assert!(
        *event == written,
        "the event is another one:\n{}\n\nand not\n{}",
        pretty(event),
        pretty(&written)
    );
}

/// Whether `Set-Cookie` makes the session's cookie one that outlives the browser; `None` when it is not set.
fn is_kept(answer: &Answer) -> Option<bool> {
    answer.set_cookie("__Host-curfew=").map(|line| line.contains("Max-Age"))
}

#[test]
fn an_action_is_told_of_every_claim_that_is_left_out() {
    let runtime = include_str!("../../../actions/src/runtime/api/claims.js");
    let list = runtime.split("new Set([").nth(1).and_then(|rest| rest.split("]);").next()).expect("the list");
    let names: Vec<&str> = list.split('\'').skip(1).step_by(2).collect();
    assert_eq!(names, curfew_tokens::claims::RESERVED);
}

in_a_box! {
    fn a_login_tells_its_actions(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.browser();
        let asked = [
            ("audience", &*scene.api),
            ("scope", "openid profile offline_access read:x unknown"),
            ("acr_values", "urn:a urn:b"),
            ("login_hint", "somebody@example.com"),
            ("ui_locales", "de-CH en"),
            ("correlation_id", "c-1"),
            ("prompt", "select_account"),
            ("max_age", "3600"),
            ("ext-plan", "gold"),
            ("id_token_hint", "what.proves.something"),
            ("connection", CONNECTION),
        ];
        let code = browser.log_in(&scene.spa, &scene.ada, &asked).await;
        assert_is(&scene.event(&[]), include_str!("action_events/login.json"));
        let tokens = Tokens::of(&scene.spa.redeem(&code).await);

        scene.curfew.advance(3600);
        let moved = browser.moved([192, 0, 2, 2].into(), "A browser/2.0");
        moved.authorize_silently(&scene.spa, &[("scope", ""), ("response_mode", "query")]).await.expect(302).code().expect("a code");
        assert_is(&scene.event(&[]), include_str!("action_events/silent.json"));

        scene.curfew.advance(60);
        scene.double.asks("one", &[
            ("refreshToken.setMetadata", json!(["device", "phone"])),
            ("session.setMetadata", json!(["seen", "yes"])),
        ]);
        let tokens = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        scene.curfew.advance(60);
        let fields = [
            ("grant_type", "refresh_token"), ("refresh_token", tokens.refresh()),
            ("scope", "openid read:x"), ("ext-plan", "gold"),
        ];
        Tokens::of(&scene.spa.token(&fields).await);
        assert_is(&scene.event(&[]), include_str!("action_events/refresh.json"));
        // Without a session, and without ends.
        let realm = "http://auth0.com/oauth/grant-type/password-realm";
        let doc = json!({"name": "The other application", "grant_types": [realm, "refresh_token"]});
        let other = scene.operator.make_client(doc).await;
        let names = [(&*other.client_id, "OTHER")];
        let fields = [
            ("grant_type", realm), ("realm", CONNECTION), ("username", &*scene.ada.email), ("password", PASSWORD),
            ("scope", "openid offline_access"), ("audience", &*scene.api), ("ext-plan", "gold"),
        ];
        let tokens = Tokens::of(&other.token(&fields).await);
        assert_is(&scene.event(&names), include_str!("action_events/password.json"));
        Tokens::of(&other.refresh(tokens.refresh()).await);
        let event = scene.event(&names);
        assert!(event.get("session").is_none(), "{event}");
        let token = event["refresh_token"].as_object().expect("a token");
        for absent in ["session_id", "expires_at", "idle_expires_at"] {
            assert!(!token.contains_key(absent), "{absent}: {event}");
        }
    }

    fn a_browser_that_is_back_tells_with_what(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.act("one", |execution| {
            std::future::ready(Ok(if execution.function == "onContinuePostLogin" {
                Vec::new()
            } else {
                vec![
                    json!({"type": "transaction.setMetadata", "args": ["asked", true]}),
                    json!({"type": "redirect.sendUserTo", "args": ["https://terms.example/"]}),
                ]
            }))
        });
        let browser = scene.browser();
        let to_login = browser.authorize(&scene.spa, &[("ext-plan", "gold"), ("acr_values", "urn:a")]).await.expect(302);
        let away = browser.submit_login(&to_login, &scene.ada.email, PASSWORD).await.expect(302);
        let state = away.parameter("state").expect("a state");
        let back = format!("continue?state={state}&session_token=a.b.c&answer=yes&password=hunter2");
        browser.get(&back).await.expect(302).code().expect("a code");
        assert_is(&scene.event(&[(&state, "STATE")]), include_str!("action_events/continue.json"));
    }

    fn a_client_of_its_own_tells_its_actions(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.bind(&scene.curfew, ActionTrigger::CredentialsExchange.as_str(), &["two"]).await;
        scene.double.asks("two", &[]);
        let doc = json!({
            "name": "The machine", "app_type": "non_interactive", "grant_types": ["client_credentials"],
            "client_metadata": { "tier": "second" },
        });
        let machine = scene.operator.make_client(doc).await;
        let grant = json!({"client_id": machine.client_id, "audience": scene.api, "scope": ["read:x"]});
        scene.operator.post("/client-grants", grant).await.expect(201);
        let fields = [
            ("grant_type", "client_credentials"), ("audience", &*scene.api), ("scope", "read:x other"),
            ("ext-plan", "gold"),
        ];
        Tokens::of(&machine.token(&fields).await);
        let names = [(&*machine.client_id, "MACHINE")];
        assert_is(&scene.event(&names), include_str!("action_events/credentials-exchange.json"));
    }

    fn another_domain_of_the_tenant_is_told_of(curfew) {
        let scene = Scene::set(&curfew).await;
        let node = scene.curfew.under("login.shop.example").await;
        let browser = scene.browser().at(&node);
        let to_login = browser.authorize(&scene.spa.at(&node), &[]).await.expect(302);
        let page = to_login.location().expect("a page").replace("https://login.shop.example/", "");
        let page = browser.get(&page).await.expect(200);
        let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
        let fields =
            [("state", &*state), ("csrf", &*csrf), ("username", &*scene.ada.email), ("password", PASSWORD)];
        browser.post("u/login", &fields).await.expect(302).code().expect("a code");
        let event = scene.double.event();
        assert_eq!(event["custom_domain"], json!({"domain": "login.shop.example", "domain_metadata": {}}));
        assert_eq!(event["tenant"], json!({"id": "id"}), "it is the same tenant");
        assert_eq!(event["request"]["hostname"], "login.shop.example");
    }

    fn the_cookie_is_set_again_where_an_action_says_how_long_it_is_kept(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.browser();
        browser.log_in(&scene.spa, &scene.ada, &[]).await;
        let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_eq!(is_kept(&silent), None, "nobody said anything");
        for (mode, kept) in [("non-persistent", false), ("persistent", true)] {
            scene.double.asks("one", &[("session.setCookieMode", json!([mode]))]);
            let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
            assert_eq!(is_kept(&silent), Some(kept), "{mode}");
            assert!(silent.code().is_some() && browser.has_session_cookie());
        }
        scene.double.asks("one", &[("session.setCookieMode", json!(["non-persistent"])), ("access.deny", json!(["no"]))]);
        let denied = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_eq!((is_kept(&denied), denied.error().as_deref()), (Some(false), Some("access_denied")));
        // Also when the browser was elsewhere meanwhile, and one that no session answers to is not set.
        scene.double.act("one", |execution| {
            std::future::ready(Ok(if execution.function == "onContinuePostLogin" {
                vec![json!({"type": "session.setCookieMode", "args": ["persistent"]})]
            } else {
                vec![json!({"type": "redirect.sendUserTo", "args": ["https://terms.example/"]})]
            }))
        });
        let away = browser.authorize(&scene.spa, &[]).await.expect(302);
        assert_eq!(is_kept(&away), None);
        let back = format!("continue?state={}", away.parameter("state").expect("a state"));
        let back = browser.get(&back).await.expect(302);
        assert_eq!((is_kept(&back), back.code().is_some()), (Some(true), true));
        scene.double.asks("one", &[("session.setCookieMode", json!(["persistent"])), ("session.revoke", json!([null, {}]))]);
        let revoked = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_eq!(is_kept(&revoked), None);
    }

    fn who_comes_back_to_an_action_that_is_gone_is_not_let_past_those_behind_it(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.bind(&scene.curfew, "post-login", &["away", "behind"]).await;
        scene.double.asks("away", &[("redirect.sendUserTo", json!(["https://terms.example/"]))]);
        scene.double.asks("behind", &[("access.deny", json!(["never"]))]);
        let browser = scene.browser();
        let to_login = browser.authorize(&scene.spa, &[]).await.expect(302);
        let away = browser.submit_login(&to_login, &scene.ada.email, PASSWORD).await.expect(302);
        let back = format!("continue?state={}", away.parameter("state").expect("a state"));
        scene.double.bind(&scene.curfew, "post-login", &["instead"]).await;
        scene.double.asks("instead", &[]);
        let runs = scene.double.events().len();
        let back = browser.get(&back).await.expect(302);
        assert_eq!((back.error().as_deref(), back.code()), (Some("access_denied"), None));
        assert_eq!(scene.double.events().len(), runs);
        let told = scene.curfew.logs("actions_execution_failed").await;
        assert_eq!(told[0]["description"], "The Action that had sent the browser away is not bound any more");
        // The next try is one from the beginning.
        browser.authorize_silently(&scene.spa, &[]).await.expect(302).code().expect("a code");
        assert_eq!(scene.double.events().len(), runs + 1);
    }

    fn a_password_that_is_changed_meanwhile_gives_nothing(curfew) {
        let scene = Scene::set(&curfew).await;
        let realm = "http://auth0.com/oauth/grant-type/password-realm";
        let client = scene.operator.make_client(json!({"grant_types": [realm, "refresh_token"]})).await;
        let (operator, ada) = (scene.operator.clone(), scene.ada.clone());
        scene.double.act("one", move |_| {
            let (operator, ada) = (operator.clone(), ada.clone());
            async move {
                operator.change_user(&ada, json!({"password": "Another-Horse-8"})).await.expect(200);
                Ok(Vec::new())
            }
        });
        let fields = [
            ("grant_type", realm), ("realm", CONNECTION), ("username", &*scene.ada.email), ("password", PASSWORD),
            ("scope", "openid offline_access"),
        ];
        let refused = client.token(&fields).await.expect(403).json();
        assert_eq!(refused["error"], "invalid_grant");
        let listed = scene.operator.get(&format!("/users/{}/refresh-tokens", scene.ada.path())).await.expect(200).json();
        assert_eq!(listed["tokens"], json!([]));
    }
}
