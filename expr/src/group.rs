//! Conditions that are evaluated together: only those that can be true are looked at.
//!
//! A thousand rules each have a term such as `transaction.product == "points"` or `card.last("1h").count() > 12`, and most
//! come to nothing because of it. One or two such terms of each condition, its access terms, are kept by slot: constants in
//! order, and at each the conditions that hang on it. For a transaction each slot is looked up, which gives the conditions
//! whose access terms hold; what is left of them is evaluated, one after the other, from one flat list of operations.
//!
//! Gives exactly the conditions that evaluating each would (EX-1), and takes no more steps: an access term that holds costs one.
//! Allocates nothing (EX-2).

use std::collections::BTreeMap;

use tollgate_types::Cell;

use crate::access::{ACCESS_TERMS, Test, split};
use crate::compile::compile_with;
use crate::program::{Op, Tables};
use crate::tree::Node;
use crate::{SlotId, Slots};

/// Conditions of a section: the bits that say which are to be looked at are on the stack, a kilobyte of them.
const SECTION: usize = 64 * WORDS;
const WORDS: usize = 64;

/// Compiled conditions, numbered from 0 in the order in which they were given.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Group {
    sections: Vec<Section>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Section {
    /// The first access term of each condition, and the second.
    levels: [Level; ACCESS_TERMS],
    /// What is left of each condition beside its access terms.
    rests: Vec<Rest>,
    ops: Vec<Op>,
    tables: Tables,
}

/// One access term of each condition.
#[derive(Clone, PartialEq, Debug, Default)]
struct Level {
    /// Conditions that have none, a bit each.
    open: Vec<u64>,
    slots: Vec<OfSlot>,
}

/// Where a condition's operations are in its section. Without any, it is true if its access terms are.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Rest {
    first: u32,
    end: u32,
    stack: u32,
}

/// All access terms of a level over one slot.
#[derive(Clone, PartialEq, Debug)]
struct OfSlot {
    slot: SlotId,
    /// Ascending: those before the first that is no less than the value hold.
    above: Thresholds,
    /// Descending: those before the first that is no more than the value hold.
    below: Thresholds,
    /// Ascending bits, and where those of each begin among `equal_to`, with one more for the end.
    equal: Box<[u64]>,
    equal_begin: Box<[u32]>,
    equal_to: Box<[u16]>,
}

/// Numbers and the condition that each is an access term of.
#[derive(Clone, PartialEq, Debug, Default)]
struct Thresholds {
    numbers: Box<[f64]>,
    conditions: Box<[u16]>,
}

impl Group {
    /// Gives each condition that is true, in ascending order.
    pub fn matching(&self, slots: &impl Slots, mut each: impl FnMut(usize)) {
        for (at, section) in self.sections.iter().enumerate() {
            let [first, second] = &section.levels;
            let (first, second) = (first.holding(slots), second.holding(slots));
            let words = section.rests.len().div_ceil(64);
            for (word, (first, second)) in first.iter().zip(&second).take(words).enumerate() {
                let mut possible = first & second;
                while possible != 0 {
                    let condition = word * 64 + possible.trailing_zeros() as usize;
                    possible &= possible - 1;
                    if section.is_true(condition, slots) {
                        each(at * SECTION + condition);
                    }
                }
            }
        }
    }

