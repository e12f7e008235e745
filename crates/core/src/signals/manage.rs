//! The management of streams by their receivers (SSF §8.1). A stream belongs to the client that made it; for every other
//! client it does not exist.

use curfew_model::{Ctx, Failure, Secret};
use curfew_store::signals::{self as rows, Added, StreamRow, StreamStatus};
use curfew_store::{Lane, Tx, clients, deliveries, tenants, users};
use curfew_tokens::SealKind;
use serde_json::{Map, Value, json};

use super::events::VERIFICATION;
use super::fanout::{self, Body};
use super::stream::{self, DESCRIPTION_MAX, DefaultSubjects, Document, Stream, Wanted, authorization, view};
use super::subject::{self, Subject};
use super::{ACTIVE_SECONDS, HELD_SECONDS, Outcome, Receiver, Refused};
use crate::deliveries::TRIED_SECONDS;
use crate::management::{Write, granted};
use crate::{Core, TenantConfig};

/// Streams of one client.
pub const STREAMS_OF_CLIENT_MAX: i64 = 10;
/// Streams of one tenant: each ending is held against each of them.
const STREAMS_MAX: i64 = 200;
/// Subjects that a stream treats otherwise than its default.
const SUBJECTS_MAX: i64 = 10_000;
/// Seconds between two verifications of a stream.
pub const VERIFICATION_SECONDS_MIN: i64 = 30;
/// Characters of a verification's `state`.
const STATE_MAX: usize = 1000;

/// What a client is told of a stream that is not its own, or not there.
pub(super) const NO_STREAM: &str = "There is no such stream";

fn absent<T>() -> Outcome<T> {
    Ok(Err(Refused::Absent(NO_STREAM)))
}

/// What is written down of a request.
fn write(
    receiver: &Receiver,
    (summary, method): (&'static str, &'static str),
    path: &str,
    body: &Document,
    status: u16,
) -> Write {
    Write {
        caller: receiver.caller.clone(),
        summary,
        method,
        path: path.to_owned(),
        query: json!({}),
        body: Value::Object(body.clone()),
        status,
    }
}

fn seal(config: &TenantConfig, ctx: &Ctx, secret: Option<&Secret<String>>) -> Option<Secret<String>> {
    let kind = SealKind::ReceiverAuthorization;
    secret.map(|secret| Secret::new(config.seal(kind, secret.expose().as_bytes(), ctx)))
}

fn stored(doc: &stream::StreamDoc) -> Result<String, Failure> {
    serde_json::to_string(doc)
        .map_err(|error| Failure::Internal(format!("a stream is not JSON: {error}").into()))
}

/// As its receiver sees it: what it wrote as a secret is for those who may write it.
fn shown(stream: &Stream, receiver: &Receiver, config: &TenantConfig) -> Result<Document, Failure> {
    let secret = if receiver.manages { authorization(&stream.row, config)? } else { None };
    Ok(view(stream, secret.as_ref()))
}

/// The `stream_id` of a body.
fn named(body: &Document) -> Result<String, Refused> {
    let id = body.get("stream_id").and_then(Value::as_str).filter(|id| !id.contains('\0'));
    id.map(str::to_owned).ok_or_else(|| Refused::Invalid("stream_id is missing".to_owned()))
}

