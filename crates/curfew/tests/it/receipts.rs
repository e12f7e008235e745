//! Receipts, held against what was seen from outside: a guard that is counted as having heard refuses, one that is counted
//! as lapsed trusts nothing it knew, and a receipt is complete when nobody can be wrong any more. Here by guards that are
//! cut off; by nodes that are killed in [`crate::crashes`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use curfew_guard::{Config, Reason, Refusal, Roots, Stale};
use curfew_model::{Sid, Timestamp};
use curfew_testkit::Receiver;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::backchannel::multiply;
use crate::guard::BoxClocks;
use crate::support::{Application, Curfew, ISSUER, Operator, Person, Reach, Tokens, claims};

const PATIENCE: Duration = Duration::from_secs(20);
/// How long the guards here trust their view.
const LEASE_SECONDS: u8 = 10;

/// An API, the guard before it, and the line between that and the node.
struct Scene {
    curfew: Curfew,
    operator: Operator,
    api: String,
    guard: curfew_guard::Guard,
    reach: watch::Sender<Reach>,
}

impl Scene {
    async fn make(curfew: &Curfew, stale: Stale) -> Self {
        let operator = curfew.operator().await;
        let api = operator.make_api().await;
        let reach = watch::Sender::new(Reach::Everything);
        let guard = Self::guard(curfew, &operator, (&api, "orders-1"), stale, &reach).await;
        Self { curfew: curfew.clone(), operator, api, guard, reach }
    }

    /// A guard that follows the feed.
    async fn guard(
        curfew: &Curfew,
        operator: &Operator,
        (api, name): (&str, &str),
        stale: Stale,
        reach: &watch::Sender<Reach>,
    ) -> curfew_guard::Guard {
        let (address, certificate) = curfew.listen_within(reach).await;
        let Application { client_id, secret, .. } = operator.make_guard(api).await.application;
        let config = Config::new(ISSUER, api, client_id, secret.expect("a secret"))
            .name(name)
            .lease_seconds(LEASE_SECONDS)
            .stale(stale)
            .roots(Roots::Pem(certificate.into_bytes()))
            .address(address)
            .clocks(Arc::new(BoxClocks(curfew.clone())));
        let guard = curfew_guard::Guard::start(config).expect("a guard");
        tokio::time::timeout(PATIENCE, guard.ready()).await.expect("the guard follows the feed");
        guard
    }

    /// Somebody with a token that the guard lets pass.
    async fn caller(&self) -> (Person, Tokens) {
        let (application, person) = (self.operator.make_spa().await, self.operator.make_person().await);
        let asked = [("audience", self.api.as_str()), ("scope", "openid offline_access")];
        let tokens = self.curfew.browser().sign_in(&application, &person, &asked).await;
        assert_eq!(self.refusal(&tokens).await, None, "a living token");
        (person, tokens)
    }

    /// What the guard has against a token.
    async fn refusal(&self, tokens: &Tokens) -> Option<Refusal> {
        self.guard.check(&tokens.access, &[]).await.err()
    }

    /// Ends everything of somebody; answers the receipt's path.
    async fn end(&self, person: &Person) -> String {
        let body =
            self.operator.post("/endings", json!({"user_id": person.user_id})).await.expect(201).json();
        // Nobody took part who would have to be told.
        self.curfew.deliver().await;
        format!("/endings/{}", body["endings"][0]["id"].as_str().expect("an id"))
    }

    async fn receipt(&self, path: &str) -> Value {
        self.operator.get(path).await.expect(200).json()
    }

    /// The receipt, when the node has looked at what is open.
    async fn settled_receipt(&self, path: &str) -> Value {
        for _ in 0..2 {
            self.curfew.core.feed.read_from_now().await.expect("the feed can be read");
        }
        self.receipt(path).await
    }
}

/// How many guards a receipt counts as having heard, and as lapsed; and whether it waits for guards.
fn counted(receipt: &Value) -> (u64, u64, bool) {
    let guards = &receipt["guards"];
    let count = |name: &str| guards[name].as_u64().expect("a number");
    (count("confirmed"), count("lapsed"), guards["complete"] == false)
}

fn instant(value: &Value) -> Timestamp {
    Timestamp::parse_iso(value.as_str().expect("an instant")).expect("ISO 8601")
}

/// Asks again and again, until there is an answer.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            looks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what}"))
}

const ENDED: Option<Refusal> = Some(Refusal::InvalidToken(Reason::Ended));

