//! How somebody becomes a user who signs up, or whom an administrator makes: past the Actions of pre-user-registration, and
//! with those of post-user-registration behind it.
//!
//! They run whether or not somebody has the address already: what is there is found out where the row is written, and a
//! sign-up looks the same until then.

use std::sync::Arc;

use curfew_model::config::{ActionTrigger, Client};
use curfew_model::{Ctx, Failure, LogCode, UserId};
use serde_json::{Map, Value, json};

use super::create::{self, After, Creation, NewUser};
use crate::actions::commands::{Denied, Effects};
use crate::actions::pipeline::{self, From, Run, Stop};
use crate::actions::{event, runs};
use crate::logs::LogEntry;
use crate::{Core, TenantConfig};

/// Members of `event.user`, where the document has them.
const OF_USER: [&str; 8] =
    ["email", "username", "phone_number", "name", "nickname", "given_name", "family_name", "picture"];

/// Who wants whom to become a user.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The tenant's configuration.
    pub config: Arc<TenantConfig>,
    /// The user.
    pub new: NewUser,
    /// Where somebody signs up; `None` when an administrator makes the user.
    pub client: Option<Arc<Client>>,
    /// `event.request.body`, with or without what must not be told.
    pub body: Map<String, Value>,
    /// `event.transaction`, where there is one.
    pub transaction: Option<Map<String, Value>>,
}

/// How it went.
#[derive(Debug)]
pub enum Registered {
    /// It was for the rules to decide.
    Decided(Creation),
    /// An Action said no, or failed.
    Refused {
        /// What the person is told; `None` when the Action has nothing to say.
        user_message: Option<String>,
    },
}

/// Makes a user out of who signs up. Sign-ups, and what Actions refuse, are in the tenant's log.
///
/// Steps: 1 what can be judged without a database, 2 the Actions, with nothing held, 3 that again, by the configuration of
/// then, 4 the user.
pub async fn register(core: &Core, ctx: &Ctx, registration: Registration) -> Result<Registered, Failure> {
    let Registration { config, mut new, client, body, transaction } = registration;
    // 1
    if let Some(decided) = create::judge(&mut new) {
        return Ok(decide(core, ctx, client.as_deref(), (decided, None)));
    }
    if config.actions.at(ActionTrigger::PreUserRegistration).is_empty() {
        let after = after(ctx, &config, &new, client.as_deref(), transaction);
        let decided = create::create_with(core, ctx, new, after).await?;
        return Ok(decide(core, ctx, client.as_deref(), (decided, None)));
    }
    // 2
    let event = event_of(ctx, &config, &new, client.as_deref(), &body, transaction.clone());
    let from = (ActionTrigger::PreUserRegistration, From::Start);
    let who = (None, client.as_ref().map(|client| &client.id));
    let ran = pipeline::run(core, ctx, &config, from, event, Effects::default(), who).await?;
    let ctx = &Ctx { now: core.clock.now(), ..ctx.clone() };
    let Run { mut effects, stop, execution_id, .. } = ran;
    match stop {
        Stop::Through => {}
        Stop::Denied => {
            let denied = effects.denied.take();
            return Ok(refuse(core, ctx, client.as_deref(), denied, &execution_id));
        }
        Stop::Failed | Stop::Redirected { .. } => {
            return Ok(refuse(core, ctx, client.as_deref(), None, &execution_id));
        }
    }
    // 3
    let config = core.tenant(ctx.tenant).await?;
    let connection = config.connection(&new.connection.id).filter(|connection| {
        client.as_ref().is_none_or(|client| {
            connection.epoch_for(&client.id).is_some() && !connection.doc.options.disable_signup
        })
    });
    let Some(connection) = connection.cloned() else {
        let decided = Creation::Invalid("connection");
        return Ok(decide(core, ctx, client.as_deref(), (decided, Some(&execution_id))));
    };
    new.connection = connection;
    for (name, set) in [("user_metadata", &effects.user_metadata), ("app_metadata", &effects.app_metadata)] {
        super::update::merge_keys(&mut new.doc, name, set);
    }
    let decided = match create::judge(&mut new) {
        Some(decided) => decided,
        // 4
        None => {
            let mut transaction = transaction;
            if let Some(transaction) = &mut transaction {
                let metadata = std::mem::take(&mut effects.transaction_metadata);
                transaction.insert("metadata".to_owned(), Value::Object(metadata));
            }
            let after = after(ctx, &config, &new, client.as_deref(), transaction);
            create::create_with(core, ctx, new, after).await?
        }
    };
    Ok(decide(core, ctx, client.as_deref(), (decided, Some(&execution_id))))
}

