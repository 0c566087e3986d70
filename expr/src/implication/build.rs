//! From checked conditions to formulas.

use std::collections::HashMap;

use tollgate_types::{FieldType, Schema, Span, builtin};

use super::Subject;
use super::atom::{Atom, Holds};
use super::formula::Formula;
use crate::check::ranges::{Ranges, Scale};
use crate::tree::Node;
use crate::values::Comparison;
use crate::{Aggregate, Function, Layout, SlotId, Type};

/// Most choices of one condition that are looked into: each doubles its condition.
const CHOICES_MAX: usize = 6;

/// Numbers subjects while it goes through the conditions of a policy.
pub(super) struct Builder<'b> {
    schema: &'b Schema,
    layout: &'b Layout,
    subjects: HashMap<Key, Subject>,
    aggregates: HashMap<SlotId, &'b Aggregate>,
    /// Aggregates that differ in nothing but the window, by the first of them.
    windows: Vec<&'b Aggregate>,
    choices_left: usize,
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Value(Node),
    /// How two values compare.
    Order(Node, Node),
    /// The place among [`Builder::windows`].
    Windows(usize),
}

impl<'b> Builder<'b> {
    pub(super) fn new(schema: &'b Schema, layout: &'b Layout) -> Self {
        let aggregates = layout.aggregates.iter();
        Self {
            schema,
            layout,
            subjects: HashMap::new(),
            aggregates: aggregates
                .map(|(aggregate, slot)| (*slot, aggregate))
                .collect(),
            windows: Vec::new(),
            choices_left: 0,
        }
    }

    pub(super) fn formula(&mut self, condition: &Node) -> Formula {
        self.choices_left = CHOICES_MAX;
        self.is(condition, true)
    }

    /// When the condition is that: true, or false.
    fn is(&mut self, node: &Node, wanted: bool) -> Formula {
        match node {
            Node::Constant(bits) if (*bits != 0) == wanted => Formula::All(Vec::new()),
            Node::Constant(_) => Formula::Any(Vec::new()),
            Node::Not(of) => self.is(of, !wanted),
            Node::All(terms) => self.chain(terms, wanted, wanted),
            Node::Any(terms) => self.chain(terms, !wanted, wanted),
            Node::Choose(parts) if self.choices_left > 0 => {
                self.choices_left -= 1;
                let [condition, yes, no] = &**parts;
                let yes = [self.is(condition, true), self.is(yes, wanted)];
                let no = [self.is(condition, false), self.is(no, wanted)];
                Formula::any([Formula::all(yes), Formula::all(no)])
            }
            Node::Has(slot) => {
                let holds = if wanted {
                    Holds::Present
                } else {
                    Holds::Missing
                };
                self.about(Node::Slot(*slot), holds)
            }
            Node::Numbers(comparison, sides) => {
                self.compared(Scale::Real, turned(*comparison, wanted), sides)
            }
            Node::Moments(comparison, sides) => {
                self.compared(Scale::Moment, turned(*comparison, wanted), sides)
            }
            Node::Same { equal, sides } => {
                let comparison = if *equal == wanted {
                    Comparison::Equal
                } else {
                    Comparison::NotEqual
                };
                self.compared(Scale::Bits, comparison, sides)
            }
            Node::OneOf(of, bits) => self.one_of(node, of, bits, wanted),
            Node::TextTest(test, slot, text) => {
                self.about(Node::Slot(*slot), Holds::Text(wanted, *test, text.clone()))
            }
            Node::InNetwork(network, slot) => {
                self.about(Node::Slot(*slot), Holds::Network(wanted, *network))
            }
            _ => self.flag(node, wanted),
        }
    }

    fn chain(&mut self, terms: &[Node], is_all: bool, wanted: bool) -> Formula {
        let parts: Vec<Formula> = terms.iter().map(|term| self.is(term, wanted)).collect();
        if is_all {
            Formula::all(parts)
        } else {
            Formula::any(parts)
        }
    }

    fn one_of(&mut self, node: &Node, of: &Node, bits: &[u64], wanted: bool) -> Formula {
        let scale = match self.is_text(of) {
            Some(true) => Scale::Bits,
            Some(false) => Scale::Real,
            None => return self.flag(node, wanted),
        };
        let listed = Ranges::equal_to(scale, bits);
        let values = if wanted { listed } else { listed.not() };
        self.values(of, values)
    }

