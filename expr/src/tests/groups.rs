//! EX-1 for conditions that are evaluated together: those that are true are those that the reference interpreter says.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tollgate_types::{Cell, TextKey};

use super::Values;
use super::equivalence::{COMPARISONS, NUMBERS, SLOTS, TEXTS, only_jumps_forward, trees, values};
use crate::group::GroupBuilder;
use crate::tree::Node;
use crate::values::Comparison;
use crate::{Group, SlotId, reference};

/// Terms as rules have them: a slot compared with a constant, or a flag.
fn test() -> impl Strategy<Value = Node> {
    let number = (
        0..SLOTS,
        select(&COMPARISONS[..]),
        select(&NUMBERS[..]),
        any::<bool>(),
    );
    let number = number.prop_map(|(slot, comparison, number, mirrored)| {
        let mut sides = [
            Node::Slot(SlotId(slot)),
            Node::Constant(Cell::number(number).bits().unwrap()),
        ];
        if mirrored {
            sides.reverse();
        }
        Node::Numbers(comparison, Box::new(sides))
    });
    let flag = (SLOTS..2 * SLOTS).prop_map(|slot| Node::Slot(SlotId(slot)));
    let not = flag.clone().prop_map(|flag| Node::Not(flag.into()));
    let text = || (2 * SLOTS..3 * SLOTS).prop_map(|slot| Node::Slot(SlotId(slot)));
    let listed = || select(&TEXTS[..]).prop_map(|text| TextKey::of(text).bits());
    let same = (any::<bool>(), text(), listed()).prop_map(|(equal, slot, bits)| Node::Same {
        equal,
        sides: Box::new([slot, Node::Constant(bits)]),
    });
    let one_of =
        (text(), vec(listed(), 1..4)).prop_map(|(slot, bits)| Node::OneOf(slot.into(), bits));
    prop_oneof![4 => number, 1 => flag, 1 => not, 3 => same, 2 => one_of]
}

fn condition() -> impl Strategy<Value = Node> {
    let any_of = vec(test(), 2..4).prop_map(Node::Any);
    let term = prop_oneof![5 => test(), 2 => any_of, 1 => trees(2).flags];
    let all_of = vec(term.clone(), 2..5).prop_map(Node::All);
    prop_oneof![1 => term, 3 => all_of]
}

fn group(conditions: &[Node]) -> Group {
    let mut builder = GroupBuilder::default();
    for condition in conditions {
        builder.push(condition);
    }
    builder.finish()
}

fn matching(group: &Group, values: &Values) -> Vec<usize> {
    let mut found = Vec::new();
    group.matching(values, |at| found.push(at));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_group_agrees_with_the_reference_interpreter(
        conditions in vec(condition(), 0..40),
        rows in vec(values(), 1..4),
    ) {
        let group = group(&conditions);
        prop_assert_eq!(group.len(), conditions.len());
        for program in group.programs() {
            prop_assert!(only_jumps_forward(&program));
        }
        for values in rows {
            let is_true = |node: &Node| reference::evaluate(node, &values).as_flag() == Some(true);
            let expected: Vec<usize> =
                (0..conditions.len()).filter(|at| is_true(&conditions[*at])).collect();
            prop_assert_eq!(matching(&group, &values), expected, "{:?}", values);
        }
    }

    /// EX-2: slots of another type, or that are not there, make some conditions true and others not.
    #[test]
    fn a_group_survives_any_bits(
        conditions in vec(condition(), 0..20),
        bits in vec(any::<Option<u64>>(), 0..16),
    ) {
        let cells = bits.into_iter().map(Cell::from_bits).collect();
        matching(&group(&conditions), &Values { cells, texts: Vec::new() });
    }
}

/// Thresholds on either side of, and exactly at, every value, beyond one section of conditions.
#[test]
fn conditions_keep_their_numbers_however_many_there_are() {
    let comparisons = [
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Equal,
        Comparison::NotEqual,
    ];
    let conditions: Vec<Node> = (0..10_000_u32)
        .map(|at| {
            let bits = Cell::number(f64::from(at / 6)).bits().unwrap();
            let sides = [Node::Slot(SlotId(0)), Node::Constant(bits)];
            Node::Numbers(comparisons[at as usize % 6], Box::new(sides))
        })
        .collect();
    let group = group(&conditions);
    for value in [-0.5, 0.0, 1.0, 682.0, 683.0, 1_000.25, 1_666.0, 2_000.0] {
        let values = Values {
            cells: vec![Cell::number(value)],
            texts: Vec::new(),
        };
        let threshold = |at: usize| f64::from(u32::try_from(at / 6).unwrap());
        let holds = |at: &usize| comparisons[at % 6].holds(value, threshold(*at));
        let expected: Vec<usize> = (0..conditions.len()).filter(holds).collect();
        assert_eq!(matching(&group, &values), expected, "{value}");
    }
    assert!(matching(&group, &Values::default()).is_empty());
}
