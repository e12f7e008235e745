//! Nothing acknowledged is lost (invariant I3): the answer leaves when the commit is on the disk, or where else the
//! operator wants it, and not before. That what was acknowledged is found again after a kill is told in
//! [`crate::crashes`]; but the kernel writes what a killed process has not synced, so a kill alone shows nothing of disks.

mod trace;

use std::time::Duration;

use curfew_store::Engine;
use curfew_testkit::OwnPostgres;

use crate::process::Place;
use crate::process::actors::{Admin, Application, Browser, Person, Tokens};
use trace::Trace;

/// No step of these takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often something outside is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Somebody with an application, a session and tokens.
struct Scene {
    admin: Admin,
    application: Application,
    person: Person,
    browser: Browser,
}

impl Scene {
    async fn set(place: &Place) -> Self {
        let mut admin = Admin::new(place).await;
        let application = admin.make_applications(1, 0).await.remove(0);
        let person = admin.make_person("somebody").await;
        let mut browser = Browser::new(place.address());
        browser.log_in(&application, &person).await.expect("an answer").expect("a code");
        Self { admin, application, person, browser }
    }

    async fn code(&mut self) -> String {
        self.browser.silent(&self.application).await.expect("an answer").expect("a code")
    }

    async fn redeem(&mut self, code: &str) -> Tokens {
        self.browser.redeem(&self.application, code).await.expect("an answer").expect("tokens")
    }

    async fn refresh(&mut self, tokens: &Tokens) -> Tokens {
        let refreshed = self.browser.refresh(&self.application, &tokens.refresh).await;
        refreshed.expect("an answer").expect("tokens")
    }
}

