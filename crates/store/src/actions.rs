//! Actions: drafts, the versions that were deployed, and where they are bound.
//!
//! The caller of every write that is not a build's moved the tenant's version with
//! [`tenants::touch`](crate::tenants::touch) first, so that two of them come one after the other. Builds are taken by a
//! short lease: the update that takes one moves `build_at` behind the lease, so that a node that dies with it gives it back by
//! itself.

use curfew_model::config::{ACTIONS_MAX, ActionDoc, ActionTrigger, ModuleDoc, VERSIONS_MAX, read_doc};
use curfew_model::{Ctx, Failure, Secret, TenantId, Timestamp};

use crate::{Row, Tx, params, statements};

/// What an Action's row is made of, in the order in which [`action`] reads it.
macro_rules! columns {
    () => {
        "a.action_id, a.name, a.doc, a.secrets, a.revision, a.status, a.attempts, a.errors, a.packages, a.deploy, a.built_at, \
        a.deployed_version, a.deployed_revision, a.last_number, a.created_at, a.updated_at"
    };
}

/// The same of a version.
macro_rules! version_columns {
    () => {
        "v.version_id, v.action_id, v.number, v.doc, v.secrets, v.packages, v.built_at, v.created_at"
    };
}

statements! {
    COUNT = "select count(*) from actions where tenant = $1";
    INSERT = "insert into actions (tenant, action_id, name, doc, secrets, revision, status, build_at, attempts, deploy, \
        last_number, created_at, updated_at) values ($1, $2, $3, $4, $5, 1, 'pending', $6, 0, $7, 0, $6, $6) \
        on conflict do nothing";
    FIND = ("select ", columns!(), " from actions a where a.tenant = $1 and a.action_id = $2");
    FIND_BY_NAME = ("select ", columns!(), " from actions a where a.tenant = $1 and a.name = $2");
    LIST = ("select ", columns!(), " from actions a where a.tenant = $1 and (a.created_at > $2 or (a.created_at = $2 \
        and a.action_id > $3)) order by a.created_at, a.action_id limit $4");
    RENAME = "update actions set name = $3, updated_at = $4 where tenant = $1 and action_id = $2 \
        and not exists (select 1 from actions o where o.tenant = $1 and o.name = $3 and o.action_id <> $2)";
    /// Another draft, which is to be built.
    REDRAFT = "update actions set doc = $3, secrets = $4, revision = revision + 1, status = 'pending', build_at = $5, attempts = 0, \
        errors = null, packages = null, deploy = 0, built_at = null, updated_at = $5 where tenant = $1 and action_id = $2";
    /// As a version has it, built.
    RESTORE = "update actions set doc = $3, secrets = $4, revision = revision + 1, deployed_revision = revision + 1, \
        status = 'built', build_at = null, attempts = 0, errors = null, packages = $5, deploy = 0, built_at = $6, updated_at = $7 \
        where tenant = $1 and action_id = $2";
    DELETE = "delete from actions where tenant = $1 and action_id = $2";
    DELETE_VERSIONS = "delete from action_versions where tenant = $1 and action_id = $2";
    UNBIND = "delete from action_bindings where tenant = $1 and action_id = $2";
    /// Positions have no gap after one has gone.
    TRIGGERS_OF = "select trigger_id from action_bindings where tenant = $1 and action_id = $2 order by trigger_id";

    /// Builds that are due.
    DUE = "select action_id from actions where tenant = $1 and build_at <= $2 order by build_at, action_id limit $3";
    /// Takes one until `$4`.
    TAKE = "update actions set status = 'building', build_at = $4, attempts = attempts + 1 \
        where tenant = $1 and action_id = $2 and build_at <= $3";
    /// How far it is, unless the draft is another one meanwhile or somebody else has taken it.
    PACKAGED = "update actions set status = 'packaged', packages = $5 \
        where tenant = $1 and action_id = $2 and revision = $3 and attempts = $4 and status = 'building'";
    BUILT = "update actions set status = 'built', build_at = null, errors = null, built_at = $5, deploy = 0 \
        where tenant = $1 and action_id = $2 and revision = $3 and attempts = $4 and status = 'packaged'";
    FAILED = "update actions set status = 'failed', build_at = null, errors = $5, packages = null, deploy = 0 \
        where tenant = $1 and action_id = $2 and revision = $3 and attempts = $4 and build_at is not null";
    AGAIN = "update actions set status = 'retrying', build_at = $5, errors = $6 \
        where tenant = $1 and action_id = $2 and revision = $3 and attempts = $4 and build_at is not null";

    INSERT_VERSION = "insert into action_versions (tenant, version_id, action_id, number, doc, secrets, packages, built_at, \
        created_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    /// It is the one that runs; `$5` is null when it is not of the present draft.
    SET_DEPLOYED = "update actions set deployed_version = $3, last_number = $4, deployed_revision = $5 \
        where tenant = $1 and action_id = $2";
    FIND_VERSION = ("select ", version_columns!(), " from action_versions v \
        where v.tenant = $1 and v.action_id = $2 and v.version_id = $3");
    /// The newest first.
    LIST_VERSIONS = ("select ", version_columns!(), " from action_versions v where v.tenant = $1 and v.action_id = $2 \
        order by v.number desc limit $3 offset $4");
    COUNT_VERSIONS = "select count(*) from action_versions where tenant = $1 and action_id = $2";
    /// All but the newest.
    FORGET_VERSIONS = "delete from action_versions where tenant = $1 and action_id = $2 and number <= $3";

    BINDINGS = ("select b.binding_id, b.display_name, b.created_at, b.updated_at, ", columns!(), " from action_bindings b \
        join actions a on a.tenant = b.tenant and a.action_id = b.action_id \
        where b.tenant = $1 and b.trigger_id = $2 order by b.position");
    DELETE_BINDINGS = "delete from action_bindings where tenant = $1 and trigger_id = $2";
    INSERT_BINDING = "insert into action_bindings (tenant, trigger_id, position, binding_id, action_id, display_name, created_at, \
        updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8)";
    IS_BOUND = "select count(*) from action_bindings where tenant = $1 and action_id = $2";
    /// What runs where, without what never changes: code and all else that a version is made of.
    BOUND_VERSIONS = "select b.trigger_id, b.binding_id, b.display_name, a.name, v.version_id, v.secrets from action_bindings b \
        join actions a on a.tenant = b.tenant and a.action_id = b.action_id \
        join action_versions v on v.tenant = a.tenant and v.version_id = a.deployed_version \
        where b.tenant = $1 order by b.trigger_id, b.position";
    /// What runs where, for the cached configuration.
    BOUND = ("select b.trigger_id, b.binding_id, b.display_name, a.name, ", version_columns!(), " from action_bindings b \
        join actions a on a.tenant = b.tenant and a.action_id = b.action_id \
        join action_versions v on v.tenant = a.tenant and v.version_id = a.deployed_version \
        where b.tenant = $1 order by b.trigger_id, b.position");
    /// The modules that the Actions which run require.
    BOUND_MODULES = "select m.version_id, m.doc from action_module_versions m where m.tenant = $1 and exists (select 1 \
        from action_bindings b join actions a on a.tenant = b.tenant and a.action_id = b.action_id \
        join action_versions v on v.tenant = a.tenant and v.version_id = a.deployed_version \
        where b.tenant = $1 and v.doc like '%' || m.version_id || '%')";

    SECRETS = "select action_id, secrets from actions where tenant = $1 and action_id > $2 order by action_id limit $3";
    VERSION_SECRETS = "select version_id, secrets from action_versions where tenant = $1 and version_id > $2 \
        order by version_id limit $3";
    SET_SECRETS = "update actions set secrets = $3 where tenant = $1 and action_id = $2";
    SET_VERSION_SECRETS = "update action_versions set secrets = $3 where tenant = $1 and version_id = $2";
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildStatus {
    /// It is to be built.
    Pending,
    /// Somebody is at it.
    Building,
    /// What it stands on is kept.
    Packaged,
    /// It can be deployed.
    Built,
    /// It is tried again.
    Retrying,
    /// It cannot be built.
    Failed,
}

impl BuildStatus {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Pending, Self::Building, Self::Packaged, Self::Built, Self::Retrying, Self::Failed];

    /// As it is stored, and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Building => "building",
            Self::Packaged => "packaged",
            Self::Built => "built",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
        }
    }

    /// Reads a stored one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }
}

