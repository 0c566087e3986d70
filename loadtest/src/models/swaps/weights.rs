//! What each version of the model is made of, and the scores that follow from it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::score::Answer;

/// The model calculates with 32 bits, this file with 64.
const TOLERANCE: f64 = 1e-5;

/// What a feature that is missing is filled with, as the manifests of these models say.
const MISSING: f32 = -1.0;

/// By version: `swap/1`.
pub(super) struct Weights(BTreeMap<String, Version>);

#[derive(Deserialize)]
struct Version {
    bias: f64,
    /// By feature.
    weights: BTreeMap<String, f64>,
}

/// What a score turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// That of the version the answer names.
    Right(String),
    /// Not that.
    Wrong,
    /// It is of a model that is not one of these: the one before the first of them.
    OtherModel,
    /// There is none: of a decline that is certain without, or of an answer that left the model out.
    NoScore,
}

impl Weights {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let versions: BTreeMap<String, Version> = serde_json::from_str(&text)
            .with_context(|| format!("{} is not what models.py writes", path.display()))?;
        if versions.is_empty() {
            bail!("{} has no version", path.display());
        }
        Ok(Self(versions))
    }

    /// In the order of their numbers.
    pub(super) fn versions(&self) -> Vec<String> {
        let mut versions: Vec<String> = self.0.keys().cloned().collect();
        versions.sort_by_key(|name| (name.len(), name.clone()));
        versions
    }

    /// Holds the score of an answer against what its model gives for its features.
    pub(super) fn compare(&self, answer: &Answer) -> Found {
        let Ok(response) = &answer.result else {
            return Found::NoScore;
        };
        if !response.has_score {
            return Found::NoScore;
        }
        let Some(version) = self.0.get(&response.model_version) else {
            return Found::OtherModel;
        };
        let expected = version.score(|name| response.features.get(name).copied());
        if (expected - response.score).abs() <= TOLERANCE {
            Found::Right(response.model_version.clone())
        } else {
            Found::Wrong
        }
    }
}

impl Version {
    /// logistic(bias + sum of weight * x / (1 + |x|)).
    fn score(&self, feature: impl Fn(&str) -> Option<f64>) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "the model takes 32 bits")]
        let input = |name: &str| f64::from(feature(name).map_or(MISSING, |value| value as f32));
        let term = |(name, weight): (&String, &f64)| {
            let x = input(name);
            weight * x / (1.0 + x.abs())
        };
        let logit = self.bias + self.weights.iter().map(term).sum::<f64>();
        1.0 / (1.0 + (-logit).exp())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tollgate_proto::v1;

    use super::*;

    #[test]
    fn a_score_is_right_for_the_version_that_it_names_only() {
        let version = |bias| Version {
            bias,
            weights: BTreeMap::from([("amount".to_owned(), 2.0), ("hour".to_owned(), 4.0)]),
        };
        let versions = [("swap/10", 0.5), ("swap/9", -0.5)];
        let weights = Weights(
            versions
                .map(|(name, bias)| (name.to_owned(), version(bias)))
                .into(),
        );
        assert_eq!(weights.versions(), ["swap/9", "swap/10"]);
        // amount 3 → 0.75, hour missing → -0.5: 0.5 + 1.5 - 2 = 0.
        let answer = |version: &str, score| Answer {
            result: Ok(v1::ScoreResponse {
                model_version: version.to_owned(),
                has_score: true,
                score,
                features: [("amount".to_owned(), 3.0)].into(),
                ..v1::ScoreResponse::default()
            }),
            latency: Duration::ZERO,
        };
        let right = Found::Right("swap/10".to_owned());
        assert_eq!(weights.compare(&answer("swap/10", 0.5)), right);
        assert_eq!(weights.compare(&answer("swap/9", 0.5)), Found::Wrong);
        assert_eq!(weights.compare(&answer("other/1", 0.5)), Found::OtherModel);
    }
}
