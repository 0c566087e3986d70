//! Scenarios 12 and 13: the service is told to stop under load, and everything is asked twice.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_report::{Goal, Row};

use super::drive::{self, Client, Noted, Plan, Seen};
use super::kafka::{Broker, publish};
use super::requests::Requests;
use super::service::{Late, Service};
use super::wire::{Connection, Reply, timeout_header};
use super::{Stage, Story};
use crate::figures::{count, figure};
use crate::kafka::{Decisions, Publisher};
use crate::lock;

const DEADLINE: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 8;

const RATE: f64 = 1_000.0;

/// From SIGTERM to the end of the process: draining, emptying the decision log and a snapshot are all bounded.
const ENDED_S_MAX: f64 = 30.0;

/// `grpc.lame_duck_ms` of scenario 12: so long it answers as before while probes are told that it is not ready.
const LAME_DUCK_MS: u32 = 2_000;

/// Events that are in the store when it is told to stop, so that a snapshot is of something.
const EVENTS: u64 = 1_000;

/// A process that takes longer than this does not end by itself.
const PATIENCE: Duration = Duration::from_secs(40);

const POLL: Duration = Duration::from_millis(20);

/// What readiness probes ask.
const READYZ: &str = "/readyz";

/// What a finished snapshot is called by.
const SNAPSHOT: &str = "tollgate";

/// Scenario 12. The broker outlives the service, so that its last decisions can be counted.
pub(super) async fn terminated(stage: &Stage<'_>) -> Result<Story> {
    let broker = Broker::start()?;
    let (snapshots, lame_duck) = (stage.folder().join("snapshots"), LAME_DUCK_MS.to_string());
    let folder = snapshots.to_str();
    let variables = [
        ("TOLLGATE_KAFKA__BOOTSTRAP", broker.bootstrap.as_str()),
        ("TOLLGATE_GRPC__LAME_DUCK_MS", lame_duck.as_str()),
        (
            "TOLLGATE_SNAPSHOT__PATH",
            folder.context("a folder whose name is no text")?,
        ),
        // None before it is told to stop.
        ("TOLLGATE_SNAPSHOT__EVERY_S", "3600"),
    ];
    let mut service = Service::start(stage, None, &variables).await?;
    let mut decisions = Decisions::follow(&service.targets())?;
    let client = service.client(stage, CONNECTIONS).await?;
    let publisher = Publisher::connect(&service.targets()).await?;
    publish(&publisher, &client, &mut (0..), EVENTS).await?;
    publisher.wait_applied().await?;
    let refused = Arc::new(Mutex::new(None));
    let noting = Arc::clone(&refused);
    let note = move |noted: &Noted<'_>| {
        if matches!(noted.reply, Reply::Refused) {
            lock(&noting).get_or_insert_with(Instant::now);
        }
    };
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    let course = stop(stage, &service, &refused);
    let (seen, told) = client.drive(plan, note, course).await?;
    let mut told = told?;
    drop(client);
    let status = gone(&mut service, &mut told).await?;
    let ended = told.at.elapsed();
    let answered = usize::try_from(seen.tally.answered)?;
    decisions.wait_for(answered).await;
    let missing = answered.saturating_sub(decisions.take().len());
    let last_snapshots = written_since(&snapshots, told.wall)?;
    // A process that a signal has ended has no code.
    let code = status.code().map_or(f64::INFINITY, f64::from);
    let first_refused = *lock(&refused);
    let mut rows = vec![
        Row::new("exit_code", "", code).goal(Goal::AtMost(0.0)),
        Row::new("ended_after", "s", ended.as_secs_f64()).goal(Goal::AtMost(ENDED_S_MAX)),
        Row::new("refused", "count", count(seen.refused)),
        Row::new("last_snapshots", "count", count(last_snapshots)).goal(Goal::AtLeast(1.0)),
        Row::new("records.missing", "count", count(missing)).goal(Goal::AtMost(0.0)),
    ];
    rows.extend(lame_duck_rows(&told, first_refused));
    Ok(Story {
        late: told.late,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows,
        note: "refused: turned away by GOAWAY before the service had begun with them, so no request that was accepted".to_owned(),
        seen,
    })
}

