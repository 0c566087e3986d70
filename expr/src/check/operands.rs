//! Operands of conditions, and what values each can have.

use tollgate_types::builtin::Shape;
use tollgate_types::{ColumnId, EntityId, Field, FieldId, FieldType, Span, TextKey, builtin};

use super::ranges::{Ranges, Scale, place};
use super::truth::{Operand, Truth};
use super::{Checker, Scope};
use crate::tree::Node;
use crate::values::{Comparison, Part, Unary};
use crate::{Aggregate, Function, Program, SlotId, Type};

/// What conditions of one scope are about.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Operands(Vec<Subject>);

#[derive(Clone, PartialEq, Debug)]
enum Subject {
    Value(Node),
    /// How two values compare: -1, 0 and 1 for less, equal and greater.
    Order(Node, Node),
}

/// The values of an operand.
pub(super) struct Domain {
    pub(super) scale: Scale,
    pub(super) all: Ranges,
    pub(super) can_be_missing: bool,
    /// Why it has no others, for a message.
    pub(super) because: Option<String>,
}

impl Operands {
    fn find(&mut self, subject: Subject) -> Operand {
        let known = self.0.iter().position(|known| *known == subject);
        known.unwrap_or_else(|| {
            self.0.push(subject);
            self.0.len() - 1
        })
    }
}