/// An Action as it is edited.
#[derive(Debug, Clone)]
pub struct ActionRow {
    /// A UUID.
    pub action_id: String,
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub doc: ActionDoc,
    /// Its secrets, sealed one by one, JSON.
    pub secrets: Secret<String>,
    /// Which draft this is.
    pub revision: i64,
    /// How far that is built.
    pub status: BuildStatus,
    /// How often it was tried.
    pub attempts: i64,
    /// Why it failed, JSON.
    pub errors: Option<String>,
    /// What it stands on.
    pub packages: Option<String>,
    /// Whether it is deployed as soon as it is built.
    pub deploy: bool,
    /// When it was built.
    pub built_at: Option<Timestamp>,
    /// What runs.
    pub deployed_version: Option<String>,
    /// Which draft that was made of; `None` when it was made of another version.
    pub deployed_revision: Option<i64>,
    /// The number of the newest version.
    pub last_number: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

fn action(row: &Row, from: usize) -> Result<ActionRow, Failure> {
    let (action_id, doc): (String, String) = (row.get(from)?, row.get(from + 2)?);
    let status: String = row.get(from + 5)?;
    Ok(ActionRow {
        name: row.get(from + 1)?,
        doc: read_doc("actions", &action_id, &doc)?,
        secrets: row.get(from + 3)?,
        revision: row.get(from + 4)?,
        status: BuildStatus::parse(&status).ok_or_else(|| Failure::Inconsistent {
            table: "actions",
            column: "status",
            id: action_id.clone(),
        })?,
        attempts: row.get(from + 6)?,
        errors: row.get(from + 7)?,
        packages: row.get(from + 8)?,
        deploy: row.get(from + 9)?,
        built_at: row.get(from + 10)?,
        deployed_version: row.get(from + 11)?,
        deployed_revision: row.get(from + 12)?,
        last_number: row.get(from + 13)?,
        created_at: row.get(from + 14)?,
        updated_at: row.get(from + 15)?,
        action_id,
    })
}

/// An Action as it was deployed.
#[derive(Debug, Clone)]
pub struct VersionRow {
    /// A UUID.
    pub version_id: String,
    /// Which Action's.
    pub action_id: String,
    /// From 1.
    pub number: i64,
    /// What it is made of.
    pub doc: ActionDoc,
    /// Its secrets, sealed one by one, JSON.
    pub secrets: Secret<String>,
    /// What it stands on.
    pub packages: Option<String>,
    /// When it was built.
    pub built_at: Timestamp,
    /// When it was deployed.
    pub created_at: Timestamp,
}

fn version(row: &Row, from: usize) -> Result<VersionRow, Failure> {
    let (version_id, doc): (String, String) = (row.get(from)?, row.get(from + 3)?);
    Ok(VersionRow {
        action_id: row.get(from + 1)?,
        number: row.get(from + 2)?,
        doc: read_doc("action_versions", &version_id, &doc)?,
        secrets: row.get(from + 4)?,
        packages: row.get(from + 5)?,
        built_at: row.get(from + 6)?,
        created_at: row.get(from + 7)?,
        version_id,
    })
}

/// What is made.
#[derive(Debug, Clone)]
pub struct NewAction {
    /// A UUID.
    pub action_id: String,
    /// Its name.
    pub name: String,
    /// What it is made of, JSON.
    pub doc: String,
    /// Its secrets, sealed one by one, JSON.
    pub secrets: Secret<String>,
    /// Whether it is deployed as soon as it is built.
    pub deploy: bool,
}

/// What came of an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there.
    Done,
    /// The tenant has as many as it may have.
    Full,
    /// There is one of that name.
    NameTaken,
}

