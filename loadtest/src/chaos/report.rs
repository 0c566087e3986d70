//! What a chaos run reports: one entry per scenario, for programs and for people, and whether each goal was met.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tollgate_report::{Goal, Row};

use super::stalls::Stalls;
use super::{Story, name};
use crate::figures::count;
use crate::output::{show_counts, show_latency, write_file};

/// SIGTERM under load.
const STOPPING: u8 = 12;

#[derive(Serialize)]
pub(super) struct Entry {
    number: u8,
    scenario: &'static str,
    pub(super) met: bool,
    sent: u64,
    answered: u64,
    /// Answers after their deadline by the service's own count, less those that its watchdog puts down to the machine.
    late_server: u64,
    late_stalled: u64,
    /// Answers after the client's deadline, counted from when the request was due.
    late_client: u64,
    /// Those of them during which the generator itself was not scheduled.
    late_client_stalled: u64,
    errors: u64,
    errors_by_code: BTreeMap<&'static str, u64>,
    /// Refused by the server before it began with them; a client of gRPC sends them again elsewhere.
    refused: u64,
    /// Due, but held back by the generator's own bound.
    not_sent: u64,
    levels: BTreeMap<&'static str, u64>,
    causes: BTreeMap<String, u64>,
    latency_us_p50: u64,
    latency_us_p99: u64,
    latency_us_p999: u64,
    latency_us_max: u64,
    client_deadline_ms: f64,
    offered_per_s: f64,
    seconds: f64,
    generator_stalls: usize,
    generator_stall_ms_max: f64,
    /// Whether service and generator had cores of their own.
    cores_apart: bool,
    goals: Vec<Row>,
    note: String,
}

impl Entry {
    pub(super) fn of(number: u8, story: Story, stalls: &Stalls, cores_apart: bool) -> Self {
        let seen = &story.seen;
        let tally = &seen.tally;
        // Only a service that stops may turn requests away.
        let refused = if number == STOPPING { 0 } else { seen.refused };
        let errors = seen.failed() + refused;
        let mut goals = vec![
            Row::new("answered", "count", count(tally.answered)).goal(Goal::AtLeast(1.0)),
            Row::new("late_server", "count", count(story.late.server)).goal(Goal::AtMost(0.0)),
            Row::new("errors", "count", count(errors)).goal(Goal::AtMost(0.0)),
        ];
        goals.extend(story.rows);
        let mut errors_by_code = tally.errors.clone();
        if seen.unanswered > 0 {
            errors_by_code.insert("unanswered", seen.unanswered);
        }
        if refused > 0 {
            errors_by_code.insert("refused", refused);
        }
        Self {
            number,
            scenario: name(number),
            met: !goals.iter().any(Row::is_missed),
            sent: seen.sent,
            answered: tally.answered,
            late_server: story.late.server,
            late_stalled: story.late.stalled,
            late_client: tally.late,
            late_client_stalled: stalls.overlapping(&seen.late),
            errors,
            errors_by_code,
            refused: seen.refused,
            not_sent: seen.unsent,
            levels: tally.levels(),
            causes: tally.causes.clone(),
            latency_us_p50: tally.latency_us(0.5),
            latency_us_p99: tally.latency_us(0.99),
            latency_us_p999: tally.latency_us(0.999),
            latency_us_max: tally.latency_us_max(),
            client_deadline_ms: story.deadline.as_secs_f64() * 1_000.0,
            offered_per_s: story.offered_per_s.round(),
            seconds: seen.seconds.round(),
            generator_stalls: stalls.count(),
            generator_stall_ms_max: stalls.longest().as_secs_f64() * 1_000.0,
            cores_apart,
            goals,
            note: story.note,
        }
    }

    /// A scenario that could not be played to its end has reached nothing.
    pub(super) fn failed(number: u8, error: &anyhow::Error) -> Self {
        Self {
            number,
            scenario: name(number),
            met: false,
            sent: 0,
            answered: 0,
            late_server: 0,
            late_stalled: 0,
            late_client: 0,
            late_client_stalled: 0,
            errors: 0,
            errors_by_code: BTreeMap::new(),
            refused: 0,
            not_sent: 0,
            levels: BTreeMap::new(),
            causes: BTreeMap::new(),
            latency_us_p50: 0,
            latency_us_p99: 0,
            latency_us_p999: 0,
            latency_us_max: 0,
            client_deadline_ms: 0.0,
            offered_per_s: 0.0,
            seconds: 0.0,
            generator_stalls: 0,
            generator_stall_ms_max: 0.0,
            cores_apart: false,
            goals: vec![Row::skipped("played", "", Some(Goal::AtLeast(1.0)))],
            note: format!("not played to its end: {error:#}"),
        }
    }

