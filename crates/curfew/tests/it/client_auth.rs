//! How clients authenticate (RFC 6749 §2.3, RFC 7523).

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curfew_model::Timestamp;
use curfew_tokens::cert::Certificate;
use curfew_tokens::jws::{sign_compact, sign_hs256};
use curfew_tokens::{SigningAlg, SigningKey};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{Answer, Application, Curfew, MANAGEMENT, Operator};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that may call the Management API on its own behalf.
async fn machine(operator: &Operator, more: Value) -> Application {
    let mut doc = json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]});
    doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let client = operator.make_client(doc).await;
    let grant = json!({"client_id": client.client_id, "audience": MANAGEMENT, "scope": ["read:users"]});
    operator.post("/client-grants", grant).await.expect(201);
    client
}

async fn send(curfew: &Curfew, basic: Option<(&str, &str)>, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![("grant_type", "client_credentials"), ("audience", MANAGEMENT)];
    all.extend(fields);
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
    let mut request = Request::post("/oauth/token").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some((id, secret)) = basic {
        request =
            request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
    }
    curfew.send(request.body(Body::from(body)).unwrap()).await
}

#[track_caller]
fn unauthorized(answer: &Answer) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(answer.error().as_deref(), Some("access_denied"));
    assert_eq!(answer.error_description().as_deref(), Some("Unauthorized"));
}

in_a_box! {
    // oidcc-server-client-secret-post, oidcc-server-client-secret-basic
    fn a_secret_comes_in_the_body_or_in_the_header(curfew) {
        let operator = curfew.operator().await;
        for method in ["client_secret_post", "client_secret_basic"] {
            let client = machine(&operator, json!({"token_endpoint_auth_method": method})).await;
            let (id, secret) = (&*client.client_id, client.secret.as_deref().unwrap());
            send(&curfew, None, &[("client_id", id), ("client_secret", secret)]).await.expect(200);
            send(&curfew, Some((id, secret)), &[]).await.expect(200);
            send(&curfew, Some((id, secret)), &[("client_id", id)]).await.expect(200);
            for (basic, fields) in [
                (None, vec![("client_id", id), ("client_secret", "wrong")]),
                (None, vec![("client_id", id)]),
                (None, vec![("client_id", id), ("client_secret", "")]),
                (None, vec![("client_id", "nobody"), ("client_secret", secret)]),
                (Some((id, "wrong")), vec![]),
                (Some(("nobody", secret)), vec![]),
                (Some(("a%00b", secret)), vec![]),
            ] {
                let answer = send(&curfew, basic, &fields).await;
                unauthorized(&answer);
                let challenged = answer.header("www-authenticate");
                assert_eq!(challenged, basic.map(|_| "Basic realm=\"oauth\""));
            }
            // RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."
            for fields in [
                vec![("client_id", "another")],
                vec![("client_id", id), ("client_secret", secret)],
                vec![("client_assertion", "a.b.c"), ("client_assertion_type", ASSERTION_TYPE)],
            ] {
                let answer = send(&curfew, Some((id, secret)), &fields).await.expect(400);
                assert_eq!(answer.error().as_deref(), Some("invalid_request"));
            }
        }
        let answer = send(&curfew, None, &[]).await.expect(400);
        assert_eq!(answer.error_description().as_deref(), Some("Missing required parameter: client_id"));
        let long = "x".repeat(300);
        unauthorized(&send(&curfew, None, &[("client_id", &long), ("client_secret", "x")]).await);
    }

    fn a_public_client_has_no_secret_but_may_not_send_a_wrong_one(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let code = browser.log_in(&spa, &ada, &[]).await;
        unauthorized(&curfew.application_of(&spa.client_id, Some("wrong")).redeem(&code).await);
        spa.redeem(&code).await.expect(200);
    }

    // oidcc-server with private_key_jwt
    fn an_assertion_proves_the_key_and_counts_once(curfew) {
        let operator = curfew.operator().await;
        let now = curfew.now().seconds();
        let generate = || SigningKey::generate(SigningAlg::RS256).unwrap().pkcs8;
        let key = |kid: &str, pkcs8: &[u8]| SigningKey::from_pkcs8(kid, SigningAlg::RS256, pkcs8).unwrap();
        let (own, foreign) = (generate(), generate());
        let (from, until) = (Timestamp::from_seconds(now), Timestamp::from_seconds(now + 86_400));
        let pem = Certificate::self_signed(&key("own", own.expose()), "client", from, until).unwrap().pem();
        let credential = json!({"credential_type": "public_key", "name": "first", "pem": pem});
        let methods = json!({"private_key_jwt": {"credentials": [credential]}});
        let client = machine(&operator, json!({"client_authentication_methods": methods})).await;
        let id = client.client_id.clone();
        let listed = operator.get(&format!("/clients/{id}/credentials")).await.expect(200).json();
        let kid = listed[0]["kid"].as_str().unwrap();
        let (own, foreign) = (key(kid, own.expose()), key(kid, foreign.expose()));
        let claims = |jti: &str| json!({"iss": id, "sub": id, "aud": "https://id.example/", "iat": now,
            "exp": now + 60, "jti": jti});
        let sign = |key: &SigningKey, claims: &Value| sign_compact(key, "JWT", claims).unwrap();
        let present = |assertion: String| {
            let (curfew, id) = (curfew.clone(), id.clone());
            async move {
                let fields = [
                    ("client_id", &*id),
                    ("client_assertion", &*assertion),
                    ("client_assertion_type", ASSERTION_TYPE),
                ];
                send(&curfew, None, &fields).await
            }
        };
        let with = |name: &str, value: Value, jti: &str| {
            let mut claims = claims(jti);
            claims[name] = value;
            claims
        };
        let first = sign(&own, &claims("1"));
        present(first.clone()).await.expect(200);
        for (number, aud) in [json!("https://id.example/oauth/token"), json!("https://id.example"),
            json!(["https://other.example/", "https://id.example/"])].into_iter().enumerate() {
            present(sign(&own, &with("aud", aud, &format!("aud{number}")))).await.expect(200);
        }
        let bad = [
            first,
            sign(&foreign, &claims("2")),
            sign(&own, &with("aud", json!("https://other.example/"), "3")),
            sign(&own, &with("exp", json!(now - 60), "4")),
            sign(&own, &with("exp", json!(now + 86_400), "5")),
            sign(&own, &with("nbf", json!(now + 600), "6")),
            sign(&own, &with("iss", json!("another"), "7")),
            sign(&own, &with("jti", Value::Null, "8")),
            sign_hs256(client.secret.as_deref().unwrap_or("secret").as_bytes(), "JWT", &claims("9")).unwrap(),
            "a.b.c".to_owned(),
        ];
        for assertion in bad {
            let answer = present(assertion.clone()).await.expect(401);
            assert_eq!(answer.error().as_deref(), Some("invalid_client"), "{assertion}");
            let text = "Client authentication failed: invalid client assertion";
            assert_eq!(answer.error_description().as_deref(), Some(text));
        }
        // RFC 7521 §4.2: the assertion may be all that names the client.
        let alone = [("client_assertion", &*sign(&own, &claims("10"))), ("client_assertion_type", ASSERTION_TYPE)];
        send(&curfew, None, &alone).await.expect(200);
        let untyped = [("client_id", &*id), ("client_assertion", &*sign(&own, &claims("11"))), ("client_assertion_type", "x")];
        send(&curfew, None, &untyped).await.expect(401);
        unauthorized(&send(&curfew, None, &[("client_id", &id)]).await);
        unauthorized(&send(&curfew, None, &[("client_id", &id), ("client_secret", "x")]).await);
    }
}
