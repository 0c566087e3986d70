//! Which records Kafka does not have yet, where they are, and which goes next.
//!
//! Records are numbered as they are handed over. Those from `low` on are Kafka's no more than in part; first come those that are
//! on disk, then those that are in memory, so the order is kept whatever becomes of either. What goes to the spool goes there
//! with all that was before it. No clock, no threads, no Kafka here: tests hold it against a plain queue.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use super::early::Ticket;
use super::low::Low;
use super::spool::{Left, NotAppended, Read, Spool, Stored};

/// Failures to read a file of the spool after which the rest of it is given up.
const READ_TRIES_MAX: u32 = 5;

/// A record as Kafka takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    /// When it was handed over, in microseconds since 1970.
    pub(super) at: i64,
}

impl Record {
    /// What it takes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.len()
    }

    pub(super) fn stored(&self) -> Stored<'_> {
        Stored {
            at: self.at,
            key: &self.key,
            value: &self.value,
        }
    }
}

/// A record in memory.
#[derive(Debug)]
struct Held {
    record: Record,
    since: Instant,
    /// Of a record that was written before it was answered: given back once Kafka or the spool has it.
    ticket: Option<Ticket>,
}

/// What was lost or left out of what is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Records that were there and are not any more.
    pub(super) records: u64,
    /// Places that were skipped.
    pub(super) places: u64,
}

#[derive(Debug)]
pub(super) struct Outbox {
    /// What Kafka has, or never will.
    low: Low,
    /// The first record that was not handed to the producer.
    sent: u64,
    /// The number of the next record.
    next: u64,
    /// The last ones; those from `low` on before them are on disk.
    memory: VecDeque<Held>,
    memory_bytes: usize,
    spool: Option<Spool>,
    /// What was read last and not handed over yet.
    read: Option<(u64, Record)>,
    read_failures: u32,
    damage: Damage,
}

impl Outbox {
    /// Begins with what an earlier run has left.
    pub(super) fn new(spool: Option<(Spool, Left)>) -> Self {
        let (spool, left) = spool.map_or_else(
            || (None, Left::default()),
            |(spool, left)| (Some(spool), left),
        );
        Self {
            low: Low::at(left.from),
            sent: left.from,
            next: left.to,
            memory: VecDeque::new(),
            memory_bytes: 0,
            spool,
            read: None,
            read_failures: 0,
            damage: Damage::default(),
        }
    }

    /// Takes a record, and its ticket if it was written early.
    pub(super) fn push(&mut self, record: Record, ticket: Option<Ticket>, since: Instant) {
        self.memory_bytes += record.bytes();
        self.memory.push_back(Held {
            record,
            since,
            ticket,
        });
        self.next += 1;
    }

    pub(super) fn in_memory(&self) -> usize {
        self.memory.len()
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Records that are on disk and that Kafka may not have.
    pub(super) fn on_disk(&self) -> u64 {
        self.first_in_memory().saturating_sub(self.low.get())
    }

    pub(super) const fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Records that Kafka does not have.
    pub(super) fn is_empty(&self) -> bool {
        self.low.get() == self.next
    }

    /// Since when the oldest record in memory has waited.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.memory.front().map(|held| held.since)
    }

    /// What was found damaged since this was last asked.
    pub(super) fn take_damage(&mut self) -> Damage {
        std::mem::take(&mut self.damage)
    }

    /// Gives up what is in memory, at the end. Those that were written early stay on disk for the next start: returns how many
    /// do, and how many are lost.
    pub(super) fn abandon(&mut self) -> (u64, u64) {
        let (mut kept, mut lost) = (0, 0);
        for held in self.memory.drain(..) {
            match held.ticket {
                Some(ticket) => {
                    ticket.keep();
                    kept += 1;
                }
                None => lost += 1,
            }
        }
        self.memory_bytes = 0;
        (kept, lost)
    }

    fn first_in_memory(&self) -> u64 {
        self.next - u64::try_from(self.memory.len()).unwrap_or(0)
    }

