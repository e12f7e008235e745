//! The life of a session: its cookie, its two ends, what uses do to them, what lowered limits do, and how the Management
//! API shows it.

use std::net::{IpAddr, Ipv4Addr};

use curfew_model::Timestamp;
use serde_json::{Value, json};

use crate::support::{Answer, Application, Browser, Curfew, Operator, Tokens, claims};

const COOKIE: &str = "__Host-curfew=";
const HOUR: i64 = 3600;

async fn set(operator: &Operator, settings: Value) {
    operator.patch("/tenants/settings", settings).await.expect(200);
}

/// The answer of a login that ends at the callback.
async fn log_in(browser: &Browser, application: &Application, person: &crate::support::Person) -> Answer {
    let to_login = browser.authorize(application, &[("prompt", "login")]).await;
    browser.submit_login(&to_login, &person.email, &person.password).await.expect(302)
}

async fn silently(browser: &Browser, application: &Application) -> bool {
    let answer = browser.authorize_silently(application, &[]).await.expect(302);
    assert!(answer.code().is_some() || answer.error().as_deref() == Some("login_required"));
    answer.code().is_some()
}

async fn id_token(application: &Application, answer: &Answer) -> Value {
    let code = answer.code().unwrap_or_else(|| panic!("no code: {:?}", answer.location()));
    claims(&Tokens::of(&application.redeem(&code).await).id.unwrap())
}

async fn sid(application: &Application, answer: &Answer) -> String {
    id_token(application, answer).await["sid"].as_str().expect("sid").to_owned()
}

async fn session(operator: &Operator, sid: &str) -> Value {
    operator.get(&format!("/sessions/{sid}")).await.expect(200).json()
}

fn iso(at: Timestamp, seconds: i64) -> Value {
    json!(at.plus_seconds(seconds).iso())
}

/// The causes that ended sessions, in the order of their names.
async fn causes(curfew: &Curfew) -> Vec<String> {
    let rows = curfew.logs("session_revoked").await;
    let mut causes: Vec<String> =
        rows.iter().map(|row| row["details"]["cause"].as_str().expect("a cause").to_owned()).collect();
    causes.sort();
    causes
}

