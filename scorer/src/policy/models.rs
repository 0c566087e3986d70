//! The models of a policy: `models.yaml`, and the running bundles it names.

mod about;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tollgate_expr::{Feature, Type};
use tollgate_models::{
    Breaker, Bundle, Circuit, Error, Inference, Input, InputKind, MODEL_CARD, Options, Permit,
    QueueFull, Reply, Rows, Runtime, Value,
};
use tollgate_rules::Logic;
use tollgate_source::{Diagnostic, Diagnostics, Located, SourceFile};
use tollgate_types::{Cell, EventTime, Span};

use super::model_texts::FeatureTexts;
use super::{Loader, ModelLimits, Policy};
pub(crate) use about::Observed;

/// The file that names models, in the policy folder.
pub(super) const FILE: &str = "models.yaml";

/// Longest queue of a challenger: it scores after the answer, a batch of decisions at a time.
const CHALLENGER_QUEUE_ROWS: usize = 1024;

/// The decision log waits as long for challengers; a run that takes longer is of no use.
const CHALLENGER_RUN_MAX: Duration = Duration::from_millis(500);

/// `models.yaml`: which bundles under `models/` are used, each as `name/version`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelsFile {
    champion: Option<Located<String>>,
    #[serde(default)]
    challengers: Vec<Located<String>>,
}

impl ModelsFile {
    /// Notes names that stand there again: a model that is counted twice is measured wrongly.
    fn note_repeated(&self, file: &Arc<SourceFile>, found: &mut Diagnostics) {
        let mut names = BTreeSet::new();
        for name in self.champion.iter().chain(&self.challengers) {
            if !names.insert(&name.value) {
                let message = format!("`{}` is named twice", name.value);
                let help = "remove one of the two: a model is champion or challenger, once";
                found.push(Diagnostic::error(file, name.span.clone(), message).with_help(help));
            }
        }
    }
}

/// The models of a policy, running.
pub(super) struct Models {
    pub(super) champion: Option<Model>,
    pub(super) challengers: Vec<Model>,
    /// What the version of the policy covers: the file itself and each manifest, which has its model's digest.
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) warnings: Diagnostics,
}

/// A running model and the named features its inputs come from.
pub(crate) struct Model {
    /// Shared with the policies before and after it that name the same bundle.
    running: Arc<Running>,
    inputs: Vec<ModelInput>,
}

/// The threads of one bundle.
struct Running {
    inference: Inference,
    breaker: Mutex<Breaker>,
    patience_min: Duration,
    /// [`Bundle::digest`] of what it was started from.
    digest: String,
    options: Options,
}

#[derive(Debug, Clone)]
struct ModelInput {
    /// Index among the policy's named features.
    feature: usize,
    kind: Type,
    missing: Value,
}

/// Loads what `models.yaml` names; `None` if there is no such file. Bundles that one of `earlier` runs already are not
/// opened again: that takes seconds, and a rule's change must not.
pub(super) fn load(
    loader: &Loader,
    logic: &Logic,
    earlier: &[Arc<Policy>],
) -> Result<Option<Models>, Diagnostics> {
    let (folder, limits) = (loader.folder(), loader.limits());
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let file = tollgate_source::read(&path, &path.display().to_string())?;
    let named: ModelsFile = tollgate_source::from_str(&file)?;
    let mut models = Models {
        champion: None,
        challengers: Vec::new(),
        files: vec![(FILE.to_owned(), file.text.as_bytes().to_vec())],
        warnings: Diagnostics::default(),
    };
    let mut found = Diagnostics::default();
    named.note_repeated(&file, &mut found);
    let mut load = |name: &Located<String>, options| {
        if let Err(problem) = check_runtime(loader.runtime()).and_then(|()| check_name(&name.value))
        {
            found.push(Diagnostic::error(&file, name.span.clone(), problem));
            return None;
        }
        let loaded = start(folder, &name.value, logic, (options, limits), earlier);
        let (model, manifest) = loaded
            .map_err(|error| match error {
                // It knows better where: in the manifest.
                Error::Manifest { diagnostic } => found.push(*diagnostic),
                error => found.push(Diagnostic::error(
                    &file,
                    name.span.clone(),
                    error.to_string(),
                )),
            })
            .ok()?;
        models.files.push(manifest);
        let card = folder.join("models").join(&name.value).join(MODEL_CARD);
        if !card.is_file() {
            let message = format!(
                "`{}` has no {MODEL_CARD}: nobody can see what it was trained on and what it is worth; training writes one",
                name.value
            );
            found.push(Diagnostic::warning(&file, name.span.clone(), message));
        }
        Some(model)
    };
    if let Some(name) = &named.champion {
        let options = Options {
            threads: limits.threads,
            queue_rows_max: limits.queue_rows_max,
            run_max: limits.run_max,
            counts_cpu: false,
        };
        models.champion = load(name, options);
    }
    for name in &named.challengers {
        let options = Options {
            threads: 1,
            queue_rows_max: CHALLENGER_QUEUE_ROWS,
            run_max: CHALLENGER_RUN_MAX,
            // They have a budget.
            counts_cpu: true,
        };
        models.challengers.extend(load(name, options));
    }
    if found.has_errors() {
        Err(found)
    } else {
        models.warnings = found;
        Ok(Some(models))
    }
}