/// Makes an Action, which is to be built.
pub async fn insert(tx: &mut Tx, ctx: &Ctx, new: &NewAction) -> Result<Inserted, Failure> {
    let count: i64 = tx.one(&COUNT, params![ctx.tenant]).await?.get(0)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= ACTIONS_MAX {
        return Ok(Inserted::Full);
    }
    let parameters =
        params![ctx.tenant, &new.action_id, &new.name, &new.doc, &new.secrets, ctx.now, new.deploy];
    Ok(if tx.run(&INSERT, parameters).await? == 1 { Inserted::Done } else { Inserted::NameTaken })
}

/// The Action with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ActionRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(|row| action(row, 0)).transpose()
}

/// The Action of this name.
pub async fn find_by_name(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<Option<ActionRow>, Failure> {
    tx.maybe(&FIND_BY_NAME, params![tenant, name]).await?.as_ref().map(|row| action(row, 0)).transpose()
}

/// Actions in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<ActionRow>, Failure> {
    let rows = tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?;
    rows.iter().map(|row| action(row, 0)).collect()
}

/// Gives an Action another name; `false` when that is taken.
pub async fn rename(tx: &mut Tx, ctx: &Ctx, id: &str, name: &str) -> Result<bool, Failure> {
    Ok(tx.run(&RENAME, params![ctx.tenant, id, name, ctx.now]).await? == 1)
}

