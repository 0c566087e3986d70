//! A compiled expression: a flat list of operations over slots.
//!
//! A program has one accumulator and a small stack for left operands. Every jump goes forward, so a program of
//! n operations takes at most n steps (EX-2); it allocates nothing and cannot fail. Missing values follow
//! three-valued logic throughout.

use jiff::tz::TimeZone;
use tollgate_types::{Cell, Span};

use crate::network::{self, Network};
use crate::pattern::Pattern;
use crate::values::{self, Arithmetic, Comparison, Part, Shift, TextTest, Unary, Unit};
use crate::{SlotId, distance};

/// Deepest stack of left operands: the compiler refuses what needs more.
pub(crate) const STACK_MAX: usize = 64;

/// Most `&&` and `||` inside one another: one bit each of a machine word.
pub(crate) const CHAINS_MAX: u8 = 64;

/// Nearly every program needs no more stack than this, and clearing 64 cells would cost more than the rest.
const SMALL_STACK: usize = 8;

/// Where a program reads its values: a transaction's frame, or a retained event under a filter.
pub trait Slots {
    fn cell(&self, slot: SlotId) -> Cell;

    /// The whole text of a text field of the transaction, where it is present.
    fn text(&self, slot: SlotId) -> Option<&str>;
}

/// A compiled expression. Equal programs compute the same.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    pub(crate) ops: Box<[Op]>,
    pub(crate) tables: Tables,
    /// How deep the stack gets, at most [`STACK_MAX`].
    pub(crate) stack: usize,
}

/// What operations name by number because it does not fit into them. Several programs may have theirs in one.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) texts: Vec<Box<str>>,
    /// Sorted bits of the literals of `x in [a, b, c]`.
    pub(crate) sets: Vec<Box<[u64]>>,
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) networks: Vec<Network>,
    pub(crate) zones: Vec<TimeZone>,
}

/// One step. "The value" is the accumulator's; "left" is popped off the stack.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Op {
    Load(SlotId),
    Constant(u64),
    /// Puts the value on the stack, as the left operand of a later operation.
    Push,
    /// The commonest conditions in one step: a slot compared with a constant.
    TestNumber {
        comparison: Comparison,
        slot: SlotId,
        number: f64,
    },
    TestBits {
        equal: bool,
        slot: SlotId,
        bits: u64,
    },
    Numbers(Comparison),
    Moments(Comparison),
    Same {
        equal: bool,
    },
    OneOf {
        set: u32,
    },
    Has(SlotId),
    Not,
    /// A term that is not the last.
    Term(Gate),
    /// A test and its [`Op::Term`] in one step, for slots that fit: an operation has 16 bytes.
    NumberTerm {
        comparison: Comparison,
        gate: Gate,
        slot: u16,
        number: f64,
    },
    BitsTerm {
        equal: bool,
        gate: Gate,
        slot: u16,
        bits: u64,
    },
    /// After the last term: missing if an earlier one was and this one does not decide.
    EndChain {
        decided_by: bool,
        chain: u8,
    },
    /// Falls through on true, goes to `otherwise` on false and to `end` with a missing value on missing.
    Branch {
        otherwise: u16,
        end: u16,
    },
    Jump(u16),
    Unary(Unary),
    Arithmetic(Arithmetic),
    Shift(Shift),
    Length,
    Units(Unit),
    Calendar {
        part: Part,
        zone: u32,
    },
    /// Pops three.
    Distance,
    TextTest {
        test: TextTest,
        slot: SlotId,
        text: u32,
    },
    Matches {
        slot: SlotId,
        pattern: u32,
    },
    InNetwork {
        slot: SlotId,
        network: u32,
    },
    TextSize(SlotId),
}

/// What a term of `&&` (decided by false) or `||` (by true) does before the next one: leaves the chain if it
/// decides it, remembers if it is missing.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Gate {
    pub(crate) decided_by: bool,
    pub(crate) chain: u8,
    /// Where the chain is left to.
    pub(crate) end: u16,
}

impl Program {
    /// In the filter of an aggregate, slots below this number are columns of the event ([`tollgate_types::ColumnId`]);
    /// from it on they are fields of the transaction being scored.
    pub const FILTER_FIELDS: u32 = 1024;

    /// The value for these slots. No allocation; time proportional to the program's length at most.
    #[inline]
    pub fn eval(&self, slots: &impl Slots) -> Cell {
        self.tables.eval(&self.ops, self.stack, slots)
    }

    /// Whether a condition holds; missing is not true.
    #[inline]
    pub fn is_true(&self, slots: &impl Slots) -> bool {
        self.eval(slots).as_flag() == Some(true)
    }