/// Makes a stream (SSF §8.1.1.1).
pub async fn create(core: &Core, ctx: &Ctx, receiver: &Receiver, body: Document) -> Outcome<Document> {
    let config = core.tenant(ctx.tenant).await?;
    let (doc, secret) = granted!(Wanted::read(&body, &*core.outbound)).whole();
    let row = StreamRow {
        id: format!("ssf_{}", ctx.entropy.alphanumeric(22)),
        client_id: receiver.client.clone(),
        issuer: ctx.issuer.to_string(),
        doc: stored(&doc)?,
        authorization: seal(&config, ctx, secret.as_ref()),
        status: StreamStatus::Enabled,
        reason: None,
        subjects: 0,
        updated_at: ctx.now,
        active_at: ctx.now,
    };
    let write = write(receiver, ("Create a stream", "POST"), "/ssf/streams", &body, 201);
    let made = core
        .store
        .transact(Lane::Ordinary, (ctx.clone(), write, row.clone()), |tx, (ctx, write, row)| {
            Box::pin(async move {
                // Who counts writes first: here the tenant's row, and the client's, which may be going.
                tenants::touch(tx, ctx.tenant).await?;
                if !clients::touch(tx, ctx.tenant, &row.client_id).await? {
                    return absent();
                }
                let (all, own) = rows::count(tx, ctx.tenant, &row.client_id).await?;
                if own >= STREAMS_OF_CLIENT_MAX {
                    let text = format!("A client has at most {STREAMS_OF_CLIENT_MAX} streams");
                    return Ok(Err(Refused::Full(text)));
                }
                if all >= STREAMS_MAX {
                    return Ok(Err(Refused::Full(format!("There are at most {STREAMS_MAX} streams"))));
                }
                rows::insert(tx, ctx.tenant, row, ctx.now).await?;
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await?;
    granted!(made);
    Ok(Ok(shown(&Stream { row, doc }, receiver, &config)?))
}

/// A client's stream; that its receiver was here is noted.
async fn own(core: &Core, ctx: &Ctx, receiver: &Receiver, id: &str) -> Result<Option<Stream>, Failure> {
    let row = core
        .store
        .read((ctx.tenant, id.to_owned()), |tx, (tenant, id)| Box::pin(rows::find(tx, *tenant, id)))
        .await?;
    let Some(row) = row.filter(|row| row.client_id == receiver.client) else { return Ok(None) };
    let before = ctx.now.plus_seconds(-ACTIVE_SECONDS);
    if row.active_at < before {
        core.store
            .transact(Lane::Ordinary, (ctx.clone(), row.id.clone(), before), |tx, (ctx, id, before)| {
                Box::pin(rows::note_active(tx, ctx.tenant, id, ctx.now, *before))
            })
            .await?;
    }
    Stream::read(row).map(Some)
}

/// Answers one stream (SSF §8.1.1.2).
pub async fn read(core: &Core, ctx: &Ctx, receiver: &Receiver, id: &str) -> Outcome<Document> {
    let Some(stream) = own(core, ctx, receiver, id).await? else { return absent() };
    let config = core.tenant(ctx.tenant).await?;
    Ok(Ok(shown(&stream, receiver, &config)?))
}

/// Answers every stream of the client.
pub async fn list(core: &Core, ctx: &Ctx, receiver: &Receiver) -> Result<Vec<Document>, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let args = (ctx.tenant, receiver.client.clone());
    let rows = core
        .store
        .read(args, |tx, (tenant, client)| Box::pin(rows::list_of_client(tx, *tenant, client)))
        .await?;
    rows.into_iter().map(|row| shown(&Stream::read(row)?, receiver, &config)).collect()
}

/// Changes what is named (SSF §8.1.1.3). `delivery` is one property: it is replaced as a whole.
pub async fn update(core: &Core, ctx: &Ctx, receiver: &Receiver, body: Document) -> Outcome<Document> {
    change(core, ctx, receiver, body, How::Update).await
}

/// Replaces what the receiver supplies (SSF §8.1.1.4): what is not there is its default.
pub async fn replace(core: &Core, ctx: &Ctx, receiver: &Receiver, body: Document) -> Outcome<Document> {
    change(core, ctx, receiver, body, How::Replace).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Update,
    Replace,
}

async fn change(core: &Core, ctx: &Ctx, receiver: &Receiver, body: Document, how: How) -> Outcome<Document> {
    let id = granted!(named(&body));
    let wanted = granted!(Wanted::read(&body, &*core.outbound));
    let config = core.tenant(ctx.tenant).await?;
    let said = match how {
        How::Update => ("Update a stream", "PATCH"),
        How::Replace => ("Replace a stream", "PUT"),
    };
    let write = write(receiver, said, "/ssf/streams", &body, 200);
    let args = (ctx.clone(), config, receiver.clone(), write, id, wanted, how);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, config, receiver, write, id, wanted, how)| {
            Box::pin(async move {
                let Some(row) = rows::take(tx, ctx.tenant, id, &receiver.client, ctx.now).await? else {
                    return absent();
                };
                let before = Stream::read(row)?;
                if let Value::Object(body) = &write.body {
                    granted!(stream::check_supplied(&before, body));
                }
                let mut after = before.clone();
                let secret = match how {
                    How::Update => wanted.clone().over(&mut after.doc),
                    How::Replace => {
                        let (doc, secret) = wanted.clone().whole();
                        after.doc = doc;
                        Some(secret)
                    }
                };
                if let Some(secret) = secret {
                    after.row.authorization = seal(config, ctx, secret.as_ref());
                }
                after.row.doc = stored(&after.doc)?;
                rows::update(tx, ctx.tenant, &after.row, ctx.now).await?;
                if before.doc.default_subjects != after.doc.default_subjects {
                    rows::clear_subjects(tx, ctx.tenant, id).await?;
                }
                move_waiting(tx, ctx, &before, &after).await?;
                write.log(tx, ctx).await?;
                Ok(Ok(shown(&after, receiver, config)?))
            })
        })
        .await
}

/// What waits goes the way that is configured now.
async fn move_waiting(tx: &mut Tx, ctx: &Ctx, before: &Stream, after: &Stream) -> Result<(), Failure> {
    let id = &after.row.id;
    match (before.holds(), after.holds()) {
        (false, true) => rows::hold(tx, ctx.tenant, id, ctx.now.plus_seconds(HELD_SECONDS)).await,
        (true, false) => rows::release(tx, ctx.tenant, id, ctx.now.plus_seconds(TRIED_SECONDS)).await,
        _ => Ok(()),
    }
}

/// Deletes a stream (SSF §8.1.1.5). What waits on it is given up.
pub async fn delete(core: &Core, ctx: &Ctx, receiver: &Receiver, id: &str) -> Outcome<()> {
    let mut named = Document::new();
    named.insert("stream_id".to_owned(), json!(id));
    let write = write(receiver, ("Delete a stream", "DELETE"), "/ssf/streams", &named, 204);
    let args = (ctx.clone(), receiver.clone(), write, id.to_owned());
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, receiver, write, id)| {
            Box::pin(async move {
                if rows::take(tx, ctx.tenant, id, &receiver.client, ctx.now).await?.is_none() {
                    return absent();
                }
                rows::delete(tx, ctx.tenant, id, ctx.now).await?;
                write.log(tx, ctx).await.map(Ok)
            })
        })
        .await
}

