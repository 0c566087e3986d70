//! Timing sets of rules of several sizes, ours and the peers' in turns.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use anyhow::{Context, anyhow};
use tollgate_expr::{Compiler, Frame};
use tollgate_report::{Goal, Row};
use tollgate_types::{Record, Schema};

use super::generate::{conditions, values};
use super::ours::{Set, schema};
use super::peers::Cel;
use super::slots::Value;
use super::terms::{Condition, Dialect};
use super::versus::{Opponent, Turn, opponent};
use crate::features::short;
use crate::timing::{float, median, number, timed};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Smaller than figures are meant for: rows are marked.
    pub(super) trial: bool,
    /// Rules of a set, ascending; the last has all of them.
    pub(super) rules: &'static [usize],
    pub(super) transactions: usize,
    pub(super) rounds: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        trial: false,
        rules: &[10, 100, 1_000, 10_000],
        transactions: 300,
        rounds: 201,
    };

    pub(crate) const QUICK: Self = Self {
        trial: true,
        rules: &[10, 100, 1_000],
        transactions: 100,
        rounds: 25,
    };

    fn id(&self, id: &str) -> String {
        if self.trial {
            format!("quick.{id}")
        } else {
            id.to_owned()
        }
    }

    fn named(&self, what: &str, size: usize) -> String {
        self.id(&format!("{what}.{}", named(size)))
    }

    fn largest(&self) -> usize {
        self.rules.last().copied().unwrap_or_default()
    }
}

/// The size that goals are set for.
const MAIN: usize = 1_000;

/// Different sets of a small size: with one, growth would be that of how its few rules happen to be.
const SETS: usize = 10;

/// Evaluations of one rule that are timed at once: about a millisecond, which other programs seldom interrupt.
const EVALUATIONS: usize = 100_000;

/// Times that a policy is loaded.
const LOADS: usize = 5;

/// The other engines, and what is to be reached beside them.
const PEERS: [(&str, f64); 2] = [("zen", 15.0), ("cel", 35.0)];

/// Growth of the time per rule: from how many, and how much there may be.
const GROWTH_FROM: usize = 100;
const GROWTH_MAX: f64 = 1.2;

fn named(size: usize) -> String {
    u32::try_from(size).map_or_else(|_| size.to_string(), short)
}

/// Everything, in the order of the report.
pub(crate) fn all(sizes: &Sizes, alone: bool) -> anyhow::Result<Vec<Row>> {
    eprintln!("generating {} rules", sizes.largest());
    let schema = schema()?;
    let conditions = conditions(sizes.largest(), &schema)?;
    let rows = values(sizes.transactions);
    let folder = tempfile::tempdir()?;
    eprintln!("compiling");
    let whole = folder.path().join("whole");
    let set = Set::new(&whole, &conditions)?;
    let matches = set.matches(&rows)?;
    let opponents = if alone {
        Ok(Vec::new())
    } else {
        opponents(&conditions, &rows, &matches)
    };
    let mut opponents = opponents?;
    let compiled = compile(sizes, &whole, &conditions, &schema, &opponents)?;
    eprintln!("evaluating");
    let mut report = evaluate(sizes, folder.path(), &conditions, &rows, &mut opponents)?;
    report.extend(compiled);
    report.push(bind(sizes, &set, &rows, &opponents)?);
    let matched: usize = matches.iter().map(Vec::len).sum();
    let share = number(matched) / number(rows.len() * conditions.len());
    report.push(Row::new(sizes.id("matching"), "% of rules", share * 100.0));
    Ok(report)
}

fn opponents(
    conditions: &[Condition],
    rows: &[Vec<Value>],
    matches: &[Vec<usize>],
) -> anyhow::Result<Vec<Opponent>> {
    Ok(vec![
        opponent::<Cel>(conditions, rows, matches)?,
        #[cfg(feature = "zen")]
        opponent::<super::peers::Zen>(conditions, rows, matches)?,
    ])
}

