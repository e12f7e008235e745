//! Following the feed: a token, a snapshot, a stream, a probe every second, and all of it again when it breaks.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::write::GzDecoder;
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use crate::activity::Report;
use crate::client::{Bearer, Body, CallError, PATIENCE};
use crate::config::Config;
use crate::follower::{Follower, Next, Sent};
use crate::guard::{Held, Inner};
use crate::messages::{Announcement, At, Probe};
use crate::position::Position;
use crate::snapshot::{Snapshot, SnapshotError, SnapshotReader};
use crate::sse::{EventReader, TooLong};

/// The first wait before a new attempt is at most this long, each further one up to twice as long.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A stream on which no echo comes for so many probes is given up: another node may do better.
const UNANSWERED_MAX: u32 = 5;
/// Probes at a time.
const PROBES_MAX: usize = 4;
/// How long a snapshot may take.
const SNAPSHOT: Duration = Duration::from_secs(120);
/// Bytes of a compressed snapshot that are uncompressed at once.
const UNZIPPED_AT_A_TIME: usize = 4096;
/// How often the keys are read anew, so that one that is no longer the issuer's is forgotten.
const KEYS_EVERY: Duration = Duration::from_secs(600);
/// How long until the next attempt to get a token, while the present one lives.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// Why a round of following is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the token was renewed")]
    Renewed,
    #[error("a request failed")]
    Call(#[from] CallError),
    #[error("the snapshot cannot be used")]
    Snapshot(#[from] SnapshotError),
    #[error("the server refused with status {0}")]
    Refused(StatusCode),
    #[error(
        "the server does not know the position: it was restored from a backup, or forgot what is so long ago"
    )]
    PositionUnknown,
    #[error("an event cannot be read")]
    TooLong(#[from] TooLong),
    #[error("an event cannot be understood")]
    Lost,
    #[error("the server ended the stream: {0:?}")]
    Ended(String),
    #[error("the stream broke off")]
    BrokenOff,
    #[error("no echo came")]
    Silent,
    #[error("the clock was set back, after cutoffs had been dropped")]
    ClockSetBack,
}

/// Follows the feed for ever.
pub(crate) async fn follow(inner: Arc<Inner>) {
    let mut follower = Follower::default();
    let mut attempts = 0;
    loop {
        let before = follower.echoed();
        let over = round(&inner, &mut follower).await;
        inner.publish(&follower, false);
        if matches!(over, Over::Renewed) {
            continue;
        }
        // What worked for a while begins again with the shortest wait.
        if follower.echoed().is_some() && follower.echoed() != before {
            attempts = 0;
        }
        let wait = (WAIT_MIN * 2_u32.saturating_pow(attempts)).min(WAIT_MAX).mul_f64(inner.chance());
        attempts = (attempts + 1).min(16);
        tracing::warn!(error = &over as &dyn std::error::Error, wait = ?wait, "not following the feed");
        sleep(wait).await;
    }
}

async fn round(inner: &Arc<Inner>, follower: &mut Follower) -> Over {
    match begin(inner, follower).await {
        Ok((body, held)) => match Listening::new(inner, follower, held).listen(body).await {
            Ok(never) => match never {},
            Err(over) => over,
        },
        Err(over) => over,
    }
}

/// Everything up to an open stream.
async fn begin(inner: &Arc<Inner>, follower: &mut Follower) -> Result<(Body, Held), Over> {
    let held = match inner.held().filter(|held| held.renew_at > Instant::now()) {
        Some(held) => held,
        None => inner.fetch_token().await?,
    };
    if inner.keys.is_empty() {
        inner.keys.refresh(&inner.client).await?;
    }
    if follower.is_too_old() {
        // All that is left to do is to ask about each token, for which the guard needs its own.
        sleep_until(held.renew_at).await;
        return Err(Over::Renewed);
    }
    if follower.view().is_none() {
        let snapshot = match timeout(SNAPSHOT, snapshot(inner, &held.bearer)).await {
            Ok(Err(Over::Snapshot(error))) => Err(error),
            Ok(other) => Ok(other?),
            Err(_) => return Err(Over::Call(CallError::Timeout)),
        };
        let loaded = follower.load(snapshot);
        inner.publish(follower, false);
        loaded?;
    }
    let position = follower.position().ok_or(Over::Lost)?;
    let path = format!("endings/feed?position={position}");
    let response = inner.client.open(&path, ("text/event-stream", "identity"), &held.bearer).await?;
    match response.status() {
        StatusCode::OK => Ok((response.into_body(), held)),
        StatusCode::GONE => {
            follower.drop_view();
            Err(Over::PositionUnknown)
        }
        status => Err(refused(inner, status)),
    }
}

