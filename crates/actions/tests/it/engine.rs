//! The engine in this process: what an execution sees, does and leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::in_process::{InProcess, run};
use curfew_actions::{ActionError, Finished, Limits, Nothing};
use curfew_model::Secret;

use crate::support::{
    Echo, PACKAGES_SAY, action, commands, console, execution, program, short, thrown, with_packages,
};

/// Runs the body of an `onExecutePostLogin`.
fn ran(body: &str) -> Finished {
    run(&execution(&action(body)), Arc::new(Echo::default()))
}

/// Runs it within short limits.
fn ran_short(body: &str) -> Finished {
    let mut execution = execution(&action(body));
    execution.limits = short();
    run(&execution, Arc::new(Echo::default()))
}

#[test]
fn an_action_sees_its_event_and_its_calls_are_kept_in_order() {
    let mut execution = execution(&action(
        "api.user.setAppMetadata('name', event.user.name);
         await null;
         api.user.setUserMetadata('secret', event.secrets.token);
         api.access.deny('no');",
    ));
    execution.secrets = BTreeMap::from([("token".to_owned(), Secret::new("s3cret".to_owned()))]);
    let finished = run(&execution, Arc::new(Nothing));
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        commands(&finished),
        [
            serde_json::json!({"type": "user.setAppMetadata", "args": ["name", "Zoë"]}),
            serde_json::json!({"type": "user.setUserMetadata", "args": ["secret", "s3cret"]}),
            serde_json::json!({"type": "access.deny", "args": ["no"]}),
        ]
    );
}

#[test]
fn dates_follow_the_clock_that_is_handed_in() {
    let finished = ran(
        "const start = Date.now();
         console.log(new Date().toISOString().slice(0, 16), typeof Date(), new Date() instanceof Date);
         console.log(new Date(0).toISOString(), new Date(2020, 1).getFullYear(), Date.UTC(1970, 0, 1), Date.length);
         class Own extends Date { year() { return this.getUTCFullYear(); } }
         console.log(new Own().year(), new Own() instanceof Own, new Date().constructor === Date);
         await new Promise((done) => setTimeout(done, 20));
         console.log(Date.now() - start >= 19, performance.now() >= 19);",
    );
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        console(&finished),
        [
            "log: 2026-01-01T10:00 string true",
            "log: 1970-01-01T00:00:00.000Z 2020 0 7",
            "log: 2026 true true",
            "log: true true"
        ]
    );
}

#[test]
fn an_error_says_where_in_the_actions_own_lines() {
    let finished = ran("const answer = 42;\nthrow new RangeError('too far');");
    let (name, message, stack) = thrown(&finished);
    assert_eq!((name, message), ("RangeError", "too far"));
    assert!(stack.contains("action.js:3:"), "{stack}");
    assert!(!stack.contains("curfew:"), "{stack}");

    let finished = run(&execution(&Arc::new(program("const a = 1;\nlet b = ;\n"))), Arc::new(Nothing));
    let (name, _, stack) = thrown(&finished);
    assert_eq!(name, "SyntaxError");
    assert!(stack.contains("action.js:2"), "{stack}");
}

#[test]
fn whatever_is_thrown_is_told() {
    for (body, expected) in [
        ("throw 'a text'", ("Error", "a text")),
        ("throw undefined", ("Error", "undefined")),
        ("throw null", ("Error", "null")),
        ("throw { name: 'Own', message: 'm', stack: 's' }", ("Own", "m")),
        ("throw { get message() { throw 1 }, stack: '' }", ("Error", "")),
        ("await Promise.reject(new TypeError('later'))", ("TypeError", "later")),
        ("throw new Error('\\ud800')", ("Error", "\u{fffd}\u{fffd}\u{fffd}")),
        ("throw Symbol('s')", ("Error", "")),
    ] {
        let finished = ran(body);
        let (name, message, _) = thrown(&finished);
        assert_eq!((name, message), expected, "{body}");
    }
}

