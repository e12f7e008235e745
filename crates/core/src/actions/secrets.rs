//! The secrets of Actions: sealed at rest one by one, opened for an execution.

use std::collections::BTreeMap;

use curfew_model::{Ctx, Failure, Secret};
use curfew_tokens::{SealKind, UnsealError};
use serde::{Deserialize, Serialize};

use crate::TenantConfig;

const KIND: SealKind = SealKind::ActionSecret;

/// A secret at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedSecret {
    /// `event.secrets.NAME`.
    pub name: String,
    /// When its value was set.
    pub updated_at: String,
    /// Its value.
    pub sealed: Secret<String>,
}

/// Seals a secret that is set now.
pub(crate) fn seal(config: &TenantConfig, ctx: &Ctx, name: &str, value: &Secret<String>) -> SealedSecret {
    SealedSecret {
        name: name.to_owned(),
        updated_at: ctx.now.iso(),
        sealed: Secret::new(config.seal(KIND, value.expose().as_bytes(), ctx)),
    }
}

/// Reads what is stored.
pub(crate) fn read(
    table: &'static str,
    id: &str,
    stored: &Secret<String>,
) -> Result<Vec<SealedSecret>, Failure> {
    // What stands in it stays out of the failure.
    serde_json::from_str(stored.expose()).map_err(|_| broken(table, id))
}

/// As it is stored.
pub(crate) fn write(secrets: &[SealedSecret]) -> Result<Secret<String>, Failure> {
    serde_json::to_string(secrets)
        .map(Secret::new)
        .map_err(|error| Failure::Internal(format!("secrets are not JSON: {error}").into()))
}

/// Opens them all.
pub(crate) fn open(
    config: &TenantConfig,
    table: &'static str,
    id: &str,
    stored: &Secret<String>,
) -> Result<BTreeMap<String, Secret<String>>, Failure> {
    let mut opened = BTreeMap::new();
    for secret in read(table, id, stored)? {
        let value = config
            .sealing
            .unseal(KIND, config.tenant, secret.sealed.expose())
            .ok()
            .and_then(|unsealed| String::from_utf8(unsealed.plaintext).ok())
            .ok_or_else(|| broken(table, id))?;
        opened.insert(secret.name, Secret::new(value));
    }
    Ok(opened)
}

/// The same secrets under the current key; `None` when they are all under that already.
pub(crate) fn anew(
    config: &TenantConfig,
    ctx: &Ctx,
    table: &'static str,
    id: &str,
    stored: &Secret<String>,
) -> Result<Option<Secret<String>>, Failure> {
    let mut secrets = read(table, id, stored)?;
    let mut changed = false;
    for secret in &mut secrets {
        let opened = config.sealing.unseal(KIND, config.tenant, secret.sealed.expose());
        let opened = opened.map_err(|_: UnsealError| broken(table, id))?;
        if opened.key_id != config.sealing.current().id() {
            secret.sealed = Secret::new(config.seal(KIND, &opened.plaintext, ctx));
            changed = true;
        }
    }
    if changed { write(&secrets).map(Some) } else { Ok(None) }
}

fn broken(table: &'static str, id: &str) -> Failure {
    Failure::Inconsistent { table, column: "secrets", id: id.to_owned() }
}
