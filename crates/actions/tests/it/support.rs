//! Programs, executions and hosts for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use curfew_actions::{
    ActionError, CacheAnswer, CacheRequest, Execution, FetchError, FetchRequest, FetchResponse, Finished,
    Host, HostFuture, Limits, Program, Trigger,
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
        trigger: Trigger::PostLogin,
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
