//! The rules of a policy, compiled and kept apart by whether they need the model's score.

use std::sync::Arc;

use tollgate_expr::{Compiled, ConditionId, Conditions, Frame, Group, Shared};
use tollgate_types::{EventTime, Outcome};

use crate::guard::{GuardState, Guards};
use crate::{Answer, Demotion, Guard, Guarding, Matches, Reach};

/// A rule's place among [`RuleSet::rules`]: files by name, rules in the order of their file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleIndex(pub u32);

/// What a rule's match does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It is reported and never decides (DE-1).
    Shadow,
    /// It is checked when loaded and never evaluated.
    Off,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Shadow, Self::Off];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// A rule as it was loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub id: Arc<str>,
    pub description: Arc<str>,
    pub owner: Option<String>,
    pub tags: Vec<String>,
    /// The condition as it is written.
    pub when: String,
    pub answer: Answer,
    pub mode: Mode,
    /// An allow rule's match does not approve while this one matches too.
    pub overrides_allow: bool,
    /// It can only be evaluated once the model has answered.
    pub reads_score: bool,
    /// It reads what happened before, by itself or through features.
    pub reads_aggregates: bool,
    /// Which transactions it is for.
    pub reach: Reach,
    /// What it may decline before it is demoted.
    pub guarding: Guarding,
}

impl Rule {
    /// Whether it approves what other rules would not.
    pub(crate) fn is_allow(&self) -> bool {
        self.answer.outcome() == Outcome::Approve
    }
}

/// Every rule, and the compiled conditions of those that are not off.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    without_score: Stage,
    with_score: Stage,
    pub(crate) pending: Pending,
    pub(crate) guards: Guards,
}

/// The rules that are evaluated at one point of a decision. Nothing matches before they are linked.
#[derive(Clone, Debug, Default)]
struct Stage {
    rules: Vec<Evaluated>,
    ids: Vec<ConditionId>,
    /// What conditions have in common, computed before them.
    shared: Shared,
    /// The conditions of `rules`, in their order.
    conditions: Group,
}

/// What a decision needs of a rule, small because hundreds may match.
#[derive(Clone, Debug)]
struct Evaluated {
    matched: Matched,
    reads_aggregates: bool,
    /// Asked only of the few whose condition holds. Absent where the rule is for everything.
    reach: Option<Box<Reach>>,
}

/// A rule that matched, and what that does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Matched {
    pub(crate) index: RuleIndex,
    /// Neither a shadow rule nor, once it has matched, one that its guard had demoted at that moment.
    pub(crate) is_enforced: bool,
    pub(crate) outcome: Outcome,
    pub(crate) overrides_allow: bool,
}

impl Stage {
    fn push(&mut self, rule: Evaluated, condition: Option<ConditionId>) {
        debug_assert!(condition.is_some(), "not compiled as a condition");
        if let Some(condition) = condition {
            self.rules.push(rule);
            self.ids.push(condition);
        }
    }

    fn link(&mut self, shared: Shared, conditions: &Conditions) {
        self.conditions = conditions.group(self.ids.iter().copied());
        self.shared = shared;
    }

    /// Adds the rules that match, of those that are wanted.
    fn evaluate(
        &self,
        frame: &mut Frame<'_>,
        matches: &mut Matches<'_>,
        wanted: impl Fn(&Evaluated) -> bool,
    ) {
        self.shared.evaluate(frame);
        self.conditions.matching(frame, |at| {
            let rule = self.rules.get(at);
            if let Some(rule) = rule.filter(|rule| wanted(rule) && rule.takes(frame)) {
                matches.add(rule.matched);
            }
        });
    }
}

impl Evaluated {
    fn takes(&self, frame: &Frame<'_>) -> bool {
        self.reach.as_ref().is_none_or(|reach| reach.takes(frame))
    }
}

/// What the enforced rules that read the score could still do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pending {
    pub(crate) severest: Option<Outcome>,
    pub(crate) allow: bool,
    pub(crate) overrides_allow: bool,
}

