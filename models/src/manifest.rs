//! What a bundle says about its model: `manifest.yaml`, written by the training script.

mod distribution;
mod input;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::{Calibration, Rows, Width};
pub use distribution::{Distribution, NumberDistribution, TextDistribution};
pub use input::{Input, InputKind, InputReason, Value};

use distribution::RawDistribution;

/// `manifest.yaml` as it was read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub description: String,
    /// SHA-256 of `model.onnx`, in hexadecimal.
    pub model_sha256: String,
    /// What [`crate::features_digest`] gave over the inputs' definitions when the model was trained.
    pub features_sha256: String,
    /// In the order of the model's columns, within each of its tensors.
    pub inputs: Vec<Input>,
    /// The name of the model's tensor that all inputs go into which do not name their own.
    #[serde(default)]
    pub tensor: Option<String>,
    pub output: Output,
    #[serde(default)]
    pub calibration: Calibration,
    /// How calibrated scores were spread over the transactions it was measured on.
    #[serde(default, deserialize_with = "score_distribution")]
    pub score_distribution: Option<NumberDistribution>,
    #[serde(default)]
    pub trained: Option<Trained>,
    /// What the training script measured on transactions later than those it trained on.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
    pub kind: OutputKind,
}

/// What the model's output means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// `[rows, 2]`: the probability of no fraud and that of fraud.
    ProbabilityPair,
    /// `[rows, 1]` or `[rows]`: the probability of fraud.
    Probability,
    /// `[rows, 1]` or `[rows]`: the log-odds of fraud.
    Logit,
}

/// What the model was trained on, for people.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    pub from: String,
    pub to: String,
    pub rows: u64,
}

/// More inputs than this is a mistake, and every row's memory must stay bounded.
const INPUTS_MAX: usize = 1024;

impl Manifest {
    /// A row of which nothing is known: everything is filled as the manifest says.
    pub(crate) fn row_of_missing(&self) -> Rows {
        let mut row = Rows::one(Vec::new(), Vec::new());
        for input in &self.inputs {
            match &input.missing {
                Value::Number(number) => row.numbers.push(*number),
                Value::Text(text) => row.texts.push(Arc::clone(text)),
            }
        }
        row
    }

    /// What is wrong beyond the form, in words for whoever wrote the file.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_word("name", &self.name)?;
        check_word("version", &self.version)?;
        check_digest("model_sha256", &self.model_sha256)?;
        check_digest("features_sha256", &self.features_sha256)?;
        if self.inputs.is_empty() {
            return Err("`inputs` is empty: a model needs at least one feature".to_owned());
        }
        if self.inputs.len() > INPUTS_MAX {
            return Err(format!(
                "`inputs` lists {} features, at most {INPUTS_MAX} are taken",
                self.inputs.len()
            ));
        }
        let mut seen = BTreeSet::new();
        for input in &self.inputs {
            if !seen.insert(input.feature.as_str()) {
                return Err(format!(
                    "`inputs` lists the feature `{}` twice",
                    input.feature
                ));
            }
            if self.tensor_of(input).is_none() {
                return Err(format!(
                    "the feature `{}` goes into no tensor: write the name of the model's input tensor as `tensor` beside \
                     `inputs`, or as the feature's own `tensor` where the model has several",
                    input.feature
                ));
            }
        }
        self.calibration.check()
    }

    /// The model's tensor that an input goes into.
    pub(crate) fn tensor_of<'m>(&'m self, input: &'m Input) -> Option<&'m str> {
        input.tensor.as_deref().or(self.tensor.as_deref())
    }

    /// How many numbers and texts a row has.
    pub fn width(&self) -> Width {
        let inputs = self.inputs.iter();
        let texts = inputs.filter(|input| input.kind == InputKind::Text).count();
        Width {
            numbers: self.inputs.len() - texts,
            texts,
        }
    }
}

fn score_distribution<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<NumberDistribution>, D::Error> {
    let raw = Option::<RawDistribution>::deserialize(deserializer)?;
    raw.map(RawDistribution::numbers)
        .transpose()
        .map_err(|problem| D::Error::custom(format!("`score_distribution`: {problem}")))
}

/// Names and versions end up in folder names, metrics and every decision.
fn check_word(key: &str, word: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=64).contains(&word.len()) && word.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "`{key}` is {word:?}: write 1 to 64 letters, digits, `-`, `_` or `.`"
    ))
}

fn check_digest(key: &str, digest: &str) -> Result<(), String> {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digest.len() == 64 && digest.bytes().all(hexadecimal) {
        return Ok(());
    }
    Err(format!(
        "`{key}` is not a SHA-256 digest: 64 digits of 0-9 and a-f"
    ))
}
