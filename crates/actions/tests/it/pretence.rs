//! What only pretends to be a worker: whatever it says, or does not, its execution fails alone, and its parent keeps to its
//! limits. The scripts are those of `src/bin/curfew-action-worker/pretence.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{
    ActionError, Finished, Host, Limits, Nothing, PackageSet, Pool, PoolConfig, Program, WorkerCommand,
};

use tokio::time::Instant;

use crate::support::{Echo, action, console, execution};

/// A pool whose workers all play this script.
fn pretending(script: &[&str]) -> Pool {
    let arguments = ["pretend"].iter().chain(script).map(Into::into).collect();
    let program = env!("CARGO_BIN_EXE_curfew-action-worker").into();
    Pool::new(PoolConfig::new(WorkerCommand { program, arguments })).expect("a pool")
}

/// What comes of an execution that may take as long as it likes, unless its worker waits for the end of it.
async fn played(script: &[&str], host: Arc<dyn Host>) -> Finished {
    let mut execution = execution(&action(""));
    let waits = script.last() == Some(&"listen");
    execution.limits = Limits { wall: Duration::from_secs(if waits { 5 } else { 600 }), ..Limits::default() };
    pretending(script).run(execution, host).await
}

/// `finished` with these members instead of its own.
fn finished(members: &[(&str, serde_json::Value)]) -> String {
    let mut head = serde_json::json!({
        "is": "finished", "number": 1, "error": null, "commands": [], "console": [], "console_dropped": 0,
    });
    for (name, value) in members {
        head[*name] = value.clone();
    }
    format!("+{head}")
}

fn line(text: &str) -> serde_json::Value {
    serde_json::json!({"level": "log", "text": text, "at": {"secs": 0, "nanos": 0}})
}

fn thrown(name: &str, message: &str, stack: &str) -> serde_json::Value {
    serde_json::json!({"kind": "thrown", "name": name, "message": message, "stack": stack})
}

#[tokio::test]
async fn what_it_tells_is_taken_as_far_as_it_can_be_true() {
    use serde_json::json;
    let limits = Limits::default();
    // Each with its other side: what is just within, and what is just beyond.
    let many = |count: usize| json!(vec![line(""); count]);
    let long = |bytes: usize| json!([line(&format!("@{bytes}@"))]);
    let lines = |count: usize| json!(vec![line(&format!("@{}@", limits.console_line_bytes_max)); count]);
    let whole = limits.console_bytes_max / limits.console_line_bytes_max;
    let commands = |count: usize| json!(vec![2; count]);
    for (members, body, is_taken) in [
        (vec![("console", json!([]))], "", true),
        (vec![("console", many(limits.console_lines_max))], "", true),
        (vec![("console", many(limits.console_lines_max + 1))], "", false),
        (vec![("console", long(limits.console_line_bytes_max))], "", true),
        (vec![("console", long(limits.console_line_bytes_max + 1))], "", false),
        (vec![("console", lines(whole))], "", true),
        (vec![("console", lines(whole + 1))], "", false),
        (vec![("console", json!([{"level": "loud", "text": "", "at": {"secs": 0, "nanos": 0}}]))], "", false),
        (vec![("commands", commands(2))], "{}{}", true),
        (vec![("commands", json!([2, 1]))], "{}{}", false),
        (vec![("commands", json!([2, 3]))], "{}{}", false),
        (vec![("commands", json!([]))], "{}", false),
        (vec![("commands", json!([1]))], "{", false),
        (vec![("commands", json!([4]))], "{}{}", false),
        (vec![("commands", json!([0]))], "", false),
        (vec![("number", json!(2))], "", false),
        (vec![("number", json!(0))], "", false),
        (vec![("more", json!(1))], "", false),
    ] {
        let body = format!("={body}");
        let said = finished(&members);
        let finished = played(&[&body, &said, "listen"], Arc::new(Nothing)).await;
        assert_eq!(
            finished.result,
            if is_taken { Ok(()) } else { Err(ActionError::Crashed) },
            "{said:.200} {body}"
        );
    }
    // Commands: so many, and so many bytes of them.
    for (count, each, is_taken) in [
        (limits.commands_max, 2, true),
        (limits.commands_max + 1, 2, false),
        (1, limits.commands_bytes_max, true),
        (1, limits.commands_bytes_max + 1, false),
    ] {
        let body =
            if count == 1 { format!("=\"@{}@\"", each - 2) } else { format!("={}", "{}".repeat(count)) };
        let said = finished(&[("commands", json!(vec![each; count]))]);
        let finished = played(&[&body, &said, "listen"], Arc::new(Nothing)).await;
        assert_eq!(finished.result.is_ok(), is_taken, "{count} {each}: {:?}", finished.result);
    }
}

