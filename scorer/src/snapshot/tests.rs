//! Files that were torn, damaged, or written under something else are told apart, and the one before them is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tollgate_features::{Digest, Limits, Origin};
use tollgate_types::{
    CardId, Currency, Money, Rates, Record, Schema, SchemaBuilder, Transaction, TransactionId,
};

use super::load::{Loaded, Wanted, load, newest};
use super::*;
use crate::metrics::Metrics;

/// Enough cards for several chunks.
const CARDS: usize = 5_000;

fn schema(retain: &[String]) -> Arc<Schema> {
    let mut builder = SchemaBuilder::default();
    for (name, key) in [("card", "card_id"), ("merchant", "merchant_id")] {
        let retention = Span::from_days(30);
        builder
            .entity(name, &[key.to_owned()], retain, retention)
            .unwrap();
    }
    Arc::new(builder.build())
}

fn usual() -> Arc<Schema> {
    schema(&["amount".to_owned()])
}

fn apply(store: &Store, number: usize) {
    let currency = Currency::parse("EUR").unwrap();
    let transaction = Transaction::new(
        TransactionId::parse(&format!("t{number}")).unwrap(),
        EventTime::from_micros(i64::try_from(number).unwrap() * 1_000_000),
        CardId::parse(&format!("c{}", number % CARDS)).unwrap(),
        Money {
            amount_minor: 100,
            currency,
        },
        format!("merchant-{}", number % 50),
    );
    let rates = Rates::new(currency, BTreeMap::new()).unwrap();
    let record = Record::new(&transaction, store.schema(), &rates).unwrap();
    store.apply(&record, Origin::Log { authorized: true });
}

fn under(schema: &Schema) -> Under {
    Under {
        cluster: Arc::new(OnceLock::from("cluster-1".to_owned())),
        transactions_topic: "transactions".to_owned(),
        labels_topic: "labels".to_owned(),
        base: "EUR".to_owned(),
        retained: Store::retained(schema),
    }
}

fn parts(folder: &Path, store: &Arc<Store>) -> Parts {
    Parts {
        config: SnapshotConfig {
            path: folder.to_owned(),
            ..SnapshotConfig::default()
        },
        store: Arc::clone(store),
        positions: Arc::default(),
        ingest: Arc::default(),
        under: under(store.schema()),
        metrics: Metrics::new().unwrap().snapshot,
        newest: None,
        give_up_at: Arc::new(AtomicI64::new(i64::MAX)),
    }
}

fn wanted(schema: &Arc<Schema>) -> Wanted {
    Wanted {
        under: under(schema),
        schema: Arc::clone(schema),
        limits: Limits::default(),
        expires_at: EventTime::from_micros(0),
    }
}

/// A folder with two snapshots; the store has more in the second.
fn two_snapshots() -> (tempfile::TempDir, [Digest; 2], Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::new(usual()));
    let parts = parts(folder.path(), &store);
    let files = Folder::open(folder.path()).unwrap();
    let digests = [0..CARDS * 4, CARDS * 4..CARDS * 5].map(|numbers| {
        numbers.for_each(|number| apply(&store, number));
        write::write(&files, 3, &parts).unwrap();
        store.digest()
    });
    let paths = files.snapshots().unwrap();
    (
        folder,
        digests,
        paths.into_iter().map(|(_, path)| path).collect(),
    )
}

fn look(folder: &Path, wanted: &Wanted) -> (Option<Loaded>, Metrics) {
    let metrics = Metrics::new().unwrap();
    let folder = Folder::open(folder).unwrap();
    let loaded = newest(&folder, wanted, &metrics.snapshot).unwrap();
    (loaded, metrics)
}

fn skipped(metrics: &Metrics, reason: &str) -> bool {
    let sample = format!("tollgate_snapshot_skipped_total{{reason=\"{reason}\"}} 1");
    metrics.render().contains(&sample)
}

/// Where the parts of a file begin, and its end.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut at = 21;
    let mut found = vec![at];
    while at < bytes.len() {
        let length = u32::from_le_bytes(*bytes[at + 1..].first_chunk().unwrap());
        at += 17 + usize::try_from(length).unwrap();
        found.push(at);
    }
    found
}

