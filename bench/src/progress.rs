//! Says on standard error what is being done and how long it will still take.

use std::io::{IsTerminal as _, Write as _};

use tokio::time::Instant;

/// The plan of a run: how many seconds each step was thought to take, and how many it took.
#[derive(Debug)]
pub(crate) struct Progress {
    planned: f64,
    done: f64,
    started: Instant,
    in_place: bool,
}

impl Progress {
    /// A run of so many seconds, if the plan is right.
    pub(crate) fn new(planned_seconds: f64) -> Self {
        Self {
            planned: planned_seconds,
            done: 0.0,
            started: Instant::now(),
            in_place: std::io::stderr().is_terminal(),
        }
    }

    /// Says what comes next; `planned_seconds` of the plan are over when it is done.
    pub(crate) fn step(&mut self, what: &str, planned_seconds: f64) {
        self.say(what);
        self.done += planned_seconds;
    }

    /// Says how far a long step has come, without moving on in the plan; `share` of it is done.
    pub(crate) fn within(&mut self, what: &str, planned_seconds: f64, share: f64) {
        let done = self.done;
        self.done = (done - planned_seconds * (1.0 - share)).max(0.0);
        self.say(what);
        self.done = done;
    }

    fn say(&self, what: &str) {
        let elapsed = self.started.elapsed().as_secs_f64();
        // The plan is a guess; what was done so far says how good a guess.
        let pace = if self.done > 5.0 { elapsed / self.done } else { 1.0 };
        let left = (self.planned - self.done).max(0.0) * pace;
        let percent = 100.0 * elapsed / (elapsed + left).max(0.001);
        let left = if left < 90.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) };
        let line = format!("[{percent:3.0} %, about {left} left] {what}");
        let mut stderr = std::io::stderr().lock();
        // Nobody listens when this fails.
        drop(if self.in_place { write!(stderr, "\r\x1b[K{line}") } else { writeln!(stderr, "{line}") });
        drop(stderr.flush());
    }

    /// Says a line that stays.
    pub(crate) fn note(&self, line: &str) {
        let start = if self.in_place { "\r\x1b[K" } else { "" };
        eprintln!("{start}{line}");
    }
}
