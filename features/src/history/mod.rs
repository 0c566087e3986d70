//! The retained events of one entity, in order of event time.
//!
//! Nearly every entity has one open block, and its newest event goes to the end of it. When that is full it is
//! closed and joins the older ones, each with the totals of all before it, so that counts and sums over a long
//! window cost two differences and the rows at its edges ([`Totals`]). A late event finds its place, in a closed
//! block too.

mod closed;
mod image;
mod labelling;
mod letting_go;

use tollgate_types::{EventTime, TransactionKey};

use crate::block::{Block, Flags, ROWS_MAX, Row, Shape};
use crate::label::EarlierLabels;
use crate::totals::Totals;
use closed::{Closed, ClosedBlocks};
pub(crate) use labelling::Relabelled;

#[derive(Debug, Default)]
pub(crate) struct History {
    open: Block,
    older: Option<Box<Older>>,
}

/// What most entities do not have.
#[derive(Debug)]
struct Older {
    closed: ClosedBlocks,
    /// Of all closed blocks together.
    totals: Totals,
    labels: EarlierLabels,
    /// Event time of the newest row that was let go because there were too many; [`EventTime::MIN`] if none was.
    cut_off: EventTime,
    bytes: usize,
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
    /// As the log brought them, and behind those, as they were scored, the ones in flight, whose place in the log is still
    /// to come: for entities whose events all come through one partition.
    ByArrival,
    /// By transaction key: for entities whose events come through several, whose interleaving may differ when the
    /// log is read again.
    ByKey,
}

/// What a row is found by, and what else its place depends on if it is not there.
#[derive(Clone, Copy)]
struct Sought {
    time: EventTime,
    key: TransactionKey,
    ties: Ties,
    in_flight: bool,
}

