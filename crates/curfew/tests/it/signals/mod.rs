//! The transmitter of the Shared Signals Framework: what receivers are told ([`events`]), how it comes to them
//! ([`delivery`]), and what they can say about it ([`streams`]).

mod delivery;
mod events;
mod streams;

use std::time::Duration;

use axum::body::Body;
use curfew_model::TenantId;
use curfew_store::deliveries::{self, Delivery, DeliveryState};
use curfew_testkit::Receiver;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::support::{
    Answer, Application, Browser, Curfew, ISSUER, MANAGEMENT, Operator, Person, Tokens, claims,
};

const TENANT: TenantId = TenantId(1);
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const PUSH: &str = "urn:ietf:rfc:8935";
const POLL: &str = "urn:ietf:rfc:8936";

/// How long a story waits for an answer that must come at once: less than a poll waits for events.
const PATIENCE: Duration = Duration::from_secs(20);

/// A CAEP event type.
pub(crate) fn caep(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/caep/event-type/{name}")
}

/// A RISC event type.
fn risc(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/risc/event-type/{name}")
}

/// An event type of the framework itself.
fn ssf(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/ssf/event-type/{name}")
}

fn every_event() -> Vec<String> {
    vec![
        caep("session-revoked"),
        caep("token-claims-change"),
        caep("credential-change"),
        risc("account-purged"),
        risc("account-disabled"),
        risc("account-enabled"),
        risc("identifier-changed"),
        risc("sessions-revoked"),
    ]
}

/// A receiver: a machine-to-machine client that was granted scopes of the framework.
#[derive(Debug, Clone)]
pub(crate) struct Rx {
    curfew: Curfew,
    application: Application,
}

impl Rx {
    pub(crate) async fn new(curfew: &Curfew, operator: &Operator) -> Self {
        Self::with(curfew, operator, &["ssf.manage", "ssf.read"]).await
    }

    async fn with(curfew: &Curfew, operator: &Operator, scopes: &[&str]) -> Self {
        let doc = json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]});
        let application = operator.make_client(doc).await;
        let grant = json!({"client_id": application.client_id, "audience": MANAGEMENT, "scope": scopes});
        operator.post("/client-grants", grant).await.expect(201);
        Self { curfew: curfew.clone(), application }
    }

    /// The same client with a token that has less.
    async fn token(&self, scope: &str) -> String {
        let asked = [("grant_type", "client_credentials"), ("audience", MANAGEMENT), ("scope", scope)];
        Tokens::of(&self.application.token(&asked).await).access
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let token = Tokens::of(&self.application.client_credentials().await).access;
        send(&self.curfew, &token, method, path, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Makes a stream, and answers its id.
    async fn stream(&self, body: Value) -> String {
        let made = self.post("/ssf/streams", body).await.expect(201).json();
        made["stream_id"].as_str().expect("stream_id").to_owned()
    }

    /// A stream that is pushed these events.
    pub(crate) async fn push(&self, to: &Receiver, events: &[String]) -> String {
        let delivery = json!({
            "method": PUSH, "endpoint_url": to.url(), "authorization_header": "Bearer of-the-receiver",
        });
        self.stream(json!({"delivery": delivery, "events_requested": events})).await
    }

    /// A stream that is polled for these events.
    pub(crate) async fn polled(&self, events: &[String]) -> String {
        self.stream(json!({"delivery": {"method": POLL}, "events_requested": events})).await
    }

    /// Fetches what waits: `returnImmediately`, with whatever else is asked.
    async fn poll(&self, stream: &str, more: Value) -> Value {
        let mut body = json!({"returnImmediately": true});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        let path = format!("/ssf/poll/{stream}");
        let answer = tokio::time::timeout(PATIENCE, self.post(&path, body)).await.expect("an answer at once");
        answer.expect(200).json()
    }

    /// Fetches what waits, acknowledges it, and answers the checked claims, in their order.
    pub(crate) async fn take(&self, stream: &str) -> Vec<Value> {
        let polled = self.poll(stream, json!({})).await;
        let sets = polled["sets"].as_object().expect("sets").clone();
        let acknowledged = json!({"ack": sets.keys().collect::<Vec<_>>(), "maxEvents": 0});
        assert_eq!(self.poll(stream, acknowledged).await, json!({"sets": {}}));
        let mut events = Vec::new();
        for (jti, token) in sets {
            let event = self.check(token.as_str().expect("a token")).await;
            assert_eq!(event["jti"], json!(jti));
            events.push(event);
        }
        events
    }

    pub(crate) async fn set_status(&self, stream: &str, status: &str) -> Answer {
        self.post("/ssf/status", json!({"stream_id": stream, "status": status})).await
    }

    /// The claims of a security event token for this receiver: signature, header and what is always so are checked.
    pub(crate) async fn check(&self, token: &str) -> Value {
        let parsed = curfew_tokens::parse_compact(token).expect("a JWS");
        assert_eq!(parsed.header.typ.as_deref(), Some("secevent+jwt"));
        assert_eq!(parsed.header.alg.as_str(), "RS256");
        let config = self.curfew.core.tenant(TENANT).await.unwrap();
        let key = config.verifying_key(parsed.header.kid.as_deref().expect("kid")).expect("a key");
        assert!(parsed.verify(key), "the signature");
        let claims = claims(token);
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(self.application.client_id)));
        assert!(claims["iat"].as_i64().is_some_and(|iat| iat <= self.curfew.now().seconds()));
        for absent in ["exp", "sub", "nonce", "sid"] {
            assert_eq!(claims.get(absent), None, "{absent}");
        }
        assert_eq!(claims["events"].as_object().expect("events").len(), 1);
        claims
    }

    /// What came to a receiver, checked.
    async fn pushed(&self, receiver: &Receiver) -> Vec<Value> {
        let mut events = Vec::new();
        for body in receiver.bodies() {
            events.push(self.check(&body).await);
        }
        events
    }
}

