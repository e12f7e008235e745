//! Actions that never return, in real workers: what becomes of that login, of the next one, and of others meanwhile.

use curfew::config::Typed;
use curfew_testkit::Receiver;

use super::*;
use crate::support::{CONNECTION, ISSUER};

/// A node that gives Actions so much time: of the processor, and with all waiting.
async fn node(curfew: &Curfew, cpu_ms: u64, time_ms: u64) -> Curfew {
    let typed = Typed {
        issuer: Some(ISSUER.to_owned()),
        egress_allow: Some("127.0.0.0/8".to_owned()),
        actions_cpu_ms: Some(cpu_ms.into()),
        actions_time_ms: Some(time_ms.into()),
        ..Typed::default()
    };
    curfew.another_configuration(typed).await
}

fn doing(name: &str, body: &str) -> Value {
    let mut doc = post_login(name);
    doc["code"] = json!(format!("exports.onExecutePostLogin = async (event, api) => {{ {body} }};"));
    doc
}

in_a_box! {
    fn an_action_that_never_returns_fails_that_login_alone(curfew) {
        let cases = [
            ("a loop", 1000, 60_000, "for (;;);"),
            // One call of the engine's own, which looks up at nothing: its process is killed.
            ("a built-in", 1000, 60_000, "const text = 'a'.repeat(5e6); text.indexOf('a'.repeat(25e5) + 'b');"),
            ("waiting", 60_000, 2000, "for (;;) await new Promise((resolve) => { setTimeout(resolve, 10); });"),
            ("a promise", 60_000, 60_000, "await new Promise(() => {});"),
        ];
        for (name, cpu_ms, time_ms, body) in cases {
            let scene = Scene::set(&node(&curfew, cpu_ms, time_ms).await).await;
            scene.run(doing(name, &format!("api.user.setAppMetadata('left', 1); {body}"))).await;
            let browser = scene.curfew.browser();
            let answer = scene.try_log_in(&browser, &scene.ada).await;
            assert_eq!(answer.error().as_deref(), Some("access_denied"), "{name}: {:?}", answer.location());
            let error = if name == "a promise" { "unavailable" } else { "timed_out" };
            let failed = scene.curfew.logs("actions_execution_failed").await;
            let failed: Vec<_> = failed.iter().filter(|row| row["user_id"] == scene.ada.user_id).collect();
            assert_eq!(failed.len(), 1, "{name}");
            assert_eq!((&failed[0]["details"]["action_name"], &failed[0]["details"]["error"]), (&json!(name), &json!(error)));
            assert!(scene.user().await.get("app_metadata").is_none(), "{name}: nothing of it counts");
            let execution = scene.executions().await.remove(0);
            assert_eq!((&execution["status"], &execution["results"][0]["error"]["id"]), (&json!("partial"), &json!(error)));
            // What it ran for is there, and without it everything goes on.
            bind(&scene.operator, "post-login", &[]).await;
            assert!(scene.is_in(&browser).await, "{name}");
            scene.sign_in(&scene.curfew.browser()).await;
        }
    }

    fn others_log_in_while_an_action_never_returns(curfew) {
        let scene = Scene::set(&node(&curfew, 60_000, 60_000).await).await;
        let receiver = Receiver::start().await;
        let mut doc = doing("endless", "if (event.user.app_metadata.endless) { await fetch(event.secrets.url); for (;;); }");
        doc["secrets"] = json!([{"name": "url", "value": receiver.url()}]);
        scene.run(doc).await;
        let endless = json!({"app_metadata": {"endless": true}});
        let victim = scene.operator.make_person_with(CONNECTION, endless).await;
        let login = tokio::spawn({
            let scene = scene.clone();
            async move { scene.try_log_in(&scene.curfew.browser(), &victim).await }
        });
        receiver.bodies_after(1).await;
        let browser = scene.curfew.browser();
        let tokens = scene.sign_in(&browser).await;
        assert!(scene.is_in(&browser).await);
        scene.spa.refresh(tokens.refresh()).await.expect(200);
        assert_eq!(scene.executions().await.len(), 3, "the same Action, which returns for others");
        assert!(!login.is_finished(), "it is under way all the while");
        login.abort();
    }
}
