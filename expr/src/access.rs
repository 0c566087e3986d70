//! What must be so for a condition to be true, where that is a comparison of a slot with a constant.
//!
//! A condition is true only if each term that `&&` joins is. One or two of them, the access terms, are looked up instead of
//! evaluated ([`crate::Group`]); what is left of the condition is asked only where they hold. Leaving a true term out of
//! `&&` changes nothing, in three-valued logic neither.

use tollgate_types::Cell;

use crate::SlotId;
use crate::tree::Node;
use crate::values::Comparison;

/// A comparison of a slot's value with a constant. It does not hold for a missing one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Test {
    /// The number is above this, not equal to it.
    Above(f64),
    Below(f64),
    /// The bits are these.
    Equal(u64),
}

/// Tests of which one holds exactly if the access term is true, and how likely that is as far as can be told: each counts
/// by its kind.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct AccessTerm {
    pub(crate) tests: Vec<(SlotId, Test)>,
    likely: u32,
}

/// Of many texts or codes a slot has one.
const EQUAL: u32 = 2;
/// Thresholds are set where few values are.
const COMPARED: u32 = 3;
const IS_TRUE: u32 = 4;
const IS_FALSE: u32 = 8;

/// Most access terms that a condition gives up. What is left is asked of one in twenty or so: more access terms would take longer
/// to look up than they save.
pub(crate) const ACCESS_TERMS: usize = 2;

/// Takes a condition apart: its access terms, those first that are true least often, and what else must be true. Without
/// either where there is none.
pub(crate) fn split(condition: &Node) -> (Vec<AccessTerm>, Option<Node>) {
    let terms = match condition {
        Node::All(terms) => &terms[..],
        other => std::slice::from_ref(other),
    };
    let access = terms.iter().enumerate();
    let access = access.filter_map(|(at, term)| Some((at, AccessTerm::of(term)?)));
    let mut access: Vec<(usize, AccessTerm)> = access.collect();
    access.sort_by_key(|(_, term)| term.likely);
    access.truncate(ACCESS_TERMS);
    let rest = terms.iter().enumerate();
    let rest = rest.filter(|(at, _)| access.iter().all(|(taken, _)| taken != at));
    let mut rest: Vec<Node> = rest.map(|(_, term)| term.clone()).collect();
    let rest = match rest.len() {
        0 | 1 => rest.pop(),
        _ => Some(Node::All(rest)),
    };
    (access.into_iter().map(|(_, term)| term).collect(), rest)
}

impl AccessTerm {
    /// `None` if a flag is not a comparison of slots with constants, or several joined by `||`.
    fn of(flag: &Node) -> Option<Self> {
        match flag {
            Node::Slot(slot) => Some(Self::flag(*slot, true)),
            Node::Not(of) => match **of {
                Node::Slot(slot) => Some(Self::flag(slot, false)),
                _ => None,
            },
            Node::Numbers(comparison, sides) => match &**sides {
                [Node::Slot(slot), Node::Constant(bits)] => Self::number(*slot, *comparison, *bits),
                [Node::Constant(bits), Node::Slot(slot)] => {
                    Self::number(*slot, comparison.mirrored(), *bits)
                }
                _ => None,
            },
            Node::Same { equal: true, sides } => match &**sides {
                [Node::Slot(slot), Node::Constant(bits)]
                | [Node::Constant(bits), Node::Slot(slot)] => {
                    Some(Self::new(*slot, Test::Equal(*bits), EQUAL))
                }
                _ => None,
            },
            Node::OneOf(of, bits) => match **of {
                Node::Slot(slot) => {
                    let each = bits.iter().map(|bits| (slot, Test::Equal(*bits)));
                    let likely = EQUAL.saturating_mul(u32::try_from(bits.len()).ok()?);
                    Some(Self {
                        tests: each.collect(),
                        likely,
                    })
                }
                _ => None,
            },
            Node::Any(terms) => terms.iter().try_fold(Self::default(), |mut any, term| {
                let term = Self::of(term)?;
                any.tests.extend(term.tests);
                any.likely = any.likely.saturating_add(term.likely);
                Some(any)
            }),
            _ => None,
        }
    }

