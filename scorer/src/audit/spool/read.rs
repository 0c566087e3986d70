//! Where reading the spool has come to.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::segment::{self, Entry, HEADER_BYTES, Segment, Step, Stored};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Where reading has come to: so far in this file.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The number of the file, or of the one before the next.
    file: u64,
    open: Option<File>,
    /// Where in the file `chunk` begins.
    offset: u64,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were dealt with.
    taken: usize,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Record {
        number: u64,
        /// In microseconds since 1970.
        at: i64,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// So many bytes are no records; it goes on behind them.
    Damaged(u64),
    /// All that there is has been read.
    End,
}

impl Reader {
    pub(super) fn next(&mut self, segments: &VecDeque<Segment>) -> io::Result<Read> {
        loop {
            let Some(at) = segments.iter().position(|one| one.file >= self.file) else {
                return Ok(Read::End);
            };
            let segment = &segments[at];
            self.enter(segment)?;
            let left = segment.bytes.saturating_sub(self.position());
            if left == 0 {
                if at + 1 == segments.len() {
                    return Ok(Read::End);
                }
                self.go_behind(segment.file);
                continue;
            }
            if let Some(read) = self.take(left)? {
                return Ok(read);
            }
        }
    }

    /// The number of the file that is being read, or of one before it.
    pub(super) const fn file(&self) -> u64 {
        self.file
    }

    /// Goes on with what is behind this file.
    pub(super) fn go_behind(&mut self, file: u64) {
        *self = Self {
            file: file + 1,
            ..Self::default()
        };
    }

    const fn position(&self) -> u64 {
        self.offset + self.taken as u64
    }

    fn enter(&mut self, segment: &Segment) -> io::Result<()> {
        if self.file != segment.file || self.open.is_none() {
            *self = Self {
                file: segment.file,
                open: Some(File::open(&segment.path)?),
                offset: HEADER_BYTES,
                ..Self::default()
            };
        }
        Ok(())
    }

    /// What comes next in the file, of which `left` bytes are left; `None` if it is to be looked at again.
    fn take(&mut self, left: u64) -> io::Result<Option<Read>> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let known = &self.chunk[self.taken..];
        match segment::step(known) {
            Step::Entry(entry, bytes) => {
                let read = owned(&entry);
                self.taken += bytes;
                Ok(read)
            }
            Step::Short(needed) if known.len() < left && needed <= left => {
                self.fill(needed.max(CHUNK_BYTES).min(left))?;
                Ok(None)
            }
            // The length may be what has rotted, so it says nothing.
            Step::Short(_) | Step::Damaged => {
                self.fill(left)?;
                let damaged = segment::damaged_bytes(&self.chunk[self.taken..]);
                self.taken += damaged;
                Ok(Some(Read::Damaged(u64::try_from(damaged).unwrap_or(0))))
            }
        }
    }

    /// Reads so many bytes from where it is.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        self.offset = self.position();
        self.taken = 0;
        self.chunk.clear();
        self.chunk.resize(bytes, 0);
        match &self.open {
            Some(file) => file.read_exact_at(&mut self.chunk, self.offset),
            None => Ok(()),
        }
        .inspect_err(|_| self.chunk.clear())
    }
}

fn owned(entry: &Entry<'_>) -> Option<Read> {
    match *entry {
        Entry::Mark(_) => None,
        Entry::Record(number, Stored { at, key, value }) => Some(Read::Record {
            number,
            at,
            key: key.to_vec(),
            value: value.to_vec(),
        }),
    }
}
