//! Line 3: ten million events: how soon a service has read them, what a snapshot of them takes, and what scoring notices of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep};
use tollgate_proto::v1;
use tollgate_report::{Goal, Row};

use super::digest::digest;
use super::log::{LABELS, Log, Shape, TRANSACTIONS};
use super::{Stage, text};
use crate::chaos::drive::{Client, Plan};
use crate::chaos::requests::Requests;
use crate::figures::count;
use crate::generate::{Config, Event, Generator};
use crate::lock;
use crate::process::{Process, machine_cpu};
use crate::service::Service;

const EVENTS: u64 = 10_000_000;
const EVENTS_QUICK: u64 = 200_000;

/// Each pays about once a day, so the history lasts five weeks and all of it is retained.
const EVENTS_PER_CARD: u64 = 40;

const SHAPE: Shape = Shape {
    partitions: 12,
    replicas: 1,
};

/// The newest ones are asked for again, under other ids.
const ASKED: usize = 100_000;

const PLAN: Plan = Plan {
    rate: 1_000.0,
    deadline: Duration::from_millis(100),
};
const CONNECTIONS: usize = 4;

/// How long is scored while snapshots come and go, and how long none is written between two.
const SCORING_S: u64 = 100;
const SCORING_QUICK_S: u64 = 10;
const BETWEEN_S: &str = "10";
const BETWEEN_QUICK_S: &str = "1";

/// Between two looks at the service's metrics.
const LOOK: Duration = Duration::from_millis(50);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

const RECORDS: &str = "tollgate_ingest_records_total";
const WRITTEN: &str = "tollgate_snapshot_written_total";
const WRITE_SECONDS: &str = "tollgate_snapshot_write_seconds";
const PAUSE_SECONDS: &str = "tollgate_snapshot_pause_seconds";
const LOAD_SECONDS: &str = "tollgate_snapshot_load_seconds";

pub(super) async fn run(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let log = stage.log("history", SHAPE).await?;
    let filled = fill(&log, stage.count(EVENTS, EVENTS_QUICK)).await?;
    let snapshots = stage.folder().join("snapshots");
    let between = if stage.setting.quick {
        BETWEEN_QUICK_S
    } else {
        BETWEEN_S
    };
    let variables = [
        ("TOLLGATE_SNAPSHOT__PATH", text(&snapshots)?),
        ("TOLLGATE_SNAPSHOT__EVERY_S", between),
    ];
    let launch = stage.launch("service", &log, &variables)?;
    let (service, mut rows) = replay(launch.start().await?, &log, filled.records).await?;
    let requests = Arc::new(Requests::of_transactions(filled.newest)?);
    let client = Client::connect(&service.addresses.grpc, CONNECTIONS, requests).await?;
    let lasts = Duration::from_secs(stage.count(SCORING_S, SCORING_QUICK_S));
    rows.extend(scoring(&service, &client, lasts).await?);
    let before = digest(&service, &log, PATIENCE).await?;
    service.kill()?;

    let service = launch.start().await?;
    let ready = service.wait_until_ready(PATIENCE).await?;
    let resident = Process::look(service.pid())?.resident_bytes;
    let after = digest(&service, &log, PATIENCE).await?;
    let load = service.admin.value(LOAD_SECONDS).await?;
    rows.extend([
        Row::new("load", "s", load).goal(Goal::AtMost(10.0)),
        Row::new("load.ready", "s", ready.as_secs_f64()),
        Row::new("load.resident", "MiB", mebibytes(resident)),
        Row::new(
            "load.differs",
            "count",
            count(u64::from(!after.is_same(&before))),
        )
        .goal(Goal::AtMost(0.0)),
    ]);
    Ok(rows)
}

/// What a log was filled with.
struct Filled {
    /// Transactions and labels.
    records: u64,
    /// The last of the transactions.
    newest: VecDeque<v1::Transaction>,
}

/// Writes a history of so many transactions, and the labels that became known meanwhile.
async fn fill(log: &Log, events: u64) -> Result<Filled> {
    let began = Instant::now();
    let producer = log.filler()?;
    let mut filled = Filled {
        records: 0,
        newest: VecDeque::with_capacity(ASKED + 1),
    };
    let cards = u32::try_from(events / EVENTS_PER_CARD)?;
    let mut left = events;
    for event in Generator::new(Config::new(cards, u32::MAX, 1)) {
        if left == 0 {
            break;
        }
        producer.event(&event).await?;
        filled.records += 1;
        if let Event::Transaction(generated) = event {
            left -= 1;
            filled.newest.extend(generated.event.transaction);
            if filled.newest.len() > ASKED {
                filled.newest.pop_front();
            }
        }
    }
    producer.flush().await?;
    println!(
        "   {} records written in {:.0?}",
        filled.records,
        began.elapsed()
    );
    Ok(filled)
}