    /// The slot, if the program does nothing but read one.
    pub fn slot(&self) -> Option<SlotId> {
        match *self.ops {
            [Op::Load(slot)] => Some(slot),
            _ => None,
        }
    }

    /// The slots it reads, in order of use, some perhaps twice.
    pub fn reads(&self) -> impl Iterator<Item = SlotId> {
        self.ops.iter().filter_map(|op| match *op {
            Op::Load(slot)
            | Op::TestNumber { slot, .. }
            | Op::TestBits { slot, .. }
            | Op::Has(slot)
            | Op::TextTest { slot, .. }
            | Op::Matches { slot, .. }
            | Op::InNetwork { slot, .. }
            | Op::TextSize(slot) => Some(slot),
            Op::NumberTerm { slot, .. } | Op::BitsTerm { slot, .. } => Some(SlotId(slot.into())),
            _ => None,
        })
    }
}

impl Tables {
    /// The value of operations compiled with these tables, which need so much stack.
    #[inline]
    pub(crate) fn eval(&self, ops: &[Op], stack: usize, slots: &impl Slots) -> Cell {
        match stack {
            0 => self.run(ops, slots, &mut []),
            1..=SMALL_STACK => self.run(ops, slots, &mut [Cell::MISSING; SMALL_STACK]),
            _ => self.run(ops, slots, &mut [Cell::MISSING; STACK_MAX]),
        }
    }

    /// One copy for each size of stack: without calls around it the commonest programs take a fifth less time.
    #[inline(always)]
    fn run(&self, ops: &[Op], slots: &impl Slots, stack: &mut [Cell]) -> Cell {
        let mut value = Cell::MISSING;
        let mut top = 0;
        let mut unknown = Unknown(0);
        let mut at = 0;
        while let Some(op) = ops.get(at) {
            at += 1;
            match *op {
                Op::Load(slot) => value = slots.cell(slot),
                Op::Constant(bits) => value = Cell::from_bits(Some(bits)),
                Op::Push => {
                    if let Some(place) = stack.get_mut(top) {
                        *place = value;
                    }
                    top += 1;
                }
                Op::TestNumber {
                    comparison,
                    slot,
                    number,
                } => {
                    value = test_number(slots.cell(slot), comparison, number);
                }
                Op::TestBits { equal, slot, bits } => {
                    value = test_bits(slots.cell(slot), equal, bits);
                }
                Op::Term(gate) => at = unknown.pass(value, gate, at),
                Op::NumberTerm {
                    comparison,
                    gate,
                    slot,
                    number,
                } => {
                    value = test_number(slots.cell(SlotId(slot.into())), comparison, number);
                    at = unknown.pass(value, gate, at);
                }
                Op::BitsTerm {
                    equal,
                    gate,
                    slot,
                    bits,
                } => {
                    value = test_bits(slots.cell(SlotId(slot.into())), equal, bits);
                    at = unknown.pass(value, gate, at);
                }
                Op::Has(slot) => value = Cell::flag(!slots.cell(slot).is_missing()),
                Op::Not => value = flag(value.as_flag().map(|flag| !flag)),
                Op::EndChain { decided_by, chain } => {
                    value = unknown.close(value, decided_by, chain);
                }
                Op::Branch { otherwise, end } => at = branch(value, at, otherwise, end),
                Op::Jump(to) => at = usize::from(to),
                Op::Numbers(_)
                | Op::Moments(_)
                | Op::Same { .. }
                | Op::Arithmetic(_)
                | Op::Shift(_) => {
                    top = top.saturating_sub(1);
                    let left = stack.get(top).copied().unwrap_or(Cell::MISSING);
                    value = binary(*op, left, value);
                }
                Op::Distance => {
                    top = top.saturating_sub(3);
                    value = kilometres(stack.get(top..).unwrap_or(&[]), value);
                }
                _ => value = self.rest(*op, value, slots),
            }
        }
        value
    }

    /// What takes so long by itself that the call does not count.
    fn rest(&self, op: Op, value: Cell, slots: &impl Slots) -> Cell {
        match op {
            Op::TextTest { .. } | Op::Matches { .. } | Op::InNetwork { .. } | Op::TextSize(_) => {
                self.text(op, slots)
            }
            _ => self.unary(op, value),
        }
    }

