//! Drafts, versions, secrets and bindings.

use curfew_core::management::sealing_keys;
use curfew_model::config::{ACTIONS_MAX, ActionTrigger};

use super::*;

/// The code that runs at the end of a login, in order, as this node knows it.
async fn running(curfew: &Curfew) -> Vec<String> {
    let config = curfew.core.tenant(TENANT).await.expect("the tenant");
    config.actions.at(ActionTrigger::PostLogin).iter().map(|bound| bound.program.code.to_string()).collect()
}

/// The value of a secret of the one Action that is bound.
async fn secret(curfew: &Curfew, name: &str) -> Option<String> {
    let config = curfew.core.tenant(TENANT).await.expect("the tenant");
    let bound = config.actions.at(ActionTrigger::PostLogin).first().expect("an Action");
    let secrets = bound.program.secrets(&config).expect("secrets");
    secrets.get(name).map(|value| value.expose().clone())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|item| item["name"].as_str()).collect()
}

in_a_box! {
    fn an_action_is_made_built_deployed_and_bound(curfew) {
        let operator = curfew.operator().await;
        let another = curfew.another_node().await;
        let mut doc = post_login("notify");
        doc["secrets"] = json!([{"name": "TOKEN", "value": HIDDEN}]);
        let made = make(&operator, doc).await;
        assert_eq!((&made["status"], &made["all_changes_deployed"]), (&json!("pending"), &json!(false)));
        assert_eq!((&made["code"], &made["runtime"]), (&json!(CODE), &json!("node22")));
        assert_eq!(made["supported_triggers"], json!([{"id": "post-login", "version": "v3"}]));
        assert_eq!(made["secrets"], json!([{"name": "TOKEN", "updated_at": curfew.now().iso()}]));
        assert_eq!(made.get("deployed_version"), None);
        assert_eq!(made["id"].as_str().map(|id| id.split('-').map(str::len).collect()), Some(vec![8, 4, 4, 4, 12]));

        let early = operator.post(&path(&made, "/deploy"), json!({})).await.expect(400).json();
        assert!(early["message"].as_str().is_some_and(|text| text.contains("'built'")), "{early}");
        let body = json!({"bindings": [by_id(&made)]});
        operator.patch("/actions/triggers/post-login/bindings", body).await.expect(400);

        curfew.build().await;
        let built = operator.get(&path(&made, "")).await.expect(200).json();
        assert_eq!((&built["status"], &built["built_at"]), (&json!("built"), &json!(curfew.now().iso())));
        let version = operator.post(&path(&made, "/deploy"), json!({})).await.expect(202).json();
        assert_eq!((&version["number"], &version["deployed"], &version["status"]), (&json!(1), &json!(true), &json!("built")));
        assert_eq!((&version["code"], &version["action"]["id"]), (&json!(CODE), &made["id"]));
        assert_eq!(version["action"]["all_changes_deployed"], true);
        let deployed = operator.get(&path(&made, "")).await.expect(200).json();
        assert_eq!((&deployed["all_changes_deployed"], &deployed["deployed_version"]["id"]), (&json!(true), &version["id"]));

        assert_eq!(running(&curfew).await, Vec::<String>::new());
        let bound = bind(&operator, "post-login", &[json!({"ref": {"type": "action_name", "value": "notify"}})]).await;
        assert_eq!((&bound[0]["display_name"], &bound[0]["trigger_id"]), (&json!("notify"), &json!("post-login")));
        assert_eq!(bound[0]["action"]["id"], made["id"]);
        for node in [&curfew, &another] {
            assert_eq!(running(node).await, [CODE]);
            assert_eq!(secret(node, "TOKEN").await.as_deref(), Some(HIDDEN));
        }

        // What is edited runs when it is deployed, and not before.
        let edited = json!({"code": "exports.onExecutePostLogin = async () => { /* two */ };"});
        let edited = operator.patch(&path(&made, ""), edited).await.expect(200).json();
        assert_eq!((&edited["status"], &edited["all_changes_deployed"]), (&json!("pending"), &json!(false)));
        curfew.build().await;
        assert_eq!(running(&curfew).await, [CODE]);
        let second = operator.post(&path(&made, "/deploy"), json!({})).await.expect(202).json();
        assert_eq!(second["number"], 2);
        for node in [&curfew, &another] {
            assert!(running(node).await[0].contains("two"));
        }
        assert_eq!(bind(&operator, "post-login", &[]).await, Vec::<Value>::new());
        assert_eq!(running(&another).await, Vec::<String>::new());
    }

    fn what_is_to_be_deployed_is_deployed_once_it_is_built(curfew) {
        let operator = curfew.operator().await;
        let mut doc = post_login("at-once");
        doc["deploy"] = json!(true);
        let made = make(&operator, doc).await;
        assert_eq!(made["deploy"], true);
        curfew.build().await;
        let built = operator.get(&path(&made, "")).await.expect(200).json();
        assert_eq!((&built["deployed_version"]["number"], &built["all_changes_deployed"]), (&json!(1), &json!(true)));
        assert_eq!(built["deploy"], false);
        // Only the draft that was made with it: what is edited later waits to be deployed.
        operator.patch(&path(&made, ""), json!({"code": ""})).await.expect(200);
        curfew.build().await;
        let edited = operator.get(&path(&made, "")).await.expect(200).json();
        assert_eq!((&edited["deployed_version"]["number"], &edited["status"]), (&json!(1), &json!("built")));
    }

    fn versions_never_change_and_can_be_gone_back_to(curfew) {
        let operator = curfew.operator().await;
        let mut doc = post_login("many");
        doc["secrets"] = json!([{"name": "TOKEN", "value": HIDDEN}]);
        let action = deployed(&curfew, &operator, doc).await;
        bind(&operator, "post-login", &[by_id(&action)]).await;
        let first = action["deployed_version"]["id"].as_str().expect("a version").to_owned();
        let edited = json!({"code": "// two", "secrets": [{"name": "TOKEN", "value": "another"}], "name": "renamed"});
        operator.patch(&path(&action, ""), edited).await.expect(200);
        curfew.build().await;
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
        assert_eq!(secret(&curfew, "TOKEN").await.as_deref(), Some("another"));
        let old = operator.get(&path(&action, &format!("/versions/{first}"))).await.expect(200).json();
        assert_eq!((&old["code"], &old["deployed"]), (&json!(CODE), &json!(false)));
        assert_eq!(old["action"]["name"], "renamed");

        // A version like the old one runs; the draft stays as it is.
        let back = path(&action, &format!("/versions/{first}/deploy"));
        let third = operator.post(&back, json!({})).await.expect(202).json();
        assert_eq!((&third["number"], &third["code"], &third["deployed"]), (&json!(3), &json!(CODE), &json!(true)));
        assert_ne!(third["id"], json!(first));
        assert_eq!(running(&curfew).await, [CODE]);
        assert_eq!(secret(&curfew, "TOKEN").await.as_deref(), Some(HIDDEN));
        let draft = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&draft["code"], &draft["all_changes_deployed"]), (&json!("// two"), &json!(false)));
        let fourth = operator.post(&back, json!({"update_draft": true})).await.expect(202).json();
        let draft = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&draft["code"], &draft["status"]), (&json!(CODE), &json!("built")));
        assert_eq!((&draft["all_changes_deployed"], &draft["deployed_version"]["id"]), (&json!(true), &fourth["id"]));

        for _ in 0..48 {
            operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
        }
        let page = operator.get(&path(&action, "/versions?per_page=100")).await.expect(200).json();
        let numbers: Vec<_> = page["versions"].as_array().expect("a list").iter().filter_map(|v| v["number"].as_i64()).collect();
        assert_eq!(numbers, (3..=52).rev().collect::<Vec<_>>());
        assert_eq!((&page["total"], &page["page"], &page["per_page"]), (&json!(50), &json!(0), &json!(100)));
        operator.get(&path(&action, &format!("/versions/{first}"))).await.expect(404);
        operator.post(&back, json!({})).await.expect(404);
        let part = operator.get(&path(&action, "/versions?page=1&per_page=20")).await.expect(200).json();
        assert_eq!((&part["versions"][0]["number"], &part["total"]), (&json!(32), &json!(50)));
    }

    fn secrets_are_kept_replaced_and_never_said(curfew) {
        let operator = curfew.operator().await;
        let mut doc = post_login("secretive");
        doc["secrets"] = json!([{"name": "A", "value": HIDDEN}, {"name": "B", "value": "b"}]);
        let action = deployed(&curfew, &operator, doc).await;
        bind(&operator, "post-login", &[by_id(&action)]).await;
        curfew.advance(60);
        let unknown = json!({"secrets": [{"name": "A"}, {"name": "C"}]});
        operator.patch(&path(&action, ""), unknown).await.expect(400);
        let kept = json!({"secrets": [{"name": "A"}, {"name": "C", "value": "c"}]});
        let edited = operator.patch(&path(&action, ""), kept).await.expect(200).json();
        assert_eq!(names(&edited["secrets"]), ["A", "C"]);
        assert_eq!(edited["secrets"][1]["updated_at"], json!(curfew.now().iso()));
        assert_ne!(edited["secrets"][0]["updated_at"], edited["secrets"][1]["updated_at"]);
        curfew.build().await;
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
        assert_eq!(secret(&curfew, "A").await.as_deref(), Some(HIDDEN));
        assert_eq!((secret(&curfew, "B").await, secret(&curfew, "C").await.as_deref()), (None, Some("c")));

        // What sealed them goes, they do not.
        let old = curfew.core.tenant(TENANT).await.expect("the tenant").sealing.current().id();
        let ctx = curfew::serve::job_ctx(&curfew.core, crate::support::ISSUER);
        assert!(sealing_keys::revoke(&curfew.core, &ctx, old, curfew_core::endings::Actor::Policy).await.expect("revoked"));
        for node in [&curfew, &curfew.another_node().await] {
            assert_eq!(secret(node, "A").await.as_deref(), Some(HIDDEN));
        }
        let mut said = operator.get("/actions/actions").await.expect(200).text();
        said += &operator.get(&path(&action, "/versions")).await.expect(200).text();
        said += &operator.get("/actions/triggers/post-login/bindings").await.expect(200).text();
        said += &format!("{:?}", curfew.logs("sapi").await);
        let config = curfew.core.tenant(TENANT).await.expect("the tenant");
        said += &format!("{:?}", config.actions);
        assert!(said.contains("secretive") && !said.contains(HIDDEN), "a secret was said");
    }

    fn bindings_are_a_list_that_is_replaced(curfew) {
        let operator = curfew.operator().await;
        let mut actions = Vec::new();
        for name in ["one", "two", "three"] {
            actions.push(deployed(&curfew, &operator, post_login(name)).await);
        }
        let [one, two, three] = &actions[..] else { panic!("three") };
        let bound = bind(&operator, "post-login", &[by_id(one), by_id(two), by_id(three)]).await;
        curfew.advance(60);
        // In another order, one by its binding under another name; those that stay are the same.
        let by_binding = json!({"ref": {"type": "binding_id", "value": bound[2]["id"]}, "display_name": "last"});
        let again = bind(&operator, "post-login", &[by_binding, by_id(one)]).await;
        assert_eq!((&again[0]["id"], &again[1]["id"]), (&bound[2]["id"], &bound[0]["id"]));
        assert_eq!((&again[0]["display_name"], &again[0]["action"]["name"]), (&json!("last"), &json!("three")));
        assert_eq!(again[0]["updated_at"], json!(curfew.now().iso()));
        assert_eq!(again[0]["created_at"], bound[2]["created_at"]);
        let listed = operator.get("/actions/triggers/post-login/bindings?per_page=1&page=1").await.expect(200).json();
        assert_eq!((&listed["bindings"][0]["id"], &listed["total"]), (&bound[0]["id"], &json!(2)));

        let refused = [
            json!([by_id(one), by_id(one)]),
            json!([{"ref": {"type": "action_name", "value": "nobody"}}]),
            json!([{"ref": {"type": "binding_id", "value": bound[1]["id"]}}]),
            json!([{"ref": {"type": "action_id", "value": one["id"]}, "secrets": [{"name": "A", "value": "a"}]}]),
        ];
        for bindings in refused {
            let body = json!({ "bindings": bindings });
            operator.patch("/actions/triggers/post-login/bindings", body).await.expect(400);
        }
        let elsewhere = json!({"bindings": [by_id(one)]});
        operator.patch("/actions/triggers/credentials-exchange/bindings", elsewhere.clone()).await.expect(400);
        operator.patch("/actions/triggers/send-phone-message/bindings", elsewhere).await.expect(400);
        assert_eq!(running(&curfew).await.len(), 2, "a refused list changes nothing");

        // What is bound is deleted by force alone, and written for its trigger as long as it is bound.
        let moved = json!({"supported_triggers": [{"id": "credentials-exchange"}]});
        operator.patch(&path(three, ""), moved.clone()).await.expect(400);
        operator.delete(&path(three, "")).await.expect(400);
        operator.delete(&path(three, "?force=true")).await.expect(204);
        assert_eq!(running(&curfew).await.len(), 1);
        operator.get(&path(three, "")).await.expect(404);
        operator.delete(&path(two, "")).await.expect(204);
        bind(&operator, "post-login", &[]).await;
        let moved = operator.patch(&path(one, ""), moved).await.expect(200).json();
        assert_eq!(moved["supported_triggers"], json!([{"id": "credentials-exchange", "version": "v2"}]));
    }

    fn triggers_are_those_that_there_are(curfew) {
        let operator = curfew.operator().await;
        let listed = operator.get("/actions/triggers").await.expect(200).json();
        let ids: Vec<_> = listed["triggers"].as_array().expect("a list").iter().filter_map(|t| t["id"].as_str()).collect();
        assert_eq!(
            ids,
            ["post-login", "credentials-exchange", "pre-user-registration", "post-user-registration", "post-change-password"]
        );
        assert_eq!((&listed["triggers"][0]["status"], &listed["triggers"][0]["version"]), (&json!("CURRENT"), &json!("v3")));
        let mut doc = post_login("phone");
        doc["supported_triggers"] = json!([{"id": "send-phone-message"}]);
        operator.post("/actions/actions", doc).await.expect(400);
    }

    fn lists_are_filtered_and_paged(curfew) {
        let operator = curfew.operator().await;
        deployed(&curfew, &operator, post_login("live")).await;
        curfew.advance(1);
        let mut machine = post_login("machine");
        machine["supported_triggers"] = json!([{"id": "credentials-exchange"}]);
        make(&operator, machine).await;
        for (query, expected) in [
            ("", &["live", "machine"][..]),
            ("?triggerId=post-login", &["live"]),
            ("?triggerId=post-change-password", &[]),
            ("?triggerId=event-stream", &[]),
            ("?actionName=machine", &["machine"]),
            ("?deployed=true", &["live"]),
            ("?deployed=false", &["machine"]),
            ("?installed=true", &[]),
            ("?installed=false&per_page=1&page=1", &["machine"]),
        ] {
            let listed = operator.get(&format!("/actions/actions{query}")).await.expect(200).json();
            assert_eq!(names(&listed["actions"]), expected, "{query}");
            assert!(listed["total"].is_i64() && listed["page"].is_i64() && listed["per_page"].is_i64());
        }
        operator.get("/actions/actions?triggerId=nothing").await.expect(400);
        operator.get("/actions/actions?per_page=101").await.expect(400);
        operator.get("/actions/actions/nobody").await.expect(404);
        operator.post("/actions/actions", post_login("live")).await.expect(409);
    }

    fn nothing_grows_beyond_its_limit(curfew) {
        let operator = curfew.operator().await;
        let with = |name: &str, value: Value| {
            let mut doc = post_login("much");
            doc[name] = value;
            doc
        };
        let secret = |n: usize| json!({"name": format!("S{n}"), "value": "v"});
        let dependency = |n: usize| json!({"name": format!("d{n}"), "version": "1.0.0"});
        for doc in [
            with("code", json!("x".repeat(100_001))),
            // As many characters as may be, and more bytes.
            with("code", json!("ä".repeat(50_001))),
            with("secrets", (0..31).map(secret).collect()),
            with("secrets", json!([{"name": "x".repeat(129), "value": "v"}])),
            with("secrets", json!([{"name": "S", "value": "x".repeat(4097)}])),
            with("secrets", json!([{"name": "S", "value": "ä".repeat(4096)}])),
            with("secrets", json!([{"name": "S", "value": "1"}, {"name": "S", "value": "2"}])),
            with("dependencies", (0..11).map(dependency).collect()),
            with("dependencies", json!([{"name": "a", "version": "git+https://a.example/a.git"}])),
            with("dependencies", json!([{"name": "../a", "version": "1"}])),
            with("modules", json!([{"module_name": "nobody"}])),
            with("runtime", json!("node4")),
            with("supported_triggers", json!([])),
            with("supported_triggers", json!([{"id": "post-login", "version": "v1"}])),
            with("name", json!("")),
            with("unknown", json!(1)),
        ] {
            operator.post("/actions/actions", doc).await.expect(400);
        }
        let full = with("secrets", (0..30).map(|n| json!({"name": format!("S{n}"), "value": "x".repeat(4096)})).collect());
        make(&operator, full).await;
        for n in 1..ACTIONS_MAX {
            make(&operator, post_login(&format!("a{n}"))).await;
        }
        let refused = operator.post("/actions/actions", post_login("one too many")).await.expect(400).json();
        assert_eq!(refused["errorCode"], "operation_not_supported");
    }
}
