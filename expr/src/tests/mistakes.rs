//! What is said about mistakes: every case of `mistakes.txt` word for word and caret for caret.
//!
//! A block is a line of source, after what it is compiled as, and below it the problems. With
//! `UPDATE_EXPECTED` set, the file is written anew from the sources; read the difference before
//! committing it.

use std::fmt::Write;

use super::{lists, schema};
use crate::{Compiler, Problem, Severity};

const CASES: &str = include_str!("mistakes.txt");

#[test]
fn mistakes_are_explained_as_the_cases_say() {
    let mut blocks = Vec::new();
    for block in CASES.split("\n\n") {
        let line = block.trim_matches('\n').lines().next().unwrap();
        let (compiled_as, source) = line.split_once(": ").unwrap();
        blocks.push(render(compiled_as, source));
    }
    let rendered = blocks.join("\n");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/mistakes.txt");
        std::fs::write(path, &rendered).unwrap();
        return;
    }
    for (expected, block) in CASES.split("\n\n").zip(rendered.split("\n\n")) {
        assert_eq!(block.trim_matches('\n'), expected.trim_matches('\n'));
    }
}

#[test]
fn the_cases_are_mistakes_and_nothing_else() {
    let without = |block: &&str| !block.contains("\nerror") && !block.contains("\nwarning: ");
    assert_eq!(CASES.split("\n\n").find(without), None);
    assert!(CASES.split("\n\n").count() > 100);
}

fn render(compiled_as: &str, source: &str) -> String {
    let indent = compiled_as.len() + 2;
    let said = render_problems(source, indent, compile(compiled_as, source));
    format!("{compiled_as}: {source}\n{said}")
}

/// What is said about an expression, as it would stand below it.
pub(super) fn render_problems(source: &str, indent: usize, problems: Vec<Problem>) -> String {
    let mut text = String::new();
    for problem in problems {
        let before = indent + source[..problem.span.start].chars().count();
        let marked = source[problem.span.clone()].chars().count().max(1);
        writeln!(text, "{}{}", " ".repeat(before), "^".repeat(marked)).unwrap();
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let hidden = if problem.shows_source {
            ""
        } else {
            " (without the line)"
        };
        writeln!(text, "{severity}{hidden}: {}", problem.message).unwrap();
        if let Some(help) = problem.help {
            writeln!(text, "help: {help}").unwrap();
        }
    }
    text
}

fn compile(compiled_as: &str, source: &str) -> Vec<Problem> {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    compiler
        .feature("spend_24h", "card.last(\"24h\").sum(amount)")
        .unwrap();
    compiler
        .feature("broken", "card.last(\"24h\").sum(")
        .unwrap_err();
    match compiled_as {
        "when" => compiler
            .condition(source)
            .map_or_else(|problems| problems, |done| done.warnings),
        "fallback" => compiler
            .request_condition(source)
            .map_or_else(|problems| problems, |done| done.warnings),
        "feature" => compiler
            .feature("new", source)
            .map_or_else(|problems| problems, |(_, warnings)| warnings),
        other => panic!("no such kind of expression: {other}"),
    }
}

#[test]
fn an_empty_expression_is_a_mistake() {
    for source in ["", "  ", "\n"] {
        let schema = schema();
        let problems = Compiler::new(&schema, lists())
            .condition(source)
            .unwrap_err();
        assert_eq!(problems[0].message, "the expression is empty");
        assert_eq!(problems[0].span, 0..source.len());
    }
}

#[test]
fn problems_about_a_name_of_a_feature_span_its_source() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    compiler.feature("spend", "1 + 1").unwrap();
    for (name, message) in [
        ("spend", "there is another feature `spend`"),
        (
            "Spend",
            "`Spend` cannot name a feature: write small letters, digits and underscores",
        ),
        (
            "",
            "`` cannot name a feature: write small letters, digits and underscores",
        ),
    ] {
        let problems = compiler.feature(name, "2 + 2").unwrap_err();
        assert_eq!(
            (problems[0].message.as_str(), problems[0].span.clone()),
            (message, 0..5)
        );
    }
}

#[test]
fn spans_of_expressions_over_several_lines_count_bytes() {
    let schema = schema();
    let source = "transaction.merchant_id == \"é\" &&\n  transaction.foo > 5 &&\n  bar";
    let problems = Compiler::new(&schema, lists())
        .condition(source)
        .unwrap_err();
    let spans: Vec<&str> = problems
        .iter()
        .map(|problem| &source[problem.span.clone()])
        .collect();
    assert_eq!(spans, ["foo", "bar"]);
}
