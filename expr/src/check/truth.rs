//! When a condition is true and when it is false, as far as that can be said without a transaction.
//!
//! A condition is true in any of several ways, each of which says what some operands must be: `a > 5 || has(b)` in
//! two. Without a way it is never true. The same for false; missing is neither (three-valued logic), so a condition
//! that is never false need not always be true. Where there would be too many ways nothing is said.

use super::ranges::Ranges;

/// Most ways that are followed. Few conditions that people write have more than ten.
const WAYS_MAX: usize = 64;

/// An operand whose values conditions are about, by its place among those of the expression.
pub(super) type Operand = usize;

/// What an operand must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) values: Ranges,
    pub(super) missing: bool,
}

/// Operands in ascending order, and what each must be.
type Way = Vec<(Operand, State)>;

/// `None` if nothing is known.
type Ways = Option<Vec<Way>>;

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Truth {
    yes: Ways,
    no: Ways,
    pub(super) can_be_missing: bool,
    /// Of a single comparison with constants: the operand and for which of its values it holds.
    pub(super) test: Option<(Operand, Ranges)>,
}

impl Truth {
    pub(super) const UNKNOWN: Self = Self {
        yes: None,
        no: None,
        can_be_missing: true,
        test: None,
    };

    pub(super) fn constant(flag: bool) -> Self {
        let (always, never) = (Some(vec![Vec::new()]), Some(Vec::new()));
        let (yes, no) = if flag {
            (always, never)
        } else {
            (never, always)
        };
        Self {
            yes,
            no,
            can_be_missing: false,
            test: None,
        }
    }

    /// True for some of the values an operand can have, false for the others, missing if it is.
    pub(super) fn test(
        operand: Operand,
        holds: &Ranges,
        all: &Ranges,
        can_be_missing: bool,
    ) -> Self {
        let holds = holds.and(all);
        let others = holds.not().and(all);
        Self {
            yes: one_way(operand, holds.clone(), false),
            no: one_way(operand, others, false),
            can_be_missing,
            test: Some((operand, holds)),
        }
    }

    /// Whether an operand is there.
    pub(super) fn presence(operand: Operand, can_be_missing: bool) -> Self {
        Self {
            yes: one_way(operand, Ranges::all(), false),
            no: one_way(operand, Ranges::NONE, can_be_missing),
            can_be_missing: false,
            test: None,
        }
    }

    pub(super) fn never_true(&self) -> bool {
        self.yes.as_ref().is_some_and(Vec::is_empty)
    }

    pub(super) fn never_false(&self) -> bool {
        self.no.as_ref().is_some_and(Vec::is_empty)
    }

    fn is_certainly_false(&self) -> bool {
        self.never_true() && !self.can_be_missing
    }

    pub(super) fn not(self) -> Self {
        Self {
            yes: self.no,
            no: self.yes,
            can_be_missing: self.can_be_missing,
            test: None,
        }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            yes: both(&self.yes, &other.yes),
            no: either(&self.no, &other.no),
            can_be_missing: (self.can_be_missing || other.can_be_missing)
                && !self.is_certainly_false()
                && !other.is_certainly_false(),
            test: None,
        }
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        self.clone().not().and(&other.clone().not()).not()
    }

    /// `condition ? yes : no`.
    pub(super) fn choose(condition: &Self, yes: &Self, no: &Self) -> Self {
        let chosen = |of: fn(&Self) -> &Ways| {
            let first = both(&condition.yes, of(yes));
            either(&first, &both(&condition.no, of(no)))
        };
        Self {
            yes: chosen(|truth| &truth.yes),
            no: chosen(|truth| &truth.no),
            can_be_missing: condition.can_be_missing || yes.can_be_missing || no.can_be_missing,
            test: None,
        }
    }
}

/// No way at all if the operand can be nothing.
fn one_way(operand: Operand, values: Ranges, missing: bool) -> Ways {
    if values.is_empty() && !missing {
        return Some(Vec::new());
    }
    Some(vec![vec![(operand, State { values, missing })]])
}

