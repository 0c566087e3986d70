//! The levels below `FULL`: what each needs, what it leaves out, what it answers, and what leads to it.
//!
//! | level | needs | leaves out | answers | causes |
//! |---|---|---|---|---|
//! | `FULL` | everything in time | nothing | the rules | `model_reasons_left_out`, `currency_without_rate`, `history_cut_off` and `internal` leave it as it is |
//! | `NO_MODEL` | histories | the score, and the rules that read it | the more severe of the other rules and the fallback table; what a rule allowed stays allowed | `model_timeout`, `model_failed`, `model_queue_full`, `model_circuit_open`, `deadline_too_short`, `internal` |
//! | `STALE_FEATURES` | histories, though old ones | nothing; where the policy says `aggregates: ignore`: the score, and rules that read the score or an aggregate | the rules; without a score, as at `NO_MODEL` | `features_lagging` |
//! | `REQUEST_ONLY` | the request | histories, rules, model | the fallback table | `deadline_too_short`, `overload`, `decision_not_logged`, `internal` |
//! | `STATIC` | nothing | everything | the constant `static` of `fallback.yaml` | `internal` |
//!
//! Before a step that can be late or fail is begun, the answer of a lower level stands ([`Progress`]), so that nothing is left
//! to do when it is. `docs/degradation.md` has this table; a test compares both with [`causes`].

use std::time::Duration;

use tollgate_expr::Frame;
use tollgate_models::Rows;
use tollgate_rules::{Matches, Verdict};
use tollgate_types::{Cause, Degradation, Outcome, Reason};

use super::{Decision, Times};
use crate::policy::{FeatureTexts, Policy};

/// Reading histories and rules takes tens of microseconds; with less than this left it is not begun.
pub(super) const FEATURES_NEED: Duration = Duration::from_micros(500);

/// Asking the model with less than this to wait for it would only waste its time.
pub(super) const MODEL_NEEDS: Duration = Duration::from_micros(500);

/// Kept back from the wait for the model, so that the answer without it is still in time: timers fire a
/// millisecond late at the median and up to five at one in a thousand on a busy machine, and what they wake waits for a core
/// for as long again where all are in use.
const ANSWER_NEEDS: Duration = Duration::from_millis(10);

/// How long to wait, for the model or whatever else the decision hangs on, when `left` is left: with a tight deadline, half of it.
pub(crate) fn patience(left: Duration) -> Duration {
    left.saturating_sub(ANSWER_NEEDS.min(left / 2))
}

/// How long to wait for the model's reasons when `left` is left. The answer stands without them and must not become late for
/// them, so what it needs is kept back whole: with no more than that left there is nothing to wait for.
pub(super) fn reasons_patience(left: Duration) -> Duration {
    left.saturating_sub(ANSWER_NEEDS).min(left / 2)
}

/// The answer that is given if the step that is being taken comes to nothing, and what has been noted until then.
#[derive(Default)]
pub(super) struct Progress {
    standing: Option<Standing>,
    pub(super) causes: Vec<Cause>,
}

/// An answer that needs nothing more.
pub(super) struct Standing {
    pub(super) verdict: Verdict,
    pub(super) level: Degradation,
}

impl Progress {
    /// From here on this is the answer, whatever comes.
    pub(super) fn stand(&mut self, level: Degradation, verdict: Verdict) {
        self.standing = Some(Standing { verdict, level });
    }

    /// The outcome of the answer that stands.
    pub(super) fn outcome(&self) -> Outcome {
        let standing = self.standing.as_ref();
        standing.map_or(Outcome::Approve, |standing| standing.verdict.outcome)
    }

    /// The answer that stands; the constant where none does.
    pub(super) fn fall(&mut self, policy: &Policy) -> Standing {
        self.standing.take().unwrap_or_else(|| Standing {
            verdict: constant(policy),
            level: Degradation::Static,
        })
    }

    /// The answer after a step has panicked.
    pub(super) fn after_failure(mut self, policy: &Policy) -> Decision {
        self.causes.push(Cause::Internal);
        let standing = self.fall(policy);
        Decision {
            panicked: true,
            ..Decision::bare(standing, self.causes)
        }
    }
}

/// The causes that lead to a level; those of `FULL` leave it as it is.
const fn causes(level: Degradation) -> &'static [Cause] {
    match level {
        Degradation::Full => &[
            Cause::ModelReasonsLeftOut,
            Cause::CurrencyWithoutRate,
            Cause::HistoryCutOff,
            Cause::Internal,
        ],
        Degradation::NoModel => &[
            Cause::ModelTimeout,
            Cause::ModelFailed,
            Cause::ModelQueueFull,
            Cause::ModelCircuitOpen,
            Cause::DeadlineTooShort,
            Cause::Internal,
        ],
        Degradation::StaleFeatures => &[Cause::FeaturesLagging],
        Degradation::RequestOnly => &[
            Cause::DeadlineTooShort,
            Cause::Overload,
            Cause::DecisionNotLogged,
            Cause::Internal,
        ],
        Degradation::Static => &[Cause::Internal],
    }
}

