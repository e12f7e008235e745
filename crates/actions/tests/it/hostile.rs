//! Code that means harm, in real workers. Whatever it does, it fails alone, in time, and the next execution runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{ActionError, Execution, Finished, Limits, Nothing, Pool};
use curfew_model::Secret;

use crate::pool::pool;
use crate::support::{Echo, action, commands, console, execution, program, short, thrown};

/// Limits that code which never looks up meets soon.
fn shorter() -> Limits {
    Limits { grace: Duration::from_millis(200), ..short() }
}

/// Runs the body within these limits, and then asks for something decent.
async fn ran(pool: &Pool, body: &str, limits: Limits) -> Finished {
    let mut hostile = execution(&action(body));
    hostile.limits = limits;
    let finished = pool.run(hostile, Arc::new(Echo::default())).await;
    let decent = pool.run(execution(&action("console.log('decent')")), Arc::new(Nothing)).await;
    assert_eq!(decent.result, Ok(()), "after {body}: {decent:?}");
    assert_eq!(console(&decent), ["log: decent"], "after {body}");
    finished
}

#[tokio::test]
async fn loops_are_stopped() {
    let pool = pool();
    for body in [
        "for (;;);",
        "for (;;) { try { for (;;); } catch {} }",
        "const again = () => Promise.resolve().then(again); again(); await new Promise(() => {});",
        "/^(a+)+$/.test('a'.repeat(50) + 'b');",
        "new Proxy({}, { get() { for (;;); } }).x;",
        "[3, 1, 2].sort(() => { for (;;); });",
        "eval('for (;;);');",
    ] {
        let finished = ran(&pool, body, shorter()).await;
        let stopped = matches!(finished.result, Err(ActionError::TimedOut { .. } | ActionError::OutOfMemory));
        assert!(stopped, "{body}: {finished:?}");
    }
}

#[tokio::test]
async fn what_never_looks_up_is_killed() {
    let pool = pool();
    // Quadratic, in one call of a function of the engine's own: far more than any limit here.
    let body = "const text = 'a'.repeat(5e6); text.indexOf('a'.repeat(25e5) + 'b');";
    let finished = ran(&pool, body, shorter()).await;
    assert_eq!(finished.result, Err(ActionError::TimedOut { hard: true }), "by its own timer");
    assert!(finished.duration < Duration::from_secs(15), "before the parent would have: {finished:?}");
    let limits = Limits { wall: Duration::from_millis(300), cpu: Duration::from_secs(60), ..shorter() };
    let finished = ran(&pool, body, limits).await;
    assert_eq!(finished.result, Err(ActionError::TimedOut { hard: true }), "by the parent");
}

#[tokio::test]
async fn long_work_in_the_engines_own_functions_ends() {
    let pool = pool();
    for body in [
        "'a'.repeat(2e7).replaceAll('a', 'bc'); for (;;);",
        "(2n ** 4000000n).toString(); for (;;);",
        "const all = new Array(1e6).fill(0); for (let i = 0; i < 1e6; i++) all.includes(i + 1);",
        "JSON.stringify(new Array(1e6).fill({ a: [1] })); for (;;);",
    ] {
        let finished = ran(&pool, body, shorter()).await;
        assert!(finished.result.is_err(), "{body}: {finished:?}");
        assert!(finished.duration < Duration::from_secs(20), "{body}: {finished:?}");
    }
}

#[tokio::test]
async fn memory_and_recursion_have_an_end() {
    let pool = pool();
    for body in [
        "const all = []; for (;;) all.push(new Array(1000).fill(all));",
        "let text = 'x'; for (;;) text += text;",
        "const all = []; for (;;) all.push(new Uint8Array(1 << 20));",
        "const deeper = () => deeper(); deeper();",
        "let deep = []; for (let i = 0; i < 1e6; i++) deep = [deep]; JSON.stringify(deep);",
        "await Promise.all(Array.from({ length: 1e7 }, async () => {}));",
        "new WeakRef({}); const all = new Map(); for (let i = 0; ; i++) all.set(i, new WeakRef({ i }));",
    ] {
        let finished = ran(&pool, body, shorter()).await;
        assert!(finished.result.is_err(), "{body}: {finished:?}");
    }
}

#[tokio::test]
async fn memory_that_is_never_given_back_is_that_of_one_version() {
    let pool = pool();
    let hoards = Arc::new(program(
        "const all = []; exports.onExecutePostLogin = () => { for (let i = 0; i < 8; i++) all.push(new Uint8Array(1 << 20)); };",
    ));
    let mut failed = 0;
    for _ in 0..12 {
        let mut execution = execution(&hoards);
        execution.limits.memory_bytes = short().memory_bytes;
        match pool.run(execution, Arc::new(Nothing)).await.result {
            Ok(()) => {}
            Err(ActionError::OutOfMemory) => failed += 1,
            other => panic!("{other:?}"),
        }
    }
    // It begins anew each time it fails.
    assert!((1..=6).contains(&failed), "{failed}");
}