/// Loading the whole folder, and compiling only the conditions as the peers do.
fn compile(
    sizes: &Sizes,
    folder: &Path,
    conditions: &[Condition],
    schema: &Schema,
    opponents: &[Opponent],
) -> anyhow::Result<Vec<Row>> {
    let name = named(conditions.len());
    let loads = (0..LOADS).map(|_| seconds(|| Set::load(folder).map(drop)));
    let loads: Vec<f64> = loads.collect::<anyhow::Result<_>>()?;
    let load = Row::new(sizes.id(&format!("load.{name}")), "s", median(loads));
    let sources: Vec<String> = conditions
        .iter()
        .map(|condition| condition.written(Dialect::TOLLGATE))
        .collect();
    let compiles = (0..LOADS).map(|_| {
        seconds(|| {
            let mut compiler = Compiler::new(schema, BTreeMap::new());
            for source in &sources {
                let compiled = compiler.condition(source);
                compiled.map_err(|problems| anyhow!("{source}: {problems:?}"))?;
            }
            black_box(compiler.link());
            Ok(())
        })
    });
    let ours = median(compiles.collect::<anyhow::Result<Vec<f64>>>()?);
    let compile = Row::new(sizes.id(&format!("compile.{name}")), "s", ours);
    let mut rows = vec![load, compile.goal(Goal::AtMost(1.0))];
    for opponent in opponents {
        let id = sizes.id(&format!("compile.{name}.{}", opponent.name()));
        let theirs = opponent.compile_seconds();
        rows.push(Row::new(id, "s", ours).beside(theirs, theirs / ours));
    }
    Ok(rows)
}

fn seconds(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut result = Ok(());
    let nanos = timed(|| result = work());
    result.map(|()| float(nanos) / 1e9)
}

