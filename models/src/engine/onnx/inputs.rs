//! Which of a row's values go into which of a model's tensors.

use std::sync::Arc;

use ort::session::Session;
use ort::value::{DynValue, Tensor, TensorElementType, ValueType};

use crate::Rows;
use crate::manifest::{Input, InputKind, Manifest};

/// One tensor of the model, and where its columns come from.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) name: String,
    pub(super) element: Element,
    /// Places among a row's numbers, or among its texts for texts.
    pub(super) columns: Vec<usize>,
    /// Whether it has a second axis, or is one value a row.
    has_columns: bool,
}

/// What a tensor is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Element {
    Float,
    Double,
    Whole64,
    Whole32,
    Flag,
    Text,
}

/// All tensors of the model, in its order.
#[derive(Debug)]
pub(super) struct Feeds {
    pub(super) feeds: Vec<Feed>,
    /// Whether the model was exported for exactly one row.
    pub(super) one_row: bool,
}

impl Feeds {
    /// Matches the model's inputs with the manifest's; what does not fit is said in words.
    pub(super) fn new(session: &Session, manifest: &Manifest) -> Result<Self, String> {
        let inputs = session.inputs();
        let names: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
        for input in &manifest.inputs {
            let tensor = manifest.tensor_of(input).unwrap_or_default();
            if !names.contains(&tensor) {
                return Err(unknown_tensor(tensor, &input.feature, &names));
            }
        }
        let mut feeds = Vec::with_capacity(inputs.len());
        let mut one_row = false;
        for input in inputs {
            let (feed, one) = Feed::new(input.name(), input.dtype(), manifest)
                .map_err(|problem| format!("its input `{}` {problem}", input.name()))?;
            one_row |= one;
            feeds.push(feed);
        }
        Ok(Self { feeds, one_row })
    }

    /// Whether the model takes all numbers of a row as they are, as one tensor of 32-bit floats: then its memory can be
    /// prepared.
    pub(super) fn is_plain(&self, manifest: &Manifest) -> bool {
        let [feed] = self.feeds.as_slice() else {
            return false;
        };
        let width = manifest.width();
        feed.element == Element::Float
            && feed.has_columns
            && feed.columns.iter().copied().eq(0..width.numbers)
    }
}

fn unknown_tensor(tensor: &str, feature: &str, names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "it has no input".to_owned(),
        [one] => format!("its input is called {one}, the manifest's `tensor` says `{tensor}`"),
        all => format!(
            "it has no input `{tensor}`, where the manifest puts the feature `{feature}`; its inputs are {}: name one of them \
             as the feature's `tensor`",
            all.join(", ")
        ),
    }
}

impl Feed {
    /// Also whether the tensor takes exactly one row.
    fn new(name: &str, dtype: &ValueType, manifest: &Manifest) -> Result<(Self, bool), String> {
        let listed = |input: &&Input| manifest.tensor_of(input) == Some(name);
        let inputs: Vec<&Input> = manifest.inputs.iter().filter(listed).collect();
        if inputs.is_empty() {
            return Err(
                "is fed by none of the manifest's `inputs`: name it as the `tensor` of those that go into it"
                    .to_owned(),
            );
        }
        let ValueType::Tensor { ty, shape, .. } = dtype else {
            return Err(format!(
                "is {dtype}, expected a tensor of shape [N, {}]",
                inputs.len()
            ));
        };
        let element = Element::of(*ty).ok_or_else(|| {
            format!("is a tensor of {ty}, expected 32-bit or 64-bit floats, whole numbers, flags or texts")
        })?;
        let columns = element.columns(&inputs, manifest)?;
        let (rows, width) = match &shape[..] {
            [rows] => (*rows, 1),
            [rows, columns] => (*rows, *columns),
            other => {
                return Err(format!(
                    "has {} axes, expected [N, {}]",
                    other.len(),
                    inputs.len()
                ));
            }
        };
        // A free second axis is decided by the golden rows.
        if width >= 0 && usize::try_from(width).ok() != Some(inputs.len()) {
            return Err(format!(
                "takes {width} values a row, the manifest lists {} inputs for it",
                inputs.len()
            ));
        }
        let feed = Self {
            name: name.to_owned(),
            element,
            columns,
            has_columns: shape.len() == 2,
        };
        match rows {
            ..=-1 => Ok((feed, false)),
            1 => Ok((feed, true)),
            _ => Err(format!(
                "takes exactly {rows} rows at a time; export it with a free first axis, or of size 1"
            )),
        }
    }

