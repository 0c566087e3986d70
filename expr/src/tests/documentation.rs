//! The examples of `docs/rules.md`: every one is compiled, and evaluated where it says what comes out.
//!
//! Blocks are told by the word after their fence: `yaml schema`, `lists` and `yaml features` set the scene, `given` says
//! what is read (adding to what was said before), `expression` has one expression per line, with its result after an
//! arrow, lines that begin with two spaces going on with the one before, `yaml when` has one as it stands in a rule file,
//! and `mistake` has an expression with exactly what is said about it.

use std::collections::BTreeMap;

use tollgate_types::{Cell, EventTime, FieldType, Schema, SchemaBuilder, Span, TextKey};

use super::Values;
use super::mistakes::render_problems;
use crate::{Compiler, SlotId, Type};

const PAGE: &str = include_str!("../../../docs/rules.md");

#[test]
fn the_examples_of_the_documentation_are_right() {
    let blocks = blocks(PAGE);
    let only = |kind: &str| {
        let found: Vec<&str> = of_kind(&blocks, kind).collect();
        assert_eq!(found.len(), 1, "{kind}");
        found[0]
    };
    let schema = schema(only("yaml schema"));
    let lists = pairs(only("lists")).map(|(name, kind)| match kind {
        "number" => (name.to_owned(), FieldType::Number),
        "text" | "network" => (name.to_owned(), FieldType::Text),
        other => panic!("a list of {other}"),
    });
    let mut compiler = Compiler::new(&schema, lists.collect());
    for (name, source) in pairs(only("yaml features")) {
        compiler.feature(name, source).unwrap();
    }
    let mut values = Values::default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, text) in &blocks {
        *counts.entry(kind).or_default() += match *kind {
            "given" => give(text, &mut compiler, &mut values),
            "expression" => check_expressions(text, &mut compiler, &values),
            "mistake" => check_mistake(text, &mut compiler),
            "yaml when" => check_folded(text, &mut compiler),
            "yaml schema" | "lists" | "yaml features" => 1,
            // Blocks of other parts of the page, which other tests run.
            _ => 0,
        };
    }
    // A page whose blocks were not found would pass otherwise.
    assert!(
        counts["expression"] >= 70 && counts["mistake"] >= 10,
        "{counts:?}"
    );
}

/// Fenced blocks: the words after the fence, and what is between.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find("\n```") {
        let block = &rest[start + 4..];
        let (kind, block) = block.split_once('\n').unwrap();
        let (text, after) = block.split_once("\n```").unwrap();
        blocks.push((kind, text));
        rest = after;
    }
    blocks
}

fn of_kind<'p>(blocks: &[(&str, &'p str)], kind: &str) -> impl Iterator<Item = &'p str> {
    blocks
        .iter()
        .filter(move |(known, _)| *known == kind)
        .map(|(_, text)| *text)
}

/// Lines of `name: something`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().map(|line| line.split_once(": ").unwrap())
}

/// The little of YAML that the page's schema needs.
fn schema(text: &str) -> Schema {
    let mut builder = SchemaBuilder::default();
    let (attributes, entities) = text.split_once("\nentities:\n").unwrap();
    for (name, kind) in pairs(attributes.strip_prefix("attributes:\n").unwrap()) {
        let (kind, values) = match kind.strip_prefix("{type: ") {
            None => (kind, None),
            Some(rest) => {
                let (kind, values) = rest.split_once(", values: ").unwrap();
                (kind, Some(words(values.strip_suffix('}').unwrap())))
            }
        };
        let kind = FieldType::ALL
            .into_iter()
            .find(|known| known.name() == kind);
        builder
            .attribute(name.trim(), kind.unwrap(), values)
            .unwrap();
    }
    let lines: Vec<&str> = entities.lines().map(str::trim).collect();
    for lines in lines.chunks(4) {
        let [name, key, retain, retention] = lines else {
            panic!("an entity has a name and three lines: {lines:?}");
        };
        let value = |line: &str, key: &str| line.strip_prefix(key).unwrap().to_owned();
        let retention = Span::parse(&value(retention, "retention: ")).unwrap();
        let (key, retain) = (
            words(&value(key, "key: ")),
            words(&value(retain, "retain: ")),
        );
        builder
            .entity(name.strip_suffix(':').unwrap(), &key, &retain, retention)
            .unwrap();
    }
    builder.build()
}

/// `a` or `[a, b]`.
fn words(text: &str) -> Vec<String> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner.split(", ").map(str::to_owned).collect()
}

/// Lines of `expression = value`, where the expression reads one slot.
fn give(text: &str, compiler: &mut Compiler<'_>, values: &mut Values) -> usize {
    for line in text.lines() {
        let (source, value) = line.rsplit_once(" = ").unwrap();
        let (compiled, kind) = compile(source, compiler);
        let SlotId(slot) = compiled
            .program
            .slot()
            .unwrap_or_else(|| panic!("{source} is calculated"));
        let at = slot as usize;
        let length = values.cells.len().max(at + 1);
        values.cells.resize(length, Cell::MISSING);
        values.texts.resize(length, None);
        values.cells[at] = cell(value, kind);
        values.texts[at] = (kind == Type::Text).then(|| value.trim_matches('"').to_owned());
    }
    text.lines().count()
}

fn check_expressions(text: &str, compiler: &mut Compiler<'_>, values: &Values) -> usize {
    let joined = text.replace("\n  ", " ");
    for line in joined.lines() {
        let (source, expected) = match line.split_once('→') {
            Some((source, expected)) => (source.trim_end(), Some(expected.trim())),
            None => (line, None),
        };
        let (compiled, kind) = compile(source, compiler);
        assert_eq!(compiled.warnings, [], "{source}");
        if let Some(expected) = expected {
            let found = compiled.program.eval(values);
            assert_eq!(found, cell(expected, kind), "{source} → {expected}");
        }
    }
    joined.lines().count()
}

/// A condition below `when: >-`, whose lines YAML makes one of.
fn check_folded(text: &str, compiler: &mut Compiler<'_>) -> usize {
    let lines = text.strip_prefix("when: >-\n").unwrap().lines();
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix("  ").unwrap()).collect();
    let compiled = compiler.condition(&lines.join(" ")).unwrap();
    assert_eq!(compiled.warnings, [], "{text}");
    1
}

fn compile(source: &str, compiler: &mut Compiler<'_>) -> (crate::Compiled, Type) {
    let compiled = compiler.expression(source);
    compiled.unwrap_or_else(|problems| panic!("{source}: {problems:?}"))
}

fn check_mistake(text: &str, compiler: &mut Compiler<'_>) -> usize {
    let (source, said) = text.split_once('\n').unwrap();
    let compiled = compiler.condition(source);
    let problems = compiled.map_or_else(|problems| problems, |done| done.warnings);
    assert_eq!(
        render_problems(source, 0, problems).trim_end(),
        said,
        "{source}"
    );
    1
}

fn cell(written: &str, kind: Type) -> Cell {
    if written == "missing" {
        return Cell::MISSING;
    }
    match kind {
        Type::Number => Cell::number(written.parse().unwrap()),
        Type::Flag => Cell::flag(written.parse().unwrap()),
        Type::Text => {
            let text = written
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'));
            Cell::text(TextKey::of(text.unwrap()))
        }
        Type::Duration => Cell::span(Span::parse(written).unwrap()),
        Type::Time => {
            let time: jiff::Timestamp = written.parse().unwrap();
            Cell::time(EventTime::from_micros(time.as_microsecond()))
        }
    }
}
