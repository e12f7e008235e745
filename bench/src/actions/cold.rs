//! The first execution: in a process that stood ready, after a process was killed, and after a start of the server.
//!
//! Each is a login, and the login right after it is warm: their difference is what being the first costs.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::bound::Bound;
use super::{Scale, Stage};
use crate::browser::Jar;
use crate::failed::{Failed, Result, While};
use crate::measure::Percentiles;
use crate::progress::Progress;
use crate::wire::Connection;
use crate::world::{Management, Wanted};

/// Until an execution that was asked for surely runs.
const BEGINNING: Duration = Duration::from_millis(40);
/// Until a process that was started surely stands ready.
const READY: Duration = Duration::from_millis(250);
/// Warm logins after a first one; the quickest is compared with.
const WARM: usize = 3;

/// What made the execution a first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// The tenant has no process; one stands ready for whoever comes.
    OfTenant,
    /// The tenant's process was killed at this very moment.
    AfterKill,
    /// The server has just been started, and was asked something else once.
    OfServer,
}

impl First {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::OfTenant => "the tenant's first, while a process stands ready",
            Self::AfterKill => "the next one after the tenant's process was killed",
            Self::OfServer => "the first one after a start of the server",
        }
    }
}

const SIDES: [(First, Bound); 7] = [
    (First::OfTenant, Bound::Trivial),
    (First::OfTenant, Bound::Article),
    (First::AfterKill, Bound::Trivial),
    (First::AfterKill, Bound::Article),
    (First::OfServer, Bound::Nothing),
    (First::OfServer, Bound::Trivial),
    (First::OfServer, Bound::Article),
];

/// What was measured of one kind of first execution.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) first: First,
    pub(super) bound: Bound,
    pub(super) latency: Percentiles,
    pub(super) warm: Percentiles,
    /// The first login's time beyond the warm one's.
    pub(super) more: Percentiles,
    /// From the kill to the answer of the execution that it ended.
    pub(super) noticed: Option<Percentiles>,
    pub(super) samples: usize,
}

#[derive(Debug, Default)]
struct Series {
    first: Vec<Duration>,
    warm: Vec<Duration>,
    more: Vec<Duration>,
    noticed: Vec<Duration>,
}

pub(super) async fn measure(stage: &mut Stage, scale: Scale, progress: &mut Progress) -> Result<Vec<Line>> {
    let mut all: [Series; SIDES.len()] = Default::default();
    let person = stage.person().await?;
    let mut connection = Connection::new(&stage.world.server);
    stage.bind(Bound::Nothing).await?;
    let mut jar = Jar::default();
    stage.world.log_in(&mut connection, &mut jar, Some(&person), Wanted::Api).await?;
    for round in 0..scale.firsts {
        let what = format!("first executions · round {} of {}", round + 1, scale.firsts);
        progress.step(&stage.says(&what), scale.seconds_of("cold") / super::as_float(scale.firsts));
        for bound in Bound::ALL {
            // The server's first one comes by the way: its processes are new then, and few.
            stage.bind(bound).await?;
            stage.restart().await?;
            // What every first request finds cold has nothing to do with Actions.
            stage.management = Management::open(&stage.curfew.server).await?;
            for (at, _) in SIDES.iter().enumerate().filter(|(_, side)| side.1 == bound).rev() {
                let series = &mut all[at];
                match SIDES[at].0 {
                    First::OfServer => {}
                    First::AfterKill => series.noticed.push(kill_busy(stage).await?),
                    First::OfTenant => {
                        kill_busy(stage).await?;
                        tokio::time::sleep(READY).await;
                    }
                }
                let _awake = stage.waiting.begin();
                let began = Instant::now();
                stage.world.log_in(&mut connection, &mut jar, None, Wanted::Api).await?;
                let first = began.elapsed();
                let mut warm = Duration::MAX;
                for _ in 0..WARM {
                    let began = Instant::now();
                    stage.world.log_in(&mut connection, &mut jar, None, Wanted::Api).await?;
                    warm = warm.min(began.elapsed());
                }
                series.first.push(first);
                series.warm.push(warm);
                series.more.push(first.saturating_sub(warm));
            }
        }
    }
    stage.bind(Bound::Nothing).await?;
    let mut lines = Vec::new();
    for ((first, bound), series) in SIDES.into_iter().zip(all) {
        let noticed = (!series.noticed.is_empty()).then(|| Percentiles::of(series.noticed));
        lines.push(Line {
            first,
            bound,
            samples: series.first.len(),
            latency: Percentiles::of(series.first)?,
            warm: Percentiles::of(series.warm)?,
            more: Percentiles::of(series.more)?,
            noticed: noticed.transpose()?,
        });
    }
    Ok(lines)
}

/// Has the tenant's one process run an Action that waits, kills it, and answers how long it took until that Action's
/// caller knew.
async fn kill_busy(stage: &mut Stage) -> Result<Duration> {
    // The one that is the tenant's, and the one that stands ready since then.
    let worker = stage.children(2).await?[0];
    let mut caller = Management::open(&stage.curfew.server).await?;
    let target = format!("/api/v2/actions/actions/{}/test", stage.actions.sleeper);
    let waiting = spawn_local(async move {
        let answer = caller.call("POST", &target, Some(&json!({ "payload": { "event": {} } }))).await;
        (Instant::now(), answer)
    });
    tokio::time::sleep(BEGINNING).await;
    let killed = Instant::now();
    let pid = Pid::from_raw(worker).ok_or_else(|| Failed("a process without an id".into()))?;
    kill_process(pid, Signal::KILL)?;
    let (answered, answer) = waiting.await.doing("waiting for the Action whose process was killed")?;
    let answer = answer?;
    if answer.pointer("/payload/error/id").and_then(serde_json::Value::as_str) != Some("crashed") {
        return Err(Failed(format!("the Action whose process was killed: {answer}")));
    }
    Ok(answered - killed)
}
