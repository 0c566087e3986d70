//! Records on disk that Kafka does not have yet: numbered one after the other, appended in files of bounded size, read in order,
//! and removed file by file once Kafka has all that is in them.
//!
//! What is said to be appended has reached the disk. After a crash the files are as they were up to the last whole record; how
//! far Kafka had them is known as of the last mark, so some records are sent again. Damage is skipped to where records can be
//! read again, and told of. It does not know Kafka, and threads do not share it.

mod read;
mod segment;
mod take_over;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{clock, disk};
pub(super) use read::Read;
use read::Reader;
use segment::Segment;
pub(super) use segment::Stored;

/// Size of a file beyond which another one is begun: small beside the whole, so that room comes back in small steps.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Files that a small spool has room for at least. In one file no room would ever come back while it is written to.
const SEGMENTS_MIN: u64 = 4;

/// Most bytes that are put together for one write.
const WRITE_BYTES: usize = 1 << 20;

/// Records that Kafka does not have yet, on disk.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    /// Unlocked by the system when it is closed.
    _lock: File,
    /// Oldest first. Only the last is written to, if `writer` is there.
    segments: VecDeque<Segment>,
    writer: Option<File>,
    /// Of all segments.
    bytes: u64,
    bytes_max: u64,
    segment_bytes: u64,
    /// Of the file that is made next.
    next_file: u64,
    /// The number of the record that is appended next.
    end: u64,
    /// Marks go no further where files were left unread: the next start takes it that Kafka has all below the greatest mark.
    mark_max: u64,
    reader: Reader,
    /// What is being put together for a write.
    buffer: Vec<u8>,
    #[cfg(test)]
    pub(super) faults: tests::Faults,
}

/// Why nothing more was appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAppended {
    #[error(
        "the spool has as much as it may; raise decision_log.spool_mib_max if the disk has room"
    )]
    Full,
    #[error("the spool cannot be written: {0}")]
    Disk(#[from] io::Error),
}

/// What an earlier run has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// The first record that Kafka may not have.
    pub(crate) from: u64,
    /// The greatest mark.
    pub(crate) mark: u64,
    /// The number of the record that is appended next.
    pub(crate) to: u64,
    /// Files that end in the middle of a record.
    pub(crate) cut: u64,
    /// Files of another form, which stay where they are.
    pub(crate) foreign: u64,
    /// Places that could not be read and were skipped.
    pub(crate) damages: u64,
    /// Files that could not be read, which stay where they are; each is one of the places.
    pub(crate) unread: u64,
}

