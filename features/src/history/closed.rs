//! The closed blocks of a history, and when each begins.
//!
//! The beginnings are kept apart from the blocks and close together, so that the block that has a moment is found by
//! looking at one or two cache lines, however many blocks there are.

use std::collections::VecDeque;
use std::hint::black_box;

use tollgate_types::EventTime;

use crate::block::{Block, Shape};
use crate::totals::Totals;

#[derive(Debug, Default)]
pub(super) struct ClosedBlocks {
    /// Event time of the first row of each.
    firsts: VecDeque<EventTime>,
    /// Oldest first.
    blocks: VecDeque<Closed>,
}

#[derive(Debug)]
pub(super) struct Closed {
    pub(super) block: Block,
    /// Of the closed blocks before it.
    pub(super) before: Totals,
}

impl ClosedBlocks {
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Closed> {
        self.blocks.get(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Closed> {
        self.blocks.get_mut(at)
    }

    /// The oldest, and when it begins.
    pub(super) fn oldest(&self) -> Option<(EventTime, &Closed)> {
        self.firsts.front().copied().zip(self.blocks.front())
    }

    /// Those from `at` on.
    pub(super) fn from(&mut self, at: usize) -> impl Iterator<Item = &mut Closed> {
        self.blocks.range_mut(at.min(self.blocks.len())..)
    }

    /// How many begin at or before `time`.
    pub(super) fn begun(&self, time: EventTime) -> usize {
        self.firsts.partition_point(|first| *first <= time)
    }

    /// Takes note that the first row of a block is another one now.
    pub(super) fn begins(&mut self, shape: &Shape, at: usize) {
        if let Some((first, closed)) = self.firsts.get_mut(at).zip(self.blocks.get(at)) {
            *first = closed.block.time(shape, 0);
        }
    }

    /// Puts a block of at least one row in before the one at `at`.
    pub(super) fn insert(&mut self, shape: &Shape, at: usize, closed: Closed) {
        self.firsts.insert(at, closed.block.time(shape, 0));
        self.blocks.insert(at, closed);
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Closed> {
        self.firsts.remove(at);
        self.blocks.remove(at)
    }

    /// Brings into the cache what windows that begin at these moments will look at, for all of them at once.
    pub(super) fn touch(&self, shape: &Shape, times: impl Iterator<Item = EventTime> + Clone) {
        let at = times.map(|time| self.begun(time).saturating_sub(1));
        let heads = at.clone().filter_map(|at| self.blocks.get(at));
        black_box(heads.fold(0, |all, closed| all ^ closed.block.rows()));
        for at in at {
            // The totals up to the block, and those with it.
            for closed in self.blocks.range(at..self.blocks.len().min(at + 2)) {
                closed.before.touch();
            }
            if let Some(closed) = self.blocks.get(at) {
                closed.block.touch(shape);
            }
        }
    }
}

impl Closed {
    /// Bytes of memory, its place among the others included.
    pub(super) fn bytes(&self) -> usize {
        size_of::<EventTime>() + size_of::<Self>() + self.block.bytes() + self.before.bytes()
    }
}
