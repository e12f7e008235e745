//! Several nodes keep the configuration parsed. A request to any of them is decided by what holds when it begins,
//! also where the node has not looked since the change (ADR 0008).

use serde_json::{Value, json};

use crate::support::{Application, Curfew, Person, Tokens, claims};

const OFFLINE: (&str, &str) = ("scope", "openid profile offline_access");

/// A person signed in at both nodes, so that either knows tenant and client as they are now.
async fn warm(
    nodes: &[&Curfew; 2],
    application: &Application,
    person: &Person,
) -> (crate::support::Browser, Tokens) {
    let browser = nodes[1].browser();
    let at_second = application.at(nodes[1]);
    let code = browser.log_in(&at_second, person, &[OFFLINE]).await;
    let mut tokens = Tokens::of(&at_second.redeem(&code).await);
    for node in nodes {
        tokens = Tokens::of(&application.at(node).refresh(tokens.refresh()).await);
        application.at(node).userinfo(&tokens.access).await.expect(200);
    }
    (browser, tokens)
}

fn lifetime(id_token: Option<&str>) -> i64 {
    let claims = claims(id_token.expect("an ID token"));
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

/// Rotating refresh tokens in the hands of a client with a secret.
fn confidential() -> Value {
    json!({
        "app_type": "regular_web",
        "refresh_token": {"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0},
    })
}

in_a_box! {
    fn a_rotated_secret_is_refused_at_every_node_and_ends_no_family(curfew) {
        let (other, operator) = (curfew.another_node().await, curfew.operator().await);
        let (old, ada) = (operator.make_client(confidential()).await, operator.make_person().await);
        let (browser, tokens) = warm(&[&curfew, &other], &old, &ada).await;
        let fresh_code = browser.authorize_silently(&old.at(&other), &[]).await.code().unwrap();
        let path = format!("/clients/{}/rotate-secret", old.client_id);
        let rotated = operator.post(&path, json!({})).await.expect(200).json();
        let new = curfew.application_of(&old.client_id, rotated["client_secret"].as_str());
        for node in [&other, &curfew] {
            old.at(node).refresh(tokens.refresh()).await.expect(401);
            old.at(node).redeem(&fresh_code).await.expect(401);
        }
        Tokens::of(&new.at(&other).redeem(&fresh_code).await);
        Tokens::of(&new.at(&other).refresh(tokens.refresh()).await);
    }

    fn a_grant_type_that_was_taken_away_is_refused_at_every_node(curfew) {
        let (other, operator) = (curfew.another_node().await, curfew.operator().await);
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, tokens) = warm(&[&curfew, &other], &spa, &ada).await;
        let code = browser.authorize_silently(&spa.at(&other), &[]).await.code().unwrap();
        let path = format!("/clients/{}", spa.client_id);
        operator.patch(&path, json!({"grant_types": ["client_credentials"]})).await.expect(200);
        for answer in [spa.at(&other).refresh(tokens.refresh()).await, spa.at(&other).redeem(&code).await] {
            assert_eq!(answer.error().as_deref(), Some("unauthorized_client"), "{}", answer.text());
        }
    }

    fn changed_settings_hold_in_the_next_tokens_of_every_node(curfew) {
        let (other, operator) = (curfew.another_node().await, curfew.operator().await);
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, tokens) = warm(&[&curfew, &other], &spa, &ada).await;
        let code = browser.authorize_silently(&spa.at(&other), &[]).await.code().unwrap();
        let path = format!("/clients/{}", spa.client_id);
        let change = json!({"jwt_configuration": {"alg": "RS256", "lifetime_in_seconds": 1234}});
        operator.patch(&path, change).await.expect(200);
        let redeemed = Tokens::of(&spa.at(&other).redeem(&code).await);
        assert_eq!(lifetime(redeemed.id.as_deref()), 1234);
        let refreshed = Tokens::of(&spa.refresh(tokens.refresh()).await);
        assert_eq!(lifetime(refreshed.id.as_deref()), 1234);
    }

    fn a_callback_that_was_taken_away_gets_nothing_from_any_node(curfew) {
        let (other, operator) = (curfew.another_node().await, curfew.operator().await);
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, _) = warm(&[&curfew, &other], &spa, &ada).await;
        let browser = browser.at(&other);
        assert!(browser.authorize_silently(&spa.at(&other), &[]).await.code().is_some());
        let path = format!("/clients/{}", spa.client_id);
        operator.patch(&path, json!({"callbacks": ["https://elsewhere.example/"]})).await.expect(200);
        let refused = browser.authorize_silently(&spa.at(&other), &[]).await;
        assert_eq!((refused.code(), refused.location()), (None, None), "{}", refused.text());
    }

    fn a_new_signing_key_verifies_at_once_and_a_revoked_one_never_again(curfew) {
        let (other, operator) = (curfew.another_node().await, curfew.operator().await);
        let api = operator.make_api().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, _) = warm(&[&curfew, &other], &spa, &ada).await;
        let at_api = [("audience", &*api)];
        let code = browser.authorize_silently(&spa.at(&other), &at_api).await.code().unwrap();
        let before = Tokens::of(&spa.at(&other).redeem(&code).await);
        spa.at(&other).userinfo(&before.access).await.expect(200);
        let kid = |token: &str| {
            let header = token.split('.').next().unwrap();
            let header = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, header);
            serde_json::from_slice::<Value>(&header.unwrap()).unwrap()["kid"].as_str().unwrap().to_owned()
        };
        operator.post("/keys/signing/rotate", json!({})).await.expect(201);
        let code = browser.authorize_silently(&spa, &at_api).await.code().unwrap();
        let after = Tokens::of(&spa.redeem(&code).await);
        assert_ne!(kid(&before.access), kid(&after.access));
        spa.at(&other).userinfo(&after.access).await.expect(200);
        spa.at(&other).userinfo(&before.access).await.expect(200);
        let path = format!("/keys/signing/{}/revoke", kid(&before.access));
        operator.put(&path).await.expect(200);
        spa.at(&other).userinfo(&before.access).await.expect(401);
        spa.at(&other).userinfo(&after.access).await.expect(200);
    }

    fn a_host_that_was_given_another_document_is_served_it_at_every_node(curfew) {
        let (other, operator) = (curfew.another_node().await, curfew.operator().await);
        let discovery = async |node: &Curfew| {
            let request = http::Request::get("/.well-known/openid-configuration");
            node.send(request.body(axum::body::Body::empty()).unwrap()).await.expect(200).json()
        };
        assert!(discovery(&other).await["end_session_endpoint"].is_string());
        let change = json!({"oidc_logout": {"rp_logout_end_session_endpoint_discovery": false}});
        operator.patch("/tenants/settings", change).await.expect(200);
        assert!(discovery(&other).await.get("end_session_endpoint").is_none());
    }
}
