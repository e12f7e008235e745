//! kill -9 between the commit of an ending and the confirmation of whoever has to hear of it, wherever that is: the next
//! start tells it, the application and the event stream.

use std::time::Duration;

use curfew_model::TenantId;
use curfew_store::deliveries::{DeliveryState, Message, in_state};
use curfew_store::{Engine, fanouts};
use curfew_testkit::Receiver;
use http::Method;
use serde_json::json;

use crate::process::Place;
use crate::process::actors::{Admin, Browser};
use crate::process::dice::Dice;

const KILLS: usize = 6;
/// Most of the way from the commit to the confirmation lies in this.
const LONGEST_MS: u64 = 25;
/// A lease that ran when the server was killed runs out in ten seconds.
const TOLD_WITHIN: Duration = Duration::from_secs(40);
const TENANT: TenantId = TenantId(1);

async fn killed_before_it_tells(engine: Engine) {
    let mut dice = Dice::new();
    let place = Place::new(engine);
    let receiver = Receiver::start().await;
    let mut server = place.start();
    let mut admin = Admin::new(&place).await;
    let application = admin.make_applications(1, 0).await.remove(0);
    let logout = json!({
        "backchannel_logout_urls": [receiver.url()],
        "backchannel_logout_initiators": {"mode": "all"},
    });
    let client = format!("clients/{}", application.id);
    admin.done(Method::PATCH, &client, &json!({ "oidc_logout": logout })).await;
    let webhook = Receiver::start().await;
    let stream = json!({
        "status": "enabled",
        "subscriptions": [{"event_type": "user.updated"}, {"event_type": "ending.created"}],
        "destination": {"type": "webhook", "configuration": {
            "webhook_endpoint": webhook.url(), "webhook_authorization": {"method": "bearer", "token": "t"},
        }},
    });
    admin.done(Method::POST, "event-streams", &stream).await;
    let mut people = Vec::new();
    for round in 0..KILLS {
        let person = admin.make_person(&format!("round-{round}")).await;
        let mut browser = Browser::new(place.address());
        let code = browser.log_in(&application, &person).await.expect("an answer").expect("a code");
        browser.redeem(&application, &code).await.expect("an answer").expect("tokens");
        let blocked = admin.set_blocked(&person, true).await.expect("an answer");
        assert!(blocked.status.is_success(), "{blocked:?}");
        server.kill_after(Duration::from_millis(dice.below(LONGEST_MS))).await;
        server = place.start();
        admin = Admin::new(&place).await;
        people.push(person.id);
    }
    // Told, and known to be told.
    let store = place.open().await;
    let settled = async {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        loop {
            looks.tick().await;
            let left = store.read((), |tx, ()| {
                Box::pin(async move {
                    let open = fanouts::count_open(tx, TENANT).await?;
                    let confirmed = in_state(tx, TENANT, DeliveryState::Confirmed, None, 100).await?;
                    let told = confirmed.into_iter().filter_map(|delivery| match delivery.message {
                        Message::LogoutToken(_) => Some(("logout token".to_owned(), delivery.sub?.0)),
                        Message::Event(event) => Some((event.event_type, delivery.sub?.0)),
                        Message::SecurityEvent(_) => None,
                    });
                    Ok((open, told.collect::<Vec<_>>()))
                })
            });
            let (open, confirmed) = left.await.expect("the deliveries");
            let told = |what: &str, person: &String| {
                confirmed.iter().any(|(kind, whom)| kind == what && whom == person)
            };
            let everything = ["logout token", "user.updated", "ending.created"];
            if open == 0 && people.iter().all(|person| everything.iter().all(|what| told(what, person))) {
                break;
            }
        }
    };
    tokio::time::timeout(TOLD_WITHIN, settled).await.expect("somebody was not told");
    assert!(receiver.bodies().len() >= KILLS);
    assert!(webhook.bodies().len() >= 2 * KILLS);
    server.kill();
    place.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    killed_before_it_tells(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    killed_before_it_tells(Engine::Postgres).await;
}
