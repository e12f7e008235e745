//! How far the feed has been read.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A feed has fewer lanes than this.
const LANES_MAX: usize = 1024;

/// How far each lane of the feed has been read: `17.0.4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position(Vec<u64>);

impl Position {
    /// Reads decimal numbers with points between them; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            // `u64::from_str` would take a sign.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let lanes: Vec<u64> = text.split('.').take(LANES_MAX + 1).map(number).collect::<Option<_>>()?;
        (lanes.len() <= LANES_MAX).then_some(Self(lanes))
    }

    /// The number of lanes.
    pub(crate) fn lanes(&self) -> usize {
        self.0.len()
    }

    /// Moves on to `number` in one lane, never back. `false` when there is no such lane.
    #[must_use]
    pub(crate) fn advance_lane(&mut self, lane: usize, number: u64) -> bool {
        let Some(own) = self.0.get_mut(lane) else { return false };
        *own = number.max(*own);
        true
    }

    /// Moves on to `other` in every lane, never back. `false`, and nothing is moved, when it has other lanes.
    #[must_use]
    pub(crate) fn advance(&mut self, other: &Self) -> bool {
        let same = self.lanes() == other.lanes();
        if same {
            self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = (*own).max(*other));
        }
        same
    }

    /// Whether every lane has been read at least as far as in `other`, which has the same lanes.
    pub(crate) fn has_reached(&self, other: &Self) -> bool {
        self.lanes() == other.lanes() && self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(lane, number)| {
            let point = if lane == 0 { "" } else { "." };
            write!(f, "{point}{number}")
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a position"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Position {
        Position::parse(text).unwrap()
    }

    #[test]
    fn positions_read_back_and_nothing_else_is_one() {
        for text in ["0", "17.0.4", "18446744073709551615.1"] {
            assert_eq!(at(text).to_string(), text);
        }
        for text in ["", ".", "1.", ".1", "1..2", "-1", "+1", "1,2", " 1", "18446744073709551616", "1.x"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert!(Position::parse(&vec!["1"; LANES_MAX].join(".")).is_some());
        assert!(Position::parse(&vec!["1"; LANES_MAX + 1].join(".")).is_none());
    }

    #[test]
    fn a_position_only_moves_on() {
        let mut position = at("5.5");
        assert!(position.advance(&at("7.3")));
        assert_eq!(position, at("7.5"));
        assert!(position.advance_lane(1, 9) && position.advance_lane(1, 2));
        assert_eq!(position, at("7.9"));
        assert!(!position.advance_lane(2, 1) && !position.advance(&at("9")));
        assert_eq!(position, at("7.9"));
        for (other, reached) in [("7.9", true), ("0.0", true), ("8.0", false), ("0.10", false), ("7", false)]
        {
            assert_eq!(position.has_reached(&at(other)), reached, "{other}");
        }
    }
}
