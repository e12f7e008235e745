//! The Actions of one trigger, one after the other. Whoever calls holds no transaction, lock or connection meanwhile:
//! Actions call the Management API, and what they do there takes effect at once.

use curfew_model::config::ActionTrigger;
use curfew_model::{ClientId, Ctx, Failure, LogCode, OAuthCode, UserId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::commands::{Effects, travels};
use super::executions::{Record, Status};
use super::{ActionError, BoundAction, ConsoleLine, DEPTH_MAX, Execution, Finished, Program};
use crate::logs::LogEntry;
use crate::{Core, TenantConfig};

/// Beyond the time of a trigger: an engine that keeps to it answers by then.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

/// What the record says beside an Action's own lines: code that compares ids of sessions with the one of an event that has
/// none finds no session to spare.
const NO_SESSION: &str = "event.session is absent: this exchange has no session, or one that is over, so no session's id equals event.session?.id";

/// What is said when an Action failed; what failed is in the tenant's log.
pub(crate) const FAILED: &str = "Something went wrong, please try again later";

/// How a run of a trigger's Actions ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// All of them ran.
    Through,
    /// One said no; those behind it did not run.
    Denied,
    /// One sent the browser away; those behind it wait.
    Redirected {
        /// The binding whose Action goes on when the browser is back.
        binding_id: String,
    },
    /// One failed, or what it asked for could not be read.
    Failed,
}

impl Stop {
    /// Why the client gets nothing, if so. To be sent away is a reason where nobody is there who could go.
    pub(crate) fn refusal(&self, effects: &mut Effects) -> Option<(OAuthCode, String)> {
        match self {
            Self::Through => None,
            Self::Denied => {
                let reason = effects.denied.take().map(|denied| denied.reason);
                Some((OAuthCode::AccessDenied, reason.unwrap_or_default()))
            }
            Self::Failed => Some((OAuthCode::AccessDenied, FAILED.to_owned())),
            Self::Redirected { .. } => {
                Some((OAuthCode::InteractionRequired, "Interaction required".to_owned()))
            }
        }
    }
}

/// What came of the Actions of one trigger.
#[derive(Debug)]
pub(crate) struct Run {
    /// What they asked for, all in all; of one that failed nothing.
    pub effects: Effects,
    /// How it ended.
    pub stop: Stop,
    /// The record, for the log row of the flow.
    pub execution_id: String,
    /// Whether nothing has run, since there was no worker for the first of them.
    pub unbegun: bool,
}

/// Where a run begins.
#[derive(Debug, Clone)]
pub(crate) enum From<'a> {
    /// With the first Action.
    Start,
    /// With the Action that had sent the browser away, which is back.
    Continue {
        /// Its binding.
        binding_id: &'a str,
    },
}

