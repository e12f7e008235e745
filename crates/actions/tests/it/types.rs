//! The declarations of `api` say what the runtime offers, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use curfew_actions::in_process::run;
use curfew_actions::{Nothing, types};
use curfew_model::config::ActionTrigger;
use serde_json::Value;

use crate::support::{execution, program};

/// The paths of every function below `api`.
fn offered(trigger: ActionTrigger) -> BTreeSet<String> {
    let function = trigger.function();
    let program = Arc::new(program(&format!(
        "const walk = (object, path) => Object.keys(object).forEach((name) => typeof object[name] === 'function'
           ? console.log(path + name) : walk(object[name], `${{path}}${{name}}.`));
         exports.{function} = async (event, api) => walk(api, '');"
    )));
    let mut execution = execution(&program);
    execution.trigger = serde_json::from_value(trigger.as_str().into()).unwrap();
    execution.function = function.to_owned();
    let finished = run(&execution, Arc::new(Nothing));
    assert_eq!((finished.result, finished.console_dropped), (Ok(()), 0));
    finished.console.into_iter().map(|line| line.text).collect()
}

/// A type, as far as it matters here.
enum Shape {
    Function,
    Object(Vec<(String, Shape)>),
    Named(String),
    Other,
}

/// Words and signs, without comments.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").expect("comments end") + 2
        } else if first == '\'' {
            rest[1..].find('\'').expect("texts end") + 2
        } else if first.is_alphanumeric() || first == '_' {
            rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() && first != '/' {
            tokens.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
    }
    tokens
}

/// Past the end of a member. The last one of an object may have none of its own.
fn skip(tokens: &[String], mut at: usize) -> usize {
    let mut depth = 0;
    loop {
        match tokens[at].as_str() {
            ";" if depth == 0 => return at + 1,
            "}" if depth == 0 => return at,
            "(" | "{" | "[" => depth += 1,
            ")" | "}" | "]" => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// The members of an object type, from behind its brace to behind its end.
fn members(tokens: &[String], mut at: usize) -> (Vec<(String, Shape)>, usize) {
    let mut found = Vec::new();
    while tokens[at] != "}" {
        let name = tokens[at].clone();
        if name == "[" {
            at = skip(tokens, at);
            continue;
        }
        at += if tokens[at + 1] == "?" { 2 } else { 1 };
        let shape =
            match (tokens[at].as_str(), tokens[at + 1].as_str(), tokens.get(at + 2).map(String::as_str)) {
                ("(", ..) => Shape::Function,
                (":", "{", _) => Shape::Object(members(tokens, at + 2).0),
                (":", name, Some(";")) => Shape::Named(name.to_owned()),
                _ => Shape::Other,
            };
        at = skip(tokens, at);
        found.push((name, shape));
    }
    (found, at + 1)
}

fn interfaces(text: &str) -> BTreeMap<String, Vec<(String, Shape)>> {
    let tokens = tokens(text);
    let named = tokens.windows(3).enumerate().filter(|(_, three)| three[0] == "interface" && three[2] == "{");
    named.map(|(at, three)| (three[1].clone(), members(&tokens, at + 3).0)).collect()
}

fn functions(
    interfaces: &BTreeMap<String, Vec<(String, Shape)>>,
    members: &[(String, Shape)],
    path: &str,
    found: &mut BTreeSet<String>,
) {
    for (name, shape) in members {
        let inner = format!("{path}{name}.");
        match shape {
            Shape::Function => {
                assert!(found.insert(format!("{path}{name}")), "{path}{name} stands there twice")
            }
            Shape::Object(members) => functions(interfaces, members, &inner, found),
            Shape::Named(name) => functions(interfaces, &interfaces[name], &inner, found),
            Shape::Other => panic!("{path}{name} is no function and no object of them"),
        }
    }
}

fn declared(trigger: ActionTrigger) -> BTreeSet<String> {
    let interfaces = interfaces(&types::declarations(None));
    let mut found = BTreeSet::new();
    functions(&interfaces, &interfaces[&format!("{}API", types::name(trigger))], "", &mut found);
    found
}

#[test]
fn what_is_declared_of_api_is_what_there_is() {
    for trigger in ActionTrigger::ALL {
        let (offered, declared) = (offered(*trigger), declared(*trigger));
        let missing: Vec<_> = offered.difference(&declared).collect();
        let more: Vec<_> = declared.difference(&offered).collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "{trigger}: not declared {missing:?}, not there {more:?}"
        );
        assert!(declared.contains("cache.get"), "{trigger}: {declared:?}");
    }
    assert!(declared(ActionTrigger::PostLogin).contains("session.revoke"));
}

#[test]
fn samples_have_declared_members_at_their_top() {
    for trigger in ActionTrigger::ALL {
        let interfaces = interfaces(&types::declarations(None));
        let declared = &interfaces[&format!("{}Event", types::name(*trigger))];
        let sample: Value = serde_json::from_str(types::sample(*trigger)).unwrap();
        for name in sample.as_object().unwrap().keys() {
            assert!(declared.iter().any(|(declared, _)| declared == name), "{trigger}: event.{name}");
        }
        assert!(sample.get("secrets").is_none(), "secrets are no part of a sample");
    }
}

#[test]
fn the_types_of_one_trigger_are_global_too_and_those_of_all_are_not() {
    for trigger in ActionTrigger::ALL {
        let (one, name) = (types::declarations(Some(*trigger)), types::name(*trigger));
        assert!(one.contains(&format!("interface {name}API extends OwnAPI")), "{trigger}");
        assert!(types::declarations(None).contains(&format!("export interface {name}API {{")), "{trigger}");
    }
    assert!(!types::declarations(None).contains("declare global"));
}
