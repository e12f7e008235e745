//! Linking two users into one, and taking an identity away again.

use curfew_model::{Ctx, EndingCause, Failure, UserId, UserKey};
use curfew_store::Tx;
use curfew_store::access::{self, Floors, Raised};
use curfew_store::users::{self, IdentityRow, NewUser};
use serde_json::{Map, Value};

use crate::changes::{self, Change, UserChange};
use crate::endings::{self, Actor, Ending, Target};

/// Makes the secondary user's identities identities of the primary user, in the caller's transaction. The secondary
/// user's access ends and the user disappears; its profile stays with the identity. `false` when either is missing or
/// they are one.
pub async fn link(
    tx: &mut Tx,
    ctx: &Ctx,
    primary: &UserKey,
    secondary: &UserKey,
    actor: Actor,
) -> Result<bool, Failure> {
    let (Some(_), Some(from)) =
        (users::find(tx, ctx.tenant, primary).await?, users::find(tx, ctx.tenant, secondary).await?)
    else {
        return Ok(false);
    };
    if primary == secondary {
        return Ok(false);
    }
    // Sessions that the primary user opened with one of these identities, before it was taken away, stay over.
    let Some(Raised { counter: floor, .. }) =
        access::raise(tx, ctx.tenant, primary, Floors::default(), None).await?
    else {
        return Ok(false);
    };
    let was = changes::User::now(tx, ctx, primary).await?;
    let moving = users::identities(tx, ctx.tenant, secondary).await?;
    let user = changes::User::of(&from, &moving)?;
    changes::record(tx, ctx, &Change::User(UserChange::Deleted { user })).await?;
    let position = users::identities(tx, ctx.tenant, primary).await?.len();
    let ending = Ending::new(EndingCause::UserDeleted, Target::User(*secondary), actor);
    endings::end(tx, ctx, &ending).await?;
    for identity in &moving {
        let place = (identity.connection_id.as_str(), identity.identity_id.as_str());
        users::move_identifiers(tx, ctx.tenant, place, secondary, primary).await?;
    }
    users::delete(tx, ctx.tenant, &from).await?;
    for (index, identity) in moving.into_iter().enumerate() {
        let profile = if identity.position == 0 { from.doc.clone() } else { identity.profile.clone() };
        let position = i64::try_from(position + index).unwrap_or(i64::MAX);
        let moved = IdentityRow { position, profile, session_floor: floor, ..identity };
        users::insert_identity(tx, ctx.tenant, primary, &moved).await?;
    }
    updated(tx, ctx, was, primary).await?;
    Ok(true)
}

/// Makes an identity a user of its own again, in the caller's transaction. The sessions opened with it end. `false`
/// when there is no such secondary identity.
pub async fn unlink(
    tx: &mut Tx,
    ctx: &Ctx,
    user: &UserKey,
    (provider, identity_id): (&str, &str),
    actor: Actor,
) -> Result<bool, Failure> {
    let identities = users::identities(tx, ctx.tenant, user).await?;
    let found = identities
        .into_iter()
        .find(|i| i.position > 0 && i.provider == provider && i.identity_id == identity_id);
    let Some(identity) = found else { return Ok(false) };
    let was = changes::User::now(tx, ctx, user).await?;
    let target =
        Target::Identity { user: *user, provider: provider.to_owned(), identity_id: identity_id.to_owned() };
    endings::end(tx, ctx, &Ending::new(EndingCause::IdentityUnlinked, target, actor)).await?;
    let place = (identity.connection_id.as_str(), identity.identity_id.as_str());
    let identifiers = users::identifiers(tx, ctx.tenant, user, place).await?;
    for (kind, value) in &identifiers {
        users::delete_identifier(tx, ctx.tenant, user, place.0, (kind, value)).await?;
    }
    users::delete_identity(tx, ctx.tenant, user, provider, identity_id).await?;
    let mut doc: Map<String, Value> = serde_json::from_str(&identity.profile).unwrap_or_default();
    doc.remove("user_id");
    let named: Vec<(&'static str, String)> = identifiers
        .into_iter()
        .filter_map(|(kind, value)| {
            let kind = ["email", "username", "phone_number"].into_iter().find(|known| *known == kind)?;
            Some((kind, value))
        })
        .collect();
    let user_key = UserKey::generate(&*ctx.entropy);
    let new = NewUser {
        user_key,
        user_id: &UserId(format!("{provider}|{identity_id}")),
        provider,
        identity_id,
        connection_id: &identity.connection_id,
        identifiers: &named,
        doc: &Value::Object(doc).to_string(),
        password_hash: identity.password_hash.as_deref(),
        blocked: None,
        now: ctx.now,
    };
    if !users::insert(tx, ctx.tenant, &new).await? {
        return Err(Failure::Conflict);
    }
    if let Some(user) = changes::User::now(tx, ctx, &user_key).await? {
        changes::record(tx, ctx, &Change::User(UserChange::Created { user })).await?;
    }
    updated(tx, ctx, was, user).await?;
    Ok(true)
}

/// Records what the user's identities have become.
async fn updated(
    tx: &mut Tx,
    ctx: &Ctx,
    before: Option<changes::User>,
    user: &UserKey,
) -> Result<(), Failure> {
    let (Some(before), Some(user)) = (before, changes::User::now(tx, ctx, user).await?) else {
        return Ok(());
    };
    changes::record(tx, ctx, &Change::User(UserChange::Updated { before, user, password_changed: false }))
        .await
}
