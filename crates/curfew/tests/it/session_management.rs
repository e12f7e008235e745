//! OIDC Session Management: authorizations carry `session_state`, and the browser's state beside the session cookie changes at
//! login and at logout. What the frame's script makes of it is shown in a browser, end to end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::{Answer, Application, CALLBACK};

/// A callback of the same application at another origin.
const OTHER_CALLBACK: &str = "https://other.example:8443/callback";

/// The browser's state as the answer sets it.
fn state(answer: &Answer) -> Option<String> {
    let line = answer.set_cookie("__Host-curfew-state=")?;
    let value = line.split(';').next()?.strip_prefix("__Host-curfew-state=")?;
    Some(value.to_owned())
}

/// Whether a `session_state` says what the frame computes for the application's origin.
fn is_of(session_state: &str, application: &Application, state: &str) -> bool {
    is_of_origin("https://app.example", session_state, application, state)
}

fn is_of_origin(origin: &str, session_state: &str, application: &Application, state: &str) -> bool {
    let (hash, salt) = session_state.split_once('.').expect("a salt");
    let text = format!("{} {origin} {state} {salt}", application.client_id);
    hash == URL_SAFE_NO_PAD.encode(curfew_tokens::digest::sha256(text.as_bytes()))
}

in_a_box! {
    fn every_authorization_tells_the_browsers_state(curfew) {
        let operator = curfew.operator().await;
        let grants = json!({"app_type": "regular_web", "grant_types": ["authorization_code", "implicit"], "web_origins": ["https://app.example"], "callbacks": [CALLBACK, OTHER_CALLBACK]});
        let (client, ada) = (operator.make_client(grants).await, operator.make_person().await);
        let browser = curfew.browser();
        let to_login = browser.authorize(&client, &[]).await;
        assert_eq!(state(&to_login), None);
        let answer = browser.submit_login(&to_login, &ada.email, &ada.password).await;
        let own = state(&answer).expect("the browser's state");
        let line = answer.set_cookie("__Host-curfew-state=").unwrap();
        assert!(line.contains("; Path=/; Secure; SameSite=None") && !line.contains("HttpOnly"), "{line}");
        assert!(answer.set_cookie("__Host-curfew=").unwrap().contains("HttpOnly"));
        assert!(is_of(&answer.response()["session_state"], &client, &own));
        let modes = [
            ("code", "query"), ("code", "fragment"), ("code", "form_post"), ("token", "fragment"),
            ("code id_token", "form_post"), ("code", "web_message"),
        ];
        let mut salts = std::collections::BTreeSet::new();
        for (response_type, mode) in modes {
            let more = [("response_type", response_type), ("response_mode", mode)];
            let answer = browser.authorize_silently(&client, &more).await;
            assert_eq!(state(&answer), None, "it has not changed");
            let session_state = answer.response()["session_state"].clone();
            assert!(is_of(&session_state, &client, &own), "{response_type} {mode}");
            assert!(salts.insert(session_state), "another salt each time");
        }
        // It is made for the origin to which the answer goes.
        let answer = browser.authorize_silently(&client, &[("redirect_uri", OTHER_CALLBACK)]).await;
        let session_state = answer.parameter("session_state").expect("the state");
        assert!(is_of_origin("https://other.example:8443", &session_state, &client, &own));
        // Errors tell nothing.
        let refused = browser.copy();
        let error = refused.authorize_silently(&client, &[("max_age", "0")]).await;
        assert_eq!((error.error().as_deref(), error.parameter("session_state")), (Some("login_required"), None));
        // A browser that has lost its state, or is from before there was one, gets it again.
        let older = curfew.browser().with_session_of(&browser);
        let answer = older.authorize_silently(&client, &[]).await;
        assert_eq!(state(&answer), Some(own.clone()));
        assert!(is_of(&answer.parameter("session_state").unwrap(), &client, &own));
        // It goes with the session, and the next login has another.
        let out = browser.get(&format!("v2/logout?client_id={}", client.client_id)).await;
        assert!(out.set_cookie("__Host-curfew-state=;").is_some_and(|line| line.contains("Max-Age=0")));
        let to_login = browser.authorize(&client, &[]).await;
        let again = browser.submit_login(&to_login, &ada.email, &ada.password).await;
        let newer = state(&again).expect("the browser's state");
        assert_ne!(newer, own);
        assert!(is_of(&again.parameter("session_state").unwrap(), &client, &newer));
    }

    fn the_frame_may_stand_anywhere_and_nothing_else_may(curfew) {
        let browser = curfew.browser();
        let document = browser.get(".well-known/openid-configuration").await.json();
        assert_eq!(document["check_session_iframe"], "https://id.example/session/check");
        let frame = browser.get("session/check").await.expect(200);
        let policy = frame.header("content-security-policy").unwrap();
        assert!(policy.contains("; frame-ancestors *; "), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("; script-src 'nonce-"), "{policy}");
        assert_eq!(frame.header("x-frame-options"), None);
        assert_eq!(frame.set_cookie(""), None);
        let operator = curfew.operator().await;
        let spa = operator.make_spa().await;
        let to_login = browser.authorize(&spa, &[("redirect_uri", CALLBACK)]).await;
        let login = browser.get(to_login.location().unwrap()).await.expect(200);
        assert!(login.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
        assert_eq!(login.header("x-frame-options"), Some("DENY"));
    }
}