    /// The next record for the producer, if there is one; [`Outbox::handed_over`] says that it has it.
    pub(super) fn peek(&mut self) -> io::Result<Option<(u64, &Record)>> {
        while self.sent < self.next && self.low.is_done(self.sent) {
            self.sent += 1;
        }
        self.read.take_if(|(number, _)| *number < self.sent);
        let first = self.first_in_memory();
        if self.sent < first {
            self.read_ahead()?;
        }
        if self.sent < first {
            return Ok(self.read.as_ref().map(|(number, record)| (*number, record)));
        }
        let at = usize::try_from(self.sent - first).unwrap_or(usize::MAX);
        let held = self.memory.get(at);
        Ok(held.map(|held| (self.sent, &held.record)))
    }

    /// The producer has the record that was next.
    pub(super) fn handed_over(&mut self) {
        self.read = None;
        self.sent += 1;
    }

    /// Kafka has this record, or never will.
    pub(super) fn done(&mut self, number: u64) {
        if number >= self.next {
            return;
        }
        let on_disk = self.on_disk();
        let done = self.low.done(number);
        // Those on disk come first.
        for _ in on_disk..done {
            if let Some(held) = self.memory.pop_front() {
                self.memory_bytes -= held.record.bytes();
            }
        }
        self.sent = self.sent.max(self.low.get());
        if done > 0
            && let Some(spool) = &mut self.spool
        {
            spool.acknowledge(self.low.get());
        }
    }

    /// What the producer has is to be handed over again, but for what Kafka has.
    pub(super) fn rewind(&mut self) {
        self.sent = self.low.get();
        self.read = None;
        if let Some(spool) = &mut self.spool {
            spool.rewind();
        }
    }

    /// Moves what is in memory to the spool, as much as fits. Returns how many were moved.
    pub(super) fn spill(&mut self) -> (usize, Result<(), NotAppended>) {
        let first = self.first_in_memory();
        let Some(spool) = &mut self.spool else {
            return (0, Ok(()));
        };
        if self.low.get() == first {
            spool.begin_at(first);
        }
        let records = self.memory.iter().map(|held| held.record.stored());
        let (moved, result) = spool.append(records, self.low.get());
        for held in self.memory.drain(..moved) {
            self.memory_bytes -= held.record.bytes();
        }
        (moved, result)
    }

    /// Notes on disk how far Kafka has the records.
    pub(super) fn mark(&mut self) {
        if let Some(spool) = &mut self.spool {
            spool.mark(self.low.get());
        }
    }

    /// Reads the record that is next, if it is on disk.
    fn read_ahead(&mut self) -> io::Result<()> {
        let first = self.first_in_memory();
        while self.read.is_none() && self.sent < first {
            let Some(spool) = &mut self.spool else {
                return Ok(());
            };
            match spool.read() {
                Ok(Read::Record {
                    number,
                    at,
                    key,
                    value,
                }) => {
                    self.read_failures = 0;
                    let record = Record { key, value, at };
                    self.take_in(number, record);
                }
                Ok(Read::Damaged(_)) => self.damage.places += 1,
                Ok(Read::End) => self.missing(first),
                Err(error) => {
                    self.read_failures += 1;
                    if self.read_failures < READ_TRIES_MAX {
                        return Err(error);
                    }
                    self.read_failures = 0;
                    self.damage.places += 1;
                    spool.skip_file();
                }
            }
        }
        Ok(())
    }

    fn take_in(&mut self, number: u64, record: Record) {
        // What was rewound over, or written twice by a failed write.
        if number < self.sent || number >= self.first_in_memory() {
            return;
        }
        self.missing(number);
        if !self.low.is_done(number) {
            self.read = Some((number, record));
        }
    }

    /// Records from the next on to before this one are not on disk any more.
    fn missing(&mut self, until: u64) {
        for number in self.sent..until {
            if !self.low.is_done(number) {
                self.damage.records += 1;
                self.done(number);
            }
        }
        self.sent = self.sent.max(until);
    }
}

#[cfg(test)]
mod tests;
