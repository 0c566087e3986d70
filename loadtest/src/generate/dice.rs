//! Random draws of the generator: one seeded stream per card and day, so that nothing depends on order.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// A stream of draws. The same seed and stream give the same draws on every machine.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Uniform in `low..high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Uniform in `low..=high`.
    pub(crate) fn whole(&mut self, low: u32, high: u32) -> u32 {
        self.0.random_range(low..=high.max(low))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// An index below `length`; 0 for an empty range.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        if length == 0 {
            0
        } else {
            self.0.random_range(0..length)
        }
    }

    pub(crate) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// A positive value around its median: `sigma` is the standard deviation of its logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// A waiting time with the given mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.0.random::<f64>()).ln()
    }

    /// How many of something happen when `mean` are expected.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a Poisson draw is a whole number, and no mean here comes near 2^32"
    )]
    pub(crate) fn poisson(&mut self, mean: f64) -> u32 {
        // A mean of zero is refused by the distribution and means that nothing happens.
        Poisson::new(mean).map_or(0, |poisson| poisson.sample(&mut self.0) as u32)
    }

    /// An index into `weights`, each as likely as its share of their sum.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut rest = self.0.random::<f64>() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (index, weight) in weights.enumerate() {
            if weight > 0.0 {
                last = index;
                if rest < weight {
                    break;
                }
            }
            rest -= weight;
        }
        last
    }
}

/// Mixes a number into 64 well-spread bits (the finalizer of SplitMix64), for identifiers that look random.
pub(crate) const fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_streams_draw_the_same_and_different_ones_do_not() {
        let draws = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..8).map(|_| dice.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1, 2), draws(1, 2));
        assert_ne!(draws(1, 2), draws(1, 3));
        assert_ne!(draws(1, 2), draws(2, 2));
    }

    #[test]
    fn weights_decide_how_often_an_index_comes() {
        let mut dice = Dice::new(7, 0);
        let mut counts = [0_u32; 3];
        for _ in 0..10_000 {
            counts[dice.weighted([3.0, 0.0, 1.0].into_iter())] += 1;
        }
        assert!((7_200..7_800).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[1], 0);
        assert_eq!(dice.poisson(0.0), 0);
    }
}
