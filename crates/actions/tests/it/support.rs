//! Programs, executions and hosts for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use curfew_actions::{
    ActionError, ActionTrigger, CacheAnswer, CacheRequest, Execution, FetchError, FetchRequest,
    FetchResponse, Finished, Host, HostFuture, Limits, PackageSet, Program, WorkerCommand,
};
use curfew_model::Timestamp;
use serde_json::value::RawValue;

/// 2026-01-01T10:00:00Z
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_767_261_600);

/// A program of this code alone.
pub(crate) fn program(code: &str) -> Program {
    Program { id: format!("test:{code}"), code: code.into(), packages: None, modules: Vec::new() }
}

/// The body of an `onExecutePostLogin`.
pub(crate) fn action(body: &str) -> Arc<Program> {
    Arc::new(program(&format!("exports.onExecutePostLogin = async (event, api) => {{\n{body}\n}};\n")))
}

/// Runs `onExecutePostLogin` with a small event.
pub(crate) fn execution(program: &Arc<Program>) -> Execution {
    Execution {
        tenant: 1,
        program: Arc::clone(program),
        trigger: ActionTrigger::PostLogin,
        function: "onExecutePostLogin".to_owned(),
        event: RawValue::from_string(r#"{"user":{"user_id":"auth0|1","name":"Zoë"}}"#.to_owned())
            .expect("JSON"),
        secrets: BTreeMap::new(),
        now: NOW,
        limits: Limits::default(),
        depth: 0,
    }
}

/// Limits that a hostile Action meets soon.
pub(crate) fn short() -> Limits {
    Limits { cpu: Duration::from_millis(200), memory_bytes: 32 << 20, ..Limits::default() }
}

/// The commands as JSON.
pub(crate) fn commands(finished: &Finished) -> Vec<serde_json::Value> {
    finished.commands.iter().map(|command| serde_json::from_str(command.get()).expect("JSON")).collect()
}

/// The console's lines as `level: text`.
pub(crate) fn console(finished: &Finished) -> Vec<String> {
    finished.console.iter().map(|line| format!("{}: {}", line.level.name(), line.text)).collect()
}

/// What was thrown: name, message, stack.
pub(crate) fn thrown(finished: &Finished) -> (&str, &str, &str) {
    match &finished.result {
        Err(ActionError::Thrown { name, message, stack }) => (name, message, stack),
        other => panic!("something is thrown, not {other:?}"),
    }
}

/// A host that answers every request with its own lines, and remembers.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) asked: Mutex<Vec<FetchRequest>>,
    cache: Mutex<BTreeMap<String, String>>,
}

impl Host for Echo {
    fn fetch(&self, request: FetchRequest) -> HostFuture<'_, Result<FetchResponse, FetchError>> {
        Box::pin(async move {
            self.asked.lock().expect("not poisoned").push(request.clone());
            if request.url.starts_with("https://refused.example/") {
                return Err(FetchError::new("ECONNREFUSED", "nobody listens"));
            }
            if request.url.starts_with("https://silent.example/") {
                return std::future::pending().await;
            }
            if let Some(size) = request.url.strip_prefix("https://large.example/") {
                let body = Bytes::from(vec![b'x'; size.parse().expect("a size")]);
                return Ok(answer(&request, body));
            }
            let body =
                format!("{} {} {}", request.method, request.url, String::from_utf8_lossy(&request.body));
            Ok(answer(&request, body.into()))
        })
    }

    fn cache(&self, request: CacheRequest) -> HostFuture<'_, CacheAnswer> {
        Box::pin(async move {
            let mut cache = self.cache.lock().expect("not poisoned");
            match request {
                CacheRequest::Get { key } => match cache.get(&key) {
                    Some(value) => {
                        CacheAnswer::Record { value: value.clone(), created_at_ms: 1, expires_at_ms: 2 }
                    }
                    None => CacheAnswer::Nothing,
                },
                CacheRequest::Set { key, value, .. } => {
                    cache.insert(key, value.clone());
                    CacheAnswer::Record { value, created_at_ms: 1, expires_at_ms: 2 }
                }
                CacheRequest::Delete { key } => {
                    cache.remove(&key);
                    CacheAnswer::Nothing
                }
            }
        })
    }
}

