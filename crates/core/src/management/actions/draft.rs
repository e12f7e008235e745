//! What is sent for a draft, and whether it is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use curfew_model::config::{
    ActionDoc, ActionTrigger, CODE_BYTES_MAX, DEPENDENCIES_MAX, Dependency, MODULES_PER_ACTION_MAX,
    ModuleRef, SECRETS_MAX, SupportedTrigger,
};
use curfew_model::{Ctx, Failure, Secret, TenantId};
use curfew_store::{Tx, action_modules};
use serde_json::Value;

use crate::TenantConfig;
use crate::actions::secrets::{self, SealedSecret};
use crate::management::{Document, Outcome, Refused, granted};

/// What Actions run on when nothing is said.
pub(super) const DEFAULT_RUNTIME: &str = "node22";
/// What may be said. All of them are the same engine, which has what Node.js 22 has.
pub(super) const RUNTIMES: [&str; 5] = ["node22", "node18", "node18-actions", "node16", "node12"];
/// Longest value of a secret, in bytes.
const SECRET_BYTES_MAX: usize = 4096;
/// Longest name of a package, as registries have it.
const PACKAGE_NAME_MAX: usize = 214;
/// Longest range of versions.
const RANGE_MAX: usize = 128;

/// What is sent for a secret. Without a value it keeps the one it has.
#[derive(Debug, Clone)]
pub(super) struct SentSecret {
    name: String,
    value: Option<Secret<String>>,
}

/// What is sent; absent is what stays as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) name: Option<String>,
    triggers: Option<Vec<SupportedTrigger>>,
    code: Option<Arc<str>>,
    dependencies: Option<Vec<Dependency>>,
    runtime: Option<String>,
    secrets: Option<Vec<SentSecret>>,
    modules: Option<Vec<SentModule>>,
}

/// Which version of which module is required.
#[derive(Debug, Clone)]
struct SentModule {
    id: Option<String>,
    name: Option<String>,
    version_id: Option<String>,
    version_number: Option<i64>,
}

fn texts(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn items(doc: &Document, name: &str) -> Option<Vec<Value>> {
    doc.get(name).and_then(Value::as_array).cloned()
}

/// Reads a body that fits the contract.
pub(super) fn read(doc: &Document) -> Result<Sent, Refused> {
    let text = |name: &str| doc.get(name).and_then(Value::as_str);
    let mut sent = Sent { name: text("name").map(str::to_owned), ..Sent::default() };
    if let Some(name) = &sent.name
        && name.trim() != name
    {
        return Err(Refused::property("A name neither begins nor ends with white space", "name"));
    }
    if let Some(triggers) = items(doc, "supported_triggers") {
        sent.triggers = Some(triggers.iter().map(read_trigger).collect::<Result<_, _>>()?);
    }
    sent.code = text("code").map(code).transpose()?;
    if let Some(dependencies) = items(doc, "dependencies") {
        sent.dependencies = Some(read_dependencies(&dependencies)?);
    }
    if let Some(runtime) = text("runtime") {
        if !RUNTIMES.contains(&runtime) {
            return Err(Refused::property(&format!("No enum match for: {runtime}"), "runtime"));
        }
        sent.runtime = Some(runtime.to_owned());
    }
    if let Some(list) = items(doc, "secrets") {
        sent.secrets = Some(read_secrets(&list)?);
    }
    if let Some(modules) = items(doc, "modules") {
        if modules.len() > MODULES_PER_ACTION_MAX {
            return Err(Refused::property(
                &format!("An Action requires at most {MODULES_PER_ACTION_MAX} modules"),
                "modules",
            ));
        }
        sent.modules = Some(modules.iter().map(read_module).collect());
    }
    Ok(sent)
}

/// Code of an Action or of a module.
pub(super) fn code(text: &str) -> Result<Arc<str>, Refused> {
    if text.len() > CODE_BYTES_MAX {
        return Err(Refused::property(&format!("The code is longer than {CODE_BYTES_MAX} bytes"), "code"));
    }
    Ok(Arc::from(text))
}

fn read_trigger(value: &Value) -> Result<SupportedTrigger, Refused> {
    let id = texts(value, "id").unwrap_or_default();
    let Some(trigger) = ActionTrigger::parse(&id) else {
        return Err(Refused::not_supported(format!("The trigger {id} is not supported")));
    };
    let version = texts(value, "version").unwrap_or_else(|| trigger.version().to_owned());
    if version != trigger.version() {
        let message =
            format!("Version {version} of the trigger {id} is not supported: use {}", trigger.version());
        return Err(Refused::not_supported(message));
    }
    Ok(SupportedTrigger { id: trigger, version })
}

/// Names and ranges of versions: addresses, paths and tags other than `latest` are refused.
pub(super) fn read_dependencies(list: &[Value]) -> Result<Vec<Dependency>, Refused> {
    if list.len() > DEPENDENCIES_MAX {
        return Err(Refused::property(
            &format!("At most {DEPENDENCIES_MAX} dependencies are allowed"),
            "dependencies",
        ));
    }
    let mut seen = BTreeSet::new();
    let mut dependencies = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let on = |name: &str| format!("dependencies[{index}].{name}");
        let name = texts(value, "name").unwrap_or_default();
        if !is_package_name(&name) {
            return Err(Refused::property("This is no name of a package", &on("name")));
        }
        let version = texts(value, "version").unwrap_or_else(|| "latest".to_owned());
        if !is_range(&version) {
            return Err(Refused::property("This is no version and no range of versions", &on("version")));
        }
        if texts(value, "registry_url").is_some_and(|url| !url.is_empty()) {
            return Err(Refused::not_supported(
                "registry_url is not supported: the registry is the one that the server is configured with",
            ));
        }
        if !seen.insert(name.clone()) {
            return Err(Refused::property("Duplicate dependency", &on("name")));
        }
        dependencies.push(Dependency { name, version });
    }
    Ok(dependencies)
}

