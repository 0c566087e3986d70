//! Computes the table: applies a history to a store as serving does, and reads every row at its own place.
//!
//! Within a segment (see [`super::segments`]) threads work on blocks of rows. A block's rows are read when all
//! rows before them are applied: a read is as of the row's own place among the events, so what comes after it in
//! time does not count, whether it was applied already or not. What may not be done so is done row by row.

use std::sync::Arc;

use tollgate_expr::Frame;
use tollgate_features::{Applied, EntityKey, Limits, Origin, ReadPlan, Store};
use tollgate_rules::Logic;
use tollgate_types::{EventTime, Record, Schema, Span, builtin};

use super::outcomes::Outcomes;
use super::parallel::{FirstHalves, in_order};
use super::row::Row;
use super::segments::{Segment, Tied, blocks_of, segments};
use super::table::{Block, Forms};
use super::understand::Part;
use crate::convert::{self, FieldError};
use crate::policy::feature_number;

/// Segments with fewer rows are not worth the start of threads.
const SEGMENT_ROWS_MIN: usize = 128;

/// The store is cleared of old events every time event time has moved by this part of the longest retention: it
/// visits everything, and holds at most so much more than it must.
const EVICTIONS_PER_RETENTION: i64 = 8;

pub(super) struct Engine<'e> {
    logic: &'e Logic,
    store: Store,
    plan: ReadPlan,
    outcomes: Outcomes<'e>,
    forms: Forms,
    threads: usize,
    segment_rows_min: usize,
    latest: EventTime,
    evicted_at: EventTime,
    found: Found,
}

/// What was unusual about the rows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Found {
    /// Rows of the table.
    pub(super) rows: u64,
    /// Rows earlier than one before them.
    pub(super) out_of_order: u64,
    /// Rows whose transaction was there before; they are left out.
    pub(super) repeated: u64,
    /// Rows older than everything that is retained.
    pub(super) too_old: u64,
    /// Rows with a window that reaches back to events of an entity that had too many.
    pub(super) cut_off: u64,
}

/// Whether what is kept of an entity depends on what was applied, not only on the events before a row: events are
/// merged where it moves in steps, and let go where their number is bounded. Then a row must be read before the
/// next one is applied.
fn needs_row_by_row(schema: &Schema) -> bool {
    let mut entities = schema.entities().iter();
    entities.any(|entity| entity.resolution.is_some() || entity.events_max.is_some())
}

/// Whether a transaction was there before, so that nothing of this row counts.
fn is_repeat(applied: Applied) -> bool {
    matches!(applied, Applied::Duplicate | Applied::Conflicting)
}

impl<'e> Engine<'e> {
    pub(super) fn new(
        logic: &'e Logic,
        outcomes: Outcomes<'e>,
        forms: Forms,
        threads: usize,
        events_per_entity_max: usize,
    ) -> Self {
        let segment_rows_min = if needs_row_by_row(&logic.schema) {
            usize::MAX
        } else {
            SEGMENT_ROWS_MIN
        };
        // Whatever the limit of the service: a table that forgot somebody would be wrong.
        let limits = Limits {
            events_per_entity_max,
            ..Limits::default()
        };
        Self {
            logic,
            store: Store::with_limits(Arc::clone(&logic.schema), limits),
            plan: ReadPlan::new(&logic.schema, &logic.layout),
            outcomes,
            forms,
            threads,
            segment_rows_min,
            latest: EventTime::MIN,
            evicted_at: EventTime::MIN,
            found: Found::default(),
        }
    }

    pub(super) const fn found(&self) -> Found {
        self.found
    }

    /// Applies the next part of the history, and returns its rows of the table.
    pub(super) fn part(&mut self, part: &Part) -> anyhow::Result<Vec<Block>> {
        self.outcomes.settle(&part.rows)?;
        let mut table = Vec::new();
        let relabelled = &self.outcomes.relabelled;
        let entities = |row: &Row| self.entities_shared_by_cards(row);
        for segment in segments(&part.rows, &part.labels, relabelled, entities) {
            if segment.rows.len() < self.segment_rows_min {
                table.push(self.row_by_row(&segment, part)?);
            } else {
                table.extend(self.together(&segment, part)?);
            }
        }
        self.advance(&part.rows);
        Ok(table)
    }

    /// The entities of a row whose events are those of many cards: what ties there has an order of its own.
    fn entities_shared_by_cards(&self, row: &Row) -> Vec<Tied> {
        let Ok(record) = convert::record(&row.transaction, self.logic) else {
            return Vec::new();
        };
        let entities = self.logic.schema.entities().iter().enumerate();
        let shared = entities.filter(|(_, entity)| !entity.key.contains(&builtin::CARD_ID));
        shared
            .filter_map(|(at, entity)| Some((at, EntityKey::of(entity, &record)?)))
            .collect()
    }

