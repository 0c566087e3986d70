//! The outbox and the spool held against a plain queue, over crashes, failures of the disk and rewinds.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::audit::early::Early;
use crate::clock;
use crate::metrics::Metrics;

/// So small that a few records fill a file of the spool.
const SEGMENT_BYTES: u64 = 300;

const BYTES_MAX: u64 = 4_000;

#[derive(Clone, Copy, Debug)]
enum Action {
    Push(usize),
    Spill,
    Send(usize),
    /// Kafka acknowledges one of the records on their way, counted from the oldest.
    Acknowledge(usize),
    Rewind,
    Mark,
    /// The disk fails from now on, or works again.
    Break(bool),
    /// The process ends and another one begins.
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..6_usize).prop_map(Action::Push),
        3 => Just(Action::Spill),
        6 => (1..8_usize).prop_map(Action::Send),
        8 => (0..4_usize).prop_map(Action::Acknowledge),
        1 => Just(Action::Rewind),
        1 => Just(Action::Mark),
        1 => any::<bool>().prop_map(Action::Break),
        1 => Just(Action::Restart),
    ]
}

/// What is known of a record by whoever handed it over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    name: usize,
    on_disk: bool,
    sent: bool,
    acknowledged: bool,
}

struct Model {
    folder: tempfile::TempDir,
    outbox: Outbox,
    records: VecDeque<Known>,
    names: usize,
    /// Numbers of records on their way, by name.
    on_their_way: Vec<(u64, usize)>,
    broken: bool,
}

fn record(name: usize) -> Record {
    Record {
        key: format!("card-{}", name % 7).into_bytes(),
        value: vec![u8::try_from(name % 251).unwrap(); 1 + name % 90],
        at: i64::try_from(name).unwrap(),
    }
}

fn open(folder: &tempfile::TempDir) -> Outbox {
    let (mut spool, left) = Spool::open(folder.path(), BYTES_MAX).unwrap();
    spool.make_small(SEGMENT_BYTES);
    Outbox::new(Some((spool, left)))
}

impl Model {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            outbox: open(&folder),
            folder,
            records: VecDeque::new(),
            names: 0,
            on_their_way: Vec::new(),
            broken: false,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Push(count) => {
                for _ in 0..count {
                    self.outbox.push(record(self.names), None, clock::instant());
                    self.records.push_back(Known {
                        name: self.names,
                        on_disk: false,
                        sent: false,
                        acknowledged: false,
                    });
                    self.names += 1;
                }
            }
            Action::Spill => self.spill(),
            Action::Send(count) => self.send(count),
            Action::Acknowledge(at) => {
                if at < self.on_their_way.len() {
                    let (number, name) = self.on_their_way.remove(at);
                    self.outbox.done(number);
                    let known = self.records.iter_mut().find(|known| known.name == name);
                    known.unwrap().acknowledged = true;
                    while self.records.front().is_some_and(|known| known.acknowledged) {
                        self.records.pop_front();
                    }
                }
            }
            Action::Rewind => {
                self.outbox.rewind();
                self.on_their_way.clear();
                for known in &mut self.records {
                    known.sent = false;
                }
            }
            Action::Mark => self.outbox.mark(),
            Action::Break(broken) => {
                self.broken = broken;
                self.outbox.spool().unwrap().faults.set(broken);
            }
            Action::Restart => self.restart(),
        }
        let waiting = self.records.iter().filter(|known| !known.on_disk).count();
        assert_eq!(self.outbox.in_memory(), waiting);
        assert_eq!(self.outbox.is_empty(), self.records.is_empty());
        assert_eq!(self.outbox.take_damage(), Damage::default());
        let bytes = files_bytes(&self.folder);
        assert_eq!(self.outbox.spool().unwrap().bytes(), bytes);
        // A mark may be written when all else is full.
        assert!(bytes <= BYTES_MAX + 50 * 25, "{bytes} bytes");
    }

    fn spill(&mut self) {
        let (moved, result) = self.outbox.spill();
        assert!(!self.broken || moved == 0);
        let waiting = self.records.iter_mut().filter(|known| !known.on_disk);
        for known in waiting.take(moved) {
            known.on_disk = true;
        }
        if result.is_ok() {
            assert!(self.records.iter().all(|known| known.on_disk));
        }
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let expected = self
                .records
                .iter_mut()
                .find(|known| !known.sent && !known.acknowledged);
            match self.outbox.peek() {
                Ok(Some((number, next))) => {
                    let expected = expected.unwrap();
                    assert_eq!(*next, record(expected.name));
                    expected.sent = true;
                    self.on_their_way.push((number, expected.name));
                    self.outbox.handed_over();
                }
                Ok(None) => assert_eq!(expected, None),
                // It is tried a few times, and a disk that stays like this is given up, which is damage.
                Err(_) => {
                    assert!(self.broken);
                    self.act(Action::Break(false));
                }
            }
        }
    }

    /// All that was on disk and that Kafka does not have is there again, in order; a few that it has may be.
    fn restart(&mut self) {
        let replaced = tempfile::tempdir().unwrap();
        self.outbox = Outbox::new(Some(Spool::open(replaced.path(), BYTES_MAX).unwrap()));
        self.outbox = open(&self.folder);
        self.broken = false;
        self.on_their_way.clear();
        let mut again = VecDeque::new();
        while let Some((_, next)) = self.outbox.peek().unwrap() {
            let name = usize::try_from(next.at).unwrap();
            assert_eq!(*next, record(name));
            again.push_back(name);
            self.outbox.handed_over();
        }
        assert!(again.iter().is_sorted_by(|one, other| one < other));
        for known in self.records.iter().filter(|known| !known.acknowledged) {
            assert_eq!(again.contains(&known.name), known.on_disk, "{known:?}");
        }
        self.outbox.rewind();
        self.records = again
            .into_iter()
            .map(|name| Known {
                name,
                on_disk: true,
                sent: false,
                acknowledged: false,
            })
            .collect();
    }
}