impl RuleSet {
    pub(crate) fn push(&mut self, rule: Rule, condition: &Compiled) {
        let index = RuleIndex(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        let evaluated = Evaluated {
            matched: Matched {
                index,
                is_enforced: rule.mode == Mode::Enforce,
                outcome: rule.answer.outcome(),
                overrides_allow: rule.overrides_allow,
            },
            reads_aggregates: rule.reads_aggregates,
            reach: (rule.reach != Reach::EVERYTHING).then(|| Box::new(rule.reach)),
        };
        match (rule.mode, rule.reads_score) {
            (Mode::Off, _) => {}
            (_, true) => self.with_score.push(evaluated, condition.id),
            (_, false) => self.without_score.push(evaluated, condition.id),
        }
        if rule.mode == Mode::Enforce && rule.reads_score {
            let pending = &mut self.pending;
            pending.severest = pending.severest.max(Some(rule.answer.outcome()));
            pending.allow |= rule.is_allow();
            pending.overrides_allow |= rule.overrides_allow;
        }
        self.rules.push(rule);
    }

    /// Compiles the conditions of all rules together, now that all of them are known.
    pub(crate) fn link(&mut self, mut conditions: Conditions) {
        let before_score = std::mem::take(&mut conditions.before_score);
        let with_score = std::mem::take(&mut conditions.with_score);
        self.without_score.link(before_score, &conditions);
        self.with_score.link(with_score, &conditions);
    }

    /// Gives each rule its guard, `default` to those that say nothing. Rules that one of the `earlier` sets has as they
    /// are here keep what was counted there, and stay demoted if they were.
    pub fn guard<'e>(
        &mut self,
        default: Option<Guard>,
        earlier: impl Iterator<Item = &'e Self> + Clone,
    ) {
        let earlier = earlier.map(|set| (set.rules.as_slice(), &set.guards));
        self.guards = Guards::new(&self.rules, default, &earlier);
    }

    /// The rules begin to decide. For those that did not in the set `before`, counting begins.
    pub fn begin(&self, before: Option<&Self>, now: EventTime) {
        self.guards.begin(before.map(|set| &set.guards), now);
    }

    /// The rules that their guard has taken back to shadow, and what it had counted.
    pub fn demoted(&self) -> impl Iterator<Item = (&Rule, Demotion)> {
        let demotion = |(at, rule)| Some((rule, self.guards.state(at)?.demotion()?));
        self.rules.iter().enumerate().filter_map(demotion)
    }

    /// Lets a demoted rule decide again. `false` if there is no such rule that is demoted.
    pub fn resume(&self, id: &str, now: EventTime) -> bool {
        let at = self.rules.iter().position(|rule| &*rule.id == id);
        at.and_then(|at| self.guards.state(at))
            .is_some_and(|state| state.resume(now))
    }

    pub(crate) fn guard_state(&self, index: RuleIndex) -> Option<&GuardState> {
        self.guards
            .state(usize::try_from(index.0).unwrap_or(usize::MAX))
    }

    /// All rules, those that are off included.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules
            .get(usize::try_from(index.0).unwrap_or(usize::MAX))
    }

    /// Whether any rule that is not off reads the model's score.
    pub fn reads_score(&self) -> bool {
        !self.with_score.rules.is_empty()
    }

    /// An empty collection for one transaction. Allocates only once a rule matches.
    pub const fn matches(&self) -> Matches<'_> {
        Matches::new(self, None)
    }

    /// The same for a transaction of the past: the rules with these ids were demoted then, and no others.
    pub const fn matches_of_past<'r>(&'r self, demoted: &'r [String]) -> Matches<'r> {
        Matches::new(self, Some(demoted))
    }

    /// Evaluates the rules that do not read the model's score.
    pub fn match_without_score<'r>(&'r self, frame: &mut Frame<'_>, matches: &mut Matches<'r>) {
        self.without_score.evaluate(frame, matches, |_| true);
        matches.without_score_done();
    }

    /// Evaluates the rules that read neither the model's score nor an aggregate, whose slots need not be filled: what the
    /// others would say of them does not count, whichever way a missing value would turn them.
    pub fn match_without_aggregates<'r>(
        &'r self,
        frame: &mut Frame<'_>,
        matches: &mut Matches<'r>,
    ) {
        self.without_score
            .evaluate(frame, matches, |rule| !rule.reads_aggregates);
        matches.without_score_done();
    }

    /// Evaluates the rules that read the model's score, which must be in the frame.
    pub fn match_with_score<'r>(&'r self, frame: &mut Frame<'_>, matches: &mut Matches<'r>) {
        self.with_score.evaluate(frame, matches, |_| true);
        matches.with_score_done();
    }
}
