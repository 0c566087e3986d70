//! The checker: gives every name a slot and every part a type, and explains what does not fit.
//!
//! It goes on after a problem wherever the rest can still be understood, so that an analyst sees all mistakes of
//! an expression at once. A part that was found wrong is `None` from there on and causes no further problems.

mod aggregates;
mod chain;
mod functions;
mod loose;
mod membership;
mod names;
mod networks;
mod operands;
mod operators;
pub(crate) mod ranges;
mod sense;
mod shapes;
#[cfg(test)]
mod soundness;
mod suggest;
mod texts;
mod times;
mod truth;

pub(crate) use sense::never_true;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tollgate_types::{Cell, EntityId, FieldId, FieldType, Schema, TextKey};

use crate::cost::Dear;
use operands::Operands;
use sense::Term;

use crate::syntax::{Syntax, SyntaxKind};
use crate::tree::Node;
use crate::{Layout, Problem, Type};

/// What an expression may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Everything.
    Rule,
    /// All but the model's score, which is computed from features.
    Feature,
    /// The transaction and lists: what is there even if everything else has failed.
    Request,
    /// The retained columns of an entity's event, by their bare names, and the transaction.
    Filter(EntityId),
}

/// Checks one expression.
pub(crate) struct Checker<'c> {
    pub(crate) schema: &'c Schema,
    pub(crate) lists: &'c BTreeMap<String, FieldType>,
    /// Features that did not compile: reading one is a mistake, but not a misspelling.
    pub(crate) failed_features: &'c BTreeSet<String>,
    pub(crate) layout: &'c mut Layout,
    pub(crate) source: &'c str,
    pub(crate) scope: Scope,
    pub(crate) problems: Vec<Problem>,
    pub(crate) reads_score: bool,
    pub(crate) operands: Operands,
    /// What each aggregate takes to compute.
    pub(crate) dear: Vec<Dear>,
}

/// A part of the expression that is right.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Typed {
    pub(crate) kind: Type,
    pub(crate) node: Node,
    pub(crate) span: Range<usize>,
    /// The field whose values it has, if it is one's: texts compared with it must be among those listed.
    pub(crate) field: Option<FieldId>,
    /// Of a chain of `&&` or `||`: what it is a chain of.
    terms: Vec<Term>,
}

impl<'c> Checker<'c> {
    /// The whole expression, which must be of the type wanted, if any is.
    pub(crate) fn whole(&mut self, syntax: &Syntax, wanted: Option<Type>) -> Option<(Node, Type)> {
        let typed = self.expression(syntax)?;
        self.expect_sense(&typed, "it would do nothing");
        if wanted.is_none_or(|wanted| wanted == typed.kind) {
            return Some((typed.node, typed.kind));
        }
        let message = format!(
            "a condition is needed here, but this is a {}",
            typed.kind.name()
        );
        let quoted = self.quote(&typed.span);
        let problem = Problem::error(typed.span.clone(), message);
        self.fail(problem.with_help_if(compared(&typed, &quoted)))
    }

    /// `None` if there are problems, which are then listed.
    pub(crate) fn expression(&mut self, syntax: &Syntax) -> Option<Typed> {
        let span = syntax.span.clone();
        match &syntax.kind {
            SyntaxKind::Number(number) => constant(Type::Number, Cell::number(*number), span),
            SyntaxKind::Text(text) => constant(Type::Text, Cell::text(TextKey::of(text)), span),
            SyntaxKind::Flag(flag) => constant(Type::Flag, Cell::flag(*flag), span),
            SyntaxKind::Null => {
                let problem = Problem::error(span, "`null` is not part of the language");
                self.fail(problem.with_help("ask whether a value is there with `has(…)`"))
            }
            SyntaxKind::Name(name) => self.name(name, span),
            SyntaxKind::Select { of, field } => self.select(of, field, span),
            SyntaxKind::Call(call) => self.call(call, span),
            SyntaxKind::Not(of) => {
                let of = self.expression(of)?;
                self.expect_flag(&of, "!")?;
                Some(Typed::new(Type::Flag, Node::Not(of.node.into()), span))
            }
            SyntaxKind::Negate(of) => self.negate(of, span),
            SyntaxKind::Binary {
                operator,
                sign,
                sides,
            } => self.binary(*operator, sign.clone(), sides, span),
            SyntaxKind::Choose(parts) => self.choose(parts, span),
            SyntaxKind::List(_) => {
                let problem = Problem::error(span, "a list can only stand after `in`");
                self.fail(problem.with_help("write `x in [a, b]`"))
            }
        }
    }

    /// Records a problem; the part it is about is of no use.
    fn fail<T>(&mut self, problem: Problem) -> Option<T> {
        self.problems.push(problem);
        None
    }

    /// Records what is odd, though it can be evaluated.
    fn warn(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        let problem = Problem::warning(span, message);
        self.problems
            .push(problem.with_help_if(help.map(str::to_owned)));
    }

    /// The source of a part for a message, shortened if it is long.
    fn quote(&self, span: &Range<usize>) -> String {
        const CHARACTERS_MAX: usize = 40;
        let text = self.source.get(span.clone()).unwrap_or("");
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        match text.char_indices().nth(CHARACTERS_MAX) {
            Some((cut, _)) => format!("`{}…`", &text[..cut]),
            None => format!("`{text}`"),
        }
    }

    fn expect_flag(&mut self, part: &Typed, sign: &str) -> Option<()> {
        if part.kind == Type::Flag {
            return Some(());
        }
        let (quoted, kind) = (self.quote(&part.span), part.kind.name());
        let message = format!("`{sign}` needs conditions, but {quoted} is a {kind}");
        let problem = Problem::error(part.span.clone(), message);
        self.fail(problem.with_help_if(compared(part, &quoted)))
    }
}

impl Typed {
    const fn new(kind: Type, node: Node, span: Range<usize>) -> Self {
        Self {
            kind,
            node,
            span,
            field: None,
            terms: Vec::new(),
        }
    }
}

fn constant(kind: Type, cell: Cell, span: Range<usize>) -> Option<Typed> {
    cell.bits()
        .map(|bits| Typed::new(kind, Node::Constant(bits), span))
}

/// How to make a condition of a value.
pub(crate) fn compared(part: &Typed, quoted: &str) -> Option<String> {
    let quoted = quoted.strip_prefix('`')?.strip_suffix('`')?;
    // The choice between two values binds less tightly than a comparison.
    let quoted = match part.node {
        Node::Choose(_) => &format!("({quoted})"),
        _ => quoted,
    };
    match part.kind {
        Type::Number => Some(format!("compare it, such as `{quoted} > 0`")),
        Type::Text => Some(format!("compare it, such as `{quoted} == \"…\"`")),
        Type::Duration => Some(format!("compare it, such as `{quoted} < duration(\"1h\")`")),
        Type::Time | Type::Flag => None,
    }
}
