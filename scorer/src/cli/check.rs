//! `tollgate check`: everything a load would check.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CommandError, Common, load_policy};

#[derive(Args)]
pub(super) struct Check {
    /// The policy folder; the configured one if left out
    folder: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let config = common.load()?;
        let folder = self.folder.as_ref().unwrap_or(&config.policy.path);
        let policy = load_policy(folder, &config)?;
        let logic = policy.logic();
        let champion = policy
            .champion()
            .map_or("no champion", |model| model.version());
        println!(
            "{}: no errors. {} rules, {} named features, {} lists, {champion}. Version {}",
            folder.display(),
            logic.rules.rules().len(),
            logic.layout.features.len(),
            logic.lists.iter().count(),
            policy.version(),
        );
        Ok(ExitCode::SUCCESS)
    }
}
