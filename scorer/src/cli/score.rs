//! `tollgate score`: one transaction, decided with an empty history and explained.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use tollgate_proto::v1;

use super::alone::Alone;
use super::explanation::Explanation;
use super::{CommandError, Common, load_policy};
use crate::decide;
use crate::grpc::response;
use crate::{clock, convert};

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
        let alone = Alone::new(&policy)?;
        let context = alone.context(now, config.watch.reasons_max);
        let decision = alone.run(decide::decide(&context, &record, clock::instant));
        let mut explanation = Explanation::default();
        let id = transaction.id.as_str();
        explanation.answer(&response(&policy, id, &decision, false));
        explanation.line("history", "empty: only this transaction");
        explanation.values(&policy, &decision);
        print!("{}", explanation.text());
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
