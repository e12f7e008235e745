//! kill -9 between the commit of an ending and the confirmation of whoever has to hear of it, wherever that is: the next
//! start tells it, the application and the event stream.

use std::time::Duration;

use curfew_model::TenantId;
use curfew_store::deliveries::{DeliveryState, Message, in_state};
use curfew_store::{Engine, fanouts};
use curfew_testkit::{Behaviour, Receiver};
use http::Method;
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::process::actors::{Admin, Browser};
use crate::process::dice::Dice;
use crate::process::{Place, Process};

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

/// A running server, a person whose access is to end, and an application that has to hear of it.
struct Scene {
    place: Place,
    server: Process,
    receiver: Receiver,
    admin: Admin,
    person: String,
}

impl Scene {
    async fn make(engine: Engine) -> Self {
        let place = Place::new(engine);
        let receiver = Receiver::start().await;
        let server = place.start();
        let mut admin = Admin::new(&place).await;
        let application = admin.make_applications(1, 0).await.remove(0);
        let logout = json!({
            "backchannel_logout_urls": [receiver.url()],
            "backchannel_logout_initiators": {"mode": "all"},
        });
        let client = format!("clients/{}", application.id);
        admin.done(Method::PATCH, &client, &json!({ "oidc_logout": logout })).await;
        let person = admin.make_person("ada").await;
        let mut browser = Browser::new(place.address());
        let code = browser.log_in(&application, &person).await.expect("an answer").expect("a code");
        browser.redeem(&application, &code).await.expect("an answer").expect("tokens");
        Self { place, server, receiver, admin, person: person.id }
    }

    /// Ends everything of the person; answers the receipt's path.
    async fn end(&mut self) -> String {
        let ended = self.admin.done(Method::POST, "endings", &json!({"user_id": self.person})).await;
        format!("endings/{}", ended["endings"][0]["id"].as_str().expect("an id"))
    }

    async fn receipt(&mut self, path: &str) -> Value {
        self.admin.done(Method::GET, path, &Value::Null).await
    }

    /// Kills the server, perhaps where it has come to a stop, and starts it again.
    async fn killed(self, held: Option<Held>) -> Self {
        self.server.kill();
        if let Some(held) = held {
            held.end().await;
        }
        let server = self.place.start();
        let admin = Admin::new(&self.place).await;
        Self { server, admin, ..self }
    }

    /// Waits until the receipt is complete, and the person's application is counted as told; not before it was.
    async fn told(&mut self, path: &str) -> Value {
        let told = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let receipt = self.admin.done(Method::GET, path, &Value::Null).await;
                let confirmed = receipt["applications"]["counts"]["confirmed"].as_u64();
                assert!(confirmed == Some(0) || !self.receiver.bodies().is_empty(), "{receipt}");
                if receipt["complete"] == true {
                    return receipt;
                }
            }
        };
        let receipt = tokio::time::timeout(TOLD_WITHIN, told).await.expect("somebody was not told");
        assert_eq!(receipt["applications"]["counts"], json!({"confirmed": 1, "waiting": 0}));
        receipt
    }

    /// Ends the story: how often the application was tried, and how often it heard.
    async fn over(self, receipt: &Value, tries: usize, heard: usize) {
        assert_eq!(receipt["applications"]["deliveries"][0]["attempts"], tries);
        assert_eq!(self.receiver.bodies().len(), heard);
        self.server.kill();
        self.place.verify().await;
    }
}

/// Another session of the database's that lets nobody write deliveries, so that a server comes to a stop there.
struct Held(Client);

impl Held {
    async fn begin(place: &Place) -> Self {
        let url = place.database_url().expect("a URL");
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client.batch_execute("begin; lock table deliveries in share mode").await.expect("the lock");
        Self(client)
    }

    /// Waits until somebody has come to a stop.
    async fn stops(&self) {
        let stopped = async {
            let mut looks = tokio::time::interval(Duration::from_millis(5));
            while self.0.query(WAITING, &[]).await.expect("the locks").is_empty() {
                looks.tick().await;
            }
        };
        tokio::time::timeout(TOLD_WITHIN, stopped).await.expect("nobody writes deliveries");
    }

    /// Lets everybody write again, but those who wait: they were killed, and their sessions end without them.
    async fn end(self) {
        for row in self.0.query(WAITING, &[]).await.expect("the locks") {
            let pid: i32 = row.get(0);
            self.0.execute("select pg_terminate_backend($1)", &[&pid]).await.expect("the end of a session");
        }
        self.0.batch_execute("rollback").await.expect("the end of the lock");
    }
}

const WAITING: &str = "select pid from pg_locks where not granted and relation = 'deliveries'::regclass";

/// Committed, and killed before it was worked out whom to tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_anybody_is_found() {
    let mut scene = Scene::make(Engine::Postgres).await;
    let held = Held::begin(&scene.place).await;
    let path = scene.end().await;
    held.stops().await;
    let open = scene.receipt(&path).await;
    assert_eq!((&open["complete"], &open["applications"]["complete"]), (&json!(false), &json!(false)));
    assert_eq!(open["applications"]["deliveries"], json!([]));
    let mut scene = scene.killed(Some(held)).await;
    let receipt = scene.told(&path).await;
    scene.over(&receipt, 1, 1).await;
}

/// The application has confirmed, and the server is killed before it has written that down: it asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_the_answer_is_written_down() {
    let mut scene = Scene::make(Engine::Postgres).await;
    scene.receiver.behaves(Behaviour::Wait);
    let path = scene.end().await;
    scene.receiver.bodies_after(1).await;
    let held = Held::begin(&scene.place).await;
    scene.receiver.behaves(Behaviour::Status(200));
    held.stops().await;
    let open = scene.receipt(&path).await;
    assert_eq!((&open["complete"], &open["applications"]["counts"]["confirmed"]), (&json!(false), &json!(0)));
    let mut scene = scene.killed(Some(held)).await;
    let receipt = scene.told(&path).await;
    scene.over(&receipt, 2, 2).await;
}

/// Sent, and killed before the answer came: the try is counted, and nobody calls it confirmed.
async fn killed_while_the_application_answers(engine: Engine) {
    let mut scene = Scene::make(engine).await;
    scene.receiver.behaves(Behaviour::Hang);
    let path = scene.end().await;
    scene.receiver.bodies_after(1).await;
    let open = scene.receipt(&path).await;
    assert_eq!((&open["complete"], &open["applications"]["counts"]["confirmed"]), (&json!(false), &json!(0)));
    assert_eq!(open["applications"]["deliveries"][0]["attempts"], 1, "counted before it is sent");
    let mut scene = scene.killed(None).await;
    scene.receiver.behaves(Behaviour::Status(200));
    let receipt = scene.told(&path).await;
    scene.over(&receipt, 2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    killed_before_it_tells(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    killed_before_it_tells(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_application_answers_on_sqlite() {
    killed_while_the_application_answers(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_application_answers_on_postgres() {
    killed_while_the_application_answers(Engine::Postgres).await;
}