fn check_runtime(runtime: &Result<Runtime, Error>) -> Result<(), String> {
    runtime.as_ref().map(|_| ()).map_err(ToString::to_string)
}

/// A model is named by two folder names, so that nothing outside the policy can be.
fn check_name(name: &str) -> Result<(), String> {
    let is_folder = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match name.split_once('/') {
        Some((model, version)) if is_folder(model) && is_folder(version) => Ok(()),
        _ => Err(format!(
            "`{name}` is not a model: write its name and version, as `travel-fraud/1`"
        )),
    }
}

/// Opens one bundle, verifies it against the policy's features, and starts its threads; or takes over those of an
/// earlier policy. Returns its manifest as well, by path and content.
fn start(
    folder: &Path,
    name: &str,
    logic: &Logic,
    (options, limits): (Options, ModelLimits),
    earlier: &[Arc<Policy>],
) -> Result<(Model, (String, Vec<u8>)), Error> {
    let features = &logic.layout.features;
    let bundle_folder = folder.join("models").join(name);
    let manifest = Bundle::manifest_text(&bundle_folder)?;
    let definition = |name: &str| {
        features
            .iter()
            .find(|feature| feature.name == name)
            .map(|feature| logic.layout.definition(feature))
    };
    let digest = Bundle::digest(&bundle_folder)?;
    let running = match running(earlier, &digest, options) {
        Some(running) => {
            running.inference.check_features(&definition)?;
            check_names(
                name,
                running.inference.version(),
                running.inference.inputs(),
                features,
            )?;
            running
        }
        None => {
            // What helpers of a run take would not be counted.
            let intra_threads = if options.counts_cpu {
                1
            } else {
                limits.intra_threads
            };
            let bundle = Bundle::open_with(&bundle_folder, &definition, intra_threads)?;
            check_names(name, &bundle.version(), &bundle.manifest().inputs, features)?;
            let inference = Inference::start(bundle, options)?;
            Arc::new(Running {
                inference,
                breaker: Mutex::new(Breaker::new(limits.breaker)),
                patience_min: limits.patience_min,
                digest,
                options,
            })
        }
    };
    let input = |input: &Input| {
        let feature = features
            .iter()
            .position(|feature| feature.name == input.feature)?;
        Some(ModelInput {
            feature,
            kind: features[feature].kind,
            missing: input.missing.clone(),
        })
    };
    // Every input is known: opening the bundle would have failed otherwise.
    let inputs = running.inference.inputs().iter().filter_map(input);
    let inputs = inputs.collect();
    Ok((
        Model { running, inputs },
        (format!("models/{name}/manifest.yaml"), manifest),
    ))
}

/// The threads that already run a bundle in the same way.
fn running(earlier: &[Arc<Policy>], digest: &str, options: Options) -> Option<Arc<Running>> {
    let models = earlier
        .iter()
        .flat_map(|policy| policy.champion().into_iter().chain(policy.challengers()));
    models
        .map(|model| &model.running)
        .find(|running| running.digest == digest && running.options == options)
        .map(Arc::clone)
}

