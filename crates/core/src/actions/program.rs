//! What runs: the deployed versions of Actions, at each trigger in order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use curfew_model::config::{ActionTrigger, Dependency};
use curfew_model::{Failure, Secret};
use curfew_store::actions::{BoundRow, BoundVersion};

use super::secrets;
use crate::TenantConfig;

/// A version of an Action, or a draft that is tried out; it never changes.
#[derive(Debug)]
pub struct Program {
    /// Unique for ever: the version's id, or the Action's with the number of its draft.
    pub id: String,
    /// Which Action.
    pub action_id: String,
    /// What it is called.
    pub action_name: String,
    /// The code, CommonJS.
    pub code: Arc<str>,
    /// `node22`.
    pub runtime: String,
    /// The packages it requires.
    pub dependencies: Vec<Dependency>,
    /// The digest of what they were resolved to; [`curfew_store::action_packages::find`] has it.
    pub packages: Option<String>,
    /// The modules it requires: name and code.
    pub modules: Vec<(String, Arc<str>)>,
    table: &'static str,
    sealed: Secret<String>,
    opened: OnceLock<Arc<BTreeMap<String, Secret<String>>>>,
}

impl Program {
    /// A version that is deployed.
    fn of_version(row: &BoundRow, made_of: &BoundVersion) -> Self {
        let BoundVersion { version, modules } = made_of;
        Self {
            id: version.version_id.clone(),
            action_id: version.action_id.clone(),
            action_name: row.name.clone(),
            code: Arc::clone(&version.doc.code),
            runtime: version.doc.runtime.clone(),
            dependencies: version.doc.dependencies.clone(),
            packages: version.packages.clone(),
            modules: modules.clone(),
            table: "action_versions",
            sealed: row.secrets.clone(),
            opened: OnceLock::new(),
        }
    }

    /// The same version as it is now: what it is called may change, and how its secrets are sealed, and nothing else.
    fn as_now(this: &Arc<Self>, row: &BoundRow) -> Arc<Self> {
        if this.action_name == row.name && this.sealed.expose() == row.secrets.expose() {
            return Arc::clone(this);
        }
        Arc::new(Self {
            id: this.id.clone(),
            action_id: this.action_id.clone(),
            action_name: row.name.clone(),
            code: Arc::clone(&this.code),
            runtime: this.runtime.clone(),
            dependencies: this.dependencies.clone(),
            packages: this.packages.clone(),
            modules: this.modules.clone(),
            table: this.table,
            sealed: row.secrets.clone(),
            opened: OnceLock::new(),
        })
    }

    /// A draft that is tried out.
    pub(crate) fn of_draft(row: &curfew_store::actions::ActionRow, modules: Vec<(String, Arc<str>)>) -> Self {
        Self {
            id: format!("{}:{}", row.action_id, row.revision),
            action_id: row.action_id.clone(),
            action_name: row.name.clone(),
            code: Arc::clone(&row.doc.code),
            runtime: row.doc.runtime.clone(),
            dependencies: row.doc.dependencies.clone(),
            packages: row.packages.clone(),
            modules,
            table: "actions",
            sealed: row.secrets.clone(),
            opened: OnceLock::new(),
        }
    }

    /// `event.secrets`, opened when they are first asked for. `config` is the configuration that the program came with.
    pub fn secrets(&self, config: &TenantConfig) -> Result<Arc<BTreeMap<String, Secret<String>>>, Failure> {
        if let Some(opened) = self.opened.get() {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(secrets::open(config, self.table, &self.id, &self.sealed)?);
        Ok(Arc::clone(self.opened.get_or_init(|| opened)))
    }
}

/// An Action that is bound to a trigger.
#[derive(Debug, Clone)]
pub struct BoundAction {
    /// The binding's id.
    pub binding_id: String,
    /// What it is called there.
    pub display_name: String,
    /// What runs.
    pub program: Arc<Program>,
}

/// What runs at each trigger.
#[derive(Debug, Default)]
pub struct Bound(HashMap<ActionTrigger, Vec<BoundAction>>);

impl Bound {
    /// As the rows have it, which are in order. What is not in the rows is `before`; what has not changed stays the very
    /// same [`Program`], so that what others keep by it (opened secrets, packages in memory) outlives other changes.
    pub(crate) fn new(rows: &[BoundRow], before: Option<&Self>) -> Result<Self, Failure> {
        let known: HashMap<&str, &Arc<Program>> =
            before.into_iter().flat_map(Self::programs).map(|program| (&*program.id, program)).collect();
        let mut bound: HashMap<ActionTrigger, Vec<BoundAction>> = HashMap::new();
        for row in rows {
            let program = match (known.get(&*row.version_id), &row.made_of) {
                (Some(program), _) => Program::as_now(program, row),
                (None, Some(made_of)) => Arc::new(Program::of_version(row, made_of)),
                (None, None) => {
                    let id = row.version_id.clone();
                    return Err(Failure::Inconsistent { table: "action_versions", column: "doc", id });
                }
            };
            bound.entry(row.trigger).or_default().push(BoundAction {
                binding_id: row.binding_id.clone(),
                display_name: row.display_name.clone(),
                program,
            });
        }
        Ok(Self(bound))
    }

    fn programs(&self) -> impl Iterator<Item = &Arc<Program>> {
        self.0.values().flatten().map(|action| &action.program)
    }

    /// The versions that are here, which need not be read again.
    pub(crate) fn known(&self) -> HashSet<String> {
        self.programs().map(|program| program.id.clone()).collect()
    }

    /// What runs at a trigger, in order.
    pub fn at(&self, trigger: ActionTrigger) -> &[BoundAction] {
        self.0.get(&trigger).map(Vec::as_slice).unwrap_or_default()
    }
}
