//! A file of the spool: a magic word and the form's number, then frames: records, and marks that say how far Kafka has them.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::frames::{self, FRAME_BYTES, First, Head};

const PREFIX: &str = "decisions-";
const SUFFIX: &str = ".spool";

const MAGIC: [u8; 14] = *b"tollgate-spool";
const FORM: u16 = 1;
pub(super) const HEADER_BYTES: u64 = 16;

/// A record: its number and when it was handed over, the key, the value. The frame's extra number is the length of the key.
const RECORD: u8 = 1;
/// The number of the first record that Kafka did not have.
const MARK: u8 = 2;

/// Bytes of a record before its key.
const RECORD_HEAD: usize = 16;

/// Longest content of a frame: far above what Kafka takes, far below what would be a burden when a length has rotted.
const CONTENT_BYTES_MAX: usize = 64 << 20;

/// What is known of a file without reading it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: u64,
    pub(super) path: PathBuf,
    /// Numbers of its records: from `first` to before `end`.
    pub(super) first: u64,
    pub(super) end: u64,
    /// Up to here it is to be read.
    pub(super) bytes: u64,
    /// When its first record was handed over, in microseconds since 1970.
    pub(super) begun: i64,
    /// It stays for the next start, whatever is acknowledged.
    pub(super) is_left: bool,
}

/// A record that is written or was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored<'r> {
    /// When it was handed over, in microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) key: &'r [u8],
    pub(crate) value: &'r [u8],
}

impl Stored<'_> {
    pub(super) const fn framed_bytes(&self) -> usize {
        FRAME_BYTES + RECORD_HEAD + self.key.len() + self.value.len()
    }

    pub(super) fn put(&self, number: u64, out: &mut Vec<u8>) {
        let (number, at) = (number.to_le_bytes(), self.at.to_le_bytes());
        let key = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
        frames::put(out, RECORD, key, &[&number, &at, self.key, self.value]);
    }
}

pub(super) fn put_mark(out: &mut Vec<u8>, low: u64) {
    frames::put(out, MARK, 0, &[&low.to_le_bytes()]);
}

/// What is in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'b> {
    Record(u64, Stored<'b>),
    Mark(u64),
}

/// What bytes of a file begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'b> {
    /// An entry, and how many bytes it takes.
    Entry(Entry<'b>, usize),
    /// So many bytes are needed to tell.
    Short(usize),
    Damaged,
}

pub(super) fn step(bytes: &[u8]) -> Step<'_> {
    match frames::first(bytes, is_plausible) {
        First::Short(needed) => Step::Short(needed),
        First::Damaged => Step::Damaged,
        First::Whole { head, content } => {
            let entry = entry(head, content);
            entry.map_or(Step::Damaged, |entry| {
                Step::Entry(entry, FRAME_BYTES + content.len())
            })
        }
    }
}

fn is_plausible(head: Head) -> bool {
    let length = head.length();
    match head.kind {
        RECORD => (RECORD_HEAD.saturating_add(head.extra())..=CONTENT_BYTES_MAX).contains(&length),
        MARK => length == 8,
        _ => false,
    }
}

fn entry(head: Head, content: &[u8]) -> Option<Entry<'_>> {
    let (number, rest) = content.split_first_chunk()?;
    let number = u64::from_le_bytes(*number);
    if head.kind == MARK {
        return Some(Entry::Mark(number));
    }
    let (at, rest) = rest.split_first_chunk()?;
    let (key, value) = rest.split_at_checked(head.extra())?;
    let at = i64::from_le_bytes(*at);
    Some(Entry::Record(number, Stored { at, key, value }))
}

/// How many bytes there are before the next entry in what is all of a file's rest; all of them if there is none.
pub(super) fn damaged_bytes(rest: &[u8]) -> usize {
    (1..rest.len())
        .find(|&at| matches!(step(&rest[at..]), Step::Entry(..)))
        .unwrap_or(rest.len())
}

/// What a look through a whole file has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) first: Option<u64>,
    pub(super) end: Option<u64>,
    /// The greatest mark.
    pub(super) mark: u64,
    /// When the first record was handed over.
    pub(super) at: Option<i64>,
    /// It ends in something that is no entry.
    pub(super) is_cut: bool,
}

/// Looks through a file; `None` if it is of another form. One whose header was cut has nothing.
pub(super) fn scan(file: &[u8]) -> Option<Scan> {
    let mut scan = Scan::default();
    let Some((header, mut rest)) = file.split_at_checked(header().len()) else {
        scan.is_cut = true;
        return Some(scan);
    };
    if header[..MAGIC.len()] == MAGIC && header != self::header() {
        return None;
    }
    // A header that has rotted says nothing of what is behind it.
    while !rest.is_empty() {
        let taken = match step(rest) {
            Step::Entry(entry, taken) => {
                scan.note(&entry);
                taken
            }
            Step::Short(_) | Step::Damaged => {
                let damaged = damaged_bytes(rest);
                scan.is_cut = damaged == rest.len();
                damaged
            }
        };
        rest = &rest[taken..];
    }
    Some(scan)
}

impl Scan {
    fn note(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::Mark(low) => self.mark = self.mark.max(low),
            Entry::Record(number, stored) => {
                self.first = self.first.or(Some(number));
                self.at = self.at.or(Some(stored.at));
                self.end = self.end.max(Some(number.saturating_add(1)));
            }
        }
    }
}

fn header() -> [u8; 16] {
    let mut header = [0; 16];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[MAGIC.len()..].copy_from_slice(&FORM.to_le_bytes());
    header
}

/// Makes a file with nothing in it yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(&header())?;
    Ok(file)
}

pub(super) fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:012}{SUFFIX}")
}

pub(super) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    digits.parse().ok()
}
