//! Signs: comparisons, logic, arithmetic, and the choice between two values.

use std::ops::Range;

use tollgate_types::Span;

use super::{Checker, Typed};
use crate::syntax::{Operator, Syntax, SyntaxKind};
use crate::tree::Node;
use crate::values::{Arithmetic, Comparison, Shift, Unary};
use crate::{Problem, Type};

impl Checker<'_> {
    pub(super) fn binary(
        &mut self,
        operator: Operator,
        sign: Range<usize>,
        sides: &[Syntax; 2],
        span: Range<usize>,
    ) -> Option<Typed> {
        match operator {
            Operator::And | Operator::Or => self.logic(operator, sides, span),
            Operator::In => self.membership(sides, span),
            Operator::Compare(comparison) => self.compare(comparison, sign, sides, span),
            Operator::Arithmetic(arithmetic) => self.arithmetic(arithmetic, sign, sides, span),
        }
    }

    /// Both sides, each with its problems.
    fn sides(&mut self, [left, right]: &[Syntax; 2]) -> Option<[Typed; 2]> {
        let sides = (self.expression(left), self.expression(right));
        sides.0.zip(sides.1).map(|(left, right)| [left, right])
    }

    /// Chains of one operator become one node, in their order.
    fn logic(
        &mut self,
        operator: Operator,
        sides: &[Syntax; 2],
        span: Range<usize>,
    ) -> Option<Typed> {
        let sides = [self.expression(&sides[0]), self.expression(&sides[1])]
            .map(|side| side.filter(|side| self.expect_flag(side, operator.sign()).is_some()));
        let [Some(mut left), Some(mut right)] = sides else {
            return None;
        };
        let mut terms = self.terms(&mut left, operator);
        let terms_right = self.terms(&mut right, operator);
        self.note_logic(operator, &terms, &terms_right, &span);
        terms.extend(terms_right);
        let mut nodes = Vec::new();
        for side in [left, right] {
            match (side.node, operator) {
                (Node::All(inner), Operator::And) | (Node::Any(inner), Operator::Or) => {
                    nodes.extend(inner);
                }
                (node, _) => nodes.push(node),
            }
        }
        let node = if operator == Operator::And {
            Node::All(nodes)
        } else {
            Node::Any(nodes)
        };
        Some(Typed {
            terms,
            ..Typed::new(Type::Flag, node, span)
        })
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        sign: Range<usize>,
        sides: &[Syntax; 2],
        span: Range<usize>,
    ) -> Option<Typed> {
        self.refuse_null(comparison, sides)?;
        self.refuse_chain(comparison, &sign, &sides[0])?;
        self.refuse_quoted_name(sides)?;
        self.refuse_loose_not(&sides[0], &span)?;
        let [left, right] = self.sides(sides)?;
        if left.kind != right.kind {
            return self.mismatch(sides, [&left, &right]);
        }
        self.expect_listed(&left, &sides[1])?;
        self.expect_listed(&right, &sides[0])?;
        self.refuse_network(&left, &sides[1])?;
        self.refuse_network(&right, &sides[0])?;
        self.expect_shaped(&left, &sides[1])?;
        self.expect_shaped(&right, &sides[0])?;
        let kind = left.kind;
        let is_ordered = matches!(kind, Type::Number | Type::Time | Type::Duration);
        if is_ordered || matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
            self.expect_possible(comparison, [&left, &right], &span)?;
        }
        let pair = Box::new([left.node, right.node]);
        let node = match (kind, comparison) {
            (Type::Number, _) => Node::Numbers(comparison, pair),
            (Type::Time | Type::Duration, _) => Node::Moments(comparison, pair),
            (_, Comparison::Equal) => Node::Same {
                equal: true,
                sides: pair,
            },
            (_, Comparison::NotEqual) => Node::Same {
                equal: false,
                sides: pair,
            },
            _ => {
                let message = format!("{}s have no order", kind.name());
                let problem = Problem::error(sign, message);
                return self.fail(problem.with_help("compare them with `==` or `!=`"));
            }
        };
        Some(Typed::new(Type::Flag, node, span))
    }

    fn refuse_null(&mut self, comparison: Comparison, sides: &[Syntax; 2]) -> Option<()> {
        let (null, other) = match [&sides[0].kind, &sides[1].kind] {
            [_, SyntaxKind::Null] => (&sides[1], &sides[0]),
            [SyntaxKind::Null, _] => (&sides[0], &sides[1]),
            _ => return Some(()),
        };
        let other = self.source.get(other.span.clone()).unwrap_or("x");
        let not = if comparison == Comparison::Equal {
            "!"
        } else {
            ""
        };
        let help = format!("to ask whether a value is there, write `{not}has({other})`");
        let problem = Problem::error(null.span.clone(), "`null` is not part of the language");
        self.fail(problem.with_help(help))
    }

    /// `1 < x < 5` compares a flag with 5, which nobody means.
    fn refuse_chain(
        &mut self,
        comparison: Comparison,
        sign: &Range<usize>,
        left: &Syntax,
    ) -> Option<()> {
        let ordered = |comparison| !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let SyntaxKind::Binary {
            operator: Operator::Compare(inner),
            sides,
            ..
        } = &left.kind
        else {
            return Some(());
        };
        if !ordered(comparison) || !ordered(*inner) {
            return Some(());
        }
        let middle = self.quote(&sides[1].span);
        let message = format!("{middle} cannot be compared to both sides at once");
        let problem = Problem::error(sign.clone(), message);
        self.fail(problem.with_help("write two comparisons joined with `&&`"))
    }

    /// Sides of different types.
    pub(super) fn mismatch<T>(
        &mut self,
        written: &[Syntax; 2],
        [left, right]: [&Typed; 2],
    ) -> Option<T> {
        let message = format!(
            "{} is a {}, but {} is a {}",
            self.quote(&left.span),
            left.kind.name(),
            self.quote(&right.span),
            right.kind.name()
        );
        // The literal is what will be changed.
        let literal_left = is_literal(&written[0]) && !is_literal(&written[1]);
        let (literal, other) = if literal_left {
            (&written[0], right.kind)
        } else {
            (&written[1], left.kind)
        };
        let otherwise = match (left.kind, right.kind) {
            (Type::Time, Type::Duration) | (Type::Duration, Type::Time) => {
                "a duration is what lies between two times: subtract one from the other"
            }
            _ => "only values of one type can be compared",
        };
        let help = retyped(literal, other).unwrap_or_else(|| otherwise.to_owned());
        self.fail(Problem::error(literal.span.clone(), message).with_help(help))
    }

    fn arithmetic(
        &mut self,
        arithmetic: Arithmetic,
        sign: Range<usize>,
        written: &[Syntax; 2],
        span: Range<usize>,
    ) -> Option<Typed> {
        self.refuse_pair(written, &span)?;
        let [left, right] = self.sides(written)?;
        let kinds = (left.kind, right.kind);
        let divides = matches!(arithmetic, Arithmetic::Divide | Arithmetic::Remainder);
        if divides && matches!(written[1].kind, SyntaxKind::Number(0.0)) {
            let message = "dividing by zero gives no number";
            return self.fail(Problem::error(written[1].span.clone(), message));
        }
        let pair = Box::new([left.node, right.node]);
        if kinds == (Type::Number, Type::Number) {
            return Some(Typed::new(
                Type::Number,
                Node::Arithmetic(arithmetic, pair),
                span,
            ));
        }
        match shifted(arithmetic, kinds) {
            Some((kind, shift)) => Some(Typed::new(kind, Node::Shift(shift, pair), span)),
            None => {
                let sign_text = Operator::Arithmetic(arithmetic).sign();
                let (left, right) = (kinds.0.name(), kinds.1.name());
                let message = format!("`{sign_text}` cannot be used with a {left} and a {right}");
                let problem = Problem::error(sign, message);
                self.fail(problem.with_help_if(arithmetic_help(kinds)))
            }
        }
    }

    pub(super) fn negate(&mut self, of: &Syntax, span: Range<usize>) -> Option<Typed> {
        let of = self.expression(of)?;
        if of.kind != Type::Number {
            let (quoted, kind) = (self.quote(&of.span), of.kind.name());
            let message = format!("`-` needs a number, but {quoted} is a {kind}");
            return self.fail(Problem::error(of.span, message));
        }
        Some(Typed::new(
            Type::Number,
            Node::Unary(Unary::Negate, of.node.into()),
            span,
        ))
    }

    pub(super) fn choose(&mut self, parts: &[Syntax; 3], span: Range<usize>) -> Option<Typed> {
        let [condition, yes, no] = [0, 1, 2].map(|at| self.expression(&parts[at]));
        let condition = condition.filter(|part| self.expect_flag(part, "?").is_some());
        let (yes, no) = yes.zip(no)?;
        if yes.kind != no.kind {
            let (left, right) = (yes.kind.name(), no.kind.name());
            let message = format!("the two values around `:` are a {left} and a {right}");
            let problem = Problem::error(no.span, message);
            return self.fail(problem.with_help("both must be of one type"));
        }
        let parts = Box::new([condition?.node, yes.node, no.node]);
        Some(Typed::new(yes.kind, Node::Choose(parts), span))
    }
}

