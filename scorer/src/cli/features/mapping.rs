//! The file given as `--columns`: how a history's own columns are called, and what it leaves unsaid.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tollgate_rules::Logic;
use tollgate_source::{
    Diagnostic, Diagnostics, Fields, Located, Node, NodeKind, SourceFile, did_you_mean, parse,
};
use tollgate_types::Span;

use super::columns::{Field, fields};
use super::row;
use super::value::TimeUnit;

/// The file's keys.
const KEYS: [&str; 5] = [
    "columns",
    "constants",
    "prefixes",
    "fraud_known_after",
    "event_time_unit",
];

/// A column mapping as written, every name in it known, every constant fit for its field.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// The history's name for a field.
    pub(super) columns: BTreeMap<Field, Located<String>>,
    /// The value a field has in every row.
    pub(super) constants: BTreeMap<Field, Located<String>>,
    /// What is put before a field's values, to make ids of one source distinct from those of another.
    pub(super) prefixes: BTreeMap<Field, Located<String>>,
    /// How long after an event its label became known, where no column says when.
    pub(super) fraud_known_after: Option<Span>,
    /// What whole numbers in columns of time count.
    pub(super) event_time_unit: Option<TimeUnit>,
}

impl Mapping {
    pub(super) fn says(&self, field: Field) -> bool {
        self.columns.contains_key(&field) || self.constants.contains_key(&field)
    }
}

/// Reads a mapping file; everything that is wrong with it is reported at once.
pub(super) fn read(path: &Path, logic: &Logic) -> Result<(Mapping, Arc<SourceFile>), Diagnostics> {
    let file = tollgate_source::read(path, &path.display().to_string())?;
    let node = parse(&file)?;
    let mut reader = Reader {
        file: &file,
        logic,
        notes: Diagnostics::default(),
    };
    let mapping = reader.mapping(&node).unwrap_or_default();
    let notes = reader.notes;
    if notes.has_errors() {
        return Err(notes);
    }
    Ok((mapping, file))
}

struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    logic: &'r Logic,
    notes: Diagnostics,
}

impl Reader<'_> {
    fn mapping(&mut self, node: &Node) -> Option<Mapping> {
        let keys = Fields::of("a column mapping", node, self.file, &KEYS, &mut self.notes)?;
        let mapping = Mapping {
            columns: self.by_field("columns", &keys),
            constants: self.by_field("constants", &keys),
            prefixes: self.by_field("prefixes", &keys),
            fraud_known_after: self.fraud_known_after(&keys),
            event_time_unit: self.event_time_unit(&keys),
        };
        self.check_constants(&mapping);
        self.check_amounts(&mapping);
        self.check_prefixes(&mapping);
        Some(mapping)
    }

    /// A map whose keys are fields and whose values are texts.
    fn by_field(&mut self, key: &str, keys: &Fields<'_>) -> BTreeMap<Field, Located<String>> {
        let Some(node) = keys.get(key) else {
            return BTreeMap::new();
        };
        let what = format!("`{key}`");
        let Some(entries) = Fields::open(&what, node, self.file, &mut self.notes) else {
            return BTreeMap::new();
        };
        let known: BTreeMap<&str, Field> = fields(&self.logic.schema).collect();
        let mut found = BTreeMap::new();
        for (name, node) in entries.entries() {
            let Some(&field) = known.get(name.value.as_str()) else {
                let message = format!("a transaction has no field `{}`", name.value);
                let help = did_you_mean(&name.value, known.keys().copied());
                self.note(name, message, help);
                continue;
            };
            match &node.kind {
                NodeKind::Scalar(text) if !text.is_empty() => {
                    found.insert(field, Located::new(text.clone(), node.span.clone()));
                }
                _ => {
                    let message = format!("`{}` needs a single value", name.value);
                    let help =
                        format!("write `{}: ` and a text, or leave the line out", name.value);
                    self.note(name, message, help);
                }
            }
        }
        found
    }

    fn check_constants(&mut self, mapping: &Mapping) {
        for (field, text) in &mapping.constants {
            let name = field.name(&self.logic.schema).to_owned();
            if mapping.columns.contains_key(field) {
                let message = format!("`{name}` has a column and a constant");
                self.note(text, message, "keep one of them".to_owned());
            } else if let Err(error) = row::check_constant(*field, &text.value, self.logic) {
                let message = format!("this constant {}", error.problem);
                let help = format!("write a value that fits `{name}`");
                // It may be a card number, so the line is not shown.
                let note = Diagnostic::error(self.file, text.span.clone(), message);
                self.notes.push(note.with_help(help).without_source());
            }
        }
    }

    fn check_amounts(&mut self, mapping: &Mapping) {
        let written = |field| {
            let column = mapping.columns.get(&field);
            column.or_else(|| mapping.constants.get(&field))
        };
        if let (Some(_), Some(minor)) = (written(Field::Amount), written(Field::AmountMinor)) {
            let message = "an amount has one column, in major or in minor units".to_owned();
            self.note(minor, message, "keep `amount` or `amount_minor`".to_owned());
        }
    }

    fn check_prefixes(&mut self, mapping: &Mapping) {
        for (field, text) in &mapping.prefixes {
            if !field.takes_prefix(&self.logic.schema) {
                let name = field.name(&self.logic.schema);
                let message = format!("`{name}` is no free text and cannot have a prefix");
                self.note(
                    text,
                    message,
                    "give prefixes to ids and texts only".to_owned(),
                );
            }
        }
    }

    fn fraud_known_after(&mut self, keys: &Fields<'_>) -> Option<Span> {
        let written = keys.text("fraud_known_after", &mut self.notes)?;
        let span = Span::parse(&written.value);
        if span.is_err() {
            let message = format!("`{}` is not a length of time", written.value);
            let help = "write a number and a unit, such as 7d or 36h";
            self.note(&written, message, help.to_owned());
        }
        span.ok()
    }

    fn event_time_unit(&mut self, keys: &Fields<'_>) -> Option<TimeUnit> {
        let written = keys.text("event_time_unit", &mut self.notes)?;
        let unit = TimeUnit::parse(&written.value);
        if unit.is_none() {
            let message = format!("`{}` is not a unit of time", written.value);
            let help = did_you_mean(&written.value, TimeUnit::NAMES);
            self.note(&written, message, help);
        }
        unit
    }

    fn note(&mut self, at: &Located<String>, message: String, help: String) {
        let note = Diagnostic::error(self.file, at.span.clone(), message);
        self.notes.push(note.with_help(help));
    }
}
