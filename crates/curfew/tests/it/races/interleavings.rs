//! Interleavings that are forced, on PostgreSQL: a transaction of the test's own locks what the server's next
//! statement needs, so that a request stands still in the middle while something else is done and acknowledged.
//!
//! This holds the three rules by which READ COMMITTED suffices: aliveness is computed up the chain in the deciding
//! statement; what counts or lists writes the parent row first; a statement guards only rows it updates by key.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use curfew_model::EndingCause;
use curfew_store::Engine;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use crate::process::Place;
use crate::process::actors::{Admin, Application, Browser, Person, Tokens};
use crate::process::connection::Answer;

/// A transaction at which requests of the server stand still.
struct Gate {
    client: Client,
    process: i32,
    /// Within its transaction a session sees the others as they were at first, so another one watches.
    watch: Client,
}

async fn connect(place: &Place) -> Client {
    let url = place.database_url().expect("PostgreSQL");
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the database");
    tokio::spawn(connection);
    client
}

impl Gate {
    async fn to(place: &Place) -> Self {
        let (client, watch) = (connect(place).await, connect(place).await);
        let process = client.query_one("select pg_backend_pid()", &[]).await.expect("its process").get(0);
        Self { client, process, watch }
    }

    /// Runs statements that stand before any gate.
    async fn prepare(&self, sql: &str) {
        self.client.batch_execute(sql).await.expect(sql);
    }

    /// Takes locks.
    async fn close(&self, sql: &str) {
        self.prepare(&format!("begin; {sql}")).await;
    }

    /// Waits until this many requests stand at the gate, or behind one that does.
    async fn wait_for(&self, requests: i64) {
        const WAITING: &str = "with recursive waiting (pid) as (\
            select pid from pg_stat_activity where $1 = any (pg_blocking_pids(pid)) \
            union \
            select a.pid from pg_stat_activity a join waiting w on w.pid = any (pg_blocking_pids(a.pid))) \
            select count(*) from waiting";
        let come = async {
            loop {
                let row = self.watch.query_one(WAITING, &[&self.process]).await.expect("the waiting");
                if row.get::<_, i64>(0) >= requests {
                    return;
                }
            }
        };
        // Not longer than the server keeps a transaction open that is silent.
        tokio::time::timeout(Duration::from_secs(8), come).await.expect("nobody came to the gate");
    }

    /// Lets everybody through; nothing of the test's transaction stays.
    async fn open(&self) {
        self.prepare("rollback").await;
    }

    async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect(sql).get(0)
    }
}

/// An application and somebody who is logged in there, both of their own for each interleaving.
struct Scene {
    place: Arc<Place>,
    admin: Admin,
    gate: Gate,
    application: Application,
    person: Person,
    browser: Browser,
}

impl Scene {
    async fn set(place: &Arc<Place>, leeway: u32, name: &str) -> Self {
        let mut admin = Admin::new(place).await;
        let application = admin.make_applications(1, leeway).await.remove(0);
        let person = admin.make_person(name).await;
        let mut browser = Browser::new(place.address());
        browser.log_in(&application, &person).await.expect("an answer").expect("a code");
        Self { place: Arc::clone(place), admin, gate: Gate::to(place).await, application, person, browser }
    }

    async fn code(&mut self) -> String {
        self.browser.silent(&self.application).await.expect("an answer").expect("a code")
    }

    async fn family(&mut self) -> Tokens {
        let code = self.code().await;
        self.browser.redeem(&self.application, &code).await.expect("an answer").expect("tokens")
    }

    /// The path of the person's session, while it lives.
    async fn session(&mut self) -> String {
        let path = format!("{}/sessions", self.person.path());
        let list = self.admin.done(Method::GET, &path, &Value::Null).await;
        format!("sessions/{}", list["sessions"][0]["id"].as_str().expect("a session"))
    }

    /// Redeems on a connection of its own.
    fn redeem(&self, code: &str) -> JoinHandle<Result<Tokens, Answer>> {
        let (application, code) = (self.application.clone(), code.to_owned());
        let mut browser = self.browser.same_cookie(self.place.address());
        tokio::spawn(async move { browser.redeem(&application, &code).await.expect("an answer") })
    }

