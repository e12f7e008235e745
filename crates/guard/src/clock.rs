//! Two clocks: one that never goes back, and one that goes on while the machine sleeps.

use std::fmt;
use std::time::Duration;

use curfew_model::{Clock as _, SystemClock, Timestamp};
use tokio::time::Instant;

/// The present on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since some start: never goes back, but stands still while the machine is suspended.
    pub monotonic: Duration,
    /// The date: goes on while the machine is suspended, but may be set back or forward.
    pub wall: Timestamp,
}

impl Moment {
    /// How long ago `earlier` was: what the clock says that shows the longer time.
    pub fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        monotonic.max(self.wall.since(earlier.wall))
    }
}

/// Where the present comes from. Guards have [`SystemClocks`]; tests have clocks that they move.
pub trait Clocks: Send + Sync + fmt::Debug {
    /// The present on both clocks.
    fn now(&self) -> Moment;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClocks {
    start: Instant,
}

impl Default for SystemClocks {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clocks for SystemClocks {
    fn now(&self) -> Moment {
        Moment { monotonic: self.start.elapsed(), wall: SystemClock.now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_time_counts() {
        let at = |monotonic, wall| Moment {
            monotonic: Duration::from_secs(monotonic),
            wall: Timestamp::from_seconds(wall),
        };
        for (earlier, later, seconds) in [
            (at(10, 1000), at(13, 1003), 3),
            // The machine slept.
            (at(10, 1000), at(11, 1060), 60),
            // The date was set back, or forward.
            (at(10, 1000), at(15, 900), 5),
            (at(10, 1000), at(15, 2000), 1000),
            // Both are behind: no time has passed.
            (at(10, 1000), at(9, 990), 0),
        ] {
            assert_eq!(later.since(earlier), Duration::from_secs(seconds), "{earlier:?} {later:?}");
        }
    }
}