impl Default for Older {
    fn default() -> Self {
        Self {
            closed: ClosedBlocks::default(),
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

    /// Moves every block into memory anew.
    pub(crate) fn repack(&mut self) {
        self.open.repack();
        if let Some(older) = &mut self.older {
            older
                .closed
                .from(0)
                .for_each(|closed| closed.block.repack());
        }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.before(self.end()) - self.before(Place { block: 0, row: 0 })
    }

    /// How many blocks there are, the open one included.
    pub(crate) fn blocks(&self) -> usize {
        self.closed().map_or(0, ClosedBlocks::len) + 1
    }

    pub(crate) fn block(&self, at: usize) -> &Block {
        self.closed()
            .and_then(|closed| closed.get(at))
            .map_or(&self.open, |closed| &closed.block)
    }

    /// The block that new events go to.
    pub(crate) const fn newest(&self) -> &Block {
        &self.open
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
        let block = self.block_at(time);
        Place {
            block,
            row: self.block(block).up_to(shape, time),
        }
    }

    /// The same where it is known to be no later than `end`.
    pub(crate) fn up_to_within(&self, shape: &Shape, time: EventTime, end: Place) -> Place {
        let block = self.block(end.block);
        let row = block.up_to_within(shape, time, end.row);
        if row > 0 || end.block == 0 {
            return Place { row, ..end };
        }
        let block = self.block_at(time);
        Place {
            block,
            row: self.block(block).up_to(shape, time),
        }
    }

    /// The block that has the last row at or before `time`, by what is known without looking into any.
    pub(crate) fn block_at(&self, time: EventTime) -> usize {
        let begun = self.closed().map_or(0, |closed| closed.begun(time));
        begun.saturating_sub(1)
    }

    /// The gap before the event itself if it is here, otherwise where it would go.
    pub(crate) fn own_place(
        &self,
        shape: &Shape,
        time: EventTime,
        key: TransactionKey,
        ties: Ties,
    ) -> Place {
        let event = Sought {
            time,
            key,
            ties,
            in_flight: true,
        };
        match self.seek(shape, event) {
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
        let ties = Ties::ByArrival;
        self.seek(
            shape,
            Sought {
                time,
                key,
                ties,
                in_flight: true,
            },
        )
        .ok()
    }

    /// Where an event is, by its key alone: looks at every key, newest block first.
    pub(crate) fn find_key(&self, key: TransactionKey) -> Option<Place> {
        (0..self.blocks()).rev().find_map(|block| {
            let row = self.block(block).row_of(key)?;
            Some(Place { block, row })
        })
    }

    /// The event's place, or as an error the gap where it would go.
    fn seek(&self, shape: &Shape, event: Sought) -> Result<Place, Place> {
        let mut gap = self.up_to(shape, event.time);
        let mut place = gap;
        while let Some(before) = self.previous(place)
            && let block = self.block(before.block)
            && block.time(shape, before.row) == event.time
        {
            let other = block.key(before.row);
            if other == event.key {
                return Ok(before);
            }
            place = before;
            let is_behind = match event.ties {
                Ties::ByKey => other > event.key,
                Ties::ByArrival => {
                    let flags = block.flags_of(shape, before.row);
                    !event.in_flight && flags.has(Flags::IN_FLIGHT)
                }
            };
            if is_behind {
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

    fn previous(&self, place: Place) -> Option<Place> {
        if let Some(row) = place.row.checked_sub(1) {
            return Some(Place { row, ..place });
        }
        let block = place.block.checked_sub(1)?;
        let row = self.block(block).rows().checked_sub(1)?;
        Some(Place { block, row })
    }

    /// When a row happened, its flags, and the links it has.
    pub(crate) fn links_of<'h>(
        &'h self,
        shape: &'h Shape,
        place: Place,
    ) -> (EventTime, Flags, impl Iterator<Item = Option<u64>> + 'h) {
        let block = self.block(place.block);
        let links = block.views(shape).skip(shape.links().start);
        let links = links.map(move |view| view.get(place.row));
        let flags = block.flags_of(shape, place.row);
        (block.time(shape, place.row), flags, links)
    }

    pub(crate) fn row(&self, shape: &Shape, place: Place) -> Row {
        self.block(place.block).row(shape, place.row)
    }

    /// Inserts a row at its place; false if it is here already.
    pub(crate) fn insert(&mut self, shape: &Shape, row: &Row, ties: Ties) -> bool {
        let event = Sought {
            time: row.time(),
            key: row.key,
            ties,
            in_flight: row.flags.has(Flags::IN_FLIGHT),
        };
        let Err(gap) = self.seek(shape, event) else {
            return false;
        };
        let place = self.make_room(shape, gap, row.time());
        self.change(shape, place.block, |block| {
            block.insert(shape, place.row, row)
        });
        if place.row == 0
            && let Some(older) = self.older.as_mut()
        {
            older.closed.begins(shape, place.block);
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
        let closed = Closed { block, before };
        older.bytes += closed.bytes();
        older.closed.insert(shape, older.closed.len(), closed);
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
        let newer = Closed {
            block: newer,
            before,
        };
        older.bytes += newer.bytes();
        older.closed.insert(shape, at + 1, newer);
    }

    /// Changes rows of a block and keeps the totals right.
    fn change(&mut self, shape: &Shape, at: usize, change: impl FnOnce(&mut Block)) {
        let Some(older) = self.older.as_mut().filter(|older| at < older.closed.len()) else {
            change(&mut self.open);
            return;
        };
        let Some(Closed { block, .. }) = older.closed.get_mut(at) else {
            return;
        };
        let (bytes, totals) = (block.bytes(), Totals::of(shape, block));
        change(block);
        older.bytes = older.bytes + block.bytes() - bytes;
        let now = Totals::of(shape, block);
        for later in older.closed.from(at + 1) {
            later.before = later.before.minus(&totals).plus(&now);
        }
        older.totals = older.totals.minus(&totals).plus(&now);
    }

    pub(crate) fn set_flags(&mut self, shape: &Shape, place: Place, flags: Flags) {
        self.mark(shape, place, flags, |_| {});
    }

    /// Sets a row's flags, and changes of it what no totals depend on: labels are many, so nothing is added up anew.
    fn mark(&mut self, shape: &Shape, place: Place, flags: Flags, change: impl FnOnce(&mut Block)) {
        let at = place.block;
        let set = |block: &mut Block| {
            let before = block.flags_of(shape, place.row);
            block.set_flags(shape, place.row, flags);
            before
        };
        let Some(older) = self.older.as_mut().filter(|older| at < older.closed.len()) else {
            set(&mut self.open);
            change(&mut self.open);
            return;
        };
        let Some(Closed { block, .. }) = older.closed.get_mut(at) else {
            return;
        };
        let (bytes, before) = (block.bytes(), set(block));
        change(block);
        older.bytes = older.bytes + block.bytes() - bytes;
        if Totals::tells_apart(before, flags) {
            for later in older.closed.from(at + 1) {
                later.before.recount(before, flags);
            }
            older.totals.recount(before, flags);
        }
    }

    /// Of a long history, brings into the cache what windows that begin at these moments will look at.
    pub(crate) fn touch(&self, shape: &Shape, begin: impl Iterator<Item = EventTime> + Clone) {
        if let Some(closed) = self.closed() {
            closed.touch(shape, begin);
        }
    }

    fn closed(&self) -> Option<&ClosedBlocks> {
        self.older.as_ref().map(|older| &older.closed)
    }
}
