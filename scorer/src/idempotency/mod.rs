//! The same transaction again gets the same answer, byte for byte.
//!
//! Answers are kept for a while by transaction id, within bounds; a duplicate that comes while the first request is still being
//! decided waits for it. The first answer wins (ADR 17): whoever has one first, be it the fallback of a duplicate that could wait no
//! longer, gives it to all. A request that leaves without an answer, because its client went away or its code failed,
//! leaves the lead to one that waits. Nothing here knows what is decided; time is an argument.

mod running;
mod shard;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prost::Message;
use tollgate_proto::v1;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::config::IdempotencyConfig;
pub(crate) use crate::config::OnConflict;
use crate::metrics::{Duplicate, IdempotencyMetrics};
use running::{Bytes, Given, Left, Part, Running};
use shard::{Bounds, Entered, Shard};

/// Parts with a lock of their own: several times the cores of the largest machines, so that two requests seldom meet.
const SHARDS_MAX: usize = 64;

/// With fewer answers in a part, chance would fill one much before the others.
const ENTRIES_PER_SHARD_MIN: usize = 4_096;

/// What an answer belongs to: digests of the transaction's id and of the whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    id: u128,
    content: u128,
}

/// All answers that are kept, and all decisions in progress.
pub(crate) struct Idempotency {
    /// Empty if answers are not kept at all.
    shards: Box<[Mutex<Shard>]>,
    bounds: Bounds,
    /// Differs between processes, so that nobody can look for ids whose digests are equal.
    seed: u64,
    metrics: IdempotencyMetrics,
}

/// What a request is to do.
pub(crate) enum Entry<'a> {
    /// Decide, or wait for one that decides.
    Turn(Turn<'a>),
    /// Nothing: this is the answer.
    Answered(v1::ScoreResponse),
    /// The id came before with another content.
    Refused,
}

/// What became of waiting.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, taken apart as soon as it is there"
)]
pub(crate) enum Waited {
    /// The one that decided is gone: this one decides now.
    Leads,
    Answered(v1::ScoreResponse),
    /// It is time to answer with what there is.
    OutOfTime,
}

/// What became of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is the answer, and the one to record.
    First(v1::ScoreResponse),
    /// Another one was given before and counts. What was decided here is known too late.
    Before(v1::ScoreResponse),
}

/// A request's part in a decision. Dropped without an answer, it leaves its part to the others.
pub(crate) struct Turn<'a> {
    /// `None` if answers are not kept: then each request decides for itself.
    shared: Option<(&'a Idempotency, Identity, Arc<Running>)>,
    leads: bool,
}