/// Waits until a service that has just begun has read the log.
async fn replay(service: Service, log: &Log, records: u64) -> Result<(Service, Vec<Row>)> {
    let began = Instant::now();
    let read = async || service.admin.sum(RECORDS).await;
    // From the first record on: until then the service starts and asks brokers where the log ends.
    let (mut first, mut from) = (0, began);
    while first == 0 {
        ensure!(began.elapsed() < PATIENCE, "nothing is read");
        sleep(LOOK).await;
        (first, from) = (read().await?, Instant::now());
    }
    let before = Process::look(service.pid())?.cpu;
    let machine_before = machine_cpu()?;
    service.wait_until_ready(PATIENCE).await?;
    let took = from.elapsed().as_secs_f64();
    let look = Process::look(service.pid())?;
    let machine = machine_cpu()?.saturating_sub(machine_before).as_secs_f64();
    let cpu = look.cpu.saturating_sub(before).as_secs_f64();
    let last = read().await?;
    ensure!(
        last == records,
        "{last} of {records} records were read: what is in {TRANSACTIONS} and {LABELS} is something else"
    );
    let read = count(last - first);
    let retained = digest(&service, log, PATIENCE).await?.events;
    let rows = vec![
        Row::new("events", "count", count(records)),
        Row::new("events.retained", "count", count(retained)),
        Row::new("replay", "1/s", read / took).goal(Goal::AtLeast(300_000.0)),
        Row::new("replay.took", "s", began.elapsed().as_secs_f64()),
        Row::new("replay.cpu", "us", 1e6 * cpu / read),
        Row::new("replay.cores", "count", cpu / took),
        // The brokers, and whoever else is on the machine.
        Row::new(
            "replay.cores.others",
            "count",
            (machine - cpu).max(0.0) / took,
        ),
        Row::new("resident", "MiB", mebibytes(look.resident_bytes)),
        Row::new(
            "resident.event",
            "bytes",
            count(look.resident_bytes) / count(retained),
        ),
    ];
    Ok((service, rows))
}

/// When an answer came, and how long after it was due.
type Answered = (Instant, Duration);

/// Scores for a while in which snapshots are written, and in which none is.
async fn scoring(service: &Service, client: &Client, lasts: Duration) -> Result<Vec<Row>> {
    let answered: Arc<Mutex<Vec<Answered>>> = Arc::default();
    let note = {
        let answered = Arc::clone(&answered);
        move |noted: &crate::chaos::drive::Noted<'_>| {
            let now = Instant::now();
            lock(&answered).push((now, now.saturating_duration_since(noted.due)));
        }
    };
    let (seen, watched) = client.drive(PLAN, note, watch(service, lasts)).await?;
    let watched = watched?;
    let (writing, otherwise): (Vec<Answered>, Vec<Answered>) =
        std::mem::take(&mut *lock(&answered))
            .into_iter()
            .partition(|(at, _)| {
                let mut writing = watched.writing.iter();
                writing.any(|(from, to)| (*from..=*to).contains(at))
            });
    let seconds = watched
        .writing
        .iter()
        .map(|(from, to)| to.duration_since(*from));
    let mut seconds: Vec<f64> = seconds.map(|took| took.as_secs_f64()).collect();
    seconds.sort_unstable_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    let (with, without) = (p999_ms(writing)?, p999_ms(otherwise)?);
    let bytes = service.admin.sum("tollgate_snapshot_bytes").await?;
    Ok(vec![
        Row::new("snapshot", "MiB", mebibytes(bytes)),
        Row::new("snapshot.count", "count", count(seconds.len())).goal(Goal::AtLeast(1.0)),
        Row::new("snapshot.write", "s", median),
        Row::new("snapshot.pause", "ms", 1e3 * watched.pause_s),
        Row::new(
            "snapshot.resident",
            "MiB",
            mebibytes(watched.resident_bytes),
        ),
        Row::new("scoring.failed", "count", count(seen.failed())).goal(Goal::AtMost(0.0)),
        Row::new("scoring.late", "count", count(service.late().await?.server))
            .goal(Goal::AtMost(0.0)),
        Row::new("scoring.p999.writing", "ms", with),
        Row::new("scoring.p999.otherwise", "ms", without),
        Row::new("scoring.p999.times", "", with / without).goal(Goal::AtMost(1.2)),
    ])
}

/// What was seen of a service while it was asked.
struct Watched {
    /// From when to when a snapshot was written.
    writing: Vec<(Instant, Instant)>,
    /// The longest that ingest waited for one.
    pause_s: f64,
    /// The most memory that it had.
    resident_bytes: u64,
}

async fn watch(service: &Service, lasts: Duration) -> Result<Watched> {
    let began = Instant::now();
    let mut watched = Watched {
        writing: Vec::new(),
        pause_s: 0.0,
        resident_bytes: 0,
    };
    let mut written = service.admin.sum(WRITTEN).await?;
    // Ends with a snapshot, so that of every answer it is known whether one was being written.
    let is_over = |writing: &[(Instant, Instant)]| {
        let last = writing.last();
        last.is_some_and(|(_, to)| to.duration_since(began) >= lasts)
    };
    while !is_over(&watched.writing) {
        ensure!(began.elapsed() < PATIENCE, "no snapshot is written");
        sleep(LOOK).await;
        let resident = Process::look(service.pid())?.resident_bytes;
        watched.resident_bytes = watched.resident_bytes.max(resident);
        let now_written = service.admin.sum(WRITTEN).await?;
        if now_written > written {
            written = now_written;
            let now = Instant::now();
            let took = Duration::from_secs_f64(service.admin.value(WRITE_SECONDS).await?);
            let from = now
                .checked_sub(took)
                .context("a snapshot from before all time")?;
            watched.writing.push((from, now));
            let pause_s = service.admin.value(PAUSE_SECONDS).await?;
            watched.pause_s = watched.pause_s.max(pause_s);
        }
    }
    Ok(watched)
}

fn p999_ms(mut answered: Vec<Answered>) -> Result<f64> {
    answered.sort_unstable_by_key(|(_, latency)| *latency);
    let at = answered.len() * 999 / 1_000;
    let (_, latency) = answered.get(at).context("nothing was answered")?;
    Ok(1e3 * latency.as_secs_f64())
}

fn mebibytes(bytes: u64) -> f64 {
    count(bytes) / 1_048_576.0
}
