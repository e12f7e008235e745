//! Clients, APIs, client grants, connections, settings, keys.

use curfew_testkit::both_engines;

use super::*;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {value}"))
}

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----
";

both_engines! {
    fn a_client_lives_its_life(store) {
        let api = Api::new(store).await;
        let (status, made) = api
            .post("/clients", json!({"name": "Shop", "app_type": "regular_web", "callbacks": ["https://shop/cb"],
                "client_metadata": {"plan": "gold"}, "b2b_integration_configuration": {"sso_profiles": ["later"]}}))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let id = text(&made, "client_id").to_owned();
        assert_eq!((id.len(), text(&made, "client_secret").len()), (32, 64));
        assert_eq!(made["b2b_integration_configuration"], json!({"sso_profiles": ["later"]}));
        assert!(text(&made["signing_keys"][0], "cert").starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(text(&made["signing_keys"][0], "pkcs7").starts_with("-----BEGIN PKCS7-----"));
        assert_eq!(text(&made["signing_keys"][0], "subject"), "/CN=id.example");

        let path = format!("/clients/{id}");
        let (_, shown) = api.get(&path).await;
        assert_eq!((&shown["client_secret"], &shown["callbacks"]), (&made["client_secret"], &made["callbacks"]));
        let without_keys = api.machine_token(BOOTSTRAP, "read:clients").await;
        let (_, shown) = api.call_as(&without_keys, &Method::GET, &path, None).await;
        assert!(shown.get("client_secret").is_none() && shown.get("signing_keys").is_none());
        let summary = api.machine_token(BOOTSTRAP, "read:client_summary").await;
        let (_, shown) = api.call_as(&summary, &Method::GET, &path, None).await;
        assert!(shown.get("callbacks").is_none() && shown["name"] == "Shop");

        let (status, changed) =
            api.patch(&path, json!({"name": "Shop 2", "client_metadata": {"plan": null, "size": "l"}})).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        assert_eq!((text(&changed, "name"), &changed["client_metadata"]), ("Shop 2", &json!({"size": "l"})));
        assert_eq!(changed["callbacks"], json!(["https://shop/cb"]));

        let (status, rotated) = api.call_as(&api.admin, &Method::POST, &format!("{path}/rotate-secret"), None).await;
        assert_eq!(status, StatusCode::OK);
        assert_ne!(rotated["client_secret"], made["client_secret"]);
        assert_eq!(text(&rotated, "client_secret").len(), 64);
        let id = ClientId::from(id.as_str());
        let (_, now) = api.core.configuration(TenantId(1), &id).await.expect("the configuration");
        assert_eq!(now.expect("the client").secret.expose(), text(&rotated, "client_secret"));

        assert_eq!(api.delete(&path).await, (StatusCode::NO_CONTENT, Value::Null));
        let (status, gone) = api.get(&path).await;
        assert_eq!(
            (status, text(&gone, "message"), text(&gone, "errorCode")),
            (StatusCode::NOT_FOUND, "The client does not exist", "inexistent_client")
        );
        assert_eq!(api.delete(&path).await.0, StatusCode::NO_CONTENT);
    }

    fn a_client_that_makes_no_sense_is_refused_and_changes_nothing(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let path = format!("/clients/{client}");
        let (_, before) = api.get(&path).await;
        for (body, property) in [
            (json!({"refresh_token": {"rotation_type": "rotating", "expiration_type": "non-expiring"}}), "refresh_token.expiration_type"),
            (json!({"name": ""}), "name"),
            (json!({"callbacks": "https://a"}), "callbacks"),
            (json!({"client_metadata": {"a": "x".repeat(256)}}), "client_metadata.a"),
            (json!({"oidc_logout": {"backchannel_logout_urls": ["https://a", "https://b"]}}), "oidc_logout.backchannel_logout_urls"),
            (json!({"client_secret": "short"}), "client_secret"),
        ] {
            let (status, refused) = api.patch(&path, body).await;
            assert_eq!((status, text(&refused, "errorCode")), (StatusCode::BAD_REQUEST, "invalid_body"), "{refused}");
            assert!(text(&refused, "message").ends_with(&format!("on property {property}.")), "{refused}");
        }
        assert_eq!(api.get(&path).await.1, before);
        let unknown = api.patch("/clients/nobody", json!({"name": "x"})).await;
        assert_eq!((unknown.0, text(&unknown.1, "errorCode")), (StatusCode::NOT_FOUND, "inexistent_client"));
    }

    fn policies_of_endings_are_kept_changed_by_cause_and_cleared(store) {
        let api = Api::new(store).await;
        let logout = json!({"rp_logout": {"refresh_tokens": "revoke"}});
        let body = json!({"name": "x", "app_type": "spa", "ending_policies": logout});
        let (status, made) = api.post("/clients", body).await;
        assert_eq!((status, &made["ending_policies"]), (StatusCode::CREATED, &logout), "{made}");
        let client = format!("/clients/{}", text(&made, "client_id"));
        api.patch("/tenants/settings", json!({"ending_policies": logout})).await;
        for path in [client.as_str(), "/tenants/settings"] {
            assert_eq!(api.get(path).await.1["ending_policies"], logout, "{path}");
            let more = json!({"idle_timeout": {"access_tokens": "revoke"}, "session_revoked": null});
            let (status, changed) = api.patch(path, json!({"ending_policies": more})).await;
            assert_eq!(status, StatusCode::OK, "{changed}");
            let both = json!({"rp_logout": {"refresh_tokens": "revoke"}, "idle_timeout": {"access_tokens": "revoke"}});
            assert_eq!(changed["ending_policies"], both, "{path}");
            for (wrong, property) in [
                (json!({"user_blocked": {"refresh_tokens": "keep"}}), "ending_policies"),
                (json!({"rp_logout": {"access_tokens": "keep"}}), "ending_policies.rp_logout"),
                (json!({"rp_logout": {"refresh_tokens": "perhaps"}}), "ending_policies.rp_logout.refresh_tokens"),
                (json!([]), "ending_policies"),
            ] {
                let (status, refused) = api.patch(path, json!({"ending_policies": wrong})).await;
                assert_eq!((status, text(&refused, "errorCode")), (StatusCode::BAD_REQUEST, "invalid_body"), "{refused}");
                assert!(text(&refused, "message").ends_with(&format!("on property {property}.")), "{refused}");
            }
            // Other changes leave them alone.
            api.patch(path, json!({"allowed_logout_urls": ["https://a.example/"]})).await;
            assert_eq!(api.get(path).await.1["ending_policies"], both, "{path}");
            api.patch(path, json!({"ending_policies": {"idle_timeout": {"access_tokens": null}}})).await;
            assert_eq!(api.get(path).await.1["ending_policies"], logout, "{path}");
            let (status, cleared) = api.patch(path, json!({"ending_policies": null})).await;
            assert_eq!(status, StatusCode::OK, "{cleared}");
            assert!(cleared.get("ending_policies").is_none(), "{cleared}");
        }
    }

    fn a_secret_may_be_set_by_who_may_write_keys(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let path = format!("/clients/{client}");
        let body = || Some(json!({"client_secret": "s".repeat(40)}));
        let may_not = api.machine_token(BOOTSTRAP, "update:clients").await;
        assert_eq!(api.call_as(&may_not, &Method::PATCH, &path, body()).await.0, StatusCode::FORBIDDEN);
        let may = api.machine_token(BOOTSTRAP, "update:client_keys").await;
        let (status, changed) = api.call_as(&may, &Method::PATCH, &path, body()).await;
        assert_eq!((status, text(&changed, "client_secret")), (StatusCode::OK, "s".repeat(40).as_str()));
        let logged = api.logged().await;
        assert!(!logged.contains(&"s".repeat(40)), "a secret is in the log");
    }

    fn credentials_are_keys_of_one_client(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let path = format!("/clients/{client}/credentials");
        let (status, refused) = api.post(&path, json!({"credential_type": "public_key", "pem": "no key"})).await;
        assert_eq!((status, text(&refused, "errorCode")), (StatusCode::BAD_REQUEST, "invalid_body"));
        // The key is on P-256, which no algorithm of the contract fits.
        let (status, _) = api.post(&path, json!({"credential_type": "public_key", "pem": PUBLIC_KEY})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let (_, keys) = api.get("/keys/signing").await;
        let pem = text(&keys[0], "cert").to_owned();
        let sent = json!({"credential_type": "public_key", "pem": pem, "name": "first", "alg": "RS256"});
        let (status, made) = api.post(&path, sent.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert!(text(&made, "id").starts_with("cred_") && made.get("pem").is_none() && made["kid"].is_string());
        assert_eq!(api.post(&path, sent).await.0, StatusCode::CONFLICT);
        let one = format!("{path}/{}", text(&made, "id"));
        assert_eq!(api.get(&one).await, (StatusCode::OK, made.clone()));
        assert_eq!(api.get(&path).await.1, json!([made]));
        let (status, changed) = api.patch(&one, json!({"expires_at": "2030-01-01T00:00:00.000Z"})).await;
        assert_eq!((status, text(&changed, "expires_at")), (StatusCode::OK, "2030-01-01T00:00:00.000Z"));
        let named = json!({"client_authentication_methods": {"private_key_jwt": {"credentials": [{"id": made["id"]}]}}});
        let (status, client_now) = api.patch(&format!("/clients/{client}"), named).await;
        assert_eq!(status, StatusCode::OK, "{client_now}");
        assert!(client_now.get("token_endpoint_auth_method").is_none());
        assert_eq!(api.delete(&one).await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.get(&one).await.0, StatusCode::NOT_FOUND);
        let (_, client_now) = api.get(&format!("/clients/{client}")).await;
        assert_eq!(client_now["client_authentication_methods"], json!({"private_key_jwt": {"credentials": []}}));
    }

    fn keys_that_come_with_a_client_become_its_credentials(store) {
        let api = Api::new(store).await;
        let (_, keys) = api.get("/keys/signing").await;
        let credential = json!({"credential_type": "public_key", "pem": keys[0]["cert"]});
        let (status, made) = api
            .post("/clients", json!({"name": "K", "app_type": "non_interactive",
                "client_authentication_methods": {"private_key_jwt": {"credentials": [credential]}}}))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let named = &made["client_authentication_methods"]["private_key_jwt"]["credentials"][0];
        let (_, own) = api.get(&format!("/clients/{}/credentials", text(&made, "client_id"))).await;
        assert_eq!(named, &json!({"id": own[0]["id"]}));
    }

    fn an_api_lives_its_life(store) {
        let api = Api::new(store).await;
        let sent = json!({"identifier": "https://api.example/v1", "name": "API", "scopes": [{"value": "read:a"}]});
        let (status, made) = api.post("/resource-servers", sent.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert_eq!((text(&made, "id").len(), &made["token_lifetime"]), (24, &json!(86_400)));
        assert_eq!(api.post("/resource-servers", sent).await.0, StatusCode::CONFLICT);
        let by_id = format!("/resource-servers/{}", text(&made, "id"));
        let by_identifier = "/resource-servers/https%3A%2F%2Fapi.example%2Fv1";
        assert_eq!(api.get(&by_id).await, api.get(by_identifier).await);
        let (status, changed) = api.patch(&by_id, json!({"token_lifetime": 60, "signing_alg": "HS256"})).await;
        assert_eq!((status, &changed["token_lifetime"]), (StatusCode::OK, &json!(60)));
        assert_eq!(text(&changed, "signing_secret").len(), 32);
        let client = api.machine().await;
        let grant = json!({"client_id": client, "audience": "https://api.example/v1", "scope": ["read:a"]});
        assert_eq!(api.post("/client-grants", grant).await.0, StatusCode::CREATED);
        assert_eq!(api.delete(&by_id).await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.delete(&by_id).await.0, StatusCode::NO_CONTENT);
        let (status, gone) = api.get(by_identifier).await;
        assert_eq!((status, text(&gone, "errorCode")), (StatusCode::NOT_FOUND, "inexistent_resource_server"));
        let (_, left) = api.get("/client-grants?audience=https%3A%2F%2Fapi.example%2Fv1").await;
        assert_eq!(left, json!([]));
        assert_eq!(api.endings("resource_server_deleted").await, 1);
    }

    fn an_api_with_an_algorithm_of_its_own_gets_keys_for_it(store) {
        let api = Api::new(store).await;
        for alg in ["ES256", "EdDSA", "PS256"] {
            let sent = json!({"identifier": format!("https://{alg}/"), "signing_alg": alg});
            assert_eq!(api.post("/resource-servers", sent).await.0, StatusCode::CREATED);
            let config = api.core.tenant(TenantId(1)).await.expect("the tenant");
            let alg = SigningAlg::parse(alg).expect("an algorithm");
            assert!(config.signing_key(alg).is_ok());
            assert_eq!(config.keys.iter().filter(|key| key.key.alg() == alg).count(), 2);
        }
    }

    fn the_management_api_itself_stays(store) {
        let api = Api::new(store).await;
        let path = "/resource-servers/https%3A%2F%2Fid.example%2Fapi%2Fv2%2F";
        let (_, system) = api.get(path).await;
        assert_eq!(system["is_system"], json!(true));
        assert_eq!(api.delete(path).await.0, StatusCode::FORBIDDEN);
        for reserved in [AUDIENCE, "https://id.example/userinfo"] {
            let (status, _) = api.post("/resource-servers", json!({"identifier": reserved})).await;
            assert_eq!(status, StatusCode::CONFLICT);
        }
        assert_eq!(api.patch(path, json!({"scopes": []})).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(api.patch(path, json!({"token_lifetime": 3600})).await.0, StatusCode::OK);
    }

    fn a_client_grant_names_client_api_and_its_scopes(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let grant = |client: &str, audience: &str, scope: &str| {
            json!({"client_id": client, "audience": audience, "scope": [scope]})
        };
        for (body, status, code) in [
            (grant("nobody", AUDIENCE, "read:users"), StatusCode::NOT_FOUND, "inexistent_client"),
            (grant(&client, "https://nothing/", "read:users"), StatusCode::NOT_FOUND, "inexistent_resource_server"),
            (grant(BOOTSTRAP, AUDIENCE, "no:such"), StatusCode::BAD_REQUEST, "invalid_body"),
        ] {
            let (answered, refused) = api.post("/client-grants", body).await;
            assert_eq!((answered, text(&refused, "errorCode")), (status, code), "{refused}");
        }
        assert_eq!(api.post("/client-grants", grant(&client, AUDIENCE, "read:users")).await.0, StatusCode::CONFLICT);
        let (status, refused) = api.get("/client-grants/cgr_nothing").await;
        assert_eq!(
            (status, text(&refused, "message"), text(&refused, "errorCode")),
            (StatusCode::NOT_FOUND, "The grant does not exist.", "inexistent_client_grant")
        );
    }

    fn a_connection_lives_its_life(store) {
        let api = Api::new(store).await;
        let (one, two) = (api.machine().await, api.machine().await);
        let sent = json!({"name": "Staff", "strategy": "auth0", "enabled_clients": [one],
            "options": {"passwordPolicy": "low", "something_later": {"a": 1}}});
        let (status, made) = api.post("/connections", sent.clone()).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        assert!(text(&made, "id").starts_with("con_") && text(&made, "id").len() == 20);
        assert_eq!((&made["enabled_clients"], &made["realms"]), (&json!([one]), &json!(["Staff"])));
        assert_eq!(made["options"]["something_later"], json!({"a": 1}));
        assert_eq!(api.post("/connections", sent).await.0, StatusCode::CONFLICT);
        let path = format!("/connections/{}", text(&made, "id"));
        assert_eq!(api.get(&path).await.1, made);

        let (status, changed) = api.patch(&path, json!({"enabled_clients": [two], "options": {"passwordPolicy": "fair"}})).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        assert_eq!((&changed["enabled_clients"], &changed["options"]), (&json!([two]), &json!({"passwordPolicy": "fair"})));
        assert_eq!(api.endings("connection_disabled").await, 1);

        let switches = json!([{"client_id": one, "status": true}, {"client_id": two, "status": false}]);
        assert_eq!(api.patch(&format!("{path}/clients"), switches).await.0, StatusCode::NO_CONTENT);
        let (_, clients) = api.get(&format!("{path}/clients")).await;
        assert_eq!(clients, json!({"clients": [{"client_id": one}]}));
        assert_eq!(api.endings("connection_disabled").await, 2);
        let config = api.core.tenant(TenantId(1)).await.expect("the tenant");
        let connection = config.connection(text(&made, "id")).expect("the connection");
        assert_eq!(connection.epoch_for(&ClientId::from(one.as_str())), Some(1), "what was ended stays ended");
        let (_, own) = api.get(&format!("/clients/{one}/connections")).await;
        assert_eq!(own["connections"].as_array().expect("a list").len(), 2, "its own, and the default one that every new client has");

        let unknown = json!([{"client_id": "nobody", "status": true}]);
        assert_eq!(api.patch(&format!("{path}/clients"), unknown).await.0, StatusCode::BAD_REQUEST);
        let (status, deleted) = api.delete(&path).await;
        assert_eq!((status, deleted["deleted_at"].is_string()), (StatusCode::ACCEPTED, true));
        let (status, gone) = api.get(&path).await;
        assert_eq!((status, text(&gone, "errorCode")), (StatusCode::NOT_FOUND, "inexistent_connection"));
        assert_eq!(api.endings("connection_deleted").await, 1);
    }

    fn a_connection_that_is_for_all_no_longer_is_an_ending_for_each(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let (_, made) = api.post("/connections", json!({"name": "All", "strategy": "auth0", "is_domain_connection": true})).await;
        let path = format!("/connections/{}", text(&made, "id"));
        assert_eq!(api.patch(&path, json!({"is_domain_connection": false})).await.0, StatusCode::OK);
        // The bootstrap client, the sample and this one.
        assert_eq!(api.endings("connection_disabled").await, 3);
        let config = api.core.tenant(TenantId(1)).await.expect("the tenant");
        let connection = config.connection(text(&made, "id")).expect("the connection");
        assert_eq!(connection.epoch_for(&ClientId::from(client.as_str())), None);
    }

    fn other_strategies_are_refused_aloud(store) {
        let api = Api::new(store).await;
        let (status, refused) = api.post("/connections", json!({"name": "Social", "strategy": "github"})).await;
        assert_eq!((status, text(&refused, "errorCode")), (StatusCode::BAD_REQUEST, "operation_not_supported"));
    }

    fn settings_are_merged_kept_and_acted_on(store) {
        let api = Api::new(store).await;
        let (_, before) = api.get("/tenants/settings").await;
        assert_eq!((&before["session_lifetime"], &before["idle_session_lifetime"]), (&json!(168), &json!(72)));
        let sent = json!({"session_lifetime": 0.5, "idle_session_lifetime_in_minutes": 20, "friendly_name": "Us",
            "flags": {"remove_alg_from_jwks": true}, "guardian_mfa_page": {"enabled": false}});
        let (status, changed) = api.patch("/tenants/settings", sent).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        assert_eq!(changed["guardian_mfa_page"], json!({"enabled": false}));
        assert_eq!(api.get("/tenants/settings").await.1, changed);
        let config = api.core.tenant(TenantId(1)).await.expect("the tenant");
        let lifetimes = config.settings.session_lifetimes(true);
        assert_eq!((lifetimes.absolute_seconds, lifetimes.idle_seconds), (1800, 1200));
        for bad in [
            json!({"session_lifetime": 0}),
            json!({"session_lifetime": 8761}),
            json!({"session_lifetime_in_minutes": 1.5}),
            json!({"session_lifetime": 2, "session_lifetime_in_minutes": 2}),
            json!({"idle_session_lifetime": 1}),
            json!({"session_cookie": {"mode": "sticky"}}),
        ] {
            let (status, refused) = api.patch("/tenants/settings", bad.clone()).await;
            assert_eq!((status, text(&refused, "errorCode")), (StatusCode::BAD_REQUEST, "invalid_body"), "{bad}");
        }
        assert_eq!(api.get("/tenants/settings").await.1, changed);
    }

    fn keys_move_on_and_are_revoked(store) {
        let api = Api::new(store).await;
        let kids = async || {
            let (_, keys) = api.get("/keys/signing").await;
            let of = |state: &str| {
                keys.as_array().expect("keys").iter().find(|key| key[state] == true).map(|key| text(key, "kid").to_owned())
            };
            (of("current").expect("a current key"), of("next").expect("a next key"), of("previous"))
        };
        let (current, next, previous) = kids().await;
        assert_eq!(previous, None);
        let (status, rotated) = api.call_as(&api.admin, &Method::POST, "/keys/signing/rotate", None).await;
        assert_eq!(status, StatusCode::CREATED, "{rotated}");
        let after = kids().await;
        assert_eq!(after, (next.clone(), text(&rotated, "kid").to_owned(), Some(current.clone())));
        // The token was signed by the previous key, which still verifies.
        assert_eq!(api.get("/tenants/settings").await.0, StatusCode::OK);
        let fresh = api.machine_token(BOOTSTRAP, &every_scope()).await;
        let revoke = |kid: &str| format!("/keys/signing/{kid}/revoke");
        let (status, revoked) = api.call_as(&fresh, &Method::PUT, &revoke(&current), None).await;
        assert_eq!((status, text(&revoked, "kid")), (StatusCode::OK, current.as_str()));
        assert_eq!(api.get("/tenants/settings").await.0, StatusCode::UNAUTHORIZED);
        let (_, shown) = api.call_as(&fresh, &Method::GET, &format!("/keys/signing/{current}"), None).await;
        assert_eq!((&shown["revoked"], shown["revoked_at"].is_string()), (&json!(true), true));
        assert_eq!(api.call_as(&fresh, &Method::PUT, &revoke(&current), None).await.0, StatusCode::OK);
        assert_eq!(api.endings("signing_key_revoked").await, 1);
        // Revoking the key that signs leaves one that signs and one that is next.
        assert_eq!(api.call_as(&fresh, &Method::PUT, &revoke(&after.0), None).await.0, StatusCode::OK);
        assert_eq!(api.call_as(&fresh, &Method::GET, "/keys/signing", None).await.0, StatusCode::UNAUTHORIZED);
        let api = Api { admin: api.machine_token(BOOTSTRAP, &every_scope()).await, ..api.clone() };
        let (_, keys) = api.get("/keys/signing").await;
        let states = |state: &str| keys.as_array().expect("keys").iter().filter(|key| key[state] == true).count();
        assert_eq!((states("current"), states("next"), states("revoked")), (1, 1, 2));
        let (status, _) = api.get("/keys/signing/nothing").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    fn every_write_is_in_the_log_once(store) {
        let api = Api::new(store).await;
        let before = api.logged_writes().await;
        let client = api.machine().await;
        assert_eq!(api.logged_writes().await, before + 2);
        assert_eq!(api.patch(&format!("/clients/{client}"), json!({"name": ""})).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(api.logged_writes().await, before + 2);
        assert_eq!(api.delete(&format!("/clients/{client}")).await.0, StatusCode::NO_CONTENT);
        assert_eq!(api.logged_writes().await, before + 3);
    }
}

both_engines! {
    /// `flags.enable_client_connections`, and first parties only.
    fn a_new_client_may_use_every_connection_unless_that_is_switched_off(store) {
        let api = Api::new(store).await;
        let connections = async |api: &Api, client: Value| {
            let (_, made) = api.post("/clients", client).await;
            let (_, own) = api.get(&format!("/clients/{}/connections", text(&made, "client_id"))).await;
            own["connections"].as_array().expect("a list").len()
        };
        assert_eq!(connections(&api, json!({"name": "First party"})).await, 1);
        assert_eq!(connections(&api, json!({"name": "Third party", "is_first_party": false})).await, 0);
        api.patch("/tenants/settings", json!({"flags": {"enable_client_connections": false}})).await;
        assert_eq!(connections(&api, json!({"name": "Later"})).await, 0);
    }
}