    fn new(slot: SlotId, test: Test, likely: u32) -> Self {
        Self {
            tests: vec![(slot, test)],
            likely,
        }
    }

    fn flag(slot: SlotId, wanted: bool) -> Self {
        let likely = if wanted { IS_TRUE } else { IS_FALSE };
        Self::new(slot, Test::Equal(u64::from(wanted)), likely)
    }

    /// "At least" is "above the number just below". Numbers in cells are finite, and equal ones have equal bits.
    fn number(slot: SlotId, comparison: Comparison, bits: u64) -> Option<Self> {
        let number = f64::from_bits(bits);
        let test = match comparison {
            Comparison::Less => Test::Below(number),
            Comparison::LessOrEqual => Test::Below(number.next_up()),
            Comparison::Greater => Test::Above(number),
            Comparison::GreaterOrEqual => Test::Above(number.next_down()),
            Comparison::Equal => {
                let test = Test::Equal(Cell::number(number).bits()?);
                return Some(Self::new(slot, test, EQUAL));
            }
            Comparison::NotEqual => return None,
        };
        Some(Self::new(slot, test, COMPARED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMOUNT: SlotId = SlotId(0);
    const ONE_WAY: SlotId = SlotId(1);
    const PRODUCT: SlotId = SlotId(2);

    fn above(number: f64) -> Node {
        let bits = Cell::number(number).bits().unwrap();
        let sides = [Node::Slot(AMOUNT), Node::Constant(bits)];
        Node::Numbers(Comparison::GreaterOrEqual, Box::new(sides))
    }

    fn product(bits: u64) -> Node {
        Node::Same {
            equal: true,
            sides: Box::new([Node::Slot(PRODUCT), Node::Constant(bits)]),
        }
    }

    fn tests(access: &[AccessTerm]) -> Vec<&[(SlotId, Test)]> {
        access.iter().map(|term| &term.tests[..]).collect()
    }

    #[test]
    fn the_terms_that_are_true_least_often_are_taken_out() {
        let (flag, has) = (Node::Slot(ONE_WAY), Node::Has(AMOUNT));
        let at_least_5 = [(AMOUNT, Test::Above(5.0_f64.next_down()))];
        let is_7 = [(PRODUCT, Test::Equal(7))];
        let whole = Node::All(vec![flag.clone(), has.clone(), above(5.0), product(7)]);
        let (access, rest) = split(&whole);
        assert_eq!(tests(&access), [&is_7[..], &at_least_5]);
        assert_eq!(rest, Some(Node::All(vec![flag.clone(), has.clone()])));
        let (access, rest) = split(&Node::All(vec![has.clone(), above(5.0)]));
        assert_eq!((tests(&access), rest), (vec![&at_least_5[..]], Some(has)));
        let (access, rest) = split(&Node::All(vec![flag, above(5.0)]));
        let is_true = [(ONE_WAY, Test::Equal(1))];
        assert_eq!(tests(&access), [&at_least_5[..], &is_true]);
        assert_eq!(rest, None);
    }

    #[test]
    fn terms_joined_by_or_leave_nothing_to_evaluate() {
        let listed = Node::OneOf(Node::Slot(PRODUCT).into(), vec![7, 9]);
        let not = Node::Not(Node::Slot(ONE_WAY).into());
        let (access, rest) = split(&Node::Any(vec![listed, not]));
        let expected = [
            (PRODUCT, Test::Equal(7)),
            (PRODUCT, Test::Equal(9)),
            (ONE_WAY, Test::Equal(0)),
        ];
        assert_eq!((tests(&access), rest), (vec![&expected[..]], None));
    }

    #[test]
    fn what_compares_no_slot_with_a_constant_is_no_guard() {
        let slots = Box::new([Node::Slot(AMOUNT), Node::Slot(SlotId(3))]);
        let compared = Node::Numbers(Comparison::Less, slots);
        for whole in [
            compared.clone(),
            Node::Has(AMOUNT),
            Node::Any(vec![compared.clone(), product(7)]),
            Node::All(vec![compared, Node::Has(AMOUNT)]),
        ] {
            assert_eq!(split(&whole), (Vec::new(), Some(whole)));
        }
    }
}
