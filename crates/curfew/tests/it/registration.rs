//! Actions around becoming a user, and around a new password: what they are told, what they may ask for, what they must not
//! tell anybody. The engine is a double of the test's own, but where the story says otherwise.

use std::sync::Arc;

use curfew_core::actions::ActionError;
use futures_util::FutureExt as _;
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

/// Has code run at a trigger, in a worker.
async fn deploy(curfew: &Curfew, operator: &Operator, trigger: &str, code: &str) {
    let triggers = json!([{"id": trigger, "version": "v2"}]);
    let doc = json!({"name": trigger, "code": code, "supported_triggers": triggers});
    let made = operator.post("/actions/actions", doc).await.expect(201).json();
    let id = made["id"].as_str().expect("an id");
    curfew.build().await;
    operator.post(&format!("/actions/actions/{id}/deploy"), json!({})).await.expect(202);
    let bindings = json!([{"ref": {"type": "action_id", "value": id}, "display_name": trigger}]);
    let path = format!("/actions/triggers/{trigger}/bindings");
    operator.patch(&path, json!({ "bindings": bindings })).await.expect(200);
}

/// What is kept of the executions at a trigger, the newest first.
async fn executions(curfew: &Curfew, operator: &Operator, trigger: &str) -> Vec<Value> {
    curfew.core.logs.drain().await;
    let listed = operator.get(&format!("/actions/executions?trigger_id={trigger}")).await.expect(200).json();
    listed["executions"].as_array().expect("a list").clone()
}

