//! Trying drafts out.

use std::time::Duration;

use curfew_core::actions::{Builds, ConsoleLine, Execution, Finished, Runner};
use curfew_testkit::both_engines;
use futures_util::future::BoxFuture;
use serde_json::json;

use super::*;

/// Says what it was given, and asks for something.
#[derive(Debug)]
pub(super) struct Echo;

impl Runner for Echo {
    fn run(&self, execution: Execution) -> BoxFuture<'_, Finished> {
        let said = json!({
            "code": &*execution.program.code,
            "function": execution.function,
            "event": execution.event,
            "secret": execution.secrets.get("TOKEN").map(|value| value.expose().len()),
            "modules": execution.program.modules.iter().map(|(name, code)| json!([name, &**code])).collect::<Vec<_>>(),
        });
        Box::pin(async move {
            Finished {
                result: Ok(()),
                commands: vec![json!({"type": "access.deny", "args": ["no"]})],
                console: vec![ConsoleLine { level: "log".into(), text: said.to_string() }],
                fetches: Vec::new(),
                duration: Duration::from_millis(5),
            }
        })
    }
}

both_engines! {
    fn a_draft_is_tried_out_with_its_secrets_and_modules(store) {
        let api = Api::new(store).await;
        let module = json!({"name": "shared", "code": "// shared", "publish": true});
        assert_eq!(api.post("/actions/modules", module).await.0, StatusCode::CREATED);
        let (status, action) = api
            .post(
                "/actions/actions",
                json!({
                    "name": "tried", "supported_triggers": [{"id": "credentials-exchange"}], "code": "// draft",
                    "secrets": [{"name": "TOKEN", "value": "12345"}], "modules": [{"module_name": "shared"}],
                }),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{action}");
        let path = format!("/actions/actions/{}/test", action["id"].as_str().expect("an id"));
        let event = json!({"payload": {"event": {"client": {"name": "a"}, "secrets": {"TOKEN": "another"}}}});
        assert_eq!(api.post(&path, event.clone()).await.0, StatusCode::BAD_REQUEST, "it is not built");
        Builds::new(Arc::clone(&api.core), api.ctx()).work_off().await.expect("the build");
        let (status, tried) = api.post(&path, event).await;
        assert_eq!(status, StatusCode::OK, "{tried}");
        let payload = &tried["payload"];
        assert_eq!((&payload["action_name"], payload.get("error")), (&json!("tried"), None));
        assert_eq!(payload["commands"], json!([{"type": "access.deny", "args": ["no"]}]));
        let said: Value = serde_json::from_str(payload["logs"][0]["text"].as_str().expect("a line")).expect("JSON");
        assert_eq!(
            said,
            json!({
                "code": "// draft", "function": "onExecuteCredentialsExchange", "event": {"client": {"name": "a"}},
                "secret": 5, "modules": [["shared", "// shared"]],
            })
        );
        assert!(!api.logged().await.contains("another"), "a secret of a test was written down");
    }
}
