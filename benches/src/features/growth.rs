//! The same read with few and with very many cards, in turns, and with histories of different lengths.

use anyhow::Context;
use tollgate_report::{Goal, Row};

use super::plain;
use super::population::Columns;
use super::question::{ALL, INVERTIBLE, Question};
use super::reads;
use super::resident::Resident;
use super::sizes::{Sizes, short};
use crate::timing::{Times, median};

/// Growth of a read from the smallest to the largest population may be this much.
const CARDS_GROWTH_MAX: f64 = 2.0;

/// Cards whose values are compared before anything is timed.
const COMPARED_CARDS: u32 = 50;

/// What [`measure_cards`] says where the largest population does not fit.
pub(crate) fn skipped_cards(sizes: &Sizes) -> [Row; 2] {
    let [p50, growth] = cards_ids(sizes);
    let goal = Goal::AtMost(CARDS_GROWTH_MAX);
    [
        Row::skipped(p50, "µs", None),
        Row::skipped(growth, "times", Some(goal)),
    ]
}

fn cards_ids(sizes: &Sizes) -> [String; 2] {
    let (few, many) = (short(sizes.cards_few), short(sizes.cards_many));
    [
        sizes.id(&format!("read.cards_{many}.p50")),
        sizes.id(&format!("read.growth_{few}_to_{many}_cards")),
    ]
}

/// Reads among the largest population and among the smallest.
pub(crate) fn measure_cards(sizes: &Sizes) -> anyhow::Result<Vec<Row>> {
    let few = Resident::filled(Columns::Few, sizes.cards_few, sizes.events)?;
    let many = Resident::filled(Columns::Few, sizes.cards_many, sizes.events)?;
    let question = Question::new(&many.schema, &ALL)?;
    plain::compare(&question, &ALL, &many, COMPARED_CARDS)?;
    let (mut p50, mut growth) = (Vec::new(), Vec::new());
    for round in 0..sizes.rounds {
        let many = reads::round(&many, &question, sizes.reads, round)?.quantile(0.5);
        let few = reads::round(&few, &question, sizes.reads, round)?.quantile(0.5);
        p50.push(many / 1_000.0);
        growth.push(many / few);
    }
    let [p50_id, growth_id] = cards_ids(sizes);
    Ok(vec![
        Row::new(p50_id, "µs", median(p50)),
        Row::new(growth_id, "times", median(growth)).goal(Goal::AtMost(CARDS_GROWTH_MAX)),
    ])
}

/// Invertible aggregates over histories of ten to ten thousand events, as many events in all.
pub(crate) fn measure_depths(sizes: &Sizes) -> anyhow::Result<Vec<Row>> {
    let mut residents = Vec::new();
    for events in Sizes::DEPTHS {
        eprintln!("  filling {} events per card", short(events));
        let cards = sizes.depth_events / events;
        residents.push(Resident::filled(Columns::Few, cards, events)?);
    }
    let schema = &residents.first().context("no lengths")?.schema;
    let question = Question::new(schema, &INVERTIBLE)?;
    for resident in &residents {
        let cards = COMPARED_CARDS.min(resident.cards());
        plain::compare(&question, &INVERTIBLE, resident, cards)?;
    }
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..sizes.rounds {
        // Long histories take long to read where the cost is not logarithmic; this keeps the run within its time.
        let reads = sizes.reads / 5;
        let p50 = |resident| {
            reads::round(resident, &question, reads, round).map(|times: Times| times.quantile(0.5))
        };
        rounds.push(residents.iter().map(p50).collect::<anyhow::Result<_>>()?);
    }
    let mut rows = Vec::new();
    for (at, events) in Sizes::DEPTHS.into_iter().enumerate() {
        let p50 = median(rounds.iter().map(|round| round[at] / 1_000.0));
        let id = sizes.id(&format!("read.events_{}.p50", short(events)));
        rows.push(Row::new(id, "µs", p50));
    }
    // Over the whole range, and from 100 on, since below the constant part hides much of the growth.
    for (from, to) in [(0, 3), (1, 2), (1, 3)] {
        let growth = median(rounds.iter().map(|round| round[to] / round[from]));
        let (short_from, short_to) = (short(Sizes::DEPTHS[from]), short(Sizes::DEPTHS[to]));
        let id = sizes.id(&format!("read.growth_{short_from}_to_{short_to}_events"));
        let bound = logarithmic(Sizes::DEPTHS[from], Sizes::DEPTHS[to]);
        rows.push(Row::new(id, "times", growth).goal(Goal::AtMost(bound)));
    }
    Ok(rows)
}

/// How many times longer something may take that grows with the logarithm of what it is about.
fn logarithmic(from: u32, to: u32) -> f64 {
    f64::from(to).log2() / f64::from(from).log2()
}
