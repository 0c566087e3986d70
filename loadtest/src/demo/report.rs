//! What the demo found out, as numbers; `summary` shows them to people.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::findings::Group;
use super::live::Seen;
use crate::kafka::Recorded;
use crate::output::show_counts;

/// What was asked for and how long it took.
#[derive(Debug, Default, Serialize)]
pub(super) struct Run {
    /// Events that were fed before the live traffic.
    pub(super) history: u64,
    pub(super) history_s: f64,
    /// All events, the live ones included.
    pub(super) published: u64,
    /// How long the live traffic took.
    pub(super) duration_s: f64,
    pub(super) seed: u64,
    pub(super) rate: f64,
}

/// Whether every answered transaction has exactly one decision record.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct DecisionLog {
    pub(super) records: u64,
    pub(super) missing: u64,
    pub(super) duplicated: u64,
}

/// Everything the demo found out. Shares are 0 to 1.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) scored: u64,
    pub(super) late: u64,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) fraud: u64,
    pub(super) fraud_caught: f64,
    pub(super) fraud_caught_amount: f64,
    pub(super) fraud_flagged: f64,
    pub(super) fraud_caught_by_pattern: BTreeMap<&'static str, PatternReport>,
    pub(super) good: u64,
    pub(super) good_disturbed: f64,
    pub(super) good_disturbed_amount: f64,
    pub(super) good_flagged: f64,
    pub(super) latency_us_p50: u64,
    pub(super) latency_us_p99: u64,
    pub(super) latency_us_p999: u64,
    pub(super) latency_us_max: u64,
    pub(super) degraded: BTreeMap<&'static str, u64>,
    pub(super) degradation_causes: BTreeMap<String, u64>,
    pub(super) errors: BTreeMap<&'static str, u64>,
    pub(super) decisions: DecisionLog,
    #[serde(flatten)]
    pub(super) run: Run,
}

#[derive(Debug, Serialize)]
pub(super) struct PatternReport {
    pub(super) transactions: u64,
    pub(super) caught: f64,
    pub(super) caught_amount: f64,
    pub(super) flagged: f64,
}

impl DecisionLog {
    /// A transaction that was not answered may have a record as well: the service may have decided too late.
    pub(super) fn new(answered: &[String], records: &HashMap<String, Recorded>) -> Self {
        let missing = answered.iter().filter(|&id| !records.contains_key(id));
        let duplicated = records.values().filter(|recorded| recorded.count > 1);
        Self {
            records: records
                .values()
                .map(|recorded| u64::from(recorded.count))
                .sum(),
            missing: missing.count() as u64,
            duplicated: duplicated.count() as u64,
        }
    }
}

impl Report {
    pub(super) fn new(run: Run, seen: Seen, decisions: DecisionLog) -> Self {
        let Seen {
            tally, findings, ..
        } = seen;
        let fraud = findings.all_fraud();
        let good = findings.good;
        let by_pattern = findings
            .fraud
            .iter()
            .map(|(pattern, group)| (pattern.name(), group.into()));
        Self {
            scored: tally.answered,
            late: tally.late,
            fraud: fraud.count,
            fraud_caught: fraud.stopped_share(),
            fraud_caught_amount: fraud.stopped_amount_share(),
            fraud_flagged: fraud.flagged_share(),
            fraud_caught_by_pattern: by_pattern.collect(),
            good: good.count,
            good_disturbed: good.stopped_share(),
            good_disturbed_amount: good.stopped_amount_share(),
            good_flagged: good.flagged_share(),
            latency_us_p50: tally.latency_us(0.5),
            latency_us_p99: tally.latency_us(0.99),
            latency_us_p999: tally.latency_us(0.999),
            latency_us_max: tally.latency_us_max(),
            outcomes: tally.outcomes,
            degraded: tally.degraded,
            degradation_causes: tally.causes,
            errors: tally.errors,
            decisions,
            run,
        }
    }

    /// Transactions the service was asked about.
    pub(super) fn asked(&self) -> u64 {
        self.scored + self.unanswered()
    }

    fn unanswered(&self) -> u64 {
        self.errors.values().sum()
    }

    /// An error unless every transaction was answered and recorded once. Late and degraded answers are answers.
    pub(super) fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        let mut find = |count: u64, what: &str| {
            if count > 0 {
                problems.push(format!("{count} {what}"));
            }
        };
        let codes = show_counts(&self.errors);
        find(
            self.unanswered(),
            &format!("transactions without an answer ({codes})"),
        );
        find(self.decisions.missing, "answers without a decision record");
        find(
            self.decisions.duplicated,
            "transactions with more than one decision record",
        );
        if self.scored == 0 {
            problems.push("nothing was scored".to_owned());
        }
        ensure!(
            problems.is_empty(),
            "the demo failed: {}",
            problems.join(", ")
        );
        Ok(())
    }
}

impl From<&Group> for PatternReport {
    fn from(group: &Group) -> Self {
        Self {
            transactions: group.count,
            caught: group.stopped_share(),
            caught_amount: group.stopped_amount_share(),
            flagged: group.flagged_share(),
        }
    }
}

#[cfg(test)]
mod tests;
