//! Bundles made on the spot from the tiny models in `tests/models` (see `make_models.py`).
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here fails a test"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tollgate_models::{Bundle, Error, Inference, Options, Runtime, features_digest};

/// The ONNX Runtime library that tests use.
pub(crate) fn library() -> PathBuf {
    let own = std::env::var_os("TOLLGATE_ONNXRUNTIME").filter(|path| !path.is_empty());
    let path = own.map_or_else(
        || {
            let name = format!("libonnxruntime{}", std::env::consts::DLL_SUFFIX);
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../target/onnxruntime")
                .join(name)
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no ONNX Runtime at {}: run `cargo xtask onnxruntime`, or set TOLLGATE_ONNXRUNTIME",
        path.display()
    );
    path
}

pub(crate) const FEATURES: [(&str, &str); 3] = [
    ("amount", "transaction.amount"),
    ("card_count_24h", "card.last(\"24h\").count()"),
    ("card_sum_24h", "card.last(\"24h\").sum(amount)"),
];

/// What each model in `tests/models` computes, by its known weights, in 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Model {
    Pair,
    Probability,
    OneRow,
    Logit,
}

impl Model {
    pub(crate) const ALL: [Self; 4] = [Self::Pair, Self::Probability, Self::OneRow, Self::Logit];

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Pair => "pair.onnx",
            Self::Probability => "probability.onnx",
            Self::OneRow => "one_row.onnx",
            Self::Logit => "logit.onnx",
        }
    }

    fn output(self) -> &'static str {
        match self {
            Self::Pair => "{ name: probabilities, kind: probability_pair }",
            Self::Probability | Self::OneRow => "{ name: probability, kind: probability }",
            Self::Logit => "{ name: logit, kind: logit }",
        }
    }

    pub(crate) fn log_odds(self, x: [f64; 3]) -> f64 {
        match self {
            Self::Pair | Self::Probability | Self::OneRow => {
                0.5 * x[0] - 0.25 * x[1] + 1.5 * x[2] - 1.0
            }
            Self::Logit => 2.0 * (x[0] - x[1]).max(0.0) - x[2].max(0.0) + 0.5,
        }
    }

    pub(crate) fn score(self, x: [f64; 3]) -> f64 {
        1.0 / (1.0 + (-self.log_odds(x)).exp())
    }
}

/// A bundle folder to be spoilt by a test before it is opened.
pub(crate) struct Folder {
    pub(crate) folder: TempDir,
    pub(crate) manifest: String,
    pub(crate) golden: String,
}

pub(crate) const ROWS: [[f64; 3]; 4] = [
    [0.0, 0.0, 0.0],
    [1.0, 2.0, 0.5],
    [-3.0, 0.25, 2.0],
    [4.0, -1.0, -0.5],
];

impl Folder {
    pub(crate) fn new(model: Model) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/models")
            .join(model.file());
        let content = fs::read(source).unwrap();
        fs::write(folder.path().join("model.onnx"), &content).unwrap();
        let mut golden = String::new();
        for row in ROWS {
            let separator = if golden.is_empty() { "" } else { "," };
            let score = model.score(row);
            write!(
                golden,
                "{separator}{{\"inputs\": {row:?}, \"score\": {score}}}"
            )
            .unwrap();
        }
        let manifest = format!(
            "name: test\n\
             version: \"1\"\n\
             model_sha256: {}\n\
             features_sha256: {}\n\
             inputs:\n\
             - {{ feature: amount }}\n\
             - {{ feature: card_count_24h, missing: -1 }}\n\
             - {{ feature: card_sum_24h, missing: 0.5 }}\n\
             tensor: input\n\
             output: {}\n\
             trained: {{ from: 2026-01-01T00:00:00Z, to: 2026-06-01T00:00:00Z, rows: 1000 }}\n\
             metrics: {{ auc: 0.97 }}\n",
            sha256(&content),
            features_digest(FEATURES.into_iter()),
            model.output(),
        );
        Self {
            folder,
            manifest,
            golden: format!("{{\"tolerance\": 1e-5, \"rows\": [{golden}]}}"),
        }
    }

    /// Another file in place of the model, with the digest that fits.
    pub(crate) fn with_model(mut self, content: &[u8]) -> Self {
        let path = self.folder.path().join("model.onnx");
        let before = sha256(&fs::read(&path).unwrap());
        fs::write(path, content).unwrap();
        self.replace(&before, &sha256(content));
        self
    }

    /// Changes the manifest, which must contain `from`.
    pub(crate) fn replace(&mut self, from: &str, to: &str) {
        assert!(self.manifest.contains(from), "{from}");
        self.manifest = self.manifest.replace(from, to);
    }

    pub(crate) fn open(&self) -> Result<Bundle, Error> {
        self.open_with(&definition)
    }

    pub(crate) fn open_with(
        &self,
        definition: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Bundle, Error> {
        self.open_within(definition, Duration::from_secs(30))
    }

    pub(crate) fn open_within(
        &self,
        definition: &dyn Fn(&str) -> Option<String>,
        limit: Duration,
    ) -> Result<Bundle, Error> {
        Runtime::load(&library()).unwrap();
        fs::write(self.folder.path().join("manifest.yaml"), &self.manifest).unwrap();
        fs::write(self.folder.path().join("golden.json"), &self.golden).unwrap();
        Bundle::open_within(self.folder.path(), definition, limit)
    }

    /// What is wrong with the bundle, in words.
    pub(crate) fn error(&self) -> String {
        match self.open() {
            Ok(_) => panic!("a spoilt bundle was opened"),
            Err(error) => error.to_string(),
        }
    }

    pub(crate) fn start(&self, options: Options) -> Inference {
        Inference::start(self.open().unwrap(), options).unwrap()
    }
}

pub(crate) fn definition(feature: &str) -> Option<String> {
    let found = FEATURES.iter().find(|(name, _)| *name == feature)?;
    Some(found.1.to_owned())
}

pub(crate) fn model_file(name: &str) -> Vec<u8> {
    fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/models")
            .join(name),
    )
    .unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
