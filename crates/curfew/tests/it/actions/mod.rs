//! Actions: how tenants bring their own code in, and what becomes of it.

mod articles;
mod builds;
mod bytecode;
mod command;
mod executions;
mod hostile;
mod management;
mod modules;
mod settings;

use curfew_model::TenantId;
use serde_json::{Value, json};

use crate::support::{Answer, Application, Browser, Curfew, Operator, Person, Tokens};

const TENANT: TenantId = TenantId(1);
/// What no answer and no log may say.
const HIDDEN: &str = "what-only-the-Action-may-know";

const CODE: &str = "exports.onExecutePostLogin = async (event, api) => {};";

fn post_login(name: &str) -> Value {
    json!({"name": name, "supported_triggers": [{"id": "post-login", "version": "v3"}], "code": CODE})
}

fn path(action: &Value, more: &str) -> String {
    format!("/actions/actions/{}{more}", action["id"].as_str().expect("an id"))
}

async fn make(operator: &Operator, doc: Value) -> Value {
    operator.post("/actions/actions", doc).await.expect(201).json()
}

/// Makes an Action, builds and deploys it.
async fn deployed(curfew: &Curfew, operator: &Operator, doc: Value) -> Value {
    let action = make(operator, doc).await;
    curfew.build().await;
    operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
    operator.get(&path(&action, "")).await.expect(200).json()
}

fn by_id(action: &Value) -> Value {
    json!({"ref": {"type": "action_id", "value": action["id"]}, "display_name": action["name"]})
}

/// Tries a draft out: what it wrote, and how it failed.
async fn tried(operator: &Operator, action: &Value) -> (Value, Value) {
    let asked = json!({"payload": {"event": {}}});
    let answer = operator.post(&path(action, "/test"), asked).await.expect(200).json();
    (answer["payload"]["logs"].clone(), answer["payload"]["error"]["id"].clone())
}

async fn bind(operator: &Operator, trigger: &str, bindings: &[Value]) -> Vec<Value> {
    let body = json!({ "bindings": bindings });
    let bound =
        operator.patch(&format!("/actions/triggers/{trigger}/bindings"), body).await.expect(200).json();
    bound["bindings"].as_array().expect("a list").clone()
}

/// An application, and somebody who logs in there.
#[derive(Debug, Clone)]
struct Scene {
    curfew: Curfew,
    operator: Operator,
    spa: Application,
    ada: Person,
}

impl Scene {
    async fn set(curfew: &Curfew) -> Self {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        Self { curfew: curfew.clone(), operator, spa, ada }
    }

    /// Lets time pass; the operator's token is over by then.
    async fn advance(&mut self, seconds: i64) {
        self.curfew.advance(seconds);
        self.operator = self.curfew.operator().await;
    }

    /// Makes an Action and has it alone run at post-login.
    async fn run(&self, doc: Value) {
        let action = deployed(&self.curfew, &self.operator, doc).await;
        bind(&self.operator, "post-login", &[by_id(&action)]).await;
    }

    /// Logs in as far as the answer to the form.
    async fn try_log_in(&self, browser: &Browser, person: &Person) -> Answer {
        let offline = [("scope", "openid offline_access")];
        let to_login = browser.authorize(&self.spa, &offline).await.expect(302);
        assert!(to_login.leads_to("u/login"), "{:?}", to_login.location());
        browser.submit_login(&to_login, &person.email, &person.password).await.expect(302)
    }

    async fn sign_in(&self, browser: &Browser) -> Tokens {
        let answer = self.try_log_in(browser, &self.ada).await;
        let code = answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()));
        Tokens::of(&self.spa.redeem(&code).await)
    }

    /// Whether a browser is logged in, by silent login.
    async fn is_in(&self, browser: &Browser) -> bool {
        let answer = browser.authorize_silently(&self.spa, &[]).await.expect(302);
        let error = answer.error();
        assert!(answer.code().is_some() || error.as_deref() == Some("login_required"), "{error:?}");
        answer.code().is_some()
    }

    /// The ids of the sessions that live.
    async fn sessions(&self) -> Vec<String> {
        let path = format!("/users/{}/sessions", self.ada.path());
        let listed = self.operator.get(&path).await.expect(200).json();
        let sessions = listed["sessions"].as_array().expect("a list").iter();
        sessions.map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
    }

    async fn user(&self) -> Value {
        self.operator.get(&format!("/users/{}", self.ada.path())).await.expect(200).json()
    }

    /// What ran about this person, that of the newest instant first.
    async fn executions(&self) -> Vec<Value> {
        self.curfew.core.logs.drain().await;
        let path = format!("/actions/executions?take=100&user_id={}", self.ada.path());
        let listed = self.operator.get(&path).await.expect(200).json();
        let mut found = Vec::new();
        for execution in listed["executions"].as_array().expect("a list") {
            let path = format!("/actions/executions/{}", execution["id"].as_str().expect("an id"));
            found.push(self.operator.get(&path).await.expect(200).json());
        }
        found
    }
}
