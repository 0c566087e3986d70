//! The guard of one rule at work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_types::EventTime;

use super::Guard;
use super::window::{Since, Window};

/// What a guard has counted, and whether it has acted. Shared by all policies that have the rule as it is.
#[derive(Debug)]
pub(crate) struct GuardState {
    guard: Guard,
    demoted: AtomicBool,
    declined: Window,
    declined_since: AtomicU64,
    traffic: Arc<Window>,
    traffic_since: AtomicU64,
    /// For people; decisions look at the flag.
    demotion: Mutex<Option<Demotion>>,
}

/// What was counted when a rule was demoted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demotion {
    pub at: EventTime,
    /// Transactions that it declined within the period.
    pub declined: u64,
    /// All transactions within the period.
    pub of: u64,
    pub guard: Guard,
}

const MILLION: u64 = 1_000_000;

impl GuardState {
    pub(super) fn new(guard: Guard, traffic: Arc<Window>) -> Self {
        Self {
            guard,
            demoted: AtomicBool::new(false),
            declined: Window::new(guard.period),
            declined_since: AtomicU64::new(Since::default().packed()),
            traffic,
            traffic_since: AtomicU64::new(Since::default().packed()),
            demotion: Mutex::new(None),
        }
    }

    pub(super) const fn guard(&self) -> Guard {
        self.guard
    }

    pub(crate) fn is_demoted(&self) -> bool {
        self.demoted.load(Ordering::Relaxed)
    }

    pub(crate) fn demotion(&self) -> Option<Demotion> {
        *self.lock()
    }

    /// What was counted up to now no longer counts.
    pub(super) fn begin(&self, now: EventTime) {
        let since = |window: &Window| window.since(now).packed();
        self.declined_since
            .store(since(&self.declined), Ordering::Relaxed);
        self.traffic_since
            .store(since(&self.traffic), Ordering::Relaxed);
    }

    /// The rule decides again, and counting begins anew. `false` if it was not demoted.
    pub(crate) fn resume(&self, now: EventTime) -> bool {
        let mut demotion = self.lock();
        self.begin(now);
        *demotion = None;
        self.demoted.swap(false, Ordering::Relaxed)
    }

    /// The rule has declined a transaction, which is among the traffic already. Says so if that was one too many; of
    /// threads that find it at once, to one.
    pub(crate) fn note_decline(&self, now: EventTime) -> Option<Demotion> {
        self.declined.add(now);
        let since = |since: &AtomicU64| Since::of_packed(since.load(Ordering::Relaxed));
        let declined = self.declined.count(now, since(&self.declined_since));
        let of = self.traffic.count(now, since(&self.traffic_since));
        let guard = self.guard;
        let is_too_much = of >= guard.transactions_min.into()
            && declined * MILLION > of * u64::from(guard.share_max_per_million);
        if !is_too_much || self.is_demoted() {
            return None;
        }
        let mut demotion = self.lock();
        if self.demoted.swap(true, Ordering::Relaxed) {
            return None;
        }
        let found = Demotion {
            at: now,
            declined,
            of,
            guard,
        };
        *demotion = Some(found);
        Some(found)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Demotion>> {
        // Nothing is left half done by a panic while the lock is held.
        self.demotion.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_types::Span;

    use super::*;

    fn state(transactions_min: u32) -> GuardState {
        let guard = Guard {
            share_max_per_million: 20_000,
            period: Span::from_seconds(600),
            transactions_min,
        };
        GuardState::new(guard, Arc::new(Window::new(guard.period)))
    }

    fn at(seconds: i64) -> EventTime {
        EventTime::from_micros(1_000_000_000_000_000).plus(Span::from_seconds(seconds))
    }

    /// Plays transactions of which the rule declines every `every`th, one a second; says which one was too many.
    fn play(state: &GuardState, seconds: std::ops::Range<i64>, every: i64) -> Option<i64> {
        seconds.into_iter().find(|&second| {
            state.traffic.add(at(second));
            second % every == every - 1 && state.note_decline(at(second)).is_some()
        })
    }

    #[test]
    fn a_share_beyond_the_guard_s_demotes_and_the_share_itself_does_not() {
        assert_eq!(play(&state(100), 0..5_000, 60), None);
        // Of 147 transactions the third decline is more than two in a hundred.
        assert_eq!(play(&state(100), 0..5_000, 49), Some(146));
    }

    #[test]
    fn few_transactions_say_nothing() {
        let state = state(100);
        assert_eq!(play(&state, 0..1_000, 1), Some(99));
        assert!(state.is_demoted());
        let demotion = state.demotion().unwrap();
        assert_eq!((demotion.declined, demotion.of), (100, 100));
    }

    #[test]
    fn what_lies_further_back_than_the_period_no_longer_counts() {
        let state = state(100);
        assert_eq!(play(&state, 0..98, 1), None);
        // Ten minutes without a decline.
        assert_eq!(play(&state, 98..700, 1_000), None);
        assert_eq!(play(&state, 700..2_000, 60), None);
    }

    #[test]
    fn a_resumed_rule_is_counted_anew() {
        let state = state(100);
        assert_eq!(play(&state, 0..1_000, 1), Some(99));
        assert!(state.resume(at(99)));
        assert!(!state.resume(at(99)));
        assert_eq!(state.demotion(), None);
        assert_eq!(play(&state, 100..199, 1), None);
        assert_eq!(play(&state, 199..1_000, 1), Some(199));
    }
}
