//! The log is cut below where a service has come to, once while it is stopped for a moment and once while it is down.
//!
//! What it must know afterwards is what it knew before, and all that the log still has: that is published a second time, to
//! topics that nobody cuts, for a service that reads it once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::Message as _;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tollgate_report::{Goal, Row};

use super::{PATIENCE, SHAPE};
use crate::figures::count;
use crate::recovery::digest::digest;
use crate::recovery::held::Held;
use crate::recovery::log::{Ends, LABELS, TRANSACTIONS};
use crate::recovery::{Stage, text};
use crate::service::Service;

/// Events that are known before, that the log loses unread, and that come behind them; each time.
const EVENTS: u64 = 3_000;

const LOST: &str = "tollgate_positions_lost_total";

/// A fetch that is on its way when the service stops is answered within half a second (`fetch.wait.max.ms`), with nothing if nothing
/// comes until then. What is published later it has not read.
const FETCHES_END: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(2);

pub(super) async fn cut(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let folder = stage.folder().join("cut-log/snapshots");
    let variables = [
        ("TOLLGATE_SNAPSHOT__PATH", text(&folder)?),
        ("TOLLGATE_SNAPSHOT__EVERY_S", "3600"),
    ];
    let held = Held::begin(stage, "cut-log", SHAPE, &variables).await?;
    let expected = Held::begin(stage, "cut-log-expected", SHAPE, &[]).await?;
    let service = held.start().await?;
    publish(&held, EVENTS).await?;
    let _known = digest(&service, &held.log, PATIENCE).await?;
    copy(&held, &expected, TRANSACTIONS, &Ends::new()).await?;

    // It stands still while the log loses what it has not read.
    service.signal(Signal::STOP)?;
    sleep(FETCHES_END).await;
    let before = lose(&held).await?;
    publish(&held, EVENTS).await?;
    service.signal(Signal::CONT)?;
    let running = lost(&service, true).await?;
    let _known = digest(&service, &held.log, PATIENCE).await?;
    copy(&held, &expected, TRANSACTIONS, &before).await?;

    // It stops, with a last snapshot, and the log goes on without it.
    drop(service);
    let before = lose(&held).await?;
    publish(&held, EVENTS).await?;
    let service = held.start().await?;
    let down = lost(&service, false).await?;
    let ours = digest(&service, &held.log, PATIENCE).await?;
    copy(&held, &expected, TRANSACTIONS, &before).await?;
    copy(&held, &expected, LABELS, &Ends::new()).await?;

    expected.traffic.producer.flush().await?;
    let fresh = expected.start().await?;
    let known = digest(&fresh, &expected.log, PATIENCE).await?;
    if !ours.is_same(&known) {
        println!("   {ours:?}\n   {known:?}");
    }
    let is_different = u64::from(!ours.is_same(&known));
    let partitions = f64::from(SHAPE.partitions);
    let mut rows = vec![
        Row::new("noticed_running", "partitions", count(running.partitions))
            .goal(Goal::AtLeast(partitions)),
        Row::new(
            "unready_running",
            "count",
            count(u64::from(running.was_unready)),
        )
        .goal(Goal::AtLeast(1.0)),
        Row::new("noticed_at_start", "partitions", count(down.partitions))
            .goal(Goal::AtLeast(partitions)),
        Row::new("events", "count", count(known.events)).goal(Goal::AtLeast(1.0)),
        Row::new("different", "count", count(is_different)).goal(Goal::AtMost(0.0)),
    ];
    held.named(&mut rows);
    Ok(rows)
}

/// Publishes events, and waits until Kafka has them.
async fn publish(held: &Held<'_>, events: u64) -> Result<()> {
    held.traffic.publish(events).await?;
    held.traffic.producer.flush().await
}

/// Publishes events that nobody is to see: they are deleted at once. Returns where the log begins then.
async fn lose(held: &Held<'_>) -> Result<Ends> {
    publish(held, EVENTS).await?;
    let log = held.log.clone();
    let ends = tokio::task::spawn_blocking(move || log.ends(TRANSACTIONS)).await??;
    let before: BTreeMap<i32, i64> = ends
        .iter()
        .map(|(partition, (_, end))| (*partition, *end))
        .collect();
    held.log.cut(TRANSACTIONS, &before).await?;
    Ok(ends)
}

/// What the service made of a cut log.
struct Noticed {
    partitions: u64,
    was_unready: bool,
}

/// Waits until it has noticed in every partition, has told probes where it was ready before, and is ready again.
async fn lost(service: &Service, was_ready: bool) -> Result<Noticed> {
    let mut noticed = Noticed {
        partitions: 0,
        was_unready: false,
    };
    let partitions = u64::try_from(SHAPE.partitions)?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        noticed.partitions = service.admin.sum(LOST).await?;
        let is_ready = service.is_ready().await?;
        noticed.was_unready |= !is_ready;
        let is_told = noticed.was_unready || !was_ready;
        if noticed.partitions >= partitions && is_told && is_ready {
            break;
        }
        sleep(POLL).await;
    }
    Ok(noticed)
}

/// Publishes what a topic has from these offsets on to the topics that nobody cuts.
async fn copy(from: &Held<'_>, to: &Held<'_>, what: &'static str, since: &Ends) -> Result<()> {
    let (log, since) = (from.log.clone(), since.clone());
    let read = move || {
        let mut records = Vec::new();
        log.read(what, |message| {
            let begin = since.get(&message.partition()).map_or(0, |(_, end)| *end);
            if message.offset() >= begin {
                let bytes = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
                records.push((bytes(message.key()), bytes(message.payload())));
            }
            Ok(())
        })?;
        anyhow::Ok(records)
    };
    let producer = &to.traffic.producer;
    for (key, value) in tokio::task::spawn_blocking(read).await?? {
        let card = std::str::from_utf8(&key).context("a key that is no text")?;
        if what == TRANSACTIONS {
            producer.transaction(card, &value).await?;
        } else {
            producer.label(card, &value).await?;
        }
    }
    Ok(())
}
