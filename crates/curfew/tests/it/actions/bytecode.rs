//! What packages compile to: made once, kept under the server's MAC, and taken from nobody else.

use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{Pool, PoolConfig, WorkerCommand};
use curfew_core::actions::bytecode;
use curfew_model::config::ActionTrigger;
use curfew_model::{Clock as _, Ctx, RequestId, RequestInfo, SystemClock, SystemEntropy};
use curfew_store::{Engine, Lane, Store, action_packages, actions};
use curfew_tokens::KeyEncryptionKey;
use http::Method;
use tokio::time::Instant;

use super::*;
use crate::process::actors::Admin;
use crate::process::{Place, Process};
use crate::support::{ISSUER, packages_dir};

/// Bytecode as it is stored: the bytes, and the MAC over them.
type Stored = (Vec<u8>, Vec<u8>);

/// An Action that says whether `nonsense` is a UUID.
fn with_uuid(name: &str) -> Value {
    let code = "const { validate } = require('uuid'); exports.onExecutePostLogin = async () => console.log(validate('nonsense'));";
    let mut doc = post_login(name);
    doc["code"] = json!(code);
    doc["dependencies"] = json!([{"name": "uuid", "version": "latest"}]);
    doc
}

async fn says_so(operator: &Operator, action: &Value) {
    let (logs, error) = tried(operator, action).await;
    assert_eq!((&logs[0]["text"], &error), (&json!("false"), &Value::Null), "{logs}");
}

/// Under which digest the packages of an Action are kept.
async fn digest(store: &Store, action: &Value) -> String {
    let id = action["id"].as_str().expect("an id").to_owned();
    let row = store.read(id, |tx, id| Box::pin(actions::find(tx, TENANT, id))).await;
    row.expect("a read").expect("the Action").packages.expect("packages")
}

async fn stored(store: &Store, of: (&str, &str)) -> Option<Stored> {
    let of = (of.0.to_owned(), of.1.to_owned());
    let found = store.read_long(of, |tx, (digest, engine)| {
        Box::pin(action_packages::find_bytecode(tx, TENANT, (digest, engine)))
    });
    found.await.expect("a read")
}

/// Writes bytecode as whoever has the database may.
async fn write(store: &Store, ctx: &Ctx, of: (&str, &str), (bytes, mac): &Stored) {
    let mac: [u8; 32] = mac.as_slice().try_into().expect("a MAC");
    let row = (ctx.clone(), of.0.to_owned(), of.1.to_owned(), bytes.clone(), mac);
    let written = store.transact(Lane::Ordinary, row, |tx, (ctx, digest, engine, bytes, mac)| {
        Box::pin(action_packages::keep_bytecode(tx, ctx, (digest, engine), bytes, mac))
    });
    written.await.expect("a write");
}

fn flipped((bytes, mac): &Stored) -> Stored {
    let mut bytes = bytes.clone();
    *bytes.last_mut().expect("bytes") ^= 1;
    (bytes, mac.clone())
}

