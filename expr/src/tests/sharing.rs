//! EX-1 for a policy as a whole: linked conditions compute what each of them does by itself.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tollgate_types::Cell;

use super::equivalence::{SLOTS, only_jumps_forward, trees, values};
use super::{Values, lists, schema};
use crate::compile::compile;
use crate::program::Op;
use crate::share::{Shared, Tree, link};
use crate::tree::Node;
use crate::values::{Arithmetic, Comparison};
use crate::{Compiler, SlotId, Slots, reference};

/// Slots below belong to the values; features follow.
const INPUTS: u32 = 4 * SLOTS;

/// The slot that stands for the score.
const SCORE: SlotId = SlotId(0);

#[derive(Debug)]
struct Policy {
    features: Vec<(Node, SlotId)>,
    conditions: Vec<Tree>,
}

/// Conditions and features put together from a few parts, so that they have much in common.
fn policies() -> impl Strategy<Value = Policy> {
    let parts = trees(3);
    let numbers = vec(parts.numbers, 2..4);
    let flags = vec(parts.flags, 2..4);
    (numbers, flags)
        .prop_flat_map(|(numbers, flags)| {
            let number = any::<Index>().prop_map(move |at| at.get(&numbers).clone());
            let flag = any::<Index>().prop_map(move |at| at.get(&flags).clone());
            let feature = (0..2_u32).prop_map(|at| Node::Slot(SlotId(INPUTS + at)));
            let sides = (
                prop_oneof![3 => number.clone(), 1 => feature],
                number.clone(),
            );
            let compared = (select(&[Comparison::Less, Comparison::Equal][..]), sides).prop_map(
                |(comparison, (left, right))| Node::Numbers(comparison, Box::new([left, right])),
            );
            let term = prop_oneof![3 => flag, 2 => compared];
            let condition = (vec(term, 1..4), 0..4).prop_map(|(terms, form)| match form {
                0 => Node::All(terms),
                1 => Node::Any(terms),
                2 => Node::Not(Box::new(Node::All(terms))),
                _ => terms.into_iter().next().unwrap_or(Node::Constant(0)),
            });
            // The first feature reads inputs, the second may read the first.
            let second =
                (number.clone(), any::<bool>(), number.clone()).prop_map(|(left, reads, right)| {
                    let left = if reads {
                        Node::Slot(SlotId(INPUTS))
                    } else {
                        left
                    };
                    Node::Arithmetic(Arithmetic::Add, Box::new([left, right]))
                });
            (number, second, vec((condition, any::<bool>()), 1..6))
        })
        .prop_map(|(first, second, conditions)| Policy {
            features: vec![(first, SlotId(INPUTS)), (second, SlotId(INPUTS + 1))],
            conditions: conditions
                .into_iter()
                .map(|(node, with_score)| tree(node, with_score))
                .collect(),
        })
}

fn tree(node: Node, with_score: bool) -> Tree {
    let node = if with_score {
        Node::All(vec![node, Node::Has(SCORE)])
    } else {
        node
    };
    Tree {
        program: compile(&node).unwrap(),
        reads_score: with_score,
        node,
    }
}

fn evaluate(shared: &Shared, values: &mut Values) {
    for (program, slot) in &shared.0 {
        assert!(only_jumps_forward(program));
        let cell = program.eval(values);
        assert!(slot.0 >= INPUTS, "an input is overwritten");
        values.cells[slot.0 as usize] = cell;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn linked_conditions_agree_with_the_reference_interpreter(policy in policies(), mut values in values()) {
        let linked = link(&policy.features, &policy.conditions, INPUTS as usize + 2).unwrap();
        let mut plain = Values {
            cells: values.cells.clone(),
            texts: values.texts.clone(),
        };
        for (node, _) in &policy.features {
            let cell = reference::evaluate(node, &plain);
            plain.cells.push(cell);
        }
        values.cells.resize(linked.slots, Cell::MISSING);
        evaluate(&linked.features, &mut values);
        for (_, slot) in &policy.features {
            prop_assert_eq!(values.cell(*slot), plain.cell(*slot));
        }
        for (with_score, shared) in [
            (false, &linked.conditions.before_score),
            (true, &linked.conditions.with_score),
        ] {
            evaluate(shared, &mut values);
            let programs = policy.conditions.iter().zip(&linked.conditions.programs);
            for (tree, program) in programs.filter(|(tree, _)| tree.reads_score == with_score) {
                prop_assert!(only_jumps_forward(program));
                let expected = reference::evaluate(&tree.node, &plain);
                prop_assert_eq!(program.eval(&values), expected, "{:?}", tree.node);
                prop_assert_eq!(tree.program.eval(&plain), expected);
            }
        }
    }
}

#[test]
fn what_conditions_have_in_common_is_computed_once() {
    let schema = schema();
    let mut compiler = Compiler::new(&schema, lists());
    for (name, source) in [
        (
            "per_head",
            "transaction.amount / (transaction.passengers + 1)",
        ),
        (
            "twice_per_head",
            "2 * (transaction.amount / (transaction.passengers + 1))",
        ),
        ("heads", "transaction.passengers + 1"),
    ] {
        compiler.feature(name, source).unwrap();
    }
    let pattern = "transaction.merchant_id.matches(\"^gift\")";
    let hours = "transaction.event_time.getHours(\"Europe/Paris\")";
    let zone = "transaction.event_time.getHours(\"Asia/Tokyo\")";
    let conditions = [
        format!("{pattern} && transaction.amount > 5"),
        format!("{hours} < 6 || {pattern}"),
        format!("{hours} >= 22"),
        format!("{hours} >= 22"),
        "transaction.amount / (transaction.passengers + 1) > 100".to_owned(),
        format!("model.score > 0.5 && {zone} > 3"),
        format!("model.score > 0.9 || {zone} > 9"),
        // Not worth a slot for so few.
        "size(transaction.merchant_id) > 3".to_owned(),
        "size(transaction.merchant_id) > 9".to_owned(),
        "transaction.amount > 5".to_owned(),
    ];
    let ids = conditions.map(|source| compiler.condition(&source).unwrap().id.unwrap());
    let slots_before = compiler.clone().finish().slots;
    let (layout, linked) = compiler.link();
    // The pattern, the hours, and the comparison of the hours, of which the last two occur twice.
    assert_eq!(linked.before_score.len(), 3);
    // The hours in another zone, which only conditions over the score ask for.
    assert_eq!(linked.with_score.len(), 1);
    assert_eq!(layout.slots, slots_before + 4);
    let reads = |at: usize| linked.program(ids[at]).unwrap().reads().collect::<Vec<_>>();
    assert_eq!(reads(2), reads(3));
    // `heads` is declared after those that it is part of, so it has a slot before all of them.
    let features = layout.features.iter().map(|feature| feature.slot);
    let features: Vec<SlotId> = features.collect();
    let computed = layout
        .computed
        .0
        .iter()
        .map(|(program, slot)| (program.reads().collect(), *slot));
    let computed: Vec<(Vec<SlotId>, SlotId)> = computed.collect();
    let (heads, inputs) = (computed[0].1, [3, 14].map(SlotId));
    assert_eq!(
        computed,
        [
            (vec![inputs[1]], heads),
            (vec![inputs[0], heads], features[0]),
            (vec![features[0]], features[1]),
            (vec![heads], features[2]),
        ]
    );
    for id in ids {
        let ops = &linked.program(id).unwrap().ops;
        let is_dear = |op: &Op| matches!(op, Op::Matches { .. } | Op::Calendar { .. });
        assert!(!ops.iter().any(is_dear), "{ops:?}");
    }
}
