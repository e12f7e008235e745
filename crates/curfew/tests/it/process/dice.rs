//! Chance that a seed repeats.

use curfew_model::{Entropy, SystemEntropy};

/// Names the seed to repeat.
const SEED_VARIABLE: &str = "CURFEW_TEST_SEED";

/// A generator (splitmix64): the same seed throws the same.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed that the environment names, or a new one, which it prints.
    pub(crate) fn new() -> Self {
        let entropy: &dyn Entropy = &SystemEntropy;
        let named = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
        let seed = named.unwrap_or_else(|| u64::from_le_bytes(entropy.bytes()));
        println!("{SEED_VARIABLE}={seed}");
        Self(seed)
    }

    /// Another generator that this one determines.
    pub(crate) fn child(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
