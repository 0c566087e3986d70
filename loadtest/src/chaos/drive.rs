//! Load, open loop: every request leaves when it is due, on a task of its own, whatever has become of those before it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::requests::Requests;
use super::wire::{Connection, Reply, timeout_header};
use crate::lock;
use crate::score::{Answer, Arrivals, Pace, Tally};

/// Requests on their way at most; beyond, the generator is what is too slow, and says how many it has not sent.
const IN_FLIGHT_MAX: u64 = 16_384;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Late answers whose times are kept, to be held against the generator's own pauses.
const LATE_KEPT_MAX: usize = 200_000;

/// Who asks: some connections, and transactions of their own.
#[derive(Clone)]
pub(crate) struct Client {
    connections: Arc<[Connection]>,
    requests: Arc<Requests>,
    next: Arc<AtomicU64>,
}

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Requests a second.
    pub(crate) rate: f64,
    /// What each request says of its deadline; later is late.
    pub(crate) deadline: Duration,
}

/// What came of it.
pub(crate) struct Seen {
    pub(crate) tally: Tally,
    pub(crate) sent: u64,
    /// Due, but not sent: too much was in flight.
    pub(crate) unsent: u64,
    /// Refused by the server before it began with them.
    pub(crate) refused: u64,
    /// Neither answered nor refused when waiting ended.
    pub(crate) unanswered: u64,
    pub(crate) seconds: f64,
    pub(crate) late: Vec<(Instant, Instant)>,
}

/// One request and what came of it.
pub(crate) struct Noted<'a> {
    pub(crate) due: Instant,
    pub(crate) reply: &'a Reply,
}

impl Client {
    pub(crate) async fn connect(
        address: &str,
        connections: usize,
        requests: Arc<Requests>,
    ) -> Result<Self> {
        Ok(Self {
            connections: Connection::open_many(address, connections).await?.into(),
            requests,
            next: Arc::default(),
        })
    }

