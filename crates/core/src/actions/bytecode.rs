//! What packages compile to, kept under the server's MAC: an engine trusts bytecode blindly, so none is taken from the
//! database that this server did not put there.

use bytes::Bytes;
use curfew_model::{Ctx, Failure, TenantId};
use curfew_store::{Lane, action_packages};

use crate::Core;

/// Longest bytecode that is kept.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the MAC is over, beside the bytes.
fn label(tenant: TenantId, (digest, engine): (&str, &str)) -> String {
    format!("bytecode:{}:{}:{digest}:{engine}", tenant.0, digest.len())
}

/// Keeps what `digest` compiles to for a version of the engine. Longer ones than 64 MiB are not kept.
pub async fn keep(core: &Core, ctx: &Ctx, of: (&str, &str), bytes: Bytes) -> Result<(), Failure> {
    if bytes.len() > BYTES_MAX {
        return Ok(());
    }
    let mac = core.kek.mac(&label(ctx.tenant, of), &bytes);
    let row = (ctx.clone(), of.0.to_owned(), of.1.to_owned(), bytes, mac);
    core.store
        .transact(Lane::Ordinary, row, |tx, (ctx, digest, engine, bytes, mac)| {
            Box::pin(action_packages::keep_bytecode(tx, ctx, (digest, engine), bytes, mac))
        })
        .await
}

/// What `digest` compiles to for a version of the engine; `None` when it is not there, or not from this server.
pub async fn find(core: &Core, tenant: TenantId, of: (&str, &str)) -> Result<Option<Bytes>, Failure> {
    let key = (tenant, of.0.to_owned(), of.1.to_owned());
    let found = core
        .store
        .read_long(key, |tx, (tenant, digest, engine)| {
            Box::pin(action_packages::find_bytecode(tx, *tenant, (digest, engine)))
        })
        .await?;
    let Some((bytes, mac)) = found else { return Ok(None) };
    if !core.kek.verify_mac(&label(tenant, of), &bytes, &mac) {
        tracing::error!(
            digest = of.0,
            engine = of.1,
            "bytecode in the database is not this server's; it is compiled anew"
        );
        return Ok(None);
    }
    Ok(Some(bytes.into()))
}
