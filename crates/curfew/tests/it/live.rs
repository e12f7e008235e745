//! The browser's live line: who gets a ticket, and what is heard.

use axum::body::Body;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, ORIGIN};
use http::{Request, Response};
use serde_json::json;

use crate::support::{Answer, Application, Browser, Curfew, Events, Person, Tokens};

const APP: &str = "https://app.example";

struct Scene {
    application: Application,
    person: Person,
    browser: Browser,
    tokens: Tokens,
}

impl Scene {
    async fn make(curfew: &Curfew) -> Self {
        let operator = curfew.operator().await;
        let application = operator.make_client(json!({"app_type": "spa", "web_origins": [APP]})).await;
        let person = operator.make_person().await;
        let browser = curfew.browser();
        let tokens = browser.sign_in(&application, &person, &[]).await;
        Self { application, person, browser, tokens }
    }

    fn id_token(&self) -> &str {
        self.tokens.id.as_deref().expect("an ID token")
    }

    fn sid(&self) -> String {
        let claims = crate::support::claims(self.id_token());
        claims["sid"].as_str().expect("sid").to_owned()
    }
}

async fn ticket(curfew: &Curfew, origin: &str, id_token: &str) -> Answer {
    let body: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("id_token", id_token).finish();
    let request = Request::post("/session/live")
        .header(ORIGIN, origin)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    curfew.send(request.body(Body::from(body)).unwrap()).await
}

async fn open(curfew: &Curfew, origin: &str, ticket: &str) -> Response<Body> {
    let request = Request::get(format!("/session/live?ticket={ticket}")).header(ORIGIN, origin);
    curfew.open(request.body(Body::empty()).unwrap()).await
}

/// A line that says that the session lives.
async fn line(curfew: &Curfew, scene: &Scene) -> Events {
    let answer = ticket(curfew, APP, scene.id_token()).await.expect(200);
    assert_eq!(answer.headers[ACCESS_CONTROL_ALLOW_ORIGIN], APP);
    let ticket = answer.json()["ticket"].as_str().expect("a ticket").to_owned();
    let response = open(curfew, APP, &ticket).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], APP);
    let mut events = Events::of(response);
    assert_eq!(events.next().await.0, "alive");
    events
}

in_a_box! {
    fn the_end_of_a_session_is_heard_with_its_cause(curfew) {
        let operator = curfew.operator().await;
        let scene = Scene::make(&curfew).await;
        // The same person elsewhere, and the end of that session.
        let elsewhere = curfew.browser().sign_in(&scene.application, &scene.person, &[]).await;
        let other = crate::support::claims(elsewhere.id.as_deref().unwrap())["sid"].as_str().unwrap().to_owned();
        let mut first = line(&curfew, &scene).await;
        operator.delete(&format!("/sessions/{other}")).await.expect(202);
        operator.delete(&format!("/sessions/{}", scene.sid())).await.expect(202);
        let (name, told) = first.next().await;
        assert_eq!((name.as_str(), &told["cause"]), ("ended", &json!("session_deleted")));
        assert!(told["at"].is_string());
        assert!(first.maybe().await.is_none(), "the line goes on after the end");
    }

    fn whatever_ends_the_session_is_heard(curfew) {
        let operator = curfew.operator().await;
        let scene = Scene::make(&curfew).await;
        let mut events = line(&curfew, &scene).await;
        operator.block(&scene.person).await.expect(200);
        assert_eq!(events.next().await.1["cause"], "user_blocked");

        let scene = Scene::make(&curfew).await;
        let mut events = line(&curfew, &scene).await;
        scene.browser.get(&format!("v2/logout?client_id={}", scene.application.client_id)).await.expect(200);
        assert_eq!(events.next().await.1["cause"], "rp_logout");

        let scene = Scene::make(&curfew).await;
        let mut events = line(&curfew, &scene).await;
        curfew.advance(30 * 86_400);
        curfew.sweep().await;
        let cause = events.next().await.1["cause"].clone();
        assert!(cause == "idle_timeout" || cause == "lifetime_reached", "{cause}");
    }

    fn only_the_clients_own_origins_get_a_ticket(curfew) {
        let scene = Scene::make(&curfew).await;
        for origin in ["https://evil.example", "https://app.example:444", "http://app.example", "null"] {
            let answer = ticket(&curfew, origin, scene.id_token()).await;
            assert!(matches!(answer.status.as_u16(), 400 | 403), "{origin}: {}", answer.status);
            assert_eq!(answer.json().get("ticket"), None, "{origin}");
        }
        for wrong in ["rubbish", scene.tokens.access.as_str()] {
            ticket(&curfew, APP, wrong).await.expect(403);
        }
        let good = ticket(&curfew, APP, scene.id_token()).await.expect(200).json();
        let good = good["ticket"].as_str().unwrap();
        assert_eq!(open(&curfew, "https://evil.example", good).await.status(), 403);
        assert_eq!(open(&curfew, APP, "rubbish").await.status(), 403);
        curfew.advance(61);
        assert_eq!(open(&curfew, APP, good).await.status(), 403, "a ticket is good for a minute");
    }

    fn a_session_that_is_over_has_no_line(curfew) {
        let operator = curfew.operator().await;
        let scene = Scene::make(&curfew).await;
        let good = ticket(&curfew, APP, scene.id_token()).await.expect(200).json();
        let good = good["ticket"].as_str().unwrap();
        operator.delete(&format!("/sessions/{}", scene.sid())).await.expect(202);
        assert_eq!(ticket(&curfew, APP, scene.id_token()).await.expect(403).json()["error"], "login_required");
        // It ended between the ticket and the line.
        let mut events = Events::of(open(&curfew, APP, good).await);
        assert_eq!(events.next().await.0, "ended");
    }

    fn a_node_that_stops_is_no_end_of_the_session(curfew) {
        let scene = Scene::make(&curfew).await;
        let mut events = line(&curfew, &scene).await;
        curfew.core.feed.close();
        assert_eq!(events.maybe().await, None, "the browser opens another line");
    }
}
