//! The two clocks that an execution is measured by. What the Action itself sees is [`curfew_model::Timestamp`], moved on by the first.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Real time since some instant in the past.
pub(crate) fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// Processor time of this thread. It stands still while the machine does something else, so a busy machine stops nobody.
pub(crate) fn processor() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    Duration::new(u64::try_from(at.tv_sec).unwrap_or(0), u32::try_from(at.tv_nsec).unwrap_or(0))
}
