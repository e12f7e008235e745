//! OIDC Back-Channel Logout: applications hear of what ended, at least once, whatever happens in between; and each hears
//! it for itself.

use std::time::Duration;

use curfew_core::TenantConfig;
use curfew_model::{ClientId, EndingId, SessionKey, Sid, SystemEntropy, TenantId};
use curfew_store::deliveries::{Delivery, DeliveryState};
use curfew_store::sessions::NewSession;
use curfew_store::{Lane, deliveries, endings, fanouts, sessions};
use curfew_testkit::{Behaviour, Receiver};
use serde_json::{Value, json};

use crate::support::{Application, Browser, Curfew, ISSUER, Operator, Person, Tokens, claims};

const TENANT: TenantId = TenantId(1);
const HOUR: i64 = 3600;
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A document's part: where logout tokens go, and of which endings.
fn told_at(receiver: &Receiver, initiators: Value) -> Value {
    json!({
        "backchannel_logout_urls": [receiver.url()],
        "backchannel_logout_initiators": initiators,
    })
}

fn all() -> Value {
    json!({ "mode": "all" })
}

/// An application that wants to hear of every ending.
async fn application(operator: &Operator, receiver: &Receiver) -> Application {
    application_with(operator, told_at(receiver, all())).await
}

async fn application_with(operator: &Operator, logout: Value) -> Application {
    operator.make_client(json!({ "app_type": "spa", "oidc_logout": logout })).await
}

/// Somebody signs in at an application, in a browser of their own. Answers the browser and the session.
async fn sign_in(curfew: &Curfew, application: &Application, person: &Person) -> (Browser, String) {
    let browser = curfew.browser();
    let code = browser.log_in(application, person, &[]).await;
    let tokens = Tokens::of(&application.redeem(&code).await);
    (browser, claims(&tokens.id.expect("an ID token"))["sid"].as_str().expect("sid").to_owned())
}

/// Takes part in the session of a browser.
async fn join(browser: &Browser, application: &Application) {
    let code = browser.authorize_silently(application, &[]).await.code().expect("a code");
    Tokens::of(&application.redeem(&code).await);
}

/// The logout token of a form; its signature is checked.
pub(crate) async fn token(curfew: &Curfew, body: &str) -> Value {
    let token = body.strip_prefix("logout_token=").expect("the one field of the form");
    let parsed = curfew_tokens::parse_compact(token).expect("a JWS");
    assert_eq!(parsed.header.typ.as_deref(), Some("JWT"));
    let config: std::sync::Arc<TenantConfig> = curfew.core.tenant(TENANT).await.unwrap();
    let key = config.verifying_key(parsed.header.kid.as_deref().expect("kid")).expect("a key of the tenant");
    assert!(parsed.verify(key), "the signature");
    let claims = claims(token);
    assert_eq!(claims.get("nonce"), None);
    assert_eq!(claims["events"], json!({ EVENT: {} }));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 120));
    claims
}

/// The tokens that have come to a receiver.
async fn tokens(curfew: &Curfew, receiver: &Receiver) -> Vec<Value> {
    let mut tokens = Vec::new();
    for body in receiver.bodies() {
        tokens.push(token(curfew, &body).await);
    }
    tokens
}

async fn in_state(curfew: &Curfew, state: DeliveryState) -> Vec<Delivery> {
    let found = curfew
        .store()
        .read(state, |tx, state| Box::pin(deliveries::in_state(tx, TENANT, *state, None, 1000)));
    found.await.expect("the deliveries")
}

async fn newest_ending(curfew: &Curfew) -> EndingId {
    let found = curfew.store().read((), |tx, ()| Box::pin(endings::newest(tx, TENANT, 1)));
    found.await.expect("the endings").first().expect("an ending").id
}

/// Makes more sessions like one, in which an application takes part as well.
pub(crate) async fn multiply(curfew: &Curfew, like: Sid, application: &Application, count: usize) {
    let args = (like, ClientId::from(application.client_id.as_str()), count, curfew.now());
    let made = curfew.store().transact(Lane::Ordinary, args, |tx, (like, client, count, now)| {
        Box::pin(async move {
            let row = sessions::find(tx, TENANT, like, None).await?.expect("the session");
            for _ in 0..*count {
                let sid = Sid { user: like.user, session: SessionKey::generate(&SystemEntropy) };
                let new = NewSession {
                    sid,
                    counter: row.counter,
                    provider: row.provider.clone(),
                    identity_id: row.identity_id.clone(),
                    connection_id: row.connection_id.clone(),
                    secret_hash: vec![0; 32],
                    sealing_key: row.sealing_key,
                    issuer: row.issuer.clone(),
                    now: *now,
                    idle_expires_at: row.idle_expires_at,
                    expires_at: row.expires_at,
                    persistent: row.persistent,
                    device: row.device.clone(),
                    methods: row.methods.clone(),
                };
                sessions::insert(tx, TENANT, &new).await?;
                sessions::join_client(tx, TENANT, &sid, client, *now).await?;
            }
            Ok(())
        })
    });
    made.await.expect("the sessions");
}

