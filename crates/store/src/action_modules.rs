//! Modules: code that Actions share, as it is edited and as it was published.
//!
//! The caller of every write moved the tenant's version with [`tenants::touch`](crate::tenants::touch) first.

use curfew_model::config::{MODULES_MAX, ModuleDoc, read_doc};
use curfew_model::{Ctx, Failure, TenantId, Timestamp};

use crate::actions::Inserted;
use crate::{Row, Tx, params, statements};

statements! {
    COUNT = "select count(*) from action_modules where tenant = $1";
    INSERT = "insert into action_modules (tenant, module_id, name, doc, revision, last_number, created_at, updated_at) \
        values ($1, $2, $3, $4, 1, 0, $5, $5) on conflict do nothing";
    FIND = "select module_id, name, doc, revision, latest_version, latest_revision, last_number, created_at, updated_at \
        from action_modules where tenant = $1 and module_id = $2";
    FIND_BY_NAME = "select module_id, name, doc, revision, latest_version, latest_revision, last_number, created_at, updated_at \
        from action_modules where tenant = $1 and name = $2";
    LIST = "select module_id, name, doc, revision, latest_version, latest_revision, last_number, created_at, updated_at \
        from action_modules where tenant = $1 and (created_at > $2 or (created_at = $2 and module_id > $3)) \
        order by created_at, module_id limit $4";
    UPDATE = "update action_modules set doc = $3, revision = revision + 1, updated_at = $4 \
        where tenant = $1 and module_id = $2";
    DELETE = "delete from action_modules where tenant = $1 and module_id = $2";
    DELETE_VERSIONS = "delete from action_module_versions where tenant = $1 and module_id = $2";
    /// Whether a draft or a version of an Action names it in its modules.
    IN_USE = "select (select count(*) from actions a where a.tenant = $1 and a.doc like '%\"module_id\":\"' || $2 || '\"%') \
        + (select count(*) from action_versions v where v.tenant = $1 and v.doc like '%\"module_id\":\"' || $2 || '\"%')";
    INSERT_VERSION = "insert into action_module_versions (tenant, version_id, module_id, number, doc, created_at) \
        values ($1, $2, $3, $4, $5, $6)";
    SET_LATEST = "update action_modules set latest_version = $3, last_number = $4, latest_revision = revision \
        where tenant = $1 and module_id = $2";
    FIND_VERSION = "select version_id, module_id, number, doc, created_at from action_module_versions \
        where tenant = $1 and module_id = $2 and version_id = $3";
    FIND_VERSION_BY_NUMBER = "select version_id, module_id, number, doc, created_at from action_module_versions \
        where tenant = $1 and module_id = $2 and number = $3";
    /// The newest first.
    LIST_VERSIONS = "select version_id, module_id, number, doc, created_at from action_module_versions \
        where tenant = $1 and module_id = $2 order by number desc limit $3 offset $4";
    COUNT_VERSIONS = "select count(*) from action_module_versions where tenant = $1 and module_id = $2";
    DELETE_VERSION = "delete from action_module_versions where tenant = $1 and version_id = $2";
    VERSION_IN_USE = "select (select count(*) from actions a where a.tenant = $1 and a.doc like '%' || $2 || '%') \
        + (select count(*) from action_versions v where v.tenant = $1 and v.doc like '%' || $2 || '%')";
}

/// A module as it is edited.
#[derive(Debug, Clone)]
pub struct ModuleRow {
    /// A UUID.
    pub module_id: String,
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub doc: ModuleDoc,
    /// Which draft this is.
    pub revision: i64,
    /// What was published last.
    pub latest_version: Option<String>,
    /// Which draft that was.
    pub latest_revision: Option<i64>,
    /// Its number.
    pub last_number: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

fn module(row: &Row) -> Result<ModuleRow, Failure> {
    let (module_id, doc): (String, String) = (row.get(0)?, row.get(2)?);
    Ok(ModuleRow {
        name: row.get(1)?,
        doc: read_doc("action_modules", &module_id, &doc)?,
        revision: row.get(3)?,
        latest_version: row.get(4)?,
        latest_revision: row.get(5)?,
        last_number: row.get(6)?,
        created_at: row.get(7)?,
        updated_at: row.get(8)?,
        module_id,
    })
}

/// A module as it was published.
#[derive(Debug, Clone)]
pub struct ModuleVersionRow {
    /// A UUID.
    pub version_id: String,
    /// Which module's.
    pub module_id: String,
    /// From 1.
    pub number: i64,
    /// What it is made of.
    pub doc: ModuleDoc,
    /// When it was published.
    pub created_at: Timestamp,
}

fn version(row: &Row) -> Result<ModuleVersionRow, Failure> {
    let (version_id, doc): (String, String) = (row.get(0)?, row.get(3)?);
    Ok(ModuleVersionRow {
        module_id: row.get(1)?,
        number: row.get(2)?,
        doc: read_doc("action_module_versions", &version_id, &doc)?,
        created_at: row.get(4)?,
        version_id,
    })
}

/// Makes a module.
pub async fn insert(tx: &mut Tx, ctx: &Ctx, id: &str, name: &str, doc: &str) -> Result<Inserted, Failure> {
    let count: i64 = tx.one(&COUNT, params![ctx.tenant]).await?.get(0)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= MODULES_MAX {
        return Ok(Inserted::Full);
    }
    let made = tx.run(&INSERT, params![ctx.tenant, id, name, doc, ctx.now]).await? == 1;
    Ok(if made { Inserted::Done } else { Inserted::NameTaken })
}

/// The module with this id.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<Option<ModuleRow>, Failure> {
    tx.maybe(&FIND, params![tenant, id]).await?.as_ref().map(module).transpose()
}

