//! The wall clock of the service is set forwards and backwards while it runs, and producers have wrong clocks.
//!
//! The service is the usual program; a small library that is loaded before libc (`clock.c`) gives its process a wall clock that
//! can be set from here.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::sleep;
use tollgate_report::{Goal, Row};

use super::SHAPE;
use super::disk::reaches;
use crate::figures::count;
use crate::recovery::held::Held;
use crate::recovery::{Stage, text};

/// What the clock is set by, in seconds, one after the other; each is off the true time by itself.
const JUMPS_S: [i64; 5] = [3_600, -3_600, 40 * 86_400, -86_400, 0];

/// How long it stays so.
const STAYS: Duration = Duration::from_secs(2);

/// Events of producers whose clocks are a year ahead and ten years behind.
const WRONG: u64 = 100;
const YEAR_S: i64 = 365 * 86_400;

const DEAD: &str = "tollgate_ingest_results_total{result=\"dead_letter\"}";
const TOO_OLD: &str = "tollgate_ingest_results_total{result=\"too_old\"}";
const WRITTEN: &str = "tollgate_snapshot_written_total";

pub(super) async fn jumps(stage: &Stage<'_>) -> Result<Vec<Row>> {
    let folder = stage.folder().join("clock");
    fs::create_dir_all(&folder)?;
    let library = compile(&folder)?;
    let clock = Clock::make(&folder.join("offset"))?;
    let (snapshots, offset) = (folder.join("snapshots"), folder.join("offset"));
    let variables = [
        ("LD_PRELOAD", text(&library)?),
        ("RECOVERY_CLOCK", text(&offset)?),
        ("TOLLGATE_SNAPSHOT__PATH", text(&snapshots)?),
        ("TOLLGATE_SNAPSHOT__EVERY_S", "1"),
    ];
    let held = Held::begin(stage, "clock", SHAPE, &variables).await?;
    let service = held.start().await?;
    let course = async {
        // Something must be there before others are too old.
        sleep(STAYS).await;
        let dead_before = service.admin.sum(DEAD).await?;
        let now_s = jiff::Timestamp::now().as_second();
        held.traffic.publish_at(WRONG, now_s + YEAR_S).await?;
        held.traffic.publish_at(WRONG, now_s - 10 * YEAR_S).await?;
        reaches(&service, DEAD, dead_before + WRONG).await?;
        reaches(&service, TOO_OLD, WRONG).await?;
        let mut seen = 0_u32;
        for jump_s in JUMPS_S {
            clock.set(jump_s)?;
            let written = service.admin.sum(WRITTEN).await?;
            sleep(STAYS).await;
            // Another one is written, however the clock stands.
            reaches(&service, WRITTEN, written + 1).await?;
            seen += 1;
        }
        let dead = service.admin.sum(DEAD).await? - dead_before;
        Ok((seen, dead, service.admin.sum(TOO_OLD).await?))
    };
    let (seen, (jumps, dead, too_old)) = held.load(&service, course).await?;
    let wrong = count(WRONG);
    let mut rows = vec![
        Row::new("jumps", "count", f64::from(jumps)).goal(Goal::AtLeast(1.0)),
        Row::new("ahead_to_dead_letters", "count", count(dead)).goal(Goal::AtLeast(wrong)),
        Row::new("others_to_dead_letters", "count", count(dead) - wrong).goal(Goal::AtMost(0.0)),
        Row::new("behind_too_old", "count", count(too_old)).goal(Goal::AtLeast(wrong)),
        Row::new("others_too_old", "count", count(too_old) - wrong).goal(Goal::AtMost(0.0)),
    ];
    held.named(&mut rows);
    rows.extend(held.went_on(&seen));
    rows.extend(held.end(stage, &service).await?);
    Ok(rows)
}

/// Builds the library that sets a process's clock, with the compiler that builds the Kafka client.
fn compile(folder: &Path) -> Result<std::path::PathBuf> {
    let library = folder.join("clock.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-x", "c", "-o"])
        .arg(&library)
        .arg("-")
        .stdin(Stdio::piped());
    let mut child = cc.spawn().context("cannot run cc, a C compiler")?;
    let mut source = child.stdin.take().context("no input of cc")?;
    source.write_all(include_bytes!("clock.c"))?;
    drop(source);
    let status = child.wait()?;
    if !status.success() {
        bail!("cc ended with {status}");
    }
    Ok(library)
}

/// How far off a process's wall clock is.
struct Clock(File);

impl Clock {
    fn make(path: &Path) -> Result<Self> {
        let clock = Self(File::create(path)?);
        clock.set(0)?;
        Ok(clock)
    }

    fn set(&self, off_s: i64) -> Result<()> {
        let nanos = off_s * 1_000_000_000;
        // One write of eight bytes in one page, which the process sees at once.
        Ok(self.0.write_all_at(&nanos.to_ne_bytes(), 0)?)
    }
}
