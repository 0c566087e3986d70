//! A second, plain interpreter: walks the checked tree and evaluates every part of it, without jumps, stack or
//! specialised operations. Programs must agree with it (EX-1).

use tollgate_types::{Cell, EventTime, Span};

use crate::Slots;
use crate::tree::Node;
use crate::{distance, network, values};

pub(crate) fn evaluate(node: &Node, slots: &impl Slots) -> Cell {
    let of = |node: &Node| evaluate(node, slots);
    let number = |node: &Node| of(node).as_number();
    let micros = |node: &Node| of(node).as_span().map(Span::micros);
    let result = match node {
        Node::Constant(bits) => Some(Cell::from_bits(Some(*bits))),
        Node::Slot(slot) => Some(slots.cell(*slot)),
        Node::Has(slot) => Some(Cell::flag(slots.cell(*slot).bits().is_some())),
        Node::Not(inner) => of(inner).as_flag().map(|flag| Cell::flag(!flag)),
        Node::All(terms) => all(terms.iter().map(|term| of(term).as_flag())).map(Cell::flag),
        // By De Morgan: some term is true unless all are false.
        Node::Any(terms) => all(terms
            .iter()
            .map(|term| of(term).as_flag().map(|flag| !flag)))
        .map(|none| Cell::flag(!none)),
        Node::Choose(parts) => {
            let [condition, yes, no] = &**parts;
            of(condition)
                .as_flag()
                .map(|flag| if flag { of(yes) } else { of(no) })
        }
        Node::Numbers(comparison, sides) => number(&sides[0])
            .zip(number(&sides[1]))
            .map(|(left, right)| Cell::flag(comparison.holds(left, right))),
        Node::Moments(comparison, sides) => micros(&sides[0])
            .zip(micros(&sides[1]))
            .map(|(left, right)| Cell::flag(comparison.holds(left, right))),
        Node::Same { equal, sides } => of(&sides[0])
            .bits()
            .zip(of(&sides[1]).bits())
            .map(|(left, right)| Cell::flag(if *equal { left == right } else { left != right })),
        Node::OneOf(inner, bits) => of(inner)
            .bits()
            .map(|found| Cell::flag(bits.contains(&found))),
        Node::Unary(unary, inner) => number(inner).map(|inner| Cell::number(unary.apply(inner))),
        Node::Arithmetic(arithmetic, sides) => number(&sides[0])
            .zip(number(&sides[1]))
            .map(|(left, right)| Cell::number(arithmetic.apply(left, right))),
        Node::Shift(shift, sides) => micros(&sides[0])
            .zip(micros(&sides[1]))
            .map(|(left, right)| Cell::time(EventTime::from_micros(shift.apply(left, right)))),
        Node::Length(inner) => of(inner).as_span().map(|span| {
            Cell::span(if span < Span::ZERO {
                negated(span)
            } else {
                span
            })
        }),
        Node::Units(unit, inner) => of(inner)
            .as_span()
            .map(|span| Cell::number(unit.count(span))),
        Node::Calendar(part, zone, inner) => of(inner)
            .as_time()
            .and_then(|time| part.of(time, &zone.0))
            .map(Cell::number),
        Node::Distance(places) => places
            .iter()
            .map(number)
            .collect::<Option<Vec<f64>>>()
            .and_then(|places| distance::kilometres(places.try_into().ok()?))
            .map(Cell::number),
        Node::TextTest(..) | Node::Matches(..) | Node::InNetwork(..) | Node::TextSize(_) => {
            text(node, slots)
        }
    };
    result.unwrap_or(Cell::MISSING)
}

/// What reads whole texts.
fn text(node: &Node, slots: &impl Slots) -> Option<Cell> {
    match node {
        Node::TextTest(test, slot, part) => slots
            .text(*slot)
            .map(|text| Cell::flag(test.holds(text, part))),
        Node::Matches(pattern, slot) => slots
            .text(*slot)
            .map(|text| Cell::flag(pattern.holds(text))),
        Node::InNetwork(network, slot) => slots
            .text(*slot)
            .and_then(network::address)
            .map(|address| Cell::flag(network.contains(address))),
        Node::TextSize(slot) => slots
            .text(*slot)
            .map(|text| Cell::number(values::size(text))),
        _ => None,
    }
}

fn negated(span: Span) -> Span {
    Span::from_micros(0_i64.saturating_sub(span.micros()))
}

/// Kleene's conjunction: false wins, then missing.
fn all(terms: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let terms: Vec<Option<bool>> = terms.collect();
    if terms.contains(&Some(false)) {
        Some(false)
    } else if terms.contains(&None) {
        None
    } else {
        Some(true)
    }
}
