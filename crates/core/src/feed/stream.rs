//! One guard's stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use curfew_model::Ctx;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use super::guards::{Guard, authorize};
use super::{Entry, Feed, Message, Position};
use crate::Core;

/// After this much silence something is sent, so that both ends notice when the other is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// How long a stream goes on without a probe.
const UNPROBED: Duration = Duration::from_secs(120);

/// What a stream tells its guard.
#[derive(Debug, Clone)]
pub enum Event {
    /// The first: where the stream begins.
    Hello(Position),
    /// Something ended.
    Ending(Arc<Entry>),
    /// The answer to a probe: everything that was acknowledged before it was sent has been told.
    Echo(u64, Position),
    /// Everything up to here has been told.
    Position(Arc<Position>),
    /// Nothing has happened for a while.
    Silence,
    /// The last: why it ends.
    End(End),
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The guard's token has expired.
    TokenExpired,
    /// The guard's token, its client or its client grant has ended.
    TokenEnded,
    /// The node stops.
    Stopping,
    /// The guard did not read fast enough.
    TooSlow,
    /// The guard did not probe.
    Silent,
}

impl End {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::TokenEnded => "token_ended",
            Self::Stopping => "stopping",
            Self::TooSlow => "too_slow",
            Self::Silent => "silent",
        }
    }
}

/// What probes say about a stream, and the reader to it.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) id: String,
    guard: Guard,
    told: Mutex<Told>,
    echoed: Notify,
}

#[derive(Debug)]
struct Told {
    echo: Option<(u64, Position)>,
    probed_at: Instant,
}

impl StreamState {
    pub(super) fn new(id: String, guard: Guard) -> Self {
        let told = Told { echo: None, probed_at: Instant::now() };
        Self { id, guard, told: Mutex::new(told), echoed: Notify::new() }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the client that opened a stream, for the same API, probes it.
    pub(super) fn is_of(&self, guard: &Guard) -> bool {
        self.guard.is_same(guard)
    }

    pub(super) fn probed(&self) {
        self.told().probed_at = Instant::now();
    }

    /// The newest echo counts; one that was not sent yet says nothing that it does not.
    pub(super) fn echo(&self, probe: u64, position: Position) {
        self.told().echo = Some((probe, position));
        self.echoed.notify_one();
    }
}

/// A stream's place among the node's; leaving it is dropping it.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) feed: Arc<Feed>,
    pub(super) state: Arc<StreamState>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.feed.forget(&self.state.id);
    }
}

/// One guard's stream: [`next`](Self::next) until it answers `None`.
#[derive(Debug)]
pub struct Stream {
    registered: Registered,
    messages: broadcast::Receiver<Message>,
    /// Told before anything else.
    first: VecDeque<Event>,
    /// The guard's token is to be looked at again.
    doubtful: bool,
    last: Option<End>,
    over: bool,
}

impl Stream {
    pub(super) fn new(
        registered: Registered,
        messages: broadcast::Receiver<Message>,
        from: Position,
        backlog: Vec<Entry>,
        heads: Position,
    ) -> Self {
        let guard = &registered.state.guard;
        let mut first = VecDeque::from([Event::Hello(from)]);
        let mut doubtful = false;
        for entry in backlog {
            doubtful |= entry.is_about_configuration();
            if entry.concerns(guard.tenant, &guard.audience) {
                first.push_back(Event::Ending(Arc::new(entry)));
            }
        }
        first.push_back(Event::Position(Arc::new(heads)));
        Self { registered, messages, first, doubtful, last: None, over: false }
    }

    /// Its id, for probes.
    pub fn id(&self) -> &str {
        &self.registered.state.id
    }

    /// What the guard is told next. It waits as long as it takes, but not longer than 15 seconds.
    pub async fn next(&mut self, core: &Core, ctx: &Ctx) -> Option<Event> {
        if self.over {
            return None;
        }
        let silence = Instant::now() + SILENCE;
        loop {
            if let Some(event) = self.first.pop_front() {
                return Some(event);
            }
            if let Some(end) = self.last.take().or(self.must_end(core, ctx).await) {
                self.over = true;
                return Some(Event::End(end));
            }
            let state = Arc::clone(&self.registered.state);
            let left = state.guard.expires_at.since(core.clock.now());
            let wait_until = silence.min(Instant::now() + left);
            tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Ok(message) => self.take(message),
                    Err(RecvError::Lagged(_)) => self.last = Some(End::TooSlow),
                    Err(RecvError::Closed) => self.last = Some(End::Stopping),
                },
                () = state.echoed.notified() => self.take_echo(),
                () = tokio::time::sleep_until(wait_until) => {
                    if Instant::now() >= silence {
                        return Some(Event::Silence);
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Entry(entry) => {
                self.doubtful |= entry.is_about_configuration();
                let guard = &self.registered.state.guard;
                if entry.concerns(guard.tenant, &guard.audience) {
                    self.first.push_back(Event::Ending(entry));
                }
            }
            Message::Read(position) => self.first.push_back(Event::Position(position)),
            Message::Closed => self.last = Some(End::Stopping),
        }
    }

    /// What the reader had told before it echoed goes first.
    fn take_echo(&mut self) {
        let echo = self.registered.state.told().echo.take();
        loop {
            match self.messages.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                Err(TryRecvError::Lagged(_)) => {
                    // Something was missed: this echo must not be sent.
                    self.last = Some(End::TooSlow);
                    return;
                }
            }
        }
        if let Some((probe, position)) = echo {
            self.first.push_back(Event::Echo(probe, position));
        }
    }

    async fn must_end(&mut self, core: &Core, ctx: &Ctx) -> Option<End> {
        let state = &self.registered.state;
        if self.registered.feed.is_closed() {
            return Some(End::Stopping);
        }
        let now = core.clock.now();
        if state.guard.expires_at <= now {
            return Some(End::TokenExpired);
        }
        if state.told().probed_at.elapsed() >= UNPROBED {
            return Some(End::Silent);
        }
        if std::mem::take(&mut self.doubtful) {
            let ctx = Ctx { now, ..ctx.clone() };
            match authorize(core, &ctx, state.guard.token.expose()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Some(End::TokenEnded),
                // Not known: it is asked again at the next event.
                Err(_) => self.doubtful = true,
            }
        }
        None
    }
}