/// Decisions carry the manifest's name, so it must be the folder's; and features must be what the model takes.
fn check_names(
    name: &str,
    version: &str,
    inputs: &[Input],
    features: &[Feature],
) -> Result<(), Error> {
    let wrong = |reason| {
        Err(Error::ManifestValue {
            path: name.into(),
            reason,
        })
    };
    if version != name {
        let reason = format!("its manifest says {version}; name and version must agree");
        return wrong(reason);
    }
    let is_text = |name: &str| {
        features
            .iter()
            .any(|feature| feature.name == name && feature.kind == Type::Text)
    };
    let differs = |input: &&Input| is_text(&input.feature) != (input.kind == InputKind::Text);
    match inputs.iter().find(differs) {
        Some(Input {
            feature,
            kind: InputKind::Number,
            ..
        }) => wrong(format!(
            "the feature `{feature}` is a text, and its manifest takes it as a number: write `type: text` beside it"
        )),
        Some(Input { feature, .. }) => wrong(format!(
            "the feature `{feature}` is not a text, and its manifest takes it as one: leave out `type: text`"
        )),
        None => Ok(()),
    }
}

impl Running {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Nothing in a breaker can panic while it is held.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Model").field(&self.version()).finish()
    }
}

impl Model {
    /// The model's row for a decision: named features in its order, missing ones filled as it was trained.
    pub(crate) fn row(&self, features: &[Cell], texts: &FeatureTexts) -> Rows {
        let mut numbers = Vec::with_capacity(self.inputs.len());
        let mut row_texts = Vec::new();
        for input in &self.inputs {
            match &input.missing {
                Value::Number(missing) => {
                    let cell = features.get(input.feature).copied();
                    let number = feature_number(input.kind, cell.unwrap_or(Cell::MISSING));
                    numbers.push(number.unwrap_or(*missing));
                }
                Value::Text(missing) => {
                    let text = texts.get(input.feature).unwrap_or(missing);
                    row_texts.push(Arc::clone(text));
                }
            }
        }
        Rows::one(numbers, row_texts)
    }

    pub(crate) fn submit(&self, row: Rows) -> Result<Reply, QueueFull> {
        self.running.inference.submit(row)
    }

    /// Which features it takes as texts, by their places among the policy's.
    pub(super) fn text_features(&self) -> impl Iterator<Item = usize> {
        let texts = self.inputs.iter();
        texts
            .filter(|input| input.kind == Type::Text)
            .map(|input| input.feature)
    }

    /// Leave to ask; `None` while the model keeps missing or failing.
    pub(crate) fn permit(&self, now: Instant) -> Option<Permit> {
        self.running.breaker().ask(now)
    }

    /// Tells whether the model answered in time, and well. Returns how its circuit stands if that has changed.
    pub(crate) fn report(&self, permit: &Permit, good: bool, now: Instant) -> Option<Circuit> {
        let change = self.running.breaker().report(permit, good, now);
        if change == Some(Circuit::Open) {
            // Whoever waits in the queue would wait for as little.
            self.running.inference.give_up();
        }
        change
    }

    /// Whether it has answered somebody well since then.
    pub(crate) fn has_answered_since(&self, asked: Instant) -> bool {
        self.running.breaker().has_answered_since(asked)
    }

    /// Gives back the leave to ask: the model was not asked, or what came of it says nothing.
    pub(crate) fn give_back(&self, permit: &Permit) {
        self.running.breaker().give_back(permit);
    }

    /// Whether missing it says something of the model, given how long it was waited for.
    pub(crate) fn counts(&self, patience: Duration) -> bool {
        patience >= self.running.patience_min
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.running.breaker().circuit()
    }

    /// Whether they are one running bundle, and so one circuit.
    pub(crate) fn shares_threads_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.running, &other.running)
    }

    /// `name/version`.
    pub(crate) fn version(&self) -> &str {
        self.running.inference.version()
    }
}

/// A feature as a number: flags are 0 or 1, durations seconds, times seconds since 1970. Text has none.
pub(crate) fn feature_number(kind: Type, cell: Cell) -> Option<f64> {
    match kind {
        Type::Number => cell.as_number(),
        Type::Flag => cell.as_flag().map(|flag| f64::from(u8::from(flag))),
        Type::Duration => cell.as_span().map(Span::seconds),
        Type::Time => cell
            .as_time()
            .map(|time| time.since(EventTime::from_micros(0)).seconds()),
        Type::Text => None,
    }
}
