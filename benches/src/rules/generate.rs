//! Rules as analysts write them, drawn from a seed: the same ones in every run.
//!
//! One to five terms in turn, joined by `&&`, every now and then two of them by `||`. A term compares a number with a
//! constant that few values reach, asks for a text or one of several, for a flag, or calculates. What our compiler
//! refuses or warns of (terms that contradict or repeat one another) is drawn again, as an analyst would write it again.

use std::collections::{BTreeMap, HashSet};

use anyhow::ensure;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tollgate_expr::Compiler;
use tollgate_types::Schema;

use super::slots::{Kind, SLOTS, Slot, Value, at_share, one_of};
use super::terms::{Condition, Dialect, Term};

/// Any will do; the figures of this one are in the documents.
pub(crate) const SEED: u64 = 20_261_125;

const TERMS_MAX: usize = 5;

/// Draws for a rule before something must be wrong with the generator.
const DRAWS_MAX: usize = 1_000;

/// `count` different conditions that compile without a warning.
pub(crate) fn conditions(count: usize, schema: &Schema) -> anyhow::Result<Vec<Condition>> {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(SEED));
    let mut compiler = Compiler::new(schema, BTreeMap::new());
    let mut known = HashSet::with_capacity(count);
    let mut conditions = Vec::with_capacity(count);
    for at in 0..count {
        let terms = 1 + at % TERMS_MAX;
        let mut draws = (0..DRAWS_MAX).map(|_| dice.condition(terms));
        let found = draws.find(|condition| {
            let source = condition.written(Dialect::TOLLGATE);
            !known.contains(&source)
                && compiler
                    .condition(&source)
                    .is_ok_and(|compiled| compiled.warnings.is_empty())
                && known.insert(source)
        });
        ensure!(found.is_some(), "no condition of {terms} terms is left");
        conditions.extend(found);
    }
    Ok(conditions)
}

/// Every slot's value for `count` transactions; none is missing, because the languages differ in what that means.
pub(crate) fn values(count: usize) -> Vec<Vec<Value>> {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED + 1);
    let mut row = || SLOTS.iter().map(|slot| slot.draw(&mut rng)).collect();
    (0..count).map(|_| row()).collect()
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn condition(&mut self, terms: usize) -> Condition {
        let mut groups: Vec<Vec<Term>> = Vec::with_capacity(terms);
        let is_alone = terms == 1;
        for _ in 0..terms {
            let term = self.term(is_alone);
            match groups.last_mut() {
                Some(last) if last.len() == 1 && self.one_in(7) => last.push(term),
                _ => groups.push(vec![term]),
            }
        }
        Condition(groups)
    }

    /// A term that is a whole rule holds for fewer transactions than one among several.
    fn term(&mut self, is_alone: bool) -> Term {
        let mut slot = self.0.random_range(0..SLOTS.len());
        // Nobody writes a rule for all one-way flights.
        while is_alone && matches!(SLOTS[slot].kind, Kind::Flag | Kind::Text(_)) {
            slot = self.0.random_range(0..SLOTS.len());
        }
        match SLOTS[slot].kind {
            Kind::Number { .. } if self.one_in(6) => self.calculated(slot),
            Kind::Number { step, max } => self.compared(slot, step, max, is_alone),
            Kind::Code(_) | Kind::Text(_) => self.chosen(slot),
            Kind::Flag => Term::Flag {
                slot,
                wanted: !self.one_in(4),
            },
        }
    }

    fn compared(&mut self, slot: usize, step: f64, max: f64, is_alone: bool) -> Term {
        let is_above = self.0.random_range(0..10) < 7;
        let rare = if is_alone { 0.01..0.06 } else { 0.03..0.4 };
        let share = self.0.random_range(rare);
        let (comparisons, share) = if is_above {
            ([">", ">="], 1.0 - share)
        } else {
            (["<", "<="], share)
        };
        Term::Compare {
            slot,
            comparison: one_of(&comparisons, &mut self.0),
            constant: Value::Number(at_share(step, max, share)),
        }
    }

    /// A text or a code: one, several, any but one, or the same as another slot's.
    fn chosen(&mut self, slot: usize) -> Term {
        let other = self.0.random_range(0..SLOTS.len());
        if other != slot && may_be_same(&SLOTS[slot], &SLOTS[other]) {
            return Term::Same {
                slots: [slot, other],
                equal: self.one_in(3),
            };
        }
        if self.one_in(3) {
            let count = self.0.random_range(2..=4);
            let mut constants: Vec<Value> = Vec::with_capacity(count);
            while constants.len() < count.min(3) {
                let constant = SLOTS[slot].draw(&mut self.0);
                if !constants.contains(&constant) {
                    constants.push(constant);
                }
            }
            return Term::OneOf { slot, constants };
        }
        Term::Compare {
            slot,
            comparison: if self.one_in(8) { "!=" } else { "==" },
            constant: SLOTS[slot].draw(&mut self.0),
        }
    }

    fn calculated(&mut self, slot: usize) -> Term {
        let numbers: Vec<usize> = (0..SLOTS.len())
            .filter(|at| *at != slot && matches!(SLOTS[*at].kind, Kind::Number { .. }))
            .collect();
        let slots = [slot, one_of(&numbers, &mut self.0)];
        let [left, right] = slots.map(|slot| match SLOTS[slot].kind {
            Kind::Number { step, max } => (step, max),
            _ => (1.0, 1.0),
        });
        if self.one_in(2) {
            let factor = one_of(&[0.5, 1.5, 2.0, 3.0, 5.0, 10.0], &mut self.0);
            return Term::Multiple {
                slots,
                comparison: one_of(&[">", "<"], &mut self.0),
                factor,
            };
        }
        let share = self.0.random_range(0.7..0.95);
        Term::Calculated {
            slots,
            operator: one_of(&['+', '-'], &mut self.0),
            comparison: one_of(&[">", ">="], &mut self.0),
            constant: at_share(left.0.max(right.0), left.1.max(right.1), share),
        }
    }

    fn one_in(&mut self, of: u32) -> bool {
        self.0.random_range(0..of) == 0
    }
}

/// Two countries.
fn may_be_same(one: &Slot, other: &Slot) -> bool {
    one.flat.ends_with("_country") && other.flat.ends_with("_country")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::ours::schema;

    #[test]
    fn conditions_are_the_same_every_time_and_have_one_to_five_terms() {
        let schema = schema().unwrap();
        let some = conditions(50, &schema).unwrap();
        assert_eq!(some, conditions(60, &schema).unwrap()[..50]);
        for (at, condition) in some.iter().enumerate() {
            let terms: usize = condition.0.iter().map(Vec::len).sum();
            assert_eq!(terms, 1 + at % 5);
        }
    }

    #[test]
    fn every_value_is_one_that_its_slot_may_have() {
        for (value, slot) in values(20).concat().iter().zip(SLOTS.iter().cycle()) {
            let fits = match (value, slot.kind) {
                (Value::Number(number), Kind::Number { max, .. }) => (0.0..=max).contains(number),
                (Value::Number(_), Kind::Code(codes)) => codes
                    .iter()
                    .any(|code| *value == Value::Number((*code).into())),
                (Value::Text(text), Kind::Text(texts)) => texts.contains(text),
                (Value::Flag(_), Kind::Flag) => true,
                _ => false,
            };
            assert!(fits, "{} {value:?}", slot.flat);
        }
    }
}
