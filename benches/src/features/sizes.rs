//! How large the measured populations are.

use serde::{Deserialize, Serialize};

/// Everything that decides how long a run takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Sizes {
    /// Smaller populations than figures are meant for: they are marked and go to a file of their own.
    pub(crate) trial: bool,
    /// Cards of the population that most figures are about.
    pub(crate) cards: u32,
    /// The smallest population, which growth is measured from.
    pub(crate) cards_few: u32,
    /// One between.
    pub(crate) cards_some: u32,
    /// The largest population.
    pub(crate) cards_many: u32,
    /// Events of each card.
    pub(crate) events: u32,
    /// Cards that Redis holds.
    pub(crate) redis_cards: u32,
    /// Events in all, where histories of different lengths are compared.
    pub(crate) depth_events: u32,
    pub(crate) rounds: u64,
    /// Reads of the store in a round.
    pub(crate) reads: usize,
    /// Reads of each form of Redis in a round.
    pub(crate) redis_reads: u32,
    /// Batches of applies in a round.
    pub(crate) apply_batches: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        trial: false,
        cards: 1_000_000,
        cards_few: 10_000,
        cards_some: 100_000,
        cards_many: 5_000_000,
        events: 100,
        redis_cards: 100_000,
        depth_events: 10_000_000,
        rounds: 7,
        reads: 50_000,
        redis_reads: 1_000,
        apply_batches: 400,
    };

    pub(crate) const QUICK: Self = Self {
        trial: true,
        cards: 20_000,
        cards_few: 1_000,
        cards_some: 5_000,
        cards_many: 40_000,
        redis_cards: 2_000,
        depth_events: 400_000,
        rounds: 3,
        reads: 5_000,
        redis_reads: 200,
        apply_batches: 40,
        ..Self::FULL
    };

    /// Lengths of history that are compared.
    pub(crate) const DEPTHS: [u32; 4] = [10, 100, 1_000, 10_000];

    /// The same, without populations of more cards; the one that most figures are about shrinks.
    pub(crate) fn capped(self, cards_max: u32) -> Self {
        Self {
            trial: self.trial || cards_max < self.cards,
            cards: self.cards.min(cards_max),
            ..self
        }
    }

    /// The id of a row: marked where populations are small, so that it is never mistaken for the real figure.
    pub(crate) fn id(&self, id: &str) -> String {
        if self.trial {
            format!("quick.{id}")
        } else {
            id.to_owned()
        }
    }
}

/// `10000` as `10k`, `5000000` as `5m`.
pub(crate) fn short(count: u32) -> String {
    match count {
        millions if millions > 0 && millions.is_multiple_of(1_000_000) => {
            format!("{}m", millions / 1_000_000)
        }
        thousands if thousands > 0 && thousands.is_multiple_of(1_000) => {
            format!("{}k", thousands / 1_000)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_named_shortly_and_small_runs_are_marked() {
        assert_eq!([10_000, 5_000_000, 100].map(short), ["10k", "5m", "100"]);
        assert_eq!(Sizes::QUICK.id("read.p50"), "quick.read.p50");
        assert_eq!(Sizes::FULL.id("read.p50"), "read.p50");
        let capped = Sizes::FULL.capped(200_000);
        assert_eq!((capped.cards, capped.trial), (200_000, true));
        assert!(!Sizes::FULL.capped(1_000_000).trial);
    }
}
