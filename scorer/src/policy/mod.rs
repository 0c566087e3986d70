//! Everything one decision is made by: rules, lists, features, fallback and models, in one version.

mod models;
mod rule_tests;

use std::path::Path;

use tollgate_features::ReadPlan;
use tollgate_models::Runtime;
use tollgate_rules::{Logic, TestRun};
use tollgate_source::{Diagnostic, Diagnostics, SourceFile};

pub(crate) use models::{Model, feature_number};

/// A loaded and verified policy.
#[derive(Debug)]
pub struct Policy {
    logic: Logic,
    read_plan: ReadPlan,
    champion: Option<Model>,
    challengers: Vec<Model>,
    version: String,
    tests: TestRun,
}

/// How the champion is run.
#[derive(Debug, Clone, Copy)]
pub struct ModelLimits {
    pub threads: usize,
    pub queue_rows_max: usize,
}

impl Policy {
    /// Loads a policy folder, its models included, verifies all of it and runs the tests of its rules. Warnings come
    /// with the policy; if anything is wrong, every error is reported at once, those of models and of tests that
    /// fail once rules and features are right. A `runtime` that could not be loaded is an error only where the
    /// policy names a model.
    pub fn load(
        folder: &Path,
        runtime: &Result<Runtime, tollgate_models::Error>,
        limits: ModelLimits,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        let (logic, mut warnings) = tollgate_rules::load(folder)?;
        let tests = rule_tests::run(&logic);
        let models = models::load(folder, &logic, runtime, limits);
        let mut errors = tests.failures.clone();
        let models = models
            .map_err(|of_models| errors.extend(of_models))
            .unwrap_or_default();
        if errors.has_errors() {
            warnings.extend(errors);
            return Err(warnings);
        }
        let has_champion = models
            .as_ref()
            .is_some_and(|models| models.champion.is_some());
        if logic.rules.reads_score() && !has_champion {
            let file = SourceFile::new(folder.join(models::FILE).display().to_string(), "");
            let message = "rules read `model.score`, but no champion is named: they never match";
            warnings.push(Diagnostic::warning(&file, 0..0, message));
        }
        let mut digest = logic.files.clone();
        let mut policy = Self {
            read_plan: ReadPlan::new(&logic.schema, &logic.layout),
            champion: None,
            challengers: Vec::new(),
            version: String::new(),
            tests,
            logic,
        };
        if let Some(models) = models {
            for (path, content) in &models.files {
                digest.add(path, content);
            }
            policy.champion = models.champion;
            policy.challengers = models.challengers;
        }
        policy.version = tollgate_rules::version_of(&digest.hex()).to_owned();
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

    /// A digest of everything the policy consists of: equal versions decide alike.
    pub fn version(&self) -> &str {
        &self.version
    }
}
