//! The main population: memory, reads beside Redis, growth from few cards, applies; all in one process.

use std::collections::BTreeMap;
use tollgate_report::{Goal, Row};

use super::applies::{self, Arrivals, Single, Throughput};
use super::peer::{Form, Peer};
use super::plain;
use super::population::{Columns, Event};
use super::question::{ALL, Question};
use super::reads::{self, Cards};
use super::resident::Resident;
use super::retained::{self, Measured};
use super::sizes::{Sizes, short};
use crate::timing::{Times, median, number, timed, timer_cost};

/// Cards whose values are compared before anything is timed.
const COMPARED_CARDS: u32 = 200;

/// Decisions whose reads are sent to Redis together, where that is measured.
const TOGETHER: usize = 32;

/// Numbers of arrivals begin here, beyond every history.
const ARRIVALS_FROM: u32 = 1_000_000;

/// Everything about the main population. The bytes of the store go to the caller, who must know whether more fits.
pub(crate) fn measure(sizes: &Sizes) -> anyhow::Result<(Vec<Row>, u64)> {
    let Measured {
        resident,
        mut rows,
        bytes,
    } = retained::measure(Columns::Few, sizes)?;
    rows.insert(0, Row::new(sizes.id("timer"), "ns", timer_cost()));
    let question = Question::new(&resident.schema, &ALL)?;
    plain::compare(&question, &ALL, &resident, COMPARED_CARDS)?;
    let few = Resident::filled(Columns::Few, sizes.cards_few, sizes.events)?;
    let some = Resident::filled(Columns::Few, sizes.cards_some, sizes.events)?;
    eprintln!("  filling Redis with {} cards", sizes.redis_cards);
    let mut peer = Peer::filled(sizes.redis_cards, sizes.events)?;
    peer.compare(COMPARED_CARDS)?;

    let mut rounds = Vec::new();
    for round in 0..sizes.rounds {
        eprintln!("  reads: round {} of {}", round + 1, sizes.rounds);
        let ours = |resident| reads::round(resident, &question, sizes.reads, round);
        rounds.push(Round {
            many: ours(&resident)?,
            some: ours(&some)?,
            few: ours(&few)?,
            peer: peer_round(&mut peer, sizes, &resident, round)?,
        });
    }
    drop(peer);
    rows.extend(read_rows(sizes, &rounds));
    rows.extend(peer_rows(sizes, &rounds));
    rows.extend(apply_rows(sizes, &resident)?);
    Ok((rows, bytes))
}

/// One round of reads, everything close together in time.
struct Round {
    many: Times,
    some: Times,
    few: Times,
    peer: PeerRound,
}

/// Nanoseconds per decision.
struct PeerRound {
    alone: BTreeMap<Form, Times>,
    together: BTreeMap<Form, f64>,
}

fn peer_round(
    peer: &mut Peer,
    sizes: &Sizes,
    resident: &Resident,
    seed: u64,
) -> anyhow::Result<PeerRound> {
    let mut round = PeerRound {
        alone: BTreeMap::new(),
        together: BTreeMap::new(),
    };
    // The histories are the same ones, so the latest event of a card is known from ours.
    let cards = Cards::new(peer.cards().min(resident.cards()), seed);
    let asked: Vec<(u32, Event)> = cards
        .take(usize::try_from(sizes.redis_reads)?)
        .map(|card| (card, resident.latest(card)))
        .collect();
    for form in Form::ALL {
        let mut nanos = Vec::with_capacity(asked.len());
        for (card, latest) in &asked {
            let mut read = Ok(Vec::new());
            nanos.push(timed(|| read = peer.read(form, *card, latest)));
            std::hint::black_box(plain::values(&read?));
        }
        round.alone.insert(form, Times::of(nanos));
        let mut all = Vec::new();
        for asked in asked.chunks_exact(TOGETHER) {
            let mut read = Ok(0.0);
            all.push(timed(|| read = peer.read_together(form, asked)));
            std::hint::black_box(read?);
        }
        let per_decision = Times::of(all).quantile(0.5) / number(TOGETHER);
        round.together.insert(form, per_decision);
    }
    Ok(round)
}

fn micros(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(figure)) / 1_000.0
}

