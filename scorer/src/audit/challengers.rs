//! Challengers score what was decided, for comparison only.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tollgate_models::Reply;
use tollgate_proto::v1::ChallengerScore;

use super::Entry;
use crate::metrics::Metrics;
use crate::policy::Model;

/// How long the decision log waits for the challengers of a batch before it writes records without their
/// scores.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The scores of every challenger for each entry, in order.
pub(super) async fn score(batch: &[Entry], metrics: &Metrics) -> Vec<Vec<ChallengerScore>> {
    // All rows are submitted before the first answer is awaited, so that they run as batches.
    let asked: Vec<Vec<_>> = batch.iter().map(ask_all).collect();
    let until = Instant::now() + WAIT_MAX;
    let mut scores = Vec::with_capacity(batch.len());
    for entry in asked {
        let mut of_entry = Vec::with_capacity(entry.len());
        for (model, reply) in entry {
            let score = answer(model, reply, until).await;
            let result = if score.error.is_empty() {
                "scored"
            } else {
                "failed"
            };
            metrics.challenger_runs.with_label_values(&[result]).inc();
            of_entry.push(score);
        }
        scores.push(of_entry);
    }
    scores
}

type Asked<'a> = (&'a Model, Option<Reply>);

/// Asks every challenger; nobody is asked about a decision made without features.
fn ask_all(entry: &Entry) -> Vec<Asked<'_>> {
    let challengers = entry.policy.challengers().iter();
    challengers
        .filter(|_| !entry.features.is_empty())
        .map(|model| (model, ask(model, entry)))
        .collect()
}

fn ask(model: &Model, entry: &Entry) -> Option<Reply> {
    model.submit(model.row(&entry.features, &entry.texts)).ok()
}

async fn answer(model: &Model, reply: Option<Reply>, until: Instant) -> ChallengerScore {
    let failed = |error: String| ChallengerScore {
        error,
        ..ChallengerScore::default()
    };
    let score = match reply {
        None => failed("queue full".to_owned()),
        Some(reply) => match timeout_at(until, reply).await {
            Ok(Ok(Ok(score))) => ChallengerScore {
                score: score.value(),
                ..Default::default()
            },
            Ok(Ok(Err(error))) => failed(error.to_string()),
            Ok(Err(_gone)) => failed("its thread ended".to_owned()),
            Err(_elapsed) => failed("too late".to_owned()),
        },
    };
    ChallengerScore {
        model_version: model.version().to_owned(),
        ..score
    }
}
