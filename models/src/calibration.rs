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
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Calibration {
    /// The output is taken as it is (a logit through the logistic function).
    #[default]
    None,
    /// `p = 1 / (1 + exp(a·s + b))` on the log-odds `s` of the output, so that `a = -1, b = 0` changes
    /// nothing. J. Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
    /// Likelihood Methods", Advances in Large Margin Classifiers, 1999.
    Platt { a: f64, b: f64 },
    /// By a curve that never falls, straight between its points and level beyond them. `outputs` are as the model
    /// puts them out (a logit as a logit). B. Zadrozny and C. Elkan, "Transforming Classifier Scores into Accurate
    /// Multiclass Probability Estimates", KDD 2002.
    Isotonic { outputs: Vec<f64>, scores: Vec<f64> },
}

/// A curve of more points than this is not a calibration but a second model.
const POINTS_MAX: usize = 10_000;

/// How far outside [0, 1] rounding may put a probability. What is further out is not a probability, and a
/// manifest that calls a logit one must not be hidden by clamping.
const OUTSIDE_MAX: f64 = 1e-3;

/// The log-odds of a probability of exactly 0 or 1 are infinite; a 32-bit float cannot tell a probability
/// nearer to 1 than this from 1 anyway.
const PROBABILITY_MIN: f64 = 1e-7;

impl Calibration {
    /// What is wrong with it, in words for whoever wrote the manifest.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::None => Ok(()),
            Self::Platt { a, b } if !(a.is_finite() && b.is_finite()) => {
                Err("`calibration.platt` needs finite numbers `a` and `b`".to_owned())
            }
            // A falling curve would call the safest transactions the riskiest.
            Self::Platt { a, .. } if *a >= 0.0 => Err(format!(
                "`calibration.platt.a` is {a}: it must be negative, so that a higher output means a higher score"
            )),
            Self::Platt { .. } => Ok(()),
            Self::Isotonic { outputs, scores } => check_curve(outputs, scores)
                .map_err(|problem| format!("`calibration.isotonic` {problem}")),
        }
    }

    /// The score for one `output` of a model.
    pub(crate) fn score(&self, kind: OutputKind, output: f64) -> Result<Score, RunError> {
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
            (Self::Isotonic { outputs, scores }, _) => on_curve(outputs, scores, output),
        };
        // An infinite logit times a zero slope is NaN.
        if probability.is_nan() {
            return Err(RunError::NotAProbability(output));
        }
        Ok(Score(probability.clamp(0.0, 1.0)))
    }
}

fn check_curve(outputs: &[f64], scores: &[f64]) -> Result<(), String> {
    if outputs.len() != scores.len() || !(2..=POINTS_MAX).contains(&outputs.len()) {
        return Err(format!(
            "has {} outputs and {} scores: write 2 to {POINTS_MAX} points, each with its output and its score",
            outputs.len(),
            scores.len()
        ));
    }
    if !outputs.iter().all(|output| output.is_finite())
        || !outputs.windows(2).all(|pair| pair[0] < pair[1])
    {
        return Err("needs finite `outputs`, each greater than the one before".to_owned());
    }
    if let Some(score) = scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
        return Err(format!("has the score {score}, expected 0 to 1"));
    }
    if let Some(pair) = scores.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(format!(
            "falls from {} to {}: `scores` must not fall, so that a higher output means a higher score",
            pair[0], pair[1]
        ));
    }
    Ok(())
}