/// A guard is cut off for longer than its lease, and somebody is ended meanwhile. `beyond` is what it has against the
/// token of somebody whose access has ended, and of somebody who may pass, when its lease is over.
async fn cut(curfew: Curfew, stale: Stale, reach: Reach, beyond: [Option<Refusal>; 2]) {
    let scene = Scene::make(&curfew, stale).await;
    let ((ada, hers), (_, stays)) = (scene.caller().await, scene.caller().await);
    // The node has said that somebody trusts it.
    scene.settled_receipt("/endings?take=1").await;
    scene.reach.send_replace(reach);
    let path = scene.end(&ada).await;
    let ended_at = instant(&scene.receipt(&path).await["at"]);

    // It does not know, and the receipt says no more than that.
    assert_eq!(scene.refusal(&hers).await, None, "within the lease");
    let open = scene.settled_receipt(&path).await;
    assert_eq!(counted(&open), (0, 0, true), "{open}");
    let open_until = instant(&open["guards"]["open_until"]);
    curfew.advance(9);
    let open = scene.settled_receipt(&path).await;
    assert_eq!(counted(&open), (0, 0, true), "{open}");
    // By the receipt's own word somebody may be wrong up to here, and somebody is.
    assert_eq!(scene.refusal(&hers).await, None, "within the lease");
    let wrong_until = curfew.now();
    assert!(open_until > wrong_until, "{open}");

    // The lease is over, there and here.
    curfew.advance(2);
    assert_eq!([scene.refusal(&hers).await, scene.refusal(&stays).await], beyond);
    let right_from = curfew.now();
    let lapsed = scene.settled_receipt(&path).await;
    assert_eq!(counted(&lapsed), (0, 1, false), "{lapsed}");
    assert_eq!(lapsed["complete"], true);
    let told = &lapsed["guards"]["nodes"][0]["guards"][0];
    assert_eq!((&told["name"], &told["audience"]), (&json!("orders-1"), &json!(scene.api)));
    let lapsed_at = instant(&told["lapsed_at"]);
    assert!(wrong_until < lapsed_at && lapsed_at <= right_from, "{lapsed_at:?}");
    assert!(lapsed_at.since(ended_at) >= Duration::from_secs(LEASE_SECONDS.into()), "{lapsed}");

    // It hears what it missed. What the receipt said stays said.
    scene.reach.send_replace(Reach::Everything);
    until("the guard is back", async || (scene.refusal(&stays).await.is_none()).then_some(())).await;
    until("the guard decides by its view", async || scene.guard.status().fresh.then_some(())).await;
    assert_eq!(scene.refusal(&hers).await, ENDED);
    assert_eq!(scene.settled_receipt(&path).await["guards"], lapsed["guards"]);

    // From now on it confirms, and never before it refuses.
    let (bob, his) = scene.caller().await;
    let path = scene.end(&bob).await;
    let confirmed = until("the guard confirms", async || {
        let receipt = scene.receipt(&path).await;
        let (confirmed, lapsed, _) = counted(&receipt);
        assert_eq!(lapsed, 0, "{receipt}");
        (confirmed > 0).then_some(receipt)
    })
    .await;
    assert_eq!(scene.refusal(&his).await, ENDED, "counted before it refused: {confirmed}");
    assert_eq!(counted(&confirmed), (1, 0, false));
}

in_a_box! {
    fn a_guard_that_is_cut_off_and_refuses(curfew) {
        cut(curfew, Stale::Refuse, Reach::Nothing, [Some(Refusal::Unavailable), Some(Refusal::Unavailable)]).await;
    }

    fn a_guard_that_is_cut_off_and_cannot_ask(curfew) {
        cut(curfew, Stale::Introspect, Reach::Nothing, [Some(Refusal::Unavailable), Some(Refusal::Unavailable)]).await;
    }

    fn a_guard_whose_feed_is_cut_and_that_asks(curfew) {
        cut(curfew, Stale::Introspect, Reach::AllButTheFeed, [ENDED, None]).await;
    }

    // The server stops again and again while it works out whom to tell, and while it tells them.
    fn nobody_is_lost_where_a_server_stops_halfway(curfew) {
        let operator = curfew.operator().await;
        let (ada, receiver) = (operator.make_person().await, Receiver::start().await);
        let logout = json!({
            "backchannel_logout_urls": [receiver.url()],
            "backchannel_logout_initiators": {"mode": "all"},
        });
        let application = operator.make_client(json!({"app_type": "spa", "oidc_logout": logout})).await;
        let tokens = curfew.browser().sign_in(&application, &ada, &[]).await;
        let sid = claims(&tokens.id.expect("an ID token"))["sid"].as_str().expect("sid").to_owned();
        // More than two pages.
        multiply(&curfew, Sid::parse(&sid).expect("a session's id"), &application, 450).await;
        operator.delete(&format!("/users/{}/sessions", ada.path())).await.expect(202);
        let list = operator.get("/endings?cause=user_sessions_deleted").await.expect(200).json();
        let path = format!("/endings/{}", list["endings"][0]["id"].as_str().expect("an id"));
        let receipt = async || operator.get(&path).await.expect(200).json();
        for _ in 0..4 {
            let job = curfew.deliver_in_background();
            receiver.bodies_after(receiver.bodies().len() + 1).await;
            drop(job);
            assert_eq!(receipt().await["complete"], false);
        }
        // What was under way is left to whoever was at it until then.
        curfew.advance(31);
        curfew.another_node().await.deliver().await;
        let done = receipt().await;
        assert_eq!((&done["complete"], &done["applications"]["counts"]), (&json!(true), &json!({"confirmed": 451, "waiting": 0})));
        let told: HashSet<String> = receiver
            .bodies()
            .iter()
            .map(|body| claims(body.strip_prefix("logout_token=").expect("a logout token"))["sid"].to_string())
            .collect();
        assert_eq!(told.len(), 451);
    }
}
