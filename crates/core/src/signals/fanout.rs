//! Which streams hear of an ending, or of a change that ended nothing, and what they are told.

use std::collections::BTreeSet;

use curfew_model::{Ctx, EndingCause, EndingId, Failure, Sid, Timestamp, UserId, UserKey};
use curfew_store::changes::ChangeRow;
use curfew_store::deliveries::{Delivery, DeliveryId, Event, Message};
use curfew_store::fanouts::{Claimed, Participant};
use curfew_store::signals::{self as rows, HELD, StreamStatus};
use curfew_store::{Tx, deliveries, users};
use curfew_tokens::digest::sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::HELD_SECONDS;
use super::events::{self, EventType};
use super::stream::{DefaultSubjects, Stream};
use super::subject::{self, Subject};
use crate::changes::{Change, User, UserChange};
use crate::deliveries::TRIED_SECONDS;
use crate::endings::Scope;

/// Members of a user that tokens carry as claims, and the claims.
const CLAIMS: [(&str, &str); 9] = [
    ("name", "name"),
    ("nickname", "nickname"),
    ("picture", "picture"),
    ("given_name", "given_name"),
    ("family_name", "family_name"),
    ("email", "email"),
    ("email_verified", "email_verified"),
    ("phone_number", "phone_number"),
    ("phone_verified", "phone_number_verified"),
];

/// What is kept of an event until it is signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) sub_id: Map<String, Value>,
    pub(super) event: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) txn: Option<String>,
}

/// What lies behind events.
struct Origin {
    /// The ending's id, or the change's.
    id: [u8; 16],
    ending: Option<EndingId>,
    txn: String,
}

/// Whom an event is about.
#[derive(Clone)]
struct About {
    user: Option<UserKey>,
    sub: Option<UserId>,
    /// The one session; `None` for the user.
    sid: Option<Sid>,
}

/// Writes what streams are told of an ending; where it is told session by session, of those of this page.
pub(crate) async fn of_ending(
    tx: &mut Tx,
    ctx: &Ctx,
    ending: &EndingId,
    claimed: &Claimed,
    scope: Option<&Scope>,
    participants: &[Participant],
) -> Result<(), Failure> {
    let Some(scope) = scope else { return Ok(()) };
    let streams = listening(tx, ctx).await?;
    if streams.is_empty() {
        return Ok(());
    }
    let origin = Origin { id: ending.0, ending: Some(*ending), txn: ending.to_string() };
    let detail: Value = serde_json::from_str(&claimed.detail).unwrap_or_default();
    let actor = detail.pointer("/actor/type").and_then(Value::as_str);
    let told = Told {
        origin,
        cause: claimed.cause,
        entity: events::initiating_entity(claimed.cause, actor),
        at: claimed.at,
    };
    let user = About { user: claimed.user, sub: claimed.user_id.clone(), sid: None };
    let is_first_page = claimed.reached.is_none();
    if let Some(event) = events::also(claimed.cause).filter(|_| is_first_page) {
        told.tell(tx, ctx, &streams, event, &user).await?;
    }
    match scope {
        Scope::Everything { .. } | Scope::Sessions { .. } if is_first_page => {
            told.tell(tx, ctx, &streams, EventType::SessionRevoked, &user).await?;
            told.tell(tx, ctx, &streams, EventType::SessionsRevoked, &user).await
        }
        Scope::Everything { .. } | Scope::Sessions { .. } => Ok(()),
        Scope::Session => {
            let sid = claimed.user.zip(claimed.session).map(|(user, session)| Sid { user, session });
            match sid.filter(|_| is_first_page) {
                Some(sid) => {
                    let about = About { sid: Some(sid), ..user };
                    told.tell(tx, ctx, &streams, EventType::SessionRevoked, &about).await
                }
                None => Ok(()),
            }
        }
        Scope::Identity { .. } | Scope::Connection { .. } | Scope::SealingKey { .. } => {
            let mut seen = BTreeSet::new();
            for one in participants {
                if !seen.insert((one.user, one.session)) {
                    continue;
                }
                let about = About {
                    user: Some(one.user),
                    sub: one.user_id.clone().or_else(|| claimed.user_id.clone()),
                    sid: Some(Sid { user: one.user, session: one.session }),
                };
                told.tell(tx, ctx, &streams, EventType::SessionRevoked, &about).await?;
            }
            Ok(())
        }
    }
}

