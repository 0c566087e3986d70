//! Kafka is away until neither the spool nor memory takes more decisions: scoring goes on, and each one that is missing was counted,
//! or said so in its answer.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};
use tollgate_report::{Goal, Row};

use super::disk::{reaches, settles};
use crate::figures::count;
use crate::recovery::decisions::{self, Compared};
use crate::recovery::digest::digest;
use crate::recovery::held::Held;
use crate::recovery::log::{DECISIONS, Shape};
use crate::recovery::{Stage, text};
use crate::service::Service;

const BROKERS: &[u8] = &[1, 2, 3];

/// The least that may be configured: the spool is full within seconds.
const SPOOL_MIB_MAX: &str = "1";
const MEMORY_RECORDS_MAX: &str = "256";

/// Load before brokers go.
const BEFORE: Duration = Duration::from_secs(3);

/// Decisions without a place in the log that are waited for before brokers come back, and how long there must be no other for the log
/// to be well again.
const LOST_MIN: u64 = 200;
const WELL: Duration = Duration::from_secs(2);

/// Brokers that come back choose leaders, and clients notice.
const PATIENCE: Duration = Duration::from_secs(120);

const QUIET: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(50);

const DROPPED: &str = r#"tollgate_audit_records_total{result="dropped"}"#;
const UNLOGGED_FULL: &str = r#"tollgate_decision_log_unlogged_total{reason="full"}"#;

/// Records that Kafka does not have yet.
const WAITING: [&str; 2] = [
    "tollgate_decision_log_memory_records",
    "tollgate_decision_log_spool_records",
];

/// A way to log decisions, and what is said of those that find no room.
struct Way {
    name: &'static str,
    durability: &'static str,
    when_unlogged: &'static str,
    /// Counts them.
    counter: &'static str,
    rows: fn(&Compared, u64) -> [Row; 3],
}

const WAYS: [Way; 2] = [
    Way {
        name: "spool-full-async",
        durability: "async",
        when_unlogged: "answer",
        counter: DROPPED,
        rows: counted,
    },
    Way {
        name: "spool-full-spool-first",
        durability: "spool-first",
        when_unlogged: "degrade",
        counter: UNLOGGED_FULL,
        rows: told,
    },
];

pub(super) async fn spool(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for way in &WAYS {
        match stage.setting.kafka.not_controlled(way.name) {
            Some(row) => rows.push(row),
            None => rows.extend(Box::pin(fill(stage, way)).await?),
        }
    }
    Ok(rows)
}

async fn fill(stage: &Stage<'_>, way: &Way) -> Result<Vec<Row>> {
    let folder = stage.folder().join(way.name).join("spool");
    let variables = [
        ("TOLLGATE_DECISION_LOG__DURABILITY", way.durability),
        ("TOLLGATE_DECISION_LOG__WHEN_UNLOGGED", way.when_unlogged),
        ("TOLLGATE_DECISION_LOG__SPOOL_PATH", text(&folder)?),
        ("TOLLGATE_DECISION_LOG__SPOOL_MIB_MAX", SPOOL_MIB_MAX),
        (
            "TOLLGATE_DECISION_LOG__MEMORY_RECORDS_MAX",
            MEMORY_RECORDS_MAX,
        ),
        ("TOLLGATE_DECISION_LOG__SYNC_WAIT_MS_MAX", "100"),
        // One that is dropped would be counted, and no decision would be missing.
        ("TOLLGATE_LATE_VERDICT__ENABLED", "false"),
    ];
    let held = Held::begin(stage, way.name, Shape::REPLICATED, &variables).await?;
    let service = held.start().await?;
    let kafka = &stage.setting.kafka;
    let course = async {
        sleep(BEFORE).await;
        let before = service.admin.sum(way.counter).await?;
        kafka.control("kill", BROKERS).await?;
        let filled = reaches(&service, way.counter, before + LOST_MIN).await;
        // Others want them back, whatever came of it.
        kafka.control("start", BROKERS).await?;
        filled?;
        Ok(settles(&service, way.counter, WELL).await? - before)
    };
    let (seen, lost) = held.load(&service, course).await?;
    held.traffic.producer.flush().await?;
    let _all_applied = digest(&service, &held.log, PATIENCE).await?;
    all_sent(&service).await?;
    held.log.wait_until_quiet(DECISIONS, QUIET).await?;
    let compared = decisions::compare(&held.log, held.traffic.answered()).await?;
    let mut rows: Vec<Row> = (way.rows)(&compared, lost).into();
    rows.push(
        Row::new("records_doubled", "count", count(compared.doubled)).goal(Goal::AtMost(0.0)),
    );
    held.named(&mut rows);
    rows.extend(held.went_on(&seen));
    rows.extend(held.end(stage, &service).await?);
    Ok(rows)
}

/// With `async`: each decision that is missing was counted as dropped, and each that was counted is missing.
fn counted(compared: &Compared, dropped: u64) -> [Row; 3] {
    let missing = compared.missing.len() as u64;
    [
        Row::new("dropped", "count", count(dropped)).goal(Goal::AtLeast(count(LOST_MIN))),
        Row::new("decisions_missing", "count", count(missing)),
        Row::new(
            "missing_not_as_counted",
            "count",
            count(missing.abs_diff(dropped)),
        )
        .goal(Goal::AtMost(0.0)),
    ]
}

/// With `spool-first`: only such decisions are missing whose answers say that they may be.
fn told(compared: &Compared, unlogged: u64) -> [Row; 3] {
    let as_told = count(compared.missing_as_told);
    [
        Row::new("answered_unlogged", "count", count(unlogged))
            .goal(Goal::AtLeast(count(LOST_MIN))),
        Row::new("decisions_missing", "count", count(compared.missing.len()))
            .goal(Goal::AtMost(0.0)),
        Row::new("decisions_missing_as_told", "count", as_told),
    ]
}

/// Waits until Kafka has all that the decision log has kept.
async fn all_sent(service: &Service) -> Result<()> {
    let began = Instant::now();
    loop {
        let mut waiting = 0;
        for metric in WAITING {
            waiting += service.admin.sum(metric).await?;
        }
        if waiting == 0 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("Kafka does not have {waiting} decisions after {PATIENCE:?}");
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_that_are_missing_uncounted_or_untold_miss_their_goal() {
        let compared = Compared {
            missing: (0..300).collect(),
            missing_as_told: 7,
            ..Compared::default()
        };
        let missed = |rows: [Row; 3]| {
            let missed = rows.into_iter().filter(Row::is_missed);
            missed.map(|row| row.id).collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(missed(counted(&compared, 300)), none);
        assert_eq!(missed(counted(&compared, 299)), ["missing_not_as_counted"]);
        assert_eq!(missed(counted(&compared, 301)), ["missing_not_as_counted"]);
        assert_eq!(missed(told(&compared, 300)), ["decisions_missing"]);
        assert_eq!(missed(told(&Compared::default(), 300)), none);
    }
}
