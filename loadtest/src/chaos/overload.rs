//! Scenarios 7 and 8: more than the service can do, from many and from one.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};
use tollgate_proto::v1::Degradation;
use tollgate_report::{Goal, Row};

use super::drive::{self, Client, Noted, Plan, Seen};
use super::service::Service;
use super::wire::{Connection, Reply};
use super::{Stage, Story};
use crate::figures::count;
use crate::lock;
use crate::score::Tally;

const DEADLINE: Duration = Duration::from_millis(100);

/// Enough that no connection is ever at its limit of streams.
const CONNECTIONS: usize = 32;

/// The champion of scenario 7: about a millisecond of work a row, so that saturation is far below what a generator can send.
const HEAVY: &str = "heavy/1";

/// The first rate that is tried, how much more each next one is, and where looking ends.
const FIRST_RATE: f64 = 100.0;
const STEP: f64 = 1.3;
const RATE_MAX: f64 = 20_000.0;

/// With less of the requests answered in full and in time, the service is past its best.
const SATURATED: f64 = 0.8;

/// Share of the best rate that must stay at five times of it.
const GOODPUT_MIN: f64 = 0.9;

/// Share of what was not answered in full that must have been answered from the request alone.
const AT_REQUEST_ONLY_MIN: f64 = 0.99;

/// From the moment the load falls to the last answer that is not full.
const FULL_AGAIN_MS_MAX: f64 = 2_000.0;

/// Scenario 7.
pub(super) async fn saturated(stage: &Stage<'_>) -> Result<Story> {
    let service = Service::start(stage, Some(HEAVY), &[]).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let mut seen = Seen::new(DEADLINE);
    let mut best = best(stage, &client, &mut seen).await?;
    let mut rows = vec![Row::new("best", "full/s", best)];
    for (times, id) in [(2.0, "at_2x"), (5.0, "at_5x")] {
        let over = at(&client, best * times, stage.seconds(30)).await?;
        // A rate that did better is the best one, wherever it was met.
        rows.extend(judge(id, &over, best));
        best = best.max(goodput(&over));
        seen.merge(&over);
        if times < 5.0 {
            let pause = at(&client, best / 2.0, stage.seconds(5)).await?;
            seen.merge(&pause);
        } else {
            let (pause, last) = recovery(stage, &client, best / 2.0).await?;
            rows.push(
                Row::new("full_again", "ms", last.as_secs_f64() * 1_000.0)
                    .goal(Goal::AtMost(FULL_AGAIN_MS_MAX)),
            );
            seen.merge(&pause);
        }
    }
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: best * 5.0,
        rows,
        note:
            "champion of about a millisecond a row; levels and latencies are of all phases together"
                .to_owned(),
    })
}

/// Full answers a second, in time, at the rate at which there are most.
async fn best(stage: &Stage<'_>, client: &Client, seen: &mut Seen) -> Result<f64> {
    let mut best: f64 = 0.0;
    let mut rate = FIRST_RATE;
    while rate < RATE_MAX {
        let step = at(client, rate, stage.seconds(3)).await?;
        let goodput = goodput(&step);
        best = best.max(goodput);
        let saturated = goodput < SATURATED * count(step.sent) / step.seconds;
        seen.merge(&step);
        if saturated {
            break;
        }
        rate *= STEP;
    }
    Ok(best)
}

async fn at(client: &Client, rate: f64, lasts: Duration) -> Result<Seen> {
    client.drive_for(plan(rate), lasts).await
}

const fn plan(rate: f64) -> Plan {
    Plan {
        rate,
        deadline: DEADLINE,
    }
}

/// Full answers a second. Late ones are taken off as if all of them were full.
fn goodput(seen: &Seen) -> f64 {
    let full = seen.tally.levels().get("full").copied().unwrap_or(0);
    count(full.saturating_sub(seen.tally.late)) / seen.seconds.max(0.001)
}

fn judge(id: &str, over: &Seen, best: f64) -> Vec<Row> {
    let goodput = goodput(over);
    let levels = over.tally.levels();
    let of = |level: &str| levels.get(level).copied().unwrap_or(0);
    let excess = over.tally.answered - of("full");
    let share = count(of("request_only")) / count(excess).max(1.0);
    let five = id == "at_5x";
    let row = |row: Row, goal: Goal| if five { row.goal(goal) } else { row };
    vec![
        Row::new(
            format!("{id}.offered"),
            "1/s",
            count(over.sent) / over.seconds,
        ),
        Row::new(format!("{id}.not_sent"), "count", count(over.unsent)),
        row(
            Row::new(format!("{id}.goodput"), "full/s", goodput)
                .beside(best, goodput / best.max(0.001)),
            Goal::RatioAtLeast(GOODPUT_MIN),
        ),
        row(
            Row::new(format!("{id}.excess_at_request_only"), "share", share),
            Goal::AtLeast(AT_REQUEST_ONLY_MIN),
        ),
    ]
}

