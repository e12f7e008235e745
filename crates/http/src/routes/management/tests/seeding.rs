//! What a tenant begins with.

use curfew_testkit::both_engines;

use super::*;

async fn names(api: &Api, path: &str, field: &str) -> Vec<String> {
    let (status, items) = api.get(path).await;
    assert_eq!(status, StatusCode::OK, "{items}");
    items
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item[field].as_str().expect("a name").to_owned())
        .collect()
}

both_engines! {
    fn two_nodes_that_start_at_once_make_one_tenant(store, database) {
        let clock = Arc::new(Moved(AtomicI64::new(START.micros())));
        let nodes = [
            core_over(store.clone(), Arc::clone(&clock)),
            core_over(database.open().await, Arc::clone(&clock)),
        ];
        let (wanted, first, second) = (bootstrap(), context(&nodes[0]), context(&nodes[1]));
        let (one, other) = futures_util::future::join(
            seed(&nodes[0], &first, &wanted),
            seed(&nodes[1], &second, &wanted),
        )
        .await;
        let (one, other) = (one.expect("a seed"), other.expect("a seed"));
        assert!(one.first != other.first, "exactly one of them was first");
        let api = Api::new(store).await;
        assert_eq!(names(&api, "/connections", "name").await, ["Username-Password-Authentication"]);
        assert_eq!(names(&api, "/resource-servers", "identifier").await, [AUDIENCE]);
        assert_eq!(names(&api, "/clients", "client_id").await.len(), 2);
        let (_, keys) = api.get("/keys/signing").await;
        let states: Vec<(&Value, &Value)> =
            keys.as_array().expect("keys").iter().map(|key| (&key["current"], &key["next"])).collect();
        assert_eq!(states, [(&json!(true), &json!(false)), (&json!(false), &json!(true))]);
    }

    fn what_an_operator_deleted_is_not_made_again(store) {
        let api = Api::new(store.clone()).await;
        let (_, connections) = api.get("/connections").await;
        let id = connections[0]["id"].as_str().expect("an id");
        assert_eq!(api.delete(&format!("/connections/{id}")).await.0, StatusCode::ACCEPTED);
        let again = Api::new(store).await;
        assert_eq!(names(&again, "/connections", "name").await, Vec::<String>::new());
        assert_eq!(names(&again, "/clients", "client_id").await.len(), 2);
    }

    fn a_new_issuer_keeps_the_clients_of_the_management_api(store) {
        let api = Api::new(store).await;
        let machine = api.machine().await;
        let ctx = Ctx { issuer: "https://new.example/".into(), ..api.ctx() };
        let moved = Seed { host: "new.example".into(), bootstrap: None };
        assert!(!seed(&api.core, &ctx, &moved).await.expect("the seed").first);
        for client in [BOOTSTRAP, machine.as_str()] {
            let id = ClientId::from(client);
            let (_, client) = api.core.configuration(TenantId(1), &id).await.expect("the configuration");
            let client = client.expect("the client");
            let (old, new) = (client.grant_for(AUDIENCE), client.grant_for("https://new.example/api/v2/"));
            assert_eq!(old.expect("a grant").doc.scope, new.expect("a grant").doc.scope);
        }
    }

    fn an_operators_api_never_becomes_the_management_api(store) {
        let api = Api::new(store).await;
        let sent = json!({"identifier": "https://new.example/api/v2/", "scopes": [{"value": "delete:users"}]});
        let (status, made) = api.post("/resource-servers", sent).await;
        assert_eq!(status, StatusCode::CREATED);
        let ctx = Ctx { issuer: "https://new.example/".into(), ..api.ctx() };
        let moved = Seed { host: "new.example".into(), ..bootstrap() };
        assert!(seed(&api.core, &ctx, &moved).await.is_err());
        let config = api.core.tenant(TenantId(1)).await.expect("the tenant");
        assert!(!config.is_own_issuer("https://new.example/"), "nothing of the refused start is left");
        let path = format!("/resource-servers/{}", made["id"].as_str().expect("an id"));
        assert_eq!(api.delete(&path).await.0, StatusCode::NO_CONTENT);
        seed(&api.core, &ctx, &moved).await.expect("the seed");
    }

    fn without_a_bootstrap_client_the_first_start_makes_one_and_shows_it_once(store) {
        let clock = Arc::new(Moved(AtomicI64::new(START.micros())));
        let core = core_over(store, clock);
        let bare = Seed { host: "id.example".into(), bootstrap: None };
        let made = seed(&core, &context(&core), &bare).await.expect("the seed");
        let (id, secret) = made.machine_client.expect("a client");
        assert_eq!((id.0.len(), secret.expose().len()), (32, 64));
        let (_, client) = core.configuration(TenantId(1), &id).await.expect("the configuration");
        let client = client.expect("the client");
        assert_eq!(client.secret.expose(), secret.expose());
        assert!(client.grant_for(AUDIENCE).expect("a grant").doc.scope.len() > 200);
        let again = seed(&core, &context(&core), &bare).await.expect("the seed");
        assert!(!again.first && again.machine_client.is_none() && again.sample_client.is_none());
    }
}