#[tokio::test]
async fn nothing_large_comes_out() {
    let pool = pool();
    let finished = ran(&pool, "api.access.deny('x'.repeat(1e8));", Limits::default()).await;
    assert!(finished.result.is_err() && finished.commands.is_empty(), "{finished:?}");
    let finished = ran(&pool, "for (;;) api.access.deny('x'.repeat(1000));", Limits::default()).await;
    assert_eq!(thrown(&finished).0, "RangeError");
    let finished =
        ran(&pool, "for (let i = 0; i < 1e4; i++) console.log('x'.repeat(500));", Limits::default()).await;
    assert_eq!(finished.result, Ok(()));
    let limits = Limits::default();
    let bytes: usize = finished.console.iter().map(|line| line.text.len()).sum();
    assert!(finished.console.len() <= limits.console_lines_max && bytes <= limits.console_bytes_max);
    assert_eq!(finished.console.len() as u64 + finished.console_dropped, 10_000);
    let finished = ran(&pool, "throw new Error('x'.repeat(1e7));", Limits::default()).await;
    assert!(thrown(&finished).1.len() <= 8192);
    let finished = ran(&pool, "await api.cache.set('a', 'x'.repeat(1e7));", Limits::default()).await;
    assert_eq!(thrown(&finished).0, "RangeError");
    let finished = ran(&pool, "for (;;) await api.cache.get('a');", Limits::default()).await;
    assert_eq!(thrown(&finished).0, "RangeError");
}

/// Each spoils what it finds, in the hope to be served in the next execution, or to speak for it.
const TRICKS: &[&str] = &[
    "Promise.prototype.then = function () { throw new Error('spoilt') };",
    "Object.defineProperty(Promise.prototype, 'constructor', { get() { throw new Error('spoilt') } });",
    "JSON.stringify = () => '{\"type\":\"forged\"}'; JSON.parse = () => ({ forged: true });",
    "Object.prototype.toJSON = () => 'forged';",
    "String.prototype.toJSON = () => 'forged'; Array.prototype.toJSON = () => 'forged';",
    "Object.defineProperty(Object.prototype, 'type', { get: () => 'forged', set() {} });",
    "Array.prototype[Symbol.iterator] = function* () { yield 'forged' };",
    "Function.prototype.apply = Function.prototype.call = () => 'forged';",
    "Reflect.apply = () => 'forged'; globalThis.Reflect = undefined;",
    "api.access.deny = () => {}; Object.setPrototypeOf(api, null); delete event.user;",
    "globalThis.console = undefined; globalThis.JSON = undefined; globalThis.Promise = undefined;",
    "Object.freeze(globalThis);",
    "Error.prepareStackTrace = (error, frames) => { throw frames };",
    "Object.defineProperty(Error.prototype, 'stack', { get() { throw 1 } });",
    "for (const name of Object.getOwnPropertyNames(globalThis)) { try { globalThis[name] = undefined; } catch {} }",
];

#[tokio::test]
async fn tricks_speak_for_nobody_else() {
    let pool = pool();
    for trick in TRICKS {
        let finished = ran(&pool, &format!("{trick}\napi.user.setAppMetadata('a', 'b');"), shorter()).await;
        for command in commands(&finished) {
            // What it says of itself is its own affair; it is one command, of at most its own limits.
            assert!(command.is_object() || command.is_string(), "{trick}: {command}");
        }
        assert!(!matches!(finished.result, Err(ActionError::Crashed)), "{trick}: {finished:?}");
    }
}

#[tokio::test]
async fn a_version_that_spoils_its_context_still_answers_to_its_limits() {
    let pool = pool();
    for trick in TRICKS {
        let spoils = Arc::new(program(&format!(
            "exports.onExecutePostLogin = async (event, api) => {{ {trick} }}; exports.loops = () => {{ for (;;); }};"
        )));
        let mut first = execution(&spoils);
        first.limits = shorter();
        pool.run(first, Arc::new(Nothing)).await;
        let mut second = execution(&spoils);
        second.limits = shorter();
        second.function = "loops".to_owned();
        let finished = pool.run(second, Arc::new(Nothing)).await;
        assert!(finished.result.is_err(), "{trick}: {finished:?}");
        assert!(!matches!(finished.result, Err(ActionError::Crashed)), "{trick}: {finished:?}");
    }
}

