//! What transactions turned out to be in the end: the table's last column.
//!
//! A row of columns says so itself. Labels on lines of their own may stand anywhere in the file, so they are read
//! before anything else. What has no label was good if there was time enough to report it; how much time there
//! was depends on the last event of the file, which is looked for only if some row has no label.

use std::collections::{HashMap, HashSet};

use tollgate_types::{EventTime, Span, TransactionKey};

use super::columns::Columns;
use super::history::{Chunk, Glance, History, glance};
use super::parallel::{blocks, in_order};
use super::progress::Progress;
use super::row::Row;
use super::value::Value;
use crate::clock;
use crate::convert::AHEAD_MAX;

/// What a transaction turned out to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) fraud: bool,
    /// Since when that is known; none if nothing was ever said, and it counts as good by now.
    pub(super) known_at: Option<EventTime>,
}

#[derive(Debug)]
pub(super) struct Outcomes<'o> {
    /// From lines of their own.
    labels: HashMap<TransactionKey, Outcome>,
    /// Transactions with more than one such line.
    pub(super) relabelled: HashSet<TransactionKey>,
    /// Transactions up to here were good if nothing else is known of them; not known yet.
    settled_until: Option<EventTime>,
    labels_within: Span,
    /// Where the end of the history can be looked for.
    columns: Option<(&'o History, &'o Columns)>,
}

impl<'o> Outcomes<'o> {
    /// Rows of columns say themselves what they were.
    pub(super) fn of_columns(
        history: &'o History,
        columns: &'o Columns,
        labels_within: Span,
    ) -> Self {
        Self {
            columns: Some((history, columns)),
            ..Self::of_rows(labels_within)
        }
    }

    /// Rows say themselves what they were, and the rest is never settled.
    pub(super) fn of_rows(labels_within: Span) -> Self {
        Self {
            columns: None,
            labels: HashMap::new(),
            relabelled: HashSet::new(),
            settled_until: None,
            labels_within,
        }
    }

    /// Labels stand on lines of their own, all of which are read now. Of several for one transaction the one that
    /// became known last counts.
    pub(super) fn of_lines(
        history: &History,
        labels_within: Span,
        threads: usize,
    ) -> anyhow::Result<Self> {
        let mut outcomes = Self::of_rows(labels_within);
        let mut end = EventTime::MIN;
        let horizon = clock::wall_time().plus(AHEAD_MAX);
        let progress = Progress::new("reading labels")?;
        let mut reader = history.open(&progress)?;
        while let Some(chunk) = reader.next_chunk()? {
            let Chunk::Lines(lines) = &chunk else {
                break;
            };
            let glances = in_order(threads, &blocks(lines.len()), |_, block| {
                block
                    .filter_map(|line| glance(lines, line))
                    .collect::<Vec<_>>()
            });
            for glance in glances.into_iter().flatten() {
                match glance {
                    Glance::Transaction(time) if time <= horizon => end = end.max(time),
                    Glance::Transaction(_) => {}
                    Glance::Label(label) => {
                        let key = TransactionKey::of(&label.transaction_id);
                        let known = outcomes.labels.get(&key).copied();
                        if known.is_some() {
                            outcomes.relabelled.insert(key);
                        }
                        let known_at = Some(label.known_at);
                        if known.is_none_or(|known| known_at >= known.known_at) {
                            let fraud = label.fraud;
                            outcomes.labels.insert(key, Outcome { fraud, known_at });
                        }
                    }
                }
            }
        }
        progress.finish();
        outcomes.ends_at(end);
        Ok(outcomes)
    }

    /// Looks for the end of the history, if it is needed to write these rows and not known yet.
    pub(super) fn settle(&mut self, rows: &[Row]) -> anyhow::Result<()> {
        if let Some((history, columns)) = self.columns
            && self.settled_until.is_none()
            && rows.iter().any(|row| row.label.is_none())
        {
            self.ends_at(find_end(history, columns)?);
        }
        Ok(())
    }

    /// The last event of the history.
    fn ends_at(&mut self, end: EventTime) {
        self.settled_until = Some(end.minus(self.labels_within));
    }

    /// None where it may still turn out either way.
    pub(super) fn of(&self, row: &Row) -> Option<Outcome> {
        let own = row.label.as_ref().map(|label| Outcome {
            fraud: label.fraud,
            known_at: Some(label.known_at),
        });
        own.or_else(|| self.labels.get(&row.key).copied())
            .or_else(|| {
                let is_settled = self
                    .settled_until
                    .is_some_and(|until| row.transaction.event_time <= until);
                is_settled.then_some(Outcome {
                    fraud: false,
                    known_at: None,
                })
            })
    }
}

/// The last event time of a file of columns. Rows whose time cannot be read, or lies in the future, are left to
/// whoever reads the rows.
fn find_end(history: &History, columns: &Columns) -> anyhow::Result<EventTime> {
    let progress = Progress::new("looking for the end")?;
    let columns = columns.only_event_time();
    let mut reader = history.open(&progress)?;
    reader.select(&columns)?;
    let horizon = clock::wall_time().plus(AHEAD_MAX);
    let mut end = EventTime::MIN;
    while let Some(chunk) = reader.next_chunk()? {
        for row in 0..chunk.len() {
            let value = chunk.cell(row, 0).unwrap_or(Value::Missing);
            if let Ok(time) = value.time(columns.event_time_unit)
                && time <= horizon
            {
                end = end.max(time);
            }
        }
    }
    progress.finish();
    Ok(end)
}
