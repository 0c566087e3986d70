//! Sets of values: what an operand can be, and for which of that a comparison holds.
//!
//! A value is a whole number here: of real numbers and moments their place in the order, of texts and flags their
//! bits. So "more than 5" has a smallest value too, and all sets are ranges with both ends included.

use tollgate_types::Cell;

use crate::values::Comparison;

/// How values of an operand become whole numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// Numbers without fractions: themselves.
    Whole,
    Real,
    /// Times and durations: microseconds.
    Moment,
    /// Texts and flags, which have no order: their bits.
    Bits,
}

/// Disjoint ranges in ascending order, none next to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    pub(crate) const NONE: Self = Self(Vec::new());

    pub(crate) fn all() -> Self {
        Self::between(i64::MIN, i64::MAX)
    }

    /// None if the ends are the wrong way round.
    pub(crate) fn between(first: i64, last: i64) -> Self {
        if first <= last {
            Self(vec![(first, last)])
        } else {
            Self::NONE
        }
    }

    pub(crate) fn these(values: impl IntoIterator<Item = i64>) -> Self {
        let mut values: Vec<i64> = values.into_iter().collect();
        values.sort_unstable();
        let mut these: Vec<(i64, i64)> = Vec::new();
        for value in values {
            match these.last_mut() {
                Some((_, last)) if value.checked_sub(1).is_none_or(|before| before <= *last) => {
                    *last = value;
                }
                _ => these.push((value, value)),
            }
        }
        Self(these)
    }

    /// Those that are equal to one of these constants.
    pub(crate) fn equal_to(scale: Scale, constants: &[u64]) -> Self {
        Self::these(constants.iter().map(|bits| around(scale, *bits).0))
    }

    /// These and all that are greater than the least of them.
    pub(crate) fn and_above(&self) -> Self {
        let least = self.0.first().map(|(first, _)| *first);
        least.map_or(Self::NONE, |least| Self::between(least, i64::MAX))
    }

    /// These and all that are less than the greatest of them.
    pub(crate) fn and_below(&self) -> Self {
        let greatest = self.0.last().map(|(_, last)| *last);
        greatest.map_or(Self::NONE, |greatest| Self::between(i64::MIN, greatest))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        self.not().and(&other.not()).not()
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(first, last)), Some(&&(other_first, other_last))) =
            (left.peek(), right.peek())
        {
            let (begin, end) = (first.max(other_first), last.min(other_last));
            if begin <= end {
                both.push((begin, end));
            }
            if last <= other_last {
                left.next();
            } else {
                right.next();
            }
        }
        Self(both)
    }

    pub(crate) fn not(&self) -> Self {
        let mut gaps = Vec::new();
        let mut next = Some(i64::MIN);
        for &(first, last) in &self.0 {
            if let Some(begin) = next.filter(|begin| *begin < first) {
                gaps.push((begin, first - 1));
            }
            next = last.checked_add(1);
        }
        gaps.extend(next.map(|begin| (begin, i64::MAX)));
        Self(gaps)
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.and(other) == *self
    }

    /// The values for which a comparison with a constant holds.
    pub(crate) fn compared(scale: Scale, comparison: Comparison, bits: u64) -> Self {
        let (floor, ceiling) = around(scale, bits);
        match comparison {
            Comparison::LessOrEqual => Self::between(i64::MIN, floor),
            Comparison::GreaterOrEqual => Self::between(ceiling, i64::MAX),
            Comparison::Less => Self::between(ceiling, i64::MAX).not(),
            Comparison::Greater => Self::between(i64::MIN, floor).not(),
            Comparison::Equal => Self::between(ceiling, floor),
            Comparison::NotEqual => Self::between(ceiling, floor).not(),
        }
    }
}

/// The nearest values at or below and at or above a constant: of whole numbers 2 and 3 for 2.5, twice 2 for 2.
fn around(scale: Scale, bits: u64) -> (i64, i64) {
    let number = f64::from_bits(bits);
    let at = match scale {
        Scale::Whole => return (whole(number.floor()), whole(number.ceil())),
        Scale::Real => place(number),
        Scale::Moment | Scale::Bits => bits.cast_signed(),
    };
    (at, at)
}

/// The place of a number among all: greater numbers have greater places.
pub(crate) fn place(number: f64) -> i64 {
    let bits = Cell::number(number)
        .bits()
        .unwrap_or_else(|| number.to_bits())
        .cast_signed();
    // Negative numbers are ordered backwards by their bits.
    if bits < 0 { i64::MIN - bits } else { bits }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "stops at the ends of the range, beyond which no count goes"
)]
fn whole(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Ranges> {
        let end = prop_oneof![Just(i64::MIN), Just(i64::MAX), -9_i64..9];
        let pairs = proptest::collection::vec((end.clone(), end), 0..4);
        pairs.prop_map(|pairs| {
            pairs.into_iter().fold(Ranges::NONE, |all, (first, last)| {
                all.or(&Ranges::between(first, last))
            })
        })
    }

    fn has(ranges: &Ranges, value: i64) -> bool {
        ranges
            .0
            .iter()
            .any(|&(first, last)| (first..=last).contains(&value))
    }

    proptest! {
        #[test]
        fn ranges_behave_as_sets(left in ranges(), right in ranges()) {
            for value in (-10..10).chain([i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]) {
                let (in_left, in_right) = (has(&left, value), has(&right, value));
                prop_assert_eq!(has(&left.and(&right), value), in_left && in_right);
                prop_assert_eq!(has(&left.or(&right), value), in_left || in_right);
                prop_assert_eq!(has(&left.not(), value), !in_left);
            }
            prop_assert_eq!(&left.not().not(), &left);
            prop_assert!(left.is_within(&left.and_above()) && left.is_within(&left.and_below()));
            prop_assert!(left.and(&right).is_within(&left));
        }

        #[test]
        fn single_values_are_a_set(values in proptest::collection::vec(-9_i64..9, 0..9)) {
            let one_by_one = values.iter().fold(Ranges::NONE, |all, value| {
                all.or(&Ranges::between(*value, *value))
            });
            prop_assert_eq!(Ranges::these(values.iter().copied()), one_by_one);
            let ends = Ranges::these([i64::MIN, i64::MAX, i64::MIN]);
            prop_assert!(has(&ends, i64::MIN) && has(&ends, i64::MAX) && !has(&ends, 0));
        }

        #[test]
        fn comparisons_hold_for_exactly_their_ranges(
            number in prop_oneof![-1e3..1e3_f64, Just(0.0), Just(-0.0), Just(f64::MIN), Just(f64::MAX)],
            constant in prop_oneof![-1e3..1e3_f64, Just(0.0), Just(2.0), Just(f64::MIN), Just(f64::MAX)],
        ) {
            for comparison in [
                Comparison::Less,
                Comparison::LessOrEqual,
                Comparison::Equal,
                Comparison::NotEqual,
                Comparison::Greater,
                Comparison::GreaterOrEqual,
            ] {
                let real = Ranges::compared(Scale::Real, comparison, constant.to_bits());
                prop_assert_eq!(has(&real, place(number)), comparison.holds(number, constant));
                let rounded = number.round();
                if rounded.abs() < 1e9 && constant.abs() < 1e9 {
                    let whole = Ranges::compared(Scale::Whole, comparison, constant.to_bits());
                    prop_assert_eq!(has(&whole, super::whole(rounded)), comparison.holds(rounded, constant));
                }
            }
        }
    }
}
