//! What is not there is refused by name. Ignored, it would be answered with less protection than was asked for: a token
//! that is bound to no key, for another API, in no organization.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{Answer, CALLBACK, Curfew, MANAGEMENT, Tokens, VERIFIER};

const RESOURCE: &str = "The resource must be the audience";
const DETAILS: &str = "[{\"type\":\"payment\"}]";

/// `(parameter, value, error, error_description)`.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

#[track_caller]
fn refused(answer: &Answer, status: u16, (name, value, error, description): Row<'_>) {
    assert_eq!(answer.status, status, "{name}={value}: {}", answer.text());
    assert_eq!(answer.error().as_deref(), Some(error), "{name}={value}");
    assert_eq!(answer.error_description().as_deref(), Some(description), "{name}={value}");
    let body = answer.json();
    assert!(body.get("access_token").is_none() && answer.code().is_none(), "{name}={value}");
}

async fn with_header(curfew: &Curfew, name: &str, body: &Value) -> Answer {
    let request =
        Request::post("/oauth/token").header(CONTENT_TYPE, "application/json").header(name, "a.b.c");
    curfew.send(request.body(Body::from(body.to_string())).unwrap()).await
}

in_a_box! {
    fn at_the_authorization_endpoint(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada, api) = (operator.make_spa().await, operator.make_person().await, operator.make_api().await);
        let browser = curfew.browser();
        browser.log_in(&spa, &ada, &[]).await;
        let organizations = format!("client {} is not allowed to use organizations", spa.client_id);
        let unsupported = |name: &str| format!("The {name} parameter is not supported");
        let rows: [Row<'_>; 11] = [
            ("request", "a.b.c", "request_not_supported", &unsupported("request")),
            ("request_uri", "https://app.example/request", "request_uri_not_supported", &unsupported("request_uri")),
            ("request_uri", "urn:ietf:params:oauth:request_uri:1", "request_uri_not_supported", &unsupported("request_uri")),
            ("registration", "{}", "registration_not_supported", &unsupported("registration")),
            ("authorization_details", DETAILS, "invalid_authorization_details", &unsupported("authorization_details")),
            ("dpop_jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "invalid_request", &unsupported("dpop_jkt")),
            ("organization", "org_1", "invalid_request", &organizations),
            ("invitation", "a-ticket", "invalid_request", &organizations),
            ("resource", "https://nowhere.example/", "invalid_target", RESOURCE),
            ("resource", &api, "invalid_target", RESOURCE),
            ("resource", "https://id.example/userinfo", "invalid_target", RESOURCE),
        ];
        for row in rows {
            for prompt in ["", "none", "login"] {
                let answer = browser.authorize(&spa, &[(row.0, row.1), ("prompt", prompt)]).await;
                refused(&answer, 302, row);
                assert!(answer.location().unwrap().starts_with(&format!("{CALLBACK}?")));
                assert_eq!(answer.parameter("state").as_deref(), Some("a-state"));
            }
        }
        let other = operator.make_api().await;
        let answer = browser.authorize(&spa, &[("audience", &other), ("resource", &api)]).await;
        refused(&answer, 302, ("resource", &api, "invalid_target", RESOURCE));
        // An empty one is none, and one that only repeats the audience asks for nothing else.
        let empty = spa.authorize_url(&[]) + "&request=&dpop_jkt=&resource=&organization=&authorization_details=";
        assert!(browser.get(&empty).await.code().is_some());
        let answer = browser.authorize(&spa, &[("audience", &api), ("resource", &api)]).await;
        assert_eq!(Tokens::of(&spa.redeem(&answer.code().unwrap()).await).claims()["aud"][0], json!(api));
        operator.patch("/tenants/settings", json!({"default_audience": api})).await.expect(200);
        let answer = browser.authorize(&spa, &[("resource", &api)]).await;
        assert_eq!(Tokens::of(&spa.redeem(&answer.code().unwrap()).await).claims()["aud"][0], json!(api));
        // Nobody is shown a login page for what would be refused after it.
        let stranger = curfew.browser().authorize(&spa, &[("dpop_jkt", "x")]).await;
        assert_eq!(stranger.error().as_deref(), Some("invalid_request"));
    }

    fn at_the_token_endpoint(curfew) {
        let operator = curfew.operator().await;
        let more = json!({
            "app_type": "regular_web",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials", "password"],
            "refresh_token": {"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0},
        });
        let (web, ada, api) = (operator.make_client(more).await, operator.make_person().await, operator.make_api().await);
        let grant = json!({"client_id": web.client_id, "audience": MANAGEMENT, "scope": ["read:users"]});
        operator.post("/client-grants", grant).await.expect(201);
        operator.patch("/tenants/settings", json!({"default_directory": crate::support::CONNECTION})).await.expect(200);
        let browser = curfew.browser();
        let asked = [("audience", &*api), ("scope", "openid offline_access")];
        let first = browser.log_in(&web, &ada, &asked).await;
        let tokens = Tokens::of(&web.redeem(&first).await);
        let code = browser.authorize(&web, &asked).await.code().unwrap();
        let grants: [&[(&str, &str)]; 4] = [
            &[("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)],
            &[("grant_type", "refresh_token"), ("refresh_token", tokens.refresh())],
            &[("grant_type", "client_credentials"), ("audience", MANAGEMENT)],
            &[("grant_type", "password"), ("username", &ada.email), ("password", &ada.password), ("audience", &api)],
        ];
        let organizations = format!("client {} is not allowed to use organizations", web.client_id);
        let unsupported = "The authorization_details parameter is not supported";
        let rows: [Row<'_>; 3] = [
            ("authorization_details", DETAILS, "invalid_authorization_details", unsupported),
            ("organization", "org_1", "invalid_request", &organizations),
            ("resource", "https://elsewhere.example/", "invalid_target", RESOURCE),
        ];
        for grant in grants {
            for row in rows {
                let fields: Vec<_> = grant.iter().copied().chain([(row.0, row.1)]).collect();
                refused(&web.token(&fields).await, 400, row);
            }
            // RFC 9449: a proof of possession asks for a token that is bound to its key.
            let mut body = json!({"client_id": web.client_id, "client_secret": web.secret});
            for (name, value) in grant {
                body[*name] = json!(value);
            }
            let answer = with_header(&curfew, "DPoP", &body).await;
            refused(&answer, 400, ("DPoP", "a.b.c", "invalid_request", "DPoP is not supported"));
            body["authorization_details"] = json!([{"type": "payment"}]);
            let answer = with_header(&curfew, "x-anything", &body).await;
            refused(&answer, 400, rows[0]);
        }
        // Nothing was consumed, rotated or ended by all that; and to repeat the audience asks for nothing else.
        for (index, grant) in grants.iter().enumerate() {
            let audience = if index == 2 { MANAGEMENT } else { &*api };
            let fields: Vec<_> = grant.iter().copied().chain([("resource", audience)]).collect();
            Tokens::of(&web.token(&fields).await);
        }
    }

    fn grant_types_that_are_not_there(curfew) {
        let operator = curfew.operator().await;
        let grant_types = [
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:openid:params:grant-type:ciba",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:auth0:params:oauth:grant-type:token-exchange:federated-connection-access-token",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:saml2-bearer",
            "urn:okta:params:oauth:grant-type:webauthn",
            "http://auth0.com/oauth/grant-type/passwordless/otp",
            "http://auth0.com/oauth/grant-type/mfa-otp",
            "http://auth0.com/oauth/grant-type/mfa-oob",
            "http://auth0.com/oauth/grant-type/mfa-recovery-code",
            "implicit",
            "AUTHORIZATION_CODE",
            "refresh_token ",
        ];
        // Also where the client may use them, and sends what they take.
        let of_auth0: Vec<&str> = grant_types[..12].iter().copied().filter(|name| !name.contains("saml2") && !name.contains("jwt-bearer")).collect();
        let web = operator.make_client(json!({"app_type": "regular_web", "grant_types": of_auth0})).await;
        for grant_type in grant_types {
            for more in [
                &[][..],
                &[("device_code", "x"), ("auth_req_id", "x"), ("subject_token", "x"), ("subject_token_type", "x")],
                &[("username", "x"), ("otp", "123456"), ("realm", "email"), ("mfa_token", "x"), ("oob_code", "x")],
            ] {
                let fields: Vec<_> = more.iter().copied().chain([("grant_type", grant_type)]).collect();
                let shown: String = grant_type.trim().chars().take(80).collect();
                let shown = format!("Unsupported grant type: {shown}");
                refused(&web.token(&fields).await, 403, ("grant_type", grant_type, "unsupported_grant_type", &shown));
            }
        }
        let announced = curfew.send(Request::get("/.well-known/openid-configuration").body(Body::empty()).unwrap()).await;
        let announced = announced.expect(200).json()["grant_types_supported"].clone();
        // `implicit` stands for the response types, which are there.
        for grant_type in grant_types.iter().filter(|name| **name != "implicit") {
            assert!(!announced.as_array().unwrap().contains(&json!(grant_type)), "{grant_type}");
        }
    }

    fn endpoints_that_are_not_there(curfew) {
        for path in [
            "/oauth/par", "/oauth/device/code", "/bc-authorize", "/oidc/register",
            "/mfa/challenge", "/mfa/associate", "/mfa/authenticators", "/passwordless/start", "/passwordless/verify",
            "/co/authenticate", "/activate", "/login/callback", "/samlp/x", "/samlp/metadata/x", "/wsfed/x",
            "/tokeninfo", "/delegation", "/oauth/ro", "/oauth/access_token",
        ] {
            for method in [Method::GET, Method::POST] {
                let request = Request::builder().method(method).uri(path);
                curfew.send(request.body(Body::empty()).unwrap()).await.expect(404);
            }
        }
    }

    fn clients_that_require_what_is_not_there(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let path = format!("/clients/{}", spa.client_id);
        let browser = curfew.browser();
        let code = browser.log_in(&spa, &ada, &[("scope", "openid offline_access")]).await;
        let tokens = Tokens::of(&spa.redeem(&code).await);
        for (requires, serves, description) in [
            (json!({"require_pushed_authorization_requests": true}), json!({"require_pushed_authorization_requests": false}),
                "Pushed authorization requests are required for this client"),
            (json!({"organization_usage": "require"}), json!({"organization_usage": "deny"}),
                "parameter organization is required for this client"),
        ] {
            operator.patch(&path, requires.clone()).await.expect(200);
            for prompt in ["", "none"] {
                let answer = browser.authorize(&spa, &[("prompt", prompt)]).await;
                refused(&answer, 302, ("client", &requires.to_string(), "invalid_request", description));
            }
            operator.patch(&path, serves).await.expect(200);
            assert!(browser.authorize(&spa, &[]).await.code().is_some());
        }
        // A token that is bound to nothing is not what such a client asked for.
        operator.patch(&path, json!({"require_proof_of_possession": true})).await.expect(200);
        let code = browser.authorize(&spa, &[]).await.code().unwrap();
        let of = |grant: &str| format!("Grant type '{grant}' not allowed for the client.");
        let redeemed = spa.redeem(&code).await;
        refused(&redeemed, 403, ("code", "", "unauthorized_client", &of("authorization_code")));
        let refreshed = spa.refresh(tokens.refresh()).await;
        refused(&refreshed, 403, ("refresh_token", "", "unauthorized_client", &of("refresh_token")));
        operator.patch(&path, json!({"require_proof_of_possession": false})).await.expect(200);
        Tokens::of(&spa.redeem(&code).await);
        Tokens::of(&spa.refresh(tokens.refresh()).await);
    }
}
