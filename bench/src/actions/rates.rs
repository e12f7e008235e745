//! How many executions a second of processor time gives: closed loops on one core, with and without, in turns.

use std::rc::Rc;

use super::bound::Bound;
use super::{Cpu, Scale, Stage, bind};
use crate::failed::{Failed, Result};
use crate::load::{Target, closed};
use crate::measure::Spread;
use crate::progress::Progress;
use crate::scenario::Scenario;

/// Connections of the loops: more than a tenant may have workers.
const CONNECTIONS: usize = 16;
/// Seconds before each measurement, which are not counted: workers start.
const WARMING_SECONDS: f64 = 0.3;

/// What is done over and over: a machine's token (the cheapest operation that runs Actions), or a silent login.
const SIDES: [(Scenario, Bound); 5] = [
    (Scenario::ClientCredentials(2), Bound::Nothing),
    (Scenario::ClientCredentials(2), Bound::Trivial),
    (Scenario::SilentLogin, Bound::Nothing),
    (Scenario::SilentLogin, Bound::Trivial),
    (Scenario::SilentLogin, Bound::Article),
];

/// What was measured of one operation with one Action.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) operation: &'static str,
    pub(super) bound: Bound,
    /// Operations a second, and operations that a second of processor time of server and workers gives.
    pub(super) rate: Spread,
    pub(super) per_cpu_second: Spread,
    /// Microseconds of one operation: the server's, the workers'.
    pub(super) cpu: (f64, f64),
    /// Executions that a second of processor time gives, the operation's own work taken off.
    pub(super) executions: Option<f64>,
    pub(super) samples: usize,
}

#[derive(Debug, Default)]
struct Series {
    rates: Vec<f64>,
    per_cpu_second: Vec<f64>,
    cpu: Cpu,
    operations: usize,
}

pub(super) async fn measure(stage: &mut Stage, scale: Scale, progress: &mut Progress) -> Result<Vec<Line>> {
    let mut all: [Series; SIDES.len()] = Default::default();
    for round in 0..scale.loops {
        let what = format!("executions a second · round {} of {}", round + 1, scale.loops);
        progress.step(&stage.says(&what), scale.seconds_of("rates") / super::as_float(scale.loops));
        for turn in 0..SIDES.len() {
            let at = (round + turn) % SIDES.len();
            let (scenario, bound) = SIDES[at];
            choose(stage, scenario, bound).await?;
            one_round(stage, scenario, scale.loop_seconds, &mut all[at]).await?;
        }
    }
    choose(stage, Scenario::SilentLogin, Bound::Nothing).await?;
    let mut lines: Vec<Line> = Vec::new();
    for ((scenario, bound), series) in SIDES.into_iter().zip(all) {
        let cpu = series.cpu.micros_each(series.operations);
        let without = lines.iter().find(|line| line.operation == scenario.title());
        let executions = without.map(|line| 1e6 / (cpu.0 + cpu.1 - line.cpu.0 - line.cpu.1));
        lines.push(Line {
            operation: scenario.title(),
            bound,
            rate: Spread::of(series.rates)?,
            per_cpu_second: Spread::of(series.per_cpu_second)?,
            cpu,
            executions,
            samples: series.operations,
        });
    }
    Ok(lines)
}

/// Binds what this side needs, and nothing else: the article's own requests for tokens run no Action.
async fn choose(stage: &mut Stage, scenario: Scenario, bound: Bound) -> Result<()> {
    let is_login = scenario == Scenario::SilentLogin;
    stage.bind(if is_login { bound } else { Bound::Nothing }).await?;
    let at_exchange = !is_login && bound != Bound::Nothing;
    let machine = at_exchange.then_some(stage.actions.machine.as_str());
    bind(&mut stage.management, "credentials-exchange", machine).await
}

async fn one_round(stage: &Stage, scenario: Scenario, seconds: f64, series: &mut Series) -> Result<()> {
    let target = Target::Curfew(scenario, Rc::clone(&stage.world));
    closed(&target, CONNECTIONS, WARMING_SECONDS, stage.waiting).await?;
    let before = stage.cpu()?;
    let outcome = closed(&target, CONNECTIONS, seconds, stage.waiting).await?;
    let spent = stage.cpu()?.since(before);
    if outcome.latencies.is_empty() || outcome.failures > 0 {
        let why = outcome.first_failure.unwrap_or_else(|| "too little time".to_owned());
        return Err(Failed(format!("{} of {} failed: {why}", outcome.failures, scenario.title())));
    }
    let operations = super::as_float(outcome.latencies.len());
    series.rates.push(operations / outcome.wall.as_secs_f64());
    series.per_cpu_second.push(operations / (spent.server + spent.workers).as_secs_f64().max(1e-9));
    series.cpu = series.cpu.and(spent);
    series.operations += outcome.latencies.len();
    Ok(())
}
