//! Conditions that can be evaluated but make no sense: never true, never false, or partly without effect.
//!
//! What can never be true is an error, because its rule would do nothing and nobody would see it. What is never
//! false, or adds nothing, is a warning: the rule does what it says. Missing values are respected: `x || !x` is never
//! false, but it is not true while `x` is missing.

use std::ops::Range;

use super::operands::Domain;
use super::ranges::Ranges;
use super::truth::Truth;
use super::{Checker, Scope, Typed};
use crate::syntax::{Operator, Syntax};
use crate::tree::Node;
use crate::values::Comparison;
use crate::{Problem, Severity, Type};

/// A term of `&&` or `||`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Term {
    span: Range<usize>,
    truth: Truth,
}

impl Checker<'_> {
    /// A comparison with a constant that holds for no value, or for every one.
    pub(super) fn expect_possible(
        &mut self,
        comparison: Comparison,
        [left, right]: [&Typed; 2],
        span: &Range<usize>,
    ) -> Option<()> {
        if left.node == right.node {
            return self.same_sides(comparison, span);
        }
        let (of, constant, bits, comparison) = match (&left.node, &right.node) {
            (_, Node::Constant(bits)) => (left, right, *bits, comparison),
            (Node::Constant(bits), _) => (right, left, *bits, comparison.mirrored()),
            _ => return Some(()),
        };
        let domain = match of.node {
            Node::Constant(bits) => Some(Domain::constant(of.kind, bits)),
            _ => self.domain(&of.node),
        };
        let Some(domain) = domain else {
            return Some(());
        };
        let holds = Ranges::compared(domain.scale, comparison, bits);
        let (is_never, is_always) = (
            holds.and(&domain.all).is_empty(),
            domain.all.is_within(&holds),
        );
        if !is_never && !is_always {
            return Some(());
        }
        let (quoted, constant) = (self.quote(&of.span), self.quote(&constant.span));
        let phrase = phrase(comparison, constant.trim_matches('`'));
        if is_never {
            let message = format!("{quoted} is never {phrase}");
            return self.fail(Problem::error(span.clone(), message).with_help_if(domain.because));
        }
        let message = format!("{quoted} is always {phrase}, so this comparison says nothing");
        self.warn(span.clone(), message, domain.because.as_deref());
        Some(())
    }

    /// Whatever it is, it is compared with itself.
    fn same_sides(&mut self, comparison: Comparison, span: &Range<usize>) -> Option<()> {
        if !comparison.holds(0_i64, 0_i64) {
            let message = "both sides are the same, so this can never be true";
            return self.fail(Problem::error(span.clone(), message));
        }
        let message = "both sides are the same, so this never changes";
        self.warn(span.clone(), message, None);
        Some(())
    }

    /// An element of a list that the value before `in` never has.
    pub(super) fn expect_possible_element(
        &mut self,
        value: &Typed,
        element: &Syntax,
        bits: u64,
    ) -> Option<()> {
        let Some(domain) = self.domain(&value.node) else {
            return Some(());
        };
        if !domain.listed(&[bits]).and(&domain.all).is_empty() {
            return Some(());
        }
        let (quoted, element_quoted) = (self.quote(&value.span), self.quote(&element.span));
        let message = format!("{quoted} is never {}", element_quoted.trim_matches('`'));
        self.fail(Problem::error(element.span.clone(), message).with_help_if(domain.because))
    }

    /// A list of every value there is.
    pub(super) fn note_complete_list(&mut self, value: &Typed, bits: &[u64], list: &Syntax) {
        let Some(domain) = self.domain(&value.node) else {
            return;
        };
        if domain.all.is_within(&domain.listed(bits)) {
            let message = format!(
                "this lists every value that {} can have",
                self.quote(&value.span)
            );
            let help = "leave it out, or ask with `has(…)` whether the value is there";
            self.warn(list.span.clone(), message, Some(help));
        }
    }

    /// The terms of one side of `&&` or `||`: several if it is a chain of the same sign.
    pub(super) fn terms(&mut self, side: &mut Typed, operator: Operator) -> Vec<Term> {
        let is_chain = matches!(
            (&side.node, operator),
            (Node::All(_), Operator::And) | (Node::Any(_), Operator::Or)
        );
        if is_chain {
            return std::mem::take(&mut side.terms);
        }
        let truth = self.truth(&side.node);
        vec![Term {
            span: side.span.clone(),
            truth,
        }]
    }

    /// Notes what two sides of `&&` or `||` say about each other.
    pub(super) fn note_logic(
        &mut self,
        operator: Operator,
        left: &[Term],
        right: &[Term],
        span: &Range<usize>,
    ) {
        if operator == Operator::And {
            self.note_contradiction(left, right);
        } else {
            self.note_certainty(left, right, span);
        }
        for term in right {
            self.note_repetition(operator, left, term);
        }
    }

    fn note_contradiction(&mut self, left: &[Term], right: &[Term]) {
        let (before, after) = (together(left), together(right));
        if before.never_true() || after.never_true() || !before.and(&after).never_true() {
            return;
        }
        let clash =
            pairs(left, right).find(|(one, other)| one.truth.and(&other.truth).never_true());
        let (span, first) = match clash {
            Some((one, other)) => (other.span.clone(), self.quote(&one.span)),
            None => {
                let (Some(first), Some(last)) = (right.first(), right.last()) else {
                    return;
                };
                (
                    first.span.start..last.span.end,
                    "what stands before it".to_owned(),
                )
            }
        };
        let message = format!(
            "{} can never be true together with {first}",
            self.quote(&span)
        );
        let problem = Problem::error(span, message);
        self.problems
            .push(problem.with_help("write `||` instead of `&&` if one of them is enough"));
    }

    fn note_certainty(&mut self, left: &[Term], right: &[Term], span: &Range<usize>) {
        let (before, after) = (any(left), any(right));
        if before.never_false() || after.never_false() || !before.or(&after).never_false() {
            return;
        }
        let cover =
            pairs(left, right).find(|(one, other)| one.truth.or(&other.truth).never_false());
        let these = match cover {
            Some((one, other)) => {
                let (one, other) = (self.quote(&one.span), self.quote(&other.span));
                format!("one of {one} and {other} always holds")
            }
            None => "one of these always holds".to_owned(),
        };
        let message = format!("{these}, so {}", never_false(&before.or(&after)));
        let help = "write `&&` instead of `||` if all of them must hold";
        self.warn(span.clone(), message, Some(help));
    }

    /// A term that a comparison before it makes needless, or makes needless itself.
    fn note_repetition(&mut self, operator: Operator, left: &[Term], term: &Term) {
        let Some((operand, holds)) = &term.truth.test else {
            return;
        };
        let about_the_same = left.iter().filter_map(|before| match &before.truth.test {
            Some((known, before_holds)) if known == operand => Some((before, before_holds)),
            _ => None,
        });
        for (before, before_holds) in about_the_same {
            let (narrower, wider) = (holds.is_within(before_holds), before_holds.is_within(holds));
            let (needless, other) = match (narrower, wider) {
                (true, true) => {
                    let message = format!(
                        "{} says the same as {}",
                        self.quote(&term.span),
                        self.quote(&before.span)
                    );
                    return self.warn(term.span.clone(), message, Some("remove one of the two"));
                }
                // The narrower of two conditions decides `&&`, the wider one `||`.
                (true, false) if operator == Operator::And => (before, term),
                (false, true) if operator == Operator::And => (term, before),
                (true, false) => (term, before),
                (false, true) => (before, term),
                (false, false) => continue,
            };
            let message = format!(
                "{} adds nothing to {}",
                self.quote(&needless.span),
                self.quote(&other.span)
            );
            return self.warn(
                needless.span.clone(),
                message,
                Some("remove it, or check the values"),
            );
        }
    }

    /// A whole condition that is always the same, where none of its parts has been noted for that.
    pub(super) fn expect_sense(&mut self, whole: &Typed, consequence: &str) {
        let is_true = matches!(whole.node, Node::Constant(bits) if bits != 0);
        if whole.kind != Type::Flag || is_true {
            return;
        }
        let truth = self.truth(&whole.node);
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        if truth.never_true() && !self.problems.iter().any(is_error) {
            let problem = never_true(whole.span.clone(), self.scope, consequence);
            self.problems.push(problem);
        } else if truth.never_false() && self.problems.is_empty() {
            let message = never_false(&truth);
            self.warn(whole.span.clone(), message, None);
        }
    }
}

