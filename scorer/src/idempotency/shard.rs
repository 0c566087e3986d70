//! Answers that are kept and decisions in progress, by transaction: a part of all, under one lock.
//!
//! All answers are kept equally long, so the order in which they were given is the order in which they go: a queue does
//! what a cache's guesses about use would do worse. Time is an argument. Decisions in progress are not in the queue:
//! no lack of room makes a duplicate of one decide again. There are no more of them than requests in progress, which are
//! bounded where they come in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::running::{Bytes, Part, Running};
use super::{Identity, OnConflict};

/// Taken for an answer besides its bytes: its places in map and queue, which together have 128 bytes and up to twice that where
/// they have just grown, and what an allocator adds to the bytes themselves.
pub(super) const OVERHEAD_BYTES: usize = 256;

const _: () = assert!(size_of::<(u128, Known)>() + size_of::<Place>() <= 128);

/// How much may be kept, and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) keep: Duration,
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
    pub(super) on_conflict: OnConflict,
}

/// What a request is to do.
pub(super) enum Entered {
    /// It decides. `conflicting` if another content of the id was known and is not any more.
    Lead {
        running: Arc<Running>,
        conflicting: bool,
    },
    /// It waits for one that decides.
    Wait(Arc<Running>),
    /// It is answered.
    Take(Bytes),
    /// The id is known with another content.
    Refuse,
}

#[derive(Default)]
pub(super) struct Shard {
    known: HashMap<u128, Known, RandomState>,
    /// Answers in the order they were given. What was replaced since is passed over.
    order: VecDeque<Place>,
    answers: usize,
    bytes: usize,
    given: u64,
}

enum Known {
    Running(Arc<Running>),
    Answer {
        content: u128,
        bytes: Bytes,
        given: u64,
        expires_at: Instant,
    },
}

#[derive(Clone, Copy)]
struct Place {
    id: u128,
    given: u64,
    expires_at: Instant,
}

impl Shard {
    /// Answers that are kept.
    pub(super) const fn answers(&self) -> usize {
        self.answers
    }

    /// Memory they take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn enter(&mut self, of: Identity, bounds: &Bounds, now: Instant) -> Entered {
        let mut conflicting = false;
        match self.known.get(&of.id) {
            Some(Known::Answer {
                content,
                bytes,
                expires_at,
                ..
            }) if now < *expires_at => {
                if *content == of.content {
                    return Entered::Take(Arc::clone(bytes));
                }
                conflicting = true;
            }
            Some(Known::Running(running)) if running.content == of.content => {
                match running.join() {
                    Some(Part::Wait) => return Entered::Wait(Arc::clone(running)),
                    Some(Part::Take(bytes)) => return Entered::Take(bytes),
                    Some(Part::Lead) => {
                        let running = Arc::clone(running);
                        return Entered::Lead {
                            running,
                            conflicting,
                        };
                    }
                    None => {}
                }
            }
            Some(Known::Running(running)) => conflicting = !running.is_abandoned(),
            Some(Known::Answer { .. }) | None => {}
        }
        if conflicting && bounds.on_conflict == OnConflict::Refuse {
            return Entered::Refuse;
        }
        let running = Arc::new(Running::new(of.content));
        self.replace(of.id, Known::Running(Arc::clone(&running)));
        Entered::Lead {
            running,
            conflicting,
        }
    }

    /// Keeps the answer of a decision that was in progress, unless its id has begun something else since. Returns how
    /// many others had to go before their time.
    pub(super) fn keep(
        &mut self,
        id: u128,
        running: &Arc<Running>,
        bytes: Bytes,
        bounds: &Bounds,
        now: Instant,
    ) -> usize {
        if !self.is_running(id, running) {
            return 0;
        }
        self.given += 1;
        self.answers += 1;
        self.bytes += OVERHEAD_BYTES + bytes.len();
        let (given, expires_at) = (self.given, now + bounds.keep);
        let content = running.content;
        self.replace(
            id,
            Known::Answer {
                content,
                bytes,
                given,
                expires_at,
            },
        );
        self.order.push_back(Place {
            id,
            given,
            expires_at,
        });
        self.make_room(bounds)
    }

    /// Forgets a decision that was abandoned.
    pub(super) fn forget(&mut self, id: u128, running: &Arc<Running>) {
        if self.is_running(id, running) {
            self.known.remove(&id);
        }
    }

    /// Lets go of what has been kept long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|place| place.expires_at <= now)
        {
            self.let_go_of_oldest();
        }
    }

    fn make_room(&mut self, bounds: &Bounds) -> usize {
        let mut gone = 0;
        // Places are at least as many as answers, so this bounds both.
        while !self.order.is_empty()
            && (self.order.len() > bounds.entries_max || self.bytes > bounds.bytes_max)
        {
            gone += usize::from(self.let_go_of_oldest());
        }
        gone
    }

    /// Whether the oldest place still stood for an answer.
    fn let_go_of_oldest(&mut self) -> bool {
        let Some(place) = self.order.pop_front() else {
            return false;
        };
        let is_current = matches!(
            self.known.get(&place.id),
            Some(Known::Answer { given, .. }) if *given == place.given
        );
        if is_current && let Some(known) = self.known.remove(&place.id) {
            self.subtract(&known);
        }
        is_current
    }

    fn replace(&mut self, id: u128, known: Known) {
        if let Some(before) = self.known.insert(id, known) {
            self.subtract(&before);
        }
    }

    fn subtract(&mut self, known: &Known) {
        if let Known::Answer { bytes, .. } = known {
            self.answers -= 1;
            self.bytes -= OVERHEAD_BYTES + bytes.len();
        }
    }

    fn is_running(&self, id: u128, running: &Arc<Running>) -> bool {
        matches!(self.known.get(&id), Some(Known::Running(known)) if Arc::ptr_eq(known, running))
    }
}
