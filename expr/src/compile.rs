//! From a checked expression to a program.

use std::ops::Range;

use crate::program::{CHAINS_MAX, Gate, Op, STACK_MAX, Tables};
use crate::tree::Node;
use crate::values::Comparison;
use crate::{Problem, Program, SlotId};

/// An expression that needs more stack, or more `&&` and `||` inside one another, than a program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooDeep;

impl TooDeep {
    pub(crate) fn problem(self, span: Range<usize>) -> Problem {
        Problem::error(span, "this is nested too deeply")
            .with_help("name the inner parts as features")
    }
}

/// Lays the tree out flat. Length and time are proportional to the tree.
pub(crate) fn compile(tree: &Node) -> Result<Program, TooDeep> {
    let mut tables = Tables::default();
    let (ops, stack) = compile_with(&mut tables, tree)?;
    Ok(Program {
        ops: ops.into(),
        tables,
        stack,
    })
}

/// Lays the tree out flat, among others that have the same tables. With the operations comes how deep the stack gets.
pub(crate) fn compile_with(tables: &mut Tables, tree: &Node) -> Result<(Vec<Op>, usize), TooDeep> {
    let mut emitter = Emitter {
        ops: Vec::new(),
        tables,
        stack: 0,
        stack_deepest: 0,
        chains: 0,
    };
    emitter.emit(tree)?;
    Ok((emitter.ops, emitter.stack_deepest))
}

struct Emitter<'t> {
    ops: Vec<Op>,
    tables: &'t mut Tables,
    stack: usize,
    stack_deepest: usize,
    /// Chains of `&&` and `||` that are open.
    chains: u8,
}