/// Replaces what a draft is made of, and has it built.
pub async fn redraft(
    tx: &mut Tx,
    ctx: &Ctx,
    id: &str,
    doc: &str,
    secrets: &Secret<String>,
) -> Result<(), Failure> {
    tx.run(&REDRAFT, params![ctx.tenant, id, doc, secrets, ctx.now]).await.map(drop)
}

/// Makes the draft what a version is; that version is to be deployed.
pub async fn restore(tx: &mut Tx, ctx: &Ctx, doc: &str, version: &VersionRow) -> Result<(), Failure> {
    let parameters = params![
        ctx.tenant,
        &version.action_id,
        doc,
        &version.secrets,
        &version.packages,
        version.built_at,
        ctx.now
    ];
    tx.run(&RESTORE, parameters).await.map(drop)
}

/// Whether an Action is bound.
pub async fn is_bound(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    Ok(tx.one(&IS_BOUND, params![tenant, id]).await?.get::<i64>(0)? > 0)
}

/// Deletes an Action with its versions and bindings; `false` when there was none.
pub async fn delete(tx: &mut Tx, ctx: &Ctx, id: &str) -> Result<bool, Failure> {
    let mut triggers = Vec::new();
    for row in tx.all(&TRIGGERS_OF, params![ctx.tenant, id]).await? {
        triggers.push(row.get::<String>(0)?);
    }
    tx.run(&UNBIND, params![ctx.tenant, id]).await?;
    for trigger in triggers.iter().filter_map(|id| ActionTrigger::parse(id)) {
        let left = bindings(tx, ctx.tenant, trigger).await?;
        let left: Vec<NewBinding> = left.into_iter().map(NewBinding::from).collect();
        bind(tx, ctx, trigger, &left).await?;
    }
    tx.run(&DELETE_VERSIONS, params![ctx.tenant, id]).await?;
    Ok(tx.run(&DELETE, params![ctx.tenant, id]).await? == 1)
}

/// Actions whose build is due.
pub async fn due(tx: &mut Tx, tenant: TenantId, now: Timestamp, limit: i64) -> Result<Vec<String>, Failure> {
    tx.all(&DUE, params![tenant, now, limit]).await?.iter().map(|row| row.get(0)).collect()
}

/// Takes a build that is due until `until`; `None` when somebody else has taken it.
pub async fn take(
    tx: &mut Tx,
    tenant: TenantId,
    id: &str,
    (now, until): (Timestamp, Timestamp),
) -> Result<Option<ActionRow>, Failure> {
    if tx.run(&TAKE, params![tenant, id, now, until]).await? == 0 {
        return Ok(None);
    }
    find(tx, tenant, id).await
}

/// What a build stands on is kept; `false` when this build is no longer the one.
pub async fn packaged(
    tx: &mut Tx,
    tenant: TenantId,
    taken: &ActionRow,
    packages: Option<&str>,
) -> Result<bool, Failure> {
    let parameters = params![tenant, &taken.action_id, taken.revision, taken.attempts, packages];
    Ok(tx.run(&PACKAGED, parameters).await? == 1)
}

/// A build is done; `false` when it is no longer the one.
pub async fn built(tx: &mut Tx, ctx: &Ctx, taken: &ActionRow) -> Result<bool, Failure> {
    let parameters = params![ctx.tenant, &taken.action_id, taken.revision, taken.attempts, ctx.now];
    Ok(tx.run(&BUILT, parameters).await? == 1)
}

/// A build has failed for good; `false` when it is no longer the one.
pub async fn failed(tx: &mut Tx, tenant: TenantId, taken: &ActionRow, errors: &str) -> Result<bool, Failure> {
    let parameters = params![tenant, &taken.action_id, taken.revision, taken.attempts, errors];
    Ok(tx.run(&FAILED, parameters).await? == 1)
}

