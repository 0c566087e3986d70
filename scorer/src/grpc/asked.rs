//! A request as far as it was understood, and what it is answered: with everything, from the request alone, or by the constant.
//!
//! Each step may panic; what is left of the ladder then answers.

use std::sync::Arc;
use std::time::Duration;

use tollgate_proto::v1;
use tollgate_types::{Cause, Record, Span, Transaction};

use super::Scoring;
use super::caller::Caller;
use super::deadline::Timing;
use super::response::response;
use crate::admit::{Ask, Measured};
use crate::clock;
use crate::decide::{self, Context, Decision, ModelTimings};
use crate::panics;
use crate::policy::Policy;

/// A request as far as it was understood: what is missing could not be read because the code for it failed.
pub(super) struct Asked<'a> {
    pub(super) policy: &'a Arc<Policy>,
    pub(super) id: &'a str,
    pub(super) transaction: Option<&'a Arc<Transaction>>,
    pub(super) record: Option<Record<'a>>,
    pub(super) include_features: bool,
    pub(super) timing: Timing,
    pub(super) caller: Caller,
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
    pub(super) const fn nothing_known(
        policy: &'a Arc<Policy>,
        timing: Timing,
        caller: Caller,
    ) -> Self {
        Self {
            policy,
            id: "",
            transaction: None,
            record: None,
            include_features: false,
            timing,
            caller,
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
    /// The full decision, or the next lower one that there is room for and that does not panic.
    pub(super) async fn decided(&self, asked: &Asked<'_>) -> Decided {
        let Some(record) = &asked.record else {
            return asked.constant();
        };
        if self.audit.is_closed_to_decisions() {
            return self.without_history(asked, Cause::DecisionNotLogged);
        }
        let decide = self.admitted(asked, record);
        match panics::caught(&self.metrics.panics, decide).await {
            Some(decided) => decided,
            None => self.without_history(asked, Cause::Internal),
        }
    }

    /// The full decision if there is capacity for it. A panic gives the capacity back.
    async fn admitted(&self, asked: &Asked<'_>, record: &Record<'_>) -> Decided {
        self.step(Stage::Decide);
        let channel = asked.transaction.and_then(|known| known.channel);
        let ask = Ask {
            arrived: asked.timing.arrived,
            until: asked.timing.patience(),
            connection: asked.caller.connection,
            priority: asked.caller.priority(channel, &self.overload.priority),
        };
        let context = self.context(asked);
        let Ok(permit) = self.admission.admit(ask).await else {
            return asked.said(decide::from_request_alone(
                &context,
                record,
                Cause::Overload,
            ));
        };
        let admitted = clock::instant();
        let decided = std::pin::pin!(decide::decide(&context, record, clock::instant));
        let (mut decision, served) = Measured::new(decided).await;
        // Where the model did not answer, the time it took tells of the model, or of a deadline, unless it was answering others.
        let has_model = asked.policy.champion().is_some();
        let tells_of_load = decision.score.is_some() || decision.model_is_behind || !has_model;
        // Reasons are asked for while there is nothing else to do.
        let reasons = decision.reasons_timings;
        let reasons = reasons.map_or(Duration::ZERO, ModelTimings::length);
        decision.times.admitted = Some(admitted);
        permit.decided(tells_of_load.then(|| served.saturating_sub(reasons)));
        asked.said(decision)
    }

    /// The answer from the request alone, or else the constant.
    pub(super) fn without_history(&self, asked: &Asked<'_>, cause: Cause) -> Decided {
        let Some(record) = &asked.record else {
            return asked.constant();
        };
        let decided = self.caught(Stage::WithoutHistory, || {
            let context = self.context(asked);
            asked.said(decide::from_request_alone(&context, record, cause))
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

/// A span of the configuration.
pub(crate) fn seconds(count: u64) -> Span {
    Span::from_seconds(i64::try_from(count).unwrap_or(i64::MAX))
}
