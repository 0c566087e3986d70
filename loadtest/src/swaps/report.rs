//! The figures of a run, in the form that every report of measurements has.

use serde::Serialize;

use super::seen::Seen;

/// One figure: ours, what it is compared with, how many times better ours is, and what was to be reached.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Row {
    id: &'static str,
    unit: &'static str,
    ours: Option<f64>,
    other: Option<f64>,
    ratio: Option<f64>,
    goal: Option<String>,
    met: Option<bool>,
}

/// With changes, requests may take this many times as long as without.
const SLOWER_MAX: f64 = 1.2;

/// From the moment a change is saved until it decides.
const LIVE_MS_MAX: f64 = 1_000.0;

/// What was changed and what became of it.
pub(super) struct Changes {
    pub(super) made: usize,
    /// Bad ones that the service refused, of those that were made.
    pub(super) refused: (usize, usize),
    /// Of good ones, how long each took to decide; `None` if one never did.
    pub(super) live_ms: Vec<Option<f64>>,
}

pub(super) fn rows(seen: &Seen, changes: &Changes) -> Vec<Row> {
    let mut live_ms: Vec<f64> = changes.live_ms.iter().copied().flatten().collect();
    live_ms.sort_by(f64::total_cmp);
    let all_live = live_ms.len() == changes.live_ms.len() && !live_ms.is_empty();
    let live_max = live_ms.last().copied().filter(|_| all_live);
    let live_p50 = live_ms.get(live_ms.len() / 2).copied();
    let (refused, bad) = changes.refused;
    let mut rows = vec![
        Row::new(
            "requests",
            "count",
            count(seen.changing.ended() + seen.still.ended()),
        ),
        Row::new("changes", "count", count(changes.made)),
        Row::new("changes.bad_not_refused", "count", count(bad - refused)).at_most(0.0),
        Row::new("versions", "count", count(seen.versions())),
        Row::new("requests.failed", "count", count(seen.failed())).at_most(0.0),
        Row::new("decisions.mixing_versions", "count", count(seen.mixed)).at_most(0.0),
        Row::of("save_to_live.p50", "ms", live_p50),
        Row::of("save_to_live.max", "ms", live_max).at_most(LIVE_MS_MAX),
    ];
    for (id, quantile) in [("latency.p50", 0.5), ("latency.p99", 0.99)] {
        rows.push(latency(seen, id, quantile));
    }
    rows.push(latency(seen, "latency.p999", 0.999).not_slower_than(SLOWER_MAX));
    rows
}

fn latency(seen: &Seen, id: &'static str, quantile: f64) -> Row {
    let changing = count(seen.changing.latency_us(quantile));
    let still = count(seen.still.latency_us(quantile));
    Row {
        other: Some(still),
        ratio: Some(still / changing.max(1.0)),
        ..Row::new(id, "µs", changing)
    }
}

impl Row {
    fn new(id: &'static str, unit: &'static str, ours: f64) -> Self {
        Self::of(id, unit, Some(ours))
    }

    const fn of(id: &'static str, unit: &'static str, ours: Option<f64>) -> Self {
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

    fn at_most(mut self, bound: f64) -> Self {
        self.goal = Some(format!("<= {bound}"));
        self.met = Some(self.ours.is_some_and(|ours| ours <= bound));
        self
    }

    fn not_slower_than(mut self, times: f64) -> Self {
        self.goal = Some(format!("ratio >= 1 / {times}"));
        self.met = Some(self.ratio.is_some_and(|ratio| ratio * times >= 1.0));
        self
    }

    /// Whether it has a goal and missed it.
    pub(super) fn is_missed(&self) -> bool {
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
            "{:<28}{ours:>14}{other:>12}{ratio:>8}  {:<7}{goal:<18}{met}",
            self.id, self.unit
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn count(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_never_decides_meets_no_goal() {
        let changes = |live_ms: Vec<Option<f64>>| Changes {
            made: 4,
            refused: (1, 1),
            live_ms,
        };
        let missed = |live_ms| {
            let rows = rows(&Seen::default(), &changes(live_ms));
            let missed = rows.iter().filter(|row| row.is_missed());
            missed.map(|row| row.id).collect::<Vec<_>>()
        };
        // Nothing was asked, so no latency is a goal met either.
        assert_eq!(missed(vec![Some(100.0), Some(300.0)]), ["latency.p999"]);
        assert_eq!(
            missed(vec![Some(100.0), None]),
            ["save_to_live.max", "latency.p999"]
        );
        assert_eq!(
            missed(vec![Some(1_001.0)]),
            ["save_to_live.max", "latency.p999"]
        );
    }
}
