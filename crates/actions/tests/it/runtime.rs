//! What an Action finds around it: the Web's objects, Node's built-in modules, cryptography.
//!
//! The tests are written in JavaScript (`js/`), where each exported function is one; they hold in Node as they do here.

use std::sync::Arc;

use curfew_actions::in_process::run;
use curfew_actions::{ActionError, Finished};

use crate::pool::in_a_worker;
use crate::support::{Echo, action, commands, console, execution, program, thrown};

/// Runs every function of a file.
fn passes(file: &str) {
    let all = format!(
        "{file}
         const tests = {{ ...exports }};
         exports.onExecutePostLogin = async (event, api) => {{
           const failed = [];
           for (const name of Object.keys(tests)) {{
             try {{ await tests[name](event, api); }} catch (error) {{ failed.push(`${{name}}: ${{error}}\n${{error?.stack}}`); }}
           }}
           if (failed.length > 0) throw new Error(failed.join('\\n'));
           console.log('all of', Object.keys(tests).length);
         }};"
    );
    let program = Arc::new(program(&all));
    passed(&run(&execution(&program), Arc::new(Echo::default())));
    // And where it counts: confined, and from bytecode.
    passed(&in_a_worker(execution(&program), Arc::new(Echo::default())));
}

fn passed(finished: &Finished) {
    if let Err(ActionError::Thrown { message, .. }) = &finished.result {
        panic!("{message}");
    }
    assert_eq!(finished.result, Ok(()), "{:?}", finished.console);
    assert!(console(finished).iter().any(|line| line.starts_with("log: all of ")), "{:?}", finished.console);
}

fn ran(body: &str) -> Finished {
    run(&execution(&action(body)), Arc::new(Echo::default()))
}

#[test]
fn the_web_is_there() {
    passes(include_str!("js/web.js"));
}

#[test]
fn the_built_in_modules_are_there() {
    passes(include_str!("js/node.js"));
}

#[test]
fn cryptography_is_there() {
    passes(include_str!("js/crypto.js"));
}

#[test]
fn fetch_and_https_ask_the_host() {
    let host = Arc::new(Echo::default());
    let finished = run(
        &execution(&action(
            "const assert = require('assert');
             const answer = await fetch('https://api.example/a?b=1#c', { method: 'PUT', body: 'x', headers: { 'X-Own': '1' } });
             assert.strictEqual(await answer.text(), 'PUT https://api.example/a?b=1 x');
             assert.deepStrictEqual([answer.ok, answer.status, answer.headers.get('content-type')], [true, 200, 'text/plain']);
             await assert.rejects(fetch('https://refused.example/'), (error) => error.message === 'fetch failed' && error.cause.code === 'ECONNREFUSED');
             const controller = new AbortController();
             const silent = fetch('https://silent.example/', { signal: controller.signal });
             setTimeout(() => controller.abort(), 1);
             await assert.rejects(silent, { name: 'AbortError' });
             await assert.rejects(fetch('https://silent.example/', { signal: AbortSignal.timeout(1) }), { name: 'TimeoutError' });
             await assert.rejects(fetch('ftp://files.example/'), /fetch failed/);
             const https = require('https');
             const text = await new Promise((resolve, reject) => {
               const request = https.request('https://api.example/z', { method: 'POST', headers: { 'Content-Type': 'a/b', Connection: 'close' } }, (response) => {
                 let all = '';
                 response.on('data', (chunk) => { all += chunk; });
                 response.on('end', () => resolve(`${response.statusCode} ${response.headers['content-type']} ${all}`));
               });
               request.on('error', reject);
               request.write('one');
               request.end('two');
             });
             assert.strictEqual(text, '200 text/plain POST https://api.example/z onetwo');
             const error = await new Promise((resolve) => { require('http').get('https://refused.example/').on('error', resolve); }).catch((error) => error);
             assert.strictEqual(error.code, 'ECONNREFUSED');
             const slow = https.get({ host: 'silent.example', timeout: 1 });
             await require('events').once(slow, 'timeout');
             slow.on('error', () => {});
             slow.destroy();",
        )),
        Arc::clone(&host) as _,
    );
    assert_eq!(finished.result, Ok(()));
    let asked = host.asked.lock().unwrap();
    assert!(asked[0].headers.contains(&("x-own".to_owned(), "1".to_owned())), "{asked:?}");
    let request = asked.iter().find(|request| request.url == "https://api.example/z").unwrap();
    assert_eq!(request.headers, [("Content-Type".to_owned(), "a/b".to_owned())]);
}