#[tokio::test]
async fn there_is_nothing_to_be_seen() {
    let pool = pool();
    let mut with_secret = execution(&action("globalThis.seen = event.secrets.token;"));
    with_secret.tenant = 2;
    with_secret.secrets = BTreeMap::from([("token".to_owned(), Secret::new("s3cret".to_owned()))]);
    assert_eq!(pool.run(with_secret, Arc::new(Nothing)).await.result, Ok(()));
    let looks = "
        const seen = [typeof seen_before, typeof std, typeof os, typeof Deno, typeof Bun, typeof host, typeof scriptArgs];
        console.log(seen.join());
        console.log(globalThis.seen, Object.keys(globalThis.process?.env ?? {}).length);
        try { console.log(typeof arguments.callee.caller); } catch (error) { console.log(error.name); }
        const tried = [];
        for (const name of ['fs', 'node:fs', 'child_process', 'net', 'dgram', 'worker_threads', 'vm', 'cluster', '/etc/passwd', '../../etc/passwd', 'file:///etc/passwd']) {
          try {
            const module = require(name);
            tried.push((module.readFileSync ?? module.execSync ?? module.connect ?? module.createSocket)('/etc/passwd'));
          } catch {}
          try { await import(name); } catch {}
        }
        console.log(tried.filter((value) => typeof value === 'string' || value?.length > 0).length);";
    let finished = ran(&pool, looks, Limits::default()).await;
    assert_eq!(finished.result, Ok(()), "{finished:?}");
    let lines = console(&finished);
    assert_eq!(lines[0], "log: undefined,undefined,undefined,undefined,undefined,undefined,undefined");
    assert_eq!(lines[1], "log: undefined 0");
    assert_eq!(lines[3], "log: 0", "{lines:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_computes_for_long_goes_behind_everybody_else() {
    let niceness = |process: u32| -> Option<String> {
        let told = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, fields) = told.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(16).map(str::to_owned)
    };
    let pool = pool();
    // To wait for long is not to compute.
    let waits = action("await new Promise((resolve) => { setTimeout(resolve, 900); });");
    assert_eq!(pool.run(execution(&waits), Arc::new(Nothing)).await.result, Ok(()));
    let process = pool.idle_processes()[0];
    // A test that goes behind everything itself has workers that do.
    let own = niceness(std::process::id());
    assert!(
        niceness(process) != Some("19".to_owned())
            || own.is_some_and(|own| own.parse::<i32>().expect("a number") >= 14)
    );
    let endless = Execution {
        limits: Limits { cpu: Duration::from_secs(60), wall: Duration::from_secs(60), ..Limits::default() },
        ..execution(&action("for (;;);"))
    };
    let run = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(endless, Arc::new(Nothing)).await }
    });
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while niceness(process).as_deref() != Some("19") {
        assert!(tokio::time::Instant::now() < until && !run.is_finished(), "{:?}", niceness(process));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run.abort();
    // It serves nobody else, also when it comes to an end by itself.
    let busy =
        action("const until = Date.now() + 30_000; let i = 0; while (i < 4e9 && Date.now() < until) i += 1;");
    let limits =
        Limits { cpu: Duration::from_millis(1500), wall: Duration::from_secs(60), ..Limits::default() };
    let finished = pool.run(Execution { limits, ..execution(&busy) }, Arc::new(Nothing)).await;
    assert_eq!(finished.result, Err(ActionError::TimedOut { hard: false }));
    assert_eq!(pool.idle_processes(), Vec::<u32>::new());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_holds_nothing_of_its_parents() {
    let pool = pool();
    assert_eq!(pool.run(execution(&action("")), Arc::new(Nothing)).await.result, Ok(()));
    let process = format!("/proc/{}", pool.idle_processes()[0]);
    let status = std::fs::read_to_string(format!("{process}/status")).expect("it runs");
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim().to_owned())
            .expect("a field")
    };
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Threads:"), "1");
    // Only root may look at these: the process gives nothing away to others of its own user.
    if let Ok(environment) = std::fs::read(format!("{process}/environ")) {
        assert_eq!(String::from_utf8_lossy(&environment), "TZ=UTC0\0");
    }
    if let Ok(open) = std::fs::read_dir(format!("{process}/fd")) {
        let mut open: Vec<_> = open.map(|entry| entry.expect("an entry").file_name()).collect();
        open.sort();
        assert_eq!(open, ["0", "1", "2"]);
        // What it writes there reaches neither the server's output nor its log.
        for name in ["1", "2"] {
            let leads = std::fs::read_link(format!("{process}/fd/{name}")).expect("a link");
            assert_eq!(leads, std::path::Path::new("/dev/null"));
        }
    }
    let limits = std::fs::read_to_string(format!("{process}/limits")).expect("it runs");
    assert!(limits.lines().any(|line| line.starts_with("Max core file size        0 ")), "{limits}");
    assert!(limits.lines().any(|line| line.starts_with("Max open files            3 ")), "{limits}");
    assert!(limits.lines().any(|line| line.starts_with("Max processes             0 ")), "{limits}");
}
