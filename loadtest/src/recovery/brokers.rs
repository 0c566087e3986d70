//! Line 2: brokers are killed under load, one of three and all three, and come back.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tollgate_report::{Goal, Row};

use super::Stage;
use super::decisions;
use super::digest::digest;
use super::held::Held;
use super::log::{DECISIONS, Shape};
use crate::figures::count;

/// Load before brokers go, how long they are away, and load once they are back.
const BEFORE: Duration = Duration::from_secs(3);
const AWAY_S: u64 = 10;
const AWAY_QUICK_S: u64 = 3;
const AFTER: Duration = Duration::from_secs(5);

/// From when the brokers answer until everything published is applied: leaders are chosen, clients notice, and what waited is
/// read.
const CAUGHT_UP_S_MAX: f64 = 60.0;

const PATIENCE: Duration = Duration::from_secs(120);

/// The service tries Kafka again within this.
const QUIET: Duration = Duration::from_secs(3);

pub(super) async fn run(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, brokers) in [("one", &[2_u8][..]), ("all", &[1, 2, 3][..])] {
        match stage.setting.kafka.not_controlled(name) {
            Some(row) => rows.push(row),
            None => rows.extend(Box::pin(killed(stage, name, brokers)).await?),
        }
    }
    Ok(rows)
}

async fn killed(stage: &Stage<'_>, name: &str, brokers: &'static [u8]) -> Result<Vec<Row>> {
    let held = Held::begin(stage, name, Shape::REPLICATED, &[]).await?;
    let service = held.start().await?;
    let kafka = &stage.setting.kafka;
    let away = Duration::from_secs(stage.count(AWAY_S, AWAY_QUICK_S));
    let course = async {
        sleep(BEFORE).await;
        kafka.control("kill", brokers).await?;
        let killed = Instant::now();
        sleep(away).await;
        kafka.control("start", brokers).await?;
        let back = Instant::now();
        let away = back.duration_since(killed);
        // Without events that go on coming, for as long as it takes until all of them are there.
        sleep(AFTER).await;
        Ok((away, back))
    };
    let (seen, (away, back)) = held.load(&service, course).await?;
    held.traffic.producer.flush().await?;
    let _all_applied = digest(&service, &held.log, PATIENCE).await?;
    let caught_up = back.elapsed();
    let mut rows = held.went_on(&seen);
    held.log.wait_until_quiet(DECISIONS, QUIET).await?;
    let compared = decisions::compare(&held.log, held.traffic.answered()).await?;
    let mut own = vec![
        Row::new("away", "s", away.as_secs_f64()),
        Row::new("caught_up", "s", caught_up.as_secs_f64()).goal(Goal::AtMost(CAUGHT_UP_S_MAX)),
        Row::new("decisions_missing", "count", count(compared.missing.len()))
            .goal(Goal::AtMost(0.0)),
        Row::new("records_doubled", "count", count(compared.doubled)).goal(Goal::AtMost(0.0)),
    ];
    held.named(&mut own);
    rows.extend(own);
    rows.extend(held.end(stage, &service).await?);
    Ok(rows)
}
