//! Bytecode: who makes it, who keeps it, who may use it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use curfew_actions::{
    ActionError, BytecodeOf, Bytecodes, Execution, Finished, HostFuture, Nothing, PackageSet, Pool,
    PoolConfig, Program, WorkerCommand,
};

use crate::pool::worker;
use crate::support::{PACKAGES_SAY, action, console, execution, that_says, with_packages};

/// For whom, of what, by which engine.
type Key = (u64, String, String);

/// Keeps bytecode beyond the life of a pool.
#[derive(Debug, Default)]
struct Shelf(Mutex<BTreeMap<Key, Bytes>>);

fn key(of: BytecodeOf<'_>) -> Key {
    (of.tenant, of.digest.to_owned(), of.engine.to_owned())
}

impl Shelf {
    fn kept(&self) -> BTreeMap<Key, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, key: Key, bytecode: Bytes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, bytecode);
    }
}

impl Bytecodes for Shelf {
    fn find<'a>(&'a self, of: BytecodeOf<'a>) -> HostFuture<'a, Option<Bytes>> {
        Box::pin(async move { self.kept().get(&key(of)).cloned() })
    }

    fn keep<'a>(&'a self, of: BytecodeOf<'a>, bytecode: Bytes) -> HostFuture<'a, ()> {
        Box::pin(async move { self.put(key(of), bytecode) })
    }
}

/// A server's pool, as it is after a start.
fn started(worker: WorkerCommand, shelf: &Arc<Shelf>) -> Pool {
    let bytecodes = Arc::<Shelf>::clone(shelf);
    Pool::new(PoolConfig { bytecodes, ..PoolConfig::new(worker) }).expect("a pool")
}

fn of_tenant(program: &Arc<Program>, tenant: u64) -> Execution {
    Execution { tenant, ..execution(program) }
}

async fn run(pool: &Pool, execution: Execution) -> Finished {
    pool.run(execution, Arc::new(Nothing)).await
}

