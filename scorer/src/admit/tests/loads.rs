//! What a simulated service does at half, once, twice and five times what it can.

#![allow(
    clippy::cast_precision_loss,
    reason = "requests of a few seconds: far fewer than 2^52"
)]

use std::time::Duration;

use super::simulation::{Costs, Simulation, Tally, total};
use crate::config::OverloadConfig;

const MICRO: u64 = 1_000;

/// Ten thousand a second, for the model does no more.
const MODEL_BOUND: Costs = Costs {
    cores: 2,
    begin: 20 * MICRO,
    model: 100 * MICRO,
    finish: 5 * MICRO,
    shed: 5 * MICRO,
};

/// Ten thousand a second, for the cores do no more, with answers to shed requests that cost a hundredth of that.
const CPU_BOUND: Costs = Costs {
    cores: 2,
    begin: 180 * MICRO,
    model: 10 * MICRO,
    finish: 20 * MICRO,
    shed: 2 * MICRO,
};

/// Five hundred a second, for a slow model.
const SLOW_MODEL: Costs = Costs {
    cores: 2,
    begin: 20 * MICRO,
    model: 2_000 * MICRO,
    finish: 5 * MICRO,
    shed: 5 * MICRO,
};

const CAPACITY: f64 = 10_000.0;

fn simulation(costs: Costs) -> Simulation {
    Simulation::new(costs, &OverloadConfig::default())
}

fn full(tallies: &[Tally]) -> f64 {
    total(tallies, |tally| tally.full) as f64 / tallies.len() as f64
}

/// Decided in full a second, once it has settled, at so many times the capacity.
fn goodput(costs: Costs, capacity: f64, times: f64) -> f64 {
    let mut simulation = simulation(costs);
    let tallies = simulation.run(capacity * times, 5);
    // Of the last second some are still in progress.
    let settled = &tallies[2..4];
    for tally in settled {
        assert_eq!(tally.late, 0, "at {times} times: {settled:?}");
        assert_eq!(tally.full + tally.shed, tally.sent, "{settled:?}");
    }
    full(settled)
}

#[test]
fn whatever_is_short_as_many_are_decided_in_full_at_five_times_the_load() {
    // DE-4
    for (costs, capacity) in [
        (MODEL_BOUND, CAPACITY),
        (CPU_BOUND, CAPACITY),
        (SLOW_MODEL, 500.0),
    ] {
        let goodputs = [0.5, 1.0, 2.0, 5.0].map(|times| goodput(costs, capacity, times));
        let best = goodputs.iter().copied().fold(0.0, f64::max);
        assert!(goodputs[0] > capacity * 0.45, "{costs:?}: {goodputs:?}");
        assert!(best > capacity * 0.9, "{costs:?}: {goodputs:?}");
        assert!(goodputs[3] >= best * 0.9, "{costs:?}: {goodputs:?}");
    }
}

#[test]
fn half_of_the_load_is_decided_in_full_to_the_last() {
    for costs in [MODEL_BOUND, CPU_BOUND] {
        let tallies = simulation(costs).run(CAPACITY / 2.0, 10);
        assert_eq!(total(&tallies, |tally| tally.shed), 0, "{tallies:?}");
    }
}

#[test]
fn two_seconds_after_the_load_has_fallen_nobody_is_shed() {
    for costs in [MODEL_BOUND, CPU_BOUND] {
        let mut simulation = simulation(costs);
        simulation.run(CAPACITY * 5.0, 5);
        simulation.run(CAPACITY / 2.0, 2);
        let tallies = simulation.run(CAPACITY / 2.0, 5);
        assert_eq!(total(&tallies, |tally| tally.shed), 0, "{tallies:?}");
    }
}

#[test]
fn a_stall_at_half_of_the_load_sheds_nobody() {
    for costs in [MODEL_BOUND, CPU_BOUND] {
        let mut simulation = simulation(costs);
        let before = simulation.run(CAPACITY / 2.0, 3);
        simulation.stall(Duration::from_millis(50));
        let after = simulation.run(CAPACITY / 2.0, 3);
        for tallies in [before, after] {
            assert_eq!(total(&tallies, |tally| tally.shed), 0, "{tallies:?}");
            assert_eq!(total(&tallies, |tally| tally.late), 0, "{tallies:?}");
        }
    }
}
