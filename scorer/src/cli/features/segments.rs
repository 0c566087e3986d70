//! Which rows may be applied together before any of them is read.
//!
//! Read one by one, a row sees what stands before it in the file. Applied together, it also sees what stands
//! behind it, if that comes before it in time. So a segment ends before a row that is earlier than one before it,
//! before a transaction id that it has already (only the first counts), and before a label that a row of it
//! would see too early. In a file in order of time, such ends are rare; the result is the same in any file.

use std::collections::HashSet;
use std::ops::Range;

use tollgate_types::{EventTime, Label, Record, TransactionKey};

use super::parallel::BLOCK_ROWS;

/// Some rows, and the labels that stand before, between and behind them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) rows: Range<usize>,
    pub(super) labels: Range<usize>,
}

/// Cuts rows into segments. `labels` come with the number of rows before them.
pub(super) fn segments(
    records: &[Record<'_>],
    labels: &[(usize, Label)],
    relabelled: &HashSet<TransactionKey>,
) -> Vec<Segment> {
    let mut cut = Cut::default();
    let mut next_label = 0;
    for row in 0..=records.len() {
        while let Some((_, label)) = labels.get(next_label).filter(|(before, _)| *before <= row) {
            let key = TransactionKey::of(&label.transaction_id);
            if label.known_at <= cut.latest || relabelled.contains(&key) {
                cut.end(row, next_label);
            }
            next_label += 1;
        }
        let Some(record) = records.get(row) else {
            break;
        };
        if record.event_time() < cut.latest || cut.keys.contains(&record.key()) {
            cut.end(row, next_label);
        }
        cut.latest = record.event_time();
        cut.keys.insert(record.key());
    }
    if cut.rows_from < records.len() || cut.labels_from < labels.len() {
        cut.push(records.len(), labels.len());
    }
    cut.segments
}

/// The segment that is being cut, and those before it.
struct Cut {
    segments: Vec<Segment>,
    rows_from: usize,
    labels_from: usize,
    /// The latest row of the segment.
    latest: EventTime,
    keys: HashSet<TransactionKey>,
}

impl Default for Cut {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            rows_from: 0,
            labels_from: 0,
            latest: EventTime::MIN,
            keys: HashSet::new(),
        }
    }
}

impl Cut {
    /// Ends the segment before a row and a label. Labels alone do no harm to the rows that follow and stay.
    fn end(&mut self, row: usize, label: usize) {
        if self.rows_from < row {
            self.push(row, label);
            self.latest = EventTime::MIN;
            self.keys.clear();
        }
    }

    fn push(&mut self, row: usize, label: usize) {
        self.segments.push(Segment {
            rows: self.rows_from..row,
            labels: self.labels_from..label,
        });
        (self.rows_from, self.labels_from) = (row, label);
    }
}

/// A segment's rows in blocks, rows that tie in event time together: their order is the order in which they are
/// applied, and each block is applied by one thread.
pub(super) fn blocks_of(records: &[Record<'_>], rows: Range<usize>) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut start = rows.start;
    while start < rows.end {
        let mut end = rows.end.min(start + BLOCK_ROWS);
        while end < rows.end && records[end].event_time() == records[end - 1].event_time() {
            end += 1;
        }
        blocks.push(start..end);
        start = end;
    }
    blocks
}
