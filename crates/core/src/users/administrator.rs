//! The first administrator, made once.

use curfew_model::{Ctx, Failure, Secret, Timestamp};
use curfew_store::{Lane, codes};
use serde_json::json;

use super::{Creation, NewUser, create};
use crate::Core;

/// In which connection administrators are.
const CONNECTION: &str = "Username-Password-Authentication";
/// Under which consumption the set-up is noted.
const KIND: &str = "setup";
const ID: &[u8] = b"administrator";

/// Whether the set-up has happened.
pub async fn has_administrator(core: &Core, ctx: &Ctx) -> Result<bool, Failure> {
    core.store.read(ctx.tenant, |tx, tenant| Box::pin(codes::was_consumed(tx, *tenant, KIND, ID))).await
}

/// Makes the first administrator: a user of the default connection with `app_metadata.curfew.administrator`. `None`
/// when there is one already.
pub async fn make_administrator(
    core: &Core,
    ctx: &Ctx,
    email: &str,
    password: Secret<String>,
) -> Result<Option<Creation>, Failure> {
    if has_administrator(core, ctx).await? {
        return Ok(None);
    }
    let config = core.tenant(ctx.tenant).await?;
    let connection = config.connection_by_name(CONNECTION).cloned().ok_or(Failure::Inconsistent {
        table: "connections",
        column: "name",
        id: CONNECTION.to_owned(),
    })?;
    let mut doc = serde_json::Map::new();
    doc.insert("email".to_owned(), json!(email));
    doc.insert("app_metadata".to_owned(), json!({"curfew": {"administrator": true}}));
    let new = NewUser { connection, doc, password: Some(password), identity_id: None, blocked: None };
    let creation = create(core, ctx, new).await?;
    if let Creation::Created(_) = &creation {
        core.store
            .transact(Lane::Ordinary, ctx.clone(), |tx, ctx| {
                let forever = Timestamp::from_micros(i64::MAX);
                Box::pin(codes::consume_once(tx, ctx.tenant, KIND, ID, ctx.now, forever))
            })
            .await?;
    }
    Ok(Some(creation))
}