/// Lets time pass in steps, each with a look at what is due.
async fn pass(curfew: &Curfew, seconds: i64, step: i64) {
    for _ in 0..seconds / step {
        curfew.advance(step);
        curfew.deliver().await;
    }
}

in_a_box! {
    fn a_logout_is_told_to_those_who_took_part(curfew) {
        let operator = curfew.operator().await;
        let ada = operator.make_person().await;
        let (one, two, three) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        // Without a word about initiators an application hears of logouts.
        let first = application_with(&operator, json!({"backchannel_logout_urls": [one.url()]})).await;
        let mut logout = told_at(&two, all());
        logout["backchannel_logout_session_metadata"] = json!({"include": true});
        let second = application_with(&operator, logout).await;
        let absent = application(&operator, &three).await;
        let silent = operator.make_spa().await;
        let (browser, sid) = sign_in(&curfew, &first, &ada).await;
        join(&browser, &second).await;
        join(&browser, &silent).await;
        let (_, other) = sign_in(&curfew, &absent, &ada).await;
        assert_ne!(sid, other);
        let metadata = json!({"device": "tablet"});
        operator.patch(&format!("/sessions/{sid}"), json!({"session_metadata": metadata})).await.expect(200);
        browser.get("v2/logout").await.expect(200);
        let ending = newest_ending(&curfew).await;
        curfew.deliver().await;
        let at_first = tokens(&curfew, &one).await;
        assert_eq!(
            at_first,
            [json!({
                "iss": ISSUER, "sub": ada.user_id, "aud": first.client_id, "sid": sid,
                "iat": curfew.now().seconds(), "exp": curfew.now().seconds() + 120,
                "jti": at_first[0]["jti"], "trace_id": ending.to_string(), "events": {EVENT: {}},
            })]
        );
        let at_second = tokens(&curfew, &two).await;
        assert_eq!((&at_second[0]["aud"], &at_second[0]["session_metadata"]), (&json!(second.client_id), &metadata));
        assert_ne!(at_first[0]["jti"], at_second[0]["jti"]);
        assert_eq!(three.bodies(), [""; 0]);
        let logged = curfew.logs("oidc_backchannel_logout_succeeded").await;
        assert_eq!(logged.len(), 2);
        for row in logged {
            let (client, url) = match row["client_id"].as_str() {
                Some(id) if id == first.client_id => (&first, one.url()),
                _ => (&second, two.url()),
            };
            assert_eq!((&row["client_id"], &row["user_id"]), (&json!(client.client_id), &json!(ada.user_id)));
            let details = &row["details"];
            assert_eq!(details["initiator"], "rp-logout");
            assert_eq!(details["request"], json!({"method": "POST", "backchannel_logout_uri": url}));
            assert_eq!(details["response"], json!({"statusCode": 200}));
            assert_eq!(details["errors"], json!([]));
        }
        assert_eq!(curfew.logs("oidc_backchannel_logout_failed").await, Vec::<Value>::new());
        // Nothing is told twice.
        curfew.advance(2 * HOUR);
        curfew.deliver().await;
        assert_eq!((one.bodies().len(), two.bodies().len()), (1, 1));
    }

    fn every_trigger_has_its_initiator(curfew) {
        let operator = curfew.operator().await;
        let receiver = Receiver::start().await;
        let application = application(&operator, &receiver).await;
        let triggers = [
            ("logout", "rp-logout", true),
            ("delete session", "session-revoked", true),
            ("revoke session", "session-revoked", true),
            ("delete sessions", "session-revoked", true),
            ("revoke access, preserving", "session-revoked", true),
            ("revoke access", "session-revoked", false),
            ("password", "password-changed", true),
            ("e-mail", "email-identifier-changed", true),
            ("block", "account-deactivated", false),
            ("delete user", "account-deleted", false),
            ("idle", "session-expired", true),
        ];
        for (seen, (trigger, initiator, names_the_session)) in triggers.into_iter().enumerate() {
            let ada = operator.make_person().await;
            let (browser, sid) = sign_in(&curfew, &application, &ada).await;
            let (user, session) = (format!("/users/{}", ada.path()), format!("/sessions/{sid}"));
            match trigger {
                "logout" => drop(browser.get("v2/logout").await.expect(200)),
                "delete session" => drop(operator.delete(&session).await.expect(202)),
                "revoke session" => drop(operator.post(&format!("{session}/revoke"), json!({})).await.expect(202)),
                "delete sessions" => drop(operator.delete(&format!("{user}/sessions")).await.expect(202)),
                "revoke access, preserving" => {
                    let body = json!({"preserve_refresh_tokens": true});
                    drop(operator.post(&format!("{user}/revoke-access"), body).await.expect(202));
                }
                "revoke access" => drop(operator.post(&format!("{user}/revoke-access"), json!({})).await.expect(202)),
                "password" => drop(operator.change_user(&ada, json!({"password": "Another-Horse-8"})).await.expect(200)),
                "e-mail" => {
                    let email = format!("new-{}", ada.email);
                    drop(operator.change_user(&ada, json!({"email": email})).await.expect(200));
                }
                "block" => drop(operator.block(&ada).await.expect(200)),
                "delete user" => drop(operator.delete(&user).await.expect(204)),
                "idle" => {
                    curfew.advance(30 * 24 * HOUR);
                    curfew.sweep().await;
                }
                other => panic!("{other}"),
            }
            curfew.deliver().await;
            let tokens = tokens(&curfew, &receiver).await;
            assert_eq!(tokens.len(), seen + 1, "{trigger}");
            let token = &tokens[seen];
            assert_eq!(token["sub"], json!(ada.user_id), "{trigger}");
            assert_eq!(token.get("sid"), names_the_session.then(|| json!(sid)).as_ref(), "{trigger}");
            let logged = curfew.logs("oidc_backchannel_logout_succeeded").await;
            let row = logged.iter().find(|row| row["user_id"] == json!(ada.user_id)).expect(trigger);
            assert_eq!(row["details"]["initiator"], initiator, "{trigger}");
        }
    }

    fn a_deleted_connection_tells_its_people_and_those_linked_to_them(curfew) {
        let operator = curfew.operator().await;
        let receiver = Receiver::start().await;
        let application = application(&operator, &receiver).await;
        let connection = operator.make_connection(json!({})).await;
        operator.enable(&connection, &application.client_id, true).await;
        let (ada, guest) = (operator.make_person().await, operator.make_person_in(&connection).await);
        let linked = operator.make_person_in(&connection).await;
        let link = json!({"provider": "auth0", "user_id": linked.user_id});
        operator.post(&format!("/users/{}/identities", ada.path()), link).await.expect(201);
        let asked = [("connection", connection.as_str())];
        let mut sids = Vec::new();
        for person in [&guest, &linked] {
            let code = curfew.browser().log_in(&application, person, &asked).await;
            let id_token = Tokens::of(&application.redeem(&code).await).id.unwrap();
            sids.push(claims(&id_token)["sid"].clone());
        }
        let (own, _) = sign_in(&curfew, &application, &ada).await;
        let id = operator.connection_id(&connection).await;
        operator.delete(&format!("/connections/{id}")).await.expect(202);
        curfew.sweep().await;
        curfew.deliver().await;
        let mut told: Vec<_> = tokens(&curfew, &receiver)
            .await
            .into_iter()
            .map(|token| (token["sub"].clone(), token.get("sid").cloned()))
            .collect();
        told.sort_by_key(|(sub, _)| sub != &json!(guest.user_id));
        assert_eq!(told, [(json!(guest.user_id), None), (json!(ada.user_id), Some(sids[1].clone()))]);
        assert!(own.authorize_silently(&application, &[]).await.code().is_some(), "her own sessions stay");
    }

    fn an_application_hears_of_what_it_wants_to_hear(curfew) {
        let operator = curfew.operator().await;
        let ada = operator.make_person().await;
        let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
        let chosen = ["rp-logout", "idp-logout", "password-changed"];
        let initiators = [Value::Null, json!({"mode": "custom", "selected_initiators": chosen}), all()];
        let mut applications = Vec::new();
        for (receiver, initiators) in receivers.iter().zip(initiators) {
            let mut logout = told_at(receiver, initiators.clone());
            if initiators.is_null() {
                logout.as_object_mut().unwrap().remove("backchannel_logout_initiators");
            }
            applications.push(application_with(&operator, logout).await);
        }
        let everywhere = async || {
            let (browser, sid) = sign_in(&curfew, &applications[0], &ada).await;
            join(&browser, &applications[1]).await;
            join(&browser, &applications[2]).await;
            (browser, sid)
        };
        let heard = async || {
            curfew.deliver().await;
            receivers.iter().map(|receiver| receiver.bodies().len()).collect::<Vec<_>>()
        };
        let (_, sid) = everywhere().await;
        operator.delete(&format!("/sessions/{sid}")).await.expect(202);
        assert_eq!(heard().await, [0, 0, 1]);
        let (browser, _) = everywhere().await;
        browser.get("v2/logout").await.expect(200);
        assert_eq!(heard().await, [1, 1, 2]);
        everywhere().await;
        operator.change_user(&ada, json!({"password": "Correct-Horse-7"})).await.expect(200);
        assert_eq!(heard().await, [1, 2, 3]);
    }

    fn an_application_that_is_down_for_an_hour_hears_of_it_then(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        let (browser, sid) = sign_in(&curfew, &application, &ada).await;
        receiver.go_down().await;
        browser.get("v2/logout").await.expect(200);
        curfew.deliver().await;
        pass(&curfew, HOUR, 60).await;
        let waiting = in_state(&curfew, DeliveryState::Waiting).await;
        // A second, two, four …: twelve tries in the first hour.
        assert_eq!(waiting.len(), 1);
        assert!((10..=13).contains(&waiting[0].attempts), "{}", waiting[0].attempts);
        assert!(waiting[0].last_error.as_deref().unwrap().contains("connect"), "{:?}", waiting[0].last_error);
        receiver.come_back().await;
        pass(&curfew, HOUR, 60).await;
        let told = tokens(&curfew, &receiver).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["sid"], json!(sid));
        assert!(told[0]["iat"].as_i64().unwrap() > waiting[0].created_at.seconds() + HOUR, "a fresh token");
        assert_eq!(in_state(&curfew, DeliveryState::Confirmed).await.len(), 1);
        // In the log stand the first try that failed and the one that did not.
        assert_eq!(curfew.logs("oidc_backchannel_logout_failed").await.len(), 1);
        assert_eq!(curfew.logs("oidc_backchannel_logout_succeeded").await.len(), 1);
    }

    fn each_try_has_a_token_of_its_own_and_after_a_day_it_is_a_dead_letter(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        let (browser, _) = sign_in(&curfew, &application, &ada).await;
        receiver.behaves(Behaviour::Status(500));
        browser.get("v2/logout").await.expect(200);
        curfew.deliver().await;
        pass(&curfew, 23 * HOUR, HOUR / 2).await;
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 1);
        pass(&curfew, 2 * HOUR, HOUR / 4).await;
        let dead = in_state(&curfew, DeliveryState::Dead).await;
        assert_eq!((dead.len(), dead[0].last_status), (1, Some(500)));
        let told = tokens(&curfew, &receiver).await;
        assert_eq!(told.len() as i64, dead[0].attempts);
        let mut jtis: Vec<_> = told.iter().map(|token| token["jti"].to_string()).collect();
        jtis.sort_unstable();
        jtis.dedup();
        assert_eq!(jtis.len(), told.len());
        assert!(told.iter().all(|token| token["trace_id"] == told[0]["trace_id"]));
        let failed = curfew.logs("oidc_backchannel_logout_failed").await;
        assert_eq!(failed.len(), 2, "the first and the last");
        assert_eq!(failed[0]["client_id"], json!(application.client_id));
        assert_eq!(failed[0]["details"]["errors"], json!(["the receiver answered 500"]));
        // It stays dead, then expires, then goes.
        pass(&curfew, 24 * HOUR, HOUR).await;
        assert_eq!(receiver.bodies().len(), told.len());
        curfew.advance(8 * 24 * HOUR);
        curfew.sweep().await;
        assert_eq!(in_state(&curfew, DeliveryState::Expired).await.len(), 1);
        // As long as the receipt that names it.
        curfew.advance(380 * 24 * HOUR);
        curfew.sweep().await;
        assert_eq!(in_state(&curfew, DeliveryState::Expired).await.len(), 1);
        curfew.advance(21 * 24 * HOUR);
        curfew.sweep().await;
        assert_eq!(in_state(&curfew, DeliveryState::Expired).await.len(), 0);
    }

    fn what_an_application_answers_decides_when_it_is_asked_again(curfew) {
        let operator = curfew.operator().await;
        for (behaviour, after, state) in [
            (Behaviour::Status(204), 0, DeliveryState::Confirmed),
            (Behaviour::Status(400), 0, DeliveryState::Dead),
            (Behaviour::Status(404), 2, DeliveryState::Waiting),
            (Behaviour::Status(302), 2, DeliveryState::Waiting),
            (Behaviour::Status(503), 2, DeliveryState::Waiting),
            (Behaviour::RetryAfter(429, "600".into()), 600, DeliveryState::Waiting),
            (Behaviour::RetryAfter(503, "90".into()), 90, DeliveryState::Waiting),
            (Behaviour::BreakOff, 2, DeliveryState::Waiting),
        ] {
            let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
            let application = application(&operator, &receiver).await;
            let (browser, _) = sign_in(&curfew, &application, &ada).await;
            receiver.behaves(behaviour.clone());
            browser.get("v2/logout").await.expect(200);
            curfew.deliver().await;
            let found = in_state(&curfew, state).await;
            let found = found.iter().find(|delivery| delivery.receiver.0 == application.client_id);
            assert_eq!(found.map(|delivery| delivery.attempts), Some(1), "{behaviour:?}");
            receiver.behaves(Behaviour::Status(200));
            if after > 2 {
                curfew.advance(after - 1);
                curfew.deliver().await;
                assert_eq!(receiver.bodies().len(), 1, "{behaviour:?}: not before its time");
                curfew.advance(1);
            } else {
                curfew.advance(after);
            }
            curfew.deliver().await;
            let again = usize::from(state == DeliveryState::Waiting);
            assert_eq!(receiver.bodies().len(), 1 + again, "{behaviour:?}");
        }
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
    }

    fn one_that_hangs_delays_nobody_else(curfew) {
        let operator = curfew.operator().await;
        let (slow, quick) = (Receiver::start().await, Receiver::start().await);
        let (hangs, answers) = (application(&operator, &slow).await, application(&operator, &quick).await);
        let mut people = Vec::new();
        for _ in 0..12 {
            let person = operator.make_person().await;
            let (browser, _) = sign_in(&curfew, &hangs, &person).await;
            join(&browser, &answers).await;
            people.push(person);
        }
        slow.behaves(Behaviour::Hang);
        let _job = curfew.deliver_in_background();
        for person in &people {
            operator.block(person).await.expect(200);
        }
        // A try may take five seconds; with one after the other this would be a minute.
        let told = tokio::time::timeout(Duration::from_secs(4), quick.bodies_after(people.len())).await;
        assert_eq!(told.expect("nobody waits for the one that hangs").len(), people.len());
        // On a busy machine the first tries may be over by now, and others have begun.
        assert!((1..people.len()).contains(&slow.bodies().len()), "{} at once", slow.bodies().len());
    }

    fn one_that_fails_is_tried_once_at_a_time(curfew) {
        let operator = curfew.operator().await;
        let (failing, well) = (Receiver::start().await, Receiver::start().await);
        let (fails, answers) = (application(&operator, &failing).await, application(&operator, &well).await);
        let mut people = Vec::new();
        for _ in 0..9 {
            let person = operator.make_person().await;
            let (browser, _) = sign_in(&curfew, &fails, &person).await;
            join(&browser, &answers).await;
            people.push(person);
        }
        failing.behaves(Behaviour::Status(500));
        operator.block(&people[0]).await.expect(200);
        curfew.deliver().await;
        failing.behaves(Behaviour::Hang);
        let _job = curfew.deliver_in_background();
        for person in &people[1..] {
            operator.block(person).await.expect(200);
        }
        well.bodies_after(people.len()).await;
        // One that failed, and one that is under way; on a busy machine some of those are over by now.
        assert!(failing.bodies().len() < 6, "{} at once", failing.bodies().len());
    }

    fn the_first_try_comes_at_once(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        let (browser, _) = sign_in(&curfew, &application, &ada).await;
        let _job = curfew.deliver_in_background();
        browser.get("v2/logout").await.expect(200);
        // Woken by the commit: a look comes once a second only. The bound is for a busy machine.
        let told = tokio::time::timeout(Duration::from_millis(900), receiver.bodies_after(1)).await;
        token(&curfew, &told.expect("at once")[0]).await;
    }

    fn a_server_that_stops_in_between_is_taken_over_from(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        // Between the commit of the ending and everything else.
        let (browser, _) = sign_in(&curfew, &application, &ada).await;
        browser.get("v2/logout").await.expect(200);
        let next = curfew.another_node().await;
        next.deliver().await;
        assert_eq!(receiver.bodies().len(), 1);
        // Between the picking and the answer: the attempt is counted, and made again when the lease is over.
        let (browser, _) = sign_in(&curfew, &application, &ada).await;
        receiver.behaves(Behaviour::Hang);
        browser.get("v2/logout").await.expect(200);
        let job = curfew.deliver_in_background();
        receiver.bodies_after(2).await;
        drop(job);
        receiver.behaves(Behaviour::Status(200));
        next.deliver().await;
        assert_eq!(receiver.bodies().len(), 2, "the lease of the first still runs");
        next.advance(31);
        next.deliver().await;
        let told = tokens(&curfew, &receiver).await;
        assert_eq!(told.len(), 3);
        assert_eq!(told[1]["sid"], told[2]["sid"]);
        assert_ne!(told[1]["jti"], told[2]["jti"]);
        let confirmed = in_state(&curfew, DeliveryState::Confirmed).await;
        let mut attempts: Vec<_> = confirmed.iter().map(|delivery| delivery.attempts).collect();
        attempts.sort_unstable();
        assert_eq!(attempts, [1, 2]);
    }

    fn two_nodes_tell_it_once(curfew) {
        let operator = curfew.operator().await;
        let receiver = Receiver::start().await;
        let application = application(&operator, &receiver).await;
        let node = curfew.another_node().await;
        let mut browsers = Vec::new();
        for _ in 0..20 {
            browsers.push(sign_in(&curfew, &application, &operator.make_person().await).await.0);
        }
        for browser in &browsers {
            browser.get("v2/logout").await.expect(200);
        }
        tokio::join!(curfew.deliver(), node.deliver());
        // Whoever finds nothing to do may be done before the other is.
        curfew.deliver().await;
        assert_eq!(receiver.bodies().len(), browsers.len());
        assert_eq!(in_state(&curfew, DeliveryState::Confirmed).await.len(), browsers.len());
    }

    fn who_requires_a_session_is_told_of_each(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let mut logout = told_at(&receiver, all());
        logout["backchannel_logout_session_required"] = json!(true);
        let application = application_with(&operator, logout).await;
        let mut sids = vec![sign_in(&curfew, &application, &ada).await.1, sign_in(&curfew, &application, &ada).await.1];
        operator.block(&ada).await.expect(200);
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        // The session of someone who is back before anybody was told is not among them.
        sign_in(&curfew, &application, &ada).await;
        curfew.deliver().await;
        let tokens = tokens(&curfew, &receiver).await;
        assert!(tokens.iter().all(|token| token["sub"] == json!(ada.user_id)), "{tokens:?}");
        let mut told: Vec<_> = tokens.iter().map(|token| token["sid"].as_str().expect("sid").to_owned()).collect();
        told.sort_unstable();
        sids.sort_unstable();
        assert_eq!(told, sids);
        assert_eq!(in_state(&curfew, DeliveryState::Confirmed).await.len(), sids.len());
        // Nor is somebody who is not back named alone.
        let bob = operator.make_person().await;
        let (_, sid) = sign_in(&curfew, &application, &bob).await;
        operator.block(&bob).await.expect(200);
        curfew.deliver().await;
        let told = token(&curfew, receiver.bodies().last().expect("a token")).await;
        assert_eq!((&told["sub"], &told["sid"]), (&json!(bob.user_id), &json!(sid)));
    }

    fn who_is_back_is_not_logged_out_again(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        // One that was told of before, and one in which another application takes part.
        let (out, _) = sign_in(&curfew, &application, &ada).await;
        out.get("v2/logout").await.expect(200);
        curfew.deliver().await;
        sign_in(&curfew, &operator.make_spa().await, &ada).await;
        let mut sids = vec![sign_in(&curfew, &application, &ada).await.1, sign_in(&curfew, &application, &ada).await.1];
        receiver.go_down().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        let until = in_state(&curfew, DeliveryState::Waiting).await[0].retry_until;
        curfew.advance(10);
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        sign_in(&curfew, &application, &ada).await;
        receiver.come_back().await;
        receiver.behaves(Behaviour::Status(500));
        // The token that names her alone would end the new session; the old ones are named instead.
        curfew.deliver().await;
        for waiting in in_state(&curfew, DeliveryState::Waiting).await {
            assert_eq!((waiting.attempts, waiting.retry_until), (2, until), "with the pause it had come to, and no more time");
        }
        receiver.behaves(Behaviour::Status(200));
        curfew.advance(10);
        curfew.deliver().await;
        let mut told: Vec<_> =
            tokens(&curfew, &receiver).await.iter().skip(1).map(|token| token["sid"].as_str().expect("sid").to_owned()).collect();
        told.sort_unstable();
        told.dedup();
        sids.sort_unstable();
        assert_eq!(told, sids);
        assert_eq!(in_state(&curfew, DeliveryState::Superseded).await.len(), 1);
    }

    fn who_is_back_elsewhere_is_logged_out_here(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        sign_in(&curfew, &application, &ada).await;
        receiver.go_down().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        curfew.advance(10);
        operator.change_user(&ada, json!({"blocked": false})).await.expect(200);
        sign_in(&curfew, &operator.make_spa().await, &ada).await;
        receiver.come_back().await;
        curfew.deliver().await;
        let told = tokens(&curfew, &receiver).await;
        assert_eq!((told.len(), &told[0]["sub"], told[0].get("sid")), (1, &json!(ada.user_id), None));
        assert_eq!(in_state(&curfew, DeliveryState::Superseded).await.len(), 0);
    }

    fn a_try_goes_to_the_present_address(curfew) {
        let operator = curfew.operator().await;
        let (old, new) = (Receiver::start().await, Receiver::start().await);
        let mut people = Vec::new();
        for change in ["moved", "deleted", "removed"] {
            let ada = operator.make_person().await;
            let application = application(&operator, &old).await;
            let (browser, _) = sign_in(&curfew, &application, &ada).await;
            old.go_down().await;
            browser.get("v2/logout").await.expect(200);
            curfew.deliver().await;
            let path = format!("/clients/{}", application.client_id);
            match change {
                "moved" => {
                    let logout = json!({"oidc_logout": told_at(&new, all())});
                    operator.patch(&path, logout).await.expect(200);
                }
                "deleted" => drop(operator.delete(&path).await.expect(204)),
                _ => drop(operator.patch(&path, json!({"oidc_logout": null})).await.expect(200)),
            }
            old.come_back().await;
            curfew.advance(10);
            curfew.deliver().await;
            people.push(ada.user_id);
        }
        let subjects = async |receiver: &Receiver| {
            tokens(&curfew, receiver).await.iter().map(|token| token["sub"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(subjects(&new).await, [json!(people[0])]);
        assert_eq!(subjects(&old).await, [json!(people[1])], "an application that is gone is told where it was");
        assert_eq!(in_state(&curfew, DeliveryState::Cancelled).await.len(), 1);
        assert_eq!(in_state(&curfew, DeliveryState::Waiting).await.len(), 0);
    }

    fn who_took_part_is_known_until_it_is_worked_out(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        sign_in(&curfew, &application, &ada).await;
        // Long unused, and so to be swept as soon as its user is gone.
        curfew.advance(60 * 24 * HOUR);
        let operator = curfew.operator().await;
        operator.delete(&format!("/users/{}", ada.path())).await.expect(204);
        let sweep = async || {
            let ctx = curfew::serve::job_ctx(&curfew.core, ISSUER);
            curfew_core::sweep::sweep(&curfew.core, &ctx).await.expect("the sweep").sessions_purged
        };
        assert_eq!(sweep().await, 0);
        let open = curfew.store().read((), |tx, ()| Box::pin(fanouts::count_open(tx, TENANT)));
        assert_eq!(open.await.unwrap(), 1);
        curfew.deliver().await;
        assert_eq!(tokens(&curfew, &receiver).await[0]["sub"], json!(ada.user_id));
        assert_eq!(sweep().await, 1);
    }

    fn the_receipt_says_who_was_told_and_who_was_not(curfew) {
        let operator = curfew.operator().await;
        let ada = operator.make_person().await;
        let (well, ill) = (Receiver::start().await, Receiver::start().await);
        let (first, second) = (application(&operator, &well).await, application(&operator, &ill).await);
        let (browser, sid) = sign_in(&curfew, &first, &ada).await;
        join(&browser, &second).await;
        ill.behaves(Behaviour::Status(500));
        operator.delete(&format!("/sessions/{sid}")).await.expect(202);
        let path = format!("/endings/{}", newest_ending(&curfew).await);
        let receipt = async || operator.get(&path).await.expect(200).json();
        curfew.deliver().await;
        let open = receipt().await;
        assert_eq!(open["complete"], false);
        assert_eq!(open["applications"]["counts"], json!({"confirmed": 1, "waiting": 1}));
        let told = &open["applications"]["deliveries"];
        assert_eq!((&told[0]["client_id"], &told[0]["last_status"]), (&json!(second.client_id), &json!(500)));
        assert_eq!((&told[1]["client_id"], &told[1]["session_id"]), (&json!(first.client_id), &json!(sid)));
        ill.behaves(Behaviour::Status(200));
        curfew.advance(5);
        curfew.deliver().await;
        let done = receipt().await;
        assert_eq!(done["complete"], true);
        assert_eq!(done["applications"]["counts"], json!({"confirmed": 2, "waiting": 0}));
    }

    fn dead_letters_are_listed_and_retried(curfew) {
        let operator = curfew.operator().await;
        let receiver = Receiver::start().await;
        let application = application(&operator, &receiver).await;
        receiver.behaves(Behaviour::Status(400));
        for _ in 0..3 {
            let (browser, _) = sign_in(&curfew, &application, &operator.make_person().await).await;
            browser.get("v2/logout").await.expect(200);
        }
        curfew.deliver().await;
        let first = operator.get("/deliveries?state=dead&take=2").await.expect(200).json();
        assert_eq!(first["deliveries"].as_array().map(Vec::len), Some(2));
        let next = first["next"].as_str().expect("more");
        let rest = operator.get(&format!("/deliveries?state=dead&take=2&from={next}")).await.expect(200).json();
        assert_eq!((rest["deliveries"].as_array().map(Vec::len), rest.get("next")), (Some(1), None));
        let dead = &rest["deliveries"][0];
        assert_eq!((&dead["client_id"], &dead["last_status"]), (&json!(application.client_id), &json!(400)));
        let path = format!("/deliveries/{}", dead["id"].as_str().expect("an id"));
        let health = async || {
            operator.get(&format!("/clients/{}/logout-health", application.client_id)).await.expect(200).json()
        };
        assert_eq!(
            health().await,
            json!({
                "client_id": application.client_id, "has_address": true, "confirmed": 0, "waiting": 0, "dead": 3,
                "success_rate": 0.0, "last_confirmed_at": null, "oldest_waiting_at": null, "oldest_waiting_seconds": null,
            })
        );
        receiver.behaves(Behaviour::Status(200));
        curfew.advance(2 * 24 * HOUR);
        let operator = curfew.operator().await;
        let retried = operator.post(&format!("{path}/retry"), json!({})).await.expect(202).json();
        assert_eq!((&retried["state"], &retried["attempts"]), (&json!("waiting"), &json!(0)));
        curfew.advance(7);
        let waiting = operator.get(&format!("/clients/{}/logout-health", application.client_id)).await.json();
        assert_eq!(waiting["waiting"], 1);
        assert!(waiting["oldest_waiting_seconds"].as_u64().is_some_and(|age| age > 2 * 86_400), "{waiting}");
        curfew.deliver().await;
        assert_eq!(receiver.bodies().len(), 4);
        let health = operator.get(&format!("/clients/{}/logout-health", application.client_id)).await.json();
        assert_eq!((&health["confirmed"], &health["dead"]), (&json!(1), &json!(2)));
        assert_eq!(health["last_confirmed_at"], json!(curfew.now().iso()));
        // What is not dead is not retried, and what is not there is not there.
        operator.post(&format!("{path}/retry"), json!({})).await.expect(400);
        operator.post("/deliveries/00000000000000000000000000000000/retry", json!({})).await.expect(404);
        operator.post("/deliveries/rubbish/retry", json!({})).await.expect(404);
        operator.get("/deliveries").await.expect(400);
        operator.get("/deliveries?state=lost").await.expect(400);
        operator.get("/deliveries?state=dead&from=rubbish").await.expect(400);
        operator.get("/clients/nobody/logout-health").await.expect(404);
    }

    fn an_address_can_be_tested(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let application = application(&operator, &receiver).await;
        let (browser, _) = sign_in(&curfew, &application, &ada).await;
        let path = format!("/clients/{}/test-logout", application.client_id);
        let good = operator.post(&path, json!({})).await.expect(200).json();
        assert_eq!(good, json!({"confirmed": true, "status": 200, "error": null}));
        let token = token(&curfew, &receiver.bodies()[0]).await;
        assert_eq!((&token["aud"], token.get("sub")), (&json!(application.client_id), None));
        assert!(token["sid"].is_string());
        assert!(browser.authorize_silently(&application, &[]).await.code().is_some(), "it ends nothing");
        receiver.behaves(Behaviour::RetryAfter(503, "1".into()));
        assert_eq!(operator.post(&path, json!({})).await.json()["status"], 503);
        receiver.go_down().await;
        let away = operator.post(&path, json!({})).await.expect(200).json();
        assert_eq!((&away["confirmed"], &away["status"]), (&json!(false), &Value::Null));
        assert!(away["error"].as_str().is_some_and(|error| error.contains("connect")), "{away}");
        let spa = operator.make_spa().await;
        operator.post(&format!("/clients/{}/test-logout", spa.client_id), json!({})).await.expect(400);
        operator.post("/clients/nobody/test-logout", json!({})).await.expect(404);
    }

    fn an_address_that_cannot_be_reached_is_refused(curfew) {
        let operator = curfew.operator().await;
        let set = async |url: &str| {
            let logout = json!({"oidc_logout": {"backchannel_logout_urls": [url]}});
            let spa = operator.make_spa().await;
            operator.patch(&format!("/clients/{}", spa.client_id), logout).await
        };
        for url in ["https://app.example/logout", "http://127.0.0.1:9/", "https://[::ffff:127.0.0.1]/", "http://app.internal/"] {
            let client = set(url).await.expect(200).json();
            assert_eq!(client["oidc_backchannel_logout"], json!({"backchannel_logout_urls": [url]}), "{url}");
        }
        for url in ["http://1.1.1.1/", "https://10.0.0.1/", "https://169.254.169.254/", "https://[::1]/", "ftp://app.example/",
            "https://user:secret@app.example/", "https://app.example/#x", "/logout"] {
            let refused = set(url).await.expect(400).json();
            assert_eq!(refused["errorCode"], "invalid_body", "{url}");
            let message = refused["message"].as_str().unwrap();
            assert!(message.ends_with("on property oidc_logout.backchannel_logout_urls."), "{message}");
        }
    }

    fn applications_without_an_address_are_named_when_everything_ends(curfew) {
        let operator = curfew.operator().await;
        let ada = operator.make_person().await;
        let spa = operator.make_spa().await;
        let (browser, _) = sign_in(&curfew, &spa, &ada).await;
        browser.get("v2/logout").await.expect(200);
        curfew.deliver().await;
        assert_eq!(curfew.logs("oidc_backchannel_logout_failed").await, Vec::<Value>::new());
        curfew.advance(1);
        sign_in(&curfew, &spa, &ada).await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        let failed = curfew.logs("oidc_backchannel_logout_failed").await;
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0]["user_id"], json!(ada.user_id));
        assert_eq!(failed[0]["details"]["errors"][0]["client_id"], json!(spa.client_id));
    }

    fn many_sessions_are_told_page_by_page_and_a_person_once(curfew) {
        let operator = curfew.operator().await;
        let (ada, bob) = (operator.make_person().await, operator.make_person().await);
        let receiver = Receiver::start().await;
        let application = application(&operator, &receiver).await;
        for person in [&ada, &bob] {
            let (_, sid) = sign_in(&curfew, &application, person).await;
            let sid = Sid::parse(&sid).expect("a session's id");
            multiply(&curfew, sid, &application, 450).await;
        }
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        assert_eq!(receiver.bodies().len(), 1);
        operator.delete(&format!("/users/{}/sessions", bob.path())).await.expect(202);
        curfew.deliver().await;
        let told = tokens(&curfew, &receiver).await;
        assert_eq!(told.len(), 1 + 451);
        assert!(told.iter().skip(1).all(|token| token["sub"] == json!(bob.user_id) && token["sid"].is_string()));
    }
}
