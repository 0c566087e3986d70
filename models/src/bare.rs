//! A run of ONNX Runtime as plain as it can be: for benches, which show beside it what threads and queue cost.
//!
//! Only with the feature `bare`, which nothing that is served turns on.

use std::path::Path;

use ort::memory::Allocator;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{Shape, Tensor};

use crate::runtime::Runtime;
use crate::{Error, RunError};

/// One session and the memory of one row, used again for every run: the fastest form found.
pub struct Bare {
    session: Session,
    input: Tensor<f32>,
    options: RunOptions<HasSelectedOutputs>,
}

impl Bare {
    /// Loads a model with one input of `width` numbers a row, and one output of `columns` numbers a row.
    pub fn load(path: &Path, width: usize, output: &str, columns: usize) -> Result<Self, Error> {
        let environment = Runtime::environment()?;
        let open = || -> ort::Result<Self> {
            let session = Session::builder(environment)?
                .with_intra_threads(1)?
                .with_inter_threads(1)?
                .commit_from_file(path)?;
            let shape = Shape::new([1, i64::try_from(columns).unwrap_or(i64::MAX)]);
            let memory = Tensor::<f32>::new(&Allocator::default(), shape)?;
            let selected = OutputSelector::no_default()
                .with(output)
                .preallocate(output, memory);
            Ok(Self {
                session,
                input: Tensor::from_array(([1, width], vec![0.0_f32; width]))?,
                options: RunOptions::new()?.with_outputs(selected),
            })
        };
        open().map_err(|error| Error::Model {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The last number that one row gives: of a pair, the probability of fraud.
    pub fn run(&mut self, row: &[f32]) -> Result<f32, RunError> {
        self.try_run(row)
            .map_err(|error| RunError::Engine(error.to_string()))
    }

    fn try_run(&mut self, row: &[f32]) -> ort::Result<f32> {
        let (_, input) = self.input.extract_tensor_mut();
        if input.len() != row.len() {
            return Err(ort::Error::new("the row is not of the model's width"));
        }
        input.copy_from_slice(row);
        let input = [SessionInputValue::from(&self.input)];
        let run = self.session.run_with_options(input, &self.options)?;
        let output = run.values().next();
        let output = output.ok_or_else(|| ort::Error::new("the run gave no output"))?;
        let (_, found) = output.try_extract_tensor::<f32>()?;
        let last = found.last().copied();
        last.ok_or_else(|| ort::Error::new("the output is empty"))
    }
}
