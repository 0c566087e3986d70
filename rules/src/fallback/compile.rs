//! From the table as it is written to the one that answers, and to the one that its tests ask.

use std::sync::Arc;

use tollgate_expr::{Compiler, Parts};
use tollgate_source::{Diagnostics, Located, SourceFile};
use tollgate_types::Degradation;

use super::case_tests::{TableTests, TestedCase, TestedOtherwise};
use super::file::{FallbackFile, Otherwise, WrittenCase};
use super::order::{self, Placed};
use super::{Fallback, FallbackCase, LEVELS};
use crate::condition::note_problems;
use crate::rule_tests::{Bench, Condition, Subject, Tested, WrittenTests};
use crate::{Answer, Lookups, Period};

/// A table that has no mistake, but perhaps in its tests.
pub(crate) struct Table {
    pub(crate) fallback: Fallback,
    file: Arc<SourceFile>,
    cases: Vec<Case>,
    otherwise: Vec<Otherwise>,
}

/// What is left of a case beside what answers.
struct Case {
    placed: Placed,
    when: Located<String>,
    tests: WrittenTests,
}

impl FallbackFile {
    /// Compiles the conditions. If anything had a mistake, the tests that were written.
    pub(crate) fn compile(
        self,
        compiler: &mut Compiler<'_>,
        notes: &mut Diagnostics,
    ) -> Result<Table, (Arc<SourceFile>, WrittenTests)> {
        let file = self.file;
        let mut tests = WrittenTests::new();
        let (mut cases, mut answering) = (Vec::new(), Vec::new());
        let written = self.cases.len();
        // All cases are compiled before any is given up, so that all mistakes are noted.
        for case in self.cases {
            match case.compile(&file, compiler, notes) {
                Ok((case, answers)) => {
                    cases.push(case);
                    answering.push(answers);
                }
                Err(of_case) => tests.extend(of_case),
            }
        }
        let otherwise = by_level(&self.otherwise);
        match (otherwise, self.constant) {
            (Some(otherwise), Some(constant)) if cases.len() == written => Ok(Table {
                fallback: Fallback {
                    cases: answering,
                    otherwise,
                    constant,
                    stale_aggregates: self.stale_aggregates,
                },
                file,
                cases,
                otherwise: self.otherwise,
            }),
            _ => {
                tests.extend(cases.into_iter().flat_map(|case| case.tests));
                tests.extend(self.otherwise.into_iter().flat_map(|last| last.tests));
                Err((file, tests))
            }
        }
    }
}

/// The answers where no case matches, in the order of the levels.
fn by_level(written: &[Otherwise]) -> Option<[Answer; LEVELS.len()]> {
    let of_level = |level: Degradation| {
        let last = written.iter().find(|last| last.levels.contains(&level))?;
        last.answer.clone()
    };
    let answers: Option<Vec<Answer>> = LEVELS.into_iter().map(of_level).collect();
    answers?.try_into().ok()
}

impl WrittenCase {
    fn compile(
        self,
        file: &Arc<SourceFile>,
        compiler: &mut Compiler<'_>,
        notes: &mut Diagnostics,
    ) -> Result<(Case, FallbackCase), WrittenTests> {
        let (Some(when), rest) = (self.when, self.rest) else {
            return Err(self.tests);
        };
        let condition = match compiler.request_condition(&when.value) {
            Ok(condition) => condition,
            Err(problems) => {
                note_problems(problems, &when, file, notes);
                return Err(self.tests);
            }
        };
        note_problems(condition.warnings, &when, file, notes);
        let Some(rest) = rest else {
            return Err(self.tests);
        };
        let answers = FallbackCase {
            id: Arc::clone(&rest.id.value),
            answer: rest.answer,
            levels: rest.levels.clone(),
            program: condition.program,
        };
        let placed = Placed {
            id: rest.id.value,
            span: rest.id.span,
            levels: rest.levels,
        };
        let case = Case {
            placed,
            when,
            tests: self.tests,
        };
        Ok((case, answers))
    }
}

impl Table {
    /// The table, and the tests of its cases, which have slots of their own: those of fields and lists, and no others. Warns
    /// of cases that never answer. `None` only after a mistake elsewhere.
    pub(crate) fn with_tests(
        self,
        bench: &Bench<'_>,
        notes: &mut Diagnostics,
    ) -> Option<(Fallback, TableTests)> {
        let fallback = self.fallback.clone();
        Some((fallback, self.tests(bench, notes)?))
    }

    fn tests(mut self, bench: &Bench<'_>, notes: &mut Diagnostics) -> Option<TableTests> {
        let mut compiler = bench.bare.clone();
        let mut ids = Vec::new();
        let mut conditions = Vec::new();
        for (case, answering) in self.cases.iter().zip(&mut self.fallback.cases) {
            let compiled = compiler.condition(&case.when.value).ok()?;
            let parts = compiler.parts(&case.when.value).ok()?;
            answering.program = compiled.program.clone();
            ids.push(compiled.id);
            conditions.push(Condition {
                file: Arc::clone(&self.file),
                when: case.when.clone(),
                program: compiled.program,
                parts,
            });
        }
        let layout = compiler.clone().finish();
        let placed: Vec<&Placed> = self.cases.iter().map(|case| &case.placed).collect();
        if !notes.has_errors() {
            order::warn(&placed, &compiler.implications(ids), &self.file, notes);
        }
        let mut read = |subject, does, condition: Option<&Condition>, written| {
            let nothing = Parts::default();
            let tested = Tested {
                subject,
                does,
                period: Period::ALWAYS,
                when: condition.map_or("", |condition| &condition.when.value),
                scratch: compiler.clone(),
                layout: &layout,
                parts: condition.map_or(&nothing, |condition| &condition.parts),
            };
            bench.tests_of_case(tested, written, &self.file, notes)
        };
        let mut cases = Vec::new();
        for ((case, answering), condition) in self
            .cases
            .into_iter()
            .zip(&self.fallback.cases)
            .zip(conditions)
        {
            let does = answering.answer.outcome();
            let tests = read(Subject::Case, does, Some(&condition), case.tests);
            cases.push(TestedCase {
                span: case.placed.span,
                condition,
                tests,
            });
        }
        let mut otherwise = Vec::new();
        for last in self.otherwise {
            let does = last.answer?.outcome();
            otherwise.push(TestedOtherwise {
                span: last.span,
                levels: last.levels,
                tests: read(Subject::Otherwise, does, None, last.tests),
            });
        }
        Some(TableTests {
            lookups: Lookups::resolve(&layout, bench.lists)?,
            file: self.file,
            table: self.fallback,
            layout,
            cases,
            otherwise,
        })
    }
}