impl Checker<'_> {
    /// When a condition is true and when false.
    pub(super) fn truth(&mut self, node: &Node) -> Truth {
        match node {
            Node::Constant(bits) => Truth::constant(*bits != 0),
            Node::Not(of) => self.truth(of).not(),
            Node::All(terms) => terms.iter().fold(Truth::constant(true), |all, term| {
                all.and(&self.truth(term))
            }),
            Node::Any(terms) => terms.iter().fold(Truth::constant(false), |any, term| {
                any.or(&self.truth(term))
            }),
            Node::Choose(parts) => {
                let [condition, yes, no] = parts.each_ref().map(|part| self.truth(part));
                Truth::choose(&condition, &yes, &no)
            }
            Node::Has(slot) => {
                let of = Node::Slot(*slot);
                let can_be_missing = self.domain(&of).is_none_or(|domain| domain.can_be_missing);
                Truth::presence(self.operands.find(Subject::Value(of)), can_be_missing)
            }
            Node::Numbers(comparison, sides) => self.compared(Scale::Real, *comparison, sides),
            Node::Moments(comparison, sides) => self.compared(Scale::Moment, *comparison, sides),
            Node::Same { equal, sides } => {
                let comparison = if *equal {
                    Comparison::Equal
                } else {
                    Comparison::NotEqual
                };
                self.compared(Scale::Bits, comparison, sides)
            }
            Node::OneOf(of, bits) => match self.domain(of) {
                Some(domain) => self.test(of, &domain, &domain.listed(bits)),
                None => self.test(node, &Domain::flag(), &Ranges::these([1])),
            },
            _ => {
                let domain = self.domain(node).unwrap_or_else(Domain::flag);
                self.test(node, &domain, &Ranges::these([1]))
            }
        }
    }

    fn test(&mut self, of: &Node, domain: &Domain, holds: &Ranges) -> Truth {
        let operand = self.operands.find(Subject::Value(of.clone()));
        Truth::test(operand, holds, &domain.all, domain.can_be_missing)
    }

    fn compared(&mut self, scale: Scale, comparison: Comparison, sides: &[Node; 2]) -> Truth {
        match sides {
            [Node::Constant(left), Node::Constant(right)] => {
                let value = Ranges::compared(scale, Comparison::Equal, *left);
                Truth::constant(value.is_within(&Ranges::compared(scale, comparison, *right)))
            }
            [left, right] if left == right => self.compared_with_itself(comparison, left),
            [of, Node::Constant(bits)] => self.compared_with(*bits, comparison, of),
            [Node::Constant(bits), of] => self.compared_with(*bits, comparison.mirrored(), of),
            [left, right] => self.order(comparison, left, right),
        }
    }

    /// Nothing is known of its values where its type is not; that it is there or missing is.
    fn compared_with_itself(&mut self, comparison: Comparison, of: &Node) -> Truth {
        let domain = self
            .domain(of)
            .unwrap_or_else(|| Domain::of(Scale::Bits, Ranges::all()));
        let holds = if comparison.holds(0_i64, 0_i64) {
            Ranges::all()
        } else {
            Ranges::NONE
        };
        self.test(of, &domain, &holds)
    }

    fn compared_with(&mut self, bits: u64, comparison: Comparison, of: &Node) -> Truth {
        let Some(domain) = self.domain(of) else {
            return Truth::UNKNOWN;
        };
        let holds = Ranges::compared(domain.scale, comparison, bits);
        self.test(of, &domain, &holds)
    }

    /// Whichever way round they are written first is how their order is told.
    fn order(&mut self, comparison: Comparison, left: &Node, right: &Node) -> Truth {
        let turned = Subject::Order(right.clone(), left.clone());
        let known = self.operands.0.iter().position(|known| *known == turned);
        let (operand, comparison) = match known {
            Some(operand) => (operand, comparison.mirrored()),
            None => {
                let subject = Subject::Order(left.clone(), right.clone());
                (self.operands.find(subject), comparison)
            }
        };
        let holds = (-1..=1).filter(|order| comparison.holds(*order, 0_i64));
        Truth::test(
            operand,
            &Ranges::these(holds),
            &Ranges::between(-1, 1),
            true,
        )
    }

    /// What values a part of an expression can have; `None` of a choice, whose type its parts do not tell.
    pub(super) fn domain(&self, node: &Node) -> Option<Domain> {
        Some(match node {
            Node::Slot(slot) => self.domain_of_slot(*slot),
            Node::Calendar(part, ..) => of_part(*part),
            Node::Units(..) => Domain::of(Scale::Whole, Ranges::all()),
            Node::TextSize(slot) => self.domain_of_size(*slot),
            Node::Unary(Unary::Absolute, _) => {
                Domain::from_zero(Scale::Real, "`abs` is never negative")
            }
            Node::Length(_) => Domain::from_zero(Scale::Moment, "`abs` is never negative"),
            Node::Distance(_) => Domain {
                because: Some(
                    "no two places on Earth are further apart than 20,015.2 km".to_owned(),
                ),
                ..Domain::of(Scale::Real, Ranges::between(0, place(20_015.2)))
            },
            Node::Unary(..) | Node::Arithmetic(..) => Domain::of(Scale::Real, Ranges::all()),
            Node::Shift(..) => Domain::of(Scale::Moment, Ranges::all()),
            Node::Choose(_) | Node::Constant(_) => return None,
            _ => Domain::flag(),
        })
    }

    /// How many characters a text of the transaction has.
    fn domain_of_size(&self, SlotId(slot): SlotId) -> Domain {
        let at = slot.checked_sub(match self.scope {
            Scope::Filter(_) => Program::FILTER_FIELDS,
            _ => 0,
        });
        let field = at.and_then(|at| u16::try_from(at).ok()).map(FieldId);
        let shape = field.map_or(Shape::Text, builtin::shape);
        let (least, most) = shape.size();
        let because = match shape {
            Shape::Country => "countries are two capital letters",
            Shape::Currency => "currencies are three capital letters",
            _ => "a length is a whole number, 1 or more: an empty text counts as missing",
        };
        let most = if most == u16::MAX {
            i64::MAX
        } else {
            most.into()
        };
        Domain {
            because: Some(because.to_owned()),
            ..Domain::of(Scale::Whole, Ranges::between(least.into(), most))
        }
    }

    fn domain_of_slot(&self, SlotId(slot): SlotId) -> Domain {
        match self.scope {
            Scope::Filter(entity) if slot < Program::FILTER_FIELDS => {
                self.domain_of_column(entity, slot)
            }
            Scope::Filter(_) => self.domain_of_field(slot - Program::FILTER_FIELDS),
            _ if (slot as usize) < self.schema.fields().len() => self.domain_of_field(slot),
            _ => self.domain_of_input(SlotId(slot)),
        }
    }

    fn domain_of_column(&self, entity: EntityId, slot: u32) -> Domain {
        let columns = &self.schema.entity_at(entity).columns;
        let Some(column) = columns.get(slot as usize) else {
            return Domain::of(Scale::Bits, Ranges::all());
        };
        match column.field {
            Some(field) => Domain {
                can_be_missing: true,
                ..self.domain_of_field(field.0.into())
            },
            None => Domain::of_type(column.kind.into()),
        }
    }

    fn domain_of_field(&self, slot: u32) -> Domain {
        let Some(field) = self.schema.fields().get(slot as usize) else {
            return Domain::of(Scale::Bits, Ranges::all());
        };
        if slot == u32::from(builtin::MERCHANT_CATEGORY_CODE.0) {
            let codes = Ranges::between(1, builtin::CATEGORY_CODE_MAX.into());
            return Domain {
                because: Some("category codes are whole numbers from 1 to 9999; without one the field is missing".to_owned()),
                ..Domain::of(Scale::Whole, codes)
            };
        }
        if slot == u32::from(builtin::AMOUNT.0) {
            return Domain::from_zero(Scale::Real, "amounts are never negative");
        }
        Domain {
            can_be_missing: !ALWAYS.iter().any(|field| u32::from(field.0) == slot),
            ..of_field(field)
        }
    }

    /// The score, an aggregate, a lookup or a feature.
    fn domain_of_input(&self, slot: SlotId) -> Domain {
        if slot == self.layout.score {
            return Domain::share(
                "the score is a probability between 0 and 1: 92 % is written 0.92",
            );
        }
        let aggregate = self.layout.aggregates.iter().find(|(_, at)| *at == slot);
        if let Some((aggregate, _)) = aggregate {
            return self.domain_of_aggregate(aggregate);
        }
        let feature = self
            .layout
            .features
            .iter()
            .find(|feature| feature.slot == slot);
        match feature {
            Some(feature) => Domain::of_type(feature.kind),
            None => Domain::flag(),
        }
    }

    /// How long ago the last event of a window was. Where events are merged into steps, windows move in steps too.
    fn domain_of_age(&self, aggregate: &Aggregate) -> Domain {
        let Aggregate { window, delay, .. } = *aggregate;
        let entity = self.schema.entity_at(aggregate.entity);
        if entity.resolution.is_some() {
            return Domain::from_zero(Scale::Moment, "what lies in the past is never negative");
        }
        let reach = window.plus(delay);
        let because = if delay == Span::ZERO {
            format!("a window of {window} sees nothing older")
        } else {
            format!("this window sees what is between {delay} and {reach} old")
        };
        let ages = Ranges::between(delay.micros(), reach.micros().saturating_sub(1));
        Domain {
            because: Some(because),
            ..Domain::of(Scale::Moment, ages)
        }
    }

    fn domain_of_aggregate(&self, aggregate: &Aggregate) -> Domain {
        match aggregate.function {
            Function::Count if counts_itself(aggregate) => {
                self.at_least_one(aggregate, Scale::Whole)
            }
            Function::Distinct(column) if self.has_itself(aggregate, column) => {
                self.at_least_one(aggregate, Scale::Real)
            }
            Function::Count => {
                Domain::from_zero(Scale::Whole, "a count is a whole number, 0 or more")
            }
            // Of entities in steps it is an estimate, which need not be a whole number.
            Function::Distinct(_) => {
                Domain::from_zero(Scale::Real, "a number of different values is 0 or more")
            }
            Function::Rate(_) => {
                Domain::share("a rate is a share between 0 and 1: 5 % is written 0.05")
            }
            Function::Stddev(_) => {
                Domain::from_zero(Scale::Real, "a standard deviation is never negative")
            }
            Function::SinceLast => self.domain_of_age(aggregate),
            Function::FirstSeen => Domain::of(Scale::Moment, Ranges::all()),
            Function::Sum(_) | Function::Average(_) => Domain::of(Scale::Real, Ranges::all()),
            Function::Min(column) | Function::Max(column) | Function::Last(column) => {
                self.domain_of_column(aggregate.entity, column.0.into())
            }
        }
    }
}

