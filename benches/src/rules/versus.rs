//! Another engine that has been compared with ours and can be timed.

use std::hint::black_box;

use anyhow::ensure;

use super::peers::Peer;
use super::slots::Value;
use super::terms::Condition;
use crate::timing::{float, number, timed};

/// An engine of whatever kind.
pub(crate) type Opponent = Box<dyn Timed>;

/// What is timed of an engine.
pub(crate) trait Timed {
    fn name(&self) -> &'static str;

    /// What compiling all conditions took.
    fn compile_seconds(&self) -> f64;

    /// What laying out a transaction took.
    fn bind_micros(&self) -> f64;

    /// Nanoseconds that the rules of a set take for a transaction.
    fn pass(&mut self, turn: Turn) -> anyhow::Result<f64>;
}

/// What is timed at once: sets of rules one after the other, each for every transaction, as ours is timed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Rules of a set. The first set has the first of them.
    pub(crate) rules: usize,
    pub(crate) sets: usize,
    /// Where our turn began: transactions counted over all sets, again and again.
    pub(crate) from: usize,
}

/// Evaluations of one rule that are timed at once: a millisecond or three.
const EVALUATIONS: usize = 10_000;

struct Prepared<P: Peer> {
    peer: P,
    bound: Vec<P::Bound>,
    compile_seconds: f64,
    bind_micros: f64,
}

/// Compiles all conditions and binds all transactions. An error if the engine disagrees with ours on any rule.
pub(crate) fn opponent<P: Peer + 'static>(
    conditions: &[Condition],
    rows: &[Vec<Value>],
    matches: &[Vec<usize>],
) -> anyhow::Result<Opponent> {
    let sources: Vec<String> = conditions
        .iter()
        .map(|condition| condition.written(P::DIALECT))
        .collect();
    let mut compiled = None;
    let compile = timed(|| compiled = Some(P::compile(&sources)));
    let Some(peer) = compiled.transpose()? else {
        anyhow::bail!("{} has not compiled", P::NAME);
    };
    let mut bound = Vec::with_capacity(rows.len());
    let bind = timed(|| bound.extend(rows.iter().map(|values| P::bind(values))));
    let mut prepared = Prepared {
        peer,
        bound,
        compile_seconds: float(compile) / 1e9,
        bind_micros: float(bind) / number(rows.len()) / 1e3,
    };
    prepared.compare(matches)?;
    Ok(Box::new(prepared))
}

impl<P: Peer> Prepared<P> {
    /// An error unless the same rules match the same transactions.
    fn compare(&mut self, matches: &[Vec<usize>]) -> anyhow::Result<()> {
        ensure!(matches.len() == self.bound.len(), "transactions differ");
        for (row, (bound, wanted)) in self.bound.iter().zip(matches).enumerate() {
            let mut got = Vec::new();
            let rules = 0..self.peer.len();
            self.peer.evaluate(rules, bound, |rule, is_true| {
                if is_true {
                    got.push(rule);
                }
            })?;
            if let Some(rule) = first_difference(&got, wanted) {
                let says = got.contains(&rule);
                anyhow::bail!(
                    "{}: rule {rule} of transaction {row}: it says {says}, Tollgate {}",
                    P::NAME,
                    !says
                );
            }
        }
        Ok(())
    }
}

/// The smallest number that only one of two ascending lists has.
fn first_difference(one: &[usize], other: &[usize]) -> Option<usize> {
    let differ = one.iter().zip(other).find(|(one, other)| one != other);
    match differ {
        Some((one, other)) => Some(*one.min(other)),
        None => {
            let common = one.len().min(other.len());
            one.get(common).or(other.get(common)).copied()
        }
    }
}

impl<P: Peer> Timed for Prepared<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn compile_seconds(&self) -> f64 {
        self.compile_seconds
    }

    fn bind_micros(&self) -> f64 {
        self.bind_micros
    }

    fn pass(&mut self, turn: Turn) -> anyhow::Result<f64> {
        let (rules, all) = (turn.rules, self.bound.len());
        let wanted = EVALUATIONS.div_ceil(rules);
        let transactions = (turn.from..).map(|at| (at / all % turn.sets, at % all));
        let transactions = transactions.take(wanted);
        let mut matched = 0_u64;
        let mut result = Ok(());
        let nanos = timed(|| {
            for (set, at) in transactions {
                let of_set = set * rules..(set + 1) * rules;
                let evaluated = self.peer.evaluate(of_set, &self.bound[at], |_, is_true| {
                    matched += u64::from(is_true);
                });
                if evaluated.is_err() {
                    result = evaluated;
                }
            }
        });
        black_box(matched);
        result.map(|()| float(nanos) / number(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_differs_is_named() {
        for (one, other, expected) in [
            (&[1, 5, 9][..], &[1, 5, 9][..], None),
            (&[1, 5], &[1, 5, 9], Some(9)),
            (&[1, 5, 9], &[1, 7, 9], Some(5)),
            (&[], &[3], Some(3)),
        ] {
            assert_eq!(first_difference(one, other), expected);
            assert_eq!(first_difference(other, one), expected);
        }
    }
}