/// The load has fallen: how long after that was the last answer not full, by when its request was due?
async fn recovery(stage: &Stage<'_>, client: &Client, rate: f64) -> Result<(Seen, Duration)> {
    let began = Instant::now();
    let last = Arc::new(Mutex::new(Duration::ZERO));
    let noting = Arc::clone(&last);
    let note = move |noted: &Noted<'_>| {
        if let Reply::Answer(response, _) = noted.reply
            && response.degradation() != Degradation::Full
        {
            let mut last = lock(&noting);
            *last = (*last).max(noted.due.saturating_duration_since(began));
        }
    };
    let lasts = sleep(stage.seconds(8).max(Duration::from_secs(4)));
    let (seen, ()) = client.drive(plan(rate), note, lasts).await?;
    let last = *lock(&last);
    Ok((seen, last))
}

/// Each of the three that behave, in requests a second.
const BEHAVED_RATE: f64 = 300.0;
const BEHAVED: usize = 3;

/// What the flooding connection has in flight: more than any server takes of one.
const FLOOD_IN_FLIGHT: usize = 512;

/// What the flood must come to, or it is none: two cores answer eight times as much of it.
const FLOOD_ANSWERED_MIN: f64 = 1_000.0;

/// Before the flood tries again what the server has refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// How often phases with and without the flood take turns.
const TURNS: usize = 4;

/// Scenario 8.
pub(super) async fn flooded(stage: &Stage<'_>) -> Result<Story> {
    let service = Service::start(stage, None, &[]).await?;
    let client = service.client(stage, BEHAVED).await?;
    let (mut still, mut beside) = (Seen::new(DEADLINE), Seen::new(DEADLINE));
    let plan = plan(BEHAVED_RATE * count(BEHAVED));
    // Connections open, caches fill.
    client.drive_for(plan, Duration::from_secs(2)).await?;
    let mut flood = Seen::new(DEADLINE);
    for _ in 0..TURNS {
        still.merge(&client.drive_for(plan, stage.seconds(4)).await?);
        let flooding = Flood::start(&client, &service.addresses.grpc).await?;
        beside.merge(&client.drive_for(plan, stage.seconds(4)).await?);
        flood.merge(&flooding.stop().await?);
        // What the flood has left behind is answered.
        sleep(Duration::from_millis(300)).await;
    }
    let p99 = |seen: &Seen| count(seen.tally.latency_us(0.99));
    let elapsed_p99 = |seen: &Seen| count(seen.tally.elapsed_us(0.99));
    let (quiet, flooded) = (p99(&still), p99(&beside));
    let rows = vec![
        Row::new("three.p99", "µs", flooded)
            .beside(quiet, quiet / flooded.max(1.0))
            .goal(Goal::WorseAtMost(2.0)),
        // From arrival to answer, as the service counts it: without the generator's own waiting for its core.
        Row::new("three.service_p99", "µs", elapsed_p99(&beside)).beside(
            elapsed_p99(&still),
            elapsed_p99(&still) / elapsed_p99(&beside).max(1.0),
        ),
        Row::new("three.p999", "µs", count(beside.tally.latency_us(0.999))),
        full_share("three.full", &beside.tally),
        Row::new(
            "flood.answered",
            "1/s",
            count(flood.tally.answered) / flood.seconds.max(0.001),
        )
        .goal(Goal::AtLeast(FLOOD_ANSWERED_MIN)),
        full_share("flood.full", &flood.tally),
        Row::new("flood.failed", "count", count(flood.failed())).goal(Goal::AtMost(0.0)),
        Row::new("flood.refused", "count", count(flood.refused)),
    ];
    let mut seen = still;
    seen.merge(&beside);
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: plan.rate,
        rows,
        note: "sent, answered, errors, levels and latencies are those of the three".to_owned(),
    })
}

fn full_share(id: &str, tally: &Tally) -> Row {
    let full = tally.levels().get("full").copied().unwrap_or(0);
    Row::new(id, "share", count(full) / count(tally.answered).max(1.0))
}

