//! Timing single applies, and two threads beside one.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{bail, ensure};
use tollgate_features::{Applied, Origin};
use tollgate_types::{Record, Transaction};

use super::population::{END_MS, Event, Writer};
use super::reads::Cards;
use super::resident::Resident;
use crate::timing::{Times, float, nanos, now, number, timed};

/// Events made ready before they are applied: long enough that starting together costs nothing, short enough to stay
/// in the second-level cache.
const BATCH: usize = 256;

/// Turns of a waiting loop before the other thread is given the core, for where there is but one.
const SPINS_MAX: u32 = 20_000;

/// New events of random cards, in order of time, each a little after the one before.
#[derive(Debug)]
pub(crate) struct Arrivals {
    cards: Cards,
    writer: Writer,
    number: u32,
    at_ms: i64,
    /// Takes every card of which the number leaves `share.0` when divided by `share.1`.
    share: (u32, u32),
}

impl Arrivals {
    /// Numbers begin at `number`, beyond every history and every arrival before.
    pub(crate) fn new(
        resident: &Resident,
        number: u32,
        seed: u64,
        share: (u32, u32),
    ) -> anyhow::Result<Self> {
        Ok(Self {
            cards: Cards::new(resident.cards() / share.1, seed),
            writer: Writer::new(resident.columns)?,
            number,
            at_ms: END_MS + i64::from(number),
            share,
        })
    }

    fn batch(&mut self) -> anyhow::Result<Vec<(Transaction, bool)>> {
        let mut batch = Vec::with_capacity(BATCH);
        for card in self.cards.by_ref().take(BATCH) {
            let card = card * self.share.1 + self.share.0;
            self.number += 1;
            self.at_ms += 1;
            let event = Event::new(card, self.number, self.at_ms);
            let transaction = self.writer.write(card, &event)?.clone();
            batch.push((transaction, !event.declined));
        }
        Ok(batch)
    }
}

fn apply(resident: &Resident, record: &Record<'_>, authorized: bool) -> bool {
    resident.store.apply(record, Origin::Log { authorized }) == Applied::New
}

/// Applies batches of new events and times each event by itself.
pub(crate) fn round(
    resident: &Resident,
    arrivals: &mut Arrivals,
    batches: usize,
) -> anyhow::Result<Times> {
    let mut times = Vec::with_capacity(batches * BATCH);
    let mut new = 0;
    for _ in 0..batches {
        let batch = arrivals.batch()?;
        for (record, authorized) in &laid_out(resident, &batch)? {
            times.push(timed(|| {
                new += usize::from(apply(resident, record, *authorized))
            }));
        }
    }
    ensure!(
        new == times.len(),
        "{new} of {} events were new",
        times.len()
    );
    Ok(Times::of(times))
}

/// Events per second that as many threads as there are `arrivals` apply together. Each batch is made ready outside
/// the timed part; then all threads start at one moment, and the batch lasts until the last is done.
pub(crate) fn throughput(
    resident: &Resident,
    arrivals: &mut [Arrivals],
    batches: usize,
) -> anyhow::Result<f64> {
    let threads = arrivals.len();
    let gate = Gate::default();
    let spans = std::thread::scope(|scope| {
        let gate = &gate;
        let spawned: Vec<_> = arrivals
            .iter_mut()
            .map(|arrivals| scope.spawn(move || lane(resident, arrivals, batches, gate, threads)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<Vec<_>>>| {
            thread
                .join()
                .unwrap_or_else(|_| bail!("an apply thread panicked"))
        };
        spawned
            .into_iter()
            .map(join)
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut total = 0;
    for batch in 0..batches {
        let starts = spans.iter().filter_map(|lane| lane.get(batch));
        let begin = starts.clone().map(|(start, _)| *start).min();
        let end = starts.map(|(_, end)| *end).max();
        if let (Some(begin), Some(end)) = (begin, end) {
            total += nanos(end.duration_since(begin));
        }
    }
    Ok(number(threads * batches * BATCH) * 1e9 / float(total))
}

/// One thread's batches: when each began and ended.
fn lane(
    resident: &Resident,
    arrivals: &mut Arrivals,
    batches: usize,
    gate: &Gate,
    threads: usize,
) -> anyhow::Result<Vec<(Instant, Instant)>> {
    let mut spans = Vec::with_capacity(batches);
    let mut new = 0;
    for turn in 1..=batches {
        // Even a thread that failed passes the gate, or the other would wait for ever.
        let batch = arrivals.batch();
        let records = batch.as_ref().map(|batch| laid_out(resident, batch));
        gate.pass(turn * threads);
        let records = match records {
            Ok(records) => records.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let start = now();
        for (record, authorized) in &records {
            new += usize::from(apply(resident, record, *authorized));
        }
        spans.push((start, now()));
    }
    ensure!(
        new == batches * BATCH,
        "{new} of {} events were new",
        batches * BATCH
    );
    Ok(spans)
}

fn laid_out<'t>(
    resident: &Resident,
    batch: &'t [(Transaction, bool)],
) -> anyhow::Result<Vec<(Record<'t>, bool)>> {
    batch
        .iter()
        .map(|(transaction, authorized)| Ok((resident.record(transaction)?, *authorized)))
        .collect()
}

/// Lets threads start together, closer than a sleeping barrier could.
#[derive(Debug, Default)]
struct Gate {
    arrived: AtomicUsize,
}

impl Gate {
    /// Waits until `arrivals` threads have come since the beginning.
    fn pass(&self, arrivals: usize) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0;
        while self.arrived.load(Ordering::Acquire) < arrivals {
            spins += 1;
            if spins > SPINS_MAX {
                std::thread::yield_now();
            } else {
                spin_loop();
            }
        }
    }
}
