//! Policies per cause: what an operator chooses of an ending, for the tenant and for a client, is what falls with it.

use curfew_core::endings::{Reach, falls};
use curfew_guard::Verdict;
use curfew_model::{Artefact, EndingCause};
use serde_json::{Value, json};

use crate::support::{Application, Browser, CONNECTION, Curfew, Guard, Operator, Person, Tokens};

/// What was chosen: by the tenant, and by the first of two clients; the second never chooses.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    tenant: Option<&'static str>,
    first: Option<&'static str>,
}

impl Chosen {
    const fn new(tenant: Option<&'static str>, first: Option<&'static str>) -> Self {
        Self { tenant, first }
    }

    /// Each way in which tenant and client can agree, differ, or say nothing.
    const REFRESH_TOKENS: [Self; 6] = [
        Self::new(Some("revoke"), None),
        Self::new(Some("revoke"), Some("keep")),
        Self::new(None, Some("revoke")),
        Self::new(Some("keep"), Some("revoke")),
        Self::new(Some("keep"), None),
        Self::new(None, Some("keep")),
    ];

    /// Whether the first client's falls, and the second's.
    fn falls(self, default: bool) -> [bool; 2] {
        let second = self.tenant.map_or(default, |choice| choice != "keep");
        [self.first.map_or(second, |choice| choice != "keep"), second]
    }
}

/// Two applications and an API behind a guard; the operator and whoever tries what is left stand at different nodes.
struct Stage {
    curfew: Curfew,
    other: Curfew,
    operator: Operator,
    applications: [Application; 2],
    guard: Guard,
    api: String,
}

/// What a person has of one application.
struct Held {
    application: Application,
    tokens: Tokens,
}

/// A person who is logged in at both applications in one browser, and at the first one in another.
struct Scene {
    person: Person,
    browser: Browser,
    sid: String,
    held: Vec<Held>,
    elsewhere: Held,
}

impl Stage {
    async fn new(curfew: Curfew) -> Self {
        let other = curfew.another_node().await;
        let operator = curfew.operator().await;
        let applications = [operator.make_spa().await, operator.make_spa().await];
        let api = operator.make_api().await;
        let guard = operator.make_guard(&api).await.at(&other);
        Self { curfew, other, operator, applications, guard, api }
    }

    /// Sets a policy, or with `None` takes it away.
    async fn choose(&self, cause: EndingCause, artefact: Artefact, chosen: Chosen) {
        let (cause, artefact) = (cause.as_str(), artefact.as_str());
        let policies = |choice: Option<&str>| match choice {
            Some(choice) => json!({ "ending_policies": { cause: { artefact: choice } } }),
            None => json!({ "ending_policies": { cause: null } }),
        };
        self.operator.patch("/tenants/settings", policies(chosen.tenant)).await.expect(200);
        let path = format!("/clients/{}", self.applications[0].client_id);
        self.operator.patch(&path, policies(chosen.first)).await.expect(200);
    }

    fn asked(&self) -> [(&str, &str); 2] {
        [("audience", &self.api), ("scope", "openid offline_access")]
    }

    async fn sign_in(&self, person: &Person) -> (Browser, Held) {
        let (browser, application) = (self.curfew.browser(), self.applications[0].clone());
        let tokens = browser.sign_in(&application, person, &self.asked()).await;
        (browser, Held { application, tokens })
    }

    /// `also`: who logs in in the other browser; another identity of the same user.
    async fn play(&self, person: Person, also: Option<&Person>) -> Scene {
        let (browser, first) = self.sign_in(&person).await;
        let sid = first.tokens.claims()["sid"].as_str().expect("sid").to_owned();
        let application = self.applications[1].clone();
        let silent = browser.authorize_silently(&application, &self.asked()).await;
        let tokens = Tokens::of(&application.redeem(&silent.code().expect("a code")).await);
        let (_, elsewhere) = self.sign_in(also.unwrap_or(&person)).await;
        let scene =
            Scene { person, browser, sid, held: vec![first, Held { application, tokens }], elsewhere };
        for held in scene.held.iter().chain([&scene.elsewhere]) {
            assert_eq!(self.active(held).await, [true; 3], "before");
        }
        scene
    }