async fn send(curfew: &Curfew, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request =
        Request::builder().method(method).uri(path).header(AUTHORIZATION, format!("Bearer {token}"));
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    curfew.send(request.body(body).unwrap()).await
}

/// The type of an event, and the event.
#[track_caller]
fn event(claims: &Value) -> (&str, &Value) {
    let mut events = claims["events"].as_object().expect("events").iter();
    let (name, event) = events.next().expect("an event");
    (name, event)
}

/// The types of events, sorted.
#[track_caller]
fn types(events: &[Value]) -> Vec<String> {
    let mut types: Vec<String> = events.iter().map(|claims| event(claims).0.to_owned()).collect();
    types.sort_unstable();
    types
}

/// The one event of a type.
#[track_caller]
fn one<'a>(events: &'a [Value], event_type: &str) -> &'a Value {
    let found: Vec<&Value> = events.iter().filter(|claims| event(claims).0 == event_type).collect();
    assert_eq!(found.len(), 1, "{event_type} in {events:?}");
    found[0]
}

pub(crate) fn of_user(person: &Person) -> Value {
    json!({"format": "iss_sub", "iss": ISSUER, "sub": person.user_id})
}

pub(crate) fn of_session(person: &Person, sid: &str) -> Value {
    json!({"format": "complex", "user": of_user(person), "session": {"format": "opaque", "id": sid}})
}

/// Somebody signs in at an application, in a browser of their own. Answers the browser and the session.
async fn sign_in(curfew: &Curfew, application: &Application, person: &Person) -> (Browser, String) {
    let browser = curfew.browser();
    let tokens = browser.sign_in(application, person, &[]).await;
    (browser, claims(&tokens.id.expect("an ID token"))["sid"].as_str().expect("sid").to_owned())
}

async fn in_state(curfew: &Curfew, state: DeliveryState) -> Vec<Delivery> {
    let found = curfew
        .store()
        .read(state, |tx, state| Box::pin(deliveries::in_state(tx, TENANT, *state, None, 1000)));
    found.await.expect("the deliveries")
}

/// Lets time pass in steps, each with a look at what is due.
async fn pass(curfew: &Curfew, seconds: i64, step: i64) {
    for _ in 0..seconds / step {
        curfew.advance(step);
        curfew.deliver().await;
    }
}