    /// Refreshes on a connection of its own.
    fn refresh(&self, token: &str) -> JoinHandle<Result<Tokens, Answer>> {
        let (application, token) = (self.application.clone(), token.to_owned());
        let mut browser = self.browser.same_cookie(self.place.address());
        tokio::spawn(async move { browser.refresh(&application, &token).await.expect("an answer") })
    }

    /// Logs in with a new browser; the browser, and the code.
    fn log_in(&self) -> JoinHandle<(Browser, Result<String, Answer>)> {
        let (application, person) = (self.application.clone(), self.person.clone());
        let mut browser = Browser::new(self.place.address());
        tokio::spawn(async move {
            let code = browser.log_in(&application, &person).await.expect("an answer");
            (browser, code)
        })
    }

    /// Which of the tokens serve: access at `/userinfo`, refresh at the token endpoint.
    async fn serve(&mut self, tokens: &Tokens) -> (bool, bool) {
        let access = self.browser.userinfo(&tokens.access).await.expect("an answer");
        let refreshed = self.browser.refresh(&self.application, &tokens.refresh).await.expect("an answer");
        (access, refreshed.is_ok())
    }

    /// Makes redemptions stand still after they have read the session, before they write anything but the code.
    async fn stop_redemptions(&self) {
        let sql = format!(
            "insert into session_clients (tenant, user_key, session_key, client_id, joined_at) \
             select tenant, user_key, session_key, '{}', 0 from sessions",
            self.application.id
        );
        self.gate.close(&sql).await;
    }

    /// Makes exchanges stand still after they have read the chain, before they write.
    async fn stop_exchanges(&self) {
        self.gate.close("select from families for update").await;
    }
}

/// What may be done while a request stands still, and which of the tokens it then answers serve: access, refresh.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Block,
    DeleteUser,
    RevokeAccess,
    RevokeSession,
    DeleteSession,
    LogOut,
    DeleteSessions,
    DeleteRefreshTokens,
    ChangePassword,
    DisableConnection,
    DeleteClient,
}

impl Ending {
    const ALL: [Self; 11] = [
        Self::Block,
        Self::DeleteUser,
        Self::RevokeAccess,
        Self::RevokeSession,
        Self::DeleteSession,
        Self::LogOut,
        Self::DeleteSessions,
        Self::DeleteRefreshTokens,
        Self::ChangePassword,
        Self::DisableConnection,
        Self::DeleteClient,
    ];

    /// Whether refresh tokens stay, as they do when the redemption came first. Access tokens never do.
    fn spares_families(self) -> bool {
        self.cause().is_some()
    }

    /// The cause for which a policy has refresh tokens fall as well.
    fn cause(self) -> Option<EndingCause> {
        match self {
            Self::DeleteSession => Some(EndingCause::SessionDeleted),
            Self::LogOut => Some(EndingCause::RpLogout),
            Self::DeleteSessions => Some(EndingCause::UserSessionsDeleted),
            Self::ChangePassword => Some(EndingCause::PasswordChanged),
            _ => None,
        }
    }

    /// Whether it ends the families that it finds one by one, and so waits for a rotation under way and comes after it.
    fn waits_for_rotations(self, by_policy: bool) -> bool {
        matches!(self, Self::RevokeSession) || by_policy && matches!(self, Self::DeleteSession | Self::LogOut)
    }

    async fn happen(self, scene: &mut Scene) {
        let person = scene.person.path();
        let (method, path, body) = match self {
            Self::Block => (Method::PATCH, person, json!({ "blocked": true })),
            Self::DeleteUser => (Method::DELETE, person, Value::Null),
            Self::RevokeAccess => (Method::POST, format!("{person}/revoke-access"), json!({})),
            Self::RevokeSession => (Method::POST, scene.session().await + "/revoke", Value::Null),
            Self::DeleteSession => (Method::DELETE, scene.session().await, Value::Null),
            Self::LogOut => {
                let Browser { connection, cookie } = &mut scene.browser;
                let answer = connection.get("/v2/logout", cookie).await.expect("an answer");
                assert_eq!(answer.status, 200, "{answer:?}");
                return;
            }
            Self::DeleteSessions => (Method::DELETE, format!("{person}/sessions"), Value::Null),
            Self::DeleteRefreshTokens => (Method::DELETE, format!("{person}/refresh-tokens"), Value::Null),
            Self::ChangePassword => (Method::PATCH, person, json!({ "password": "Another-horse-8" })),
            Self::DisableConnection => {
                let list = scene.admin.done(Method::GET, "connections", &Value::Null).await;
                let path = format!("connections/{}", list[0]["id"].as_str().expect("an id"));
                (Method::PATCH, path, json!({ "enabled_clients": [] }))
            }
            Self::DeleteClient => (Method::DELETE, format!("clients/{}", scene.application.id), Value::Null),
        };
        scene.admin.done(method, &path, &body).await;
    }
}