fn status_of(row: &StreamRow) -> Document {
    let mut status = Map::new();
    status.insert("stream_id".to_owned(), json!(row.id));
    status.insert("status".to_owned(), json!(row.status.as_str()));
    if let Some(reason) = &row.reason {
        status.insert("reason".to_owned(), json!(reason));
    }
    status
}

/// Answers a stream's status (SSF §8.1.2.1).
pub async fn status(core: &Core, ctx: &Ctx, receiver: &Receiver, id: &str) -> Outcome<Document> {
    match own(core, ctx, receiver, id).await? {
        Some(stream) => Ok(Ok(status_of(&stream.row))),
        None => absent(),
    }
}

/// Sets a stream's status (SSF §8.1.2.2). What comes while it is paused is held, while it is disabled is not written.
pub async fn set_status(core: &Core, ctx: &Ctx, receiver: &Receiver, body: Document) -> Outcome<Document> {
    let id = granted!(named(&body));
    let status = body.get("status").and_then(Value::as_str).and_then(StreamStatus::parse);
    let Some(status) = status else {
        return Ok(Err(Refused::Invalid("status is enabled, paused or disabled".to_owned())));
    };
    let reason = match body.get("reason").filter(|value| !value.is_null()) {
        None => None,
        Some(value) => Some(granted!(stream::text("reason", value, DESCRIPTION_MAX))),
    };
    let write = write(receiver, ("Update a stream's status", "POST"), "/ssf/status", &body, 200);
    let args = (ctx.clone(), receiver.clone(), write, id, (status, reason));
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, receiver, write, id, (status, reason))| {
            Box::pin(async move {
                let Some(row) = rows::take(tx, ctx.tenant, id, &receiver.client, ctx.now).await? else {
                    return absent();
                };
                let before = Stream::read(row)?;
                let mut after = before.clone();
                after.row.status = *status;
                after.row.reason.clone_from(reason);
                rows::set_status(tx, ctx.tenant, id, (*status, reason.as_deref()), ctx.now).await?;
                if *status == StreamStatus::Disabled {
                    let why = (ctx.now, "the stream is disabled");
                    deliveries::cancel(tx, ctx.tenant, &after.row.receiver(), why).await?;
                }
                move_waiting(tx, ctx, &before, &after).await?;
                // Those who poll a stream that is enabled again get what it held.
                rows::note_waiting(tx);
                write.log(tx, ctx).await?;
                Ok(Ok(status_of(&after.row)))
            })
        })
        .await
}