#[test]
fn a_function_that_is_not_there_is_named_as_such() {
    for code in ["", "exports.onExecutePostLogin = 1", "module.exports = null", "exports.other = () => {}"] {
        let finished = run(&execution(&Arc::new(program(code))), Arc::new(Nothing));
        assert_eq!(finished.result, Err(ActionError::NoSuchFunction), "{code}");
    }
}

#[test]
fn timers_fire_in_order_and_are_cleared() {
    let finished = ran(
        "const seen = [];
         setTimeout(() => seen.push('late'), 30);
         setTimeout((a, b) => seen.push(a + b), 5, 'ear', 'ly');
         clearTimeout(setTimeout(() => seen.push('never'), 1));
         let ticks = 0;
         await new Promise((done) => { const id = setInterval(() => { if (++ticks === 3) { clearInterval(id); done(); } }, 1); });
         await new Promise((done) => setTimeout(done, 60));
         console.log(seen.join(), ticks);
         setTimeout(() => { throw new Error('uncaught') }, 1);
         await new Promise((done) => setTimeout(done, 20));",
    );
    assert_eq!(finished.result, Ok(()));
    assert_eq!(console(&finished), ["log: early,late 3", "error: Uncaught Error: uncaught"]);
}

#[test]
fn what_waits_for_nothing_fails_at_once() {
    let finished = ran("await new Promise(() => {});");
    assert_eq!(finished.result, Err(ActionError::Unsettled));
    assert!(finished.duration < Duration::from_secs(15));
}

