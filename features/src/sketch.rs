//! Counting different values in bounded memory.
//!
//! Values are hashed, and of the hashes the smallest are kept. While there are fewer than can be kept the count is
//! exact; beyond, where the greatest of the kept ones lies says how dense hashes are, and so how many there are. (Bar-Yossef,
//! Jayram, Kumar, Sivakumar, Trevisan: Counting Distinct Elements in a Data Stream, 2002; the estimate (k − 1) ⁄ h is
//! that of Beyer et al., On Synopses for Distinct-Value Estimation, 2007, whose standard error is 1 ⁄ √(k − 2).)

/// Hashes kept: a standard error of 6.3 %.
pub(crate) const KEPT_MAX: usize = 256;

/// The smallest hashes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sketch {
    hashes: Vec<u64>,
}

impl Sketch {
    pub(crate) fn insert(&mut self, value: u64) {
        self.insert_hash(mix(value));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.hashes.iter().for_each(|hash| self.insert_hash(*hash));
    }

    /// How many different values were inserted; exact below [`KEPT_MAX`].
    pub(crate) fn estimate(&self) -> f64 {
        match self.hashes.last() {
            Some(greatest) if self.hashes.len() >= KEPT_MAX => {
                let kept = f64::from(u32::try_from(KEPT_MAX - 1).unwrap_or(u32::MAX));
                (kept / share_of_all(*greatest)).round()
            }
            _ => f64::from(u32::try_from(self.hashes.len()).unwrap_or(u32::MAX)),
        }
    }

    /// The hashes that are kept, least first.
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// A sketch of such hashes; `None` if they are more than are kept, or out of order.
    pub(crate) fn of_hashes(hashes: Vec<u64>) -> Option<Self> {
        let is_one = hashes.len() <= KEPT_MAX && hashes.is_sorted_by(|one, next| one < next);
        is_one.then_some(Self { hashes })
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.hashes.capacity() * 8
    }

    fn insert_hash(&mut self, hash: u64) {
        let Err(at) = self.hashes.binary_search(&hash) else {
            return;
        };
        if at < KEPT_MAX {
            self.hashes.truncate(KEPT_MAX - 1);
            self.hashes.insert(at, hash);
        }
    }
}

/// The finisher of SplitMix64 (Steele, Lea, Flood, 2014): a permutation, so different values have different hashes.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate needs no 64 bits")]
fn share_of_all(hash: u64) -> f64 {
    (hash as f64 + 1.0) / 2_f64.powi(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "below the bound the count is exact")]
    fn few_values_are_counted_exactly_and_many_within_four_standard_errors() {
        for count in [0_u32, 1, 255, 1_000, 10_000, 100_000] {
            let mut sketch = Sketch::default();
            let mut halves = [Sketch::default(), Sketch::default()];
            for value in 0..count {
                sketch.insert(u64::from(value));
                halves[(value % 2) as usize].insert(u64::from(value));
            }
            let [mut merged, other] = halves;
            merged.merge(&other);
            assert_eq!(merged, sketch, "in whatever order and parts values arrive");
            let (estimate, exact) = (sketch.estimate(), f64::from(count));
            if count < 256 {
                assert_eq!(estimate, exact);
            } else {
                let error = (estimate - exact).abs() / exact;
                assert!(error < 4.0 * 0.063, "{count}: {estimate}");
            }
        }
    }
}
