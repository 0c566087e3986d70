//! One input of a model, as the manifest describes it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use tollgate_types::ReasonCode;

use super::distribution::{Distribution, RawDistribution};

/// One input of the model.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(try_from = "RawInput")]
pub struct Input {
    /// The policy's name of the feature.
    pub feature: String,
    pub kind: InputKind,
    /// What the model is given where the feature is missing; the same as in training. Of the input's kind.
    pub missing: Value,
    /// Which of the model's tensors it goes into, where there are several.
    pub tensor: Option<String>,
    /// What an explanation puts in its place: something usual. Of the input's kind.
    pub baseline: Value,
    /// What is said where this input moved a score.
    pub reason: Option<InputReason>,
    /// Which values it had in training.
    pub distribution: Option<Distribution>,
}

/// What a feature is to a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    #[default]
    Number,
    Text,
}

/// A value of an input.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Number(f64),
    Text(Arc<str>),
}

/// A reason that comes from the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputReason {
    pub code: ReasonCode,
    pub description: Arc<str>,
}

/// Longest text of a reason: it is in every answer that gives it.
const DESCRIPTION_BYTES_MAX: usize = 500;

/// Longest text that is filled in for a missing one.
const TEXT_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    feature: String,
    #[serde(default, rename = "type")]
    kind: InputKind,
    missing: Option<Value>,
    tensor: Option<String>,
    baseline: Option<Value>,
    reason: Option<RawReason>,
    distribution: Option<RawDistribution>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReason {
    code: String,
    description: String,
}

impl TryFrom<RawInput> for Input {
    type Error = String;

    fn try_from(raw: RawInput) -> Result<Self, String> {
        let RawInput { feature, kind, .. } = raw;
        let of = |key: &str, value: Value| {
            let checked = value.check(kind);
            checked.map_err(|problem| format!("`{key}` of the feature `{feature}` {problem}"))
        };
        let missing = of("missing", raw.missing.unwrap_or_else(|| kind.nothing()))?;
        let baseline = of("baseline", raw.baseline.unwrap_or_else(|| missing.clone()))?;
        let reason = raw
            .reason
            .map(|reason| reason.check(&feature))
            .transpose()?;
        let distribution = raw
            .distribution
            .map(|distribution| distribution.check(kind))
            .transpose()
            .map_err(|problem| format!("`distribution` of the feature `{feature}`: {problem}"))?;
        Ok(Self {
            feature,
            kind,
            missing,
            tensor: raw.tensor,
            baseline,
            reason,
            distribution,
        })
    }
}

impl RawReason {
    fn check(self, feature: &str) -> Result<InputReason, String> {
        let code = ReasonCode::parse(&self.code)
            .map_err(|error| format!("`reason.code` of the feature `{feature}`: {error}"))?;
        if self.description.is_empty() || self.description.len() > DESCRIPTION_BYTES_MAX {
            return Err(format!(
                "`reason.description` of the feature `{feature}` has {} bytes, expected 1 to {DESCRIPTION_BYTES_MAX}",
                self.description.len()
            ));
        }
        Ok(InputReason {
            code,
            description: self.description.into(),
        })
    }
}

impl InputKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
        }
    }

    /// What is filled in where the manifest does not say.
    fn nothing(self) -> Value {
        match self {
            Self::Number => Value::Number(0.0),
            Self::Text => Value::Text("".into()),
        }
    }
}

impl Value {
    /// The number of a number input.
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => None,
        }
    }

    /// The text of a text input.
    pub const fn as_text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Number(_) => None,
            Self::Text(text) => Some(text),
        }
    }

    fn check(self, kind: InputKind) -> Result<Self, String> {
        match (&self, kind) {
            (Self::Number(number), InputKind::Number) if number.is_infinite() => {
                Err("is infinite: write a finite number, or `nan`".to_owned())
            }
            // Not a number is how libraries that know of missing values are told of one.
            (Self::Text(text), InputKind::Number) if &**text == "nan" => Ok(Self::Number(f64::NAN)),
            (Self::Number(number), InputKind::Text) => Err(format!(
                "is the number {number}, and the input has `type: text`: write a text in quotes"
            )),
            (Self::Text(text), InputKind::Number) => Err(format!(
                "is the text {text:?}: write a number, `nan`, or `type: text` where the model takes texts"
            )),
            (Self::Text(text), InputKind::Text) if text.len() > TEXT_BYTES_MAX => Err(format!(
                "has {} bytes, at most {TEXT_BYTES_MAX} are taken",
                text.len()
            )),
            _ => Ok(self),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// By hand, so that what is neither is refused in words.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;

        impl Visitor<'_> for Seen {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
                Ok(Value::Number(number))
            }

            #[expect(clippy::cast_precision_loss, reason = "inputs are 64-bit floats")]
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
                Ok(Value::Number(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "inputs are 64-bit floats")]
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
                Ok(Value::Number(number as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.into()))
            }
        }

        deserializer.deserialize_any(Seen)
    }
}
