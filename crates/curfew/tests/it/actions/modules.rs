//! Modules: published, required, gone back to.

use curfew_model::config::ActionTrigger;

use super::*;

fn of(module: &Value, more: &str) -> String {
    format!("/actions/modules/{}{more}", module["id"].as_str().expect("an id"))
}

fn shared(publish: bool) -> Value {
    json!({"name": "shared", "code": "exports.one = 1;", "publish": publish})
}

/// The modules that come with the one Action that is bound.
async fn running(curfew: &Curfew) -> Vec<(String, String)> {
    let config = curfew.core.tenant(TENANT).await.expect("the tenant");
    let bound = config.actions.at(ActionTrigger::PostLogin).first().expect("an Action").clone();
    bound.program.modules.iter().map(|(name, code)| (name.clone(), code.to_string())).collect()
}

in_a_box! {
    fn a_module_is_published_and_runs_as_it_was_required(curfew) {
        let operator = curfew.operator().await;
        let module = operator.post("/actions/modules", shared(false)).await.expect(201).json();
        assert_eq!((&module["all_changes_published"], &module["latest_version_number"]), (&json!(false), &json!(0)));
        let mut doc = post_login("user");
        doc["modules"] = json!([{"module_id": module["id"]}]);
        operator.post("/actions/actions", doc.clone()).await.expect(400);
        let first = operator.post(&of(&module, "/versions"), json!({})).await.expect(200).json();
        assert_eq!((&first["version_number"], &first["module_id"]), (&json!(1), &module["id"]));
        let action = deployed(&curfew, &operator, doc).await;
        let expected = json!([{
            "module_id": module["id"], "module_name": "shared", "module_version_id": first["id"], "module_version_number": 1,
        }]);
        assert_eq!((&action["modules"], &action["deployed_version"]["modules"]), (&expected, &expected));
        bind(&operator, "post-login", &[by_id(&action)]).await;
        assert_eq!(running(&curfew).await, [("shared".to_owned(), "exports.one = 1;".to_owned())]);

        // A newer version runs when the Action requires it and is deployed.
        let edited = operator.patch(&of(&module, ""), json!({"code": "exports.one = 2;"})).await.expect(200).json();
        assert_eq!((&edited["all_changes_published"], &edited["actions_using_module_total"]), (&json!(false), &json!(1)));
        operator.post(&of(&module, "/versions"), json!({})).await.expect(200);
        curfew.build().await;
        assert_eq!(running(&curfew).await[0].1, "exports.one = 1;");
        let required = json!({"modules": [{"module_name": "shared", "module_version_number": 2}]});
        operator.patch(&path(&action, ""), required).await.expect(200);
        curfew.build().await;
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
        assert_eq!(running(&curfew).await[0].1, "exports.one = 2;");

        let using = operator.get(&of(&module, "/actions")).await.expect(200).json();
        assert_eq!((&using["total"], &using["actions"][0]["action_id"]), (&json!(1), &action["id"]));
        assert_eq!(using["actions"][0]["module_version_number"], 2);
        let versions = operator.get(&of(&module, "/versions")).await.expect(200).json();
        assert_eq!((&versions["total"], &versions["versions"][0]["version_number"]), (&json!(2), &json!(2)));
        let back = json!({"module_version_id": first["id"]});
        let back = operator.post(&of(&module, "/rollback"), back).await.expect(200).json();
        assert_eq!((&back["code"], &back["latest_version"]["version_number"]), (&json!("exports.one = 1;"), &json!(2)));

        // What something requires stays.
        operator.delete(&of(&module, "")).await.expect(412);
        operator.delete(&path(&action, "?force=true")).await.expect(204);
        operator.delete(&of(&module, "")).await.expect(204);
        operator.get(&of(&module, "")).await.expect(404);
        operator.get(&of(&module, "/versions")).await.expect(404);
    }

    fn modules_have_names_limits_and_versions_of_their_own(curfew) {
        let operator = curfew.operator().await;
        let module = operator.post("/actions/modules", shared(true)).await.expect(201).json();
        assert_eq!((&module["latest_version"]["version_number"], &module["all_changes_published"]), (&json!(1), &json!(true)));
        operator.post("/actions/modules", shared(true)).await.expect(409);
        for doc in [
            json!({"name": "a b", "code": ""}),
            json!({"name": "big", "code": "x".repeat(100_001)}),
            json!({"name": "secret", "code": "", "secrets": [{"name": "A", "value": "a"}]}),
            json!({"name": "far", "code": "", "dependencies": [{"name": "a", "version": "file:../a"}]}),
        ] {
            operator.post("/actions/modules", doc).await.expect(400);
        }
        // The first one is required, and so it stays when the others go.
        let mut doc = post_login("old");
        doc["modules"] = json!([{"module_id": module["id"], "module_version_number": 1}]);
        let action = make(&operator, doc).await;
        for _ in 0..50 {
            operator.post(&of(&module, "/versions"), json!({})).await.expect(200);
        }
        let versions = operator.get(&of(&module, "/versions?per_page=100")).await.expect(200).json();
        let numbers: Vec<_> =
            versions["versions"].as_array().expect("a list").iter().filter_map(|v| v["version_number"].as_i64()).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[48], numbers[49]), (50, 51, 3, 1));
        curfew.build().await;
        assert_eq!(operator.get(&path(&action, "")).await.expect(200).json()["status"], "built");
        let listed = operator.get("/actions/modules").await.expect(200).json();
        assert_eq!((&listed["total"], &listed["modules"][0]["name"]), (&json!(1), &json!("shared")));
    }

    fn what_a_module_requires_must_go_with_what_the_action_requires(curfew) {
        let operator = curfew.operator().await;
        let doc = json!({"name": "m", "code": "", "dependencies": [{"name": "a", "version": "1.0.0"}], "publish": true});
        operator.post("/actions/modules", doc).await.expect(201);
        let mut doc = post_login("conflicting");
        doc["modules"] = json!([{"module_name": "m"}]);
        doc["dependencies"] = json!([{"name": "a", "version": "2.0.0"}]);
        let action = make(&operator, doc).await;
        curfew.build().await;
        let shown = operator.get(&path(&action, "")).await.expect(200).json();
        assert_eq!((&shown["status"], &shown["errors"][0]["id"]), (&json!("failed"), &json!("conflicting_dependencies")));
    }
}
