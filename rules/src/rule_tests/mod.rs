//! Tests that stand beside a rule or a case of the fallback table, and what is known once they have run.
//!
//! A test asks one thing of one rule: whether it matches a transaction, given what happened before it. Its mode
//! and its percentage play no part, so a rule that is off or on trial is tested like any other; its period does.
//!
//! What the aggregates of a history are is not known here: whoever runs the tests fills them in, from the same
//! store that serves (see [`Scene`]).

mod alone;
mod compile;
mod reader;
mod report;
mod transaction;
mod values;
mod written;

use std::sync::Arc;

use tollgate_expr::{Frame, Layout, Part, Parts, Program, SlotId};
use tollgate_source::{Diagnostics, Located, SourceFile};
use tollgate_types::{Cell, Degradation, Label, Outcome, Rates, Record, Schema, Transaction};

use crate::never_decides::Place;
use crate::{Logic, Lookups, Mode, Period, RuleIndex};

pub(crate) use compile::Bench;
pub(crate) use reader::Tested;
pub(crate) use report::{AtLevel, failure_at, never_matched, one_sided};
pub(crate) use written::{WrittenTests, read};

/// The tests of a policy's rules.
#[derive(Clone, Debug, Default)]
pub struct RuleTests {
    /// Of rules that have some, in their order.
    pub(crate) of_rules: Vec<OfRule>,
    /// Where the rules stand, in their order.
    pub(crate) places: Vec<Place>,
}

/// The tests of one rule. Its condition is compiled once more, for slots of its own: a test costs what its rule
/// reads, not what the policy does.
#[derive(Clone, Debug)]
pub(crate) struct OfRule {
    pub(crate) rule: RuleIndex,
    condition: Condition,
    period: Period,
    layout: Layout,
    lookups: Lookups,
    tests: Vec<Test>,
}

/// A condition that tests are about, and what it consists of.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) when: Located<String>,
    pub(crate) program: Program,
    pub(crate) parts: Parts,
}

/// What a test is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Rule,
    /// Of the fallback table.
    Case,
    /// The fallback table's answer where no case matches.
    Otherwise,
}

impl Subject {
    /// With its article.
    pub(crate) const fn the(self) -> &'static str {
        match self {
            Self::Rule => "the rule",
            Self::Case => "the case",
            Self::Otherwise => "`otherwise`",
        }
    }

    pub(crate) const fn a(self) -> &'static str {
        match self {
            Self::Rule => "a rule",
            Self::Case => "a case",
            Self::Otherwise => "`otherwise`",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) transaction: Transaction,
    history: Vec<Past>,
    /// Values that stand in for what would be computed.
    given: Vec<(SlotId, Cell)>,
    /// Whether some aggregate that the rule reads is not given.
    asks_history: bool,
    /// The level that the fallback table is asked at; all of its case's where there is none.
    pub(crate) level: Option<Degradation>,
    pub(crate) expect: Located<Expect>,
}

/// A transaction that happened before the one that is tested.
#[derive(Clone, Debug)]
pub struct Past {
    pub transaction: Transaction,
    /// Whether its authorization was refused.
    pub declined: bool,
    pub label: Option<Label>,
}

/// What a test expects of its rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Match,
    NoMatch,
    /// That it matches, and that this is what it does.
    Outcome(Outcome),
}

/// What stands behind the aggregates of one test: apply the history, then read the layout's aggregates as of the
/// record into the frame, the record itself included.
#[derive(Debug)]
pub struct Scene<'s> {
    pub schema: &'s Arc<Schema>,
    pub rates: &'s Rates,
    pub layout: &'s Layout,
    /// By event time, the oldest first.
    pub history: &'s [Past],
    pub record: &'s Record<'s>,
}

/// Fills the slots of a scene's aggregates.
pub type FillAggregates<'f> = dyn FnMut(&Scene<'_>, &mut Frame<'_>) + 'f;

/// What came of all tests.
#[derive(Clone, Debug, Default)]
pub struct TestRun {
    /// One for each test that failed, at what it expects.
    pub failures: Diagnostics,
    /// How many tests ran.
    pub tests: usize,
    seen: Vec<Seen>,
    /// Of the cases of the fallback table, in their order.
    pub(crate) seen_of_cases: Vec<Seen>,
    /// Which of the fallback table's last answers have been given.
    pub(crate) otherwise_seen: Vec<bool>,
}

