//! Timing applies, alone and among a few, and two threads beside one.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{bail, ensure};
use tollgate_features::{Applied, Origin, Store};
use tollgate_types::{Record, Transaction};

use super::population::{END_MS, Event, Writer};
use super::reads::Cards;
use super::resident::Resident;
use crate::timing::{Times, float, median, nanos, now, number, timed};

/// Events made ready before they are applied: long enough that starting together costs nothing, short enough to stay
/// in the second-level cache; a multiple of what is looked ahead for at once.
const BATCH: usize = 8 * Store::LOOK_AHEAD;

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

/// What one event takes, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    /// A share of what a few events took that were looked ahead for and applied, as records of a log are.
    pub(crate) among_few: Times,
    /// Alone, with nothing looked ahead.
    pub(crate) alone: Times,
}

/// Applies batches of new events, by turns in the two ways of [`Single`].
pub(crate) fn round(
    resident: &Resident,
    arrivals: &mut Arrivals,
    batches: usize,
) -> anyhow::Result<Single> {
    let (mut among_few, mut alone) = (Vec::new(), Vec::new());
    let mut new = 0;
    for turn in 0..batches {
        let batch = arrivals.batch()?;
        let records = laid_out(resident, &batch)?;
        if turn % 2 == 0 {
            for few in records.chunks_exact(Store::LOOK_AHEAD) {
                let took = timed(|| new += apply_all(resident, few));
                among_few.push(took / u64::try_from(few.len())?);
            }
        } else {
            for (record, authorized) in &records {
                alone.push(timed(|| {
                    new += usize::from(apply(resident, record, *authorized))
                }));
            }
        }
    }
    ensure!(
        new == batches * BATCH,
        "{new} of {} events were new",
        batches * BATCH
    );
    Ok(Single {
        among_few: Times::of(among_few),
        alone: Times::of(alone),
    })
}

/// Applies events a few at a time, looking ahead; how many were new.
fn apply_all(resident: &Resident, records: &[(Record<'_>, bool)]) -> usize {
    let mut new = 0;
    for few in records.chunks(Store::LOOK_AHEAD) {
        resident
            .store
            .look_ahead(few.iter().map(|(record, _)| record));
        for (record, authorized) in few {
            new += usize::from(apply(resident, record, *authorized));
        }
    }
    new
}

/// Events per second, and how many times more two threads apply than one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) alone: f64,
    pub(crate) together: f64,
    pub(crate) speedup: f64,
}

/// What one thread applies and what two apply together, batch by batch in turns, so that both meet the same store and
/// the same moment. Batches are made ready outside the timed parts; two threads start at one moment and take until
/// the later is done. Figures are medians over batches: a batch from which another program took a core is no figure
/// of ours.
pub(crate) fn throughput(
    resident: &Resident,
    arrivals: &mut [Arrivals; 2],
    batches: usize,
) -> anyhow::Result<Throughput> {
    let gate = Gate::default();
    let [first, second] = arrivals;
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| lane(resident, second, batches, &gate, false));
        let first = lane(resident, first, batches, &gate, true);
        let second = other
            .join()
            .unwrap_or_else(|_| bail!("an apply thread panicked"));
        anyhow::Ok((first?, second?))
    })?;
    let alone = first.alone.iter();
    let alone: Vec<f64> = alone
        .map(|(start, end)| float(nanos(*end - *start)))
        .collect();
    let both = first.together.iter().zip(&second.together);
    let together: Vec<f64> = both
        .map(|(one, other)| float(nanos(one.1.max(other.1) - one.0.min(other.0))))
        .collect();
    let pairs = alone.iter().zip(&together);
    let speedup = median(pairs.map(|(alone, together)| 2.0 * alone / together));
    let events = number(BATCH) * 1e9;
    Ok(Throughput {
        alone: events / median(alone),
        together: 2.0 * events / median(together),
        speedup,
    })
}

/// When each batch of a thread began and ended.
#[derive(Default)]
struct Lane {
    alone: Vec<(Instant, Instant)>,
    together: Vec<(Instant, Instant)>,
}

/// One thread's turns: a batch alone, if it is the one that works alone, then a batch together.
fn lane(
    resident: &Resident,
    arrivals: &mut Arrivals,
    batches: usize,
    gate: &Gate,
    works_alone: bool,
) -> anyhow::Result<Lane> {
    let mut lane = Lane::default();
    let mut new = 0;
    let mut turns = 0;
    let mut pass = || {
        turns += 2;
        gate.pass(turns);
    };
    for turn in 0..2 * batches {
        let (works, spans) = match turn % 2 {
            0 => (works_alone, &mut lane.alone),
            _ => (true, &mut lane.together),
        };
        let batch = if works {
            arrivals.batch()
        } else {
            Ok(Vec::new())
        };
        // Even a thread that failed goes through every gate, or the other would wait for ever.
        let records = batch.iter().flat_map(|batch| laid_out(resident, batch));
        let records: Vec<_> = records.flatten().collect();
        pass();
        let start = now();
        new += apply_all(resident, &records);
        spans.push((start, now()));
    }
    let expected = batches * BATCH * if works_alone { 2 } else { 1 };
    ensure!(new == expected, "{new} of {expected} events were new");
    Ok(lane)
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
