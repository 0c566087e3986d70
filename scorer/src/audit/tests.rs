//! The decision log without a Kafka to take it.

use std::path::Path;
use std::time::Duration;

use arc_swap::ArcSwap;
use tollgate_models::Runtime;
use tollgate_types::{Currency, Money, TransactionId};

use super::*;
use crate::clock;
use crate::config::WatchConfig;
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

#[tokio::test]
async fn models_are_watched_while_kafka_is_away() {
    let policy = Arc::new(policy());
    let metrics = Metrics::new().unwrap();
    let live = Arc::new(ArcSwap::from(Arc::clone(&policy)));
    let reports = DriftReports::default();
    let watch = Watch::new(&WatchConfig::default(), live, reports.clone(), &metrics);
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
    let seen = async {
        while reports
            .of("travel-fraud/1")
            .is_none_or(|report| report.rows < expected)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen)
        .await
        .unwrap();
    let published = metrics.decision_log.counted(RecordResult::Published);
    assert_eq!(published, 0);
}
