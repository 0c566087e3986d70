//! What is measured of each model, in rounds in which both sides take turns, and the rows of the report.

use std::path::Path;
use std::time::Duration;

use tollgate_models::Runtime;
use tollgate_report::{Goal, Row};

use super::calls::Calls;
use crate::timing::{Times, median, timer_cost};

/// By benches/python/models.py.
const MODELS: [&str; 3] = ["trees-100x6", "trees-500x8", "mlp-64x64"];

/// Between two calls that come alone: long enough for the model's thread to have gone to sleep.
const PAUSE: Duration = Duration::from_micros(200);

const IN_FLIGHT: usize = 64;

/// What the whole call may take beyond a bare run when calls come alone: a thread is woken twice.
const ALONE_US_MAX: f64 = 25.0;

/// Beyond twice the bare run's, at the 99th percentile.
const ALONE_P99_US_MAX: f64 = 60.0;

/// CPU beyond that of a bare run when many are in flight.
const CPU_US_MAX: f64 = 3.0;

/// How much is measured.
pub(super) struct Sizes {
    rounds: usize,
    /// Calls of a round that come alone, a pause before each.
    alone: usize,
    /// Calls of a round that come as fast as they can.
    busy: usize,
    prefix: &'static str,
}

impl Sizes {
    pub(super) const FULL: Self = Self {
        rounds: 9,
        alone: 3_000,
        busy: 30_000,
        prefix: "",
    };

    pub(super) const QUICK: Self = Self {
        rounds: 3,
        alone: 300,
        busy: 3_000,
        prefix: "quick.",
    };
}

/// One round's figures, ours and the bare run's.
struct Round {
    p50_us: (f64, f64),
    p99_us: (f64, f64),
    cpu_us: (f64, f64),
    /// From submitting to score with many in flight.
    in_flight_us: (f64, f64),
    /// Calls in a second: many in flight, two callers, bare.
    rates: (f64, f64, f64),
}

pub(super) fn all(bundles: &Path, library: &Path, sizes: &Sizes) -> anyhow::Result<Vec<Row>> {
    Runtime::load(library)?;
    let mut rows = vec![Row::new(
        format!("{}timer", sizes.prefix),
        "ns",
        timer_cost(),
    )];
    for name in MODELS {
        let mut calls = Calls::new(&bundles.join(name))?;
        // The first round fills caches and is thrown away.
        round(&mut calls, &Sizes::QUICK)?;
        let mut rounds = Vec::new();
        for _ in 0..sizes.rounds {
            rounds.push(round(&mut calls, sizes)?);
        }
        rows.extend(figures(&format!("{}{name}", sizes.prefix), &rounds));
    }
    Ok(rows)
}

fn round(calls: &mut Calls, sizes: &Sizes) -> anyhow::Result<Round> {
    let micros = |times: &Times, quantile: f64| times.quantile(quantile) / 1_000.0;
    let bare = Times::of(calls.bare_alone(sizes.alone, PAUSE)?);
    let whole = Times::of(calls.whole_alone(sizes.alone, PAUSE)?);
    let (bare_cpu, bare_rate) = calls.bare_busy(sizes.busy)?;
    let ((cpu, rate), times) = calls.whole_busy(sizes.busy, IN_FLIGHT)?;
    let in_flight = Times::of(times);
    let two = calls.callers(2, sizes.busy / 2)?;
    Ok(Round {
        p50_us: (micros(&whole, 0.5), micros(&bare, 0.5)),
        p99_us: (micros(&whole, 0.99), micros(&bare, 0.99)),
        cpu_us: (cpu / 1_000.0, bare_cpu / 1_000.0),
        in_flight_us: (micros(&in_flight, 0.5), micros(&in_flight, 0.99)),
        rates: (rate, two, bare_rate),
    })
}

fn figures(name: &str, rounds: &[Round]) -> Vec<Row> {
    let over = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
    // A pair of the same round, ours and the bare run's, with how many times better ours is.
    let pair = |id: &str, unit: &str, of: &dyn Fn(&Round) -> (f64, f64), larger_is_better: bool| {
        let ratio = |round: &Round| {
            let (ours, bare) = of(round);
            if larger_is_better {
                ours / bare
            } else {
                bare / ours
            }
        };
        Row::new(format!("{name}.{id}"), unit, over(&|round| of(round).0))
            .beside(over(&|round| of(round).1), over(&ratio))
    };
    let beyond = |id: &str, of: &dyn Fn(&Round) -> f64, bound: f64| {
        Row::new(format!("{name}.{id}"), "µs", over(of)).goal(Goal::AtMost(bound))
    };
    vec![
        pair("alone.p50", "µs", &|round| round.p50_us, false),
        beyond(
            "alone.p50_beyond_bare",
            &|round| round.p50_us.0 - round.p50_us.1,
            ALONE_US_MAX,
        ),
        pair("alone.p99", "µs", &|round| round.p99_us, false),
        beyond(
            "alone.p99_beyond_twice_bare",
            &|round| round.p99_us.0 - 2.0 * round.p99_us.1,
            ALONE_P99_US_MAX,
        ),
        pair("in_flight_64.cpu", "µs", &|round| round.cpu_us, false),
        beyond(
            "in_flight_64.cpu_beyond_bare",
            &|round| round.cpu_us.0 - round.cpu_us.1,
            CPU_US_MAX,
        ),
        Row::new(
            format!("{name}.in_flight_64.p50"),
            "µs",
            over(&|round| round.in_flight_us.0),
        ),
        Row::new(
            format!("{name}.in_flight_64.p99"),
            "µs",
            over(&|round| round.in_flight_us.1),
        ),
        pair(
            "in_flight_64.rate",
            "calls/s",
            &|round| (round.rates.0, round.rates.2),
            true,
        ),
        pair(
            "two_callers.rate",
            "calls/s",
            &|round| (round.rates.1, round.rates.2),
            true,
        )
        .goal(Goal::RatioAtLeast(1.0)),
    ]
}
