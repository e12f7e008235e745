//! The Management API over its router, on both engines.

mod actions;
mod authorization;
mod configuration;
mod lists;
mod people;
mod seeding;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use curfew_core::Core;
use curfew_core::actions::NoBuilder;
use curfew_core::management::seed::{Seed, seed};
use curfew_core::passwords::Passwords;
use curfew_core::sessions::{Authenticated, start};
use curfew_model::{
    ClientId, Clock, Ctx, RequestId, RequestInfo, Secret, Sid, SystemEntropy, TenantId, Timestamp, UserId,
    UserKey,
};
use curfew_store::{Lane, Store};
use curfew_testkit::START;
use curfew_tokens::{KeyEncryptionKey, SigningAlg, sign_compact};
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{OPERATIONS, PREFIX, router};

const ISSUER: &str = "https://id.example/";
const AUDIENCE: &str = "https://id.example/api/v2/";
const BOOTSTRAP: &str = "bootstrap";
const BOOTSTRAP_SECRET: &str = "a secret that is long enough to be one";

/// A clock that tests move.
#[derive(Debug)]
struct Moved(AtomicI64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The API of one seeded tenant, and a token that may do everything.
#[derive(Clone)]
struct Api {
    core: Arc<Core>,
    clock: Arc<Moved>,
    router: Router,
    admin: String,
}

/// Gives each request its context, as the server does.
async fn provide(State(core): State<Arc<Core>>, mut request: Request<Body>, next: Next) -> Response {
    request.extensions_mut().insert(context(&core));
    next.run(request).await
}

fn context(core: &Core) -> Ctx {
    Ctx {
        now: core.clock.now(),
        entropy: Arc::new(SystemEntropy),
        tenant: TenantId(1),
        issuer: ISSUER.into(),
        request: Arc::new(RequestInfo {
            id: RequestId([7; 16]),
            ip: "192.0.2.1".into(),
            user_agent: "test".into(),
            host: "id.example".into(),
            nesting: 0,
            method: String::new(),
            language: String::new(),
        }),
    }
}

fn core_over(store: Store, clock: Arc<Moved>) -> Arc<Core> {
    let passwords = Passwords::start(1, Arc::new(SystemEntropy)).expect("password threads");
    let kek = KeyEncryptionKey::from_bytes([9; 32]);
    let core = Core::new(store, clock, Arc::new(SystemEntropy), kek, passwords);
    Arc::new(core.with_actions(Arc::new(actions::Echo), Arc::new(NoBuilder)))
}

fn bootstrap() -> Seed {
    Seed {
        host: "id.example".into(),
        bootstrap: Some((ClientId::from(BOOTSTRAP), Secret::new(BOOTSTRAP_SECRET.into()))),
    }
}

impl Api {
    async fn new(store: Store) -> Self {
        let clock = Arc::new(Moved(AtomicI64::new(START.micros())));
        let core = core_over(store, Arc::clone(&clock));
        seed(&core, &context(&core), &bootstrap()).await.expect("the seed");
        let router = router(&core).layer(from_fn_with_state(Arc::clone(&core), provide));
        let mut api = Self { core, clock, router, admin: String::new() };
        api.admin = api.machine_token(BOOTSTRAP, &every_scope()).await;
        api
    }

    fn ctx(&self) -> Ctx {
        context(&self.core)
    }

    fn advance(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }

    /// The claims of a machine's token, as the token endpoint would sign them.
    async fn machine_claims(&self, client: &str, scope: &str) -> Value {
        let (_, client) =
            self.core.configuration(TenantId(1), &ClientId::from(client)).await.expect("the configuration");
        let client = client.expect("the client");
        let now = config_now(self);
        json!({
            "iss": ISSUER,
            "sub": format!("{}@clients", client.id),
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 86_400,
            "azp": client.id,
            "scope": scope,
            "gty": "client-credentials",
            "jti": "a-token",
            "cfw": { "c": client.counter, "g": client.grant_for(AUDIENCE).map(|grant| grant.grant_key) },
        })
    }

    async fn sign(&self, claims: &Value) -> String {
        let config = self.core.tenant(TenantId(1)).await.expect("the tenant");
        let key = config.signing_key(SigningAlg::RS256).expect("a key");
        sign_compact(key, "JWT", claims).expect("a signature")
    }

    async fn machine_token(&self, client: &str, scope: &str) -> String {
        self.sign(&self.machine_claims(client, scope).await).await
    }

    /// A user's own token, as of the password grant.
    async fn user_token(&self, user: &Person, scope: &str) -> String {
        let mut claims = self.machine_claims(BOOTSTRAP, scope).await;
        claims["sub"] = json!(user.id);
        claims["cfw"]["u"] = json!(user.key);
        claims["cfw"]["n"] = json!(user.counter);
        self.sign(&claims).await
    }

    /// Sends a request with any headers and body.
    async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let body =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("a JSON body") };
        (status, body)
    }

    async fn call_as(
        &self,
        token: &str,
        method: &Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(format!("{PREFIX}{path}"));
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).expect("a request")).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call_as(&self.admin, &Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call_as(&self.admin, &Method::POST, path, Some(body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call_as(&self.admin, &Method::PATCH, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> (StatusCode, Value) {
        self.call_as(&self.admin, &Method::DELETE, path, None).await
    }

    /// Makes a client with every scope of the Management API.
    async fn machine(&self) -> String {
        let (status, client) =
            self.post("/clients", json!({"name": "Machine", "app_type": "non_interactive"})).await;
        assert_eq!(status, StatusCode::CREATED, "{client}");
        let id = client["client_id"].as_str().expect("an id").to_owned();
        let scope: Vec<String> = every_scope().split(' ').map(str::to_owned).collect();
        let grant = json!({"client_id": id, "audience": AUDIENCE, "scope": scope});
        assert_eq!(self.post("/client-grants", grant).await.0, StatusCode::CREATED);
        id
    }

    /// Makes a user in the default connection.
    async fn user(&self, email: &str) -> Person {
        let (status, user) = self
            .post(
                "/users",
                json!({"connection": "Username-Password-Authentication", "email": email, "password": "Correct-Horse-9"}),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{user}");
        self.person(user["user_id"].as_str().expect("an id")).await
    }

    async fn person(&self, id: &str) -> Person {
        let id = UserId::from(id);
        let row = self
            .core
            .store
            .read(id.clone(), |tx, id| {
                Box::pin(async move {
                    let key = curfew_store::users::find_key(tx, TenantId(1), id).await?.expect("the user");
                    curfew_store::users::find(tx, TenantId(1), &key).await
                })
            })
            .await
            .expect("a read")
            .expect("the user");
        Person { id, key: row.user_key, counter: row.counter, connection_id: row.connection_id }
    }

    /// How many endings of a cause are written down.
    async fn endings(&self, cause: &str) -> usize {
        self.log_rows()
            .await
            .iter()
            .filter(|(_, _, doc)| doc.contains(&format!("\"description\":\"{cause}\"")))
            .count()
    }

    /// How many writes are in the log.
    async fn logged_writes(&self) -> usize {
        self.log_rows().await.iter().filter(|(_, code, _)| code == "sapi").count()
    }

    /// The whole log.
    async fn logged(&self) -> String {
        self.log_rows().await.into_iter().map(|(_, _, doc)| doc).collect()
    }

    async fn log_rows(&self) -> Vec<(String, String, String)> {
        self.core
            .store
            .read((), |tx, ()| Box::pin(curfew_store::logs::newest(tx, TenantId(1), 10_000)))
            .await
            .expect("the log")
    }

    /// Opens a session for a user.
    async fn session(&self, person: &Person) -> Sid {
        let config = self.core.tenant(TenantId(1)).await.expect("the tenant");
        let authenticated = Authenticated {
            user_key: person.key,
            user_id: person.id.clone(),
            counter: person.counter,
            provider: "auth0".into(),
            identity_id: person.id.0.trim_start_matches("auth0|").to_owned(),
            connection_id: person.connection_id.clone(),
            method: "pwd",
        };
        self.core
            .store
            .transact(Lane::Ordinary, (self.ctx(), config, authenticated), |tx, (ctx, config, person)| {
                Box::pin(async move { Ok(start(tx, ctx, config, person, None).await?.sid) })
            })
            .await
            .expect("a session")
    }
}

fn config_now(api: &Api) -> i64 {
    api.clock.now().seconds()
}

/// A user as tests know it.
#[derive(Debug, Clone)]
struct Person {
    id: UserId,
    key: UserKey,
    counter: i64,
    connection_id: String,
}

impl Person {
    /// The id as a segment of a path.
    fn segment(&self) -> String {
        self.id.0.replace('|', "%7C")
    }
}

/// Every scope that any operation takes.
fn every_scope() -> String {
    let scopes: std::collections::BTreeSet<&str> =
        OPERATIONS.iter().flat_map(|operation| operation.scopes.iter().copied()).collect();
    scopes.into_iter().filter(|scope| !scope.contains(":current_user")).collect::<Vec<_>>().join(" ")
}
