//! Everything one decision is made by: rules, lists, features, fallback and models, in one version.

mod loader;
mod model_texts;
mod models;
mod rule_tests;

use std::sync::Arc;
use std::time::Duration;

use tollgate_features::ReadPlan;
use tollgate_models::BreakerOptions;
use tollgate_rules::{Digest, FileChange, Logic, TestRun};
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};

use crate::config::ModelConfig;
pub use loader::Loader;
pub(crate) use model_texts::FeatureTexts;
pub(crate) use models::{Model, Observed, feature_number};

/// A loaded and verified policy.
#[derive(Debug)]
pub struct Policy {
    logic: Logic,
    read_plan: ReadPlan,
    champion: Option<Model>,
    challengers: Vec<Model>,
    /// Features that some model takes as texts, by their places.
    text_features: Vec<usize>,
    version: String,
    /// Versions of parts of it: of what features mean, and of the fallback table.
    features_version: String,
    fallback_version: String,
    /// What the version is the digest of.
    files: Digest,
    tests: TestRun,
}

/// How the champion is run, and when it is not asked.
#[derive(Debug, Clone, Copy)]
pub struct ModelLimits {
    pub threads: usize,
    /// Threads inside one run of any model.
    pub intra_threads: usize,
    pub queue_rows_max: usize,
    /// A run that takes longer is ended.
    pub run_max: Duration,
    pub breaker: BreakerOptions,
    /// A miss of a decision that could wait less than this does not count against the model.
    pub patience_min: Duration,
}

impl Default for ModelLimits {
    fn default() -> Self {
        ModelConfig::default().limits()
    }
}

impl Policy {
    /// Puts together what was read of a folder, runs the tests of its rules and starts its models. If anything is wrong,
    /// every error is reported at once, those of models and of tests that fail once rules and features are right.
    fn assemble(
        (mut logic, mut warnings): (Logic, Diagnostics),
        loader: &Loader,
        earlier: &[Arc<Self>],
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        let tests = rule_tests::run(&logic);
        let models = models::load(loader, &logic, earlier);
        let mut errors = tests.failures.clone();
        let models = models
            .map_err(|of_models| errors.extend(of_models))
            .unwrap_or_default();
        if errors.has_errors() {
            warnings.extend(errors);
            return Err(warnings);
        }
        let guarded = earlier.iter().rev().map(|policy| &policy.logic.rules);
        logic.rules.guard(loader.guard(), guarded);
        let has_champion = models
            .as_ref()
            .is_some_and(|models| models.champion.is_some());
        if logic.rules.reads_score() && !has_champion {
            let file = loader.folder().join(models::FILE);
            let file = SourceFile::new(file.display().to_string(), "");
            let message = "rules read `model.score`, but no champion is named: they never match";
            warnings.push(Diagnostic::warning(&file, 0..0, message));
        }
        let mut policy = Self {
            read_plan: ReadPlan::new(&logic.schema, &logic.layout),
            champion: None,
            challengers: Vec::new(),
            text_features: Vec::new(),
            version: String::new(),
            features_version: part_of(&logic.files, &FEATURE_FILES),
            fallback_version: part_of(&logic.files, &["fallback.yaml"]),
            files: logic.files.clone(),
            tests,
            logic,
        };
        if let Some(models) = models {
            warnings.extend(models.warnings);
            for (path, content) in &models.files {
                policy.files.add(path, content);
            }
            policy.champion = models.champion;
            policy.challengers = models.challengers;
            let all = policy.champion.iter().chain(&policy.challengers);
            policy.text_features = all.flat_map(Model::text_features).collect();
            policy.text_features.sort_unstable();
            policy.text_features.dedup();
        }
        policy.version = tollgate_rules::version_of(&policy.files.hex()).to_owned();
        Ok((policy, warnings))
    }

    pub(crate) const fn logic(&self) -> &Logic {
        &self.logic
    }

    /// What came of the tests of its rules: all have passed.
    pub(crate) const fn tests(&self) -> &TestRun {
        &self.tests
    }

    pub(crate) const fn read_plan(&self) -> &ReadPlan {
        &self.read_plan
    }

    pub(crate) const fn champion(&self) -> Option<&Model> {
        self.champion.as_ref()
    }

    pub(crate) fn challengers(&self) -> &[Model] {
        &self.challengers
    }

    /// Features that some model takes as texts, by their places among all.
    pub(crate) fn text_features(&self) -> &[usize] {
        &self.text_features
    }

    /// All of its models.
    pub(crate) fn models(&self) -> impl Iterator<Item = &Model> {
        self.champion.iter().chain(&self.challengers)
    }

    /// The files that differ from those of another policy.
    pub(crate) fn changed_since(&self, before: &Self) -> Vec<FileChange> {
        self.files.changed_since(&before.files)
    }

    /// A digest of everything the policy consists of: equal versions decide alike.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Differs where anything that features are made of does.
    pub(crate) fn features_version(&self) -> &str {
        &self.features_version
    }

    /// Differs where the fallback table does.
    pub(crate) fn fallback_version(&self) -> &str {
        &self.fallback_version
    }
}

/// What says which values features have: their definitions, the fields and entities these are about, and the currency of amounts.
const FEATURE_FILES: [&str; 3] = ["schema.yaml", "fx.yaml", "features.yaml"];

fn part_of(files: &Digest, paths: &[&str]) -> String {
    let part = files.of_those(|path| paths.contains(&path));
    tollgate_rules::version_of(&part.hex()).to_owned()
}