/// An ending as it is told.
struct Told {
    origin: Origin,
    cause: EndingCause,
    entity: events::Entity,
    at: Timestamp,
}

impl Told {
    async fn tell(
        &self,
        tx: &mut Tx,
        ctx: &Ctx,
        streams: &[Stream],
        event_type: EventType,
        about: &About,
    ) -> Result<(), Failure> {
        let event = events::of_ending(event_type, self.cause, self.entity, self.at.seconds());
        tell(tx, ctx, streams, &self.origin, event_type, about, event).await
    }
}

/// Writes what streams are told of a change that ended nothing.
pub(crate) async fn of_change(
    tx: &mut Tx,
    ctx: &Ctx,
    row: &ChangeRow,
    change: &Change,
) -> Result<(), Failure> {
    let Change::User(UserChange::Updated { before, user, .. }) = change else { return Ok(()) };
    let streams = listening(tx, ctx).await?;
    if streams.is_empty() {
        return Ok(());
    }
    let txn = format!("{:032x}", u128::from_be_bytes(row.id));
    let origin = Origin { id: row.id, ending: None, txn };
    let about = About { user: Some(user.key), sub: Some(user.id.clone()), sid: None };
    let mut event = Map::new();
    event.insert("event_timestamp".to_owned(), json!(row.at.seconds()));
    if is_blocked(before) && !is_blocked(user) {
        tell(tx, ctx, &streams, &origin, EventType::AccountEnabled, &about, event.clone()).await?;
    }
    let claims = changed_claims(before, user);
    if !claims.is_empty() {
        let mut event = event.clone();
        event.insert("reason_admin".to_owned(), json!({ "en": "The user's profile was changed" }));
        event.insert("claims".to_owned(), Value::Object(claims));
        tell(tx, ctx, &streams, &origin, EventType::TokenClaimsChange, &about, event).await?;
    }
    if verified_email(before).is_some_and(|old| email(user) != Some(old)) {
        if let Some(new) = verified_email(user) {
            event.insert("new-value".to_owned(), json!(new));
        }
        identifier_changed(tx, ctx, &streams, &origin, (before, &about), event).await?;
    }
    Ok(())
}

fn is_blocked(user: &User) -> bool {
    user.doc.get("blocked") == Some(&Value::Bool(true))
}

fn email(user: &User) -> Option<&str> {
    user.doc.get("email").and_then(Value::as_str)
}

/// An address of which it is known that it is the user's: of another one nothing is said, since it may be somebody else's.
fn verified_email(user: &User) -> Option<&str> {
    email(user).filter(|_| user.doc.get("email_verified") == Some(&Value::Bool(true)))
}

/// The claims that are others now; `null` for those that are gone.
fn changed_claims(before: &User, after: &User) -> Map<String, Value> {
    let mut claims = Map::new();
    for (member, claim) in CLAIMS {
        let (old, new) = (before.doc.get(member), after.doc.get(member));
        if old != new {
            claims.insert(claim.to_owned(), new.cloned().unwrap_or(Value::Null));
        }
    }
    claims
}

/// Streams to which something is written: those that are not disabled. One that does not read keeps nobody else from
/// being told.
async fn listening(tx: &mut Tx, ctx: &Ctx) -> Result<Vec<Stream>, Failure> {
    let rows = rows::list(tx, ctx.tenant).await?;
    let read = |row| Stream::read(row).map_err(|failure| tracing::error!(%failure, "a stream does not read"));
    Ok(rows
        .into_iter()
        .filter(|row| row.status != StreamStatus::Disabled)
        .filter_map(|row| read(row).ok())
        .collect())
}

/// The subject is the old address (RISC §2.5).
async fn identifier_changed(
    tx: &mut Tx,
    ctx: &Ctx,
    streams: &[Stream],
    origin: &Origin,
    (before, about): (&User, &About),
    event: Map<String, Value>,
) -> Result<(), Failure> {
    let Some(old) = email(before) else { return Ok(()) };
    for stream in hearing(tx, ctx, streams, EventType::IdentifierChanged, about, Some(old)).await? {
        let body =
            Body { sub_id: subject::of_email(old), event: event.clone(), txn: Some(origin.txn.clone()) };
        put(tx, ctx, stream, origin, EventType::IdentifierChanged, about, &body).await?;
    }
    Ok(())
}

