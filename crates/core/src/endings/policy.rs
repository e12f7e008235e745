//! What falls where an operator has chosen otherwise than the cause has it.
//!
//! An ending decides by policy once, in its transaction, and what it decided is written down: a session that ended names
//! the clients whose tokens live on ([`Spares`]), and every other family of that session is over, also one that is born
//! by a redemption under way; where a floor was raised, what is spared was lifted above it. A policy that changes later
//! changes nothing of that.

use curfew_model::config::Client;
use curfew_model::{Artefact, Choice, ClientId, Ctx, EndingCause, Failure, FamilyId, Sid, Spares, UserKey};
use curfew_store::access::{self, Floors};
use curfew_store::sessions::{Ended, EndedBefore};
use curfew_store::{Tx, families, sessions};

use super::notify::Entry;
use super::{Ending, Preserve, Reach, falls};
use crate::TenantConfig;

/// Whether the families of a client end with a session that has ended for this cause, and spared these.
pub(crate) fn takes_families(cause: &str, spares: Option<&Spares>, client: &ClientId) -> bool {
    match spares {
        Some(spares) => !spares.refresh_tokens.contains(client),
        None => EndingCause::parse(cause).is_some_and(|cause| falls(cause).families == Reach::OfSession),
    }
}

/// Whether access tokens of a client live on with their families when a session has ended for this cause.
pub(crate) fn spares_tokens(cause: &str, spares: Option<&Spares>, client: &ClientId) -> bool {
    let by_time = EndingCause::parse(cause).is_some_and(|cause| falls(cause).tokens == Reach::UnlessFamily);
    by_time && spares.is_none_or(|spares| spares.access_tokens.contains(client))
}

/// Whether tokens of a client are to fall with a session whose time is over, and which nobody has ended yet: by the
/// policies of now, which are those that will hold when somebody does.
pub(crate) fn will_fall(
    config: &TenantConfig,
    client: &Client,
    cause: EndingCause,
    artefact: Artefact,
) -> bool {
    let own = client.doc.ending_policies.choice(cause, artefact);
    own.or_else(|| config.settings.ending_policies.choice(cause, artefact)) == Some(Choice::Revoke)
}

/// A session that ends, or one that had ended before and left something behind.
pub(super) enum Left {
    /// It ended just now.
    Now(Ended),
    /// It had ended before.
    Before(EndedBefore),
}

/// What an ending of a session took beside it.
#[derive(Default)]
pub(super) struct Taken {
    /// The families.
    pub entries: Vec<Entry>,
    /// Where a policy decided: what lives on.
    pub spares: Option<Spares>,
}

/// Ends the families of a session whose row the caller has written, as the cause and the policies have it, and writes
/// down what lives on. Without a policy, and where the cause takes none, nothing is read.
pub(super) async fn take_of_session(
    tx: &mut Tx,
    ctx: &Ctx,
    ending: &Ending,
    sid: &Sid,
    left: &Left,
) -> Result<Taken, Failure> {
    let (chosen, before) = match left {
        Left::Now(ended) => (ended.chosen, None),
        Left::Before(before) => (before.chosen, Some(before)),
    };
    let by_policy = chosen && ending.preserve != Preserve::Families;
    let takes = falls(ending.cause).families == Reach::OfSession && ending.preserve == Preserve::Nothing;
    if !by_policy && !takes {
        return Ok(Taken::default());
    }
    let default = if takes { Choice::Revoke } else { Choice::Keep };
    let mut taken = Taken::default();
    let mut spares = Spares::default();
    for family in families::of_session(tx, ctx.tenant, sid, (ending.cause, default), ctx.now).await? {
        let client = family.client_id;
        // What an earlier ending took is not spared by a later one, also where its row has not ended.
        let over = before.is_some_and(|left| takes_families(&left.cause, left.spares.as_ref(), &client));
        if family.falls || over {
            // The chain refuses it already; ending the row keeps the lists true.
            let id = FamilyId { user: sid.user, grant: family.grant };
            if families::end(tx, ctx.tenant, &id, ctx.now, ending.cause).await?.is_some() {
                taken.entries.push(Entry::Grant(id));
            }
            continue;
        }
        let tokens_stay = match before {
            Some(left) => spares_tokens(&left.cause, left.spares.as_ref(), &client),
            None => !family.access_tokens_fall && falls(ending.cause).tokens == Reach::UnlessFamily,
        };
        if tokens_stay && !spares.access_tokens.contains(&client) {
            spares.access_tokens.push(client.clone());
        }
        if !spares.refresh_tokens.contains(&client) {
            spares.refresh_tokens.push(client);
        }
    }
    // The cause itself says it of a session that it ended. What it takes from one that another cause had ended, and
    // what a policy decided, is not to be seen from the stored cause.
    if by_policy || before.is_some() {
        sessions::set_spares(tx, ctx.tenant, sid, &text(&spares)?).await?;
    }
    taken.spares = by_policy.then_some(spares);
    Ok(taken)
}

