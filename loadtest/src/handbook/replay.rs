//! The replay itself: publish a day, wait until it is applied, score it, wait for its decision records.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use tollgate_proto::v1;

use super::compare::Comparison;
use super::data::{DAY_SECONDS, DAYS, Days, Expected, ROWS, Row, expected};
use super::messages::{LABEL_DELAY_SECONDS, card_id, label, transaction, transaction_id};
use super::{Args, Report};
use crate::kafka::{Decisions, Publisher, Recorded};
use crate::lock;
use crate::progress::Progress;
use crate::score::{Client, Tally};

/// Here every answer counts and none is urgent.
const PATIENT_DEADLINE: Duration = Duration::from_secs(10);

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
    let mut decisions = Decisions::follow(&args.targets)?;
    let mut days = Days::open(&args.data)?;
    let mut labels = VecDeque::new();
    let days_max = args.days.map_or(DAYS, |days| DAYS.min(days.into()));
    let mut progress = Progress::new("handbook", days_max);
    let (mut rows, mut decision_records) = (0, 0);
    for day in 1..=days_max {
        let today = Arc::new(days.next_day()?);
        publish(&today, &mut labels, &publisher).await?;
        score(&scoring, &today, args.in_flight).await?;
        decisions.wait_for(today.len()).await;
        decision_records += scoring.check_records(&today, decisions.take());
        rows += today.len() as u64;
        progress.set(day);
    }
    decisions.wait_until_quiet().await;
    decision_records += scoring.check_records(&[], decisions.take());
    progress.finish();
    let found = std::mem::take(&mut *scoring.found());
    // Of some days it is not known beforehand how many rows they have.
    let (rows_expected, rows_to_compare) = match args.days {
        Some(_) => (rows, found.rows_compared.max(1)),
        None => (ROWS, scoring.expected.len() as u64),
    };
    Ok(Report {
        rows,
        rows_expected,
        rows_to_compare,
        decision_records,
        duration_s: started.elapsed().as_secs_f64(),
        ..found.report()
    })
}

/// Labels that become known on this day, then its transactions; returns when all are applied.
async fn publish(today: &[Row], labels: &mut VecDeque<Row>, publisher: &Publisher) -> Result<()> {
    let end = today.first().map_or(0, |row| (row.day() + 1) * DAY_SECONDS);
    while let Some(row) = labels.pop_front_if(|row| row.at_seconds + LABEL_DELAY_SECONDS < end) {
        publisher.label(&card_id(&row), &label(&row)).await?;
    }
    for row in today {
        let event = v1::TransactionEvent {
            transaction: Some(transaction(row)),
            authorized: true,
        };
        publisher.transaction(&event).await?;
    }
    labels.extend(today.iter().filter(|row| row.fraud));
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
    fn check_records(&self, today: &[Row], mut records: HashMap<String, Recorded>) -> u64 {
        let total = records
            .values()
            .map(|recorded| u64::from(recorded.count))
            .sum();
        let mut found = self.found();
        let comparison = &mut found.comparison;
        for row in today {
            let id = transaction_id(row);
            let recorded = records.remove(&id).unwrap_or_default();
            if recorded.count != 1 {
                comparison.mismatch(&id, "decision records", "1", recorded.count.to_string());
            }
            if let Some(expected) = self.expected.get(&row.id) {
                comparison.challengers(&id, expected, &recorded.challengers);
            }
        }
        for (id, recorded) in records {
            let count = format!("{} more", recorded.count);
            comparison.mismatch(&id, "decision records", "none on this day", count);
        }
        total
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        lock(&self.found)
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
    use super::super::data::sample::row;
    use super::*;
    use crate::score::fake;

    async fn scoring(service: &fake::Fake) -> Arc<Scoring> {
        Arc::new(Scoring {
            client: service.client(2).await,
            expected: HashMap::new(),
            found: Mutex::default(),
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_row_is_scored_once() {
        let service = fake::start().await;
        let scoring = scoring(&service).await;
        let rows = Arc::new((0..50).map(row).collect::<Vec<_>>());
        score(&scoring, &rows, 8).await.unwrap();
        let mut ids = service.ids();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 50);
        assert_eq!(scoring.found().tally.answered, 50);
        // The fake has no model, which is a mismatch of its own for every row.
        assert_eq!(scoring.found().comparison.mismatches, 50);
    }

    #[tokio::test]
    async fn every_row_needs_one_record_and_no_other_may_be_there() {
        let scoring = scoring(&fake::start().await).await;
        let records = [("hb-1", 1), ("hb-2", 2), ("hb-9", 1)].map(|(id, count)| {
            let recorded = Recorded {
                count,
                ..Recorded::default()
            };
            (id.to_owned(), recorded)
        });
        let rows = [row(1), row(2), row(3)];
        assert_eq!(scoring.check_records(&rows, records.into()), 4);
        let found = scoring.found();
        let wrong = found.comparison.first_mismatches.iter();
        let wrong: Vec<_> = wrong
            .map(|mismatch| (&*mismatch.transaction_id, &*mismatch.found))
            .collect();
        assert_eq!(wrong, [("hb-2", "2"), ("hb-3", "0"), ("hb-9", "1 more")]);
    }
}
