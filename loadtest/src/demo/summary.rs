//! The demo's summary for people.

use std::fmt;

use super::DEADLINE;
use super::findings::share;
use super::report::Report;
use crate::output::{show_counts, show_latency};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "History     {} events applied in {:.1} s",
            self.run.history, self.run.history_s
        )?;
        writeln!(
            out,
            "Live        {} of {} transactions answered in {:.1} s, {:.0} a second asked for",
            self.scored,
            self.asked(),
            self.run.duration_s,
            self.run.rate
        )?;
        self.write_outcomes(out)?;
        self.write_fraud(out)?;
        self.write_service(out)
    }
}

impl Report {
    fn write_outcomes(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n{:<25} {:>8} {:>11}", "Outcome", "count", "share")?;
        for outcome in tollgate_types::Outcome::ALL.map(tollgate_types::Outcome::name) {
            let count = self.outcomes.get(outcome).copied().unwrap_or_default();
            let share = percent(share(count, self.scored));
            writeln!(out, "{outcome:<25} {count:>8} {share:>11}")?;
        }
        Ok(())
    }

    fn write_fraud(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\n{:<25} {:>8} {:>11} {:>11} {:>11}",
            "Fraud", "count", "caught", "by amount", "flagged"
        )?;
        let mut row = |label: &str, count: u64, shares: [f64; 3]| {
            let [caught, by_amount, flagged] = shares.map(percent);
            writeln!(
                out,
                "{label:<25} {count:>8} {caught:>11} {by_amount:>11} {flagged:>11}"
            )
        };
        let fraud = [
            self.fraud_caught,
            self.fraud_caught_amount,
            self.fraud_flagged,
        ];
        let good = [
            self.good_disturbed,
            self.good_disturbed_amount,
            self.good_flagged,
        ];
        row("all fraud", self.fraud, fraud)?;
        for (pattern, group) in &self.fraud_caught_by_pattern {
            let label = format!("  {}", pattern.replace('_', " "));
            let shares = [group.caught, group.caught_amount, group.flagged];
            row(&label, group.transactions, shares)?;
        }
        row("good transactions", self.good, good)?;
        out.write_str(
            "  caught     challenged or declined: fraud that was stopped, good traffic that was disturbed\n  \
             by amount  the same, as a share of the euros\n  \
             flagged    approved, and marked for review\n",
        )
    }

    fn write_service(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\nLatency     p50 {} · p99 {} · p99.9 {} · max {}",
            show_latency(self.latency_us_p50),
            show_latency(self.latency_us_p99),
            show_latency(self.latency_us_p999),
            show_latency(self.latency_us_max)
        )?;
        writeln!(
            out,
            "Late        {} after more than {} ms",
            self.late,
            DEADLINE.as_millis()
        )?;
        writeln!(out, "Degraded    {}", show_counts(&self.degraded))?;
        if !self.degradation_causes.is_empty() {
            writeln!(out, "  because   {}", show_counts(&self.degradation_causes))?;
        }
        writeln!(out, "Unanswered  {}", show_counts(&self.errors))?;
        let log = &self.decisions;
        write!(
            out,
            "Decisions   {} records, {} missing, {} duplicated",
            log.records, log.missing, log.duplicated
        )
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