fn event_of(
    ctx: &Ctx,
    config: &TenantConfig,
    new: &NewUser,
    client: Option<&Client>,
    body: &Map<String, Value>,
    transaction: Option<Map<String, Value>>,
) -> Value {
    let mut user: Map<String, Value> = OF_USER
        .iter()
        .filter_map(|name| new.doc.get(*name).map(|value| ((*name).to_owned(), value.clone())))
        .collect();
    for name in ["user_metadata", "app_metadata"] {
        let own = new.doc.get(name).filter(|value| value.is_object()).cloned();
        user.insert(name.to_owned(), own.unwrap_or_else(|| json!({})));
    }
    let mut event = about(ctx, config, new, client, transaction);
    event["request"]["body"] = event::body(body);
    event["user"] = Value::Object(user);
    event
}

/// What both triggers are told.
fn about(
    ctx: &Ctx,
    config: &TenantConfig,
    new: &NewUser,
    client: Option<&Client>,
    transaction: Option<Map<String, Value>>,
) -> Value {
    let mut event = json!({
        "connection": event::connection(&new.connection),
        "request": event::origin(ctx),
        "tenant": event::tenant(config),
    });
    if let Some(client) = client {
        event["client"] = event::client(client);
    }
    if let Some(domain) = event::custom_domain(ctx, config) {
        event["custom_domain"] = domain;
    }
    if let Some(transaction) = transaction {
        event["transaction"] = Value::Object(transaction);
    }
    event
}

/// What runs when the user is there, if anything does.
fn after(
    ctx: &Ctx,
    config: &Arc<TenantConfig>,
    new: &NewUser,
    client: Option<&Client>,
    transaction: Option<Map<String, Value>>,
) -> Option<After> {
    runs::due(config, ActionTrigger::PostUserRegistration).then(|| After {
        config: Arc::clone(config),
        event: about(ctx, config, new, client, transaction),
        client_id: client.map(|client| client.id.clone()),
    })
}

/// What the rules decided, with its log row where somebody has signed up.
fn decide(
    core: &Core,
    ctx: &Ctx,
    client: Option<&Client>,
    (decided, execution_id): (Creation, Option<&str>),
) -> Registered {
    let row = match &decided {
        Creation::Created(row) => Some((LogCode::Signup, Some(&row.user_id), "Successful signup")),
        Creation::Exists => Some((LogCode::SignupFailed, None, "The user already exists.")),
        Creation::Invalid(_) => Some((LogCode::SignupFailed, None, "Invalid sign up")),
        Creation::WeakPassword(_) => None,
    };
    if let Some((code, user_id, description)) = row.filter(|_| client.is_some()) {
        log(core, ctx, code, (user_id, client), description, details(execution_id));
    }
    Registered::Decided(decided)
}

fn refuse(
    core: &Core,
    ctx: &Ctx,
    client: Option<&Client>,
    denied: Option<Denied>,
    execution_id: &str,
) -> Registered {
    let mut details = details(Some(execution_id));
    let (reason, user_message) = match denied {
        Some(denied) => {
            if let Some(code) = denied.code {
                details["error"] = json!({ "code": code, "message": denied.reason });
            }
            (denied.reason, denied.user_message.filter(|message| !message.trim().is_empty()))
        }
        None => (pipeline::FAILED.to_owned(), None),
    };
    log(core, ctx, LogCode::SignupFailed, (None, client), &reason, details);
    Registered::Refused { user_message }
}

fn details(execution_id: Option<&str>) -> Value {
    execution_id.map_or_else(|| json!({}), |id| json!({ "actions": { "executions": [id] } }))
}

fn log(
    core: &Core,
    ctx: &Ctx,
    code: LogCode,
    (user_id, client): (Option<&UserId>, Option<&Client>),
    description: &str,
    details: Value,
) {
    let client_id = client.map(|client| client.id.as_str());
    let user_id = user_id.map(UserId::as_str);
    core.logs.send(ctx, &LogEntry { code, user_id, client_id, description, details });
}