fn files_bytes(folder: &tempfile::TempDir) -> u64 {
    let files = std::fs::read_dir(folder.path()).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn records_go_in_order_and_none_is_forgotten(actions in proptest::collection::vec(action(), 1..120)) {
        let mut model = Model::new();
        for action in actions {
            model.act(action);
        }
        // At last the disk is well and Kafka takes everything.
        model.act(Action::Break(false));
        while !model.records.is_empty() {
            model.act(Action::Send(10));
            model.act(Action::Acknowledge(0));
        }
        prop_assert_eq!(model.outbox.on_disk(), 0);
        prop_assert_eq!(files_bytes(&model.folder), 0, "nothing is left but the lock");
    }
}

#[test]
fn without_a_spool_everything_stays_in_memory() {
    let mut outbox = Outbox::new(None);
    for name in 0..5 {
        outbox.push(record(name), None, clock::instant());
    }
    assert_eq!(outbox.spill().0, 0);
    assert_eq!((outbox.in_memory(), outbox.on_disk()), (5, 0));
    assert_eq!(*outbox.peek().unwrap().unwrap().1, record(0));
}

#[test]
fn a_file_that_can_never_be_read_is_given_up_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(&folder);
    for name in 0..4 {
        outbox.push(record(name), None, clock::instant());
    }
    outbox.spill().1.unwrap();
    std::fs::remove_dir_all(folder.path()).unwrap();
    outbox.push(record(4), None, clock::instant());
    for _ in 1..READ_TRIES_MAX {
        assert!(outbox.peek().is_err());
    }
    // What is in memory is not held up.
    assert_eq!(*outbox.peek().unwrap().unwrap().1, record(4));
    let damage = Damage {
        records: 4,
        places: 1,
    };
    assert_eq!(outbox.take_damage(), damage);
}

#[tokio::test]
async fn a_ticket_is_given_back_once_kafka_or_the_spool_has_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(&folder);
    let early = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(early.path(), 1 << 20).unwrap();
    let metrics = Metrics::new().unwrap().decision_log;
    let (early, _ended) = Early::start(spool, metrics).unwrap();
    for name in 0..4 {
        let limit = Duration::from_secs(60);
        let ticket = early.write(record(name), limit).await.unwrap();
        outbox.push(record(name), Some(ticket), clock::instant());
    }
    let (first, _) = outbox.peek().unwrap().unwrap();
    outbox.handed_over();
    assert_eq!(early.tickets(), 4);
    outbox.done(first);
    assert_eq!(early.tickets(), 3);
    outbox.spool().unwrap().faults.set(true);
    outbox.spill().1.unwrap_err();
    assert_eq!(early.tickets(), 3);
    outbox.spool().unwrap().faults.set(false);
    outbox.spill().1.unwrap();
    assert_eq!(early.tickets(), 0);
}
