//! A decision of the past, made again from what was logged of it (DE-3).
//!
//! No history is read and nothing is counted: what aggregates were is given, and so is which rules were demoted. The level and
//! its causes say which steps were taken then. The same are taken now, at leisure, and come to the same answer.

use std::time::Instant;

use tollgate_expr::Frame;
use tollgate_rules::StaleAggregates;
use tollgate_types::{Cause, Cell, Degradation, Record};

use super::ladder::{self, Standing};
use super::model::ModelAnswer;
use super::{Context, Decision, Found, Known, explain, features_in, frame_of, model};

/// What a decision of the past was made from, besides the transaction and the policy.
pub(crate) struct Past<'a> {
    pub(crate) level: Degradation,
    pub(crate) causes: &'a [Cause],
    /// The values of the layout's aggregates, in their order; `None` where none was read.
    pub(crate) aggregates: Option<&'a [Cell]>,
    /// Ids of the rules that matched and were demoted.
    pub(crate) demoted: &'a [String],
}

/// Why a decision cannot be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReplayed {
    #[error(
        "a step of the decision failed (`internal`), and what it had read of histories until then was not kept"
    )]
    NoVector,
    #[error("the model gave no score this time: {}", .0.name())]
    Model(Cause),
    #[error("the model did not say this time what moved its score")]
    Reasons,
}

/// Makes the decision once more. The store of the context is not looked at; its deadline is how long the model may take.
pub(crate) async fn replay<'p>(
    context: &Context<'p>,
    record: &Record<'_>,
    past: &Past<'p>,
    monotonic_now: impl Fn() -> Instant,
) -> Result<Decision, NotReplayed> {
    let policy = context.policy;
    if past.level == Degradation::Static {
        let constant = ladder::static_answer(policy, Cause::Internal);
        let causes = past.causes.to_vec();
        return Ok(Decision { causes, ..constant });
    }
    let mut causes = Vec::new();
    let mut frame = frame_of(policy, record, &mut causes);
    // That one is found out anew; the others came from what there was no more of.
    let others = past.causes.iter();
    causes.extend(others.filter(|cause| **cause != Cause::CurrencyWithoutRate));
    if past.level == Degradation::RequestOnly {
        let verdict = ladder::request_only(policy, &frame);
        let level = past.level;
        return Ok(Decision::bare(Standing { verdict, level }, causes));
    }
    let mut known = past.known(context, record, &mut frame)?;
    if past.is_without_score(context) {
        let (level, matches) = (past.level, &known.matches);
        let verdict = ladder::without_model(policy, &frame, level, matches);
        let row = policy.champion().filter(|_| past.aggregates.is_some());
        let row = row.map(|champion| champion.row(&known.features, &known.texts));
        let found = Found {
            asked: ModelAnswer::not(Ok(None), row.unwrap_or_default()),
            ..Found::default()
        };
        return Ok(known.decision(Standing { verdict, level }, causes, found));
    }
    let asked = if known.is_certain_decline() {
        ModelAnswer::not(Ok(None), tollgate_models::Rows::default())
    } else {
        model::ask_at_leisure(context, &known.features, &known.texts, &monotonic_now).await
    };
    let score = asked.score.map_err(NotReplayed::Model)?;
    let verdict = known.verdict(context, &mut frame, score);
    let mut explained = explain::Explained::default();
    if !past.causes.contains(&Cause::ModelReasonsLeftOut) {
        explained = explain::explain(context, verdict.outcome, &asked, &monotonic_now).await;
        if explained.left_out.is_some() {
            return Err(NotReplayed::Reasons);
        }
    }
    let level = past.level;
    let found = Found { asked, explained };
    Ok(known.decision(Standing { verdict, level }, causes, found))
}

impl<'p> Past<'p> {
    /// What was known before the model was asked.
    fn known(
        &self,
        context: &Context<'p>,
        record: &Record<'_>,
        frame: &mut Frame<'_>,
    ) -> Result<Known<'p>, NotReplayed> {
        let policy = context.policy;
        let logic = policy.logic();
        let matches = logic.rules.matches_of_past(self.demoted);
        if self.ignores_histories(context) {
            return Ok(Known::without_histories(policy, frame, matches));
        }
        let aggregates = self.aggregates.ok_or(NotReplayed::NoVector)?;
        for ((_, slot), cell) in logic.layout.aggregates.iter().zip(aggregates) {
            frame.set(*slot, *cell);
        }
        frame.evaluate_features(&logic.layout);
        let features = features_in(frame, &logic.layout);
        Ok(Known::of_features(policy, record, frame, features, matches))
    }

    /// Whether histories were too old to be looked at.
    fn ignores_histories(&self, context: &Context<'_>) -> bool {
        let stale = context.policy.logic().fallback.stale_aggregates();
        self.level == Degradation::StaleFeatures && stale == StaleAggregates::Ignore
    }

    /// Whether there should have been a score and was none.
    fn is_without_score(&self, context: &Context<'_>) -> bool {
        let misses = |cause: &Cause| match cause {
            Cause::ModelTimeout
            | Cause::ModelFailed
            | Cause::ModelQueueFull
            | Cause::ModelCircuitOpen
            | Cause::DeadlineTooShort => true,
            Cause::ModelReasonsLeftOut
            | Cause::FeaturesLagging
            | Cause::Overload
            | Cause::CurrencyWithoutRate
            | Cause::HistoryCutOff
            | Cause::DecisionNotLogged
            | Cause::Internal => false,
        };
        self.ignores_histories(context) || self.causes.iter().any(misses)
    }
}