    /// Whether an access token lives: at the guard that follows the feed and asks where it says so, at introspection, at
    /// `/userinfo`.
    async fn active(&self, held: &Held) -> [bool; 3] {
        let token = &held.tokens.access;
        let introspected = self.guard.introspect(token).await.expect(200).json()["active"] == true;
        let judged = match self.guard.judge(token).await.expect("the guard's own token lives") {
            Verdict::Lives => true,
            Verdict::Ended => false,
            Verdict::Ask(_) => introspected,
        };
        let userinfo = held.application.at(&self.other).userinfo(token).await.status == 200;
        [judged, introspected, userinfo]
    }

    /// Whether a refresh token is exchanged, for tokens that live.
    async fn refreshes(&self, held: &mut Held) -> bool {
        let answer = held.application.at(&self.other).refresh(held.tokens.refresh()).await;
        if answer.status != 200 {
            assert_eq!(answer.expect(403).json()["error"], "invalid_grant");
            return false;
        }
        held.tokens = Tokens::of(&answer);
        assert_eq!(self.active(held).await, [true; 3], "a refresh token that lives gives tokens that live");
        true
    }

    /// The refresh tokens that are listed, by session.
    async fn listed(&self, scene: &Scene, client: &Application) -> usize {
        let path = format!("/users/{}/refresh-tokens", scene.person.path());
        let list = self.operator.at(&self.other).get(&path).await.expect(200).json();
        let tokens = list["tokens"].as_array().expect("tokens").iter();
        tokens.filter(|t| t["session_id"] == *scene.sid && t["client_id"] == *client.client_id).count()
    }

    /// The receipts of the endings for a cause that reached a scene's session or its whole person.
    async fn receipts(&self, scene: &Scene, cause: EndingCause) -> Vec<Value> {
        let path = format!("/endings?user_id={}&cause={}", scene.person.path(), cause.as_str());
        let list = self.operator.get(&path).await.expect(200).json();
        let mut receipts = Vec::new();
        for ending in list["endings"].as_array().expect("endings") {
            if ending["session_id"].is_null() || ending["session_id"] == *scene.sid {
                let id = ending["id"].as_str().expect("an id");
                receipts.push(self.operator.get(&format!("/endings/{id}")).await.expect(200).json());
            }
        }
        receipts
    }

    async fn receipt(&self, scene: &Scene, cause: EndingCause) -> Value {
        let mut receipts = self.receipts(scene, cause).await;
        assert_eq!(receipts.len(), 1, "{receipts:?}");
        receipts.remove(0)
    }

    async fn link(&self, primary: &Person) -> Person {
        let secondary = self.operator.make_person().await;
        let body = json!({ "provider": "auth0", "user_id": secondary.user_id });
        self.operator.post(&format!("/users/{}/identities", primary.path()), body).await.expect(201);
        Person { user_id: primary.user_id.clone(), ..secondary }
    }
}

/// Whom an ending reaches, of those who are logged in in the other browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// Nobody: it is about one session, or another identity.
    OutOfReach,
    /// The same person: what falls here falls there.
    Alike,
}

