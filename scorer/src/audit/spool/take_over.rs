//! Taking over, at a start, what an earlier run has left in another folder.

use std::io;
use std::path::Path;

use super::{Left, NotAppended, Read, Spool, Stored};

/// Records that are taken over at a time.
const RECORDS_MAX: usize = 1_024;

/// More records than a file has: so much further on are the numbers of a run that cannot know those of a file.
const NUMBERS_OF_A_FILE_MAX: u64 = 1 << 32;

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenOver {
    pub(crate) records: u64,
    /// Files that could not be read and stay where they are.
    pub(crate) unread: u64,
}

impl Spool {
    /// Takes what an earlier run has written into another one, whatever its size, and removes it there. Files that cannot be read
    /// stay there for the next start: that the disk fails to read them may pass, and what has rotted in them is another matter.
    pub(crate) fn take_over(
        &mut self,
        other: &mut Self,
        left: &Left,
        mine: &mut Left,
    ) -> io::Result<TakenOver> {
        if self.segments.is_empty() {
            mine.from = self.end;
        }
        if left.unread > 0 {
            other.end = other.end.saturating_add(NUMBERS_OF_A_FILE_MAX);
        }
        let mut taken = TakenOver {
            records: 0,
            unread: left.unread,
        };
        let bytes_max = std::mem::replace(&mut self.bytes_max, u64::MAX);
        let mut batch: Vec<(i64, Vec<u8>, Vec<u8>)> = Vec::new();
        loop {
            let read = other.read().unwrap_or_else(|error| {
                let Some(path) = other.leave_file() else {
                    return Read::End;
                };
                tracing::error!(%error, path = %path.display(), "a file of decisions that were written early cannot be read; it is left where it is");
                taken.unread += 1;
                Read::Damaged(0)
            });
            let is_end = read == Read::End;
            match read {
                Read::Record {
                    number,
                    at,
                    key,
                    value,
                } if number >= left.from => {
                    batch.push((at, key, value));
                }
                Read::Damaged(_) => mine.damages += 1,
                Read::Record { .. } | Read::End => {}
            }
            if is_end || batch.len() == RECORDS_MAX {
                let stored = batch.iter().map(|(at, key, value)| Stored {
                    at: *at,
                    key,
                    value,
                });
                if let (_, Err(NotAppended::Disk(error))) = self.append(stored, mine.from) {
                    return Err(error);
                }
                taken.records += u64::try_from(batch.len()).unwrap_or(u64::MAX);
                batch.clear();
            }
            if is_end {
                break;
            }
        }
        self.bytes_max = bytes_max;
        mine.to = self.end;
        if taken.unread > 0 {
            other.mark_max = left.mark;
        }
        other.acknowledge(u64::MAX);
        Ok(taken)
    }

    /// Goes on behind the file that is being read, which cannot be, and leaves it to the next start.
    fn leave_file(&mut self) -> Option<&Path> {
        let segment = self.go_behind_file()?;
        segment.is_left = true;
        Some(&segment.path)
    }
}
