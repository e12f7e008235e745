//! How a user is deleted, in the caller's transaction.

use curfew_model::{Ctx, EndingCause, Failure, UserKey};
use curfew_store::{Tx, users};

use crate::changes::{self, Change, UserChange};
use crate::endings::{self, Actor, Ended, Ending, Target};

/// Ends all access of a user and removes the user; `None` when there is none such.
///
/// The ending comes first, while the row can still be raised: its entry names the counter below which every token is
/// over. Sessions and families stay as rows without a user until the sweeper takes them.
pub async fn delete(tx: &mut Tx, ctx: &Ctx, user: &UserKey, actor: Actor) -> Result<Option<Ended>, Failure> {
    let Some(row) = users::find(tx, ctx.tenant, user).await? else { return Ok(None) };
    let ended =
        endings::end(tx, ctx, &Ending::new(EndingCause::UserDeleted, Target::User(*user), actor)).await?;
    let identities = users::identities(tx, ctx.tenant, user).await?;
    let user = changes::User::of(&row, &identities)?;
    changes::record(tx, ctx, &Change::User(UserChange::Deleted { user })).await?;
    users::delete(tx, ctx.tenant, &row).await?;
    Ok(Some(ended))
}
