//! `tollgate check`: everything a load would check.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CommandError, Common, load_policy};
use crate::model_report::ModelReport;
use crate::policy::Policy;
use crate::watch::DriftReports;

#[derive(Args)]
pub(super) struct Check {
    /// The policy folder; the configured one if left out
    folder: Option<PathBuf>,
    /// Name the rules and cases of the fallback table that no test makes match, and the terms of conditions that tests have
    /// not seen both ways
    #[arg(long)]
    coverage: bool,
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
            "{}: no errors. {} rules, {} named features, {} lists, {} tests, {champion}. Version {}",
            folder.display(),
            logic.rules.rules().len(),
            logic.layout.features.len(),
            logic.lists.iter().count(),
            policy.tests().tests,
            policy.version(),
        );
        for model in ModelReport::all(&policy, &DriftReports::default()) {
            print!("{}", model.text());
        }
        if self.coverage {
            print!("{}", coverage(&policy));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the tests of rules leave open. It is advice: a policy without any test can be served.
fn coverage(policy: &Policy) -> String {
    let open = policy.logic().uncovered(policy.tests());
    if open.is_empty() {
        return "coverage: tests make every rule and every answer of the fallback table match, and see every term both true and false\n"
            .to_owned();
    }
    let things = if open.len() == 1 { "thing" } else { "things" };
    format!(
        "{}\n\ncoverage: {} {things} left open\n",
        open.render(),
        open.len()
    )
}
