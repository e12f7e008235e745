//! What everybody else feels while a client's Action does harm: the same load beside it and without it, in turns.
//!
//! Those who are measured come at fixed rates, whether or not others were answered, and their waiting counts. The server
//! and its workers have one core together, which is as bad as it gets.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::bound::{Bound, machine};
use super::{Cpu, Scale, Stage, bind};
use crate::failed::{Failed, Result};
use crate::load::{Outcome, Target, open};
use crate::measure::Percentiles;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::wire::{Connection, Request};
use crate::world::{ALGS, audience, form};

/// The kinds of harm, as `hostile.js` and its clients name them.
const HARMS: [&str; 5] = ["endless loop", "regular expression", "native loop", "memory", "promises"];
/// As many executions at a time as a tenant may have.
const TENANT_WORKERS: usize = 6;
/// What leaves two of the tenant's workers for logins.
const WORKERS_BUT_TWO: usize = 4;
/// What is measured, and how often a second.
const VICTIMS: [(Scenario, f64); 3] =
    [(Scenario::SilentLogin, 50.0), (Scenario::Rotation, 50.0), (Scenario::Discovery, 100.0)];
const CONNECTIONS: usize = 16;
/// Until harm is well under way.
const BEGINNING: Duration = Duration::from_millis(500);
/// Until what was given up has come to its end, and how long that may take.
const PAUSE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(40);

/// What goes on beside those who are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    pub(super) what: &'static str,
    harms: &'static [&'static str],
    at_once: usize,
    /// What runs after the logins and refreshes that are measured.
    bound: Bound,
}

const ALONE: Attack = Attack { what: "", harms: &[], at_once: TENANT_WORKERS, bound: Bound::Nothing };

pub(super) const ATTACKS: [Attack; 7] = [
    Attack { what: "endless loops", harms: &["endless loop"], ..ALONE },
    Attack { what: "regular expressions that never end", harms: &["regular expression"], ..ALONE },
    Attack { what: "loops within one of the engine's own functions", harms: &["native loop"], ..ALONE },
    Attack { what: "memory without end", harms: &["memory"], ..ALONE },
    Attack { what: "promises without end", harms: &["promises"], ..ALONE },
    Attack { what: "all of these at once", harms: &HARMS, ..ALONE },
    Attack {
        what: "all of these at once; the measured logins and refreshes run a trivial Action",
        harms: &HARMS,
        at_once: WORKERS_BUT_TWO,
        bound: Bound::Trivial,
    },
];

/// What was measured beside one attack.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) attack: Attack,
    /// What was done, how often, and its latency without and with the attack.
    pub(super) victims: Vec<(&'static str, usize, Percentiles, Percentiles)>,
    /// Share of the core that went to the server and to workers, without and with.
    pub(super) busy: [(f64, f64); 2],
    /// Hostile executions that came to an end meanwhile.
    pub(super) ended: usize,
}

impl Line {
    /// Whether those who are measured wait for an Action of their own.
    pub(super) fn is_waited_for(&self) -> bool {
        self.attack.bound != Bound::Nothing
    }
}

pub(super) async fn measure(stage: &mut Stage, scale: Scale, progress: &mut Progress) -> Result<Vec<Line>> {
    let audience = audience(ALGS[2]);
    let mut bodies = Vec::new();
    for harm in HARMS {
        let (id, secret) = machine(&mut stage.management, harm, &audience, &["read:things"]).await?;
        let body = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("audience", &audience),
        ]);
        bodies.push((harm, body));
    }
    let hostile = stage.actions.hostile.clone();
    bind(&mut stage.management, "credentials-exchange", Some(&hostile)).await?;
    let seconds = scale.seconds_of("hostile") / super::as_float(scale.attacks * ATTACKS.len());
    let mut lines = Vec::new();
    for attack in ATTACKS {
        stage.bind(attack.bound).await?;
        let mut sides: [Side; 2] = Default::default();
        let mut ended = 0;
        for round in 0..scale.attacks {
            let what = format!("hostile: {} · round {} of {}", attack.what, round + 1, scale.attacks);
            progress.step(&stage.says(&what), seconds);
            for second in [false, true] {
                let is_attacked = (round % 2 == 0) == second;
                let harm = is_attacked.then(|| Harm::begin(stage, &attack, &bodies));
                if harm.is_some() {
                    tokio::time::sleep(BEGINNING).await;
                }
                sides[usize::from(is_attacked)].round(stage, scale.attack_seconds).await?;
                ended += harm.map_or(0, |harm| harm.ended.get());
                calm(stage).await?;
            }
        }
        let [without, with] = sides;
        let busy = [without.busy(), with.busy()];
        let mut victims = Vec::new();
        for ((scenario, _), (without, with)) in
            VICTIMS.into_iter().zip(without.latencies.into_iter().zip(with.latencies))
        {
            let samples = with.len();
            let latency = (Percentiles::of(without)?, Percentiles::of(with)?);
            victims.push((scenario.title(), samples, latency.0, latency.1));
        }
        lines.push(Line { attack, victims, busy, ended });
    }
    stage.bind(Bound::Nothing).await?;
    bind(&mut stage.management, "credentials-exchange", None).await?;
    Ok(lines)
}

