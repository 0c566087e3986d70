//! `schema.yaml`: which attributes a transaction has and which histories are kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use tollgate_source::{
    Diagnostic, Diagnostics, Fields, Located, Node, NodeKind, SourceFile, did_you_mean, parse,
};
use tollgate_types::{
    EVENTS_MAX_LEAST, FieldType, Schema, SchemaBuilder, SchemaError, Span, builtin,
};

/// Reads the schema; `None`, with what is wrong noted, if there is any mistake.
pub(crate) fn read(file: &Arc<SourceFile>, notes: &mut Diagnostics) -> Option<Schema> {
    let mut found = Diagnostics::default();
    let schema = parse(file)
        .map_err(|error| found.push(error))
        .ok()
        .and_then(|node| {
            let known = ["attributes", "entities"];
            let fields = Fields::of("schema.yaml", &node, file, &known, &mut found)?;
            let mut reader = Reader {
                file,
                notes: &mut found,
                builder: SchemaBuilder::default(),
                names: builtin::FIELDS
                    .iter()
                    .map(|(name, _)| (*name).to_owned())
                    .collect(),
            };
            if let Some(node) = fields.get("attributes") {
                reader.attributes(node);
            }
            let help = "add `entities:` with what histories are kept of, such as card";
            if let Some(node) = fields.required("entities", help, reader.notes) {
                reader.entities(node);
            }
            Some(reader.builder.build())
        });
    let good = !found.has_errors();
    notes.append(found);
    schema.filter(|_| good)
}

struct Reader<'r> {
    file: &'r Arc<SourceFile>,
    notes: &'r mut Diagnostics,
    builder: SchemaBuilder,
    /// Every field there is, those with a mistake included, so that one mistake is reported once.
    names: Vec<String>,
}