/// Looks again and again until `found`.
async fn until(what: &str, mut found: impl AsyncFnMut() -> bool) {
    let found = async {
        while !found().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits until a row of this type is in the tenant's log. Such rows are written behind the answers, a moment later; what
/// comes after this has the writer for itself.
async fn until_logged(place: &Place, code: &str) {
    let store = place.open().await;
    until(code, async || {
        let newest =
            store.read((), |tx, ()| Box::pin(curfew_store::logs::newest(tx, curfew_model::TenantId(1), 100)));
        newest.await.expect("the log").iter().any(|(_, own, _)| own == code)
    })
    .await;
}

/// Shown by the kernel: between the last byte of each of these requests and the first byte of its answer what it wrote is
/// synced to the disk.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_syncs_before_it_answers() {
    let place = Place::new(Engine::Sqlite);
    let traced = place.log().with_file_name("trace");
    let mut command = place.command("strace");
    // -D: strace is the one that forks off, and the process we start is the server.
    command.args(["-D", "-f", "-yy", "-ttt", "-s", "64", "-e", trace::CALLS, "-o"]).arg(&traced);
    command.arg(env!("CARGO_BIN_EXE_curfew"));
    let found = std::process::Command::new("strace").arg("-V").output();
    assert!(found.is_ok_and(|said| said.status.success()), "no strace: `cargo xtask test` installs it");
    let server = place.start_as(command);

    let mut scene = Scene::set(&place).await;
    let code = scene.code().await;
    until_logged(&place, "ssa").await;
    let tokens = scene.redeem(&code).await;
    until_logged(&place, "seacft").await;
    let tokens = scene.refresh(&tokens).await;
    until_logged(&place, "sertft").await;
    assert_eq!(scene.admin.set_blocked(&scene.person, true).await.expect("an answer").status, 200);
    assert!(scene.browser.refresh(&scene.application, &tokens.refresh).await.expect("an answer").is_err());

    let last = format!("{} ", server.id());
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    let read = || std::fs::read_to_string(&traced).unwrap_or_default();
    until("the end of the trace", async || {
        read().lines().any(|line| line.starts_with(&last) && line.ends_with("+++ exited with 0 +++"))
    })
    .await;
    let trace = Trace::parse(&read());
    let exchanges = trace.exchanges();
    let of = |start: &str| exchanges.iter().filter(|own| own.request.starts_with(start)).collect::<Vec<_>>();
    let (tokens, users) = (of("POST /oauth/token"), of("PATCH /api/v2/users/"));
    // The administrator's token came first; the refusal after the block, which writes nothing that matters, last.
    assert_eq!((tokens.len(), users.len()), (4, 1), "{exchanges:#?}");
    for exchange in [tokens[1], tokens[2], users[0]] {
        trace.judge(exchange, "/data/curfew.db-wal").unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    trace.judge(tokens[0], "/data/curfew.db-wal").expect_err("what writes nothing waits for nothing");
    place.verify().await;
}

/// Where the operator wants commits to be on a standby too, an ending is acknowledged when they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_answers_when_the_standby_has_it() {
    let postgres = OwnPostgres::start();
    let place = Place::at(Some(crate::process::with_schema(&postgres.url(), "public")));
    let server = place.start();
    let mut scene = Scene::set(&place).await;
    let code = scene.code().await;
    let tokens = scene.redeem(&code).await;
    let operator = postgres.connect().await;
    operator.batch_execute("alter system set synchronous_standby_names = 'nobody'").await.expect("a setting");
    operator.batch_execute("select pg_reload_conf()").await.expect("a signal");
    // It holds from some moment on: when a commit of somebody else waits.
    let canary = postgres.connect().await;
    let sung = tokio::spawn(async move {
        canary.batch_execute("set application_name = canary").await.expect("a setting");
        for _ in 0.. {
            canary.batch_execute("select pg_current_xact_id()").await.expect("a commit");
        }
    });
    until("the setting holds", async || postgres.waiting_for_a_standby("canary").await == 1).await;
    sung.abort();

    let person = scene.person.clone();
    let mut admin = scene.admin;
    let blocked = tokio::spawn(async move {
        let answer = admin.set_blocked(&person, true).await.expect("an answer");
        (admin, answer)
    });
    until("the commit waits", async || postgres.waiting_for_a_standby("curfew").await >= 1).await;
    // Others are answered meanwhile.
    assert_eq!(scene.browser.connection.get("/health", "").await.expect("an answer").status, 200);
    assert!(!blocked.is_finished(), "answered while the standby is missing");
    assert!(postgres.waiting_for_a_standby("curfew").await >= 1, "it waits no longer, and nobody has it");

    operator.batch_execute("alter system reset synchronous_standby_names").await.expect("a setting");
    operator.batch_execute("select pg_reload_conf()").await.expect("a signal");
    let (_, answer) = tokio::time::timeout(PATIENCE, blocked).await.expect("in time").expect("no panic");
    assert_eq!(answer.status, 200, "{answer:?}");
    let refused = scene.browser.refresh(&scene.application, &tokens.refresh).await.expect("an answer");
    assert!(refused.is_err(), "the block ended nothing");
    server.kill();
    place.verify().await;
}

/// Whether by the database or by the role: where commits are acknowledged before they are on the disk, it does not start,
/// and says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_without_synchronous_commit_is_refused() {
    let postgres = OwnPostgres::start();
    let place = Place::at(Some(crate::process::with_schema(&postgres.url(), "public")));
    let operator = postgres.connect().await;
    for whose in ["database postgres", "role curfew"] {
        operator
            .batch_execute(&format!("alter {whose} set synchronous_commit = off"))
            .await
            .expect("a setting");
        let ended = tokio::time::timeout(PATIENCE, place.launch().ended()).await.expect("it does not serve");
        assert!(ended.code().is_some_and(|code| code != 0), "{whose}: {ended}");
        let said = place.said();
        assert!(said.contains("synchronous_commit off"), "{whose}: {said}");
        assert!(said.contains("set synchronous_commit to on for this role and database"), "{whose}: {said}");
        place.forget_log();
        operator.batch_execute(&format!("alter {whose} reset synchronous_commit")).await.expect("a setting");
    }
    place.start().kill();
    place.verify().await;
}
