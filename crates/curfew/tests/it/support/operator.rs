//! The operator: a caller of the Management API with every scope, and what the stories make through it.

use axum::body::Body;
use curfew_model::{Entropy, SystemEntropy};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};

use super::application::CALLBACK;
use super::{Answer, Application, CONNECTION, Curfew, PASSWORD};

/// A caller of the Management API.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    curfew: Curfew,
    token: String,
}

/// A person with an account.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// `auth0|…`.
    pub(crate) user_id: String,
    pub(crate) email: String,
    pub(crate) password: String,
}

fn unique(prefix: &str) -> String {
    let entropy: &dyn Entropy = &SystemEntropy;
    format!("{prefix}-{}", entropy.hex(8))
}

impl Operator {
    pub(super) fn new(curfew: Curfew, token: &str) -> Self {
        Self { curfew, token: token.to_owned() }
    }

    /// The same operator, sent to another node by the load balancer.
    pub(crate) fn at(&self, node: &Curfew) -> Self {
        Self { curfew: node.clone(), token: self.token.clone() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v2{path}"))
            .header(AUTHORIZATION, format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.curfew.send(request.body(body).unwrap()).await
    }

    /// `GET`; every path here is without `/api/v2`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Makes a client; `more` is merged into its document. It may use the default connection.
    pub(crate) async fn make_client(&self, more: Value) -> Application {
        let mut doc = json!({ "name": unique("client"), "callbacks": [CALLBACK], "oidc_conformant": true });
        merge(&mut doc, more);
        let made = self.post("/clients", doc).await.expect(201).json();
        let client_id = made["client_id"].as_str().unwrap();
        let public = made["token_endpoint_auth_method"] == "none";
        let secret = made["client_secret"].as_str().filter(|_| !public);
        self.enable(CONNECTION, client_id, true).await;
        self.curfew.application_of(client_id, secret)
    }

    /// Makes a single-page application with rotating refresh tokens.
    pub(crate) async fn make_spa(&self) -> Application {
        self.make_client(json!({
            "app_type": "spa",
            "refresh_token": {
                "rotation_type": "rotating",
                "expiration_type": "expiring",
                "leeway": 0,
            },
        }))
        .await
    }

    /// Makes an API that gives refresh tokens, and answers its identifier.
    pub(crate) async fn make_api(&self) -> String {
        self.make_api_with(json!({})).await
    }

    /// The same; `more` is merged into its document.
    pub(crate) async fn make_api_with(&self, more: Value) -> String {
        let identifier = format!("https://{}.example/", unique("api"));
        let mut doc = json!({
            "identifier": identifier,
            "allow_offline_access": true,
            "skip_consent_for_verifiable_first_party_clients": true,
        });
        merge(&mut doc, more);
        self.post("/resource-servers", doc).await.expect(201);
        identifier
    }

    /// Makes somebody in the default connection.
    pub(crate) async fn make_person(&self) -> Person {
        self.make_person_in(CONNECTION).await
    }

    /// Makes somebody in a connection.
    pub(crate) async fn make_person_in(&self, connection: &str) -> Person {
        self.make_person_with(connection, json!({})).await
    }

    /// Makes somebody in a connection; `more` is merged into the document.
    pub(crate) async fn make_person_with(&self, connection: &str, more: Value) -> Person {
        let email = format!("{}@example.com", unique("person"));
        let mut doc = json!({
            "connection": connection,
            "email": email,
            "password": PASSWORD,
            "email_verified": true,
        });
        merge(&mut doc, more);
        let made = self.post("/users", doc).await.expect(201).json();
        let user_id = made["user_id"].as_str().unwrap().to_owned();
        Person { user_id, email, password: PASSWORD.to_owned() }
    }

    /// Makes a database connection that no client has yet, and answers its name.
    pub(crate) async fn make_connection(&self, options: Value) -> String {
        let name = unique("connection");
        let doc = json!({ "name": name, "strategy": "auth0", "options": options });
        self.post("/connections", doc).await.expect(201);
        name
    }

    /// The id of a connection.
    pub(crate) async fn connection_id(&self, name: &str) -> String {
        let list = self.get(&format!("/connections?name={name}")).await.expect(200).json();
        list[0]["id"].as_str().expect("the connection").to_owned()
    }

    /// Enables a connection for a client, or disables it.
    pub(crate) async fn enable(&self, connection: &str, client_id: &str, status: bool) {
        let id = self.connection_id(connection).await;
        let body = json!([{ "client_id": client_id, "status": status }]);
        self.patch(&format!("/connections/{id}/clients"), body).await.expect(204);
    }

    /// Changes a user.
    pub(crate) async fn change_user(&self, person: &Person, change: Value) -> Answer {
        self.patch(&format!("/users/{}", person.path()), change).await
    }

    /// Blocks a user: `PATCH` with `blocked: true`.
    pub(crate) async fn block(&self, person: &Person) -> Answer {
        self.change_user(person, json!({ "blocked": true })).await
    }
}

impl Person {
    /// The user id as it stands in a path.
    pub(crate) fn path(&self) -> String {
        self.user_id.replace('|', "%7C")
    }
}

/// Puts the members of `more` over those of `doc`.
fn merge(doc: &mut Value, more: Value) {
    let (Value::Object(doc), Value::Object(more)) = (doc, more) else { return };
    doc.extend(more);
}
