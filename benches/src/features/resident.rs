//! A store filled with a population, in the order in which a service would have met the events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tollgate_features::{Applied, Origin, Store};
use tollgate_types::{Currency, Rates, Record, Schema};

use super::population::{BEGIN_MS, Columns, Event, Writer, next_time};
use crate::memory;
use crate::timing::now;

/// Events of a card that are applied in a row before the next card's turn. In service they arrive one by one; a few in a
/// row fill faster, and still every history grows in steps with all others growing between, which is what decides how
/// memory is laid out.
const PER_VISIT: u32 = 5;

/// Events of every card between two times that all histories are moved together, as a service does every five minutes.
const PER_REPACKING: u32 = 20;

/// Fills run on as many threads as the smallest machine has cores.
const THREADS: usize = 2;

/// Cards between two looks at the memory that is left.
const CARDS_PER_LOOK: usize = 20_000;

/// How long the allocator keeps memory that is free, and a little.
const ALLOCATOR_DELAY: Duration = Duration::from_millis(1_500);

const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// A store and what it was filled with.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) store: Store,
    pub(crate) schema: Arc<Schema>,
    pub(crate) rates: Rates,
    pub(crate) columns: Columns,
    /// Events each card will have.
    pub(crate) total: u32,
    /// Events each card has so far.
    pub(crate) filled: u32,
    /// When the latest event of each card happened.
    pub(crate) last_ms: Vec<i64>,
}

impl Resident {
    /// An empty store for `cards` cards that will have `total` events each.
    pub(crate) fn new(columns: Columns, cards: u32, total: u32) -> anyhow::Result<Self> {
        let schema = Arc::new(columns.schema()?);
        let euro = Currency::parse("EUR").context("EUR")?;
        Ok(Self {
            store: Store::new(Arc::clone(&schema)),
            schema,
            rates: Rates::new(euro, BTreeMap::new())?,
            columns,
            total,
            filled: 0,
            last_ms: vec![BEGIN_MS; usize::try_from(cards)?],
        })
    }

    /// An empty store, filled.
    pub(crate) fn filled(columns: Columns, cards: u32, total: u32) -> anyhow::Result<Self> {
        let mut resident = Self::new(columns, cards, total)?;
        resident.fill(total)?;
        Ok(resident)
    }

    pub(crate) fn cards(&self) -> u32 {
        u32::try_from(self.last_ms.len()).unwrap_or(u32::MAX)
    }

    /// Applies every card's events up to the one numbered `until`.
    pub(crate) fn fill(&mut self, until: u32) -> anyhow::Result<()> {
        let share = self.last_ms.len().div_ceil(THREADS);
        let mut last_ms = std::mem::take(&mut self.last_ms);
        let this = &*self;
        let outcome = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            let mut first = 0;
            for part in last_ms.chunks_mut(share.max(1)) {
                let from = first;
                first += u32::try_from(part.len()).unwrap_or_default();
                threads.push(scope.spawn(move || this.fill_part(from, part, until)));
            }
            let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<()>>| {
                thread
                    .join()
                    .unwrap_or_else(|_| bail!("a fill thread panicked"))
            };
            threads.into_iter().try_for_each(join)
        });
        self.last_ms = last_ms;
        self.filled = until;
        outcome
    }

    /// Does what a service's housekeeping does over some minutes: moves every history together, and waits until the
    /// allocator has given back what that freed.
    pub(crate) fn settle(&self) {
        for _ in 0..2 {
            self.store.repack(self.store.size().entities);
            std::thread::sleep(ALLOCATOR_DELAY);
        }
        // The allocator gives back when it is asked for something.
        self.store.repack(1);
    }

    fn fill_part(&self, first: u32, last_ms: &mut [i64], until: u32) -> anyhow::Result<()> {
        let mut writer = Writer::new(self.columns)?;
        let mut progress = Progress::new(first == 0);
        let mut from = self.filled;
        while from < until {
            let to = (from + PER_VISIT).min(until);
            for (at, previous) in last_ms.iter_mut().enumerate() {
                let card = first + u32::try_from(at)?;
                for number in from..to {
                    *previous = next_time(card, number, self.total, *previous);
                    self.apply(&mut writer, card, &Event::new(card, number, *previous))?;
                }
                if at % CARDS_PER_LOOK == 0 {
                    progress.look(from, self)?;
                }
            }
            from = to;
            if first == 0 && from.is_multiple_of(PER_REPACKING) {
                self.store.repack(self.store.size().entities);
            }
        }
        Ok(())
    }

    fn apply(&self, writer: &mut Writer, card: u32, event: &Event) -> anyhow::Result<()> {
        let transaction = writer.write(card, event)?;
        let record = self.record(transaction)?;
        let authorized = !event.declined;
        match self.store.apply(&record, Origin::Log { authorized }) {
            Applied::New => Ok(()),
            other => bail!("card {card}, event {}: {other:?}, not new", event.number),
        }
    }

    pub(crate) fn record<'t>(
        &self,
        transaction: &'t tollgate_types::Transaction,
    ) -> anyhow::Result<Record<'t>> {
        Record::new(transaction, &self.schema, &self.rates)
            .map_err(|(field, error)| anyhow::anyhow!("{field} {error}"))
    }
}

/// Says how far a fill is, and ends it while there is memory left.
struct Progress {
    speaks: bool,
    said: Instant,
}

impl Progress {
    fn new(speaks: bool) -> Self {
        Self {
            speaks,
            said: now(),
        }
    }

    fn look(&mut self, number: u32, resident: &Resident) -> anyhow::Result<()> {
        if !memory::fits(0)? {
            bail!("memory ran out at {number} events per card");
        }
        if self.speaks && self.said.elapsed() >= PROGRESS_EVERY {
            self.said = now();
            eprintln!(
                "  filling: {number} of {} events per card, {} MB resident",
                resident.total,
                memory::resident_bytes()? >> 20
            );
        }
        Ok(())
    }
}