/// A build is tried again at `at`; `false` when it is no longer the one.
pub async fn again(
    tx: &mut Tx,
    tenant: TenantId,
    taken: &ActionRow,
    at: Timestamp,
    errors: &str,
) -> Result<bool, Failure> {
    let parameters = params![tenant, &taken.action_id, taken.revision, taken.attempts, at, errors];
    Ok(tx.run(&AGAIN, parameters).await? == 1)
}

/// Writes a version that runs from now on, and forgets those that are too many. `revision` is the draft it was made of, if
/// any.
pub async fn deploy(
    tx: &mut Tx,
    tenant: TenantId,
    version: &VersionRow,
    doc: &str,
    revision: Option<i64>,
) -> Result<(), Failure> {
    let parameters = params![
        tenant,
        &version.version_id,
        &version.action_id,
        version.number,
        doc,
        &version.secrets,
        &version.packages,
        version.built_at,
        version.created_at
    ];
    tx.run(&INSERT_VERSION, parameters).await?;
    let (action, number) = (&version.action_id, version.number);
    tx.run(&SET_DEPLOYED, params![tenant, action, &version.version_id, number, revision]).await?;
    let kept = i64::try_from(VERSIONS_MAX).unwrap_or(i64::MAX);
    tx.run(&FORGET_VERSIONS, params![tenant, action, number.saturating_sub(kept)]).await.map(drop)
}

/// A version of an Action.
pub async fn find_version(
    tx: &mut Tx,
    tenant: TenantId,
    action: &str,
    id: &str,
) -> Result<Option<VersionRow>, Failure> {
    let found = tx.maybe(&FIND_VERSION, params![tenant, action, id]).await?;
    found.as_ref().map(|row| version(row, 0)).transpose()
}

/// Versions of an Action, the newest first.
pub async fn versions(
    tx: &mut Tx,
    tenant: TenantId,
    action: &str,
    (limit, offset): (i64, i64),
) -> Result<Vec<VersionRow>, Failure> {
    let rows = tx.all(&LIST_VERSIONS, params![tenant, action, limit, offset]).await?;
    rows.iter().map(|row| version(row, 0)).collect()
}

/// How many versions of an Action there are.
pub async fn count_versions(tx: &mut Tx, tenant: TenantId, action: &str) -> Result<i64, Failure> {
    tx.one(&COUNT_VERSIONS, params![tenant, action]).await?.get(0)
}

/// Where an Action is bound, with the Action.
#[derive(Debug, Clone)]
pub struct BindingRow {
    /// A UUID.
    pub binding_id: String,
    /// What it is called there.
    pub display_name: String,
    /// When it was bound.
    pub created_at: Timestamp,
    /// When that was changed.
    pub updated_at: Timestamp,
    /// The Action.
    pub action: ActionRow,
}

/// Where an Action is to be bound.
#[derive(Debug, Clone)]
pub struct NewBinding {
    /// A UUID.
    pub binding_id: String,
    /// Which Action.
    pub action_id: String,
    /// What it is called there.
    pub display_name: String,
    /// When it was bound.
    pub created_at: Timestamp,
    /// When that was changed.
    pub updated_at: Timestamp,
}

impl From<BindingRow> for NewBinding {
    fn from(row: BindingRow) -> Self {
        let BindingRow { binding_id, display_name, created_at, updated_at, action } = row;
        Self { binding_id, action_id: action.action_id, display_name, created_at, updated_at }
    }
}

/// What is bound to a trigger, in order.
pub async fn bindings(
    tx: &mut Tx,
    tenant: TenantId,
    trigger: ActionTrigger,
) -> Result<Vec<BindingRow>, Failure> {
    let rows = tx.all(&BINDINGS, params![tenant, trigger.as_str()]).await?;
    rows.iter()
        .map(|row| {
            Ok(BindingRow {
                binding_id: row.get(0)?,
                display_name: row.get(1)?,
                created_at: row.get(2)?,
                updated_at: row.get(3)?,
                action: action(row, 4)?,
            })
        })
        .collect()
}

/// Replaces what is bound to a trigger.
pub async fn bind(
    tx: &mut Tx,
    ctx: &Ctx,
    trigger: ActionTrigger,
    bindings: &[NewBinding],
) -> Result<(), Failure> {
    tx.run(&DELETE_BINDINGS, params![ctx.tenant, trigger.as_str()]).await?;
    for (position, new) in (0_i64..).zip(bindings) {
        let parameters = params![
            ctx.tenant,
            trigger.as_str(),
            position,
            &new.binding_id,
            &new.action_id,
            &new.display_name,
            new.created_at,
            new.updated_at
        ];
        tx.run(&INSERT_BINDING, parameters).await?;
    }
    Ok(())
}