impl Idempotency {
    pub(crate) fn new(config: &IdempotencyConfig, metrics: IdempotencyMetrics) -> Self {
        let entries_max = config.entries_max;
        let shards = if config.keep_s == 0 {
            0
        } else {
            let enough = (entries_max / ENTRIES_PER_SHARD_MIN).clamp(1, SHARDS_MAX);
            1 << enough.ilog2()
        };
        let part = |whole: usize| whole.div_ceil(shards.max(1));
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            bounds: Bounds {
                keep: config.keep(),
                entries_max: part(entries_max),
                bytes_max: part(config.bytes_max()),
                on_conflict: config.conflict,
            },
            seed: RandomState::new().build_hasher().finish(),
            metrics,
        }
    }

    /// What the request is known by. The encoding is the same for the same content, since maps are encoded in order.
    pub(crate) fn identify(&self, request: &v1::ScoreRequest) -> Identity {
        let id = request
            .transaction
            .as_ref()
            .map_or("", |transaction| &transaction.transaction_id);
        Identity {
            id: xxh3_128_with_seed(id.as_bytes(), self.seed),
            content: xxh3_128_with_seed(&request.encode_to_vec(), self.seed),
        }
    }

    /// Finds out what a request is to do.
    pub(crate) fn enter(&self, of: Identity, now: Instant) -> Entry<'_> {
        let Some(shard) = self.shard(of.id) else {
            return Entry::Turn(Turn {
                shared: None,
                leads: true,
            });
        };
        let entered = lock(shard).enter(of, &self.bounds, now);
        let (running, leads) = match entered {
            Entered::Take(bytes) => {
                self.metrics.count(Duplicate::Replayed);
                return Entry::Answered(decode(&bytes));
            }
            Entered::Refuse => {
                self.metrics.count(Duplicate::Refused);
                return Entry::Refused;
            }
            Entered::Wait(running) => {
                self.metrics.count(Duplicate::Joined);
                (running, false)
            }
            Entered::Lead {
                running,
                conflicting,
            } => {
                if conflicting {
                    self.metrics.count(Duplicate::DecidedAnew);
                }
                (running, true)
            }
        };
        Entry::Turn(Turn {
            shared: Some((self, of, running)),
            leads,
        })
    }

    /// Lets go of what has been kept long enough, and sets the gauges. Called from time to time.
    pub(crate) fn expire(&self, now: Instant) {
        let (mut answers, mut bytes) = (0, 0);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.expire(now);
            answers += shard.answers();
            bytes += shard.bytes();
        }
        self.metrics.note(answers, bytes);
    }

    fn shard(&self, id: u128) -> Option<&Mutex<Shard>> {
        // A power of two of them, or none.
        let mask = self.shards.len().checked_sub(1)?;
        let bits = usize::try_from(id >> 96).unwrap_or(0);
        self.shards.get(bits & mask)
    }

    fn keep(&self, of: Identity, running: &Arc<Running>, bytes: Bytes, now: Instant) {
        if let Some(shard) = self.shard(of.id) {
            let evicted = lock(shard).keep(of.id, running, bytes, &self.bounds, now);
            self.metrics.count_evicted(evicted);
        }
    }

    fn forget(&self, of: Identity, running: &Arc<Running>) {
        if let Some(shard) = self.shard(of.id) {
            lock(shard).forget(of.id, running);
        }
    }
}

impl Turn<'_> {
    /// Whether this request decides, rather than wait for one that does.
    pub(crate) const fn leads(&self) -> bool {
        self.leads
    }

    /// Waits for the one that decides, until `until` at most.
    pub(crate) async fn wait(&mut self, until: Instant) -> Waited {
        let Some((_, _, running)) = &self.shared else {
            return Waited::Leads;
        };
        let running = Arc::clone(running);
        loop {
            // Before looking, so that no change after it is missed.
            let changed = running.changed.notified();
            match running.look() {
                Part::Take(bytes) => {
                    // Answered: there is no part to leave to others.
                    self.shared = None;
                    return Waited::Answered(decode(&bytes));
                }
                Part::Lead => {
                    self.leads = true;
                    return Waited::Leads;
                }
                Part::Wait => {}
            }
            if tokio::time::timeout_at(until.into(), changed)
                .await
                .is_err()
            {
                return Waited::OutOfTime;
            }
        }
    }

    /// Gives an answer, to all who wait and all who will ask again.
    pub(crate) fn answer(mut self, response: v1::ScoreResponse, now: Instant) -> Answer {
        let Some((kept, of, running)) = self.shared.take() else {
            return Answer::First(response);
        };
        let bytes: Bytes = response.encode_to_vec().into();
        match running.answer(&bytes) {
            Given::First { others } => {
                if others {
                    running.changed.notify_waiters();
                }
                kept.keep(of, &running, bytes, now);
                Answer::First(response)
            }
            Given::Before(first) => Answer::Before(decode(&first)),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some((kept, of, running)) = self.shared.take() else {
            return;
        };
        match running.leave(self.leads) {
            Left::Nothing => {}
            Left::Wake => running.changed.notify_waiters(),
            Left::Forget => kept.forget(of, &running),
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // No step of a shard panics half-way, so what a poisoned lock holds is whole.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::expect_used,
    reason = "the bytes were encoded from this very message"
)]
fn decode(bytes: &Bytes) -> v1::ScoreResponse {
    v1::ScoreResponse::decode(&**bytes).expect("an answer that was encoded here can be decoded")
}
