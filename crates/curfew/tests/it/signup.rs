//! Signing up: on our page, and through `/dbconnections/*` (reference §2.10).

use axum::body::Body;
use http::Request;
use http::header::{CONTENT_TYPE, ORIGIN};
use serde_json::{Value, json};

use crate::support::{Answer, Application, Browser, CALLBACK, CONNECTION, Curfew, PASSWORD, Tokens};

pub(crate) async fn post(curfew: &Curfew, path: &str, body: &Value) -> Answer {
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .header(ORIGIN, "https://app.example")
        .body(Body::from(body.to_string()));
    curfew.send(request.unwrap()).await
}

pub(crate) fn body(application: &Application, more: Value) -> Value {
    let mut body =
        json!({"client_id": application.client_id, "connection": CONNECTION, "password": PASSWORD});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Opens the sign-up page and sends it.
pub(crate) async fn sign_up(browser: &Browser, application: &Application, fields: &[(&str, &str)]) -> Answer {
    let to_page = browser.authorize(application, &[("screen_hint", "signup")]).await.expect(302);
    assert!(to_page.leads_to("u/signup"));
    let page = browser.get(to_page.location().unwrap()).await.expect(200);
    let (state, csrf) = (page.hidden("state"), page.hidden("csrf"));
    let mut all = vec![("state", &*state), ("csrf", &*csrf)];
    all.extend(fields);
    browser.post("u/signup", &all).await
}

/// What differs between two pages that say the same: state, token and nonce.
pub(crate) fn said(answer: &Answer) -> String {
    let page = answer.text();
    let lines =
        page.lines().filter(|line| !line.contains("name=\"state\"") && !line.contains("name=\"csrf\""));
    let lines = lines.filter(|line| !line.contains("nonce=") && !line.contains("state="));
    lines.collect::<Vec<_>>().join("\n")
}

in_a_box! {
    fn whoever_signs_up_on_the_page_is_logged_in(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        let browser = curfew.browser();
        let fields = [("email", " New@Example.com "), ("password", PASSWORD)];
        let answer = sign_up(&browser, &spa, &fields).await.expect(302);
        assert!(answer.location().unwrap().starts_with(CALLBACK));
        let tokens = Tokens::of(&spa.redeem(&answer.code().unwrap()).await);
        let userinfo = spa.userinfo(&tokens.access).await.json();
        assert_eq!((&userinfo["email"], &userinfo["email_verified"]), (&json!("new@example.com"), &json!(false)));
        let sub = userinfo["sub"].as_str().unwrap().replace('|', "%7C");
        let user = operator.get(&format!("/users/{sub}")).await.json();
        assert_eq!(user["logins_count"], 1);
        assert_eq!(curfew.logs("ss").await[0]["user_id"], userinfo["sub"]);
        assert_eq!(curfew.logs("s").await.len(), 1);
    }

    fn the_page_tells_what_is_wrong_but_never_who_exists(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let none = sign_up(&browser, &spa, &[("email", "no-address"), ("password", PASSWORD)]).await.expect(400);
        assert!(none.text().contains("id=\"email-error\""));
        let weak = sign_up(&browser, &spa, &[("email", "fresh@example.com"), ("password", "weak")]).await.expect(400);
        assert!(weak.text().contains("id=\"password-error\""));
        // With a weak password somebody who exists looks like somebody who does not.
        let known = sign_up(&browser, &spa, &[("email", &ada.email), ("password", "weak")]).await.expect(400);
        assert_eq!(said(&weak).replace("fresh@example.com", ""), said(&known).replace(&*ada.email, ""));
        let taken = sign_up(&browser, &spa, &[("email", &ada.email), ("password", PASSWORD)]).await.expect(400);
        assert!(taken.text().contains("We could not create an account with these details."));
        assert!(!taken.text().to_lowercase().contains("exist"));
        assert!(!browser.has_session_cookie());
        assert_eq!(curfew.logs("fs").await.len(), 1);
        // The password of the account stays what it was.
        browser.log_in(&spa, &ada, &[]).await;
    }

    fn a_connection_may_ask_for_a_user_name_or_be_closed(curfew) {
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        let id = operator.connection_id(CONNECTION).await;
        let path = format!("/connections/{id}");
        operator.patch(&path, json!({"options": {"requires_username": true}})).await.expect(200);
        let browser = curfew.browser();
        let fields = [("email", "new@example.com"), ("password", PASSWORD)];
        let nameless = sign_up(&browser, &spa, &fields).await.expect(400);
        assert!(nameless.text().contains("id=\"username-error\""));
        let refused = post(&curfew, "/dbconnections/signup", &body(&spa, json!({"email": "new@example.com"}))).await.expect(400);
        assert_eq!(refused.json()["code"], "invalid_signup");
        let named: Vec<_> = fields.iter().copied().chain([("username", "Newton")]).collect();
        sign_up(&browser, &spa, &named).await.expect(302);
        let other = curfew.browser();
        let to_login = other.authorize(&spa, &[]).await;
        assert!(other.submit_login(&to_login, "newton", PASSWORD).await.code().is_some());
        operator.patch(&path, json!({"options": {"disable_signup": true}})).await.expect(200);
        let other = curfew.browser();
        let to_login = other.authorize(&spa, &[]).await;
        let page = other.get(to_login.location().unwrap()).await;
        assert!(!page.text().contains("/u/signup"));
        let fields = [("email", "third@example.com"), ("password", PASSWORD)];
        let answer = sign_up(&other, &spa, &fields).await;
        assert_ne!(answer.status, 200);
        assert_eq!(answer.code(), None);
        let closed = post(&curfew, "/dbconnections/signup", &body(&spa, json!({"email": "x@example.com"}))).await.expect(400);
        assert_eq!(closed.json()["code"], "public_signup");
    }

    fn sign_up_through_the_api(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let path = "/dbconnections/signup";
        let sent = json!({"email": "New@Example.com", "given_name": "New", "user_metadata": {"plan": "free"},
            "app_metadata": {"role": "admin"}, "blocked": false, "email_verified": true, "nickname": 7});
        let answer = post(&curfew, path, &body(&spa, sent)).await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
        let made = answer.json();
        assert_eq!((&made["email"], &made["email_verified"]), (&json!("new@example.com"), &json!(false)));
        assert_eq!(made["_id"].as_str().unwrap().len(), 24);
        let user = operator.get(&format!("/users/auth0%7C{}", made["_id"].as_str().unwrap())).await.expect(200).json();
        assert_eq!(user["user_metadata"], json!({"plan": "free"}));
        assert_eq!(user["nickname"], "new");
        for absent in ["app_metadata", "last_login", "logins_count", "blocked"] {
            assert_eq!(user.get(absent), None, "{absent}");
        }
        let refused = |answer: Answer, code: &str| {
            let body = answer.clone().expect(400).json();
            assert_eq!(body["code"], code, "{body}");
            assert_eq!(body["statusCode"], 400);
            body
        };
        let taken = body(&spa, json!({"email": ada.email}));
        let said = refused(post(&curfew, path, &taken).await, "invalid_signup");
        assert_eq!((&said["name"], &said["description"]), (&json!("BadRequestError"), &json!("Invalid sign up")));
        let weak = refused(post(&curfew, path, &body(&spa, json!({"email": "w@example.com", "password": "weak"}))).await, "invalid_password");
        assert_eq!((&weak["name"], &weak["message"]), (&json!("PasswordStrengthError"), &json!("Password is too weak")));
        assert_eq!(weak["description"]["verified"], false);
        assert!(weak["description"]["rules"].is_array() && weak["policy"].is_string());
        for (more, code) in [
            (json!({"email": "no-address"}), "invalid_signup"),
            (json!({"email": "nul\0@localhost"}), "invalid_signup"),
            (json!({}), "invalid_signup"),
            (json!({"email": "y@example.com", "password": null}), "invalid_request"),
            (json!({"email": "y@example.com", "connection": "elsewhere"}), "invalid_request"),
            (json!({"email": "y@example.com", "client_id": "nobody"}), "invalid_request"),
            (json!({"email": "y@example.com", "client_id": "a\0b"}), "invalid_request"),
        ] {
            refused(post(&curfew, path, &body(&spa, more)).await, code);
        }
        operator.patch("/tenants/settings", json!({"flags": {"enable_public_signup_user_exists_error": true}})).await.expect(200);
        refused(post(&curfew, path, &taken).await, "user_exists");
        assert_eq!(curfew.logs("ss").await.len(), 1);
        let form = format!("client_id={}&connection={CONNECTION}&email=form%40example.com&password={PASSWORD}", spa.client_id);
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Body::from(form));
        curfew.send(request.unwrap()).await.expect(200);
    }

    fn a_changed_password_is_asked_for_in_words_that_tell_nothing(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let path = "/dbconnections/change_password";
        for email in [&*ada.email, "nobody@example.com"] {
            let answer = post(&curfew, path, &body(&spa, json!({"email": email}))).await.expect(200);
            assert_eq!(answer.text(), "We've just sent you an email to reset your password.");
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        }
        post(&curfew, path, &body(&spa, json!({}))).await.expect(400);
        post(&curfew, path, &body(&spa, json!({"email": ada.email, "connection": "elsewhere"}))).await.expect(400);
        assert_eq!(curfew.logs("scpr").await.len(), 2);
    }
}