/// Tells the story of refresh tokens for one cause, with each choice.
async fn refresh_tokens_fall_as_chosen(curfew: Curfew, cause: EndingCause) {
    let stage = Stage::new(curfew).await;
    for chosen in Chosen::REFRESH_TOKENS {
        stage.choose(cause, Artefact::RefreshTokens, chosen).await;
        let primary = stage.operator.make_person().await;
        let mut scene = match cause {
            // What happens to one identity leaves the sessions and refresh tokens of another alone.
            EndingCause::PasswordChanged => {
                let secondary = stage.link(&primary).await;
                stage.play(primary, Some(&secondary)).await
            }
            EndingCause::IdentityUnlinked => {
                let secondary = stage.link(&primary).await;
                stage.play(secondary, Some(&primary)).await
            }
            _ => stage.play(primary, None).await,
        };
        let elsewhere = pull(&stage, cause, &scene).await;
        // Another person's login in this browser leaves refresh tokens alone, unlike the limit of sessions.
        let by_default = falls(cause).families == Reach::OfSession && cause != EndingCause::Superseded;
        let fall = chosen.falls(by_default);
        let name = format!("{} {chosen:?}", cause.as_str());
        let by_time = falls(cause).tokens == Reach::UnlessFamily;
        for (held, falls) in scene.held.iter().zip(fall) {
            assert_eq!(stage.active(held).await, [by_time && !falls; 3], "{name}: access tokens");
            let listed = stage.listed(&scene, &held.application).await;
            assert_eq!(listed, usize::from(!falls), "{name}: the list");
        }
        let silent = scene.browser.at(&stage.other).authorize_silently(&stage.applications[1], &[]).await;
        assert!(silent.error().is_some(), "{name}: the session");
        for (held, falls) in scene.held.iter_mut().zip(fall) {
            assert_eq!(stage.refreshes(held).await, !falls, "{name}: a refresh token");
        }
        let falls_elsewhere = elsewhere == Elsewhere::Alike && fall[0];
        assert_eq!(stage.refreshes(&mut scene.elsewhere).await, !falls_elsewhere, "{name}: elsewhere");
        check_receipt(&stage, &scene, cause, fall, &name).await;
        // What has ended stays ended, and what lives stays alive, whatever is chosen later.
        for (held, falls) in scene.held.iter_mut().zip(fall) {
            let other = if falls { "keep" } else { "revoke" };
            stage.choose(cause, Artefact::RefreshTokens, Chosen::new(Some(other), Some(other))).await;
            assert_eq!(stage.refreshes(held).await, !falls, "{name}: chosen otherwise later");
        }
        stage.choose(cause, Artefact::RefreshTokens, Chosen::new(None, None)).await;
    }
}

/// The receipt names whose refresh tokens were spared, wherever a policy decided.
async fn check_receipt(stage: &Stage, scene: &Scene, cause: EndingCause, falls: [bool; 2], name: &str) {
    let receipt = stage.receipt(scene, cause).await;
    let spared = receipt["spared"]["refresh_tokens"].as_array();
    let decided = spared.is_some();
    let of_identity = curfew_core::endings::falls(cause).sessions == Reach::OfIdentity;
    // Where floors are raised nobody looks whether what is kept would have been kept anyway.
    assert!(decided || falls == [false, false], "{name}: {receipt}");
    if let Some(spared) = spared.filter(|_| falls != [false, false]) {
        for (application, falls) in stage.applications.iter().zip(falls) {
            let named = spared.contains(&json!(application.client_id));
            let of_another_identity = named && of_identity;
            assert!(named != falls || of_another_identity, "{name}: {receipt}");
        }
    }
}

/// Brings about an ending; a cause for which refresh tokens can be chosen and which is not here fails its story.
async fn pull(stage: &Stage, cause: EndingCause, scene: &Scene) -> Elsewhere {
    let (operator, person) = (&stage.operator, &scene.person);
    let path = format!("/users/{}", person.path());
    match cause {
        EndingCause::RpLogout => drop(scene.browser.get("v2/logout").await.expect(200)),
        EndingCause::SessionDeleted => {
            operator.delete(&format!("/sessions/{}", scene.sid)).await.expect(202);
        }
        EndingCause::SessionRevoked => {
            operator.post(&format!("/sessions/{}/revoke", scene.sid), json!({})).await.expect(202);
        }
        EndingCause::Superseded => {
            let next = operator.make_person().await;
            scene.browser.log_in(&stage.applications[1], &next, &[("prompt", "login")]).await;
            // Out again, so that nobody is taken for the person of the story.
            scene.browser.get("v2/logout").await.expect(200);
        }
        EndingCause::UserSessionsDeleted => {
            operator.delete(&format!("{path}/sessions")).await.expect(202);
            return Elsewhere::Alike;
        }
        EndingCause::PasswordChanged => {
            let change = json!({ "password": "Another-Horse-8", "connection": CONNECTION });
            operator.change_user(person, change).await.expect(200);
        }
        EndingCause::IdentifierChanged => {
            let change = json!({ "email": format!("new-{}", person.email) });
            operator.change_user(person, change).await.expect(200);
            return Elsewhere::Alike;
        }
        EndingCause::IdentityUnlinked => {
            let identities = operator.get(&path).await.expect(200).json()["identities"].clone();
            let secondary = identities[1]["user_id"].as_str().expect("a secondary identity").to_owned();
            operator.delete(&format!("{path}/identities/auth0/{secondary}")).await.expect(200);
        }
        EndingCause::IdleTimeout | EndingCause::LifetimeReached => {
            stage.curfew.advance(61);
            assert!(stage.curfew.sweep().await.sessions_ended > 0);
            return Elsewhere::Alike;
        }
        other => panic!("{}: nobody has told how it comes about", other.as_str()),
    }
    Elsewhere::OutOfReach
}

