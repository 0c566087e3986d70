//! What is said of conditions without a transaction holds for every transaction.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tollgate_types::{Cell, ColumnId, EntityId, Span, TextKey, builtin};

use super::{Checker, Operands, Scope};
use crate::tests::{Values, schema};
use crate::tree::Node;
use crate::values::Comparison;
use crate::{Aggregate, Compiler, Function, SlotId, Type, Written, reference};

const AMOUNT: u32 = builtin::AMOUNT.0 as u32;
const CODE: u32 = builtin::MERCHANT_CATEGORY_CODE.0 as u32;
const CHANNEL: u32 = builtin::CHANNEL.0 as u32;
const PASSENGERS: u32 = 14;
const REFUNDABLE: u32 = 15;
const SCORE: u32 = 19;
const COUNT: u32 = 20;

const CHANNELS: [&str; 5] = [
    "card_present",
    "ecommerce",
    "mail_or_telephone",
    "recurring",
    "cash_withdrawal",
];

const COMPARISONS: [Comparison; 6] = [
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

/// Numbers that operands have and are compared with, few, so that they meet.
const NUMBERS: [f64; 7] = [-1.0, 0.0, 0.5, 1.0, 2.0, 2.5, 9_999.0];

fn number(number: f64) -> Node {
    Node::Constant(Cell::number(number).bits().unwrap())
}

fn text(text: &str) -> u64 {
    TextKey::of(text).bits()
}

fn leaf() -> impl Strategy<Value = Node> {
    let slot = select(&[AMOUNT, CODE, PASSENGERS, SCORE, COUNT][..]);
    let slot = slot.prop_map(|slot| Node::Slot(SlotId(slot)));
    let constant = select(&NUMBERS[..]).prop_map(number);
    let operand = prop_oneof![slot.clone(), constant];
    let numbers = (select(&COMPARISONS[..]), slot, operand, any::<bool>()).prop_map(
        |(comparison, left, right, turned)| {
            let sides = if turned { [right, left] } else { [left, right] };
            Node::Numbers(comparison, Box::new(sides))
        },
    );
    let code = Box::new(Node::Slot(SlotId(CODE)));
    let codes = vec(select(&NUMBERS[..]), 1..4).prop_map(move |codes| {
        let bits = codes
            .into_iter()
            .filter_map(|code| Cell::number(code).bits());
        Node::OneOf(code.clone(), bits.collect())
    });
    let channel = || Node::Slot(SlotId(CHANNEL));
    let channels = vec(select(&CHANNELS[..]), 1..6).prop_map(move |names| {
        Node::OneOf(channel().into(), names.into_iter().map(text).collect())
    });
    let same = (any::<bool>(), select(&CHANNELS[..])).prop_map(move |(equal, name)| Node::Same {
        equal,
        sides: Box::new([channel(), Node::Constant(text(name))]),
    });
    let flags = prop_oneof![
        Just(Node::Slot(SlotId(REFUNDABLE))),
        select(&[AMOUNT, CHANNEL, REFUNDABLE, COUNT][..]).prop_map(|slot| Node::Has(SlotId(slot))),
        any::<bool>().prop_map(|flag| Node::Constant(u64::from(flag))),
    ];
    prop_oneof![4 => numbers, 1 => codes, 1 => channels, 2 => same, 2 => flags]
}

fn condition() -> impl Strategy<Value = Node> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let terms = vec(inner.clone(), 2..4);
        let parts = [inner.clone(), inner.clone(), inner.clone()];
        prop_oneof![
            2 => terms.clone().prop_map(Node::All),
            2 => terms.prop_map(Node::Any),
            1 => inner.prop_map(|of| Node::Not(of.into())),
            1 => parts.prop_map(|parts| Node::Choose(Box::new(parts))),
        ]
    })
}

/// Values as transactions can have them.
fn values() -> impl Strategy<Value = Values> {
    let maybe = |cells: Vec<Cell>| prop_oneof![3 => select(cells), 1 => Just(Cell::MISSING)];
    let numbers = |fits: fn(f64) -> bool| {
        let fitting = NUMBERS.into_iter().filter(|number| fits(*number));
        maybe(fitting.map(Cell::number).collect())
    };
    let channels = CHANNELS.map(|name| Cell::text(TextKey::of(name)));
    // No code is 0, no amount negative, and a window counts the transaction that it ends with.
    let whole = |number: f64| number >= 1.0 && number.fract() == 0.0;
    let cells = (
        numbers(|number| number >= 0.0),
        numbers(whole),
        numbers(|_| true),
        numbers(|number| (0.0..=1.0).contains(&number)),
        numbers(whole),
        maybe(channels.to_vec()),
        maybe(vec![Cell::flag(true), Cell::flag(false)]),
    );
    cells.prop_map(
        |(amount, code, passengers, score, count, channel, refundable)| {
            let mut values = Values {
                cells: vec![Cell::MISSING; 21],
                texts: Vec::new(),
            };
            for (slot, cell) in [
                (AMOUNT, amount),
                (CODE, code),
                (PASSENGERS, passengers),
                (SCORE, score),
                (COUNT, count),
                (CHANNEL, channel),
                (REFUNDABLE, refundable),
            ] {
                values.cells[slot as usize] = cell;
            }
            values
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_never_so_never_is(condition in condition(), values in vec(values(), 20)) {
        let schema = schema();
        let mut layout = Compiler::new(&schema, BTreeMap::new()).finish();
        let count = Aggregate {
            entity: EntityId(0),
            window: Span::from_days(1),
            delay: Span::ZERO,
            filter: None,
            function: Function::Count,
        };
        let written = Written {
            source: "card.last(\"1d\").count()".to_owned(),
            kind: Type::Number,
        };
        layout.aggregate(count, written, 1);
        let mut checker = Checker {
            schema: &schema,
            lists: &BTreeMap::new(),
            failed_features: &BTreeSet::new(),
            layout: &mut layout,
            source: "",
            scope: Scope::Rule,
            problems: Vec::new(),
            reads_score: false,
            operands: Operands::default(),
            dear: Vec::new(),
        };
        let truth = checker.truth(&condition);
        for values in values {
            let found = reference::evaluate(&condition, &values).as_flag();
            prop_assert!(!(truth.never_true() && found == Some(true)), "{:?}", values);
            prop_assert!(!(truth.never_false() && found == Some(false)), "{:?}", values);
            prop_assert!(truth.can_be_missing || found.is_some(), "{:?}", values);
        }
    }
}

#[test]
fn the_slots_are_those_of_the_schema() {
    let schema = schema();
    let slot = |name: &str| schema.field(name).map(|(id, _)| u32::from(id.0));
    assert_eq!(
        [slot("passengers"), slot("refundable"), Some(SCORE)],
        [
            Some(PASSENGERS),
            Some(REFUNDABLE),
            u32::try_from(schema.fields().len()).ok()
        ]
    );
    let card = schema.entity_at(EntityId(0));
    assert_eq!(card.column("amount").unwrap().0, ColumnId(3));
}
