//! The browser's live line: an application hears that the session of this browser has ended.
//!
//! Cookies of another site are blocked in many browsers, so none counts here. The application shows the ID token it got
//! in that session, from one of its own origins, and has a ticket for it: sealed, good for a minute, from that origin
//! alone. With the ticket it opens the line.

use std::sync::Arc;

use curfew_model::{ClientId, Ctx, EndingCause, Failure, Sid, Timestamp};
use curfew_tokens::SealKind;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::stream::SILENCE;
use super::{Entry, Feed, Message};
use crate::clients::is_web_origin;
use crate::sessions::{Life, life};
use crate::{Core, logout};

/// How long a ticket opens a line.
pub const TICKET_SECONDS: i64 = 60;

#[derive(Serialize, Deserialize)]
struct Ticket {
    sid: String,
    origin: String,
    exp: i64,
}

/// Hands out a ticket for the session of an ID token: to one of its client's web origins, while the session lives.
/// `None` for everybody else.
pub async fn ticket(core: &Core, ctx: &Ctx, id_token: &str, origin: &str) -> Result<Option<String>, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let Some(hint) = logout::read_hint(core, ctx, &config, id_token).await? else { return Ok(None) };
    let (Some(sid), Some(client_id)) = (hint.sid, hint.aud.first()) else { return Ok(None) };
    let (_, client) = core.configuration(ctx.tenant, &ClientId(client_id.clone())).await?;
    if !client.is_some_and(|client| is_web_origin(&client, origin)) || !session_lives(core, ctx, sid).await? {
        return Ok(None);
    }
    let ticket =
        Ticket { sid: sid.to_string(), origin: origin.to_owned(), exp: ctx.now.seconds() + TICKET_SECONDS };
    let plaintext = serde_json::to_vec(&ticket)
        .map_err(|error| Failure::Crypto(format!("writing a ticket: {error}").into()))?;
    Ok(Some(config.seal(SealKind::LiveTicket, &plaintext, ctx)))
}

async fn session_lives(core: &Core, ctx: &Ctx, sid: Sid) -> Result<bool, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let row = core
        .store
        .read((ctx.tenant, sid), |tx, (tenant, sid)| {
            Box::pin(curfew_store::sessions::find(tx, *tenant, sid, None))
        })
        .await?;
    Ok(row.is_some_and(|row| life(&row, &config, ctx.now) == Life::Alive))
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The session lives.
    Alive,
    /// Nothing has happened for a while.
    Silence,
    /// The session has ended: why and when, if an ending said so, and not time.
    Ended(Option<(EndingCause, Timestamp)>),
}

/// One browser's line: [`next`](Self::next) until it answers `None`.
#[derive(Debug)]
pub struct Line {
    _counted: Counted,
    sid: Sid,
    messages: broadcast::Receiver<Message>,
    begun: bool,
    over: bool,
}

#[derive(Debug)]
struct Counted(Arc<Feed>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared().lines -= 1;
    }
}

/// Why a line does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLine {
    /// The ticket is not valid, not for this origin, or used too late.
    Ticket,
    /// This node has as many as it takes.
    Full,
}

/// Most lines of one node.
const LINES_MAX: usize = 20_000;

/// Opens the line of a ticket.
pub async fn line(
    core: &Core,
    ctx: &Ctx,
    ticket: &str,
    origin: &str,
) -> Result<Result<Line, NoLine>, Failure> {
    let config = core.tenant(ctx.tenant).await?;
    let unsealed = config.sealing.unseal(SealKind::LiveTicket, config.tenant, ticket).ok();
    let ticket = unsealed.and_then(|unsealed| serde_json::from_slice::<Ticket>(&unsealed.plaintext).ok());
    let valid = ticket.filter(|ticket| ticket.origin == origin && ticket.exp > ctx.now.seconds());
    let Some(sid) = valid.and_then(|ticket| Sid::parse(&ticket.sid)) else { return Ok(Err(NoLine::Ticket)) };
    let feed = Arc::clone(&core.feed);
    {
        let mut shared = feed.shared();
        if shared.lines >= LINES_MAX {
            return Ok(Err(NoLine::Full));
        }
        shared.lines += 1;
    }
    let counted = Counted(Arc::clone(&feed));
    // First the subscription, then the look at the session: what ends in between is heard.
    let messages = feed.messages.subscribe();
    feed.read_from_now().await?;
    Ok(Ok(Line { _counted: counted, sid, messages, begun: false, over: false }))
}

impl Line {
    /// What is said next. It waits as long as it takes, but not longer than 15 seconds. `None` after the end, and when
    /// the node stops or the line fell behind: the browser opens another.
    pub async fn next(&mut self, core: &Core, ctx: &Ctx) -> Option<News> {
        if self.over {
            return None;
        }
        if !self.begun {
            self.begun = true;
            return self.look(core, ctx, None).await;
        }
        let silence = tokio::time::sleep(SILENCE);
        tokio::pin!(silence);
        loop {
            tokio::select! {
                message = self.messages.recv() => match message {
                    Ok(Message::Entry(entry)) if concerns(&entry, ctx, &self.sid) => {
                        let told = Some((entry.row.cause, entry.row.at));
                        match self.look(core, ctx, told).await {
                            Some(News::Alive) => {}
                            other => return other,
                        }
                    }
                    Ok(Message::Entry(_) | Message::Read(_)) => {}
                    Ok(Message::Closed) | Err(RecvError::Lagged(_) | RecvError::Closed) => {
                        self.over = true;
                        return None;
                    }
                },
                () = &mut silence => return Some(News::Silence),
            }
        }
    }

    async fn look(&mut self, core: &Core, ctx: &Ctx, told: Option<(EndingCause, Timestamp)>) -> Option<News> {
        let ctx = Ctx { now: core.clock.now(), ..ctx.clone() };
        match session_lives(core, &ctx, self.sid).await {
            Ok(true) => Some(News::Alive),
            Ok(false) => {
                self.over = true;
                Some(News::Ended(told))
            }
            Err(_) => {
                self.over = true;
                None
            }
        }
    }
}

/// Whether an entry may have ended the session.
fn concerns(entry: &Entry, ctx: &Ctx, sid: &Sid) -> bool {
    let row = &entry.row;
    let session = sid.session.to_string();
    let other_session = row.entry.kind.starts_with("session") && row.entry.subject.as_ref() != Some(&session);
    row.tenant == ctx.tenant && row.entry.user_key.is_none_or(|user| user == sid.user) && !other_session
}
