//! The decision log without a Kafka to take it.

use std::path::Path;
use std::time::Duration;

use arc_swap::ArcSwap;
use tollgate_models::Runtime;
use tollgate_types::{Currency, Money, TransactionId};

use super::spool::{Read, Spool};
use super::*;
use crate::clock;
use crate::config::{DecisionLogConfig, WatchConfig};
use crate::policy::{Loader, ModelLimits};
use crate::watch::DriftReports;

/// The sample policy.
fn policy() -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let library = std::env::var_os("TOLLGATE_ONNXRUNTIME").map_or_else(
        || root.join("target/onnxruntime/libonnxruntime.so"),
        Into::into,
    );
    let runtime = Runtime::load(&library);
    let loader = Loader::new(root.join("policy"), runtime, ModelLimits::default());
    loader.load().unwrap().0
}

fn transaction() -> Transaction {
    let amount = Money {
        amount_minor: 1_000,
        currency: Currency::parse("EUR").unwrap(),
    };
    let (id, card) = (TransactionId::parse("t1"), CardId::parse("card-1"));
    Transaction::new(
        id.unwrap(),
        clock::wall_time(),
        card.unwrap(),
        amount,
        "m1".to_owned(),
    )
}

fn entry(policy: &Arc<Policy>) -> Entry {
    let features = vec![Cell::MISSING; policy.logic().layout.features.len()];
    Entry {
        response: v1::ScoreResponse::default(),
        card_id: CardId::parse("card-1").unwrap(),
        event_time: clock::wall_time(),
        decided_at: clock::wall_time(),
        answered: None,
        transaction: Arc::new(transaction()),
        arrived: clock::instant(),
        times: Times::default(),
        model_timings: None,
        reasons_timings: None,
        matched_rules: Vec::new(),
        aggregates: None,
        model_reasons_max: 0,
        model_inputs: Rows::default(),
        features,
        texts: FeatureTexts::default(),
        policy: Arc::clone(policy),
    }
}

/// How long a test waits for what other threads do. Only ever waited out by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap();
}

fn watch(policy: &Arc<Policy>, reports: &DriftReports, metrics: &Metrics) -> Watch {
    let live = Arc::new(ArcSwap::from(Arc::clone(policy)));
    Watch::new(&WatchConfig::default(), live, reports.clone(), metrics)
}

#[tokio::test]
async fn models_are_watched_while_kafka_is_away() {
    let policy = Arc::new(policy());
    let metrics = Metrics::new().unwrap();
    let reports = DriftReports::default();
    let watch = watch(&policy, &reports, &metrics);
    let mut config = KafkaConfig::default();
    // One record that nobody takes, and the producer takes no other.
    let full = ("queue.buffering.max.messages".to_owned(), "1".to_owned());
    config.properties.extend([full]);
    let nobody = "127.0.0.1:1";
    let spools = Spools::default();
    let (log, _publishing) = AuditLog::start(&config, nobody, spools, watch, &metrics).unwrap();
    // Three times what is taken at once.
    let entries = 3 * BATCH_MAX;
    for _ in 0..entries {
        log.record(entry(&policy), None);
    }
    let expected = u64::try_from(entries).unwrap();
    until(|| {
        let report = reports.of("travel-fraud/1");
        report.is_some_and(|report| report.rows >= expected)
    })
    .await;
    let published = metrics.decision_log.counted(RecordResult::Published);
    assert_eq!(published, 0);
}

/// A log with `spool-first` and nobody to send to: its spool takes nothing, so that all there is stays in memory.
struct SpoolFirst {
    policy: Arc<Policy>,
    metrics: Metrics,
    /// What the next start has; with what is written before it is answered.
    folder: tempfile::TempDir,
    _spool: tempfile::TempDir,
    log: AuditLog,
    publishing: Publishing,
}

impl SpoolFirst {
    fn start(memory_records_max: usize) -> Self {
        let policy = Arc::new(policy());
        let metrics = Metrics::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let spool = tempfile::tempdir().unwrap();
        let early = folder.path().join("early");
        let spools = Spools {
            config: DecisionLogConfig {
                durability: Durability::SpoolFirst,
                memory_records_max,
                sync_wait_ms_max: 30_000,
                ..DecisionLogConfig::default()
            },
            spool: Some(Spool::open(spool.path(), 0).unwrap()),
            early: Some(Spool::open(&early, 1 << 20).unwrap().0),
        };
        let watch = watch(&policy, &DriftReports::default(), &metrics);
        let (kafka, nobody) = (KafkaConfig::default(), "127.0.0.1:1");
        let (log, publishing) = AuditLog::start(&kafka, nobody, spools, watch, &metrics).unwrap();
        Self {
            policy,
            metrics,
            folder,
            _spool: spool,
            log,
            publishing,
        }
    }

    fn decided(&self, decision_id: &str) -> Entry {
        let mut entry = entry(&self.policy);
        entry.response.decision_id = decision_id.to_owned();
        entry
    }

    async fn write(&self, decision_id: &str) -> Option<Ticket> {
        let until = clock::instant() + PATIENCE;
        self.log.write_early(self.decided(decision_id), until).await
    }

    fn dropped(&self) -> u64 {
        self.metrics.decision_log.counted(RecordResult::Dropped)
    }

    /// Ends as a crash would, and returns the decisions that the next start sends.
    async fn sent_after_a_crash(self) -> Vec<String> {
        // What was given back by then is put away, and nothing else.
        let (early, ended) = self.publishing.early.unwrap();
        early.close();
        ended.await.unwrap();
        let config = DecisionLogConfig {
            spool_path: self.folder.path().to_owned(),
            ..DecisionLogConfig::default()
        };
        let metrics = Metrics::new().unwrap().decision_log;
        let spools = Spools::open(&config, &metrics).await.unwrap();
        let (mut spool, _) = spools.spool.unwrap();
        let mut sent = Vec::new();
        while let Read::Record { value, .. } = spool.read().unwrap() {
            let record = v1::DecisionRecord::decode(value.as_slice()).unwrap();
            sent.push(record.response.unwrap().decision_id);
        }
        sent
    }
}

#[tokio::test]
async fn what_was_written_before_its_answer_is_kept_where_memory_and_the_spool_are_full() {
    let spool_first = SpoolFirst::start(2);
    let ticket = spool_first.write("answered").await.unwrap();
    let log = &spool_first.log;
    for _ in 0..2 {
        log.record(spool_first.decided("other"), None);
    }
    until(|| log.report().is_full).await;
    // From now on it is said that a decision is not safe.
    assert!(spool_first.write("later").await.is_none());
    log.record(spool_first.decided("lost"), None);
    log.record(spool_first.decided("answered"), Some(ticket));
    until(|| log.report().memory_records == 3).await;
    assert_eq!(spool_first.dropped(), 1);
    assert_eq!(spool_first.sent_after_a_crash().await, ["answered"]);
}

#[tokio::test]
async fn what_was_written_before_its_answer_has_its_place_in_the_queue() {
    let spool_first = SpoolFirst::start(QUEUE_MAX);
    let ticket = spool_first.write("answered").await.unwrap();
    let log = &spool_first.log;
    // Nothing is taken from the queue meanwhile: that is done on this thread.
    for _ in 1..QUEUE_MAX {
        assert!(log.record(spool_first.decided("other"), None));
    }
    assert!(!log.record(spool_first.decided("lost"), None));
    assert!(spool_first.write("later").await.is_none());
    assert!(log.record(spool_first.decided("answered"), Some(ticket)));
    assert_eq!(spool_first.dropped(), 1);
}