fn answer(request: &FetchRequest, body: Bytes) -> FetchResponse {
    FetchResponse {
        status: 200,
        status_text: "OK".to_owned(),
        url: request.url.clone(),
        redirected: false,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body,
    }
}

/// What says these frames and then does this, instead of a worker.
pub(crate) fn that_says(frames: &[(&str, &[u8])], then: &str) -> WorkerCommand {
    let mut script = String::new();
    for (head, body) in frames {
        let lengths = [head.len(), body.len()]
            .map(|length| u32::try_from(length).expect("a short frame").to_le_bytes());
        script.push_str("printf '");
        for byte in lengths.as_flattened().iter().chain(head.as_bytes()).chain(*body) {
            write!(script, "\\{byte:03o}").expect("memory");
        }
        script.push_str("' >&0; ");
    }
    script.push_str(then);
    WorkerCommand { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] }
}

/// A program whose packages are of every kind.
pub(crate) fn with_packages() -> Arc<Program> {
    let files = [
        ("common/package.json", r#"{"name":"common"}"#),
        (
            "common/index.js",
            "#!/usr/bin/env node\nexports.data = require('./data.json'); exports.esm = require('esm').default; \
             undeclared = 1; exports.name = __filename; exports.later = (name) => require(name);",
        ),
        ("common/later.js", "exports.later = true; exports.from = require('./' + 'data').a;"),
        ("common/data.json", r#"{"a":[1]}"#),
        ("common/broken.js", "this is no JavaScript"),
        (
            "esm/package.json",
            r#"{"name":"esm","type":"module","exports":{".":"./index.js","./awaits":"./awaits.js"}}"#,
        ),
        (
            "esm/index.js",
            "import { twice } from './twice.js'; import common, { data } from 'common'; \
             export default twice(21); export const late = () => data.a[0] + common.data.a.length;",
        ),
        ("esm/twice.js", "export const twice = (n) => 2 * n;"),
        ("esm/awaits.js", "await 1; export const a = 1;"),
    ];
    let roots = BTreeMap::from([("common", "1.0.0"), ("esm", "1.0.0")]);
    let set = PackageSet::new(
        roots.into_iter().map(|(name, version)| (name.to_owned(), version.to_owned())).collect(),
        Vec::new(),
        files.into_iter().map(|(path, text)| (format!("node_modules/{path}").into(), text.into())).collect(),
        BTreeSet::new(),
    )
    .expect("a set");
    Arc::new(Program {
        id: "packages".to_owned(),
        code: "const common = require('common');
               const own = require('actions:own');
               exports.onExecutePostLogin = async () => {
                 console.log(common.data.a[0], common.esm, common.name, own.answer, require('esm').late !== undefined);
                 console.log((await import('esm')).default, (await import('esm')).late());
                 console.log(common.later('./later').later, common.later('./later').from[0]);
                 try { require('nothing'); } catch (error) { console.log(error.code); }
                 try { require('esm/hidden'); } catch (error) { console.log(error.code); }
                 try { require('esm/awaits'); } catch (error) { console.log(error.message); }
                 try { common.later('./broken'); } catch (error) { console.log(error.name); }
                 console.log((await import('esm/awaits')).a);
               };"
        .into(),
        packages: Some(Arc::new(set)),
        modules: vec![("own".to_owned(), "module.exports = { answer: require('common').esm };".into())],
    })
}

/// What that program writes.
pub(crate) const PACKAGES_SAY: [&str; 8] = [
    "log: 1 42 node_modules/common/index.js 42 true",
    "log: 42 2",
    "log: true 1",
    "log: MODULE_NOT_FOUND",
    "log: ERR_PACKAGE_PATH_NOT_EXPORTED",
    "log: require() cannot be used on node_modules/esm/awaits.js, which awaits at its top level. Use import() instead.",
    "log: SyntaxError",
    "log: 1",
];
