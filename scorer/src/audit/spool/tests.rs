//! The spool held against a plain queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::take_over::TakenOver;
use super::*;

/// A disk that fails while it is told to.
#[derive(Clone, Debug, Default)]
pub(in crate::audit) struct Faults(Arc<AtomicBool>);

impl Faults {
    pub(in crate::audit) fn set(&self, broken: bool) {
        self.0.store(broken, Ordering::Relaxed);
    }

    pub(super) fn failure(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// What of a write reaches a disk that fails in it.
    pub(super) fn cut<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        if self.0.load(Ordering::Relaxed) {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        }
    }
}

type Owned = (u64, Vec<u8>, Vec<u8>);

fn key(number: u64) -> Vec<u8> {
    format!("card-{}", number % 5).into_bytes()
}

fn value(number: u64) -> Vec<u8> {
    // Of every value of a byte, and now and then none at all.
    let length = number * 37 % 120;
    (0..length)
        .map(|at| u8::try_from((at * 31 + number) % 256).unwrap())
        .collect()
}

/// Appends records by their numbers, in batches of the given sizes; returns how long the last file was before the last batch.
fn append(spool: &mut Spool, batches: &[u64]) -> u64 {
    let mut before = 0;
    for &count in batches {
        before = spool.segments.back().map_or(0, |last| last.bytes);
        let first = spool.end();
        let contents: Vec<_> = (first..first + count)
            .map(|number| (key(number), value(number)))
            .collect();
        let stored = contents
            .iter()
            .zip(first..)
            .map(|((key, value), number)| Stored {
                at: i64::try_from(number).unwrap(),
                key,
                value,
            });
        let (appended, result) = spool.append(stored, 0);
        result.unwrap();
        assert_eq!(u64::try_from(appended).unwrap(), count);
    }
    before
}

/// All that can be read, and how many places could not be.
fn read_all(spool: &mut Spool) -> (Vec<Owned>, usize) {
    let (mut records, mut damages) = (Vec::new(), 0);
    loop {
        match spool.read().unwrap() {
            Read::Record {
                number,
                at,
                key,
                value,
            } => {
                assert_eq!(at, i64::try_from(number).unwrap());
                records.push((number, key, value));
            }
            Read::Damaged(bytes) => {
                assert!(bytes > 0);
                damages += 1;
            }
            Read::End => return (records, damages),
        }
    }
}

fn written(numbers: std::ops::Range<u64>) -> Vec<Owned> {
    numbers
        .map(|number| (number, key(number), value(number)))
        .collect()
}

fn open(path: &Path) -> (Spool, Left) {
    Spool::open(path, 1 << 20).unwrap()
}

/// The folder's files, oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

#[test]
fn a_crash_at_any_byte_of_the_last_write_loses_what_it_had_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    let before = append(&mut spool, &[3, 2, 4]);
    drop(spool);
    let file = files(folder.path()).remove(0);
    let bytes = std::fs::read(&file).unwrap();
    let before = usize::try_from(before).unwrap();
    for length in before..=bytes.len() {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let (mut spool, left) = open(folder.path());
        let (records, damages) = read_all(&mut spool);
        // The mark that the write begins with, then its records.
        let mut ends = vec![before, before + 25];
        for number in 5..9 {
            let record = FRAMED + key(number).len() + value(number).len();
            ends.push(ends[ends.len() - 1] + record);
        }
        let whole = ends.iter().skip(2).filter(|end| **end <= length).count();
        let expected = 5 + u64::try_from(whole).unwrap();
        assert_eq!(records, written(0..expected), "{length}");
        let is_cut = !ends.contains(&length);
        assert_eq!(
            (left.cut, damages),
            (u64::from(is_cut), usize::from(is_cut)),
            "{length}"
        );
        assert_eq!(left.to, expected);
        // What comes next goes on from there.
        append(&mut spool, &[2]);
        assert_eq!(read_all(&mut spool).0, written(expected..expected + 2));
        drop(spool);
        for other in files(folder.path()).split_off(1) {
            std::fs::remove_file(other).unwrap();
        }
    }
    assert_eq!(
        bytes.len(),
        before
            + 25
            + (5..9)
                .map(|number| FRAMED + key(number).len() + value(number).len())
                .sum::<usize>()
    );
}

