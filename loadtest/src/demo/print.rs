//! The demo's summary for people.

use std::collections::BTreeMap;

use tollgate_types::Outcome;

use super::report::Report;
use crate::score::show;

impl Report {
    pub(super) fn print(&self) {
        println!(
            "\nHistory    {} events in {:.1} s",
            self.history, self.history_s
        );
        println!(
            "Live       {} scored in {:.1} s, {:.0}/s asked for",
            self.scored, self.duration_s, self.rate
        );
        println!("\nOutcome        count    share");
        for outcome in Outcome::ALL.map(Outcome::name) {
            let count = self.outcomes.get(outcome).copied().unwrap_or_default();
            println!(
                "{outcome:<10} {count:>9}  {:>7}",
                percent_of(count, self.scored)
            );
        }
        println!("\n                             caught   by amount    flagged");
        println!(
            "{:<27} {:>7}  {:>10} {:>10}",
            format!("fraud ({})", self.fraud),
            percent(self.fraud_caught),
            percent(self.fraud_caught_amount),
            percent(self.fraud_flagged)
        );
        for (pattern, group) in &self.fraud_caught_by_pattern {
            println!(
                "{:<27} {:>7}  {:>10} {:>10}",
                format!("  {} ({})", pattern.replace('_', " "), group.transactions),
                percent(group.caught),
                percent(group.caught_amount),
                percent(group.flagged)
            );
        }
        println!(
            "{:<27} {:>7}  {:>10} {:>10}   (disturbed)",
            format!("good ({})", self.good),
            percent(self.good_disturbed),
            percent(self.good_disturbed_amount),
            percent(self.good_flagged)
        );
        println!(
            "\nLatency    p50 {} · p99 {} · p99.9 {} · max {}",
            show(self.latency_us_p50),
            show(self.latency_us_p99),
            show(self.latency_us_p999),
            show(self.latency_us_max)
        );
        println!("Late       {} over 100 ms", self.late);
        println!("Degraded   {}", counts(&self.degraded));
        if !self.degradation_causes.is_empty() {
            println!("  because  {}", counts(&self.degradation_causes));
        }
        println!("Errors     {}", counts(&self.errors));
        let log = &self.decisions;
        println!(
            "Decisions  {} records, {} missing, {} duplicated",
            log.records, log.missing, log.duplicated
        );
    }
}

fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<_> = counts
        .iter()
        .map(|(key, count)| format!("{key} {count}"))
        .collect();
    shown.join(" · ")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn percent_of(part: u64, whole: u64) -> String {
    percent(part as f64 / whole.max(1) as f64)
}
