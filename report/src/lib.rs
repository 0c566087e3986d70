//! The form that every report of measurements has: rows of what was measured, beside what, and whether the goal was met.
//!
//! A report is a JSON array of [`Row`] and a table of the same for people. A figure that could not be measured stays
//! in the report as a row whose goal is not met, so that a missing one never passes for a good one.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One figure of a report.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured, from the general to the particular: `read.p50`.
    pub id: String,
    pub unit: String,
    /// Tollgate's figure; `None` if it could not be measured.
    pub ours: Option<f64>,
    /// The figure of what it is compared with, from the same run.
    pub other: Option<f64>,
    /// How many times better ours is: above 1 is better, whether small or large figures are.
    pub ratio: Option<f64>,
    /// What was to be reached; `None` for a row that only informs.
    pub goal: Option<String>,
    /// Whether it was reached; `None` exactly where there is no goal.
    pub met: Option<bool>,
}

/// What a row is to reach.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Goal {
    /// Our figure is no more than this.
    AtMost(f64),
    /// Our figure is no less than this.
    AtLeast(f64),
    /// Ours is at least this many times better than the other.
    RatioAtLeast(f64),
    /// Ours is at most this many times worse than the other.
    WorseAtMost(f64),
}

impl Row {
    /// A figure that stands alone, without goal.
    pub fn new(id: impl Into<String>, unit: &str, ours: f64) -> Self {
        Self {
            id: id.into(),
            unit: unit.to_owned(),
            ours: Some(ours),
            other: None,
            ratio: None,
            goal: None,
            met: None,
        }
    }

    /// A figure that could not be measured, which meets no goal.
    pub fn skipped(id: impl Into<String>, unit: &str, goal: Option<Goal>) -> Self {
        let nothing = Self {
            ours: None,
            ..Self::new(id, unit, 0.0)
        };
        match goal {
            Some(goal) => nothing.goal(goal),
            None => nothing,
        }
    }

    /// Sets what it is compared with. `ratio` is given, not computed: it is a median over pairs.
    #[must_use]
    pub fn beside(mut self, other: f64, ratio: f64) -> Self {
        self.other = Some(other);
        self.ratio = Some(ratio);
        self
    }

    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        let (text, met) = match goal {
            Goal::AtMost(bound) => (
                format!("<= {bound}"),
                self.ours.is_some_and(|ours| ours <= bound),
            ),
            Goal::AtLeast(bound) => (
                format!(">= {bound}"),
                self.ours.is_some_and(|ours| ours >= bound),
            ),
            Goal::RatioAtLeast(bound) => (
                format!("ratio >= {bound}"),
                self.ratio.is_some_and(|ratio| ratio >= bound),
            ),
            Goal::WorseAtMost(times) => (
                format!("ratio >= 1 / {times}"),
                self.ratio.is_some_and(|ratio| ratio * times >= 1.0),
            ),
        };
        self.goal = Some(text);
        self.met = Some(met);
        self
    }

    /// Whether it has a goal and missed it.
    pub fn is_missed(&self) -> bool {
        self.met == Some(false)
    }
}

/// Writes the report, making its folder, with figures cut to what a measurement can carry.
pub fn write(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let rounded: Vec<Row> = rows.iter().map(Row::rounded).collect();
    write_json(path, &rounded)
}

fn write_json(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let json = serde_json::to_string_pretty(report)?;
    std::fs::write(path, json + "\n").with_context(|| path.display().to_string())
}

/// Writes a report in which nothing is compared: an array of `{id, unit, value, goal, met}`.
pub fn write_values(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let rounded: Vec<Row> = rows.iter().map(Row::rounded).collect();
    let values: Vec<Value<'_>> = rounded.iter().map(Value::of).collect();
    write_json(path, &values)
}

/// A row that stands alone.
#[derive(Serialize)]
struct Value<'r> {
    id: &'r str,
    unit: &'r str,
    value: Option<f64>,
    goal: Option<&'r str>,
    met: Option<bool>,
}

impl<'r> Value<'r> {
    fn of(row: &'r Row) -> Self {
        Self {
            id: &row.id,
            unit: &row.unit,
            value: row.ours,
            goal: row.goal.as_deref(),
            met: row.met,
        }
    }
}