/// A frame's head and checksum, the number and the time.
const FRAMED: usize = 17 + 16;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_bit_that_flips_costs_the_record_it_is_in_and_no_other(
        batches in proptest::collection::vec(1..8_u64, 1..8),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(folder.path());
        spool.segment_bytes = 600;
        append(&mut spool, &batches);
        drop(spool);
        let count: u64 = batches.iter().sum();
        let files = files(folder.path());
        let sizes: Vec<usize> = files.iter().map(|file| usize::try_from(file.metadata().unwrap().len()).unwrap()).collect();
        let mut at = at.index(sizes.iter().sum());
        let mut hit = 0;
        while at >= sizes[hit] {
            at -= sizes[hit];
            hit += 1;
        }
        let mut bytes = std::fs::read(&files[hit]).unwrap();
        bytes[at] ^= 1 << bit;
        std::fs::write(&files[hit], &bytes).unwrap();
        let (mut spool, left) = open(folder.path());
        let (records, damages) = read_all(&mut spool);
        let is_foreign = (14..16).contains(&at);
        prop_assert_eq!(left.foreign, u64::from(is_foreign));
        let all = written(0..count);
        let missing: Vec<&Owned> = all.iter().filter(|one| !records.contains(one)).collect();
        if is_foreign {
            // Another form's number: nothing of the file can be judged.
            prop_assert!(records.iter().all(|one| all.contains(one)));
        } else if at < 16 {
            prop_assert_eq!((missing.len(), damages), (0, 0));
        } else {
            // A file of which nothing can be read is known for that at once.
            prop_assert!(damages == 1 || left.cut == 1);
            // A mark, or the record.
            prop_assert!(missing.len() <= 1, "{missing:?}");
        }
        prop_assert!(records.is_sorted());
        prop_assert!(records.iter().all(|one| all.contains(one)));
    }

    #[test]
    fn whatever_is_in_its_files_is_read_to_the_end(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4)) {
        let folder = tempfile::tempdir().unwrap();
        for (number, content) in contents.iter().enumerate() {
            let name = format!("decisions-{number:012}.spool");
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let (mut spool, left) = open(folder.path());
        prop_assert_eq!((left.from, left.to), (0, 0));
        prop_assert!(read_all(&mut spool).0.is_empty());
        append(&mut spool, &[3]);
        prop_assert_eq!(read_all(&mut spool).0, written(0..3));
    }
}

#[test]
fn a_full_spool_takes_nothing_more_until_kafka_has_some() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), 2_000).unwrap();
    spool.segment_bytes = 500;
    let value = [7; 100];
    let stored = || {
        std::iter::repeat_n(
            Stored {
                at: 0,
                key: b"card",
                value: &value,
            },
            50,
        )
    };
    let (first, result) = spool.append(stored(), 0);
    assert!(matches!(result, Err(NotAppended::Full)));
    assert!(first > 0 && spool.bytes() <= 2_000);
    let (none, result) = spool.append(stored(), 0);
    assert!(none == 0 && matches!(result, Err(NotAppended::Full)));
    spool.acknowledge(u64::try_from(first).unwrap() - 1);
    assert!(spool.append(stored(), 0).0 > 0);
    assert!(spool.bytes() <= 2_000);
}

#[test]
fn room_comes_back_in_the_smallest_spool_while_it_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), 1 << 20).unwrap();
    let value = [7; 20_000];
    // Three times as much as it may have, of which each record is done with before the next one comes.
    for number in 0..150 {
        let record = std::iter::once(Stored {
            at: 0,
            key: b"card",
            value: &value,
        });
        let (appended, result) = spool.append(record, number);
        assert!(appended == 1 && result.is_ok(), "{number}");
        spool.acknowledge_but_last(number + 1);
    }
}

