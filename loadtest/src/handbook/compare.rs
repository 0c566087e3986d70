//! Compares what the service answered with what the handbook's own code computed.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate_proto::v1;

use super::data::{CHAMPION, Expected, FEATURES, MODELS, model_version};

/// Averages come from whole cents and may differ in the last digits.
const AVERAGE_TOLERANCE: f64 = 1e-9;
/// Models see features as 32-bit floats.
const SCORE_TOLERANCE: f64 = 1e-5;
/// Mismatches reported in detail; the rest are counted.
const DETAILS_MAX: usize = 20;

/// All differences found so far.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    /// Values compared.
    pub(super) compared: u64,
    pub(super) mismatches: u64,
    /// The largest difference by feature or model, within tolerance or not.
    pub(super) max_abs_diff: BTreeMap<String, f64>,
    pub(super) first_mismatches: Vec<Mismatch>,
}

/// One value that is not what it must be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Mismatch {
    pub(super) transaction_id: String,
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) found: String,
}

impl Comparison {
    /// Every answer is a full decision by the champion.
    pub(super) fn answer(&mut self, id: &str, response: &v1::ScoreResponse) {
        if response.degradation() != v1::Degradation::Full {
            let causes = response.degradation_causes.join(", ");
            let found = format!("{:?}: {causes}", response.degradation());
            self.mismatch(id, "degradation", "FULL", found);
        }
        if response.transaction_id != id {
            self.mismatch(id, "transaction_id", id, response.transaction_id.clone());
        }
        let champion = model_version(CHAMPION);
        if !response.has_score || response.model_version != champion {
            let found = format!("score {}, {}", response.has_score, response.model_version);
            self.mismatch(id, "model", &champion, found);
        }
    }

    /// Features as in [`Self::features`], the champion's score within tolerance.
    pub(super) fn values(&mut self, id: &str, expected: &Expected, response: &v1::ScoreResponse) {
        self.features(id, expected, |name| response.features.get(name).copied());
        let score = response.has_score.then_some(response.score);
        let name = MODELS[CHAMPION];
        self.value(id, name, SCORE_TOLERANCE, expected.scores[CHAMPION], score);
    }

    /// Counts and risks are equal, averages within tolerance.
    pub(super) fn features(
        &mut self,
        id: &str,
        expected: &Expected,
        found: impl Fn(&str) -> Option<f64>,
    ) {
        for (name, value) in FEATURES.into_iter().zip(expected.features) {
            let tolerance = if name.contains("avg") {
                AVERAGE_TOLERANCE
            } else {
                0.0
            };
            self.value(id, name, tolerance, value, found(name));
        }
    }

    /// The other models' scores, from the record of the decision.
    pub(super) fn challengers(
        &mut self,
        id: &str,
        expected: &Expected,
        found: &[v1::ChallengerScore],
    ) {
        for (model, name) in MODELS.into_iter().enumerate() {
            if model == CHAMPION {
                continue;
            }
            let version = model_version(model);
            let score = found.iter().find(|score| score.model_version == version);
            match score {
                Some(score) if !score.error.is_empty() => {
                    let expected = expected.scores[model].to_string();
                    self.mismatch(id, name, &expected, score.error.clone());
                }
                _ => {
                    let score = score.map(|found| found.score);
                    self.value(id, name, SCORE_TOLERANCE, expected.scores[model], score);
                }
            }
        }
    }

    pub(super) fn mismatch(&mut self, id: &str, what: &str, expected: &str, found: String) {
        self.mismatches += 1;
        if self.first_mismatches.len() < DETAILS_MAX {
            self.first_mismatches.push(Mismatch {
                transaction_id: id.to_owned(),
                what: what.to_owned(),
                expected: expected.to_owned(),
                found,
            });
        }
    }

    fn value(&mut self, id: &str, name: &str, tolerance: f64, expected: f64, found: Option<f64>) {
        self.compared += 1;
        let Some(found) = found else {
            self.mismatch(id, name, &expected.to_string(), "missing".to_owned());
            return;
        };
        let difference = (found - expected).abs();
        let largest = self.max_abs_diff.entry(name.to_owned()).or_default();
        *largest = largest.max(difference);
        // Written so that a NaN does not pass.
        let within = difference <= tolerance;
        if !within {
            self.mismatch(id, name, &expected.to_string(), found.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected() -> Expected {
        let mut features = [2.0; FEATURES.len()];
        features[10] = 1.0 / 3.0;
        Expected {
            features,
            scores: [0.1, 0.2, 0.3, 0.4],
        }
    }

    fn response() -> v1::ScoreResponse {
        let names = FEATURES.into_iter().map(str::to_owned);
        v1::ScoreResponse {
            transaction_id: "hb-1".to_owned(),
            score: 0.400_009,
            has_score: true,
            degradation: v1::Degradation::Full.into(),
            model_version: "xgb300_d4/1".to_owned(),
            features: names.zip(expected().features).collect(),
            ..v1::ScoreResponse::default()
        }
    }

    fn mismatches(response: &v1::ScoreResponse) -> Vec<String> {
        let mut comparison = Comparison::default();
        comparison.answer("hb-1", response);
        comparison.values("hb-1", &expected(), response);
        comparison
            .first_mismatches
            .into_iter()
            .map(|mismatch| mismatch.what)
            .collect()
    }

    #[test]
    fn equal_values_and_small_differences_of_averages_and_scores_pass() {
        let mut response = response();
        assert!(mismatches(&response).is_empty());
        *response
            .features
            .get_mut("customer_id_avg_amount_7day_window")
            .unwrap() += 9e-10;
        assert!(mismatches(&response).is_empty());
    }

    #[test]
    fn counts_and_risks_must_be_equal_and_nothing_may_be_missing() {
        let mut response = response();
        *response
            .features
            .get_mut("terminal_id_risk_1day_window")
            .unwrap() += 1e-16;
        *response
            .features
            .get_mut("customer_id_avg_amount_7day_window")
            .unwrap() += 1e-8;
        response.features.remove("tx_amount");
        response.score = f64::NAN;
        let names = [
            "tx_amount",
            "customer_id_avg_amount_7day_window",
            "terminal_id_risk_1day_window",
            "xgb300_d4",
        ];
        assert_eq!(mismatches(&response), names);
    }

    #[test]
    fn a_degraded_answer_or_another_model_is_a_mismatch() {
        let mut response = response();
        response.degradation = v1::Degradation::NoModel.into();
        response.model_version = "other/1".to_owned();
        assert_eq!(mismatches(&response), ["degradation", "model"]);
    }

    #[test]
    fn challengers_are_compared_by_version_and_their_errors_are_shown() {
        let mut comparison = Comparison::default();
        let score = |model_version: &str, score, error: &str| v1::ChallengerScore {
            model_version: model_version.to_owned(),
            score,
            error: error.to_owned(),
        };
        let scores = [
            score("logreg/1", 0.1, ""),
            score("rf100_d10/1", 0.2, "queue full"),
        ];
        comparison.challengers("hb-1", &expected(), &scores);
        assert_eq!(comparison.mismatches, 2);
        assert_eq!(comparison.first_mismatches[0].found, "queue full");
        assert_eq!(comparison.first_mismatches[1].found, "missing");
        assert_eq!(
            comparison.max_abs_diff.keys().collect::<Vec<_>>(),
            ["logreg"]
        );
    }
}
