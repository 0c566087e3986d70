//! The retained events of one entity, in order of event time.
//!
//! Nearly every entity has one open block, and its newest event goes to the end of it. When that is full it is
//! closed and joins the older ones, each with the totals of all before it, so that counts and sums over a long
//! window cost two differences and the rows at its edges ([`Totals`]). A late event finds its place, in a closed
//! block too.

use std::collections::VecDeque;

use tollgate_types::{EventTime, TransactionKey};

use crate::block::{Block, Flags, ROWS_MAX, Row, Shape};
use crate::label::{EarlierLabels, Verdict};
use crate::totals::Totals;

#[derive(Debug, Default)]
pub(crate) struct History {
    open: Block,
    older: Option<Box<Older>>,
}

/// What most entities do not have.
#[derive(Debug)]
struct Older {
    /// Oldest first.
    closed: VecDeque<Closed>,
    /// Of all closed blocks together.
    totals: Totals,
    labels: EarlierLabels,
    /// Event time of the newest row that was let go because there were too many; [`EventTime::MIN`] if none was.
    cut_off: EventTime,
    bytes: usize,
}

#[derive(Debug)]
struct Closed {
    first: EventTime,
    block: Block,
    /// Of the closed blocks before it.
    before: Totals,
}

/// A row, or the gap before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) block: usize,
    pub(crate) row: usize,
}

/// In which order rows lie that tie in event time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ties {
    /// As they arrived: for entities whose events all come through one partition of the log.
    ByArrival,
    /// By transaction key: for entities whose events come through several, whose interleaving may differ when the
    /// log is read again.
    ByKey,
}

impl Default for Older {
    fn default() -> Self {
        Self {
            closed: VecDeque::new(),
            totals: Totals::default(),
            labels: EarlierLabels::default(),
            cut_off: EventTime::MIN,
            bytes: size_of::<Self>(),
        }
    }
}

impl History {
    /// Bytes of memory beyond this value itself.
    pub(crate) fn bytes(&self) -> usize {
        self.open.bytes()
            + self
                .older
                .as_ref()
                .map_or(0, |older| older.bytes + older.labels.bytes())
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.before(self.end()) - self.before(Place { block: 0, row: 0 })
    }

    /// How many blocks there are, the open one included.
    pub(crate) fn blocks(&self) -> usize {
        self.closed().map_or(0, VecDeque::len) + 1
    }

    pub(crate) fn block(&self, at: usize) -> &Block {
        self.closed()
            .and_then(|closed| closed.get(at))
            .map_or(&self.open, |closed| &closed.block)
    }

    /// What all blocks before this one have in total.
    pub(crate) fn totals_before(&self, block: usize) -> Option<&Totals> {
        let older = self.older.as_ref()?;
        Some(
            older
                .closed
                .get(block)
                .map_or(&older.totals, |closed| &closed.before),
        )
    }

    pub(crate) fn end(&self) -> Place {
        Place {
            block: self.blocks() - 1,
            row: self.open.rows(),
        }
    }

    /// How many rows are before `place`, those included that were let go since the first block was closed: only
    /// differences mean anything.
    pub(crate) fn before(&self, place: Place) -> usize {
        self.totals_before(place.block)
            .map_or(0, |totals| totals.rows)
            + place.row
    }

    /// The gap after all rows at or before `time`.
    pub(crate) fn up_to(&self, shape: &Shape, time: EventTime) -> Place {
        let open = self.blocks() - 1;
        // Most events are the newest of their entity.
        if let Some(newest) = self.open.rows().checked_sub(1)
            && self.open.time(shape, newest) <= time
        {
            return self.end();
        }
        let in_open = self.open.up_to(shape, time);
        if in_open > 0 || open == 0 {
            return Place {
                block: open,
                row: in_open,
            };
        }
        let begun = self.closed().map_or(0, |closed| {
            closed.partition_point(|closed| closed.first <= time)
        });
        let block = begun.saturating_sub(1);
        Place {
            block,
            row: self.block(block).up_to(shape, time),
        }
    }

    /// The gap before the event itself if it is here, otherwise where it would go.
    pub(crate) fn own_place(
        &self,
        shape: &Shape,
        time: EventTime,
        key: TransactionKey,
        ties: Ties,
    ) -> Place {
        match self.seek(shape, time, key, ties) {
            Ok(place) | Err(place) => place,
        }
    }