in_a_box! {
    fn the_cookie_says_how_long_it_may_live(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        for (settings, mode, age, ends, idle) in [
            (json!({}), "persistent", Some(168 * HOUR), 168 * HOUR, 72 * HOUR),
            (json!({"session_lifetime": 30, "idle_session_lifetime": 20}), "persistent", Some(30 * HOUR), 30 * HOUR, 20 * HOUR),
            (json!({"session_lifetime_in_minutes": 30, "idle_session_lifetime_in_minutes": 7}), "persistent", Some(1800), 1800, 420),
            (json!({"session_cookie": {"mode": "non-persistent"}}), "non-persistent", None, 72 * HOUR, 24 * HOUR),
            (json!({"ephemeral_session_lifetime": 9, "idle_ephemeral_session_lifetime": 8}), "non-persistent", None, 9 * HOUR, 8 * HOUR),
            (
                json!({"ephemeral_session_lifetime_in_minutes": 5, "idle_ephemeral_session_lifetime_in_minutes": 1}),
                "non-persistent", None, 300, 60,
            ),
        ] {
            let operator = curfew.operator().await;
            set(&operator, settings.clone()).await;
            let browser = curfew.browser();
            let answer = log_in(&browser, &spa, &ada).await;
            let line = answer.set_cookie(COOKIE).expect("a cookie").to_owned();
            let (value, attributes) = line.split_once("; ").expect("attributes");
            assert!(value.len() > COOKIE.len() + 40, "{line}");
            let expected = match age {
                Some(age) => format!("Path=/; Secure; HttpOnly; SameSite=None; Max-Age={age}"),
                None => "Path=/; Secure; HttpOnly; SameSite=None".to_owned(),
            };
            assert_eq!(attributes, expected, "{settings}");
            let shown = session(&operator, &sid(&spa, &answer).await).await;
            assert_eq!(shown["cookie"], json!({"mode": mode}));
            assert_eq!(shown["expires_at"], iso(curfew.now(), ends), "{settings}");
            assert_eq!(shown["idle_expires_at"], iso(curfew.now(), idle), "{settings}");
            // The session is as bounded as its cookie, whatever the browser does with that.
            curfew.advance(idle - 1);
            assert!(silently(&browser.copy(), &spa).await, "{settings}");
        }
    }

    fn a_session_keeps_the_kind_it_began_with(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let sid = sid(&spa, &log_in(&browser, &spa, &ada).await).await;
        set(&operator, json!({"session_cookie": {"mode": "non-persistent"}})).await;
        curfew.advance(25 * HOUR);
        assert!(silently(&browser, &spa).await, "the limits of another kind of session are none of its own");
        // Until the person logs in again.
        let again = log_in(&browser, &spa, &ada).await;
        assert!(!again.set_cookie(COOKIE).expect("a cookie").contains("Max-Age"));
        let operator = curfew.operator().await;
        assert_eq!(session(&operator, &sid).await["cookie"], json!({"mode": "non-persistent"}));
        curfew.advance(24 * HOUR);
        assert!(!silently(&browser, &spa).await);
    }

    fn a_use_moves_the_idle_end_and_never_the_absolute_one(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        set(&operator, json!({"session_lifetime": 10, "idle_session_lifetime": 4})).await;
        let began = curfew.now();
        let (used, silent) = (curfew.browser(), curfew.browser());
        let sid_of_used = sid(&spa, &log_in(&used, &spa, &ada).await).await;
        let sid_of_silent = sid(&spa, &log_in(&silent, &spa, &ada).await).await;
        for hours in [3, 6, 9] {
            curfew.advance(3 * HOUR);
            let answer = used.authorize(&spa, &[]).await;
            assert_eq!(answer.set_cookie(COOKIE), None, "the browser has its cookie");
            assert_eq!(sid(&spa, &answer).await, sid_of_used);
            assert_eq!(sid(&spa, &silent.authorize_silently(&spa, &[]).await).await, sid_of_silent);
            for sid in [&sid_of_used, &sid_of_silent] {
                let shown = session(&operator, sid).await;
                let idle = (hours + 4).min(10);
                assert_eq!(shown["last_interacted_at"], iso(began, hours * HOUR));
                assert_eq!(shown["idle_expires_at"], iso(began, idle * HOUR));
                assert_eq!(shown["expires_at"], iso(began, 10 * HOUR));
                assert_eq!(shown["authenticated_at"], iso(began, 0));
                assert_eq!(shown["created_at"], iso(began, 0));
            }
        }
        curfew.advance(HOUR - 1);
        assert!(silently(&used, &spa).await && silently(&silent, &spa).await);
        curfew.advance(1);
        assert!(used.authorize(&spa, &[]).await.leads_to("u/login"), "however much it was used");
        assert!(!silently(&silent, &spa).await);
        for sid in [&sid_of_used, &sid_of_silent] {
            operator.get(&format!("/sessions/{sid}")).await.expect(404);
        }
        assert_eq!(causes(&curfew).await, ["lifetime_reached", "lifetime_reached"]);
    }

    fn an_unused_session_ends_at_its_instant(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        set(&operator, json!({"session_lifetime": 10, "idle_session_lifetime": 4})).await;
        let (early, late) = (curfew.browser(), curfew.browser());
        let answer = log_in(&early, &spa, &ada).await;
        log_in(&late, &spa, &ada).await;
        let tokens = Tokens::of(&spa.redeem(&answer.code().unwrap()).await);
        curfew.advance(4 * HOUR - 1);
        assert!(silently(&early, &spa).await);
        spa.userinfo(&tokens.access).await.expect(200);
        curfew.advance(1);
        // Nothing has noticed it yet.
        let waiting = late.copy().authorize(&spa, &[]).await;
        assert!(waiting.leads_to("u/login"));
        assert!(!silently(&late, &spa).await);
        assert!(silently(&early, &spa).await);
        assert_eq!(causes(&curfew).await, ["idle_timeout"]);
        // A use that was too late brought nothing back, and a login begins another session.
        let before = claims(tokens.id.as_deref().unwrap())["sid"].clone();
        curfew.advance(4 * HOUR);
        let code = early.log_in(&spa, &ada, &[]).await;
        let after = claims(&Tokens::of(&spa.redeem(&code).await).id.unwrap())["sid"].clone();
        assert_ne!(before, after);
        spa.userinfo(&tokens.access).await.expect(401);
    }

    fn a_code_does_not_outlive_the_session(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        set(&operator, json!({"session_lifetime_in_minutes": 60, "idle_session_lifetime_in_minutes": 60})).await;
        let browser = curfew.browser();
        log_in(&browser, &spa, &ada).await;
        curfew.advance(HOUR - 60);
        let in_time = browser.authorize(&spa, &[]).await.code().unwrap();
        let too_late = browser.authorize(&spa, &[]).await.code().unwrap();
        curfew.advance(59);
        spa.redeem(&in_time).await.expect(200);
        curfew.advance(1);
        spa.redeem(&too_late).await.expect(403);
    }

    fn lowered_limits_hold_from_the_next_use_on(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        set(&operator, json!({"session_lifetime": 100, "idle_session_lifetime": 50})).await;
        let began = curfew.now();
        let (absolute, idle, kept) = (curfew.browser(), curfew.browser(), curfew.browser());
        log_in(&absolute, &spa, &ada).await;
        log_in(&idle, &spa, &ada).await;
        curfew.advance(10 * HOUR);
        log_in(&kept, &spa, &ada).await;
        assert!(silently(&absolute, &spa).await);
        let operator = curfew.operator().await;
        // Idle for ten hours: at its next use it has been idle for too long already.
        set(&operator, json!({"idle_session_lifetime": 5})).await;
        assert!(!silently(&idle, &spa).await);
        assert_eq!(causes(&curfew).await, ["idle_timeout"]);
        let shown = session(&operator, &sid(&spa, &absolute.authorize(&spa, &[]).await).await).await;
        assert_eq!(shown["idle_expires_at"], iso(began, 15 * HOUR));
        assert_eq!(shown["expires_at"], iso(began, 100 * HOUR));
        // Ten hours after its authentication: the same for the absolute limit, however much it was used.
        set(&operator, json!({"session_lifetime": 10})).await;
        assert!(absolute.authorize(&spa, &[]).await.leads_to("u/login"));
        assert_eq!(causes(&curfew).await, ["idle_timeout", "lifetime_reached"]);
        let use_of_kept = kept.authorize_silently(&spa, &[]).await;
        let kept_sid = sid(&spa, &use_of_kept).await;
        assert_eq!(session(&operator, &kept_sid).await["expires_at"], iso(began, 20 * HOUR));
        // What was taken is not given back: raised limits are for new sessions, and for the idle time of later uses.
        set(&operator, json!({"session_lifetime": 200, "idle_session_lifetime": 20})).await;
        curfew.advance(2 * HOUR);
        assert!(silently(&kept, &spa).await);
        let shown = session(&operator, &kept_sid).await;
        assert_eq!(shown["expires_at"], iso(began, 20 * HOUR));
        assert_eq!(shown["idle_expires_at"], iso(began, 20 * HOUR));
        curfew.advance(8 * HOUR - 1);
        assert!(silently(&kept, &spa).await);
        curfew.advance(1);
        assert!(!silently(&kept, &spa).await);
        // A login begins anew, under what holds then.
        assert!(!silently(&absolute, &spa).await && !silently(&idle, &spa).await);
        let operator = curfew.operator().await;
        let anew = session(&operator, &sid(&spa, &log_in(&absolute, &spa, &ada).await).await).await;
        assert_eq!(anew["expires_at"], iso(curfew.now(), 200 * HOUR));
    }

    fn a_code_is_no_way_around_a_lowered_limit(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let sid = sid(&spa, &log_in(&browser, &spa, &ada).await).await;
        curfew.advance(2 * HOUR);
        let code = browser.authorize(&spa, &[]).await.code().unwrap();
        let waiting = browser.authorize(&spa, &[("prompt", "consent")]).await;
        set(&operator, json!({"session_lifetime": 2, "idle_session_lifetime": 2})).await;
        spa.redeem(&code).await.expect(403);
        browser.get(waiting.location().unwrap()).await.expect(400);
        operator.get(&format!("/sessions/{sid}")).await.expect(404);
        let listed = operator.get(&format!("/users/{}/sessions", ada.path())).await.expect(200).json();
        assert_eq!(listed["sessions"], json!([]));
    }

    fn a_login_restarts_the_absolute_end_of_the_same_session(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        set(&operator, json!({"session_lifetime": 10, "idle_session_lifetime": 10})).await;
        let began = curfew.now();
        let browser = curfew.browser();
        let first = log_in(&browser, &spa, &ada).await;
        let value = first.set_cookie(COOKIE).unwrap().to_owned();
        let sid_of_first = sid(&spa, &first).await;
        curfew.advance(9 * HOUR);
        let again = log_in(&browser, &spa, &ada).await;
        assert_eq!(again.set_cookie(COOKIE), Some(&*value), "the same cookie, for as long again");
        let id_token = id_token(&spa, &again).await;
        assert_eq!(id_token["sid"], json!(sid_of_first));
        assert_eq!(id_token["auth_time"], json!(curfew.now().seconds()));
        let shown = session(&operator, &sid_of_first).await;
        assert_eq!(shown["created_at"], iso(began, 0));
        assert_eq!(shown["authenticated_at"], iso(began, 9 * HOUR));
        assert_eq!(shown["expires_at"], iso(began, 19 * HOUR));
        assert_eq!(
            shown["authentication"],
            json!({"methods": [{"name": "pwd", "timestamp": iso(began, 9 * HOUR)}]})
        );
        curfew.advance(9 * HOUR);
        assert!(silently(&browser, &spa).await);
    }

    fn the_api_shows_where_a_session_was_used_and_by_whom(curfew) {
        let operator = curfew.operator().await;
        let (spa, web, ada) = (operator.make_spa().await, operator.make_spa().await, operator.make_person().await);
        let address = |last: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let began = curfew.now();
        let browser = curfew.browser().moved(address(1), "Browser/1");
        let first = log_in(&browser, &spa, &ada).await;
        let id = sid(&spa, &first).await;
        let expected = json!({
            "id": id,
            "user_id": ada.user_id,
            "created_at": iso(began, 0),
            "updated_at": iso(began, 0),
            "authenticated_at": iso(began, 0),
            "last_interacted_at": iso(began, 0),
            "idle_expires_at": iso(began, 72 * HOUR),
            "expires_at": iso(began, 168 * HOUR),
            "device": {
                "initial_ip": "192.0.2.1", "initial_user_agent": "Browser/1",
                "last_ip": "192.0.2.1", "last_user_agent": "Browser/1",
            },
            "clients": [{"client_id": spa.client_id}],
            "authentication": {"methods": [{"name": "pwd", "timestamp": iso(began, 0)}]},
            "cookie": {"mode": "persistent"},
        });
        assert_eq!(session(&operator, &id).await, expected);
        curfew.advance(HOUR);
        // Another application, from elsewhere: who only asked has no part in it, who was handed something has.
        let moved = browser.moved(address(2), "Browser/2");
        let code = moved.authorize_silently(&web, &[]).await.code().unwrap();
        assert_eq!(session(&operator, &id).await["clients"], json!([{"client_id": spa.client_id}]));
        web.redeem(&code).await.expect(200);
        let shown = session(&operator, &id).await;
        assert_eq!(shown["clients"], json!([{"client_id": spa.client_id}, {"client_id": web.client_id}]));
        assert_eq!(shown["device"], json!({
            "initial_ip": "192.0.2.1", "initial_user_agent": "Browser/1",
            "last_ip": "192.0.2.2", "last_user_agent": "Browser/2",
        }));
        assert_eq!(shown["updated_at"], iso(began, HOUR));
        assert_eq!(shown["authenticated_at"], iso(began, 0));
        let listed = operator.get(&format!("/users/{}/sessions", ada.path())).await.expect(200).json();
        assert_eq!(listed, json!({"sessions": [shown]}));
    }

    fn max_age_counts_from_the_login_and_not_from_a_use(curfew) {
        let operator = curfew.operator().await;
        let (spa, ada) = (operator.make_spa().await, operator.make_person().await);
        let browser = curfew.browser();
        let began = curfew.now().seconds();
        let more = [("max_age", "3600"), ("scope", "openid offline_access")];
        let code = browser.log_in(&spa, &ada, &more).await;
        let tokens = Tokens::of(&spa.redeem(&code).await);
        assert_eq!(claims(tokens.id.as_deref().unwrap())["auth_time"], json!(began));
        curfew.advance(3600);
        let silent = browser.authorize_silently(&spa, &[("max_age", "3600")]).await;
        let id_token = id_token(&spa, &silent).await;
        assert_eq!(id_token["auth_time"], json!(began));
        curfew.advance(1);
        let answer = browser.authorize_silently(&spa, &[("max_age", "3600")]).await;
        assert_eq!(answer.error().as_deref(), Some("login_required"));
        assert!(browser.authorize(&spa, &[("max_age", "3600")]).await.leads_to("u/login"));
        assert!(silently(&browser, &spa).await, "for who asked for no age the session is good enough");
    }
}
