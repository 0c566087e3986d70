//! `tollgate explain`: a decision of the log, made again from its record, explained, and compared with what was answered.

mod again;
mod saved;
mod topic;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use tollgate_proto::v1;
use tollgate_rules::{MOMENT_HELP, parse_moment};
use tollgate_types::{EventTime, Span};

use super::explanation::{Explanation, moment, outcome};
use super::{CommandError, Common, load_policy};
use crate::audit::record::PROGRAM;
use crate::clock;
use crate::config::Config;
use crate::policy::Policy;
use again::{Again, Unreplayable};
use topic::Wanted;

/// How far back is looked where nothing is said of it: asked about is mostly what has just been answered.
const SINCE_DEFAULT: Span = Span::from_days(1);

#[derive(Args)]
pub(super) struct Explain {
    /// Id of the decision, as its answer has it
    #[arg(long, value_name = "ID", required_unless_present = "record")]
    decision: Option<String>,
    /// The record in a file, as a consumer saved it in protobuf form or in JSON, instead of looking for it in Kafka
    #[arg(long, value_name = "FILE", conflicts_with_all = ["card", "since"])]
    record: Option<PathBuf>,
    /// Folder of the policy as it was then; the configured one if left out
    #[arg(long, value_name = "FOLDER")]
    policy: Option<PathBuf>,
    /// Look at records of this card only
    #[arg(long, value_name = "TOKEN")]
    card: Option<String>,
    /// Look at records since then: a length of time such as 2h or 30d, a date, or a time with its zone; a day if left out
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

/// What came of one record; the worst of all is told by the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Same,
    Differs,
    NotReplayed,
}

impl Verdict {
    fn code(self) -> ExitCode {
        match self {
            Self::Same => ExitCode::SUCCESS,
            Self::Differs => ExitCode::from(1),
            Self::NotReplayed => ExitCode::from(2),
        }
    }
}

impl Explain {
    /// Whatever goes wrong is a decision that could not be made again.
    pub(super) fn run(self, common: &Common) -> ExitCode {
        let verdict = self.explain(common).unwrap_or_else(|error| {
            error.tell();
            Verdict::NotReplayed
        });
        verdict.code()
    }

    fn explain(&self, common: &Common) -> Result<Verdict, CommandError> {
        let config = common.load()?;
        let records = self.records(&config)?;
        let folder = self.policy.as_ref().unwrap_or(&config.policy.path);
        let policy = load_policy(folder, &config)?;
        let mut worst = Verdict::Same;
        for (at, record) in records.iter().enumerate() {
            if at > 0 {
                println!();
            }
            let again = again::replay(&policy, folder, record);
            print!("{}", explanation(&policy, record, &again));
            let verdict = match &again {
                Ok(again) if again.differences.is_empty() => Verdict::Same,
                Ok(_) => Verdict::Differs,
                Err(why) => {
                    eprintln!("error: it cannot be made again: {why}");
                    Verdict::NotReplayed
                }
            };
            worst = worst.max(verdict);
        }
        Ok(worst)
    }

    /// The decision's record, and that of its late verdict if there is one.
    fn records(&self, config: &Config) -> anyhow::Result<Vec<v1::DecisionRecord>> {
        if let Some(file) = &self.record {
            let record = saved::read(file)?;
            let found = record.response.as_ref();
            let found = found.map_or("", |response| &response.decision_id);
            if let Some(wanted) = self.decision.as_ref().filter(|wanted| *wanted != found) {
                bail!(
                    "{} is the record of decision `{found}`, and not of `{wanted}`; leave --decision out to explain it",
                    file.display()
                );
            }
            return Ok(vec![record]);
        }
        let now = clock::wall_time();
        let since = match &self.since {
            Some(text) => since(text, now).context("--since")?,
            None => now.minus(SINCE_DEFAULT),
        };
        topic::find(
            &config.kafka,
            &Wanted {
                decision: self.decision.as_deref().unwrap_or_default(),
                card: self.card.as_deref(),
                since,
            },
        )
    }
}

fn since(text: &str, now: EventTime) -> anyhow::Result<EventTime> {
    if let Ok(back) = Span::parse(text) {
        return Ok(now.minus(back));
    }
    parse_moment(text).with_context(|| {
        format!(
            "`{text}` is no time; {MOMENT_HELP}, or a length of time until now, such as 2h or 30d"
        )
    })
}

/// What was decided, from what, and whether it comes out the same.
fn explanation(
    policy: &Policy,
    record: &v1::DecisionRecord,
    again: &Result<Again, Unreplayable>,
) -> String {
    let logged = record.response.clone().unwrap_or_default();
    let mut text = Explanation::default();
    text.line("decision", &logged.decision_id);
    let transaction = format_args!("{} of card {}", logged.transaction_id, record.card_id);
    text.line("transaction", transaction);
    text.line("event time", moment(record.event_time.as_ref()));
    text.line("decided at", moment(record.decided_at.as_ref()));
    if record.late_verdict {
        let answered = outcome(record.answered_outcome());
        text.line("late verdict", format_args!("answered was {answered}"));
    }
    text.answer(&logged);
    for rule in &record.demoted_rules {
        text.line("demoted", format_args!("{rule}, by its guard"));
    }
    if let Some(versions) = &record.versions {
        text.line("features of", &versions.features);
        text.line("fallback of", &versions.fallback);
        if !versions.model.is_empty() {
            text.line("champion of", &versions.model);
        }
        text.line("program", &versions.program);
    }
    if let Some(timings) = &record.timings {
        text.timings(timings, logged.elapsed_us);
    }
    let Ok(again) = again else {
        return text.text();
    };
    if again.decision.aggregates.is_none() {
        text.line("history", "was not read");
    } else {
        text.line("history", "as it was logged");
        text.values(policy, &again.decision);
    }
    if again.differences.is_empty() {
        text.line("made again", "the same");
        return text.text();
    }
    text.line("made again", "it differs");
    for difference in &again.differences {
        text.line("difference", difference);
    }
    let program = record.versions.as_ref().map(|versions| &versions.program);
    if let Some(program) = program.filter(|program| *program != PROGRAM) {
        let programs = format_args!("it was made by tollgate {program}, and again by {PROGRAM}");
        text.line("difference", programs);
    }
    text.text()
}

#[cfg(test)]
mod tests;
