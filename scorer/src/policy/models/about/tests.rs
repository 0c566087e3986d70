//! Effects on the sample policy's model, whose thirty inputs are too many for exact Shapley values: against values sampled over
//! many orders of the inputs.

use std::path::Path;

use serde::Deserialize;
use tollgate_models::{Comparison, Reply, Rows, Runtime};

use super::*;
use crate::policy::{Loader, ModelLimits};

/// Orders per transaction, each forth and back, which cancels much of the noise (R. Mitchell et al., "Sampling
/// Permutations for Shapley Value Estimation", JMLR 23, 2022).
const ORDERS: usize = 150;

#[derive(Deserialize)]
struct Golden {
    rows: Vec<GoldenRow>,
}

#[derive(Deserialize)]
struct GoldenRow {
    inputs: Vec<Option<f64>>,
    score: f64,
}

fn sample() -> (Loader, Golden) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let library = std::env::var_os("TOLLGATE_ONNXRUNTIME").map_or_else(
        || root.join("target/onnxruntime/libonnxruntime.so"),
        Into::into,
    );
    let limits = ModelLimits {
        threads: 1,
        queue_rows_max: 64,
        ..ModelLimits::default()
    };
    let policy = root.join("policy");
    let golden = std::fs::read(policy.join("models/travel-fraud/1/golden.json")).unwrap();
    let loader = Loader::new(policy, Runtime::load(&library), limits);
    (loader, serde_json::from_slice(&golden).unwrap())
}

/// Log-odds of each row, a batch at a time.
fn log_odds(model: &Model, rows: &[Rows]) -> Vec<f64> {
    let mut found = Vec::with_capacity(rows.len());
    for batch in rows.chunks(BATCH_MAX) {
        let ask = |row: &Rows| model.submit(row.clone()).unwrap();
        let replies: Vec<Reply> = batch.iter().map(ask).collect();
        for reply in replies {
            let score = reply.blocking_recv().unwrap().unwrap().value();
            let score = score.clamp(1e-7, 1.0 - 1e-7);
            found.push((score / (1.0 - score)).ln());
        }
    }
    found
}

/// The effect of each input, by the mean of what it adds in orders that `next` draws.
fn sampled(
    model: &Model,
    row: &Rows,
    baseline: &Rows,
    next: &mut impl FnMut() -> usize,
) -> Vec<f64> {
    let inputs = row.numbers.len();
    let mut order: Vec<usize> = (0..inputs).collect();
    let mut sums = vec![0.0; inputs];
    for _ in 0..ORDERS {
        for at in (1..inputs).rev() {
            order.swap(at, next() % (at + 1));
        }
        for _ in 0..2 {
            order.reverse();
            let mut mixed = baseline.clone();
            let mut rows = vec![mixed.clone()];
            for &input in &order {
                mixed.numbers[input] = row.numbers[input];
                rows.push(mixed.clone());
            }
            let values = log_odds(model, &rows);
            for (pair, &input) in values.windows(2).zip(&order) {
                sums[input] += pair[1] - pair[0];
            }
        }
    }
    sums
}

/// The inputs that raise the score most.
fn first_three(effects: &[f64]) -> Vec<usize> {
    let mut inputs: Vec<usize> = (0..effects.len()).collect();
    inputs.sort_by(|&left, &right| effects[right].total_cmp(&effects[left]));
    inputs.truncate(3);
    inputs
}

#[test]
fn reasons_on_the_sample_model_agree_with_sampled_shapley_values() {
    let (loader, golden) = sample();
    let (policy, _) = loader.load().unwrap();
    let model = policy.champion().unwrap();
    let filled = |row: &GoldenRow| -> Vec<f64> {
        let inputs = row.inputs.iter().zip(&model.manifest().inputs);
        inputs
            .map(|(value, input)| value.or(input.missing.as_number()).unwrap())
            .collect()
    };
    let baseline = model.baseline();
    let mut state = 11_usize;
    let mut next = || {
        // D. Knuth's MMIX; the low digits of such a sequence are poor.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let (mut explained, mut first, mut common) = (0_u32, 0_u32, 0_u32);
    for golden in golden.rows.iter().filter(|row| row.score >= 0.2) {
        let row = Rows::one(filled(golden), Vec::new());
        let comparison = Comparison::new(&row, &baseline).unwrap();
        let rows: Vec<Rows> = (0..comparison.rows())
            .map(|at| comparison.row(at).unwrap())
            .collect();
        let scores: Vec<f64> = log_odds(model, &rows)
            .iter()
            .map(|odds| 1.0 / (1.0 + (-odds).exp()))
            .collect();
        let mut effects = vec![0.0; row.numbers.len()];
        for effect in comparison.effects(golden.score, &scores).unwrap() {
            effects[effect.input] = effect.log_odds;
        }
        let expected = first_three(&sampled(model, &row, &baseline, &mut next));
        let found = first_three(&effects);
        explained += 1;
        first += u32::from(expected[0] == found[0]);
        let both = expected.iter().filter(|input| found.contains(input));
        common += u32::try_from(both.count()).unwrap();
    }
    let share = |count: u32, of: u32| f64::from(count) / f64::from(of);
    let (first, three) = (share(first, explained), share(common, 3 * explained));
    println!("{explained} rows: same first input {first:.2}, of the first three {three:.2}");
    // docs/models/watching.md has what was measured.
    assert!(explained >= 10, "{explained} rows say little");
    assert!(first >= 0.8 && three >= 0.85, "{first} {three}");
}
