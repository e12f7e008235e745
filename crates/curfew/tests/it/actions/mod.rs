//! Actions: how tenants bring their own code in, and what becomes of it.

mod builds;
mod executions;
mod management;
mod modules;
mod settings;

use curfew_model::TenantId;
use serde_json::{Value, json};

use crate::support::{Curfew, Operator};

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

async fn bind(operator: &Operator, trigger: &str, bindings: &[Value]) -> Vec<Value> {
    let body = json!({ "bindings": bindings });
    let bound =
        operator.patch(&format!("/actions/triggers/{trigger}/bindings"), body).await.expect(200).json();
    bound["bindings"].as_array().expect("a list").clone()
}
