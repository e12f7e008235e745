//! Who computes for long goes behind everybody else.
//!
//! A worker gives way to the server by a little; with several that compute without end beside it that is not enough. So one
//! that has computed for [`STRETCH`] within one execution gets the least share of the processor there is: where the
//! machine has time, it is as fast as before. A process without privileges cannot be brought back, so it serves no other
//! execution.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, setpriority_process};

/// Processor time within one execution that few Actions need, packages to be loaded among it.
const STRETCH: Duration = Duration::from_millis(500);
/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// The least share.
const NICENESS: i32 = 19;

/// Watches a process during one execution, and puts it behind when it is due, which `behind` then says. Never ends.
pub(super) async fn watch(process: Option<u32>, behind: &AtomicBool) -> Infallible {
    if let Some(process) = process.and_then(|process| Pid::from_raw(process.cast_signed()))
        && let Some(before) = computed(process)
    {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(now) = computed(process) else { break };
            if now.saturating_sub(before) >= STRETCH {
                behind.store(setpriority_process(Some(process), NICENESS).is_ok(), Ordering::Release);
                break;
            }
        }
    }
    std::future::pending().await
}

/// Processor time that a process has used; `None` where the system does not tell in this way (`proc_pid_stat(5)`).
fn computed(process: Pid) -> Option<Duration> {
    let told = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    of_stat(&told, rustix::param::clock_ticks_per_second())
}

/// The times in user and system mode: the 14th and the 15th field, the second of which has any name in parentheses.
fn of_stat(told: &str, ticks_per_second: u64) -> Option<Duration> {
    let (_, fields) = told.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()?.saturating_add(ticks()?);
    Some(Duration::from_millis(ticks.saturating_mul(1000).checked_div(ticks_per_second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let told = "42 (a) b (c) R 1 42 42 0 -1 4194304 77 0 0 0 150 50 0 0 25 5 1 0 9 0 0";
        assert_eq!(of_stat(told, 100), Some(Duration::from_secs(2)));
        for broken in ["", "42 (a", "42 (a) R 1", "42 (a) R 1 2 3 4 5 6 7 8 9 10 x y"] {
            assert_eq!(of_stat(broken, 100), None, "{broken}");
        }
        assert_eq!(of_stat(told, 0), None);
    }
}
