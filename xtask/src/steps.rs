//! The steps of a task: each says its name, its minutes and how it went; the end is a table.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The steps of one task, in the order in which they ran.
pub(crate) struct Steps {
    task: &'static str,
    done: Vec<Step>,
}

struct Step {
    name: String,
    took: Duration,
    complaint: Option<String>,
}

impl Steps {
    pub(crate) fn new(task: &'static str) -> Self {
        Self { task, done: Vec::new() }
    }

    /// Runs one step and returns what it made, or `None` if it failed.
    ///
    /// A failure does not end the task: the next steps may have more to say, and whoever reads the log of a
    /// fresh machine wants to hear it all at once. A caller that needs the result stops at `None`.
    pub(crate) fn run<T>(
        &mut self,
        name: impl Into<String>,
        step: impl FnOnce() -> Result<T, String>,
    ) -> Option<T> {
        let name = name.into();
        println!("\n==> {}: {name}", self.task);
        let started = now();
        let outcome = step();
        let took = started.elapsed();
        let (made, complaint) = match outcome {
            Ok(made) => (Some(made), None),
            Err(complaint) => (None, Some(complaint)),
        };
        match &complaint {
            None => println!("<== {}: {name}: {} min", self.task, minutes(took)),
            Some(complaint) => {
                println!("<== {}: {name}: failed after {} min: {complaint}", self.task, minutes(took));
            }
        }
        self.done.push(Step { name, took, complaint });
        made
    }

    /// Prints the table, and fails if any step did.
    pub(crate) fn finish(self) -> ExitCode {
        print!("\n{}", self.table());
        if self.done.iter().all(|step| step.complaint.is_none()) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn table(&self) -> String {
        let mut table = format!("minutes  cargo xtask {}\n", self.task);
        for step in &self.done {
            let verdict = if step.complaint.is_some() { "  FAILED" } else { "" };
            let _ = writeln!(table, "{:>7}  {}{verdict}", minutes(step.took), step.name);
        }
        let total = self.done.iter().map(|step| step.took).sum();
        let _ = writeln!(table, "{:>7}  in all", minutes(total));
        for step in &self.done {
            if let Some(complaint) = &step.complaint {
                let _ = writeln!(table, "failed: {}: {complaint}", step.name);
            }
        }
        table
    }
}

fn minutes(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64() / 60.0)
}

#[expect(clippy::disallowed_methods, reason = "measures how long a step takes; no life-time hangs on it")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_step_and_repeats_the_failures() {
        let steps = Steps {
            task: "check",
            done: vec![
                Step { name: "format".into(), took: Duration::from_secs(3), complaint: None },
                Step {
                    name: "clippy".into(),
                    took: Duration::from_secs(90),
                    complaint: Some("two warnings".into()),
                },
            ],
        };
        assert_eq!(
            steps.table(),
            "minutes  cargo xtask check\n   0.05  format\n   1.50  clippy  FAILED\n   1.55  in all\nfailed: clippy: two warnings\n"
        );
        assert_eq!(steps.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn a_failed_step_does_not_keep_the_next_from_running() {
        let mut steps = Steps::new("test");
        assert_eq!(steps.run("one", || Err::<(), _>("no".into())), None);
        assert_eq!(steps.run("two", || Ok(2)), Some(2));
        assert_eq!(steps.done.len(), 2);
        assert_eq!(steps.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn all_well_is_a_success() {
        let mut steps = Steps::new("test");
        assert_eq!(steps.run("one", || Ok(1)), Some(1));
        assert_eq!(steps.finish(), ExitCode::SUCCESS);
    }
}
