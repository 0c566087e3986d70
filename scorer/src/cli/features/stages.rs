//! The stages of a run, side by side: reading, understanding, computing, writing, joined by short queues.
//!
//! Understanding and computing each use all threads; together they leave no core idle while the other gathers its
//! results. No stage runs ahead by more than its queue holds, so memory does not grow with the file.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use anyhow::bail;

use super::bad_rows::BadRows;
use super::engine::{Engine, Found};
use super::history::{Chunk, Reader};
use super::progress::Progress;
use super::table::{Block, Tables};
use super::understand::{Part, Understanding};

/// Parts of the history that are ready for the next stage: one, so that it need not wait.
const PARTS_AHEAD: usize = 1;

/// Parts of the table that wait to be written. A Parquet row group is written at once when it is complete, and
/// computing goes on meanwhile.
const PARTS_BEHIND: usize = 8;

pub(super) struct Stages<'s> {
    pub(super) reader: Reader,
    pub(super) understanding: Understanding<'s>,
    pub(super) engine: Engine<'s>,
    pub(super) tables: Tables,
}

/// What the last stage is given.
enum ToWrite {
    /// Rows of the table, and the rows they are of, which are let go of where there is time for it.
    Rows(Vec<Block>, Part),
    /// All went well; without this there is no table.
    End,
}

impl Stages<'_> {
    pub(super) fn run(self, bad: &mut BadRows, progress: &Progress) -> anyhow::Result<Found> {
        let Self {
            reader,
            understanding,
            mut engine,
            tables,
        } = self;
        thread::scope(|scope| {
            let (read, to_understand) = sync_channel(PARTS_AHEAD);
            let (understood, to_compute) = sync_channel(PARTS_AHEAD);
            let (computed, to_write) = sync_channel(PARTS_BEHIND);
            scope.spawn(move || read_all(reader, &read));
            scope.spawn(move || understand_all(&understanding, to_understand, &understood, bad));
            let writer = scope.spawn(move || write_all(tables, &to_write));
            let computing = compute_all(&mut engine, to_compute, &computed, progress);
            if computing.is_ok() {
                // A writer that is gone has its own error.
                let _ = computed.send(ToWrite::End);
            }
            drop(computed);
            let writing = joined(writer);
            // Where writing failed, computing only says that nobody takes its rows.
            computing.and_then(|found| writing.map(|()| found))
        })
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Reads to the end of the file, an error, or the end of interest.
fn read_all(mut reader: Reader, read: &SyncSender<anyhow::Result<Chunk>>) {
    while let Some(chunk) = reader.next_chunk().transpose() {
        let is_error = chunk.is_err();
        if read.send(chunk).is_err() || is_error {
            return;
        }
    }
}

fn understand_all(
    understanding: &Understanding<'_>,
    chunks: Receiver<anyhow::Result<Chunk>>,
    understood: &SyncSender<anyhow::Result<Part>>,
    bad: &mut BadRows,
) {
    for chunk in chunks {
        let part = chunk.and_then(|chunk| understanding.part(&chunk, bad));
        let is_error = part.is_err();
        if understood.send(part).is_err() || is_error {
            return;
        }
    }
}

fn compute_all(
    engine: &mut Engine<'_>,
    parts: Receiver<anyhow::Result<Part>>,
    computed: &SyncSender<ToWrite>,
    progress: &Progress,
) -> anyhow::Result<Found> {
    for part in parts {
        let part = part?;
        let blocks = engine.part(&part)?;
        if computed.send(ToWrite::Rows(blocks, part)).is_err() {
            break;
        }
        progress.rows(engine.found().rows);
    }
    let found = engine.found();
    if found.rows == 0 {
        bail!("the history has no transactions");
    }
    Ok(found)
}

fn write_all(mut tables: Tables, to_write: &Receiver<ToWrite>) -> anyhow::Result<()> {
    for rows in to_write {
        let (blocks, part) = match rows {
            ToWrite::Rows(blocks, part) => (blocks, part),
            ToWrite::End => return tables.finish(),
        };
        for block in blocks {
            tables.write(block)?;
        }
        drop(part);
    }
    Ok(())
}
