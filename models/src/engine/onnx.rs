//! A model in ONNX Runtime.
//!
//! One thread inside a run, no spinning pools: Tollgate has threads of its own, and a pool per session would
//! take the cores from the network. For the commonest form, one tensor of 32-bit floats in and one out, memory is
//! allocated once per batch size and used again (it saves about half a microsecond of the seven that 100 trees take);
//! other forms allocate.

mod inputs;
mod outputs;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, RunOptions, Session, SessionInputValue};
use ort::value::{Shape, Tensor};
use tollgate_types::contains_card_number;

use self::inputs::Feeds;
use self::outputs::{Form, kinds_help};
use super::bounded;
use crate::bundle::VERIFICATION_MAX;
use crate::manifest::{Manifest, OutputKind};
use crate::runtime::{Runtime, VERIFICATION_BYTES_MAX};
use crate::{Error, Rows, RunError, Width};

pub(crate) struct Onnx {
    session: Session,
    /// Shared with whoever may stop a run.
    options: Arc<RunOptions>,
    feeds: Feeds,
    width: Width,
    output: String,
    form: Form,
    /// Values in a row that comes out, of which the last is the one asked for.
    output_width: usize,
    /// Whether the output has a second axis or is one value after the other.
    output_has_columns: bool,
    /// Whether memory can be prepared.
    plain: bool,
    /// By number of rows, made when that number is first run. Callers keep to a small largest batch.
    prepared: Vec<Option<Prepared>>,
}

/// The memory of a batch of one size.
struct Prepared {
    input: Tensor<f32>,
    binding: IoBinding,
}

/// What a session is for.
#[derive(Clone, Copy)]
pub(super) enum Care {
    /// A model that was verified, as it is served.
    Trusted { intra_threads: usize },
    /// A model that may be anything: bounded in time and in memory.
    Verifying(Duration),
}

/// Ends the run of a session from another thread.
#[derive(Clone)]
pub(crate) struct Stop(Arc<RunOptions>);

impl Stop {
    pub(super) fn set(&self) {
        self.or_log(self.0.terminate());
    }

    pub(super) fn clear(&self) {
        self.or_log(self.0.unterminate());
    }

    fn or_log(&self, result: ort::Result<()>) {
        if let Err(error) = result {
            tracing::error!(%error, "a model's run could not be told to end, or to go on");
        }
    }
}

impl Onnx {
    pub(super) fn load(
        model: &[u8],
        path: &Path,
        manifest: &Manifest,
        care: Care,
    ) -> Result<Self, Error> {
        let refused = |reason: String| Error::Model {
            path: path.to_owned(),
            reason,
        };
        let misfit = |reason: String| Error::ModelShape {
            path: path.to_owned(),
            reason,
        };
        let session = open(Runtime::environment()?, model, care).map_err(refused)?;
        let feeds = Feeds::new(&session, manifest).map_err(misfit)?;
        let form = Form::of(&session, &manifest.output).map_err(misfit)?;
        let options = care.options().map_err(|error| refused(error.to_string()))?;
        let plain = feeds.is_plain(manifest) && form == Form::Floats;
        let mut onnx = Self {
            session,
            options: Arc::new(options),
            feeds,
            width: manifest.width(),
            output: manifest.output.name.clone(),
            form,
            output_width: match manifest.output.kind {
                OutputKind::ProbabilityPair => 2,
                OutputKind::Probability | OutputKind::Logit => 1,
            },
            output_has_columns: true,
            plain,
            prepared: Vec::new(),
        };
        onnx.check_output(manifest, care.limit()).map_err(misfit)?;
        Ok(onnx)
    }

    pub(super) fn rows_max(&self) -> Option<usize> {
        self.feeds.one_row.then_some(1)
    }

    pub(super) fn stop(&self) -> Stop {
        Stop(Arc::clone(&self.options))
    }

    /// As [`super::Engine::run`]; `outputs` comes empty.
    pub(super) fn run(&mut self, rows: &Rows, outputs: &mut Vec<f64>) -> Result<(), RunError> {
        if !self.width.fits(rows) {
            return Err(RunError::Width {
                expected: self.width,
                found: rows.clone(),
            });
        }
        if rows.count == 0 {
            return Ok(());
        }
        let run = if self.plain {
            self.run_prepared(&rows.numbers, rows.count, outputs)
        } else {
            self.run_any(rows, outputs)
        };
        run.map_err(|error| RunError::Engine(in_words(&error)))?;
        if outputs.len() == rows.count {
            return Ok(());
        }
        Err(RunError::Engine(format!(
            "{} rows gave {} outputs",
            rows.count,
            outputs.len()
        )))
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
        if self.prepared[rows].is_none() {
            self.prepared[rows] = Some(self.prepare(rows)?);
        }
        let Some(prepared) = &mut self.prepared[rows] else {
            return Err(ort::Error::new("no memory was prepared"));
        };
        let (_, input) = prepared.input.extract_tensor_mut();
        for (place, value) in input.iter_mut().zip(values) {
            *place = narrow(*value);
        }
        let run = self
            .session
            .run_binding_with_options(&prepared.binding, &self.options)?;
        let Some(output) = run.values().next() else {
            return Err(ort::Error::new("the run gave no output"));
        };
        self.form.read(&output, self.output_width, outputs)
    }

    fn prepare(&self, rows: usize) -> ort::Result<Prepared> {
        let width = self.width.numbers;
        let input = Tensor::from_array(([rows, width], vec![0.0_f32; rows * width]))?;
        let axes = if self.output_has_columns { 2 } else { 1 };
        let sizes = [rows, self.output_width].into_iter().take(axes);
        let sizes = sizes.map(|size| i64::try_from(size).unwrap_or(0));
        let output = Tensor::<f32>::new(&Allocator::default(), Shape::new(sizes))?;
        let mut binding = self.session.create_binding()?;
        for feed in &self.feeds.feeds {
            binding.bind_input(feed.name.as_str(), &input)?;
        }
        binding.bind_output(self.output.as_str(), output)?;
        Ok(Prepared { input, binding })
    }