/// The module of this name.
pub async fn find_by_name(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<Option<ModuleRow>, Failure> {
    tx.maybe(&FIND_BY_NAME, params![tenant, name]).await?.as_ref().map(module).transpose()
}

/// Modules in the order they were made, after a position; at most `limit`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<ModuleRow>, Failure> {
    tx.all(&LIST, params![tenant, after.0, after.1, limit]).await?.iter().map(module).collect()
}

/// Replaces what a draft is made of.
pub async fn update(tx: &mut Tx, ctx: &Ctx, id: &str, doc: &str) -> Result<(), Failure> {
    tx.run(&UPDATE, params![ctx.tenant, id, doc, ctx.now]).await.map(drop)
}

/// Whether an Action, or a version of one, requires the module.
pub async fn is_in_use(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    Ok(tx.one(&IN_USE, params![tenant, id]).await?.get::<i64>(0)? > 0)
}

/// Deletes a module with its versions; `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    tx.run(&DELETE_VERSIONS, params![tenant, id]).await?;
    Ok(tx.run(&DELETE, params![tenant, id]).await? == 1)
}

/// Publishes a draft.
pub async fn publish(
    tx: &mut Tx,
    tenant: TenantId,
    version: &ModuleVersionRow,
    doc: &str,
) -> Result<(), Failure> {
    let (id, module, number) = (&version.version_id, &version.module_id, version.number);
    tx.run(&INSERT_VERSION, params![tenant, id, module, number, doc, version.created_at]).await?;
    tx.run(&SET_LATEST, params![tenant, module, id, number]).await.map(drop)
}

/// A version of a module.
pub async fn find_version(
    tx: &mut Tx,
    tenant: TenantId,
    module: &str,
    id: &str,
) -> Result<Option<ModuleVersionRow>, Failure> {
    tx.maybe(&FIND_VERSION, params![tenant, module, id]).await?.as_ref().map(version).transpose()
}

/// The same by its number.
pub async fn find_version_by_number(
    tx: &mut Tx,
    tenant: TenantId,
    module: &str,
    number: i64,
) -> Result<Option<ModuleVersionRow>, Failure> {
    let found = tx.maybe(&FIND_VERSION_BY_NUMBER, params![tenant, module, number]).await?;
    found.as_ref().map(version).transpose()
}

/// Versions of a module, the newest first.
pub async fn versions(
    tx: &mut Tx,
    tenant: TenantId,
    module: &str,
    (limit, offset): (i64, i64),
) -> Result<Vec<ModuleVersionRow>, Failure> {
    tx.all(&LIST_VERSIONS, params![tenant, module, limit, offset]).await?.iter().map(version).collect()
}

/// How many versions of a module there are.
pub async fn count_versions(tx: &mut Tx, tenant: TenantId, module: &str) -> Result<i64, Failure> {
    tx.one(&COUNT_VERSIONS, params![tenant, module]).await?.get(0)
}

/// Forgets a version that no Action requires; `false` when one does.
pub async fn forget_version(tx: &mut Tx, tenant: TenantId, id: &str) -> Result<bool, Failure> {
    if tx.one(&VERSION_IN_USE, params![tenant, id]).await?.get::<i64>(0)? > 0 {
        return Ok(false);
    }
    Ok(tx.run(&DELETE_VERSION, params![tenant, id]).await? == 1)
}