#[test]
fn a_rejection_that_nobody_looks_at_is_told() {
    let finished = ran("const looked = Promise.reject(new Error('looked at'));
         await null;
         looked.catch(() => {});
         Promise.reject(new TypeError('forgotten'));
         (async () => { throw 'a text'; })();
         await null;");
    assert_eq!(finished.result, Ok(()));
    assert_eq!(
        console(&finished),
        [
            "error: Unhandled rejection (is an await missing?): TypeError: forgotten",
            "error: Unhandled rejection (is an await missing?): a text"
        ]
    );
    let finished = ran("await Promise.reject(new Error('told anyway'));");
    assert_eq!(thrown(&finished).1, "told anyway");
    assert!(finished.console.is_empty(), "{finished:?}");
}

#[test]
fn the_cache_is_the_hosts() {
    let finished = ran("console.log(await api.cache.get('a'));
         await api.cache.set('a', 'b', { ttl: 1000 });
         const record = await api.cache.get('a');
         console.log(record.value, record.created_at, record.expires_at);
         await api.cache.delete('a');
         console.log(await api.cache.get('a'));");
    assert_eq!(finished.result, Ok(()));
    assert_eq!(console(&finished), ["log: undefined", "log: b 1 2", "log: undefined"]);
}

#[test]
fn code_that_does_not_stop_is_stopped() {
    for body in [
        "for (;;);",
        "for (;;) { try { for (;;); } catch {} }",
        "try { for (;;); } finally { for (;;); }",
        "const again = () => Promise.resolve().then(again); await again();",
        "/^(a+)+$/.test('a'.repeat(40) + 'b');",
        "await new Promise(() => { const again = () => queueMicrotask(again); again(); });",
        "throw { get message() { for (;;); }, stack: '' };",
        "const storm = () => { Promise.resolve().then(storm); Promise.resolve().then(() => 0); }; storm(); await new Promise(() => {});",
    ] {
        let finished = ran_short(body);
        // Promises without end fill the memory as well; either is an end.
        let stopped =
            matches!(finished.result, Err(ActionError::TimedOut { hard: false } | ActionError::OutOfMemory));
        assert!(stopped, "{body}: {finished:?}");
    }
}

#[test]
fn waiting_ends_with_the_time_there_is() {
    let mut execution = execution(&action("await new Promise((done) => setTimeout(done, 60_000));"));
    execution.limits = Limits { wall: Duration::from_millis(50), ..Limits::default() };
    assert_eq!(run(&execution, Arc::new(Nothing)).result, Err(ActionError::TimedOut { hard: false }));
}

#[test]
fn memory_has_an_end() {
    for body in [
        "const all = []; for (;;) all.push(new Array(1000).fill(all));",
        "let text = 'x'; for (;;) text += text;",
        "const all = []; for (;;) all.push(new Uint8Array(1 << 20));",
        "new ArrayBuffer(1 << 30);",
        "await Promise.all(Array.from({ length: 1e9 }, async () => {}));",
    ] {
        let finished = ran_short(body);
        match &finished.result {
            Err(ActionError::OutOfMemory) => {}
            // A text has a longest length of its own, and filling takes time.
            Err(ActionError::Thrown { name, .. }) if name == "RangeError" || name == "InternalError" => {}
            Err(ActionError::TimedOut { hard: false }) => {}
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn recursion_has_an_end() {
    let finished = ran("const deeper = () => deeper(); deeper();");
    assert_eq!(thrown(&finished).0, "RangeError");
    let finished =
        ran_short("let deep = []; for (let i = 0; i < 1e5; i++) deep = [deep]; JSON.stringify(deep);");
    assert!(finished.result.is_err(), "{finished:?}");
}

#[test]
fn what_is_kept_of_an_execution_has_limits() {
    let mut execution = execution(&action(
        "for (let i = 0; i < 10; i++) console.log('line ' + i);
         console.log('x'.repeat(100));
         api.access.deny('1');
         api.access.deny('2');
         api.access.deny('3');",
    ));
    execution.limits.console_lines_max = 4;
    execution.limits.commands_max = 2;
    let finished = run(&execution, Arc::new(Nothing));
    assert_eq!(finished.console.len(), 4);
    assert_eq!(finished.console_dropped, 7);
    assert_eq!(finished.commands.len(), 2);
    assert_eq!(thrown(&finished).0, "RangeError");

    execution.limits = Limits { console_line_bytes_max: 5, commands_bytes_max: 50, ..Limits::default() };
    execution.program = action("console.log('Zoë and others'); api.access.deny('x'.repeat(1e8));");
    let finished = run(&execution, Arc::new(Nothing));
    assert_eq!(console(&finished), ["log: Zoë "]);
    assert_eq!(finished.commands.len(), 0);
    assert!(finished.result.is_err());
}

#[test]
fn the_module_scope_stays_and_nothing_else_does() {
    let program = Arc::new(program(
        "let runs = 0, kept;
         exports.onExecutePostLogin = async (event, api) => {
           runs++;
           console.log(runs, event.user.seen, event.secrets.token, kept === undefined ? 'first' : 'kept');
           if (kept !== undefined) { try { kept.access.deny('again'); } catch (error) { console.log(error.message); } }
           kept = api;
           event.user.seen = true;
           setTimeout(() => console.log('from the execution before'), 1);
           Promise.resolve().then(() => console.log('left over')).then(() => api.access.deny('left over'));
         };",
    ));
    let mut context = InProcess::new(&program).expect("a context");
    let mut first = execution(&program);
    first.secrets = BTreeMap::from([("token".to_owned(), Secret::new("s3cret".to_owned()))]);
    let finished = context.run(&first, Arc::new(Nothing));
    assert_eq!(finished.result, Ok(()));
    assert_eq!(console(&finished)[0], "log: 1 undefined s3cret first");
    let finished = context.run(&execution(&program), Arc::new(Nothing));
    assert_eq!(finished.result, Ok(()));
    let lines = console(&finished);
    assert_eq!(lines[0], "log: 2 undefined undefined kept");
    assert!(!lines.iter().any(|line| line.contains("before")), "{lines:?}");
}

#[test]
fn packages_are_loaded_as_they_were_resolved() {
    let finished = run(&execution(&with_packages()), Arc::new(Nothing));
    assert_eq!(finished.result, Ok(()), "{finished:?}");
    assert_eq!(console(&finished), PACKAGES_SAY);
}
