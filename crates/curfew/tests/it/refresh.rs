//! Refresh tokens (RFC 6749 §6, RFC 9700 §4.14.2) and their revocation (RFC 7009).

use serde_json::{Value, json};

use crate::support::{Answer, Application, Browser, Curfew, Operator, Person, Tokens, claims};

const OFFLINE: (&str, &str) = ("scope", "openid profile offline_access");
const UNKNOWN: &str = "Unknown or invalid refresh token.";

async fn spa_with(operator: &Operator, refresh_token: Value) -> Application {
    operator.make_client(json!({"app_type": "spa", "refresh_token": refresh_token})).await
}

fn rotating(leeway: i64) -> Value {
    json!({"rotation_type": "rotating", "expiration_type": "expiring", "leeway": leeway})
}

async fn tokens(curfew: &Curfew, application: &Application, person: &Person) -> (Browser, Tokens) {
    let browser = curfew.browser();
    let code = browser.log_in(application, person, &[OFFLINE]).await;
    let tokens = Tokens::of(&application.redeem(&code).await);
    (browser, tokens)
}

#[track_caller]
fn refused(answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!(answer.error().as_deref(), Some("invalid_grant"));
    assert_eq!(answer.error_description().as_deref(), Some(UNKNOWN));
}

async fn change(operator: &Operator, application: &Application, refresh_token: Value) {
    let path = format!("/clients/{}", application.client_id);
    operator.patch(&path, json!({"refresh_token": refresh_token})).await.expect(200);
}