async fn tell(
    tx: &mut Tx,
    ctx: &Ctx,
    streams: &[Stream],
    origin: &Origin,
    event_type: EventType,
    about: &About,
    event: Map<String, Value>,
) -> Result<(), Failure> {
    for stream in hearing(tx, ctx, streams, event_type, about, None).await? {
        let iss = &stream.row.issuer;
        let sub_id = match (&about.sid, &about.sub) {
            (Some(sid), sub) => subject::of_session(iss, sub.as_ref(), sid),
            (None, Some(sub)) => subject::of_user(iss, sub),
            (None, None) => continue,
        };
        let body = Body { sub_id, event: event.clone(), txn: Some(origin.txn.clone()) };
        put(tx, ctx, stream, origin, event_type, about, &body).await?;
    }
    Ok(())
}

/// The streams that asked for an event, and about this user. `email` is the user's, where it is known to be another than
/// the present one.
async fn hearing<'a>(
    tx: &mut Tx,
    ctx: &Ctx,
    streams: &'a [Stream],
    event: EventType,
    about: &About,
    email: Option<&str>,
) -> Result<Vec<&'a Stream>, Failure> {
    let mut hearing = Vec::new();
    let mut names = None;
    for stream in streams.iter().filter(|stream| stream.delivers(event)) {
        let mut is_named = false;
        if stream.row.subjects > 0 {
            if names.is_none() {
                names = Some(names_of(tx, ctx, about, email).await?);
            }
            let hashes = names.as_ref().map_or([None, None], |[sub, email]| [sub.as_ref(), email.as_ref()]);
            is_named = rows::names(tx, ctx.tenant, &stream.row.id, about.user.as_ref(), hashes).await?;
        }
        let hears = match stream.doc.default_subjects {
            DefaultSubjects::All => !is_named,
            DefaultSubjects::None => is_named,
        };
        if hears {
            hearing.push(stream);
        }
    }
    Ok(hearing)
}

/// Under which names a stream may have a user.
async fn names_of(
    tx: &mut Tx,
    ctx: &Ctx,
    about: &About,
    email: Option<&str>,
) -> Result<[Option<rows::SubjectHash>; 2], Failure> {
    let mut address = email.map(str::to_owned);
    if let (None, Some(user)) = (&address, &about.user) {
        let row = users::find(tx, ctx.tenant, user).await?;
        let doc: Map<String, Value> =
            row.and_then(|row| serde_json::from_str(&row.doc).ok()).unwrap_or_default();
        address = doc.get("email").and_then(Value::as_str).map(str::to_owned);
    }
    let sub = about.sub.clone().map(|sub| Subject::IssSub(sub).hash());
    Ok([sub, address.map(|email| Subject::Email(email).hash())])
}

/// Writes one event for one stream. What the same happening has told it already stays.
async fn put(
    tx: &mut Tx,
    ctx: &Ctx,
    stream: &Stream,
    origin: &Origin,
    event_type: EventType,
    about: &About,
    body: &Body,
) -> Result<(), Failure> {
    let mut body = body.clone();
    if let Some(sub) = &about.sub {
        outdate(tx, ctx, stream, event_type, sub, &mut body).await?;
    }
    let id = delivery_id(&stream.row.id, &origin.id, event_type, about.sid.as_ref());
    write(tx, ctx, stream, id, origin.ending, (event_type.uri(), &body), about.sub.clone()).await
}