async fn on_postgres<F: Future<Output = ()>>(story: impl FnOnce(Arc<Place>) -> F) {
    crate::process::run(Engine::Postgres, story).await;
}

/// A redemption has read the living session; before it writes its family, something ends that, and is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redemption_across_an_ending() {
    on_postgres(|place| async move {
        for ending in Ending::ALL {
            let mut scene = Scene::set(&place, 60, &format!("{ending:?}")).await;
            let code = scene.code().await;
            scene.stop_redemptions().await;
            let redemption = scene.redeem(&code);
            scene.gate.wait_for(1).await;
            ending.happen(&mut scene).await;
            scene.gate.open().await;
            if let Ok(tokens) = redemption.await.expect("no panic") {
                let serve = scene.serve(&tokens).await;
                assert_eq!(serve, (false, ending.spares_families()), "{ending:?}");
            }
        }
    })
    .await;
}

/// A refresh has read the living chain; before it rotates, something ends that, and is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_across_an_ending() {
    on_postgres(|place| async move {
        for ending in Ending::ALL {
            if ending.waits_for_rotations(false) {
                continue;
            }
            let mut scene = Scene::set(&place, 60, &format!("{ending:?}")).await;
            let tokens = scene.family().await;
            scene.stop_exchanges().await;
            let rotation = scene.refresh(&tokens.refresh);
            scene.gate.wait_for(1).await;
            ending.happen(&mut scene).await;
            scene.gate.open().await;
            let rotated = rotation.await.expect("no panic");
            assert_eq!(scene.serve(&tokens).await, (false, ending.spares_families()), "{ending:?}");
            if let Ok(tokens) = rotated {
                assert_eq!(scene.serve(&tokens).await, (false, ending.spares_families()), "{ending:?}");
            }
        }
    })
    .await;
}

/// Whose policy decides of refresh tokens.
#[derive(Debug, Clone, Copy)]
enum Policy {
    Tenants,
    Clients,
}

impl Policy {
    async fn set(self, scene: &mut Scene, cause: EndingCause, choice: &str) {
        let path = match self {
            Self::Tenants => "tenants/settings".to_owned(),
            Self::Clients => format!("clients/{}", scene.application.id),
        };
        let policies = json!({ "ending_policies": { cause.as_str(): { "refresh_tokens": choice } } });
        scene.admin.done(Method::PATCH, &path, &policies).await;
    }
}

/// Where a policy has refresh tokens fall, so does one whose redemption was under way: the ending could not find it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redemption_across_an_ending_by_policy() {
    for policy in [Policy::Clients, Policy::Tenants] {
        on_postgres(|place| async move {
            for ending in Ending::ALL {
                let Some(cause) = ending.cause() else { continue };
                let mut scene = Scene::set(&place, 60, &format!("{ending:?}")).await;
                policy.set(&mut scene, cause, "revoke").await;
                let code = scene.code().await;
                scene.stop_redemptions().await;
                let redemption = scene.redeem(&code);
                scene.gate.wait_for(1).await;
                ending.happen(&mut scene).await;
                scene.gate.open().await;
                if let Ok(tokens) = redemption.await.expect("no panic") {
                    assert_eq!(scene.serve(&tokens).await, (false, false), "{policy:?} {ending:?}");
                }
            }
        })
        .await;
    }
}

