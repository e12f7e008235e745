//! `ending_policies`, of the tenant and of clients: which artefacts fall for which cause.

use curfew_model::{Artefact, Choice, EndingCause, EndingPolicies};
use serde_json::Value;

use super::{Document, Refused};

const NAME: &str = "ending_policies";

/// Reads the policies of a document that is about to be stored. What says nothing (`null`, a cause without a choice) is
/// taken out of it. Refused: a cause or an artefact of which there is no choice, and a choice that is none.
pub(super) fn settle(doc: &mut Document) -> Result<EndingPolicies, Refused> {
    let causes = match doc.remove(NAME) {
        None | Some(Value::Null) => return Ok(EndingPolicies::default()),
        Some(Value::Object(causes)) => causes,
        Some(_) => return Err(Refused::property("Expected type object", NAME)),
    };
    let mut settled = Document::new();
    for (name, choices) in causes {
        let Some(allowed) =
            EndingCause::parse(&name).map(Artefact::chosen_for).filter(|list| !list.is_empty())
        else {
            let problem = format!("{name}: there is no choice. There is for: {}", choosable().join(", "));
            return Err(Refused::property(&problem, NAME));
        };
        let property = format!("{NAME}.{name}");
        let mut choices = match choices {
            Value::Null => continue,
            Value::Object(choices) => choices,
            _ => return Err(Refused::property("Expected type object", &property)),
        };
        choices.retain(|_, choice| !choice.is_null());
        for (artefact, choice) in &choices {
            check(allowed, artefact, choice, &property)?;
        }
        if !choices.is_empty() {
            settled.insert(name, Value::Object(choices));
        }
    }
    if settled.is_empty() {
        return Ok(EndingPolicies::default());
    }
    let settled = Value::Object(settled);
    let policies = serde_json::from_value(settled.clone())
        .map_err(|error| Refused::property(&error.to_string(), NAME))?;
    doc.insert(NAME.to_owned(), settled);
    Ok(policies)
}

fn check(allowed: &[Artefact], artefact: &str, choice: &Value, property: &str) -> Result<(), Refused> {
    let Some(known) = allowed.iter().find(|known| known.as_str() == artefact) else {
        let names: Vec<&str> = allowed.iter().map(|artefact| artefact.as_str()).collect();
        let problem = format!("{artefact}: there is no choice. There is of: {}", names.join(", "));
        return Err(Refused::property(&problem, property));
    };
    let choices = Choice::of(*known).map(Choice::as_str);
    if choice.as_str().is_some_and(|choice| choices.contains(&choice)) {
        return Ok(());
    }
    let problem = format!("No enum match ({})", choices.join(", "));
    Err(Refused::property(&problem, &format!("{property}.{artefact}")))
}

/// The causes for which there is a choice, by name.
fn choosable() -> Vec<&'static str> {
    let causes = EndingCause::ALL.iter().filter(|cause| !Artefact::chosen_for(**cause).is_empty());
    causes.map(|cause| cause.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(policies: Value) -> (Result<EndingPolicies, Refused>, Document) {
        let Value::Object(mut doc) = json!({ "name": "x", "ending_policies": policies }) else {
            panic!("no object");
        };
        (settle(&mut doc), doc)
    }

    #[test]
    fn whatever_can_be_chosen_is_read_back_as_it_was_sent() {
        for cause in EndingCause::ALL {
            for artefact in Artefact::chosen_for(*cause) {
                for choice in Choice::of(*artefact) {
                    let sent = json!({ cause.as_str(): { artefact.as_str(): choice.as_str() } });
                    let (policies, doc) = settled(sent.clone());
                    assert_eq!(
                        policies.expect("it is fine").choice(*cause, *artefact),
                        Some(choice),
                        "{sent}"
                    );
                    assert_eq!(doc["ending_policies"], sent);
                }
            }
        }
    }

    #[test]
    fn what_says_nothing_is_not_kept() {
        for nothing in [
            json!(null),
            json!({}),
            json!({"rp_logout": null}),
            json!({"rp_logout": {}}),
            json!({"rp_logout": {"refresh_tokens": null}}),
        ] {
            let (policies, doc) = settled(nothing.clone());
            assert_eq!(policies, Ok(EndingPolicies::default()), "{nothing}");
            assert!(!doc.contains_key("ending_policies"), "{nothing}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_refused_by_name() {
        let known = "rp_logout, session_deleted";
        for (sent, says, property) in [
            (json!({"user_blocked": {"refresh_tokens": "keep"}}), known, "ending_policies"),
            (json!({"access_revoked": {"refresh_tokens": "keep"}}), known, "ending_policies"),
            (json!({"whim": {}}), known, "ending_policies"),
            (json!([]), "Expected type object", "ending_policies"),
            (json!({"rp_logout": "revoke"}), "Expected type object", "ending_policies.rp_logout"),
            (
                json!({"rp_logout": {"access_tokens": "keep"}}),
                "of: refresh_tokens",
                "ending_policies.rp_logout",
            ),
            (json!({"rp_logout": {"sessions": "keep"}}), "of: refresh_tokens", "ending_policies.rp_logout"),
            (
                json!({"rp_logout": {"refresh_tokens": "end"}}),
                "(keep, revoke)",
                "ending_policies.rp_logout.refresh_tokens",
            ),
            (
                json!({"rp_logout": {"refresh_tokens": true}}),
                "(keep, revoke)",
                "ending_policies.rp_logout.refresh_tokens",
            ),
            (
                json!({"refresh_token_reuse": {"sessions": "revoke"}}),
                "(keep, end)",
                "ending_policies.refresh_token_reuse.sessions",
            ),
        ] {
            match settled(sent.clone()).0 {
                Err(Refused::Invalid { message, code: "invalid_body" }) => {
                    assert!(message.contains(says), "{sent}: {message}");
                    assert!(message.ends_with(&format!("on property {property}.")), "{sent}: {message}");
                }
                other => panic!("{sent}: {other:?}"),
            }
        }
    }
}
