//! What a guard is told of one entry: which tokens it ends, as an array that begins with its kind and ends with the
//! second after which no token can be alive that it concerns (`docs/guards.md`, "Cutoffs").

use curfew_model::{Failure, SessionKey, Sid, Timestamp};
use curfew_store::endings::StoredEntry;
use serde_json::{Value, json};

/// Whether the guards of an API need an entry. Entries about users, sessions and clients concern every API; one that
/// names an API concerns that one.
pub(super) fn concerns(entry: &StoredEntry, audience: &str) -> bool {
    entry.audience.as_deref().is_none_or(|own| own == audience)
}

/// The array.
pub(super) fn cutoff(entry: &StoredEntry, at: Timestamp) -> Result<Value, Failure> {
    let until = entry.keep_until.seconds();
    let user = || entry.user_key.ok_or_else(|| unreadable(entry, "user_key"));
    let subject = || entry.subject.as_deref().ok_or_else(|| unreadable(entry, "subject"));
    let counter = || entry.counter.ok_or_else(|| unreadable(entry, "counter"));
    let sid = |session: SessionKey| user().map(|user| Sid { user, session }.to_string());
    let session = || sid(SessionKey::parse(subject()?).ok_or_else(|| unreadable(entry, "subject"))?);
    Ok(match entry.kind.as_str() {
        kind @ ("user" | "user_families") => json!([kind, user()?, counter()?, until]),
        kind @ "user_sessions" => {
            let spared = entry.spared.map(sid).transpose()?;
            json!([kind, user()?, counter()?, spared, until])
        }
        kind @ "user_client" => json!([kind, user()?, subject()?, counter()?, until]),
        kind @ ("session" | "session_expired") => json!([kind, session()?, until]),
        kind @ ("grant" | "signing_key") => json!([kind, subject()?, until]),
        kind @ "client" => json!([kind, subject()?, entry.counter, until]),
        kind @ "client_users" => json!([kind, subject()?, counter()?, until]),
        kind @ "users" => json!([kind, at.seconds(), until]),
        kind @ "audience" => {
            let audience = entry.audience.as_deref().ok_or_else(|| unreadable(entry, "audience"))?;
            json!([kind, audience, at.seconds(), until])
        }
        _ => return Err(unreadable(entry, "kind")),
    })
}

fn unreadable(entry: &StoredEntry, column: &'static str) -> Failure {
    Failure::Inconsistent { table: "feed_entries", column, id: entry.kind.clone() }
}
