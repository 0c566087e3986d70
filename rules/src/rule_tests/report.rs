//! What is said about tests that fail, and about what tests leave open.

use std::ops::Range;
use std::sync::Arc;

use tollgate_expr::{Frame, Part, Slots as _};
use tollgate_source::{Diagnostic, SourceFile};
use tollgate_types::Degradation;

use super::{Condition, Expect, OfRule, Test, values};

/// A test that did not come out as expected: with everything that the condition read.
pub(super) fn failure(
    of_rule: &OfRule,
    test: &Test,
    rule_id: &str,
    in_period: bool,
    matched: bool,
    frame: &Frame<'_>,
) -> Diagnostic {
    let got = if matched { "a match" } else { "no match" };
    let message = format!(
        "the test `{}` of `{rule_id}` failed: expected {}, got {got}",
        test.name,
        expected(test)
    );
    let mut help = Vec::new();
    if !in_period {
        let at = test.transaction.event_time;
        help.push(format!(
            "the transaction, at {at}, is outside of `from` and `until`"
        ));
    }
    help.extend(what_was_read(&of_rule.condition, in_period, frame));
    let file = &of_rule.condition.file;
    Diagnostic::error(file, test.expect.span.clone(), message).with_help(help.join("\n"))
}

/// What a test of the fallback table saw at one level.
pub(crate) struct AtLevel<'t> {
    pub(crate) file: &'t Arc<SourceFile>,
    /// Of the case, or `otherwise`.
    pub(crate) id: &'t str,
    pub(crate) level: Degradation,
    /// Whether it was this case that answered.
    pub(crate) matched: bool,
    /// What answered instead, or why this case did not.
    pub(crate) because: Option<String>,
    /// Absent of `otherwise`.
    pub(crate) condition: Option<&'t Condition>,
}

/// A test of the fallback table that did not come out as expected.
pub(crate) fn failure_at(of: &AtLevel<'_>, test: &Test, frame: &Frame<'_>) -> Diagnostic {
    let got = if of.matched { "a match" } else { "no match" };
    let message = format!(
        "the test `{}` of `{}` failed at {}: expected {}, got {got}",
        test.name,
        of.id,
        of.level.name(),
        expected(test)
    );
    let mut help: Vec<String> = of.because.iter().cloned().collect();
    if let Some(condition) = of.condition {
        help.extend(what_was_read(condition, true, frame));
    }
    Diagnostic::error(of.file, test.expect.span.clone(), message).with_help(help.join("\n"))
}

const fn expected(test: &Test) -> &'static str {
    match test.expect.value {
        Expect::Match => "a match",
        Expect::NoMatch => "no match",
        Expect::Outcome(outcome) => outcome.name(),
    }
}

/// Everything that a condition read, and what came of its terms.
fn what_was_read(condition: &Condition, asked: bool, frame: &Frame<'_>) -> Vec<String> {
    let mut help = vec!["the condition read".to_owned()];
    help.extend(each(&condition.parts.reads, |part| {
        let text = part.slot().and_then(|slot| frame.text(slot));
        let value = values::shown(part.kind, part.program.eval(frame), text);
        format!("{} = {value}", written(condition, part))
    }));
    if condition.parts.terms.len() > 1 {
        help.push("and of its terms".to_owned());
        help.extend(each(&condition.parts.terms, |part| {
            let truth = match part.program.eval(frame).as_flag() {
                Some(true) => "true".to_owned(),
                Some(false) => "false".to_owned(),
                None => format!("unknown, {}", because(condition, &part.span, frame)),
            };
            format!("`{}` is {truth}", written(condition, part))
        }));
    }
    if asked && condition.program.eval(frame).is_missing() {
        let because = match &condition.parts.terms[..] {
            [only] => format!(", {}", because(condition, &only.span, frame)),
            _ => String::new(),
        };
        help.push(format!(
            "the condition is unknown{because}; what is unknown does not match"
        ));
    }
    help
}

/// Why a part of the condition has no value.
fn because(condition: &Condition, span: &Range<usize>, frame: &Frame<'_>) -> String {
    let inside = |read: &&Part| span.start <= read.span.start && read.span.end <= span.end;
    let reads = condition.parts.reads.iter().filter(inside);
    let mut missing: Vec<String> = Vec::new();
    for read in reads.filter(|read| read.program.eval(frame).is_missing()) {
        let name = format!("`{}`", written(condition, read));
        if !missing.contains(&name) {
            missing.push(name);
        }
    }
    match missing.split_last() {
        None => {
            "because something it computes has no result, as a division by 0 has none".to_owned()
        }
        Some((only, [])) => format!("because {only} is missing"),
        Some((last, others)) => format!("because {} and {last} are missing", others.join(", ")),
    }
}

/// A line about each part, none twice.
fn each(parts: &[Part], about: impl Fn(&Part) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for part in parts {
        let line = format!("  {}", about(part));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// A part of the condition on one line.
fn written(condition: &Condition, part: &Part) -> String {
    let words = condition.when.value[part.span.clone()].split_whitespace();
    words.collect::<Vec<&str>>().join(" ")
}

/// A rule, a case or `otherwise`, at its place.
pub(crate) fn never_matched(id: &str, file: &Arc<SourceFile>, span: Range<usize>) -> Diagnostic {
    let message = format!("no test makes `{id}` match");
    Diagnostic::warning(file, span, message)
        .with_help("add one below `tests:` that expects a match")
}

/// Terms that were not seen both ways.
pub(crate) fn one_sided(
    condition: &Condition,
    seen: &[[bool; 2]],
    rule_id: &str,
) -> impl Iterator<Item = Diagnostic> {
    condition
        .parts
        .terms
        .iter()
        .zip(seen)
        .filter_map(move |(term, seen)| {
            let (never, help) = match seen {
                [true, true] => return None,
                [false, true] => ("never true", "add a test in which it is true"),
                [true, false] => ("never false", "add a test in which it alone is false"),
                [false, false] => (
                    "neither true nor false",
                    "add tests in which it is one and the other",
                ),
            };
            let message = format!(
                "in the tests of `{rule_id}`, `{}` is {never}",
                written(condition, term)
            );
            let span = condition.when.span_of(&condition.file, term.span.clone());
            Some(Diagnostic::warning(&condition.file, span, message).with_help(help))
        })
}
