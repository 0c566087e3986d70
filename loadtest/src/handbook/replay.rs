//! The replay itself: publish a day, wait until it is applied, score it, wait for its decision records.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use tollgate_proto::v1;

use super::compare::Comparison;
use super::data::{DAY_SECONDS, Day, Days, Expected, ROWS, Row, expected};
use super::messages::{LABEL_DELAY_SECONDS, card_id, label, transaction, transaction_id};
use super::records::Records;
use super::{Args, Report};
use crate::kafka::{Decisions, Publisher};
use crate::progress::Progress;
use crate::score::{Client, Tally};

/// Here every answer counts and none is urgent.
const PATIENT_DEADLINE: Duration = Duration::from_secs(10);
/// How long no decision record may arrive while some are due.
const RECORDS_PATIENCE: Duration = Duration::from_secs(20);

/// What the scoring tasks share.
struct Scoring {
    client: Client,
    expected: HashMap<u64, Expected>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    tally: Tally,
    comparison: Comparison,
    rows_compared: u64,
}

pub(super) async fn replay(args: &Args) -> Result<Report> {
    let started = Instant::now();
    let scoring = Arc::new(Scoring {
        client: Client::connect(&args.targets.grpc, args.connections, PATIENT_DEADLINE).await?,
        expected: expected(&args.data)?,
        found: Mutex::default(),
    });
    let publisher = Publisher::connect(&args.targets).await?;
    let records = Records::default();
    let sink = records.clone();
    let topic = &args.targets.decisions_topic;
    let mut decisions =
        Decisions::follow(&args.targets.kafka, topic, move |record| sink.add(record))?;

    let mut days = Days::open(&args.data)?;
    let mut labels = VecDeque::new();
    let mut progress = Progress::new("handbook", ROWS);
    let (mut rows, mut decision_records) = (0, 0);
    let mut left = args.days.unwrap_or(u32::MAX);
    while left > 0 {
        let Some(day) = days.next_day()? else { break };
        left -= 1;
        publish(&day, &mut labels, &publisher).await?;
        let day = Arc::new(day.rows);
        score(&scoring, &day, args.in_flight).await?;
        // A shortfall is found right below; patience only bounds the wait.
        let _all_came = decisions
            .wait_until(RECORDS_PATIENCE, || records.len() >= day.len())
            .await;
        decision_records += scoring.check_records(&day, &records);
        rows += day.len() as u64;
        progress.set(rows);
    }
    progress.finish();
    let rows_expected = if args.days.is_some() { rows } else { ROWS };
    let found = std::mem::take(&mut *scoring.found());
    let duration_s = started.elapsed().as_secs_f64();
    Ok(Report {
        rows,
        rows_expected,
        decision_records,
        duration_s,
        ..found.report()
    })
}

/// Labels that become known on this day, then its transactions; returns when all are applied.
async fn publish(day: &Day, labels: &mut VecDeque<Row>, publisher: &Publisher) -> Result<()> {
    let end = (day.number + 1) * DAY_SECONDS;
    while let Some(row) = labels.pop_front_if(|row| row.at + LABEL_DELAY_SECONDS < end) {
        publisher.label(&card_id(&row), &label(&row)).await?;
    }
    for row in &day.rows {
        let event = v1::TransactionEvent {
            transaction: Some(transaction(row)),
            authorized: true,
        };
        publisher.transaction(&event).await?;
    }
    labels.extend(day.rows.iter().filter(|row| row.fraud));
    publisher.wait_applied().await
}

/// Scores a day's transactions, `in_flight` at a time; each task takes the next one that nobody has.
async fn score(scoring: &Arc<Scoring>, rows: &Arc<Vec<Row>>, in_flight: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..in_flight.max(1))
        .map(|lane| {
            let (scoring, rows, next) = (Arc::clone(scoring), Arc::clone(rows), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    scoring.score(lane, row).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.context("a scoring task panicked")?;
    }
    Ok(())
}

impl Scoring {
    async fn score(&self, lane: usize, row: &Row) {
        let expected = self.expected.get(&row.id);
        let request = v1::ScoreRequest {
            transaction: Some(transaction(row)),
            include_features: expected.is_some(),
        };
        let answer = self.client.score(lane, Instant::now(), request).await;
        let id = transaction_id(row);
        let mut found = self.found();
        found.tally.count(&answer);
        let response = match &answer.result {
            Ok(response) => response,
            Err(status) => {
                let error = format!("{:?}: {}", status.code(), status.message());
                found
                    .comparison
                    .mismatch(&id, "answer", "a decision", error);
                return;
            }
        };
        found.comparison.answer(&id, response);
        if let Some(expected) = expected {
            found.rows_compared += 1;
            found.comparison.values(&id, expected, response);
        }
    }

    /// Every transaction of the day has exactly one record, no other has any, and the challengers' scores are
    /// what they must be. Returns the number of records.
    fn check_records(&self, rows: &[Row], records: &Records) -> u64 {
        let mut records = records.take();
        let total = records
            .values()
            .map(|recorded| u64::from(recorded.count))
            .sum();
        let mut found = self.found();
        for row in rows {
            let id = transaction_id(row);
            let recorded = records.remove(&id).unwrap_or_default();
            if recorded.count != 1 {
                let count = recorded.count.to_string();
                found
                    .comparison
                    .mismatch(&id, "decision records", "1", count);
            }
            if let Some(expected) = self.expected.get(&row.id) {
                found
                    .comparison
                    .challengers(&id, expected, &recorded.challengers);
            }
        }
        for (id, recorded) in records {
            let count = format!("{} more", recorded.count);
            found
                .comparison
                .mismatch(&id, "decision records", "none on this day", count);
        }
        total
    }

    fn found(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    fn report(self) -> Report {
        let Self {
            tally,
            comparison,
            rows_compared,
        } = self;
        Report {
            scored: tally.answered,
            rows_compared,
            values_compared: comparison.compared,
            mismatches: comparison.mismatches,
            max_abs_diff: comparison.max_abs_diff,
            first_mismatches: comparison.first_mismatches,
            latency_us_p50: tally.latency_us(0.5),
            latency_us_p99: tally.latency_us(0.99),
            errors: tally.errors,
            degraded: tally.degraded,
            ..Report::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fake;

    fn row(id: u64) -> Row {
        Row {
            id,
            at: 1_522_540_831,
            customer: 596,
            terminal: 3_156,
            cents: 5_716,
            fraud: true,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_row_is_scored_once_and_needs_one_record() {
        let service = fake::start().await;
        let scoring = Arc::new(Scoring {
            client: Client::connect(&service.address, 2, PATIENT_DEADLINE)
                .await
                .unwrap(),
            expected: HashMap::new(),
            found: Mutex::default(),
        });
        let rows = Arc::new((0..50).map(row).collect::<Vec<_>>());
        score(&scoring, &rows, 8).await.unwrap();
        assert_eq!(scoring.found().tally.answered, 50);
        let mut ids = service.ids();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 50);
        // The fake has no model, which is a mismatch of its own for every row.
        assert_eq!(scoring.found().comparison.mismatches, 50);

        let records = Records::default();
        let response = v1::ScoreResponse {
            transaction_id: "hb-3".to_owned(),
            ..Default::default()
        };
        records.add(v1::DecisionRecord {
            response: Some(response),
            ..Default::default()
        });
        assert_eq!(scoring.check_records(&rows, &records), 1);
        assert_eq!(scoring.found().comparison.mismatches, 50 + 49);
    }
}
