//! What is said about tests that fail, and about what tests leave open.

use std::ops::Range;

use tollgate_expr::{Frame, Part, Slots as _};
use tollgate_source::Diagnostic;

use super::{Expect, OfRule, Test, values};
use crate::never_decides::Place;

/// A test that did not come out as expected: with everything that the condition read.
pub(super) fn failure(
    of_rule: &OfRule,
    test: &Test,
    rule_id: &str,
    in_period: bool,
    matched: bool,
    frame: &Frame<'_>,
) -> Diagnostic {
    let expected = match test.expect.value {
        Expect::Match => "a match",
        Expect::NoMatch => "no match",
        Expect::Outcome(outcome) => outcome.name(),
    };
    let got = if matched { "a match" } else { "no match" };
    let message = format!(
        "the test `{}` of `{rule_id}` failed: expected {expected}, got {got}",
        test.name
    );
    let mut help = vec!["the condition read".to_owned()];
    if !in_period {
        let at = test.transaction.event_time;
        help.insert(
            0,
            format!("the transaction, at {at}, is outside of `from` and `until`"),
        );
    }
    help.extend(each(&of_rule.parts.reads, |part| {
        let text = part.slot().and_then(|slot| frame.text(slot));
        let value = values::shown(part.kind, part.program.eval(frame), text);
        format!("{} = {value}", written(of_rule, part))
    }));
    if of_rule.parts.terms.len() > 1 {
        help.push("and of its terms".to_owned());
        help.extend(each(&of_rule.parts.terms, |part| {
            let truth = match part.program.eval(frame).as_flag() {
                Some(true) => "true".to_owned(),
                Some(false) => "false".to_owned(),
                None => format!("unknown, {}", because(of_rule, &part.span, frame)),
            };
            format!("`{}` is {truth}", written(of_rule, part))
        }));
    }
    if in_period && of_rule.program.eval(frame).is_missing() {
        let because = match &of_rule.parts.terms[..] {
            [only] => format!(", {}", because(of_rule, &only.span, frame)),
            _ => String::new(),
        };
        help.push(format!(
            "the condition is unknown{because}; what is unknown does not match"
        ));
    }
    Diagnostic::error(&of_rule.file, test.expect.span.clone(), message).with_help(help.join("\n"))
}

/// Why a part of the condition has no value.
fn because(of_rule: &OfRule, span: &Range<usize>, frame: &Frame<'_>) -> String {
    let inside = |read: &&Part| span.start <= read.span.start && read.span.end <= span.end;
    let reads = of_rule.parts.reads.iter().filter(inside);
    let mut missing: Vec<String> = Vec::new();
    for read in reads.filter(|read| read.program.eval(frame).is_missing()) {
        let name = format!("`{}`", written(of_rule, read));
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
fn written(of_rule: &OfRule, part: &Part) -> String {
    let words = of_rule.when.value[part.span.clone()].split_whitespace();
    words.collect::<Vec<&str>>().join(" ")
}

pub(super) fn never_matched(rule_id: &str, place: &Place) -> Diagnostic {
    let message = format!("no test makes `{rule_id}` match");
    Diagnostic::warning(&place.file, place.span.clone(), message)
        .with_help("add one below `tests:` that expects a match")
}

/// Terms that were not seen both ways.
pub(super) fn one_sided(
    of_rule: &OfRule,
    seen: &[[bool; 2]],
    rule_id: &str,
) -> impl Iterator<Item = Diagnostic> {
    of_rule
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
                written(of_rule, term)
            );
            let span = of_rule.when.span_of(&of_rule.file, term.span.clone());
            Some(Diagnostic::warning(&of_rule.file, span, message).with_help(help))
        })
}
