//! A model in ONNX Runtime.
//!
//! One thread inside a run, no spinning pools: Tollgate has threads of its own, and a pool per session would
//! take the cores from the network. Input and output memory is allocated once per batch size and used again
//! (it saves about half a microsecond of the seven that 100 trees take).

use std::path::Path;
use std::sync::Arc;

use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{Shape, Tensor, TensorElementType, ValueType};

use crate::manifest::{Manifest, OutputKind};
use crate::runtime::Runtime;
use crate::{Error, Rows, RunError, Width};

pub(crate) struct Onnx {
    session: Session,
    output: Arc<str>,
    /// Values in a row that goes in.
    width: usize,
    /// Values in a row that comes out, of which the last is the one asked for: of a pair, the second is the
    /// probability of fraud.
    output_width: usize,
    /// Whether the output has a second axis or is one value after the other.
    output_has_columns: bool,
    /// Whether the model was exported for exactly one row.
    one_row: bool,
    /// By number of rows, made when that number is first run. Callers keep to a small largest batch.
    prepared: Vec<Option<Prepared>>,
}

/// The memory of a batch of one size.
struct Prepared {
    input: Tensor<f32>,
    options: RunOptions<HasSelectedOutputs>,
}

impl Onnx {
    pub(super) fn load(model: &[u8], path: &Path, manifest: &Manifest) -> Result<Self, Error> {
        let refused = |reason: String| Error::Model {
            path: path.to_owned(),
            reason,
        };
        let misfit = |reason: String| Error::ModelShape {
            path: path.to_owned(),
            reason,
        };
        let environment = Runtime::environment()?;
        let session = open(environment, model).map_err(|error| refused(error.to_string()))?;
        let width = manifest.inputs.len();
        let one_row = check_input(
            &session,
            manifest.tensor.as_deref().unwrap_or_default(),
            width,
        )
        .map_err(misfit)?;
        check_output(&session, &manifest.output.name).map_err(misfit)?;
        let mut onnx = Self {
            session,
            output: Arc::from(manifest.output.name.as_str()),
            width,
            output_width: match manifest.output.kind {
                OutputKind::ProbabilityPair => 2,
                OutputKind::Probability | OutputKind::Logit => 1,
            },
            output_has_columns: true,
            one_row,
            prepared: Vec::new(),
        };
        let shape = onnx.probe().map_err(|error| refused(error.to_string()))?;
        onnx.output_has_columns = match (shape.as_slice(), onnx.output_width) {
            (&[1], 1) => false,
            (&[1, 1], 1) | (&[1, 2], 2) => true,
            (found, expected) => {
                return Err(misfit(format!(
                    "one row gives an output `{}` of shape {found:?}, expected [1, {expected}]; {}",
                    onnx.output,
                    kinds_help(found)
                )));
            }
        };
        Ok(onnx)
    }

    pub(super) fn rows_max(&self) -> Option<usize> {
        self.one_row.then_some(1)
    }

    /// As [`super::Engine::run`]; `outputs` comes empty.
    pub(super) fn run(&mut self, rows: &Rows, outputs: &mut Vec<f64>) -> Result<(), RunError> {
        let width = Width {
            numbers: self.width,
            texts: 0,
        };
        if !width.fits(rows) {
            return Err(RunError::Width {
                expected: width,
                found: rows.clone(),
            });
        }
        if rows.count == 0 {
            return Ok(());
        }
        self.run_prepared(&rows.numbers, rows.count, outputs)
            .map_err(|error| RunError::Engine(error.to_string()))
    }

    fn run_prepared(
        &mut self,
        values: &[f64],
        rows: usize,
        outputs: &mut Vec<f64>,
    ) -> ort::Result<()> {
        if self.prepared.len() <= rows {
            self.prepared.resize_with(rows + 1, || None);
        }
        let slot = &mut self.prepared[rows];
        let prepared = match slot {
            Some(prepared) => prepared,
            None => slot.insert(Prepared::new(
                &self.output,
                [rows, self.width],
                [rows, self.output_width],
                self.output_has_columns,
            )?),
        };
        let (_, input) = prepared.input.extract_tensor_mut();
        for (place, value) in input.iter_mut().zip(values) {
            *place = narrow(*value);
        }
        let input = [SessionInputValue::from(&prepared.input)];
        let run = self.session.run_with_options(input, &prepared.options)?;
        let Some(output) = run.values().next() else {
            return Err(ort::Error::new("the run gave no output"));
        };
        let (_, found) = output.try_extract_tensor::<f32>()?;
        outputs.extend(
            found
                .chunks_exact(self.output_width)
                .filter_map(<[f32]>::last)
                .map(|&last| f64::from(last)),
        );
        if outputs.len() == rows {
            Ok(())
        } else {
            Err(ort::Error::new(format!(
                "{rows} rows gave {} outputs",
                outputs.len()
            )))
        }
    }

