//! Reasons from the model: which inputs raised the score of a transaction that was not approved.
//!
//! The answer stands before this is asked for, and approvals are never held up by it. The rows that explain a score go
//! through the model's own threads while no score waits for them, so that a score waits behind one batch of them at most. While
//! scores do wait, or the reasons take more than half of the time that is left, the answer goes
//! out without them and says so. `tollgate_models::Comparison` has the formula.

use std::time::Instant;

use tollgate_models::{Comparison, Effect, Rows};
use tollgate_types::{Cause, Outcome, Reason};

use super::model::ModelAnswer;
use super::{Context, ModelTimings, ladder};
use crate::policy::Model;

/// An input that raised the log-odds by less than this, some ten percent of the odds, is no reason for anything.
const LOG_ODDS_MIN: f64 = 0.1;

/// What the model adds to an answer.
#[derive(Debug, Default)]
pub(super) struct Explained {
    /// The input that raised the score most first.
    pub(super) reasons: Vec<Reason>,
    /// Why there are none, where there should be.
    pub(super) left_out: Option<Cause>,
    pub(super) timings: Option<ModelTimings>,
}

/// The model's reasons for `outcome`; none for approve, and none without a score.
pub(super) async fn explain(
    context: &Context<'_>,
    outcome: Outcome,
    asked: &ModelAnswer,
    monotonic_now: impl Fn() -> Instant,
) -> Explained {
    let (Some(champion), Ok(Some(score))) = (context.policy.champion(), &asked.score) else {
        return Explained::default();
    };
    if outcome == Outcome::Approve || context.model_reasons_max == 0 {
        return Explained::default();
    }
    let begun = monotonic_now();
    let patience = ladder::reasons_patience(context.deadline.saturating_duration_since(begun));
    let effects = if patience < ladder::MODEL_NEEDS {
        None
    } else {
        let effects = effects(champion, &asked.inputs, *score);
        let until = begun + patience;
        let in_time = tokio::time::timeout_at(until.into(), effects).await;
        in_time.ok().flatten()
    };
    let timings = Some(ModelTimings {
        asked: begun,
        answered: monotonic_now(),
    });
    match effects {
        Some(effects) => Explained {
            reasons: reasons(champion, &effects, context.model_reasons_max),
            left_out: None,
            timings,
        },
        None => Explained {
            left_out: Some(Cause::ModelReasonsLeftOut),
            timings,
            ..Explained::default()
        },
    }
}

/// What each input did to the score; `None` if the model has more to do, or fails.
async fn effects(champion: &Model, row: &Rows, score: f64) -> Option<Vec<Effect>> {
    let baseline = champion.baseline();
    let comparison = Comparison::new(row, &baseline)?;
    let mut scores = Vec::with_capacity(comparison.rows());
    while scores.len() < comparison.rows() {
        let count = champion.rows_for_reasons()?;
        let end = comparison.rows().min(scores.len() + count);
        // All are submitted before the first is awaited, so that they run together.
        let replies: Option<Vec<_>> = (scores.len()..end)
            .map(|at| champion.submit_for_reasons(comparison.row(at)?).ok())
            .collect();
        for reply in replies? {
            scores.push(reply.await.ok()?.ok()?.value());
        }
    }
    comparison.effects(score, &scores)
}

/// Those that raised the score most. An input that lowered it is no reason for an outcome other than approve. Of inputs that
/// share a reason code the one that did most speaks for all.
fn reasons(champion: &Model, effects: &[Effect], reasons_max: usize) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    let raised = effects
        .iter()
        .filter(|effect| effect.log_odds >= LOG_ODDS_MIN);
    for reason in raised.filter_map(|effect| champion.reason(effect.input)) {
        if reasons.len() == reasons_max {
            break;
        }
        if !reasons.iter().any(|other| other.code == reason.code) {
            reasons.push(reason);
        }
    }
    reasons
}