/// A session's idle or absolute time is a minute.
async fn shorten(operator: &Operator, cause: EndingCause) {
    let idle = json!({ "idle_session_lifetime_in_minutes": 1, "session_lifetime_in_minutes": 600 });
    let absolute = json!({ "idle_session_lifetime_in_minutes": 1, "session_lifetime_in_minutes": 1 });
    let settings = if cause == EndingCause::LifetimeReached { absolute } else { idle };
    operator.patch("/tenants/settings", settings).await.expect(200);
}

#[test]
fn every_cause_with_a_choice_of_refresh_tokens_has_its_story() {
    let chosen = |cause: &&EndingCause| Artefact::chosen_for(**cause).contains(&Artefact::RefreshTokens);
    assert_eq!(EndingCause::ALL.iter().filter(chosen).count(), TOLD.len());
    assert!(TOLD.iter().all(|cause| chosen(&cause)));
}

macro_rules! refresh_tokens {
    ($($cause:ident fn $name:ident)*) => {
        in_a_box! {$(
            fn $name(curfew) {
                shorten(&curfew.operator().await, EndingCause::$cause).await;
                refresh_tokens_fall_as_chosen(curfew, EndingCause::$cause).await;
            }
        )*}

        const TOLD: &[EndingCause] = &[$(EndingCause::$cause),*];
    };
}

refresh_tokens! {
    RpLogout fn rp_logout
    SessionDeleted fn session_deleted
    SessionRevoked fn session_revoked
    Superseded fn superseded
    UserSessionsDeleted fn user_sessions_deleted
    PasswordChanged fn password_changed
    IdentifierChanged fn identifier_changed
    IdentityUnlinked fn identity_unlinked
    IdleTimeout fn idle_timeout
    LifetimeReached fn lifetime_reached
}

