//! Taking rows out of a history: one by one, beyond retention, or because there are too many.

use tollgate_types::{EventTime, TransactionKey};

use super::{ClosedBlocks, History, Place};
use crate::block::{Block, ROWS_MAX, Shape};

impl History {
    /// Takes a row out.
    pub(crate) fn remove(&mut self, shape: &Shape, place: Place) {
        let key = self.block(place.block).key(place.row);
        self.forget_labels(key);
        self.change(shape, place.block, |block| {
            block.remove(shape, place.row..place.row + 1)
        });
        let emptied = self.older.as_mut().filter(|older| {
            older
                .closed
                .get(place.block)
                .is_some_and(|closed| closed.block.rows() == 0)
        });
        if let Some(older) = emptied
            && let Some(gone) = older.closed.remove(place.block)
        {
            older.bytes -= gone.bytes();
        } else if place.row == 0
            && let Some(older) = self.older.as_mut()
        {
            older.closed.begins(shape, place.block);
        }
    }

    /// Lets go of rows at or before `horizon`, telling their keys; whole blocks at once, and the rows at the beginning
    /// of a block once they are worth moving the others for.
    pub(crate) fn evict(
        &mut self,
        shape: &Shape,
        horizon: EventTime,
        mut gone: impl FnMut(TransactionKey),
    ) {
        let is_gone = |closed: &ClosedBlocks| {
            closed.oldest().is_some_and(|(first, oldest)| {
                first <= horizon && oldest.block.up_to(shape, horizon) == oldest.block.rows()
            })
        };
        while self.closed().is_some_and(is_gone) {
            self.drop_oldest(&mut gone);
        }
        if self.blocks() > 1 {
            return;
        }
        if self.open.rows() == 0 || self.open.time(shape, 0) > horizon {
            return;
        }
        let old = self.open.up_to(shape, horizon);
        if old > 0 && (old * 4 >= self.open.rows() || old >= ROWS_MAX / 4) {
            self.tell(0, old, &mut gone);
            self.open.remove(shape, 0..old);
            if self.open.rows() == 0 {
                self.open = Block::default();
            }
        }
    }

    /// Lets go of the oldest rows, a block at a time, until at most `rows_max` are left or one block is, and remembers
    /// up to when they reached.
    pub(crate) fn cut_off(
        &mut self,
        shape: &Shape,
        rows_max: usize,
        mut gone: impl FnMut(TransactionKey),
    ) -> usize {
        let mut cut = 0;
        while self.rows() > rows_max && self.blocks() > 1 {
            let oldest = self.block(0);
            let newest_gone = oldest.time(shape, oldest.rows() - 1);
            cut += oldest.rows();
            self.drop_oldest(&mut gone);
            if let Some(older) = self.older.as_mut() {
                older.cut_off = older.cut_off.max(newest_gone);
            }
        }
        cut
    }

    /// Up to when rows were let go because there were too many.
    pub(crate) fn is_cut_off_at(&self, from: EventTime) -> bool {
        self.older
            .as_ref()
            .is_some_and(|older| from < older.cut_off)
    }

    /// Every key, oldest first.
    pub(crate) fn for_each_key(&self, mut with: impl FnMut(TransactionKey)) {
        for block in 0..self.blocks() {
            self.tell(block, self.block(block).rows(), &mut with);
        }
    }

    fn tell(&self, block: usize, rows: usize, with: &mut impl FnMut(TransactionKey)) {
        (0..rows).for_each(|row| with(self.block(block).key(row)));
    }

    fn drop_oldest(&mut self, gone: &mut impl FnMut(TransactionKey)) {
        self.tell(0, self.block(0).rows(), gone);
        let Some(older) = self.older.as_mut() else {
            return;
        };
        let Some(oldest) = older.closed.remove(0) else {
            return;
        };
        older.bytes -= oldest.bytes();
        if !older.labels.is_empty() {
            for row in 0..oldest.block.rows() {
                older.labels.forget(oldest.block.key(row));
            }
        }
    }
}
