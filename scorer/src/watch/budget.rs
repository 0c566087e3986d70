//! How much CPU a challenger may use: a token bucket that fills as time passes.

use std::time::{Duration, Instant};

/// The bucket holds at most what it gets in this time, so that after a quiet hour a challenger may not take a core for minutes.
const FULL_AFTER: Duration = Duration::from_secs(1);

/// Rows of a first run, before anything is known of what a row costs: one batch.
const ROWS_FIRST: usize = 32;

/// What a run costs changes with the rows: of what was measured before, this much still counts beside the latest.
const OF_BEFORE: f64 = 0.8;

/// CPU time of one challenger. Time and cost are told; nothing is measured in here.
#[derive(Debug)]
pub(super) struct Budget {
    /// Seconds of CPU per second.
    share: f64,
    /// Seconds of CPU that may be used; below zero if the last run took more than there was.
    left: f64,
    at: Instant,
    /// Seconds of CPU per row, once something was run.
    row_cost: Option<f64>,
}

impl Budget {
    /// A full bucket that gets `share` of one core.
    pub(super) fn new(share: f64, now: Instant) -> Self {
        Self {
            share,
            left: share * FULL_AFTER.as_secs_f64(),
            at: now,
            row_cost: None,
        }
    }

    /// Another share, from now on.
    pub(super) fn set_share(&mut self, share: f64, now: Instant) {
        self.refill(now);
        self.share = share;
    }

    /// How many of `wanted` rows may be run at `now`.
    pub(super) fn rows(&mut self, wanted: usize, now: Instant) -> usize {
        self.refill(now);
        if self.left <= 0.0 {
            return 0;
        }
        let Some(cost) = self.row_cost.filter(|cost| *cost > 0.0) else {
            return wanted.min(ROWS_FIRST);
        };
        // At least one: a row that costs more than a full bucket is run all the same, and paid for by a longer rest.
        let affordable = (self.left / cost).floor().max(1.0);
        if affordable >= f64::from(u32::try_from(wanted).unwrap_or(u32::MAX)) {
            return wanted;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 1 and what is wanted"
        )]
        let rows = affordable as usize;
        rows
    }

    /// Pays `cpu` for `rows` rows; for none if the cost of an earlier run has only become known.
    pub(super) fn pay(&mut self, cpu: Duration, rows: usize) {
        let cpu = cpu.as_secs_f64();
        self.left -= cpu;
        if rows > 0 {
            let cost = cpu / f64::from(u32::try_from(rows).unwrap_or(u32::MAX));
            let before = self.row_cost.unwrap_or(cost);
            self.row_cost = Some(OF_BEFORE * before + (1.0 - OF_BEFORE) * cost);
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let full = self.share * FULL_AFTER.as_secs_f64();
        self.left = (self.left + self.share * passed).min(full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn in_the_long_run_no_more_than_the_share_is_used() {
        // 1,000 rows a second at a millisecond each would be a whole core; a tenth is given.
        let began = clock::instant();
        let mut budget = Budget::new(0.1, began);
        let mut used = Duration::ZERO;
        for tick in 0..600 {
            let rows = budget.rows(100, began + tick * 100 * MILLI);
            let cpu = MILLI * u32::try_from(rows).unwrap();
            budget.pay(cpu, rows);
            used += cpu;
        }
        // Of sixty seconds six, and what was in the bucket at first.
        assert!(used <= Duration::from_millis(6_110), "{used:?}");
        assert!(
            used >= Duration::from_millis(5_900),
            "what is given is used: {used:?}"
        );
    }

    #[test]
    fn a_run_that_took_too_much_is_paid_back() {
        let began = clock::instant();
        let mut budget = Budget::new(0.5, began);
        assert_eq!(budget.rows(5, began), 5);
        budget.pay(Duration::from_secs(2), 5);
        // 0.5 s were there, so 1.5 s are owed: three seconds at half a core.
        assert_eq!(budget.rows(5, began + Duration::from_millis(2_900)), 0);
        assert_eq!(budget.rows(5, began + Duration::from_millis(3_100)), 1);
    }

    #[test]
    fn a_late_bill_is_paid_too_and_says_nothing_of_rows() {
        let began = clock::instant();
        let mut budget = Budget::new(1.0, began);
        assert_eq!(budget.rows(100, began), ROWS_FIRST);
        budget.pay(MILLI * 32, ROWS_FIRST);
        budget.pay(Duration::from_millis(868), 0);
        // A tenth of a second is left, at a millisecond a row.
        let rows = budget.rows(1000, began);
        assert!((99..=101).contains(&rows), "{rows}");
    }

    #[test]
    fn a_pause_saves_up_one_second_at_most() {
        let began = clock::instant();
        let mut budget = Budget::new(0.1, began);
        budget.pay(MILLI * 10, 10);
        let rows = budget.rows(10_000, began + Duration::from_secs(3_600));
        assert!((99..=101).contains(&rows), "{rows}");
    }
}
