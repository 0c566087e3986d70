//! `spool-first`: decisions are on disk before they are answered.
//!
//! A thread takes what all requests that wait have handed over, writes it in one go, waits for the disk once, and tells them.
//! What was written so is only for the start after a crash: once Kafka or the spool has the finished record, or nobody needs
//! it, its ticket is dropped, and a file goes when all its tickets have.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::low::Low;
use super::outbox::Record;
use super::spool::{NotAppended, Spool};
use crate::clock;
use crate::lines::Lines;
use crate::metrics::{DecisionLogMetrics, Unlogged};

/// Records that may wait for the disk: more than there are requests at a time.
const WAITING_MAX: usize = 16_384;

/// Between two looks where nothing happens.
const TICK: Duration = Duration::from_millis(500);

/// After a failure of the disk nobody waits for it so long.
const RETRY: Duration = Duration::from_millis(500);

/// Where records are handed over to be written. Cheap to clone.
#[derive(Clone)]
pub(super) struct Early(Arc<Shared>);

struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    waiting: Vec<Waiting>,
    /// Numbers of records that nobody needs any more.
    done: Vec<u64>,
    /// Until then nothing is written.
    broken_until: Option<(Instant, Unlogged)>,
    /// No more records come.
    is_closed: bool,
}

struct Waiting {
    record: Record,
    tell: oneshot::Sender<Ticket>,
}

/// A record that is on disk until this is dropped.
pub(crate) struct Ticket {
    number: u64,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Ticket({})", self.number)
    }
}

impl Ticket {
    /// Leaves the record on disk for the next start.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Nobody waits for it, so the thread is not woken.
        self.shared.told.lock().done.push(self.number);
    }
}

impl Early {
    /// Starts the thread. What is returned beside says that it has ended.
    pub(super) fn start(
        spool: Spool,
        metrics: DecisionLogMetrics,
    ) -> std::io::Result<(Self, oneshot::Receiver<()>)> {
        let shared = Arc::new(Shared {
            told: Mutex::default(),
            changed: Condvar::new(),
        });
        let (tell, ended) = oneshot::channel();
        let writing = Writing {
            low: Low::at(spool.end()),
            spool,
            shared: Arc::clone(&shared),
            metrics,
            failures: Lines::new(),
        };
        std::thread::Builder::new()
            .name("decision-early".to_owned())
            .spawn(move || {
                writing.run();
                // Nobody waits for it any more if it took too long.
                let _ = tell.send(());
            })?;
        Ok((Self(shared), ended))
    }

    /// Has a record written, and waits for that until `limit` has passed.
    pub(super) async fn write(&self, record: Record, limit: Duration) -> Result<Ticket, Unlogged> {
        let (tell, told) = oneshot::channel();
        self.hand_over(Waiting { record, tell })?;
        match tokio::time::timeout(limit, told).await {
            Ok(Ok(ticket)) => Ok(ticket),
            // The thread has said why in the log.
            Ok(Err(_)) => Err(self.broken().unwrap_or(Unlogged::Failed)),
            Err(_) => Err(Unlogged::Slow),
        }
    }

    fn hand_over(&self, waiting: Waiting) -> Result<(), Unlogged> {
        if let Some(broken) = self.broken() {
            return Err(broken);
        }
        let mut told = self.0.told.lock();
        if told.waiting.len() >= WAITING_MAX {
            return Err(Unlogged::Slow);
        }
        told.waiting.push(waiting);
        drop(told);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Why nothing is written at the moment, if so.
    fn broken(&self) -> Option<Unlogged> {
        let broken = self.0.told.lock().broken_until;
        broken.and_then(|(until, why)| (clock::instant() < until).then_some(why))
    }

    /// Tickets that are held.
    #[cfg(test)]
    pub(super) fn tickets(&self) -> usize {
        Arc::strong_count(&self.0) - 2
    }

    /// No more records come, and no more tickets are given back.
    pub(super) fn close(&self) {
        self.0.told.lock().is_closed = true;
        self.0.changed.notify_one();
    }
}

struct Writing {
    spool: Spool,
    low: Low,
    shared: Arc<Shared>,
    metrics: DecisionLogMetrics,
    failures: Lines,
}

impl Writing {
    fn run(mut self) {
        let mut marked = self.low.get();
        loop {
            let (waiting, done, is_closed) = self.wait();
            for number in done {
                self.low.done(number);
            }
            let is_idle = waiting.is_empty();
            if !is_idle {
                self.write(waiting);
            }
            let low = self.low.get();
            if is_closed {
                // Nothing is sent after the next start but what Kafka does not have.
                self.spool.mark(low);
                self.spool.acknowledge(low);
                return;
            }
            // The file that is written to stays: making another one would cost more than it takes.
            self.spool.acknowledge_but_last(low);
            if is_idle && low > marked {
                self.spool.mark(low);
                marked = low;
            }
            self.metrics
                .early_bytes
                .set(i64::try_from(self.spool.bytes()).unwrap_or(i64::MAX));
        }
    }

    fn wait(&self) -> (Vec<Waiting>, Vec<u64>, bool) {
        let mut told = self.shared.told.lock();
        if told.waiting.is_empty() && !told.is_closed {
            // Whether it was woken or not makes no difference.
            let _ = self.shared.changed.wait_for(&mut told, TICK);
        }
        let (waiting, done) = (
            std::mem::take(&mut told.waiting),
            std::mem::take(&mut told.done),
        );
        (waiting, done, told.is_closed)
    }

    /// Writes what waits, has the disk keep it, and tells those who wait.
    fn write(&mut self, waiting: Vec<Waiting>) {
        let began = clock::instant();
        let first = self.spool.end();
        let stored = waiting.iter().map(|waiting| waiting.record.stored());
        let (written, result) = self.spool.append(stored, self.low.get());
        let took = clock::instant().saturating_duration_since(began);
        self.metrics.synced(took);
        if let Err(error) = result {
            self.broken(&error);
        }
        // Those that were not written are told by there being nothing to tell.
        for (number, waiting) in (first..).zip(waiting.into_iter().take(written)) {
            let shared = Arc::clone(&self.shared);
            // Who waits no longer has answered without it, and needs no ticket.
            drop(waiting.tell.send(Ticket { number, shared }));
        }
    }

    fn broken(&self, error: &NotAppended) {
        let why = match error {
            NotAppended::Full => Unlogged::Full,
            NotAppended::Disk(_) => {
                self.metrics.spool_failures.inc();
                Unlogged::Failed
            }
        };
        self.shared.told.lock().broken_until = Some((clock::instant() + RETRY, why));
        if let Some(times) = self.failures.next() {
            tracing::error!(%error, times, "decisions cannot be written before they are answered");
        }
    }
}