/// Times and durations with `+` and `-`: what comes out, if it makes sense.
const fn shifted(arithmetic: Arithmetic, kinds: (Type, Type)) -> Option<(Type, Shift)> {
    match (arithmetic, kinds) {
        (Arithmetic::Add, (Type::Time, Type::Duration) | (Type::Duration, Type::Time)) => {
            Some((Type::Time, Shift::Plus))
        }
        (Arithmetic::Add, (Type::Duration, Type::Duration)) => Some((Type::Duration, Shift::Plus)),
        (Arithmetic::Subtract, (Type::Time, Type::Duration)) => Some((Type::Time, Shift::Minus)),
        (Arithmetic::Subtract, (Type::Time, Type::Time) | (Type::Duration, Type::Duration)) => {
            Some((Type::Duration, Shift::Minus))
        }
        _ => None,
    }
}

fn arithmetic_help(kinds: (Type, Type)) -> Option<String> {
    let help = match kinds {
        (Type::Duration, Type::Number) | (Type::Number, Type::Duration) => {
            "`.getSeconds()` makes a number of a duration, `duration(\"1h\")` is a duration"
        }
        (Type::Time, Type::Number) | (Type::Number, Type::Time) => {
            "a length of time is written `duration(\"1h\")`"
        }
        (Type::Text, _) | (_, Type::Text) => "texts cannot be calculated with",
        (Type::Flag, _) | (_, Type::Flag) => {
            "to count a condition, write `condition ? 1 : 0` in brackets"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

const fn is_literal(syntax: &Syntax) -> bool {
    matches!(
        syntax.kind,
        SyntaxKind::Number(_) | SyntaxKind::Text(_) | SyntaxKind::Flag(_)
    )
}

/// How to write a literal so that it is of the type it is compared with.
pub(super) fn retyped(literal: &Syntax, wanted: Type) -> Option<String> {
    match (&literal.kind, wanted) {
        (SyntaxKind::Text(text), Type::Number) if text.parse::<f64>().is_ok() => {
            Some(format!("write {text} without quotes"))
        }
        (SyntaxKind::Text(text), Type::Flag) if text == "true" || text == "false" => {
            Some(format!("write {text} without quotes"))
        }
        (SyntaxKind::Text(text), Type::Duration) if Span::parse(text).is_ok() => {
            Some(format!("write `duration(\"{text}\")`"))
        }
        (SyntaxKind::Text(text), Type::Time) if text.parse::<jiff::Timestamp>().is_ok() => {
            Some(format!("write `timestamp(\"{text}\")`"))
        }
        (SyntaxKind::Text(_), Type::Time) => {
            Some("a time is written `timestamp(\"2026-01-31T00:00:00Z\")`".to_owned())
        }
        (SyntaxKind::Number(number), Type::Text) => Some(format!("write \"{number}\" in quotes")),
        (SyntaxKind::Number(number), Type::Duration) if *number > 0.0 => Some(format!(
            "write a length of time, such as `duration(\"{number}s\")`"
        )),
        (SyntaxKind::Number(_), Type::Flag) => {
            Some("a flag is a condition by itself; `!` before it turns it around".to_owned())
        }
        _ => None,
    }
}
