//! Discovery (OIDC Discovery §3, RFC 8414) and the keys: what is announced works, and nothing else is announced.

use serde_json::{Value, json};

use crate::support::{Answer, Tokens, claims};

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[track_caller]
fn is_public(answer: &Answer) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
}

in_a_box! {
    // oidcc-discovery-endpoint-verification
    fn the_document_and_its_twin(curfew) {
        let browser = curfew.browser();
        let answer = browser.get(".well-known/openid-configuration").await;
        is_public(&answer);
        let openid = answer.json();
        let twin = browser.get(".well-known/oauth-authorization-server").await;
        is_public(&twin);
        assert_eq!(openid["issuer"], "https://id.example/");
        let only_openid = [
            "userinfo_endpoint",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
            "claims_supported",
            "check_session_iframe",
            "backchannel_logout_supported",
            "backchannel_logout_session_supported",
            "frontchannel_logout_supported",
            "frontchannel_logout_session_supported",
            "request_parameter_supported",
            "request_uri_parameter_supported",
            "end_session_endpoint",
        ];
        for (name, value) in openid.as_object().unwrap() {
            let here = &twin.json()[name];
            assert_eq!(here == value, !only_openid.contains(&&**name), "{name}");
        }
        assert_eq!(openid["request_parameter_supported"], false);
        for logout in ["backchannel", "frontchannel"] {
            assert_eq!(openid[format!("{logout}_logout_supported")], true);
            assert_eq!(openid[format!("{logout}_logout_session_supported")], true);
        }
        for later in [
            "device_authorization_endpoint",
            "mfa_challenge_endpoint",
            "registration_endpoint",
            "pushed_authorization_request_endpoint",
            "dpop_signing_alg_values_supported",
        ] {
            assert_eq!(openid.get(later), None, "{later}");
        }
        let operator = curfew.operator().await;
        let settings = json!({
            "oidc_logout": {"rp_logout_end_session_endpoint_discovery": false},
            "authorization_response_iss_parameter_supported": false,
        });
        operator.patch("/tenants/settings", settings).await.expect(200);
        let openid = browser.get(".well-known/openid-configuration").await.json();
        assert_eq!(openid.get("end_session_endpoint"), None);
        assert_eq!(openid.get("authorization_response_iss_parameter_supported"), None);
        let spa = operator.make_spa().await;
        assert_eq!(browser.authorize_silently(&spa, &[]).await.parameter("iss"), None);
    }

    fn everything_announced_works(curfew) {
        let operator = curfew.operator().await;
        let document = curfew.browser().get(".well-known/openid-configuration").await.json();
        let ada = operator.make_person().await;
        let profile = json!({"name": "Ada", "given_name": "Ada", "family_name": "Lovelace", "nickname": "ada",
            "picture": "https://example.com/ada.png"});
        operator.change_user(&ada, profile).await.expect(200);
        let more = json!({"app_type": "regular_web", "grant_types": texts(&document["grant_types_supported"])});
        let client = operator.make_client(more).await;
        let browser = curfew.browser();
        browser.log_in(&client, &ada, &[]).await;
        for response_type in texts(&document["response_types_supported"]) {
            for mode in texts(&document["response_modes_supported"]) {
                if mode == "query" && response_type != "code" {
                    continue;
                }
                let more = [("response_type", response_type), ("response_mode", mode)];
                let response = browser.authorize(&client, &more).await.response();
                assert_eq!(response.get("error"), None, "{response_type} {mode}");
                for (part, name) in [("code", "code"), ("token", "access_token"), ("id_token", "id_token")] {
                    let due = response_type.split(' ').any(|own| own == part);
                    assert_eq!(response.contains_key(name), due, "{response_type} {mode}");
                }
            }
        }
        for grant in texts(&document["grant_types_supported"]).into_iter().filter(|grant| *grant != "implicit") {
            let answer = client.token(&[("grant_type", grant)]).await;
            let error = answer.error().unwrap();
            assert!(!["unsupported_grant_type", "unauthorized_client"].contains(&&*error), "{grant}: {error}");
        }
        for method in texts(&document["code_challenge_methods_supported"]) {
            assert!(browser.authorize(&client, &[("code_challenge_method", method)]).await.code().is_some(), "{method}");
        }
        // Each scope but `openid` and `offline_access` gives at least one claim, and only announced ones.
        let announced = texts(&document["claims_supported"]);
        for scope in texts(&document["scopes_supported"]) {
            let code = browser.authorize(&client, &[("scope", &format!("openid {scope}"))]).await.code().unwrap();
            let tokens = Tokens::of(&client.redeem(&code).await);
            assert!(tokens.scope.split(' ').any(|own| own == scope), "{scope}");
            let claims = claims(&tokens.id.unwrap());
            let more = claims.as_object().unwrap().keys();
            let unannounced: Vec<_> = more.filter(|name| !announced.contains(&&***name)).filter(|name| *name != "nonce").collect();
            assert_eq!(unannounced, Vec::<&String>::new(), "{scope}");
            if !["openid", "offline_access", "phone"].contains(&scope) {
                let userinfo = client.userinfo(&tokens.access).await.expect(200).json();
                assert!(userinfo.as_object().unwrap().len() > 1, "{scope}");
            }
            assert_eq!(tokens.refresh.is_some(), scope == "offline_access", "{scope}");
        }
        for alg in texts(&document["id_token_signing_alg_values_supported"]) {
            let path = format!("/clients/{}", client.client_id);
            operator.patch(&path, json!({"jwt_configuration": {"alg": alg}})).await.expect(200);
            let code = browser.authorize(&client, &[]).await.code().unwrap();
            let id_token = Tokens::of(&client.redeem(&code).await).id.unwrap();
            let parsed = curfew_tokens::parse_compact(&id_token).unwrap();
            assert_eq!(parsed.header.alg.as_str(), alg);
            if alg == "HS256" {
                assert!(parsed.verify_hs256(client.secret.as_deref().unwrap().as_bytes()));
            }
        }
        for (name, path) in document.as_object().unwrap() {
            let Some(url) = path.as_str().filter(|_| name.ends_with("_endpoint") || name == "jwks_uri") else { continue };
            let answer = browser.get(url).await;
            assert_ne!(answer.status, 404, "{name}");
        }
    }

    // oidcc-server-rotate-keys
    fn two_keys_are_published_and_verify(curfew) {
        let operator = curfew.operator().await;
        let browser = curfew.browser();
        let answer = browser.get(".well-known/jwks.json").await;
        is_public(&answer);
        let keys = answer.json()["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), 2);
        for key in &keys {
            assert_eq!((&key["kty"], &key["use"], &key["alg"]), (&json!("RSA"), &json!("sig"), &json!("RS256")));
            for name in ["n", "e", "kid", "x5t"] {
                assert!(key[name].is_string(), "{name}");
            }
            assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                assert_eq!(key.get(private), None);
            }
        }
        let pem = browser.get("pem").await.expect(200);
        assert_eq!(pem.header("content-type"), Some("application/x-pem-file"));
        assert!(pem.text().starts_with("-----BEGIN CERTIFICATE-----"));
        let x5c = keys[0]["x5c"][0].as_str().unwrap();
        assert_eq!(pem.text().lines().filter(|line| !line.starts_with('-')).collect::<String>(), x5c);
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let id_token = Tokens::of(&spa.redeem(&browser.log_in(&spa, &ada, &[]).await).await).id.unwrap();
        let verifies = |keys: &[Value], token: &str| {
            let parsed = curfew_tokens::parse_compact(token).unwrap();
            let found = keys.iter().find(|key| key["kid"].as_str() == parsed.header.kid.as_deref());
            found.is_some_and(|key| {
                let jwk: curfew_tokens::Jwk = serde_json::from_value(key.clone()).unwrap();
                parsed.verify(&curfew_tokens::PublicKey::from_jwk(&jwk).unwrap())
            })
        };
        assert!(verifies(&keys, &id_token));
        operator.post("/keys/signing/rotate", json!({})).await.expect(201);
        let after = browser.get(".well-known/jwks.json").await.json()["keys"].as_array().unwrap().clone();
        assert_eq!(after[0]["kid"], keys[1]["kid"], "the next key was published before it signs");
        let code = browser.authorize(&spa, &[]).await.code().unwrap();
        let newer = Tokens::of(&spa.redeem(&code).await).id.unwrap();
        assert!(verifies(&keys, &newer) && verifies(&after, &newer) && verifies(&after, &id_token));
        operator.patch("/tenants/settings", json!({"flags": {"remove_alg_from_jwks": true}})).await.expect(200);
        assert_eq!(browser.get(".well-known/jwks.json").await.json()["keys"][0].get("alg"), None);
    }
}
