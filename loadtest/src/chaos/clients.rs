//! Scenarios 9 and 10: clients in a hurry, and clients that do not read, vanish or only sit there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use http::Response;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tollgate_report::{Goal, Row};

use super::drive::{Client, Plan, Seen};
use super::service::Service;
use super::wire::{Connection, Driver};
use super::{Stage, Story};
use crate::figures::count;
use crate::process::Process;

const CONNECTIONS: usize = 4;
const DEADLINE: Duration = Duration::from_millis(100);

/// What clients of scenario 9 give the service, in milliseconds, and how often each of the four asks.
const DEADLINES_MS: [u64; 4] = [1, 2, 5, 10];
const HURRIED_RATE: f64 = 200.0;

/// Scenario 9. The clients wait for the answer however late it is, so that its real time is seen.
pub(super) async fn hurried(stage: &Stage<'_>) -> Result<Story> {
    let service = Service::start(stage, None, &[]).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let warm = plan(HURRIED_RATE, DEADLINE);
    client.drive_for(warm, Duration::from_secs(2)).await?;
    let drive = |millis: u64| {
        let plan = plan(HURRIED_RATE, Duration::from_millis(millis));
        client.drive_for(plan, stage.seconds(20))
    };
    let [one, two, five, ten] = DEADLINES_MS.map(drive);
    let (one, two, five, ten) = tokio::try_join!(one, two, five, ten)?;
    let mut seen = Seen::new(DEADLINE);
    let mut rows = Vec::new();
    for (millis, phase) in DEADLINES_MS.into_iter().zip([one, two, five, ten]) {
        let late = count(phase.tally.late);
        rows.push(Row::new(format!("{millis}_ms.late_client"), "count", late));
        let p99 = count(phase.tally.latency_us(0.99));
        rows.push(Row::new(format!("{millis}_ms.p99"), "µs", p99));
        seen.merge(&phase);
    }
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: Duration::from_millis(10),
        offered_per_s: HURRIED_RATE * count(DEADLINES_MS.len()),
        rows,
        note: "late_client has the way there and back in it, and the generator's own waking up"
            .to_owned(),
    })
}

const fn plan(rate: f64, deadline: Duration) -> Plan {
    Plan { rate, deadline }
}

const NORMAL_RATE: f64 = 500.0;

/// Connections that do nothing.
const IDLE: usize = 1_000;

/// Clients that ask and never read: half of them leave the socket unread, half give the server no window to answer into. Each asks more
/// than it may have in progress (`grpc.streams_per_connection_max` as it is by default); the rest is never begun with.
const SLOW: usize = 60;
const SLOW_REQUESTS: usize = 90;
const STREAMS_MAX: usize = 32;

/// The answers that those without a window keep waiting.
const UNREAD: usize = SLOW / 2 * STREAMS_MAX;

/// `overload.requests_max` of this run: half as many. Whoever asks while they wait is refused if they count as in progress.
const REQUESTS_MAX: &str = "480";

/// From one of them to the next: they are to keep answers, not to come as a flood.
const SLOW_EVERY: Duration = Duration::from_millis(20);

/// What the service says of connections, and of requests that it refused because too many were in progress.
const OPEN: &str = "tollgate_connections";
const EXHAUSTED: &str = "tollgate_requests_exhausted_total";

/// What a client that vanishes has asked by then, and how long after the one before the next does.
const VANISHING_REQUESTS: usize = 20;
const VANISH_EVERY: Duration = Duration::from_millis(50);

/// What a service under load may take and give back at any time, and a bit per connection.
const GROWTH_MIB_MAX: f64 = 96.0;

/// Files that may still be open once everybody has gone.
const FILES_LEFT_MAX: f64 = 20.0;

/// Until the service has noticed that clients have gone.
const SETTLE: Duration = Duration::from_secs(3);