impl Checker<'_> {
    /// Whether the transaction being scored is among what is counted and surely has a value of this column.
    fn has_itself(&self, aggregate: &Aggregate, column: ColumnId) -> bool {
        let columns = &self.schema.entity_at(aggregate.entity).columns;
        let field = columns
            .get(usize::from(column.0))
            .and_then(|column| column.field);
        counts_itself(aggregate) && field.is_some_and(|field| ALWAYS.contains(&field))
    }

    fn at_least_one(&self, aggregate: &Aggregate, scale: Scale) -> Domain {
        let because = match self.schema.entity_at(aggregate.entity).resolution {
            None => "the transaction being scored counts too: `.delayed(\"1s\")` leaves it out",
            Some(_) => "the transaction being scored counts too",
        };
        let first = if scale == Scale::Real { place(1.0) } else { 1 };
        Domain {
            because: Some(because.to_owned()),
            ..Domain::of(scale, Ranges::between(first, i64::MAX))
        }
    }
}

/// Fields that no transaction is without.
pub(super) const ALWAYS: [FieldId; 5] = [
    builtin::TRANSACTION_ID,
    builtin::EVENT_TIME,
    builtin::CARD_ID,
    builtin::CURRENCY,
    builtin::MERCHANT_ID,
];

/// Whether a window has the transaction being scored: all have that end with it and take what they find. Where the
/// transaction has no such entity, the aggregate is missing.
fn counts_itself(aggregate: &Aggregate) -> bool {
    aggregate.delay == Span::ZERO && aggregate.filter.is_none()
}

