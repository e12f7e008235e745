//! What was given on the command line: read and checked before anything runs.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{Limits, types};
use curfew_model::config::{
    ActionTrigger, CODE_BYTES_MAX, DEPENDENCIES_MAX, MODULES_PER_ACTION_MAX, SECRETS_MAX,
};
use curfew_model::{Clock as _, Secret, SystemClock, Timestamp};
use curfew_packages::Dependency;
use serde_json::{Map, Value};

use super::lines::Paint;
use super::source::{characters, excerpt, exported};
use super::{Test, Unusable};

/// Bytes of an event's file, or of one of secrets.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// What instants in the samples are about: 2026-01-01T10:00:00Z.
const SAMPLED_AT: Timestamp = Timestamp::from_seconds(1_767_261_600);
/// Called for a browser that is back.
const CONTINUE: &str = "onContinuePostLogin";

/// A file of the author's.
pub(super) struct File {
    /// As stacks of the engine name it.
    pub(super) name: String,
    /// As it was given.
    pub(super) path: String,
    pub(super) code: Arc<str>,
}

/// Everything that an execution needs.
pub(super) struct Given {
    pub(super) action: File,
    pub(super) modules: Vec<File>,
    pub(super) trigger: ActionTrigger,
    pub(super) function: String,
    pub(super) event: Map<String, Value>,
    pub(super) secrets: BTreeMap<String, Secret<String>>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) now: Timestamp,
    pub(super) time_limit: Duration,
}

fn unusable<T>(text: impl Into<String>) -> Result<T, Unusable> {
    Err(Unusable(text.into()))
}

