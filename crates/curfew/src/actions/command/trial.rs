//! One run of an Action, and what came of it.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use curfew_actions::{ActionError, Execution, Finished, Limits, PackageSet, Pool, Program, WorkerCommand};
use curfew_core::actions::{Verdict, judge};
use curfew_egress::Egress;
use curfew_model::config::ActionTrigger;
use curfew_model::{Clock, SystemClock, TenantId, Timestamp};
use serde_json::Value;
use serde_json::value::to_raw_value;
use tokio::time::Instant;

use super::given::{File, Given};
use super::mask::Mask;
use super::source::{Frame, frames};
use super::{DENIED, FAILED, Test, Unusable};
use crate::actions::{Packaged, Reach, Reached, limits, pool_config};
use crate::config::Config;
use crate::outbound::Applications;

/// Whose Action it is, where there are no tenants.
const TENANT: TenantId = TenantId(1);

/// What came of it, without the values of secrets.
pub(super) struct Tried {
    pub(super) trigger: ActionTrigger,
    pub(super) function: String,
    /// The Action's file first, then its modules'.
    pub(super) files: Vec<File>,
    pub(super) finished: Finished,
    /// What it asked for.
    pub(super) commands: Vec<Value>,
    pub(super) outcome: Outcome,
}

/// How it came out.
pub(super) enum Outcome {
    /// It let the flow go on.
    Ran,
    /// It said no.
    Denied { reason: String, code: Option<String>, user_message: Option<String> },
    /// It sends the browser somewhere.
    Redirects { url: String },
    /// It did not come to its end, or what it asked for cannot be done.
    Failed(Failure),
}

/// What went wrong.
pub(super) struct Failure {
    /// As records of executions have it: `thrown`, `timed_out`…
    pub(super) id: &'static str,
    /// `name: message` of what was thrown, or what happened.
    pub(super) text: String,
    /// Where, the innermost first.
    pub(super) frames: Vec<Frame>,
    /// What to do about it.
    pub(super) hints: Vec<String>,
}

impl Tried {
    /// What the process ends with.
    pub(super) fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Ran | Outcome::Redirects { .. } => 0,
            Outcome::Failed(_) => FAILED,
            Outcome::Denied { .. } => DENIED,
        }
    }
}

/// A clock that was set, and runs.
#[derive(Debug)]
struct Moved {
    by_micros: i64,
}

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros().saturating_add(self.by_micros))
    }
}

/// Reads what was given, runs it, and judges what came of it.
pub(super) fn run(test: &Test, config: &Config) -> Result<Tried, Unusable> {
    let limits = limits(&config.actions);
    let given = Given::read(test, &limits)?;
    let failed = |why: &dyn std::fmt::Display| Unusable(why.to_string());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))?;
    let tried = runtime.block_on(async {
        let egress = Applications::new(config).map_err(|error| failed(&error))?.egress();
        let worker = WorkerCommand::this_program().map_err(|error| failed(&error))?;
        let pool = Pool::new(pool_config(worker, &config.actions)).map_err(|error| failed(&error))?;
        let packages = packages(&given, config, &egress, &pool).await?;
        let clock = Moved { by_micros: given.now.micros() - SystemClock.now().micros() };
        let host = Reached {
            reach: Arc::new(Reach::new(egress, Arc::new(clock))),
            tenant: TENANT,
            trigger: given.trigger,
            depth: 0,
        };
        let execution = execution(&given, packages, limits)?;
        let finished = pool.run(execution, Arc::new(host)).await;
        pool.close().await;
        Ok(judged(given, finished, limits))
    });
    runtime.shutdown_background();
    tried
}

fn execution(given: &Given, packages: Option<PackageSet>, limits: Limits) -> Result<Execution, Unusable> {
    let event = to_raw_value(&given.event).map_err(|error| Unusable(error.to_string()))?;
    let name = |file: &File| file.name.trim_start_matches(curfew_actions::MODULE_PREFIX).to_owned();
    let program = Program {
        id: "trial".to_owned(),
        code: Arc::clone(&given.action.code),
        packages: packages.map(Arc::new),
        modules: given.modules.iter().map(|module| (name(module), Arc::clone(&module.code))).collect(),
    };
    Ok(Execution {
        tenant: TENANT.0.unsigned_abs(),
        program: Arc::new(program),
        trigger: given.trigger,
        function: given.function.clone(),
        event,
        secrets: given.secrets.clone(),
        now: given.now,
        limits: Limits { wall: given.time_limit, ..limits },
        depth: 0,
    })
}

/// Gets the packages as a build on the server would, and says so: it may take a while.
async fn packages(
    given: &Given,
    config: &Config,
    egress: &Egress,
    pool: &Pool,
) -> Result<Option<PackageSet>, Unusable> {
    if given.dependencies.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> = given.dependencies.iter().map(|dependency| dependency.name.as_str()).collect();
    let mut told = std::io::stderr();
    let _ = writeln!(told, "getting {} …", names.join(", "));
    let began = Instant::now();
    let packaged = Packaged::new(config, egress.clone()).map_err(|error| Unusable(error.to_string()))?;
    let set = packaged.resolve(&given.dependencies).await.map_err(|error| {
        let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        Unusable(format!("{error}{detail}"))
    })?;
    pool.compile(TENANT.0.unsigned_abs(), &set).await.map_err(|error| Unusable(error.to_string()))?;
    let roots: Vec<String> = set.roots().iter().map(|(name, version)| format!("{name} {version}")).collect();
    let _ = writeln!(told, "{} in {}", roots.join(", "), super::report::time(began.elapsed()));
    Ok(Some(set))
}

