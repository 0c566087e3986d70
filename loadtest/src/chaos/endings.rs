//! Scenarios 12 and 13: the service is told to stop under load, and everything is asked twice.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tollgate_report::{Goal, Row};

use super::drive::{Client, Noted, Plan, Seen};
use super::kafka::Broker;
use super::requests::Requests;
use super::service::{Late, Service};
use super::wire::{Connection, Reply, timeout_header};
use super::{Stage, Story};
use crate::figures::count;
use crate::kafka::Decisions;
use crate::lock;

const DEADLINE: Duration = Duration::from_millis(100);
const CONNECTIONS: usize = 8;

const RATE: f64 = 1_000.0;

/// From SIGTERM to the end of the process: draining, emptying the decision log and a snapshot are all bounded.
const ENDED_S_MAX: f64 = 30.0;

/// A process that takes longer than this does not end by itself.
const PATIENCE: Duration = Duration::from_secs(40);

const POLL: Duration = Duration::from_millis(20);

/// Scenario 12. The broker outlives the service, so that its last decisions can be counted.
pub(super) async fn terminated(stage: &Stage<'_>) -> Result<Story> {
    let broker = Broker::start()?;
    let variables = [("TOLLGATE_KAFKA__BOOTSTRAP", broker.bootstrap.as_str())];
    let mut service = Service::start(stage, None, &variables).await?;
    let mut decisions = Decisions::follow(&service.targets())?;
    let client = service.client(stage, CONNECTIONS).await?;
    let refused = Arc::new(AtomicBool::new(false));
    let noting = Arc::clone(&refused);
    let note = move |noted: &Noted<'_>| {
        if matches!(noted.reply, Reply::Refused) {
            noting.store(true, Ordering::Relaxed);
        }
    };
    let plan = Plan {
        rate: RATE,
        deadline: DEADLINE,
    };
    let course = stop(stage, &service, &refused);
    let (seen, told) = client.drive(plan, note, course).await?;
    let (told, mut late) = told?;
    drop(client);
    let status = loop {
        if let Some(status) = service.ended()? {
            break status;
        }
        if told.elapsed() > PATIENCE {
            bail!("the service has not ended {PATIENCE:?} after SIGTERM");
        }
        // Its last word stands once its metrics can no longer be read.
        late = service.late().await.unwrap_or(late);
        sleep(POLL).await;
    };
    let ended = told.elapsed();
    let answered = usize::try_from(seen.tally.answered)?;
    decisions.wait_for(answered).await;
    let missing = answered.saturating_sub(decisions.take().len());
    // A process that a signal has ended has no code.
    let code = status.code().map_or(f64::INFINITY, f64::from);
    Ok(Story {
        late,
        deadline: DEADLINE,
        offered_per_s: RATE,
        rows: vec![
            Row::new("exit_code", "", code).goal(Goal::AtMost(0.0)),
            Row::new("ended_after", "s", ended.as_secs_f64()).goal(Goal::AtMost(ENDED_S_MAX)),
            Row::new("refused", "count", count(seen.refused)),
            Row::new("records.missing", "count", count(missing)).goal(Goal::AtMost(0.0)),
        ],
        note: "refused: turned away by GOAWAY before the service had begun with them, so no request that was accepted".to_owned(),
        seen,
    })
}

/// Tells it to stop while it is busy, and waits until it turns requests away or is gone. Returns when it was told.
async fn stop(
    stage: &Stage<'_>,
    service: &Service,
    refused: &AtomicBool,
) -> Result<(Instant, Late)> {
    sleep(stage.seconds(5)).await;
    let mut late = service.late().await?;
    service.terminate()?;
    let told = Instant::now();
    while !refused.load(Ordering::Relaxed) && told.elapsed() < PATIENCE {
        late = service.late().await.unwrap_or(late);
        sleep(POLL).await;
    }
    Ok((told, late))
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
    let reply = connection.call(framed, Some(header)).await;
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
    fn only_two_answers_of_the_same_bytes_are_equal() {
        let mut pairs = Pairs::default();
        let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        pairs.add(bytes("a"), bytes("a"));
        pairs.add(bytes("a"), bytes("b"));
        pairs.add(bytes("a"), None);
        assert_eq!((pairs.equal, pairs.different, pairs.incomplete), (1, 1, 1));
    }
}
