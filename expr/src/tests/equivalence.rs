//! EX-1: a program computes what the reference interpreter computes, for any tree and any values.

use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tollgate_types::{Cell, EventTime, Span, TextKey};

use super::Values;
use crate::compile::compile;
use crate::network::Network;
use crate::pattern::Pattern;
use crate::program::Op;
use crate::reference;
use crate::tree::{Node, Zone};
use crate::values::{Arithmetic, Comparison, Part, Shift, TextTest, Unary, Unit};
use crate::{Program, SlotId};

/// Slots of each type: numbers, then flags, texts and moments.
pub(super) const SLOTS: u32 = 4;

pub(super) const COMPARISONS: [Comparison; 6] = [
    Comparison::Equal,
    Comparison::NotEqual,
    Comparison::Less,
    Comparison::LessOrEqual,
    Comparison::Greater,
    Comparison::GreaterOrEqual,
];

const ARITHMETIC: [Arithmetic; 7] = [
    Arithmetic::Add,
    Arithmetic::Subtract,
    Arithmetic::Multiply,
    Arithmetic::Divide,
    Arithmetic::Remainder,
    Arithmetic::Min,
    Arithmetic::Max,
];

pub(super) const NUMBERS: [f64; 9] = [0.0, 1.0, -1.0, 2.5, 48.8, 500.0, 1e300, -1e300, 1e-300];
pub(super) const TEXTS: [&str; 8] = [
    "",
    "US",
    "FR",
    "ecommerce",
    "10.1.2.3",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "10.1.2",
];
const PATTERNS: [&str; 4] = ["^U", "(?i)[cm]{2}e$", r"^\d+\.", "a|b|"];
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"];
const MOMENTS: [i64; 6] = [0, 1, -1, 1_772_407_815_000_000, i64::MAX, i64::MIN];

fn slot(kind: u32) -> impl Strategy<Value = SlotId> {
    (0..SLOTS).prop_map(move |at| SlotId(kind * SLOTS + at))
}

fn constant(bits: Vec<Cell>) -> impl Strategy<Value = Node> {
    select(bits).prop_map(|cell| Node::Constant(cell.bits().unwrap()))
}

fn pair(side: &BoxedStrategy<Node>) -> impl Strategy<Value = Box<[Node; 2]>> + use<> {
    (side.clone(), side.clone()).prop_map(|(left, right)| Box::new([left, right]))
}

fn choose(
    condition: &BoxedStrategy<Node>,
    value: &BoxedStrategy<Node>,
) -> impl Strategy<Value = Node> + use<> {
    (condition.clone(), value.clone(), value.clone())
        .prop_map(|(condition, yes, no)| Node::Choose(Box::new([condition, yes, no])))
}

/// Trees of every type up to a depth.
pub(crate) struct Trees {
    pub(super) numbers: BoxedStrategy<Node>,
    pub(crate) flags: BoxedStrategy<Node>,
    texts: BoxedStrategy<Node>,
    moments: BoxedStrategy<Node>,
}

fn leaves() -> Trees {
    let numbers = NUMBERS.map(Cell::number).to_vec();
    let texts = TEXTS.map(|text| Cell::text(TextKey::of(text))).to_vec();
    let moments = MOMENTS
        .map(|micros| Cell::span(Span::from_micros(micros)))
        .to_vec();
    let flags = vec![Cell::flag(true), Cell::flag(false)];
    let has = (0..4 * SLOTS).prop_map(|slot| Node::Has(SlotId(slot)));
    let tests = [TextTest::StartsWith, TextTest::EndsWith, TextTest::Contains];
    let text_test = (
        select(tests.to_vec()),
        slot(2),
        select(&["", "U", "ecom", "merce"][..]),
    )
        .prop_map(|(test, slot, part)| Node::TextTest(test, slot, part.to_owned()));
    let matches = (select(&PATTERNS[..]), slot(2))
        .prop_map(|(pattern, slot)| Node::Matches(Pattern::parse(pattern).unwrap().0, slot));
    let in_network = (select(&NETWORKS[..]), slot(2))
        .prop_map(|(network, slot)| Node::InNetwork(Network::parse(network).unwrap(), slot));
    Trees {
        numbers: prop_oneof![
            3 => slot(0).prop_map(Node::Slot),
            3 => constant(numbers),
            1 => slot(2).prop_map(Node::TextSize),
        ]
        .boxed(),
        flags: prop_oneof![
            slot(1).prop_map(Node::Slot),
            constant(flags),
            has,
            text_test,
            matches,
            in_network
        ]
        .boxed(),
        texts: prop_oneof![slot(2).prop_map(Node::Slot), constant(texts)].boxed(),
        moments: prop_oneof![slot(3).prop_map(Node::Slot), constant(moments)].boxed(),
    }
}

