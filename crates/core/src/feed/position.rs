//! How far the feed has been read, lane by lane.

use std::fmt;

use curfew_model::Entropy;

/// Numbers that a position from outside may have.
const NUMBERS_MAX: usize = 65;

/// A number for a new feed. It is small enough for every language of a guard, which count exactly up to 2^53.
pub fn new_number(entropy: &dyn Entropy) -> i64 {
    let number = i64::from_be_bytes(entropy.bytes());
    (number.unsigned_abs() >> 12).max(1).cast_signed()
}

/// The last number read of each lane, and then the number of the feed itself. On the wire decimal numbers with points
/// between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(Box<[i64]>);

impl Position {
    /// Of the heads of all lanes, and the feed's number behind them.
    pub fn new(numbers: Vec<i64>) -> Self {
        Self(numbers.into_boxed_slice())
    }

    /// Reads the wire form; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let plain = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        let numbers: Vec<i64> = text.split('.').take(NUMBERS_MAX + 1).map(number).collect::<Option<_>>()?;
        (numbers.len() <= NUMBERS_MAX).then(|| Self::new(numbers))
    }

    /// The lanes in their order, without the feed's number.
    pub fn lanes(&self) -> &[i64] {
        self.0.split_last().map_or(&[], |(_, lanes)| lanes)
    }

    /// Whether both are of the same feed.
    pub fn is_of_the_feed_of(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.last() == other.0.last()
    }

    /// Whether it has come at least as far as `other` in every lane; never where that is of another feed.
    pub fn has_reached(&self, other: &Self) -> bool {
        self.is_of_the_feed_of(other) && self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
    }

    /// Whether it has come to an entry.
    pub fn has_read(&self, lane: i64, position: i64) -> bool {
        usize::try_from(lane).ok().and_then(|lane| self.lanes().get(lane)).is_some_and(|own| *own >= position)
    }

    /// How many numbers lie between an earlier position and this one.
    pub fn distance_from(&self, earlier: &Self) -> i64 {
        self.lanes().iter().zip(earlier.lanes()).map(|(own, earlier)| (own - earlier).max(0)).sum()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, number) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_and_nothing_else() {
        for text in ["0", "17.0.4", "999999999999999999"] {
            assert_eq!(Position::parse(text).unwrap().to_string(), text);
        }
        let wide = vec!["0"; 66].join(".");
        for text in ["", ".", "1.", "-1", "+1", "1.x", "1000000000000000000", "１", &wide] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_lane_behind_is_behind() {
        let at = |text| Position::parse(text).unwrap();
        assert!(at("3.4.7").has_reached(&at("3.4.7")) && at("3.5.7").has_reached(&at("3.4.7")));
        assert!(!at("9.3.7").has_reached(&at("3.4.7")));
        assert!(!at("9.9.9.7").has_reached(&at("3.4.7")) && !at("9.7").has_reached(&at("3.4.7")));
        assert!(at("3.4.7").has_read(1, 4) && !at("3.4.7").has_read(1, 5) && !at("3.4.7").has_read(2, 0));
        assert_eq!(at("5.4.7").distance_from(&at("3.6.7")), 2);
    }

    #[test]
    fn positions_of_two_feeds_never_reach_each_other() {
        let at = |text| Position::parse(text).unwrap();
        for (own, other) in [("9.9.8", "3.4.7"), ("9.9.6", "3.4.7"), ("3.4.8", "3.4.7")] {
            assert!(!at(own).has_reached(&at(other)), "{own} {other}");
        }
    }

    #[test]
    fn numbers_of_feeds_are_counted_exactly_in_every_language() {
        #[derive(Debug)]
        struct Fixed(u8);
        impl Entropy for Fixed {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(self.0);
            }
        }
        for byte in [0, 1, 127, 128, 255] {
            let number = new_number(&Fixed(byte));
            assert!((1..1 << 53).contains(&number), "{byte}: {number}");
        }
    }
}
