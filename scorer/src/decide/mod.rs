//! The path of one transaction: features, rules, model, rules that need its score, outcome.
//!
//! Everything here takes time as an argument and answers with a [`Decision`], never an error: a step that is
//! late or fails lowers the level of the answer and is named among its causes. What each level leaves out
//! stands in `ladder`.

mod explain;
mod ladder;
mod model;

use std::sync::Arc;
use std::time::Instant;

use tollgate_expr::Frame;
use tollgate_features::{Origin, Reading, Store};
use tollgate_models::{Circuit, Rows};
use tollgate_rules::Demoted;
use tollgate_types::{Cause, Cell, Degradation, EventTime, Outcome, Reason, Record, Span, builtin};

use crate::policy::{FeatureTexts, Policy};
use model::Asked;
pub(crate) use model::ModelTimings;

/// One answer, with everything that is needed to explain it.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    /// Calibrated probability of fraud, if the champion answered.
    pub(crate) score: Option<f64>,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) level: Degradation,
    pub(crate) causes: Vec<Cause>,
    /// Ids of every rule that matched, enforced or not.
    pub(crate) matched_rules: Vec<Arc<str>>,
    pub(crate) shadow_matches: Vec<Arc<str>>,
    /// Rules that this was one decline too many of.
    pub(crate) demoted: Vec<Demoted>,
    /// Named features in the order of the policy; empty below the levels that read histories.
    pub(crate) features: Vec<Cell>,
    /// Those of them that models take as texts.
    pub(crate) texts: FeatureTexts,
    /// What the champion was asked: one row, or none.
    pub(crate) model_inputs: Rows,
    /// Time from asking the champion to its answer.
    pub(crate) model_timings: Option<ModelTimings>,
    /// The same of asking for its reasons, if it was asked.
    pub(crate) reasons_timings: Option<ModelTimings>,
    /// How the champion's circuit stands, if this decision has changed it.
    pub(crate) circuit: Option<Circuit>,
}

/// What a decision is made with besides the transaction.
pub(crate) struct Context<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) store: &'a Store,
    /// Now, by the clock that expiries and the periods of guards are counted on.
    pub(crate) now: EventTime,
    /// The answer is due then.
    pub(crate) deadline: Instant,
    /// How far ingest is behind.
    pub(crate) behind: Span,
    /// Ingest further behind than this makes histories stale.
    pub(crate) stale_after: Span,
    /// How long the transaction counts without its echo.
    pub(crate) in_flight_expires: Span,
    /// Most reasons that the model adds to those of rules.
    pub(crate) model_reasons_max: usize,
}

/// Decides one transaction.
pub(crate) async fn decide(
    context: &Context<'_>,
    record: &Record<'_>,
    monotonic_now: impl Fn() -> Instant,
) -> Decision {
    let logic = context.policy.logic();
    let (mut frame, mut causes) = begin(context, record);
    let left = context.deadline.saturating_duration_since(monotonic_now());
    if left < ladder::FEATURES_NEED {
        causes.push(Cause::DeadlineTooShort);
        return ladder::request_only(context.policy, &frame, causes);
    }

    let (features, reading) = read_features(context, record, &mut frame);
    if reading.cut_off {
        causes.push(Cause::HistoryCutOff);
    }
    let mut matches = logic.rules.matches();
    logic.rules.match_without_score(&mut frame, &mut matches);
    let mut level = Degradation::Full;
    if context.behind > context.stale_after {
        level = Degradation::StaleFeatures;
        causes.push(Cause::FeaturesLagging);
    }
    // The answer without the model exists before the model is asked: nothing is left to do when it is late.
    let level_without = level.max(Degradation::NoModel);
    let without_model = ladder::without_model(context.policy, &frame, level_without, &matches);
    let texts = FeatureTexts::of(context.policy.text_features(), &features, record);
    // A decline that nothing can change needs no score: it costs no model its time, and cannot become late.
    let asked = if matches.outcome() == Outcome::Decline && matches.is_final() {
        Asked::not(Ok(None), Rows::default())
    } else {
        model::ask(context, &features, &texts, &monotonic_now).await
    };
    let verdict = match asked.score {
        Ok(score) => {
            if let Some(score) = score {
                frame.set(logic.layout.score, Cell::number(score));
                logic.rules.match_with_score(&mut frame, &mut matches);
            }
            matches.verdict()
        }
        Err(cause) => {
            causes.push(cause);
            level = level_without;
            without_model
        }
    };
    let explained = explain::explain(context, verdict.outcome, &asked, &monotonic_now).await;
    causes.extend(explained.left_out);
    let mut reasons = verdict.reasons;
    reasons.extend(explained.reasons);
    Decision {
        outcome: verdict.outcome,
        score: asked.score.ok().flatten(),
        reasons,
        level,
        causes,
        matched_rules: matches.rules().map(|rule| Arc::clone(&rule.id)).collect(),
        shadow_matches: verdict.shadow_matches,
        demoted: matches.note(verdict.outcome, context.now),
        features,
        texts,
        model_inputs: asked.inputs,
        model_timings: asked.timings,
        reasons_timings: explained.timings,
        circuit: asked.circuit,
    }
}

/// Answers from the request alone, for want of capacity.
pub(crate) fn overloaded(context: &Context<'_>, record: &Record<'_>) -> Decision {
    let (frame, mut causes) = begin(context, record);
    causes.push(Cause::Overload);
    ladder::request_only(context.policy, &frame, causes)
}

/// What every answer begins with, whatever its level: the next transaction of the card must see this one.
fn begin<'a>(context: &Context<'a>, record: &'a Record<'_>) -> (Frame<'a>, Vec<Cause>) {
    let begun = lay_out(context.policy, record);
    let expires_at = context.now.plus(context.in_flight_expires);
    context.store.apply(record, Origin::Scored { expires_at });
    begun
}

/// The request as the policy's programs read it, and what is wrong with it from the start.
fn lay_out<'a>(policy: &'a Policy, record: &'a Record<'_>) -> (Frame<'a>, Vec<Cause>) {
    let logic = policy.logic();
    let mut frame = Frame::new(&logic.layout, record);
    logic.fill_lookups(record, &mut frame);
    let mut causes = Vec::new();
    if record.cell(builtin::AMOUNT).is_missing() {
        causes.push(Cause::CurrencyWithoutRate);
    }
    (frame, causes)
}

/// Reads every aggregate of the policy and computes its named features.
fn read_features(
    context: &Context<'_>,
    record: &Record<'_>,
    frame: &mut Frame<'_>,
) -> (Vec<Cell>, Reading) {
    let layout = &context.policy.logic().layout;
    let plan = context.policy.read_plan();
    let reading = context.store.read(plan, record, frame);
    frame.evaluate_features(layout);
    let features = layout.features.iter();
    let features = features.map(|feature| frame.cell(feature.slot)).collect();
    (features, reading)
}

/// Decides from the request alone, which reads nothing of the store and waits for nothing.
pub(crate) fn from_request_alone(policy: &Policy, record: &Record<'_>, cause: Cause) -> Decision {
    let (frame, mut causes) = lay_out(policy, record);
    causes.push(cause);
    ladder::request_only(policy, &frame, causes)
}

pub(crate) use ladder::{model_patience as patience, static_answer};
