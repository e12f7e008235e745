//! What tenants' Actions cost: a login with and without, how many run in a second of processor time, how long the first
//! one takes, memory, and what hostile ones do to everybody else. `docs/actions-performance.md` is what it writes.
//!
//! What is compared is measured in turns within one run: what disturbs the machine disturbs all of it.

mod bound;
mod cold;
mod hostile;
mod logins;
mod memory;
mod page;
mod rates;

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::arguments::{Arguments, EngineName};
use crate::browser::Credentials;
use crate::failed::{Failed, Result, While};
use crate::load::Waiting;
use crate::proc::{Machine, Steal, children_of, cpu_of, cpu_of_tree};
use crate::program::{Place, Program};
use crate::progress::Progress;
use crate::world::{Management, World};

use bound::{Actions, Bound};

/// Browsers that are signed in, each with a user of its own: an Action that leaves one session to each takes nothing away.
const BROWSERS: usize = 32;

const CHILDREN_PATIENCE: Duration = Duration::from_secs(5);

/// The parts, by the names that `--only` takes.
const PARTS: [&str; 5] = ["logins", "rates", "cold", "memory", "hostile"];

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Rounds of logins, and silent logins of each kind in a round; of password logins there are fewer.
    rounds: usize,
    logins: usize,
    /// Rounds of the closed loops, and seconds of each.
    loops: usize,
    loop_seconds: f64,
    /// First executions of each kind.
    firsts: usize,
    /// Rounds beside hostile Actions, and seconds of each side.
    attacks: usize,
    attack_seconds: f64,
}

impl Scale {
    fn of(arguments: &Arguments) -> Self {
        let mut scale = if arguments.quick {
            Self {
                rounds: 4,
                logins: 30,
                loops: 2,
                loop_seconds: 0.5,
                firsts: 4,
                attacks: 1,
                attack_seconds: 2.0,
            }
        } else {
            Self {
                rounds: 12,
                logins: 60,
                loops: 5,
                loop_seconds: 1.0,
                firsts: 10,
                attacks: 3,
                attack_seconds: 2.0,
            }
        };
        if let Some(rounds) = arguments.rounds {
            (scale.rounds, scale.loops, scale.firsts, scale.attacks) = (rounds, rounds, rounds, rounds);
        }
        if let Some(seconds) = arguments.seconds {
            (scale.loop_seconds, scale.attack_seconds) = (seconds, seconds);
        }
        scale
    }

    fn seconds_of(self, part: &str) -> f64 {
        let float = |number: usize| as_float(number);
        match part {
            "logins" => float(self.rounds) * (float(self.logins) * 0.012 + 2.2),
            "rates" => float(self.loops) * 5.0 * (self.loop_seconds + 0.3),
            "cold" => float(self.firsts) * 5.0,
            "memory" => 8.0,
            _ => float(self.attacks * hostile::ATTACKS.len()) * (2.0 * self.attack_seconds + 2.0),
        }
    }
}

/// What was measured on one engine; a part that was left out is empty.
#[derive(Debug)]
struct Found {
    engine: EngineName,
    logins: Vec<logins::Line>,
    rates: Vec<rates::Line>,
    cold: Vec<cold::Line>,
    memory: Vec<memory::Line>,
    hostile: Vec<hostile::Line>,
}

