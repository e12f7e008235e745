//! What an Action cannot make of a flow, whatever it asks for and whatever happens while it runs.

use curfew_core::actions::ActionError;
use serde_json::{Value, json};

use crate::support::{
    Answer, Application, Browser, CONNECTION, Curfew, Double, MANAGEMENT, Operator, PASSWORD, Person, Tokens,
};

const REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";
const OFFLINE: [(&str, &str); 1] = [("scope", "openid offline_access")];

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

    async fn log_in(&self, browser: &Browser, more: &[(&str, &str)]) -> Answer {
        let to_login = browser.authorize(&self.spa, more).await.expect(302);
        browser.submit_login(&to_login, &self.ada.email, PASSWORD).await.expect(302)
    }

    async fn sign_in(&self, browser: &Browser, more: &[(&str, &str)]) -> Tokens {
        let code = self.log_in(browser, more).await.code().expect("a code");
        Tokens::of(&self.spa.redeem(&code).await)
    }

    fn runs(&self) -> usize {
        self.double.events().len()
    }

    fn fails(&self) {
        self.double.act("one", |_| {
            let (name, message, stack) = ("Error".into(), "private".into(), String::new());
            std::future::ready(Err(ActionError::Thrown { name, message, stack }))
        });
    }

    /// The Action takes so long.
    fn takes(&self, seconds: i64) {
        let curfew = self.curfew.clone();
        self.double.act("one", move |_| {
            curfew.advance(seconds);
            std::future::ready(Ok(Vec::new()))
        });
    }

    async fn refresh_token(&self) -> Value {
        let path = format!("/users/{}/refresh-tokens", self.ada.path());
        self.operator.get(&path).await.expect(200).json()["tokens"][0].clone()
    }
}

