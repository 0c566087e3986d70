//! From what was read of a file to transactions and labels: the costly part of reading, done by all threads.

use tollgate_rules::Logic;
use tollgate_types::{EventTime, Label};

use super::bad_rows::{BadRow, BadRows};
use super::columns::Columns;
use super::history::{Chunk, Event, History};
use super::parallel::{blocks, in_order};
use super::row::{self, Row};
use crate::{clock, convert};

pub(super) struct Understanding<'u> {
    pub(super) logic: &'u Logic,
    pub(super) history: &'u History,
    /// None for JSON lines.
    pub(super) columns: Option<&'u Columns>,
    pub(super) threads: usize,
}

/// A part of the history, understood.
#[derive(Default)]
pub(super) struct Part {
    pub(super) rows: Vec<Row>,
    /// Labels on lines of their own, with the number of rows before them.
    pub(super) labels: Vec<(usize, Label)>,
}

impl Understanding<'_> {
    /// Understands every row. Bad ones are noted in the order of the file.
    pub(super) fn part(&self, chunk: &Chunk, bad: &mut BadRows) -> anyhow::Result<Part> {
        let now = clock::wall_time();
        let parts = in_order(self.threads, &blocks(chunk.len()), |_, block| {
            let rows = block.map(|row| {
                self.event(chunk, row, now).map_err(|problem| BadRow {
                    place: chunk.place(row),
                    problem,
                })
            });
            rows.collect::<Vec<_>>()
        });
        let mut part = Part::default();
        part.rows.reserve(chunk.len());
        for event in parts.into_iter().flatten() {
            match event {
                Ok(Event::Row(row)) => part.rows.push(row),
                Ok(Event::Label(label)) => part.labels.push((part.rows.len(), label)),
                Err(row) => bad.note(&self.history.place(row.place), &row.problem)?,
            }
        }
        Ok(part)
    }

    fn event(&self, chunk: &Chunk, at: usize, now: EventTime) -> Result<Event, String> {
        if let Some(problem) = chunk.problem(at) {
            return Err(problem.to_owned());
        }
        let event = match (chunk, self.columns) {
            (Chunk::Lines(lines), _) => {
                let event = lines.event(at, &self.logic.schema, now);
                event.map_err(|error| format!("{error:#}"))?
            }
            (_, Some(columns)) => {
                let cell = |column| chunk.cell(at, column);
                let row = Row::read(columns, cell, self.logic, now);
                Event::Row(row.map_err(|error| error.to_string())?)
            }
            (_, None) => return Err("has no columns".to_owned()),
        };
        if let Event::Row(row) = &event
            && !row.transaction.attributes.is_empty()
        {
            // Laid out only to see whether it can be: later on, a row can no longer be left out.
            let error = convert::record(&row.transaction, self.logic).err();
            let shown = error.map(|error| match self.columns {
                Some(columns) => row::in_columns(columns, error).to_string(),
                None => error.to_string(),
            });
            if let Some(error) = shown {
                return Err(error);
            }
        }
        Ok(event)
    }
}
