//! The figures of a run of changes.

use tollgate_report::{Goal, Row};

use super::seen::Seen;
use crate::figures::{count, figure};

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
        Row::new("changes.bad_not_refused", "count", count(bad - refused)).goal(Goal::AtMost(0.0)),
        Row::new("versions", "count", count(seen.versions())),
        Row::new("requests.failed", "count", count(seen.failed())).goal(Goal::AtMost(0.0)),
        Row::new("decisions.mixing_versions", "count", count(seen.mixed)).goal(Goal::AtMost(0.0)),
        figure("save_to_live.p50", "ms", live_p50),
        figure("save_to_live.max", "ms", live_max).goal(Goal::AtMost(LIVE_MS_MAX)),
    ];
    for (id, quantile) in [("latency.p50", 0.5), ("latency.p99", 0.99)] {
        rows.push(latency(seen, id, quantile));
    }
    rows.push(latency(seen, "latency.p999", 0.999).goal(Goal::WorseAtMost(SLOWER_MAX)));
    rows
}

fn latency(seen: &Seen, id: &str, quantile: f64) -> Row {
    let changing = count(seen.changing.latency_us(quantile));
    let still = count(seen.still.latency_us(quantile));
    Row::new(id, "µs", changing).beside(still, still / changing.max(1.0))
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
            missed.map(|row| row.id.clone()).collect::<Vec<_>>()
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
