//! When each request is due: open loop, whatever the service does.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// Independent of each other, as those of many customers are.
    Poisson,
    /// One every so often, to the microsecond.
    Constant,
}

/// A schedule of due times at a given rate.
pub(crate) struct Pace {
    due: Instant,
    gap_mean: Duration,
    arrivals: Arrivals,
    rng: ChaCha8Rng,
}

impl Pace {
    /// `rate` is requests per second.
    pub(crate) fn new(start: Instant, rate: f64, arrivals: Arrivals, seed: u64) -> Self {
        let gap_mean = Duration::from_secs_f64(1.0 / rate.clamp(0.001, 1e6));
        Self {
            due: start,
            gap_mean,
            arrivals,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// When the next request is due. The schedule never waits for the service.
    fn next_due(&mut self) -> Instant {
        let gap = match self.arrivals {
            Arrivals::Constant => self.gap_mean,
            Arrivals::Poisson => self
                .gap_mean
                .mul_f64(-(1.0 - self.rng.random::<f64>()).ln()),
        };
        self.due += gap;
        self.due
    }

    /// Blocks the thread until the next request is due. A thread of its own wakes within some 50 µs, where
    /// timers of the async runtime are a millisecond late.
    pub(crate) fn sleep_until_next(&mut self) -> Instant {
        let due = self.next_due();
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_are_evenly_spread() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 1_000.0, Arrivals::Constant, 1);
        for _ in 0..999 {
            pace.next_due();
        }
        assert_eq!(pace.next_due() - start, Duration::from_secs(1));
    }

    #[test]
    fn poisson_arrivals_keep_the_rate_and_vary() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 1_000.0, Arrivals::Poisson, 1);
        let dues: Vec<_> = (0..20_000).map(|_| pace.next_due()).collect();
        let seconds = (dues[19_999] - start).as_secs_f64();
        assert!((19.0..21.0).contains(&seconds), "{seconds}");
        let long = dues
            .windows(2)
            .filter(|pair| pair[1] - pair[0] > Duration::from_millis(3));
        // e⁻³ of the gaps are longer than three means.
        assert!((800..1_200).contains(&long.count()));
    }
}
