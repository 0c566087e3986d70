//! The truth tables of `docs/rules/missing.md`, which are documentation and test at once.
//!
//! A column in backticks is an expression over the other columns: letters, whose types are those of the values
//! below them. Every row of every table must come out as it is written.

use std::collections::BTreeMap;

use tollgate_types::{Cell, EventTime, FieldType, SchemaBuilder, TextKey};

use super::Values;
use crate::Compiler;

const PAGE: &str = include_str!("../../../docs/rules/missing.md");

#[test]
fn missing_values_follow_the_tables_of_the_documentation() {
    let tables = tables(PAGE);
    let rows: usize = tables.iter().map(|table| table.rows.len()).sum();
    // A page whose tables were not found would pass otherwise.
    assert!(
        tables.len() >= 14 && rows >= 70,
        "{} tables, {rows} rows",
        tables.len()
    );
    for table in &tables {
        for row in &table.rows {
            check(&table.columns, row);
        }
    }
}

struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn tables(page: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        let Some(line) = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            inside = false;
            continue;
        };
        let cells = cells(line);
        match tables.last_mut().filter(|_| inside) {
            Some(_) if line.starts_with("---") => {}
            Some(table) => table.rows.push(cells),
            None => tables.push(Table {
                columns: cells,
                rows: Vec::new(),
            }),
        }
        inside = true;
    }
    tables
}

/// A `|` that is no border is written `\|`.
fn cells(line: &str) -> Vec<String> {
    let marked = line.replace("\\|", "\u{1}");
    let cells = marked.split('|');
    cells
        .map(|cell| cell.trim().replace('\u{1}', "|"))
        .collect()
}

fn check(columns: &[String], row: &[String]) {
    assert_eq!(columns.len(), row.len(), "{row:?}");
    let expression = |column: &String| {
        column
            .strip_prefix('`')?
            .strip_suffix('`')
            .map(str::to_owned)
    };
    let mut builder = SchemaBuilder::default();
    let mut values = Values {
        cells: vec![Cell::MISSING; 13],
        texts: vec![None; 13],
    };
    let given = columns
        .iter()
        .zip(row)
        .filter(|(column, _)| expression(column).is_none());
    for (letter, written) in given {
        let kind = kind_of(letter);
        builder.attribute(&name_of(letter), kind, None).unwrap();
        values.cells.push(cell(written));
        values.texts.push(text(written));
    }
    let schema = builder.build();
    for (column, expected) in columns.iter().zip(row) {
        let Some(source) = expression(column) else {
            continue;
        };
        let source = with_fields(&source);
        let compiled = Compiler::new(&schema, BTreeMap::new()).expression(&source);
        let (compiled, _) = compiled.unwrap_or_else(|problems| panic!("{source}: {problems:?}"));
        let found = compiled.program.eval(&values);
        assert_eq!(
            found,
            cell(expected),
            "{column} where {columns:?} are {row:?}"
        );
    }
}

/// Which letter stands for values of which type, in all tables.
fn kind_of(letter: &str) -> FieldType {
    match letter {
        "a" | "b" | "c" => FieldType::Flag,
        "x" | "y" => FieldType::Number,
        "s" | "r" => FieldType::Text,
        "t" | "u" => FieldType::Time,
        other => panic!("no type is agreed for {other}"),
    }
}

fn name_of(letter: &str) -> String {
    format!("field_{letter}")
}

/// Letters that stand alone become fields; texts in quotes are left as they are.
fn with_fields(expression: &str) -> String {
    let mut source = String::new();
    let mut word = String::new();
    let mut is_text = false;
    for next in expression.chars().chain([' ']) {
        if next == '"' {
            is_text = !is_text;
        }
        if next.is_ascii_alphanumeric() && !is_text {
            word.push(next);
            continue;
        }
        let is_letter = word.len() == 1 && word.chars().all(|letter| letter.is_ascii_lowercase());
        if is_letter {
            source.push_str("transaction.");
            source.push_str(&name_of(&word));
        } else {
            source.push_str(&word);
        }
        word.clear();
        source.push(next);
    }
    source
}

fn cell(written: &str) -> Cell {
    match written {
        "M" => Cell::MISSING,
        "T" => Cell::flag(true),
        "F" => Cell::flag(false),
        _ => {
            if let Some(text) = text(written) {
                return Cell::text(TextKey::of(&text));
            }
            if let Ok(time) = written.parse::<jiff::Timestamp>() {
                return Cell::time(EventTime::from_micros(time.as_microsecond()));
            }
            Cell::number(
                written
                    .parse()
                    .unwrap_or_else(|_| panic!("{written} is no value")),
            )
        }
    }
}

fn text(written: &str) -> Option<String> {
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.to_owned())
}