/// What was seen of a service that was told to stop, up to when it turned requests away or was gone.
struct Told {
    at: Instant,
    /// The same moment by the clock that files go by.
    wall: SystemTime,
    /// When probes were told for the first time.
    unready: Option<Instant>,
    late: Late,
}

/// Tells it to stop while it is busy, and waits until it turns requests away or is gone.
async fn stop(
    stage: &Stage<'_>,
    service: &Service,
    refused: &Mutex<Option<Instant>>,
) -> Result<Told> {
    sleep(stage.seconds(5)).await;
    let late = service.late().await?;
    if !service.admin.is_ok(READYZ).await? {
        bail!("the service is not ready before it is told to stop");
    }
    let mut told = Told {
        at: Instant::now(),
        wall: SystemTime::try_from(jiff::Timestamp::now())?,
        unready: None,
        late,
    };
    service.terminate()?;
    while lock(refused).is_none() && told.at.elapsed() < PATIENCE {
        if told.unready.is_none() && matches!(service.admin.is_ok(READYZ).await, Ok(false)) {
            told.unready = Some(Instant::now());
        }
        told.late = service.late().await.unwrap_or(told.late);
        sleep(POLL).await;
    }
    Ok(told)
}

/// Waits until it is gone, and returns how it ended.
async fn gone(service: &mut Service, told: &mut Told) -> Result<ExitStatus> {
    loop {
        if let Some(status) = service.ended()? {
            return Ok(status);
        }
        if told.at.elapsed() > PATIENCE {
            bail!("the service has not ended {PATIENCE:?} after SIGTERM");
        }
        // Its last word stands once its metrics can no longer be read.
        told.late = service.late().await.unwrap_or(told.late);
        sleep(POLL).await;
    }
}

/// Probes were told before the wait was over, and nothing was turned away until then.
fn lame_duck_rows(told: &Told, first_refused: Option<Instant>) -> [Row; 2] {
    let lame_duck = f64::from(LAME_DUCK_MS);
    let after_ms = |at: Instant| at.saturating_duration_since(told.at).as_secs_f64() * 1_000.0;
    [
        figure("unready_after", "ms", told.unready.map(after_ms)).goal(Goal::AtMost(lame_duck)),
        figure("refused_after", "ms", first_refused.map(after_ms)).goal(Goal::AtLeast(lame_duck)),
    ]
}

/// Finished snapshots that are not older than this.
fn written_since(folder: &Path, since: SystemTime) -> Result<u64> {
    let mut written = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_snapshot = entry.path().extension().is_some_and(|of| of == SNAPSHOT);
        written += u64::from(is_snapshot && entry.metadata()?.modified()? >= since);
    }
    Ok(written)
}

/// Each asked twice.
const PAIRS: u64 = 10_000;
const PAIRS_QUICK: u64 = 1_000;

/// Pairs that are begun at a time, and how often.
const BATCH: u64 = 20;
const BATCH_EVERY: Duration = Duration::from_millis(20);

/// What became of pairs.
#[derive(Default)]
struct Pairs {
    equal: u64,
    different: u64,
    incomplete: u64,
}

impl Pairs {
    fn add(&mut self, first: Option<Bytes>, second: Option<Bytes>) {
        match (first, second) {
            (Some(first), Some(second)) if first == second => self.equal += 1,
            (Some(_), Some(_)) => self.different += 1,
            _ => self.incomplete += 1,
        }
    }
}

