//! What the thread of the decision log is told: records, and what became of those that were sent.
//!
//! Handing over takes a lock for as long as it takes to push. Records are bounded together with those that the thread holds in
//! memory; what became of records is bounded by how many are on their way.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::early::Ticket;
use super::outbox::Record;
use super::publisher::Delivery;

#[derive(Debug)]
pub(super) struct Inbox {
    told: Mutex<Told>,
    changed: Condvar,
    records_max: usize,
    bytes_max: usize,
}

/// A record, and its ticket if it was written before it was answered.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) record: Record,
    pub(super) ticket: Option<Ticket>,
}

#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) records: Vec<Handed>,
    pub(super) deliveries: Vec<Delivery>,
    /// No more records come.
    pub(super) is_closed: bool,
    /// Of `records`.
    bytes: usize,
    /// What the thread holds in memory.
    held: Held,
}

/// So much of memory is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Inbox {
    pub(super) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self {
            told: Mutex::default(),
            changed: Condvar::new(),
            records_max,
            bytes_max,
        }
    }

    /// Hands a record over; `false` if there is no room. For one that was written before it was answered there is: its answer has said
    /// that it is safe. No more of them come than were under way when the room ended, since none is written early from then on.
    pub(super) fn hand_over(&self, handed: Handed) -> bool {
        let mut told = self.told.lock();
        if handed.ticket.is_none() && self.is_taken(&told) {
            return false;
        }
        told.bytes += handed.record.bytes();
        told.records.push(handed);
        drop(told);
        self.changed.notify_one();
        true
    }

    /// Whether there is no room for a record.
    pub(super) fn is_full(&self) -> bool {
        self.is_taken(&self.told.lock())
    }

    fn is_taken(&self, told: &Told) -> bool {
        let held = told.held;
        held.records + told.records.len() >= self.records_max
            || held.bytes + told.bytes >= self.bytes_max
    }

    pub(super) fn deliver(&self, delivery: Delivery) {
        self.told.lock().deliveries.push(delivery);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.told.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// What the thread holds in memory beside what is here.
    pub(super) fn note_held(&self, held: Held) {
        self.told.lock().held = held;
    }

    /// Takes all that was told, waiting up to `limit` for something.
    pub(super) fn wait(&self, limit: Duration) -> Told {
        let mut told = self.told.lock();
        if told.records.is_empty() && told.deliveries.is_empty() {
            // Whether it was woken or not makes no difference.
            let _ = self.changed.wait_for(&mut told, limit);
        }
        let held = Held {
            records: told.held.records + told.records.len(),
            bytes: told.held.bytes + told.bytes,
        };
        let is_closed = told.is_closed;
        let new = Told {
            is_closed,
            held,
            ..Told::default()
        };
        std::mem::replace(&mut told, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::early::Early;
    use crate::audit::spool::Spool;
    use crate::metrics::Metrics;

    fn record() -> Record {
        Record {
            key: b"card".to_vec(),
            value: vec![7; 100],
            at: 0,
        }
    }

    #[tokio::test]
    async fn a_decision_that_was_written_before_its_answer_finds_room() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(folder.path(), 1 << 20).unwrap();
        let metrics = Metrics::new().unwrap().decision_log;
        let (early, _ended) = Early::start(spool, metrics).unwrap();
        let written = early.write(record(), Duration::from_secs(30)).await;
        let inbox = Inbox::new(1, 1 << 20);
        let hand_over = |ticket| {
            let record = record();
            inbox.hand_over(Handed { record, ticket })
        };
        assert!(hand_over(None));
        assert!(!hand_over(None));
        assert!(hand_over(Some(written.unwrap())));
        early.close();
    }
}