    /// Where an event is, by its time and key.
    pub(crate) fn find(
        &self,
        shape: &Shape,
        time: EventTime,
        key: TransactionKey,
    ) -> Option<Place> {
        self.seek(shape, time, key, Ties::ByArrival).ok()
    }

    /// Where an event is, by its key alone: looks at every key, newest block first.
    pub(crate) fn find_key(&self, shape: &Shape, key: TransactionKey) -> Option<Place> {
        (0..self.blocks()).rev().find_map(|block| {
            let row = self.block(block).row_of(shape, key)?;
            Some(Place { block, row })
        })
    }

    /// The event's place, or as an error the gap where it would go.
    fn seek(
        &self,
        shape: &Shape,
        time: EventTime,
        key: TransactionKey,
        ties: Ties,
    ) -> Result<Place, Place> {
        let mut gap = self.up_to(shape, time);
        let mut place = gap;
        while let Some(before) = self.previous(place)
            && self.block(before.block).time(shape, before.row) == time
        {
            let other = self.block(before.block).key(shape, before.row);
            if other == key {
                return Ok(before);
            }
            place = before;
            if ties == Ties::ByKey && other > key {
                gap = before;
            }
        }
        Err(gap)
    }

    /// How many rows there are at exactly this time.
    pub(crate) fn ties_at(&self, shape: &Shape, time: EventTime) -> usize {
        let before = self.up_to(shape, time.minus(tollgate_types::Span::from_micros(1)));
        self.before(self.up_to(shape, time)) - self.before(before)
    }

    /// All labels of a row, in the order in which they became known.
    pub(crate) fn labels_of(&self, shape: &Shape, place: Place) -> Vec<Verdict> {
        let key = self.block(place.block).key(shape, place.row);
        let earlier = self.older.iter().flat_map(|older| older.labels.of(key));
        let mut labels: Vec<Verdict> = earlier.chain(self.last_label(shape, place)).collect();
        labels.sort_unstable();
        labels
    }

    fn previous(&self, place: Place) -> Option<Place> {
        if let Some(row) = place.row.checked_sub(1) {
            return Some(Place { row, ..place });
        }
        let block = place.block.checked_sub(1)?;
        let row = self.block(block).rows().checked_sub(1)?;
        Some(Place { block, row })
    }

    pub(crate) fn row(&self, shape: &Shape, place: Place) -> Row {
        self.block(place.block).row(shape, place.row)
    }

    /// Inserts a row at its place; false if it is here already.
    pub(crate) fn insert(&mut self, shape: &Shape, row: &Row, ties: Ties) -> bool {
        let Err(gap) = self.seek(shape, row.time(), row.key, ties) else {
            return false;
        };
        let place = self.make_room(shape, gap, row.time());
        self.change(shape, place.block, |block| {
            block.insert(shape, place.row, row)
        });
        if place.row == 0
            && let Some(closed) = self
                .closed_mut()
                .and_then(|closed| closed.get_mut(place.block))
        {
            closed.first = row.time();
        }
        true
    }

    /// The same gap, in a block that is not full.
    fn make_room(&mut self, shape: &Shape, gap: Place, time: EventTime) -> Place {
        let open = self.blocks() - 1;
        if gap == self.end() && (self.open.is_full() || self.open.ends_before(shape, time)) {
            self.close(shape);
            return Place {
                block: open + 1,
                row: 0,
            };
        }
        if !self.block(gap.block).is_full() {
            return gap;
        }
        let half = ROWS_MAX / 2;
        if gap.block == open {
            let newer = self.open.split_off(shape, half);
            self.close(shape);
            self.open = newer;
        } else {
            self.split(shape, gap.block, half);
        }
        if gap.row > half {
            Place {
                block: gap.block + 1,
                row: gap.row - half,
            }
        } else {
            gap
        }
    }

    /// Makes the open block one of the closed, and opens an empty one.
    fn close(&mut self, shape: &Shape) {
        let older = self.older.get_or_insert_default();
        let block = std::mem::take(&mut self.open);
        let before = older.totals.clone();
        older.totals = before.plus(&Totals::of(shape, &block));
        older.bytes += Closed::bytes_of(&block, &before);
        let first = block.time(shape, 0);
        older.closed.push_back(Closed {
            first,
            block,
            before,
        });
    }

