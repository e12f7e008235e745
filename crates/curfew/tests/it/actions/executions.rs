//! What is kept of what Actions did.

use std::time::Duration;

use curfew::serve::job_ctx;
use curfew_core::actions::executions::{Record, Status};
use curfew_core::actions::{ActionError, ConsoleLine, FetchRecord, Finished};
use curfew_model::config::ActionTrigger;
use curfew_model::{ClientId, UserId};

use super::*;
use crate::support::ISSUER;

fn finished(result: Result<(), ActionError>) -> Finished {
    Finished {
        result,
        commands: Vec::new(),
        console: vec![ConsoleLine { level: "log".into(), text: "hello".into() }],
        fetches: vec![FetchRecord {
            method: "POST".into(),
            url: format!("https://api.example/notify?token={HIDDEN}"),
            status: Some(204),
            error: None,
            duration: Duration::from_millis(12),
        }],
        duration: Duration::from_millis(20),
    }
}

/// Writes down that the bound Action has run.
async fn run(curfew: &Curfew, user: &str, result: Result<(), ActionError>) -> String {
    let ctx = job_ctx(&curfew.core, ISSUER);
    let config = curfew.core.tenant(TENANT).await.expect("the tenant");
    let mut record = Record::begin(&ctx, ActionTrigger::PostLogin);
    let status = if result.is_ok() { Status::Final } else { Status::Partial };
    record.ran(&config.actions.at(ActionTrigger::PostLogin)[0], ctx.now, &finished(result));
    let id = record.id.clone();
    let (user, client) = (UserId(user.to_owned()), ClientId("client".to_owned()));
    record.send(&curfew.core, &ctx, status, (Some(&user), Some(&client)));
    curfew.core.logs.drain().await;
    id
}

async fn ids(operator: &Operator, query: &str) -> Vec<String> {
    let listed = operator.get(&format!("/actions/executions{query}")).await.expect(200).json();
    let list = listed["executions"].as_array().expect("a list").iter();
    list.map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

in_a_box! {
    fn what_ran_can_be_looked_at(curfew) {
        let operator = curfew.operator().await;
        let action = deployed(&curfew, &operator, post_login("watched")).await;
        bind(&operator, "post-login", &[by_id(&action)]).await;
        let first = run(&curfew, "auth0|ada", Ok(())).await;
        let began = curfew.now();
        curfew.advance(60);
        let thrown = ActionError::Thrown { name: "TypeError".into(), message: "x is not a function".into(), stack: "at 3".into() };
        let second = run(&curfew, "auth0|bob", Err(thrown)).await;

        let shown = operator.get(&format!("/actions/executions/{first}")).await.expect(200).json();
        assert_eq!((&shown["id"], &shown["trigger_id"], &shown["status"]), (&json!(first), &json!("post-login"), &json!("final")));
        assert_eq!((&shown["user_id"], &shown["client_id"]), (&json!("auth0|ada"), &json!("client")));
        let result = &shown["results"][0];
        assert_eq!((&result["action_name"], &result["started_at"]), (&json!("watched"), &json!(began.iso())));
        assert_eq!((&result["duration_ms"], result.get("error")), (&json!(20.0), None));
        assert_eq!(result["logs"], json!([{"level": "log", "text": "hello"}]));
        assert_eq!((&result["fetches"][0]["url"], &result["fetches"][0]["status"]), (&json!("https://api.example/notify"), &json!(204)));
        let failed = operator.get(&format!("/actions/executions/{second}")).await.expect(200).json();
        assert_eq!((&failed["status"], &failed["results"][0]["error"]["msg"]), (&json!("partial"), &json!("TypeError: x is not a function")));
        operator.get("/actions/executions/nothing").await.expect(404);

        assert_eq!(ids(&operator, "").await, [second.clone(), first.clone()]);
        assert_eq!(ids(&operator, "?user_id=auth0%7Cada").await, std::slice::from_ref(&first));
        assert_eq!(ids(&operator, "?status=partial").await, std::slice::from_ref(&second));
        assert_eq!(ids(&operator, "?trigger_id=credentials-exchange").await, Vec::<String>::new());
        let page = operator.get("/actions/executions?take=1").await.expect(200).json();
        assert_eq!(page["executions"][0]["id"], json!(second));
        let next = page["next"].as_str().expect("more").to_owned();
        assert_eq!(ids(&operator, &format!("?take=1&from={next}")).await, std::slice::from_ref(&first));

        // The setting says how long.
        let settings = operator.get("/tenants/settings").await.expect(200).json();
        assert_eq!(settings["action_executions"], json!({"retention_days": 10}));
        curfew.advance(2 * 86_400);
        curfew.sweep().await;
        let operator = curfew.operator().await;
        assert_eq!(ids(&operator, "").await.len(), 2);
        operator.patch("/tenants/settings", json!({"action_executions": {"retention_days": 0}})).await.expect(400);
        operator.patch("/tenants/settings", json!({"action_executions": {"retention_days": 2}})).await.expect(200);
        curfew.sweep().await;
        assert_eq!(ids(&operator, "").await, [second], "the first is a minute too old");
    }
}
