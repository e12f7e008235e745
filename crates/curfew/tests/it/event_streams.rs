//! Event streams: webhooks hear of what happens to users and of what ends, signed, at least once, and nobody learns their
//! secrets.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curfew_core::management::sealing_keys;
use curfew_model::TenantId;
use curfew_store::Lane;
use curfew_store::changes::{self, ChangeRow};
use curfew_store::deliveries::{self, Delivery, DeliveryState, Message, in_state};
use curfew_store::event_streams::{self, EventStreamRow, STREAMS_MAX};
use curfew_testkit::{Behaviour, Receiver, Request};
use curfew_tokens::webhook::WebhookSecret;
use serde_json::{Value, json};

use crate::support::{Curfew, Operator};

const TENANT: TenantId = TenantId(1);
const HOUR: i64 = 3600;
const TOKEN: &str = "what-the-webhook-wants-to-hear";

/// A stream with its signing secret.
struct Stream {
    id: String,
    secret: WebhookSecret,
}

impl Stream {
    fn path(&self, more: &str) -> String {
        format!("/event-streams/{}{more}", self.id)
    }
}

fn webhook(url: &str, authorization: Value) -> Value {
    json!({"type": "webhook", "configuration": {"webhook_endpoint": url, "webhook_authorization": authorization}})
}

fn bearer(url: &str) -> Value {
    webhook(url, json!({"method": "bearer", "token": TOKEN}))
}

fn subscribed(types: &[&str]) -> Value {
    types.iter().map(|event_type| json!({"event_type": event_type})).collect()
}

fn secret_of(answer: &Value) -> WebhookSecret {
    WebhookSecret::parse(answer["signing_secret"].as_str().expect("the secret, once")).expect("a secret")
}

async fn make(operator: &Operator, receiver: &Receiver, types: &[&str]) -> Stream {
    let doc = json!({
        "name": "crm", "status": "enabled", "subscriptions": subscribed(types), "destination": bearer(&receiver.url()),
    });
    let made = operator.post("/event-streams", doc).await.expect(201).json();
    Stream { id: made["id"].as_str().expect("an id").to_owned(), secret: secret_of(&made) }
}

/// The event in a request, whose signature and authorization are checked.
#[track_caller]
fn event(curfew: &Curfew, stream: &Stream, request: &Request) -> Value {
    assert!(request.head.starts_with("POST /backchannel-logout HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {TOKEN}")));
    let id = request.header("webhook-id").expect("an id");
    let sent = request.header("webhook-timestamp").expect("an instant").parse::<i64>().expect("seconds");
    assert_eq!(request.header("webhook-signature"), Some(&*stream.secret.sign(id, sent, &request.body)));
    let event: Value = serde_json::from_str(&request.body).expect("JSON");
    assert_eq!(event["id"], id);
    let digits = id.strip_prefix("evt_").expect("the prefix");
    assert!(digits.len() == 22 && digits.bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
    assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("urn:auth0:id.example")));
    assert_eq!(event["a0stream"], stream.id);
    assert!(event["a0tenant"].is_string() && event["time"].is_string(), "{event}");
    assert!(sent <= curfew.now().seconds(), "a try is not from the future");
    event
}

/// Everything that has come.
#[track_caller]
fn events(curfew: &Curfew, stream: &Stream, receiver: &Receiver) -> Vec<Value> {
    receiver.requests().iter().map(|request| event(curfew, stream, request)).collect()
}

async fn count(curfew: &Curfew, state: DeliveryState) -> usize {
    let found = curfew.store().read(state, |tx, state| Box::pin(in_state(tx, TENANT, *state, None, 1000)));
    let found = found.await.expect("the deliveries");
    found.iter().filter(|delivery| matches!(delivery.message, Message::Event(_))).count()
}

/// Lets time pass in steps, each with a look at what is due.
async fn pass(curfew: &Curfew, seconds: i64, step: i64) {
    for _ in 0..seconds / step {
        curfew.advance(step);
        curfew.deliver().await;
    }
}

async fn listed(operator: &Operator, stream: &Stream, query: &str) -> Vec<Value> {
    let answer = operator.get(&stream.path(&format!("/deliveries{query}"))).await.expect(200).json();
    answer["deliveries"].as_array().expect("a list").clone()
}

