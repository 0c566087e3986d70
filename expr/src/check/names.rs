//! Names: fields of the transaction, columns of an event, the score, features.

use std::ops::Range;

use tollgate_types::{EntityId, FieldId};

use super::{Checker, Scope, Typed, suggest};
use crate::syntax::{Call, Syntax, SyntaxKind, Word};
use crate::tree::Node;
use crate::{Problem, Program, SlotId, Type};

/// What stands before a dot, besides entities.
const ROOTS: [&str; 4] = ["transaction", "model", "features", "lists"];

impl Checker<'_> {
    /// A bare name: a column in a filter, a mistake elsewhere.
    pub(super) fn name(&mut self, name: &str, span: Range<usize>) -> Option<Typed> {
        match self.scope {
            Scope::Filter(entity) if !ROOTS.contains(&name) => self.column(entity, name, span),
            _ => self.unknown_name(name, span),
        }
    }

    fn column(&mut self, entity: EntityId, name: &str, span: Range<usize>) -> Option<Typed> {
        let declared = self.schema.entity_at(entity);
        match declared.column(name) {
            Some((id, column)) => {
                let mut typed = slot(column.kind.into(), u32::from(id.0), span);
                typed.field = column.field;
                Some(typed)
            }
            None => self.unknown_column(entity, name, span),
        }
    }

    /// A name that is no column of the entity, as an argument of an aggregate or in its filter.
    pub(super) fn unknown_column<T>(
        &mut self,
        entity: EntityId,
        name: &str,
        span: Range<usize>,
    ) -> Option<T> {
        let entity = self.schema.entity_at(entity);
        let columns = entity.columns.iter().map(|column| column.name.as_str());
        let problem = if self.schema.field(name).is_some() {
            let message = format!(
                "`{}` does not keep `{name}` of past transactions",
                entity.name
            );
            let help = format!("add it to `retain` of `{}` in schema.yaml", entity.name);
            Problem::error(span, message).with_help(help)
        } else {
            let message = format!("`{}` has no retained field `{name}`", entity.name);
            Problem::error(span, message).with_help_if(suggest::help(name, columns))
        };
        self.fail(problem)
    }

    fn unknown_name(&mut self, name: &str, span: Range<usize>) -> Option<Typed> {
        let alone = match name {
            "transaction" => {
                Some("write one of its fields, such as `transaction.amount`".to_owned())
            }
            "model" => Some("write `model.score`".to_owned()),
            "features" => Some("write a feature's name after it: `features.<name>`".to_owned()),
            "lists" => Some("write `transaction.merchant_id in lists.<name>`".to_owned()),
            _ => self
                .schema
                .entity(name)
                .map(|_| format!("write `{name}.last(\"24h\").count()`")),
        };
        if let Some(help) = alone {
            let message = format!("`{name}` is not a value by itself");
            return self.fail(Problem::error(span, message).with_help(help));
        }
        let problem = Problem::error(span, format!("`{name}` is not known here"));
        let help = self.meant(name);
        self.fail(problem.with_help(help))
    }

    /// A name that is known, though not by itself, and words for what has another name.
    fn known_elsewhere(&self, name: &str) -> Option<String> {
        let mut features = self.layout.features.iter();
        if features.any(|feature| feature.name == name) {
            return Some(format!("write `features.{name}`"));
        }
        if self.lists.contains_key(name) {
            return Some(format!("write `transaction.merchant_id in lists.{name}`"));
        }
        let help = match name.to_ascii_lowercase().as_str() {
            "score" | "model_score" | "risk_score" | "fraud_score" => "write `model.score`",
            "yes" => "write `true`",
            "no" => "write `false`",
            _ => return None,
        };
        Some(help.to_owned())
    }

    /// What a bare name outside filters may have been meant for.
    fn meant(&self, name: &str) -> String {
        let listed = |value: &str| {
            let fields = self.schema.fields().iter();
            fields
                .filter_map(|field| field.values.as_ref())
                .flatten()
                .any(|known| known == value)
        };
        let quotes = format!("a text is written in quotes: \"{name}\"");
        if listed(name) {
            return quotes;
        }
        if self.schema.field(name).is_some() {
            return format!("write `transaction.{name}`");
        }
        if let Some(help) = self.known_elsewhere(name) {
            return help;
        }
        let fields = self.schema.fields().iter().map(|field| field.name.as_str());
        let words = ["true", "false"].into_iter().chain(self.roots());
        if let Some(word) = suggest::closest(name, words) {
            format!("did you mean `{word}`?")
        } else if let Some(field) = suggest::closest(name, fields) {
            format!("did you mean `transaction.{field}`?")
        } else {
            quotes
        }
    }

    fn roots(&self) -> impl Iterator<Item = &str> {
        let entities = self
            .schema
            .entities()
            .iter()
            .map(|entity| entity.name.as_str());
        ROOTS.into_iter().chain(entities)
    }

    /// `of.field`.
    pub(super) fn select(
        &mut self,
        of: &Syntax,
        field: &Word,
        span: Range<usize>,
    ) -> Option<Typed> {
        let SyntaxKind::Name(root) = &of.kind else {
            return self.no_parts(of, field);
        };
        match root.as_str() {
            "transaction" => self.field(field, span),
            "model" => self.score(field, span),
            "features" => self.feature(field, span),
            "lists" => {
                let problem = Problem::error(span, "a list can only stand after `in`");
                let help = format!("write `transaction.merchant_id in lists.{}`", field.text);
                self.fail(problem.with_help(help))
            }
            _ if self.schema.entity(root).is_some() => {
                let message = format!("`{root}` has no field `{}`", field.text);
                let help = format!(
                    "write `transaction.{}`, or `{root}.last(\"24h\")` and what to compute",
                    field.text
                );
                self.fail(Problem::error(field.span.clone(), message).with_help(help))
            }
            _ => self.unknown_root(root, of.span.clone()),
        }
    }

    /// A name before a dot that nothing has.
    pub(super) fn unknown_root<T>(&mut self, root: &str, span: Range<usize>) -> Option<T> {
        let help = suggest::help(root, self.roots());
        let message = format!("`{root}` is not known");
        self.fail(Problem::error(span, message).with_help_if(help))
    }

    fn field(&mut self, name: &Word, span: Range<usize>) -> Option<Typed> {
        let Some((id, declared)) = self.schema.field(&name.text) else {
            let fields = self.schema.fields().iter().map(|field| field.name.as_str());
            let help = suggest::help(&name.text, fields);
            let message = format!("the transaction has no field `{}`", name.text);
            return self.fail(Problem::error(name.span.clone(), message).with_help_if(help));
        };
        let mut typed = slot(declared.kind.into(), self.field_slot(id), span);
        typed.field = Some(id);
        Some(typed)
    }

    fn field_slot(&self, id: FieldId) -> u32 {
        match self.scope {
            Scope::Filter(_) => Program::FILTER_FIELDS + u32::from(id.0),
            _ => u32::from(id.0),
        }
    }

    fn score(&mut self, name: &Word, span: Range<usize>) -> Option<Typed> {
        if name.text != "score" {
            let message = format!("the model has no `{}`", name.text);
            let problem = Problem::error(name.span.clone(), message);
            return self.fail(problem.with_help("write `model.score`"));
        }
        match self.scope {
            Scope::Rule => {}
            Scope::Feature => {
                let message = "features are computed before the score and cannot read it";
                return self.fail(Problem::error(span, message));
            }
            Scope::Request | Scope::Filter(_) => return self.out_of_scope("the score", span),
        }
        self.reads_score = true;
        Some(slot(Type::Number, self.layout.score.0, span))
    }

    fn feature(&mut self, name: &Word, span: Range<usize>) -> Option<Typed> {
        if matches!(self.scope, Scope::Request | Scope::Filter(_)) {
            return self.out_of_scope("a feature", span);
        }
        if let Some(known) = self
            .layout
            .features
            .iter()
            .find(|known| known.name == name.text)
        {
            return Some(slot(known.kind, known.slot.0, span));
        }
        if self.failed_features.contains(&name.text) {
            let message = format!("the feature `{}` has mistakes of its own", name.text);
            return self.fail(Problem::error(name.span.clone(), message));
        }
        let known = self
            .layout
            .features
            .iter()
            .map(|feature| feature.name.as_str());
        let help = suggest::help(&name.text, known);
        let message = match self.scope {
            Scope::Feature => format!("there is no feature `{}` before this one", name.text),
            _ => format!("there is no feature `{}`", name.text),
        };
        self.fail(Problem::error(name.span.clone(), message).with_help_if(help))
    }

    pub(super) fn out_of_scope<T>(&mut self, what: &str, span: Range<usize>) -> Option<T> {
        let (message, help) = match self.scope {
            Scope::Filter(_) => (
                format!("`where` cannot read {what}"),
                "it reads the retained fields of past transactions, and `transaction.<field>`",
            ),
            _ => (
                format!("{what} cannot be read here"),
                "a fallback reads only `transaction.<field>` and lists, so that it cannot fail",
            ),
        };
        self.fail(Problem::error(span, message).with_help(help))
    }

    /// `has(x)` of whatever is read: only what is calculated is not there to be asked.
    pub(super) fn has(&mut self, call: &Call, span: Range<usize>) -> Option<Typed> {
        let [argument] = self.arguments(call)?;
        let of = self.expression(argument)?;
        let quoted = self.quote(&of.span);
        let message = match of.node {
            Node::Slot(slot) => return Some(Typed::new(Type::Flag, Node::Has(slot), span)),
            Node::Constant(_) => {
                format!("`has` asks whether a value is there, and {quoted} always is")
            }
            _ => format!("`has` asks for one value, but {quoted} is calculated from several"),
        };
        let help = "ask for each value that is read, such as `has(transaction.device_id)`";
        self.fail(Problem::error(of.span, message).with_help(help))
    }
}

const fn slot(kind: Type, slot: u32, span: Range<usize>) -> Typed {
    Typed::new(kind, Node::Slot(SlotId(slot)), span)
}
