//! `in`, and the values that a field may have.

use std::ops::Range;

use tollgate_types::{Cell, FieldId, TextKey};

use super::networks::{CIDR, containing};
use super::operators::retyped;
use super::{Checker, Scope, Typed, suggest};
use crate::syntax::{Syntax, SyntaxKind, Word};
use crate::tree::Node;
use crate::{Lookup, Problem, SlotId, Type};

impl Checker<'_> {
    pub(super) fn membership(&mut self, sides: &[Syntax; 2], span: Range<usize>) -> Option<Typed> {
        let [value, list] = sides;
        self.refuse_loose_not(value, &span)?;
        let value = self.expression(value);
        match &list.kind {
            SyntaxKind::List(elements) => self.one_of(value, elements, list, span),
            SyntaxKind::Select { of, field } if is_lists(of) => self.lookup(value, field, span),
            SyntaxKind::Call(network) if network.of.is_none() && network.name.text == CIDR => {
                let problem = Problem::error(list.span.clone(), "a network is not a list");
                let text = match network.arguments.as_slice() {
                    [
                        Syntax {
                            kind: SyntaxKind::Text(text),
                            ..
                        },
                    ] => text,
                    _ => "10.0.0.0/8",
                };
                self.fail(problem.with_help(containing(text)))
            }
            _ => {
                let quoted = self.quote(&list.span);
                let problem = Problem::error(list.span.clone(), format!("{quoted} is not a list"));
                self.fail(problem.with_help(self.list_meant(&list.kind)))
            }
        }
    }

    /// What a name after `in` may have been meant for.
    fn list_meant(&self, written: &SyntaxKind) -> String {
        let known = self.lists.keys().map(String::as_str);
        match written {
            SyntaxKind::Name(name) if name != "lists" => match suggest::closest(name, known) {
                Some(list) => format!("write `lists.{list}`"),
                None => "write `x in [a, b]` or `x in lists.<name>`".to_owned(),
            },
            _ => "write `x in [a, b]` or `x in lists.<name>`".to_owned(),
        }
    }

    fn one_of(
        &mut self,
        value: Option<Typed>,
        elements: &[Syntax],
        list: &Syntax,
        span: Range<usize>,
    ) -> Option<Typed> {
        if elements.is_empty() {
            return self.fail(Problem::error(list.span.clone(), "this list is empty"));
        }
        let value = value?;
        let mut bits = Vec::with_capacity(elements.len());
        let mut right = true;
        for element in elements {
            match self.element(&value, element) {
                Some(element_bits) if bits.contains(&element_bits) => {
                    let message = format!("{} is listed twice", self.quote(&element.span));
                    self.problems
                        .push(Problem::warning(element.span.clone(), message));
                }
                Some(element_bits) => bits.push(element_bits),
                None => right = false,
            }
        }
        self.note_complete_list(&value, &bits, list);
        right.then(|| Typed::new(Type::Flag, Node::OneOf(value.node.into(), bits), span))
    }

    fn element(&mut self, value: &Typed, element: &Syntax) -> Option<u64> {
        let (kind, cell) = match &element.kind {
            SyntaxKind::Number(number) => (Type::Number, Cell::number(*number)),
            SyntaxKind::Text(text) => (Type::Text, Cell::text(TextKey::of(text))),
            _ => {
                let message = format!("{} is not a number or a text", self.quote(&element.span));
                let problem = Problem::error(element.span.clone(), message);
                let help = match &element.kind {
                    SyntaxKind::Name(name) if value.kind == Type::Text => {
                        format!("a text is written in quotes: \"{name}\"")
                    }
                    _ => "for other values write `x == a || x == b`".to_owned(),
                };
                return self.fail(problem.with_help(help));
            }
        };
        if kind != value.kind {
            let message = format!(
                "{} is a {}, but {} is a {}",
                self.quote(&value.span),
                value.kind.name(),
                self.quote(&element.span),
                kind.name()
            );
            let problem = Problem::error(element.span.clone(), message);
            return self.fail(problem.with_help_if(retyped(element, value.kind)));
        }
        self.expect_listed(value, element)?;
        self.refuse_network(value, element)?;
        self.expect_shaped(value, element)?;
        let bits = cell.bits()?;
        self.expect_possible_element(value, element, bits)?;
        Some(bits)
    }

    fn lookup(&mut self, value: Option<Typed>, list: &Word, span: Range<usize>) -> Option<Typed> {
        if matches!(self.scope, Scope::Filter(_)) {
            return self.out_of_scope("a list", span);
        }
        let Some(kind) = self.lists.get(&list.text).copied().map(Type::from) else {
            let help = suggest::help(&list.text, self.lists.keys().map(String::as_str));
            let message = format!("there is no list `{}`", list.text);
            return self.fail(Problem::error(list.span.clone(), message).with_help_if(help));
        };
        let value = value?;
        let Some(field) = self.field_read(&value) else {
            let problem = Problem::error(
                value.span,
                "only a field of the transaction is looked up in a list",
            );
            let help = format!("write `transaction.<field> in lists.{}`", list.text);
            return self.fail(problem.with_help(help));
        };
        if kind != value.kind {
            let message = format!(
                "{} is a {}, but `lists.{}` has {}s",
                self.quote(&value.span),
                value.kind.name(),
                list.text,
                kind.name()
            );
            return self.fail(Problem::error(value.span, message));
        }
        let slot = self.layout.lookup(Lookup {
            list: list.text.clone(),
            field,
        });
        Some(Typed::new(Type::Flag, Node::Slot(slot), span))
    }

    /// The field, if the part is nothing but `transaction.<field>`.
    pub(super) fn field_read(&self, part: &Typed) -> Option<FieldId> {
        let Node::Slot(SlotId(slot)) = part.node else {
            return None;
        };
        part.field
            .filter(|field| u32::from(field.0) == slot && !matches!(self.scope, Scope::Filter(_)))
    }

    /// A text that is compared with a field of listed values must be one of them.
    pub(super) fn expect_listed(&mut self, part: &Typed, other: &Syntax) -> Option<()> {
        let SyntaxKind::Text(text) = &other.kind else {
            return Some(());
        };
        let Some(field) = part.field.map(|field| self.schema.field_at(field)) else {
            return Some(());
        };
        let Some(values) = field
            .values
            .as_ref()
            .filter(|values| !values.contains(text))
        else {
            return Some(());
        };
        let message = format!("`{}` is never \"{text}\"", field.name);
        let help = match suggest::closest(text, values.iter().map(String::as_str)) {
            Some(value) => format!("did you mean \"{value}\"?"),
            None => format!("it is one of {}", values.join(", ")),
        };
        self.fail(Problem::error(other.span.clone(), message).with_help(help))
    }
}

fn is_lists(syntax: &Syntax) -> bool {
    matches!(&syntax.kind, SyntaxKind::Name(name) if name == "lists")
}
