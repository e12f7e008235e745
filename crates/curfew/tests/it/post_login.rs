//! Actions in the flows: what they are told, what they may ask for, what they do meanwhile. The engine is a double of the
//! test's own.

use std::sync::Arc;

use curfew_core::actions::ActionError;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::{
    Answer, Application, Browser, CONNECTION, Curfew, Double, MANAGEMENT, Operator, PASSWORD, Person, Tokens,
    claims,
};

const GENERIC: &str = "Something went wrong, please try again later";

/// A node with one Action at post-login, an application and a person.
struct Scene {
    curfew: Curfew,
    double: Double,
    operator: Operator,
    spa: Application,
    ada: Person,
}

impl Scene {
    async fn set(curfew: &Curfew) -> Self {
        let double = Double::default();
        double.asks("one", &[]);
        let curfew = double.bound(curfew, "post-login", &["one"]).await;
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        Self { curfew, double, operator, spa, ada }
    }

    /// Logs in as far as the answer to the form.
    async fn log_in(&self, browser: &Browser, more: &[(&str, &str)]) -> Answer {
        let to_login = browser.authorize(&self.spa, more).await.expect(302);
        assert!(to_login.leads_to("u/login"), "{:?}", to_login.location());
        browser.submit_login(&to_login, &self.ada.email, &self.ada.password).await
    }

    async fn sign_in(&self, browser: &Browser, more: &[(&str, &str)]) -> Tokens {
        let answer = self.log_in(browser, more).await.expect(302);
        let code = answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()));
        Tokens::of(&self.spa.redeem(&code).await)
    }

    async fn is_in(&self, browser: &Browser) -> bool {
        browser.authorize_silently(&self.spa, &[]).await.expect(302).code().is_some()
    }

    async fn user(&self) -> Value {
        self.operator.get(&format!("/users/{}", self.ada.path())).await.expect(200).json()
    }

    async fn sessions(&self) -> Vec<Value> {
        let path = format!("/users/{}/sessions", self.ada.path());
        let listed = self.operator.get(&path).await.expect(200).json();
        listed["sessions"].as_array().expect("a list").clone()
    }
}

fn described(answer: &Answer) -> Option<String> {
    answer.parameter("error_description")
}

fn thrown() -> ActionError {
    ActionError::Thrown { name: "Error".into(), message: "a secret of the code".into(), stack: String::new() }
}

