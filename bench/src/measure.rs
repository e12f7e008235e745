//! Rounds of one scenario: floor and server in turns, so that whatever disturbs the machine disturbs both.

use std::rc::Rc;
use std::time::Duration;

use crate::arguments::Scale;
use crate::failed::{Failed, Result};
use crate::floor;
use crate::load::{Outcome, Target, Waiting, closed, open};
use crate::proc::{cpu_of, cpu_of_tree};
use crate::program::Program;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::wire::{Connection, Exchange};
use crate::world::World;

/// Share of the closed loop's rate that the open loop asks for.
const OPEN_SHARE: f64 = 0.5;
/// Requests of the open loop that may be under way at once.
const OPEN_CONNECTIONS: usize = 64;
/// The same for logins: Curfew lets 32 passwords wait for each hashing thread, and refuses more.
const OPEN_CONNECTIONS_HASHING: usize = 24;

/// A number that was measured several times.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    /// The middle one.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Result<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        match (values.first(), values.last()) {
            (Some(&min), Some(&max)) => {
                let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
                Ok(Self { median: f64::midpoint(low, high), min, max })
            }
            _ => Err(Failed("nothing was measured".into())),
        }
    }
}

/// Two points of a distribution of latencies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    /// Half of the operations were faster.
    pub(crate) p50: Duration,
    /// One in a hundred was slower.
    pub(crate) p99: Duration,
}

impl Percentiles {
    /// Of at least one latency.
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Result<Self> {
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies.get((latencies.len() * percent / 100).min(latencies.len().saturating_sub(1)))
        };
        match (at(50), at(99)) {
            (Some(&p50), Some(&p99)) => Ok(Self { p50, p99 }),
            _ => Err(Failed("nothing was measured".into())),
        }
    }
}

/// What was measured of one scenario.
#[derive(Debug)]
pub(crate) struct Row {
    /// Which.
    pub(crate) scenario: Scenario,
    /// HTTP requests of one operation.
    pub(crate) requests: usize,
    /// Processor time of the floor divided by that of the server, of each round.
    pub(crate) ratio: Spread,
    /// Operations that a second of the server's processor time gives.
    pub(crate) per_cpu_second: Spread,
    /// The same of the floor.
    pub(crate) floor_per_cpu_second: Spread,
    /// PostgreSQL's processor time for one operation.
    pub(crate) database_cpu: Option<Duration>,
    /// Operations a second in the closed loop.
    pub(crate) rate: Spread,
    /// How busy the server's core was in the closed loop, and how busy the floor's: 1 is all the time.
    pub(crate) busy: (f64, f64),
    /// Latency in the closed loop.
    pub(crate) closed: Percentiles,
    /// Rate and latency of the open loop.
    pub(crate) open: Option<(f64, Percentiles)>,
    /// Operations that failed, and why the first did.
    pub(crate) failures: (usize, Option<String>),
}

/// One measurement of one side.
struct Sample {
    operations: f64,
    cpu: f64,
    database_cpu: Option<f64>,
    outcome: Outcome,
}

impl Sample {
    fn cpu_each(&self) -> f64 {
        self.cpu / self.operations
    }

    fn rate(&self) -> f64 {
        self.operations / self.outcome.wall.as_secs_f64()
    }

    fn busy(&self) -> f64 {
        self.cpu / self.outcome.wall.as_secs_f64()
    }
}

/// Seconds that `scenario` takes, for the plan.
pub(crate) fn planned_seconds(scenario: Scenario, scale: Scale) -> f64 {
    let rounds = u32::try_from(scale.rounds).map_or(1.0, f64::from);
    2.0 * rounds * seconds_of(scenario, scale) + scale.open_seconds + 0.5
}

/// A login takes a hundred times as long as anything else: so that enough of them fit in, it has more time.
fn seconds_of(scenario: Scenario, scale: Scale) -> f64 {
    if scenario == Scenario::PasswordLogin { scale.seconds * 2.0 } else { scale.seconds }
}

/// What takes part in a measurement.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The server.
    pub(crate) curfew: &'a Program,
    /// The floor.
    pub(crate) floor: &'a Program,
    /// What the server holds.
    pub(crate) world: Rc<World>,
    /// PostgreSQL's first process, if it is used and known.
    pub(crate) database_pid: Option<i32>,
    /// Connections of the closed loop.
    pub(crate) connections: usize,
    /// What the generator does while it waits.
    pub(crate) waiting: Waiting,
}