/// A status that is none of those that are waited for. After a 401 the token is no longer used.
fn refused(inner: &Inner, status: StatusCode) -> Over {
    if status == StatusCode::UNAUTHORIZED {
        inner.forget_held();
    }
    Over::Refused(status)
}

async fn snapshot(inner: &Inner, bearer: &Bearer) -> Result<Snapshot, Over> {
    let accept = ("application/x-ndjson", "gzip");
    let response = inner.client.open("endings/snapshot", accept, bearer).await?;
    if response.status() != StatusCode::OK {
        return Err(refused(inner, response.status()));
    }
    let is_gzip = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let mut unzip = is_gzip.then(|| GzDecoder::new(Vec::new()));
    let mut body = response.into_body();
    let mut reader = SnapshotReader::new(&inner.config.issuer, &inner.config.audience);
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.map_err(|_| CallError::Timeout)? {
        let Ok(piece) = frame.map_err(CallError::BrokenOff)?.into_data() else { continue };
        match &mut unzip {
            // A little at a time: it may grow a thousandfold.
            Some(unzip) => {
                for part in piece.chunks(UNZIPPED_AT_A_TIME) {
                    unzip.write_all(part).map_err(|_| SnapshotError::Malformed)?;
                    reader.push(unzip.get_ref())?;
                    unzip.get_mut().clear();
                }
            }
            None => reader.push(&piece)?,
        }
    }
    if let Some(unzip) = unzip {
        // Here it shows whether the end was there, and whether all of it was right.
        reader.push(&unzip.finish().map_err(|_| SnapshotError::Incomplete)?)?;
    }
    Ok(reader.finish()?)
}

/// How a probe came back.
enum Answered {
    /// This node holds the stream: the echo comes in it.
    Here,
    /// Another node does. The feed was read here, so far.
    Elsewhere(Position),
}

/// What one stream is heard with.
struct Listening<'a> {
    inner: &'a Arc<Inner>,
    follower: &'a mut Follower,
    held: Held,
    reader: EventReader,
    /// From the first event on.
    stream: Option<String>,
    ticks: Interval,
    probes: JoinSet<(Sent, Result<Answered, CallError>)>,
    renewal: JoinSet<()>,
    chores: JoinSet<()>,
    keys_at: Instant,
    /// The newest echo, and when it came; the opening of the stream, as long as there is none.
    echoed: Option<Sent>,
    heard: Instant,
}

enum Never {}

impl<'a> Listening<'a> {
    fn new(inner: &'a Arc<Inner>, follower: &'a mut Follower, held: Held) -> Self {
        let now = Instant::now();
        Self {
            inner,
            echoed: follower.echoed(),
            follower,
            held,
            reader: EventReader::default(),
            stream: None,
            ticks: ticks(1),
            probes: JoinSet::new(),
            renewal: JoinSet::new(),
            chores: JoinSet::new(),
            keys_at: now + KEYS_EVERY,
            heard: now,
        }
    }

    async fn listen(mut self, mut body: Body) -> Result<Never, Over> {
        loop {
            let silent_at = self.heard + self.ticks.period() * UNANSWERED_MAX;
            tokio::select! {
                frame = body.frame() => {
                    let frame = frame.ok_or(Over::BrokenOff)?.map_err(CallError::BrokenOff)?;
                    if let Ok(piece) = frame.into_data() {
                        self.take(&piece)?;
                    }
                }
                _ = self.ticks.tick(), if self.stream.is_some() => self.tick()?,
                Some(probe) = self.probes.join_next() => {
                    // A probe is never cancelled and does not panic.
                    if let Ok((sent, answer)) = probe {
                        self.answered(sent, answer)?;
                    }
                }
                Some(_) = self.renewal.join_next() => return Err(Over::Renewed),
                Some(_) = self.chores.join_next() => {}
                () = sleep_until(self.held.renew_at), if self.renewal.is_empty() => self.renew(),
                () = sleep_until(silent_at) => return Err(Over::Silent),
            }
        }
    }

