//! Counting what happened within a period, from many threads, without a lock.
//!
//! A period is cut into steps; a ring has a counter for each. So a window moves in steps: it has the step that has begun
//! and the whole ones before it, and reaches back between 59 and 60 sixtieths of the period.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_types::{EventTime, Span};

/// Counters of a window. More would be more exact and take longer to add up.
const STEPS: u32 = 60;

/// How often something happened in the period before now.
#[derive(Debug)]
pub(super) struct Window {
    period: Span,
    step_us: i64,
    /// The number of a step in the upper half, how often it happened in it in the lower.
    slots: [AtomicU64; STEPS as usize],
}

/// From when on something counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Since {
    step: u32,
    /// What had happened in that step before.
    before: u32,
}

impl Window {
    pub(super) fn new(period: Span) -> Self {
        Self {
            period,
            step_us: (period.micros() / i64::from(STEPS)).max(1),
            slots: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(super) const fn period(&self) -> Span {
        self.period
    }

    /// It happened now. What comes a whole period late is not counted.
    pub(super) fn add(&self, now: EventTime) {
        let step = self.step(now);
        // A failure means that the slot has been taken by a later step.
        let _ = self
            .slot(step)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
                let (at, count) = unpack(packed);
                match at.cmp(&step) {
                    std::cmp::Ordering::Less => Some(pack(step, 1)),
                    std::cmp::Ordering::Equal => Some(pack(step, count.saturating_add(1))),
                    std::cmp::Ordering::Greater => None,
                }
            });
    }

    /// How often it happened within the period, but not before `since`.
    pub(super) fn count(&self, now: EventTime, since: Since) -> u64 {
        let now = self.step(now);
        let first = now.saturating_sub(STEPS - 1).max(since.step);
        let all: u64 = (first..=now)
            .map(|step| u64::from(self.in_step(step)))
            .sum();
        if first == since.step {
            all.saturating_sub(since.before.into())
        } else {
            all
        }
    }

    /// From now on.
    pub(super) fn since(&self, now: EventTime) -> Since {
        let step = self.step(now);
        let before = self.in_step(step);
        Since { step, before }
    }

    fn in_step(&self, step: u32) -> u32 {
        match unpack(self.slot(step).load(Ordering::Relaxed)) {
            (at, count) if at == step => count,
            _ => 0,
        }
    }

    /// Steps are a second at least, so 136 years of them have numbers.
    fn step(&self, now: EventTime) -> u32 {
        u32::try_from(now.micros().div_euclid(self.step_us)).unwrap_or(0)
    }

    fn slot(&self, step: u32) -> &AtomicU64 {
        // A remainder of 60 is an index of 60 slots.
        &self.slots[usize::try_from(step % STEPS).unwrap_or(0)]
    }
}

impl Since {
    /// As one number, so that both halves are always of one moment.
    pub(super) const fn packed(self) -> u64 {
        pack(self.step, self.before)
    }

    pub(super) fn of_packed(packed: u64) -> Self {
        let (step, before) = unpack(packed);
        Self { step, before }
    }
}

const fn pack(step: u32, count: u32) -> u64 {
    (step as u64) << 32 | count as u64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves are taken apart"
)]
const fn unpack(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const PERIOD_S: i64 = 120;

    fn at(millis: i64) -> EventTime {
        EventTime::from_micros(1_000_000_000_000_000 + millis * 1_000)
    }

    /// The numbers of the steps, two seconds each, as the first sentences say it.
    fn brute_force(happened: &[i64], now: i64) -> usize {
        let step = |millis: i64| millis.div_euclid(2_000);
        let within = |&&millis: &&i64| (step(now) - 59..=step(now)).contains(&step(millis));
        happened.iter().filter(within).count()
    }

    proptest! {
        /// Gaps are mostly small, sometimes longer than the period, and now and then a thread is late.
        #[test]
        fn what_is_counted_is_what_brute_force_counts(
            gaps in prop::collection::vec(prop_oneof![8 => 0..3_000_i64, 1 => 0..300_000_i64], 1..200),
            lateness in prop::collection::vec(prop_oneof![4 => Just(0), 1 => 0..200_000_i64], 200),
            begun in 0..200_usize,
        ) {
            let window = Window::new(Span::from_seconds(PERIOD_S));
            let mut happened = Vec::new();
            let mut since = (Since::default(), 0);
            let mut now = 0;
            for (number, (gap, late)) in gaps.iter().zip(&lateness).enumerate() {
                now += gap;
                if number == begun {
                    since = (window.since(at(now)), happened.len());
                }
                // Once somebody has begun to count, whoever is late would count for the time before.
                let late = if number >= begun { 0 } else { *late };
                window.add(at(now - late));
                happened.push(now - late);
                let counted = window.count(at(now), Since::default());
                prop_assert_eq!(counted, brute_force(&happened, now) as u64);
                let from_then = &happened[since.1..];
                prop_assert_eq!(window.count(at(now), since.0), brute_force(from_then, now) as u64);
            }
        }
    }

    #[test]
    fn threads_lose_nothing() {
        let window = Arc::new(Window::new(Span::from_seconds(PERIOD_S)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let window = Arc::clone(&window);
                std::thread::spawn(move || (0..10_000).for_each(|n| window.add(at(n))))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(window.count(at(10_000), Since::default()), 40_000);
    }
}
