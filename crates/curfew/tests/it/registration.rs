//! Actions around becoming a user, and around a new password: what they are told, what they may ask for, what they must not
//! tell anybody. The engine is a double of the test's own, but where the story says otherwise.

use std::sync::Arc;

use curfew_core::actions::ActionError;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::signup::{body, post, said, sign_up};
use crate::support::{Answer, Application, CONNECTION, Curfew, Double, Operator, PASSWORD};

const SIGNUP: &str = "/dbconnections/signup";
const GENERIC: &str = "Something went wrong, please try again later";
const NOT_POSSIBLE: &str = "We could not create an account with these details.";

/// A node with Actions at a trigger, and an application.
struct Scene {
    curfew: Curfew,
    double: Double,
    operator: Operator,
    spa: Application,
}

impl Scene {
    async fn set(curfew: &Curfew, trigger: &str, names: &[&str]) -> Self {
        let double = Double::default();
        for name in names {
            double.asks(name, &[]);
        }
        let curfew = double.bound(curfew, trigger, names).await;
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        Self { curfew, double, operator, spa }
    }

    /// Through the endpoint.
    async fn signs_up(&self, email: &str, more: Value) -> Answer {
        let mut sent = json!({ "email": email });
        sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&self.curfew, SIGNUP, &body(&self.spa, sent)).await
    }

    async fn by_email(&self, email: &str) -> Vec<Value> {
        let found = self.operator.get(&format!("/users-by-email?email={email}")).await.expect(200).json();
        found.as_array().expect("a list").clone()
    }
}