    /// How many conditions there are.
    pub fn len(&self) -> usize {
        self.sections
            .iter()
            .map(|section| section.rests.len())
            .sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
impl Group {
    /// What is left of each condition, as a program of its own.
    pub(crate) fn programs(&self) -> impl Iterator<Item = crate::Program> {
        self.sections.iter().flat_map(|section| {
            section.rests.iter().map(|rest| crate::Program {
                ops: section.ops[rest.first as usize..rest.end as usize].into(),
                tables: section.tables.clone(),
                stack: rest.stack as usize,
            })
        })
    }
}

/// A bit for each condition of a section.
type Bits = [u64; WORDS];

#[inline]
fn set_bits(bits: &mut Bits, conditions: Option<&[u16]>) {
    for condition in conditions.unwrap_or_default() {
        if let Some(word) = bits.get_mut(usize::from(condition >> 6)) {
            *word |= 1 << (condition & 63);
        }
    }
}

impl Level {
    /// Conditions whose access term holds, and those without.
    #[inline]
    fn holding(&self, slots: &impl Slots) -> Bits {
        let mut bits = [0; WORDS];
        for (word, open) in bits.iter_mut().zip(&self.open) {
            *word = *open;
        }
        for of_slot in &self.slots {
            of_slot.look_up(slots.cell(of_slot.slot), &mut bits);
        }
        bits
    }
}

impl Section {
    fn is_true(&self, condition: usize, slots: &impl Slots) -> bool {
        let Some(rest) = self.rests.get(condition) else {
            return false;
        };
        let ops = self.ops.get(rest.first as usize..rest.end as usize);
        match ops {
            Some([]) => true,
            Some(ops) => {
                let value = self.tables.eval(ops, rest.stack as usize, slots);
                value.as_flag() == Some(true)
            }
            None => false,
        }
    }
}

impl OfSlot {
    fn look_up(&self, cell: Cell, bits: &mut Bits) {
        let (Some(value), Some(number)) = (cell.bits(), cell.as_number()) else {
            return;
        };
        self.above.set(|threshold| threshold < number, bits);
        self.below.set(|threshold| threshold > number, bits);
        if let Ok(at) = self.equal.binary_search(&value)
            && let Some(&[begin, end]) = self.equal_begin.get(at..at + 2)
        {
            set_bits(bits, self.equal_to.get(begin as usize..end as usize));
        }
    }
}

impl Thresholds {
    /// Sets the conditions of those at the beginning that hold.
    #[inline]
    fn set(&self, holds: impl Fn(f64) -> bool, bits: &mut Bits) {
        let count = self.numbers.partition_point(|threshold| holds(*threshold));
        set_bits(bits, self.conditions.get(..count));
    }
}

/// Takes conditions one after the other.
#[derive(Default)]
pub(crate) struct GroupBuilder {
    done: Vec<Section>,
    section: Section,
    by_slot: [BTreeMap<SlotId, Vec<(Test, u16)>>; ACCESS_TERMS],
}

impl GroupBuilder {
    /// Adds a condition that has been compiled by itself.
    pub(crate) fn push(&mut self, node: &Node) {
        if self.section.rests.len() == SECTION {
            self.close();
        }
        let (terms, rest) = split(node);
        let compiled = rest.map_or(Ok(Default::default()), |rest| {
            compile_with(&mut self.section.tables, &rest)
        });
        let Ok((ops, stack)) = compiled else {
            // A part needs no more stack than the whole, and that was compiled. Without access terms it is never looked at.
            debug_assert!(false, "a part of {node:?} does not compile");
            return self.add(&[], 0);
        };
        let condition = self.section.rests.len();
        let mut terms = terms.into_iter();
        for (level, by_slot) in self.section.levels.iter_mut().zip(&mut self.by_slot) {
            let Some(term) = terms.next() else {
                level.open(condition);
                continue;
            };
            for (slot, test) in term.tests {
                let of_slot = by_slot.entry(slot).or_default();
                of_slot.push((test, u16::try_from(condition).unwrap_or(u16::MAX)));
            }
        }
        self.add(&ops, stack);
    }

    fn add(&mut self, ops: &[Op], stack: usize) {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let first = place(self.section.ops.len());
        self.section.ops.extend(ops);
        self.section.rests.push(Rest {
            first,
            end: place(self.section.ops.len()),
            stack: place(stack),
        });
    }

    fn close(&mut self) {
        for (level, by_slot) in self.section.levels.iter_mut().zip(&mut self.by_slot) {
            let by_slot = std::mem::take(by_slot).into_iter();
            level.slots = by_slot
                .map(|(slot, tests)| OfSlot::of(slot, &tests))
                .collect();
        }
        self.done.push(std::mem::take(&mut self.section));
    }

    pub(crate) fn finish(mut self) -> Group {
        self.close();
        Group {
            sections: self.done,
        }
    }
}

impl Level {
    fn open(&mut self, condition: usize) {
        let word = condition / 64;
        if self.open.len() <= word {
            self.open.resize(word + 1, 0);
        }
        self.open[word] |= 1 << (condition % 64);
    }
}

impl OfSlot {
    fn of(slot: SlotId, tests: &[(Test, u16)]) -> Self {
        let mut above = Vec::new();
        let mut below = Vec::new();
        let mut equal: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
        for &(test, condition) in tests {
            match test {
                Test::Above(number) => above.push((number, condition)),
                Test::Below(number) => below.push((number, condition)),
                Test::Equal(bits) => equal.entry(bits).or_default().push(condition),
            }
        }
        above.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        below.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let mut begin = vec![0];
        let mut equal_to = Vec::new();
        for conditions in equal.values() {
            equal_to.extend(conditions);
            begin.push(u32::try_from(equal_to.len()).unwrap_or(u32::MAX));
        }
        Self {
            slot,
            above: Thresholds::of(&above),
            below: Thresholds::of(&below),
            equal: equal.into_keys().collect(),
            equal_begin: begin.into(),
            equal_to: equal_to.into(),
        }
    }
}

impl Thresholds {
    fn of(sorted: &[(f64, u16)]) -> Self {
        let (numbers, conditions): (Vec<f64>, Vec<u16>) = sorted.iter().copied().unzip();
        Self {
            numbers: numbers.into(),
            conditions: conditions.into(),
        }
    }
}