#[test]
fn a_file_cut_anywhere_is_torn_and_the_one_before_it_is_used() {
    let (folder, [before, newest], paths) = two_snapshots();
    let wanted = wanted(&usual());
    let (loaded, _) = look(folder.path(), &wanted);
    assert_eq!(loaded.unwrap().store.digest(), newest);
    let whole = std::fs::read(&paths[0]).unwrap();
    let boundaries = boundaries(&whole);
    assert!(
        boundaries.len() > 4,
        "a header, chunks, a trailer: {boundaries:?}"
    );
    let between = boundaries.windows(2).map(|pair| (pair[0] + pair[1]) / 2);
    let beside = boundaries.iter().flat_map(|at| [at - 1, at + 1]);
    let cuts = boundaries
        .iter()
        .copied()
        .chain(between)
        .chain(beside)
        .chain([0, 16, 20]);
    for cut in cuts.filter(|cut| *cut < whole.len()) {
        std::fs::write(&paths[0], &whole[..cut]).unwrap();
        let refusal = load(&paths[0], &wanted).err().unwrap();
        assert_eq!(refusal.name(), "torn", "cut at {cut}: {refusal}");
    }
    let (loaded, metrics) = look(folder.path(), &wanted);
    assert_eq!(loaded.unwrap().store.digest(), before);
    assert!(skipped(&metrics, "torn"));
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let (folder, [before, _], paths) = two_snapshots();
    let wanted = wanted(&usual());
    let whole = std::fs::read(&paths[0]).unwrap();
    let near = boundaries(&whole).into_iter().flat_map(|at| at..at + 20);
    for at in (0..21).chain(near).chain((0..whole.len()).step_by(997)) {
        if at < whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&paths[0], &bytes).unwrap();
            let refusal = load(&paths[0], &wanted).err();
            assert!(refusal.is_some(), "byte {at} of {}", whole.len());
        }
    }
    std::fs::write(&paths[0], [&whole[..], b"more"].concat()).unwrap();
    assert_eq!(load(&paths[0], &wanted).err().unwrap().name(), "corrupt");
    std::fs::write(&paths[1], "").unwrap();
    let (loaded, _) = look(folder.path(), &wanted);
    assert!(loaded.is_none(), "without a good one the log is read");
    std::fs::write(&paths[1], &whole).unwrap();
    assert_ne!(
        look(folder.path(), &wanted).0.unwrap().store.digest(),
        before
    );
}

#[test]
fn a_snapshot_of_another_log_or_schema_or_form_is_not_used_and_says_why() {
    let (folder, _, paths) = two_snapshots();
    type Change<'c> = &'c dyn Fn(&mut Wanted);
    let refusal = |change: Change<'_>| {
        let mut wanted = wanted(&usual());
        change(&mut wanted);
        let refusal = load(&paths[0], &wanted).err().unwrap();
        format!("{}: {refusal}", refusal.name())
    };
    let cases: [(Change<'_>, &str); 5] = [
        (
            &|wanted| wanted.under.cluster = Arc::new(OnceLock::from("cluster-2".to_owned())),
            "other_log: its positions are those of the cluster `cluster-1`, and this is `cluster-2`",
        ),
        (
            &|wanted| wanted.under.labels_topic = "verdicts".to_owned(),
            "other_log: it was filled from the topic `labels`, and now `verdicts` is read",
        ),
        (
            &|wanted| wanted.under.base = "USD".to_owned(),
            "other_schema: the schema keeps other things than it has: amounts were in EUR and now are in USD",
        ),
        (
            &|wanted| {
                let fewer = Store::retained(&schema(&[]));
                wanted.under.retained[1] = fewer[1].clone();
            },
            "other_schema: the schema keeps other things than it has: the entity `merchant` was kept by merchant_id \
             (text), amount (number) for 30d and now is kept by merchant_id (text), no fields for 30d",
        ),
        (
            &|wanted| wanted.limits.bytes_max = 100_000,
            "too_large: it has more than fits into memory; raise features.memory_mib_max",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(refusal(change), expected);
    }
    // Where no broker says which cluster it is of, it is taken to be that of the snapshot.
    let mut unknown = wanted(&usual());
    unknown.under.cluster = Arc::default();
    assert!(load(&paths[0], &unknown).is_ok());
    let cluster = unknown.under.cluster.get().map(String::as_str);
    assert_eq!(cluster, Some("cluster-1"));
    let mut bytes = std::fs::read(&paths[0]).unwrap();
    bytes[17] += 1;
    std::fs::write(&paths[0], &bytes).unwrap();
    let (loaded, metrics) = look(folder.path(), &wanted(&usual()));
    assert!(loaded.is_some(), "the one before it");
    assert!(skipped(&metrics, "other_form"));
}

#[test]
fn what_cannot_be_written_leaves_what_was_there_and_is_counted() {
    let (folder, [_, newest], _) = two_snapshots();
    let store = Arc::new(Store::new(usual()));
    let mut late = parts(folder.path(), &store);
    apply(&store, 1);
    late.give_up_at = Arc::new(AtomicI64::new(i64::MIN));
    let mut writing = Writing {
        folder: Folder::open(folder.path()).unwrap(),
        parts: late,
    };
    writing.write();
    assert_eq!(writing.parts.metrics.failures.get(), 1);
    assert_eq!(writing.parts.metrics.written.get(), 0);
    let files = writing.folder.snapshots().unwrap();
    assert_eq!(files.len(), 2);
    let loaded = load(&files[0].1, &wanted(&usual())).ok();
    assert_eq!(loaded.unwrap().store.digest(), newest);
    writing.parts.give_up_at.store(i64::MAX, Ordering::Relaxed);
    // The folder is gone, as with a disk that was taken away.
    drop(folder);
    writing.write();
    assert_eq!(writing.parts.metrics.failures.get(), 2);
}

#[test]
fn one_during_which_ingest_ended_is_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::new(usual()));
    apply(&store, 1);
    let mut writing = Writing {
        folder: Folder::open(folder.path()).unwrap(),
        parts: parts(folder.path(), &store),
    };
    assert!(!writing.write(), "more may come");
    let given_up = i64::MAX - 1;
    writing.parts.give_up_at.store(given_up, Ordering::Relaxed);
    assert!(writing.write());
}