impl Stage<'_> {
    /// Measures one scenario.
    pub(crate) async fn measure(
        &self,
        scenario: Scenario,
        scale: Scale,
        engine: &str,
        progress: &mut Progress,
    ) -> Result<Row> {
        let exchanges = self.rehearse(scenario).await?;
        let curfew = Target::Curfew(scenario, Rc::clone(&self.world));
        let plan = Rc::new(floor::plan(&exchanges, scenario.work())?);
        let floor = Target::Floor(Rc::clone(&self.floor.server), plan);
        let connections = scenario.connections(self.connections);
        let seconds = seconds_of(scenario, scale);
        // Caches fill, and what is made at first use is made: on both sides, and not counted.
        for target in [&floor, &curfew] {
            closed(target, connections, 0.2, self.waiting).await?;
        }
        let (mut floors, mut servers) = (Vec::new(), Vec::new());
        for round in 0..scale.rounds {
            let what = format!("{engine} · {} · round {} of {}", scenario.title(), round + 1, scale.rounds);
            progress.step(&what, 2.0 * seconds);
            // Whoever comes second finds what the first left behind: they take turns.
            for second in [false, true] {
                if (round % 2 == 0) == second {
                    servers.push(self.sample(&curfew, self.curfew.pid, connections, seconds).await?);
                } else {
                    floors.push(self.sample(&floor, self.floor.pid, connections, seconds).await?);
                }
            }
        }
        let rate = Spread::of(servers.iter().map(Sample::rate))?;
        let mut open_outcome = None;
        if scale.open_seconds > 0.0 {
            progress.step(&format!("{engine} · {} · open loop", scenario.title()), scale.open_seconds + 0.5);
            let hashes = scenario == Scenario::PasswordLogin;
            let connections = if hashes { OPEN_CONNECTIONS_HASHING } else { OPEN_CONNECTIONS };
            let asked = rate.median * OPEN_SHARE;
            open_outcome =
                Some((asked, open(&curfew, connections, asked, scale.open_seconds, self.waiting).await?));
        }
        let failures = servers.iter().map(|sample| sample.outcome.failures).sum::<usize>()
            + open_outcome.as_ref().map_or(0, |(_, outcome)| outcome.failures);
        let first_failure = servers
            .iter()
            .find_map(|sample| sample.outcome.first_failure.clone())
            .or_else(|| open_outcome.as_ref().and_then(|(_, outcome)| outcome.first_failure.clone()));
        let database_cpu = servers.iter().filter_map(|sample| Some(sample.database_cpu? / sample.operations));
        Ok(Row {
            scenario,
            requests: exchanges.len(),
            ratio: Spread::of(
                floors.iter().zip(&servers).map(|(floor, server)| floor.cpu_each() / server.cpu_each()),
            )?,
            per_cpu_second: Spread::of(servers.iter().map(|sample| 1.0 / sample.cpu_each()))?,
            floor_per_cpu_second: Spread::of(floors.iter().map(|sample| 1.0 / sample.cpu_each()))?,
            database_cpu: Spread::of(database_cpu).ok().map(|each| Duration::from_secs_f64(each.median)),
            rate,
            busy: (
                Spread::of(servers.iter().map(Sample::busy))?.median,
                Spread::of(floors.iter().map(Sample::busy))?.median,
            ),
            closed: Percentiles::of(
                servers.into_iter().flat_map(|sample| sample.outcome.latencies).collect(),
            )?,
            open: open_outcome
                .map(|(rate, outcome)| Ok::<_, Failed>((rate, Percentiles::of(outcome.latencies)?)))
                .transpose()?,
            failures: (failures, first_failure),
        })
    }

    /// Does the operation a few times alone, and notes what passes over the wire in the last.
    async fn rehearse(&self, scenario: Scenario) -> Result<Vec<Exchange>> {
        let mut connection = Connection::new(&self.world.server);
        for _ in 0..2 {
            scenario.run(&self.world, &mut connection).await?;
        }
        connection.record();
        scenario.run(&self.world, &mut connection).await?;
        Ok(connection.recorded())
    }

    async fn sample(&self, target: &Target, pid: i32, connections: usize, seconds: f64) -> Result<Sample> {
        let database = |measured: bool| match self.database_pid {
            Some(pid) if measured => cpu_of_tree(pid).map(Some),
            _ => Ok(None),
        };
        let of_curfew = matches!(target, Target::Curfew(..));
        let (before, database_before) = (cpu_of(pid)?, database(of_curfew)?);
        let outcome = closed(target, connections, seconds, self.waiting).await?;
        let (after, database_after) = (cpu_of(pid)?, database(of_curfew)?);
        let operations = u32::try_from(outcome.latencies.len()).map_or(f64::MAX, f64::from);
        if outcome.latencies.is_empty() {
            let why = outcome.first_failure.unwrap_or_else(|| "too little time".to_owned());
            return Err(Failed(format!("no operation succeeded: {why}")));
        }
        let database_cpu = match (database_before, database_after) {
            (Some(before), Some(after)) => Some(after.saturating_sub(before).as_secs_f64()),
            _ => None,
        };
        Ok(Sample { operations, cpu: (after - before).as_secs_f64().max(1e-9), database_cpu, outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_several_values_is_found() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert!((Spread::of([1.0, 2.0, 4.0, 9.0]).unwrap().median - 3.0).abs() < 1e-9);
        assert!(Spread::of([]).is_err());
    }

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let found = Percentiles::of(latencies).unwrap();
        assert_eq!((found.p50, found.p99), (Duration::from_millis(51), Duration::from_millis(100)));
        assert!(Percentiles::of(Vec::new()).is_err());
    }
}