/// A program whose only package says this.
fn saying(what: &str) -> Arc<Program> {
    let sources = BTreeMap::from([
        ("node_modules/says/package.json".into(), r#"{"name":"says"}"#.into()),
        ("node_modules/says/index.js".into(), format!("module.exports = '{what}';").into()),
    ]);
    let roots = BTreeMap::from([("says".to_owned(), "1.0.0".to_owned())]);
    let set = PackageSet::new(roots, Vec::new(), sources, BTreeSet::new()).expect("a set");
    Arc::new(Program {
        id: format!("saying {what}"),
        code: "exports.onExecutePostLogin = () => console.log(require('says'));".into(),
        packages: Some(Arc::new(set)),
        modules: Vec::new(),
    })
}

fn digest(program: &Program) -> String {
    program.packages.as_ref().expect("packages").digest().to_owned()
}

#[tokio::test]
async fn a_set_is_compiled_once_for_each_tenant() {
    let shelf = Arc::default();
    let program = with_packages();
    let first = started(worker(), &shelf);
    first.compile(1, program.packages.as_deref().expect("packages")).await.expect("it compiles");
    assert_eq!(console(&run(&first, of_tenant(&program, 1)).await), PACKAGES_SAY);
    assert_eq!(first.compilations(), 1);
    let engine = first.engine().expect("an engine").to_owned();
    assert_eq!(shelf.kept().into_keys().collect::<Vec<_>>(), [(1, digest(&program), engine)]);
    let second = started(worker(), &shelf);
    assert_eq!(console(&run(&second, of_tenant(&program, 1)).await), PACKAGES_SAY);
    assert_eq!(second.compilations(), 0, "it was kept");
    assert_eq!(console(&run(&second, of_tenant(&program, 2)).await), PACKAGES_SAY);
    assert_eq!((second.compilations(), shelf.kept().len()), (1, 2), "another tenant's is its own");
}

#[tokio::test]
async fn those_who_need_a_set_at_once_wait_for_one() {
    let shelf = Arc::default();
    let pool = started(worker(), &shelf);
    let program = with_packages();
    let all = futures_util::future::join_all((0..4).map(|_| run(&pool, of_tenant(&program, 1)))).await;
    assert!(all.iter().all(|finished| console(finished) == PACKAGES_SAY), "{all:?}");
    assert_eq!(pool.compilations(), 1);
}

#[tokio::test]
async fn what_is_found_is_what_runs() {
    // So whoever answers for it must know where it comes from.
    let shelf = Arc::default();
    let (one, other) = (saying("one"), saying("other"));
    assert_eq!(console(&run(&started(worker(), &shelf), of_tenant(&other, 1)).await), ["log: other"]);
    let (key, bytecode) = shelf.kept().pop_first().expect("it is kept");
    shelf.put((1, digest(&one), key.2.clone()), bytecode.clone());
    assert_eq!(console(&run(&started(worker(), &shelf), of_tenant(&one, 1)).await), ["log: other"]);
    // Of another engine it is not even looked at.
    shelf.put((2, digest(&one), format!("{}-next", key.2)), bytecode);
    let pool = started(worker(), &shelf);
    assert_eq!(console(&run(&pool, of_tenant(&one, 2)).await), ["log: one"]);
    assert_eq!(pool.compilations(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_made_anew() {
    let shelf = Arc::default();
    let program = saying("one");
    run(&started(worker(), &shelf), of_tenant(&program, 1)).await;
    let (key, whole) = shelf.kept().pop_first().expect("it is kept");
    let longer = [&whole[..], b"x"].concat();
    for broken in [&b""[..], &b"nonsense"[..], &whole[..whole.len() - 1], &longer[..], &[0xff; 64][..]] {
        shelf.put(key.clone(), Bytes::copy_from_slice(broken));
        let pool = started(worker(), &shelf);
        assert_eq!(console(&run(&pool, of_tenant(&program, 1)).await), ["log: one"]);
        assert_eq!((pool.compilations(), shelf.kept().get(&key)), (1, Some(&whole)));
    }
}

#[tokio::test]
async fn a_worker_that_runs_actions_hands_no_bytecode_in() {
    let shelf = Arc::default();
    let ready = r#"{"is":"ready","confinement":{"landlock":"fully","seccomp":"fully","limits":"fully"}}"#;
    let compiled = r#"{"is":"compiled","files":[["node_modules/says/index.js",4]]}"#;
    // It says so unasked, and again when it is told to run.
    let pool = started(that_says(&[(ready, b""), (compiled, b"evil")], "exec cat > /dev/null"), &shelf);
    assert_eq!(run(&pool, execution(&action(""))).await.result, Err(ActionError::Crashed));
    assert_eq!((pool.compilations(), shelf.kept()), (0, BTreeMap::new()));
}

#[tokio::test]
async fn a_compiler_that_fails_leaves_nothing_behind() {
    let ready = r#"{"is":"ready","confinement":{"landlock":"fully","seccomp":"fully","limits":"fully"}}"#;
    let too_long = r#"{"is":"compiled","files":[["node_modules/says/index.js",5]]}"#;
    let finished =
        r#"{"is":"finished","number":1,"error":null,"commands":[],"console":[],"console_dropped":0}"#;
    for (frames, then) in [
        (vec![], "exit 0"),
        (vec![(ready, &b""[..])], "kill -9 $$"),
        (vec![(ready, &b""[..]), (too_long, &b"evil"[..])], "exec cat > /dev/null"),
        (vec![(ready, &b""[..]), (finished, &b""[..])], "exec cat > /dev/null"),
    ] {
        let shelf = Arc::default();
        let pool = started(that_says(&frames, then), &shelf);
        let set = saying("one").packages.clone().expect("packages");
        // Whoever needs it gets its text.
        pool.compile(1, &set).await.expect("it is only slower");
        assert_eq!((pool.compilations(), shelf.kept()), (0, BTreeMap::new()), "{then}");
    }
}
