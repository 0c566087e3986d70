//! Asking the champion, for as long as there is time, and unless it keeps missing.
//!
//! The wait is a timer of the async runtime and never the run itself: whatever the model does, the decision goes on.

use std::time::{Duration, Instant};

use tollgate_models::{Circuit, Permit, Reply, Rows, RunError};
use tollgate_types::{Cause, Cell};

use super::{Context, ladder};
use crate::lines::Lines;
use crate::policy::{FeatureTexts, Model};

/// Of all models that were champion.
static FAILED_RUNS: Lines = Lines::new();

/// What the champion was asked and what it said.
pub(super) struct ModelAnswer {
    /// The score; `None` if nobody was to be asked; the cause if there should be one and is not.
    pub(super) score: Result<Option<f64>, Cause>,
    pub(super) inputs: Rows,
    pub(super) timings: Option<ModelTimings>,
    /// Whether it did not answer in time because it was answering others.
    pub(super) is_behind: bool,
    /// How the model's circuit stands, if this has changed it.
    pub(super) circuit: Option<Circuit>,
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
) -> ModelAnswer {
    let Some(champion) = context.policy.champion() else {
        return ModelAnswer::not(Ok(None), Rows::default());
    };
    let inputs = champion.row(features, texts);
    let asked = monotonic_now();
    let patience = ladder::patience(context.deadline.saturating_duration_since(asked));
    if patience < ladder::MODEL_NEEDS {
        return ModelAnswer::not(Err(Cause::DeadlineTooShort), inputs);
    }
    let Some(permit) = champion.permit(asked) else {
        return ModelAnswer::not(Err(Cause::ModelCircuitOpen), inputs);
    };
    // A full queue says nothing of the model: there is more to do than it can.
    let Ok(reply) = champion.submit(inputs.clone()) else {
        champion.give_back(&permit);
        return ModelAnswer::not(Err(Cause::ModelQueueFull), inputs);
    };
    let waited = Waited {
        champion,
        asked,
        patience,
    };
    let (score, timings) = waited.answer(reply, monotonic_now).await;
    let is_behind = score == Err(Cause::ModelTimeout) && champion.has_answered_since(asked);
    let circuit = if is_behind {
        champion.give_back(&permit);
        None
    } else {
        waited.report(&permit, score.err(), timings.answered)
    };
    ModelAnswer {
        timings: Some(timings),
        is_behind,
        circuit,
        ..ModelAnswer::not(score.map(Some), inputs)
    }
}

/// Asks the champion where no answer waits for it: only while it is well, and for as long as the context allows.
pub(super) async fn ask_at_leisure(
    context: &Context<'_>,
    features: &[Cell],
    texts: &FeatureTexts,
    monotonic_now: impl Fn() -> Instant,
) -> ModelAnswer {
    let Some(champion) = context.policy.champion() else {
        return ModelAnswer::not(Ok(None), Rows::default());
    };
    let inputs = champion.row(features, texts);
    // Until it has recovered, what it can do belongs to answers.
    if champion.circuit() != Circuit::Closed {
        return ModelAnswer::not(Err(Cause::ModelCircuitOpen), inputs);
    }
    let Ok(reply) = champion.submit(inputs.clone()) else {
        return ModelAnswer::not(Err(Cause::ModelQueueFull), inputs);
    };
    let asked = monotonic_now();
    let waited = Waited {
        champion,
        asked,
        patience: context.deadline.saturating_duration_since(asked),
    };
    let (score, timings) = waited.answer(reply, monotonic_now).await;
    ModelAnswer {
        timings: Some(timings),
        ..ModelAnswer::not(score.map(Some), inputs)
    }
}

/// A model that was asked.
struct Waited<'a> {
    champion: &'a Model,
    asked: Instant,
    patience: Duration,
}

impl Waited<'_> {
    /// The score, or why there is none, and when that was known.
    async fn answer(
        &self,
        reply: Reply,
        monotonic_now: impl Fn() -> Instant,
    ) -> (Result<f64, Cause>, ModelTimings) {
        let score = self.score(reply).await;
        let timings = ModelTimings {
            asked: self.asked,
            answered: monotonic_now(),
        };
        (score, timings)
    }

    async fn score(&self, reply: Reply) -> Result<f64, Cause> {
        let until = self.asked + self.patience;
        match tokio::time::timeout_at(until.into(), reply).await {
            Ok(Ok(Ok(score))) => Ok(score.value()),
            // It has not failed, but it would not have answered in time either.
            Ok(Ok(Err(RunError::Stuck | RunError::Stopped(_)))) => Err(Cause::ModelTimeout),
            Ok(Ok(Err(error))) => {
                if let Some(count) = FAILED_RUNS.next() {
                    let model = self.champion.version();
                    tracing::warn!(%error, model, count, "model run failed");
                }
                Err(Cause::ModelFailed)
            }
            Ok(Err(_gone)) => Err(Cause::ModelFailed),
            Err(_elapsed) => Err(Cause::ModelTimeout),
        }
    }

    /// Tells the breaker, and the log if that opened or closed the circuit.
    fn report(&self, permit: &Permit, missed: Option<Cause>, now: Instant) -> Option<Circuit> {
        if missed == Some(Cause::ModelTimeout) && !self.champion.counts(self.patience) {
            self.champion.give_back(permit);
            return None;
        }
        let circuit = self.champion.report(permit, missed.is_none(), now);
        let model = self.champion.version();
        match circuit {
            Some(Circuit::Open) => tracing::error!(
                model,
                "the model keeps missing or failing and is not asked any more until it has recovered"
            ),
            Some(Circuit::Closed) => {
                tracing::info!(model, "the model has recovered and is asked again");
            }
            Some(Circuit::Probing) | None => {}
        }
        circuit
    }
}

impl ModelAnswer {
    /// The model was not asked.
    pub(super) const fn not(score: Result<Option<f64>, Cause>, inputs: Rows) -> Self {
        Self {
            score,
            inputs,
            timings: None,
            is_behind: false,
            circuit: None,
        }
    }
}