    /// The tensor for `rows`, whose rows have `numbers` numbers and `texts` texts.
    pub(super) fn tensor(
        &self,
        rows: &Rows,
        numbers: usize,
        texts: usize,
    ) -> ort::Result<DynValue> {
        match self.element {
            Element::Float => self.of_numbers(rows, numbers, super::narrow),
            Element::Double => self.of_numbers(rows, numbers, |number| number),
            Element::Whole64 => self.of_numbers(rows, numbers, whole64),
            Element::Whole32 => self.of_numbers(rows, numbers, whole32),
            Element::Flag => self.of_numbers(rows, numbers, |number| number != 0.0),
            Element::Text => {
                let texts = self.pick(&rows.texts, texts, rows.count, |text: &Arc<str>| {
                    // The runtime's texts end at the first zero byte.
                    text.split('\0').next().unwrap_or_default().to_owned()
                });
                let tensor = Tensor::from_string_array((self.shape(rows.count), texts.as_slice()))?;
                Ok(tensor.into_dyn())
            }
        }
    }

    fn of_numbers<T>(
        &self,
        rows: &Rows,
        width: usize,
        convert: impl Fn(f64) -> T,
    ) -> ort::Result<DynValue>
    where
        T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    {
        let values = self.pick(&rows.numbers, width, rows.count, |number| convert(*number));
        Ok(Tensor::from_array((self.shape(rows.count), values))?.into_dyn())
    }

    fn pick<V, T>(
        &self,
        values: &[V],
        width: usize,
        rows: usize,
        convert: impl Fn(&V) -> T,
    ) -> Vec<T> {
        let mut picked = Vec::with_capacity(rows * self.columns.len());
        for row in values.chunks_exact(width.max(1)) {
            let columns = self.columns.iter().filter_map(|at| row.get(*at));
            picked.extend(columns.map(&convert));
        }
        picked
    }

    fn shape(&self, rows: usize) -> Vec<usize> {
        if self.has_columns {
            vec![rows, self.columns.len()]
        } else {
            vec![rows]
        }
    }
}

impl Element {
    fn of(element: TensorElementType) -> Option<Self> {
        match element {
            TensorElementType::Float32 => Some(Self::Float),
            TensorElementType::Float64 => Some(Self::Double),
            TensorElementType::Int64 => Some(Self::Whole64),
            TensorElementType::Int32 => Some(Self::Whole32),
            TensorElementType::Bool => Some(Self::Flag),
            TensorElementType::String => Some(Self::Text),
            _ => None,
        }
    }

    /// Where the inputs stand in a row, if all are of the kind that the tensor takes.
    fn columns(self, inputs: &[&Input], manifest: &Manifest) -> Result<Vec<usize>, String> {
        let kind = if self == Self::Text {
            InputKind::Text
        } else {
            InputKind::Number
        };
        if let Some(input) = inputs.iter().find(|input| input.kind != kind) {
            return Err(format!(
                "takes {}s, and the feature `{}` is a {}: write `type: {}` beside it, or another `tensor`",
                kind.name(),
                input.feature,
                input.kind.name(),
                kind.name()
            ));
        }
        let is_nan = |input: &&&Input| input.missing.as_number().is_some_and(f64::is_nan);
        if matches!(self, Self::Whole64 | Self::Whole32 | Self::Flag)
            && let Some(input) = inputs.iter().find(is_nan)
        {
            return Err(format!(
                "takes whole numbers or flags, and `missing` of the feature `{}` is not a number: write the number it was \
                 trained with",
                input.feature
            ));
        }
        let of_kind = manifest.inputs.iter().filter(|input| input.kind == kind);
        let places: Vec<&Input> = of_kind.collect();
        let place = |input: &&Input| {
            places
                .iter()
                .position(|other| other.feature == input.feature)
        };
        Ok(inputs.iter().filter_map(place).collect())
    }
}

/// Cut off, as libraries do that turn floats into whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit becomes the nearest that does"
)]
const fn whole64(number: f64) -> i64 {
    number as i64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit becomes the nearest that does"
)]
const fn whole32(number: f64) -> i32 {
    number as i32
}
