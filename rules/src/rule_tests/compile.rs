//! From the tests that are written to those that run: each rule with its tests gets a layout of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use tollgate_expr::{Compiler, Layout, Part, Parts, SlotId};
use tollgate_source::{Diagnostics, Located, SourceFile};
use tollgate_types::{Rates, Schema};

use super::reader::{Reader, Tested};
use super::transaction::Maker;
use super::written::WrittenTests;
use super::{Condition, OfRule, Subject, Test};
use crate::features_file::Named;
use crate::rule_file::{CompiledRule, UncompiledRule};
use crate::{Lists, Lookups, Rule, RuleIndex, RuleSet, RuleTests};

/// Most bytes of the past of all tests of a policy together: they are kept for as long as the policy is.
const HISTORY_BYTES_MAX: usize = 64 << 20;

/// What every rule's tests are compiled with.
pub(crate) struct Bench<'b> {
    /// Knows neither features nor rules.
    pub(crate) bare: &'b Compiler<'b>,
    /// Knows the features, and no rule.
    pub(crate) with_features: &'b Compiler<'b>,
    pub(crate) features: &'b [Named],
    pub(crate) schema: &'b Schema,
    pub(crate) rates: &'b Rates,
    pub(crate) lists: &'b Lists,
}

impl<'b> Bench<'b> {
    /// The tests of all rules, which come in the order of the set; mistakes are noted.
    pub(crate) fn tests(
        &self,
        compiled: Vec<CompiledRule>,
        rules: &RuleSet,
        notes: &mut Diagnostics,
    ) -> RuleTests {
        let mut tests = RuleTests::default();
        let mut scratch = self.with_features.clone();
        let mut history_left = HISTORY_BYTES_MAX;
        for (index, rule) in (0..).map(RuleIndex).zip(compiled) {
            let CompiledRule {
                place,
                when,
                tests: written,
            } = rule;
            if let Some(rule) = rules.rule(index).filter(|_| !written.is_empty()) {
                let compiler = self.compiler_for(&when.value, &mut scratch);
                let mut maker = self.maker(&place.file, notes, &mut history_left);
                let of_rule = self.of_rule((index, rule), when, compiler, written, &mut maker);
                tests.of_rules.extend(of_rule);
            }
            tests.places.push(place);
        }
        tests
    }

    /// Notes what is wrong with the tests of rules that did not compile, as far as that can be said without their
    /// conditions.
    pub(crate) fn check(&self, uncompiled: Vec<UncompiledRule>, notes: &mut Diagnostics) {
        let mut history_left = HISTORY_BYTES_MAX;
        for rule in uncompiled {
            let mut maker = self.maker(&rule.file, notes, &mut history_left);
            for test in &rule.tests {
                if let (Some(expect), Some(does)) = (&test.expect, rule.outcome) {
                    maker.expect_possible(expect, does, Subject::Rule);
                }
                maker.check(test);
            }
        }
    }

    /// Notes what is wrong with the tests of a fallback table that did not compile.
    pub(crate) fn check_table(
        &self,
        (file, tests): (Arc<SourceFile>, WrittenTests),
        notes: &mut Diagnostics,
    ) {
        let mut history_left = 0;
        let mut maker = self.maker(&file, notes, &mut history_left);
        tests.iter().for_each(|test| maker.check(test));
    }

    /// The tests of a case of the fallback table, which read no history.
    pub(crate) fn tests_of_case(
        &self,
        tested: Tested<'_>,
        written: WrittenTests,
        file: &Arc<SourceFile>,
        notes: &mut Diagnostics,
    ) -> Vec<Test> {
        let mut history_left = 0;
        let mut maker = self.maker(file, notes, &mut history_left);
        Reader::new(&mut maker, tested).tests(written)
    }

    fn maker<'m>(
        &'m self,
        file: &'m Arc<SourceFile>,
        notes: &'m mut Diagnostics,
        history_left: &'m mut usize,
    ) -> Maker<'m> {
        Maker {
            schema: self.schema,
            rates: self.rates,
            file,
            notes,
            history_left,
        }
    }

    /// A compiler that knows the features the condition reads, and no others: each rule with tests keeps its
    /// layout. `scratch` knows all of them.
    fn compiler_for(&self, when: &str, scratch: &mut Compiler<'b>) -> Compiler<'b> {
        let mut compiler = self.bare.clone();
        let Ok(parts) = scratch.parts(when) else {
            return compiler;
        };
        let layout = self.with_features.layout();
        let reads = reads(&parts, layout);
        let read = layout.features.iter();
        let read = read.filter(|feature| reads.contains(&feature.slot));
        let names: BTreeSet<&str> = read.map(|feature| feature.name.as_str()).collect();
        for Named { name, source, .. } in self.features {
            if names.contains(name.as_str()) {
                // It compiled before, together with more of them.
                let _ = compiler.feature(name, &source.value);
            }
        }
        compiler
    }

    /// The tests of a rule that has compiled.
    fn of_rule(
        &self,
        (index, rule): (RuleIndex, &Rule),
        when: Located<String>,
        mut compiler: Compiler<'b>,
        tests: WrittenTests,
        maker: &mut Maker<'_>,
    ) -> Option<OfRule> {
        // What is wrong with the condition was noted when the rule was compiled.
        let condition = compiler.condition(&when.value).ok()?;
        let parts = compiler.parts(&when.value).ok()?;
        let layout = compiler.clone().finish();
        let file = Arc::clone(maker.file);
        let tested = Tested {
            subject: Subject::Rule,
            does: rule.answer.outcome(),
            period: rule.reach.period,
            when: &when.value,
            scratch: compiler,
            layout: &layout,
            parts: &parts,
        };
        let tests = Reader::new(maker, tested).tests(tests);
        Some(OfRule {
            rule: index,
            period: rule.reach.period,
            lookups: Lookups::resolve(&layout, self.lists)?,
            condition: Condition {
                file,
                when,
                program: condition.program,
                parts,
            },
            layout,
            tests,
        })
    }
}

/// The slots that a condition reads, by itself or through features.
pub(super) fn reads(parts: &Parts, layout: &Layout) -> BTreeSet<SlotId> {
    let mut reads: BTreeSet<SlotId> = parts.reads.iter().filter_map(Part::slot).collect();
    // A feature reads only those before it.
    for feature in layout.features.iter().rev() {
        if reads.contains(&feature.slot) {
            reads.extend(feature.program.reads());
        }
    }
    reads
}
