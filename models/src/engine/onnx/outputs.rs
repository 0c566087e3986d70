//! What of a model's output is the score.

use ort::session::Session;
use ort::value::{DynMap, DynValue, TensorElementType, ValueType};

use crate::manifest::{Output, OutputKind};

/// How the named output is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Floats,
    Doubles,
    /// One map from class to probability per row, as `ZipMap` writes them.
    Maps {
        key: TensorElementType,
        value: TensorElementType,
    },
}

impl Form {
    /// Of the output that the manifest names, as the model declares it.
    pub(super) fn of(session: &Session, output: &Output) -> Result<Self, String> {
        let name = &output.name;
        let outputs = session.outputs();
        let Some(found) = outputs.iter().find(|output| output.name() == name) else {
            let quoted = outputs.iter().map(|output| format!("`{}`", output.name()));
            let names: Vec<String> = quoted.collect();
            return Err(format!(
                "it has no output `{name}`; its outputs are {}",
                names.join(", ")
            ));
        };
        let dtype = found.dtype();
        match dtype {
            ValueType::Tensor { ty, .. } => match ty {
                TensorElementType::Float32 => Ok(Self::Floats),
                TensorElementType::Float64 => Ok(Self::Doubles),
                _ => Err(format!(
                    "its output `{name}` is {dtype}, expected 32-bit floats or 64-bit floats: name the output with the \
                     probabilities"
                )),
            },
            ValueType::Sequence(of) => match **of {
                ValueType::Map { key, value } if output.kind == OutputKind::ProbabilityPair => {
                    Ok(Self::Maps { key, value })
                }
                _ => Err(format!(
                    "its output `{name}` is {dtype}, which is read as a map from class to probability: write \
                     `kind: probability_pair`"
                )),
            },
            _ => Err(format!(
                "its output `{name}` is {dtype}, expected a tensor of floats, or a map from class to probability"
            )),
        }
    }

    /// One output per row, behind what `outputs` holds: the last value of each row, since of a pair the second is the
    /// probability of fraud.
    pub(super) fn read(
        self,
        value: &DynValue,
        width: usize,
        outputs: &mut Vec<f64>,
    ) -> ort::Result<()> {
        match self {
            Self::Floats => {
                let (_, found) = value.try_extract_tensor::<f32>()?;
                let last = found.chunks_exact(width).filter_map(<[f32]>::last);
                outputs.extend(last.map(|&last| f64::from(last)));
            }
            Self::Doubles => {
                let (_, found) = value.try_extract_tensor::<f64>()?;
                outputs.extend(found.chunks_exact(width).filter_map(<[f64]>::last));
            }
            Self::Maps { key, value: of } => {
                for map in value.try_extract_sequence::<ort::value::DynMapValueType>()? {
                    outputs.push(of_map(&map, key, of)?);
                }
            }
        }
        Ok(())
    }

    /// The shape of what one run gave; of maps, rows and classes.
    pub(super) fn shape(self, value: &DynValue) -> ort::Result<Vec<i64>> {
        match self {
            Self::Floats => Ok(value.try_extract_tensor::<f32>()?.0.to_vec()),
            Self::Doubles => Ok(value.try_extract_tensor::<f64>()?.0.to_vec()),
            Self::Maps { .. } => {
                let maps = value.try_extract_sequence::<ort::value::DynMapValueType>()?;
                Ok(vec![i64::try_from(maps.len()).unwrap_or(i64::MAX), 2])
            }
        }
    }
}

/// The probability of the class that sorts last: 1 of 0 and 1, `true` of `false` and `true`.
fn of_map(map: &DynMap, key: TensorElementType, value: TensorElementType) -> ort::Result<f64> {
    match (key, value) {
        (TensorElementType::Int64, TensorElementType::Float32) => {
            last(map.try_extract_key_values::<i64, f32>()?)
        }
        (TensorElementType::Int64, TensorElementType::Float64) => {
            last(map.try_extract_key_values::<i64, f64>()?)
        }
        (TensorElementType::String, TensorElementType::Float32) => {
            last(map.try_extract_key_values::<String, f32>()?)
        }
        (TensorElementType::String, TensorElementType::Float64) => {
            last(map.try_extract_key_values::<String, f64>()?)
        }
        _ => Err(ort::Error::new(format!(
            "a map from {key} to {value} is not one from class to probability"
        ))),
    }
}

fn last<K: Ord, V: Into<f64>>(pairs: Vec<(K, V)>) -> ort::Result<f64> {
    if pairs.len() != 2 {
        return Err(ort::Error::new(format!(
            "a row has the probabilities of {} classes, expected those of two",
            pairs.len()
        )));
    }
    let last = pairs
        .into_iter()
        .max_by(|(left, _), (right, _)| left.cmp(right));
    last.map(|(_, value)| value.into())
        .ok_or_else(|| ort::Error::new("a row has no probabilities"))
}

/// What to write in the manifest for an output of this shape.
pub(super) fn kinds_help(found: &[i64]) -> &'static str {
    match found {
        [1, 2] => "`kind: probability_pair` is for the probabilities of both classes",
        [1] | [1, 1] => "`kind: probability` and `kind: logit` are for one value a row",
        _ => "Tollgate takes models with one value a row, or the probabilities of two classes",
    }
}
