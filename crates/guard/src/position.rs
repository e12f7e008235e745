//! How far the feed has been read.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A feed has fewer lanes than this.
const NUMBERS_MAX: usize = 1024;

/// How far each lane of the feed has been read, and last the number of the feed itself: `17.0.4.2716057`.
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
        let numbers: Vec<u64> = text.split('.').take(NUMBERS_MAX + 1).map(number).collect::<Option<_>>()?;
        (2..=NUMBERS_MAX).contains(&numbers.len()).then_some(Self(numbers))
    }

    fn is_of_the_feed_of(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.last() == other.0.last()
    }

    /// Moves on to `number` in one lane, never back. `false` when there is no such lane.
    #[must_use]
    pub(crate) fn advance_lane(&mut self, lane: usize, number: u64) -> bool {
        let lanes = self.0.split_last_mut().map(|(_, lanes)| lanes);
        let Some(own) = lanes.and_then(|lanes| lanes.get_mut(lane)) else { return false };
        *own = number.max(*own);
        true
    }

    /// Moves on to `other` in every lane, never back. `false`, and nothing is moved, when it is of another feed.
    #[must_use]
    pub(crate) fn advance(&mut self, other: &Self) -> bool {
        let same = self.is_of_the_feed_of(other);
        if same {
            self.0.iter_mut().zip(&other.0).for_each(|(own, other)| *own = (*own).max(*other));
        }
        same
    }

    /// Whether every lane has been read at least as far as in `other`, which is of the same feed.
    pub(crate) fn has_reached(&self, other: &Self) -> bool {
        self.is_of_the_feed_of(other) && self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
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
        for text in ["0.7", "17.0.4.7", "18446744073709551615.1"] {
            assert_eq!(at(text).to_string(), text);
        }
        for text in
            ["", ".", "1", "1.", ".1", "1..2", "-1", "+1", "1,2", " 1", "18446744073709551616.7", "1.x"]
        {
            assert_eq!(Position::parse(text), None, "{text}");
        }
        assert!(Position::parse(&vec!["1"; NUMBERS_MAX].join(".")).is_some());
        assert!(Position::parse(&vec!["1"; NUMBERS_MAX + 1].join(".")).is_none());
    }

    #[test]
    fn a_position_only_moves_on() {
        let mut position = at("5.5.1");
        assert!(position.advance(&at("7.3.1")));
        assert_eq!(position, at("7.5.1"));
        assert!(position.advance_lane(1, 9) && position.advance_lane(1, 2));
        assert_eq!(position, at("7.9.1"));
        assert!(!position.advance_lane(2, 9) && !position.advance(&at("9.1")));
        assert!(!position.advance(&at("9.9.0")) && !position.advance(&at("9.9.2")));
        assert_eq!(position, at("7.9.1"));
        for (other, reached) in [
            ("7.9.1", true),
            ("0.0.1", true),
            ("8.0.1", false),
            ("0.10.1", false),
            ("7.1", false),
            ("0.0.0", false),
            ("0.0.2", false),
        ] {
            assert_eq!(position.has_reached(&at(other)), reached, "{other}");
        }
    }
}
