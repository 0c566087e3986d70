//! The levels below `FULL`: what each needs, what it leaves out, and what it answers.
//!
//! | level | needs | leaves out | answers |
//! |---|---|---|---|
//! | `FULL` | everything in time | nothing | the rules |
//! | `NO_MODEL` | histories | the score and the rules that read it | the more severe of the other rules and the fallback table; an allow rule stands |
//! | `STALE_FEATURES` | histories, though old ones | nothing, but ingest is behind | as above, according to whether there is a score |
//! | `REQUEST_ONLY` | the request | histories, rules, model | the fallback table |
//! | `STATIC` | nothing | everything | the constant in `fallback.yaml` |

use std::time::Duration;

use tollgate_expr::Frame;
use tollgate_models::Rows;
use tollgate_rules::{Matches, Verdict};
use tollgate_types::{Cause, Degradation, Outcome};

use super::Decision;
use crate::policy::{FeatureTexts, Policy};

/// Reading histories and rules takes tens of microseconds; with less than this left it is not begun.
pub(super) const FEATURES_NEED: Duration = Duration::from_micros(500);

/// Asking the model with less than this to wait for it would only waste its time.
pub(super) const MODEL_NEEDS: Duration = Duration::from_micros(500);

/// Kept back from the wait for the model, so that the answer without it is still in time: timers fire a
/// millisecond late at the median and up to five at one in a thousand on a busy machine.
const ANSWER_NEEDS: Duration = Duration::from_millis(5);

/// How long to wait for the model when `left` is left: with a tight deadline, half of it.
pub(crate) fn model_patience(left: Duration) -> Duration {
    left.saturating_sub(ANSWER_NEEDS.min(left / 2))
}

/// How long to wait for the model's reasons when `left` is left. The answer stands without them and must not become late for
/// them, so what it needs is kept back whole: with no more than that left there is nothing to wait for.
pub(super) fn reasons_patience(left: Duration) -> Duration {
    left.saturating_sub(ANSWER_NEEDS).min(left / 2)
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

/// The answer of `REQUEST_ONLY`.
pub(super) fn request_only(policy: &Policy, frame: &Frame<'_>, causes: Vec<Cause>) -> Decision {
    let level = Degradation::RequestOnly;
    let (outcome, reason) = policy.logic().fallback.answer(frame, level);
    Decision {
        reasons: reason.into_iter().collect(),
        causes,
        ..Decision::bare(outcome, level)
    }
}

/// The answer of `STATIC`: given when the code of a decision failed.
pub(crate) fn static_answer(policy: &Policy, cause: Cause) -> Decision {
    let (outcome, reason) = policy.logic().fallback.static_answer();
    Decision {
        reasons: reason.into_iter().collect(),
        causes: vec![cause],
        ..Decision::bare(outcome, Degradation::Static)
    }
}

impl Decision {
    /// An outcome without anything behind it.
    fn bare(outcome: Outcome, level: Degradation) -> Self {
        Self {
            outcome,
            score: None,
            reasons: Vec::new(),
            level,
            causes: Vec::new(),
            matched_rules: Vec::new(),
            shadow_matches: Vec::new(),
            demoted: Vec::new(),
            features: Vec::new(),
            texts: FeatureTexts::default(),
            model_inputs: Rows::default(),
            model_timings: None,
            reasons_timings: None,
            circuit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_answer_is_kept_back_from_the_model() {
        let millis = Duration::from_millis;
        assert_eq!(model_patience(millis(80)), millis(75));
        assert_eq!(model_patience(millis(4)), millis(2));
        assert_eq!(model_patience(Duration::ZERO), Duration::ZERO);
        assert_eq!(reasons_patience(millis(80)), millis(40));
        assert_eq!(reasons_patience(millis(8)), millis(3));
        assert_eq!(reasons_patience(millis(4)), Duration::ZERO);
    }
}
