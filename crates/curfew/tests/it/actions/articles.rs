//! The Actions of two of Auth0's articles, the very code, run by real workers.

use std::ops::RangeInclusive;

use super::*;
use crate::support::{MANAGEMENT, claims};

const SINGLE_SESSION: &str = include_str!("../../../../../e2e/fixtures/single-session.js");
const LAST_ACTIVE: &str = include_str!("../../../../../e2e/fixtures/last-active.js");

/// How often two log in at the same instant.
const PAIRS: usize = 10;

/// The one with a package and secrets, for a machine that may list sessions and delete them.
async fn single_session(scene: &Scene) -> Value {
    scene.curfew.assert_packages();
    let machine = json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]});
    let machine = scene.operator.make_client(machine).await;
    let grant = json!({
        "client_id": machine.client_id, "audience": MANAGEMENT, "scope": ["read:sessions", "delete:sessions"],
    });
    scene.operator.post("/client-grants", grant).await.expect(201);
    let mut doc = post_login("single session");
    doc["code"] = json!(SINGLE_SESSION);
    doc["dependencies"] = json!([{"name": "auth0", "version": "7.1.0"}]);
    doc["secrets"] = json!([
        {"name": "domain", "value": "id.example"},
        {"name": "clientId", "value": machine.client_id},
        {"name": "clientSecret", "value": machine.secret},
    ]);
    doc
}

/// How a session is over while its refresh token lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The Action has deleted it at another login.
    Displaced,
    /// It was revoked, and its refresh tokens kept.
    Revoked,
    /// Nobody used it for too long.
    Idle,
}

fn sid(tokens: &Tokens) -> String {
    claims(tokens.id.as_deref().expect("an ID token"))["sid"].as_str().expect("sid").to_owned()
}

/// Two browsers of one person log in at the same instant, again and again: of each pair so many live, and whoever was put
/// out is asked to log in, or has a code that gives nothing.
async fn pairs_at_once(scene: &Scene, living: RangeInclusive<usize>) {
    for pair in 0..PAIRS {
        let browsers = [scene.curfew.browser(), scene.curfew.browser()];
        let logins = browsers.clone().map(|browser| {
            let scene = scene.clone();
            tokio::spawn(async move { scene.try_log_in(&browser, &scene.ada).await })
        });
        let mut served = 0;
        for answer in futures_util::future::join_all(logins).await {
            let answer = answer.expect("no panic");
            match answer.code() {
                Some(code) => {
                    let redeemed = scene.spa.redeem(&code).await;
                    let error = redeemed.error();
                    assert!(
                        redeemed.status == 200 || error.as_deref() == Some("invalid_grant"),
                        "{redeemed:?}"
                    );
                    served += usize::from(redeemed.status == 200);
                }
                None => assert!(answer.leads_to("u/login"), "{:?}", answer.location()),
            }
        }
        let mut found = 0;
        for browser in &browsers {
            found += usize::from(scene.is_in(browser).await);
        }
        assert!(living.contains(&found), "{found} of pair {pair} live");
        assert_eq!((served, scene.sessions().await.len()), (found, found), "pair {pair}");
    }
}