/// Laying a transaction out for rules, which evaluating does not include on any side.
fn bind(
    sizes: &Sizes,
    set: &Set,
    rows: &[Vec<Value>],
    opponents: &[Opponent],
) -> anyhow::Result<Row> {
    let transactions = set.transactions(rows)?;
    let mut failed = None;
    let nanos = timed(|| {
        for (transaction, values) in transactions.iter().zip(rows) {
            match set.record(transaction) {
                Ok(record) => drop(black_box(set.frame(&record, values))),
                Err(error) => failed = Some(error),
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let ours = float(nanos) / number(rows.len()) / 1e3;
    let row = Row::new(sizes.id("bind"), "µs", ours);
    let fastest = opponents.iter().map(|opponent| opponent.bind_micros());
    Ok(match fastest.min_by(f64::total_cmp) {
        Some(fastest) => row.beside(fastest, fastest / ours),
        None => row,
    })
}

/// Sets of one size, with the frames of all transactions.
struct OfSize<'s, 'r> {
    size: usize,
    frames: Vec<(&'s Set, Frame<'r>)>,
    next: usize,
}

impl OfSize<'_, '_> {
    /// Nanoseconds that all rules of a set take for a transaction. Goes on where it stopped the last time.
    fn pass(&mut self) -> f64 {
        let transactions = EVALUATIONS.div_ceil(self.size);
        let nanos = timed(|| {
            for _ in 0..transactions {
                let at = self.next % self.frames.len();
                let (set, frame) = &mut self.frames[at];
                let mut matches = set.rules().matches();
                set.rules().match_without_score(frame, &mut matches);
                black_box(matches.indices().len());
                self.next = at + 1;
            }
        });
        float(nanos) / number(transactions)
    }
}

/// Times of all sizes, ours and theirs in turns, round by round.
fn evaluate(
    sizes: &Sizes,
    folder: &Path,
    conditions: &[Condition],
    rows: &[Vec<Value>],
    opponents: &mut [Opponent],
) -> anyhow::Result<Vec<Row>> {
    let mut sets = Vec::new();
    for &size in sizes.rules {
        for (at, conditions) in conditions.chunks_exact(size).take(SETS).enumerate() {
            let folder = folder.join(format!("{size}-{at}"));
            sets.push((size, Set::new(&folder, conditions)?));
        }
    }
    let (_, any) = sets.first().context("no sizes")?;
    let transactions = any.transactions(rows)?;
    let records = transactions
        .iter()
        .map(|transaction| any.record(transaction));
    let records: Vec<Record<'_>> = records.collect::<anyhow::Result<_>>()?;
    let mut of_sizes: Vec<OfSize<'_, '_>> = sizes
        .rules
        .iter()
        .map(|&size| OfSize {
            size,
            frames: sets
                .iter()
                .filter(|(of, _)| *of == size)
                .flat_map(|(_, set)| records.iter().zip(rows).map(move |row| (set, row)))
                .map(|(set, (record, values))| (set, set.frame(record, values)))
                .collect(),
            next: 0,
        })
        .collect();
    let mut rounds: Vec<Vec<Times>> = Vec::new();
    for _ in 0..sizes.rounds {
        let mut round = Vec::new();
        for of_size in &mut of_sizes {
            let turn = Turn {
                rules: of_size.size,
                sets: of_size.frames.len() / rows.len(),
                from: of_size.next,
            };
            let ours = of_size.pass();
            let theirs = opponents.iter_mut().map(|peer| peer.pass(turn));
            round.push(Times {
                ours,
                theirs: theirs.collect::<anyhow::Result<_>>()?,
            });
        }
        rounds.push(round);
    }
    let names: Vec<&str> = opponents.iter().map(|opponent| opponent.name()).collect();
    Ok(report(sizes, &rounds, &names))
}

/// One size in one round: nanoseconds per transaction.
struct Times {
    ours: f64,
    theirs: Vec<f64>,
}

fn report(sizes: &Sizes, rounds: &[Vec<Times>], peers: &[&str]) -> Vec<Row> {
    let over = |figure: &dyn Fn(&Vec<Times>) -> f64| median(rounds.iter().map(figure));
    let mut rows = Vec::new();
    for (at, &size) in sizes.rules.iter().enumerate() {
        let ours = over(&|round| round[at].ours) / 1e3;
        let row = Row::new(sizes.named("rules", size), "µs", ours);
        rows.push(if size == MAIN {
            row.goal(Goal::AtMost(10.0))
        } else {
            row
        });
        for (name, ratio_least) in PEERS {
            let id = sizes.named(name, size);
            let goal = (size == MAIN).then_some(Goal::RatioAtLeast(ratio_least));
            let Some(peer) = peers.iter().position(|peer| *peer == name) else {
                rows.push(Row::skipped(id, "µs", goal));
                continue;
            };
            let theirs = over(&|round| round[at].theirs[peer]) / 1e3;
            let ratio = over(&|round| round[at].theirs[peer] / round[at].ours);
            let row = Row::new(id, "µs", ours).beside(theirs, ratio);
            rows.push(goal.into_iter().fold(row, Row::goal));
        }
    }
    let per_rule = |round: &Vec<Times>, at: usize| round[at].ours / number(sizes.rules[at]);
    for (at, &size) in sizes.rules.iter().enumerate() {
        let figure = over(&|round| per_rule(round, at));
        rows.push(Row::new(sizes.named("per_rule", size), "ns", figure));
    }
    let last = sizes.rules.len() - 1;
    for (at, &size) in sizes.rules.iter().enumerate().take(last) {
        let growth = over(&|round| per_rule(round, last) / per_rule(round, at));
        let id = format!("{}_to", sizes.named("growth", size));
        let id = format!("{id}_{}", named(sizes.largest()));
        let row = Row::new(id, "×", growth);
        // Below a hundred rules, what a decision takes by itself counts more than they do.
        rows.push(if size == GROWTH_FROM {
            row.goal(Goal::AtMost(GROWTH_MAX))
        } else {
            row
        });
    }
    rows
}
