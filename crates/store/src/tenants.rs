//! Tenants: their settings, and the version that moves with all of their configuration.

use curfew_model::{Ctx, Failure, TenantId};

use crate::{Tx, params, statements};

statements! {
    TOUCH = "update tenants set version = version + 1 where tenant = $1 returning version";
    SETTINGS = "select name, settings from tenants where tenant = $1";
    UPDATE_SETTINGS = "update tenants set settings = $2 where tenant = $1";
    SET_DOMAIN = "insert into tenant_domains (host, tenant, issuer, created_at) values ($1, $2, $3, $4)
        on conflict (host) do update set issuer = excluded.issuer where tenant_domains.tenant = excluded.tenant";
}

/// A tenant's name and settings.
#[derive(Debug)]
pub struct SettingsRow {
    /// The tenant's name.
    pub name: String,
    /// The settings as they were sent, as JSON.
    pub settings: String,
}

/// Moves the tenant's version, because configuration changes, and returns it.
///
/// The first statement of every such write: it takes the tenant's row, so that two of them come one after the
/// other and each reads what the other left.
pub async fn touch(tx: &mut Tx, tenant: TenantId) -> Result<i64, Failure> {
    tx.one(&TOUCH, params![tenant]).await?.get(0)
}

/// The tenant's settings.
pub async fn get_settings(tx: &mut Tx, tenant: TenantId) -> Result<SettingsRow, Failure> {
    let row = tx.one(&SETTINGS, params![tenant]).await?;
    Ok(SettingsRow { name: row.get(0)?, settings: row.get(1)? })
}

/// Replaces the settings. The caller moved the version with [`touch`].
pub async fn update_settings(tx: &mut Tx, tenant: TenantId, settings: &str) -> Result<(), Failure> {
    tx.run(&UPDATE_SETTINGS, params![tenant, settings]).await.map(drop)
}

/// Says that requests for `host` are the tenant's, under `issuer`; `false` when the host is another tenant's. The caller
/// moved the version with [`touch`].
pub async fn set_domain(tx: &mut Tx, ctx: &Ctx, host: &str, issuer: &str) -> Result<bool, Failure> {
    Ok(tx.run(&SET_DOMAIN, params![host, ctx.tenant, issuer, ctx.now]).await? == 1)
}