    /// Takes a piece of the stream.
    fn take(&mut self, piece: &[u8]) -> Result<(), Over> {
        for event in self.reader.push(piece)? {
            match self.follower.take(&event) {
                Next::Continue => {}
                Next::Opened(hello) => {
                    self.ticks = ticks(hello.probe_seconds);
                    self.stream = Some(hello.stream);
                    tracing::info!("following the feed");
                }
                Next::KeyRevoked => self.read_keys(),
                Next::Ended(reason) => {
                    if reason == "token_ended" || reason == "token_expired" {
                        self.inner.forget_held();
                    }
                    return Err(Over::Ended(reason));
                }
                Next::Lost => return Err(Over::Lost),
            }
        }
        self.publish();
        Ok(())
    }

    /// Tells those who decide, and notes whether an echo came.
    fn publish(&mut self) {
        self.inner.publish(self.follower, self.stream.is_some());
        if self.follower.echoed() != self.echoed {
            self.echoed = self.follower.echoed();
            self.heard = Instant::now();
        }
    }

    /// What is to be done once in `probe_seconds`.
    fn tick(&mut self) -> Result<(), Over> {
        let now = self.inner.now();
        let view = self.follower.view().ok_or(Over::Lost)?;
        view.sweep(now.wall);
        if view.is_blind_at(now.wall) {
            self.follower.drop_view();
            return Err(Over::ClockSetBack);
        }
        if Instant::now() >= self.keys_at {
            self.read_keys();
        }
        if self.probes.len() < PROBES_MAX
            && let Some(stream) = self.stream.clone()
            && let Some((sent, position)) = self.follower.probe(now)
        {
            let reports = Reports { batch: self.inner.activity().batch(), inner: self.inner.clone() };
            let bearer = self.held.bearer.clone();
            self.probes.spawn(async move { (sent, probe(&bearer, &stream, sent, &position, reports).await) });
        }
        Ok(())
    }

    fn answered(&mut self, sent: Sent, answer: Result<Answered, CallError>) -> Result<(), Over> {
        match answer {
            Ok(Answered::Here) => {}
            Ok(Answered::Elsewhere(position)) => {
                self.follower.answered_elsewhere(sent, position);
                self.publish();
            }
            Err(error) => {
                if let CallError::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) = error
                {
                    return Err(refused(self.inner, status));
                }
                tracing::debug!(error = &error as &dyn std::error::Error, "a probe failed");
            }
        }
        Ok(())
    }

    fn read_keys(&mut self) {
        self.keys_at = Instant::now() + KEYS_EVERY;
        let inner = self.inner.clone();
        self.chores.spawn(async move {
            if let Err(error) = inner.keys.refresh(&inner.client).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the keys were not read");
            }
        });
    }

    /// Gets the next token while this one still serves.
    fn renew(&mut self) {
        let inner = self.inner.clone();
        self.renewal.spawn(async move {
            while let Err(error) = inner.fetch_token().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the token was not renewed");
                sleep(RENEW_EVERY).await;
            }
        });
    }
}

/// A tick now, and then every so many seconds.
fn ticks(seconds: u64) -> Interval {
    let mut ticks = interval(Duration::from_secs(seconds.clamp(1, 60)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Reports on their way. Unless they arrive they are given back, also when the probe is given up.
struct Reports {
    inner: Arc<Inner>,
    batch: Vec<Report>,
}

impl Drop for Reports {
    fn drop(&mut self) {
        if !self.batch.is_empty() {
            self.inner.activity().give_back(std::mem::take(&mut self.batch));
        }
    }
}

async fn probe(
    bearer: &Bearer,
    stream: &str,
    sent: Sent,
    position: &Position,
    mut reports: Reports,
) -> Result<Answered, CallError> {
    let Config { name, lease_seconds, stale, .. } = &reports.inner.config;
    let instance = &reports.inner.instance;
    let guard = Announcement { name, instance, lease_seconds: *lease_seconds, stale: *stale };
    let probe = Probe { stream, probe: sent.number, position, guard, activity: &reports.batch };
    let answer = reports.inner.client.post_json("endings/probe", Some(bearer), &probe).await?;
    let answered = match answer.status {
        StatusCode::ACCEPTED => Answered::Here,
        _ => Answered::Elsewhere(answer.json::<At>()?.position),
    };
    reports.batch.clear();
    Ok(answered)
}
