//! Everything one decision is made by: rules, lists, features, fallback and models, in one version.

mod models;

use std::path::Path;

use tollgate_features::ReadPlan;
use tollgate_models::Runtime;
use tollgate_rules::Logic;
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
}

/// How the champion is run.
#[derive(Debug, Clone, Copy)]
pub struct ModelLimits {
    pub threads: usize,
    pub queue_rows_max: usize,
}

impl Policy {
    /// Loads a policy folder, its models included, and verifies all of it. Warnings come with the policy; if
    /// anything is wrong, every error is reported at once, those of models once the features they need are right. A `runtime` that could not be loaded is an
    /// error only where the policy names a model.
    pub fn load(
        folder: &Path,
        runtime: &Result<Runtime, tollgate_models::Error>,
        limits: ModelLimits,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        let (logic, mut warnings) = tollgate_rules::load(folder)?;
        let models = models::load(folder, &logic, runtime, limits)?;
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
