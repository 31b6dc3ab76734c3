//! Choices that follow from a seed.

use boathouse_base::{Env, ManualClock};

/// A source of choices. The same seed and the same questions give the same answers.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Env);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Env::new(ManualClock::default(), seed))
    }

    /// Another source, whose answers do not depend on how often this one is asked later.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.0.random_u64())
    }

    pub(crate) fn seed(&self) -> u64 {
        self.0.random_u64()
    }

    /// In `0..bound`; 0 when `bound` is 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.0.random_below(bound)
    }

    /// In `low..=high`.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True in `per_mille` of 1,000 cases.
    pub(crate) fn per_mille(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of these, by weight; the first one when all weights are 0.
    pub(crate) fn weighted<T: Copy>(&self, choices: &[(u64, T)], otherwise: T) -> T {
        let mut at = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        otherwise
    }
}
