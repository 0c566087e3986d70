//! Parts that bind otherwise than they read, or stand in quotes that make a text of them.

use std::ops::Range;

use super::aggregates::FUNCTIONS;
use super::chain::is_step;
use super::functions::is_method;
use super::texts::TEXT_FUNCTIONS;
use super::{Checker, Typed};
use crate::Problem;
use crate::syntax::{Syntax, SyntaxKind, Word};

impl Checker<'_> {
    /// `!x in lists.l` and `!x > 5`: the sign turns round `x` alone, which is no condition.
    pub(super) fn refuse_loose_not(&mut self, left: &Syntax, span: &Range<usize>) -> Option<()> {
        let SyntaxKind::Not(of) = &left.kind else {
            return Some(());
        };
        let known = self.problems.len();
        let inner = self.expression(of)?;
        if inner.kind == crate::Type::Flag {
            // It is looked at again, as part of the whole.
            self.problems.truncate(known);
            return Some(());
        }
        let quoted = self.quote(&inner.span);
        let message = format!("`!` turns round {quoted} alone, which is no condition");
        let whole = self.source.get(of.span.start..span.end).unwrap_or("…");
        let help = format!("write `!({whole})`");
        self.fail(Problem::error(left.span.clone(), message).with_help(help))
    }

    /// `"transaction.amount" > 5`.
    pub(super) fn refuse_quoted_name(&mut self, sides: &[Syntax; 2]) -> Option<()> {
        for side in sides {
            let SyntaxKind::Text(text) = &side.kind else {
                continue;
            };
            let root = text.split_once('.').map_or("", |(root, _)| root);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
            let is_chain = self.schema.entity(root).is_some() && text.contains(".last(");
            if is_chain
                || (["transaction", "features", "model"].contains(&root)
                    && text.bytes().all(is_name))
            {
                let message = "in quotes this is a text, not what it names";
                let problem = Problem::error(side.span.clone(), message);
                return self.fail(problem.with_help(format!("write `{text}` without quotes")));
            }
        }
        Some(())
    }

    /// `card+merchant.last(…)`, where the entity of both is one word.
    pub(super) fn refuse_pair(
        &mut self,
        [left, right]: &[Syntax; 2],
        span: &Range<usize>,
    ) -> Option<()> {
        let (SyntaxKind::Name(first), SyntaxKind::Call(call)) = (&left.kind, &right.kind) else {
            return Some(());
        };
        if self.schema.entity(first).is_none() || !self.is_aggregate(call) {
            return Some(());
        }
        let chain = self.source.get(right.span.clone()).unwrap_or("");
        let Some((second, rest)) = chain.split_once('.') else {
            return Some(());
        };
        let names = [format!("{first}_{second}"), format!("{second}_{first}")];
        let declared = names.iter().find(|name| self.schema.entity(name).is_some());
        let help = match declared {
            Some(pair) => format!("write `{pair}.{rest}`"),
            None => format!(
                "declare an entity with the keys of both in schema.yaml, and write `{}.{rest}`",
                names[0]
            ),
        };
        let message = "what is remembered of two together has a name of its own";
        self.fail(Problem::error(span.clone(), message).with_help(help))
    }

    /// `card.last("24h").amount.sum()`: the field stands before the function instead of in its brackets.
    pub(super) fn refuse_field_before(&mut self, of: &Syntax, function: &Word) -> Option<()> {
        let SyntaxKind::Select { of: inner, field } = &of.kind else {
            return Some(());
        };
        let SyntaxKind::Call(chain) = &inner.kind else {
            return Some(());
        };
        if !self.is_aggregate(chain) || !is_function(&function.text) {
            return Some(());
        }
        let message = format!("`{}` takes the field in its brackets", function.text);
        let help = format!("write `.{}({})`", function.text, field.text);
        let span = field.span.start..function.span.end;
        self.fail(Problem::error(span, message).with_help(help))
    }

    /// A part of something that has none: brackets or a function are missing.
    pub(super) fn no_parts(&mut self, of: &Syntax, field: &Word) -> Option<Typed> {
        let (name, span) = (&field.text, field.span.clone());
        if let SyntaxKind::Call(chain) = &of.kind
            && self.is_aggregate(chain)
            && !is_function(name)
            && !is_step(name)
        {
            let message = format!("this does not say what to compute of `{name}`");
            let help = format!("write `.sum({name})`, `.last({name})` or another aggregate");
            return self.fail(Problem::error(span, message).with_help(help));
        }
        if matches!(of.kind, SyntaxKind::Call(_)) || is_method(name) {
            let message = format!("`{name}` is not followed by brackets");
            let brackets = if TEXT_FUNCTIONS.contains(&name.as_str()) {
                "(\"…\")"
            } else {
                "()"
            };
            let help = format!("write `{name}{brackets}`");
            return self.fail(Problem::error(span, message).with_help(help));
        }
        let message = format!("{} has no parts", self.quote(&of.span));
        self.fail(Problem::error(span, message))
    }
}

fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _)| *known == name)
}
