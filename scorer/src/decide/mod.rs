//! The path of one transaction: features, rules, model, rules that need its score, outcome.
//!
//! Everything here takes time as an argument and answers with a [`Decision`], never an error: a step that is
//! late or fails lowers the level of the answer and is named among its causes. What each level leaves out
//! stands in `ladder`; before each step the answer of a lower level stands already.

mod explain;
mod ladder;
mod late;
mod model;
mod replay;
mod times;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use tollgate_expr::{Frame, Layout};
use tollgate_features::{Origin, Reading, Store};
use tollgate_models::{Circuit, Rows};
use tollgate_rules::{Demoted, Matches, StaleAggregates, Verdict};
use tollgate_types::{Cause, Cell, Degradation, EventTime, Outcome, Reason, Record, Span, builtin};

use crate::policy::{FeatureTexts, Policy};
use explain::Explained;
use ladder::{Progress, Standing};
pub(crate) use late::decide_late;
use model::ModelAnswer;
pub(crate) use model::ModelTimings;
pub(crate) use replay::{NotReplayed, Past, replay};
pub(crate) use times::Times;

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
    /// The layout's aggregates, in their order; `None` where histories were not read.
    pub(crate) aggregates: Option<Vec<Cell>>,
    /// Those of the features that models take as texts.
    pub(crate) texts: FeatureTexts,
    pub(crate) times: Times,
    /// What the champion was asked: one row, or none.
    pub(crate) model_inputs: Rows,
    /// Time from asking the champion to its answer.
    pub(crate) model_timings: Option<ModelTimings>,
    /// The same of asking for its reasons, if it was asked.
    pub(crate) reasons_timings: Option<ModelTimings>,
    /// Whether the champion did not answer in time because it was answering others.
    pub(crate) model_is_behind: bool,
    /// How the champion's circuit stands, if this decision has changed it.
    pub(crate) circuit: Option<Circuit>,
    /// A step has panicked, and this is what stood before it.
    pub(crate) panicked: bool,
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

/// Decides one transaction. What panics on the way is answered by what stood before it, with [`Cause::Internal`].
pub(crate) async fn decide(
    context: &Context<'_>,
    record: &Record<'_>,
    monotonic_now: impl Fn() -> Instant,
) -> Decision {
    let mut progress = Progress::default();
    let steps = steps(context, record, &monotonic_now, &mut progress);
    let decided = AssertUnwindSafe(steps).catch_unwind().await;
    let decision = decided.unwrap_or_else(|_| progress.after_failure(context.policy));
    debug_assert!(ladder::is_explained(decision.level, &decision.causes));
    decision
}

/// Answers from the request alone, and waits for nothing. The transaction counts for the next ones of its card like any other;
/// once, if it has been counted already.
pub(crate) fn from_request_alone(
    context: &Context<'_>,
    record: &Record<'_>,
    cause: Cause,
) -> Decision {
    let mut progress = Progress::default();
    let look = AssertUnwindSafe(|| {
        let _frame = begin(context, record, &mut progress);
    });
    if std::panic::catch_unwind(look).is_err() {
        return progress.after_failure(context.policy);
    }
    progress.causes.push(cause);
    Decision::bare(progress.fall(context.policy), progress.causes)
}

async fn steps(
    context: &Context<'_>,
    record: &Record<'_>,
    monotonic_now: &impl Fn() -> Instant,
    progress: &mut Progress,
) -> Decision {
    let mut frame = begin(context, record, progress);
    let begun = monotonic_now();
    let left = context.deadline.saturating_duration_since(begun);
    if left < ladder::FEATURES_NEED {
        progress.causes.push(Cause::DeadlineTooShort);
        let standing = progress.fall(context.policy);
        return Decision::bare(standing, std::mem::take(&mut progress.causes));
    }
    let level = if context.behind > context.stale_after {
        progress.causes.push(Cause::FeaturesLagging);
        Degradation::StaleFeatures
    } else {
        Degradation::Full
    };
    let ignored = level == Degradation::StaleFeatures
        && context.policy.logic().fallback.stale_aggregates() == StaleAggregates::Ignore;
    let mut known = if ignored {
        let matches = context.policy.logic().rules.matches();
        Known::without_histories(context.policy, &mut frame, matches)
    } else {
        let causes = &mut progress.causes;
        Known::of(context, record, &mut frame, causes, monotonic_now)
    };
    known.times.begun = Some(begun);
    // The answer without the model stands before the model is asked: nothing is left to do when it is late.
    let level_without = level.max(Degradation::NoModel);
    let without = ladder::without_model(context.policy, &frame, level_without, &known.matches);
    progress.stand(level_without, without);
    if ignored {
        let standing = progress.fall(context.policy);
        let causes = std::mem::take(&mut progress.causes);
        let demoted = known.matches.note(standing.verdict.outcome, context.now);
        return Decision {
            demoted,
            ..known.decision(standing, causes, Found::default())
        };
    }
    // A decline that nothing can change needs no score: it costs no model its time, and cannot become late.
    let asked = if known.is_certain_decline() {
        ModelAnswer::not(Ok(None), Rows::default())
    } else {
        model::ask(context, &known.features, &known.texts, monotonic_now).await
    };
    match asked.score {
        Ok(score) => progress.stand(level, known.verdict(context, &mut frame, score)),
        Err(cause) => progress.causes.push(cause),
    }
    let outcome = progress.outcome();
    let explained = explain::explain(context, outcome, &asked, monotonic_now).await;
    progress.causes.extend(explained.left_out);
    let standing = progress.fall(context.policy);
    let causes = std::mem::take(&mut progress.causes);
    let demoted = known.matches.note(standing.verdict.outcome, context.now);
    Decision {
        demoted,
        ..known.decision(standing, causes, Found { asked, explained })
    }
}

