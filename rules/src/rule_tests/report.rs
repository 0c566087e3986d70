//! What is said about tests that fail, and about what tests leave open.

use tollgate_expr::{Frame, Part, Slots as _};
use tollgate_source::Diagnostic;

use super::{Expect, Group, Test, values};
use crate::never_decides::Place;

/// A test that did not come out as expected: with everything that the condition read.
pub(super) fn failure(
    group: &Group,
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
    help.extend(each(&group.parts.reads, |part| {
        let text = part.slot().and_then(|slot| frame.text(slot));
        let value = values::shown(part.kind, part.program.eval(frame), text);
        format!("{} = {value}", written(group, part))
    }));
    if group.parts.terms.len() > 1 {
        help.push("and of its terms".to_owned());
        help.extend(each(&group.parts.terms, |part| {
            let truth = match part.program.eval(frame).as_flag() {
                Some(true) => "true",
                Some(false) => "false",
                None => "unknown, because something it reads is missing",
            };
            format!("`{}` is {truth}", written(group, part))
        }));
    }
    Diagnostic::error(&group.file, test.expect.span.clone(), message).with_help(help.join("\n"))
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
fn written(group: &Group, part: &Part) -> String {
    let words = group.when.value[part.span.clone()].split_whitespace();
    words.collect::<Vec<&str>>().join(" ")
}

pub(super) fn never_matched(rule_id: &str, place: &Place) -> Diagnostic {
    let message = format!("no test makes `{rule_id}` match");
    Diagnostic::warning(&place.file, place.span.clone(), message)
        .with_help("add one below `tests:` that expects a match")
}

/// Terms that were not seen both ways.
pub(super) fn one_sided(
    group: &Group,
    seen: &[[bool; 2]],
    rule_id: &str,
) -> impl Iterator<Item = Diagnostic> {
    group
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
                written(group, term)
            );
            let span = group.when.span_of(&group.file, term.span.clone());
            Some(Diagnostic::warning(&group.file, span, message).with_help(help))
        })
}
