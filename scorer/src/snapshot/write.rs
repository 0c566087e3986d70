//! Writing a snapshot while the service goes on.

use std::time::Duration;

use tollgate_features::Imaging;

use super::Parts;
use super::file::{Header, Trailer, Writer};
use super::folder::Folder;
use super::pace::Pace;
use crate::clock;

/// Passes over what changed, before the one for which ingest waits. Each is shorter than the one before unless more comes in
/// than can be written, and then a further one is of no use.
const PASSES_MAX: usize = 6;

/// With as few entities left as these, ingest can wait for the rest: some milliseconds.
const FEW: usize = 2_000;

/// What is written while ingest waits is kept in memory up to here, so that it does not wait for the disk.
const HELD_BYTES_MAX: usize = 64 << 20;

/// How long to wait for Kafka to acknowledge dead letters, and between two looks.
const LETTERS_MAX: Duration = Duration::from_secs(5);
const LETTERS_LOOK: Duration = Duration::from_millis(10);

/// Requests that come meanwhile go first; on Linux the priority is the thread's own.
const NICE: i32 = 10;

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) bytes: u64,
    /// How long nothing was applied from the log.
    pub(super) pause: Duration,
    /// Whether ingest had ended before the last pass: nothing will ever be missing from it.
    pub(super) has_all: bool,
}

pub(super) fn write(folder: &Folder, keep: usize, parts: &Parts) -> std::io::Result<Written> {
    let header = header(parts)?;
    folder.write(keep, |path| {
        let mut writer = Writer::create(path, &header)?;
        let mut imaging = parts.store.image();
        at_low_priority(|| passes(&mut imaging, &mut writer, parts))?;
        let has_all = parts.is_ending();
        let (trailer, pause, letters) = last_pass(imaging, &mut writer, parts)?;
        let bytes = writer.finish(&trailer)?;
        letters_arrive(letters, parts)?;
        Ok(Written {
            bytes,
            pause,
            has_all,
        })
    })
}

fn header(parts: &Parts) -> std::io::Result<Header> {
    let under = parts.under.clone();
    let cluster = under.cluster.get().cloned().ok_or_else(|| {
        std::io::Error::other("no broker has said yet which cluster it belongs to")
    })?;
    Ok(Header {
        created: clock::wall_time().micros(),
        cluster: Some(cluster),
        transactions_topic: under.transactions_topic,
        labels_topic: under.labels_topic,
        base: under.base,
        retained: under.retained,
    })
}

/// Waits until Kafka has all letters about records before the positions: after a restart nobody would write them again.
fn letters_arrive(below: usize, parts: &Parts) -> std::io::Result<()> {
    let began = clock::instant();
    while !parts.positions.letters().are_done(below) {
        parts.in_time()?;
        if clock::instant().saturating_duration_since(began) > LETTERS_MAX {
            return Err(std::io::Error::other(
                "Kafka does not take dead letters about records that it would be behind",
            ));
        }
        std::thread::sleep(LETTERS_LOOK);
    }
    Ok(())
}

/// Runs most of the work on a thread that gives way to others. The rest may not: ingest waits for it.
fn at_low_priority(work: impl FnOnce() -> std::io::Result<()> + Send) -> std::io::Result<()> {
    std::thread::scope(|threads| {
        let thread = std::thread::Builder::new().name("snapshot-passes".to_owned());
        let thread = thread.spawn_scoped(threads, || {
            // Where threads have no priority of their own it stays as it is.
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "snapshots are written at the priority of requests");
            }
            work()
        })?;
        let failed = || std::io::Error::other("the thread that writes it failed; this is a bug");
        thread.join().unwrap_or_else(|_| Err(failed()))
    })
}

fn passes(imaging: &mut Imaging<'_>, writer: &mut Writer, parts: &Parts) -> std::io::Result<()> {
    let mut before = usize::MAX;
    let pace = Pace::new(parts);
    for _ in 0..PASSES_MAX {
        let mut write = |chunk: &[u8]| {
            parts.in_time()?;
            writer.chunk(chunk, &mut || pace.rest())
        };
        let entities = imaging.pass(&mut write, &mut || pace.rest())?;
        if entities <= FEW {
            break;
        }
        before = if entities <= before / 2 {
            entities
        } else if pace.hurry() {
            // More changes than is written with rests, and ingest waits for what is left: the next one tells how it is without.
            usize::MAX
        } else {
            break;
        };
    }
    Ok(())
}

/// What changed last, while ingest waits, where in the log that is, how long it took, and the number of the next dead letter.
fn last_pass(
    imaging: Imaging<'_>,
    writer: &mut Writer,
    parts: &Parts,
) -> std::io::Result<(Trailer, Duration, usize)> {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let pause = parts.positions.pause();
    let began = clock::instant();
    if parts.positions.are_broken() {
        let what = "ingest failed, so where in the log the store stands is not known";
        return Err(std::io::Error::other(what));
    }
    let positions = pause.positions();
    let letters = parts.positions.letters().next();
    let size = imaging.finish(&mut |chunk| {
        held.push(chunk.to_vec());
        bytes += chunk.len();
        if bytes > HELD_BYTES_MAX {
            parts.in_time()?;
            bytes = 0;
            return held
                .drain(..)
                .try_for_each(|chunk| writer.chunk(&chunk, &mut || {}));
        }
        Ok(())
    })?;
    drop(pause);
    let paused = clock::instant().saturating_duration_since(began);
    held.iter()
        .try_for_each(|chunk| writer.chunk(chunk, &mut || {}))?;
    Ok((Trailer::new(positions, size), paused, letters))
}