/// Judges as the flows do, and takes the values of secrets out of everything.
fn judged(given: Given, finished: Finished, limits: Limits) -> Tried {
    let mask = Mask::new(&given.secrets);
    let commands: Vec<Value> =
        finished.commands.iter().filter_map(|command| serde_json::from_str(command.get()).ok()).collect();
    let event = Value::Object(given.event);
    let files: Vec<File> = std::iter::once(given.action).chain(given.modules).collect();
    let mut outcome = match &finished.result {
        Err(error) => Outcome::Failed(failure(
            error,
            &files,
            given.trigger,
            &given.function,
            (given.time_limit, limits),
        )),
        Ok(()) => match judge(given.trigger, &event, &commands) {
            Ok(Verdict::Through) => Outcome::Ran,
            Ok(Verdict::Denied { reason, code, user_message }) => {
                Outcome::Denied { reason, code, user_message }
            }
            Ok(Verdict::Redirected { url }) => Outcome::Redirects { url },
            Err(why) => Outcome::Failed(Failure {
                id: "unheard",
                text: format!("what it asked for cannot be done: {why}"),
                frames: Vec::new(),
                hints: Vec::new(),
            }),
        },
    };
    if let Outcome::Failed(failure) = &mut outcome
        && !commands.is_empty()
    {
        failure.hints.push("nothing of what it asked for would be done, since it failed".to_owned());
    }
    let mut tried = Tried {
        trigger: given.trigger,
        function: given.function,
        files,
        finished,
        commands: commands.into_iter().map(|command| mask.value(command)).collect(),
        outcome,
    };
    tried.mask(&mask);
    tried
}

impl Tried {
    fn mask(&mut self, mask: &Mask) {
        let cover = |text: &mut String| *text = mask.text(text);
        self.finished.console.iter_mut().for_each(|line| cover(&mut line.text));
        for fetch in &mut self.finished.fetches {
            cover(&mut fetch.url);
            fetch.error.iter_mut().for_each(cover);
        }
        match &mut self.outcome {
            Outcome::Ran => {}
            Outcome::Redirects { url } => cover(url),
            Outcome::Denied { reason, code, user_message } => {
                cover(reason);
                code.iter_mut().chain(user_message).for_each(cover);
            }
            Outcome::Failed(failure) => {
                cover(&mut failure.text);
                failure.frames.iter_mut().filter_map(|frame| frame.function.as_mut()).for_each(cover);
                failure.hints.iter_mut().for_each(cover);
            }
        }
    }
}

fn failure(
    error: &ActionError,
    files: &[File],
    trigger: ActionTrigger,
    function: &str,
    (time_limit, limits): (Duration, Limits),
) -> Failure {
    let path = files.first().map_or("the file", |file| &file.path);
    let mut hints = Vec::new();
    let (id, text) = match error {
        ActionError::Thrown { name, message, stack } => {
            let text = if message.is_empty() { name.clone() } else { format!("{name}: {message}") };
            let frames = frames(stack, files);
            hints.extend(hint(message));
            if frames.is_empty() {
                hints.push("where it was thrown is not known: only an Error says so".to_owned());
            }
            return Failure { id: "thrown", text, frames, hints };
        }
        ActionError::TimedOut { hard } => {
            if *hard {
                let text = "its process had to be killed: what it wrote and asked for until then is lost";
                hints.push(text.to_owned());
            }
            let (all, cpu) = (super::report::time(time_limit), super::report::time(limits.cpu));
            ("timed_out", format!("it ran for longer than {all}, or computed for longer than {cpu}"))
        }
        ActionError::OutOfMemory => {
            ("out_of_memory", format!("it needed more than {} MiB of memory", limits.memory_bytes >> 20))
        }
        ActionError::Unsettled => (
            "unsettled",
            "it awaits something that can never come: no timer and no request is left".to_owned(),
        ),
        ActionError::NoSuchFunction => {
            hints.push(format!("write exports.{function} = async (event, api) => {{ … }}"));
            ("no_such_function", format!("{path} does not export {function}, which {trigger} calls"))
        }
        ActionError::Crashed => ("crashed", "its process ended unexpectedly".to_owned()),
        ActionError::Busy => ("busy", error.to_string()),
        ActionError::TooDeep => ("unavailable", error.to_string()),
        ActionError::NotStarted { .. } => ("unavailable", error.to_string()),
    };
    Failure { id, text, frames: Vec::new(), hints }
}

/// What is usually to be done about a message.
fn hint(message: &str) -> Option<String> {
    let missing = message.strip_prefix("Cannot find module '")?;
    let name = missing.split('\'').next()?;
    if let Some(module) = name.strip_prefix(curfew_actions::MODULE_PREFIX) {
        return Some(format!("--module {module}=FILE hands an Actions module over"));
    }
    let package: Vec<&str> = name.split('/').take(if name.starts_with('@') { 2 } else { 1 }).collect();
    let local = name.starts_with(['.', '/']) || Path::new(name).is_absolute();
    Some(if local {
        "an Action is one file: what it shares with others is an Actions module, --module NAME=FILE"
            .to_owned()
    } else {
        format!("--dependency {}@VERSION makes the package available", package.join("/"))
    })
}
