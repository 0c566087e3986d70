//! A request as far as it was understood, and what it is answered: with everything, from the request alone, or by the constant.
//!
//! Each step may panic; what is left of the ladder then answers.

use std::sync::Arc;

use tollgate_proto::v1;
use tollgate_types::{Cause, Record, Span, Transaction};

use super::Scoring;
use super::deadline::Timing;
use super::response::response;
use crate::clock;
use crate::decide::{self, Context, Decision};
use crate::panics;
use crate::policy::Policy;

/// A request as far as it was understood: what is missing could not be read because the code for it failed.
pub(super) struct Asked<'a> {
    pub(super) policy: &'a Arc<Policy>,
    pub(super) id: &'a str,
    pub(super) transaction: Option<&'a Transaction>,
    pub(super) record: Option<Record<'a>>,
    pub(super) include_features: bool,
    pub(super) timing: Timing,
}

/// A decision and what is said of it.
pub(super) struct Decided {
    pub(super) response: v1::ScoreResponse,
    pub(super) decision: Decision,
}

/// The steps of a request that are caught one by one if they panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Convert,
    /// Laying the transaction out in the slots of the policy.
    Lay,
    Id,
    Decide,
    WithoutHistory,
    Observe,
    Record,
}

impl<'a> Asked<'a> {
    /// A request of which nothing was understood.
    pub(super) const fn nothing_known(policy: &'a Arc<Policy>, timing: Timing) -> Self {
        Self {
            policy,
            id: "",
            transaction: None,
            record: None,
            include_features: false,
            timing,
        }
    }

    /// The answer of last resort, which needs nothing.
    pub(super) fn constant(&self) -> Decided {
        self.said(decide::static_answer(self.policy, Cause::Internal))
    }

    fn said(&self, decision: Decision) -> Decided {
        let response = response(self.policy, self.id, &decision, self.include_features);
        Decided { response, decision }
    }
}

impl Scoring {
    /// The full decision, or the next lower one that does not panic.
    pub(super) async fn decided(&self, asked: &Asked<'_>) -> Decided {
        let Some(record) = &asked.record else {
            return asked.constant();
        };
        let decide = async {
            self.step(Stage::Decide);
            let context = self.context(asked);
            asked.said(decide::decide(&context, record, clock::instant).await)
        };
        match panics::caught(&self.metrics.panics, decide).await {
            Some(decided) => decided,
            None => self.without_history(asked, Cause::Internal),
        }
    }

    /// The answer from the request alone, or else the constant.
    pub(super) fn without_history(&self, asked: &Asked<'_>, cause: Cause) -> Decided {
        let Some(record) = &asked.record else {
            return asked.constant();
        };
        let decided = self.caught(Stage::WithoutHistory, || {
            asked.said(decide::from_request_alone(asked.policy, record, cause))
        });
        decided.unwrap_or_else(|| asked.constant())
    }

    fn context<'c>(&'c self, asked: &'c Asked<'_>) -> Context<'c> {
        Context {
            policy: asked.policy,
            store: &self.store,
            now: clock::steady_time(),
            deadline: asked.timing.deadline,
            behind: self.ingest.behind(asked.timing.arrived_at),
            stale_after: seconds(self.features.stale_after_s),
            in_flight_expires: seconds(self.features.in_flight_expires_s),
            model_reasons_max: self.model_reasons_max,
        }
    }

    /// A step that waits for nothing: `None`, counted, if it panicked.
    pub(super) fn caught<T>(&self, stage: Stage, step: impl FnOnce() -> T) -> Option<T> {
        panics::caught_at_once(&self.metrics.panics, || {
            self.step(stage);
            step()
        })
    }

    /// Where tests let a step panic.
    fn step(&self, stage: Stage) {
        #[cfg(test)]
        self.sabotage.at(stage);
        #[cfg(not(test))]
        let _ = stage;
    }
}

fn seconds(count: u64) -> Span {
    Span::from_seconds(i64::try_from(count).unwrap_or(i64::MAX))
}
