//! How far the feed has been read, lane by lane.

use std::fmt;

/// Lanes that a position from outside may name.
const LANES_MAX: usize = 64;

/// The last number read of each lane. On the wire decimal numbers with points between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(Box<[i64]>);

impl Position {
    /// Of the heads of all lanes.
    pub fn new(heads: Vec<i64>) -> Self {
        Self(heads.into_boxed_slice())
    }

    /// Reads the wire form; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let plain = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        let lanes: Vec<i64> = text.split('.').take(LANES_MAX + 1).map(number).collect::<Option<_>>()?;
        (lanes.len() <= LANES_MAX).then(|| Self::new(lanes))
    }

    /// The lanes in their order.
    pub fn lanes(&self) -> &[i64] {
        &self.0
    }

    /// Whether it has come at least as far as `other` in every lane; never between feeds of different widths.
    pub fn has_reached(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(own, other)| own >= other)
    }

    /// Whether it has come to an entry.
    pub fn has_read(&self, lane: i64, position: i64) -> bool {
        usize::try_from(lane).ok().and_then(|lane| self.0.get(lane)).is_some_and(|own| *own >= position)
    }

    /// How many numbers lie between an earlier position and this one.
    pub fn distance_from(&self, earlier: &Self) -> i64 {
        self.0.iter().zip(&earlier.0).map(|(own, earlier)| (own - earlier).max(0)).sum()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (lane, number) in self.0.iter().enumerate() {
            if lane > 0 {
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
        let wide = vec!["0"; 65].join(".");
        for text in ["", ".", "1.", "-1", "+1", "1.x", "1000000000000000000", "１", &wide] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_lane_behind_is_behind() {
        let at = |text| Position::parse(text).unwrap();
        assert!(at("3.4").has_reached(&at("3.4")) && at("3.5").has_reached(&at("3.4")));
        assert!(!at("9.3").has_reached(&at("3.4")));
        assert!(!at("9.9.9").has_reached(&at("3.4")) && !at("9").has_reached(&at("3.4")));
        assert!(at("3.4").has_read(1, 4) && !at("3.4").has_read(1, 5) && !at("3.4").has_read(2, 0));
        assert_eq!(at("5.4").distance_from(&at("3.6")), 2);
    }
}