in_a_box! {
    fn who_became_a_user_is_told_afterwards(curfew) {
        let scene = Scene::set(&curfew, "post-user-registration", &["one", "two"]).await;
        let made = scene.signs_up("new@example.com", json!({"user_metadata": {"plan": "free"}})).await.expect(200).json();
        assert!(scene.double.events().is_empty(), "nobody waits for it");
        scene.curfew.run_actions().await;
        let event = scene.double.event();
        assert_eq!(members(&event), ["client", "connection", "request", "tenant", "user"]);
        assert_eq!(event["user"]["user_id"], format!("auth0|{}", made["_id"].as_str().unwrap()));
        assert_eq!((&event["user"]["created_at"], &event["user"]["user_metadata"]), (&json!(scene.curfew.now().iso()), &json!({"plan": "free"})));
        assert!(event["user"].get("last_password_reset").is_none(), "{event}");
        assert_eq!(event["client"]["client_id"], scene.spa.client_id);
        assert_eq!(event["connection"]["name"], CONNECTION);
        assert_eq!(members(&event["request"]), ["asn", "geoip", "hostname", "ip", "method"]);
        assert!(!event.to_string().contains(PASSWORD));
        let records = executions(&scene.curfew, &scene.operator, "post-user-registration").await;
        assert_eq!((records.len(), &records[0]["status"], &records[0]["user_id"]), (1, &json!("final"), &event["user"]["user_id"]));
        assert_eq!(records[0]["results"].as_array().map(Vec::len), Some(2));
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 2, "once");
        // On the page, and by an administrator.
        sign_up(&scene.curfew.browser(), &scene.spa, &[("email", "page@example.com"), ("password", PASSWORD)]).await.expect(302);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.event()["transaction"]["protocol"], "oidc-basic-profile");
        scene.operator.make_person().await;
        scene.curfew.run_actions().await;
        assert_eq!(members(&scene.double.event()), ["connection", "request", "tenant", "user"]);
        // Nobody became a user.
        scene.signs_up("new@example.com", json!({})).await.expect(400);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 6);
    }

    fn who_fails_afterwards_changes_nothing(curfew) {
        let scene = Scene::set(&curfew, "post-user-registration", &["one"]).await;
        scene.double.act("one", |_| std::future::ready(Err(thrown())));
        scene.signs_up("new@example.com", json!({})).await.expect(200);
        scene.curfew.run_actions().await;
        scene.curfew.advance(3600);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 1, "it had its turn");
        assert_eq!(scene.by_email("new@example.com").await.len(), 1);
        let failures = scene.curfew.logs("actions_execution_failed").await;
        assert_eq!((failures.len(), &failures[0]["details"]["action_name"]), (1, &json!("one")));
        assert_eq!(executions(&scene.curfew, &scene.operator, "post-user-registration").await[0]["status"], "partial");
    }

    fn what_a_node_leaves_another_one_runs(curfew) {
        let scene = Scene::set(&curfew, "post-user-registration", &["one"]).await;
        let begun = Arc::new(Notify::new());
        let dying = Arc::clone(&begun);
        scene.double.act("one", move |_| {
            let begun = Arc::clone(&dying);
            async move {
                begun.notify_one();
                std::future::pending().await
            }
        });
        scene.signs_up("new@example.com", json!({})).await.expect(200);
        {
            // The node dies in the middle.
            let mut work = Box::pin(scene.curfew.run_actions());
            tokio::select! {
                () = &mut work => panic!("it never ends"),
                () = begun.notified() => {}
            }
        }
        scene.double.asks("one", &[]);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 1, "the lease is not over");
        scene.curfew.advance(70);
        scene.curfew.run_actions().await;
        scene.curfew.advance(70);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 2);
    }

    fn who_finds_no_worker_is_tried_again_and_not_for_ever(curfew) {
        let scene = Scene::set(&curfew, "post-user-registration", &["one"]).await;
        scene.double.act("one", |_| std::future::ready(Err(ActionError::Busy)));
        scene.signs_up("new@example.com", json!({})).await.expect(200);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 1);
        scene.double.asks("one", &[]);
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 1, "not at once");
        for _ in 0..2 {
            scene.curfew.advance(15);
            scene.curfew.run_actions().await;
            assert_eq!(scene.double.events().len(), 2);
        }
        scene.double.act("one", |_| std::future::ready(Err(ActionError::Busy)));
        scene.signs_up("later@example.com", json!({})).await.expect(200);
        for _ in 0..10 {
            scene.curfew.run_actions().await;
            scene.curfew.advance(15);
        }
        assert_eq!(scene.double.events().len(), 7);
        // What has no turn for a day has none at all.
        scene.signs_up("latest@example.com", json!({})).await.expect(200);
        scene.curfew.advance(86_401);
        scene.curfew.sweep().await;
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 7);
    }

    fn a_running_server_runs_them_by_itself(curfew) {
        let scene = Scene::set(&curfew, "post-user-registration", &["one"]).await;
        let ran = Arc::new(Notify::new());
        let told = Arc::clone(&ran);
        scene.double.act("one", move |_| {
            told.notify_one();
            std::future::ready(Ok(Vec::new()))
        });
        let runs = scene.curfew.runs();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(async move { runs.run(stopped.map(drop)).await });
        scene.signs_up("new@example.com", json!({})).await.expect(200);
        let begun = tokio::time::timeout(std::time::Duration::from_secs(60), ran.notified()).await;
        assert!(begun.is_ok(), "nobody runs it");
        drop(stop);
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), running).await;
        assert!(matches!(ended, Ok(Ok(()))), "it does not stop");
    }

    fn a_new_password_is_told(curfew) {
        let scene = Scene::set(&curfew, "post-change-password", &["one"]).await;
        let ada = scene.operator.make_person().await;
        scene.operator.change_user(&ada, json!({"given_name": "Ada"})).await.expect(200);
        scene.operator.change_user(&ada, json!({"password": "weak"})).await.expect(400);
        scene.curfew.run_actions().await;
        assert!(scene.double.events().is_empty(), "nothing of it was a new password");
        scene.curfew.advance(60);
        let password = "Another-Horse-8";
        scene.operator.change_user(&ada, json!({ "password": password })).await.expect(200);
        assert!(scene.double.events().is_empty(), "nobody waits for it");
        scene.curfew.run_actions().await;
        let event = scene.double.event();
        assert_eq!(members(&event), ["connection", "request", "tenant", "user"]);
        assert_eq!(event["user"]["user_id"], ada.user_id);
        assert_eq!((&event["user"]["email"], &event["user"]["email_verified"]), (&json!(ada.email), &json!(true)));
        assert_eq!(event["user"]["last_password_reset"], json!(scene.curfew.now().iso()));
        assert_eq!((&event["connection"]["name"], &event["request"]["method"]), (&json!(CONNECTION), &json!("PATCH")));
        assert!(!event.to_string().contains(password));
        let record = executions(&scene.curfew, &scene.operator, "post-change-password").await.remove(0);
        assert_eq!((&record["status"], &record["user_id"]), (&json!("final"), &json!(ada.user_id)));
        scene.curfew.run_actions().await;
        assert_eq!(scene.double.events().len(), 1);
    }

    fn a_worker_runs_them(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        deploy(&curfew, &operator, "pre-user-registration", "
            exports.onExecutePreUserRegistration = async (event, api) => {
              if (event.user.email.endsWith('@elsewhere.example')) return api.access.deny('elsewhere', `Not from ${event.connection.name}.`);
              const seen = Number(api.cache.get('seen')?.value ?? 0) + 1;
              api.cache.set('seen', `${seen}`);
              api.user.setAppMetadata('seen', seen);
              api.user.setUserMetadata('tenant', event.tenant.id);
              if (event.request.body.broken) throw new Error('a secret of the code');
            };").await;
        deploy(&curfew, &operator, "post-change-password", "
            exports.onExecutePostChangePassword = async (event, api) => {
              console.log(event.user.user_id, event.connection.strategy);
              try { api.transaction.setResultUrl('https://app.example/'); } catch (error) { console.log(error.code); }
            };").await;
        let sent = |email: &str, more: Value| {
            let mut sent = json!({ "email": email });
            sent.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body(&spa, sent)
        };
        post(&curfew, SIGNUP, &sent("one@example.com", json!({}))).await.expect(200);
        let made = post(&curfew, SIGNUP, &sent("two@example.com", json!({}))).await.expect(200).json();
        assert_eq!(made["user_metadata"], json!({"tenant": "id"}));
        let path = format!("/users/auth0%7C{}", made["_id"].as_str().unwrap());
        assert_eq!(operator.get(&path).await.expect(200).json()["app_metadata"], json!({"seen": 2}));
        let refused = post(&curfew, SIGNUP, &sent("x@elsewhere.example", json!({}))).await.expect(400).json();
        assert_eq!(refused["friendly_message"], format!("Not from {CONNECTION}."));
        let failed = post(&curfew, SIGNUP, &sent("y@example.com", json!({"broken": true}))).await.expect(400);
        assert_eq!(failed.json()["description"], GENERIC);
        // They are all of one instant, in no order.
        let records = executions(&curfew, &operator, "pre-user-registration").await;
        let failed: Vec<&Value> = records.iter().filter(|record| record["status"] == "partial").collect();
        assert_eq!((records.len(), failed.len()), (4, 1));
        assert_eq!(failed[0]["results"][0]["error"]["msg"], "Error: a secret of the code");

        operator.patch(&path, json!({"password": "Another-Horse-8"})).await.expect(200);
        curfew.run_actions().await;
        let record = executions(&curfew, &operator, "post-change-password").await.remove(0);
        let lines = &record["results"][0]["logs"];
        assert_eq!(lines[0]["text"], format!("auth0|{} auth0", made["_id"].as_str().unwrap()));
        assert_eq!(lines[1]["text"], "ERR_FEATURE_UNAVAILABLE");
    }

    fn what_an_action_causes_later_ends_somewhere(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        let code = "
            exports.onExecutePostUserRegistration = async (event) => {
              const sent = { client_id: 'CLIENT', connection: event.connection.name, password: 'Correct-Horse-7', email: `x${event.user.email}` };
              const answer = await fetch('https://id.example/dbconnections/signup', {
                method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(sent),
              });
              console.log(answer.status);
            };";
        deploy(&curfew, &operator, "post-user-registration", &code.replace("CLIENT", &spa.client_id)).await;
        post(&curfew, SIGNUP, &body(&spa, json!({"email": "a@example.com"}))).await.expect(200);
        curfew.run_actions().await;
        // Each causes another one, two deep, like Actions that wait for Actions.
        let found = operator.get("/users?per_page=100").await.expect(200).json();
        let emails = found.as_array().expect("a list").iter().filter_map(|user| user["email"].as_str());
        let mut emails: Vec<&str> = emails.filter(|email| email.ends_with("a@example.com")).collect();
        emails.sort_unstable();
        assert_eq!(emails, ["a@example.com", "xa@example.com", "xxa@example.com"]);
        let records = executions(&curfew, &operator, "post-user-registration").await;
        let mut ends: Vec<&str> = records.iter().filter_map(|record| record["status"].as_str()).collect();
        ends.sort_unstable();
        assert_eq!(ends, ["final", "final", "partial"]);
    }
}