fn is_package_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '_', '-'])
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    name.len() <= PACKAGE_NAME_MAX
        && match name.strip_prefix('@') {
            Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
            None => part(name),
        }
}

/// `latest`, or a range of Semantic Versioning as npm reads it.
fn is_range(text: &str) -> bool {
    if text == "latest" {
        return true;
    }
    text.len() <= RANGE_MAX
        && text.split("||").all(|part| {
            let mut words = part.split_whitespace().peekable();
            words.peek().is_some() && words.all(|word| word == "-" || is_comparator(word))
        })
}

/// `^1.2.3`, `>=1`, `1.x`, `v2.0.0-beta.1+5`; an operator may stand alone before its version.
fn is_comparator(word: &str) -> bool {
    let rest = word.trim_start_matches(['^', '~', '<', '>', '=']);
    let operator = &word[..word.len() - rest.len()];
    if !["", "^", "~", "<", ">", "=", "<=", ">="].contains(&operator) {
        return false;
    }
    if rest.is_empty() {
        return !operator.is_empty();
    }
    let rest = rest.strip_prefix('v').unwrap_or(rest);
    let (numbers, more) = rest.split_at(rest.find(['-', '+']).unwrap_or(rest.len()));
    let numbers: Vec<&str> = numbers.split('.').collect();
    let is_part = |part: &&str| {
        ["x", "X", "*"].contains(part)
            || (!part.is_empty() && part.len() <= 16 && part.bytes().all(|b| b.is_ascii_digit()))
    };
    numbers.len() <= 3
        && numbers.iter().all(is_part)
        && (more.is_empty()
            || (more.len() > 1 && more.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b))))
}

fn read_secrets(list: &[Value]) -> Result<Vec<SentSecret>, Refused> {
    if list.len() > SECRETS_MAX {
        return Err(Refused::property(&format!("At most {SECRETS_MAX} secrets are allowed"), "secrets"));
    }
    let mut seen = BTreeSet::new();
    let mut sent = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let on = |name: &str| format!("secrets[{index}].{name}");
        let name = texts(value, "name").unwrap_or_default();
        if name.is_empty() {
            return Err(Refused::property("Missing required property: name", &format!("secrets[{index}]")));
        }
        if !seen.insert(name.clone()) {
            return Err(Refused::property("Duplicate secret", &on("name")));
        }
        let value = texts(value, "value");
        if value.as_ref().is_some_and(|value| value.len() > SECRET_BYTES_MAX) {
            let what = format!("The value is longer than {SECRET_BYTES_MAX} bytes");
            return Err(Refused::property(&what, &on("value")));
        }
        sent.push(SentSecret { name, value: value.map(Secret::new) });
    }
    Ok(sent)
}

fn read_module(value: &Value) -> SentModule {
    SentModule {
        id: texts(value, "module_id"),
        name: texts(value, "module_name"),
        version_id: texts(value, "module_version_id"),
        version_number: value.get("module_version_number").and_then(Value::as_i64),
    }
}

impl Sent {
    /// Whether a version would be another one.
    pub(super) fn changes_the_draft(&self) -> bool {
        self.triggers.is_some()
            || self.code.is_some()
            || self.dependencies.is_some()
            || self.runtime.is_some()
            || self.secrets.is_some()
            || self.modules.is_some()
    }

    /// What is sent over what is there.
    pub(super) async fn apply(
        &self,
        tx: &mut Tx,
        tenant: TenantId,
        had: Option<&ActionDoc>,
    ) -> Outcome<ActionDoc> {
        let mut doc = had.cloned().unwrap_or_else(|| ActionDoc {
            supported_triggers: Vec::new(),
            code: Arc::from(""),
            dependencies: Vec::new(),
            runtime: DEFAULT_RUNTIME.to_owned(),
            modules: Vec::new(),
        });
        if let Some(triggers) = &self.triggers {
            doc.supported_triggers.clone_from(triggers);
        }
        if let Some(code) = &self.code {
            doc.code = Arc::clone(code);
        }
        if let Some(dependencies) = &self.dependencies {
            doc.dependencies.clone_from(dependencies);
        }
        if let Some(runtime) = &self.runtime {
            doc.runtime.clone_from(runtime);
        }
        if let Some(modules) = &self.modules {
            doc.modules = Vec::with_capacity(modules.len());
            for (index, module) in modules.iter().enumerate() {
                let found = granted!(module.find(tx, tenant, index).await?);
                if doc.modules.iter().any(|other| other.module_id == found.module_id) {
                    let on = format!("modules[{index}]");
                    return Ok(Err(Refused::property("Duplicate module", &on)));
                }
                doc.modules.push(found);
            }
        }
        Ok(Ok(doc))
    }