/// Ends the families of a user, or those that one identity began, but for those of clients whose policy keeps them. The
/// caller has raised the counter, which found `family_floor`. Answers the counter now, and what was spared.
pub(super) async fn take_of_user(
    tx: &mut Tx,
    ctx: &Ctx,
    cause: EndingCause,
    user: &UserKey,
    identity: Option<(&str, &str)>,
    family_floor: i64,
) -> Result<(i64, Spares), Failure> {
    let floors = Floors { family: true, ..Floors::default() };
    let Some(raised) = access::raise(tx, ctx.tenant, user, floors, None).await? else {
        return Err(Failure::Internal("a user vanished in its own transaction".into()));
    };
    let counter = raised.counter;
    let spare = families::Spare { cause, identity, floor: family_floor, counter };
    let mut refresh_tokens = families::spare(tx, ctx.tenant, user, &spare).await?;
    refresh_tokens.sort();
    refresh_tokens.dedup();
    Ok((counter, Spares { refresh_tokens, ..Spares::default() }))
}

fn text(spares: &Spares) -> Result<String, Failure> {
    serde_json::to_string(spares)
        .map_err(|error| Failure::Internal(format!("what is spared is not JSON: {error}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spares(refresh_tokens: &[&str], access_tokens: &[&str]) -> Spares {
        let ids = |names: &[&str]| names.iter().map(|name| ClientId::from(*name)).collect();
        Spares { refresh_tokens: ids(refresh_tokens), access_tokens: ids(access_tokens) }
    }

    #[test]
    fn what_was_written_down_goes_before_the_cause() {
        let client = ClientId::from("shop");
        for (cause, takes) in [("rp_logout", false), ("session_revoked", true), ("idle_timeout", false)] {
            assert_eq!(takes_families(cause, None, &client), takes, "{cause}");
            assert!(takes_families(cause, Some(&spares(&["other"], &[])), &client), "{cause}");
            assert!(!takes_families(cause, Some(&spares(&["shop"], &[])), &client), "{cause}");
        }
    }

    #[test]
    fn access_tokens_outlive_nothing_but_time() {
        let client = ClientId::from("shop");
        let kept = spares(&["shop"], &["shop"]);
        assert!(spares_tokens("idle_timeout", None, &client));
        assert!(spares_tokens("lifetime_reached", Some(&kept), &client));
        assert!(!spares_tokens("idle_timeout", Some(&spares(&["shop"], &[])), &client));
        assert!(!spares_tokens("rp_logout", Some(&kept), &client));
        assert!(!spares_tokens("session_revoked", None, &client));
    }

    #[test]
    fn where_a_choice_is_a_family_outlives_the_session_or_falls_with_it() {
        for cause in EndingCause::ALL {
            let (falls, chosen) = (falls(*cause), Artefact::chosen_for(*cause));
            let ends_sessions = falls.sessions != Reach::Stays;
            if chosen.contains(&Artefact::RefreshTokens) {
                let families = matches!(falls.families, Reach::Stays | Reach::OfSession);
                assert!(ends_sessions && families, "{}", cause.as_str());
            }
            if chosen.contains(&Artefact::AccessTokens) {
                assert_eq!(falls.tokens, Reach::UnlessFamily, "{}", cause.as_str());
            }
            if chosen.contains(&Artefact::Sessions) {
                assert_eq!(
                    (falls.sessions, falls.families),
                    (Reach::Stays, Reach::ThatOne),
                    "{}",
                    cause.as_str()
                );
            }
        }
    }
}
