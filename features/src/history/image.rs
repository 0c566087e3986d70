//! A history as bytes of an image of the store, and back. Totals are not written but added up anew: that is quick, and cannot
//! disagree with the rows.

use tollgate_types::{EventTime, TransactionKey};

use super::History;
use crate::block::{Block, Shape};
use crate::bytes::{Malformed, Put, Take};

/// Bytes of a label: key, moment, verdict.
const LABEL_BYTES: usize = 17;

/// Least bytes of a block: rows, room, length.
const BLOCK_BYTES: usize = 6;

impl History {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.put_list(self.blocks() - 1);
        if let Some(older) = &self.older {
            (0..older.closed.len())
                .filter_map(|at| older.closed.get(at))
                .for_each(|closed| closed.block.write(into));
        }
        self.open.write(into);
        into.put_u8(u8::from(self.older.is_some()));
        let Some(older) = &self.older else {
            return;
        };
        into.put_i64(older.cut_off.micros());
        into.put_list(older.labels.all().len());
        for (key, (known_at, fraud)) in older.labels.all() {
            into.put_u64(key.bits());
            into.put_i64(known_at.micros());
            into.put_u8(u8::from(*fraud));
        }
    }

    /// A history that [`History::write`] wrote, or why it cannot be one.
    pub(crate) fn read(shape: &Shape, from: &mut Take<'_>) -> Result<Self, Malformed> {
        let closed = from.list(BLOCK_BYTES)?;
        let mut history = Self::default();
        let mut newest = EventTime::MIN;
        for _ in 0..closed {
            let block = Block::read(shape, from)?;
            if block.rows() == 0 || block.time(shape, 0) < newest {
                return Err(Malformed("order of blocks"));
            }
            newest = block.time(shape, block.rows() - 1);
            history.open = block;
            history.close(shape);
        }
        let open = Block::read(shape, from)?;
        if open.rows() > 0 && open.time(shape, 0) < newest {
            return Err(Malformed("order of blocks"));
        }
        history.open = open;
        if from.flag()? {
            let older = history.older.get_or_insert_default();
            older.cut_off = EventTime::from_micros(from.i64()?);
            for _ in 0..from.list(LABEL_BYTES)? {
                let key = TransactionKey::from_bits(from.u64()?);
                let known_at = EventTime::from_micros(from.i64()?);
                older.labels.restore(key, (known_at, from.flag()?));
            }
        } else if closed > 0 {
            return Err(Malformed("history without its older part"));
        }
        Ok(history)
    }

    /// Rows in flight.
    pub(crate) fn in_flight(&self, shape: &Shape) -> Vec<(EventTime, TransactionKey)> {
        let blocks = (0..self.blocks()).map(|at| self.block(at));
        let blocks = blocks.filter(|block| block.has_in_flight(shape));
        let rows = blocks.flat_map(|block| (0..block.rows()).map(move |row| (block, row)));
        let in_flight = rows.filter(|(block, row)| {
            let flags = block.flags_of(shape, *row);
            flags.has(crate::block::Flags::IN_FLIGHT)
        });
        in_flight
            .map(|(block, row)| (block.time(shape, row), block.key(row)))
            .collect()
    }
}