#[tokio::test]
async fn what_became_of_a_worker_is_not_for_it_to_say() {
    use serde_json::json;
    let short = |error: ActionError| Err(error);
    let crashed = || Err(ActionError::Crashed);
    let as_thrown = |name: &str, message: &str, stack: &str| {
        let text = |text: &str| {
            text.strip_prefix('@')
                .and_then(|rest| rest.strip_suffix('@'))
                .map_or(String::new(), |count| "x".repeat(count.parse().expect("a number")))
        };
        short(ActionError::Thrown { name: text(name), message: text(message), stack: text(stack) })
    };
    for (error, result) in [
        (thrown("@128@", "@8192@", "@8192@"), as_thrown("@128@", "@8192@", "@8192@")),
        (thrown("@129@", "", ""), crashed()),
        (thrown("", "@8193@", ""), crashed()),
        (thrown("", "", "@8193@"), crashed()),
        (json!({"kind": "timed_out", "hard": false}), short(ActionError::TimedOut { hard: false })),
        (json!({"kind": "timed_out", "hard": true}), crashed()),
        (json!({"kind": "out_of_memory"}), short(ActionError::OutOfMemory)),
        (json!({"kind": "unsettled"}), short(ActionError::Unsettled)),
        (json!({"kind": "no_such_function"}), short(ActionError::NoSuchFunction)),
        (
            json!({"kind": "not_started", "reason": "x"}),
            short(ActionError::NotStarted { reason: "x".to_owned() }),
        ),
        (json!({"kind": "not_started", "reason": "@8193@"}), crashed()),
        (json!({"kind": "busy"}), crashed()),
        (json!({"kind": "too_deep"}), crashed()),
        (json!({"kind": "other"}), crashed()),
    ] {
        let said = finished(&[("error", error)]);
        assert_eq!(played(&[&said, "listen"], Arc::new(Nothing)).await.result, result, "{said}");
    }
    // When a line was written is not later than now.
    let mut late = line("late");
    late["at"]["secs"] = u64::MAX.into();
    let told = played(&[&finished(&[("console", json!([late]))]), "listen"], Arc::new(Nothing)).await;
    assert!(told.console[0].at < Duration::from_secs(600), "{told:?}");
}

const FETCH: &str = r#"+{"is":"fetch","number":1,"call":CALL,"method":"GET","url":"https://large.example/5000000","headers":[]}"#;
const FORGET: &str = r#"+{"is":"forget","number":1,"call":1}"#;

fn fetch(call: usize) -> String {
    FETCH.replace("CALL", &call.to_string())
}

