//! Real models on their threads: what comes back is what the model's weights say.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod common;

use std::time::Duration;

use common::{Folder, Model};
use tollgate_models::{Inference, Options, QueueFull, Reply, Rows, RunError, Score};

const OPTIONS: Options = Options {
    threads: 2,
    queue_rows_max: 4096,
    run_max: Duration::MAX,
    counts_cpu: false,
};

/// A few hundred different rows, without randomness.
fn rows() -> Vec<[f64; 3]> {
    let step = |n: u16, by: u16| f64::from(n * by % 23) / 4.0 - 2.5;
    (0..500)
        .map(|n| [step(n, 7), step(n, 11), step(n, 3)])
        .collect()
}

fn score(reply: Reply) -> f64 {
    reply.blocking_recv().unwrap().map(Score::value).unwrap()
}

fn submit(inference: &Inference, row: [f64; 3]) -> Reply {
    inference
        .submit(Rows::one(row.to_vec(), Vec::new()))
        .unwrap()
}

#[test]
fn many_rows_through_many_threads_score_as_each_alone() {
    for model in Model::ALL {
        let inference = Folder::new(model).start(OPTIONS);
        let alone: Vec<f64> = rows()
            .iter()
            .map(|&row| score(submit(&inference, row)))
            .collect();
        for (&score, row) in alone.iter().zip(rows()) {
            let expected = model.score(row);
            assert!(
                (score - expected).abs() < 1e-6,
                "{model:?} {row:?}: {score}, expected {expected}"
            );
        }
        let batched = std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let replies: Vec<Reply> =
                            rows().iter().map(|&row| submit(&inference, row)).collect();
                        replies.into_iter().map(score).collect::<Vec<f64>>()
                    })
                })
                .collect();
            submitters
                .into_iter()
                .map(|submitter| submitter.join().unwrap())
                .collect::<Vec<_>>()
        });
        for scores in batched {
            for (one, other) in alone.iter().zip(scores) {
                // A network may round differently in a larger batch.
                assert!(
                    (one - other).abs() < 1e-6,
                    "{model:?}: {one} alone, {other} in a batch"
                );
            }
        }
    }
}

#[test]
fn what_a_row_is_made_of_can_be_asked() {
    let inference = Folder::new(Model::Pair).start(OPTIONS);
    let inputs: Vec<(&str, f64)> = inference
        .inputs()
        .iter()
        .map(|input| (input.feature.as_str(), input.missing.as_number().unwrap()))
        .collect();
    assert_eq!(
        inputs,
        [
            ("amount", 0.0),
            ("card_count_24h", -1.0),
            ("card_sum_24h", 0.5)
        ]
    );
    assert_eq!(inference.version(), "test/1");
}

#[test]
fn a_row_whose_output_is_nan_fails_alone() {
    let inference = Folder::new(Model::Probability).start(Options {
        threads: 1,
        ..OPTIONS
    });
    let good = submit(&inference, [1.0, 2.0, 0.5]);
    let bad = submit(&inference, [f64::NAN, 0.0, 0.0]);
    let also_good = submit(&inference, [0.0, 0.0, 0.0]);
    let expected = Model::Probability.score([1.0, 2.0, 0.5]);
    assert!((score(good) - expected).abs() < 1e-6);
    let error = bad.blocking_recv().unwrap().unwrap_err();
    assert!(
        matches!(error, RunError::NotAProbability(output) if output.is_nan()),
        "{error}"
    );
    assert!((score(also_good) - Model::Probability.score([0.0; 3])).abs() < 1e-6);
}

#[test]
fn a_full_queue_refuses_and_loses_nothing_it_took() {
    let inference = Folder::new(Model::OneRow).start(Options {
        threads: 1,
        queue_rows_max: 1,
        ..OPTIONS
    });
    let mut taken = Vec::new();
    let mut refused = 0;
    // One row at a time goes through, so submitting faster than that fills a queue of one soon.
    while refused == 0 {
        match inference.submit(Rows::one(vec![1.0, 2.0, 0.5], Vec::new())) {
            Ok(reply) => taken.push(reply),
            Err(QueueFull) => refused += 1,
        }
    }
    let expected = Model::OneRow.score([1.0, 2.0, 0.5]);
    for reply in taken {
        assert!((score(reply) - expected).abs() < 1e-6);
    }
}

#[test]
fn rows_submitted_before_a_drop_are_answered() {
    let inference = Folder::new(Model::Logit).start(OPTIONS);
    let replies: Vec<Reply> = rows().iter().map(|&row| submit(&inference, row)).collect();
    drop(inference);
    for (reply, row) in replies.into_iter().zip(rows()) {
        let expected = Model::Logit.score(row);
        assert!((score(reply) - expected).abs() < 1e-6);
    }
}
