//! Asking the champion, for as long as there is time.

use std::time::Instant;

use tollgate_models::Rows;
use tollgate_types::{Cause, Cell};

use super::{Context, ladder};
use crate::policy::FeatureTexts;

/// What the champion was asked and what it said.
pub(super) struct Asked {
    /// The score; `None` if the policy has no champion; the cause if there should be one and is not.
    pub(super) score: Result<Option<f64>, Cause>,
    pub(super) inputs: Rows,
    pub(super) timings: Option<ModelTimings>,
}

/// When the champion was asked and when it had answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelTimings {
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
}

/// Asks the champion, and stops waiting while there is still time to answer without it.
pub(super) async fn ask(
    context: &Context<'_>,
    features: &[Cell],
    texts: &FeatureTexts,
    monotonic_now: impl Fn() -> Instant,
) -> Asked {
    let Some(champion) = context.policy.champion() else {
        return Asked {
            score: Ok(None),
            inputs: Rows::default(),
            timings: None,
        };
    };
    let inputs = champion.row(features, texts);
    let asked = monotonic_now();
    let patience = ladder::model_patience(context.deadline.saturating_duration_since(asked));
    if patience < ladder::MODEL_NEEDS {
        return Asked {
            score: Err(Cause::DeadlineTooShort),
            inputs,
            timings: None,
        };
    }
    let Ok(reply) = champion.submit(inputs.clone()) else {
        return Asked {
            score: Err(Cause::ModelQueueFull),
            inputs,
            timings: None,
        };
    };
    let answer = tokio::time::timeout_at((asked + patience).into(), reply).await;
    let timings = Some(ModelTimings {
        asked,
        answered: monotonic_now(),
    });
    let score = match answer {
        Ok(Ok(Ok(score))) => Ok(Some(score.value())),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, model = champion.version(), "model run failed");
            Err(Cause::ModelFailed)
        }
        Ok(Err(_gone)) => Err(Cause::ModelFailed),
        Err(_elapsed) => Err(Cause::ModelTimeout),
    };
    Asked {
        score,
        inputs,
        timings,
    }
}
