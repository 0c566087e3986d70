//! What the store is told and what it answers.

use tollgate_types::EventTime;

/// Where an event comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is being scored now. It counts at once, until its echo confirms it or `expires_at` (wall clock) passes.
    Scored { expires_at: EventTime },
    /// It was read from the log, with the result of its authorization.
    Log { authorized: bool },
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is now retained.
    New,
    /// The same, at a place before events that were there already: it happened before the watermark.
    Late,
    /// It was in flight and the log has confirmed it.
    Confirmed,
    /// It was in flight and the log says otherwise of it than the request did; the log counts.
    Corrected,
    /// It was retained already; nothing changed (FS-2).
    Duplicate,
    /// An event with this id is retained and says otherwise; the first counts.
    Conflicting,
    /// It is older than anything retained.
    TooOld,
}

/// What became of a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Labelled {
    /// Its transaction is retained and now carries it.
    Known,
    /// It was known already, or repeats what an earlier one said.
    Again,
    /// It says otherwise than the label known before it. What was known until then stays as it was.
    Changed,
    /// Its transaction has not arrived; the label waits for it.
    Pending,
    /// Too many labels wait already.
    Dropped,
}

/// What was noticed while aggregates were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "a decision that read less than it asked for says so"]
pub struct Reading {
    /// Some window reaches back to events that were let go because their entity had too many.
    pub cut_off: bool,
}

/// How much a store may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of memory; beyond, the entities that were active least recently are let go.
    pub bytes_max: usize,
    /// Events retained of one entity where the schema does not say; beyond, its oldest are let go.
    pub events_per_entity_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: usize::MAX,
            // A card with as many is a test card or a merchant in disguise, and takes three megabytes.
            events_per_entity_max: 100_000,
        }
    }
}

/// How much a store holds, and what it has let go since it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreSize {
    pub entities: usize,
    pub transactions: usize,
    pub pending_labels: usize,
    pub in_flight: usize,
    /// Bytes of memory, without what the allocator adds.
    pub bytes: usize,
    /// Events let go because their entity had too many.
    pub events_cut_off: usize,
    /// Entities let go because memory was short.
    pub entities_pushed_out: usize,
}
