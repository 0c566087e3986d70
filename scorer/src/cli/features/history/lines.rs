//! JSON lines: `{"transaction": …}` or `{"label": …}`, in proto3 JSON.

use std::borrow::Cow;
use std::io::BufRead;

use anyhow::Context;
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_proto::v1;
use tollgate_types::{EventTime, Label, Schema, TransactionKey};

use super::{CHUNK_ROWS, SinceRow, TextSource};
use crate::cli::features::row::Row;
use crate::cli::features::value::Value;
use crate::convert;

pub(in super::super) struct LineReader {
    source: TextSource,
    since_row: SinceRow,
    number: u64,
}

/// Some lines, one after the other in one text.
#[derive(Default)]
pub(in super::super) struct Lines {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
    /// The number of the first.
    first: u64,
}

/// What a line says.
#[expect(
    clippy::large_enum_variant,
    reason = "almost every line is a row, and a box would be one more allocation for each"
)]
pub(in super::super) enum Event {
    Row(Row),
    Label(Label),
}

impl LineReader {
    pub(super) fn new(source: TextSource) -> Self {
        Self {
            since_row: SinceRow::clone(&source.get_ref().since_row),
            source,
            number: 0,
        }
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Lines> {
        let mut lines = Lines {
            first: self.number + 1,
            ..Lines::default()
        };
        while lines.len() < CHUNK_ROWS {
            self.since_row
                .store(0, std::sync::atomic::Ordering::Relaxed);
            let read = self.source.read_until(b'\n', &mut lines.bytes);
            if read.with_context(|| format!("line {}", self.number + 1))? == 0 {
                break;
            }
            self.number += 1;
            lines.ends.push(lines.bytes.len());
        }
        Ok(lines)
    }
}

/// A line, with what it is about not read yet.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<'a> {
    #[serde(borrow)]
    Transaction(&'a RawValue),
    #[serde(borrow)]
    Label(&'a RawValue),
}

impl Lines {
    pub(in super::super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn place(&self, line: usize) -> u64 {
        self.first
            .saturating_add(u64::try_from(line).unwrap_or(u64::MAX))
    }

    fn line(&self, line: usize) -> &[u8] {
        let start = line.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[line]]
    }

    /// Reads a line. Attributes the schema does not declare are dropped, as ingest does.
    pub(in super::super) fn event(
        &self,
        line: usize,
        schema: &Schema,
        now: EventTime,
    ) -> anyhow::Result<Event> {
        let expected = "expected {\"transaction\": …} or {\"label\": …}";
        match serde_json::from_slice(self.line(line)).context(expected)? {
            Line::Transaction(json) => {
                let event: v1::TransactionEvent =
                    tollgate_proto::from_json("tollgate.v1.TransactionEvent", json.get())?;
                let mut transaction = convert::transaction(event.transaction, now)?;
                convert::keep_declared(&mut transaction, schema);
                Ok(Event::Row(Row {
                    key: TransactionKey::of(&transaction.id),
                    transaction,
                    authorized: event.authorized,
                    label: None,
                }))
            }
            Line::Label(json) => Ok(Event::Label(label(json)?)),
        }
    }
}

/// A label may have become known at any time: one that is not known yet does no harm.
fn label(json: &RawValue) -> anyhow::Result<Label> {
    let message = tollgate_proto::from_json("tollgate.v1.Label", json.get())?;
    Ok(convert::label(&message, EventTime::MAX)?)
}

/// What the first pass needs of a line.
pub(in super::super) enum Glance {
    Transaction(EventTime),
    Label(Label),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GlanceLine<'a> {
    #[serde(borrow)]
    Transaction(GlanceEvent<'a>),
    #[serde(borrow)]
    Label(&'a RawValue),
}

#[derive(Deserialize)]
struct GlanceEvent<'a> {
    #[serde(borrow)]
    transaction: GlanceTransaction<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GlanceTransaction<'a> {
    #[serde(borrow, alias = "event_time")]
    event_time: Cow<'a, str>,
}

/// Reads of a line only what the first pass needs. None where it cannot: whether that is a mistake is for the
/// second pass to say.
pub(in super::super) fn glance(lines: &Lines, line: usize) -> Option<Glance> {
    match serde_json::from_slice(lines.line(line)).ok()? {
        GlanceLine::Transaction(event) => {
            let time = Value::of_text(&event.transaction.event_time).time(None);
            time.ok().map(Glance::Transaction)
        }
        GlanceLine::Label(json) => label(json).ok().map(Glance::Label),
    }
}
