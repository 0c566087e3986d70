//! The guard of a rule: what of all traffic it may decline before it is taken back to shadow by itself.
//!
//! A rule that was right yesterday can decline every second customer today, because a list, a feature or the traffic has
//! changed. Whoever wrote it said how much is too much; beyond that the rule is demoted: it goes on matching, and its
//! matches are reported like those of a shadow rule (DE-1), until somebody resumes it. A demotion belongs to the rule
//! as it is written, not to the policy it is in.

mod read;
mod state;
mod window;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tollgate_types::{EventTime, Outcome, Span};

use crate::{Mode, Rule};
pub(crate) use read::read;
pub use state::Demotion;
pub(crate) use state::GuardState;
use window::Window;

/// How much of the traffic a rule may decline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    /// Of the transactions in a period, in millionths.
    pub share_max_per_million: u32,
    pub period: Span,
    /// With fewer transactions than these in the period, a share says nothing.
    pub transactions_min: u32,
}

/// What a rule says about its guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Guarding {
    /// Nothing: it has the one that the service gives to all.
    #[default]
    Default,
    Off,
    Own(Guard),
}

/// The guards of a rule set: what is counted, and who is demoted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    /// By the rule's index. Empty until the set is guarded.
    states: Vec<Option<Arc<GuardState>>>,
    /// All transactions, once for each length of period.
    traffic: Vec<Arc<Window>>,
}

impl Guards {
    /// The guards of these rules. A rule that is in one of the `earlier` sets as it is here has the guard it had there.
    pub(crate) fn new<'e>(
        rules: &[Rule],
        default: Option<Guard>,
        earlier: &(impl Iterator<Item = (&'e [Rule], &'e Self)> + Clone),
    ) -> Self {
        let known: Vec<_> = earlier.clone().map(|(rules, of)| of.by_id(rules)).collect();
        let mut guards = Self::default();
        for rule in rules {
            let state = rule.guard(default).map(|guard| {
                let mut same = known.iter().filter_map(|set| set.get(&*rule.id));
                let known = same
                    .find(|(other, _)| *other == rule)
                    .map(|(_, state)| *state);
                let known = known.filter(|state| state.guard() == guard);
                let traffic = guards.traffic_of(guard.period, earlier.clone());
                known.map_or_else(|| Arc::new(GuardState::new(guard, traffic)), Arc::clone)
            });
            guards.states.push(state);
        }
        guards
    }

    /// The rules that have a guard, and their guards.
    fn by_id<'g>(&'g self, rules: &'g [Rule]) -> HashMap<&'g str, (&'g Rule, &'g Arc<GuardState>)> {
        let guarded = rules.iter().zip(&self.states);
        let guarded =
            guarded.filter_map(|(rule, state)| Some((&*rule.id, (rule, state.as_ref()?))));
        guarded.collect()
    }

    fn traffic_of<'e>(
        &mut self,
        period: Span,
        earlier: impl Iterator<Item = (&'e [Rule], &'e Self)>,
    ) -> Arc<Window> {
        let of_period = |windows: &[Arc<Window>]| {
            let mut windows = windows.iter();
            windows.find(|window| window.period() == period).cloned()
        };
        of_period(&self.traffic).unwrap_or_else(|| {
            let known = earlier
                .map(|(_, guards)| of_period(&guards.traffic))
                .find_map(|window| window);
            let window = known.unwrap_or_else(|| Arc::new(Window::new(period)));
            self.traffic.push(Arc::clone(&window));
            window
        })
    }

    /// Begins to count for those that `before` did not have: while a policy is not live nothing is counted for it.
    pub(crate) fn begin(&self, before: Option<&Self>, now: EventTime) {
        let others = before.into_iter().flat_map(|before| &before.states);
        let counting: HashSet<*const GuardState> = others.flatten().map(Arc::as_ptr).collect();
        for state in self.states.iter().flatten() {
            if !counting.contains(&Arc::as_ptr(state)) {
                state.begin(now);
            }
        }
    }

    pub(crate) fn state(&self, rule: usize) -> Option<&GuardState> {
        self.states.get(rule)?.as_deref()
    }

    /// Takes note of a transaction that the rules were asked about.
    pub(crate) fn note_transaction(&self, now: EventTime) {
        for window in &self.traffic {
            window.add(now);
        }
    }
}

impl Rule {
    /// Whether a guard may take it back to shadow. One that says nothing may have the guard that the service gives.
    pub(crate) fn may_be_demoted(&self) -> bool {
        self.can_decline() && self.guarding != Guarding::Off
    }

    /// Only rules that decline can do what a guard is against.
    fn can_decline(&self) -> bool {
        self.mode == Mode::Enforce && self.answer.outcome() == Outcome::Decline
    }

    /// What it is held to.
    fn guard(&self, default: Option<Guard>) -> Option<Guard> {
        match self.guarding {
            Guarding::Own(guard) => Some(guard),
            Guarding::Default => default,
            Guarding::Off => None,
        }
        .filter(|_| self.can_decline())
    }
}
