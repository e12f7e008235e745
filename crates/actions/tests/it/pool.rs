//! Actions in real workers: whose they are, what stays warm, what happens when one ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{
    ActionError, CacheAnswer, CacheRequest, DEPTH_MAX, Execution, FetchError, FetchRequest, FetchResponse,
    Finished, Host, HostFuture, Limits, Nothing, Pool, PoolConfig, WorkerCommand,
};
use curfew_model::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;

use crate::support::{
    Echo, PACKAGES_SAY, action, commands, console, execution, program, thrown, with_packages,
};

/// How a worker is started here.
pub(crate) fn worker() -> WorkerCommand {
    WorkerCommand { program: env!("CARGO_BIN_EXE_curfew-action-worker").into(), arguments: Vec::new() }
}

pub(crate) fn pool() -> Pool {
    Pool::new(PoolConfig::new(worker())).expect("a pool")
}

/// A pool of one worker.
fn pool_of_one() -> Pool {
    Pool::new(PoolConfig { workers: 1, tenant_workers: 1, ..PoolConfig::new(worker()) }).expect("a pool")
}

/// Runs one execution in a worker of its own. Blocks.
pub(crate) fn in_a_worker(execution: Execution, host: Arc<dyn Host>) -> Finished {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { pool().run(execution, host).await })
}

/// A host that says when it is asked, and never answers.
#[derive(Debug, Default)]
struct Silent {
    asked: Notify,
}

impl Silent {
    /// Waits until it is asked.
    async fn is_asked(&self) {
        tokio::time::timeout(Duration::from_secs(60), self.asked.notified()).await.expect("the Action asks");
    }
}