in_a_box! {
    /// Aliveness does not wait for the sweeper: the first refresh after a session's time is over ends it, and falls with it.
    fn time_takes_refresh_tokens_before_anybody_has_ended_the_session(curfew) {
        let stage = Stage::new(curfew).await;
        for cause in [EndingCause::IdleTimeout, EndingCause::LifetimeReached] {
            shorten(&stage.operator, cause).await;
            stage.choose(cause, Artefact::RefreshTokens, Chosen::new(Some("revoke"), Some("keep"))).await;
            let person = stage.operator.make_person().await;
            let mut scene = stage.play(person, None).await;
            stage.curfew.advance(61);
            // Guards hear of an ending when there is one.
            let [kept, fallen] = [stage.active(&scene.held[0]).await, stage.active(&scene.held[1]).await];
            assert_eq!((&kept[1..], &fallen[1..]), (&[true, true][..], &[false, false][..]), "{}", cause.as_str());
            assert_eq!(stage.listed(&scene, &stage.applications[1]).await, 0);
            assert!(stage.refreshes(&mut scene.held[0]).await);
            assert!(!stage.refreshes(&mut scene.held[1]).await);
            // The refresh ended what was over.
            assert_eq!(stage.receipt(&scene, cause).await["fell"], json!(["session_expired", "grant"]));
            assert_eq!(stage.active(&scene.held[1]).await, [false; 3]);
            assert!(stage.refreshes(&mut scene.held[0]).await);
            stage.choose(cause, Artefact::RefreshTokens, Chosen::new(None, None)).await;
        }
    }

    fn time_takes_access_tokens_as_chosen_though_refresh_tokens_stay(curfew) {
        let stage = Stage::new(curfew).await;
        for cause in [EndingCause::IdleTimeout, EndingCause::LifetimeReached] {
            shorten(&stage.operator, cause).await;
            for chosen in Chosen::REFRESH_TOKENS {
                stage.choose(cause, Artefact::AccessTokens, chosen).await;
                let person = stage.operator.make_person().await;
                let mut scene = stage.play(person, None).await;
                let name = format!("{} {chosen:?}", cause.as_str());
                let fall = chosen.falls(false);
                stage.curfew.advance(61);
                for (held, falls) in scene.held.iter().zip(fall) {
                    assert_eq!(stage.active(held).await[1..], [!falls; 2], "{name}: nobody has ended the session");
                }
                assert!(stage.curfew.sweep().await.sessions_ended > 0);
                for (held, falls) in scene.held.iter().zip(fall) {
                    assert_eq!(stage.active(held).await, [!falls; 3], "{name}");
                }
                let kind = if fall == [true, true] { "session" } else { "session_expired" };
                assert_eq!(stage.receipt(&scene, cause).await["fell"][0], kind, "{name}");
                for held in &mut scene.held {
                    assert!(stage.refreshes(held).await, "{name}: a refresh token");
                }
            }
            stage.choose(cause, Artefact::AccessTokens, Chosen::new(None, None)).await;
        }
    }

    fn a_replayed_refresh_token_ends_its_session_where_that_was_chosen(curfew) {
        let stage = Stage::new(curfew).await;
        let cause = EndingCause::RefreshTokenReuse;
        for chosen in [
            Chosen::new(None, None),
            Chosen::new(Some("end"), None),
            Chosen::new(None, Some("end")),
            Chosen::new(Some("end"), Some("keep")),
            Chosen::new(Some("keep"), Some("end")),
        ] {
            stage.choose(cause, Artefact::Sessions, chosen).await;
            let [ends, _] = chosen.falls(false);
            let person = stage.operator.make_person().await;
            let mut scene = stage.play(person, None).await;
            let replayed = scene.held[0].tokens.refresh().to_owned();
            assert!(stage.refreshes(&mut scene.held[0]).await);
            scene.held[0].application.refresh(&replayed).await.expect(403);
            let fell = if ends { json!(["grant", "session"]) } else { json!(["grant"]) };
            assert_eq!(stage.receipt(&scene, cause).await["fell"], fell, "{chosen:?}");
            let silent = scene.browser.at(&stage.other).authorize_silently(&stage.applications[1], &[]).await;
            assert_eq!(silent.error().is_some(), ends, "{chosen:?}: the session");
            assert_eq!(stage.active(&scene.held[0]).await, [false; 3], "{chosen:?}");
            assert_eq!(stage.active(&scene.held[1]).await, [!ends; 3], "{chosen:?}");
            // The refresh token of the other application was not stolen.
            assert!(!stage.refreshes(&mut scene.held[0]).await && stage.refreshes(&mut scene.held[1]).await);
            assert!(stage.refreshes(&mut scene.elsewhere).await);
        }
    }

    /// Applications that took part are told when a replay ends the session.
    fn a_session_that_a_replay_ends_is_told(curfew) {
        let stage = Stage::new(curfew).await;
        let chosen = Chosen::new(Some("end"), None);
        stage.choose(EndingCause::RefreshTokenReuse, Artefact::Sessions, chosen).await;
        let scene = stage.play(stage.operator.make_person().await, None).await;
        let held = &scene.held[0];
        held.application.refresh(held.tokens.refresh()).await.expect(200);
        held.application.refresh(held.tokens.refresh()).await.expect(403);
        stage.curfew.deliver().await;
        let receipt = stage.receipt(&scene, EndingCause::RefreshTokenReuse).await;
        let untold = receipt["applications"]["without_address"].as_array().expect("clients");
        assert_eq!(untold.len(), 2, "{receipt}");
    }

    fn what_a_logout_left_behind_can_be_taken_later_and_what_it_took_is_not_given_back(curfew) {
        let stage = Stage::new(curfew).await;
        let (logout, deleted) = (EndingCause::RpLogout, EndingCause::SessionDeleted);
        let person = stage.operator.make_person().await;
        let mut scene = stage.play(person, None).await;
        // The logout takes the first application's; then everything that deleting a session would keep is the first's.
        stage.choose(logout, Artefact::RefreshTokens, Chosen::new(None, Some("revoke"))).await;
        scene.browser.get("v2/logout").await.expect(200);
        stage.choose(logout, Artefact::RefreshTokens, Chosen::new(None, None)).await;
        stage.choose(deleted, Artefact::RefreshTokens, Chosen::new(Some("revoke"), Some("keep"))).await;
        assert!(stage.refreshes(&mut scene.held[1]).await);
        stage.operator.delete(&format!("/sessions/{}", scene.sid)).await.expect(202);
        for held in &mut scene.held {
            assert!(!stage.refreshes(held).await);
        }
        assert_eq!(stage.receipt(&scene, deleted).await["fell"], json!(["grant"]));
        // There is nothing left to take.
        stage.operator.delete(&format!("/sessions/{}", scene.sid)).await.expect(202);
        assert_eq!(stage.receipts(&scene, deleted).await.len(), 1);
    }

    fn whoever_asks_for_refresh_tokens_to_stay_is_heard(curfew) {
        let stage = Stage::new(curfew).await;
        let chosen = Chosen::new(Some("revoke"), None);
        for cause in [EndingCause::SessionRevoked, EndingCause::SessionDeleted] {
            stage.choose(cause, Artefact::RefreshTokens, chosen).await;
        }
        let person = stage.operator.make_person().await;
        let mut scene = stage.play(person, None).await;
        let body = json!({ "session_id": scene.sid, "preserve_refresh_tokens": true });
        let path = format!("/users/{}/revoke-access", scene.person.path());
        stage.operator.post(&path, body).await.expect(202);
        for held in &mut scene.held {
            assert_eq!(stage.active(held).await, [false; 3]);
            assert!(stage.refreshes(held).await);
        }
    }

    /// What a floor ended is not lifted above the next one with what that spares: the user's floor, and that of user and
    /// client, each by itself.
    fn what_had_ended_is_not_spared(curfew) {
        let stage = Stage::new(curfew).await;
        let cause = EndingCause::UserSessionsDeleted;
        stage.choose(cause, Artefact::RefreshTokens, Chosen::new(Some("revoke"), Some("keep"))).await;
        for by_pair in [false, true] {
            let person = stage.operator.make_person().await;
            let path = format!("/users/{}", person.path());
            let mut ended = stage.sign_in(&person).await.1;
            if by_pair {
                let pair = json!({ "user_id": person.user_id, "client_id": stage.applications[0].client_id });
                stage.operator.post("/refresh-tokens/revoke", pair).await.expect(202);
            } else {
                stage.operator.delete(&format!("{path}/refresh-tokens")).await.expect(202);
            }
            let mut living = stage.sign_in(&person).await.1;
            stage.operator.delete(&format!("{path}/sessions")).await.expect(202);
            assert!(stage.refreshes(&mut living).await, "kept");
            assert!(!stage.refreshes(&mut ended).await, "ended before, by pair: {by_pair}");
        }
    }

    /// Neither is it named as spared, nor counted as what would fall.
    fn of_what_had_ended_nothing_is_said(curfew) {
        let stage = Stage::new(curfew).await;
        for (cause, chosen) in [
            (EndingCause::SessionDeleted, Chosen::new(Some("revoke"), Some("keep"))),
            (EndingCause::SessionRevoked, Chosen::new(None, Some("keep"))),
        ] {
            stage.choose(cause, Artefact::RefreshTokens, chosen).await;
        }
        for by_pair in [false, true] {
            let scene = stage.play(stage.operator.make_person().await, None).await;
            let person = &scene.person;
            if by_pair {
                for application in &stage.applications {
                    let pair = json!({ "user_id": person.user_id, "client_id": application.client_id });
                    stage.operator.post("/refresh-tokens/revoke", pair).await.expect(202);
                }
            } else {
                stage.operator.delete(&format!("/users/{}/refresh-tokens", person.path())).await.expect(202);
            }
            let asked = json!({ "session_id": scene.sid, "dry_run": true });
            let counts = stage.operator.post("/endings", asked).await.expect(200).json();
            assert_eq!((&counts["sessions"], &counts["refresh_tokens"]), (&json!(1), &json!(0)), "{counts}");
            assert_eq!(counts["warnings"], json!([]));
            stage.operator.delete(&format!("/sessions/{}", scene.sid)).await.expect(202);
            let receipt = stage.receipt(&scene, EndingCause::SessionDeleted).await;
            assert_eq!(receipt["fell"], json!(["session"]), "{receipt}");
            assert_eq!(receipt["spared"]["refresh_tokens"], json!([]), "{receipt}");
        }
    }

    /// Of what time left of a session nothing more ends than a later ending takes.
    fn access_tokens_that_outlived_their_session_stay_behind_what_is_kept(curfew) {
        let stage = Stage::new(curfew).await;
        let (idle, deleted) = (EndingCause::IdleTimeout, EndingCause::SessionDeleted);
        shorten(&stage.operator, idle).await;
        stage.choose(deleted, Artefact::RefreshTokens, Chosen::new(Some("revoke"), Some("keep"))).await;
        let mut scene = stage.play(stage.operator.make_person().await, None).await;
        stage.curfew.advance(61);
        assert!(stage.curfew.sweep().await.sessions_ended > 0);
        for held in &scene.held {
            assert_eq!(stage.active(held).await, [true; 3], "time takes neither");
        }
        stage.operator.delete(&format!("/sessions/{}", scene.sid)).await.expect(202);
        assert_eq!(stage.active(&scene.held[0]).await, [true; 3], "kept");
        assert_eq!(stage.active(&scene.held[1]).await, [false; 3], "revoked");
        assert!(stage.refreshes(&mut scene.held[0]).await);
        assert!(!stage.refreshes(&mut scene.held[1]).await);
    }

    /// Of a token that names no session guards are told by what is said of refresh tokens.
    fn tokens_without_a_session_fall_with_their_refresh_tokens(curfew) {
        let stage = Stage::new(curfew).await;
        for cause in [EndingCause::UserSessionsDeleted, EndingCause::PasswordChanged] {
            stage.choose(cause, Artefact::RefreshTokens, Chosen::new(Some("revoke"), Some("keep"))).await;
            let person = stage.operator.make_person().await;
            // With one identity alone all sessions of the user are named; with two those of one.
            let secondary = stage.link(&person).await;
            let mut scene = stage.play(person, Some(&secondary)).await;
            // The refresh tokens outlive their session, and what they give names none.
            scene.browser.get("v2/logout").await.expect(200);
            for held in &mut scene.held {
                assert!(stage.refreshes(held).await);
                assert_eq!(held.tokens.claims().get("sid"), None);
            }
            pull(&stage, cause, &scene).await;
            let name = cause.as_str();
            assert_eq!(stage.active(&scene.held[0]).await, [true; 3], "{name}: kept");
            assert_eq!(stage.active(&scene.held[1]).await, [false; 3], "{name}: revoked");
        }
    }

    fn a_rehearsal_says_whose_refresh_tokens_stay(curfew) {
        let stage = Stage::new(curfew).await;
        let chosen = Chosen::new(None, Some("keep"));
        stage.choose(EndingCause::SessionRevoked, Artefact::RefreshTokens, chosen).await;
        let scene = stage.play(stage.operator.make_person().await, None).await;
        let asked = json!({ "session_id": scene.sid, "dry_run": true });
        let counts = stage.operator.post("/endings", asked).await.expect(200).json();
        assert_eq!((&counts["sessions"], &counts["refresh_tokens"]), (&json!(1), &json!(1)), "{counts}");
        let warning = counts["warnings"][0].as_str().expect("a warning");
        assert!(warning.contains(&stage.applications[0].client_id), "{warning}");
    }

    /// A policy ends with its client, and is not there for another one.
    fn a_policy_goes_with_its_client(curfew) {
        let stage = Stage::new(curfew).await;
        let chosen = Chosen::new(None, Some("revoke"));
        stage.choose(EndingCause::RpLogout, Artefact::RefreshTokens, chosen).await;
        stage.operator.delete(&format!("/clients/{}", stage.applications[0].client_id)).await.expect(204);
        let application = &stage.applications[1];
        let (browser, person) = (stage.curfew.browser(), stage.operator.make_person().await);
        let tokens = browser.sign_in(application, &person, &stage.asked()).await;
        browser.get("v2/logout").await.expect(200);
        let list = stage.operator.get(&format!("/endings?user_id={}", person.path())).await.expect(200).json();
        assert!(list["endings"][0]["spared"].is_null(), "nobody has chosen anything any more: {list}");
        let mut held = Held { application: application.clone(), tokens };
        assert!(stage.refreshes(&mut held).await);
    }
}