/// Scenario 13.
pub(super) async fn retried(stage: &Stage<'_>) -> Result<Story> {
    let service = Service::start(stage, None, &[]).await?;
    let mut decisions = Decisions::follow(&service.targets())?;
    let client = service.client(stage, CONNECTIONS).await?;
    let pairs = if stage.setting.quick {
        PAIRS_QUICK
    } else {
        PAIRS
    };
    let began = Instant::now();
    let shared = Arc::new(Mutex::new((Seen::new(DEADLINE), Pairs::default())));
    let mut tasks = JoinSet::new();
    let mut next = began;
    for number in 0..pairs {
        if number.is_multiple_of(BATCH) {
            next += BATCH_EVERY;
            sleep_until(next).await;
        }
        tasks.spawn(pair(client.clone(), number, Arc::clone(&shared)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    decisions.wait_for(usize::try_from(pairs)?).await;
    decisions.wait_until_quiet().await;
    let recorded = decisions.take();
    let of = |number| {
        recorded
            .get(&Requests::id(number))
            .map_or(0, |found| found.count)
    };
    let one_record = (0..pairs).filter(|number| of(*number) == 1).count();
    let fresh = (Seen::new(DEADLINE), Pairs::default());
    let (mut seen, done) = std::mem::replace(&mut *lock(&shared), fresh);
    seen.seconds = began.elapsed().as_secs_f64();
    Ok(Story {
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: 2.0 * count(BATCH) / BATCH_EVERY.as_secs_f64(),
        rows: vec![
            Row::new("pairs.equal", "count", count(done.equal)).goal(Goal::AtLeast(count(pairs))),
            Row::new("pairs.different", "count", count(done.different)).goal(Goal::AtMost(0.0)),
            Row::new("pairs.incomplete", "count", count(done.incomplete)).goal(Goal::AtMost(0.0)),
            Row::new("one_record", "count", count(one_record)).goal(Goal::AtLeast(count(pairs))),
        ],
        note: "every second pair at the same time over two connections, the others one after the other".to_owned(),
        seen,
    })
}

/// Asks the same twice, over two connections.
async fn pair(client: Client, number: u64, shared: Arc<Mutex<(Seen, Pairs)>>) -> Result<()> {
    let at = usize::try_from(number)?;
    let count = client.connections().len();
    let (first, second) = (at % count, (at + 1) % count);
    let ask = |connection: usize| {
        let connection = client.connections()[connection].clone();
        ask(connection, client.requests().request(number), &shared)
    };
    let (first, second) = if number.is_multiple_of(2) {
        tokio::join!(ask(first), ask(second))
    } else {
        (ask(first).await, ask(second).await)
    };
    lock(&shared).1.add(first?, second?);
    Ok(())
}

/// The bytes of the answer, if there was one.
async fn ask(
    connection: Connection,
    framed: Bytes,
    shared: &Mutex<(Seen, Pairs)>,
) -> Result<Option<Bytes>> {
    let due = Instant::now();
    let header = timeout_header(DEADLINE)?;
    let reply = drive::ask(&connection, framed, Some(header)).await;
    let bytes = match &reply {
        Reply::Answer(_, bytes) => Some(bytes.clone()),
        _ => None,
    };
    let mut shared = lock(shared);
    shared.0.sent += 1;
    shared.0.count(reply, (due, Instant::now()));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_turns_away_at_once_or_never_tells_probes_misses_a_goal() {
        let at = Instant::now();
        let after = |millis| Some(at + Duration::from_millis(millis));
        let missed = |unready, refused| {
            let told = Told {
                at,
                wall: SystemTime::UNIX_EPOCH,
                unready,
                late: Late::default(),
            };
            let rows = lame_duck_rows(&told, refused).into_iter();
            let missed = rows.filter(Row::is_missed).map(|row| row.id);
            missed.collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(missed(after(5), after(2_001)), none);
        assert_eq!(missed(after(5), after(1_999)), ["refused_after"]);
        assert_eq!(missed(after(2_001), after(2_002)), ["unready_after"]);
        assert_eq!(missed(None, None), ["unready_after", "refused_after"]);
    }

    #[test]
    fn only_finished_snapshots_of_the_end_count() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        make("snapshot-000000000001.tollgate");
        make("snapshot-000000000002.unfinished");
        make("lock");
        let (long_ago, hour) = (SystemTime::UNIX_EPOCH, Duration::from_secs(3_600));
        assert_eq!(written_since(folder.path(), long_ago).unwrap(), 1);
        let file = folder.path().join("snapshot-000000000001.tollgate");
        let modified = std::fs::metadata(file).unwrap().modified().unwrap();
        assert_eq!(written_since(folder.path(), modified + hour).unwrap(), 0);
    }

    #[test]
    fn only_two_answers_of_the_same_bytes_are_equal() {
        let mut pairs = Pairs::default();
        let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        pairs.add(bytes("a"), bytes("a"));
        pairs.add(bytes("a"), bytes("b"));
        pairs.add(bytes("a"), None);
        assert_eq!((pairs.equal, pairs.different, pairs.incomplete), (1, 1, 1));
    }
}