impl Host for Silent {
    fn fetch(&self, _: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>> {
        self.asked.notify_one();
        Box::pin(std::future::pending())
    }

    fn cache(&self, _: CacheRequest) -> HostFuture<'_, CacheAnswer> {
        self.asked.notify_one();
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn an_action_runs_in_a_worker_as_it_runs_here() {
    let pool = pool();
    let mut execution = execution(&action(
        "api.user.setAppMetadata('name', event.user.name);
         await api.cache.set('a', event.secrets.token);
         console.warn((await api.cache.get('a')).value, new Date().toISOString().slice(0, 13));
         await new Promise((done) => setTimeout(done, 10));
         api.access.deny('no');",
    ));
    execution.secrets = BTreeMap::from([("token".to_owned(), Secret::new("s3cret".to_owned()))]);
    let finished = pool.run(execution, Arc::new(Echo::default())).await;
    assert_eq!(finished.result, Ok(()), "{finished:?}");
    assert_eq!(console(&finished), ["warn: s3cret 2026-01-01T10"]);
    assert_eq!(
        commands(&finished),
        [
            serde_json::json!({"type": "user.setAppMetadata", "args": ["name", "Zoë"]}),
            serde_json::json!({"type": "access.deny", "args": ["no"]}),
        ]
    );
    assert!(finished.duration >= Duration::from_millis(10));
}

#[tokio::test]
async fn packages_come_along() {
    let pool = pool();
    let program = with_packages();
    let finished = pool.run(execution(&program), Arc::new(Nothing)).await;
    assert_eq!(finished.result, Ok(()), "{finished:?}");
    assert_eq!(console(&finished), PACKAGES_SAY);
    // Of another worker, which is told what is known already.
    let mut other = execution(&program);
    other.tenant = 2;
    assert_eq!(console(&pool.run(other, Arc::new(Nothing)).await), PACKAGES_SAY);
}

#[tokio::test]
async fn an_error_comes_back_with_the_actions_own_lines() {
    let finished =
        pool().run(execution(&action("\nthrow new RangeError('too far');")), Arc::new(Nothing)).await;
    let (name, message, stack) = thrown(&finished);
    assert_eq!((name, message), ("RangeError", "too far"));
    assert!(stack.contains("action.js:3:"), "{stack}");
}

#[tokio::test]
async fn a_version_stays_warm_in_its_worker() {
    let pool = pool_of_one();
    let counts = Arc::new(program("let runs = 0; exports.onExecutePostLogin = () => console.log(++runs);"));
    let other = action("console.log(typeof runs);");
    for expected in ["log: 1", "log: 2"] {
        assert_eq!(console(&pool.run(execution(&counts), Arc::new(Nothing)).await), [expected]);
        assert_eq!(console(&pool.run(execution(&other), Arc::new(Nothing)).await), ["log: undefined"]);
    }
    assert_eq!(pool.idle_processes().len(), 1);
}

#[tokio::test]
async fn a_worker_serves_one_tenant_for_its_life() {
    let pool = pool_of_one();
    let keeps = Arc::new(program(
        "globalThis.kept ??= []; exports.onExecutePostLogin = (event) => { kept.push(event.secrets.token); console.log(kept.join()); };",
    ));
    let mut processes = Vec::new();
    for (tenant, token, expected) in [
        (1, "one", "log: one"),
        (2, "two", "log: two"),
        (1, "again", "log: one,again"),
        (2, "more", "log: two,more"),
    ] {
        let mut execution = execution(&keeps);
        execution.tenant = tenant;
        execution.secrets = BTreeMap::from([("token".to_owned(), Secret::new(token.to_owned()))]);
        let finished = pool.run(execution, Arc::new(Nothing)).await;
        assert_eq!(console(&finished), [expected], "{finished:?}");
        processes.push(pool.idle_processes());
    }
    // Two processes, each for its own.
    assert_eq!(processes.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 2, 2]);
    let last: Vec<_> = processes.iter().filter_map(|idle| idle.last()).collect();
    assert_eq!((last[0], last[1]), (last[2], last[3]));
    assert_ne!(last[0], last[1]);
}

#[tokio::test]
async fn a_worker_that_is_killed_fails_its_execution_and_no_other() {
    let pool = pool();
    let host = Arc::new(Silent::default());
    let waits = execution(&action("await api.cache.get('a');"));
    let killed = {
        let (pool, host) = (pool.clone(), Arc::clone(&host));
        pool.run(execution(&action("")), Arc::new(Nothing)).await;
        let process = pool.idle_processes()[0];
        let running = tokio::spawn(async move { pool.run(waits, host).await });
        (running, process)
    };
    host.is_asked().await;
    let process = Pid::from_raw(killed.1.cast_signed()).expect("a process");
    kill_process(process, Signal::KILL).expect("it runs");
    assert_eq!(killed.0.await.expect("no panic").result, Err(ActionError::Crashed));
    assert_eq!(pool.run(execution(&action("")), Arc::new(Nothing)).await.result, Ok(()));
}

#[tokio::test]
async fn an_execution_that_nobody_waits_for_any_more_ends() {
    let pool = pool_of_one();
    let host = Arc::new(Silent::default());
    let running = {
        let (pool, host) = (pool.clone(), Arc::clone(&host));
        tokio::spawn(async move { pool.run(execution(&action("await api.cache.get('a');")), host).await })
    };
    host.is_asked().await;
    running.abort();
    assert!(running.await.expect_err("it was given up").is_cancelled());
    // The only share is free again.
    assert_eq!(pool.run(execution(&action("")), Arc::new(Nothing)).await.result, Ok(()));
}

#[tokio::test]
async fn nested_executions_have_workers_of_their_own() {
    let pool = Pool::new(PoolConfig {
        workers: 1,
        tenant_workers: 1,
        nested_workers: 1,
        waiting_patience: Duration::from_millis(100),
        ..PoolConfig::new(worker())
    })
    .expect("a pool");
    let outer = Arc::new(Silent::default());
    let held: Vec<_> = {
        let mut held = Vec::new();
        for depth in 0..=DEPTH_MAX {
            let mut execution = execution(&action("await api.cache.get('a');"));
            execution.depth = depth;
            execution.limits.wall = Duration::from_secs(600);
            let (pool, host) = (pool.clone(), Arc::clone(&outer));
            held.push(tokio::spawn(async move { pool.run(execution, host).await }));
            outer.is_asked().await;
        }
        held
    };
    for depth in 0..=DEPTH_MAX {
        let mut execution = execution(&action(""));
        execution.depth = depth;
        assert_eq!(
            pool.run(execution, Arc::new(Nothing)).await.result,
            Err(ActionError::Busy),
            "depth {depth}"
        );
    }
    let mut deeper = execution(&action(""));
    deeper.depth = DEPTH_MAX + 1;
    assert_eq!(pool.run(deeper, Arc::new(Nothing)).await.result, Err(ActionError::TooDeep));
    for running in held {
        running.abort();
    }
}

#[tokio::test]
async fn who_waits_is_served_in_turn_and_the_line_has_an_end() {
    let pool =
        Pool::new(PoolConfig { workers: 1, tenant_workers: 1, waiting_max: 2, ..PoolConfig::new(worker()) })
            .expect("a pool");
    let host = Arc::new(Silent::default());
    let mut first = execution(&action("await api.cache.get('a');"));
    first.limits.wall = Duration::from_secs(1);
    let first = {
        let (pool, host) = (pool.clone(), Arc::clone(&host));
        tokio::spawn(async move { pool.run(first, host).await })
    };
    host.is_asked().await;
    let (program, nothing) = (action(""), Arc::new(Nothing));
    let results = futures_util::future::join_all(
        (0..3).map(|_| pool.run(execution(&program), Arc::clone(&nothing) as Arc<dyn Host>)),
    )
    .await;
    assert_eq!(
        results.iter().filter(|finished| finished.result == Err(ActionError::Busy)).count(),
        1,
        "{results:?}"
    );
    assert_eq!(results.iter().filter(|finished| finished.result == Ok(())).count(), 2, "{results:?}");
    assert!(matches!(first.await.expect("no panic").result, Err(ActionError::TimedOut { .. })));
}

#[tokio::test]
async fn what_answers_nonsense_is_no_worker() {
    for (arguments, expected) in [
        ("echo nonsense >&0; cat", ActionError::Crashed),
        // Our own frames back, which are none of a worker's.
        ("exec 1>&0; cat", ActionError::Crashed),
        ("head -c 1000000 /dev/zero >&0; cat", ActionError::Crashed),
        ("yes >&0", ActionError::Crashed),
        ("exit 0", ActionError::Crashed),
        ("exit 3", ActionError::Crashed),
        ("kill -9 $$", ActionError::Crashed),
        // It listens and says nothing, and ends with its parent.
        ("exec cat > /dev/null", ActionError::TimedOut { hard: true }),
    ] {
        let command =
            WorkerCommand { program: "/bin/sh".into(), arguments: vec!["-c".into(), arguments.into()] };
        let pool = Pool::new(PoolConfig::new(command)).expect("a pool");
        let mut execution = execution(&action(""));
        // Only the last one takes as long as it may.
        let wall = if expected == ActionError::Crashed { 120 } else { 1 };
        execution.limits =
            Limits { wall: Duration::from_secs(wall), grace: Duration::from_millis(1), ..Limits::default() };
        let finished = pool.run(execution, Arc::new(Nothing)).await;
        assert_eq!(finished.result, Err(expected), "{arguments}");
    }
    let command = WorkerCommand { program: "/nowhere/curfew".into(), arguments: Vec::new() };
    let finished = Pool::new(PoolConfig::new(command))
        .expect("a pool")
        .run(execution(&action("")), Arc::new(Nothing))
        .await;
    assert!(matches!(finished.result, Err(ActionError::NotStarted { .. })), "{finished:?}");
}

#[tokio::test]
async fn closing_waits_for_what_runs_and_ends_the_rest() {
    let pool = pool();
    let running = {
        let pool = pool.clone();
        let slow = execution(&action("await new Promise((done) => setTimeout(done, 300));"));
        tokio::spawn(async move { pool.run(slow, Arc::new(Nothing)).await })
    };
    pool.run(execution(&action("")), Arc::new(Nothing)).await;
    pool.close().await;
    // Whoever had not begun by then is told so.
    let result = running.await.expect("no panic").result;
    assert!(matches!(result, Ok(()) | Err(ActionError::Busy)), "{result:?}");
    assert_eq!(pool.idle_processes(), Vec::<u32>::new());
    assert_eq!(pool.run(execution(&action("")), Arc::new(Nothing)).await.result, Err(ActionError::Busy));
}

#[tokio::test]
async fn requests_are_answered_side_by_side() {
    let pool = pool();
    let host = Arc::new(Echo::default());
    let finished = pool
        .run(
            execution(&action(
                "const all = await Promise.all(Array.from({ length: 40 }, (_, i) =>
                   fetch(`https://api.example/${i}?key=s3cret`, { method: 'POST', body: 'body ' + i, headers: { 'x-i': String(i) } }).then((r) => r.text())));
                 console.log(all.every((text, i) => text === `POST https://api.example/${i}?key=s3cret body ${i}`), all.length);
                 console.log(await fetch('https://refused.example/').catch((error) => error.cause?.code ?? error.message));
                 const controller = new AbortController();
                 setTimeout(() => controller.abort(), 5);
                 console.log(await fetch('https://silent.example/', { signal: controller.signal }).catch((error) => error.name));
                 console.log((await (await fetch('https://large.example/5000000')).arrayBuffer()).byteLength);
                 console.log(await fetch('https://large.example/9000000').then(() => 'read', (error) => error.name));
                 console.log(await fetch('https://api.example/', { method: 'POST', body: 'x'.repeat(2e6) }).then(() => 'sent', (error) => error.name));",
            )),
            Arc::clone(&host) as Arc<dyn Host>,
        )
        .await;
    assert_eq!(finished.result, Ok(()), "{finished:?}");
    let lines = console(&finished);
    assert_eq!(lines[0], "log: true 40");
    assert_eq!(lines[1], "log: ECONNREFUSED");
    assert_eq!(lines[2], "log: AbortError");
    assert_eq!(lines[3], "log: 5000000");
    assert_eq!(lines[4], "log: TypeError");
    assert!(!lines[5].contains("sent"), "{lines:?}");
    // What is remembered: each request, without what may be secret.
    assert_eq!(finished.fetches.len(), 44);
    assert_eq!((&*finished.fetches[0].method, finished.fetches[0].status), ("POST", Some(200)));
    assert!(finished.fetches.iter().all(|fetch| !fetch.url.contains("s3cret")));
    let errors: Vec<_> = finished.fetches.iter().filter_map(|fetch| fetch.error.as_deref()).collect();
    assert_eq!(errors, ["ECONNREFUSED", "ERR_GIVEN_UP", "ERR_RESPONSE_TOO_LARGE"]);
    assert_eq!(host.asked.lock().expect("not poisoned").len(), 44);
}

