//! What a login costs with an Action and without, when everything is warm: the same login in turns, alone on the server.

use std::time::Duration;

use tokio::time::Instant;

use super::bound::Bound;
use super::{Cpu, Scale, Stage, middle, millis};
use crate::browser::{Credentials, Jar};
use crate::failed::{Failed, Result};
use crate::measure::{Percentiles, Spread};
use crate::progress::Progress;
use crate::wire::Connection;
use crate::world::Wanted;

/// Logins after each change of what is bound that are not counted.
const WARMING: usize = 5;
/// A password login takes twenty times as long as a silent one.
const PASSWORD_SHARE: usize = 4;

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A browser with a session comes back.
    Silent,
    /// At the login page, with a new browser each time. With the article's Action the login before is ended.
    Password,
}

impl Way {
    fn title(self) -> &'static str {
        match self {
            Self::Silent => "silent login and code exchange",
            Self::Password => "password login and code exchange",
        }
    }
}

/// What was measured of one login with one Action.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) way: &'static str,
    pub(super) bound: Bound,
    pub(super) samples: usize,
    pub(super) latency: Percentiles,
    /// Milliseconds more than without an Action: of the rounds' middle logins.
    pub(super) added: Option<Spread>,
    /// Microseconds of processor time: the server's, the workers'.
    pub(super) cpu: (f64, f64),
}

/// One kind of login over all rounds.
#[derive(Debug, Default)]
struct Series {
    latencies: Vec<Duration>,
    /// The middle login of each round, in milliseconds.
    middles: Vec<f64>,
    cpu: Cpu,
}

pub(super) async fn measure(stage: &mut Stage, scale: Scale, progress: &mut Progress) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let seconds = scale.seconds_of("logins") / super::as_float(2 * scale.rounds);
    for way in [Way::Silent, Way::Password] {
        let mut series: [Series; 3] = Default::default();
        // One browser and one user for each kind: an Action that ends sessions ends nobody else's.
        let mut visitors = visitors(stage, way).await?;
        for round in 0..scale.rounds {
            let what = format!("{} · round {} of {}", way.title(), round + 1, scale.rounds);
            progress.step(&stage.says(&what), seconds);
            // Whoever comes later finds what others left behind: they take turns.
            for turn in 0..Bound::ALL.len() {
                let at = (round + turn) % Bound::ALL.len();
                stage.bind(Bound::ALL[at]).await?;
                let count = if way == Way::Silent { scale.logins } else { scale.logins / PASSWORD_SHARE };
                one_round(stage, &mut visitors[at], count, &mut series[at]).await?;
            }
        }
        let without = series[0].middles.clone();
        for (bound, series) in Bound::ALL.into_iter().zip(series) {
            let added = series.middles.iter().zip(&without).map(|(with, without)| with - without);
            lines.push(Line {
                way: way.title(),
                bound,
                samples: series.latencies.len(),
                added: (bound != Bound::Nothing).then(|| Spread::of(added)).transpose()?,
                cpu: series.cpu.micros_each(series.latencies.len()),
                latency: Percentiles::of(series.latencies)?,
            });
        }
    }
    stage.bind(Bound::Nothing).await?;
    Ok(lines)
}

/// Whoever logs in: a browser that comes back, or a person who types.
struct Visitor {
    connection: Connection,
    jar: Jar,
    credentials: Option<Credentials>,
}

async fn visitors(stage: &mut Stage, way: Way) -> Result<Vec<Visitor>> {
    let mut visitors = Vec::new();
    stage.bind(Bound::Nothing).await?;
    for _ in Bound::ALL {
        let mut connection = Connection::new(&stage.world.server);
        let mut jar = Jar::default();
        let credentials = stage.person().await?;
        let credentials = match way {
            Way::Silent => {
                stage.world.log_in(&mut connection, &mut jar, Some(&credentials), Wanted::Api).await?;
                None
            }
            Way::Password => Some(credentials),
        };
        visitors.push(Visitor { connection, jar, credentials });
    }
    Ok(visitors)
}

impl Visitor {
    async fn log_in(&mut self, stage: &Stage) -> Result<()> {
        if self.credentials.is_some() {
            self.jar = Jar::default();
        }
        let credentials = self.credentials.as_ref();
        stage.world.log_in(&mut self.connection, &mut self.jar, credentials, Wanted::Api).await.map(drop)
    }
}

async fn one_round(
    stage: &mut Stage,
    visitor: &mut Visitor,
    count: usize,
    series: &mut Series,
) -> Result<()> {
    if count == 0 {
        return Err(Failed("no login to measure".into()));
    }
    let _awake = stage.waiting.begin();
    for _ in 0..WARMING {
        visitor.log_in(stage).await?;
    }
    let before = stage.cpu()?;
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        visitor.log_in(stage).await?;
        latencies.push(began.elapsed());
    }
    series.cpu = series.cpu.and(stage.cpu()?.since(before));
    series.middles.push(millis(middle(latencies.clone())));
    series.latencies.append(&mut latencies);
    Ok(())
}