    fn run_any(&mut self, rows: &Rows, outputs: &mut Vec<f64>) -> ort::Result<()> {
        let form = self.form;
        let output_width = self.output_width;
        self.run_with(rows, |value| form.read(value, output_width, outputs))
    }

    /// Gives the named output of a run to `read`.
    fn run_with<T>(
        &mut self,
        rows: &Rows,
        read: impl FnOnce(&ort::value::DynValue) -> ort::Result<T>,
    ) -> ort::Result<T> {
        let mut inputs = Vec::with_capacity(self.feeds.feeds.len());
        for feed in &self.feeds.feeds {
            let tensor = feed.tensor(rows, self.width.numbers, self.width.texts)?;
            inputs.push(SessionInputValue::from(tensor));
        }
        let run = self
            .session
            .run_with_options(inputs.as_slice(), &*self.options)?;
        match run.get(&self.output) {
            Some(value) => read(value),
            None => Err(ort::Error::new("the run gave no output")),
        }
    }

    /// What comes out for one row, and for two: what the file declares may be vague, or wrong.
    fn check_output(&mut self, manifest: &Manifest, limit: Duration) -> Result<(), String> {
        let one = manifest.row_of_missing();
        let shape = self.probe(&one, limit)?;
        self.output_has_columns = match (shape.as_slice(), self.output_width) {
            (&[1], 1) => false,
            (&[1, 1], 1) | (&[1, 2], 2) => true,
            (found, expected) => {
                return Err(format!(
                    "one row gives an output `{}` of shape {found:?}, expected [1, {expected}]; {}",
                    self.output,
                    kinds_help(found)
                ));
            }
        };
        if self.feeds.one_row {
            return Ok(());
        }
        let mut two = one.clone();
        two.extend(&one);
        let shape_of_two = self.probe(&two, limit)?;
        if shape_of_two.first() == Some(&2) && shape_of_two.get(1) == shape.get(1) {
            return Ok(());
        }
        Err(format!(
            "two rows give an output `{}` of shape {shape_of_two:?}, one row of shape {shape:?}: each row must give its own; \
             export it with a free first axis throughout, or for exactly one row",
            self.output
        ))
    }

    fn probe(&mut self, rows: &Rows, limit: Duration) -> Result<Vec<i64>, String> {
        let form = self.form;
        let stop = self.stop();
        let work = || self.run_with(rows, |value| form.shape(value));
        let (shape, late) = bounded(limit, || stop.set(), work);
        stop.clear();
        if late {
            return Err(too_slow(limit));
        }
        shape.map_err(|error| {
            format!(
                "a row with every feature missing cannot be run: {}",
                in_words(&error)
            )
        })
    }
}

/// Said of a run that was stopped while a bundle was verified.
pub(super) fn too_slow(limit: Duration) -> String {
    format!(
        "a run took longer than {} s and was stopped: a model that decides while a payment waits needs a thousandth of that",
        limit.as_secs_f64()
    )
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the model takes 32-bit floats"
)]
pub(super) const fn narrow(value: f64) -> f32 {
    value as f32
}

impl Care {
    /// How long loading and a first run may take. What was fast when it was verified may be slow once, on a busy machine.
    const fn limit(self) -> Duration {
        match self {
            Self::Trusted { .. } => VERIFICATION_MAX,
            Self::Verifying(limit) => limit,
        }
    }

    const fn intra_threads(self) -> usize {
        match self {
            Self::Trusted { intra_threads: 0 } | Self::Verifying(_) => 1,
            Self::Trusted { intra_threads } => intra_threads,
        }
    }

    fn options(self) -> ort::Result<RunOptions> {
        let mut options = RunOptions::new()?;
        if let Self::Verifying(_) = self {
            // What a run took beyond the model is given back, or it would be kept for the next bundle.
            options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        }
        Ok(options)
    }
}

fn open(environment: &Environment, model: &[u8], care: Care) -> Result<Session, String> {
    let builder = || -> ort::Result<_> {
        let builder = Session::builder(environment)?
            .with_intra_threads(care.intra_threads())?
            .with_intra_op_spinning(false)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?;
        match care {
            Care::Trusted { .. } => Ok(builder),
            Care::Verifying(_) => Ok(builder.with_env_allocators()?),
        }
    };
    let mut builder = builder().map_err(|error| error.to_string())?;
    let canceler = builder.canceler();
    let stop = move || {
        if let Err(error) = canceler.cancel() {
            tracing::error!(%error, "the load of a model could not be told to end");
        }
    };
    let (session, late) = bounded(care.limit(), stop, || builder.commit_from_memory(model));
    if late {
        let limit = care.limit().as_secs_f64();
        return Err(format!(
            "loading it took longer than {limit} s and was stopped"
        ));
    }
    session.map_err(|error| in_words(&error))
}

/// ONNX Runtime's words, and what they mean where they do not say it.
fn in_words(error: &ort::Error) -> String {
    let text = error.to_string();
    // So its allocator says that a bound is reached.
    if text.contains("is smaller than requested bytes") {
        return format!(
            "it needs more than {} MB of memory, which no model that scores in time does",
            VERIFICATION_BYTES_MAX >> 20
        );
    }
    shown(text)
}

/// What ONNX Runtime says may repeat an input.
pub(crate) fn shown(text: String) -> String {
    if contains_card_number(&text) {
        return "what ONNX Runtime says is not shown, since it has what may be a card number"
            .to_owned();
    }
    text
}
