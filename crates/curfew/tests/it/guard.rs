//! An API behind the guard for Rust: the guard follows the real feed, over a socket with TLS, and the API's callers have real
//! tokens. Each is shown to live before it has ended.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use curfew_guard::{Claims, Clocks, Config, Moment, Roots, Stale};
use curfew_testkit::START;
use http::Request;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::support::{Application, Browser, Curfew, Guard, ISSUER, Operator, Person, Tokens};

/// How long an ending may take to be heard before the story fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The box's clock as both clocks of a guard.
#[derive(Debug)]
pub(crate) struct BoxClocks(pub(crate) Curfew);

impl Clocks for BoxClocks {
    fn now(&self) -> Moment {
        let wall = self.0.now();
        Moment { monotonic: wall.since(START), wall }
    }
}

/// An API behind a guard.
struct Api {
    curfew: Curfew,
    operator: Operator,
    identifier: String,
    router: Router,
}

impl Api {
    async fn make(curfew: &Curfew) -> Self {
        let operator = curfew.operator().await;
        let identifier = operator.make_api().await;
        let router = Self::guarded(curfew, &operator, &identifier).await;
        Self { curfew: curfew.clone(), operator, identifier, router }
    }

    /// The API as it stands behind a guard that has just started.
    async fn guarded(curfew: &Curfew, operator: &Operator, identifier: &str) -> Router {
        let (address, certificate) = curfew.listen_with_tls().await;
        let guard = operator.make_guard(identifier).await;
        let Application { client_id, secret, .. } = &guard.application;
        let config = Config::new(ISSUER, identifier, client_id, secret.clone().unwrap())
            // Nobody is to be asked here: the view decides, or nobody does.
            .stale(Stale::Refuse)
            .roots(Roots::Pem(certificate.into_bytes()))
            .address(address)
            .clocks(Arc::new(BoxClocks(curfew.clone())));
        let follows = curfew_guard::Guard::start(config).unwrap();
        let subject = async |Extension(claims): Extension<Claims>| claims.sub.clone();
        let router = Router::new().route("/orders", get(subject)).layer(follows.layer());
        tokio::time::timeout(PATIENCE, follows.ready()).await.expect("the guard follows the feed");
        router
    }