/// One connection that asks as fast as it is answered, hundreds of requests at a time, on a thread of its own that gives way
/// to the generator's others.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Result<Seen>>>,
}

/// The lowest priority.
const NICE: i32 = 19;

impl Flood {
    async fn start(client: &Client, address: &str) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, client, address) = (Arc::clone(&stop), client.clone(), address.to_owned());
        let thread = std::thread::Builder::new()
            .name("flood".to_owned())
            .spawn(move || {
                // Of this thread only: Linux keeps it per thread. Without it the flood disturbs its own measuring more.
                let _ = rustix::process::setpriority_process(None, NICE);
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(flood(&client, &address, stopped))
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    async fn stop(mut self) -> Result<Seen> {
        let thread = self.thread.take().context("a flood without a thread")?;
        drop(self);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
        joined.ok().context("the flood panicked")?
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The flood's one connection, and another one in its place once it is gone.
struct Line {
    address: String,
    /// With how many there were before it.
    current: tokio::sync::Mutex<(u64, Connection)>,
}

impl Line {
    async fn open(address: &str) -> Result<Self> {
        Ok(Self {
            address: address.to_owned(),
            current: tokio::sync::Mutex::new((0, Connection::open(address).await?)),
        })
    }

    async fn current(&self) -> (u64, Connection) {
        self.current.lock().await.clone()
    }

    /// Puts another one in the place of this one, if it is gone and nobody has done so yet.
    async fn mend(&self, (number, connection): (u64, Connection)) -> Result<()> {
        if connection.is_open().await {
            return Ok(());
        }
        let mut current = self.current.lock().await;
        if current.0 == number {
            *current = (number + 1, Connection::open(&self.address).await?);
        }
        Ok(())
    }
}

async fn flood(client: &Client, address: &str, stop: Arc<AtomicBool>) -> Result<Seen> {
    let line = Arc::new(Line::open(address).await?);
    let started = Instant::now();
    let seen = Arc::new(Mutex::new(Seen::new(DEADLINE)));
    let mut tasks = Vec::new();
    for _ in 0..FLOOD_IN_FLIGHT {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        let (line, seen) = (Arc::clone(&line), Arc::clone(&seen));
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                ask_again(&client, &line, &seen).await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let mut seen = std::mem::replace(&mut *lock(&seen), Seen::new(DEADLINE));
    seen.seconds = started.elapsed().as_secs_f64();
    Ok(seen)
}

/// One request of the flood. What is refused or lost does not end it.
async fn ask_again(client: &Client, line: &Line, seen: &Mutex<Seen>) -> Result<()> {
    let current = line.current().await;
    let due = Instant::now();
    let framed = client.requests().request(client.next());
    let reply = drive::ask(&current.1, framed, None).await;
    let is_turned_away = matches!(reply, Reply::Refused | Reply::Lost(_));
    {
        let mut seen = lock(seen);
        seen.sent += 1;
        seen.count(reply, (due, Instant::now()));
    }
    if is_turned_away {
        sleep(REFUSED_PAUSE).await;
        line.mend(current).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tollgate_proto::v1::ScoreResponse;

    use super::*;

    #[test]
    fn too_little_goodput_and_excess_at_other_levels_miss_their_goals() {
        let phase = |full: u32, level: Degradation, excess: u32| {
            let mut seen = Seen::new(DEADLINE);
            let now = Instant::now();
            let mut add = |level: Degradation, times: u32| {
                for _ in 0..times {
                    let response = ScoreResponse {
                        degradation: level.into(),
                        ..ScoreResponse::default()
                    };
                    seen.count(Reply::Answer(response, bytes::Bytes::new()), (now, now));
                }
            };
            add(Degradation::Full, full);
            add(level, excess);
            seen.seconds = 1.0;
            seen
        };
        let missed = |id: &str, seen: &Seen| {
            let rows = judge(id, seen, 100.0);
            let missed = rows.iter().filter(|row| row.is_missed());
            missed.map(|row| row.id.clone()).collect::<Vec<_>>()
        };
        let request_only = Degradation::RequestOnly;
        assert!(missed("at_5x", &phase(90, request_only, 400)).is_empty());
        assert_eq!(
            missed("at_5x", &phase(89, request_only, 400)),
            ["at_5x.goodput"]
        );
        let no_model = phase(100, Degradation::NoModel, 400);
        assert_eq!(missed("at_5x", &no_model), ["at_5x.excess_at_request_only"]);
        assert!(missed("at_2x", &no_model).is_empty());
    }
}
