//! What must hold for any text that somebody writes as a condition.
//!
//! The fuzzer asks it of what it makes up (`fuzz/`), the tests of the same corpus and of random changes to it. What
//! does not hold is a panic. Nothing that serves has this module.
#![allow(
    clippy::unwrap_used,
    reason = "to panic is how this says what does not hold"
)]

mod frames;
mod mutate;

use tollgate_types::{Record, Schema};

pub use mutate::{Mutator, words};

use crate::sample::{lists, schema};
use crate::{Compiled, Compiler, Conditions, Frame, Problem, Severity, reference};
use frames::Scenes;

/// How many transactions each program is evaluated with.
const SCENES: u64 = 8;

/// Features that conditions may read; the second reads the first.
const FEATURES: [(&str, &str); 4] = [
    ("per_head", "transaction.amount / transaction.passengers"),
    ("dear", "features.per_head > 500"),
    ("since", "card.last(\"24h\").since_last()"),
    (
        "country",
        "card.last(\"7d\").delayed(\"1h\").last(merchant_country)",
    ),
];

/// Any text is refused with a reason, at a place that is in it, or becomes a program that computes what the
/// reference interpreter computes (EX-1), alone and beside a condition that it shares everything with.
pub fn check_condition(source: &str) {
    let schema = schema();
    let mut compiler = compiler(&schema);
    // As what else it could be written: no condition, so only the reasons are looked at.
    check_said(
        source,
        &compiler.clone().request_condition(source).map(said),
    );
    check_said(
        source,
        &compiler
            .clone()
            .feature("fuzzed", source)
            .map(|(_, notes)| notes),
    );
    check_said(
        source,
        &compiler
            .clone()
            .expression(source)
            .map(|(compiled, _)| said(compiled)),
    );
    let result = compiler.condition(source);
    check_said(source, &result.clone().map(said));
    let Ok(compiled) = result else {
        return;
    };
    check_parts(source, &mut compiler.clone());
    // All that it consists of is then computed once, for both. The set may have become too dear for a second one.
    let again = compiler.condition(source).ok();
    let alone = compiled.id.and_then(|id| compiler.tree(id)).cloned();
    let node = alone.unwrap();
    let (layout, conditions) = compiler.link();
    for seed in 0..SCENES {
        let mut scenes = Scenes::new(seed);
        let (transaction, rates) = scenes.transaction();
        let record = Record::new(&transaction, &schema, &rates).unwrap();
        let mut frame = Frame::new(&layout, &record);
        scenes.fill(&schema, &layout, &mut frame);
        frame.evaluate_features(&layout);
        let expected = reference::evaluate(&node, &frame);
        assert_eq!(compiled.program.eval(&frame), expected, "{source}");
        evaluate_shared(&conditions, &mut frame);
        for compiled in [Some(&compiled), again.as_ref()].into_iter().flatten() {
            let linked = compiled.id.and_then(|id| conditions.program(id));
            assert_eq!(linked.unwrap().eval(&frame), expected, "linked: {source}");
        }
    }
}

fn compiler(schema: &Schema) -> Compiler<'_> {
    let mut compiler = Compiler::new(schema, lists());
    for (name, source) in FEATURES {
        compiler.feature(name, source).unwrap();
    }
    compiler
}

fn evaluate_shared(conditions: &Conditions, frame: &mut Frame<'_>) {
    conditions.before_score.evaluate(frame);
    conditions.with_score.evaluate(frame);
}

fn said(compiled: Compiled) -> Vec<Problem> {
    compiled.warnings
}

/// Whoever is refused is told why, and every note is about something in the text.
fn check_said(source: &str, result: &Result<Vec<Problem>, Vec<Problem>>) {
    let (notes, refused) = match result {
        Ok(notes) => (notes, false),
        Err(notes) => (notes, true),
    };
    let is_error = |problem: &Problem| problem.severity == Severity::Error;
    assert_eq!(notes.iter().any(is_error), refused, "{source}: {notes:?}");
    for note in notes {
        assert!(
            source.get(note.span.clone()).is_some(),
            "{source}: {note:?}"
        );
        assert!(!note.message.is_empty(), "{source}");
    }
}

/// What is shown of a condition when its test fails.
fn check_parts(source: &str, compiler: &mut Compiler<'_>) {
    let parts = compiler.parts(source).unwrap();
    for part in parts.terms.iter().chain(&parts.reads) {
        assert!(
            source.get(part.span.clone()).is_some(),
            "{source}: {part:?}"
        );
    }
    assert!(!parts.terms.is_empty(), "{source}");
}

#[cfg(test)]
mod tests;
