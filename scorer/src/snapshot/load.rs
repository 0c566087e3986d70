//! A store from the newest snapshot that can be used.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tollgate_features::{ImageError, Limits, Restoring, Store, differences};
use tollgate_types::{EventTime, Schema};

use super::file::{Header, Reader, Trailer};
use super::folder::Folder;
use super::{Skipped, Under};
use crate::clock;
use crate::ingest::LogPositions;
use crate::metrics::SnapshotMetrics;

/// Threads that make sense of chunks, besides the one that unpacks them and the one that takes them.
const CHUNK_THREADS: usize = 2;

/// Chunks that wait for each of them, and for being taken. Each is a megabyte, or one large entity.
const CHUNKS_AHEAD: usize = 2;

/// What a start goes on from.
pub(super) struct Loaded {
    pub(super) store: Store,
    pub(super) positions: LogPositions,
    /// When it was begun.
    pub(super) created: EventTime,
}

/// What the store that is loaded is to be.
pub(super) struct Wanted {
    pub(super) under: Under,
    pub(super) schema: Arc<Schema>,
    pub(super) limits: Limits,
    /// When the wait for the echo of what was in flight ends.
    pub(super) expires_at: EventTime,
}

/// The newest snapshot in a folder that can be used; those that cannot are told of.
pub(super) fn newest(
    folder: &Folder,
    wanted: &Wanted,
    metrics: &SnapshotMetrics,
) -> std::io::Result<Option<Loaded>> {
    for (_, path) in folder.snapshots()? {
        let began = clock::instant();
        match load(&path, wanted) {
            Ok(loaded) => {
                let took = clock::instant().saturating_duration_since(began);
                metrics.load_seconds.set(took.as_secs_f64());
                let size = loaded.store.size();
                tracing::info!(path = %path.display(), ?took, size.transactions, size.entities, "read the snapshot");
                return Ok(Some(loaded));
            }
            Err(reason) => {
                metrics.skipped(&reason);
                tracing::error!(path = %path.display(), %reason, "the snapshot cannot be used; the one before it is tried");
            }
        }
    }
    tracing::warn!(
        "there is no snapshot to go on from; the log is read as far back as anything is retained"
    );
    Ok(None)
}

pub(super) fn load(path: &Path, wanted: &Wanted) -> Result<Loaded, Skipped> {
    let (reader, header) = Reader::open(path)?;
    fits(&header, &wanted.under)?;
    let mut restoring = Restoring::new(Arc::clone(&wanted.schema), wanted.limits);
    let trailer = take_all(reader, &mut restoring)?;
    let store = restoring.finish(wanted.expires_at)?;
    if let Some(cluster) = header.cluster {
        // Where no broker has said it. Brokers that say otherwise later are not read.
        let _ = wanted.under.cluster.set(cluster);
    }
    Ok(Loaded {
        store,
        positions: trailer.positions,
        created: EventTime::from_micros(header.created),
    })
}

/// Takes every chunk of a file: one thread has them from the disk and unpacks them, others make sense of them by turns, and this
/// one takes them in their order.
fn take_all(mut reader: Reader, restoring: &mut Restoring) -> Result<Trailer, Skipped> {
    std::thread::scope(|threads| {
        let (mut feeds, mut chunks) = (Vec::new(), Vec::new());
        for _ in 0..CHUNK_THREADS {
            let (feed, fed) = sync_channel::<Vec<u8>>(CHUNKS_AHEAD);
            let (hand, chunk) = sync_channel(CHUNKS_AHEAD);
            let reader = restoring.reader();
            threads.spawn(move || {
                let mut read = fed.iter().map(|bytes| reader.read(&bytes));
                // Nobody takes any more if one makes no sense.
                read.try_for_each(|chunk| hand.send(chunk))
            });
            feeds.push(feed);
            chunks.push(chunk);
        }
        let trailer = threads.spawn(move || {
            for feed in feeds.iter().cycle() {
                let chunk = match reader.next()? {
                    Ok(chunk) => chunk,
                    Err(trailer) => return Ok(trailer),
                };
                // Whoever takes them has given up, and says why.
                if feed.send(chunk).is_err() {
                    break;
                }
            }
            Err(Skipped::Torn)
        });
        // Whoever has the next one has none if the file has ended.
        for chunk in chunks.iter().cycle().map_while(|next| next.recv().ok()) {
            restoring.take(chunk?)?;
        }
        trailer
            .join()
            .unwrap_or(Err(Skipped::Corrupt("it cannot be unpacked")))
    })
}

/// Whether what was kept is what would be kept now, and the log is the same.
fn fits(header: &Header, under: &Under) -> Result<(), Skipped> {
    let Under {
        cluster,
        transactions_topic,
        labels_topic,
        base,
        retained,
    } = under;
    let before = header.cluster.as_deref().unwrap_or("unknown");
    if let Some(now) = cluster.get().filter(|now| *now != before) {
        return Err(Skipped::OtherLog(format!(
            "its positions are those of the cluster `{before}`, and this is `{now}`"
        )));
    }
    let topics = [
        (&header.transactions_topic, transactions_topic),
        (&header.labels_topic, labels_topic),
    ];
    if let Some((before, now)) = topics.into_iter().find(|(before, now)| before != now) {
        let reason = format!("it was filled from the topic `{before}`, and now `{now}` is read");
        return Err(Skipped::OtherLog(reason));
    }
    let mut changes = differences(&header.retained, retained);
    if header.base != *base {
        changes.push(format!(
            "amounts were in {} and now are in {base}",
            header.base
        ));
    }
    if changes.is_empty() {
        Ok(())
    } else {
        Err(Skipped::OtherSchema(changes.join("; ")))
    }
}

impl From<ImageError> for Skipped {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Malformed(what) => Self::Corrupt(what),
            ImageError::Incomplete => Self::Corrupt("parts of the store are missing"),
            ImageError::TooLarge => Self::TooLarge,
        }
    }
}
