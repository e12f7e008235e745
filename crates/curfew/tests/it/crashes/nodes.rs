//! Two nodes on one PostgreSQL, each with a guard that follows it, and one is killed between the answer to an ending and
//! what follows from it. Everybody is told all the same, and the receipt, read at the other node, says only what was seen
//! here from outside.

use std::net::SocketAddr;
use std::time::Duration;

use curfew_guard::{Config, Guard};
use curfew_model::{Clock as _, SystemClock, Timestamp};
use curfew_store::Engine;
use curfew_testkit::{Behaviour, Receiver};
use http::Method;
use serde_json::{Value, json};

use crate::process::Place;
use crate::process::actors::{Admin, Application, Browser};

const API: &str = "https://orders.test/";
const LEASE_SECONDS: u8 = 2;
/// Of the guards' own view, of a delivery that the killed node had picked, and of a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guard that follows the node at an address.
async fn guard(place: &Place, admin: &mut Admin, name: &str, address: SocketAddr) -> Guard {
    let machine = json!({
        "name": name, "app_type": "non_interactive", "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    let machine = admin.done(Method::POST, "clients", &machine).await;
    let text = |member: &str| machine[member].as_str().expect("text");
    let grant = json!({"client_id": text("client_id"), "audience": API, "scope": ["curfew:guard"]});
    admin.done(Method::POST, "client-grants", &grant).await;
    let config = Config::new(place.issuer(), API, text("client_id"), text("client_secret"));
    let guard =
        Guard::start(config.name(name).lease_seconds(LEASE_SECONDS).address(address)).expect("a guard");
    tokio::time::timeout(PATIENCE, guard.ready()).await.expect("it follows the feed");
    guard
}

/// An application that is told of everything.
async fn tell(admin: &mut Admin, application: &Application, receiver: &Receiver) {
    let logout = json!({
        "backchannel_logout_urls": [receiver.url()],
        "backchannel_logout_initiators": {"mode": "all"},
    });
    admin
        .done(Method::PATCH, &format!("clients/{}", application.id), &json!({ "oidc_logout": logout }))
        .await;
}

fn count(receipt: &Value, part: &str, name: &str) -> u64 {
    receipt[part].pointer(name).and_then(Value::as_u64).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_killed_when_it_has_answered() {
    let place = Place::new(Engine::Postgres);
    let (here, there) = (place.address(), place.another_address());
    let first = place.start();
    let second = place.start_at(there);
    let mut admin = Admin::new(&place).await;
    let api = json!({
        "identifier": API,
        "allow_offline_access": true,
        "skip_consent_for_verifiable_first_party_clients": true,
    });
    admin.done(Method::POST, "resource-servers", &api).await;
    admin.done(Method::PATCH, "tenants/settings", &json!({"default_audience": API})).await;
    let applications = admin.make_applications(2, 0).await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    for (application, receiver) in applications.iter().zip(&receivers) {
        tell(&mut admin, application, receiver).await;
    }
    let person = admin.make_person("ada").await;
    let mut browser = Browser::new(here);
    let code = browser.log_in(&applications[0], &person).await.expect("an answer").expect("a code");
    let tokens = browser.redeem(&applications[0], &code).await.expect("an answer").expect("tokens");
    let code = browser.silent(&applications[1]).await.expect("an answer").expect("a code");
    browser.redeem(&applications[1], &code).await.expect("an answer").expect("tokens");
    let guards =
        [guard(&place, &mut admin, "here", here).await, guard(&place, &mut admin, "there", there).await];
    for guard in &guards {
        guard.check(&tokens.access, &[]).await.expect("a living token");
    }

    // Both applications leave the first try without an answer, whichever node makes it.
    receivers.iter().for_each(|receiver| receiver.behaves(Behaviour::Hang));
    let mut other = Admin::at(&place, there).await;
    let answer = other.done(Method::POST, "endings", &json!({"user_id": person.id})).await;
    second.kill();
    receivers.iter().for_each(|receiver| receiver.behaves(Behaviour::Status(200)));
    let path = format!("endings/{}", answer["endings"][0]["id"].as_str().expect("an id"));
    let ended_at = instant(&answer["endings"][0]["at"]);

    let mut wrong_until = [ended_at; 2];
    let watching = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let receipt = admin.done(Method::GET, &path, &Value::Null).await;
            for (guard, wrong_until) in guards.iter().zip(&mut wrong_until) {
                if guard.check(&tokens.access, &[]).await.is_ok() {
                    *wrong_until = SystemClock.now();
                    assert_eq!(receipt["complete"], false, "somebody still lets it pass: {receipt}");
                }
            }
            if count(&receipt, "guards", "/confirmed") > 0 {
                guards[0].check(&tokens.access, &[]).await.expect_err("it is counted as having heard");
            }
            let bodies = |receiver: &Receiver| u64::try_from(receiver.bodies().len()).expect("a count");
            let told = receivers.iter().filter(|receiver| bodies(receiver) > 0).count();
            let confirmed = count(&receipt, "applications", "/counts/confirmed");
            assert!(u64::try_from(told).expect("a count") >= confirmed, "nobody was told: {receipt}");
            if receipt["complete"] == true {
                return receipt;
            }
        }
    };
    let receipt = tokio::time::timeout(PATIENCE, watching).await.expect("the receipt is completed");

    // Everybody was told, for all that the first answer was lost.
    assert_eq!(receipt["applications"]["counts"], json!({"confirmed": 2, "waiting": 0}), "{receipt}");
    for delivery in receipt["applications"]["deliveries"].as_array().expect("deliveries") {
        let at = applications.iter().position(|application| delivery["client_id"] == application.id);
        let receiver = &receivers[at.expect("one of the two")];
        let tries = delivery["attempts"].as_u64().expect("a number");
        // A try that was counted may not have been sent, when its node was killed in between.
        assert!((1..=tries).contains(&u64::try_from(receiver.bodies().len()).expect("a count")), "{receipt}");
    }
    // The guard of the living node confirmed. That of the killed one cannot, and nothing it knew was trusted in the end.
    let nodes = receipt["guards"]["nodes"].as_array().expect("nodes");
    assert_eq!(nodes.len(), 2, "{receipt}");
    let named = |name: &str| {
        nodes.iter().find(|node| {
            node["guards"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == name))
        })
    };
    let own = named("here").expect("the guard of the living node");
    assert!(instant(&own["guards"][0]["confirmed_at"]) >= ended_at, "{receipt}");
    match named("there") {
        // It had heard before the node was killed.
        Some(node) => assert!(node["guards"][0]["confirmed_at"].is_string(), "{receipt}"),
        None => {
            let silent = nodes.iter().find(|node| node["silent"] == true).expect("the node that was killed");
            assert_eq!(silent["lapsed"], 1, "{receipt}");
            assert!(instant(&silent["settled_at"]) > wrong_until[1], "{receipt}");
        }
    }
    assert_eq!(
        count(&receipt, "guards", "/confirmed") + count(&receipt, "guards", "/lapsed"),
        2,
        "{receipt}"
    );
    first.kill();
    place.verify().await;
}

fn instant(value: &Value) -> Timestamp {
    Timestamp::parse_iso(value.as_str().expect("an instant")).expect("ISO 8601")
}