    /// The shape of the output for one row of zeros: what the file declares may be vague, or wrong.
    fn probe(&mut self) -> ort::Result<Vec<i64>> {
        let input = Tensor::from_array(([1, self.width], vec![0.0_f32; self.width]))?;
        let selected = OutputSelector::no_default().with(&*self.output);
        let options = RunOptions::new()?.with_outputs(selected);
        let run = self
            .session
            .run_with_options([SessionInputValue::from(&input)], &options)?;
        let Some(output) = run.values().next() else {
            return Err(ort::Error::new("the run gave no output"));
        };
        let (shape, _) = output.try_extract_tensor::<f32>()?;
        Ok(shape.to_vec())
    }
}

impl Prepared {
    fn new(
        output: &str,
        input_shape: [usize; 2],
        output_shape: [usize; 2],
        output_has_columns: bool,
    ) -> ort::Result<Self> {
        let values = input_shape[0] * input_shape[1];
        let input = Tensor::from_array((input_shape, vec![0.0_f32; values]))?;
        let axes = if output_has_columns { 2 } else { 1 };
        let dimensions = output_shape
            .iter()
            .take(axes)
            .map(|&size| i64::try_from(size).unwrap_or(0));
        let memory = Tensor::<f32>::new(&Allocator::default(), Shape::new(dimensions))?;
        let selected = OutputSelector::no_default()
            .with(output)
            .preallocate(output, memory);
        Ok(Self {
            input,
            options: RunOptions::new()?.with_outputs(selected),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the model takes 32-bit floats"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

fn open(environment: &Environment, model: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .commit_from_memory(model)
}

/// Whether the model takes exactly one row at a time.
fn check_input(session: &Session, name: &str, width: usize) -> Result<bool, String> {
    let [input] = session.inputs() else {
        let names: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
        return Err(format!(
            "it has {} inputs ({}), expected one",
            names.len(),
            names.join(", ")
        ));
    };
    if input.name() != name {
        return Err(format!(
            "its input is called `{}`, the manifest's `tensor` says `{name}`",
            input.name()
        ));
    }
    let ValueType::Tensor {
        ty: TensorElementType::Float32,
        shape,
        ..
    } = input.dtype()
    else {
        return Err(format!(
            "its input is {}, expected 32-bit floats of shape [N, {width}]",
            input.dtype()
        ));
    };
    let &[rows, columns] = &shape[..] else {
        return Err(format!(
            "its input has {} axes, expected [N, {width}]",
            shape.len()
        ));
    };
    if usize::try_from(columns).ok() != Some(width) {
        let columns = if columns < 0 {
            "any number of".to_owned()
        } else {
            columns.to_string()
        };
        return Err(format!(
            "its input takes {columns} values a row, the manifest lists {width} inputs"
        ));
    }
    match rows {
        ..=-1 => Ok(false),
        1 => Ok(true),
        _ => Err(format!(
            "it takes exactly {rows} rows at a time; export it with a free first axis, or of size 1"
        )),
    }
}

fn check_output(session: &Session, name: &str) -> Result<(), String> {
    let Some(output) = session
        .outputs()
        .iter()
        .find(|output| output.name() == name)
    else {
        let names: Vec<String> = session
            .outputs()
            .iter()
            .map(|output| format!("`{}`", output.name()))
            .collect();
        return Err(format!(
            "it has no output `{name}`; its outputs are {}",
            names.join(", ")
        ));
    };
    match output.dtype() {
        ValueType::Tensor {
            ty: TensorElementType::Float32,
            ..
        } => Ok(()),
        ValueType::Tensor { .. } => Err(format!(
            "its output `{name}` is {}, expected 32-bit floats",
            output.dtype()
        )),
        _ => Err(format!(
            "its output `{name}` is {}, expected a tensor of 32-bit floats (convert with zipmap=False)",
            output.dtype()
        )),
    }
}

fn kinds_help(found: &[i64]) -> &'static str {
    match found {
        [1, 2] => "`kind: probability_pair` is for the probabilities of both classes",
        [1] | [1, 1] => "`kind: probability` and `kind: logit` are for one value a row",
        _ => "Tollgate takes models with one value a row, or the probabilities of two classes",
    }
}