in_a_box! {
    fn the_newest_session_is_the_only_one(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.run(single_session(&scene).await).await;
        let browsers = [curfew.browser(), curfew.browser(), curfew.browser()];
        for (place, browser) in browsers.iter().enumerate() {
            let tokens = scene.sign_in(browser).await;
            assert_eq!(scene.sessions().await, [sid(&tokens)]);
            for older in &browsers[..place] {
                assert!(!scene.is_in(older).await);
            }
            assert!(scene.is_in(browser).await);
        }
    }

    fn of_two_logins_at_once_no_more_than_one_lives(curfew) {
        let scene = Scene::set(&curfew).await;
        scene.run(single_session(&scene).await).await;
        // Each ends the other's, if it finds it there: the one that began first is found by the other for certain.
        pairs_at_once(&scene, 0..=1).await;
        let settings = json!({"sessions": {"max_per_user": 1}});
        scene.operator.patch("/tenants/settings", settings).await.expect(200);
        pairs_at_once(&scene, 0..=1).await;
        // The setting alone, which looks before it ends.
        bind(&scene.operator, "post-login", &[]).await;
        pairs_at_once(&scene, 1..=1).await;
    }

    fn a_refresh_that_outlived_its_session_ends_all_of_them(curfew) {
        let mut scene = Scene::set(&curfew).await;
        scene.run(single_session(&scene).await).await;
        for over in [Over::Displaced, Over::Revoked, Over::Idle] {
            let (old, new) = (curfew.browser(), curfew.browser());
            let tokens = scene.sign_in(&old).await;
            curfew.advance(1);
            let tokens = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
            assert_eq!(scene.sessions().await, [sid(&tokens)], "a refresh with its session spares it");
            assert_eq!(scene.executions().await[0]["results"][0]["logs"], json!([]));
            match over {
                Over::Displaced => {}
                Over::Revoked => {
                    let body = json!({"session_id": sid(&tokens), "preserve_refresh_tokens": true});
                    scene.operator.post(&format!("/users/{}/revoke-access", scene.ada.path()), body).await.expect(202);
                }
                Over::Idle => scene.advance(3 * 86_400).await,
            }
            let newer = scene.sign_in(&new).await;
            assert_eq!(scene.sessions().await, [sid(&newer)]);
            curfew.advance(1);
            let refreshed = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
            assert!(!scene.is_in(&new).await, "{over:?}");
            assert_eq!(scene.sessions().await, Vec::<String>::new());
            let execution = scene.executions().await.remove(0);
            assert_eq!(execution["status"], "final");
            let lines = execution["results"][0]["logs"].as_array().expect("lines");
            assert_eq!((lines.len(), &lines[0]["level"]), (1, &json!("warn")));
            let text = lines[0]["text"].as_str().expect("a text");
            assert!(text.starts_with("event.session is absent"), "{text}");
            let asked = execution["results"][0]["fetches"].as_array().expect("requests");
            let deleted = format!("https://id.example/api/v2/sessions/{}", sid(&newer));
            assert!(asked.iter().any(|fetch| fetch["method"] == "DELETE" && fetch["url"] == deleted.as_str()), "{asked:?}");
            // The token itself hangs on no session any more, and serves on.
            scene.spa.userinfo(&refreshed.access).await.expect(200);
            Tokens::of(&scene.spa.refresh(refreshed.refresh()).await);
        }
    }

    fn activity_is_written_once_a_day(curfew) {
        let mut scene = Scene::set(&curfew).await;
        let mut doc = post_login("last active");
        doc["code"] = json!(LAST_ACTIVE);
        scene.run(doc).await;
        let mut ran = 0;
        for day in 0..3 {
            let browser = curfew.browser();
            let mut tokens = scene.sign_in(&browser).await;
            let first = scene.user().await;
            let written = first["app_metadata"]["last_active"].as_str().expect("an instant");
            // The worker's clock goes on from the server's while the Action runs.
            assert_eq!(written[..13], curfew.now().iso()[..13], "day {day}");
            // Each comes an hour or more after the one before: had it written, it would have written another instant.
            for hours in [1, 10, 12] {
                scene.advance(hours * 3600).await;
                assert!(scene.is_in(&browser).await);
                tokens = Tokens::of(&scene.spa.refresh(tokens.refresh()).await);
                assert_eq!(scene.user().await, first, "day {day}");
            }
            scene.sign_in(&curfew.browser()).await;
            assert_eq!(scene.user().await["app_metadata"], first["app_metadata"], "day {day}");
            let executions = scene.executions().await;
            ran += 8;
            assert_eq!(executions.len(), ran, "none of them went without the Action");
            for execution in executions {
                let result = &execution["results"][0];
                assert_eq!((&execution["status"], &result["fetches"]), (&json!("final"), &json!([])));
            }
            scene.advance(2 * 3600).await;
        }
    }
}