impl Spool {
    /// Takes the folder and looks through what is in it. Blocks, for as long as reading all of it takes.
    pub(crate) fn open(path: &Path, bytes_max: u64) -> io::Result<(Self, Left)> {
        let lock = disk::take(path)?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy());
            let file = name.as_deref().and_then(segment::file_number);
            found.extend(file.map(|file| (file, path)));
        }
        found.sort_unstable();
        let mut spool = Self {
            path: path.to_owned(),
            _lock: lock,
            segments: VecDeque::new(),
            writer: None,
            bytes: 0,
            bytes_max,
            segment_bytes: SEGMENT_BYTES.min(bytes_max / SEGMENTS_MIN),
            next_file: found.last().map_or(0, |(file, _)| file + 1),
            end: 0,
            mark_max: u64::MAX,
            reader: Reader::default(),
            buffer: Vec::new(),
            #[cfg(test)]
            faults: tests::Faults::default(),
        };
        let mut left = Left::default();
        for (file, path) in found {
            spool.take_in(file, path, &mut left);
        }
        let first = spool.segments.front().map_or(left.to, |first| first.first);
        left.from = left.mark.max(first);
        left.to = left.to.max(left.from);
        spool.end = left.to;
        spool.acknowledge(left.from);
        Ok((spool, left))
    }

    /// Looks through a file of an earlier run. Nothing is appended to it any more.
    fn take_in(&mut self, file: u64, path: PathBuf, left: &mut Left) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                left.damages += 1;
                left.unread += 1;
                tracing::error!(%error, path = %path.display(), "a file of the spool cannot be read; it is left where it is");
                return;
            }
        };
        let Some(scan) = segment::scan(&bytes) else {
            left.foreign += 1;
            let path = path.display();
            tracing::error!(%path, "not a file of this version's spool; it is left where it is");
            return;
        };
        left.cut += u64::from(scan.is_cut);
        left.mark = left.mark.max(scan.mark);
        let first = scan.first.unwrap_or(left.to);
        left.to = left.to.max(scan.end.unwrap_or(first));
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes += bytes;
        self.segments.push_back(Segment {
            file,
            path,
            first,
            end: left.to,
            bytes,
            begun: scan.at.unwrap_or_else(|| clock::wall_time().micros()),
            is_left: false,
        });
    }

    /// The number of the record that is appended next.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of all files.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest record that is there was handed over, in microseconds since 1970; `None` if there is none.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.segments.front().map(|segment| segment.begun)
    }

    /// Has numbers go on from here; only while nothing is in it.
    pub(crate) fn begin_at(&mut self, number: u64) {
        debug_assert!(self.segments.is_empty(), "numbers have no gaps");
        self.end = number;
    }

    /// Appends records with the numbers from [`Spool::end`] on, as many as fit, and returns how many the disk has for certain.
    /// `mark` is the first record that Kafka does not have.
    pub(crate) fn append<'r>(
        &mut self,
        records: impl Iterator<Item = Stored<'r>>,
        mark: u64,
    ) -> (usize, Result<(), NotAppended>) {
        let mut appended = 0;
        let mut records = records.peekable();
        while records.peek().is_some() {
            match self.append_some(&mut records, mark) {
                Ok(some) => appended += some,
                Err(error) => return (appended, Err(error)),
            }
        }
        (appended, Ok(()))
    }

    /// One write, of what fits into it and into the last file.
    fn append_some<'r>(
        &mut self,
        records: &mut std::iter::Peekable<impl Iterator<Item = Stored<'r>>>,
        mark: u64,
    ) -> Result<usize, NotAppended> {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        segment::put_mark(&mut bytes, mark.min(self.mark_max));
        let (mut count, mut at) = (0, None);
        let next = self.end;
        let write_bytes =
            WRITE_BYTES.min(usize::try_from(self.segment_bytes).unwrap_or(WRITE_BYTES));
        let mut is_full = false;
        while let Some(record) = records.peek() {
            let with_it = bytes.len() + record.framed_bytes();
            let taken = self.bytes + u64::try_from(with_it).unwrap_or(u64::MAX);
            is_full = taken.saturating_add(segment::HEADER_BYTES) > self.bytes_max;
            if is_full || (count > 0 && with_it > write_bytes) {
                break;
            }
            at = at.or(Some(record.at));
            record.put(next + count, &mut bytes);
            count += 1;
            records.next();
        }
        if count == 0 && is_full {
            self.buffer = bytes;
            return Err(NotAppended::Full);
        }
        let written = self.write(&bytes, at.unwrap_or_default());
        self.buffer = bytes;
        written?;
        self.end = next + count;
        if let Some(last) = self.segments.back_mut() {
            last.end = self.end;
        }
        if self
            .segments
            .back()
            .is_some_and(|last| last.bytes >= self.segment_bytes)
        {
            self.writer = None;
        }
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Writes to the last file, or a new one, and waits until the disk has it. After a failure nothing of it counts.
    fn write(&mut self, bytes: &[u8], at: i64) -> io::Result<()> {
        if self.writer.is_none() {
            self.begin_file(at)?;
        }
        let Some((file, last)) = self.writer.as_mut().zip(self.segments.back_mut()) else {
            return Ok(());
        };
        #[cfg(test)]
        let bytes = self.faults.cut(bytes);
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        #[cfg(test)]
        let written = written.and_then(|()| self.faults.failure());
        if let Err(error) = written {
            // What the disk has of it is not known, so nothing more is written behind it. Its length may even be kept.
            let _ = file.set_len(last.bytes);
            self.writer = None;
            self.drop_if_empty();
            return Err(error);
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        last.bytes += length;
        self.bytes += length;
        Ok(())
    }

    fn begin_file(&mut self, at: i64) -> io::Result<()> {
        let file = self.next_file;
        let path = self.path.join(segment::file_name(file));
        #[cfg(test)]
        self.faults.failure()?;
        let made = segment::create(&path).and_then(|made| {
            disk::sync_names(&self.path)?;
            Ok(made)
        });
        let made = made.inspect_err(|_| {
            // It may not even be there.
            let _ = std::fs::remove_file(&path);
        })?;
        self.next_file += 1;
        self.bytes += segment::HEADER_BYTES;
        self.segments.push_back(Segment {
            file,
            path,
            first: self.end,
            end: self.end,
            bytes: segment::HEADER_BYTES,
            begun: at,
            is_left: false,
        });
        self.writer = Some(made);
        Ok(())
    }

    /// A file into which nothing could be written is not kept, or trying would fill the folder.
    fn drop_if_empty(&mut self) {
        if self
            .segments
            .back()
            .is_some_and(|last| last.first == last.end)
            && let Some(last) = self.segments.pop_back()
        {
            self.remove(&last);
        }
    }

    /// Kafka has all records below `low`: files that have no others are removed.
    pub(crate) fn acknowledge(&mut self, low: u64) {
        if self.segments.back().is_some_and(|last| last.end <= low) {
            self.writer = None;
        }
        self.remove_below(low, self.segments.len());
    }

    /// The same, but for the file that is written to.
    pub(crate) fn acknowledge_but_last(&mut self, low: u64) {
        self.remove_below(low, self.segments.len().saturating_sub(1));
    }

    /// Of the first so many files, removes those that have no record from `low` on.
    fn remove_below(&mut self, low: u64, files: usize) {
        let mut at = 0;
        for _ in 0..files {
            match self.segments.get(at) {
                Some(segment) if segment.end > low => return,
                Some(segment) if segment.is_left => at += 1,
                _ => {
                    if let Some(segment) = self.segments.remove(at) {
                        self.remove(&segment);
                    }
                }
            }
        }
    }

    fn remove(&mut self, segment: &Segment) {
        self.bytes = self.bytes.saturating_sub(segment.bytes);
        if let Err(error) = std::fs::remove_file(&segment.path) {
            // It would be sent again after the next start.
            tracing::warn!(%error, path = %segment.path.display(), "a file of the spool was not removed");
        }
    }

    /// Notes how far Kafka has the records, so that fewer are sent again after a crash. Best effort: without it more are.
    pub(crate) fn mark(&mut self, low: u64) {
        let mut bytes = Vec::new();
        segment::put_mark(&mut bytes, low.min(self.mark_max));
        if let Some((file, last)) = self.writer.as_mut().zip(self.segments.back_mut()) {
            if file.write_all(&bytes).is_err() {
                let _ = file.set_len(last.bytes);
                self.writer = None;
                return;
            }
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            last.bytes += length;
            self.bytes += length;
        }
    }

    /// The next record in order, from where reading is.
    pub(crate) fn read(&mut self) -> io::Result<Read> {
        #[cfg(test)]
        self.faults.failure()?;
        self.reader.next(&self.segments)
    }

    /// Begins to read anew, with the oldest record that is there.
    pub(crate) fn rewind(&mut self) {
        self.reader = Reader::default();
    }

    /// So that tests need not write megabytes.
    #[cfg(test)]
    pub(super) const fn make_small(&mut self, segment_bytes: u64) {
        self.segment_bytes = segment_bytes;
    }

    /// Goes on behind the file that is being read, which cannot be.
    pub(crate) fn skip_file(&mut self) {
        self.go_behind_file();
    }

    /// The same; returns the file, if there is one.
    fn go_behind_file(&mut self) -> Option<&mut Segment> {
        // The reader is behind the one before where it could not even open it.
        let reading = self.reader.file();
        let mut segments = self.segments.iter_mut();
        let segment = segments.find(|segment| segment.file >= reading)?;
        self.reader.go_behind(segment.file);
        Some(segment)
    }
}