    /// What happened, in a line or two.
    pub(super) fn line(&self) -> String {
        let missed = self.goals.iter().filter(|goal| goal.is_missed());
        let missed: Vec<_> = missed.map(|goal| goal.id.as_str()).collect();
        let met = if self.met {
            "every goal reached".to_owned()
        } else {
            format!("MISSED: {}", missed.join(", "))
        };
        format!(
            "   sent {} · answered {} · late: service {}, while stalled {}, at the client {} · errors: {} · refused {} · {}\n   \
             p50 {} · p99 {} · p99.9 {} · max {} · {met}{}{}",
            self.sent,
            self.answered,
            self.late_server,
            self.late_stalled,
            self.late_client,
            show_counts(&self.errors_by_code),
            self.refused,
            show_counts(&self.levels),
            show_latency(self.latency_us_p50),
            show_latency(self.latency_us_p99),
            show_latency(self.latency_us_p999),
            show_latency(self.latency_us_max),
            if self.note.is_empty() { "" } else { "\n   " },
            self.note
        )
    }
}

pub(super) fn write(path: &Path, entries: &[Entry]) -> Result<()> {
    let json = serde_json::to_string_pretty(entries)? + "\n";
    write_file(path, json.as_bytes())
}

/// Every scenario, and then every figure and goal.
pub(super) fn print(entries: &[Entry]) -> Result<()> {
    println!();
    for entry in entries {
        println!("{}. {}\n{}", entry.number, entry.scenario, entry.line());
    }
    println!();
    let named = |entry: &Entry, row: &Row| {
        let mut row = row.clone();
        row.id = format!("{}.{}", entry.number, row.id);
        row
    };
    let rows: Vec<Row> = entries
        .iter()
        .flat_map(|entry| entry.goals.iter().map(move |row| named(entry, row)))
        .collect();
    tollgate_report::print(&mut std::io::stdout().lock(), &rows)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use tollgate_proto::v1;

    use super::*;
    use crate::chaos::drive::Seen;
    use crate::chaos::service::Late;
    use crate::chaos::wire::Reply;

    /// A scenario with one answer, and what else is said of it.
    fn entry(change: impl FnOnce(&mut Story)) -> Entry {
        numbered(9, change)
    }

    fn numbered(number: u8, change: impl FnOnce(&mut Story)) -> Entry {
        let deadline = Duration::from_millis(50);
        let mut seen = Seen::new(deadline);
        let now = Instant::now();
        let answer = v1::ScoreResponse {
            degradation: v1::Degradation::Full.into(),
            ..v1::ScoreResponse::default()
        };
        seen.count(Reply::Answer(answer, bytes::Bytes::new()), (now, now));
        seen.sent = 1;
        let mut story = Story {
            seen,
            late: Late::default(),
            deadline,
            offered_per_s: 1.0,
            rows: Vec::new(),
            note: String::new(),
        };
        change(&mut story);
        Entry::of(number, story, &Stalls::watch().unwrap(), false)
    }

    fn missed(entry: &Entry) -> Vec<&str> {
        let missed = entry.goals.iter().filter(|goal| goal.is_missed());
        missed.map(|goal| goal.id.as_str()).collect()
    }

    #[test]
    fn late_failed_and_absent_answers_each_miss_their_goal() {
        let good = entry(|_| {});
        assert!(good.met && missed(&good).is_empty());
        let late = entry(|story| story.late.server = 1);
        assert_eq!((late.met, missed(&late)), (false, vec!["late_server"]));
        let stalled = entry(|story| story.late.stalled = 1);
        assert_eq!((stalled.met, stalled.late_stalled), (true, 1));
        let unanswered = entry(|story| story.seen.unanswered = 1);
        assert_eq!(missed(&unanswered), ["errors"]);
        assert_eq!(unanswered.errors_by_code["unanswered"], 1);
        let nobody = entry(|story| story.seen = Seen::new(Duration::ZERO));
        assert_eq!(missed(&nobody), ["answered"]);
        let own = entry(|story| {
            story.rows = vec![Row::new("full_again", "ms", 2_001.0).goal(Goal::AtMost(2_000.0))];
        });
        assert_eq!((own.met, missed(&own)), (false, vec!["full_again"]));
        let refused = entry(|story| story.seen.refused = 3);
        assert_eq!((missed(&refused), refused.errors), (vec!["errors"], 3));
        let refused = numbered(STOPPING, |story| story.seen.refused = 3);
        assert_eq!((refused.met, refused.refused, refused.errors), (true, 3, 0));
    }

    #[test]
    fn a_scenario_that_was_not_played_is_in_the_report_and_reaches_nothing() {
        let failed = Entry::failed(11, &anyhow::anyhow!("no snapshot metric"));
        assert!(!failed.met);
        assert!(failed.line().contains("no snapshot metric"));
        assert_eq!(missed(&failed), ["played"]);
    }

    #[test]
    fn the_keys_that_others_read_are_there() {
        let json = serde_json::to_value(entry(|_| {})).unwrap();
        for key in [
            "scenario",
            "sent",
            "answered",
            "late_server",
            "late_client",
            "errors",
            "levels",
            "latency_us_p50",
            "latency_us_p99",
            "latency_us_p999",
            "latency_us_max",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert_eq!(json["levels"]["full"], 1);
    }
}