impl Domain {
    /// One value of a type.
    pub(super) fn constant(kind: Type, bits: u64) -> Self {
        let Self { scale, .. } = Self::of_type(kind);
        Self {
            can_be_missing: false,
            ..Self::of(scale, Ranges::compared(scale, Comparison::Equal, bits))
        }
    }

    /// Those that are equal to one of these.
    pub(super) fn listed(&self, bits: &[u64]) -> Ranges {
        bits.iter().fold(Ranges::NONE, |all, bits| {
            all.or(&Ranges::compared(self.scale, Comparison::Equal, *bits))
        })
    }

    const fn of(scale: Scale, all: Ranges) -> Self {
        Self {
            scale,
            all,
            can_be_missing: true,
            because: None,
        }
    }

    fn from_zero(scale: Scale, because: &str) -> Self {
        Self {
            because: Some(because.to_owned()),
            ..Self::of(scale, Ranges::between(0, i64::MAX))
        }
    }

    fn share(because: &str) -> Self {
        Self {
            because: Some(because.to_owned()),
            ..Self::of(Scale::Real, Ranges::between(0, place(1.0)))
        }
    }

    fn flag() -> Self {
        Self::of(Scale::Bits, Ranges::between(0, 1))
    }

    fn of_type(kind: Type) -> Self {
        match kind {
            Type::Number => Self::of(Scale::Real, Ranges::all()),
            Type::Time | Type::Duration => Self::of(Scale::Moment, Ranges::all()),
            Type::Text => Self::of(Scale::Bits, Ranges::all()),
            Type::Flag => Self::flag(),
        }
    }
}

fn of_field(field: &Field) -> Domain {
    match (&field.values, field.kind) {
        (Some(values), FieldType::Text) => {
            let bits = values.iter().map(|value| TextKey::of(value).bits());
            Domain::of(Scale::Bits, Ranges::these(bits.map(u64::cast_signed)))
        }
        (_, kind) => Domain::of_type(kind.into()),
    }
}

fn of_part(part: Part) -> Domain {
    let (first, last, because) = match part {
        Part::Year => (-9_999, 9_999, "a calendar ends with the year 9999"),
        Part::Month => (0, 11, "months go from 0 (January) to 11 (December)"),
        Part::Date => (1, 31, "`getDate` goes from 1 to 31"),
        Part::DayOfMonth => (
            0,
            30,
            "`getDayOfMonth` goes from 0 to 30; `getDate` from 1 to 31",
        ),
        Part::DayOfWeek => (0, 6, "days of the week go from 0 (Sunday) to 6 (Saturday)"),
        Part::DayOfYear => (0, 365, "days of the year go from 0 to 365"),
        Part::Hours => (0, 23, "hours go from 0 to 23"),
        Part::Minutes => (0, 59, "minutes go from 0 to 59"),
        Part::Seconds => (0, 59, "seconds go from 0 to 59"),
    };
    Domain {
        because: Some(because.to_owned()),
        ..Domain::of(Scale::Whole, Ranges::between(first, last))
    }
}
