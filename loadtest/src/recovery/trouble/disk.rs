//! No file may grow any more: writing fails, as it does on a full disk.
//!
//! The limit is one of the system on the size of files (`RLIMIT_FSIZE`), set on the running service from outside, which needs
//! neither a file system of its own nor rights. A write beyond it fails with "file too large" where a full disk says "no space
//! left"; the service treats both alike.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, prlimit};
use tokio::time::{Instant, sleep};
use tollgate_report::{Goal, Row};

use super::{PATIENCE, SHAPE};
use crate::figures::count;
use crate::recovery::decisions;
use crate::recovery::held::Held;
use crate::recovery::log::DECISIONS;
use crate::recovery::{Stage, text};
use crate::service::Service;

/// Larger than the service's log gets meanwhile, smaller than a snapshot of what it has.
const FILE_BYTES_MAX: u64 = 128 * 1_024;
const EVENTS: u64 = 20_000;

/// Failures that are waited for, a second apart.
const FAILURES: u64 = 3;

const WRITTEN: &str = "tollgate_snapshot_written_total";
const FAILED: &str = "tollgate_snapshot_failures_total";

/// Those for which the disk failed. Where it was only slow for a moment, as other work of the machine makes it, nothing is full.
const UNLOGGED: &str = r#"tollgate_decision_log_unlogged_total{reason="failed"}"#;

/// Answers without a decision on disk that are waited for.
const UNLOGGED_MIN: u64 = 20;

/// Load before the disk is full, and how long every decision must be on disk in time for it to be well again.
const SPOOLED: Duration = Duration::from_secs(2);

const QUIET: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(50);

/// While snapshots are written.
pub(super) async fn snapshot(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let folder = stage.folder().join("disk-at-snapshot/snapshots");
    let variables = [
        ("TOLLGATE_SNAPSHOT__PATH", text(&folder)?),
        ("TOLLGATE_SNAPSHOT__EVERY_S", "1"),
    ];
    let held = Held::begin(stage, "disk-at-snapshot", SHAPE, &variables).await?;
    let service = held.start().await?;
    held.traffic.publish(EVENTS).await?;
    held.traffic.producer.flush().await?;
    reaches(&service, "tollgate_snapshot_bytes", 2 * FILE_BYTES_MAX).await?;
    let course = async {
        limit(&service, Some(FILE_BYTES_MAX))?;
        reaches(&service, FAILED, FAILURES).await?;
        let failed = service.admin.sum(FAILED).await?;
        limit(&service, None)?;
        let written = service.admin.sum(WRITTEN).await?;
        reaches(&service, WRITTEN, written + 1).await?;
        Ok((failed, service.admin.sum(WRITTEN).await? - written))
    };
    let (seen, (failed, again)) = held.load(&service, course).await?;
    let mut rows = vec![
        Row::new("failed", "count", count(failed)).goal(Goal::AtLeast(1.0)),
        Row::new("written_again", "count", count(again)).goal(Goal::AtLeast(1.0)),
    ];
    held.named(&mut rows);
    rows.extend(held.went_on(&seen));
    // What is on disk is good enough to go on from.
    service.kill()?;
    let service = held.start().await?;
    rows.extend(held.end(stage, &service).await?);
    Ok(rows)
}

/// While decisions are written before they are answered. Kafka takes them all the same.
pub(super) async fn spool(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let folder = stage.folder().join("disk-at-spool/spool");
    let variables = [
        ("TOLLGATE_DECISION_LOG__DURABILITY", "spool-first"),
        ("TOLLGATE_DECISION_LOG__SPOOL_PATH", text(&folder)?),
    ];
    let held = Held::begin(stage, "disk-at-spool", SHAPE, &variables).await?;
    let service = held.start().await?;
    let course = async {
        sleep(SPOOLED).await;
        let before = service.admin.sum(UNLOGGED).await?;
        limit(&service, Some(FILE_BYTES_MAX))?;
        reaches(&service, UNLOGGED, before + UNLOGGED_MIN).await?;
        limit(&service, None)?;
        Ok(settles(&service, UNLOGGED, SPOOLED).await? - before)
    };
    let (seen, unlogged) = held.load(&service, course).await?;
    held.log.wait_until_quiet(DECISIONS, QUIET).await?;
    let compared = decisions::compare(&held.log, held.traffic.answered()).await?;
    let mut rows = vec![
        Row::new("answered_unlogged", "count", count(unlogged)).goal(Goal::AtLeast(1.0)),
        Row::new("decisions_missing", "count", count(compared.missing.len()))
            .goal(Goal::AtMost(0.0)),
        Row::new("records_doubled", "count", count(compared.doubled)).goal(Goal::AtMost(0.0)),
    ];
    held.named(&mut rows);
    rows.extend(held.went_on(&seen));
    rows.extend(held.end(stage, &service).await?);
    Ok(rows)
}

/// Sets how large a file of the service may get, or lets it be as large as it likes.
pub(super) fn limit(service: &Service, bytes_max: Option<u64>) -> Result<()> {
    let limit = Rlimit {
        current: bytes_max,
        maximum: None,
    };
    prlimit(Some(service.process()?), Resource::Fsize, limit)
        .context("the size of files cannot be limited")?;
    Ok(())
}

/// Waits until a counter has stayed as it is for so long, and returns it.
pub(super) async fn settles(service: &Service, counter: &str, stays: Duration) -> Result<u64> {
    let began = Instant::now();
    let mut before = service.admin.sum(counter).await?;
    loop {
        sleep(stays).await;
        let now = service.admin.sum(counter).await?;
        if now == before {
            return Ok(now);
        }
        if began.elapsed() > PATIENCE {
            bail!("{counter} still counts after {PATIENCE:?}");
        }
        before = now;
    }
}

/// Waits until a metric has reached a value.
pub(super) async fn reaches(service: &Service, metric: &str, value: u64) -> Result<()> {
    let began = Instant::now();
    while service.admin.sum(metric).await? < value {
        if began.elapsed() > PATIENCE {
            bail!("{metric} has not reached {value} after {PATIENCE:?}");
        }
        sleep(POLL).await;
    }
    Ok(())
}
