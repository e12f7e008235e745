//! Sealing keys: a new one is made current, an old one is revoked. No route of Auth0's API does this.

use curfew_model::{Ctx, EndingCause, Failure, Secret, TenantId};
use curfew_store::actions::Sealed;
use curfew_store::signing_keys as rows;
use curfew_store::{Lane, Tx, actions, clients, event_streams, resource_servers, signals, tenants};
use curfew_tokens::{SealKind, UnsealError};

use super::page::{CHUNK, More, Position, Window, scan};
use crate::actions::secrets;
use crate::config::sealing_label;
use crate::endings::{self, Actor, Ending, Target};
use crate::{Core, TenantConfig};

/// Makes a new key the current one and answers its id. What older keys sealed is still opened.
pub async fn rotate(core: &Core, ctx: &Ctx) -> Result<u32, Failure> {
    let bytes: [u8; 32] = ctx.entropy.bytes();
    // The id is part of what the key is wrapped under, so it is read first; another node that was faster is noticed.
    let next =
        core.store.read(ctx.tenant, |tx, tenant| Box::pin(rows::next_sealing_key(tx, *tenant))).await?;
    let wrapped = Secret::new(core.kek.wrap(&sealing_label(ctx.tenant, next), &bytes, &*ctx.entropy));
    core.store
        .transact(Lane::Ordinary, (ctx.clone(), next, wrapped), |tx, (ctx, next, wrapped)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                if rows::next_sealing_key(tx, ctx.tenant).await? != *next {
                    return Err(Failure::Contention);
                }
                rows::retire_sealing_key(tx, ctx.tenant).await?;
                rows::insert_sealing_key(tx, ctx, *next, wrapped).await?;
                Ok(())
            })
        })
        .await?;
    Ok(next)
}

/// Revokes a key: what it sealed for people and clients (cookies, codes, pending logins, refresh tokens, opaque access
/// tokens) is refused from now on, and with the sessions and families behind those what hangs on them. The secrets of
/// clients, APIs, streams and Actions, which it sealed as well, are sealed anew. `false` when there is no such key, or it was revoked
/// before.
///
/// Steps: 1 a current key is followed by a new one first, 2 seal the secrets anew, revoke, and record the ending, in
/// one transaction.
pub async fn revoke(core: &Core, ctx: &Ctx, id: u32, actor: Actor) -> Result<bool, Failure> {
    if core.tenant(ctx.tenant).await?.sealing.current().id() == id {
        rotate(core, ctx).await?;
    }
    let config = core.tenant(ctx.tenant).await?;
    core.store
        .transact(Lane::Endings, (ctx.clone(), config, id, actor), |tx, (ctx, config, id, actor)| {
            Box::pin(async move {
                tenants::touch(tx, ctx.tenant).await?;
                seal_clients(tx, ctx, config).await?;
                seal_resource_servers(tx, ctx, config).await?;
                seal_event_streams(tx, ctx, config).await?;
                seal_streams(tx, ctx, config).await?;
                seal_actions(tx, ctx, config).await?;
                if !rows::revoke_sealing_key(tx, ctx, *id).await? {
                    return Ok(false);
                }
                let target = Target::SealingKey { id: *id };
                endings::end(tx, ctx, &Ending::new(EndingCause::SealingKeyRevoked, target, actor.clone()))
                    .await?;
                Ok(true)
            })
        })
        .await
}

/// The same secret under the current key; `None` when it is under that already.
fn anew(
    config: &TenantConfig,
    ctx: &Ctx,
    kind: SealKind,
    sealed: &Secret<String>,
) -> Result<Option<Secret<String>>, UnsealError> {
    let opened = config.sealing.unseal(kind, config.tenant, sealed.expose())?;
    let is_current = opened.key_id == config.sealing.current().id();
    Ok((!is_current).then(|| Secret::new(config.seal(kind, &opened.plaintext, ctx))))
}

fn broken(table: &'static str, column: &'static str, id: &str) -> Failure {
    Failure::Inconsistent { table, column, id: id.to_owned() }
}

fn all() -> Window {
    Window::After { position: Position::start(), take: usize::MAX }
}

async fn seal_clients(tx: &mut Tx, ctx: &Ctx, config: &TenantConfig) -> Result<(), Failure> {
    let tenant: TenantId = ctx.tenant;
    scan!(tx, tenant, clients::list, &all(), client_id, |row, _position| {
        let sealed = anew(config, ctx, SealKind::ClientSecret, &row.secret)
            .map_err(|_| broken("clients", "secret", row.client_id.as_str()))?;
        if let Some(sealed) = sealed {
            clients::update_secret(tx, tenant, &row.client_id, &sealed).await?;
        }
        More::Wanted
    });
    Ok(())
}

async fn seal_resource_servers(tx: &mut Tx, ctx: &Ctx, config: &TenantConfig) -> Result<(), Failure> {
    let tenant: TenantId = ctx.tenant;
    scan!(tx, tenant, resource_servers::list, &all(), id, |row, _position| {
        let Some(secret) = &row.signing_secret else { continue };
        let sealed = anew(config, ctx, SealKind::SigningSecret, secret)
            .map_err(|_| broken("resource_servers", "signing_secret", &row.id))?;
        if let Some(sealed) = sealed {
            resource_servers::update(tx, tenant, &row.id, &row.doc, Some(&sealed)).await?;
        }
        More::Wanted
    });
    Ok(())
}

async fn seal_event_streams(tx: &mut Tx, ctx: &Ctx, config: &TenantConfig) -> Result<(), Failure> {
    let tenant: TenantId = ctx.tenant;
    scan!(tx, tenant, event_streams::list, &all(), stream_id, |row, _position| {
        let renew = |sealed: &Secret<String>, column| {
            anew(config, ctx, SealKind::EventStreamSecret, sealed)
                .map(|new| new.unwrap_or_else(|| sealed.clone()))
                .map_err(|_| broken("event_streams", column, &row.stream_id))
        };
        let previous = match &row.secrets.previous {
            Some((secret, until)) => Some((renew(secret, "previous_secret")?, *until)),
            None => None,
        };
        let secrets = event_streams::Secrets {
            signing: renew(&row.secrets.signing, "signing_secret")?,
            previous,
            authorization: renew(&row.secrets.authorization, "authorization_secret")?,
        };
        event_streams::set_secrets(tx, tenant, &row.stream_id, &secrets).await?;
        More::Wanted
    });
    Ok(())
}

async fn seal_streams(tx: &mut Tx, ctx: &Ctx, config: &TenantConfig) -> Result<(), Failure> {
    for row in signals::list(tx, ctx.tenant).await? {
        let Some(secret) = &row.authorization else { continue };
        let sealed = anew(config, ctx, SealKind::ReceiverAuthorization, secret)
            .map_err(|_| broken("signal_streams", "authorization_header", &row.id))?;
        if let Some(sealed) = sealed {
            signals::seal(tx, ctx.tenant, &row.id, &sealed).await?;
        }
    }
    Ok(())
}

async fn seal_actions(tx: &mut Tx, ctx: &Ctx, config: &TenantConfig) -> Result<(), Failure> {
    for (of, table) in [(Sealed::Actions, "actions"), (Sealed::Versions, "action_versions")] {
        let mut after = String::new();
        loop {
            let rows = actions::secrets(tx, ctx.tenant, of, &after, CHUNK).await?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            for (id, stored) in &rows {
                if let Some(sealed) = secrets::anew(config, ctx, table, id, stored)? {
                    actions::set_secrets(tx, ctx.tenant, of, id, &sealed).await?;
                }
            }
        }
    }
    Ok(())
}
