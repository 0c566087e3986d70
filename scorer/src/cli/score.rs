//! `tollgate score`: one transaction, decided with an empty history and explained.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tollgate_features::Store;
use tollgate_proto::v1;
use tollgate_types::Span;

use super::{CommandError, Common, load_policy};
use crate::decide::{self, Context, Decision};
use crate::policy::{Policy, feature_number};
use crate::{clock, convert};

/// No client waits, so the model may take its time.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct Score {
    /// File with a Transaction in proto3 JSON; standard input if left out
    file: Option<PathBuf>,
}

impl Score {
    pub(super) fn run(self, common: &Common) -> Result<ExitCode, CommandError> {
        let config = common.load()?;
        let policy = load_policy(&config.policy.path, &config)?;
        let json = self.read()?;
        let message: v1::Transaction = tollgate_proto::from_json("tollgate.v1.Transaction", &json)
            .context("the transaction")?;
        let now = clock::wall_time();
        let transaction = convert::transaction(Some(message), now).context("the transaction")?;
        let logic = policy.logic();
        let record = convert::record(&transaction, logic).context("the transaction")?;
        let store = Store::new(std::sync::Arc::clone(&logic.schema));
        let context = Context {
            policy: &policy,
            store: &store,
            now,
            deadline: clock::instant() + PATIENCE,
            behind: Span::ZERO,
            stale_after: Span::from_seconds(1),
            in_flight_expires: Span::from_seconds(1),
            model_reasons_max: config.watch.reasons_max,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.context("cannot start the asynchronous runtime")?;
        let decision = runtime.block_on(decide::decide(&context, &record, clock::instant));
        print!("{}", explanation(&policy, &decision));
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self) -> anyhow::Result<String> {
        /// A transaction is below 2 KB.
        const BYTES_MAX: u64 = 1024 * 1024;
        let mut json = String::new();
        let read = match &self.file {
            Some(path) => std::fs::File::open(path)
                .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut json))
                .with_context(|| format!("cannot read {}", path.display()))?,
            None => std::io::stdin().take(BYTES_MAX).read_to_string(&mut json)?,
        };
        if read == 0 {
            bail!("no transaction: give one in proto3 JSON, in a file or on standard input");
        }
        Ok(json)
    }
}

/// The decision in words: outcome, score, reasons, features.
fn explanation(policy: &Policy, decision: &Decision) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{label:<14}{value}");
    };
    line("outcome", decision.outcome.name().to_owned());
    let score = decision
        .score
        .map_or("none".to_owned(), |score| format!("{score:.4}"));
    line("score", score);
    line("level", decision.level.name().to_owned());
    for cause in &decision.causes {
        line("cause", cause.name().to_owned());
    }
    for reason in &decision.reasons {
        line(
            "reason",
            format!(
                "{:?} ({}): {}",
                reason.code, reason.rule_id, reason.description
            ),
        );
    }
    for rule in &decision.shadow_matches {
        line("shadow match", rule.to_string());
    }
    line("policy", policy.version().to_owned());
    line("history", "empty: only this transaction".to_owned());
    for (feature, cell) in policy
        .logic()
        .layout
        .features
        .iter()
        .zip(&decision.features)
    {
        let value = feature_number(feature.kind, *cell);
        let value = value.map_or("missing".to_owned(), |value| value.to_string());
        line("feature", format!("{} = {value}", feature.name));
    }
    text
}