/// Runs what is bound to a trigger, in order, each with `event` and what those before it put into the transaction.
pub(crate) async fn run(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    (trigger, from): (ActionTrigger, From<'_>),
    mut event: Value,
    mut effects: Effects,
    who: (Option<&UserId>, Option<&ClientId>),
) -> Result<Run, Failure> {
    let bound = config.actions.at(trigger);
    locate(core, &mut event);
    let mut record = Record::begin(ctx, trigger);
    let execution_id = record.id.clone();
    let (first, resumed) = match &from {
        From::Start => (0, None),
        From::Continue { binding_id } => match bound.iter().position(|own| own.binding_id == *binding_id) {
            Some(place) => (place, Some(place)),
            // It was taken out meanwhile, and who stood behind it and has not been heard is not known.
            None => {
                let entry = LogEntry {
                    code: LogCode::ActionsFailed,
                    user_id: who.0.map(UserId::as_str),
                    client_id: who.1.map(ClientId::as_str),
                    description: "The Action that had sent the browser away is not bound any more",
                    details: json!({ "binding_id": binding_id, "actions": { "executions": [&execution_id] } }),
                };
                core.logs.send(ctx, &entry);
                record.send(core, ctx, Status::Partial, who);
                return Ok(Run { effects, stop: Stop::Failed, execution_id, unbegun: false });
            }
        },
    };
    let travels = travels(&event);
    let until = Instant::now() + core.runner.trigger_time();
    let (mut stop, mut unbegun) = (Stop::Through, false);
    for (place, action) in bound.iter().enumerate().skip(first) {
        if let Some(transaction) = event.get_mut("transaction").and_then(Value::as_object_mut) {
            transaction.insert("metadata".to_owned(), Value::Object(effects.transaction_metadata.clone()));
        }
        let function = if resumed == Some(place) { "onContinuePostLogin" } else { trigger.function() };
        let started_at = core.clock.now();
        let mut finished = one(core, ctx, config, action, (trigger, function), &event, until).await?;
        if trigger == ActionTrigger::PostLogin
            && event.get("session").is_none()
            && speaks_of_sessions(&action.program)
        {
            finished.console.insert(0, ConsoleLine { level: "warn".to_owned(), text: NO_SESSION.to_owned() });
        }
        // Who is back from where it was sent, and has nothing more to do, goes on.
        if resumed == Some(place) && finished.result == Err(ActionError::NoSuchFunction) {
            finished.result = Ok(());
        }
        if finished.result.is_ok()
            && let Err(unheard) = effects.take(trigger, &finished.commands, travels)
        {
            finished.result = Err(ActionError::Unheard(unheard.0));
        }
        record.ran(action, started_at, &finished);
        if let Err(error) = &finished.result {
            tell_failure(core, ctx, action, error, &execution_id, who);
            unbegun = place == first && *error == ActionError::Busy;
            stop = Stop::Failed;
            break;
        }
        if effects.denied.is_some() {
            stop = Stop::Denied;
            break;
        }
        if effects.redirect.is_some() {
            stop = Stop::Redirected { binding_id: action.binding_id.clone() };
            break;
        }
    }
    let status = match stop {
        Stop::Through => Status::Final,
        Stop::Denied => Status::Canceled,
        Stop::Redirected { .. } => Status::Suspended,
        Stop::Failed => Status::Partial,
    };
    record.send(core, ctx, status, who);
    Ok(Run { effects, stop, execution_id, unbegun })
}

/// Whether the code, or a module of it, has the word in it at all.
fn speaks_of_sessions(program: &Program) -> bool {
    let modules = program.modules.iter().map(|(_, code)| code);
    std::iter::once(&program.code).chain(modules).any(|code| code.contains("session"))
}

/// Says in `event.request` where its `ip` is, as far as that is known.
fn locate(core: &Core, event: &mut Value) {
    let Some(request) = event.get_mut("request").and_then(Value::as_object_mut) else { return };
    let Some(ip) = request.get("ip").and_then(Value::as_str).and_then(|ip| ip.parse().ok()) else { return };
    if let Some(asn) = core.geography.asn(ip) {
        request.insert("asn".to_owned(), Value::from(asn.to_string()));
    }
    // Texts and numbers: it can be written as JSON.
    if let Ok(place) = serde_json::to_value(core.geography.place(ip)) {
        request.insert("geoip".to_owned(), place);
    }
}

async fn one(
    core: &Core,
    ctx: &Ctx,
    config: &TenantConfig,
    action: &BoundAction,
    (trigger, function): (ActionTrigger, &'static str),
    event: &Value,
    until: Instant,
) -> Result<Finished, Failure> {
    let depth = ctx.request.nesting;
    if depth >= DEPTH_MAX {
        let text = "an Action's own request made it run, within another's".to_owned();
        return Ok(not_run(ActionError::Unavailable(text)));
    }
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(not_run(ActionError::TimedOut));
    }
    let execution = Execution {
        tenant: ctx.tenant,
        program: std::sync::Arc::clone(&action.program),
        trigger,
        function,
        event: event.clone(),
        secrets: action.program.secrets(config)?,
        now: core.clock.now(),
        time_limit: left,
        depth,
    };
    let ran = tokio::time::timeout(left + GRACE, core.runner.run(execution)).await;
    Ok(ran.unwrap_or_else(|_| not_run(ActionError::TimedOut)))
}

fn not_run(error: ActionError) -> Finished {
    Finished {
        result: Err(error),
        commands: Vec::new(),
        console: Vec::new(),
        fetches: Vec::new(),
        duration: std::time::Duration::ZERO,
    }
}

fn tell_failure(
    core: &Core,
    ctx: &Ctx,
    action: &BoundAction,
    error: &ActionError,
    execution_id: &str,
    (user_id, client_id): (Option<&UserId>, Option<&ClientId>),
) {
    let details = json!({
        "action_id": action.program.action_id,
        "action_name": action.program.action_name,
        "error": error.code(),
        "actions": { "executions": [execution_id] },
    });
    let entry = LogEntry {
        code: LogCode::ActionsFailed,
        user_id: user_id.map(UserId::as_str),
        client_id: client_id.map(ClientId::as_str),
        description: "An Action failed",
        details,
    };
    core.logs.send(ctx, &entry);
}
