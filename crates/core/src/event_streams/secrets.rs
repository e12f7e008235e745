//! The secrets of an event stream: sealed at rest, opened for a try.

use curfew_model::{Ctx, Failure, Secret};
use curfew_store::event_streams::EventStreamRow;
use curfew_tokens::SealKind;
use curfew_tokens::webhook::WebhookSecret;

use crate::TenantConfig;

const KIND: SealKind = SealKind::EventStreamSecret;

/// Seals a secret of a stream.
pub(crate) fn seal(config: &TenantConfig, ctx: &Ctx, secret: &Secret<String>) -> Secret<String> {
    Secret::new(config.seal(KIND, secret.expose().as_bytes(), ctx))
}

/// What a stream's messages are signed with at an instant: its secret, and for a while after a rotation the one before.
pub(crate) fn signing(
    config: &TenantConfig,
    ctx: &Ctx,
    row: &EventStreamRow,
) -> Result<Vec<WebhookSecret>, Failure> {
    let open_one = |sealed: &Secret<String>, column| {
        let text = open(config, sealed, row, column)?;
        WebhookSecret::parse(text.expose()).ok_or_else(|| broken(row, column))
    };
    let mut secrets = vec![open_one(&row.secrets.signing, "signing_secret")?];
    if let Some((previous, until)) = &row.secrets.previous
        && *until > ctx.now
    {
        secrets.push(open_one(previous, "previous_secret")?);
    }
    Ok(secrets)
}

/// What a stream's requests authenticate themselves with.
pub(crate) fn authorization(config: &TenantConfig, row: &EventStreamRow) -> Result<Secret<String>, Failure> {
    open(config, &row.secrets.authorization, row, "authorization_secret")
}

fn open(
    config: &TenantConfig,
    sealed: &Secret<String>,
    row: &EventStreamRow,
    column: &'static str,
) -> Result<Secret<String>, Failure> {
    let opened =
        config.sealing.unseal(KIND, config.tenant, sealed.expose()).map_err(|_| broken(row, column))?;
    String::from_utf8(opened.plaintext).map(Secret::new).map_err(|_| broken(row, column))
}

fn broken(row: &EventStreamRow, column: &'static str) -> Failure {
    Failure::Inconsistent { table: "event_streams", column, id: row.stream_id.clone() }
}