/// Takes in the transaction, and has the answer from the request alone stand.
fn begin<'r>(context: &Context<'_>, record: &'r Record<'r>, progress: &mut Progress) -> Frame<'r> {
    let frame = frame_of(context.policy, record, &mut progress.causes);
    let request_only = ladder::request_only(context.policy, &frame);
    progress.stand(Degradation::RequestOnly, request_only);
    // Whatever the level of the answer: the next transaction of the card must see this one.
    let expires_at = context.now.plus(context.in_flight_expires);
    context.store.apply(record, Origin::Scored { expires_at });
    frame
}

/// The fields of the transaction and what lists say of them.
fn frame_of<'r>(policy: &Policy, record: &'r Record<'r>, causes: &mut Vec<Cause>) -> Frame<'r> {
    let logic = policy.logic();
    let mut frame = Frame::new(&logic.layout, record);
    logic.fill_lookups(record, &mut frame);
    if record.cell(builtin::AMOUNT).is_missing() {
        causes.push(Cause::CurrencyWithoutRate);
    }
    frame
}

/// What is known of a transaction before the model is asked.
struct Known<'p> {
    matches: Matches<'p>,
    features: Vec<Cell>,
    aggregates: Option<Vec<Cell>>,
    texts: FeatureTexts,
    times: Times,
}

/// What the model said.
struct Found {
    asked: ModelAnswer,
    explained: Explained,
}

impl Default for Found {
    /// It was not asked.
    fn default() -> Self {
        Self {
            asked: ModelAnswer::not(Ok(None), Rows::default()),
            explained: Explained::default(),
        }
    }
}

impl<'p> Known<'p> {
    /// Reads histories, computes named features and asks the rules that need no score.
    fn of(
        context: &Context<'p>,
        record: &Record<'_>,
        frame: &mut Frame<'_>,
        causes: &mut Vec<Cause>,
        monotonic_now: impl Fn() -> Instant,
    ) -> Self {
        let rules = &context.policy.logic().rules;
        let (features, reading) = read_features(context, record, frame);
        if reading.cut_off {
            causes.push(Cause::HistoryCutOff);
        }
        let features_read = Some(monotonic_now());
        let known = Self::of_features(context.policy, record, frame, features, rules.matches());
        Self {
            times: Times {
                features_read,
                rules_asked: Some(monotonic_now()),
                ..Times::default()
            },
            ..known
        }
    }

    /// Asks the rules that need no score, of which `matches` has none yet.
    fn of_features(
        policy: &'p Policy,
        record: &Record<'_>,
        frame: &mut Frame<'_>,
        features: Vec<Cell>,
        mut matches: Matches<'p>,
    ) -> Self {
        let rules = &policy.logic().rules;
        rules.match_without_score(frame, &mut matches);
        let texts = FeatureTexts::of(policy.text_features(), &features, record);
        Self {
            matches,
            features,
            aggregates: Some(aggregates_in(frame, &policy.logic().layout)),
            texts,
            times: Times::default(),
        }
    }

    /// Asks the rules that read neither a score nor an aggregate. No feature is known: those that read histories would say
    /// something else than that they were left out.
    fn without_histories(
        policy: &'p Policy,
        frame: &mut Frame<'_>,
        mut matches: Matches<'p>,
    ) -> Self {
        let logic = policy.logic();
        frame.evaluate_features(&logic.layout);
        logic.rules.match_without_aggregates(frame, &mut matches);
        Self {
            matches,
            features: Vec::new(),
            aggregates: None,
            texts: FeatureTexts::default(),
            times: Times::default(),
        }
    }

    fn is_certain_decline(&self) -> bool {
        self.matches.outcome() == Outcome::Decline && self.matches.is_final()
    }

    /// What all rules say, those that read the score included where there is one.
    fn verdict(
        &mut self,
        context: &Context<'p>,
        frame: &mut Frame<'_>,
        score: Option<f64>,
    ) -> Verdict {
        let logic = context.policy.logic();
        if let Some(score) = score {
            frame.set(logic.layout.score, Cell::number(score));
            logic.rules.match_with_score(frame, &mut self.matches);
        }
        self.matches.verdict()
    }

    /// Guards of rules are not told.
    fn decision(self, standing: Standing, causes: Vec<Cause>, found: Found) -> Decision {
        let Found { asked, explained } = found;
        let bare = Decision::bare(standing, causes);
        let mut reasons = bare.reasons;
        reasons.extend(explained.reasons);
        let matched = self.matches.rules();
        Decision {
            score: asked.score.ok().flatten(),
            reasons,
            matched_rules: matched.map(|rule| Arc::clone(&rule.id)).collect(),
            features: self.features,
            aggregates: self.aggregates,
            texts: self.texts,
            times: self.times,
            model_inputs: asked.inputs,
            model_timings: asked.timings,
            reasons_timings: explained.timings,
            model_is_behind: asked.is_behind,
            circuit: asked.circuit,
            ..bare
        }
    }
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
    (features_in(frame, layout), reading)
}

/// The aggregates that were read, for the decision log. Smaller than all slots, of which large policies have thousands.
fn aggregates_in(frame: &Frame<'_>, layout: &Layout) -> Vec<Cell> {
    let aggregates = layout.aggregates.iter();
    aggregates.map(|(_, slot)| frame.cell(*slot)).collect()
}

/// The named features, once they are computed.
fn features_in(frame: &Frame<'_>, layout: &Layout) -> Vec<Cell> {
    let features = layout.features.iter();
    features.map(|feature| frame.cell(feature.slot)).collect()
}

pub(crate) use ladder::{patience, static_answer};

#[cfg(test)]
mod tests;