/// The load without the attack, or with it.
#[derive(Debug, Default)]
struct Side {
    latencies: [Vec<Duration>; VICTIMS.len()],
    cpu: Cpu,
    wall: Duration,
}

impl Side {
    async fn round(&mut self, stage: &Stage, seconds: f64) -> Result<()> {
        let before = stage.cpu()?;
        let began = Instant::now();
        let one = |at: usize| {
            let (scenario, rate) = VICTIMS[at];
            let target = Target::Curfew(scenario, Rc::clone(&stage.world));
            async move { open(&target, CONNECTIONS, rate, seconds, stage.waiting).await }
        };
        let (first, second, third) = tokio::join!(one(0), one(1), one(2));
        self.wall += began.elapsed();
        self.cpu = self.cpu.and(stage.cpu()?.since(before));
        for (at, outcome) in [first, second, third].into_iter().enumerate() {
            self.latencies[at].append(&mut succeeded(VICTIMS[at].0, outcome?)?);
        }
        Ok(())
    }

    fn busy(&self) -> (f64, f64) {
        let share = |time: Duration| time.as_secs_f64() / self.wall.as_secs_f64().max(1e-9);
        (share(self.cpu.server), share(self.cpu.workers))
    }
}

/// Nobody else may fail because of what one does.
fn succeeded(scenario: Scenario, outcome: Outcome) -> Result<Vec<Duration>> {
    match outcome.first_failure {
        None => Ok(outcome.latencies),
        Some(why) => Err(Failed(format!("{} of {} failed: {why}", outcome.failures, scenario.title()))),
    }
}

/// Clients that ask for tokens all the time, each as soon as it was answered; until it is dropped.
struct Harm {
    clients: Vec<AbortHandle>,
    ended: Rc<std::cell::Cell<usize>>,
}

impl Harm {
    fn begin(stage: &Stage, attack: &Attack, bodies: &[(&str, String)]) -> Self {
        let ended = Rc::new(std::cell::Cell::new(0));
        let bodies: Vec<&String> =
            bodies.iter().filter(|(harm, _)| attack.harms.contains(harm)).map(|(_, body)| body).collect();
        let clients = (0..attack.at_once)
            .filter_map(|number| bodies.get(number % bodies.len().max(1)))
            .map(|&body| {
                let (body, server, ended) = (body.clone(), Rc::clone(&stage.world.server), Rc::clone(&ended));
                spawn_local(async move {
                    let mut connection = Connection::new(&server);
                    loop {
                        let request = Request {
                            method: "POST",
                            target: "/oauth/token",
                            headers: &[crate::browser::FORM],
                            body: body.as_bytes(),
                        };
                        // A refusal is what is expected.
                        if connection.send(&request).await.is_ok() {
                            ended.set(ended.get() + 1);
                        }
                    }
                })
                .abort_handle()
            })
            .collect();
        Self { clients, ended }
    }
}

impl Drop for Harm {
    fn drop(&mut self) {
        self.clients.iter().for_each(AbortHandle::abort);
    }
}

/// Waits until no hostile execution is under way any more.
async fn calm(stage: &Stage) -> Result<()> {
    let began = Instant::now();
    loop {
        let before = stage.cpu()?;
        tokio::time::sleep(PAUSE).await;
        let spent = stage.cpu()?.since(before);
        if spent.workers <= PAUSE / 20 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(Failed("hostile Actions do not come to an end".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_harm_is_done_by_the_action() {
        let code = include_str!("hostile.js");
        for harm in HARMS {
            let member = code.contains(&format!("  '{harm}': ")) || code.contains(&format!("  {harm}: "));
            assert!(member, "{harm}");
        }
        for attack in ATTACKS {
            assert!(!attack.harms.is_empty() && attack.harms.iter().all(|harm| HARMS.contains(harm)));
            assert!(attack.at_once > 0 && attack.at_once <= TENANT_WORKERS, "{}", attack.what);
        }
    }

    #[test]
    fn a_failure_of_those_who_are_measured_is_told() {
        let outcome = |first_failure: Option<String>| Outcome {
            latencies: vec![Duration::from_millis(1)],
            failures: usize::from(first_failure.is_some()),
            first_failure,
            wall: Duration::from_secs(1),
        };
        assert_eq!(succeeded(Scenario::Discovery, outcome(None)).unwrap().len(), 1);
        let told = succeeded(Scenario::Discovery, outcome(Some("503".into()))).unwrap_err();
        assert!(told.0.contains("discovery") && told.0.contains("503"), "{told}");
    }
}
