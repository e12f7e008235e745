//! One code or one refresh token presented several times at once, and redemptions against the end of their session.

use curfew_store::{Store, families, users};
use http::Method;
use serde_json::Value;

use crate::process::Place;
use crate::process::actors::{Admin, Application, Browser, Person, Tokens};

/// How often each race is run.
const ROUNDS: u32 = 25;
/// Presentations of one thing at once.
const AT_ONCE: usize = 4;

/// Somebody who is logged in, with several connections over which the same is presented.
struct Scene {
    admin: Admin,
    application: Application,
    person: Person,
    browsers: Vec<Browser>,
}

impl Scene {
    async fn set(place: &Place, leeway: u32) -> Self {
        let mut admin = Admin::new(place).await;
        let application = admin.make_applications(1, leeway).await.remove(0);
        let person = admin.make_person("somebody").await;
        let mut scene = Self { admin, application, person, browsers: Vec::new() };
        scene.log_in(place).await;
        scene
    }

    async fn log_in(&mut self, place: &Place) {
        let mut first = Browser::new(place.address());
        first.log_in(&self.application, &self.person).await.expect("an answer").expect("a code");
        // Connections that are open already: the presentations must not wait for a handshake.
        if self.browsers.is_empty() {
            self.browsers = (0..AT_ONCE).map(|_| first.same_cookie(place.address())).collect();
        }
        for browser in &mut self.browsers {
            browser.cookie.clone_from(&first.cookie);
            browser.silent(&self.application).await.expect("an answer").expect("a session");
        }
    }

    async fn code(&mut self) -> String {
        self.browsers[0].silent(&self.application).await.expect("an answer").expect("a code")
    }

    async fn family(&mut self) -> Tokens {
        let code = self.code().await;
        self.browsers[0].redeem(&self.application, &code).await.expect("an answer").expect("tokens")
    }

    /// Redeems each of these at the same time, over a connection each; what succeeded.
    async fn redeem_at_once(&mut self, codes: &[String]) -> Vec<Tokens> {
        let application = &self.application;
        let redeeming = self.browsers.iter_mut().zip(codes).map(|(browser, code)| async move {
            browser.redeem(application, code).await.expect("an answer").ok()
        });
        futures_util::future::join_all(redeeming).await.into_iter().flatten().collect()
    }

    /// Presents one refresh token over every connection at the same time; what succeeded.
    async fn refresh_at_once(&mut self, token: &str) -> Vec<Tokens> {
        let application = &self.application;
        let refreshing = self
            .browsers
            .iter_mut()
            .map(|browser| async move { browser.refresh(application, token).await.expect("an answer").ok() });
        futures_util::future::join_all(refreshing).await.into_iter().flatten().collect()
    }

    /// Which of the tokens still serve: access at `/userinfo`, refresh at the token endpoint.
    async fn serve(&mut self, tokens: &Tokens) -> (bool, bool) {
        let access = self.browsers[0].userinfo(&tokens.access).await.expect("an answer");
        let refreshed =
            self.browsers[0].refresh(&self.application, &tokens.refresh).await.expect("an answer");
        (access, refreshed.is_ok())
    }

    /// How many refresh tokens the Management API lists.
    async fn listed(&mut self) -> usize {
        let path = format!("{}/refresh-tokens", self.person.path());
        let list = self.admin.done(Method::GET, &path, &Value::Null).await;
        list["tokens"].as_array().expect("a list").len()
    }
}

/// The newest generation of each of the person's live families.
async fn generations(store: &Store, person: &Person) -> Vec<u32> {
    let id = curfew_model::UserId(person.id.clone());
    let now = curfew_model::Clock::now(&curfew_model::SystemClock);
    let found = store.read((id, now), |tx, (id, now)| {
        Box::pin(async move {
            let tenant = curfew_model::TenantId(1);
            let key = users::find_key(tx, tenant, id).await?.expect("the person");
            families::list(tx, tenant, &key, None, None, *now, 100).await
        })
    });
    found.await.expect("the families").iter().map(|family| family.generation).collect()
}

in_a_process! {
    /// Exactly one wins. The others are refused, and as replays they end what the first one was given.
    fn one_code_many_times(place) {
        let mut scene = Scene::set(&place, 0).await;
        for round in 0..ROUNDS {
            let code = scene.code().await;
            let won = scene.redeem_at_once(&vec![code; AT_ONCE]).await;
            assert_eq!(won.len(), 1, "round {round}");
            assert_eq!(scene.serve(&won[0]).await, (false, false), "round {round}");
        }
        assert_eq!(scene.listed().await, 0);
    }

    /// Without leeway exactly one wins, and the family ends.
    fn one_refresh_token_many_times(place) {
        let mut scene = Scene::set(&place, 0).await;
        for round in 0..ROUNDS {
            let tokens = scene.family().await;
            let won = scene.refresh_at_once(&tokens.refresh).await;
            assert_eq!(won.len(), 1, "round {round}");
            assert_eq!(scene.serve(&won[0]).await, (false, false), "round {round}");
        }
        assert_eq!(scene.listed().await, 0);
    }

    /// With leeway everybody gets the same generation, and one family remains.
    fn one_refresh_token_many_times_with_leeway(place) {
        let mut scene = Scene::set(&place, 60).await;
        let store = place.open().await;
        let mut tokens = scene.family().await;
        for round in 1..=ROUNDS {
            let mut won = scene.refresh_at_once(&tokens.refresh).await;
            assert_eq!(won.len(), AT_ONCE, "round {round}");
            assert_eq!(generations(&store, &scene.person).await, [round]);
            for tokens in &won {
                assert!(scene.browsers[0].userinfo(&tokens.access).await.expect("an answer"));
            }
            tokens = won.swap_remove(round as usize % AT_ONCE);
        }
        assert_eq!(scene.listed().await, 1);
    }

    /// A session is revoked while codes of it are redeemed: whatever came first, no family lives afterwards.
    fn redemption_against_session_revoke(place) {
        let mut scene = Scene::set(&place, 60).await;
        let mut redeemed = 0;
        for round in 0..ROUNDS {
            let path = format!("{}/sessions", scene.person.path());
            let sessions = scene.admin.done(Method::GET, &path, &Value::Null).await;
            let revoke = format!("sessions/{}/revoke", sessions["sessions"][0]["id"].as_str().expect("an id"));
            let mut codes = Vec::new();
            for _ in 0..AT_ONCE {
                codes.push(scene.code().await);
            }
            let mut admin = Admin::new(&place).await;
            let (won, revoked) = tokio::join!(
                scene.redeem_at_once(&codes),
                admin.call(Method::POST, &revoke, &Value::Null)
            );
            assert!(revoked.expect("an answer").status.is_success());
            assert_eq!(scene.listed().await, 0, "round {round}");
            for tokens in &won {
                assert_eq!(scene.serve(tokens).await, (false, false), "round {round}");
            }
            redeemed += won.len();
            scene.log_in(&place).await;
        }
        println!("{redeemed} redemptions came before the revoke, of {}", ROUNDS as usize * AT_ONCE);
    }
}