/// Whether the causes say why the answer is of this level.
pub(super) fn is_explained(level: Degradation, by: &[Cause]) -> bool {
    level == Degradation::Full || by.iter().any(|cause| causes(level).contains(cause))
}

/// The answer of `NO_MODEL`, and of `STALE_FEATURES` without a score: the rules that did run and the fallback
/// table, whichever is more severe. What a rule allowed stays allowed.
pub(super) fn without_model(
    policy: &Policy,
    frame: &Frame<'_>,
    level: Degradation,
    matches: &Matches<'_>,
) -> Verdict {
    let verdict = matches.verdict();
    let (outcome, reason) = policy.logic().fallback.answer(frame, level);
    if matches.is_allowed() || outcome <= verdict.outcome {
        return verdict;
    }
    let reasons = reason.into_iter().chain(verdict.reasons).collect();
    Verdict {
        outcome,
        reasons,
        ..verdict
    }
}

/// The answer of `REQUEST_ONLY`. The frame needs its lookups filled, and nothing else.
pub(super) fn request_only(policy: &Policy, frame: &Frame<'_>) -> Verdict {
    let fallback = &policy.logic().fallback;
    verdict(fallback.answer(frame, Degradation::RequestOnly))
}

/// The answer of `STATIC`, where nothing else stands.
pub(crate) fn static_answer(policy: &Policy, cause: Cause) -> Decision {
    let standing = Standing {
        verdict: constant(policy),
        level: Degradation::Static,
    };
    Decision::bare(standing, vec![cause])
}

fn constant(policy: &Policy) -> Verdict {
    verdict(policy.logic().fallback.static_answer())
}

fn verdict((outcome, reason): (Outcome, Option<Reason>)) -> Verdict {
    Verdict {
        outcome,
        reasons: reason.into_iter().collect(),
        shadow_matches: Vec::new(),
    }
}

impl Decision {
    /// An answer without anything behind it.
    pub(super) fn bare(standing: Standing, causes: Vec<Cause>) -> Self {
        let Standing { verdict, level } = standing;
        Self {
            outcome: verdict.outcome,
            score: None,
            reasons: verdict.reasons,
            level,
            causes,
            matched_rules: Vec::new(),
            shadow_matches: verdict.shadow_matches,
            demoted: Vec::new(),
            features: Vec::new(),
            aggregates: None,
            texts: FeatureTexts::default(),
            times: Times::default(),
            model_inputs: Rows::default(),
            model_timings: None,
            reasons_timings: None,
            model_is_behind: false,
            circuit: None,
            panicked: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the table in a text, each cell without white space around it.
    fn table(text: &str) -> Vec<Vec<&str>> {
        let lines = text
            .lines()
            .map(|line| line.trim_start_matches("//!").trim());
        let lines = lines.skip_while(|line| !line.starts_with("| level | needs |"));
        let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
            .collect()
    }

    #[test]
    fn the_tables_here_and_in_the_documents_say_what_the_code_does() {
        let here = table(include_str!("ladder.rs"));
        let document = table(include_str!("../../../docs/degradation.md"));
        assert_eq!(here, document);
        assert_eq!(here.len(), Degradation::ALL.len());
        for (row, level) in here.iter().zip(Degradation::ALL) {
            let [name, _, _, _, written] = row[..] else {
                panic!("five cells: {row:?}");
            };
            assert_eq!(name.trim_matches('`'), level.name().to_uppercase());
            let words = written.split('`').skip(1).step_by(2);
            let expected: Vec<&str> = causes(level).iter().map(|cause| cause.name()).collect();
            assert_eq!(words.collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn every_cause_stands_at_a_level_and_in_the_document() {
        let document = include_str!("../../../docs/degradation.md");
        for cause in Cause::ALL {
            let levels = Degradation::ALL.into_iter();
            let leads_to = levels.filter(|level| causes(*level).contains(&cause));
            assert!(leads_to.count() > 0, "{cause:?}");
            let row = format!("\n| `{}` | ", cause.name());
            assert!(document.contains(&row), "{cause:?}");
        }
    }

    #[test]
    fn time_to_answer_is_kept_back_from_the_model() {
        let millis = Duration::from_millis;
        assert_eq!(patience(millis(80)), millis(70));
        assert_eq!(patience(millis(4)), millis(2));
        assert_eq!(patience(Duration::ZERO), Duration::ZERO);
        assert_eq!(reasons_patience(millis(80)), millis(40));
        assert_eq!(reasons_patience(millis(18)), millis(8));
        assert_eq!(reasons_patience(millis(4)), Duration::ZERO);
    }
}
