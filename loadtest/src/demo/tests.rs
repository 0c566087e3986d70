//! The whole demo against a stand-in for the service: a broker, an admin port, a gRPC server.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::kafka::fake as kafka;
use crate::kafka::fake::Applied;
use crate::score::fake as score;

/// Plays the demo with `copies` decision records for every answer.
async fn play_with(copies: usize) -> (Report, Vec<Applied>) {
    let cluster = kafka::broker();
    let bootstrap = cluster.bootstrap_servers();
    let applied = Arc::new(AtomicU64::new(0));
    let log = kafka::DecisionLog::connect(&bootstrap);
    let record = move |id: &str| (0..copies).for_each(|_| log.record(id));
    let service = score::start_with(Some(Box::new(record))).await;
    let mut targets = kafka::targets(bootstrap.clone(), kafka::admin(Arc::clone(&applied)).await);
    targets.grpc = service.address.clone();
    let applying = kafka::Applying::start(bootstrap, applied);
    let args = Args {
        targets,
        cards: 150,
        history_days: 12,
        live_days: 2,
        rate: 2_000.0,
        arrivals: Arrivals::Poisson,
        seed: 3,
        connections: 2,
        report: PathBuf::new(),
    };
    let report = play(&args, score::PATIENCE).await.unwrap();
    (report, applying.finish())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_published_once_and_every_live_transaction_is_scored() {
    let (report, records) = play_with(1).await;
    report.check().unwrap();

    // The generator alone says what there was to do.
    let (mut expected, mut live) = (0, 0);
    let generator = Generator::new(Config::new(150, 14, 3));
    for event in generator.take_while(|event| event.at() < midnight(14)) {
        expected += 1;
        live += u64::from(event.is_transaction() && event.at() >= midnight(12));
    }
    assert_eq!(records.len(), expected);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["scored"], live);
    assert_eq!(json["outcomes"]["approve"], live, "the stand-in approves");
    assert_eq!(json["decisions"]["records"], live);
    assert_eq!(json["published"], expected);
    assert_eq!(json["fraud_caught"], 0.0);

    let mut last = HashMap::new();
    for transaction in records.iter().filter_map(Applied::transaction) {
        let event_time = transaction.event_time.unwrap();
        let now = (event_time.seconds, event_time.nanos);
        let before = last.insert(transaction.card_id, now);
        assert!(before.is_none_or(|before| before <= now));
    }
    assert!(last.len() > 100, "most cards pay");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_recorded_twice_is_an_error() {
    let (report, _) = play_with(2).await;
    let error = report.check().unwrap_err().to_string();
    assert!(error.contains("with more than one"), "{error}");
}