pub(crate) fn trees(depth: usize) -> Trees {
    if depth == 0 {
        return leaves();
    }
    let inner = trees(depth - 1);
    let parts = [Part::Year, Part::DayOfWeek, Part::Hours];
    let calendar = (select(parts.to_vec()), inner.moments.clone())
        .prop_map(|(part, of)| Node::Calendar(part, Zone(TimeZone::UTC), of.into()));
    let units = (
        select(&[Unit::Hours, Unit::Seconds][..]),
        inner.moments.clone(),
    )
        .prop_map(|(unit, of)| Node::Units(unit, of.into()));
    let unary = (
        select(&[Unary::Negate, Unary::Absolute, Unary::Round][..]),
        inner.numbers.clone(),
    )
        .prop_map(|(unary, of)| Node::Unary(unary, of.into()));
    let coordinate = || inner.numbers.clone();
    let distance = [coordinate(), coordinate(), coordinate(), coordinate()]
        .prop_map(|places| Node::Distance(Box::new(places)));
    let length = inner.moments.clone().prop_map(|of| Node::Length(of.into()));
    let arithmetic = (select(&ARITHMETIC[..]), pair(&inner.numbers))
        .prop_map(|(arithmetic, sides)| Node::Arithmetic(arithmetic, sides));
    let shift = (
        select(&[Shift::Plus, Shift::Minus, Shift::Min, Shift::Max][..]),
        pair(&inner.moments),
    )
        .prop_map(|(shift, sides)| Node::Shift(shift, sides));
    let leaves = leaves();
    Trees {
        numbers: prop_oneof![
            2 => leaves.numbers,
            3 => arithmetic,
            1 => unary,
            1 => units,
            1 => calendar,
            1 => distance,
            1 => choose(&inner.flags, &inner.numbers),
        ]
        .boxed(),
        flags: flags(&inner, leaves.flags),
        texts: prop_oneof![3 => leaves.texts, 1 => choose(&inner.flags, &inner.texts)].boxed(),
        moments: prop_oneof![
            2 => leaves.moments,
            2 => shift,
            1 => length,
            1 => choose(&inner.flags, &inner.moments),
        ]
        .boxed(),
    }
}

fn flags(inner: &Trees, leaves: BoxedStrategy<Node>) -> BoxedStrategy<Node> {
    let numbers = (select(&COMPARISONS[..]), pair(&inner.numbers))
        .prop_map(|(comparison, sides)| Node::Numbers(comparison, sides));
    let moments = (select(&COMPARISONS[..]), pair(&inner.moments))
        .prop_map(|(comparison, sides)| Node::Moments(comparison, sides));
    let same = (
        any::<bool>(),
        prop_oneof![pair(&inner.texts), pair(&inner.flags)],
    )
        .prop_map(|(equal, sides)| Node::Same { equal, sides });
    let listed = select(&TEXTS[..]).prop_map(|text| TextKey::of(text).bits());
    let one_of = (inner.texts.clone(), vec(listed, 1..4))
        .prop_map(|(of, bits)| Node::OneOf(of.into(), bits));
    let terms = vec(inner.flags.clone(), 2..5);
    prop_oneof![
        1 => leaves,
        2 => numbers,
        1 => moments,
        1 => same,
        1 => one_of,
        1 => inner.flags.clone().prop_map(|of| Node::Not(of.into())),
        3 => terms.clone().prop_map(Node::All),
        3 => terms.prop_map(Node::Any),
        1 => choose(&inner.flags, &inner.flags),
    ]
    .boxed()
}

/// Values for the slots of each type, each missing one time in three.
pub(crate) fn values() -> impl Strategy<Value = Values> {
    let number = select(&NUMBERS[..]).prop_map(Cell::number);
    let moment = select(&MOMENTS[..]).prop_map(|micros| Cell::time(EventTime::from_micros(micros)));
    let count = SLOTS as usize;
    let maybe =
        |cell: BoxedStrategy<Cell>| vec(prop_oneof![1 => Just(Cell::MISSING), 2 => cell], count);
    let texts = vec(proptest::option::weighted(0.7, select(&TEXTS[..])), count);
    (
        maybe(number.boxed()),
        maybe(any::<bool>().prop_map(Cell::flag).boxed()),
        texts,
        maybe(moment.boxed()),
    )
        .prop_map(move |(numbers, flags, texts, moments)| {
            let keys = texts
                .iter()
                .map(|text| text.map(TextKey::of).map_or(Cell::MISSING, Cell::text));
            let cells = [numbers, flags, keys.collect(), moments].concat();
            let mut whole = vec![None; 2 * count];
            whole.extend(texts.into_iter().map(|text| text.map(str::to_owned)));
            Values {
                cells,
                texts: whole,
            }
        })
}

fn any_tree() -> impl Strategy<Value = Node> {
    let trees = trees(4);
    prop_oneof![3 => trees.flags, 1 => trees.numbers, 1 => trees.texts, 1 => trees.moments]
}

/// Every jump goes forward and at most to the end, so evaluation takes no more steps than there are operations.
pub(super) fn only_jumps_forward(program: &Program) -> bool {
    program.ops.iter().enumerate().all(|(at, op)| {
        let ends = match *op {
            Op::Term(gate) | Op::NumberTerm { gate, .. } | Op::BitsTerm { gate, .. } => {
                [gate.end, gate.end]
            }
            Op::Branch { otherwise, end } => [otherwise, end],
            Op::Jump(end) => [end, end],
            _ => return true,
        };
        ends.iter()
            .all(|end| at < usize::from(*end) && usize::from(*end) <= program.ops.len())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn programs_agree_with_the_reference_interpreter(tree in any_tree(), values in values()) {
        let program = compile(&tree).unwrap();
        prop_assert!(only_jumps_forward(&program), "{:?}", program);
        prop_assert_eq!(program.eval(&values), reference::evaluate(&tree, &values), "{:?}", program);
    }

    /// EX-2: a program that reads a slot of another type, or one that is not there, computes something useless
    /// and goes on.
    #[test]
    fn programs_survive_any_bits(tree in any_tree(), bits in vec(any::<Option<u64>>(), 0..16)) {
        let cells = bits.into_iter().map(Cell::from_bits).collect();
        let program = compile(&tree).unwrap();
        program.eval(&Values { cells, texts: Vec::new() });
    }
}
