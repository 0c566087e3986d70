//! What the demo found out, as numbers; `print` shows them to people.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use super::findings::Group;
use super::live::Seen;
use crate::report::write_json;

/// What was asked for and how long it took.
pub(super) struct Run {
    pub(super) rate: f64,
    pub(super) seed: u64,
    pub(super) history: u64,
    pub(super) history_s: f64,
    pub(super) live_s: f64,
    pub(super) published: u64,
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
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) decisions: DecisionLog,
    pub(super) history: u64,
    pub(super) history_s: f64,
    pub(super) published: u64,
    pub(super) duration_s: f64,
    pub(super) seed: u64,
    pub(super) rate: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct PatternReport {
    pub(super) transactions: u64,
    pub(super) caught: f64,
    pub(super) caught_amount: f64,
    pub(super) flagged: f64,
}

impl DecisionLog {
    pub(super) fn new(answered: &[String], records: &HashMap<String, u32>) -> Self {
        let missing = answered
            .iter()
            .filter(|&id| !records.contains_key(id))
            .count();
        let duplicated = records.values().filter(|&&count| count > 1).count();
        let total = records.values().map(|&count| u64::from(count)).sum();
        Self {
            records: total,
            missing: missing as u64,
            duplicated: duplicated as u64,
        }
    }
}

impl Report {
    pub(super) fn new(run: &Run, seen: Seen, decisions: DecisionLog) -> Self {
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
            outcomes: with_all_outcomes(tally.outcomes),
            degraded: tally.degraded,
            degradation_causes: tally.causes,
            errors: tally.errors,
            decisions,
            history: run.history,
            history_s: run.history_s,
            published: run.published,
            duration_s: run.live_s,
            seed: run.seed,
            rate: run.rate,
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }

    /// An error where the decision log does not agree with the answers.
    pub(super) fn check(&self) -> Result<()> {
        let DecisionLog {
            records,
            missing,
            duplicated,
        } = self.decisions;
        if missing + duplicated > 0 {
            bail!(
                "the decision log does not match the {} answers: {records} records, {missing} answers \
                 without one, {duplicated} transactions with more than one",
                self.scored
            );
        }
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

/// The four outcomes are always listed, also those that did not occur.
fn with_all_outcomes(mut outcomes: BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    for outcome in tollgate_types::Outcome::ALL {
        outcomes.entry(outcome.name()).or_default();
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(decisions: DecisionLog) -> Report {
        let run = Run {
            rate: 1.0,
            seed: 1,
            history: 10,
            history_s: 0.1,
            live_s: 1.0,
            published: 11,
        };
        Report::new(&run, Seen::default(), decisions)
    }

    #[test]
    fn every_answer_needs_exactly_one_record() {
        let records = HashMap::from([
            ("a".to_owned(), 1),
            ("b".to_owned(), 2),
            ("x".to_owned(), 1),
        ]);
        let log = DecisionLog::new(&["a", "b", "c"].map(str::to_owned), &records);
        assert_eq!(
            log,
            DecisionLog {
                records: 4,
                missing: 1,
                duplicated: 1
            }
        );
        assert!(
            report(log)
                .check()
                .unwrap_err()
                .to_string()
                .contains("1 answers without one")
        );
        assert!(report(DecisionLog::default()).check().is_ok());
    }

    #[test]
    fn the_keys_that_programs_read_are_there() {
        let json = serde_json::to_value(report(DecisionLog::default())).unwrap();
        for key in [
            "scored",
            "late",
            "outcomes",
            "fraud_caught",
            "good_disturbed",
            "latency_us_p50",
            "latency_us_p99",
            "latency_us_p999",
            "degraded",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        for outcome in ["approve", "flag", "challenge", "decline"] {
            assert_eq!(json["outcomes"][outcome], 0);
        }
    }
}
