//! From what a model puts out to a probability of fraud that means what it says.

use std::fmt;

use serde::Deserialize;

use crate::RunError;
use crate::manifest::OutputKind;

/// A calibrated probability of fraud: of a hundred transactions scored 0.2, about twenty are fraud.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Score(f64);

impl Score {
    /// Between 0 and 1, never NaN.
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a model's output becomes a probability.
#[derive(Clone, Copy, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Calibration {
    /// The output is taken as it is (a logit through the logistic function).
    #[default]
    None,
    /// `p = 1 / (1 + exp(a·s + b))` on the log-odds `s` of the output, so that `a = -1, b = 0` changes
    /// nothing. J. Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
    /// Likelihood Methods", Advances in Large Margin Classifiers, 1999.
    Platt { a: f64, b: f64 },
}

/// How far outside [0, 1] rounding may put a probability. What is further out is not a probability, and a
/// manifest that calls a logit one must not be hidden by clamping.
const OUTSIDE_MAX: f64 = 1e-3;

/// The log-odds of a probability of exactly 0 or 1 are infinite; a 32-bit float cannot tell a probability
/// nearer to 1 than this from 1 anyway.
const PROBABILITY_MIN: f64 = 1e-7;

impl Calibration {
    /// The score for one `output` of a model.
    pub(crate) fn score(self, kind: OutputKind, output: f64) -> Result<Score, RunError> {
        let plausible = match kind {
            OutputKind::ProbabilityPair | OutputKind::Probability => {
                (-OUTSIDE_MAX..=1.0 + OUTSIDE_MAX).contains(&output)
            }
            OutputKind::Logit => !output.is_nan(),
        };
        if !plausible {
            return Err(RunError::NotAProbability(output));
        }
        let probability = match (self, kind) {
            (Self::None, OutputKind::Logit) => logistic(output),
            (Self::None, _) => output,
            (Self::Platt { a, b }, OutputKind::Logit) => logistic(-(a * output + b)),
            (Self::Platt { a, b }, _) => logistic(-(a * log_odds(output) + b)),
        };
        // An infinite logit times a zero slope is NaN.
        if probability.is_nan() {
            return Err(RunError::NotAProbability(output));
        }
        Ok(Score(probability.clamp(0.0, 1.0)))
    }
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

pub(crate) fn log_odds(probability: f64) -> f64 {
    let probability = probability.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(calibration: Calibration, kind: OutputKind, output: f64) -> f64 {
        calibration.score(kind, output).unwrap().value()
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn no_calibration_leaves_a_probability_as_it_is() {
        for kind in [OutputKind::Probability, OutputKind::ProbabilityPair] {
            assert!(close(score(Calibration::None, kind, 0.25), 0.25));
        }
        assert!(close(score(Calibration::None, OutputKind::Logit, 0.0), 0.5));
        assert!(close(
            score(Calibration::None, OutputKind::Logit, 3_f64.ln()),
            0.75
        ));
    }

    #[test]
    fn platt_works_on_log_odds_whatever_the_model_puts_out() {
        let identity = Calibration::Platt { a: -1.0, b: 0.0 };
        assert!(close(score(identity, OutputKind::Probability, 0.25), 0.25));
        let platt = Calibration::Platt { a: -2.0, b: 0.5 };
        let expected = 1.0 / (1.0 + (-2.0 * 3_f64.ln() + 0.5).exp());
        assert!(close(score(platt, OutputKind::Logit, 3_f64.ln()), expected));
        assert!(close(
            score(platt, OutputKind::ProbabilityPair, 0.75),
            expected
        ));
    }

    #[test]
    fn scores_stay_between_zero_and_one() {
        let steep = Calibration::Platt { a: -50.0, b: 0.0 };
        for (calibration, kind, output) in [
            (Calibration::None, OutputKind::Probability, 1.000_000_1),
            (Calibration::None, OutputKind::Probability, -1e-9),
            (Calibration::None, OutputKind::Logit, f64::INFINITY),
            (Calibration::None, OutputKind::Logit, f64::NEG_INFINITY),
            (steep, OutputKind::Probability, 0.0),
            (steep, OutputKind::Probability, 1.0),
            (steep, OutputKind::Logit, -1e300),
        ] {
            let score = score(calibration, kind, output);
            assert!(
                (0.0..=1.0).contains(&score),
                "{calibration:?} {kind:?} {output}: {score}"
            );
        }
    }

    #[test]
    fn what_is_no_probability_is_an_error_and_not_clamped() {
        for kind in [
            OutputKind::Probability,
            OutputKind::ProbabilityPair,
            OutputKind::Logit,
        ] {
            assert!(Calibration::None.score(kind, f64::NAN).is_err(), "{kind:?}");
        }
        assert!(
            Calibration::None
                .score(OutputKind::Probability, 1.5)
                .is_err()
        );
        assert!(
            Calibration::None
                .score(OutputKind::Probability, -2.0)
                .is_err()
        );
        let flat = Calibration::Platt { a: 0.0, b: 0.0 };
        assert!(flat.score(OutputKind::Logit, f64::INFINITY).is_err());
    }
}