/// Has a stream hear of a user (SSF §8.1.3.2). Whether there is such a user is not said.
pub async fn add_subject(core: &Core, ctx: &Ctx, receiver: &Receiver, body: &Document) -> Outcome<()> {
    treat(core, ctx, receiver, body, DefaultSubjects::All).await
}

/// Has a stream not hear of a user any more (SSF §8.1.3.3).
pub async fn remove_subject(core: &Core, ctx: &Ctx, receiver: &Receiver, body: &Document) -> Outcome<()> {
    treat(core, ctx, receiver, body, DefaultSubjects::None).await
}

/// Has one user treated as if this were the stream's default.
async fn treat(
    core: &Core,
    ctx: &Ctx,
    receiver: &Receiver,
    body: &Document,
    as_if: DefaultSubjects,
) -> Outcome<()> {
    let id = granted!(named(body));
    let config = core.tenant(ctx.tenant).await?;
    let subject = granted!(Subject::read(body.get("subject").unwrap_or(&Value::Null), &config));
    let args = (ctx.clone(), receiver.clone(), id, subject, as_if);
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, receiver, id, subject, as_if)| {
            Box::pin(async move {
                let Some(row) = rows::take(tx, ctx.tenant, id, &receiver.client, ctx.now).await? else {
                    return absent();
                };
                let stream = Stream::read(row)?;
                let (hash, user) = (subject.hash(), person(tx, ctx, subject).await?);
                if stream.doc.default_subjects == *as_if {
                    rows::delete_subject(tx, ctx.tenant, id, &hash, user.as_ref()).await?;
                    return Ok(Ok(()));
                }
                let doc = match subject {
                    Subject::IssSub(sub) => subject::of_user(&stream.row.issuer, sub),
                    Subject::Email(email) => subject::of_email(email),
                };
                let doc = Value::Object(doc).to_string();
                let new = (&hash, user.as_ref(), doc.as_str());
                match rows::insert_subject(tx, ctx.tenant, id, new, ctx.now, SUBJECTS_MAX).await? {
                    Added::There => Ok(Ok(())),
                    Added::Full => {
                        Ok(Err(Refused::Invalid(format!("A stream has at most {SUBJECTS_MAX} subjects"))))
                    }
                }
            })
        })
        .await
}

/// The one person whom a subject names now.
async fn person(tx: &mut Tx, ctx: &Ctx, subject: &Subject) -> Result<Option<curfew_model::UserKey>, Failure> {
    match subject {
        Subject::IssSub(sub) => users::find_key(tx, ctx.tenant, sub).await,
        Subject::Email(email) => {
            let found = users::keys_by_identifier(tx, ctx.tenant, "email", email).await?;
            match found.as_slice() {
                [user] => Ok(Some(*user)),
                _ => Ok(None),
            }
        }
    }
}

/// Sends a verification event on a stream (SSF §8.1.4.2).
pub async fn verify(core: &Core, ctx: &Ctx, receiver: &Receiver, body: &Document) -> Outcome<()> {
    let id = granted!(named(body));
    let state = match body.get("state").filter(|value| !value.is_null()) {
        None => None,
        Some(value) => Some(granted!(stream::text("state", value, STATE_MAX))),
    };
    let args = (ctx.clone(), receiver.clone(), id, state, ctx.entropy.bytes::<16>());
    core.store
        .transact(Lane::Ordinary, args, |tx, (ctx, receiver, id, state, delivery)| {
            Box::pin(async move {
                let Some(row) = rows::take(tx, ctx.tenant, id, &receiver.client, ctx.now).await? else {
                    return absent();
                };
                let stream = Stream::read(row)?;
                if stream.row.status == StreamStatus::Disabled {
                    return Ok(Err(Refused::Invalid("The stream is disabled".to_owned())));
                }
                let before = ctx.now.plus_seconds(-VERIFICATION_SECONDS_MIN);
                if !rows::verify(tx, ctx.tenant, id, ctx.now, before).await? {
                    return Ok(Err(Refused::TooSoon(VERIFICATION_SECONDS_MIN)));
                }
                let mut event = Map::new();
                if let Some(state) = state {
                    event.insert("state".to_owned(), json!(state));
                }
                let txn = Some(ctx.request.id.to_string());
                let body = Body { sub_id: subject::of_stream(id), event, txn };
                fanout::write(tx, ctx, &stream, *delivery, None, (VERIFICATION, &body), None).await?;
                rows::note_waiting(tx);
                Ok(Ok(()))
            })
        })
        .await
}
