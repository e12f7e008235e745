//! The one error of this program: a sentence for the person who started it.

use std::fmt;
use std::io;

/// Why a measurement could not be made.
#[derive(Debug, Clone)]
pub(crate) struct Failed(pub(crate) String);

/// What every fallible function of this program answers.
pub(crate) type Result<T> = std::result::Result<T, Failed>;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rustix::io::Errno> for Failed {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.to_string())
    }
}

impl From<curfew_model::Failure> for Failed {
    fn from(error: curfew_model::Failure) -> Self {
        Self(error.to_string())
    }
}

/// Says what was being done when something failed.
pub(crate) trait While<T> {
    /// `doing` stands before the reason.
    fn doing(self, doing: &str) -> Result<T>;
}

impl<T, E: fmt::Display> While<T> for std::result::Result<T, E> {
    fn doing(self, doing: &str) -> Result<T> {
        self.map_err(|error| Failed(format!("{doing}: {error}")))
    }
}
