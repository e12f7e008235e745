//! Every operation, with everything that is wrong with a token.

use curfew_testkit::both_engines;
use serde_json::json;

use super::super::validate;
use super::*;

/// A path of the operation with something in the place of each parameter.
fn sample_path(path: &str) -> String {
    path.split('/')
        .map(|segment| if segment.starts_with('{') { "something" } else { segment })
        .collect::<Vec<_>>()
        .join("/")
}

fn bodies_of(api_error: &Value) -> (&Value, &Value) {
    (&api_error["message"], &api_error["errorCode"])
}

#[test]
fn the_table_and_the_contract_name_the_same_operations() {
    let mut table: Vec<String> = OPERATIONS.iter().map(super::super::Operation::name).collect();
    let mut contract: Vec<&str> = validate::operations().collect();
    table.sort();
    contract.sort_unstable();
    assert_eq!(table, contract);
    table.dedup();
    assert_eq!(table.len(), OPERATIONS.len(), "an operation stands twice in the table");
    assert!(OPERATIONS.iter().all(|operation| !operation.scopes.is_empty()));
}

both_engines! {
    fn every_operation_refuses_what_is_no_token_for_it(store) {
        let api = Api::new(store).await;
        let good = api.machine_claims(BOOTSTRAP, &every_scope()).await;
        let with = async |member: &str, value: Value| {
            let mut claims = good.clone();
            claims[member] = value;
            api.sign(&claims).await
        };
        let now = api.clock.now().seconds();
        let valid = api.sign(&good).await;
        let (head, _) = valid.rsplit_once('.').expect("three parts");
        let invalid = "Invalid token";
        let expired = "Expired token received for JSON Web Token validation";
        let tokens = [
            (with("aud", json!("https://other.example/")).await, invalid),
            (with("iss", json!("https://other.example/")).await, invalid),
            (with("exp", json!(now)).await, expired),
            (with("azp", json!("nobody")).await, invalid),
            (with("cfw", json!({})).await, invalid),
            (format!("{head}.{}", "A".repeat(342)), invalid),
        ];
        for operation in OPERATIONS {
            let path = sample_path(operation.path);
            let (status, body) = api.call_as("", &operation.method, &path, None).await;
            assert_eq!((status, &body["message"]), (StatusCode::UNAUTHORIZED, &json!("Missing authentication")));
            for header in ["Bearer opaque", "Bearer a.b", "Bearer", "Basic YTpi"] {
                let request = Request::builder()
                    .method(&operation.method)
                    .uri(format!("{PREFIX}{path}"))
                    .header(header::AUTHORIZATION, header)
                    .body(Body::empty())
                    .expect("a request");
                let (status, body) = api.send(request).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{operation:?} {header}");
                assert_eq!(
                    bodies_of(&body),
                    (&json!("Bad HTTP authentication header format"), &json!("Bearer"))
                );
            }
            for (token, message) in &tokens {
                let (status, body) = api.call_as(token, &operation.method, &path, None).await;
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{operation:?} {body}");
                assert_eq!(
                    (&body["message"], &body["attributes"]["error"]),
                    (&json!(message), &json!(message)),
                    "{operation:?}"
                );
            }
        }
    }

    fn every_operation_wants_one_of_its_scopes(store) {
        let api = Api::new(store).await;
        for operation in OPERATIONS {
            let path = sample_path(operation.path);
            let others: Vec<String> = every_scope()
                .split(' ')
                .filter(|scope| !operation.scopes.contains(scope))
                .map(str::to_owned)
                .collect();
            for scope in [others.join(" "), String::new()] {
                let token = api.machine_token(BOOTSTRAP, &scope).await;
                let (status, body) = api.call_as(&token, &operation.method, &path, None).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{operation:?}");
                let message = format!("Insufficient scope, expected any of: {}", operation.scopes.join(","));
                assert_eq!(bodies_of(&body), (&json!(message), &json!("insufficient_scope")));
            }
            for scope in operation.scopes.iter().filter(|scope| !scope.contains(":current_user")) {
                let token = api.machine_token(BOOTSTRAP, scope).await;
                let (status, body) = api.call_as(&token, &operation.method, &path, None).await;
                assert!(
                    status != StatusCode::UNAUTHORIZED && body["errorCode"] != "insufficient_scope",
                    "{operation:?} {scope} {body}"
                );
            }
        }
    }

    fn a_token_ends_with_its_client(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let token = api.machine_token(&client, &every_scope()).await;
        assert_eq!(api.call_as(&token, &Method::GET, "/tenants/settings", None).await.0, StatusCode::OK);
        assert_eq!(api.delete(&format!("/clients/{client}")).await.0, StatusCode::NO_CONTENT);
        for operation in OPERATIONS {
            let (status, _) = api.call_as(&token, &operation.method, &sample_path(operation.path), None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{operation:?}");
        }
    }

    fn a_token_ends_with_its_client_grant_also_when_that_is_made_again(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let token = api.machine_token(&client, &every_scope()).await;
        assert_eq!(api.call_as(&token, &Method::GET, "/tenants/settings", None).await.0, StatusCode::OK);
        let (_, grants) = api.get(&format!("/client-grants?client_id={client}")).await;
        let id = grants[0]["id"].as_str().expect("a grant");
        assert!(id.starts_with("cgr_"));
        assert_eq!(api.delete(&format!("/client-grants/{id}")).await.0, StatusCode::NO_CONTENT);
        for operation in OPERATIONS {
            let (status, _) = api.call_as(&token, &operation.method, &sample_path(operation.path), None).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{operation:?}");
        }
        let again = json!({"client_id": client, "audience": AUDIENCE, "scope": ["read:tenant_settings"]});
        assert_eq!(api.post("/client-grants", again).await.0, StatusCode::CREATED);
        assert_eq!(api.call_as(&token, &Method::GET, "/tenants/settings", None).await.0, StatusCode::UNAUTHORIZED);
        let fresh = api.machine_token(&client, "read:tenant_settings").await;
        assert_eq!(api.call_as(&fresh, &Method::GET, "/tenants/settings", None).await.0, StatusCode::OK);
    }

    fn a_scope_taken_from_the_client_grant_is_gone_at_once(store) {
        let api = Api::new(store).await;
        let client = api.machine().await;
        let token = api.machine_token(&client, &every_scope()).await;
        let (_, grants) = api.get(&format!("/client-grants?client_id={client}")).await;
        let path = format!("/client-grants/{}", grants[0]["id"].as_str().expect("a grant"));
        assert_eq!(api.patch(&path, json!({"scope": ["read:users"]})).await.0, StatusCode::OK);
        assert_eq!(api.call_as(&token, &Method::GET, "/tenants/settings", None).await.0, StatusCode::FORBIDDEN);
        assert_eq!(api.call_as(&token, &Method::GET, "/users", None).await.0, StatusCode::OK);
    }

    fn a_users_token_acts_on_that_user_only(store) {
        let api = Api::new(store).await;
        let (ada, bob) = (api.user("ada@example.com").await, api.user("bob@example.com").await);
        let scope = "read:current_user update:current_user_metadata update:current_user_identities delete:current_user";
        let token = api.user_token(&ada, scope).await;
        let own = format!("/users/{}", ada.segment());
        let other = format!("/users/{}", bob.segment());
        let status = async |method: Method, path: &str, body: Option<Value>| {
            api.call_as(&token, &method, path, body).await.0
        };
        assert_eq!(status(Method::GET, &own, None).await, StatusCode::OK);
        assert_eq!(status(Method::GET, &other, None).await, StatusCode::FORBIDDEN);
        let metadata = || Some(json!({"user_metadata": {"colour": "red"}}));
        assert_eq!(status(Method::PATCH, &own, metadata()).await, StatusCode::OK);
        assert_eq!(status(Method::PATCH, &other, metadata()).await, StatusCode::FORBIDDEN);
        for body in [json!({"app_metadata": {"admin": true}}), json!({"blocked": false}), json!({"email": "x@example.com"})] {
            assert_eq!(status(Method::PATCH, &own, Some(body)).await, StatusCode::FORBIDDEN);
        }
        // Naming another account is not proof of it.
        let link = json!({"provider": "auth0", "user_id": bob.id});
        assert_eq!(status(Method::POST, &format!("{own}/identities"), Some(link)).await, StatusCode::FORBIDDEN);
        // A machine has no user of its own.
        let machine = api.machine_token(BOOTSTRAP, "read:current_user").await;
        assert_eq!(api.call_as(&machine, &Method::GET, &own, None).await.0, StatusCode::FORBIDDEN);
        // Blocked, the user's token is over.
        assert_eq!(api.patch(&own, json!({"blocked": true})).await.0, StatusCode::OK);
        assert_eq!(status(Method::GET, &own, None).await, StatusCode::UNAUTHORIZED);
        assert_eq!(api.patch(&own, json!({"blocked": false})).await.0, StatusCode::OK);
        assert_eq!(status(Method::GET, &own, None).await, StatusCode::UNAUTHORIZED);
    }

    fn what_is_no_operation_does_not_exist(store) {
        let api = Api::new(store).await;
        let not_found = json!({"statusCode": 404, "error": "Not Found", "message": "Not Found"});
        for (method, path) in [
            (Method::GET, ""),
            (Method::GET, "/"),
            (Method::GET, "/nothing"),
            (Method::GET, "/users/a/b/c/d/e"),
            (Method::PUT, "/users"),
            (Method::DELETE, "/clients"),
            (Method::PATCH, "/keys/signing"),
        ] {
            assert_eq!(api.call_as(&api.admin, &method, path, None).await, (StatusCode::NOT_FOUND, not_found.clone()));
        }
    }

    fn a_body_that_is_too_long_is_not_read(store) {
        let api = Api::new(store).await;
        let (status, body) = api.post("/clients", json!({"name": "x".repeat(1024 * 1024)})).await;
        assert_eq!((status, &body["error"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("Payload Too Large")));
    }
}