/// What the tests of one rule, or of one case, have shown of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) matched: bool,
    /// Of each term, whether it was true and whether it was false.
    pub(crate) terms: Vec<[bool; 2]>,
}

impl Logic {
    /// Runs the tests of every rule and of the fallback table.
    pub fn run_tests(&self, fill: &mut FillAggregates<'_>) -> TestRun {
        let mut run = TestRun::default();
        for of_rule in &self.tests.of_rules {
            let mut seen = Seen::nothing_of(&of_rule.condition);
            for test in &of_rule.tests {
                run.tests += 1;
                let failure = self.run_test(of_rule, test, &mut seen, fill);
                run.failures.extend(failure);
            }
            run.seen.push(seen);
        }
        self.table_tests.run(self, &mut run);
        run
    }

    fn run_test(
        &self,
        of_rule: &OfRule,
        test: &Test,
        seen: &mut Seen,
        fill: &mut FillAggregates<'_>,
    ) -> Option<tollgate_source::Diagnostic> {
        // Whether it fits the schema was found out when the test was read.
        let record = Record::new(&test.transaction, &self.schema, &self.rates).ok()?;
        let mut frame = Frame::new(&of_rule.layout, &record);
        of_rule.lookups.fill(&self.lists, &record, &mut frame);
        if test.asks_history {
            let scene = Scene {
                schema: &self.schema,
                rates: &self.rates,
                layout: &of_rule.layout,
                history: &test.history,
                record: &record,
            };
            fill(&scene, &mut frame);
        }
        test.fill_given(&of_rule.layout, &mut frame);
        let in_period = of_rule.period.contains(record.event_time());
        let matched = in_period && of_rule.condition.program.is_true(&frame);
        seen.note(matched, &of_rule.condition.parts.terms, &frame);
        let expected = test.expect.value != Expect::NoMatch;
        (matched != expected).then(|| {
            let id = self.rules.rule(of_rule.rule).map_or("", |rule| &rule.id);
            report::failure(of_rule, test, id, in_period, matched, &frame)
        })
    }

    /// What the tests leave open: a warning for each rule, or case of the fallback table, that none makes match, and for each
    /// term that was never true or never false. Rules that are off are left out.
    pub fn uncovered(&self, run: &TestRun) -> Diagnostics {
        let mut open = Diagnostics::default();
        let mut tested = self.tests.of_rules.iter().zip(&run.seen).peekable();
        for (at, (rule, place)) in self
            .rules
            .rules()
            .iter()
            .zip(&self.tests.places)
            .enumerate()
        {
            let tests = tested.next_if(|(of_rule, _)| usize::try_from(of_rule.rule.0) == Ok(at));
            if rule.mode == Mode::Off {
                continue;
            }
            if !tests.is_some_and(|(_, seen)| seen.matched) {
                open.push(never_matched(&rule.id, &place.file, place.span.clone()));
            }
            if let Some((of_rule, seen)) = tests {
                open.extend(one_sided(&of_rule.condition, &seen.terms, &rule.id));
            }
        }
        open.extend(self.table_tests.uncovered(run));
        open
    }
}

impl Test {
    /// Given values last, but for features that are computed from them.
    pub(crate) fn fill_given(&self, layout: &Layout, frame: &mut Frame<'_>) {
        for &(slot, cell) in &self.given {
            frame.set(slot, cell);
        }
        let given = |slot| self.given.iter().any(|(other, _)| *other == slot);
        for feature in layout
            .features
            .iter()
            .filter(|feature| !given(feature.slot))
        {
            let cell = feature.program.eval(frame);
            frame.set(feature.slot, cell);
        }
    }
}

impl Seen {
    pub(crate) fn nothing_of(condition: &Condition) -> Self {
        Self {
            matched: false,
            terms: vec![[false; 2]; condition.parts.terms.len()],
        }
    }

    pub(crate) fn note(&mut self, matched: bool, terms: &[Part], frame: &Frame<'_>) {
        self.matched |= matched;
        for (seen, term) in self.terms.iter_mut().zip(terms) {
            if let Some(flag) = term.program.eval(frame).as_flag() {
                seen[usize::from(!flag)] = true;
            }
        }
    }
}