/// A whole condition that no transaction makes true.
pub(crate) fn never_true(span: Range<usize>, scope: Scope, consequence: &str) -> Problem {
    let message = format!("this can never be true, so {consequence}");
    let help = "to switch a rule off, write `mode: off` below it instead";
    let help = (scope == Scope::Rule).then(|| help.to_owned());
    Problem::error(span, message).with_help_if(help)
}

fn never_false(truth: &Truth) -> &'static str {
    if truth.can_be_missing {
        "this is never false: it is true, or unknown while a value is missing"
    } else {
        "this is always true"
    }
}

fn together(terms: &[Term]) -> Truth {
    let all = Truth::constant(true);
    terms.iter().fold(all, |all, term| all.and(&term.truth))
}

fn any(terms: &[Term]) -> Truth {
    let none = Truth::constant(false);
    terms.iter().fold(none, |any, term| any.or(&term.truth))
}

fn pairs<'t>(left: &'t [Term], right: &'t [Term]) -> impl Iterator<Item = (&'t Term, &'t Term)> {
    right
        .iter()
        .flat_map(move |other| left.iter().map(move |one| (one, other)))
}

/// A comparison in words.
fn phrase(comparison: Comparison, constant: &str) -> String {
    match comparison {
        Comparison::Less => format!("less than {constant}"),
        Comparison::LessOrEqual => format!("{constant} or less"),
        Comparison::Greater => format!("more than {constant}"),
        Comparison::GreaterOrEqual => format!("{constant} or more"),
        Comparison::Equal => constant.to_owned(),
        Comparison::NotEqual => format!("other than {constant}"),
    }
}