/// `outputs` ascend and are as many as `scores`, at least two.
fn on_curve(outputs: &[f64], scores: &[f64], output: f64) -> f64 {
    let above = outputs.partition_point(|point| *point <= output);
    let at = |place: usize| scores.get(place).copied().unwrap_or(f64::NAN);
    if above == 0 {
        return at(0);
    }
    if above >= outputs.len() {
        return at(outputs.len() - 1);
    }
    let (left, right) = (outputs[above - 1], outputs[above]);
    let share = (output - left) / (right - left);
    at(above - 1) + share * (at(above) - at(above - 1))
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

    fn score(calibration: &Calibration, kind: OutputKind, output: f64) -> f64 {
        calibration.score(kind, output).unwrap().value()
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-12
    }

    #[test]
    fn no_calibration_leaves_a_probability_as_it_is() {
        for kind in [OutputKind::Probability, OutputKind::ProbabilityPair] {
            assert!(close(score(&Calibration::None, kind, 0.25), 0.25));
        }
        assert!(close(
            score(&Calibration::None, OutputKind::Logit, 0.0),
            0.5
        ));
        assert!(close(
            score(&Calibration::None, OutputKind::Logit, 3_f64.ln()),
            0.75
        ));
    }

    #[test]
    fn platt_works_on_log_odds_whatever_the_model_puts_out() {
        let identity = Calibration::Platt { a: -1.0, b: 0.0 };
        assert!(close(score(&identity, OutputKind::Probability, 0.25), 0.25));
        let platt = Calibration::Platt { a: -2.0, b: 0.5 };
        let expected = 1.0 / (1.0 + (-2.0 * 3_f64.ln() + 0.5).exp());
        assert!(close(
            score(&platt, OutputKind::Logit, 3_f64.ln()),
            expected
        ));
        assert!(close(
            score(&platt, OutputKind::ProbabilityPair, 0.75),
            expected
        ));
    }

    #[test]
    fn isotonic_is_straight_between_points_and_level_beyond_them() {
        let curve = Calibration::Isotonic {
            outputs: vec![-1.0, 0.0, 0.5],
            scores: vec![0.1, 0.1, 0.9],
        };
        curve.check().unwrap();
        for (output, expected) in [
            (f64::NEG_INFINITY, 0.1),
            (-5.0, 0.1),
            (-0.25, 0.1),
            (0.0, 0.1),
            (0.125, 0.3),
            (0.25, 0.5),
            (0.5, 0.9),
            (7.0, 0.9),
            (f64::INFINITY, 0.9),
        ] {
            let found = score(&curve, OutputKind::Logit, output);
            assert!(close(found, expected), "{output}: {found}");
        }
        assert!(curve.score(OutputKind::Logit, f64::NAN).is_err());
        // What calls itself a probability must still be one.
        assert!(curve.score(OutputKind::Probability, -0.25).is_err());
    }

    #[test]
    fn a_curve_that_is_none_is_refused_with_what_to_write() {
        for (outputs, scores, expected) in [
            (vec![], vec![], "2 to 10000 points"),
            (vec![0.5], vec![0.5], "2 to 10000 points"),
            (vec![0.0, 1.0], vec![0.0], "2 outputs and 1 scores"),
            (
                vec![0.0, 0.0],
                vec![0.0, 1.0],
                "greater than the one before",
            ),
            (
                vec![1.0, 0.0],
                vec![0.0, 1.0],
                "greater than the one before",
            ),
            (vec![0.0, f64::INFINITY], vec![0.0, 1.0], "finite"),
            (vec![0.0, 1.0], vec![0.0, 1.5], "the score 1.5"),
            (vec![0.0, 1.0], vec![0.0, f64::NAN], "the score NaN"),
            (vec![0.0, 1.0], vec![0.5, 0.25], "falls from 0.5 to 0.25"),
        ] {
            let problem = Calibration::Isotonic { outputs, scores }.check();
            let problem = problem.unwrap_err();
            assert!(problem.contains(expected), "{problem} / {expected}");
        }
    }

    #[test]
    fn scores_stay_between_zero_and_one() {
        let steep = Calibration::Platt { a: -50.0, b: 0.0 };
        for (calibration, kind, output) in [
            (Calibration::None, OutputKind::Probability, 1.000_000_1),
            (Calibration::None, OutputKind::Probability, -1e-9),
            (Calibration::None, OutputKind::Logit, f64::INFINITY),
            (Calibration::None, OutputKind::Logit, f64::NEG_INFINITY),
            (steep.clone(), OutputKind::Probability, 0.0),
            (steep.clone(), OutputKind::Probability, 1.0),
            (steep, OutputKind::Logit, -1e300),
        ] {
            let score = score(&calibration, kind, output);
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
