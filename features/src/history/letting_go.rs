//! Taking rows out of a history: one by one, beyond retention, or because there are too many.

use tollgate_types::{EventTime, TransactionKey};

use super::{Closed, History, Place};
use crate::block::{Block, ROWS_MAX, Shape};

impl History {
    /// Takes a row out.
    pub(crate) fn remove(&mut self, shape: &Shape, place: Place) {
        let key = self.block(place.block).key(shape, place.row);
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
            older.bytes -= Closed::bytes_of(&gone.block, &gone.before);
        } else if place.row == 0
            && let Some(closed) = self
                .closed_mut()
                .and_then(|closed| closed.get_mut(place.block))
        {
            closed.first = closed.block.time(shape, 0);
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
        while self.closed().is_some_and(|closed| {
            closed.front().is_some_and(|oldest| {
                oldest.first <= horizon && oldest.block.up_to(shape, horizon) == oldest.block.rows()
            })
        }) {
            self.drop_oldest(shape, &mut gone);
        }
        if self.blocks() > 1 {
            return;
        }
        if self.open.rows() == 0 || self.open.time(shape, 0) > horizon {
            return;
        }
        let old = self.open.up_to(shape, horizon);
        if old > 0 && (old * 4 >= self.open.rows() || old >= ROWS_MAX / 4) {
            self.tell(shape, 0, old, &mut gone);
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
            self.drop_oldest(shape, &mut gone);
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
    pub(crate) fn for_each_key(&self, shape: &Shape, mut with: impl FnMut(TransactionKey)) {
        for block in 0..self.blocks() {
            self.tell(shape, block, self.block(block).rows(), &mut with);
        }
    }

    fn tell(
        &self,
        shape: &Shape,
        block: usize,
        rows: usize,
        with: &mut impl FnMut(TransactionKey),
    ) {
        (0..rows).for_each(|row| with(self.block(block).key(shape, row)));
    }

    fn drop_oldest(&mut self, shape: &Shape, gone: &mut impl FnMut(TransactionKey)) {
        self.tell(shape, 0, self.block(0).rows(), gone);
        let Some(older) = self.older.as_mut() else {
            return;
        };
        let Some(oldest) = older.closed.pop_front() else {
            return;
        };
        older.bytes -= Closed::bytes_of(&oldest.block, &oldest.before);
        if !older.labels.is_empty() {
            for row in 0..oldest.block.rows() {
                older.labels.forget(oldest.block.key(shape, row));
            }
        }
    }
}
