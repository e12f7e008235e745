//! The feed as a node serves it to guards: one reader for all of a node's streams.
//!
//! Invariant: a stream hears an entry before anything that says the feed has been read past it. The reader alone puts
//! entries into the streams, in the order of complete reads ([`Feed::run`]); echoes and positions follow through the same
//! door. A commit's wake-up only makes the next read come sooner. No read of the database, no echo.
//!
//! The protocol, and why an old view is of no use, is in `docs/guards.md`.

mod acknowledged;
mod cutoff;
mod guards;
pub mod live;
mod position;
mod snapshot;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_model::{Clock, Failure, TenantId, Timestamp};
use curfew_store::feed::{FeedRow, NodeRow};
use curfew_store::{Engine, Lane, Store};
use serde_json::json;
use tokio::sync::{Notify, broadcast, oneshot};

pub use guards::{Activity, Announcement, Denied, GUARD_SCOPE, Guard, Stale, authorize, record_activity};
pub use position::{Position, new_number};
pub use snapshot::Snapshot;
pub use stream::{End, Event, Stream};

use acknowledged::{Acknowledged, Settled};
use stream::StreamState;

/// What may end, for a page of entries.
const PAGE: i64 = 1000;
/// Entries that wait for a stream. One that is further behind is cut, and resumes by its position.
const WAITING_MAX: usize = 4096;
/// Entries a guard may lack when it resumes. With more, a snapshot is the shorter way.
const BACKLOG_MAX: i64 = 20_000;
/// Least time between two reads that only probes ask for: it gathers the probes of many guards.
const GATHER: Duration = Duration::from_millis(20);
/// How often a node says anew that guards are connected to it.
pub const SAY_EVERY: Duration = Duration::from_secs(30);
/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time between two reads while guards are connected: how soon another node's endings are found without a hint.
const POLL_POSTGRES: Duration = Duration::from_millis(250);
/// In the embedded database nobody else writes.
const POLL_SQLITE: Duration = Duration::from_secs(1);

/// A node's streams, and what they are told.
#[derive(Debug)]
pub struct Feed {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Names this node to guards and in receipts.
    node: String,
    messages: broadcast::Sender<Message>,
    shared: Mutex<Shared>,
    wake: Notify,
    snapshots: snapshot::Snapshots,
}

#[derive(Debug, Default)]
struct Shared {
    /// How far the streams have been told; `None` while nobody reads.
    heads: Option<Position>,
    streams: HashMap<String, Arc<StreamState>>,
    /// Probes that came in since the last read began.
    probes: Vec<(Arc<StreamState>, u64)>,
    /// Who waits for a complete read that begins from now on.
    readers: Vec<oneshot::Sender<Position>>,
    acknowledged: Acknowledged,
    /// Settled, and not written down yet.
    settled: Vec<Settled>,
    /// How many browsers listen.
    lines: usize,
    /// What this node last said of its guards.
    said: Option<NodeRow>,
    closed: bool,
}

/// What the reader tells all streams.
#[derive(Debug, Clone)]
enum Message {
    Entry(Arc<Entry>),
    /// Everything up to here has been told.
    Read(Arc<Position>),
    Closed,
}

/// An entry on its way to guards.
#[derive(Debug)]
pub struct Entry {
    /// Where it stands.
    pub row: FeedRow,
    /// What guards are told, as JSON; the same for all of them.
    pub data: String,
}

impl Entry {
    fn new(row: FeedRow) -> Result<Self, Failure> {
        let data = json!({
            "cutoff": cutoff::cutoff(&row.entry, row.at)?,
            "lane": row.lane,
            "position": row.position,
            "ending_id": row.ending,
            "cause": row.cause.as_str(),
            "at": row.at.iso(),
        });
        Ok(Self { row, data: data.to_string() })
    }

    fn concerns(&self, tenant: TenantId, audience: &str) -> bool {
        self.row.tenant == tenant && cutoff::concerns(&self.row.entry, audience)
    }

    /// Whether it is about configuration, and so perhaps about the guard's own token.
    fn is_about_configuration(&self) -> bool {
        self.row.entry.user_key.is_none()
    }
}

/// Why a stream cannot begin where a guard wants it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is of another feed, this one has not come so far, or it has gone on too far: the guard begins with a snapshot.
    Position,
}

/// What becomes of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// The echo comes in the stream.
    Here,
    /// The stream is another node's. So far had the feed come in a read that began after the probe had come in.
    Elsewhere(Position),
}