/// An Action that runs at a trigger.
#[derive(Debug, Clone)]
pub struct BoundRow {
    /// Where.
    pub trigger: ActionTrigger,
    /// The binding's id.
    pub binding_id: String,
    /// What it is called there.
    pub display_name: String,
    /// What the Action is called.
    pub name: String,
    /// The version that is deployed.
    pub version_id: String,
    /// Its secrets, as they are sealed now.
    pub secrets: Secret<String>,
    /// What it is made of; `None` where that is known already, since it never changes.
    pub made_of: Option<BoundVersion>,
}

/// What a version is made of that runs.
#[derive(Debug, Clone)]
pub struct BoundVersion {
    /// The version.
    pub version: VersionRow,
    /// The modules it requires: name and code.
    pub modules: Vec<(String, std::sync::Arc<str>)>,
}

/// What runs at each trigger, in order. What versions are made of is not read where all of them are `known`.
pub async fn bound(
    tx: &mut Tx,
    tenant: TenantId,
    known: &std::collections::HashSet<String>,
) -> Result<Vec<BoundRow>, Failure> {
    let rows = tx.all(&BOUND_VERSIONS, params![tenant]).await?;
    let rows: Vec<BoundRow> =
        rows.iter().map(|row| bound_row(row, row.get(5)?, None)).collect::<Result<_, _>>()?;
    if rows.iter().all(|row| known.contains(&row.version_id)) {
        return Ok(rows);
    }
    let mut modules = std::collections::HashMap::new();
    for row in tx.all(&BOUND_MODULES, params![tenant]).await? {
        let (id, doc): (String, String) = (row.get(0)?, row.get(1)?);
        let doc: ModuleDoc = read_doc("action_module_versions", &id, &doc)?;
        modules.insert(id, doc.code);
    }
    let rows = tx.all(&BOUND, params![tenant]).await?;
    rows.iter()
        .map(|row| {
            let version = version(row, 4)?;
            let required = version.doc.modules.iter().map(|required| {
                let code = modules.get(&required.module_version_id).cloned().ok_or_else(|| {
                    let id = required.module_version_id.clone();
                    Failure::Inconsistent { table: "action_versions", column: "doc", id }
                })?;
                Ok((required.module_name.clone(), code))
            });
            let modules = required.collect::<Result<_, Failure>>()?;
            let secrets = version.secrets.clone();
            bound_row(row, secrets, Some(BoundVersion { version, modules }))
        })
        .collect()
}

/// The first five columns are those of both statements.
fn bound_row(row: &Row, secrets: Secret<String>, made_of: Option<BoundVersion>) -> Result<BoundRow, Failure> {
    let trigger: String = row.get(0)?;
    let inconsistent =
        || Failure::Inconsistent { table: "action_bindings", column: "trigger_id", id: trigger.clone() };
    Ok(BoundRow {
        trigger: ActionTrigger::parse(&trigger).ok_or_else(inconsistent)?,
        binding_id: row.get(1)?,
        display_name: row.get(2)?,
        name: row.get(3)?,
        version_id: row.get(4)?,
        secrets,
        made_of,
    })
}

/// Which of the two tables with sealed secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// Drafts.
    Actions,
    /// Versions.
    Versions,
}

/// Ids and secrets in the order of their ids.
pub async fn secrets(
    tx: &mut Tx,
    tenant: TenantId,
    of: Sealed,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, Secret<String>)>, Failure> {
    let statement = match of {
        Sealed::Actions => &SECRETS,
        Sealed::Versions => &VERSION_SECRETS,
    };
    let rows = tx.all(statement, params![tenant, after, limit]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Replaces how secrets are sealed, not what they are.
pub async fn set_secrets(
    tx: &mut Tx,
    tenant: TenantId,
    of: Sealed,
    id: &str,
    secrets: &Secret<String>,
) -> Result<(), Failure> {
    let statement = match of {
        Sealed::Actions => &SET_SECRETS,
        Sealed::Versions => &SET_VERSION_SECRETS,
    };
    tx.run(statement, params![tenant, id, secrets]).await.map(drop)
}