    fn split(&mut self, shape: &Shape, at: usize, half: usize) {
        let Some(older) = self.older.as_mut() else {
            return;
        };
        let Some(closed) = older.closed.get_mut(at) else {
            return;
        };
        older.bytes -= closed.block.bytes();
        let newer = closed.block.split_off(shape, half);
        older.bytes += closed.block.bytes();
        let before = closed.before.plus(&Totals::of(shape, &closed.block));
        older.bytes += Closed::bytes_of(&newer, &before);
        let first = newer.time(shape, 0);
        older.closed.insert(
            at + 1,
            Closed {
                first,
                block: newer,
                before,
            },
        );
    }

    /// Changes rows of a block and keeps the totals right.
    fn change(&mut self, shape: &Shape, at: usize, change: impl FnOnce(&mut Block)) {
        let Some(older) = self.older.as_mut().filter(|older| at < older.closed.len()) else {
            change(&mut self.open);
            return;
        };
        let block = &mut older.closed[at].block;
        let (bytes, totals) = (block.bytes(), Totals::of(shape, block));
        change(block);
        older.bytes = older.bytes + block.bytes() - bytes;
        let now = Totals::of(shape, block);
        for later in older.closed.range_mut(at + 1..) {
            later.before = later.before.minus(&totals).plus(&now);
        }
        older.totals = older.totals.minus(&totals).plus(&now);
    }

    pub(crate) fn set_flags(&mut self, shape: &Shape, place: Place, flags: Flags) {
        self.change(shape, place.block, |block| {
            block.set_flags(shape, place.row, flags)
        });
    }

    /// Attaches a label to a row.
    pub(crate) fn label(
        &mut self,
        shape: &Shape,
        place: Place,
        fraud: bool,
        known_at: EventTime,
    ) -> Relabelled {
        let block = self.block(place.block);
        let key = block.key(shape, place.row);
        let flags = block.flags_of(shape, place.row);
        let Some(last) = self.last_label(shape, place) else {
            self.set_label(shape, place, flags, (known_at, fraud));
            return Relabelled::First;
        };
        let older = self.older.get_or_insert_default();
        let Some((newest, changed)) = older.labels.add(key, last, (known_at, fraud)) else {
            return Relabelled::Again;
        };
        let earlier = older.labels.has(key);
        self.set_label(shape, place, flags.with(Flags::RELABELLED, earlier), newest);
        if changed {
            Relabelled::Changed
        } else {
            Relabelled::Again
        }
    }

    fn last_label(&self, shape: &Shape, place: Place) -> Option<Verdict> {
        let block = self.block(place.block);
        let known_at = block.view(shape, Shape::KNOWN_AT).get(place.row)?;
        let fraud = block.flags_of(shape, place.row).has(Flags::FRAUD);
        Some((EventTime::from_micros(known_at.cast_signed()), fraud))
    }

    fn set_label(
        &mut self,
        shape: &Shape,
        place: Place,
        flags: Flags,
        (known_at, fraud): (EventTime, bool),
    ) {
        self.change(shape, place.block, |block| {
            block.set(
                shape,
                place.row,
                Shape::KNOWN_AT,
                Some(known_at.micros().cast_unsigned()),
            );
            block.set_flags(shape, place.row, flags.with(Flags::FRAUD, fraud));
        });
    }

    /// Labels of rows that were labelled more than once, but for the last of each.
    pub(crate) fn earlier_labels(&self) -> Option<&EarlierLabels> {
        self.older.as_ref().map(|older| &older.labels)
    }

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

    fn forget_labels(&mut self, key: TransactionKey) {
        if let Some(older) = self.older.as_mut() {
            older.labels.forget(key);
        }
    }

    fn closed(&self) -> Option<&VecDeque<Closed>> {
        self.older.as_ref().map(|older| &older.closed)
    }

    fn closed_mut(&mut self) -> Option<&mut VecDeque<Closed>> {
        self.older.as_mut().map(|older| &mut older.closed)
    }
}

impl Closed {
    fn bytes_of(block: &Block, before: &Totals) -> usize {
        size_of::<Self>() + block.bytes() + before.bytes()
    }
}

/// What a label did to a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relabelled {
    First,
    /// It was known already, or says what another said.
    Again,
    /// It says otherwise than the labels before it.
    Changed,
}
