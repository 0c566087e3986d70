//! Steps as bytes of an image of the store, and back.

use tollgate_types::{EventTime, Span, TransactionKey};

use super::{Step, StepColumn, Steps, floor};
use crate::block::{Flags, Row, Shape, Sums};
use crate::bytes::{Malformed, Put, Take};
use crate::sketch::Sketch;
use crate::store::{TIME_MAX, TIME_MIN};

/// Least bytes of a step, of a change of its frauds, and of a row in flight.
const STEP_BYTES: usize = 8 * 5 + 4;
const FRAUD_BYTES: usize = 16;
const ROW_BYTES: usize = 9;

/// Least and greatest change of a count of frauds: as many as a step may have events.
const FRAUDS_MAX: i64 = 1 << 40;

impl Steps {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.put_list(self.steps.len());
        self.steps.iter().for_each(|step| step.write(into));
        into.put_list(self.in_flight.len());
        for row in &self.in_flight {
            into.put_u64(row.key.bits());
            into.put_u8(row.flags.bits());
            row.values
                .iter()
                .for_each(|value| into.put_optional(*value));
        }
    }

    /// Steps that [`Steps::write`] wrote, or why they cannot be.
    pub(crate) fn read(shape: &Shape, step: Span, from: &mut Take<'_>) -> Result<Self, Malformed> {
        let mut steps = Self::default();
        for _ in 0..from.list(STEP_BYTES)? {
            let next = Step::read(shape, from)?;
            let is_behind = steps
                .steps
                .back()
                .is_none_or(|last| last.start < next.start);
            if !is_behind || floor(next.start, step) != next.start {
                return Err(Malformed("order of steps"));
            }
            steps.bytes += next.bytes();
            steps.steps.push_back(next);
        }
        for _ in 0..from.list(ROW_BYTES)? {
            steps.in_flight.push(read_row(shape, from)?);
        }
        Ok(steps)
    }

    /// All steps, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }
}

fn read_row(shape: &Shape, from: &mut Take<'_>) -> Result<Row, Malformed> {
    let key = TransactionKey::from_bits(from.u64()?);
    let flags = Flags::from_bits(from.u8()?);
    let values = (0..shape.columns()).map(|_| from.optional());
    let values = values.collect::<Result<Vec<_>, _>>()?;
    let row = Row { key, flags, values };
    let is_one = flags.has(Flags::IN_FLIGHT)
        && row.values[Shape::TIME].is_some()
        && (TIME_MIN..TIME_MAX).contains(&row.time());
    is_one.then_some(row).ok_or(Malformed("row in flight"))
}

impl Step {
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        into.put_i64(self.start.micros());
        into.put_count(self.rows);
        into.put_count(self.declined);
        into.put_i64(self.first.micros());
        into.put_i64(self.last.micros());
        into.put_list(self.frauds.len());
        for (known_at, by) in &self.frauds {
            into.put_i64(known_at.micros());
            into.put_i64(i64::try_from(*by).unwrap_or(0));
        }
        self.columns.iter().for_each(|column| column.write(into));
    }

    fn read(shape: &Shape, from: &mut Take<'_>) -> Result<Self, Malformed> {
        let start = time(from)?;
        let (rows, declined) = (from.count()?, from.count()?);
        let (first, last) = (time(from)?, time(from)?);
        let mut frauds = Vec::new();
        for _ in 0..from.list(FRAUD_BYTES)? {
            let known_at = EventTime::from_micros(from.i64()?);
            let by = Some(from.i64()?).filter(|by| (-FRAUDS_MAX..=FRAUDS_MAX).contains(by));
            let by = by.and_then(|by| isize::try_from(by).ok());
            if frauds.last().is_some_and(|(last, _)| *last >= known_at) {
                return Err(Malformed("order of labels"));
            }
            frauds.push((known_at, by.ok_or(Malformed("count of frauds"))?));
        }
        let columns = (0..shape.columns()).map(|_| StepColumn::read(from));
        Ok(Self {
            start,
            rows,
            declined,
            first,
            last,
            frauds,
            columns: columns.collect::<Result<_, _>>()?,
        })
    }
}

impl StepColumn {
    fn write(&self, into: &mut Vec<u8>) {
        into.put_count(self.sums.count);
        into.put_i128(self.sums.sum);
        into.put_i128(self.sums.squares);
        into.put_count(self.sums.inexact);
        into.put_optional(self.extremes.map(|(least, _)| least));
        into.put_optional(self.extremes.map(|(_, most)| most));
        into.put_count(self.positive);
        into.put_optional(self.last.map(|(at, _, _)| at.micros().cast_unsigned()));
        if let Some((_, key, bits)) = self.last {
            into.put_u64(key.bits());
            into.put_u64(bits);
        }
        into.put_list(self.distinct.hashes().len());
        self.distinct
            .hashes()
            .iter()
            .for_each(|hash| into.put_u64(*hash));
    }

    fn read(from: &mut Take<'_>) -> Result<Self, Malformed> {
        let sums = Sums {
            count: from.count()?,
            sum: from.i128()?,
            squares: from.i128()?,
            inexact: from.count()?,
        };
        let extremes = from.optional()?.zip(from.optional()?);
        let positive = from.count()?;
        let last = match from.optional()? {
            Some(at) => Some((
                EventTime::from_micros(at.cast_signed()),
                TransactionKey::from_bits(from.u64()?),
                from.u64()?,
            )),
            None => None,
        };
        let hashes = from.list(8)?;
        let hashes = (0..hashes).map(|_| from.u64()).collect::<Result<_, _>>()?;
        Ok(Self {
            sums,
            extremes,
            distinct: Sketch::of_hashes(hashes).ok_or(Malformed("sketch"))?,
            positive,
            last,
        })
    }
}

fn time(from: &mut Take<'_>) -> Result<EventTime, Malformed> {
    let time = EventTime::from_micros(from.i64()?);
    let is_one = (TIME_MIN..=TIME_MAX).contains(&time);
    is_one.then_some(time).ok_or(Malformed("time of a step"))
}
