//! Clocks and percentiles: how every bench takes and sums up its times.
//!
//! A single call is timed by itself and the timer's own cost is not subtracted; [`timer_cost`] says what it is. Figures
//! of several rounds are medians over rounds, which one disturbed round cannot move.

use std::time::{Duration, Instant};

use anyhow::Context;

/// Load average up to which the machine counts as ours; that of a build just ended takes a while to fall.
const QUIET_LOAD_MAX: f64 = 0.5;

/// The moment now. The only place of this crate that asks the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the ban is for the service's own code; a bench times"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Runs `work` and returns how long it took, in nanoseconds.
pub fn timed(work: impl FnOnce()) -> u64 {
    let start = now();
    work();
    nanos(start.elapsed())
}

pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a timed call that does nothing shows, in nanoseconds: contained in every single time.
pub fn timer_cost() -> f64 {
    Times::of((0..100_000).map(|_| timed(|| ())).collect()).quantile(0.5)
}

/// Says so where other programs use the machine: every figure then suffers, and that of two threads most.
pub fn warn_of_load() -> anyhow::Result<()> {
    let text = std::fs::read_to_string("/proc/loadavg").context("/proc/loadavg")?;
    let load = text.split_whitespace().next().unwrap_or_default();
    if load.parse::<f64>().is_ok_and(|load| load > QUIET_LOAD_MAX) {
        eprintln!(
            "warning: load average {load}; wait until nothing else runs for figures that count"
        );
    }
    Ok(())
}

/// Times of single calls, in order of length.
#[derive(Debug, Clone)]
pub struct Times(Vec<u64>);

impl Times {
    pub fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Self(nanos)
    }

    /// In nanoseconds: the smallest time that a share `q` of the calls did not exceed.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank within the number of times"
    )]
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (q * number(self.0.len())).ceil() as usize;
        let at = rank.clamp(1, self.0.len().max(1)) - 1;
        self.0.get(at).map_or(f64::NAN, |nanos| float(*nanos))
    }

    pub fn mean(&self) -> f64 {
        float(self.0.iter().sum()) / number(self.0.len())
    }
}

/// The middle figure, or the mean of the two in the middle.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => figures[middle],
        _ => f64::midpoint(figures[middle - 1], figures[middle]),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times and sizes stay far below 2^53"
)]
pub fn float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of what is in memory stay far below 2^53"
)]
pub fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers come out exactly")]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_times_that_occurred() {
        let times = Times::of((1..=100).rev().collect());
        assert_eq!(times.quantile(0.5), 50.0);
        assert_eq!(times.quantile(0.99), 99.0);
        assert_eq!(times.quantile(1.0), 100.0);
        assert_eq!(Times::of(vec![7]).quantile(0.01), 7.0);
        assert_eq!(times.mean(), 50.5);
    }

    #[test]
    fn a_median_ignores_the_outlier() {
        assert_eq!(median([3.0, 900.0, 1.0]), 3.0);
        assert_eq!(median([4.0, 1.0, 2.0, 900.0]), 3.0);
        assert!(median([]).is_nan());
    }
}
