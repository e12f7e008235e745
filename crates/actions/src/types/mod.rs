//! What `event` and `api` are, for those who write Actions: TypeScript's declarations, and an event of each trigger.
//!
//! They are written by hand. Tests hold them to what the runtime offers, and the events to the declarations.

use curfew_model::config::ActionTrigger;

/// Before everything else.
const HEAD: &str = "\
// Types of Curfew's Actions, as `curfew actions types` prints them. In an Action's file:
//
//   /**
//    * @param {import('./curfew-actions').PostLoginEvent} event
//    * @param {import('./curfew-actions').PostLoginAPI} api
//    */
//   exports.onExecutePostLogin = async (event, api) => {};

";

/// What all triggers share.
const COMMON: &str = include_str!("common.d.ts");

/// The declarations of one trigger, under the global names too that Auth0's templates have (`Event`, `PostLoginAPI`); or those
/// of all, as a module alone.
pub fn declarations(trigger: Option<ActionTrigger>) -> String {
    let mut text = format!("{HEAD}{COMMON}");
    match trigger {
        Some(trigger) => {
            text.push_str(of(trigger).0);
            let name = name(trigger);
            text.push_str(&format!(
                "
type OwnEvent = {name}Event;
type OwnAPI = {name}API;

declare global {{
  interface Event extends OwnEvent {{}}
  interface {name}API extends OwnAPI {{}}
}}
"
            ));
        }
        None => ActionTrigger::ALL.iter().for_each(|trigger| text.push_str(of(*trigger).0)),
    }
    text
}

/// A complete event in JSON, as flows of the trigger make them. Its instants are about 2026-01-01T10:00:00.000Z.
pub const fn sample(trigger: ActionTrigger) -> &'static str {
    of(trigger).1
}

/// What the names of a trigger's types begin with: `PostLogin`.
pub const fn name(trigger: ActionTrigger) -> &'static str {
    match trigger {
        ActionTrigger::PostLogin => "PostLogin",
        ActionTrigger::CredentialsExchange => "CredentialsExchange",
        ActionTrigger::PreUserRegistration => "PreUserRegistration",
        ActionTrigger::PostUserRegistration => "PostUserRegistration",
        ActionTrigger::PostChangePassword => "PostChangePassword",
    }
}

const fn of(trigger: ActionTrigger) -> (&'static str, &'static str) {
    match trigger {
        ActionTrigger::PostLogin => {
            (include_str!("post-login.d.ts"), include_str!("samples/post-login.json"))
        }
        ActionTrigger::CredentialsExchange => {
            (include_str!("credentials-exchange.d.ts"), include_str!("samples/credentials-exchange.json"))
        }
        ActionTrigger::PreUserRegistration => {
            (include_str!("pre-user-registration.d.ts"), include_str!("samples/pre-user-registration.json"))
        }
        ActionTrigger::PostUserRegistration => {
            (include_str!("post-user-registration.d.ts"), include_str!("samples/post-user-registration.json"))
        }
        ActionTrigger::PostChangePassword => {
            (include_str!("post-change-password.d.ts"), include_str!("samples/post-change-password.json"))
        }
    }
}