#[tokio::test]
async fn what_never_comes_to_an_end_is_ended() {
    for script in [
        // Half a frame, half its lengths, nothing.
        &["!10000000", "listen"][..],
        &["!1000000000000000", "!7b", "listen"],
        &["listen"],
    ] {
        let mut execution = execution(&action(""));
        execution.limits = Limits { wall: Duration::from_millis(300), ..Limits::default() };
        let finished = pretending(script).run(execution, Arc::new(Nothing)).await;
        assert_eq!(finished.result, Err(ActionError::TimedOut { hard: true }), "{script:?}");
    }
    for script in [
        // Two gigabytes are refused before they come.
        &["!0000008000000000", "listen"][..],
        &["!0000000000000080", "listen"],
        &["!ffffffffffffffff", "listen"],
        &[FORGET, "again"],
        &[
            r#"+{"is":"ready","confinement":{"landlock":"fully","seccomp":"fully","limits":"fully"}}"#,
            "again",
        ],
        // What has no body has none.
        &["=x", FORGET, "listen"],
        &["=x", r#"+{"is":"cache","number":1,"call":1,"request":{"op":"get","key":"a"}}"#, "listen"],
        &[r#"+{"is":"compiled","files":[]}"#, "listen"],
    ] {
        let finished = played(script, Arc::new(Nothing)).await;
        assert_eq!(finished.result, Err(ActionError::Crashed), "{script:?}");
    }
}

#[tokio::test]
async fn it_asks_no_more_than_a_worker_may() {
    let limits = Limits::default();
    let at_once = limits.calls_at_once_max;
    let many: Vec<String> = (1..=at_once + 1).map(fetch).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let with = |first: &[&'static str]| first.iter().copied().chain(["listen"]).collect::<Vec<_>>();
    let cache = r#"+{"is":"cache","number":1,"call":100,"request":{"op":"get","key":"a"}}"#;
    let silent = || -> Arc<dyn Host> { Arc::new(Silent) };
    // So many at a time, and one to the cache.
    let mut within = many[..at_once].to_vec();
    within.extend([cache, "listen"]);
    assert_eq!(played(&within, silent()).await.result, Err(ActionError::TimedOut { hard: true }));
    let mut beyond = many.clone();
    beyond.push("listen");
    assert_eq!(played(&beyond, silent()).await.result, Err(ActionError::Crashed));
    let second = r#"+{"is":"cache","number":1,"call":101,"request":{"op":"get","key":"a"}}"#;
    assert_eq!(played(&with(&[cache, second]), silent()).await.result, Err(ActionError::Crashed));
    for script in [
        // Each call has a number of its own, and belongs to this execution.
        with(&[
            r#"+{"is":"fetch","number":1,"call":1,"method":"GET","url":"","headers":[]}"#,
            r#"+{"is":"fetch","number":1,"call":1,"method":"GET","url":"","headers":[]}"#,
        ]),
        with(&[r#"+{"is":"fetch","number":2,"call":1,"method":"GET","url":"","headers":[]}"#]),
        with(&[r#"+{"is":"cache","number":0,"call":1,"request":{"op":"get","key":"a"}}"#]),
        with(&[r#"+{"is":"source","number":2,"path":"a"}"#]),
        // It is no larger than an Action may send.
        with(&["=@1048577@", r#"+{"is":"fetch","number":1,"call":1,"method":"","url":"","headers":[]}"#]),
        with(&[r#"+{"is":"fetch","number":1,"call":1,"method":"","url":"@1048577@","headers":[]}"#]),
        with(&[r#"+{"is":"fetch","number":1,"call":1,"method":"@1048577@","url":"","headers":[]}"#]),
        with(&[r#"+{"is":"fetch","number":1,"call":1,"method":"","url":"","headers":[["@1048577@",""]]}"#]),
        with(&[r#"+{"is":"fetch","number":1,"call":1,"method":"","url":"","headers":[["","@1048577@"]]}"#]),
        with(&[r#"+{"is":"cache","number":1,"call":1,"request":{"op":"get","key":"@1048577@"}}"#]),
        // Nor are the names in a question about packages longer than those of files.
        with(&[r#"+{"is":"source","number":1,"path":"@8193@"}"#]),
        with(&[r#"+{"is":"resolve","number":1,"from":"@8193@","specifier":"a","by":"require"}"#]),
        with(&[r#"+{"is":"resolve","number":1,"from":"","specifier":"@8193@","by":"require"}"#]),
    ] {
        assert_eq!(played(&script, silent()).await.result, Err(ActionError::Crashed), "{script:?}");
    }
    // So many in all.
    let pairs: Vec<String> = (1..=limits.calls_max + 1)
        .flat_map(|call| [fetch(call), FORGET.replace("\"call\":1", &format!("\"call\":{call}"))])
        .collect();
    let mut all: Vec<&str> = pairs[..2 * limits.calls_max].iter().map(String::as_str).collect();
    all.push("listen");
    assert_eq!(played(&all, silent()).await.result, Err(ActionError::TimedOut { hard: true }));
    let mut all: Vec<&str> = pairs.iter().map(String::as_str).collect();
    all.push("listen");
    assert_eq!(played(&all, silent()).await.result, Err(ActionError::Crashed));
}

/// A host that never answers.
#[derive(Debug)]
struct Silent;

impl Host for Silent {
    fn fetch(
        &self,
        _: curfew_actions::FetchRequest,
    ) -> curfew_actions::HostFuture<'_, Result<curfew_actions::FetchResponse, curfew_actions::FetchError>>
    {
        Box::pin(std::future::pending())
    }

    fn cache(
        &self,
        _: curfew_actions::CacheRequest,
    ) -> curfew_actions::HostFuture<'_, curfew_actions::CacheAnswer> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn answers_that_it_does_not_take_do_not_pile_up() {
    // The first answers are there by then, or are not: either way these are more than may be under way.
    let at_once = Limits::default().calls_at_once_max;
    let calls: Vec<String> = (1..=2 * at_once).map(fetch).collect();
    let mut script: Vec<&str> = calls[..at_once].iter().map(String::as_str).collect();
    script.push("later");
    script.extend(calls[at_once..].iter().map(String::as_str));
    // Its input stays full.
    script.extend(["later"; 600]);
    let finished = played(&script, Arc::new(Echo::default())).await;
    assert_eq!(finished.result, Err(ActionError::Crashed));
}

#[tokio::test]
async fn one_question_about_packages_is_answered_at_a_time() {
    let files = BTreeMap::from([("node_modules/a/index.js".into(), "1;".repeat(1 << 20).into())]);
    let set = PackageSet::new(BTreeMap::new(), Vec::new(), files, BTreeSet::new()).expect("a set");
    let program =
        Program { id: "p".into(), code: "".into(), packages: Some(Arc::new(set)), modules: Vec::new() };
    let question = r#"+{"is":"source","number":1,"path":"node_modules/a/index.js"}"#;
    let pool = pretending(&[question, question, "later", "later", "later", "later", "later"]);
    let mut execution = execution(&Arc::new(program));
    execution.limits.wall = Duration::from_secs(600);
    assert_eq!(pool.run(execution, Arc::new(Nothing)).await.result, Err(ActionError::Crashed));
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_taken_for_an_answer() {
    let first = finished(&[("console", serde_json::json!([line("first")]))]);
    let forged = finished(&[("number", 2.into()), ("console", serde_json::json!([line("forged")]))]);
    let forgets = FORGET.to_owned();
    for unasked in [&forged, &forgets] {
        let pool = pretending(&[&first, unasked, "listen"]);
        for _ in 0..5 {
            // Whether it came in time to be seen there, or before the next execution: it never counts.
            let told = pool.run(execution(&action("")), Arc::new(Nothing)).await;
            assert_eq!(
                (told.result.clone(), console(&told)),
                (Ok(()), vec!["log: first".to_owned()]),
                "{told:?}"
            );
            let until = Instant::now() + Duration::from_secs(60);
            while let Some(process) = pool.idle_processes().first()
                && !listens(*process)
            {
                assert!(Instant::now() < until);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Whether it has said everything: it sleeps, and listens.
fn listens(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    cfg!(not(target_os = "linux")) || state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
}

#[tokio::test]
async fn one_that_ended_while_it_had_nothing_to_do_harms_nobody() {
    let first = finished(&[]);
    let pool = pretending(&["heard", &first]);
    for _ in 0..5 {
        let told = pool.run(execution(&action("")), Arc::new(Nothing)).await;
        assert_eq!(told.result, Ok(()));
        let until = Instant::now() + Duration::from_secs(60);
        while let Some(process) = pool.idle_processes().first()
            && std::fs::read_to_string(format!("/proc/{process}/stat"))
                .is_ok_and(|state| !state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
        {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