impl Feed {
    /// The feed of a node. Nothing is read before [`run`](Self::run) runs.
    pub fn new(store: Store, clock: Arc<dyn Clock>, node: String) -> Self {
        Self {
            store,
            clock,
            node,
            messages: broadcast::Sender::new(WAITING_MAX),
            shared: Mutex::default(),
            wake: Notify::new(),
            snapshots: snapshot::Snapshots::default(),
        }
    }

    /// Names this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the feed for all streams, until it is dropped. Without streams nothing is read.
    pub async fn run(&self) {
        let mut written = self.store.endings_written();
        let poll = match self.store.engine() {
            Engine::Sqlite => POLL_SQLITE,
            Engine::Postgres => POLL_POSTGRES,
        };
        loop {
            tokio::select! {
                _ = written.changed() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(poll) => {}
            }
            if let Err(failure) = self.read_once().await {
                tracing::warn!(%failure, "the feed cannot be read; guards go on for as long as their leases");
                tokio::time::sleep(PAUSE).await;
            }
            // Whoever asks again within this time is answered together with others. An ending does not wait.
            tokio::select! {
                _ = written.changed() => written.mark_changed(),
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }

    /// One complete read of all lanes, and everything that follows from it.
    async fn read_once(&self) -> Result<(), Failure> {
        // One instant for both: guards whose leases are over are counted by their node before it says that they are gone.
        let now = self.clock.now();
        self.settle(now).await?;
        self.say_guards(now).await?;
        let (probes, readers, known, number) = {
            let mut shared = self.shared();
            let nobody = shared.streams.is_empty() && shared.readers.is_empty() && shared.lines == 0;
            if nobody && shared.acknowledged.leases(self.clock.now()).0 == 0 {
                shared.heads = None;
                return Ok(());
            }
            let probes = std::mem::take(&mut shared.probes);
            let number = shared.acknowledged.begin_read();
            (probes, std::mem::take(&mut shared.readers), shared.heads.clone(), number)
        };
        // On failure `readers` are dropped, and who waits learns it by that; the probes stay without an echo.
        let (heads, entries) = self.read_after(known.as_ref()).await?;
        let moved = known.as_ref() != Some(&heads);
        {
            let mut shared = self.shared();
            shared.heads = Some(heads.clone());
            shared.acknowledged.told(&entries, self.clock.now());
            // Nobody may be listening; that is no failure.
            for entry in entries {
                let _ = self.messages.send(Message::Entry(Arc::new(entry)));
            }
            if moved {
                let _ = self.messages.send(Message::Read(Arc::new(heads.clone())));
            }
            shared.acknowledged.end_read(number);
        }
        for (stream, probe) in probes {
            stream.echo(probe, heads.clone());
        }
        for reader in readers {
            let _ = reader.send(heads.clone());
        }
        self.settle(self.clock.now()).await
    }

    /// Writes down that guards trust this node, before the first of them is given a reason to: receipts wait for it.
    async fn say_guards(&self, now: Timestamp) -> Result<(), Failure> {
        let row = {
            let shared = self.shared();
            let (guards, lease_seconds) = shared.acknowledged.leases(now);
            let guards = i64::try_from(guards).unwrap_or(i64::MAX);
            let due = match &shared.said {
                None => guards > 0,
                Some(said) => {
                    let more = guards > said.guards || lease_seconds > said.lease_seconds;
                    more || (guards != said.guards && guards == 0)
                        || (guards > 0 && now.since(said.seen_at) >= SAY_EVERY)
                }
            };
            if !due {
                return Ok(());
            }
            NodeRow { node: self.node.clone(), seen_at: now, guards, lease_seconds }
        };
        self.store
            .transact(Lane::Ordinary, row.clone(), |tx, row| Box::pin(curfew_store::feed::say_node(tx, row)))
            .await?;
        self.shared().said = Some(row);
        Ok(())
    }

    /// Writes down which endings this node's guards have heard of.
    async fn settle(&self, now: Timestamp) -> Result<(), Failure> {
        let settled = {
            let mut shared = self.shared();
            let more = shared.acknowledged.settle(now);
            shared.settled.extend(more);
            shared.settled.clone()
        };
        if settled.is_empty() {
            return Ok(());
        }
        let written = settled.len();
        self.store
            .transact(Lane::Ordinary, (settled, self.node.clone(), now), |tx, (settled, node, now)| {
                Box::pin(async move {
                    for Settled { tenant, ending, doc } in settled {
                        curfew_store::feed::insert_heard(tx, (*tenant, ending), node, *now, doc).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        // The reader alone settles: nothing has come before these meanwhile.
        self.shared().settled.drain(..written);
        Ok(())
    }

    /// The heads, and what stands between `known` and them. Heads are read first: what is committed under a head is
    /// there, because a lane's numbers are taken in the order of commits.
    async fn read_after(&self, known: Option<&Position>) -> Result<(Position, Vec<Entry>), Failure> {
        let heads = self.store.read((), |tx, ()| Box::pin(curfew_store::feed::heads(tx))).await?;
        let heads = Position::new(heads);
        let entries = match known {
            Some(known) => self.between(known, &heads).await?,
            None => Vec::new(),
        };
        Ok((heads, entries))
    }

    async fn between(&self, from: &Position, to: &Position) -> Result<Vec<Entry>, Failure> {
        let mut entries = Vec::new();
        for (lane, (from, to)) in from.lanes().iter().zip(to.lanes()).enumerate() {
            let lane = i64::try_from(lane).map_err(|_| Failure::Internal("too many lanes".into()))?;
            let mut after = *from;
            while after < *to {
                let page = self
                    .store
                    .read((lane, after, *to), |tx, (lane, after, to)| {
                        Box::pin(curfew_store::feed::between(tx, *lane, *after, *to, PAGE))
                    })
                    .await?;
                // What is missing was purged: no token is old enough to need it.
                let Some(last) = page.last() else { break };
                after = last.position;
                for row in page {
                    entries.push(Entry::new(row)?);
                }
            }
        }
        Ok(entries)
    }

    /// How far the feed had come in a complete read that began after this call.
    ///
    /// Failure: [`Failure::Storage`] when the database could not be read.
    pub async fn read_from_now(&self) -> Result<Position, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.shared().readers.push(sender);
        self.wake.notify_one();
        receiver.await.map_err(|_| Failure::storage("the feed", "it could not be read"))
    }

    /// Begins a stream for a guard, from a position or from now.
    pub async fn subscribe(
        self: &Arc<Self>,
        guard: Guard,
        from: Option<Position>,
        stream: String,
    ) -> Result<Result<Stream, Unknown>, Failure> {
        let state = Arc::new(StreamState::new(stream, guard));
        self.shared().streams.insert(state.id.clone(), Arc::clone(&state));
        let registered = stream::Registered { feed: Arc::clone(self), state };
        // From here on the reader reads, and forgets nothing until this stream is gone.
        self.read_from_now().await?;
        let (messages, heads) = {
            let shared = self.shared();
            let Some(heads) = shared.heads.clone() else {
                return Err(Failure::Internal("a stream is registered and nobody reads".into()));
            };
            (self.messages.subscribe(), heads)
        };
        let from = from.unwrap_or_else(|| heads.clone());
        if !heads.has_reached(&from) || heads.distance_from(&from) > BACKLOG_MAX {
            return Ok(Err(Unknown::Position));
        }
        let backlog = self.between(&from, &heads).await?;
        Ok(Ok(Stream::new(registered, messages, from, backlog, heads)))
    }

    /// A guard's probe: its echo follows in the stream when that is this node's, and in the answer when it is not.
    pub async fn probe(
        &self,
        guard: &Guard,
        stream: &str,
        probe: u64,
        acknowledged: Option<Position>,
        announcement: Announcement,
        now: Timestamp,
    ) -> Result<Probed, Failure> {
        let own = {
            let mut shared = self.shared();
            let own = shared.streams.get(stream).filter(|state| state.is_of(guard)).cloned();
            // A position of another feed acknowledges nothing of this one.
            let own_feed = |position: &Position| {
                shared.heads.as_ref().is_some_and(|heads| heads.is_of_the_feed_of(position))
            };
            let acknowledged = acknowledged.filter(own_feed);
            shared.acknowledged.heard(guard, stream, acknowledged, &announcement, now);
            if let Some(state) = &own {
                state.probed();
                shared.probes.push((Arc::clone(state), probe));
            }
            own
        };
        if own.is_some() {
            self.wake.notify_one();
            return Ok(Probed::Here);
        }
        self.read_from_now().await.map(Probed::Elsewhere)
    }

    /// Ends all streams: the node stops, and guards go on at another.
    pub fn close(&self) {
        self.shared().closed = true;
        let _ = self.messages.send(Message::Closed);
    }

    /// Whether this node stops.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared().closed
    }

    fn forget(&self, stream: &str) {
        self.shared().streams.remove(stream);
    }

    /// How many guards of an API trust what this node tells them, and the longest of their leases, in seconds.
    pub fn guards_of(&self, tenant: TenantId, audience: &str) -> (usize, i64) {
        self.shared().acknowledged.leases_before(self.clock.now(), tenant, audience)
    }
}
