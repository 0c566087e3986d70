//! The whole demo against a stand-in for the service: a broker, an admin port, a gRPC server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use tollgate_proto::v1;

use super::*;
use crate::kafka::fake as kafka;
use crate::score::fake as score;

/// Writes `copies` decision records for every answer.
fn decision_log(bootstrap: &str, copies: usize) -> score::OnDecision {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .unwrap();
    Box::new(move |id| {
        let response = v1::ScoreResponse {
            transaction_id: id.to_owned(),
            ..Default::default()
        };
        let record = v1::DecisionRecord {
            response: Some(response),
            ..Default::default()
        };
        let payload = record.encode_to_vec();
        for _ in 0..copies {
            producer
                .send(BaseRecord::to(kafka::TOPICS[2]).key(id).payload(&payload))
                .unwrap();
        }
    })
}

/// Applies what is published until told to stop.
struct Applying {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(i32, Vec<u8>)>>,
}

impl Applying {
    fn start(bootstrap: String, applied: Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || kafka::apply(&bootstrap, &applied, &stopped));
        Self { stop, thread }
    }

    fn finish(self) -> Vec<(i32, Vec<u8>)> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

async fn play_with(copies: usize) -> (Report, Vec<(i32, Vec<u8>)>) {
    let cluster = kafka::broker();
    let bootstrap = cluster.bootstrap_servers();
    let applied = Arc::new(AtomicU64::new(0));
    let service = score::start_with(Some(decision_log(&bootstrap, copies))).await;
    let mut targets = kafka::targets(bootstrap.clone(), kafka::admin(Arc::clone(&applied)).await);
    targets.grpc = service.address.clone();
    let applying = Applying::start(bootstrap, applied);
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
    let report = play(&args).await.unwrap();
    (report, applying.finish())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_published_once_and_every_live_transaction_is_scored() {
    let (report, records) = play_with(1).await;
    report.check().unwrap();

    // The generator alone says what there was to do.
    let config = Config::new(150, 14, 3);
    let (mut expected, mut live) = (0, 0);
    for event in Generator::new(config).take_while(|event| event.at() < config.midnight(14)) {
        expected += 1;
        let scored = matches!(event, Event::Transaction(_)) && event.at() >= config.midnight(12);
        live += u64::from(scored);
    }
    assert_eq!(records.len(), expected);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["scored"], live);
    assert_eq!(json["outcomes"]["approve"], live, "the stand-in approves");
    assert_eq!(json["decisions"]["records"], live);
    assert_eq!(json["published"], expected);
    assert_eq!(json["fraud_caught"], 0.0);

    let mut last = HashMap::new();
    for (_, payload) in records {
        let event = v1::TransactionEvent::decode(payload.as_slice());
        if let Ok(v1::TransactionEvent {
            transaction: Some(transaction),
            ..
        }) = event
        {
            let at = transaction.event_time.unwrap();
            let before = last.insert(transaction.card_id, (at.seconds, at.nanos));
            assert!(before.is_none_or(|before| before <= (at.seconds, at.nanos)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_recorded_twice_is_an_error() {
    let (report, _) = play_with(2).await;
    let error = report.check().unwrap_err().to_string();
    assert!(error.contains("with more than one"), "{error}");
}