/// A session that has ended can be revoked as well: with the refresh tokens that it left behind goes one whose redemption
/// was under way all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redemption_across_an_ending_and_a_revocation() {
    on_postgres(|place| async move {
        for ending in [Ending::LogOut, Ending::DeleteSession] {
            let mut scene = Scene::set(&place, 60, &format!("{ending:?}")).await;
            let session = scene.session().await;
            // The session leaves something behind that can be found.
            let other = scene.admin.make_applications(1, 60).await.remove(0);
            let code = scene.browser.silent(&other).await.expect("an answer").expect("a code");
            scene.browser.redeem(&other, &code).await.expect("an answer").expect("tokens");
            let code = scene.code().await;
            scene.stop_redemptions().await;
            let redemption = scene.redeem(&code);
            scene.gate.wait_for(1).await;
            ending.happen(&mut scene).await;
            scene.admin.done(Method::POST, &(session + "/revoke"), &Value::Null).await;
            scene.gate.open().await;
            if let Ok(tokens) = redemption.await.expect("no panic") {
                assert_eq!(scene.serve(&tokens).await, (false, false), "{ending:?}");
            }
        }
    })
    .await;
}

/// What an ending took without finding it is not spared by a later one that does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redemption_before_an_ending_that_spares() {
    on_postgres(|place| async move {
        let mut scene = Scene::set(&place, 60, "somebody").await;
        Policy::Tenants.set(&mut scene, EndingCause::RpLogout, "revoke").await;
        Policy::Clients.set(&mut scene, EndingCause::SessionDeleted, "keep").await;
        let session = scene.session().await;
        let code = scene.code().await;
        scene.stop_redemptions().await;
        let redemption = scene.redeem(&code);
        scene.gate.wait_for(1).await;
        Ending::LogOut.happen(&mut scene).await;
        scene.gate.open().await;
        let tokens = redemption.await.expect("no panic");
        scene.admin.done(Method::DELETE, &session, &Value::Null).await;
        if let Ok(tokens) = tokens {
            assert_eq!(scene.serve(&tokens).await, (false, false));
        }
    })
    .await;
}

/// And one whose rotation was under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_across_an_ending_by_policy() {
    on_postgres(|place| async move {
        for ending in Ending::ALL {
            let Some(cause) = ending.cause().filter(|_| !ending.waits_for_rotations(true)) else { continue };
            let mut scene = Scene::set(&place, 60, &format!("{ending:?}")).await;
            Policy::Tenants.set(&mut scene, cause, "revoke").await;
            let tokens = scene.family().await;
            scene.stop_exchanges().await;
            let rotation = scene.refresh(&tokens.refresh);
            scene.gate.wait_for(1).await;
            ending.happen(&mut scene).await;
            scene.gate.open().await;
            if let Ok(tokens) = rotation.await.expect("no panic") {
                assert_eq!(scene.serve(&tokens).await, (false, false), "{ending:?}");
            }
        }
    })
    .await;
}

/// Two redemptions of one code stand in the middle at the same time: one wins, the other ends what the first was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_twice() {
    on_postgres(|place| async move {
        let mut scene = Scene::set(&place, 60, "somebody").await;
        let code = scene.code().await;
        scene.stop_redemptions().await;
        let both = [scene.redeem(&code), scene.redeem(&code)];
        scene.gate.wait_for(2).await;
        scene.gate.open().await;
        let [one, other] = both.map(|redemption| async { redemption.await.expect("no panic") });
        let tokens = match (one.await, other.await) {
            (Ok(tokens), Err(_)) | (Err(_), Ok(tokens)) => tokens,
            both => panic!("{both:?}"),
        };
        assert_eq!(scene.serve(&tokens).await, (false, false));
    })
    .await;
}

/// Two rotations of one token have read the same generation: without leeway one wins and the family ends, with it
/// both go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refresh_token_twice() {
    on_postgres(|place| async move {
        for leeway in [0, 60] {
            let mut scene = Scene::set(&place, leeway, &format!("leeway-{leeway}")).await;
            let tokens = scene.family().await;
            scene.stop_exchanges().await;
            let both = [scene.refresh(&tokens.refresh), scene.refresh(&tokens.refresh)];
            scene.gate.wait_for(2).await;
            scene.gate.open().await;
            let mut won = Vec::new();
            for rotation in both {
                won.extend(rotation.await.expect("no panic").ok());
            }
            assert_eq!(won.len(), if leeway == 0 { 1 } else { 2 });
            for tokens in won {
                let alive = leeway > 0;
                assert_eq!(scene.serve(&tokens).await, (alive, alive), "leeway {leeway}");
            }
        }
    })
    .await;
}

