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

    fn the_leeway_is_the_clients_of_now(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (spa_with(&operator, rotating(10)).await, operator.make_person().await);
        let (_, first) = tokens(&curfew, &spa, &ada).await;
        let second = Tokens::of(&spa.refresh(first.refresh()).await);
        curfew.advance(20);
        change(&operator, &spa, rotating(30)).await;
        // A retry is answered for its own scope, and the newest generation stays the newest.
        let narrow = [("grant_type", "refresh_token"), ("refresh_token", first.refresh()), ("scope", "openid")];
        let again = Tokens::of(&spa.token(&narrow).await);
        assert_eq!(again.scope, "openid");
        let exchanges = curfew.logs("sertft").await;
        let counters: Vec<&Value> = exchanges.iter().map(|row| &row["details"]["tokenCounter"]).collect();
        assert_eq!(counters, [&json!(1), &json!(1)]);
        let third = Tokens::of(&spa.refresh(again.refresh()).await);
        change(&operator, &spa, rotating(0)).await;
        refused(&spa.refresh(second.refresh()).await);
        refused(&spa.refresh(third.refresh()).await);
        assert_eq!(curfew.logs("ferrt").await.len(), 1);
    }

    fn a_replay_after_the_leeway_ends_what_the_thief_or_the_owner_holds(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (spa_with(&operator, rotating(10)).await, operator.make_person().await);
        for late in [10, 11, 86_000] {
            let (_, first) = tokens(&curfew, &spa, &ada).await;
            let second = Tokens::of(&spa.refresh(first.refresh()).await);
            let (_, other) = tokens(&curfew, &spa, &ada).await;
            curfew.advance(late);
            refused(&spa.refresh(first.refresh()).await);
            refused(&spa.refresh(second.refresh()).await);
            spa.userinfo(&second.access).await.expect(401);
            Tokens::of(&spa.refresh(other.refresh()).await);
        }
        // Inside the leeway of the newest generation the one before the previous is a replay.
        let (_, first) = tokens(&curfew, &spa, &ada).await;
        let second = Tokens::of(&spa.refresh(first.refresh()).await);
        let third = Tokens::of(&spa.refresh(second.refresh()).await);
        refused(&spa.refresh(first.refresh()).await);
        refused(&spa.refresh(second.refresh()).await);
        refused(&spa.refresh(third.refresh()).await);
        let told = curfew.logs("ferrt").await;
        let mut counters: Vec<_> = told.iter().map(|row| (row["details"]["tokenCounter"].as_i64(), row["details"]["latestCounter"].as_i64())).collect();
        counters.sort_unstable();
        assert_eq!(counters, [(Some(0), Some(1)), (Some(0), Some(1)), (Some(0), Some(1)), (Some(0), Some(2))]);
    }

    fn lowered_life_times_leave_the_absolute_end_and_move_the_idle_one(curfew) {
        let operator = curfew.operator().await;
        let limits = |absolute: i64, idle: i64| json!({"rotation_type": "rotating", "expiration_type": "expiring", "leeway": 0,
            "token_lifetime": absolute, "infinite_token_lifetime": false,
            "idle_token_lifetime": idle, "infinite_idle_token_lifetime": false});
        let (spa, ada) = (spa_with(&operator, limits(1000, 500)).await, operator.make_person().await);
        let began = curfew.now();
        let (_, held) = tokens(&curfew, &spa, &ada).await;
        let shown = || async {
            let list = operator.get(&format!("/users/{}/refresh-tokens", ada.path())).await.expect(200).json();
            assert_eq!(list["tokens"].as_array().map(Vec::len), Some(1), "{list}");
            list["tokens"][0].clone()
        };
        let at = |seconds: i64| json!(began.plus_seconds(seconds).iso());
        let before = shown().await;
        assert_eq!((&before["expires_at"], &before["idle_expires_at"]), (&at(1000), &at(500)));
        assert_eq!((&before["created_at"], &before["last_exchanged_at"]), (&at(0), &Value::Null));
        change(&operator, &spa, limits(100, 50)).await;
        curfew.advance(499);
        let held = Tokens::of(&spa.refresh(held.refresh()).await);
        let after = shown().await;
        assert_eq!((&after["expires_at"], &after["idle_expires_at"]), (&at(1000), &at(549)));
        assert_eq!((&after["created_at"], &after["last_exchanged_at"]), (&at(0), &at(499)));
        assert_eq!((&after["id"], &after["session_id"]), (&before["id"], &before["session_id"]));
        // Raised: the idle end goes with the next exchange, and stops at the absolute one.
        change(&operator, &spa, limits(100_000, 50_000)).await;
        curfew.advance(49);
        let held = Tokens::of(&spa.refresh(held.refresh()).await);
        assert_eq!(shown().await["idle_expires_at"], at(1000));
        curfew.advance(451);
        let held = Tokens::of(&spa.refresh(held.refresh()).await);
        curfew.advance(1);
        refused(&spa.refresh(held.refresh()).await);
        let ended = curfew.logs("session_revoked").await;
        assert_eq!(ended[0]["details"]["cause"], "refresh_token_expired");
    }

    fn the_limit_is_for_one_person_and_one_client_and_counts_what_lives(curfew) {
        let operator = curfew.operator().await;
        let (spa, other) = (operator.make_spa().await, operator.make_spa().await);
        let (ada, bob) = (operator.make_person().await, operator.make_person().await);
        let (browser, first) = tokens(&curfew, &spa, &ada).await;
        let (_, of_bob) = tokens(&curfew, &spa, &bob).await;
        let (_, of_other) = tokens(&curfew, &other, &ada).await;
        let begin = || async {
            curfew.advance(1);
            let code = browser.authorize(&spa, &[OFFLINE]).await.code().unwrap();
            Tokens::of(&spa.redeem(&code).await)
        };
        let mut last = begin().await;
        for _ in 2..200 {
            last = begin().await;
        }
        // One is given up: there is room for another.
        spa.revoke(last.refresh()).await.expect(200);
        begin().await;
        let first = Tokens::of(&spa.refresh(first.refresh()).await);
        assert_eq!(curfew.logs("resource_cleanup").await.len(), 0);
        begin().await;
        refused(&spa.refresh(first.refresh()).await);
        assert_eq!(curfew.logs("resource_cleanup").await.len(), 1);
        Tokens::of(&spa.refresh(of_bob.refresh()).await);
        Tokens::of(&other.refresh(of_other.refresh()).await);
    }

    fn revoking_a_grant_takes_one_client_at_one_api(curfew) {
        let operator = curfew.operator().await;
        let (spa, other, ada) = (operator.make_spa().await, operator.make_spa().await, operator.make_person().await);
        let api = operator.make_api().await;
        operator.patch("/tenants/settings", json!({"flags": {"revoke_refresh_token_grant": true}})).await.expect(200);
        let (browser, one) = tokens(&curfew, &spa, &ada).await;
        let (_, two) = tokens(&curfew, &spa, &ada).await;
        let (_, elsewhere) = tokens(&curfew, &other, &ada).await;
        let code = browser.authorize(&spa, &[OFFLINE, ("audience", &api)]).await.code().unwrap();
        let at_api = Tokens::of(&spa.redeem(&code).await);
        spa.revoke(one.refresh()).await.expect(200);
        for gone in [&one, &two] {
            refused(&spa.refresh(gone.refresh()).await);
            spa.userinfo(&gone.access).await.expect(401);
        }
        Tokens::of(&other.refresh(elsewhere.refresh()).await);
        Tokens::of(&spa.refresh(at_api.refresh()).await);
        // The session stays, and what it gives from now on lives.
        let code = browser.authorize_silently(&spa, &[OFFLINE]).await.code().unwrap();
        let anew = Tokens::of(&spa.redeem(&code).await);
        spa.userinfo(&anew.access).await.expect(200);
        Tokens::of(&spa.refresh(anew.refresh()).await);
    }

    // oidcc-scope-phone
    fn the_scope_phone_is_for_the_phone_number(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let phone = json!({"phone_number": "+15550100", "phone_verified": true});
        operator.change_user(&ada, phone).await.expect(200);
        let browser = curfew.browser();
        let code = browser.log_in(&spa, &ada, &[("scope", "openid phone offline_access")]).await;
        let first = Tokens::of(&spa.redeem(&code).await);
        assert_eq!(first.scope, "openid phone offline_access");
        let second = Tokens::of(&spa.refresh(first.refresh()).await);
        for tokens in [&first, &second] {
            let id_token = claims(tokens.id.as_deref().unwrap());
            let userinfo = spa.userinfo(&tokens.access).await.expect(200).json();
            for told in [&id_token, &userinfo] {
                assert_eq!(told["phone_number"], "+15550100", "{told}");
                assert_eq!(told["phone_number_verified"], true);
                assert_eq!((told.get("email"), told.get("name"), told.get("phone_verified")), (None, None, None));
            }
        }
        let code = browser.authorize(&spa, &[("scope", "openid profile email")]).await.code().unwrap();
        let without = Tokens::of(&spa.redeem(&code).await);
        for told in [claims(without.id.as_deref().unwrap()), spa.userinfo(&without.access).await.expect(200).json()] {
            assert_eq!((told.get("phone_number"), told.get("phone_number_verified")), (None, None), "{told}");
        }
    }

    // oidcc-refresh-token: OIDC Core §12.2
    fn who_asked_when_the_person_logged_in_is_told_with_every_id_token(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let began = curfew.now().seconds();
        let browser = curfew.browser();
        for (asked, told) in [(("max_age", "3600"), true), (("prompt", "login"), true), (("prompt", "none"), false)] {
            let answer = browser.authorize(&spa, &[OFFLINE, asked]).await;
            let answer = match answer.code() {
                Some(_) => answer,
                None => browser.submit_login(&answer, &ada.email, &ada.password).await,
            };
            let first = Tokens::of(&spa.redeem(&answer.code().unwrap()).await);
            curfew.advance(5000);
            let second = Tokens::of(&spa.refresh(first.refresh()).await);
            let third = Tokens::of(&spa.refresh(second.refresh()).await);
            for tokens in [&first, &second, &third] {
                let id_token = claims(tokens.id.as_deref().unwrap());
                let auth_time = id_token.get("auth_time").and_then(Value::as_i64);
                let logged_in = if asked.0 == "max_age" { began } else { began + 5000 };
                assert_eq!(auth_time, told.then_some(logged_in), "{asked:?}");
            }
        }
    }
}