fn thrown() -> ActionError {
    ActionError::Thrown { name: "Error".into(), message: "a secret of the code".into(), stack: String::new() }
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

in_a_box! {
    fn an_action_is_told_who_signs_up(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one"]).await;
        let sent = json!({"given_name": "New", "user_metadata": {"plan": "free"}, "ulp-colour": "blue", "app_metadata": {"x": 1}});
        scene.signs_up("New@Example.com", sent).await.expect(200);
        let event = scene.double.event();
        assert_eq!(members(&event), ["client", "connection", "request", "tenant", "user"]);
        assert_eq!(event["user"], json!({
            "email": "new@example.com", "name": "new@example.com", "nickname": "new", "given_name": "New",
            "picture": "https://cdn.auth0.com/avatars/ne.png", "user_metadata": {"plan": "free"}, "app_metadata": {},
        }));
        assert_eq!(event["client"]["client_id"], scene.spa.client_id);
        assert_eq!(members(&event["connection"]), ["id", "metadata", "name", "strategy"]);
        assert_eq!((&event["connection"]["name"], &event["connection"]["strategy"]), (&json!(CONNECTION), &json!("auth0")));
        assert_eq!(event["tenant"], json!({"id": "id"}));
        let request = &event["request"];
        assert_eq!((&request["method"], &request["hostname"]), (&json!("POST"), &json!("id.example")));
        assert_eq!((&request["body"]["ulp-colour"], &request["body"]["email"]), (&json!("blue"), &json!("New@Example.com")));
        assert_eq!((&request["geoip"], request["ip"].is_string()), (&json!({}), true));
        assert!(!event.to_string().contains(PASSWORD));

        sign_up(&scene.curfew.browser(), &scene.spa, &[("email", "page@example.com"), ("password", PASSWORD)]).await.expect(302);
        let event = scene.double.event();
        assert_eq!((&event["user"]["email"], &event["user"]["user_metadata"]), (&json!("page@example.com"), &json!({})));
        assert_eq!(event["transaction"]["protocol"], "oidc-basic-profile");
        assert_eq!(event["request"]["body"], json!({"email": "page@example.com"}));
        assert!(!event.to_string().contains(PASSWORD));
        for row in scene.curfew.logs("ss").await {
            assert!(row["details"]["actions"]["executions"][0].is_string(), "{row}");
        }
    }

    fn metadata_are_there_from_the_beginning(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one", "two"]).await;
        scene.double.asks("one", &[
            ("user.setUserMetadata", json!(["colour", "blue"])),
            ("user.setUserMetadata", json!(["plan", null])),
            ("user.setAppMetadata", json!(["role", "reader"])),
        ]);
        scene.double.asks("two", &[("user.setAppMetadata", json!(["role", "writer"]))]);
        let made = scene.signs_up("new@example.com", json!({"user_metadata": {"plan": "free", "kept": 1}})).await.expect(200).json();
        assert_eq!(made["user_metadata"], json!({"kept": 1, "colour": "blue"}));
        assert!(made.get("app_metadata").is_none(), "{made}");
        let user = scene.by_email("new@example.com").await.remove(0);
        assert_eq!(user["app_metadata"], json!({"role": "writer"}));
        assert_eq!(user["user_metadata"], json!({"kept": 1, "colour": "blue"}));
        assert_eq!(user["created_at"], user["updated_at"]);
    }

    fn a_no_is_told_to_the_person_and_its_reason_to_the_log(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one", "two"]).await;
        let no = "Nobody from <b>there</b> today.";
        scene.double.asks("one", &[
            ("access.deny", json!(["they are on the list", no])),
            ("user.setUserMetadata", json!(["denied", true])),
        ]);
        let ran = scene.double.events().len();
        let refused = scene.signs_up("new@example.com", json!({})).await.expect(400);
        assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
        assert_eq!(refused.json(), json!({
            "name": "InternalExtensibilityError", "code": "extensibility_error", "message": no, "friendly_message": no,
            "description": no, "fromSandbox": true, "statusCode": 400,
        }));
        let browser = scene.curfew.browser();
        let page = sign_up(&browser, &scene.spa, &[("email", "new@example.com"), ("password", PASSWORD)]).await.expect(400);
        assert!(page.text().contains("Nobody from &#60;b&#62;there&#60;/b&#62; today."), "{}", page.text());
        assert!(!page.text().contains(NOT_POSSIBLE) && !page.text().contains("on the list"));
        assert!(!browser.has_session_cookie());
        assert_eq!(scene.double.events().len() - ran, 2, "nobody behind it ran");
        assert_eq!(scene.by_email("new@example.com").await, [] as [Value; 0]);
        let logs = scene.curfew.logs("fs").await;
        assert_eq!(logs.len(), 2);
        for row in &logs {
            assert_eq!(row["description"], "they are on the list");
            let id = row["details"]["actions"]["executions"][0].as_str().expect("a record");
            let record = scene.operator.get(&format!("/actions/executions/{id}")).await.expect(200).json();
            assert_eq!((&record["status"], &record["trigger_id"]), (&json!("canceled"), &json!("pre-user-registration")));
        }
        // A validation error is a "no" whose code is for the log; a "no" may have nothing to say.
        scene.double.asks("one", &[("validation.error", json!(["bad_shoes", "Not in these shoes."]))]);
        assert_eq!(scene.signs_up("new@example.com", json!({})).await.expect(400).json()["friendly_message"], "Not in these shoes.");
        let logs = scene.curfew.logs("fs").await;
        let coded = logs.iter().filter(|row| row["details"]["error"]["code"] == "bad_shoes").count();
        assert_eq!((logs.len(), coded), (3, 1));
        for silent in [json!(["they are on the list", null]), json!(["they are on the list", " "])] {
            scene.double.asks("one", &[("access.deny", silent)]);
            let refused = scene.signs_up("new@example.com", json!({})).await.expect(400);
            assert_eq!(refused.json()["description"], GENERIC);
            assert!(!refused.text().contains("on the list"));
            let fields = [("email", "new@example.com"), ("password", PASSWORD)];
            let page = sign_up(&scene.curfew.browser(), &scene.spa, &fields).await.expect(400);
            assert!(page.text().contains(NOT_POSSIBLE));
        }
    }

    fn who_has_an_account_looks_like_who_has_none(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one"]).await;
        let ada = scene.operator.make_person().await;
        let ran = scene.double.events().len();
        let pages = async |email: String| {
            let fields = [("email", &*email), ("password", PASSWORD)];
            let page = sign_up(&scene.curfew.browser(), &scene.spa, &fields).await.expect(400);
            let answer = scene.signs_up(&email, json!({})).await.expect(400);
            (said(&page).replace(&*email, ""), answer.text().clone())
        };
        let fresh = "fresh@example.com".to_owned();
        scene.double.asks("one", &[("access.deny", json!(["no", "Not today."]))]);
        assert_eq!(pages(ada.email.clone()).await, pages(fresh.clone()).await);
        scene.double.act("one", |_| std::future::ready(Err(thrown())));
        assert_eq!(pages(ada.email.clone()).await, pages(fresh.clone()).await);
        assert_eq!(scene.double.events().len() - ran, 8, "it runs for both");
        // A weak password is one for both, and nothing runs.
        let weak = [("email", &*ada.email), ("password", "weak")];
        sign_up(&scene.curfew.browser(), &scene.spa, &weak).await.expect(400);
        scene.signs_up("no-address", json!({})).await.expect(400);
        assert_eq!(scene.double.events().len() - ran, 8);
        // Whoever it lets through is told what was always told.
        scene.double.asks("one", &[("user.setUserMetadata", json!(["mine", true]))]);
        let taken = scene.signs_up(&ada.email, json!({})).await.expect(400).json();
        assert_eq!(taken["code"], "invalid_signup");
        assert!(scene.by_email(&ada.email).await[0].get("user_metadata").is_none(), "it is another's");
    }

    fn who_fails_makes_nobody_and_tells_nothing(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one"]).await;
        scene.double.act("one", |_| std::future::ready(Err(thrown())));
        let refused = scene.signs_up("new@example.com", json!({})).await.expect(400);
        assert_eq!((&refused.json()["code"], &refused.json()["description"]), (&json!("extensibility_error"), &json!(GENERIC)));
        let fields = [("email", "new@example.com"), ("password", PASSWORD)];
        let page = sign_up(&scene.curfew.browser(), &scene.spa, &fields).await.expect(400);
        assert!(page.text().contains(NOT_POSSIBLE));
        for answer in [&refused, &page] {
            assert!(!answer.text().contains("secret of the code"));
        }
        // What its trigger has no call for fails it too.
        scene.double.asks("one", &[("accessToken.setCustomClaim", json!(["x", 1]))]);
        scene.signs_up("new@example.com", json!({})).await.expect(400);
        assert_eq!(scene.by_email("new@example.com").await, [] as [Value; 0]);
        assert_eq!(scene.curfew.logs("fs").await.len(), 3);
        let failures = scene.curfew.logs("actions_execution_failed").await;
        assert_eq!((failures.len(), &failures[0]["details"]["action_name"]), (3, &json!("one")));
    }

    fn nothing_is_held_while_it_runs_and_what_changed_is_seen(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one"]).await;
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let held = (Arc::clone(&begun), Arc::clone(&go));
        scene.double.act("one", move |execution| {
            let (begun, go) = (Arc::clone(&held.0), Arc::clone(&held.1));
            let slow = execution.event["user"]["given_name"] == "Slow";
            async move {
                if slow {
                    begun.notify_one();
                    go.notified().await;
                }
                Ok(Vec::new())
            }
        });
        let slow = json!({"given_name": "Slow"});
        let other = async {
            begun.notified().await;
            // Somebody else is quicker.
            scene.signs_up("new@example.com", json!({})).await.expect(200);
            scene.curfew.advance(5);
            go.notify_one();
        };
        let (late, ()) = tokio::join!(scene.signs_up("new@example.com", slow.clone()), other);
        assert_eq!(late.expect(400).json()["code"], "invalid_signup");
        let users = scene.by_email("new@example.com").await;
        assert_eq!((users.len(), users[0].get("given_name")), (1, None));
        // Nobody signs up any more.
        let id = scene.operator.connection_id(CONNECTION).await;
        let other = async {
            begun.notified().await;
            let closed = json!({"options": {"disable_signup": true}});
            scene.operator.patch(&format!("/connections/{id}"), closed).await.expect(200);
            go.notify_one();
        };
        let (late, ()) = tokio::join!(scene.signs_up("later@example.com", slow), other);
        assert_eq!(late.expect(400).json()["code"], "invalid_signup");
        assert_eq!(scene.by_email("later@example.com").await, [] as [Value; 0]);
    }

    fn administrators_make_users_past_it_too(curfew) {
        let scene = Scene::set(&curfew, "pre-user-registration", &["one"]).await;
        scene.double.asks("one", &[("user.setAppMetadata", json!(["vetted", true]))]);
        let doc = json!({"connection": CONNECTION, "email": "new@example.com", "password": PASSWORD, "app_metadata": {"own": 1}});
        let made = scene.operator.post("/users", doc.clone()).await.expect(201).json();
        assert_eq!(made["app_metadata"], json!({"own": 1, "vetted": true}));
        let event = scene.double.event();
        assert_eq!(members(&event), ["connection", "request", "tenant", "user"]);
        assert_eq!(event["user"]["app_metadata"], json!({"own": 1}));
        assert!(!event.to_string().contains(PASSWORD));
        scene.double.asks("one", &[("access.deny", json!(["not vetted", "Ask your manager."]))]);
        let mut second = doc;
        second["email"] = json!("second@example.com");
        let refused = scene.operator.post("/users", second).await.expect(400).json();
        assert_eq!(refused["message"], "Sandbox error.");
        assert_eq!(scene.curfew.logs("fs").await[0]["description"], "not vetted");
        assert!(scene.curfew.logs("ss").await.is_empty());
    }
}