in_a_box! {
    // oidcc-refresh-token
    fn a_refresh_gives_the_same_session_and_scope_again(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (_, first) = tokens(&curfew, &spa, &ada).await;
        curfew.advance(10);
        let second = Tokens::of(&spa.refresh(first.refresh()).await);
        assert_ne!(second.refresh, first.refresh);
        assert_eq!(second.scope, first.scope);
        let (before, after) = (claims(first.id.as_deref().unwrap()), claims(second.id.as_deref().unwrap()));
        for same in ["iss", "sub", "aud", "sid"] {
            assert_eq!(before[same], after[same], "{same}");
        }
        assert_eq!(after.get("nonce"), None);
        assert_eq!(after["iat"].as_i64(), before["iat"].as_i64().map(|iat| iat + 10));
        spa.userinfo(&second.access).await.expect(200);
        // Down-scoping holds for one answer; what was not granted is not to be had.
        let narrow = [("grant_type", "refresh_token"), ("refresh_token", second.refresh()), ("scope", "profile email")];
        let third = Tokens::of(&spa.token(&narrow).await);
        assert_eq!((&*third.scope, third.id.as_ref()), ("profile", None));
        let fourth = Tokens::of(&spa.refresh(third.refresh()).await);
        assert_eq!(fourth.scope, first.scope);
        assert_eq!(curfew.logs("sertft").await.len(), 3);
    }

    fn a_replay_ends_the_family_and_is_logged_once(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, first) = tokens(&curfew, &spa, &ada).await;
        let second = Tokens::of(&spa.refresh(first.refresh()).await);
        refused(&spa.refresh(first.refresh()).await);
        refused(&spa.refresh(second.refresh()).await);
        refused(&spa.refresh(first.refresh()).await);
        spa.userinfo(&second.access).await.expect(401);
        assert!(browser.authorize_silently(&spa, &[]).await.code().is_some(), "the session stays");
        let replays = curfew.logs("ferrt").await;
        assert!(!replays.is_empty());
        let told: Vec<&Value> = replays.iter().filter(|row| row["details"]["tokenCounter"] == 0).collect();
        assert_eq!(told.len(), 1, "{replays:?}");
        assert_eq!(told[0]["details"]["latestCounter"], 1);
        assert!(told[0]["details"]["familyId"].is_string());
    }

    fn within_the_leeway_the_same_successor_is_handed_out(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (spa_with(&operator, rotating(10)).await, operator.make_person().await);
        let (_, first) = tokens(&curfew, &spa, &ada).await;
        let second = Tokens::of(&spa.refresh(first.refresh()).await);
        curfew.advance(9);
        let again = Tokens::of(&spa.refresh(first.refresh()).await);
        // Sealed anew, but the same generation: whichever is used, the other is its retry.
        let third = Tokens::of(&spa.refresh(again.refresh()).await);
        Tokens::of(&spa.refresh(second.refresh()).await);
        // The one before the previous is a replay, leeway or not.
        refused(&spa.refresh(first.refresh()).await);
        refused(&spa.refresh(third.refresh()).await);
        let (_, first) = tokens(&curfew, &spa, &ada).await;
        Tokens::of(&spa.refresh(first.refresh()).await);
        curfew.advance(10);
        refused(&spa.refresh(first.refresh()).await);
    }

    fn a_token_that_does_not_rotate_stays_the_same(curfew) {
        let operator = curfew.operator().await;
        let still = json!({"rotation_type": "non-rotating", "expiration_type": "non-expiring"});
        let (spa, ada) = (spa_with(&operator, still).await, operator.make_person().await);
        let (_, first) = tokens(&curfew, &spa, &ada).await;
        for _ in 0..3 {
            curfew.advance(40_000_000);
            assert_eq!(Tokens::of(&spa.refresh(first.refresh()).await).refresh, None);
        }
    }

    fn switching_rotation_on_and_off(curfew) {
        let operator = curfew.operator().await;
        let still = json!({"rotation_type": "non-rotating", "expiration_type": "non-expiring"});
        let (spa, ada) = (spa_with(&operator, still.clone()).await, operator.make_person().await);
        let (_, one) = tokens(&curfew, &spa, &ada).await;
        let (_, other) = tokens(&curfew, &spa, &ada).await;
        change(&operator, &spa, rotating(0)).await;
        let rotated = Tokens::of(&spa.refresh(one.refresh()).await);
        assert!(rotated.refresh.is_some());
        refused(&spa.refresh(other.refresh()).await);
        change(&operator, &spa, still).await;
        refused(&spa.refresh(rotated.refresh()).await);
        change(&operator, &spa, rotating(0)).await;
        refused(&spa.refresh(rotated.refresh()).await);
    }

    fn life_times_end_a_family(curfew) {
        let operator = curfew.operator().await;
        let limits = json!({"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
            "token_lifetime": 1000, "infinite_token_lifetime": false,
            "idle_token_lifetime": 300, "infinite_idle_token_lifetime": false});
        let (spa, ada) = (spa_with(&operator, limits).await, operator.make_person().await);
        let (_, idle) = tokens(&curfew, &spa, &ada).await;
        let (_, mut used) = tokens(&curfew, &spa, &ada).await;
        for _ in 0..4 {
            curfew.advance(240);
            used = Tokens::of(&spa.refresh(used.refresh()).await);
        }
        refused(&spa.refresh(idle.refresh()).await);
        curfew.advance(39);
        used = Tokens::of(&spa.refresh(used.refresh()).await);
        curfew.advance(1);
        refused(&spa.refresh(used.refresh()).await);
        // A limit that comes later holds from the next exchange on, and is not taken back.
        let operator = curfew.operator().await;
        let endless = json!({"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
            "infinite_token_lifetime": true, "infinite_idle_token_lifetime": true});
        change(&operator, &spa, endless.clone()).await;
        let (_, old) = tokens(&curfew, &spa, &ada).await;
        curfew.advance(100_000);
        let operator = curfew.operator().await;
        let limited = json!({"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
            "token_lifetime": 500, "infinite_token_lifetime": false, "infinite_idle_token_lifetime": true});
        change(&operator, &spa, limited).await;
        let old = Tokens::of(&spa.refresh(old.refresh()).await);
        change(&operator, &spa, endless).await;
        curfew.advance(499);
        let old = Tokens::of(&spa.refresh(old.refresh()).await);
        curfew.advance(1);
        refused(&spa.refresh(old.refresh()).await);
    }

    fn the_oldest_goes_beyond_two_hundred(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let (browser, first) = tokens(&curfew, &spa, &ada).await;
        let mut second = None;
        for number in 1..=200 {
            curfew.advance(1);
            let code = browser.authorize(&spa, &[OFFLINE]).await.code().unwrap();
            let tokens = Tokens::of(&spa.redeem(&code).await);
            if number == 1 {
                second = tokens.refresh;
            }
        }
        refused(&spa.refresh(first.refresh()).await);
        Tokens::of(&spa.refresh(&second.unwrap()).await);
        assert_eq!(curfew.logs("resource_cleanup").await.len(), 1);
    }

    fn only_its_own_client_may_present_it(curfew) {
        let operator = curfew.operator().await;
        let (spa, other, ada) = (operator.make_spa().await, operator.make_spa().await, operator.make_person().await);
        let (_, held) = tokens(&curfew, &spa, &ada).await;
        refused(&other.refresh(held.refresh()).await);
        let answer = other.revoke(held.refresh()).await.expect(400);
        assert_eq!(answer.error().as_deref(), Some("invalid_request"));
        let held = Tokens::of(&spa.refresh(held.refresh()).await);
        operator.delete(&format!("/users/{}", ada.path())).await.expect(204);
        let answer = spa.refresh(held.refresh()).await.expect(403);
        let text = "The refresh_token was generated for a user who doesn't exist anymore.";
        assert_eq!(answer.error_description().as_deref(), Some(text));
    }

    fn revocation_ends_a_family_or_the_whole_grant(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let web = operator.make_client(json!({"app_type": "regular_web"})).await;
        let (browser, one) = tokens(&curfew, &spa, &ada).await;
        let (_, two) = tokens(&curfew, &spa, &ada).await;
        let answer = spa.revoke(one.refresh()).await.expect(200);
        assert!(answer.body.is_empty());
        refused(&spa.refresh(one.refresh()).await);
        assert!(browser.authorize_silently(&spa, &[]).await.code().is_some());
        let two = Tokens::of(&spa.refresh(two.refresh()).await);
        spa.revoke(one.refresh()).await.expect(200);
        spa.revoke("unknown").await.expect(200);
        spa.revoke(&two.access).await.expect(200);
        spa.userinfo(&two.access).await.expect(200);
        let answer = spa.post("/oauth/revoke", &[]).await.expect(400);
        assert_eq!(answer.error_description().as_deref(), Some("Missing required parameter: token"));
        let wrong = curfew.application_of(&web.client_id, Some("wrong")).revoke(two.refresh()).await.expect(401);
        assert_eq!(wrong.error().as_deref(), Some("access_denied"));
        operator.patch("/tenants/settings", json!({"flags": {"revoke_refresh_token_grant": true}})).await.expect(200);
        let (_, three) = tokens(&curfew, &spa, &ada).await;
        spa.revoke(three.refresh()).await.expect(200);
        refused(&spa.refresh(two.refresh()).await);
        refused(&spa.refresh(three.refresh()).await);
        assert_eq!(curfew.logs("srrt").await.len(), 2);
    }
}
