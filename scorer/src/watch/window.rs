//! Counts of what happened within the last while, in slices that are let go one after another.

use std::collections::VecDeque;

use tollgate_types::{EventTime, Span};

/// The window moves in steps of a twelfth of itself: five minutes of an hour. More slices only take memory.
const SLICES: usize = 12;

/// Counts in numbered bins over a rolling window.
#[derive(Debug)]
pub(super) struct Window {
    slice: Span,
    /// When the newest slice began; `None` before the first count.
    began: Option<EventTime>,
    /// The newest last.
    slices: VecDeque<Vec<u32>>,
    /// The sums over all slices.
    totals: Vec<u64>,
}

impl Window {
    /// Counts over the last `span` at least, and up to a twelfth longer.
    pub(super) fn new(span: Span, bins: usize) -> Self {
        let slices = i64::try_from(SLICES).unwrap_or(i64::MAX);
        Self {
            slice: Span::from_micros((span.micros() / slices).max(1)),
            began: None,
            slices: VecDeque::with_capacity(SLICES + 1),
            totals: vec![0; bins],
        }
    }

    /// Lets go what is older than the window at `now`, which does not go back.
    pub(super) fn advance(&mut self, now: EventTime) {
        let began = *self.began.get_or_insert(now);
        let passed = now.since(began).micros().max(0) / self.slice.micros();
        let steps = usize::try_from(passed).unwrap_or(usize::MAX);
        if self.slices.is_empty() {
            self.slices.push_back(vec![0; self.totals.len()]);
        }
        if steps == 0 {
            return;
        }
        // After a pause longer than the window each further step would do the same.
        for _ in 0..steps.min(SLICES + 1) {
            self.slices.push_back(vec![0; self.totals.len()]);
            if self.slices.len() > SLICES + 1
                && let Some(oldest) = self.slices.pop_front()
            {
                for (total, count) in self.totals.iter_mut().zip(oldest) {
                    *total -= u64::from(count);
                }
            }
        }
        let moved = self.slice.micros().saturating_mul(passed);
        self.began = Some(began.plus(Span::from_micros(moved)));
    }

    /// Counts one in `bin`. [`Window::advance`] comes first.
    pub(super) fn add(&mut self, bin: usize) {
        let newest = self.slices.back_mut().and_then(|slice| slice.get_mut(bin));
        if let (Some(count), Some(total)) = (newest, self.totals.get_mut(bin))
            && let Some(next) = count.checked_add(1)
        {
            *count = next;
            *total += 1;
        }
    }

    /// What was counted in each bin.
    pub(super) fn totals(&self) -> &[u64] {
        &self.totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second `s` of the test.
    fn at(s: i64) -> EventTime {
        EventTime::from_micros(1_000_000_000).plus(Span::from_seconds(s))
    }

    fn count(window: &mut Window, second: i64, bin: usize) {
        window.advance(at(second));
        window.add(bin);
    }

    #[test]
    fn what_is_older_than_the_window_is_let_go() {
        let mut window = Window::new(Span::from_seconds(120), 2);
        count(&mut window, 0, 0);
        count(&mut window, 9, 1);
        count(&mut window, 100, 1);
        assert_eq!(window.totals(), [1, 2]);
        // The slice of the first two began at 0; at 129 its last is 120 seconds old.
        window.advance(at(129));
        assert_eq!(window.totals(), [1, 2]);
        window.advance(at(130));
        assert_eq!(window.totals(), [0, 1]);
        window.advance(at(230));
        assert_eq!(window.totals(), [0, 0]);
    }

    #[test]
    fn a_long_pause_empties_it_at_once() {
        let mut window = Window::new(Span::from_seconds(120), 1);
        count(&mut window, 0, 0);
        count(&mut window, 1_000_000_005, 0);
        assert_eq!(window.totals(), [1]);
        // Slices still begin where they did: every ten seconds.
        window.advance(at(1_000_000_129));
        assert_eq!(window.totals(), [1]);
        window.advance(at(1_000_000_130));
        assert_eq!(window.totals(), [0]);
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let mut window = Window::new(Span::from_seconds(120), 1);
        count(&mut window, 50, 0);
        count(&mut window, 20, 0);
        assert_eq!(window.totals(), [2]);
    }

    #[test]
    fn totals_are_what_brute_force_counts() {
        let mut window = Window::new(Span::from_seconds(60), 3);
        let mut events: Vec<(i64, usize)> = Vec::new();
        let mut second = 0;
        for n in 0..500_i64 {
            second += n * n % 7;
            let bin = usize::try_from(n % 3).unwrap();
            count(&mut window, second, bin);
            events.push((second, bin));
            // Slices are five seconds long, and thirteen of them are kept, the newest included.
            let from = (second / 5 - 12) * 5;
            for bin in 0..3 {
                let kept = events.iter().filter(|(at, of)| *at >= from && *of == bin);
                assert_eq!(
                    window.totals()[bin],
                    u64::try_from(kept.count()).unwrap(),
                    "{second}"
                );
            }
        }
    }
}