/// A login has verified the old password and stands before its session; the new password is acknowledged first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_across_a_password_change() {
    on_postgres(|place| async move {
        let scene = Scene::set(&place, 60, "somebody").await;
        scene.gate.close("select from user_access for update").await;
        let change = {
            let mut admin = Admin::new(&place).await;
            let path = scene.person.path();
            let body = json!({ "password": "Another-horse-8" });
            tokio::spawn(async move { admin.done(Method::PATCH, &path, &body).await })
        };
        scene.gate.wait_for(1).await;
        // The change is not committed, so the old password is still right here, and wrong when the session begins.
        let login = scene.log_in();
        scene.gate.wait_for(2).await;
        scene.gate.open().await;
        change.await.expect("no panic");
        let (mut browser, code) = login.await.expect("no panic");
        if let Ok(code) = code {
            let redeemed = browser.redeem(&scene.application, &code).await.expect("an answer");
            assert!(redeemed.is_err(), "the code of a login with the old password serves");
        }
        let silent = browser.silent(&scene.application).await.expect("an answer");
        assert!(silent.is_err(), "a session with the old password lives");
    })
    .await;
}

/// Families of one person and application that live at most.
const FAMILIES_MAX: i64 = 200;
/// Sessions of one person that live at most.
const SESSIONS_MAX: i64 = 1000;
/// Who comes at once when there is room for one.
const AT_ONCE: usize = 4;

/// Makes `count` copies of the only row of a table of things with a key of twelve bytes, each older than the last.
async fn copy_row(gate: &Gate, table: &str, key: &str, instant: &str, count: i64) {
    let sql = format!(
        "create temporary table copies as select t.*, n from {table} t, generate_series(1, {count}) as n; \
         update copies set {key} = decode(lpad(to_hex(n), 24, '0'), 'hex'), {instant} = {instant} - n; \
         alter table copies drop column n; insert into {table} select * from copies; drop table copies"
    );
    gate.prepare(&sql).await;
}

/// Redemptions that have all written their family, and none of which sees another's, keep to the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn family_limit() {
    on_postgres(|place| async move {
        let mut scene = Scene::set(&place, 60, "somebody").await;
        scene.family().await;
        copy_row(&scene.gate, "families", "grant_key", "created_at", FAMILIES_MAX - 2).await;
        scene.gate.prepare(&format!("update user_clients set families_bound = {}", FAMILIES_MAX - 1)).await;
        let mut codes = Vec::new();
        for _ in 0..AT_ONCE {
            codes.push(scene.code().await);
        }
        scene.gate.close("select from user_clients for update").await;
        let redemptions: Vec<_> = codes.iter().map(|code| scene.redeem(code)).collect();
        scene.gate.wait_for(AT_ONCE as i64).await;
        scene.gate.open().await;
        for redemption in redemptions {
            let tokens = redemption.await.expect("no panic").expect("tokens");
            assert_eq!(scene.serve(&tokens).await, (true, true), "the oldest are displaced, not the newest");
        }
        let live = scene.gate.count("select count(*) from families where ended_at is null").await;
        assert_eq!(live, FAMILIES_MAX);
    })
    .await;
}

/// Logins of one person at once keep to the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_limit() {
    on_postgres(|place| async move {
        let scene = Scene::set(&place, 60, "somebody").await;
        copy_row(&scene.gate, "sessions", "session_key", "last_interacted_at", SESSIONS_MAX - 2).await;
        scene.gate.prepare(&format!("update user_access set sessions_bound = {}", SESSIONS_MAX - 1)).await;
        scene.gate.close("select from user_access for update").await;
        let logins: Vec<_> = (0..AT_ONCE).map(|_| scene.log_in()).collect();
        scene.gate.wait_for(AT_ONCE as i64).await;
        scene.gate.open().await;
        for login in logins {
            let (mut browser, code) = login.await.expect("no panic");
            code.expect("a code");
            let silent = browser.silent(&scene.application).await.expect("an answer");
            silent.expect("the least recently used are displaced, not the newest");
        }
        let live = scene.gate.count("select count(*) from sessions where ended_at is null").await;
        assert_eq!(live, SESSIONS_MAX);
    })
    .await;
}

