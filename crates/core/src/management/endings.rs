//! Endings as things one can see: asked for, listed, and with a receipt of who has heard of them.

use std::collections::BTreeSet;

use curfew_model::{
    Choice, ClientId, Ctx, EndingCause, EndingId, Failure, FamilyId, GrantKey, Sid, Timestamp, UserId,
    UserKey,
};
use curfew_store::deliveries::{self, DeliveryState};
use curfew_store::endings::{self as rows, Filter, Whole};
use curfew_store::feed::NodeRow;
use curfew_store::{Lane, Tx, families, fanouts, sessions, users};
use curfew_tokens::digest;
use serde_json::{Value, json};

use super::users::key_of;
use super::write::Write;
use super::{Document, Entity, Outcome, Refused, granted};
use crate::Core;
use crate::endings::{self, Ending, Target};
use crate::feed::{GUARD_SCOPE, SAY_EVERY};

/// Users that one request may end.
pub const USERS_MAX: usize = 100;
/// People that a rehearsal names.
const NAMED_MAX: usize = 10;
/// How long after an ending's instant its commit may have come, and how far the clocks of nodes may differ.
const LATE_SECONDS: i64 = 10;
/// Endings that are looked at together.
const SPOKEN_FOR_MAX: i64 = 200;
/// How often an ending's deliveries are read until nothing is settled meanwhile.
const READINGS_MAX: usize = 5;
/// Deliveries that a receipt shows; all are counted.
const DELIVERIES_SHOWN_MAX: i64 = 100;
/// How many of a kind a rehearsal counts one by one.
const COUNTED_MAX: i64 = 1000;

/// What is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything of some users.
    Users(Vec<UserId>),
    /// What a client holds for a user.
    UserClient(UserId, ClientId),
    /// One session, with its refresh tokens.
    Session(String),
    /// One refresh token.
    RefreshToken(String),
    /// Everything a client was ever given. The client stays.
    Client(ClientId),
}

impl Wanted {
    /// Reads a request: exactly one thing is named.
    pub fn read(doc: &Document) -> Result<Self, Refused> {
        let text = |name: &str| doc.get(name).and_then(Value::as_str).map(str::to_owned);
        let listed = doc.get("user_ids").and_then(Value::as_array);
        let users =
            listed.map(|ids| ids.iter().filter_map(Value::as_str).map(UserId::from).collect::<Vec<_>>());
        let named = (text("user_id"), users, text("session_id"), text("refresh_token_id"), text("client_id"));
        match named {
            (Some(user), None, None, None, None) => Ok(Self::Users(vec![UserId(user)])),
            (None, Some(users), None, None, None) if !users.is_empty() => Ok(Self::Users(users)),
            (Some(user), None, None, None, Some(client)) => {
                Ok(Self::UserClient(UserId(user), ClientId(client)))
            }
            (None, None, Some(session), None, None) => Ok(Self::Session(session)),
            (None, None, None, Some(token), None) => Ok(Self::RefreshToken(token)),
            (None, None, None, None, Some(client)) => Ok(Self::Client(ClientId(client))),
            _ => Err(Refused::Invalid {
                message:
                    "Payload validation error: 'Name one of user_id, user_ids, session_id, refresh_token_id, \
                          client_id, or user_id with client_id'."
                        .to_owned(),
                code: "invalid_body",
            }),
        }
    }

    const fn cause(&self) -> EndingCause {
        match self {
            Self::Users(_) => EndingCause::AccessRevoked,
            Self::UserClient(..) => EndingCause::ClientFamiliesRevoked,
            Self::Session(_) => EndingCause::SessionRevoked,
            Self::RefreshToken(_) => EndingCause::FamilyRevoked,
            Self::Client(_) => EndingCause::ClientAccessRevoked,
        }
    }

    /// What is ended, each in a transaction of its own.
    fn parts(self) -> Vec<Self> {
        match self {
            Self::Users(users) => users.into_iter().map(|user| Self::Users(vec![user])).collect(),
            other => vec![other],
        }
    }
}