fn either(left: &Ways, right: &Ways) -> Ways {
    let (left, right) = (left.as_ref()?, right.as_ref()?);
    if left.len() + right.len() > WAYS_MAX {
        return None;
    }
    Some(left.iter().chain(right).cloned().collect())
}

fn both(left: &Ways, right: &Ways) -> Ways {
    let impossible = |ways: &Ways| ways.as_ref().is_some_and(Vec::is_empty);
    if impossible(left) || impossible(right) {
        return Some(Vec::new());
    }
    let (left, right) = (left.as_ref()?, right.as_ref()?);
    if left.len() * right.len() > WAYS_MAX {
        return None;
    }
    let pairs = left
        .iter()
        .flat_map(|way| right.iter().map(move |other| (way, other)));
    Some(
        pairs
            .filter_map(|(way, other)| together(way, other))
            .collect(),
    )
}

/// What operands must be for both ways at once; `None` if some operand cannot be that.
fn together(left: &Way, right: &Way) -> Option<Way> {
    let mut all = left.clone();
    for (operand, state) in right {
        match all.binary_search_by_key(operand, |(known, _)| *known) {
            Ok(at) => {
                let known = &mut all[at].1;
                known.values = known.values.and(&state.values);
                known.missing &= state.missing;
                if known.values.is_empty() && !known.missing {
                    return None;
                }
            }
            Err(at) => all.insert(at, (*operand, state.clone())),
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `operand > above`, of values from 0 to 100.
    fn above(operand: Operand, value: i64) -> Truth {
        let holds = Ranges::between(value + 1, i64::MAX);
        Truth::test(operand, &holds, &Ranges::between(0, 100), true)
    }

    #[test]
    fn contradictions_and_what_cannot_fail_are_seen() {
        let (low, high) = (above(0, 10).not(), above(0, 50));
        let other = above(1, 10);
        assert!(low.and(&high).never_true());
        assert!(!low.and(&other).never_true());
        assert!(!low.or(&high).never_false());
        assert!(above(0, 10).or(&above(0, 50).not()).never_false());
        assert!(above(0, 100).never_true() && above(0, -1).never_false());
        assert!(low.and(&other).and(&high).never_true());
        assert!(
            low.or(&other)
                .and(&high)
                .and(&other.clone().not())
                .never_true()
        );
    }

    #[test]
    fn missing_is_neither_true_nor_false() {
        let test = above(0, 10);
        let there = Truth::presence(0, true);
        let either = test.or(&test.clone().not());
        assert!(either.never_false() && either.can_be_missing);
        assert!(test.and(&there.clone().not()).never_true());
        assert!(!there.or(&there.clone().not()).can_be_missing);
        assert!(there.or(&there.clone().not()).never_false());
        assert!(Truth::presence(1, false).never_false());
    }

    #[test]
    fn too_many_ways_say_nothing_and_what_is_impossible_stays_so() {
        let chain = |from: Operand| {
            (from..from + 7).fold(Truth::constant(true), |all, operand| {
                all.and(&above(operand, 10).or(&above(operand + 10, 10)))
            })
        };
        assert_eq!((chain(0).yes, chain(0).never_false()), (None, false));
        assert!(chain(0).and(&Truth::constant(false)).never_true());
        assert!(!Truth::UNKNOWN.never_true() && !Truth::UNKNOWN.never_false());
    }

    #[test]
    fn a_choice_is_true_as_its_branches_are() {
        let condition = above(0, 10);
        let (yes, no) = (above(1, 10), above(2, 10));
        let chosen = Truth::choose(&condition, &yes, &no);
        assert!(chosen.and(&condition).and(&yes.not()).never_true());
        assert!(!chosen.and(&condition).and(&no.not()).never_true());
        let constant = Truth::choose(&condition, &Truth::constant(true), &Truth::constant(true));
        assert!(constant.never_false() && constant.can_be_missing);
    }
}