#[test]
fn what_is_not_there_says_so() {
    for (code, message) in [
        ("require('child_process')", "The built-in module 'child_process' is not available in Actions"),
        ("require('node:vm')", "The built-in module 'vm' is not available in Actions"),
        (
            "require('net').connect(80)",
            "net.connect is not available in Actions. Use fetch or https: requests leave through the server.",
        ),
        (
            "require('fs').writeFileSync('/x', 'y')",
            "EACCES: permission denied, writeFile '/x'. Actions have no file system",
        ),
        (
            "require('http').createServer()",
            "http.createServer is not available in Actions. An Action answers no requests.",
        ),
        (
            "require('crypto').scryptSync('a', 'b', 32)",
            "crypto.scryptSync is not available in Actions. Use pbkdf2Sync.",
        ),
        ("require('zlib').brotliCompressSync('a')", "zlib.brotliCompressSync is not available in Actions."),
        (
            "new (require('async_hooks').AsyncLocalStorage)().run(1, () => {})",
            "AsyncLocalStorage.run is not available in Actions. Hand the value on as an argument.",
        ),
        ("process.exit(0)", "process.exit is not available in Actions."),
        ("require('dns').lookup('a', () => {})", "dns.lookup is not available in Actions."),
    ] {
        let finished = ran(code);
        assert_eq!(thrown(&finished).1, message, "{code}");
    }
}

#[test]
fn an_action_reaches_neither_the_host_nor_the_machine() {
    let finished = ran(
        "const seen = new Set();
         const walk = (value, path) => {
           if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.has(value)) return;
           seen.add(value);
           if (typeof value.setRequire === 'function' || typeof value.record === 'function') throw new Error(`the host is at ${path}`);
           for (const key of Reflect.ownKeys(value)) {
             let inner;
             try { inner = value[key]; } catch { continue; }
             walk(inner, `${path}.${String(key)}`);
           }
           walk(Object.getPrototypeOf(value), `${path}.__proto__`);
         };
         walk(globalThis, 'globalThis');
         walk({ event, api, require, module, exports }, 'arguments');
         for (const name of require('module').builtinModules) walk(require(name), name);
         console.log(typeof host, Object.keys(process.env).length, seen.size > 500);",
    );
    assert_eq!(finished.result, Ok(()));
    assert_eq!(console(&finished), ["log: undefined 0 true"]);
}

#[test]
fn the_console_formats_as_nodes_does() {
    let finished = ran("console.log('%s has %d', 'x', 3, { a: [1, { b: null }] });
         console.error(new TypeError('bad').message, [undefined]);
         console.group('in');
         console.info('deeper');
         console.groupEnd();
         console.assert(1 === 2, 'not so');
         console.table(Buffer.from('a'));");
    assert_eq!(
        console(&finished),
        [
            "log: x has 3 { a: [ 1, { b: null } ] }",
            "error: bad [ undefined ]",
            "log: in",
            "info:   deeper",
            "error: Assertion failed not so",
            "log: <Buffer 61>",
        ]
    );
}

#[test]
fn a_stack_shows_the_actions_own_lines() {
    let finished = run(
        &execution(&Arc::new(program(
            "const inner = (text) => {\n  return JSON.parse(text);\n};\nexports.onExecutePostLogin = async () => {\n  inner('{');\n};\n",
        ))),
        Arc::new(Echo::default()),
    );
    let (name, _, stack) = thrown(&finished);
    assert_eq!(name, "SyntaxError");
    assert!(stack.contains("action.js:2") && stack.contains("action.js:5"), "{stack}");
    let finished = ran("\n\napi.session.setExpiresAt('soon');");
    let (_, message, stack) = thrown(&finished);
    assert!(message.starts_with("api.session.setExpiresAt: the instant must be an integer"), "{message}");
    assert!(stack.starts_with("    at") && stack.contains("action.js:4"), "{stack}");
    assert!(commands(&finished).is_empty());
}