#[test]
fn a_disk_that_fails_costs_nothing_that_it_said_to_have() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(folder.path());
    append(&mut spool, &[4]);
    spool.faults.set(true);
    for _ in 0..3 {
        let one = std::iter::once(Stored {
            at: 0,
            key: b"card",
            value: b"lost",
        });
        let (none, result) = spool.append(one, 0);
        assert!(none == 0 && matches!(result, Err(NotAppended::Disk(_))));
    }
    assert_eq!(
        files(folder.path()).len(),
        1,
        "nothing is left of what failed"
    );
    spool.faults.set(false);
    append(&mut spool, &[2]);
    assert_eq!(read_all(&mut spool), (written(0..6), 0));
    drop(spool);
    assert_eq!(read_all(&mut open(folder.path()).0), (written(0..6), 0));
}

/// Of each record that there is, when it was handed over: in these tests the number that it had at first.
fn times(spool: &mut Spool) -> Vec<u64> {
    let mut times = Vec::new();
    while let Read::Record { at, .. } = spool.read().unwrap() {
        times.push(u64::try_from(at).unwrap());
    }
    times
}

const fn taken_over(records: u64, unread: u64) -> TakenOver {
    TakenOver { records, unread }
}

#[test]
fn files_that_cannot_be_read_are_left_and_taken_over_at_the_next_start() {
    let (folder, early) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut written, _) = open(early.path());
    for _ in 0..3 {
        append(&mut written, &[2]);
        written.writer = None;
    }
    drop(written);
    let (mut spool, mut mine) = open(folder.path());
    let (mut written, left) = open(early.path());
    written.faults.set(true);
    let taken = spool.take_over(&mut written, &left, &mut mine);
    assert_eq!(taken.unwrap(), taken_over(0, 3));
    assert_eq!(mine.damages, 3);
    written.faults.set(false);
    // What this run writes there is done with at its end.
    append(&mut written, &[2]);
    written.mark(8);
    written.acknowledge(8);
    assert_eq!(files(early.path()).len(), 3);
    drop(written);
    let (mut written, left) = open(early.path());
    let taken = spool.take_over(&mut written, &left, &mut mine);
    assert_eq!(taken.unwrap(), taken_over(6, 0));
    assert_eq!(times(&mut spool), [0, 1, 2, 3, 4, 5]);
    assert!(files(early.path()).is_empty());
}

#[test]
fn what_a_run_writes_beside_a_file_that_it_could_not_read_hides_none_of_it() {
    let (folder, early) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut written, _) = open(early.path());
    for _ in 0..2 {
        append(&mut written, &[2]);
        written.writer = None;
    }
    append(&mut written, &[2]);
    // Kafka has the first of the two in the last file.
    written.mark(5);
    drop(written);
    let lost = files(early.path()).pop().unwrap();
    let aside = early.path().join("aside");
    std::fs::rename(&lost, &aside).unwrap();
    std::fs::create_dir(&lost).unwrap();
    let (mut written, left) = open(early.path());
    assert_eq!((left.unread, left.damages), (1, 1));
    let (mut spool, mut mine) = open(folder.path());
    let taken = spool.take_over(&mut written, &left, &mut mine);
    assert_eq!(taken.unwrap(), taken_over(4, 1));
    let first = written.end();
    append(&mut written, &[2]);
    written.mark(first + 2);
    // The process ends as it is, and the file can be read again.
    drop(written);
    std::fs::remove_dir(&lost).unwrap();
    std::fs::rename(&aside, &lost).unwrap();
    let (mut written, left) = open(early.path());
    let taken = spool.take_over(&mut written, &left, &mut mine);
    assert_eq!(taken.unwrap(), taken_over(3, 0));
    assert_eq!(times(&mut spool), [0, 1, 2, 3, 5, first, first + 1]);
    assert!(files(early.path()).is_empty());
}

#[test]
fn a_folder_that_another_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let refused = Spool::open(folder.path(), 1 << 20).unwrap_err();
    assert!(
        refused.to_string().contains("another instance uses it"),
        "{refused}"
    );
    drop(first);
    open(folder.path());
}