/// Logins that would all end the session that was there, and none of which sees that another's counts: under a limit of one
/// each gets its code, and one lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_limit_of_one() {
    on_postgres(|place| async move {
        let mut scene = Scene::set(&place, 60, "somebody").await;
        let settings = json!({ "sessions": { "max_per_user": 1 } });
        scene.admin.done(Method::PATCH, "tenants/settings", &settings).await;
        // Each has a session of its own, and stands before it ends the one that was there.
        scene.family().await;
        scene.gate.close("select from sessions for update").await;
        let logins: Vec<_> = (0..AT_ONCE).map(|_| scene.log_in()).collect();
        scene.gate.wait_for(AT_ONCE as i64).await;
        scene.gate.open().await;
        let mut living = 0;
        for login in futures_util::future::join_all(logins).await {
            let (mut browser, code) = login.expect("no panic");
            code.expect("a code");
            living += usize::from(browser.silent(&scene.application).await.expect("an answer").is_ok());
        }
        assert_eq!(living, 1);
        let listed = scene.gate.count("select count(*) from sessions where ended_at is null").await;
        assert_eq!(listed, 1);
    })
    .await;
}

/// Has an Action run at each login and refresh, and note something in the user's `app_metadata` at a refresh.
async fn have_an_action_note(admin: &mut Admin) {
    let code = "exports.onExecutePostLogin = async (event, api) => {
        if (event.refresh_token) api.user.setAppMetadata('noted', 1);
    };";
    let action = json!({
        "name": "notes",
        "code": code,
        "supported_triggers": [{ "id": "post-login", "version": "v3" }],
        "deploy": true,
    });
    let made = admin.done(Method::POST, "actions/actions", &action).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let deployed = async {
        while
            admin.done(Method::GET, &format!("actions/actions/{id}"), &Value::Null).await["deployed_version"]
                .is_null()
        {}
    };
    tokio::time::timeout(Duration::from_secs(60), deployed).await.expect("it is built");
    let bindings =
        json!({ "bindings": [{ "ref": { "type": "action_id", "value": id }, "display_name": "notes" }] });
    admin.done(Method::PATCH, "actions/triggers/post-login/bindings", &bindings).await;
}

/// What an Action asks for of a user's metadata and what the Management API changes at that instant, whoever comes first:
/// neither is written over what the other read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_an_action_and_of_a_change() {
    on_postgres(|place| async move {
        have_an_action_note(&mut Admin::new(&place).await).await;
        for action_first in [true, false] {
            let mut scene = Scene::set(&place, 60, &format!("action-first-{action_first}")).await;
            let tokens = scene.family().await;
            let change = || {
                let (place, path) = (Arc::clone(&place), scene.person.path());
                tokio::spawn(async move {
                    let change =
                        json!({ "app_metadata": { "changed": 1 }, "user_metadata": { "changed": 2 } });
                    Admin::new(&place).await.done(Method::PATCH, &path, &change).await
                })
            };
            scene.gate.close("select from users for update").await;
            // The Action has run when the exchange stands at the gate.
            let (exchange, change) = if action_first {
                let exchange = scene.refresh(&tokens.refresh);
                scene.gate.wait_for(1).await;
                (exchange, change())
            } else {
                let change = change();
                scene.gate.wait_for(1).await;
                (scene.refresh(&tokens.refresh), change)
            };
            scene.gate.wait_for(2).await;
            scene.gate.open().await;
            exchange.await.expect("no panic").expect("tokens");
            change.await.expect("no panic");
            let user = scene.admin.done(Method::GET, &scene.person.path(), &Value::Null).await;
            assert_eq!(user["app_metadata"], json!({ "noted": 1, "changed": 1 }), "{action_first}");
            assert_eq!(user["user_metadata"], json!({ "changed": 2 }), "{action_first}");
        }
    })
    .await;
}