/// Scenario 10.
pub(super) async fn difficult(stage: &Stage<'_>) -> Result<Story> {
    let variables = [("TOLLGATE_OVERLOAD__REQUESTS_MAX", REQUESTS_MAX)];
    let service = Service::start(stage, None, &variables).await?;
    let client = service.client(stage, CONNECTIONS).await?;
    let normal = plan(NORMAL_RATE, DEADLINE);
    client.drive_for(normal, Duration::from_secs(2)).await?;
    let before = client.drive_for(normal, stage.seconds(5)).await?;
    let process = Process::look(service.pid())?;
    let course = crowd(stage, &client, &service);
    let (beside, crowded) = client.drive(normal, |_| {}, course).await?;
    let crowded = crowded?;
    let exhausted = service.admin.sum(EXHAUSTED).await?;
    let after = client.drive_for(normal, SETTLE).await?;
    let left = Process::look(service.pid())?;
    let mib = |process: &Process| count(process.resident_bytes) / 1_048_576.0;
    let p99 = |seen: &Seen| count(seen.tally.latency_us(0.99));
    let (quiet, crowd_p99) = (p99(&before), p99(&beside));
    let files_left = count(left.open_files) - count(process.open_files);
    let came = count(IDLE + SLOW);
    let grown = mib(&crowded.process) - mib(&process);
    let rows = vec![
        Row::new("connections", "count", count(crowded.connections))
            .goal(Goal::AtLeast(came + count(CONNECTIONS))),
        Row::new("slow.unread_answers", "count", count(crowded.unread))
            .goal(Goal::AtLeast(count(UNREAD))),
        Row::new("requests_exhausted", "count", count(exhausted)).goal(Goal::AtMost(0.0)),
        Row::new("p99", "µs", crowd_p99).beside(quiet, quiet / crowd_p99.max(1.0)),
        Row::new("memory_grown", "MiB", grown).goal(Goal::AtMost(GROWTH_MIB_MAX)),
        Row::new("open_files", "count", count(crowded.process.open_files))
            .goal(Goal::AtLeast(count(process.open_files) + came)),
        Row::new("open_files_left", "count", files_left).goal(Goal::AtMost(FILES_LEFT_MAX)),
    ];
    let mut seen = before;
    seen.merge(&beside);
    seen.merge(&after);
    Ok(Story {
        seen,
        late: service.late().await?,
        deadline: DEADLINE,
        offered_per_s: NORMAL_RATE,
        rows,
        note: "sent, answered, errors and latencies are those of normal clients".to_owned(),
    })
}

/// What there was while everybody was there.
struct Crowded {
    process: Process,
    /// By the service's own count.
    connections: u64,
    /// Answers that the service had begun to give to clients without a window for them.
    unread: u64,
}

/// Everybody comes, and goes again.
async fn crowd(stage: &Stage<'_>, client: &Client, service: &Service) -> Result<Crowded> {
    let address = service.addresses.grpc.as_str();
    let unread = Arc::new(AtomicU64::new(0));
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(Guest::sit(address).await?);
    }
    let mut slow = Vec::new();
    for number in 0..SLOW {
        slow.push(Guest::ask(client, address, number % 2 == 0, &unread).await?);
        sleep(SLOW_EVERY).await;
    }
    let until = Instant::now() + stage.seconds(12);
    while Instant::now() < until {
        vanish(client, address).await?;
        sleep(VANISH_EVERY).await;
    }
    Ok(Crowded {
        process: Process::look(service.pid())?,
        connections: service.admin.sum(OPEN).await?,
        unread: unread.load(Ordering::Relaxed),
    })
}

/// A client that keeps a connection; it goes when this is dropped.
struct Guest {
    _connection: Connection,
    /// Held and never awaited: nothing is read.
    _unread: Option<Box<Driver>>,
    driving: Option<JoinHandle<()>>,
}

impl Guest {
    /// Connects, and asks nothing.
    async fn sit(address: &str) -> Result<Self> {
        let (connection, driver) = Connection::with_window(address, 65_535, 65_535).await?;
        Ok(Self::driven(connection, driver))
    }

    /// Asks, and takes no answer. `answered` counts those that begin, which a client without a window sees by their heads.
    async fn ask(
        client: &Client,
        address: &str,
        unread: bool,
        answered: &Arc<AtomicU64>,
    ) -> Result<Self> {
        let window = if unread { 65_535 } else { 0 };
        let (connection, mut driver) = Connection::with_window(address, window, 65_535).await?;
        for _ in 0..SLOW_REQUESTS {
            let framed = client.requests().request(client.next());
            let asked = connection.begin(framed, None).await?;
            let answered = Arc::clone(answered);
            // Held and never read: to let go of it would reset the stream.
            tokio::spawn(async move {
                let unread = asked.await;
                let has_begun = unread.as_ref().is_ok_and(is_answer);
                answered.fetch_add(u64::from(has_begun), Ordering::Relaxed);
                std::future::pending::<()>().await;
                drop(unread);
            });
        }
        if unread {
            // Long enough for requests to leave; from then on the socket fills.
            let _moved = timeout(Duration::from_millis(5), &mut driver).await;
            return Ok(Self {
                _connection: connection,
                _unread: Some(Box::new(driver)),
                driving: None,
            });
        }
        Ok(Self::driven(connection, driver))
    }

    fn driven(connection: Connection, driver: Driver) -> Self {
        let driving = tokio::spawn(async move {
            let _ended = driver.await;
        });
        Self {
            _connection: connection,
            _unread: None,
            driving: Some(driving),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(driving) = self.driving.take() {
            driving.abort();
        }
    }
}

/// Whether it is the head of a decision: of a refusal it is all there is, and says so.
fn is_answer<B>(head: &Response<B>) -> bool {
    !head.headers().contains_key("grpc-status")
}

/// Asks, and closes the connection before there can be an answer to all.
async fn vanish(client: &Client, address: &str) -> Result<()> {
    let (connection, mut driver) = Connection::with_window(address, 65_535, 65_535).await?;
    let mut asked = Vec::new();
    for _ in 0..VANISHING_REQUESTS {
        let framed = client.requests().request(client.next());
        asked.push(connection.begin(framed, None).await?);
    }
    let _moved = timeout(Duration::from_millis(1), &mut driver).await;
    Ok(())
}
