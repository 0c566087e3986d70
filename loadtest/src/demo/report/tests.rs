//! When a run is good, and what of it programs and people read.

use std::time::Duration;

use tollgate_proto::v1;
use tonic::Status;

use super::*;
use crate::generate::Pattern;
use crate::score::Answer;

const FRAUD: Option<Pattern> = Some(Pattern::CardTesting);

/// Answers to a fraud and three good transactions, with a record each.
fn seen() -> (Seen, DecisionLog) {
    let mut seen = Seen::default();
    for (fraud, outcome, latency_ms) in [
        (FRAUD, v1::Outcome::Decline, 1),
        (None, v1::Outcome::Approve, 2),
        (None, v1::Outcome::Flag, 3),
        (None, v1::Outcome::Approve, 4),
    ] {
        let response = v1::ScoreResponse {
            outcome: outcome.into(),
            degradation: v1::Degradation::Full.into(),
            ..v1::ScoreResponse::default()
        };
        count(&mut seen, Ok(response), latency_ms);
        seen.findings.count(fraud, Some(outcome), 10.0);
    }
    let decisions = DecisionLog {
        records: 4,
        ..DecisionLog::default()
    };
    (seen, decisions)
}

fn count(seen: &mut Seen, result: Result<v1::ScoreResponse, Status>, latency_ms: u64) {
    let latency = Duration::from_millis(latency_ms);
    seen.tally.count(&Answer { result, latency });
}

fn report(seen: Seen, decisions: DecisionLog) -> Report {
    let run = Run {
        history: 200,
        history_s: 1.26,
        published: 204,
        duration_s: 0.5,
        seed: 1,
        rate: 1_000.0,
    };
    Report::new(run, seen, decisions)
}

fn failure(report: &Report) -> String {
    report.check().unwrap_err().to_string()
}

#[test]
fn a_run_in_which_all_is_answered_and_recorded_is_good_also_if_late_or_degraded() {
    let (mut seen, decisions) = seen();
    let degraded = v1::ScoreResponse {
        degradation: v1::Degradation::NoModel.into(),
        ..v1::ScoreResponse::default()
    };
    count(&mut seen, Ok(degraded), 500);
    let report = report(seen, decisions);
    assert_eq!((report.late, report.degraded["no_model"]), (1, 1));
    report.check().unwrap();
}

#[test]
fn a_transaction_without_an_answer_is_an_error() {
    let (mut seen, decisions) = seen();
    count(&mut seen, Err(Status::unavailable("stopping")), 1);
    let error = failure(&report(seen, decisions));
    assert!(
        error.ends_with("1 transactions without an answer (unavailable 1)"),
        "{error}"
    );
}

#[test]
fn an_answer_needs_exactly_one_record() {
    let recorded = |count| Recorded {
        count,
        ..Recorded::default()
    };
    let records = [("a", 1), ("b", 2), ("x", 1)]
        .map(|(id, count)| (id.to_owned(), recorded(count)))
        .into();
    let log = DecisionLog::new(&["a", "b", "c"].map(str::to_owned), &records);
    let expected = DecisionLog {
        records: 4,
        missing: 1,
        duplicated: 1,
    };
    assert_eq!(log, expected);
    let error = failure(&report(seen().0, log));
    assert!(
        error.contains("1 answers without a decision record"),
        "{error}"
    );
    assert!(
        error.contains("1 transactions with more than one"),
        "{error}"
    );
}

#[test]
fn a_run_in_which_nothing_was_scored_is_an_error() {
    let error = failure(&report(Seen::default(), DecisionLog::default()));
    assert!(error.ends_with("nothing was scored"), "{error}");
}

#[test]
fn the_keys_that_programs_read_are_there() {
    let (seen, decisions) = seen();
    let json = serde_json::to_value(report(seen, decisions)).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    let expected = "decisions degradation_causes degraded duration_s errors fraud fraud_caught \
        fraud_caught_amount fraud_caught_by_pattern fraud_flagged good good_disturbed \
        good_disturbed_amount good_flagged history history_s late latency_us_max latency_us_p50 \
        latency_us_p99 latency_us_p999 outcomes published rate scored seed";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    for outcome in ["approve", "flag", "challenge", "decline"] {
        assert!(json["outcomes"][outcome].is_u64(), "{outcome}");
    }
}

#[test]
fn the_summary_says_what_its_columns_mean() {
    let (seen, decisions) = seen();
    let expected = "\
History     200 events applied in 1.3 s
Live        4 of 4 transactions answered in 0.5 s, 1000 a second asked for

Outcome                      count       share
approve                          2     50.00 %
flag                             1     25.00 %
challenge                        0      0.00 %
decline                          1     25.00 %

Fraud                        count      caught   by amount     flagged
all fraud                        1    100.00 %    100.00 %      0.00 %
  card testing                   1    100.00 %    100.00 %      0.00 %
good transactions                3      0.00 %      0.00 %     33.33 %
  caught     challenged or declined: fraud that was stopped, good traffic that was disturbed
  by amount  the same, as a share of the euros
  flagged    approved, and marked for review

Latency     p50 2.0 ms · p99 4.0 ms · p99.9 4.0 ms · max 4.0 ms
Late        0 after more than 100 ms
Degraded    none
Unanswered  none
Decisions   4 records, 0 missing, 0 duplicated";
    assert_eq!(report(seen, decisions).to_string(), expected);
}