/// A client that exchanges passwords of its users.
async fn with_passwords(scene: &Scene) -> (Application, Vec<(&'static str, String)>) {
    let client = scene.operator.make_client(json!({"grant_types": [REALM, "refresh_token"]})).await;
    let fields = [
        ("grant_type", REALM),
        ("realm", CONNECTION),
        ("username", &*scene.ada.email),
        ("password", PASSWORD),
        ("scope", "openid offline_access"),
    ];
    (client, fields.map(|(name, value)| (name, value.to_owned())).to_vec())
}

fn as_fields<'a>(fields: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    fields.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[track_caller]
fn assert_error(answer: &Answer, error: &str) {
    assert_eq!(answer.error().as_deref(), Some(error), "{} {:?}", answer.text(), answer.location());
    assert_eq!(answer.code(), None);
}

in_a_box! {
    fn a_time_that_ends_while_an_action_runs_has_ended(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.curfew.browser();
        let tokens = scene.sign_in(&browser, &OFFLINE).await;
        scene.takes(8 * 24 * 3600);
        let silent = browser.authorize_silently(&scene.spa, &[]).await.expect(302);
        assert_error(&silent, "login_required");
        scene.double.asks("one", &[("refreshToken.setExpiresAt", json!([scene.curfew.now().plus_seconds(60).micros() / 1000]))]);
        let tokens = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        scene.takes(60);
        assert_error(&scene.spa.refresh(tokens.refresh()).await.expect(403), "invalid_grant");
    }

    fn an_end_in_the_past_ends_the_session_at_once(curfew) {
        let scene = Scene::set(&curfew).await;
        let browser = scene.curfew.browser();
        scene.sign_in(&browser, &[]).await;
        let past = scene.curfew.now().plus_seconds(-1).micros() / 1000;
        scene.double.asks("one", &[("session.setExpiresAt", json!([past]))]);
        assert_error(&browser.authorize_silently(&scene.spa, &[]).await.expect(302), "login_required");
        scene.double.asks("one", &[]);
        assert_error(&browser.authorize_silently(&scene.spa, &[]).await.expect(302), "login_required");
        let path = format!("/users/{}/sessions", scene.ada.path());
        assert_eq!(scene.operator.get(&path).await.expect(200).json()["sessions"], json!([]));
    }

    fn what_its_client_may_no_longer_have_is_not_given(curfew) {
        let scene = Scene::set(&curfew).await;
        let ends = |body: Value| {
            let operator = scene.operator.clone();
            scene.double.act("one", move |_| {
                let (operator, body) = (operator.clone(), body.clone());
                async move {
                    operator.post("/endings", body).await.expect(201);
                    Ok(Vec::new())
                }
            });
        };
        // The session lives on, for others.
        ends(json!({"user_id": scene.ada.user_id, "client_id": scene.spa.client_id}));
        let runs = scene.runs();
        let answer = scene.log_in(&scene.curfew.browser(), &[]).await;
        assert!(answer.leads_to("u/login"), "{:?}", answer.location());
        assert_eq!(scene.runs(), runs + 1);
        // The client is gone.
        let (operator, path) = (scene.operator.clone(), format!("/clients/{}", scene.spa.client_id));
        scene.double.act("one", move |_| {
            let (operator, path) = (operator.clone(), path.clone());
            async move {
                operator.delete(&path).await.expect(204);
                Ok(Vec::new())
            }
        });
        let browser = scene.curfew.browser();
        let to_login = browser.authorize(&scene.spa, &[]).await.expect(302);
        let page = browser.submit_login(&to_login, &scene.ada.email, PASSWORD).await.expect(400);
        assert!(page.text().contains("Unknown client"), "{}", page.text());
    }

    fn no_scope_of_the_servers_own_api_is_added(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.double.asks("one", &[
            ("accessToken.addScope", json!(["update:users"])),
            ("accessToken.addScope", json!(["read:current_user"])),
            ("accessToken.setCustomClaim", json!(["https://app.example/a", 1])),
        ]);
        let tokens = scene.sign_in(&scene.curfew.browser(), &[("audience", MANAGEMENT), ("scope", "openid")]).await;
        assert_eq!(tokens.scope, "openid read:current_user");
        assert!(tokens.claims().get("https://app.example/a").is_none());
        let (client, mut fields) = with_passwords(&scene).await;
        fields.push(("audience", MANAGEMENT.to_owned()));
        let tokens = Tokens::of(&client.token(&as_fields(&fields)).await);
        assert!(tokens.scope.contains("read:current_user") && !tokens.scope.contains("update:users"), "{}", tokens.scope);
    }

    fn many_claims_leave_an_opaque_token_readable(curfew) {
        let scene = Scene::set(&curfew).await;
        let (client, fields) = with_passwords(&scene).await;
        scene.double.asks("one", &[("accessToken.setCustomClaim", json!(["https://app.example/a", "x".repeat(20_000)]))]);
        let tokens = Tokens::of(&client.token(&as_fields(&fields)).await);
        client.userinfo(&tokens.access).await.expect(200);
    }

    fn an_action_that_fails_gives_no_token(curfew) {
        let scene = Scene::set(&curfew).await;
        let tokens = scene.sign_in(&scene.curfew.browser(), &OFFLINE).await;
        let (client, fields) = with_passwords(&scene).await;
        scene.fails();
        let refused = scene.spa.refresh(tokens.refresh()).await.expect(403);
        assert_error(&refused, "access_denied");
        assert!(!refused.text().contains("private"));
        assert_error(&client.token(&as_fields(&fields)).await.expect(403), "access_denied");
        // Neither has anything been used up.
        scene.double.asks("one", &[]);
        Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        scene.double.bind(&scene.curfew, "credentials-exchange", &["two"]).await;
        scene.double.act("two", |_| std::future::ready(Err(ActionError::TimedOut)));
        let machine = scene.operator.make_client(json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]})).await;
        let api = scene.operator.make_api_with(json!({"scopes": [{"value": "read:x"}]})).await;
        let grant = json!({"client_id": machine.client_id, "audience": api, "scope": ["read:x"]});
        scene.operator.post("/client-grants", grant).await.expect(201);
        let fields = [("grant_type", "client_credentials"), ("audience", &*api)];
        assert_error(&machine.token(&fields).await.expect(403), "access_denied");
    }

    fn what_cannot_be_done_is_refused_and_the_token_is_as_it_was(curfew) {
        let scene = Scene::set(&curfew).await;
        let tokens = scene.sign_in(&scene.curfew.browser(), &OFFLINE).await;
        for (call, said) in [
            ("session.setMetadata", "Failed to set session metadata"),
            ("refreshToken.setMetadata", "Failed to set refresh token metadata"),
        ] {
            scene.double.asks("one", &[(call, json!(["not a key", "x"]))]);
            let refused = scene.spa.refresh(tokens.refresh()).await.expect(403);
            assert_error(&refused, "access_denied");
            assert!(refused.error_description().unwrap().starts_with(said), "{}", refused.text());
        }
        scene.double.asks("one", &[]);
        Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
    }

    fn a_refresh_token_lives_no_longer_than_its_client_lets_it(curfew) {
        let scene = Scene::set(&curfew).await;
        let doc = json!({"refresh_token": {
            "rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
            "infinite_token_lifetime": false, "token_lifetime": 1000,
            "infinite_idle_token_lifetime": false, "idle_token_lifetime": 500,
        }});
        scene.operator.patch(&format!("/clients/{}", scene.spa.client_id), doc).await.expect(200);
        let at = |seconds: i64| scene.curfew.now().plus_seconds(seconds);
        let asks = |end: i64, idle: i64| {
            scene.double.asks("one", &[
                ("refreshToken.setExpiresAt", json!([at(end).micros() / 1000])),
                ("refreshToken.setIdleExpiresAt", json!([at(idle).micros() / 1000])),
            ]);
        };
        asks(5000, 5000);
        let tokens = scene.sign_in(&scene.curfew.browser(), &OFFLINE).await;
        let ends = |token: &Value| (token["expires_at"].clone(), token["idle_expires_at"].clone());
        assert_eq!(ends(&scene.refresh_token().await), (json!(at(1000).iso()), json!(at(500).iso())));
        let tokens = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        assert_eq!(ends(&scene.refresh_token().await), (json!(at(1000).iso()), json!(at(500).iso())));
        // Nor does the end by idleness lie behind the absolute one.
        asks(200, 400);
        Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        assert_eq!(ends(&scene.refresh_token().await), (json!(at(200).iso()), json!(at(200).iso())));
        // One that begins with a password as well.
        scene.operator.delete(&format!("/users/{}/refresh-tokens", scene.ada.path())).await.expect(202);
        let (client, fields) = with_passwords(&scene).await;
        asks(100, 50);
        Tokens::of(&client.token(&as_fields(&fields)).await);
        assert_eq!(ends(&scene.refresh_token().await), (json!(at(100).iso()), json!(at(50).iso())));
    }

    fn actions_are_not_told_of_what_is_refused_anyway(curfew) {
        let scene = Scene::set(&curfew).await;
        let tokens = scene.sign_in(&scene.curfew.browser(), &OFFLINE).await;
        let runs = scene.runs();
        let stranger = scene.operator.make_spa().await;
        assert_error(&stranger.refresh(tokens.refresh()).await.expect(403), "invalid_grant");
        scene.spa.revoke(tokens.refresh()).await.expect(200);
        assert_error(&scene.spa.refresh(tokens.refresh()).await.expect(403), "invalid_grant");
        let (client, fields) = with_passwords(&scene).await;
        scene.operator.block(&scene.ada).await.expect(200);
        assert_eq!(client.token(&as_fields(&fields)).await.error().as_deref(), Some("unauthorized"));
        assert_eq!(scene.runs(), runs);
    }

    fn a_retry_within_the_leeway_is_for_actions_to_judge_as_well(curfew) {
        let scene = Scene::set(&curfew).await;
        let doc = json!({"refresh_token": {"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 30}});
        scene.operator.patch(&format!("/clients/{}", scene.spa.client_id), doc).await.expect(200);
        let tokens = scene.sign_in(&scene.curfew.browser(), &OFFLINE).await;
        Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
        scene.double.asks("one", &[("access.deny", json!(["not again"]))]);
        assert_error(&scene.spa.refresh(tokens.refresh()).await.expect(403), "access_denied");
        scene.double.asks("one", &[]);
        Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
    }

    fn who_comes_back_is_who_went(curfew) {
        let scene = Scene::set(&curfew).await;
        let away = || {
            scene.double.act("one", |execution| {
                std::future::ready(match execution.function {
                    "onContinuePostLogin" => Err(ActionError::NoSuchFunction),
                    _ => Ok(vec![json!({"type": "redirect.sendUserTo", "args": ["https://terms.example/"]})]),
                })
            });
        };
        let back = |away: &Answer| format!("continue?state={}", away.parameter("state").expect("a state"));
        // Somebody else has logged in in the same browser meanwhile.
        away();
        let browser = scene.curfew.browser();
        let first = scene.log_in(&browser, &[]).await;
        scene.double.asks("one", &[]);
        let eve = scene.operator.make_person().await;
        browser.log_in(&scene.spa, &eve, &[("prompt", "login")]).await;
        let runs = scene.runs();
        browser.get(&back(&first)).await.expect(400);
        assert_eq!(scene.runs(), runs);
        // An Action that has nothing to say then lets the person go on, once, however much is swept meanwhile.
        away();
        let browser = scene.curfew.browser();
        let away = scene.log_in(&browser, &[]).await;
        let twin = browser.copy();
        browser.get(&back(&away)).await.expect(302).code().expect("a code");
        scene.curfew.advance(60);
        scene.curfew.sweep().await;
        twin.get(&back(&away)).await.expect(400);
    }
}