in_a_box! {
    fn a_build_compiles_once_and_for_all(curfew) {
        let first = curfew.another_node().await;
        let operator = first.operator().await;
        let one = make(&operator, with_uuid("one")).await;
        first.build().await;
        assert_eq!(first.workers.compilations(), 1, "before anybody runs it");
        says_so(&operator, &one).await;
        // After a restart it is found, also by the build of another Action with the same packages.
        let second = curfew.another_node().await;
        let operator = second.operator().await;
        says_so(&operator, &one).await;
        let other = make(&operator, with_uuid("other")).await;
        second.build().await;
        says_so(&operator, &other).await;
        assert_eq!((first.workers.compilations(), second.workers.compilations()), (1, 0));
        let digests = (digest(curfew.store(), &one).await, digest(curfew.store(), &other).await);
        assert_eq!(digests.0, digests.1, "both stand on one row");
        let engine = second.workers.engine().expect("an engine");
        assert!(stored(curfew.store(), (&digests.0, engine)).await.is_some());
    }

    fn bytecode_of_others_is_refused_and_made_anew(curfew) {
        let first = curfew.another_node().await;
        let action = make(&first.operator().await, with_uuid("one")).await;
        first.build().await;
        let (digest, engine) = (digest(curfew.store(), &action).await, first.workers.engine().expect("an engine"));
        let of = (&*digest, engine);
        let own = stored(curfew.store(), of).await.expect("it is kept");
        let label = |tenant: i64| format!("bytecode:{tenant}:{}:{digest}:{engine}", digest.len());
        assert_eq!(own.1, first.core.kek.mac(&label(1), &own.0), "what another key is tried on below");
        let mac = |kek: &KeyEncryptionKey, tenant| kek.mac(&label(tenant), &own.0).to_vec();
        let forged = [
            flipped(&own),
            (own.0.clone(), mac(&KeyEncryptionKey::from_bytes([7; 32]), 1)),
            (own.0.clone(), mac(&first.core.kek, 2)),
        ];
        let ctx = curfew::serve::job_ctx(&curfew.core, ISSUER);
        for (case, forged) in forged.iter().enumerate() {
            write(curfew.store(), &ctx, of, forged).await;
            let restarted = curfew.another_node().await;
            says_so(&restarted.operator().await, &action).await;
            assert_eq!(restarted.workers.compilations(), 1, "{case}: it is not taken");
            assert_eq!(stored(curfew.store(), of).await.as_ref(), Some(&own), "{case}: what is made of it is kept again");
        }
        assert!(bytecode::find(&curfew.core, TENANT, of).await.expect("a read").is_some());
    }

    fn what_has_not_changed_is_not_made_anew_with_the_configuration(curfew) {
        let operator = curfew.operator().await;
        let action = deployed(&curfew, &operator, post_login("one")).await;
        bind(&operator, "post-login", &[by_id(&action)]).await;
        let program = async || {
            let config = curfew.core.tenant(TENANT).await.expect("the tenant");
            Arc::clone(&config.actions.at(ActionTrigger::PostLogin)[0].program)
        };
        let before = program().await;
        operator.patch("/tenants/settings", json!({"friendly_name": "Another"})).await.expect(200);
        assert!(Arc::ptr_eq(&before, &program().await));
        operator.patch(&path(&action, ""), json!({"name": "renamed"})).await.expect(200);
        let renamed = program().await;
        assert_eq!((&*renamed.action_name, &renamed.id), ("renamed", &before.id));
        curfew.build().await;
        operator.post(&path(&action, "/deploy"), json!({})).await.expect(202);
        assert_ne!(program().await.id, before.id);
    }
}

/// A server that says what it compiles.
fn start(place: &Place) -> Process {
    let mut command = place.command(env!("CARGO_BIN_EXE_curfew"));
    command.env("CURFEW_LOG", "info").env("CURFEW_PACKAGES_DIR", packages_dir());
    place.start_as(command)
}

async fn a_restarted_server_compiles_nothing(engine: Engine) {
    let place = Arc::new(Place::new(engine));
    let count = |text: &str| place.said().matches(text).count();
    let compiled = || count("the packages of an Action were compiled");
    let server = start(&place);
    let mut admin = Admin::new(&place).await;
    let action = admin.done(Method::POST, "actions/actions", &with_uuid("one")).await;
    let at = format!("actions/actions/{}", action["id"].as_str().expect("an id"));
    let until = Instant::now() + Duration::from_secs(120);
    while admin.done(Method::GET, &at, &Value::Null).await["status"] != "built" {
        assert!(Instant::now() < until, "it is not built:\n{}", place.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let test = format!("{at}/test");
    let runs = async || {
        let answer =
            Admin::new(&place).await.done(Method::POST, &test, &json!({"payload": {"event": {}}})).await;
        assert_eq!(answer["payload"]["logs"][0]["text"], "false", "{answer}");
    };
    runs().await;
    server.kill();
    assert_eq!(compiled(), 1);

    let server = start(&place);
    runs().await;
    server.kill();
    assert_eq!(compiled(), 1, "it was there already");

    let command = WorkerCommand { program: "/nowhere".into(), arguments: Vec::new() };
    let pool = Pool::new(PoolConfig::new(command)).expect("a pool");
    let store = place.open().await;
    let digest = digest(&store, &action).await;
    let of = (&*digest, pool.engine().expect("an engine"));
    let own = stored(&store, of).await.expect("every program has the engine by the same name");
    write(&store, &ctx(), of, &flipped(&own)).await;
    drop(store);
    assert_eq!(count("is not this server's"), 0);
    let server = start(&place);
    runs().await;
    server.kill();
    assert_eq!((count("is not this server's"), compiled()), (1, 2));
    place.verify().await;
}

/// What a write needs of a context.
fn ctx() -> Ctx {
    let request = RequestInfo {
        id: RequestId::generate(&SystemEntropy),
        ip: String::new(),
        user_agent: String::new(),
        host: String::new(),
        nesting: 0,
        method: String::new(),
        language: String::new(),
    };
    let entropy = Arc::new(SystemEntropy);
    Ctx {
        now: SystemClock.now(),
        entropy,
        tenant: TENANT,
        issuer: Arc::from(ISSUER),
        request: Arc::new(request),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_compiles_nothing_sqlite() {
    a_restarted_server_compiles_nothing(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_compiles_nothing_postgres() {
    a_restarted_server_compiles_nothing(Engine::Postgres).await;
}
