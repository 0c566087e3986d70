//! The section `model`: how the champion is run, and when it is not asked any more.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollgate_models::{ANSWERS_MAX, BreakerOptions};

use crate::policy::ModelLimits;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The ONNX Runtime library (1.30 or newer). Empty looks beside the program and in `target/onnxruntime`.
    pub library: PathBuf,
    /// Threads that run the champion.
    pub threads: usize,
    /// Threads that ONNX Runtime uses inside one run of a model, the thread that runs it included.
    pub intra_threads: usize,
    /// Rows that may wait for them; further ones are answered without the model.
    pub queue_rows_max: usize,
    /// A run that takes longer is ended, as far as ONNX Runtime can; a model that cannot run within it is not loaded.
    pub run_ms_max: u64,
    pub breaker: BreakerConfig,
}

/// When a model that keeps missing or failing is not asked any more, and how it is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// How many of the latest answers are looked at.
    pub answers: u32,
    /// With so many bad ones among them the model is not asked any more.
    pub bad_max: u32,
    /// From then to the first decision that tries it again; doubled each time it is found as it was.
    pub pause_ms: u64,
    /// Longest pause.
    pub pause_ms_max: u64,
    /// So many good answers in a row, one try after the other, and everybody asks it again.
    pub probes: u32,
    /// Where a caller's deadline left the model less than this, its missing it says nothing of the model.
    pub patience_ms_min: u64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            library: PathBuf::new(),
            threads: 1,
            intra_threads: 1,
            queue_rows_max: 256,
            run_ms_max: 250,
            breaker: BreakerConfig::default(),
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let BreakerOptions {
            answers,
            bad_max,
            pause,
            pause_max,
            probes,
        } = BreakerOptions::default();
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            answers,
            bad_max,
            pause_ms: millis(pause),
            pause_ms_max: millis(pause_max),
            probes,
            patience_ms_min: 10,
        }
    }
}

impl ModelConfig {
    /// How the policy's models are to be run.
    pub fn limits(&self) -> ModelLimits {
        ModelLimits {
            threads: self.threads,
            intra_threads: self.intra_threads,
            queue_rows_max: self.queue_rows_max,
            run_max: Duration::from_millis(self.run_ms_max),
            breaker: self.breaker.options(),
            patience_min: Duration::from_millis(self.breaker.patience_ms_min),
        }
    }

    /// Holds each value against the range it may have.
    pub(super) fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        range("model.threads", count(self.threads), 1..=256);
        range("model.intra_threads", count(self.intra_threads), 1..=256);
        range(
            "model.queue_rows_max",
            count(self.queue_rows_max),
            1..=65_536,
        );
        range("model.run_ms_max", self.run_ms_max, 10..=60_000);
        self.breaker.ranges(range);
    }
}

impl BreakerConfig {
    const fn options(&self) -> BreakerOptions {
        BreakerOptions {
            answers: self.answers,
            bad_max: self.bad_max,
            pause: Duration::from_millis(self.pause_ms),
            pause_max: Duration::from_millis(self.pause_ms_max),
            probes: self.probes,
        }
    }

    fn ranges(&self, range: &mut impl FnMut(&str, u64, RangeInclusive<u64>)) {
        let answers = self.answers.into();
        range("model.breaker.answers", answers, 1..=ANSWERS_MAX.into());
        range(
            "model.breaker.bad_max",
            self.bad_max.into(),
            1..=answers.max(1),
        );
        range("model.breaker.pause_ms", self.pause_ms, 10..=600_000);
        range(
            "model.breaker.pause_ms_max",
            self.pause_ms_max,
            self.pause_ms..=3_600_000,
        );
        range("model.breaker.probes", self.probes.into(), 1..=1_000);
        range(
            "model.breaker.patience_ms_min",
            self.patience_ms_min,
            1..=100,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(config: &ModelConfig) -> Vec<String> {
        let mut wrong = Vec::new();
        config.ranges(&mut |key, value, allowed| {
            if !allowed.contains(&value) {
                wrong.push(key.to_owned());
            }
        });
        wrong
    }

    #[test]
    fn defaults_are_within_their_ranges_and_are_those_of_the_breaker() {
        let config = ModelConfig::default();
        assert_eq!(wrong(&config), Vec::<String>::new());
        assert_eq!(config.limits().breaker, BreakerOptions::default());
    }

    #[test]
    fn values_that_contradict_each_other_are_named() {
        let mut config = ModelConfig::default();
        config.breaker.bad_max = config.breaker.answers + 1;
        config.breaker.pause_ms = config.breaker.pause_ms_max + 1;
        config.run_ms_max = 0;
        let expected = [
            "model.run_ms_max",
            "model.breaker.bad_max",
            "model.breaker.pause_ms_max",
        ];
        assert_eq!(wrong(&config), expected);
    }
}
