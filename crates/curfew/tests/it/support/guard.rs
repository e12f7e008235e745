//! A guard by hand: its token, its stream, its probes, what it asks about tokens.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use curfew_guard::{AccessToken, Cutoff, TokenFacts, Verdict, View};
use futures_util::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::{Answer, Application, Curfew, Operator, Tokens};

/// How long a story waits for an event before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A guard before one API.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// The node it talks to.
    pub(crate) curfew: Curfew,
    /// The client it is.
    pub(crate) application: Application,
    /// The API it stands before.
    pub(crate) api: String,
    pub(crate) token: String,
}

impl Operator {
    /// Makes a guard for an API: a machine-to-machine client with the scope for it, and its token.
    pub(crate) async fn make_guard(&self, api: &str) -> Guard {
        let application = self
            .make_client(json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]}))
            .await;
        let grant = json!({"client_id": application.client_id, "audience": api, "scope": ["curfew:guard"]});
        self.post("/client-grants", grant).await.expect(201);
        let token = Guard::token_of(&application, api).await;
        Guard { curfew: application.node().clone(), application, api: api.to_owned(), token }
    }
}

impl Guard {
    /// A token of a client for an API, by `client_credentials`.
    pub(crate) async fn token_of(application: &Application, api: &str) -> String {
        let asked = [("grant_type", "client_credentials"), ("audience", api)];
        Tokens::of(&application.token(&asked).await).access
    }

    /// The same guard, sent to another node by the load balancer.
    pub(crate) fn at(&self, node: &Curfew) -> Self {
        Self { curfew: node.clone(), application: self.application.at(node), ..self.clone() }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(body)
            .unwrap()
    }

    /// `GET` with the guard's token.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.curfew.send(self.request(Method::GET, path, Body::empty())).await
    }

    /// The snapshot's position and its cutoffs.
    pub(crate) async fn snapshot(&self) -> (String, Vec<Value>) {
        let text = self.get("/endings/snapshot").await.expect(200).text();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let head = lines.next().expect("a first line");
        let cutoffs: Vec<Value> = lines.collect();
        assert_eq!(head["cutoffs"], cutoffs.len());
        assert_eq!(head["issuer"], super::ISSUER);
        (head["position"].as_str().expect("a position").to_owned(), cutoffs)
    }

    /// Opens the feed; the first event must be `hello`.
    pub(crate) async fn follow(&self, position: Option<&str>) -> Events {
        let path = position.map_or("/endings/feed".into(), |at| format!("/endings/feed?position={at}"));
        let response = self.curfew.open(self.request(Method::GET, &path, Body::empty())).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        let mut events = Events::of(response);
        let (name, hello) = events.next().await;
        assert_eq!(name, "hello");
        events.stream = hello["stream"].as_str().expect("a stream").to_owned();
        events
    }

    /// Posts a probe.
    pub(crate) async fn probe(&self, stream: &str, probe: u64, more: Value) -> Answer {
        let mut body = json!({
            "stream": stream, "probe": probe,
            "guard": {"name": "a-guard", "lease_seconds": 10, "stale": "introspect"},
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        self.curfew.send(self.request(Method::POST, "/endings/probe", Body::from(body.to_string()))).await
    }

    /// What a guard says of a token that has just read the whole feed; `None` when it may not follow it any more.
    pub(crate) async fn judge(&self, token: &str) -> Option<Verdict> {
        let heads = self.curfew.store().read((), |tx, ()| Box::pin(curfew_store::feed::heads(tx)));
        let heads = heads.await.expect("the heads of the feed");
        let (number, lanes) = heads.split_last().expect("the feed's number");
        let path = format!("/endings/feed?position={}{number}", "0.".repeat(lanes.len()));
        let response = self.curfew.open(self.request(Method::GET, &path, Body::empty())).await;
        if response.status() == 401 {
            return None;
        }
        assert_eq!(response.status(), 200);
        let view = View::new(&self.api);
        let mut events = Events::of(response);
        loop {
            let (name, data) = events.next().await;
            match name.as_str() {
                "ending" => {
                    let cutoff = data["cutoff"].to_string();
                    view.apply(&Cutoff::parse(cutoff.as_bytes()).expect("a cutoff that guards know"));
                }
                // Everything from the beginning has been told.
                "position" => break,
                _ => {}
            }
        }
        let parsed = curfew_tokens::parse_compact(token).expect("a JWT");
        let claims = AccessToken::from_payload(&parsed.payload).expect("an access token");
        Some(view.judge(&TokenFacts::of(parsed.header.kid.as_deref(), &claims), self.curfew.now()))
    }

    /// `POST /oauth/introspect` with the guard's own token.
    pub(crate) async fn introspect(&self, token: &str) -> Answer {
        let body = Body::from(super::browser::encode(&[("token", token)]));
        let mut request = self.request(Method::POST, "/oauth/introspect", body);
        let form = "application/x-www-form-urlencoded".parse().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, form);
        self.curfew.send(request).await
    }

    /// What a proxy hears that asks whether a request with a token may pass.
    pub(crate) async fn check(&self, token: &str, scope: &str) -> Answer {
        let path = format!(
            "/guard/check?{}",
            super::browser::encode(&[("audience", self.api.as_str()), ("scope", scope)])
        );
        let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {token}"));
        self.curfew.send(request.body(Body::empty()).unwrap()).await
    }
}

/// An open stream of server-sent events.
pub(crate) struct Events {
    body: BodyDataStream,
    text: String,
    /// Names the stream in probes.
    pub(crate) stream: String,
}

impl Events {
    /// The events of an answer.
    pub(crate) fn of(response: Response<Body>) -> Self {
        Self { body: response.into_body().into_data_stream(), text: String::new(), stream: String::new() }
    }

    /// The next event; comments are passed over.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        self.maybe().await.expect("the stream has ended")
    }

    /// The next event of a kind; others before it are passed over.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let (name, data) = self.next().await;
            if name == kind {
                return data;
            }
            assert_ne!(name, "end", "{data}");
        }
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) async fn maybe(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let (name, data) = (field("event: "), field("data: "));
                self.text = rest.to_owned();
                if let (Some(name), Some(data)) = (name, data) {
                    return Some((name, serde_json::from_str(&data).expect("JSON")));
                }
                continue;
            }
            let part = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("no event came");
            let part = part?.expect("the stream broke");
            self.text.push_str(std::str::from_utf8(&part).expect("UTF-8"));
        }
    }
}