#[tokio::test]
async fn the_cache_is_asked_beside_as_many_requests_as_there_may_be() {
    let finished = pool()
        .run(
            execution(&action(
                "for (let i = 0; i < 20; i++) fetch('https://silent.example/').catch(() => {});
                 for (let i = 0; i < 20; i++) api.cache.set('a', String(i));
                 console.log(api.cache.get('a').value);",
            )),
            Arc::new(Echo::default()),
        )
        .await;
    assert_eq!((&finished.result, console(&finished)), (&Ok(()), vec!["log: 19".to_owned()]), "{finished:?}");
}

/// A host whose every answer leads on, at last to where nobody may go.
#[derive(Debug, Default)]
struct LeadsOn {
    asked: std::sync::Mutex<Vec<FetchRequest>>,
}

impl Host for LeadsOn {
    fn fetch(&self, request: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>> {
        let next = match &*request.url {
            "https://one.example/" => "https://one.example/own",
            "https://one.example/own" => "https://two.example/",
            _ => "http://169.254.169.254/latest/meta-data/",
        };
        let url = request.url.clone();
        self.asked.lock().expect("not poisoned").push(request);
        Box::pin(std::future::ready(match url.strip_prefix("https://") {
            None => Err(FetchError::new("EACCES", "not there")),
            Some(_) => Ok(FetchResponse {
                status: 307,
                status_text: String::new(),
                url,
                redirected: false,
                headers: vec![("location".to_owned(), next.to_owned())],
                body: bytes::Bytes::new(),
            }),
        }))
    }

    fn cache(&self, _: CacheRequest) -> HostFuture<'_, CacheAnswer> {
        Box::pin(std::future::ready(CacheAnswer::Nothing))
    }
}