    /// Applies and reads one row after the other, as a service does that has nothing else to do.
    fn row_by_row(&mut self, segment: &Segment, part: &Part) -> anyhow::Result<Block> {
        let mut table = Block::new(self.forms, segment.rows.len());
        let mut labels = part.labels[segment.labels.clone()].iter().peekable();
        let mut values = Vec::new();
        for at in segment.rows.clone() {
            while let Some((_, label)) = labels.next_if(|(before, _)| *before <= at) {
                self.store.label(label);
            }
            let row = &part.rows[at];
            let record = convert::record(&row.transaction, self.logic)?;
            let applied = self.apply(row, &record);
            self.found.count(applied);
            if !is_repeat(applied) {
                let cut_off = self.read(row, &record, &mut values, &mut table);
                self.found.cut_off += u64::from(cut_off);
            }
        }
        for (_, label) in labels {
            self.store.label(label);
        }
        Ok(table)
    }

    /// Works on blocks of rows with all threads: each block is applied, with the labels that stand in it, and read
    /// while it is still at hand.
    fn together(&mut self, segment: &Segment, part: &Part) -> anyhow::Result<Vec<Block>> {
        let blocks = blocks_of(&part.rows, segment.rows.clone());
        let last = blocks.len().saturating_sub(1);
        let labels = &part.labels[segment.labels.clone()];
        let first_halves = FirstHalves::default();
        let done = in_order(self.threads, &blocks, |at, block| {
            let rows = &part.rows[block.clone()];
            let records = rows
                .iter()
                .map(|row| convert::record(&row.transaction, self.logic));
            let records = records.collect::<Result<Vec<_>, _>>();
            let (records, applied) = first_halves.done_in_order(at, || {
                let records = records?;
                let applied = self.apply_all(rows, &records);
                // Labels stand behind the rows before them; those before the first row belong to the first block.
                let up_to = |row| labels.partition_point(|(before, _)| *before <= row);
                let from = if at == 0 { 0 } else { up_to(block.start) };
                let to = if at == last {
                    labels.len()
                } else {
                    up_to(block.end)
                };
                for (_, label) in &labels[from..to] {
                    self.store.label(label);
                }
                Ok::<_, FieldError>((records, applied))
            })?;
            let mut table = Block::new(self.forms, rows.len());
            let (mut values, mut found) = (Vec::new(), Found::default());
            for ((row, record), applied) in rows.iter().zip(&records).zip(applied) {
                found.count(applied);
                if !is_repeat(applied) {
                    let cut_off = self.read(row, record, &mut values, &mut table);
                    found.cut_off += u64::from(cut_off);
                }
            }
            Ok::<_, FieldError>((table, found))
        });
        let mut tables = Vec::with_capacity(done.len());
        for block in done {
            let (table, found) = block?;
            tables.push(table);
            self.found.add(found);
        }
        Ok(tables)
    }

    /// Applies rows one after another, a few at a time looked ahead for.
    fn apply_all(&self, rows: &[Row], records: &[Record<'_>]) -> Vec<Applied> {
        let mut applied = Vec::with_capacity(rows.len());
        let few = rows.chunks(Store::LOOK_AHEAD);
        for (rows, records) in few.zip(records.chunks(Store::LOOK_AHEAD)) {
            self.store.look_ahead(records.iter());
            let each = rows.iter().zip(records);
            applied.extend(each.map(|(row, record)| self.apply(row, record)));
        }
        applied
    }

    /// Applies a row. Of a transaction that was there before, nothing counts again, its label included.
    fn apply(&self, row: &Row, record: &Record<'_>) -> Applied {
        let authorized = row.authorized;
        let applied = self.store.apply(record, Origin::Log { authorized });
        if let Some(label) = &row.label
            && !is_repeat(applied)
        {
            self.store.label(label);
        }
        applied
    }

    /// Reads what a decision would have read, and adds it to the table. True if a window was cut off.
    fn read(
        &self,
        row: &Row,
        record: &Record<'_>,
        values: &mut Vec<Option<f64>>,
        table: &mut Block,
    ) -> bool {
        let layout = &self.logic.layout;
        let mut frame = Frame::new(layout, record);
        self.logic.fill_lookups(record, &mut frame);
        let reading = self.store.read(&self.plan, record, &mut frame);
        frame.evaluate_features(layout);
        values.clear();
        values.extend(
            layout
                .features
                .iter()
                .map(|feature| feature_number(feature.kind, frame.cell(feature.slot))),
        );
        table.push(&row.transaction, values, self.outcomes.of(row));
        reading.cut_off
    }

    /// Moves the watermark to the latest event, and lets go of what no later row can reach.
    fn advance(&mut self, rows: &[Row]) {
        for row in rows {
            let event_time = row.transaction.event_time;
            self.found.out_of_order += u64::from(event_time < self.latest);
            self.latest = self.latest.max(event_time);
        }
        self.store.advance_watermark(self.latest);
        let retention = self.logic.schema.retention_max();
        let step = Span::from_micros(retention.micros() / EVICTIONS_PER_RETENTION);
        if self.latest.since(self.evicted_at) >= step {
            self.store.evict();
            self.evicted_at = self.latest;
        }
    }
}

impl Found {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.out_of_order += other.out_of_order;
        self.repeated += other.repeated;
        self.too_old += other.too_old;
        self.cut_off += other.cut_off;
    }

    fn count(&mut self, applied: Applied) {
        if is_repeat(applied) {
            self.repeated += 1;
        } else {
            self.rows += 1;
            self.too_old += u64::from(applied == Applied::TooOld);
        }
    }
}

#[cfg(test)]
mod tests;
