//! A clock that tests move.

use std::sync::atomic::{AtomicI64, Ordering};

use curfew_model::{Clock, Timestamp};

use crate::START;

/// Stands still at [`START`] until it is moved. Nodes of one test share it.
#[derive(Debug)]
pub struct VirtualClock(AtomicI64);

impl Default for VirtualClock {
    fn default() -> Self {
        Self(AtomicI64::new(START.micros()))
    }
}

impl VirtualClock {
    /// Lets `seconds` pass.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