#[tokio::test]
async fn each_step_of_a_redirect_is_asked_of_the_host_without_what_was_for_another() {
    let host = Arc::new(LeadsOn::default());
    let body = "const headers = { authorization: 'Bearer s3cret', cookie: 'a=s3cret', 'x-other': 'kept' };
                console.log(await fetch('https://one.example/', { headers }).then(() => 'read', (error) => error.cause.code));";
    let finished = pool().run(execution(&action(body)), Arc::clone(&host) as Arc<dyn Host>).await;
    assert_eq!(console(&finished), ["log: EACCES"], "{finished:?}");
    let asked = std::mem::take(&mut *host.asked.lock().expect("not poisoned"));
    let asked: Vec<(&str, Vec<&str>)> = asked
        .iter()
        .map(|request| {
            let told = request.headers.iter().map(|(name, _)| &**name);
            (&*request.url, told.filter(|name| !["accept", "user-agent"].contains(name)).collect())
        })
        .collect();
    let own = vec!["authorization", "cookie", "x-other"];
    assert_eq!(
        asked,
        [
            ("https://one.example/", own.clone()),
            ("https://one.example/own", own),
            ("https://two.example/", vec!["x-other"]),
            ("http://169.254.169.254/latest/meta-data/", vec!["x-other"]),
        ]
    );
}