impl Given {
    /// Reads what the command line names.
    pub(super) fn read(test: &Test, limits: &Limits) -> Result<Self, Unusable> {
        let action = File {
            name: curfew_actions::ACTION_FILE.to_owned(),
            path: test.file.display().to_string(),
            code: code(&test.file)?,
        };
        let (trigger, function) = function(test, &action)?;
        let now = match &test.now {
            None => SystemClock.now(),
            Some(text) => match Timestamp::parse_iso(text) {
                Some(now) => now,
                None => return unusable(format!("--now: {text} is no instant like 2026-01-01T10:00:00Z")),
            },
        };
        let event = match &test.event {
            Some(path) => event(path)?,
            None => sample(trigger, now),
        };
        Ok(Self {
            event,
            secrets: secrets(test)?,
            dependencies: dependencies(&test.dependency)?,
            modules: modules(&test.module)?,
            time_limit: time_limit(test.time_limit, limits)?,
            action,
            trigger,
            function,
            now,
        })
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<String, Unusable> {
    let shown = name_of(path);
    let failed = |why: &dyn std::fmt::Display| Unusable(format!("{shown} cannot be read: {why}"));
    let mut bytes = Vec::new();
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| failed(&error))?)
    };
    source.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > bytes_max {
        return unusable(format!("{shown} is longer than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| failed(&"it is not UTF-8"))
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Code is as long as the server takes it.
fn code(path: &Path) -> Result<Arc<str>, Unusable> {
    read(path, CODE_BYTES_MAX as u64).map(Arc::from)
}

/// The functions that a trigger calls.
fn functions(trigger: ActionTrigger) -> Vec<&'static str> {
    let also = (trigger == ActionTrigger::PostLogin).then_some(CONTINUE);
    [trigger.function()].into_iter().chain(also).collect()
}

/// Which trigger it is for, and which function is called.
fn function(test: &Test, action: &File) -> Result<(ActionTrigger, String), Unusable> {
    let all = || ActionTrigger::ALL.iter().map(|trigger| (*trigger, functions(*trigger)));
    if let Some(function) = &test.function {
        let of = all().find(|(_, functions)| functions.contains(&function.as_str())).map(|(of, _)| of);
        return match (of, test.trigger) {
            (Some(of), given) if given.is_none_or(|given| given == of) => Ok((of, function.clone())),
            (Some(of), _) => unusable(format!("--function: {function} belongs to {of}")),
            (None, _) => {
                let known: Vec<&str> = all().flat_map(|(_, functions)| functions).collect();
                unusable(format!("--function: no trigger calls {function}, but {}", known.join(", ")))
            }
        };
    }
    let path = &action.path;
    let exports = |trigger: ActionTrigger| {
        functions(trigger).into_iter().find(|function| exported(&action.code, function))
    };
    if let Some(trigger) = test.trigger {
        return Ok((trigger, exports(trigger).unwrap_or(trigger.function()).to_owned()));
    }
    let found: Vec<_> = ActionTrigger::ALL
        .iter()
        .filter_map(|trigger| exports(*trigger).map(|function| (*trigger, function)))
        .collect();
    match found.as_slice() {
        [(trigger, function)] => Ok((*trigger, (*function).to_owned())),
        [] => {
            let known: Vec<&str> = all().flat_map(|(_, functions)| functions).collect();
            let known = known.join(", ");
            unusable(format!(
                "{path} exports no function of a trigger ({known}); --trigger says which one to call"
            ))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(trigger, _)| trigger.as_str()).collect();
            unusable(format!(
                "{path} is written for {}: --trigger says for which to run it",
                names.join(" and ")
            ))
        }
    }
}

/// The sample, about now.
fn sample(trigger: ActionTrigger, now: Timestamp) -> Map<String, Value> {
    let by = now.micros() - SAMPLED_AT.micros();
    match serde_json::from_str(types::sample(trigger)) {
        Ok(mut event) => {
            moved(&mut event, by);
            match event {
                Value::Object(event) => event,
                _ => Map::new(),
            }
        }
        Err(_) => Map::new(),
    }
}

/// Moves every instant in it.
fn moved(value: &mut Value, by_micros: i64) {
    match value {
        Value::String(text) => {
            if text.ends_with('Z')
                && let Some(at) = Timestamp::parse_iso(text)
            {
                *text = Timestamp::from_micros(at.micros().saturating_add(by_micros)).iso();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| moved(value, by_micros)),
        Value::Object(members) => members.values_mut().for_each(|value| moved(value, by_micros)),
        _ => {}
    }
}

/// The sample for `curfew actions event`.
pub(super) fn printed_sample(trigger: ActionTrigger) -> String {
    let event = Value::Object(sample(trigger, SystemClock.now()));
    format!("{event:#}\n")
}

/// An event of the author's: all of it, nothing is added.
fn event(path: &Path) -> Result<Map<String, Value>, Unusable> {
    let text = read(path, FILE_BYTES_MAX)?;
    let shown = name_of(path);
    match serde_json::from_str(&text) {
        Ok(Value::Object(event)) if event.contains_key("secrets") => {
            unusable(format!("{shown}: event.secrets are given by --secrets or --secret, not in the event"))
        }
        Ok(Value::Object(event)) => Ok(event),
        Ok(_) => unusable(format!("{shown}: the event must be a JSON object")),
        Err(error) => {
            let line = error.line();
            let column = characters(&text, line, error.column());
            let why = error.to_string();
            let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(why, _)| why);
            let excerpt = excerpt(&text, line, column, Paint::none());
            unusable(format!("{shown}:{line}:{column}: {why}\n{excerpt}"))
        }
    }
}

/// Those of the file, and over them those of the command line. No message quotes anything.
fn secrets(test: &Test) -> Result<BTreeMap<String, Secret<String>>, Unusable> {
    let mut secrets = match &test.secrets {
        Some(path) => secrets_of(&name_of(path), &read(path, FILE_BYTES_MAX)?)?,
        None => BTreeMap::new(),
    };
    for (place, given) in test.secret.iter().enumerate() {
        match given.expose().split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                secrets.insert(name.to_owned(), Secret::new(value.to_owned()));
            }
            _ => return unusable(format!("--secret: number {} is not NAME=VALUE", place + 1)),
        }
    }
    if secrets.len() > SECRETS_MAX {
        return unusable(format!("an Action has at most {SECRETS_MAX} secrets"));
    }
    Ok(secrets)
}

fn secrets_of(shown: &str, text: &str) -> Result<BTreeMap<String, Secret<String>>, Unusable> {
    if text.trim_start().starts_with('{') {
        let read: Result<BTreeMap<String, Secret<String>>, _> = serde_json::from_str(text);
        return read.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Unusable(format!("{shown}:{line}:{column}: this is no JSON object of texts"))
        });
    }
    let mut secrets = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                secrets.insert(name.trim().to_owned(), Secret::new(unquoted(value.trim())));
            }
            _ => return unusable(format!("{shown}:{}: this is not NAME=VALUE", number + 1)),
        }
    }
    Ok(secrets)
}

