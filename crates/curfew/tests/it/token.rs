//! The token endpoint (RFC 6749 §3.2, §4.3, §4.4, §5), and `/userinfo` (OIDC Core §5.3).

use axum::body::Body;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{Answer, Application, CALLBACK, CONNECTION, Curfew, Operator, Tokens, VERIFIER, claims};

const REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";

async fn password_client(operator: &Operator) -> Application {
    let more = json!({"app_type": "regular_web", "grant_types": ["password", "refresh_token"]});
    operator.make_client(more).await
}

async fn json_body(curfew: &Curfew, body: &Value) -> Answer {
    let request = Request::post("/oauth/token").header(CONTENT_TYPE, "application/json; charset=utf-8");
    curfew.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str, description: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["error"], error, "{body}");
    assert_eq!(body["error_description"], description);
}

in_a_box! {
    fn a_success_says_exactly_what_was_granted(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let code = browser.log_in(&spa, &ada, &[("scope", "openid profile email offline_access")]).await;
        let answer = spa.redeem(&code).await.expect(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("pragma"), Some("no-cache"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        let mut members: Vec<&String> = body.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["access_token", "expires_in", "id_token", "refresh_token", "scope", "token_type"]);
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!(body["expires_in"], 86_400);
        assert_eq!(body["scope"], "openid profile email offline_access");
        let id_token = claims(body["id_token"].as_str().unwrap());
        let now = curfew.now().seconds();
        assert_eq!(id_token["iss"], "https://id.example/");
        assert_eq!(id_token["sub"], json!(ada.user_id));
        assert_eq!(id_token["aud"], json!(spa.client_id));
        assert_eq!((id_token["iat"].as_i64(), id_token["exp"].as_i64()), (Some(now), Some(now + 36_000)));
        assert_eq!(id_token["email"], json!(ada.email));
        assert_eq!(id_token["email_verified"], true);
        assert_eq!(id_token["name"], json!(ada.email));
        assert!(id_token["updated_at"].as_str().unwrap().ends_with('Z'));
        assert!(id_token["sid"].as_str().is_some_and(|sid| sid.len() == 32));
        for absent in ["auth_time", "at_hash", "c_hash", "s_hash", "amr", "acr"] {
            assert_eq!(id_token.get(absent), None, "{absent}");
        }
    }

    fn errors_of_the_endpoint(curfew) {
        let operator = curfew.operator().await;
        let (spa, web) = (operator.make_spa().await, operator.make_client(json!({"app_type": "regular_web"})).await);
        let machine = operator.make_client(json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]})).await;
        refused(&spa.token(&[]).await, 400, "invalid_request", "Missing required parameter: grant_type");
        refused(&spa.token(&[("grant_type", "magic")]).await, 403, "unsupported_grant_type", "Unsupported grant type: magic");
        let not_allowed = machine.token(&[("grant_type", "password")]).await;
        refused(&not_allowed, 403, "unauthorized_client", "Grant type 'password' not allowed for the client.");
        assert!(not_allowed.json()["error_uri"].is_string());
        refused(&spa.token(&[("grant_type", "authorization_code")]).await, 400, "invalid_request", "Missing required parameter: code");
        refused(&spa.token(&[("grant_type", "refresh_token")]).await, 400, "invalid_request", "Missing required parameter: refresh_token");
        refused(&spa.refresh("x").await, 403, "invalid_grant", "Unknown or invalid refresh token.");
        refused(&spa.redeem("x").await, 403, "invalid_grant", "Invalid authorization code");
        let credentials = [("grant_type", "client_credentials")];
        refused(&machine.token(&credentials).await, 400, "invalid_request", "Missing required parameter: audience");
        let audience = |text: &'static str| [("grant_type", "client_credentials"), ("audience", text)];
        refused(&machine.token(&audience("https://x/")).await, 403, "access_denied", "Service not found: https://x/");
        let ungranted = machine.client_credentials().await.expect(403);
        let text = ungranted.error_description().unwrap();
        assert!(text.starts_with("Client is not authorized to access \"https://id.example/api/v2/\". You need to create a \"client-grant\" associated to this API."), "{text}");
        let twice = [("grant_type", "refresh_token"), ("grant_type", "refresh_token")];
        refused(&web.token(&twice).await, 400, "invalid_request", "Parameter sent twice: grant_type");
        refused(&json_body(&curfew, &json!([1])).await, 400, "invalid_request", "The body is no JSON object");
        let nul = json!({"grant_type": "password", "client_id": "a\0b"});
        refused(&json_body(&curfew, &nul).await, 400, "invalid_request", "A parameter holds a character that is not allowed");
        let large = "x".repeat(70_000);
        refused(&web.token(&[("grant_type", &large)]).await, 413, "invalid_request", "The body is too large");
        let bytes = Request::post("/oauth/token").body(Body::from(vec![0xff, 0xfe])).unwrap();
        refused(&curfew.send(bytes).await, 400, "invalid_request", "The body is not UTF-8");
    }

    fn json_is_as_good_as_a_form(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let code = curfew.browser().log_in(&spa, &ada, &[("scope", "openid offline_access")]).await;
        let body = json!({
            "grant_type": "authorization_code",
            "client_id": spa.client_id,
            "client_secret": null,
            "code": code,
            "code_verifier": VERIFIER,
            "redirect_uri": CALLBACK,
            "audience": null,
            "anything": {"else": [1]},
        });
        let tokens = Tokens::of(&json_body(&curfew, &body).await);
        // What auth0-spa-js sends along on a refresh is ignored.
        let body = json!({
            "grant_type": "refresh_token",
            "client_id": spa.client_id,
            "refresh_token": tokens.refresh(),
            "redirect_uri": "https://elsewhere.example/",
            "scope": null,
        });
        Tokens::of(&json_body(&curfew, &body).await);
    }

    fn a_machine_gets_what_it_was_granted_and_asked_for(curfew) {
        let operator = curfew.operator().await;
        let machine = operator.make_client(json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]})).await;
        let api = json!({"identifier": "https://things.example/", "scopes": [
            {"value": "read:things"}, {"value": "write:things"}, {"value": "delete:things"}]});
        operator.post("/resource-servers", api).await.expect(201);
        let grant = json!({"client_id": machine.client_id, "audience": "https://things.example/",
            "scope": ["read:things", "write:things"]});
        operator.post("/client-grants", grant).await.expect(201);
        for (asked, granted) in [
            ("", "read:things write:things"),
            ("write:things", "write:things"),
            ("read:things delete:things", "read:things"),
            ("delete:things", ""),
        ] {
            let fields = [
                ("grant_type", "client_credentials"),
                ("audience", "https://things.example/"),
                ("scope", asked),
            ];
            let tokens = Tokens::of(&machine.token(&fields).await);
            assert_eq!(tokens.scope, granted, "{asked}");
            assert_eq!((tokens.refresh.as_ref(), tokens.id.as_ref()), (None, None));
            let claims = tokens.claims();
            assert_eq!(claims["sub"], json!(format!("{}@clients", machine.client_id)));
            assert_eq!(claims["gty"], "client-credentials");
            assert_eq!(claims["aud"], "https://things.example/");
            machine.userinfo(&tokens.access).await.expect(401);
        }
        assert_eq!(curfew.logs("seccft").await.iter().filter(|row| row["client_id"] == json!(machine.client_id)).count(), 4);
        let spa = operator.make_client(json!({"app_type": "spa", "grant_types": ["client_credentials"]})).await;
        refused(&spa.client_credentials().await, 401, "access_denied", "Unauthorized");
    }

    fn a_password_may_be_exchanged_where_a_client_asked_for_it(curfew) {
        let operator = curfew.operator().await;
        let (client, ada) = (password_client(&operator).await, operator.make_person().await);
        let grant = |username: &str, password: &str, more: &[(&str, &str)]| {
            let mut fields = [("username", username.to_owned()), ("password", password.to_owned())];
            let names: Vec<(String, String)> = more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let client = client.clone();
            async move {
                let mut all: Vec<(&str, &str)> = fields.iter_mut().map(|(name, value)| (*name, &**value)).collect();
                all.extend(names.iter().map(|(name, value)| (&**name, &**value)));
                client.token(&all).await
            }
        };
        let realm = [("grant_type", REALM), ("realm", CONNECTION)];
        let plain = [("grant_type", "password")];
        let text = "Authorization server not configured with default connection.";
        refused(&grant(&ada.email, &ada.password, &plain).await, 500, "server_error", text);
        operator.patch("/tenants/settings", json!({"default_directory": CONNECTION})).await.expect(200);
        let tokens = Tokens::of(&grant(&ada.email, &ada.password, &plain).await);
        assert_eq!(tokens.scope, "openid profile email");
        assert_eq!(claims(&tokens.id.unwrap()).get("sid"), None, "no session begins");
        client.userinfo(&tokens.access).await.expect(200);
        let offline: Vec<_> = realm.iter().copied().chain([("scope", "openid offline_access")]).collect();
        let tokens = Tokens::of(&grant(&ada.email, &ada.password, &offline).await);
        Tokens::of(&client.refresh(tokens.refresh()).await);
        let wrong = "Wrong email or password.";
        refused(&grant(&ada.email, "wrong", &realm).await, 403, "invalid_grant", wrong);
        refused(&grant("nobody@example.com", "wrong", &realm).await, 403, "invalid_grant", wrong);
        let long = "p".repeat(5000);
        refused(&grant(&ada.email, &long, &realm).await, 403, "invalid_grant", wrong);
        let missing = "Missing required parameter: password";
        refused(&grant(&ada.email, "", &realm).await, 400, "invalid_request", missing);
        let no_realm = [("grant_type", REALM)];
        refused(&grant(&ada.email, "x", &no_realm).await, 400, "invalid_request", "Missing required parameter: realm");
        let elsewhere = [("grant_type", REALM), ("realm", "elsewhere")];
        let text = "Specified realm \"elsewhere\" is not available for this client.";
        refused(&grant(&ada.email, "x", &elsewhere).await, 400, "invalid_request", text);
        let unknown: Vec<_> = realm.iter().copied().chain([("audience", "https://x/")]).collect();
        refused(&grant(&ada.email, "x", &unknown).await, 403, "access_denied", "Service not found: https://x/");
        operator.block(&ada).await.expect(200);
        refused(&grant(&ada.email, &ada.password, &realm).await, 403, "unauthorized", "user is blocked");
        assert_eq!(curfew.logs("sepft").await.len(), 2);
        assert_eq!(curfew.logs("fepft").await.len(), 4);
        assert_eq!(curfew.logs("fp").await.len(), 2);
        assert_eq!(curfew.logs("fu").await.len(), 1);
        // The attempt of the blocked user counts, the wrong ones do not (reference §9.4).
        let user = operator.get(&format!("/users/{}", ada.path())).await.json();
        assert_eq!(user["logins_count"], 3, "{user}");
        assert_eq!(user["last_ip"], "127.0.0.1");
    }

    // oidcc-userinfo-get, oidcc-userinfo-post-header, oidcc-userinfo-post-body
    fn userinfo_takes_the_token_in_one_of_three_ways(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada, api) = (operator.make_spa().await, operator.make_person().await, operator.make_api().await);
        let browser = curfew.browser();
        let tokens = Tokens::of(&spa.redeem(&browser.log_in(&spa, &ada, &[]).await).await);
        let header = format!("Bearer {}", tokens.access);
        let form = format!("access_token={}", tokens.access);
        let query = format!("/userinfo?access_token={}", tokens.access);
        let get = |url: &str| Request::get(url).header("origin", "https://anywhere.example");
        let urlencoded = "application/x-www-form-urlencoded";
        let answer = curfew.send(get("/userinfo").header(AUTHORIZATION, &header).body(Body::empty()).unwrap()).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.json()["sub"], json!(ada.user_id));
        assert_eq!(answer.json()["email"], json!(ada.email));
        let post = Request::post("/userinfo").header(AUTHORIZATION, &header).body(Body::empty()).unwrap();
        curfew.send(post).await.expect(200);
        let post = Request::post("/userinfo").header(CONTENT_TYPE, urlencoded).body(Body::from(form.clone())).unwrap();
        curfew.send(post).await.expect(200);
        curfew.send(get(&query).body(Body::empty()).unwrap()).await.expect(200);
        let both = get(&query).header(AUTHORIZATION, &header).body(Body::empty()).unwrap();
        let answer = curfew.send(both).await.expect(400);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_request\""));
        let answer = curfew.send(get("/userinfo").body(Body::empty()).unwrap()).await.expect(401);
        assert_eq!((answer.header("www-authenticate"), &*answer.text()), (Some("Bearer"), "Unauthorized"));
        let answer = spa.userinfo("not a token").await.expect(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
        spa.userinfo(&tokens.id.unwrap()).await.expect(401);
        let more = [("audience", &*api), ("scope", "email")];
        let code = browser.authorize(&spa, &more).await.code().unwrap();
        spa.userinfo(&Tokens::of(&spa.redeem(&code).await).access).await.expect(401);
        let code = browser.authorize(&spa, &[("scope", "email")]).await.code().unwrap();
        let answer = spa.userinfo(&Tokens::of(&spa.redeem(&code).await).access).await.expect(403);
        assert!(answer.header("www-authenticate").unwrap().contains("insufficient_scope"));
        let code = browser.authorize(&spa, &[("audience", &*api), ("scope", "openid given_name")]).await.code().unwrap();
        let answer = spa.userinfo(&Tokens::of(&spa.redeem(&code).await).access).await.expect(200);
        assert_eq!(answer.json(), json!({"sub": ada.user_id}));
        curfew.advance(86_400);
        spa.userinfo(&tokens.access).await.expect(401);
    }
}