/// What one Action does to its own world is its own affair, also where another one of its tenant's runs in the same process.
#[tokio::test]
async fn one_action_sees_nothing_of_another_of_its_tenants() {
    let pool = pool_of_one();
    let spies = Arc::new(program(
        "globalThis.seen = [];
         let busy = false;
         const keep = (value) => {
           if (busy) return;
           busy = true;
           try { seen[seen.length] = String(value); } catch {}
           busy = false;
         };
         const spy = (on, name) => {
           const own = on[name];
           on[name] = function (...given) { keep(this); for (const one of given) keep(one); return Reflect.apply(own, this, given); };
         };
         spy(JSON, 'parse'); spy(JSON, 'stringify'); spy(Promise.prototype, 'then'); spy(Array.prototype, 'push');
         spy(Object, 'keys'); spy(Map.prototype, 'set');
         spy(require('crypto'), 'createHmac'); spy(require('events').prototype, 'emit'); spy(globalThis, 'fetch');
         for (const name of ['secrets', 'token', 'event', 'type'])
           Object.defineProperty(Object.prototype, name, { configurable: true, get() { return undefined; }, set(value) {
             keep(value); Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true }); } });
         exports.onExecutePostLogin = () => { const told = seen.join(); console.log(told.includes('s3cret') ? told : 'nothing'); };",
    ));
    let other = action(
        "const { token } = event.secrets;
         api.user.setAppMetadata('token', token);
         require('crypto').createHmac('sha256', token).update(token).digest('hex');
         await fetch('https://api.example/', { method: 'POST', body: token });
         await api.cache.set('token', token);
         console.log(Object.keys(event.secrets).length, typeof globalThis.seen);",
    );
    let mut processes = Vec::new();
    for _ in 0..3 {
        let spied = pool.run(execution(&spies), Arc::new(Echo::default())).await;
        assert_eq!((&spied.result, console(&spied)), (&Ok(()), vec!["log: nothing".to_owned()]), "{spied:?}");
        let mut with_secret = execution(&other);
        with_secret.secrets = BTreeMap::from([("token".to_owned(), Secret::new("s3cret".to_owned()))]);
        let decent = pool.run(with_secret, Arc::new(Echo::default())).await;
        assert_eq!(
            (&decent.result, console(&decent)),
            (&Ok(()), vec!["log: 1 undefined".to_owned()]),
            "{decent:?}"
        );
        assert_eq!(
            commands(&decent),
            [serde_json::json!({"type": "user.setAppMetadata", "args": ["token", "s3cret"]})]
        );
        processes.extend(pool.idle_processes());
    }
    processes.dedup();
    assert_eq!(processes.len(), 1, "it is the same process");
}

#[tokio::test]
async fn a_worker_computes_what_signatures_take() {
    // All that the walls of a worker must leave through: randomness, large numbers, threads that are none.
    let finished = pool()
        .run(
            execution(&action(
                "const crypto = require('crypto');
                 console.log(crypto.randomBytes(16).length, crypto.randomUUID().length);
                 console.log(crypto.createHmac('sha256', 'key').update('text').digest('hex').length);
                 const { publicKey, privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
                 const made = crypto.sign('sha256', Buffer.from('text'), privateKey);
                 console.log(crypto.verify('sha256', Buffer.from('text'), publicKey, made));
                 const rsa = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
                 console.log(crypto.verify('sha256', Buffer.from('text'), rsa.publicKey, crypto.sign('sha256', Buffer.from('text'), rsa.privateKey)));
                 console.log((await globalThis.crypto.subtle.digest('SHA-256', new Uint8Array(3))).byteLength);",
            )),
            Arc::new(Nothing),
        )
        .await;
    assert_eq!(finished.result, Ok(()), "{finished:?}");
    assert_eq!(console(&finished), ["log: 16 36", "log: 64", "log: true", "log: true", "log: 32"]);
}

#[tokio::test]
async fn a_worker_without_work_ends() {
    let pool = Pool::new(PoolConfig { idle: Duration::from_millis(1), ..PoolConfig::new(worker()) })
        .expect("a pool");
    assert_eq!(pool.run(execution(&action("")), Arc::new(Nothing)).await.result, Ok(()));
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    while !pool.idle_processes().is_empty() {
        assert!(tokio::time::Instant::now() < until, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