/// Finds what is named.
async fn target(tx: &mut Tx, ctx: &Ctx, wanted: &Wanted) -> Outcome<Target> {
    Ok(Ok(match wanted {
        Wanted::Users(named) => {
            let Some(user) = named.first() else { return Ok(Err(Refused::Inexistent(Entity::User))) };
            Target::User(granted!(key_of(tx, ctx, user).await?))
        }
        Wanted::UserClient(user, client) => Target::UserClient {
            user: granted!(key_of(tx, ctx, user).await?),
            client: client.clone(),
            audience: None,
        },
        Wanted::Session(id) => match Sid::parse(id) {
            Some(sid) => Target::Session(sid),
            None => return Ok(Err(Refused::Inexistent(Entity::Session))),
        },
        Wanted::RefreshToken(id) => match FamilyId::parse(id) {
            Some(id) => Target::Family(id),
            None => return Ok(Err(Refused::Inexistent(Entity::RefreshToken))),
        },
        Wanted::Client(client) => {
            if curfew_store::clients::find(tx, ctx.tenant, client).await?.is_none() {
                return Ok(Err(Refused::Inexistent(Entity::Client)));
            }
            Target::Client(client.clone())
        }
    }))
}

/// The id of the ending that a key stands for: asked again with the same key, it is the same ending.
fn id_of_key(ctx: &Ctx, write: &Write, key: &str, part: usize) -> EndingId {
    let caller = write.caller.client_id.as_ref().map_or("", ClientId::as_str);
    let text = format!("ending {} {caller} {part} {key}", ctx.tenant.0);
    let hash = digest::sha256(text.as_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(hash.as_ref()).for_each(|(id, hash)| *id = *hash);
    EndingId(id)
}

/// `POST /endings`: ends access, and answers the ids of what was ended. Of what had nothing left to end there is none.
///
/// With `key` (`Idempotency-Key`) a repetition ends nothing more and answers the same ids; the same key for something else
/// is refused.
pub async fn create(
    core: &Core,
    ctx: &Ctx,
    write: Write,
    wanted: Wanted,
    reason: Option<String>,
    key: Option<String>,
) -> Outcome<Vec<EndingId>> {
    if matches!(&wanted, Wanted::Users(users) if users.len() > USERS_MAX) {
        return Ok(Err(Refused::property(&format!("At most {USERS_MAX} users"), "user_ids")));
    }
    let mut ids = Vec::new();
    for (part, wanted) in wanted.parts().into_iter().enumerate() {
        let id = key.as_ref().map(|key| id_of_key(ctx, &write, key, part));
        let args = (ctx.clone(), write.clone(), wanted, reason.clone(), id);
        let ended = core
            .store
            .transact(Lane::Endings, args, |tx, (ctx, write, wanted, reason, id)| {
                Box::pin(async move {
                    if let Some(id) = id
                        && let Some(earlier) = rows::find(tx, ctx.tenant, id).await?
                    {
                        return Ok(same(&earlier, wanted).map(|()| Some(*id)));
                    }
                    let target = granted!(target(tx, ctx, wanted).await?);
                    write.log(tx, ctx).await?;
                    let mut ending = Ending::new(wanted.cause(), target, write.caller.actor());
                    ending.id = *id;
                    ending.details.insert("wanted".into(), shown(wanted));
                    if let Some(reason) = reason {
                        ending.details.insert("reason".into(), json!(reason));
                    }
                    Ok(Ok(endings::end(tx, ctx, &ending).await?.id))
                })
            })
            .await?;
        ids.extend(granted!(ended));
    }
    Ok(Ok(ids))
}

fn shown(wanted: &Wanted) -> Value {
    match wanted {
        Wanted::Users(users) => json!({ "user_ids": users }),
        Wanted::UserClient(user, client) => json!({ "user_id": user, "client_id": client }),
        Wanted::Session(id) => json!({ "session_id": id }),
        Wanted::RefreshToken(id) => json!({ "refresh_token_id": id }),
        Wanted::Client(client) => json!({ "client_id": client }),
    }
}

/// Whether an ending that a key stands for is what is asked for now.
fn same(earlier: &Whole, wanted: &Wanted) -> Result<(), Refused> {
    let detail: Document = serde_json::from_str(&earlier.detail).unwrap_or_default();
    if detail.get("wanted") == Some(&shown(wanted)) {
        return Ok(());
    }
    Err(Refused::exists("This Idempotency-Key was used for another ending."))
}

/// `POST /endings` with `dry_run`: how much would end, of whom, and what to think of first.
pub async fn rehearse(core: &Core, ctx: &Ctx, wanted: Wanted) -> Outcome<Value> {
    let mut counts = Counts::default();
    let mut warnings = Vec::new();
    if let Wanted::Client(id) = &wanted {
        let (_, client) = core.configuration(ctx.tenant, id).await?;
        let Some(client) = client else { return Ok(Err(Refused::Inexistent(Entity::Client))) };
        let guarded =
            client.grants.iter().filter(|grant| grant.doc.scope.iter().any(|scope| scope == GUARD_SCOPE));
        for grant in guarded {
            let (connected, _) = core.feed.guards_of(ctx.tenant, &grant.audience);
            warnings.push(format!(
                "This client is a guard of {} ({connected} connected to this node): without its token the API refuses \
                 everybody once its lease is over, until the guard has a new one.",
                grant.audience
            ));
        }
        warnings.push("What a client holds for users is not counted: it ends by one counter.".to_owned());
    }
    for part in wanted.parts() {
        let args = (ctx.clone(), part, counts);
        let counted = core
            .store
            .read_long(args, |tx, (ctx, part, counts)| {
                Box::pin(async move {
                    let mut counts = counts.clone();
                    let target = granted!(target(tx, ctx, part).await?);
                    counts.add(tx, ctx, &target).await?;
                    Ok(Ok(counts))
                })
            })
            .await?;
        counts = granted!(counted);
    }
    for client in &counts.kept {
        warnings.push(format!(
            "The refresh tokens of client {client} stay: ending_policies has them outlive session_revoked."
        ));
    }
    Ok(Ok(json!({
        "dry_run": true,
        "users": counts.users,
        "sessions": counts.sessions,
        "refresh_tokens": counts.families,
        "first": counts.first,
        "warnings": warnings,
    })))
}

/// What would end.
#[derive(Debug, Clone, Default)]
struct Counts {
    users: usize,
    sessions: usize,
    families: usize,
    /// The first people, as far as they have names.
    first: Vec<Value>,
    /// Whose refresh tokens stay.
    kept: BTreeSet<ClientId>,
}

impl Counts {
    async fn add(&mut self, tx: &mut Tx, ctx: &Ctx, target: &Target) -> Result<(), Failure> {
        match target {
            Target::User(user) => {
                self.sessions +=
                    sessions::list(tx, ctx.tenant, user, None, ctx.now, COUNTED_MAX).await?.len();
                self.families += families(tx, ctx, user, None).await?;
                self.name(tx, ctx, user).await
            }
            Target::UserClient { user, client, .. } => {
                self.families += families(tx, ctx, user, Some(client)).await?;
                self.name(tx, ctx, user).await
            }
            Target::Session(sid) => {
                let row = sessions::find(tx, ctx.tenant, sid, None).await?;
                self.sessions += usize::from(row.is_some_and(|row| row.ended_at.is_none()));
                self.of_session(tx, ctx, sid).await?;
                self.name(tx, ctx, &sid.user).await
            }
            Target::Family(id) => {
                let row = families::find(tx, ctx.tenant, id).await?;
                self.families += usize::from(row.is_some_and(|row| row.ended_at.is_none()));
                self.name(tx, ctx, &id.user).await
            }
            _ => Ok(()),
        }
    }

    /// What falls with a session that is revoked, and whose refresh tokens stay by a policy.
    async fn of_session(&mut self, tx: &mut Tx, ctx: &Ctx, sid: &Sid) -> Result<(), Failure> {
        let by = (EndingCause::SessionRevoked, Choice::Revoke);
        for family in families::of_session(tx, ctx.tenant, sid, by, ctx.now).await? {
            if family.falls {
                self.families += 1;
            } else {
                self.kept.insert(family.client_id);
            }
        }
        Ok(())
    }

    async fn name(&mut self, tx: &mut Tx, ctx: &Ctx, user: &UserKey) -> Result<(), Failure> {
        let Some(row) = users::find(tx, ctx.tenant, user).await? else { return Ok(()) };
        self.users += 1;
        if self.first.len() < NAMED_MAX {
            let doc: Document = super::stored("users", row.user_id.as_str(), &row.doc)?;
            self.first
                .push(json!({ "user_id": row.user_id, "email": doc.get("email"), "name": doc.get("name") }));
        }
        Ok(())
    }
}

async fn families(
    tx: &mut Tx,
    ctx: &Ctx,
    user: &UserKey,
    client: Option<&ClientId>,
) -> Result<usize, Failure> {
    let mut count = 0;
    let mut after: Option<GrantKey> = None;
    loop {
        let page = families::list(tx, ctx.tenant, user, client, after.as_ref(), ctx.now, COUNTED_MAX).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = Some(last.id.grant);
        count += page.len();
    }
}

/// `GET /endings/{id}`: the receipt.
pub async fn get(core: &Core, ctx: &Ctx, id: &str) -> Outcome<Document> {
    let Some(id) = EndingId::parse(id) else { return Ok(Err(Refused::Inexistent(Entity::Ending))) };
    let receipt = core
        .store
        .read_long((ctx.clone(), id), |tx, (ctx, id)| {
            Box::pin(async move {
                let Some(ending) = rows::find(tx, ctx.tenant, id).await? else { return Ok(None) };
                receipt(tx, ctx, &ending).await.map(Some)
            })
        })
        .await?;
    Ok(receipt.ok_or(Refused::Inexistent(Entity::Ending)))
}

/// Which endings are listed.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of one user.
    pub user: Option<UserId>,
    /// Of one cause.
    pub cause: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// `GET /endings`: newest first, after a place; without receipts, and where the list goes on.
pub async fn list(
    core: &Core,
    ctx: &Ctx,
    query: Query,
    after: Option<(Timestamp, EndingId)>,
    take: usize,
) -> Outcome<(Vec<Document>, Option<(Timestamp, EndingId)>)> {
    let cause = match &query.cause {
        None => None,
        Some(name) => match EndingCause::parse(name) {
            Some(cause) => Some(cause),
            None => {
                let message =
                    "Query validation error: 'There is no such cause' on property cause.".to_owned();
                return Ok(Err(Refused::Invalid { message, code: "invalid_query_string" }));
            }
        },
    };
    let start = (query.to.unwrap_or(Timestamp::from_micros(i64::MAX)), EndingId([0; 16]));
    let args = (ctx.clone(), query.user, cause, query.from, after.unwrap_or(start), take);
    core.store
        .read_long(args, |tx, (ctx, user, cause, from, (at, id), take)| {
            Box::pin(async move {
                let user = match user {
                    Some(user) => Some(granted!(key_of(tx, ctx, user).await?)),
                    None => None,
                };
                let filter = Filter { user, cause: *cause, from: *from };
                let limit = i64::try_from(*take + 1).unwrap_or(i64::MAX);
                let mut found = rows::page(tx, ctx.tenant, &filter, (*at, id), limit).await?;
                let more = found.len() > *take;
                found.truncate(*take);
                let next = found.last().filter(|_| more).map(|ending| (ending.at, ending.id));
                Ok(Ok((found.iter().map(summary).collect(), next)))
            })
        })
        .await
}

/// An ending without its receipt.
fn summary(ending: &Whole) -> Document {
    let detail: Document = serde_json::from_str(&ending.detail).unwrap_or_default();
    let session =
        ending.user_key.zip(ending.session).map(|(user, session)| Sid { user, session }.to_string());
    let family = ending.user_key.zip(ending.grant).map(|(user, grant)| FamilyId { user, grant }.to_string());
    let mut doc = Document::new();
    for (name, value) in [
        ("id", json!(ending.id)),
        ("cause", json!(ending.cause.as_str())),
        ("at", json!(ending.at.iso())),
        ("user_id", json!(ending.user_id)),
        ("client_id", json!(ending.client_id)),
        ("session_id", json!(session)),
        ("refresh_token_id", json!(family)),
        ("actor", detail.get("actor").cloned().unwrap_or_default()),
        ("reason", detail.get("reason").cloned().unwrap_or_default()),
        ("spared", detail.get("spared").cloned().unwrap_or_default()),
    ] {
        if !value.is_null() {
            doc.insert(name.to_owned(), value);
        }
    }
    doc
}

/// What fell, who has heard of it, and what is still open until when.
async fn receipt(tx: &mut Tx, ctx: &Ctx, ending: &Whole) -> Result<Document, Failure> {
    let mut doc = summary(ending);
    let fell = fell(tx, ctx, ending).await?;
    // In this order: a node speaks of an ending before it says that its guards are gone.
    let nodes = curfew_store::feed::nodes(tx, seen_since(ending.at)).await?;
    let heard = curfew_store::feed::heard(tx, ctx.tenant, &ending.id).await?;
    let guards = guards(ctx.now, ending.at, fell.is_empty(), &heard, &nodes);
    doc.insert("fell".into(), json!(fell));
    let applications = applications(tx, ctx, ending).await?;
    let complete = guards["complete"] == true && applications["complete"] == true;
    doc.insert("complete".into(), json!(complete));
    doc.insert("guards".into(), guards);
    doc.insert("applications".into(), applications);
    Ok(doc)
}

/// What guards were told, by kind.
async fn fell(tx: &mut Tx, ctx: &Ctx, ending: &Whole) -> Result<Vec<String>, Failure> {
    let detail: Document = serde_json::from_str(&ending.detail).unwrap_or_default();
    if let Some(kinds) = detail.get("fell").and_then(Value::as_array) {
        return Ok(kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    // An ending of a time when it was not written down.
    let entries = rows::entries(tx, ctx.tenant, &ending.id).await?;
    Ok(entries.into_iter().map(|entry| entry.kind).collect())
}

/// Which applications were told by a logout token, and which have no address to be told at. It is open until it is worked
/// out who took part, and until each has confirmed or is not asked any more.
async fn applications(tx: &mut Tx, ctx: &Ctx, ending: &Whole) -> Result<Value, Failure> {
    let (expanded_at, untold) = fanouts::find(tx, ctx.tenant, &ending.id).await?.unwrap_or_default();
    // Each statement sees what is committed by then. What is shown and what is counted must not contradict each other: it
    // is read again when something was settled in between.
    let mut states = deliveries::states_of_ending(tx, ctx.tenant, &ending.id).await?;
    let mut shown = Vec::new();
    for _ in 0..READINGS_MAX {
        shown = deliveries::of_ending(tx, ctx.tenant, &ending.id, DELIVERIES_SHOWN_MAX).await?;
        let before =
            std::mem::replace(&mut states, deliveries::states_of_ending(tx, ctx.tenant, &ending.id).await?);
        if before == states {
            break;
        }
    }
    let mut counts = Document::new();
    for state in [DeliveryState::Confirmed, DeliveryState::Waiting] {
        counts.insert(state.as_str().to_owned(), json!(0));
    }
    for (state, count) in states {
        counts.insert(state.as_str().to_owned(), json!(count));
    }
    // By the earlier and by the later reading.
    let waiting =
        counts["waiting"] != 0 || shown.iter().any(|delivery| delivery.state == DeliveryState::Waiting);
    let untold: Value = untold.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| json!([]));
    Ok(json!({
        "complete": expanded_at.is_some() && !waiting,
        "counts": counts,
        "without_address": untold,
        "deliveries": shown.iter().map(super::deliveries::view).collect::<Vec<_>>(),
    }))
}

/// A node that had guards at an instant has said so after it, less the time between two such words.
fn seen_since(at: Timestamp) -> Timestamp {
    at.plus_seconds(-seen_seconds())
}

/// In this time a node that has guards says so twice.
fn seen_seconds() -> i64 {
    i64::try_from(2 * SAY_EVERY.as_secs()).unwrap_or(i64::MAX)
}

/// From when on no guard of a node trusts what it knew before an ending, though the node says nothing.
fn trusted_until(at: Timestamp, row: &NodeRow) -> Timestamp {
    at.plus_seconds(row.lease_seconds + LATE_SECONDS)
}

/// Whether a node that has said nothing of an ending by now is gone, with the guards it had. One that has spoken since of
/// how many there are may have had none when it ended.
fn is_gone(at: Timestamp, row: &NodeRow) -> bool {
    row.guards > 0 && row.seen_at <= at
}

/// Writes down, in the place of a node that is gone, what it left open: before the node itself is forgotten, receipts have
/// to know of it. Steps: 1 the endings that it was there for, 2 those of which it has said nothing.
pub(crate) async fn speak_for(tx: &mut Tx, ctx: &Ctx, row: &NodeRow) -> Result<(), Failure> {
    let filter = Filter { from: Some(row.seen_at), ..Filter::default() };
    let mut before = (row.seen_at.plus_seconds(seen_seconds() + 1), EndingId([0; 16]));
    loop {
        let page = rows::page(tx, ctx.tenant, &filter, (before.0, &before.1), SPOKEN_FOR_MAX).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = (last.at, last.id);
        for ending in &page {
            if row.seen_at < seen_since(ending.at)
                || !is_gone(ending.at, row)
                || fell(tx, ctx, ending).await?.is_empty()
            {
                continue;
            }
            // Its own word stays, where there is one.
            let doc = json!({ "confirmed": 0, "lapsed": row.guards, "silent": true }).to_string();
            let at = trusted_until(ending.at, row);
            curfew_store::feed::insert_heard(tx, (ctx.tenant, &ending.id), &row.node, at, &doc).await?;
        }
    }
}

/// Which guards have heard of an ending: by the word of their nodes, and for a node that has not spoken by the longest
/// lease of its guards, after which none of them trusts what it knew before.
fn guards(
    now: Timestamp,
    at: Timestamp,
    nothing_told: bool,
    heard: &[(String, Timestamp, String)],
    nodes: &[NodeRow],
) -> Value {
    let (mut confirmed, mut lapsed) = (0, 0);
    let mut said = Vec::new();
    for (node, settled_at, doc) in heard {
        let doc: Document = serde_json::from_str(doc).unwrap_or_default();
        let count = |name: &str| doc.get(name).and_then(Value::as_u64).unwrap_or(0);
        confirmed += count("confirmed");
        lapsed += count("lapsed");
        said.push(match doc.get("silent") {
            Some(_) => silent(node, *settled_at, count("lapsed")),
            None => json!({ "node": node, "settled_at": settled_at.iso(), "guards": doc.get("guards") }),
        });
    }
    let mut open_until = None;
    let unheard = |row: &&NodeRow| row.guards > 0 && heard.iter().all(|(node, ..)| *node != row.node);
    for row in nodes.iter().filter(unheard).filter(|_| !nothing_told) {
        let until = trusted_until(at, row);
        if until > now {
            open_until = open_until.max(Some(until));
        } else if is_gone(at, row) {
            let guards = u64::try_from(row.guards).unwrap_or(0);
            lapsed += guards;
            said.push(silent(&row.node, until, guards));
        }
    }
    json!({
        "complete": open_until.is_none(),
        "open_until": open_until.map(Timestamp::iso),
        "confirmed": confirmed,
        "lapsed": lapsed,
        "nodes": said,
    })
}

/// A node that has said nothing of an ending, and what follows from that.
fn silent(node: &str, settled_at: Timestamp, lapsed: u64) -> Value {
    // Which guards they were it alone knew.
    json!({ "node": node, "silent": true, "settled_at": settled_at.iso(), "lapsed": lapsed, "guards": [] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(doc: Value) -> Result<Wanted, Refused> {
        match doc {
            Value::Object(doc) => Wanted::read(&doc),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn one_thing_is_named() {
        assert_eq!(read(json!({"user_id": "u"})), Ok(Wanted::Users(vec!["u".into()])));
        assert_eq!(
            read(json!({"user_id": "u", "client_id": "c"})),
            Ok(Wanted::UserClient("u".into(), "c".into()))
        );
        assert_eq!(read(json!({"client_id": "c"})), Ok(Wanted::Client("c".into())));
        for wrong in [json!({}), json!({"user_ids": []}), json!({"session_id": "s", "user_id": "u"})] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_silent_node_holds_the_receipt_open_for_as_long_as_its_guards_could_be_wrong() {
        let at = Timestamp::from_seconds(1000);
        let node = |name: &str, guards| NodeRow { node: name.into(), seen_at: at, guards, lease_seconds: 10 };
        let nodes = [node("a", 2), node("b", 1), node("c", 0)];
        let word = json!({"confirmed": 2, "lapsed": 0, "guards": []}).to_string();
        let heard = [("a".to_owned(), at.plus_seconds(1), word)];
        let open = guards(at.plus_seconds(19), at, false, &heard, &nodes);
        assert_eq!((&open["complete"], &open["confirmed"]), (&json!(false), &json!(2)));
        assert_eq!(open["open_until"], at.plus_seconds(20).iso());
        let over = guards(at.plus_seconds(20), at, false, &heard, &nodes);
        assert_eq!((&over["complete"], &over["lapsed"]), (&json!(true), &json!(1)), "{over}");
        assert_eq!(over["nodes"][1]["node"], "b");
        // A node that has spoken since may have had no guards then.
        let later = [NodeRow { seen_at: at.plus_seconds(5), ..nodes[1].clone() }];
        assert_eq!(guards(at.plus_seconds(20), at, false, &[], &later)["lapsed"], 0);
        assert_eq!(guards(at, at, true, &[], &nodes)["complete"], true, "nothing was to be told");
    }
}