/// Prints the rows as a table.
pub fn print(out: &mut impl Write, rows: &[Row]) -> std::io::Result<()> {
    let headings = ["", "ours", "other", "ratio", "unit", "goal", "met"].map(str::to_owned);
    let mut lines = vec![headings];
    lines.extend(rows.iter().map(Row::words));
    let widths: Vec<usize> = (0..7)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    for line in &lines {
        let mut text = format!("{:<width$}", line[0], width = widths[0]);
        for column in 1..4 {
            text += &format!("  {:>width$}", line[column], width = widths[column]);
        }
        for column in 4..7 {
            text += &format!("  {:<width$}", line[column], width = widths[column]);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

impl Row {
    fn words(&self) -> [String; 7] {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), shown);
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        [
            self.id.clone(),
            number(self.ours),
            number(self.other),
            number(self.ratio),
            self.unit.clone(),
            self.goal.clone().unwrap_or_default(),
            met.to_owned(),
        ]
    }

    fn rounded(&self) -> Self {
        Self {
            ours: self.ours.map(round),
            other: self.other.map(round),
            ratio: self.ratio.map(round),
            ..self.clone()
        }
    }
}

/// Four significant digits: the fifth is noise in anything that is timed.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 3.0 - value.abs().log10().floor();
    if digits <= 0.0 {
        return value.round();
    }
    let scale = 10_f64.powf(digits);
    (value * scale).round() / scale
}

fn shown(value: f64) -> String {
    let rounded = round(value);
    if rounded.abs() >= 10_000.0 {
        grouped(&format!("{rounded:.0}"))
    } else {
        rounded.to_string()
    }
}

/// `1234567` as `1,234,567`.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_at_its_bound_and_missed_beyond() {
        let time = |micros| Row::new("read.p50", "µs", micros).goal(Goal::AtMost(2.5));
        assert_eq!(time(2.5).met, Some(true));
        assert_eq!(time(2.6).met, Some(false));
        assert_eq!(time(2.6).goal.as_deref(), Some("<= 2.5"));
        let rate = |rows| Row::new("table", "rows/s", rows).goal(Goal::AtLeast(300_000.0));
        assert_eq!(rate(300_000.0).met, Some(true));
        assert_eq!(rate(299_999.0).met, Some(false));
        let beside = |ratio| Row::new("read.redis", "µs", 2.0).beside(100.0, ratio);
        assert_eq!(beside(50.0).goal(Goal::RatioAtLeast(50.0)).met, Some(true));
        assert_eq!(beside(49.9).goal(Goal::RatioAtLeast(50.0)).met, Some(false));
        assert_eq!(beside(0.5).goal(Goal::WorseAtMost(2.0)).met, Some(true));
        assert_eq!(beside(0.4).goal(Goal::WorseAtMost(2.0)).met, Some(false));
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        for goal in [
            Goal::AtMost(f64::MAX),
            Goal::AtLeast(0.0),
            Goal::RatioAtLeast(0.0),
            Goal::WorseAtMost(f64::MAX),
        ] {
            let row = Row::skipped("read.p50", "µs", Some(goal));
            assert_eq!((row.ours, row.met), (None, Some(false)));
        }
    }

    #[test]
    fn a_report_is_an_array_of_rows_with_every_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports/some.json");
        let rows = [Row::new("timer", "ns", 23.000_04)];
        write(&path, &rows).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let expected = serde_json::json!([{
            "id": "timer", "unit": "ns", "ours": 23.0, "other": null, "ratio": null,
            "goal": null, "met": null,
        }]);
        assert_eq!(json, expected);
    }

    #[test]
    fn a_report_of_values_says_the_same_without_what_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.json");
        let rows = [
            Row::new("lost", "count", 0.0).goal(Goal::AtMost(0.0)),
            Row::skipped("load", "s", Some(Goal::AtMost(10.0))),
        ];
        write_values(&path, &rows).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let expected = serde_json::json!([
            {"id": "lost", "unit": "count", "value": 0.0, "goal": "<= 0", "met": true},
            {"id": "load", "unit": "s", "value": null, "goal": "<= 10", "met": false},
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn numbers_are_shown_with_four_digits_and_grouped() {
        for (value, text) in [
            (1.234_56, "1.235"),
            (0.012_345, "0.01235"),
            (123.45, "123.5"),
            (1_234_567.0, "1,234,567"),
            (-12_345.0, "-12,345"),
            (0.0, "0"),
        ] {
            assert_eq!(shown(value), text);
        }
    }
}
