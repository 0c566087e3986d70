//! Timing single reads of random cards.

use std::hint::black_box;

use tollgate_expr::Frame;
use tollgate_types::{Record, Transaction};

use super::population::{Writer, mix};
use super::question::Question;
use super::resident::Resident;
use crate::timing::{Times, timed};

/// Records and frames made ready before their reads are timed: few enough to stay in the second-level cache, as a
/// transaction's own do while it is decided, and making them touches nothing of the store.
const BATCH: usize = 64;

/// Draws the cards of a round; a round of its own seed meets cards that no round before has warmed.
#[derive(Debug)]
pub(crate) struct Cards {
    cards: u32,
    state: u64,
}

impl Cards {
    pub(crate) fn new(cards: u32, seed: u64) -> Self {
        Self {
            cards,
            state: mix(seed),
        }
    }
}

impl Iterator for Cards {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.state = self.state.wrapping_add(1);
        u32::try_from(mix(self.state) % u64::from(self.cards.max(1))).ok()
    }
}

/// Reads `reads` random cards and times each by itself.
pub(crate) fn round(
    resident: &Resident,
    question: &Question,
    reads: usize,
    seed: u64,
) -> anyhow::Result<Times> {
    let mut writer = Writer::new(resident.columns)?;
    let mut cards = Cards::new(resident.cards(), seed);
    let mut nanos = Vec::with_capacity(reads);
    while nanos.len() < reads {
        let batch = BATCH.min(reads - nanos.len());
        let mut transactions: Vec<Transaction> = Vec::with_capacity(batch);
        for card in cards.by_ref().take(batch) {
            transactions.push(writer.write(card, &resident.latest(card))?.clone());
        }
        let records: Vec<Record<'_>> = transactions
            .iter()
            .map(|transaction| resident.record(transaction))
            .collect::<anyhow::Result<_>>()?;
        let mut frames: Vec<Frame<'_>> = records
            .iter()
            .map(|record| Frame::new(&question.layout, record))
            .collect();
        for (record, frame) in records.iter().zip(&mut frames) {
            nanos.push(timed(|| {
                let _ = resident
                    .store
                    .read(&question.plan, black_box(record), frame);
            }));
        }
        black_box(&frames);
    }
    Ok(Times::of(nanos))
}
