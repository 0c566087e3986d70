//! Tests that stand beside the cases of the fallback table.
//!
//! A test of a case asks the whole table, so it fails as well where an earlier case answers. It asks it at one level, or
//! at every level that the case is for.

use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::{Frame, Layout};
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};
use tollgate_types::{Degradation, Record};

use super::Fallback;
use crate::rule_tests::{
    AtLevel, Condition, Expect, Seen, Test, TestRun, failure_at, never_matched, one_sided,
};
use crate::{Logic, Lookups};

/// The table in slots of its own, and its tests: a test costs what the table reads, not what the policy does.
#[derive(Clone, Debug)]
pub(crate) struct TableTests {
    pub(super) file: Arc<SourceFile>,
    pub(super) table: Fallback,
    pub(super) layout: Layout,
    pub(super) lookups: Lookups,
    pub(super) cases: Vec<TestedCase>,
    pub(super) otherwise: Vec<TestedOtherwise>,
}

/// A case, in the order of the table.
#[derive(Clone, Debug)]
pub(super) struct TestedCase {
    /// Its id in the file.
    pub(super) span: Range<usize>,
    pub(super) condition: Condition,
    pub(super) tests: Vec<Test>,
}

/// An answer where no case matches.
#[derive(Clone, Debug)]
pub(super) struct TestedOtherwise {
    pub(super) span: Range<usize>,
    pub(super) levels: Vec<Degradation>,
    pub(super) tests: Vec<Test>,
}

/// What a test is beside.
#[derive(Clone, Copy)]
struct Beside<'t> {
    id: &'t str,
    /// Which case should answer; `None` if none should.
    place: Option<usize>,
    levels: &'t [Degradation],
    condition: Option<&'t Condition>,
}

impl TableTests {
    /// Runs all of them.
    pub(crate) fn run(&self, logic: &Logic, run: &mut TestRun) {
        for (place, (tested, case)) in self.cases.iter().zip(&self.table.cases).enumerate() {
            let beside = Beside {
                id: &case.id,
                place: Some(place),
                levels: &case.levels,
                condition: Some(&tested.condition),
            };
            let mut seen = Seen::nothing_of(&tested.condition);
            for test in &tested.tests {
                run.tests += 1;
                run.failures
                    .extend(self.run_test(beside, test, &mut seen, logic));
            }
            run.seen_of_cases.push(seen);
        }
        for last in &self.otherwise {
            let beside = Beside {
                id: "otherwise",
                place: None,
                levels: &last.levels,
                condition: None,
            };
            let mut seen = Seen::default();
            for test in &last.tests {
                run.tests += 1;
                run.failures
                    .extend(self.run_test(beside, test, &mut seen, logic));
            }
            run.otherwise_seen.push(seen.matched);
        }
    }

    /// What is wrong at the first level where something is.
    fn run_test(
        &self,
        beside: Beside<'_>,
        test: &Test,
        seen: &mut Seen,
        logic: &Logic,
    ) -> Option<Diagnostic> {
        // Whether it fits the schema was found out when the test was read.
        let record = Record::new(&test.transaction, &logic.schema, &logic.rates).ok()?;
        let mut frame = Frame::new(&self.layout, &record);
        self.lookups.fill(&logic.lists, &record, &mut frame);
        test.fill_given(&self.layout, &mut frame);
        let levels = test
            .level
            .as_ref()
            .map_or(beside.levels, std::slice::from_ref);
        let terms = beside
            .condition
            .map_or(&[][..], |condition| &condition.parts.terms);
        let expected = test.expect.value != Expect::NoMatch;
        let mut failure = None;
        for &level in levels {
            let answering = self.table.answering(&frame, level);
            let matched = beside.levels.contains(&level) && answering == beside.place;
            seen.note(matched, terms, &frame);
            if matched != expected && failure.is_none() {
                let at = AtLevel {
                    file: &self.file,
                    id: beside.id,
                    level,
                    matched,
                    because: self.because(beside, level, answering),
                    condition: beside.condition,
                };
                failure = Some(failure_at(&at, test, &frame));
            }
        }
        failure
    }

    /// Why it was not this case that answered, where its own condition does not say.
    fn because(
        &self,
        beside: Beside<'_>,
        level: Degradation,
        answering: Option<usize>,
    ) -> Option<String> {
        if !beside.levels.contains(&level) {
            let (id, level) = (beside.id, level.name());
            return Some(format!("`{id}` does not answer at {level}"));
        }
        let other = answering.filter(|_| answering != beside.place)?;
        let other = self.table.cases.get(other)?;
        let (id, outcome) = (&other.id, other.answer.outcome().name());
        Some(format!("the case `{id}` answered, with {outcome}"))
    }

    /// What the tests leave open, as of rules.
    pub(crate) fn uncovered(&self, run: &TestRun) -> Diagnostics {
        let mut open = Diagnostics::default();
        let cases = self.cases.iter().zip(&self.table.cases);
        for ((tested, case), seen) in cases.zip(&run.seen_of_cases) {
            if !seen.matched {
                open.push(never_matched(&case.id, &self.file, tested.span.clone()));
            }
            if !tested.tests.is_empty() {
                open.extend(one_sided(&tested.condition, &seen.terms, &case.id));
            }
        }
        for (last, seen) in self.otherwise.iter().zip(&run.otherwise_seen) {
            if !seen {
                open.push(never_matched("otherwise", &self.file, last.span.clone()));
            }
        }
        open
    }
}