impl Emitter<'_> {
    fn emit(&mut self, node: &Node) -> Result<(), TooDeep> {
        match node {
            Node::Constant(bits) => self.ops.push(Op::Constant(*bits)),
            Node::Slot(slot) => self.ops.push(Op::Load(*slot)),
            Node::Has(slot) => self.ops.push(Op::Has(*slot)),
            Node::Not(of) => self.unary(of, Op::Not)?,
            Node::All(terms) => self.chain(terms, false)?,
            Node::Any(terms) => self.chain(terms, true)?,
            Node::Choose(parts) => self.choose(parts)?,
            Node::Numbers(comparison, sides) => match test_number(*comparison, sides) {
                Some(op) => self.ops.push(op),
                None => self.binary(sides, Op::Numbers(*comparison))?,
            },
            Node::Moments(comparison, sides) => self.binary(sides, Op::Moments(*comparison))?,
            Node::Same { equal, sides } => match slot_and_constant(sides) {
                Some((slot, bits, _)) => {
                    self.ops.push(Op::TestBits {
                        equal: *equal,
                        slot,
                        bits,
                    });
                }
                None => self.binary(sides, Op::Same { equal: *equal })?,
            },
            Node::OneOf(of, bits) => {
                let set = place(self.tables.sets.len());
                self.tables.sets.push(sorted(bits));
                self.unary(of, Op::OneOf { set })?;
            }
            Node::Unary(unary, of) => self.unary(of, Op::Unary(*unary))?,
            Node::Arithmetic(arithmetic, sides) => {
                self.binary(sides, Op::Arithmetic(*arithmetic))?;
            }
            Node::Shift(shift, sides) => self.binary(sides, Op::Shift(*shift))?,
            Node::Length(of) => self.unary(of, Op::Length)?,
            Node::Units(unit, of) => self.unary(of, Op::Units(*unit))?,
            Node::Calendar(part, zone, of) => {
                let at = place(self.tables.zones.len());
                self.tables.zones.push(zone.0.clone());
                self.unary(
                    of,
                    Op::Calendar {
                        part: *part,
                        zone: at,
                    },
                )?;
            }
            Node::Distance(places) => self.distance(places)?,
            Node::TextTest(..) | Node::Matches(..) | Node::InNetwork(..) | Node::TextSize(_) => {
                self.text(node)
            }
        }
        Ok(())
    }

    /// What reads a whole text.
    fn text(&mut self, node: &Node) {
        let op = match node {
            Node::TextTest(test, slot, part) => {
                let text = place(self.tables.texts.len());
                self.tables.texts.push(part.as_str().into());
                Op::TextTest {
                    test: *test,
                    slot: *slot,
                    text,
                }
            }
            Node::Matches(pattern, slot) => {
                let at = place(self.tables.patterns.len());
                self.tables.patterns.push(pattern.clone());
                Op::Matches {
                    slot: *slot,
                    pattern: at,
                }
            }
            Node::InNetwork(network, slot) => {
                let at = place(self.tables.networks.len());
                self.tables.networks.push(*network);
                Op::InNetwork {
                    slot: *slot,
                    network: at,
                }
            }
            Node::TextSize(slot) => Op::TextSize(*slot),
            _ => return,
        };
        self.ops.push(op);
    }

    /// Three operands wait on the stack for the last.
    fn distance(&mut self, [places @ .., last]: &[Node; 4]) -> Result<(), TooDeep> {
        for place in places {
            self.emit(place)?;
            self.push()?;
        }
        self.emit(last)?;
        self.stack -= places.len();
        self.ops.push(Op::Distance);
        Ok(())
    }

    fn push(&mut self) -> Result<(), TooDeep> {
        self.ops.push(Op::Push);
        self.stack += 1;
        self.stack_deepest = self.stack_deepest.max(self.stack);
        if self.stack > STACK_MAX {
            return Err(TooDeep);
        }
        Ok(())
    }

    fn unary(&mut self, of: &Node, op: Op) -> Result<(), TooDeep> {
        self.emit(of)?;
        self.ops.push(op);
        Ok(())
    }

    fn binary(&mut self, [left, right]: &[Node; 2], op: Op) -> Result<(), TooDeep> {
        self.emit(left)?;
        self.push()?;
        self.emit(right)?;
        self.stack -= 1;
        self.ops.push(op);
        Ok(())
    }

    /// Every term but the last may leave the chain; where it leads is known only once the last is laid out.
    fn chain(&mut self, terms: &[Node], decided_by: bool) -> Result<(), TooDeep> {
        let chain = self.chains;
        if chain >= CHAINS_MAX {
            return Err(TooDeep);
        }
        self.chains += 1;
        let mut leaving = Vec::with_capacity(terms.len());
        for (at, term) in terms.iter().enumerate() {
            let first = self.ops.len();
            self.emit(term)?;
            if at + 1 < terms.len() {
                self.leave(
                    first,
                    Gate {
                        decided_by,
                        chain,
                        end: 0,
                    },
                );
                leaving.push(self.ops.len() - 1);
            }
        }
        self.ops.push(Op::EndChain { decided_by, chain });
        self.chains -= 1;
        let chain_end = self.next()?;
        for at in leaving {
            if let Op::Term(gate) | Op::NumberTerm { gate, .. } | Op::BitsTerm { gate, .. } =
                &mut self.ops[at]
            {
                gate.end = chain_end;
            }
        }
        Ok(())
    }

    /// Ends a term whose operations begin at `first`, in one operation with it if it is a single test. More than
    /// one operation may have jumps to their end, where the gate must be then.
    fn leave(&mut self, first: usize, gate: Gate) {
        let single = self.ops.len() == first + 1;
        let small = |slot: SlotId| u16::try_from(slot.0).ok().filter(|_| single);
        let fused = match self.ops.last().copied() {
            Some(Op::TestNumber {
                comparison,
                slot,
                number,
            }) => small(slot).map(|slot| Op::NumberTerm {
                comparison,
                gate,
                slot,
                number,
            }),
            Some(Op::TestBits { equal, slot, bits }) => small(slot).map(|slot| Op::BitsTerm {
                equal,
                gate,
                slot,
                bits,
            }),
            _ => None,
        };
        match fused {
            Some(op) => self.ops[first] = op,
            None => self.ops.push(Op::Term(gate)),
        }
    }

    /// Where the next operation will be. A source of 4 KiB never makes so many that a jump cannot hold it.
    fn next(&self) -> Result<u16, TooDeep> {
        u16::try_from(self.ops.len()).map_err(|_| TooDeep)
    }

    fn choose(&mut self, [condition, yes, no]: &[Node; 3]) -> Result<(), TooDeep> {
        self.emit(condition)?;
        let branch = self.ops.len();
        self.ops.push(Op::Jump(0));
        self.emit(yes)?;
        let jump = self.ops.len();
        self.ops.push(Op::Jump(0));
        let otherwise = self.next()?;
        self.emit(no)?;
        let end = self.next()?;
        self.ops[branch] = Op::Branch { otherwise, end };
        self.ops[jump] = Op::Jump(end);
        Ok(())
    }
}

fn test_number(comparison: Comparison, sides: &[Node; 2]) -> Option<Op> {
    let (slot, bits, exchanged) = slot_and_constant(sides)?;
    let comparison = if exchanged {
        comparison.mirrored()
    } else {
        comparison
    };
    Some(Op::TestNumber {
        comparison,
        slot,
        number: f64::from_bits(bits),
    })
}

/// A slot and a constant, in whichever order, and whether they were exchanged.
fn slot_and_constant(sides: &[Node; 2]) -> Option<(SlotId, u64, bool)> {
    match sides {
        [Node::Slot(slot), Node::Constant(bits)] => Some((*slot, *bits, false)),
        [Node::Constant(bits), Node::Slot(slot)] => Some((*slot, *bits, true)),
        _ => None,
    }
}

fn sorted(bits: &[u64]) -> Box<[u64]> {
    let mut bits = bits.to_vec();
    bits.sort_unstable();
    bits.dedup();
    bits.into()
}

/// Tables are far from full: the length of expressions is limited before they are parsed, and their number by what they
/// cost together.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
