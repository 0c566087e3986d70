//! Late verdicts: the full decision on a transaction that was answered without it.
//!
//! An answer below the full one may have let through what should not have been. So the full decision is made afterwards,
//! while there is room, and goes to the decision log as a second record of the same decision. Nothing waits for it, nothing is
//! changed by it, and every transaction that gets none is counted with the reason.

mod task;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tollgate_features::Store;
use tollgate_types::{Cause, Degradation, Outcome, Span, Transaction};

use crate::admit::Admission;
use crate::audit::AuditLog;
use crate::config::LateVerdictConfig;
use crate::decide::Decision;
use crate::ingest::IngestState;
use crate::metrics::{LateResult, LateVerdictMetrics};
use crate::policy::Policy;
use task::Task;

/// What late verdicts are made with.
pub(crate) struct Parts {
    pub(crate) config: LateVerdictConfig,
    /// The live one.
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) store: Arc<Store>,
    pub(crate) ingest: Arc<IngestState>,
    pub(crate) audit: AuditLog,
    pub(crate) metrics: LateVerdictMetrics,
    pub(crate) stale_after: Span,
    pub(crate) model_reasons_max: usize,
}

/// Where answers are handed over that a full decision is owed for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LateVerdicts {
    /// Absent where they are turned off.
    queue: Option<mpsc::Sender<Answered>>,
    metrics: LateVerdictMetrics,
}

/// A transaction that was answered without the full decision.
pub(crate) struct Answered {
    pub(crate) transaction: Arc<Transaction>,
    /// The policy that answered: the late verdict is its as well, while its champion can recover.
    pub(crate) policy: Arc<Policy>,
    pub(crate) decision_id: String,
    /// What was answered.
    pub(crate) outcome: Outcome,
    pub(crate) arrived: Instant,
}

/// The running task.
pub(crate) struct Judging {
    stop: oneshot::Sender<()>,
    task: Option<JoinHandle<()>>,
}

impl LateVerdicts {
    /// Starts the task that makes them.
    pub(crate) fn start(parts: Parts) -> (Self, Judging) {
        let metrics = parts.metrics.clone();
        let (stop, stopped) = oneshot::channel();
        let (queue, task) = if parts.config.enabled {
            let (queue, waiting) = mpsc::channel(parts.config.backlog_max);
            let task = Task::new(parts, waiting);
            (Some(queue), Some(tokio::spawn(task.run(stopped))))
        } else {
            (None, None)
        };
        let verdicts = Self { queue, metrics };
        (verdicts, Judging { stop, task })
    }

    /// For services that make none.
    #[cfg(test)]
    pub(crate) const fn none(metrics: LateVerdictMetrics) -> Self {
        Self {
            queue: None,
            metrics,
        }
    }

    /// A place for what was answered, where it is below what could have been. Taken before anything is copied, as most
    /// answers of an overload find none. Never blocks.
    pub(crate) fn place_for(&self, decision: &Decision) -> Option<Place<'_>> {
        let queue = self.queue.as_ref()?;
        if !is_owed(decision.level, &decision.causes) {
            return None;
        }
        match queue.try_reserve() {
            Ok(permit) => Some(Place {
                permit,
                metrics: &self.metrics,
            }),
            Err(error) => {
                self.metrics.count(match error {
                    mpsc::error::TrySendError::Full(()) => LateResult::BacklogFull,
                    mpsc::error::TrySendError::Closed(()) => LateResult::Stopped,
                });
                None
            }
        }
    }
}

/// A place in the backlog.
pub(crate) struct Place<'v> {
    permit: mpsc::Permit<'v, Answered>,
    metrics: &'v LateVerdictMetrics,
}

impl Place<'_> {
    pub(crate) fn take(self, answered: Answered) {
        // Before the task can count it out again.
        self.metrics.backlog.inc();
        self.permit.send(answered);
    }
}

/// What kept the full decision from being made has passed, or may have, by the time there is room for it. Histories that lag
/// are no such thing: an answer with them is as full as it could be.
fn is_owed(level: Degradation, causes: &[Cause]) -> bool {
    let passes = |cause: &Cause| match cause {
        Cause::ModelTimeout
        | Cause::ModelFailed
        | Cause::ModelQueueFull
        | Cause::ModelCircuitOpen
        | Cause::DeadlineTooShort
        | Cause::Overload
        | Cause::DecisionNotLogged
        | Cause::Internal => true,
        Cause::ModelReasonsLeftOut
        | Cause::FeaturesLagging
        | Cause::CurrencyWithoutRate
        | Cause::HistoryCutOff => false,
    };
    // All answers but the static one count the transaction; what is not counted is not decided on either.
    !matches!(level, Degradation::Full | Degradation::Static) && causes.iter().any(passes)
}

impl Judging {
    /// Gives up what still waits and the one that is being decided, which are counted, and waits until that is done.
    pub(crate) async fn finish(self) {
        // An error means that the task has ended by itself, or never was.
        let _ = self.stop.send(());
        if let Some(task) = self.task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the task of late verdicts did not end as it should");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_owed_where_an_answer_is_below_what_could_have_been() {
        let owed = |level, causes: &[Cause]| is_owed(level, causes);
        for cause in [
            Cause::ModelTimeout,
            Cause::ModelFailed,
            Cause::ModelQueueFull,
            Cause::ModelCircuitOpen,
            Cause::DeadlineTooShort,
            Cause::Internal,
        ] {
            assert!(owed(Degradation::NoModel, &[cause]), "{cause:?}");
            assert!(
                owed(Degradation::StaleFeatures, &[Cause::FeaturesLagging, cause]),
                "{cause:?}"
            );
        }
        assert!(owed(Degradation::RequestOnly, &[Cause::Overload]));
        assert!(!owed(Degradation::Full, &[Cause::ModelReasonsLeftOut]));
        assert!(!owed(
            Degradation::StaleFeatures,
            &[Cause::FeaturesLagging, Cause::HistoryCutOff]
        ));
    }
}
