//! What is kept of executions: what each Action did, for how long, what it wrote and whom it asked.

use curfew_model::config::ActionTrigger;
use curfew_model::{ClientId, Ctx, Timestamp, UserId};
use curfew_store::action_executions::ExecutionRow;
use serde_json::{Value, json};

use super::{ActionError, BoundAction, ConsoleLine, FetchRecord, Finished};
use crate::Core;

/// Bytes that are kept of what one Action wrote to the console.
const CONSOLE_BYTES_MAX: usize = 16 * 1024;
/// Lines that are kept of it.
const CONSOLE_LINES_MAX: usize = 200;
/// Requests of one Action that are kept.
const FETCHES_MAX: usize = 50;
/// Bytes of a message, a stack or an address.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// How the Actions of a trigger came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All of them ran.
    Final,
    /// One of them failed, and those after it did not run.
    Partial,
    /// One of them said no.
    Canceled,
    /// One of them sent the browser away, and the rest waits for it to come back.
    Suspended,
}

impl Status {
    /// As it is stored, and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Partial => "partial",
            Self::Canceled => "canceled",
            Self::Suspended => "suspended",
        }
    }
}

/// The Actions of one trigger in one flow, in the making.
#[derive(Debug)]
pub struct Record {
    /// Its id, for the log row of the flow.
    pub id: String,
    trigger: ActionTrigger,
    results: Vec<Value>,
    began: Timestamp,
}

impl Record {
    /// Nothing has run yet.
    pub fn begin(ctx: &Ctx, trigger: ActionTrigger) -> Self {
        let id = format!("{}{}", first_id_of(ctx.now), ctx.entropy.alphanumeric(20));
        Self { id, trigger, results: Vec::new(), began: ctx.now }
    }

    /// An Action has run.
    pub fn ran(&mut self, action: &BoundAction, started_at: Timestamp, finished: &Finished) {
        let program = &action.program;
        self.results.push(result(
            &program.action_name,
            (&program.action_id, &program.id),
            started_at,
            finished,
        ));
    }

    /// Has it written down, soon: no flow waits for it.
    pub fn send(
        self,
        core: &Core,
        ctx: &Ctx,
        status: Status,
        (user_id, client_id): (Option<&UserId>, Option<&ClientId>),
    ) {
        let row = ExecutionRow {
            execution_id: self.id,
            trigger: self.trigger,
            status: status.as_str().to_owned(),
            user_id: user_id.map(|id| id.0.clone()),
            client_id: client_id.map(|id| id.0.clone()),
            // Texts and JSON values: nothing in it can fail to be written.
            doc: serde_json::to_string(&json!({ "results": self.results })).unwrap_or_default(),
            created_at: self.began,
            updated_at: core.clock.now().max(self.began),
        };
        core.logs.send_execution(ctx.tenant, row);
    }
}

/// How every id of an instant begins; those of earlier ones are less.
pub(crate) fn first_id_of(at: Timestamp) -> String {
    format!("{:016x}", at.micros().max(0))
}

/// What one Action did, as the API shows it.
pub(crate) fn result(
    name: &str,
    (action_id, version_id): (&str, &str),
    started_at: Timestamp,
    finished: &Finished,
) -> Value {
    let mut result = json!({
        "action_name": name,
        "action_id": action_id,
        "version_id": version_id,
        "started_at": started_at.iso(),
        "ended_at": (started_at + finished.duration).iso(),
        "duration_ms": milliseconds(finished.duration),
        "logs": console(&finished.console),
        "fetches": finished.fetches.iter().take(FETCHES_MAX).map(fetch).collect::<Vec<_>>(),
    });
    if let Err(error) = &finished.result {
        result["error"] = shown(error);
    }
    result
}

fn shown(error: &ActionError) -> Value {
    let mut shown = json!({ "id": error.code(), "msg": cut(&error.to_string(), TEXT_BYTES_MAX) });
    if let ActionError::Thrown { stack, .. } = error {
        shown["stack"] = json!(cut(stack, TEXT_BYTES_MAX));
    }
    shown
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn console(lines: &[ConsoleLine]) -> Vec<Value> {
    let (mut shown, mut left) = (Vec::new(), CONSOLE_BYTES_MAX);
    for line in lines.iter().take(CONSOLE_LINES_MAX) {
        if left == 0 {
            break;
        }
        let text = cut(&line.text, left);
        left -= text.len();
        shown.push(json!({ "level": cut(&line.level, 16), "text": text }));
    }
    shown
}

/// The query of an address, and what stands before its host, may be secret.
fn fetch(fetch: &FetchRecord) -> Value {
    let url = match url::Url::parse(&fetch.url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        Err(_) => String::new(),
    };
    let mut shown = json!({
        "method": cut(&fetch.method, 16),
        "url": cut(&url, TEXT_BYTES_MAX),
        "duration_ms": milliseconds(fetch.duration),
    });
    if let Some(status) = fetch.status {
        shown["status"] = json!(status);
    }
    if let Some(error) = &fetch.error {
        shown["error"] = json!(cut(error, TEXT_BYTES_MAX));
    }
    shown
}

/// At most so many bytes of a text, without what neither database keeps.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "?")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn finished() -> Finished {
        Finished {
            result: Err(ActionError::Thrown {
                name: "TypeError".into(),
                message: "x".repeat(100_000),
                stack: "at main\0".into(),
            }),
            commands: Vec::new(),
            console: (0..1000).map(|_| ConsoleLine { level: "log".into(), text: "ä".repeat(500) }).collect(),
            fetches: (0..1000)
                .map(|_| FetchRecord {
                    method: "GET".into(),
                    url: "https://ada:hunter2@api.example/x?token=hunter2#hunter2".into(),
                    status: Some(200),
                    error: None,
                    duration: Duration::from_millis(3),
                })
                .collect(),
            duration: Duration::from_micros(1234),
        }
    }

    #[test]
    fn what_is_kept_of_an_action_has_a_limit() {
        let shown = result("a", ("id", "version"), Timestamp::from_seconds(0), &finished());
        assert!(shown.to_string().len() < 40_000, "{}", shown.to_string().len());
        let lines = shown["logs"].as_array().expect("a list");
        let kept: usize = lines.iter().filter_map(|line| line["text"].as_str()).map(str::len).sum();
        assert!(kept <= CONSOLE_BYTES_MAX && kept > CONSOLE_BYTES_MAX - 4, "{kept}");
        assert_eq!(shown["fetches"].as_array().map(Vec::len), Some(FETCHES_MAX));
        assert_eq!(shown["duration_ms"], 1.234);
        assert!(!shown.to_string().contains('\0') && !shown.to_string().contains("\\u0000"));
    }

    #[test]
    fn addresses_are_kept_without_what_may_be_secret() {
        let shown = result("a", ("id", "version"), Timestamp::from_seconds(0), &finished());
        assert_eq!(shown["fetches"][0]["url"], "https://api.example/x");
        assert!(!shown.to_string().contains("hunter2"));
    }
}
