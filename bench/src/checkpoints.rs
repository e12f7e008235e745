//! How often a database wrote its log back while something was measured.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::failed::Result;
use crate::program::{Place, psql};

/// PostgreSQL's own come every five minutes; here it is told to.
const EVERY: Duration = Duration::from_secs(3);

/// Counts them, until it is dropped.
#[derive(Debug)]
pub(crate) enum Checkpoints {
    /// SQLite's log begins anew after each: how often it had when the counting began.
    Sqlite { place: Rc<Place>, before: u32 },
    /// PostgreSQL does them when it is told to.
    Postgres { count: Arc<AtomicU32>, _goes_on: mpsc::Sender<()> },
}

impl Checkpoints {
    /// Begins to count, and to ask for them where nothing else would bring any in time.
    pub(crate) fn of(place: &Rc<Place>) -> Result<Self> {
        let Some(url) = place.database_url() else {
            return Ok(Self::Sqlite { place: Rc::clone(place), before: place.log_beginnings()? });
        };
        let count = Arc::<AtomicU32>::default();
        let (goes_on, over) = mpsc::channel();
        let (url, own) = (url.to_owned(), Arc::clone(&count));
        std::thread::spawn(move || {
            while over.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if psql(&url, "checkpoint").is_ok() {
                    own.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Ok(Self::Postgres { count, _goes_on: goes_on })
    }

    /// In words.
    pub(crate) fn so_far(&self) -> Result<String> {
        Ok(match self {
            Self::Sqlite { place, before } => {
                let times = place.log_beginnings()?.wrapping_sub(*before);
                format!("its log written back and begun anew {times} times")
            }
            Self::Postgres { count, .. } => {
                format!("{} checkpoints", count.load(Ordering::Relaxed))
            }
        })
    }
}