    /// What the API answers: status, challenge and body.
    async fn ask(&self, token: &str) -> (u16, String, String) {
        let request = Request::get("/orders").header(AUTHORIZATION, format!("Bearer {token}"));
        let response = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let challenge = response.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        (status, challenge, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn lives(&self, token: &str, why: &str) {
        let (status, challenge, _) = self.ask(token).await;
        assert_eq!(status, 200, "{why}: {challenge}");
    }

    /// The token is refused as soon as the guard has heard; until then the API answers as before.
    async fn ends(&self, token: &str, why: &str) {
        let ended = async {
            let mut looks = tokio::time::interval(Duration::from_millis(2));
            loop {
                match self.ask(token).await {
                    (200, ..) => looks.tick().await,
                    (status, challenge, _) => return (status, challenge),
                };
            }
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        let (status, challenge) = ended.unwrap_or_else(|_| panic!("{why}: the token lives on"));
        let expected = r#"Bearer error="invalid_token", error_description="The access token has ended""#;
        assert_eq!((status, challenge.as_str()), (401, expected), "{why}");
    }

    /// Somebody with a token for this API and a refresh token.
    async fn caller(&self) -> Caller {
        let (application, person) = (self.operator.make_spa().await, self.operator.make_person().await);
        let browser = self.curfew.browser();
        let asked = [("audience", self.identifier.as_str()), ("scope", "openid offline_access")];
        let tokens = browser.sign_in(&application, &person, &asked).await;
        Caller { application, person, browser, tokens }
    }
}

struct Caller {
    application: Application,
    person: Person,
    browser: Browser,
    tokens: Tokens,
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// What may end a caller's access.
const DOORS: [&str; 7] = [
    "user blocked",
    "user deleted",
    "session deleted",
    "logout",
    "refresh token revoked",
    "refresh token reused",
    "client deleted",
];

async fn end(api: &Api, caller: &Caller, door: &str) {
    let Caller { application, person, browser, tokens } = caller;
    let operator = &api.operator;
    match door {
        "user blocked" => drop(operator.block(person).await.expect(200)),
        "user deleted" => drop(operator.delete(&format!("/users/{}", person.path())).await.expect(204)),
        "session deleted" => {
            let sid = tokens.claims()["sid"].as_str().unwrap().to_owned();
            operator.delete(&format!("/sessions/{sid}")).await.expect(202);
        }
        "logout" => drop(browser.get("v2/logout").await.expect(200)),
        "refresh token revoked" => drop(application.revoke(tokens.refresh()).await.expect(200)),
        "refresh token reused" => {
            Tokens::of(&application.refresh(tokens.refresh()).await);
            application.refresh(tokens.refresh()).await.expect(403);
        }
        "client deleted" => {
            drop(operator.delete(&format!("/clients/{}", application.client_id)).await.expect(204))
        }
        other => panic!("no door {other}"),
    }
}

in_a_box! {
    fn an_api_refuses_whom_the_server_has_ended(curfew) {
        let api = Api::make(&curfew).await;
        let (stays, mut ended) = (api.caller().await, Vec::new());
        for door in DOORS {
            let caller = api.caller().await;
            let (status, _, subject) = api.ask(&caller.tokens.access).await;
            assert_eq!((status, subject.as_str()), (200, caller.person.user_id.as_str()), "{door}");
            end(&api, &caller, door).await;
            api.ends(&caller.tokens.access, door).await;
            ended.push((door, caller.tokens.access));
            api.lives(&stays.tokens.access, door).await;
        }
        // A guard that starts now has it from the snapshot.
        let router = Api::guarded(&curfew, &api.operator, &api.identifier).await;
        let second = Api { router, ..api };
        for (door, token) in ended {
            second.ends(&token, door).await;
        }
        second.lives(&stays.tokens.access, "the snapshot").await;
    }

    fn a_machine_whose_client_grant_was_deleted_is_refused(curfew) {
        let api = Api::make(&curfew).await;
        let machine = json!({"app_type": "non_interactive", "grant_types": ["client_credentials"]});
        let machine = api.operator.make_client(machine).await;
        let grant = json!({"client_id": machine.client_id, "audience": api.identifier, "scope": []});
        let grant = api.operator.post("/client-grants", grant).await.expect(201).json();
        let token = Guard::token_of(&machine, &api.identifier).await;
        api.lives(&token, "a client grant").await;
        api.operator.delete(&format!("/client-grants/{}", grant["id"].as_str().unwrap())).await.expect(204);
        api.ends(&token, "the client grant was deleted").await;
    }

    fn what_a_revoked_key_signed_is_refused(curfew) {
        let api = Api::make(&curfew).await;
        let caller = api.caller().await;
        api.lives(&caller.tokens.access, "the key signs").await;
        api.operator.post("/keys/signing/rotate", json!({})).await.expect(201);
        let after = Tokens::of(&caller.application.refresh(caller.tokens.refresh()).await);
        assert_ne!(kid(&after.access), kid(&caller.tokens.access));
        api.lives(&caller.tokens.access, "the key was rotated").await;
        api.operator.put(&format!("/keys/signing/{}/revoke", kid(&caller.tokens.access))).await.expect(200);
        api.ends(&caller.tokens.access, "the key was revoked").await;
        // The guard's own token was signed with that key as well: it has another one by now, or gets it.
        let other = api.curfew.operator().await;
        let api = Api { operator: other, ..api };
        api.lives(&after.access, "the new key").await;
        api.operator.block(&caller.person).await.expect(200);
        api.ends(&after.access, "the user was blocked").await;
    }

    fn tokens_for_a_deleted_api_are_refused(curfew) {
        let api = Api::make(&curfew).await;
        let caller = api.caller().await;
        api.lives(&caller.tokens.access, "the API is there").await;
        let servers = api.operator.get("/resource-servers?per_page=100").await.json();
        let own = servers.as_array().unwrap().iter().find(|server| server["identifier"] == api.identifier);
        let id = own.unwrap()["id"].as_str().unwrap().to_owned();
        api.operator.delete(&format!("/resource-servers/{id}")).await.expect(204);
        api.ends(&caller.tokens.access, "the API was deleted").await;
    }

    // A guard that is cut off from the box stops trusting its view when the lease is over, by the box's clock.
    fn a_guard_that_hears_nothing_lets_nobody_pass(curfew) {
        let api = Api::make(&curfew).await;
        let caller = api.caller().await;
        api.lives(&caller.tokens.access, "the guard hears").await;
        curfew.stop_feed();
        curfew.advance(9);
        let (status, ..) = api.ask(&caller.tokens.access).await;
        assert_eq!(status, 200, "within the lease");
        curfew.advance(2);
        let (status, challenge, _) = api.ask(&caller.tokens.access).await;
        assert_eq!((status, challenge.as_str()), (503, ""), "beyond the lease");
    }
}
