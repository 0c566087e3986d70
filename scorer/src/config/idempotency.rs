//! The section `idempotency`: how long answers are kept for those who ask again, and how many.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdempotencyConfig {
    /// How long the answer to a transaction is given again; 0 keeps none, and every request is decided.
    pub keep_s: u64,
    /// Most answers kept; beyond, the oldest go before their time.
    pub entries_max: usize,
    /// Most memory they take; beyond, the oldest go before their time.
    pub memory_mib_max: u64,
    /// What becomes of a transaction id that comes again with another content.
    pub conflict: OnConflict,
}

/// What becomes of a transaction id that comes again with another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It is refused: two payments must not share an id.
    Refuse,
    /// It is decided, and this answer is the one that is kept from then on.
    Decide,
}

impl Default for IdempotencyConfig {
    /// Clients that retry do so within a minute; two are kept, of five thousand requests a second at some 400 bytes each.
    fn default() -> Self {
        Self {
            keep_s: 120,
            entries_max: 600_000,
            memory_mib_max: 256,
            conflict: OnConflict::Refuse,
        }
    }
}

impl IdempotencyConfig {
    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        range("idempotency.keep_s", self.keep_s, 0..=86_400);
        let entries_max = u64::try_from(self.entries_max).unwrap_or(u64::MAX);
        range("idempotency.entries_max", entries_max, 1..=100_000_000);
        let mebibytes = self.memory_mib_max;
        range("idempotency.memory_mib_max", mebibytes, 1..=1 << 20);
    }

    pub(crate) const fn keep(&self) -> Duration {
        Duration::from_secs(self.keep_s)
    }

    pub(crate) fn bytes_max(&self) -> usize {
        usize::try_from(self.memory_mib_max << 20).unwrap_or(usize::MAX)
    }
}
