//! Who is decided in full, who waits for it and who is shed: the whole of admission as a value that is told what happens and
//! when. It knows no clock and no runtime.

use std::time::{Duration, Instant};

use super::age::StandingQueue;
use super::limit::{Limit, Sample};
use super::priority::{PRIORITIES, Priority};
use super::queue::{ConnectionId, Queue, Ticket, Waiter};
use crate::config::OverloadConfig;

/// A request that asks to be decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) arrived: Instant,
    /// It may wait until then and still be decided in time.
    pub(crate) until: Instant,
    pub(crate) connection: ConnectionId,
    pub(crate) priority: Priority,
}

/// Why a request is not decided in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shed {
    /// It is too old, where requests have been for a while.
    Aged,
    /// So many wait already, none of them less important.
    QueueFull,
    /// Somebody more important, or of a connection with fewer requests, took its place.
    Displaced,
    /// No place became free in time.
    TimedOut,
}

impl Shed {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Aged => "aged",
            Self::QueueFull => "queue_full",
            Self::Displaced => "displaced",
            Self::TimedOut => "timed_out",
        }
    }
}

/// What a request is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Admitted,
    /// It is told later, by its handle, and does not wait beyond `until`.
    Waits {
        ticket: Ticket,
        until: Instant,
    },
    Shed(Shed),
}

/// What one that waits is told.
#[derive(Debug)]
pub(super) struct Told<H> {
    pub(super) handle: H,
    pub(super) result: Result<(), Shed>,
}

/// How things stand, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Load {
    /// How many decisions may be in progress.
    pub(crate) limit: usize,
    pub(crate) in_progress: usize,
    pub(crate) waiting: usize,
    /// Whether requests are being shed for their age.
    pub(crate) sheds_aged: bool,
}

#[derive(Debug)]
pub(super) struct Gate<H> {
    limit: Limit,
    in_progress: usize,
    /// So many are in progress whatever their age: where shedding makes nobody younger, it would only leave nothing.
    spared: usize,
    queue: Queue<H>,
    standing: [StandingQueue; PRIORITIES],
    target: Duration,
    next_ticket: u64,
}

impl<H> Gate<H> {
    pub(super) fn new(config: &OverloadConfig) -> Self {
        let standing = || StandingQueue::new(config.target(), config.interval());
        Self {
            limit: Limit::new(config.limit_min, config.limit_max),
            in_progress: 0,
            spared: usize::try_from(config.limit_min).unwrap_or(usize::MAX) / 2,
            queue: Queue::new(config.waiting_max),
            standing: std::array::from_fn(|_| standing()),
            target: config.target(),
            next_ticket: 0,
        }
    }

    /// Somebody comes. `handle` is made only if it has to wait; the second is who had to give way for it.
    pub(super) fn ask(
        &mut self,
        ask: Ask,
        now: Instant,
        handle: impl FnOnce() -> H,
    ) -> (Answer, Option<Told<H>>) {
        let age = now.saturating_duration_since(ask.arrived);
        if self.is_too_old(ask.priority, age, now) {
            self.note_age(ask.priority, age, now);
            return (Answer::Shed(Shed::Aged), None);
        }
        if self.in_progress < self.limit.get() {
            self.note_age(ask.priority, age, now);
            self.in_progress += 1;
            return (Answer::Admitted, None);
        }
        let until = self.patience(&ask, now);
        if until <= now {
            return (Answer::Shed(Shed::TimedOut), None);
        }
        let mut displaced = None;
        if self.queue.is_full() {
            displaced = self.queue.displace(ask.priority, ask.connection);
            if displaced.is_none() {
                return (Answer::Shed(Shed::QueueFull), None);
            }
        }
        let ticket = Ticket {
            number: self.next_ticket,
            priority: ask.priority,
            connection: ask.connection,
        };
        self.next_ticket += 1;
        self.queue.push(Waiter {
            ticket,
            arrived: ask.arrived,
            until,
            handle: handle(),
        });
        let displaced = displaced.map(|waiter| Told {
            handle: waiter.handle,
            result: Err(Shed::Displaced),
        });
        (Answer::Waits { ticket, until }, displaced)
    }

    /// A place for work that no caller waits for: only while nobody waits, nobody is shed for its age, and at least half of
    /// the places are free. It is left like any other.
    pub(super) fn take_spare(&mut self, now: Instant) -> bool {
        let sheds = self
            .standing
            .iter()
            .any(|standing| standing.is_standing(now));
        let is_quiet = self.queue.len() == 0 && !sheds;
        let is_spare = is_quiet && 2 * self.in_progress < self.limit.get();
        self.in_progress += usize::from(is_spare);
        is_spare
    }

    /// A decision is made, or given up: its place is free. `sample` is what it says of the load.
    pub(super) fn leave(&mut self, sample: Option<Sample>, now: Instant, told: &mut Vec<Told<H>>) {
        if let Some(sample) = sample {
            self.limit.note(sample, self.in_progress, now);
        }
        self.in_progress -= 1;
        while self.in_progress < self.limit.get() {
            let Some(waiter) = self.queue.pop() else {
                return;
            };
            let age = now.saturating_duration_since(waiter.arrived);
            let priority = waiter.ticket.priority;
            let result = if self.is_too_old(priority, age, now) {
                Err(Shed::Aged)
            } else if waiter.until <= now {
                Err(Shed::TimedOut)
            } else {
                self.in_progress += 1;
                Ok(())
            };
            self.note_age(priority, age, now);
            let handle = waiter.handle;
            told.push(Told { handle, result });
        }
    }

    /// Somebody has waited for as long as it could. `false` if it has been told already.
    pub(super) fn time_out(&mut self, ticket: Ticket, now: Instant) -> bool {
        let Some(waiter) = self.queue.remove(ticket) else {
            return false;
        };
        // Those behind more important ones may never be anything but this, and their queue stands all the same.
        let age = now.saturating_duration_since(waiter.arrived);
        self.note_age(ticket.priority, age, now);
        true
    }

    /// Somebody is gone, and waits no more if it did.
    pub(super) fn give_up(&mut self, ticket: Ticket) {
        self.queue.remove(ticket);
    }

    pub(super) fn load(&self, now: Instant) -> Load {
        Load {
            limit: self.limit.get(),
            in_progress: self.in_progress,
            waiting: self.queue.len(),
            sheds_aged: self.standing.iter().any(|lane| lane.is_standing(now)),
        }
    }

    /// Whether one of this age is shed. The more important it is, the older it may be, so that the less important go first.
    fn is_too_old(&self, priority: Priority, age: Duration, now: Instant) -> bool {
        self.standing[priority.place()].is_standing(now)
            && age > self.age_max(priority)
            && self.in_progress >= self.spared
    }

    fn age_max(&self, priority: Priority) -> Duration {
        let times = u32::try_from(priority.place() + 1).unwrap_or(u32::MAX);
        self.target.saturating_mul(times)
    }

    fn note_age(&mut self, priority: Priority, age: Duration, now: Instant) {
        self.standing[priority.place()].note(age, now);
    }

    /// Until when it may wait: where the queue stands, no longer than until it would be shed for its age.
    fn patience(&self, ask: &Ask, now: Instant) -> Instant {
        if !self.standing[ask.priority.place()].is_standing(now) {
            return ask.until;
        }
        let too_old = ask.arrived.checked_add(self.age_max(ask.priority));
        too_old.map_or(ask.until, |too_old| ask.until.min(too_old))
    }
}