    /// Whether it is a text or a number; unknown of a choice between other things than slots.
    fn is_text(&self, node: &Node) -> Option<bool> {
        let Node::Slot(slot) = node else {
            return match node {
                Node::Choose(parts) => self.is_text(&parts[1]),
                Node::Constant(_) => None,
                _ => Some(false),
            };
        };
        let field = usize::try_from(slot.0)
            .ok()
            .and_then(|slot| self.schema.fields().get(slot));
        if let Some(field) = field {
            return Some(field.kind == FieldType::Text);
        }
        if let Some(aggregate) = self.aggregates.get(slot) {
            return Some(match aggregate.function {
                Function::Last(column) | Function::Min(column) | Function::Max(column) => {
                    let entity = self.schema.entity_at(aggregate.entity);
                    let column = entity.columns.get(usize::from(column.0))?;
                    column.kind == FieldType::Text
                }
                _ => false,
            });
        }
        let mut features = self.layout.features.iter();
        let feature = features.find(|feature| feature.slot == *slot);
        Some(feature.is_some_and(|feature| feature.kind == Type::Text))
    }

    fn compared(&mut self, scale: Scale, comparison: Comparison, sides: &[Node; 2]) -> Formula {
        match sides {
            [of, Node::Constant(bits)] => {
                self.values(of, Ranges::compared(scale, comparison, *bits))
            }
            [Node::Constant(bits), of] => {
                self.values(of, Ranges::compared(scale, comparison.mirrored(), *bits))
            }
            [left, right] => self.order(comparison, left, right),
        }
    }

    /// Whichever way round they were written first is how their order is told.
    fn order(&mut self, comparison: Comparison, left: &Node, right: &Node) -> Formula {
        let turned = Key::Order(right.clone(), left.clone());
        let (key, comparison) = if self.subjects.contains_key(&turned) {
            (turned, comparison.mirrored())
        } else {
            (Key::Order(left.clone(), right.clone()), comparison)
        };
        let orders = (-1..=1).filter(|order| comparison.holds(*order, 0_i64));
        self.atom(key, Holds::Values(Ranges::these(orders)))
    }

    fn flag(&mut self, node: &Node, wanted: bool) -> Formula {
        self.values(node, Ranges::these([i64::from(wanted)]))
    }

    fn values(&mut self, of: &Node, values: Ranges) -> Formula {
        match self.window(of) {
            Some((key, window)) => self.atom(key, Holds::Window(window.micros(), values)),
            None => self.about(of.clone(), Holds::Values(values)),
        }
    }

    fn about(&mut self, of: Node, holds: Holds) -> Formula {
        self.atom(Key::Value(of), holds)
    }

    fn atom(&mut self, key: Key, holds: Holds) -> Formula {
        let next = Subject::try_from(self.subjects.len()).unwrap_or(Subject::MAX);
        let subject = *self.subjects.entry(key).or_insert(next);
        Formula::Atom(Atom { subject, holds })
    }

    /// Of an aggregate that is never negative, and never less over a longer window: what it is but for that, and its
    /// window.
    fn window(&mut self, node: &Node) -> Option<(Key, Span)> {
        let Node::Slot(slot) = node else { return None };
        let aggregate = *self.aggregates.get(slot)?;
        let grows = match aggregate.function {
            Function::Count => true,
            Function::Sum(column) => {
                let columns = &self.schema.entity_at(aggregate.entity).columns;
                let column = columns.get(usize::from(column.0));
                column.is_some_and(|column| column.field == Some(builtin::AMOUNT))
            }
            _ => false,
        };
        let is_alike = |known: &&Aggregate| {
            known.entity == aggregate.entity
                && known.function == aggregate.function
                && known.delay == aggregate.delay
                && known.filter == aggregate.filter
        };
        if !grows {
            return None;
        }
        let known = self.windows.iter().position(is_alike);
        let place = known.unwrap_or_else(|| {
            self.windows.push(aggregate);
            self.windows.len() - 1
        });
        Some((Key::Windows(place), aggregate.window))
    }
}

/// The comparison that is true when this one is true, or false.
const fn turned(comparison: Comparison, wanted: bool) -> Comparison {
    match (comparison, wanted) {
        (comparison, true) => comparison,
        (Comparison::Less, false) => Comparison::GreaterOrEqual,
        (Comparison::LessOrEqual, false) => Comparison::Greater,
        (Comparison::Equal, false) => Comparison::NotEqual,
        (Comparison::NotEqual, false) => Comparison::Equal,
        (Comparison::Greater, false) => Comparison::LessOrEqual,
        (Comparison::GreaterOrEqual, false) => Comparison::Less,
    }
}
