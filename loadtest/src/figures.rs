//! The figures of a run, in the form that every report of measurements has.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::output::write_report;

/// One figure: ours, what it is compared with, how many times better ours is, and what was to be reached.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    unit: &'static str,
    ours: Option<f64>,
    other: Option<f64>,
    ratio: Option<f64>,
    goal: Option<String>,
    met: Option<bool>,
}

/// Shows and writes the figures; an error if a goal was missed.
pub(crate) fn report(path: &Path, rows: &[Row]) -> Result<()> {
    for row in rows {
        println!("{row}");
    }
    write_report(path, &rows)?;
    if rows.iter().any(Row::is_missed) {
        bail!("not every goal was reached");
    }
    Ok(())
}

impl Row {
    pub(crate) fn new(id: &'static str, unit: &'static str, ours: f64) -> Self {
        Self::of(id, unit, Some(ours))
    }

    pub(crate) const fn of(id: &'static str, unit: &'static str, ours: Option<f64>) -> Self {
        Self {
            id,
            unit,
            ours,
            other: None,
            ratio: None,
            goal: None,
            met: None,
        }
    }

    pub(crate) fn at_most(mut self, bound: f64) -> Self {
        self.goal = Some(format!("<= {bound}"));
        self.met = Some(self.ours.is_some_and(|ours| ours <= bound));
        self
    }

    pub(crate) fn at_least(mut self, bound: f64) -> Self {
        self.goal = Some(format!(">= {bound}"));
        self.met = Some(self.ours.is_some_and(|ours| ours >= bound));
        self
    }

    /// What it is compared with, and how many times better ours is.
    pub(crate) const fn beside(mut self, other: f64, ratio: f64) -> Self {
        self.other = Some(other);
        self.ratio = Some(ratio);
        self
    }

    pub(crate) fn not_slower_than(mut self, times: f64) -> Self {
        self.goal = Some(format!("ratio >= 1 / {times}"));
        self.met = Some(self.ratio.is_some_and(|ratio| ratio * times >= 1.0));
        self
    }

    /// Whether it has a goal and missed it.
    pub(crate) fn is_missed(&self) -> bool {
        self.met == Some(false)
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let (ours, other, ratio) = (number(self.ours), number(self.other), number(self.ratio));
        let goal = self.goal.as_deref().unwrap_or_default();
        write!(
            f,
            "{:<28}{ours:>14}{other:>12}{ratio:>8}  {:<6}{goal:<16}{met}",
            self.id, self.unit
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) fn count(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        let none = |row: Row| row.is_missed();
        assert!(none(Row::of("a", "ms", None).at_most(1.0)));
        assert!(none(Row::of("a", "ms", None).at_least(0.0)));
        assert!(none(Row::of("a", "ms", None).not_slower_than(1.2)));
        assert!(!Row::new("a", "ms", 1.0).at_most(1.0).is_missed());
        assert!(!Row::new("a", "ms", 1.0).at_least(1.0).is_missed());
        assert!(
            !Row::new("a", "ms", 1.2)
                .beside(1.0, 1.0 / 1.2)
                .not_slower_than(1.2)
                .is_missed()
        );
    }
}