fn read_rows(sizes: &Sizes, rounds: &[Round]) -> Vec<Row> {
    let quantile = |q: f64| micros(rounds, |round| round.many.quantile(q));
    let growth = |to: fn(&Round) -> &Times| {
        median(
            rounds
                .iter()
                .map(|round| to(round).quantile(0.5) / round.few.quantile(0.5)),
        )
    };
    let (few, some, many) = (
        short(sizes.cards_few),
        short(sizes.cards_some),
        short(sizes.cards),
    );
    let p50 = |times: fn(&Round) -> &Times| micros(rounds, |round| times(round).quantile(0.5));
    let row = |id: String, unit, ours| Row::new(sizes.id(&id), unit, ours);
    vec![
        row("read.p50".to_owned(), "µs", quantile(0.5)).goal(Goal::AtMost(2.5)),
        row("read.p99".to_owned(), "µs", quantile(0.99)).goal(Goal::AtMost(5.0)),
        row(
            format!("read.cards_{few}.p50"),
            "µs",
            p50(|round| &round.few),
        ),
        row(
            format!("read.cards_{some}.p50"),
            "µs",
            p50(|round| &round.some),
        ),
        row(
            format!("read.growth_{few}_to_{some}_cards"),
            "times",
            growth(|round| &round.some),
        )
        .goal(Goal::AtMost(2.0)),
        row(
            format!("read.growth_{few}_to_{many}_cards"),
            "times",
            growth(|round| &round.many),
        )
        .goal(Goal::AtMost(2.0)),
    ]
}

fn peer_rows(sizes: &Sizes, rounds: &[Round]) -> Vec<Row> {
    let alone = |form: Form| micros(rounds, |round| round.peer.alone[&form].quantile(0.5));
    let together = |form: Form| micros(rounds, |round| round.peer.together[&form]);
    let ratio = |form: Form| {
        let pair = |round: &Round| round.peer.alone[&form].quantile(0.5) / round.many.quantile(0.5);
        median(rounds.iter().map(pair))
    };
    let ours = micros(rounds, |round| round.many.quantile(0.5));
    let ours_mean = micros(rounds, |round| round.many.mean());
    let mut rows = Vec::new();
    let fastest = Form::ALL
        .into_iter()
        .min_by(|a, b| alone(*a).total_cmp(&alone(*b)));
    if let Some(fastest) = fastest {
        let row = Row::new(sizes.id("read.redis"), "µs", ours);
        rows.push(
            row.beside(alone(fastest), ratio(fastest))
                .goal(Goal::RatioAtLeast(50.0)),
        );
    }
    for form in Form::ALL {
        let id = sizes.id(&format!("read.redis.{}", form.name()));
        rows.push(Row::new(id, "µs", ours).beside(alone(form), ratio(form)));
    }
    for form in Form::ALL {
        let id = sizes.id(&format!("read.redis_{TOGETHER}_together.{}", form.name()));
        let other = together(form);
        rows.push(Row::new(id, "µs", ours_mean).beside(other, other / ours_mean));
    }
    rows
}

fn apply_rows(sizes: &Sizes, resident: &Resident) -> anyhow::Result<Vec<Row>> {
    let batches = sizes.apply_batches;
    let mut single = Arrivals::new(resident, ARRIVALS_FROM, 1, (0, 1))?;
    let mut two = [
        Arrivals::new(resident, 2 * ARRIVALS_FROM, 2, (0, 2))?,
        Arrivals::new(resident, 3 * ARRIVALS_FROM, 3, (1, 2))?,
    ];
    let (mut times, mut throughputs) = (Vec::new(), Vec::new());
    for round in 0..sizes.rounds {
        eprintln!("  applies: round {} of {}", round + 1, sizes.rounds);
        times.push(applies::round(resident, &mut single, batches)?);
        throughputs.push(applies::throughput(resident, &mut two, batches)?);
    }
    let throughput = |figure: fn(&Throughput) -> f64| median(throughputs.iter().map(figure));
    let quantile = |of: fn(&Single) -> &Times, q: f64| {
        median(times.iter().map(|times| of(times).quantile(q))) / 1_000.0
    };
    let among_few = |q| quantile(|single| &single.among_few, q);
    let alone = |q| quantile(|single| &single.alone, q);
    Ok(vec![
        Row::new(sizes.id("apply.p50"), "µs", among_few(0.5)).goal(Goal::AtMost(1.0)),
        Row::new(sizes.id("apply.p99"), "µs", among_few(0.99)),
        Row::new(sizes.id("apply.alone.p50"), "µs", alone(0.5)),
        Row::new(sizes.id("apply.alone.p99"), "µs", alone(0.99)),
        Row::new(
            sizes.id("apply.one_thread"),
            "events/s",
            throughput(|round| round.alone),
        ),
        Row::new(
            sizes.id("apply.two_threads"),
            "events/s",
            throughput(|round| round.together),
        ),
        Row::new(
            sizes.id("apply.two_threads_over_one"),
            "times",
            throughput(|round| round.speedup),
        )
        .goal(Goal::AtLeast(1.7)),
    ])
}