/// What still waits and would be wrong after this event, or is said by it as well, is not sent any more: a receiver that was
/// away must not take the older for the newer (SSF §8.1.2.1).
async fn outdate(
    tx: &mut Tx,
    ctx: &Ctx,
    stream: &Stream,
    event_type: EventType,
    sub: &UserId,
    body: &mut Body,
) -> Result<(), Failure> {
    let outdated = match event_type {
        EventType::AccountDisabled | EventType::AccountPurged => EventType::AccountEnabled,
        EventType::TokenClaimsChange => EventType::TokenClaimsChange,
        EventType::SessionRevoked
        | EventType::CredentialChange
        | EventType::AccountEnabled
        | EventType::IdentifierChanged
        | EventType::SessionsRevoked => return Ok(()),
    };
    let old = (sub, outdated.uri());
    let older = rows::supersede(tx, ctx.tenant, &stream.row.id, old, ctx.now).await?;
    if event_type != EventType::TokenClaimsChange {
        return Ok(());
    }
    for older in older {
        let older: Option<Body> = serde_json::from_str(&older).ok();
        let claims = older.and_then(|mut older| older.event.remove("claims"));
        if let (Some(Value::Object(old)), Some(Value::Object(new))) = (claims, body.event.get_mut("claims")) {
            for (name, value) in old {
                new.entry(name).or_insert(value);
            }
        }
    }
    Ok(())
}

/// Writes a delivery. What waits for a poll is told to those who poll.
pub(super) async fn write(
    tx: &mut Tx,
    ctx: &Ctx,
    stream: &Stream,
    id: DeliveryId,
    ending: Option<EndingId>,
    (event_type, body): (&str, &Body),
    sub: Option<UserId>,
) -> Result<(), Failure> {
    let body = serde_json::to_string(body)
        .map_err(|error| Failure::Internal(format!("an event is not JSON: {error}").into()))?;
    let message = Message::SecurityEvent(Event { event_type: event_type.to_owned(), body });
    let held = stream.holds();
    let retry_until = ctx.now.plus_seconds(if held { HELD_SECONDS } else { TRIED_SECONDS });
    let mut delivery = Delivery::new(
        id,
        ending,
        (stream.row.receiver(), message),
        (sub, stream.row.issuer.clone()),
        (ctx.now, retry_until),
    );
    if held {
        delivery.next_at = HELD;
    }
    if deliveries::insert(tx, ctx.tenant, &delivery).await? && held {
        rows::note_waiting(tx);
    }
    Ok(())
}

/// One happening tells one stream one thing once: what is told decides the key.
fn delivery_id(stream: &str, origin: &[u8; 16], event_type: EventType, sid: Option<&Sid>) -> DeliveryId {
    let mut told = b"signal".to_vec();
    told.extend_from_slice(origin);
    for part in [stream, event_type.uri()] {
        told.extend_from_slice(&(part.len() as u64).to_be_bytes());
        told.extend_from_slice(part.as_bytes());
    }
    if let Some(sid) = sid {
        told.extend_from_slice(sid.to_string().as_bytes());
    }
    let hash = sha256(&told);
    let mut id = DeliveryId::default();
    id.copy_from_slice(&hash[..16]);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(doc: Value) -> User {
        let doc = match doc {
            Value::Object(doc) => doc,
            other => panic!("{other} is no object"),
        };
        User { key: UserKey([1; 12]), id: "auth0|1".into(), doc }
    }

    #[test]
    fn claims_that_are_gone_are_null_and_metadata_is_no_claim() {
        let before = user(json!({"name": "Ada", "email": "a@example.com", "user_metadata": {"x": 1}}));
        let after = user(json!({"name": "Ada L.", "phone_verified": true, "user_metadata": {"x": 2}}));
        assert_eq!(
            Value::Object(changed_claims(&before, &after)),
            json!({"name": "Ada L.", "email": null, "phone_number_verified": true})
        );
        assert!(changed_claims(&after, &after).is_empty());
    }

    #[test]
    fn each_thing_told_has_a_key_of_its_own() {
        let sid = |last| Sid { user: UserKey([1; 12]), session: curfew_model::SessionKey([last; 12]) };
        let ids = [
            delivery_id("a", &[1; 16], EventType::SessionRevoked, None),
            delivery_id("b", &[1; 16], EventType::SessionRevoked, None),
            delivery_id("a", &[2; 16], EventType::SessionRevoked, None),
            delivery_id("a", &[1; 16], EventType::AccountPurged, None),
            delivery_id("a", &[1; 16], EventType::SessionRevoked, Some(&sid(1))),
            delivery_id("a", &[1; 16], EventType::SessionRevoked, Some(&sid(2))),
        ];
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert_eq!(ids[0], delivery_id("a", &[1; 16], EventType::SessionRevoked, None));
    }
}