/// Quotes may stand around a value; between double ones `\n` is a new line.
fn unquoted(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    match (within('"'), within('\'')) {
        (Some(value), _) => value.replace("\\n", "\n"),
        (None, Some(value)) => value.to_owned(),
        (None, None) => value.to_owned(),
    }
}

fn dependencies(given: &[String]) -> Result<Vec<Dependency>, Unusable> {
    if given.len() > DEPENDENCIES_MAX {
        return unusable(format!("an Action has at most {DEPENDENCIES_MAX} dependencies"));
    }
    let dependency = |text: &String| {
        let (name, version) = match text.rfind('@') {
            Some(at) if at > 0 => (&text[..at], &text[at + 1..]),
            _ => (text.as_str(), ""),
        };
        let dependency = Dependency { name: name.to_owned(), version: version.to_owned() };
        dependency.check().map_err(|error| Unusable(format!("--dependency: {error}")))?;
        Ok(dependency)
    };
    given.iter().map(dependency).collect()
}

fn modules(given: &[String]) -> Result<Vec<File>, Unusable> {
    if given.len() > MODULES_PER_ACTION_MAX {
        return unusable(format!("an Action has at most {MODULES_PER_ACTION_MAX} modules"));
    }
    let module = |text: &String| match text.split_once('=') {
        Some((name, path)) if !name.is_empty() => Ok(File {
            name: format!("{}{name}", curfew_actions::MODULE_PREFIX),
            path: path.to_owned(),
            code: code(Path::new(path))?,
        }),
        _ => unusable(format!("--module: {text} is not NAME=FILE")),
    };
    given.iter().map(module).collect()
}

fn time_limit(given: Option<f64>, limits: &Limits) -> Result<Duration, Unusable> {
    let Some(seconds) = given else { return Ok(limits.wall) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() && limit <= limits.wall => Ok(limit),
        _ => unusable(format!(
            "--time-limit: must be above 0 and at most {} s, which is what a server gives",
            limits.wall.as_secs_f64()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_from_lines_and_from_json_and_never_quoted() {
        let text = "# a comment\n\nexport A=1\nB = \"two\\nlines\"\nC='x=y'\n";
        let secrets = secrets_of(".env", text).unwrap();
        let shown: Vec<_> =
            secrets.iter().map(|(name, value)| (name.as_str(), value.expose().as_str())).collect();
        assert_eq!(shown, [("A", "1"), ("B", "two\nlines"), ("C", "x=y")]);
        assert_eq!(secrets_of("s.json", r#"{"A":"1"}"#).unwrap()["A"].expose(), "1");
        for (text, place) in
            [("A=1\nhunter2", "x:2:"), (r#"{"A":"hunter2""#, "x:1:"), ("{\"A\":\n[\"hunter2\"]}", "x:2:")]
        {
            let error = secrets_of("x", text).unwrap_err().to_string();
            assert!(error.starts_with(place) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_dependency_is_a_name_and_a_version() {
        let read = |text: &str| dependencies(&[text.to_owned()]).map(|mut all| all.remove(0));
        let of = |text: &str| read(text).map(|one| (one.name, one.version)).unwrap();
        assert_eq!(of("auth0@7.1.0"), ("auth0".into(), "7.1.0".into()));
        assert_eq!(of("@slack/webhook@^7"), ("@slack/webhook".into(), "^7".into()));
        assert_eq!(of("@slack/webhook"), ("@slack/webhook".into(), String::new()));
        assert!(read("auth0@file:../x").unwrap_err().to_string().contains("auth0"));
    }

    #[test]
    fn the_sample_is_about_now() {
        let now = Timestamp::parse_iso("2030-06-01T00:00:00Z").unwrap();
        let event = sample(ActionTrigger::PostLogin, now);
        assert_eq!(event["session"]["authenticated_at"], "2030-06-01T00:00:00.000Z");
        assert_eq!(event["session"]["idle_expires_at"], "2030-06-04T00:00:00.000Z");
        assert_eq!(event["user"]["email"], "ada@example.com");
        for trigger in ActionTrigger::ALL {
            assert!(!sample(*trigger, now).is_empty(), "{trigger}");
        }
    }
}