    /// The secrets that a draft has after a write: the list that was sent, each with the value that was sent or the one it
    /// had.
    pub(super) fn secrets(
        &self,
        config: &TenantConfig,
        ctx: &Ctx,
        had: &[SealedSecret],
    ) -> Result<Vec<SealedSecret>, Refused> {
        let Some(sent) = &self.secrets else { return Ok(had.to_vec()) };
        let kept = |name: &str| had.iter().find(|old| old.name == name).cloned();
        sent.iter()
            .enumerate()
            .map(|(index, secret)| match &secret.value {
                Some(value) => Ok(secrets::seal(config, ctx, &secret.name, value)),
                None => kept(&secret.name).ok_or_else(|| {
                    let on = format!("secrets[{index}]");
                    Refused::property("Missing required property: value", &on)
                }),
            })
            .collect()
    }
}

impl SentModule {
    async fn find(&self, tx: &mut Tx, tenant: TenantId, index: usize) -> Outcome<ModuleRef> {
        let refuse = |what: &str| Ok(Err(Refused::property(what, &format!("modules[{index}]"))));
        let module = match (&self.id, &self.name) {
            (Some(id), _) => action_modules::find(tx, tenant, id).await?,
            (None, Some(name)) => action_modules::find_by_name(tx, tenant, name).await?,
            (None, None) => return refuse("Missing required property: module_id"),
        };
        let Some(module) = module else { return refuse("There is no such module") };
        let latest = (self.version_number.is_none()).then(|| module.latest_version.clone()).flatten();
        let version = match (self.version_id.clone().or(latest), self.version_number) {
            (Some(id), _) => action_modules::find_version(tx, tenant, &module.module_id, &id).await?,
            (None, Some(number)) => {
                action_modules::find_version_by_number(tx, tenant, &module.module_id, number).await?
            }
            (None, None) => return refuse("The module has no version: publish it first"),
        };
        let Some(version) = version else { return refuse("The module has no such version") };
        Ok(Ok(ModuleRef {
            module_id: module.module_id,
            module_name: module.name,
            module_version_id: version.version_id,
            module_version_number: version.number,
        }))
    }
}

/// Names and times of secrets, as the API shows them.
pub(super) fn shown_secrets(
    table: &'static str,
    id: &str,
    stored: &Secret<String>,
) -> Result<Vec<Value>, Failure> {
    let secrets = secrets::read(table, id, stored)?;
    Ok(secrets
        .into_iter()
        .map(|secret| serde_json::json!({ "name": secret.name, "updated_at": secret.updated_at }))
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_packages_are_names() {
        for name in ["auth0", "@slack/webhook", "lodash.merge", "JSONStream", "a"] {
            assert!(is_package_name(name), "{name}");
        }
        let long = "a".repeat(215);
        for name in ["", "@slack", "@/a", "../etc", "a/b", ".bin", "_a", "a b", "https://a", "@a/b/c", &long]
        {
            assert!(!is_package_name(name), "{name}");
        }
    }

    #[test]
    fn versions_are_ranges() {
        for range in [
            "latest",
            "7.1.0",
            "v1.0.0",
            "^7.0.0",
            "~1.2",
            "1.x",
            "*",
            ">=1.2.3 <2",
            "1 - 2",
            "1 || 2.0.0-beta.1+build",
            ">= 1.2.3",
            "=1.0.0",
        ] {
            assert!(is_range(range), "{range}");
        }
        for range in [
            "",
            " ",
            "next",
            "file:../a",
            "git+https://a.example/b.git",
            "npm:other@1",
            "user/repo",
            "1.2.3.4",
            "||",
            "1..2",
            "^^1",
            "1-",
            "workspace:*",
            "https://a.example/a.tgz",
        ] {
            assert!(!is_range(range), "{range}");
        }
    }

    #[test]
    fn dependencies_are_named_once_and_come_from_the_configured_registry() {
        let one = json!({"name": "auth0", "version": "7.1.0"});
        assert_eq!(read_dependencies(std::slice::from_ref(&one)).expect("one").len(), 1);
        assert!(read_dependencies(&[one.clone(), one.clone()]).is_err());
        let elsewhere = json!({"name": "a", "version": "1", "registry_url": "https://registry.example/"});
        assert!(read_dependencies(&[elsewhere]).is_err());
        assert_eq!(read_dependencies(&[json!({"name": "a"})]).expect("one")[0].version, "latest");
        let many: Vec<Value> = (0..11).map(|n| json!({"name": format!("a{n}")})).collect();
        assert!(read_dependencies(&many).is_err() && read_dependencies(&many[1..]).is_ok());
    }
}