/// Measures on each engine and writes the document.
pub(crate) async fn run(
    arguments: &Arguments,
    engines: &[EngineName],
    machine: &Machine,
    database_core: usize,
) -> Result<()> {
    let scale = Scale::of(arguments);
    let parts = chosen(&arguments.only)?;
    let steal = Steal::read();
    let each: f64 = 8.0 + parts.iter().map(|part| scale.seconds_of(part)).sum::<f64>();
    let mut progress = Progress::new(each * as_float(engines.len()));
    let mut all = Vec::new();
    for &engine in engines {
        let waiting = crate::waiting(engine, arguments, machine, database_core);
        let mut stage = Stage::prepare(arguments, engine, waiting, &mut progress).await?;
        let wanted = |part: &str| parts.contains(&part);
        let mut found = Found {
            engine,
            logins: Vec::new(),
            rates: Vec::new(),
            cold: Vec::new(),
            memory: Vec::new(),
            hostile: Vec::new(),
        };
        if wanted("logins") {
            found.logins = logins::measure(&mut stage, scale, &mut progress).await?;
        }
        if wanted("rates") {
            found.rates = rates::measure(&mut stage, scale, &mut progress).await?;
        }
        if wanted("cold") {
            found.cold = cold::measure(&mut stage, scale, &mut progress).await?;
        }
        if wanted("memory") {
            found.memory = memory::measure(&mut stage, &mut progress).await?;
        }
        if wanted("hostile") {
            found.hostile = hostile::measure(&mut stage, scale, &mut progress).await?;
        }
        stage.curfew.stop().await?;
        all.push(found);
        // After each engine, so that a failure of the next does not lose the work.
        let document = page::document(arguments, machine, scale, steal.percent_since(), &all)?;
        if let Some(path) = &arguments.write {
            std::fs::write(path, &document).doing(&path.display().to_string())?;
        }
        if all.len() == engines.len() {
            progress.note("done");
            println!("{document}");
        }
    }
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static str>> {
    if let Some(name) = only.iter().find(|name| !PARTS.contains(&name.as_str())) {
        return Err(Failed(format!("there is no part `{name}`; there are {}", PARTS.join(", "))));
    }
    Ok(PARTS.into_iter().filter(|part| only.is_empty() || only.iter().any(|name| name == part)).collect())
}

/// A running Curfew with the Actions that are measured, and whoever logs in there.
struct Stage {
    curfew: Program,
    place: Place,
    engine: EngineName,
    waiting: Waiting,
    /// Of the server and its workers.
    core: usize,
    world: Rc<World>,
    management: Management,
    actions: Actions,
    people: usize,
}

impl Stage {
    async fn prepare(
        arguments: &Arguments,
        engine: EngineName,
        waiting: Waiting,
        progress: &mut Progress,
    ) -> Result<Self> {
        progress.step(&format!("{} · clients, users, sessions, Actions", engine.title()), 8.0);
        // The articles' Actions call `https` by themselves, and ask for the audience that is named so.
        let place = crate::place(engine, arguments)?.behind_tls();
        let core = arguments.server_core;
        let curfew = place.start(Some(core))?;
        let mut world = World::prepare(&curfew.server, BROWSERS).await?;
        world.sign_in(BROWSERS, |_| ()).await?;
        let mut management = Management::open(&curfew.server).await?;
        let actions = Actions::deploy(&mut management, &curfew.server).await?;
        let world = Rc::new(world);
        Ok(Self { curfew, place, engine, waiting, core, world, management, actions, people: 0 })
    }

    /// Somebody new, without a session.
    async fn person(&mut self) -> Result<Credentials> {
        self.people += 1;
        Ok(self.management.create_user(&format!("person-{}", self.people)).await?.credentials)
    }

    /// Has this run after logins, and nothing else.
    async fn bind(&mut self, bound: Bound) -> Result<()> {
        let action = self.actions.post_login(bound);
        bind(&mut self.management, "post-login", action).await
    }

    /// The same server anew: nothing is warm.
    async fn restart(&mut self) -> Result<()> {
        // Stopped first: two servers cannot listen at one place.
        self.curfew.end().await?;
        self.curfew = self.place.start(Some(self.core))?;
        Ok(())
    }

    /// The processes that run Actions, the oldest first, as soon as there are so many: one that tries the walls at the
    /// start of the server ends by itself, and one that is to stand ready takes a moment to be there.
    async fn children(&self, count: usize) -> Result<Vec<i32>> {
        let began = Instant::now();
        loop {
            let found = children_of(self.curfew.pid);
            if found.len() == count {
                return Ok(found);
            }
            if began.elapsed() > CHILDREN_PATIENCE {
                return Err(Failed(format!("{} processes run Actions, not {count}", found.len())));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn cpu(&self) -> Result<Cpu> {
        let server = cpu_of(self.curfew.pid)?;
        Ok(Cpu { server, workers: cpu_of_tree(self.curfew.pid)?.saturating_sub(server) })
    }

    fn says(&self, what: &str) -> String {
        format!("{} · {what}", self.engine.title())
    }
}

/// Replaces what is bound to a trigger.
async fn bind(management: &mut Management, trigger: &str, action: Option<&str>) -> Result<()> {
    let bindings: Vec<_> = action
        .iter()
        .map(|id| json!({ "ref": { "type": "action_id", "value": id }, "display_name": "measured" }))
        .collect();
    let target = format!("/api/v2/actions/triggers/{trigger}/bindings");
    management.call("PATCH", &target, Some(&json!({ "bindings": bindings }))).await.map(drop)
}

/// Processor time of the server itself, and of its workers, living and ended.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    server: Duration,
    workers: Duration,
}

impl Cpu {
    fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            workers: self.workers.saturating_sub(before.workers),
        }
    }

    fn and(self, other: Self) -> Self {
        Self { server: self.server + other.server, workers: self.workers + other.workers }
    }

    /// Microseconds of each of `count`: of the server, of the workers.
    fn micros_each(self, count: usize) -> (f64, f64) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / as_float(count.max(1));
        (each(self.server), each(self.workers))
    }
}

fn as_float(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The middle one; nothing of nothing.
fn middle(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_there_is_not_is_refused_by_name() {
        assert_eq!(chosen(&[]).unwrap(), PARTS);
        assert_eq!(chosen(&["hostile".into(), "cold".into()]).unwrap(), ["cold", "hostile"]);
        assert!(chosen(&["hot".into()]).unwrap_err().0.contains("`hot`"));
    }

    #[test]
    fn processor_time_is_shared_out() {
        let before = Cpu { server: Duration::from_millis(10), workers: Duration::from_millis(50) };
        let after = Cpu { server: Duration::from_millis(30), workers: Duration::from_millis(90) };
        let spent = after.since(before);
        assert_eq!(spent.micros_each(10), (2000.0, 4000.0));
        assert_eq!(spent.and(spent).micros_each(10), (4000.0, 8000.0));
        assert_eq!(Cpu::default().since(before).micros_each(0), (0.0, 0.0));
    }

    #[test]
    fn the_middle_is_one_of_them() {
        let of = |all: &[u64]| middle(all.iter().copied().map(Duration::from_millis).collect());
        assert_eq!(of(&[3, 1, 2]), Duration::from_millis(2));
        assert_eq!(of(&[]), Duration::ZERO);
    }
}