    fn unary(&self, op: Op, value: Cell) -> Cell {
        let result = match op {
            Op::OneOf { set } => {
                let set = self.sets.get(index(set)).map_or(&[][..], |set| set);
                return flag(value.bits().map(|bits| set.binary_search(&bits).is_ok()));
            }
            Op::Length => {
                return value
                    .as_span()
                    .map_or(Cell::MISSING, |span| Cell::span(values::length(span)));
            }
            Op::Unary(unary) => value.as_number().map(|number| unary.apply(number)),
            Op::Units(unit) => value.as_span().map(|span| unit.count(span)),
            Op::Calendar { part, zone } => value
                .as_time()
                .zip(self.zones.get(index(zone)))
                .and_then(|(time, zone)| part.of(time, zone)),
            _ => None,
        };
        result.map_or(Cell::MISSING, Cell::number)
    }

    fn text(&self, op: Op, slots: &impl Slots) -> Cell {
        match op {
            Op::TextTest { test, slot, text } => {
                let part = self.texts.get(index(text)).map_or("", |part| part);
                flag(slots.text(slot).map(|text| test.holds(text, part)))
            }
            Op::Matches { slot, pattern } => {
                let pattern = self.patterns.get(index(pattern));
                let text = slots.text(slot).zip(pattern);
                flag(text.map(|(text, pattern)| pattern.holds(text)))
            }
            Op::InNetwork { slot, network } => {
                let address = slots.text(slot).and_then(network::address);
                let address = address.zip(self.networks.get(index(network)));
                flag(address.map(|(address, network)| network.contains(address)))
            }
            Op::TextSize(slot) => slots
                .text(slot)
                .map_or(Cell::MISSING, |text| Cell::number(values::size(text))),
            _ => Cell::MISSING,
        }
    }
}

/// Which open chains of `&&` and `||` have met a missing term.
struct Unknown(u64);

impl Unknown {
    /// Where to go on after a term.
    #[inline]
    fn pass(&mut self, value: Cell, gate: Gate, next: usize) -> usize {
        match value.as_flag() {
            Some(flag) if flag == gate.decided_by => {
                self.0 &= !(1 << gate.chain);
                usize::from(gate.end)
            }
            Some(_) => next,
            None => {
                self.0 |= 1 << gate.chain;
                next
            }
        }
    }

    /// The value of a chain whose last term has `value`.
    #[inline]
    fn close(&mut self, value: Cell, decided_by: bool, chain: u8) -> Cell {
        let bit = 1 << chain;
        let met = self.0 & bit != 0;
        self.0 &= !bit;
        if met && value.as_flag() != Some(decided_by) {
            Cell::MISSING
        } else {
            value
        }
    }
}

/// Where to go on after a condition.
#[inline]
fn branch(condition: Cell, next: usize, otherwise: u16, end: u16) -> usize {
    match condition.as_flag() {
        Some(true) => next,
        Some(false) => usize::from(otherwise),
        None => usize::from(end),
    }
}

#[inline]
fn test_number(there: Cell, comparison: Comparison, number: f64) -> Cell {
    flag(
        there
            .as_number()
            .map(|there| comparison.holds(there, number)),
    )
}

#[inline]
fn test_bits(there: Cell, equal: bool, bits: u64) -> Cell {
    flag(there.bits().map(|there| (there == bits) == equal))
}

#[inline]
fn binary(op: Op, left: Cell, right: Cell) -> Cell {
    let (Some(left_bits), Some(right_bits)) = (left.bits(), right.bits()) else {
        return Cell::MISSING;
    };
    let numbers = (f64::from_bits(left_bits), f64::from_bits(right_bits));
    let moments = (left_bits.cast_signed(), right_bits.cast_signed());
    match op {
        Op::Numbers(comparison) => Cell::flag(comparison.holds(numbers.0, numbers.1)),
        Op::Moments(comparison) => Cell::flag(comparison.holds(moments.0, moments.1)),
        Op::Same { equal } => Cell::flag((left_bits == right_bits) == equal),
        Op::Arithmetic(arithmetic) => Cell::number(arithmetic.apply(numbers.0, numbers.1)),
        Op::Shift(shift) => Cell::span(Span::from_micros(shift.apply(moments.0, moments.1))),
        _ => Cell::MISSING,
    }
}

/// Of three places on the stack and the last.
fn kilometres(stack: &[Cell], last: Cell) -> Cell {
    let of = || {
        let &[lat1, lon1, lat2, ..] = stack else {
            return None;
        };
        let [lat1, lon1, lat2, lon2] = [lat1, lon1, lat2, last].map(Cell::as_number);
        distance::kilometres([lat1?, lon1?, lat2?, lon2?])
    };
    of().map_or(Cell::MISSING, Cell::number)
}

#[inline]
fn flag(value: Option<bool>) -> Cell {
    value.map_or(Cell::MISSING, Cell::flag)
}

#[inline]
const fn index(at: u32) -> usize {
    at as usize
}