in_a_box! {
    fn a_user_is_told_of_from_birth_to_death(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created", "user.updated", "user.deleted"]).await;
        let ada = operator.make_person().await;
        let shown = operator.get(&format!("/users/{}", ada.path())).await.expect(200).json();
        curfew.deliver().await;
        let told = events(&curfew, &stream, &receiver);
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0]["type"], &told[0]["data"]["object"]), (&json!("user.created"), &shown));
        assert_eq!(told[0]["time"], shown["created_at"]);
        assert_eq!(told[0].get("a0purpose"), None);

        curfew.advance(60);
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        let told = events(&curfew, &stream, &receiver);
        assert_eq!((told.len(), &told[1]["type"]), (2, &json!("user.updated")));
        assert_eq!(told[1]["data"]["object"]["blocked"], true);
        assert_eq!(told[1]["data"]["object"]["user_id"], json!(ada.user_id));
        assert_eq!(told[1]["data"]["previous_object"].get("blocked"), None);

        operator.delete(&format!("/users/{}", ada.path())).await.expect(204);
        curfew.deliver().await;
        let told = events(&curfew, &stream, &receiver);
        assert_eq!((told.len(), &told[2]["type"]), (3, &json!("user.deleted")));
        let object = &told[2]["data"]["object"];
        assert_eq!((&object["user_id"], &object["email"]), (&json!(ada.user_id), &json!(ada.email)));
        assert_eq!(object["deleted_at"], curfew.now().iso());
        let ids: BTreeSet<String> = told.iter().map(|event| event["id"].to_string()).collect();
        assert_eq!(ids.len(), 3, "each event has an id of its own");
        // A signature over something else would not have passed.
        assert_ne!(receiver.requests()[0].header("webhook-signature"), receiver.requests()[1].header("webhook-signature"));
        // Nothing is told twice, and nothing secret of a person at all.
        curfew.advance(2 * HOUR);
        curfew.deliver().await;
        assert_eq!(receiver.bodies().len(), 3);
        assert!(!receiver.bodies().concat().contains("password"), "{}", receiver.bodies().concat());
    }

    fn a_sign_up_is_told_of_like_any_other_user(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let application = operator.make_spa().await;
        let body = json!({
            "client_id": application.client_id, "connection": crate::support::CONNECTION,
            "email": "grace@example.com", "password": "Correct-Horse-7",
        });
        let request = http::Request::post("/dbconnections/signup")
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body.to_string()))
            .unwrap();
        curfew.send(request).await.expect(200);
        curfew.deliver().await;
        let told = events(&curfew, &stream, &receiver);
        assert_eq!((told.len(), &told[0]["data"]["object"]["email"]), (1, &json!("grace@example.com")));
    }

    fn what_ends_is_told_with_its_cause(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["ending.created"]).await;
        let (ada, application) = (operator.make_person().await, operator.make_spa().await);
        let browser = curfew.browser();
        browser.log_in(&application, &ada, &[]).await;
        browser.get("v2/logout").await.expect(200);
        curfew.deliver().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        operator.delete(&format!("/clients/{}", application.client_id)).await.expect(204);
        curfew.deliver().await;
        let told = events(&curfew, &stream, &receiver);
        let causes: Vec<&str> =
            told.iter().map(|event| event["data"]["object"]["cause"].as_str().expect("a cause")).collect();
        assert_eq!(causes, ["rp_logout", "user_blocked", "client_deleted"]);
        for event in &told {
            assert_eq!(event["type"], "ending.created");
            // It is the ending as the Management API lists it.
            let object = &event["data"]["object"];
            let receipt = operator.get(&format!("/endings/{}", object["id"].as_str().unwrap())).await.expect(200).json();
            for (name, value) in object.as_object().expect("an object") {
                assert_eq!(&receipt[name], value, "{name}");
            }
            assert_eq!(event["time"], receipt["at"]);
        }
        assert_eq!(told[0]["data"]["object"]["user_id"], json!(ada.user_id));
        assert!(told[0]["data"]["object"]["session_id"].is_string());
        assert_eq!(told[2]["data"]["object"]["client_id"], json!(application.client_id));
    }

    fn a_stream_hears_of_what_it_is_subscribed_to_while_it_is_enabled(curfew) {
        let operator = curfew.operator().await;
        let (one, two, three) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
        let updates = make(&operator, &one, &["user.updated"]).await;
        let both = make(&operator, &two, &["user.created", "user.updated"]).await;
        let doc = json!({"subscriptions": subscribed(&["user.created"]), "destination": bearer(&three.url())});
        let silent = operator.post("/event-streams", doc).await.expect(201).json();
        assert_eq!(silent["status"], "disabled", "one that is made without a word about it");
        let ada = operator.make_person().await;
        curfew.deliver().await;
        operator.change_user(&ada, json!({"nickname": "ada"})).await.expect(200);
        curfew.deliver().await;
        let types = |stream: &Stream, receiver: &Receiver| -> Vec<Value> {
            events(&curfew, stream, receiver).iter().map(|event| event["type"].clone()).collect()
        };
        assert_eq!(types(&updates, &one), ["user.updated"]);
        assert_eq!(types(&both, &two), ["user.created", "user.updated"]);
        assert_eq!(three.requests(), []);
        // The same event has the same id wherever it goes.
        assert_eq!(one.requests()[0].header("webhook-id"), two.requests()[1].header("webhook-id"));
        // Nothing was queued for the one that was disabled; from now on it is.
        let id = silent["id"].as_str().unwrap();
        operator.patch(&format!("/event-streams/{id}"), json!({"status": "enabled"})).await.expect(200);
        curfew.deliver().await;
        assert_eq!(three.requests(), []);
        operator.make_person().await;
        curfew.deliver().await;
        assert_eq!(three.requests().len(), 1);
    }

    fn a_receiver_that_is_down_for_an_hour_is_told_then(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        receiver.go_down().await;
        operator.make_person().await;
        let happened = curfew.now();
        curfew.deliver().await;
        pass(&curfew, HOUR, 60).await;
        assert_eq!(listed(&operator, &stream, "").await, Vec::<Value>::new(), "it has not failed yet");
        let pending = listed(&operator, &stream, "?statuses=pending").await;
        assert_eq!((pending.len(), &pending[0]["status"]), (1, &json!("pending")));
        let attempts = pending[0]["attempts"].as_array().expect("attempts").clone();
        assert!((10..=13).contains(&attempts.len()), "{}", attempts.len());
        assert_eq!(attempts[0]["timestamp"], happened.iso());
        assert!(attempts.iter().all(|attempt| attempt["status"] == "failed" && attempt["duration"].is_u64()));
        assert!(attempts[0]["error_message"].as_str().unwrap().contains("connect"), "{}", attempts[0]);
        receiver.come_back().await;
        pass(&curfew, HOUR, 60).await;
        let told = events(&curfew, &stream, &receiver);
        assert_eq!((told.len(), &told[0]["time"]), (1, &json!(happened.iso())), "when it happened, not when it came");
        let sent: i64 = receiver.requests()[0].header("webhook-timestamp").unwrap().parse().unwrap();
        assert!(sent > happened.seconds() + HOUR, "signed when it was sent");
        let delivered = listed(&operator, &stream, "?statuses=delivered").await;
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0]["attempts"].as_array().unwrap().last().unwrap()["status"], "delivered");
    }

    fn what_a_receiver_answers_decides_when_it_is_told_again(curfew) {
        let operator = curfew.operator().await;
        for (behaviour, after, state) in [
            (Behaviour::Status(202), 0, DeliveryState::Confirmed),
            (Behaviour::Status(400), 0, DeliveryState::Dead),
            (Behaviour::Status(410), 0, DeliveryState::Dead),
            (Behaviour::Status(401), 2, DeliveryState::Waiting),
            (Behaviour::Status(302), 2, DeliveryState::Waiting),
            (Behaviour::RetryAfter(429, "600".into()), 600, DeliveryState::Waiting),
            (Behaviour::RetryAfter(503, "90".into()), 90, DeliveryState::Waiting),
            (Behaviour::BreakOff, 2, DeliveryState::Waiting),
        ] {
            let receiver = Receiver::start().await;
            let stream = make(&operator, &receiver, &["user.created"]).await;
            let before = count(&curfew, state).await;
            receiver.behaves(behaviour.clone());
            operator.make_person().await;
            curfew.deliver().await;
            assert_eq!(count(&curfew, state).await, before + 1, "{behaviour:?}");
            receiver.behaves(Behaviour::Status(200));
            if after > 2 {
                curfew.advance(after - 1);
                curfew.deliver().await;
                assert_eq!(receiver.requests().len(), 1, "{behaviour:?}: not before its time");
                curfew.advance(1);
            } else {
                curfew.advance(after);
            }
            curfew.deliver().await;
            let again = usize::from(state == DeliveryState::Waiting);
            let told = events(&curfew, &stream, &receiver);
            assert_eq!(told.len(), 1 + again, "{behaviour:?}");
            assert!(told.iter().all(|event| event == &told[0]), "each try says the same");
            operator.delete(&stream.path("")).await.expect(204);
        }
        assert_eq!(count(&curfew, DeliveryState::Waiting).await, 0);
    }

    fn what_failed_is_listed_and_redelivered_one_by_one(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created", "user.updated"]).await;
        receiver.behaves(Behaviour::Status(400));
        operator.make_person().await;
        curfew.deliver().await;
        let failed = listed(&operator, &stream, "").await;
        assert_eq!(failed.len(), 1);
        let delivery = &failed[0];
        let id = delivery["id"].as_str().expect("an id");
        assert_eq!((&delivery["status"], &delivery["event_stream_id"]), (&json!("failed"), &json!(stream.id)));
        assert_eq!((&delivery["event_type"], &delivery["event"]["id"]), (&json!("user.created"), &json!(id)));
        assert_eq!(delivery["event"], event(&curfew, &stream, &receiver.requests()[0]));
        assert_eq!(
            delivery["attempts"],
            json!([{"status": "failed", "timestamp": curfew.now().iso(), "duration": 0,
                "error_message": "the receiver answered 400"}])
        );
        let path = stream.path(&format!("/deliveries/{id}"));
        assert_eq!(&operator.get(&path).await.expect(200).json(), delivery);
        let redeliver = stream.path(&format!("/redeliver/{id}"));
        receiver.behaves(Behaviour::Status(200));
        curfew.advance(1);
        operator.post(&redeliver, json!({})).await.expect(202);
        curfew.deliver().await;
        assert_eq!(receiver.requests().len(), 2);
        assert_eq!(receiver.bodies()[0], receiver.bodies()[1]);
        event(&curfew, &stream, &receiver.requests()[1]);
        let now = operator.get(&path).await.expect(200).json();
        assert_eq!((&now["status"], now["attempts"].as_array().unwrap().len()), (&json!("delivered"), 2));
        assert_eq!(listed(&operator, &stream, "").await, Vec::<Value>::new());
        // Only what failed is sent again.
        let refused = operator.post(&redeliver, json!({})).await.expect(409).json();
        assert_eq!(refused["message"], "Only a failed delivery can be redelivered; this one is delivered.");
        for (path, what) in [
            (stream.path("/redeliver/evt_0000000000000000000000"), "The event delivery does not exist."),
            (format!("/event-streams/est_0/redeliver/{id}"), "The requested stream does not exist."),
        ] {
            assert_eq!(operator.post(&path, json!({})).await.expect(404).json()["message"], what);
        }
        // Another stream knows nothing of it.
        let other = make(&operator, &receiver, &["user.deleted"]).await;
        operator.get(&other.path(&format!("/deliveries/{id}"))).await.expect(404);
    }

    fn what_failed_is_redelivered_by_type_and_time(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created", "user.updated"]).await;
        receiver.behaves(Behaviour::Status(400));
        let ada = operator.make_person().await;
        curfew.deliver().await;
        curfew.advance(HOUR);
        let noon = curfew.now();
        operator.change_user(&ada, json!({"nickname": "one"})).await.expect(200);
        operator.make_person().await;
        curfew.deliver().await;
        curfew.advance(HOUR);
        operator.change_user(&ada, json!({"nickname": "two"})).await.expect(200);
        curfew.deliver().await;
        assert_eq!(listed(&operator, &stream, "").await.len(), 4);
        assert_eq!(listed(&operator, &stream, "?event_types=user.created").await.len(), 2);
        assert_eq!(listed(&operator, &stream, "?event_types=user.created,user.updated").await.len(), 4);
        let (from, to) = (noon.iso(), noon.plus_seconds(1).iso());
        assert_eq!(listed(&operator, &stream, &format!("?date_from={from}&date_to={to}")).await.len(), 2);
        assert_eq!(listed(&operator, &stream, "?statuses=pending,delivered,cancelled,expired").await.len(), 0);
        // Page by page, in the order in which they were made.
        let first = operator.get(&stream.path("/deliveries?take=3")).await.expect(200).json();
        let next = first["next"].as_str().expect("more");
        let second = operator.get(&stream.path(&format!("/deliveries?take=3&from={next}"))).await.expect(200).json();
        assert_eq!(second.get("next"), None);
        let pages: Vec<&Value> = [&first, &second].iter().flat_map(|page| page["deliveries"].as_array().unwrap()).collect();
        let all = listed(&operator, &stream, "").await;
        assert_eq!(pages, all.iter().collect::<Vec<_>>());
        for (query, what) in [
            ("?statuses=lost", "statuses"),
            ("?event_types=%25", "event_types"),
            ("?date_from=yesterday", "date_from"),
            ("?from=nowhere", "from"),
            ("?take=0", "take"),
            ("?page=1", "page"),
        ] {
            let refused = operator.get(&stream.path(&format!("/deliveries{query}"))).await.expect(400).json();
            assert!(refused["message"].as_str().unwrap().contains(what), "{refused}");
        }

        receiver.behaves(Behaviour::Status(200));
        let asked = json!({"date_from": from, "date_to": to, "event_types": ["user.created"], "statuses": ["failed"]});
        let answer = operator.post(&stream.path("/redeliver"), asked.clone()).await.expect(202).json();
        assert_eq!(answer, asked);
        curfew.deliver().await;
        assert_eq!(receiver.requests().len(), 5);
        assert_eq!(listed(&operator, &stream, "").await.len(), 3);
        assert_eq!(operator.post(&stream.path("/redeliver"), json!({})).await.expect(202).json(), json!({}));
        curfew.deliver().await;
        assert_eq!(receiver.requests().len(), 8);
        assert_eq!(listed(&operator, &stream, "").await, Vec::<Value>::new());
        assert_eq!(listed(&operator, &stream, "?statuses=delivered").await.len(), 4);
    }

    fn a_dead_letter_is_one_after_a_day_and_gone_after_two_weeks(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        receiver.behaves(Behaviour::Status(500));
        operator.make_person().await;
        curfew.deliver().await;
        pass(&curfew, 25 * HOUR, HOUR / 4).await;
        let operator = curfew.operator().await;
        let failed = listed(&operator, &stream, "").await;
        let tries = receiver.requests().len();
        assert_eq!((failed.len(), failed[0]["attempts"].as_array().unwrap().len()), (1, tries));
        let id = failed[0]["id"].as_str().unwrap().to_owned();
        // Given another day it may come through.
        operator.post(&stream.path(&format!("/redeliver/{id}")), json!({})).await.expect(202);
        curfew.deliver().await;
        assert_eq!((receiver.requests().len(), count(&curfew, DeliveryState::Waiting).await), (tries + 1, 1));
        receiver.behaves(Behaviour::Status(400));
        pass(&curfew, HOUR, HOUR / 4).await;
        assert_eq!(listed(&operator, &stream, "").await.len(), 1);
        curfew.advance(7 * 24 * HOUR + 1);
        curfew.sweep().await;
        let operator = curfew.operator().await;
        assert_eq!(listed(&operator, &stream, "").await, Vec::<Value>::new());
        assert_eq!(listed(&operator, &stream, "?statuses=expired").await.len(), 1);
        let refused = operator.post(&stream.path(&format!("/redeliver/{id}")), json!({})).await.expect(409).json();
        assert!(refused["message"].as_str().unwrap().ends_with("this one is expired."), "{refused}");
        curfew.advance(7 * 24 * HOUR + 1);
        curfew.sweep().await;
        let operator = curfew.operator().await;
        operator.get(&stream.path(&format!("/deliveries/{id}"))).await.expect(404);
    }

    fn what_was_delivered_is_forgotten_after_a_week(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        operator.make_person().await;
        curfew.deliver().await;
        curfew.advance(7 * 24 * HOUR - 1);
        curfew.sweep().await;
        let operator = curfew.operator().await;
        assert_eq!(listed(&operator, &stream, "?statuses=delivered").await.len(), 1);
        curfew.advance(2);
        curfew.sweep().await;
        assert_eq!(listed(&operator, &stream, "?statuses=delivered").await, Vec::<Value>::new());
    }

    fn a_test_event_is_marked_and_goes_the_way_of_all_others(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let test = stream.path("/test");
        let answer = operator.post(&test, json!({"event_type": "user.deleted"})).await.expect(202).json();
        assert_eq!((&answer["status"], &answer["attempts"]), (&json!("pending"), &json!([])));
        assert_eq!(answer["event"]["a0purpose"], "test");
        curfew.deliver().await;
        let told = events(&curfew, &stream, &receiver);
        assert_eq!(told, [answer["event"].clone()], "whatever it is subscribed to");
        assert_eq!((&told[0]["type"], &told[0]["id"]), (&json!("user.deleted"), &answer["id"]));
        assert!(told[0]["data"]["object"]["user_id"].is_string());
        // With data of one's own; and what fails can be redelivered like anything else.
        receiver.behaves(Behaviour::Status(400));
        let data = json!({"object": {"anything": [1, 2]}});
        let asked = json!({"event_type": "ending.created", "data": data});
        let answer = operator.post(&test, asked).await.expect(202).json();
        curfew.deliver().await;
        assert_eq!(events(&curfew, &stream, &receiver)[1]["data"], data);
        let id = answer["id"].as_str().unwrap();
        assert_eq!(listed(&operator, &stream, "").await[0]["id"], *id);
        receiver.behaves(Behaviour::Status(200));
        operator.post(&stream.path(&format!("/redeliver/{id}")), json!({})).await.expect(202);
        curfew.deliver().await;
        assert_eq!(receiver.requests().len(), 3);
        for (body, what) in [
            (json!({}), "event_type"),
            (json!({"event_type": "user.eaten"}), "event_type"),
            (json!({"event_type": "user.created", "data": "text"}), "data"),
            (json!({"event_type": "user.created", "data": {"object": "x".repeat(65 * 1024)}}), "data"),
        ] {
            let refused = operator.post(&test, body).await.expect(400).json();
            assert!(refused["message"].as_str().unwrap().contains(what), "{refused}");
        }
        operator.patch(&stream.path(""), json!({"status": "disabled"})).await.expect(200);
        operator.post(&test, json!({"event_type": "user.created"})).await.expect(409);
    }

    fn a_disabled_stream_is_told_nothing_more_and_can_be_told_later(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        receiver.behaves(Behaviour::Status(500));
        operator.make_person().await;
        curfew.deliver().await;
        operator.patch(&stream.path(""), json!({"status": "disabled"})).await.expect(200);
        receiver.behaves(Behaviour::Status(200));
        operator.make_person().await;
        pass(&curfew, HOUR, 60).await;
        assert_eq!(receiver.requests().len(), 1);
        let failed = listed(&operator, &stream, "").await;
        assert_eq!(failed.len(), 1, "what waited failed; nothing more was queued");
        assert_eq!(failed[0]["error_message"], "the event stream is disabled");
        let redeliver = stream.path("/redeliver");
        operator.post(&redeliver, json!({})).await.expect(409);
        operator.post(&format!("{redeliver}/{}", failed[0]["id"].as_str().unwrap()), json!({})).await.expect(409);
        operator.patch(&stream.path(""), json!({"status": "enabled"})).await.expect(200);
        operator.post(&redeliver, json!({})).await.expect(202);
        curfew.deliver().await;
        assert_eq!(events(&curfew, &stream, &receiver).len(), 2);
    }

    fn a_stream_of_which_too_much_has_failed_is_disabled(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        receiver.behaves(Behaviour::Status(400));
        operator.make_person().await;
        curfew.deliver().await;
        let enabled = async || operator.get(&stream.path("")).await.expect(200).json()["status"].clone();
        let fail_more = async |first: u16, count: u16| {
            let made = curfew.store().transact(Lane::Ordinary, (curfew.now(), first, count), |tx, (now, first, count)| {
                Box::pin(async move {
                    let like = in_state(tx, TENANT, DeliveryState::Dead, None, 1).await?.remove(0);
                    for number in *first..first + count {
                        let mut id = [0xff; 16];
                        id[14..].copy_from_slice(&number.to_be_bytes());
                        let one = Delivery { id, state: DeliveryState::Waiting, attempts: 1, ..like.clone() };
                        deliveries::insert(tx, TENANT, &one).await?;
                        let outcome = deliveries::Outcome::default();
                        deliveries::settle(tx, TENANT, &one, DeliveryState::Dead, *now, &outcome).await?;
                    }
                    Ok(())
                })
            });
            made.await.expect("dead letters");
        };
        fail_more(0, 4997).await;
        operator.make_person().await;
        curfew.deliver().await;
        assert_eq!(enabled().await, "enabled", "4,999 have failed");
        operator.make_person().await;
        curfew.deliver().await;
        assert_eq!(enabled().await, "disabled");
        operator.make_person().await;
        curfew.deliver().await;
        assert_eq!((receiver.requests().len(), count(&curfew, DeliveryState::Waiting).await), (3, 0));
        // Enabled again it is told again, and what failed is redelivered.
        operator.patch(&stream.path(""), json!({"status": "enabled"})).await.expect(200);
        receiver.behaves(Behaviour::Status(200));
        operator.post(&stream.path("/redeliver"), json!({})).await.expect(202);
        assert_eq!(listed(&operator, &stream, "?take=1").await, Vec::<Value>::new());
    }

    fn secrets_are_shown_once_or_never(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let signing = stream.secret.text();
        let mut shown = String::new();
        for answer in [
            operator.get("/event-streams").await.expect(200),
            operator.get(&stream.path("")).await.expect(200),
            operator.patch(&stream.path(""), json!({"destination": bearer(&receiver.url())})).await.expect(200),
        ] {
            shown += &answer.text();
        }
        operator.make_person().await;
        receiver.behaves(Behaviour::Status(400));
        curfew.deliver().await;
        for path in ["/deliveries", "/stats"] {
            shown += &operator.get(&stream.path(path)).await.expect(200).text();
        }
        for method in [
            json!({"method": "basic", "username": "ada", "password": TOKEN}),
            json!({"method": "custom_header", "header_key": "X-Key", "header_value": TOKEN}),
        ] {
            let destination = webhook(&receiver.url(), method);
            shown += &operator.patch(&stream.path(""), json!({"destination": destination})).await.expect(200).text();
        }
        let rotated = operator.post(&stream.path("/rotate-secret"), json!({})).await.expect(200).json();
        let renewed = secret_of(&rotated).text();
        shown += &operator.get(&stream.path("")).await.expect(200).text();
        for code in ["sapi", "mgmt_api_read"] {
            shown += &json!(curfew.logs(code).await).to_string();
        }
        assert!(shown.contains("webhook_authorization") && shown.contains("header_key"), "{shown}");
        for secret in [TOKEN, signing.expose(), renewed.expose()] {
            assert!(!shown.contains(secret), "a secret was shown: {shown}");
        }
    }

    fn each_method_of_authorization_is_what_the_receiver_gets(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let basic = format!("Basic {}", STANDARD.encode(format!("ada:{TOKEN}")));
        for (method, header, value) in [
            (json!({"method": "basic", "username": "ada", "password": TOKEN}), "authorization", basic.as_str()),
            (json!({"method": "custom_header", "header_key": "X-Key", "header_value": TOKEN}), "x-key", TOKEN),
        ] {
            let before = receiver.requests().len();
            let destination = webhook(&receiver.url(), method);
            operator.patch(&stream.path(""), json!({"destination": destination})).await.expect(200);
            operator.make_person().await;
            curfew.deliver().await;
            assert_eq!(receiver.requests()[before].header(header), Some(value));
        }
        assert_eq!(receiver.requests()[1].header("authorization"), None);
    }

    fn a_rotated_secret_signs_beside_the_one_before_for_a_day(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let rotated = operator.post(&stream.path("/rotate-secret"), json!({})).await.expect(200).json();
        let renewed = secret_of(&rotated);
        let signatures = async || {
            curfew.operator().await.make_person().await;
            curfew.deliver().await;
            let request = receiver.requests().pop().expect("a request");
            let (id, sent) = (request.header("webhook-id").unwrap(), request.header("webhook-timestamp").unwrap());
            let of = |secret: &WebhookSecret| secret.sign(id, sent.parse().unwrap(), &request.body);
            (request.header("webhook-signature").unwrap().to_owned(), of(&renewed), of(&stream.secret))
        };
        let (sent, new, old) = signatures().await;
        assert_eq!(sent, format!("{new} {old}"));
        curfew.advance(24 * HOUR);
        let (sent, new, _) = signatures().await;
        assert_eq!(sent, new);
        let operator = curfew.operator().await;
        operator.post("/event-streams/est_0/rotate-secret", json!({})).await.expect(404);
    }

    fn a_revoked_sealing_key_leaves_streams_as_they_were(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let ctx = curfew::serve::job_ctx(&curfew.core, crate::support::ISSUER);
        let key = curfew.core.tenant(TENANT).await.unwrap().sealing.current().id();
        let actor = curfew_core::endings::Actor::Policy;
        assert!(sealing_keys::revoke(&curfew.core, &ctx, key, actor).await.expect("revoked"));
        let operator = curfew.operator().await;
        operator.make_person().await;
        curfew.deliver().await;
        assert_eq!(events(&curfew, &stream, &receiver).len(), 1);
    }

    fn a_deleted_stream_is_told_nothing_more(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        receiver.go_down().await;
        operator.make_person().await;
        curfew.deliver().await;
        assert_eq!(count(&curfew, DeliveryState::Waiting).await, 1);
        // This one is written down, and not yet worked out.
        operator.make_person().await;
        operator.delete(&stream.path("")).await.expect(204);
        assert_eq!(
            (count(&curfew, DeliveryState::Waiting).await, count(&curfew, DeliveryState::Cancelled).await), (0, 1)
        );
        receiver.come_back().await;
        operator.make_person().await;
        pass(&curfew, HOUR, 60).await;
        assert_eq!(receiver.requests(), []);
        for (answer, status) in [
            (operator.get(&stream.path("")).await, 404),
            (operator.patch(&stream.path(""), json!({"name": "x"})).await, 404),
            (operator.get(&stream.path("/deliveries")).await, 404),
            (operator.get(&stream.path("/stats")).await, 404),
            (operator.post(&stream.path("/test"), json!({"event_type": "user.created"})).await, 404),
            (operator.post(&stream.path("/redeliver"), json!({})).await, 404),
            (operator.delete(&stream.path("")).await, 204),
        ] {
            let answer = answer.expect(status);
            if status == 404 {
                assert_eq!(answer.json()["message"], "The requested stream does not exist.");
            }
        }
    }

    fn streams_are_made_shown_changed_and_listed(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let url = receiver.url();
        let doc = json!({
            "name": "crm", "subscriptions": subscribed(&["user.created", "organization.created"]),
            "destination": webhook(&url, json!({"method": "basic", "username": "ada", "password": TOKEN})),
        });
        let made = operator.post("/event-streams", doc).await.expect(201).json();
        let id = made["id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 26);
        let now = curfew.now().iso();
        let shown = json!({
            "id": id, "name": "crm", "status": "disabled", "created_at": now, "updated_at": now,
            "subscriptions": subscribed(&["user.created", "organization.created"]),
            "destination": webhook(&url, json!({"method": "basic", "username": "ada"})),
        });
        let path = format!("/event-streams/{id}");
        assert_eq!(operator.get(&path).await.expect(200).json(), shown);
        curfew.advance(60);
        let sent = json!({"name": "mail", "status": "enabled", "subscriptions": subscribed(&["user.deleted"])});
        let changed = operator.patch(&path, sent).await.expect(200).json();
        assert_eq!((&changed["name"], &changed["status"]), (&json!("mail"), &json!("enabled")));
        assert_eq!(changed["destination"], shown["destination"]);
        assert_eq!((&changed["created_at"], &changed["updated_at"]), (&json!(now), &json!(curfew.now().iso())));
        assert_eq!(operator.get(&path).await.expect(200).json(), changed);
        // What is secret stays where it went, unless it is sent again.
        let same = webhook(&format!("{url}/other"), json!({"method": "basic", "username": "ada"}));
        operator.patch(&path, json!({"destination": same})).await.expect(200);
        for elsewhere in [
            webhook("https://app.example/", json!({"method": "basic", "username": "ada"})),
            webhook(&url, json!({"method": "basic", "username": "eve"})),
            webhook(&url, json!({"method": "bearer"})),
        ] {
            let refused = operator.patch(&path, json!({"destination": elsewhere})).await.expect(400).json();
            assert!(refused["message"].as_str().unwrap().contains("webhook_authorization."), "{refused}");
        }
        let listed = async |query: &str| operator.get(&format!("/event-streams{query}")).await.expect(200).json();
        curfew.advance(1);
        let second = make(&operator, &receiver, &["user.created"]).await;
        let all = listed("").await;
        let ids: Vec<&Value> = all["eventStreams"].as_array().unwrap().iter().map(|stream| &stream["id"]).collect();
        assert_eq!((ids, all.get("next")), (vec![&json!(id), &json!(second.id)], None));
        let first = listed("?take=1").await;
        assert_eq!(first["eventStreams"].as_array().unwrap().len(), 1);
        let next = listed(&format!("?take=1&from={}", first["next"].as_str().unwrap())).await;
        assert_eq!((&next["eventStreams"][0]["id"], next.get("next")), (&json!(second.id), None));
    }

    fn what_makes_no_stream_is_refused_and_says_why(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let with = |name: &str, value: Value| {
            let mut doc = json!({"name": "crm", "subscriptions": subscribed(&["user.created"]),
                "destination": bearer(&receiver.url())});
            doc[name] = value;
            doc
        };
        let cases = [
            (json!({"name": "crm"}), "destination"),
            (with("name", json!("")), "name"),
            (with("name", json!("x".repeat(129))), "name"),
            (with("status", json!("paused")), "status"),
            (with("subscriptions", json!([])), "subscriptions"),
            (with("subscriptions", subscribed(&["user.eaten"])), "subscriptions[0].event_type"),
            (with("subscriptions", subscribed(&["user.created", "user.created"])), "subscriptions[1]"),
            (with("colour", json!("red")), "colour"),
            (with("destination", json!({"type": "pigeon", "configuration": {}})), "destination.type"),
            (with("destination", json!({"type": "webhook"})), "configuration"),
            (with("destination", webhook("https://app.example/", json!({"method": "bearer"}))), "webhook_authorization.token"),
            (with("destination", bearer("https://app.example/#x")), "webhook_endpoint"),
            (with("destination", bearer("http://192.168.0.1/")), "webhook_endpoint"),
            (
                with("destination", json!({"type": "eventbridge",
                    "configuration": {"aws_account_id": "1", "aws_region": "eu-west-1"}})),
                "eventbridge are not supported",
            ),
            (
                with("destination", json!({"type": "action", "configuration": {"action_id": "1"}})),
                "action are not supported",
            ),
        ];
        for (doc, named) in cases {
            let refused = operator.post("/event-streams", doc.clone()).await.expect(400).json();
            assert!(refused["message"].as_str().unwrap().contains(named), "{named}: {refused}");
        }
        for _ in 0..STREAMS_MAX {
            make(&operator, &receiver, &["user.created"]).await;
        }
        let doc = with("name", json!("one too many"));
        let refused = operator.post("/event-streams", doc).await.expect(400).json();
        assert_eq!(refused["message"], "A tenant has at most 20 event streams");
    }

    fn statistics_count_by_the_hour(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        let begin = curfew.now();
        operator.make_person().await;
        operator.make_person().await;
        curfew.deliver().await;
        curfew.advance(HOUR);
        receiver.behaves(Behaviour::Status(500));
        operator.make_person().await;
        curfew.deliver().await;
        receiver.behaves(Behaviour::Status(400));
        curfew.advance(2);
        curfew.deliver().await;
        receiver.behaves(Behaviour::Status(500));
        operator.make_person().await;
        curfew.deliver().await;
        let query = format!("/stats?date_from={}&date_to={}", begin.iso(), curfew.now().iso());
        let stats = operator.get(&stream.path(&query)).await.expect(200).json();
        let hour = |at: curfew_model::Timestamp| curfew_store::event_streams::hour_of(at).iso();
        let (first, second) = (hour(begin), hour(begin.plus_seconds(HOUR)));
        assert_eq!((&stats["id"], &stats["name"]), (&json!(stream.id), &json!("crm")));
        assert_eq!(
            stats["window"], json!({"date_from": first, "date_to": second, "bucket_interval": {"scale_factor": 3600}})
        );
        assert_eq!(stats["buckets"], json!([first, second]));
        let metric = |name: &str, data: [i64; 2]| {
            json!({"name": name, "window_total": data[0] + data[1], "type": "sum", "data": data})
        };
        assert_eq!(
            stats["metrics"],
            json!([
                metric("auth0.event_streams.successful_deliveries", [2, 0]),
                metric("auth0.event_streams.failed_deliveries", [0, 1]),
                metric("curfew.event_streams.failed_attempts", [0, 3]),
            ])
        );
        let health = &stats["health"];
        assert_eq!((&health["delivered"], &health["failed"], &health["pending"]), (&json!(2), &json!(1), &json!(1)));
        assert_eq!(health["last_delivered_at"], begin.iso());
        assert_eq!(health["oldest_pending_seconds"], 0);
        // A day by default.
        let day = operator.get(&stream.path("/stats")).await.expect(200).json();
        assert_eq!(day["buckets"].as_array().unwrap().len(), 24);
        assert_eq!(day["metrics"][0]["window_total"], 2);
        for wrong in ["date_from=2020-01-01T00:00:00Z", "date_to=2020-01-01T00:00:00Z&date_from=2020-01-02T00:00:00Z"] {
            operator.get(&stream.path(&format!("/stats?{wrong}"))).await.expect(400);
        }
        curfew.advance(32 * 24 * HOUR);
        curfew.sweep().await;
        let query = format!("/stats?date_from={}&date_to={}", begin.iso(), begin.iso());
        let later = curfew.operator().await.get(&stream.path(&query)).await.expect(200).json();
        assert_eq!(later["metrics"][0]["window_total"], 0);
    }

    fn what_is_broken_keeps_nobody_from_being_told(curfew) {
        let operator = curfew.operator().await;
        let (one, two) = (Receiver::start().await, Receiver::start().await);
        let broken = make(&operator, &one, &["user.created", "ending.created"]).await;
        let whole = make(&operator, &two, &["user.created", "ending.created"]).await;
        let args = (curfew::serve::job_ctx(&curfew.core, crate::support::ISSUER), broken.id);
        let made = curfew.store().transact(Lane::Ordinary, args, |tx, (ctx, id)| {
            Box::pin(async move {
                let row = event_streams::find(tx, TENANT, id).await?.expect("the stream");
                event_streams::update(tx, ctx, &EventStreamRow { doc: "{}".to_owned(), ..row }).await?;
                let (issuer, doc) = (ctx.issuer.to_string(), "{}".to_owned());
                changes::insert(tx, TENANT, &ChangeRow { id: [0; 16], at: ctx.now, issuer, doc }).await
            })
        });
        made.await.expect("a stream and a change that do not read");
        let ada = operator.make_person().await;
        curfew.deliver().await;
        operator.block(&ada).await.expect(200);
        curfew.deliver().await;
        let types: Vec<Value> = events(&curfew, &whole, &two).iter().map(|event| event["type"].clone()).collect();
        assert_eq!(types, ["user.created", "ending.created"]);
        assert_eq!(one.requests(), []);
    }

    fn any_node_tells_what_another_wrote_down(curfew) {
        let (operator, receiver) = (curfew.operator().await, Receiver::start().await);
        let stream = make(&operator, &receiver, &["user.created"]).await;
        operator.make_person().await;
        let node = curfew.another_node().await;
        node.deliver().await;
        curfew.deliver().await;
        assert_eq!(events(&curfew, &stream, &receiver).len(), 1);
    }
}