impl Reader<'_> {
    fn attributes(&mut self, node: &Node) {
        let file = self.file;
        let Some(fields) = Fields::open("`attributes`", node, file, self.notes) else {
            return;
        };
        for (name, node) in fields.entries() {
            let declared = self.attribute(name, node);
            self.names.push(name.value.clone());
            let Some((kind, values)) = declared else {
                continue;
            };
            if let Err(error) = self.builder.attribute(&name.value, kind, values) {
                self.note(name, &error);
                if matches!(error, SchemaError::TooMany(_)) {
                    return;
                }
            }
        }
    }

    fn attribute(
        &mut self,
        name: &Located<String>,
        node: &Node,
    ) -> Option<(FieldType, Option<Vec<String>>)> {
        if let NodeKind::Scalar(kind) = &node.kind {
            return Some((
                self.kind(&Located::new(kind.clone(), node.span.clone()))?,
                None,
            ));
        }
        if node.kind == NodeKind::Empty {
            let message = format!("the attribute `{}` has no type", name.value);
            let help = format!("write `{}: text`, or number, flag or time", name.value);
            self.notes
                .push(Diagnostic::error(self.file, name.span.clone(), message).with_help(help));
            return None;
        }
        let known = ["type", "values"];
        let fields = Fields::of("an attribute", node, self.file, &known, self.notes)?;
        let help = "add `type:` with one of number, text, flag, time";
        let kind = fields.required_text("type", help, self.notes);
        let values = fields.texts("values", self.notes);
        let kind = self.kind(&kind?)?;
        if let (Some(values), false) = (&values, kind == FieldType::Text) {
            let span = values
                .first()
                .map_or(fields.span(), |value| value.span.clone());
            let message = format!(
                "only a text can list its values; `{}` is a {}",
                name.value,
                kind.name()
            );
            self.notes.push(
                Diagnostic::error(self.file, span, message)
                    .with_help("leave `values` out, or write `type: text`"),
            );
            return None;
        }
        Some((kind, values.map(|values| self.distinct(values))))
    }

    fn distinct(&mut self, values: Vec<Located<String>>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        for value in &values {
            if !seen.insert(&value.value) {
                let message = format!("`{}` is listed twice", value.value);
                self.notes.push(
                    Diagnostic::error(self.file, value.span.clone(), message)
                        .with_help("remove one of them"),
                );
            }
        }
        values.into_iter().map(|value| value.value).collect()
    }

    fn kind(&mut self, written: &Located<String>) -> Option<FieldType> {
        let found = FieldType::ALL
            .into_iter()
            .find(|kind| kind.name() == written.value);
        if found.is_none() {
            let help = match written.value.to_lowercase().as_str() {
                "string" | "str" | "enum" => "write `text`".to_owned(),
                "bool" | "boolean" => "write `flag`".to_owned(),
                "int" | "integer" | "float" | "double" | "decimal" => "write `number`".to_owned(),
                "timestamp" | "date" | "datetime" => "write `time`".to_owned(),
                _ => did_you_mean(&written.value, FieldType::ALL.map(FieldType::name)),
            };
            let message = format!("`{}` is not a type", written.value);
            self.notes
                .push(Diagnostic::error(self.file, written.span.clone(), message).with_help(help));
        }
        found
    }

    fn entities(&mut self, node: &Node) {
        let file = self.file;
        let Some(fields) = Fields::open("`entities`", node, file, self.notes) else {
            return;
        };
        for (name, node) in fields.entries() {
            self.entity(name, node);
        }
    }

    fn entity(&mut self, name: &Located<String>, node: &Node) {
        let known = ["key", "retain", "retention", "resolution", "events_max"];
        let Some(fields) = Fields::of("an entity", node, self.file, &known, self.notes) else {
            return;
        };
        let key_help =
            "add `key:` with the field that identifies it, or several: [card_id, merchant_id]";
        fields.required("key", key_help, self.notes);
        let key = fields.texts("key", self.notes).unwrap_or_default();
        let retain = fields.texts("retain", self.notes).unwrap_or_default();
        let retention = self.retention(&fields);
        let bounds = (self.resolution(&fields), self.events_max(&fields));
        let key = self.fields_named(key);
        let retain = self.fields_named(retain);
        let (Some(key), Some(retain), Some(retention)) = (key, retain, retention) else {
            return;
        };
        if key.is_empty() {
            return;
        }
        let declared = self
            .builder
            .entity(&name.value, &key, &retain, retention)
            .and_then(|()| self.builder.bounded(bounds.0, bounds.1));
        if let Err(error) = declared {
            self.note(name, &error);
        }
    }

    fn resolution(&mut self, fields: &Fields<'_>) -> Option<Span> {
        let written = fields.text("resolution", self.notes)?;
        self.span(&written, "1m or 1h")
    }

    fn events_max(&mut self, fields: &Fields<'_>) -> Option<usize> {
        let written = fields.text("events_max", self.notes)?;
        let digits = written.value.replace('_', "");
        let count = digits.parse().ok();
        if count.is_none() {
            let message = format!("`{}` is not a number of events", written.value);
            self.notes.push(
                Diagnostic::error(self.file, written.span, message)
                    .with_help("write a whole number, such as 10_000"),
            );
        }
        count
    }

    fn retention(&mut self, fields: &Fields<'_>) -> Option<Span> {
        let help = "add `retention:` with how long events are kept, such as 42d";
        let written = fields.required_text("retention", help, self.notes)?;
        self.span(&written, "24h or 42d")
    }

    fn span(&mut self, written: &Located<String>, such_as: &str) -> Option<Span> {
        let span = Span::parse(&written.value).ok();
        if span.is_none() {
            let message = format!("`{}` is not a length of time", written.value);
            self.notes.push(
                Diagnostic::error(self.file, written.span.clone(), message)
                    .with_help(format!("write a number and a unit, such as {such_as}")),
            );
        }
        span
    }

    /// The names if all are fields.
    fn fields_named(&mut self, written: Vec<Located<String>>) -> Option<Vec<String>> {
        let mut all_known = true;
        for name in &written {
            if !self.names.contains(&name.value) {
                all_known = false;
                let message = format!("there is no field `{}`", name.value);
                let known = self.names.iter().map(String::as_str);
                let help = (!self.notes.is_full()).then(|| did_you_mean(&name.value, known));
                let diagnostic = Diagnostic::error(self.file, name.span.clone(), message);
                self.notes.push(Diagnostic { help, ..diagnostic });
            }
        }
        all_known.then(|| written.into_iter().map(|name| name.value).collect())
    }

    fn note(&mut self, name: &Located<String>, error: &SchemaError) {
        let help = match error {
            SchemaError::BadName(_) => {
                crate::answer::as_name(&name.value, '_').map(|meant| format!("write `{meant}`"))
            }
            SchemaError::FieldTwice(_) | SchemaError::EntityTwice(_) | SchemaError::Reserved(_) => {
                Some("choose another name".to_owned())
            }
            SchemaError::ColumnTwice { .. } => Some(
                "list each field once; fraud, declined and event_time are always retained"
                    .to_owned(),
            ),
            SchemaError::Resolution { retention, .. } => Some(format!(
                "write a length such as 1m or 1h, at most {retention}"
            )),
            SchemaError::StepsWithEventsMax { .. } => {
                Some("leave `events_max` out; steps bound memory by time".to_owned())
            }
            SchemaError::EventsMax { .. } => Some(format!("write {EVENTS_MAX_LEAST} or more")),
            _ => None,
        };
        let diagnostic = Diagnostic::error(self.file, name.span.clone(), error.to_string());
        self.notes.push(Diagnostic { help, ..diagnostic });
    }
}