    /// The same transactions going on, over further connections.
    pub(crate) async fn beside(&self, address: &str, connections: usize) -> Result<Self> {
        Ok(Self {
            connections: Connection::open_many(address, connections).await?.into(),
            ..self.clone()
        })
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn connections(&self) -> &[Connection] {
        &self.connections
    }

    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn drive_for(&self, plan: Plan, lasts: Duration) -> Result<Seen> {
        let (seen, ()) = self.drive(plan, |_| {}, sleep(lasts)).await?;
        Ok(seen)
    }

    /// Asks until `meanwhile` is over, and returns once everything asked has come to an end.
    pub(crate) async fn drive<T>(
        &self,
        plan: Plan,
        note: impl Fn(&Noted<'_>) + Send + Sync + 'static,
        meanwhile: impl Future<Output = T>,
    ) -> Result<(Seen, T)> {
        let driving = Driving {
            client: self.clone(),
            header: timeout_header(plan.deadline)?,
            shared: Arc::new(Shared::new(plan.deadline)),
            note: Arc::new(note),
        };
        let shared = Arc::clone(&driving.shared);
        // Should nobody wait for the end of this, its thread ends all the same.
        let ending = Ending(Arc::clone(&shared));
        let started = Instant::now();
        let feeder = {
            let runtime = tokio::runtime::Handle::current();
            // A thread of its own: it wakes within some 50 µs, where timers of the runtime are a millisecond late.
            tokio::task::spawn_blocking(move || driving.feed(&runtime, plan.rate, started))
        };
        let result = meanwhile.await;
        drop(ending);
        feeder.await.context("the feeder panicked")?;
        let seconds = started.elapsed().as_secs_f64();
        let waited = Instant::now();
        while shared.in_flight.load(Ordering::Acquire) > 0 && waited.elapsed() < PATIENCE * 2 {
            sleep(Duration::from_millis(5)).await;
        }
        let mut seen = lock(&shared.seen);
        let fresh = Seen::new(plan.deadline);
        let mut seen = std::mem::replace(&mut *seen, fresh);
        seen.sent = shared.sent.load(Ordering::Relaxed);
        seen.unsent = shared.unsent.load(Ordering::Relaxed);
        seen.unanswered = seen.sent - seen.refused - seen.tally.ended();
        seen.seconds = seconds;
        Ok((seen, result))
    }
}

struct Shared {
    ended: AtomicBool,
    in_flight: AtomicU64,
    sent: AtomicU64,
    unsent: AtomicU64,
    seen: Mutex<Seen>,
}

impl Shared {
    fn new(deadline: Duration) -> Self {
        Self {
            ended: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            seen: Mutex::new(Seen::new(deadline)),
        }
    }
}

/// Ends the load when this is dropped.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

struct Driving<N> {
    client: Client,
    header: HeaderValue,
    shared: Arc<Shared>,
    note: Arc<N>,
}

impl<N: Fn(&Noted<'_>) + Send + Sync + 'static> Driving<N> {
    /// Blocks until the load is over.
    fn feed(self, runtime: &tokio::runtime::Handle, rate: f64, started: Instant) {
        let seed = self.client.next.load(Ordering::Relaxed);
        let mut pace = Pace::new(started, rate, Arrivals::Poisson, seed);
        while !self.shared.ended.load(Ordering::Relaxed) {
            let due = pace.sleep_until_next();
            if self.shared.in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_MAX {
                self.shared.unsent.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
            self.shared.sent.fetch_add(1, Ordering::Relaxed);
            runtime.spawn(self.ask(due));
        }
    }

    fn ask(&self, due: Instant) -> impl Future<Output = ()> + Send + 'static {
        let number = self.client.next();
        let connections = &self.client.connections;
        let at = usize::try_from(number).unwrap_or(0) % connections.len();
        let connection = connections[at].clone();
        let framed = self.client.requests.request(number);
        let header = self.header.clone();
        let (shared, note) = (Arc::clone(&self.shared), Arc::clone(&self.note));
        async move {
            let reply = ask(&connection, framed, Some(header)).await;
            let ended = Instant::now();
            note(&Noted { due, reply: &reply });
            lock(&shared.seen).count(reply, (due, ended));
            shared.in_flight.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Asks, and waits for [`PATIENCE`] at most: a request that is never answered must not hold up the run.
pub(super) async fn ask(
    connection: &Connection,
    framed: Bytes,
    timeout: Option<HeaderValue>,
) -> Reply {
    ask_within(PATIENCE, connection, framed, timeout).await
}

async fn ask_within(
    patience: Duration,
    connection: &Connection,
    framed: Bytes,
    timeout: Option<HeaderValue>,
) -> Reply {
    let asking = connection.call(framed, timeout);
    let reply = tokio::time::timeout(patience, asking).await;
    reply.unwrap_or_else(|_| Reply::Error(Status::deadline_exceeded("no answer for seconds")))
}

impl Seen {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self {
            tally: Tally::with_deadline(deadline),
            sent: 0,
            unsent: 0,
            refused: 0,
            unanswered: 0,
            seconds: 0.0,
            late: Vec::new(),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.seconds += other.seconds;
        let room = LATE_KEPT_MAX.saturating_sub(self.late.len());
        self.late.extend(other.late.iter().take(room));
    }

    /// Counts what came of a request that was due and ended at these times.
    pub(crate) fn count(&mut self, reply: Reply, (due, ended): (Instant, Instant)) {
        let result = match reply {
            Reply::Answer(response, _) => Ok(response),
            Reply::Error(status) => Err(status),
            Reply::Lost(why) => Err(Status::aborted(why)),
            Reply::Refused => {
                self.refused += 1;
                return;
            }
        };
        let latency = ended.saturating_duration_since(due);
        let late_before = self.tally.late;
        self.tally.count(&Answer { result, latency });
        if self.tally.late > late_before && self.late.len() < LATE_KEPT_MAX {
            self.late.push((due, ended));
        }
    }

    /// Requests that ended without an answer though nobody had refused them, those without any end included.
    pub(crate) fn failed(&self) -> u64 {
        self.tally.ended() - self.tally.answered + self.unanswered
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tonic::Code;

    use super::*;
    use crate::score::fake::{self, PATIENCE};

    #[tokio::test(flavor = "multi_thread")]
    async fn everything_sent_is_asked_once_and_counted() {
        let service = fake::start().await;
        let requests = Arc::new(Requests::with(10, 1, 50).unwrap());
        let client = Client::connect(&service.address, 2, requests)
            .await
            .unwrap();
        let plan = Plan {
            rate: 2_000.0,
            deadline: PATIENCE,
        };
        let noted = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&noted);
        let enough = Arc::clone(&noted);
        let (seen, ()) = client
            .drive(
                plan,
                move |_| {
                    counting.fetch_add(1, Ordering::Relaxed);
                },
                async move {
                    while enough.load(Ordering::Relaxed) < 200 {
                        tokio::task::yield_now().await;
                    }
                },
            )
            .await
            .unwrap();
        let mut ids = service.ids();
        assert_eq!(seen.sent, ids.len() as u64);
        assert_eq!(seen.tally.answered, seen.sent);
        assert_eq!(noted.load(Ordering::Relaxed), seen.sent);
        assert_eq!((seen.failed(), seen.refused, seen.unsent), (0, 0, 0));
        assert_eq!(seen.tally.levels()["full"], seen.sent);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(seen.sent, ids.len() as u64, "every id is new");
    }

    #[tokio::test]
    async fn a_request_that_is_never_answered_ends_as_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut server = h2::server::handshake(socket).await.unwrap();
            let mut taken = Vec::new();
            while let Some(request) = server.accept().await {
                taken.push(request);
            }
        });
        let connection = Connection::open(&address).await.unwrap();
        let requests = Requests::with(10, 1, 10).unwrap();
        let patience = Duration::from_millis(50);
        let reply = ask_within(patience, &connection, requests.request(1), None).await;
        let Reply::Error(status) = reply else {
            panic!("not an error");
        };
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[tokio::test]
    async fn a_load_that_nobody_waits_for_ends() {
        let service = fake::start().await;
        let requests = Arc::new(Requests::with(10, 1, 10).unwrap());
        let client = Client::connect(&service.address, 1, requests);
        let client = client.await.unwrap();
        let plan = Plan {
            rate: 1_000.0,
            deadline: PATIENCE,
        };
        let driven = client.drive(plan, |_| {}, std::future::pending::<()>());
        tokio::time::timeout(Duration::from_millis(20), driven)
            .await
            .err()
            .unwrap();
        // Whoever feeds holds a client; it is the only one but ours.
        while Arc::strong_count(&client.next) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn refusals_are_no_answers_and_no_errors() {
        let now = Instant::now();
        let mut seen = Seen::new(Duration::from_millis(10));
        let late = now + Duration::from_millis(11);
        seen.count(Reply::Refused, (now, late));
        seen.count(Reply::Lost("gone".to_owned()), (now, late));
        assert_eq!((seen.refused, seen.failed(), seen.late.len()), (1, 1, 1));
        assert_eq!(seen.tally.errors["aborted"], 1);
    }
}