in_a_box! {
    fn an_action_is_told_what_the_login_knows(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.curfew.browser();
        let api = scene.operator.make_api().await;
        let change = json!({"app_metadata": {"plan": "gold"}});
        scene.operator.change_user(&scene.ada, change).await.expect(200);
        let tokens = scene.sign_in(&browser, &[("audience", &api), ("scope", "openid email")]).await;
        let event = scene.double.event();
        assert_eq!(event["user"]["user_id"], scene.ada.user_id);
        assert_eq!(event["user"]["app_metadata"], json!({"plan": "gold"}));
        assert_eq!(event["user"]["user_metadata"], json!({}));
        assert_eq!(event["user"]["identities"][0]["connection"], CONNECTION);
        for hidden in ["last_login", "last_ip", "logins_count", "blocked", "password"] {
            assert!(event["user"].get(hidden).is_none(), "{hidden}");
        }
        assert_eq!(event["session"]["id"], tokens.claims()["sid"]);
        assert_eq!(event["session"]["authenticated_at"], json!(scene.curfew.now().iso()));
        assert_eq!(event["authentication"]["methods"][0]["name"], "pwd");
        assert_eq!(event["client"]["client_id"], scene.spa.client_id);
        assert_eq!(event["connection"]["name"], CONNECTION);
        assert_eq!(event["connection"]["strategy"], "auth0");
        assert_eq!(event["resource_server"]["identifier"], json!(api));
        assert_eq!(event["stats"], json!({"logins_count": 1}));
        assert_eq!(event["tenant"], json!({"id": "id"}));
        assert_eq!(event["authorization"], json!({"roles": []}));
        assert_eq!(event["request"]["hostname"], "id.example");
        assert_eq!(event["request"]["method"], "POST");
        assert_eq!(event["request"]["query"]["client_id"], scene.spa.client_id);
        assert_eq!(event["transaction"]["protocol"], "oidc-basic-profile");
        assert_eq!(event["transaction"]["requested_scopes"], json!(["openid", "email"]));
        assert_eq!(event["transaction"]["prompt"], json!([]));
        assert!(event.get("refresh_token").is_none() && event.get("organization").is_none());
        assert!(!event.to_string().contains(PASSWORD));
        // Whoever is there already, silently.
        assert!(scene.is_in(&browser).await);
        let event = scene.double.event();
        assert_eq!(event["transaction"]["prompt"], json!(["none"]));
        assert_eq!(event["session"]["id"], tokens.claims()["sid"]);
        let logins = scene.curfew.logs("s").await;
        assert_eq!(logins.len(), 1);
        let execution = logins[0]["details"]["actions"]["executions"][0].as_str().expect("a record");
        assert!(!execution.is_empty());
        assert!(scene.curfew.logs("ssa").await[0]["details"]["actions"]["executions"][0].is_string());
    }

    fn a_no_goes_to_the_client_and_the_session_stays(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.asks("one", &[
            ("access.deny", json!(["not on Sundays"])),
            ("user.setAppMetadata", json!(["denied", true])),
        ]);
        let browser = scene.curfew.browser();
        let answer = scene.log_in(&browser, &[]).await.expect(302);
        assert_eq!(answer.error().as_deref(), Some("access_denied"));
        assert_eq!(described(&answer).as_deref(), Some("not on Sundays"));
        assert!(browser.has_session_cookie());
        assert_eq!(scene.sessions().await.len(), 1);
        let user = scene.user().await;
        assert_eq!(user["app_metadata"], json!({"denied": true}), "also when denied");
        assert_eq!(user["logins_count"], 1);
        assert!(scene.curfew.logs("s").await.is_empty());
        assert_eq!(scene.curfew.logs("f").await[0]["description"], "not on Sundays");
        let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_eq!(silent.error().as_deref(), Some("access_denied"));
        assert_eq!(scene.curfew.logs("fsa").await[0]["description"], "not on Sundays");
        // It may say yes the next time.
        scene.double.asks("one", &[]);
        assert!(scene.is_in(&browser).await);
    }

    fn after_a_no_or_a_failure_no_action_runs(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.bind(&scene.curfew, "post-login", &["two", "three"]).await;
        scene.double.asks("two", &[("user.setAppMetadata", json!(["two", 2])), ("transaction.setMetadata", json!(["a", 1]))]);
        scene.double.act("three", |_| std::future::ready(Err(thrown())));
        let answer = scene.log_in(&scene.curfew.browser(), &[]).await.expect(302);
        assert_eq!((answer.error().as_deref(), described(&answer).as_deref()), (Some("access_denied"), Some(GENERIC)));
        assert_eq!(scene.double.events().len(), 2);
        assert_eq!(scene.double.event()["transaction"]["metadata"], json!({"a": 1}));
        assert_eq!(scene.user().await["app_metadata"], json!({"two": 2}), "what the others asked for");
        let failed = scene.curfew.logs("actions_execution_failed").await;
        assert_eq!(failed[0]["details"]["action_name"], "three");
        assert_eq!(failed[0]["details"]["error"], "thrown");
        assert!(!answer.location().unwrap().contains("secret"));
        scene.double.asks("two", &[("access.deny", json!(["no"]))]);
        scene.log_in(&scene.curfew.browser(), &[]).await.expect(302);
        assert_eq!(scene.double.events().len(), 3);
    }

    fn what_cannot_be_read_fails_the_login_and_nothing_else(curfew) {
        let scene = Scene::set(&curfew).await;
        for wrong in [
            json!({"type": "access.deny", "args": [{"toString": 1}]}),
            json!({"type": "user.setAppMetadata", "args": ["a", "x".repeat(100_000)]}),
            json!({"type": "__proto__", "args": []}),
            json!(17),
        ] {
            let commands = vec![json!({"type": "user.setAppMetadata", "args": ["a", 1]}), wrong.clone()];
            scene.double.act("one", move |_| std::future::ready(Ok(commands.clone())));
            let answer = scene.log_in(&scene.curfew.browser(), &[]).await.expect(302);
            assert_eq!(described(&answer).as_deref(), Some(GENERIC), "{wrong}");
        }
        assert!(scene.user().await.get("app_metadata").is_none());
    }

    fn claims_and_scopes_reach_the_tokens(curfew) {
        let scene = Scene::set(&curfew).await;
        let api = scene.operator.make_api_with(json!({"scopes": [{"value": "read:x"}]})).await;
        scene.double.asks("one", &[
            ("idToken.setCustomClaim", json!(["https://app.example/color", "red"])),
            ("idToken.setCustomClaim", json!(["nickname", "the first"])),
            ("idToken.setCustomClaim", json!(["sub", "somebody else"])),
            ("accessToken.setCustomClaim", json!(["https://app.example/roles", ["a", "b"]])),
            ("accessToken.addScope", json!(["read:x"])),
            ("accessToken.removeScope", json!(["email"])),
        ]);
        let asked = [("audience", &*api), ("scope", "openid profile email")];
        let tokens = scene.sign_in(&scene.curfew.browser(), &asked).await;
        let id = claims(tokens.id.as_deref().unwrap());
        assert_eq!(id["https://app.example/color"], "red");
        assert_eq!(id["nickname"], "the first");
        assert_eq!(id["sub"], scene.ada.user_id);
        assert!(id.get("email").is_none());
        assert_eq!(tokens.claims()["https://app.example/roles"], json!(["a", "b"]));
        assert_eq!(tokens.scope, "openid profile read:x");
        // Over a page for consent as well, and out of the authorization endpoint.
        let theirs = json!({"app_type": "spa", "is_first_party": false, "grant_types": ["implicit", "authorization_code"]});
        let theirs = scene.operator.make_client(theirs).await;
        let browser = scene.curfew.browser();
        let to_login = browser.authorize(&theirs, &[("scope", "openid")]).await.expect(302);
        let to_consent = browser.submit_login(&to_login, &scene.ada.email, &scene.ada.password).await.expect(302);
        let runs = scene.double.events().len();
        let code = browser.submit_consent(&to_consent, "accept").await.expect(302).code().expect("a code");
        let tokens = Tokens::of(&theirs.redeem(&code).await);
        assert_eq!(claims(tokens.id.as_deref().unwrap())["https://app.example/color"], "red");
        assert_eq!(scene.double.events().len(), runs, "not once more for the consent");
    }

    fn claims_that_no_code_can_carry_are_refused(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.asks("one", &[("idToken.setCustomClaim", json!(["a", "x".repeat(6_000)]))]);
        let answer = scene.log_in(&scene.curfew.browser(), &[]).await.expect(302);
        assert_eq!((answer.error().as_deref(), described(&answer).as_deref()), (Some("access_denied"), Some(GENERIC)));
        // The tenant is told which Action, and why.
        let failed = scene.curfew.logs("actions_execution_failed").await;
        assert_eq!(failed[0]["details"]["error"], "unheard");
        let id = failed[0]["details"]["actions"]["executions"][0].as_str().expect("a record");
        let record = scene.operator.get(&format!("/actions/executions/{id}")).await.expect(200).json();
        let said = record["results"][0]["error"]["msg"].as_str().expect("a message");
        assert!(said.contains("the 5 KB that its authorization code carries"), "{said}");
        // Nearly as much is carried, also over a page for consent.
        scene.double.asks("one", &[("idToken.setCustomClaim", json!(["a", "x".repeat(5_000)]))]);
        let theirs = scene.operator.make_client(json!({"app_type": "spa", "is_first_party": false})).await;
        let browser = scene.curfew.browser();
        let to_login = browser.authorize(&theirs, &[("ext-note", &"y".repeat(1_900))]).await.expect(302);
        let to_consent = browser.submit_login(&to_login, &scene.ada.email, PASSWORD).await.expect(302);
        let code = browser.submit_consent(&to_consent, "accept").await.expect(302).code().expect("a code");
        let id = claims(Tokens::of(&theirs.redeem(&code).await).id.as_deref().unwrap());
        assert_eq!(id["a"].as_str().map(str::len), Some(5_000));
    }

    fn an_action_finds_its_session_and_ends_the_others(curfew) {
        let scene = Scene::set(&curfew).await;
        let operator = scene.operator.clone();
        scene.double.act("one", move |execution| {
            let operator = operator.clone();
            async move {
                let user = execution.event["user"]["user_id"].as_str().unwrap().replace('|', "%7C");
                let listed = operator.get(&format!("/users/{user}/sessions")).await.expect(200).json();
                let ids: Vec<Value> =
                    listed["sessions"].as_array().unwrap().iter().map(|session| session["id"].clone()).collect();
                assert!(ids.contains(&execution.event["session"]["id"]), "its own is there already");
                for id in ids.iter().filter(|id| **id != execution.event["session"]["id"]) {
                    operator.delete(&format!("/sessions/{}", id.as_str().unwrap())).await.expect(202);
                }
                Ok(Vec::new())
            }
        });
        let browsers = [scene.curfew.browser(), scene.curfew.browser(), scene.curfew.browser()];
        for browser in &browsers {
            scene.sign_in(browser, &[]).await;
        }
        assert!(!scene.is_in(&browsers[0]).await && !scene.is_in(&browsers[1]).await);
        assert!(scene.is_in(&browsers[2]).await);
    }

    fn who_ends_its_own_user_gets_the_login_page_and_no_code(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.curfew.browser();
        scene.sign_in(&browser, &[]).await;
        for what in ["session", "access", "block", "delete"] {
            let (operator, path) = (scene.operator.clone(), scene.ada.path());
            scene.double.act("one", move |execution| {
                let (operator, path) = (operator.clone(), path.clone());
                async move {
                    let session = execution.event["session"]["id"].as_str().unwrap().to_owned();
                    match what {
                        "session" => operator.delete(&format!("/sessions/{session}")).await.expect(202),
                        "access" => {
                            operator.post(&format!("/users/{path}/revoke-access"), json!({})).await.expect(202)
                        }
                        "block" => operator.patch(&format!("/users/{path}"), json!({"blocked": true})).await.expect(200),
                        _ => operator.delete(&format!("/users/{path}")).await.expect(204),
                    };
                    Ok(vec![json!({"type": "user.setAppMetadata", "args": ["left", what]})])
                }
            });
            let runs = scene.double.events().len();
            let answer = scene.log_in(&scene.curfew.browser(), &[]).await.expect(302);
            assert!(answer.leads_to("u/login"), "{what}: {:?}", answer.location());
            assert_eq!(scene.double.events().len(), runs + 1, "{what}");
            if what == "session" {
                let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
                assert_eq!(silent.error().as_deref(), Some("login_required"));
            }
            if what == "block" {
                scene.operator.change_user(&scene.ada, json!({"blocked": false})).await.expect(200);
            }
        }
    }

    fn nothing_is_held_while_an_action_runs(curfew) {
        let scene = Arc::new(Scene::set(&curfew).await);
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let waits = (Arc::clone(&begun), Arc::clone(&go));
        scene.double.act("one", move |_| {
            let (begun, go) = waits.clone();
            async move {
                begun.notify_one();
                go.notified().await;
                Ok(Vec::new())
            }
        });
        let waiting = tokio::spawn({
            let scene = Arc::clone(&scene);
            async move { scene.log_in(&scene.curfew.browser(), &[]).await }
        });
        begun.notified().await;
        // Whatever the login stands for can be changed and ended meanwhile.
        let other = curfew.operator().await;
        other.change_user(&scene.ada, json!({"app_metadata": {"meanwhile": 1}})).await.expect(200);
        other.block(&scene.ada).await.expect(200);
        other.change_user(&scene.ada, json!({"blocked": false})).await.expect(200);
        go.notify_one();
        let answer = waiting.await.expect("no panic").expect(302);
        assert!(answer.leads_to("u/login"), "{:?}", answer.location());
        assert_eq!(scene.user().await["app_metadata"], json!({"meanwhile": 1}));
    }

    fn metadata_are_merged_key_by_key(curfew) {
        let scene = Scene::set(&curfew).await;
        let change = json!({"app_metadata": {"a": 1, "b": 2}, "user_metadata": {"c": 3}});
        scene.operator.change_user(&scene.ada, change).await.expect(200);
        let (operator, ada) = (scene.operator.clone(), scene.ada.clone());
        scene.double.act("one", move |_| {
            let (operator, ada) = (operator.clone(), ada.clone());
            async move {
                operator.change_user(&ada, json!({"app_metadata": {"meanwhile": true}})).await.expect(200);
                Ok(vec![
                    json!({"type": "user.setAppMetadata", "args": ["a", null]}),
                    json!({"type": "user.setAppMetadata", "args": ["d", {"e": [4]}]}),
                    json!({"type": "user.setUserMetadata", "args": ["c", "three"]}),
                ])
            }
        });
        scene.sign_in(&scene.curfew.browser(), &[]).await;
        let user = scene.user().await;
        assert_eq!(user["app_metadata"], json!({"b": 2, "d": {"e": [4]}, "meanwhile": true}));
        assert_eq!(user["user_metadata"], json!({"c": "three"}));
    }

    fn a_session_is_shortened_and_annotated(curfew) {
        let scene = Scene::set(&curfew).await;
        let end = scene.curfew.now().plus_seconds(3600).micros() / 1000;
        let far = scene.curfew.now().plus_seconds(3600 * 24 * 365).micros() / 1000;
        scene.double.asks("one", &[
            ("session.setExpiresAt", json!([end])),
            ("session.setIdleExpiresAt", json!([far])),
            ("session.setCookieMode", json!(["non-persistent"])),
            ("session.setMetadata", json!(["device", "tv"])),
            ("session.setMetadata", json!(["other", "x"])),
            ("session.deleteMetadata", json!(["other"])),
        ]);
        let browser = scene.curfew.browser();
        let answer = scene.log_in(&browser, &[]).await.expect(302);
        assert!(!answer.set_cookie("__Host-curfew=").expect("a cookie").contains("Max-Age"));
        let session = scene.sessions().await.remove(0);
        let expected = json!(scene.curfew.now().plus_seconds(3600).iso());
        assert_eq!((&session["expires_at"], &session["idle_expires_at"]), (&expected, &expected));
        assert_eq!(session["cookie"], json!({"mode": "non-persistent"}));
        assert_eq!(session["session_metadata"], json!({"device": "tv"}));
        // What was not given to the full is said, once.
        let warned = scene.curfew.logs("w").await;
        assert_eq!((warned.len(), &warned[0]["user_id"]), (1, &json!(scene.ada.user_id)));
        let details = &warned[0]["details"];
        assert_eq!(details["session_id"], session["id"]);
        let limit = scene.curfew.now().plus_seconds(86_400).iso();
        assert_eq!(details["idle_expires_at"]["limit"], json!(limit));
        assert!(details.get("expires_at").is_none(), "{details}");
        scene.double.asks("one", &[("session.setMetadata", json!(["not a key", "x"]))]);
        let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_eq!(silent.error().as_deref(), Some("access_denied"));
        assert!(described(&silent).unwrap().starts_with("Failed to set session metadata"));
        scene.double.asks("one", &[]);
        assert!(scene.is_in(&browser).await);
        scene.curfew.advance(3600);
        assert!(!scene.is_in(&browser).await);
    }

    fn a_session_is_revoked_with_what_came_of_it(curfew) {
        let scene = Scene::set(&curfew).await;
        let offline = [("scope", "openid offline_access")];
        for (options, stays) in [(json!({}), false), (json!({"preserveRefreshTokens": true}), true)] {
            scene.double.asks("one", &[]);
            let browser = scene.curfew.browser();
            let tokens = scene.sign_in(&browser, &offline).await;
            scene.double.asks("one", &[("session.revoke", json!(["enough", options]))]);
            let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
            assert_eq!(silent.error().as_deref(), Some("access_denied"));
            assert_eq!(described(&silent).as_deref(), Some("enough"));
            scene.double.asks("one", &[]);
            assert!(!scene.is_in(&browser).await);
            scene.spa.userinfo(&tokens.access).await.expect(401);
            assert_eq!(scene.spa.refresh(tokens.refresh()).await.status == 200, stays);
        }
        // One that begins with this very login is not handed out.
        scene.double.asks("one", &[("session.revoke", json!([null, {}]))]);
        let browser = scene.curfew.browser();
        scene.log_in(&browser, &[]).await.expect(302);
        assert!(!browser.has_session_cookie());
    }

    fn refresh_tokens_are_exchanged_with_actions(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.curfew.browser();
        let tokens = scene.sign_in(&browser, &[("scope", "openid offline_access")]).await;
        scene.double.asks("one", &[("access.deny", json!(["not now"])), ("user.setAppMetadata", json!(["a", 1]))]);
        let refused = scene.spa.refresh(tokens.refresh()).await.expect(403).json();
        assert_eq!((refused["error"].as_str(), refused["error_description"].as_str()), (Some("access_denied"), Some("not now")));
        assert_eq!(scene.user().await["app_metadata"], json!({"a": 1}));
        let event = scene.double.event();
        assert_eq!(event["transaction"]["protocol"], "oauth2-refresh-token");
        assert_eq!(event["refresh_token"]["client_id"], scene.spa.client_id);
        assert_eq!(event["session"]["id"], claims(tokens.id.as_deref().unwrap())["sid"]);
        assert!(!event.to_string().contains(tokens.refresh()));
        // A "no" has not used it up.
        scene.double.asks("one", &[
            ("idToken.setCustomClaim", json!(["color", "red"])),
            ("refreshToken.setMetadata", json!(["a", "b"])),
            ("refreshToken.setExpiresAt", json!([scene.curfew.now().plus_seconds(60).micros() / 1000])),
        ]);
        let second = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        assert_eq!(claims(second.id.as_deref().unwrap())["color"], "red");
        let listed = scene.operator.get(&format!("/users/{}/refresh-tokens", scene.ada.path())).await.expect(200).json();
        assert_eq!(listed["tokens"][0]["refresh_token_metadata"], json!({"a": "b"}));
        assert_eq!(listed["tokens"][0]["expires_at"], json!(scene.curfew.now().plus_seconds(60).iso()));
        // What is no token to exchange is not shown to Actions: a replay ends the family.
        let runs = scene.double.events().len();
        scene.spa.refresh(tokens.refresh()).await.expect(403);
        scene.spa.refresh(second.refresh()).await.expect(403);
        assert_eq!(scene.double.events().len(), runs);
        // Without its session there is none in the event.
        scene.double.asks("one", &[]);
        let tokens = scene.sign_in(&browser, &[("scope", "openid offline_access"), ("prompt", "login")]).await;
        scene.operator.delete(&format!("/users/{}/sessions", scene.ada.path())).await.expect(202);
        let tokens = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        assert!(scene.double.event().get("session").is_none());
        // What it ends itself is not answered.
        let (operator, ada) = (scene.operator.clone(), scene.ada.clone());
        scene.double.act("one", move |_| {
            let (operator, ada) = (operator.clone(), ada.clone());
            async move {
                operator.block(&ada).await.expect(200);
                Ok(Vec::new())
            }
        });
        let refused = scene.spa.refresh(tokens.refresh()).await.expect(403).json();
        assert_eq!(refused["error"], "invalid_grant");
    }

    fn a_refresh_token_is_revoked_by_an_action(curfew) {
        let scene = Scene::set(&curfew).await;
        let tokens = scene.sign_in(&scene.curfew.browser(), &[("scope", "openid offline_access")]).await;
        scene.double.asks("one", &[("refreshToken.revoke", json!(["gone"]))]);
        let refused = scene.spa.refresh(tokens.refresh()).await.expect(403).json();
        assert_eq!(refused["error_description"], "gone");
        scene.double.asks("one", &[]);
        let refused = scene.spa.refresh(tokens.refresh()).await.expect(403).json();
        assert_eq!(refused["error"], "invalid_grant");
    }

    fn passwords_are_exchanged_with_actions(curfew) {
        let scene = Scene::set(&curfew).await;
        let grant = "http://auth0.com/oauth/grant-type/password-realm";
        let more = json!({"grant_types": ["password", grant, "refresh_token"]});
        let client = scene.operator.make_client(more).await;
        let fields = [
            ("grant_type", grant), ("realm", CONNECTION), ("username", &*scene.ada.email),
            ("password", PASSWORD), ("scope", "openid offline_access"),
        ];
        scene.double.asks("one", &[("idToken.setCustomClaim", json!(["color", "red"])), ("user.setAppMetadata", json!(["a", 1]))]);
        let tokens = Tokens::of(&client.token(&fields).await);
        assert_eq!(claims(tokens.id.as_deref().unwrap())["color"], "red");
        assert!(tokens.refresh.is_some());
        let event = scene.double.event();
        assert_eq!(event["transaction"]["protocol"], "oauth2-password");
        assert!(event.get("session").is_none());
        assert!(!event.to_string().contains(PASSWORD));
        assert_eq!(scene.user().await["app_metadata"], json!({"a": 1}));
        assert_eq!(scene.user().await["logins_count"], 1);
        scene.double.asks("one", &[("access.deny", json!(["no"]))]);
        let refused = client.token(&fields).await.expect(403).json();
        assert_eq!((refused["error"].as_str(), refused["error_description"].as_str()), (Some("access_denied"), Some("no")));
        scene.double.asks("one", &[("redirect.sendUserTo", json!(["https://app.example/terms"]))]);
        assert_eq!(client.token(&fields).await.json()["error"], "interaction_required");
        let (operator, path) = (scene.operator.clone(), scene.ada.path());
        scene.double.act("one", move |_| {
            let (operator, path) = (operator.clone(), path.clone());
            async move {
                operator.post(&format!("/users/{path}/revoke-access"), json!({})).await.expect(202);
                Ok(Vec::new())
            }
        });
        assert_eq!(client.token(&fields).await.expect(403).json()["error"], "invalid_grant");
    }

    fn machines_get_their_tokens_with_actions(curfew) {
        let double = Double::default();
        let curfew = double.bound(&curfew, "credentials-exchange", &["one"]).await;
        double.asks("one", &[("accessToken.setCustomClaim", json!(["https://app.example/a", 1]))]);
        let operator = curfew.operator().await;
        let api = operator.make_api_with(json!({"scopes": [{"value": "read:x"}]})).await;
        let machine = operator.make_client(json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]})).await;
        let grant = json!({"client_id": machine.client_id, "audience": api, "scope": ["read:x"]});
        operator.post("/client-grants", grant).await.expect(201);
        let fields = [("grant_type", "client_credentials"), ("audience", &*api)];
        let tokens = Tokens::of(&machine.token(&fields).await);
        assert_eq!(tokens.claims()["https://app.example/a"], 1);
        let event = double.event();
        assert_eq!(event["accessToken"], json!({"customClaims": {}, "scope": ["read:x"]}));
        assert_eq!(event["resource_server"]["identifier"], json!(api));
        assert!(!event.to_string().contains(machine.secret.as_deref().unwrap()));
        for code in ["invalid_scope", "invalid_request", "server_error"] {
            double.asks("one", &[("access.deny", json!([code, "no"]))]);
            assert_eq!(machine.token(&fields).await.json()["error"], code);
        }
        // The server's own API gets no claims of others.
        double.asks("one", &[("accessToken.setCustomClaim", json!(["https://app.example/a", 1]))]);
        let own = machine_token_for_management(&curfew).await;
        assert!(claims(&own).get("https://app.example/a").is_none());
    }

    fn a_browser_goes_elsewhere_and_comes_back_once(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.bind(&scene.curfew, "post-login", &["before", "away", "behind"]).await;
        scene.double.asks("before", &[
            ("idToken.setCustomClaim", json!(["before", 1])),
            ("user.setAppMetadata", json!(["before", 1])),
            ("transaction.setMetadata", json!(["seen", "yes"])),
        ]);
        scene.double.act("away", |execution| {
            std::future::ready(Ok(if execution.function == "onContinuePostLogin" {
                let answer = execution.event["request"]["query"]["answer"].clone();
                vec![json!({"type": "idToken.setCustomClaim", "args": ["answer", answer]})]
            } else {
                vec![json!({"type": "redirect.sendUserTo", "args": ["https://terms.example/ask?a=1"]})]
            }))
        });
        scene.double.asks("behind", &[("idToken.setCustomClaim", json!(["behind", 1]))]);
        let browser = scene.curfew.browser();
        let away = scene.log_in(&browser, &[]).await.expect(302);
        assert!(away.location().unwrap().starts_with("https://terms.example/ask?a=1&state="), "{:?}", away.location());
        assert!(browser.has_session_cookie(), "the session is there, whether or not the person comes back");
        assert_eq!(scene.double.events().len(), 2);
        assert!(scene.user().await.get("app_metadata").is_none(), "written at the end");
        let state = away.parameter("state").expect("a state");
        let back = format!("continue?state={state}&answer=yes");
        // Nobody else comes back in its place.
        scene.curfew.browser().get(&back).await.expect(400);
        let twin = browser.copy();
        let answer = browser.get(&back).await.expect(302);
        let code = answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()));
        let id = claims(Tokens::of(&scene.spa.redeem(&code).await).id.as_deref().unwrap());
        assert_eq!((&id["before"], &id["answer"], &id["behind"]), (&json!(1), &json!("yes"), &json!(1)));
        assert_eq!(scene.user().await["app_metadata"], json!({"before": 1}));
        let events = scene.double.events();
        assert_eq!(events.len(), 4, "the first did not run again");
        assert_eq!(events[2]["transaction"]["id"], events[0]["transaction"]["id"]);
        assert_eq!(events[3]["transaction"]["metadata"], json!({"seen": "yes"}));
        twin.get(&back).await.expect(400);
        assert_eq!(scene.double.events().len(), 4);
        // Where nobody looks nobody is sent anywhere.
        let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_eq!(silent.error().as_deref(), Some("interaction_required"));
    }

    fn who_was_put_out_meanwhile_does_not_come_back(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.asks("one", &[("redirect.sendUserTo", json!(["https://terms.example/"]))]);
        let browser = scene.curfew.browser();
        let away = scene.log_in(&browser, &[]).await.expect(302);
        let back = format!("continue?state={}", away.parameter("state").expect("a state"));
        scene.operator.post(&format!("/users/{}/revoke-access", scene.ada.path()), json!({})).await.expect(202);
        browser.get(&back).await.expect(400);
        assert_eq!(scene.double.events().len(), 1);
    }

    fn of_many_logins_under_a_limit_of_one_one_session_lives(curfew) {
        let scene = Scene::set(&curfew).await;
        let settings = json!({"sessions": {"max_per_user": 1}});
        scene.operator.patch("/tenants/settings", settings).await.expect(200);
        let browsers: Vec<Browser> = (0..8).map(|_| scene.curfew.browser()).collect();
        let logins = browsers.iter().map(|browser| scene.log_in(browser, &[]));
        for answer in futures_util::future::join_all(logins).await {
            assert!(answer.expect(302).code().is_some());
        }
        let mut living = 0;
        for browser in &browsers {
            living += usize::from(scene.is_in(browser).await);
        }
        assert_eq!((living, scene.sessions().await.len()), (1, 1));
    }
}

async fn machine_token_for_management(curfew: &Curfew) -> String {
    let machine = curfew.application_of(crate::support::BOOTSTRAP, Some(crate::support::BOOTSTRAP_SECRET));
    let answer = machine.token(&[("grant_type", "client_credentials"), ("audience", MANAGEMENT)]).await;
    answer.expect(200).json()["access_token"].as_str().unwrap().to_owned()
}
