//! A service in this process, with the embedded broker, and clients that see it from outside.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_models::{Runtime, features_digest};
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tollgate_scorer::{Config, Loader, ModelLimits, Policy, Service};
use tonic::transport::Channel;

/// Records of the decision log that Kafka has taken, that are on disk until it does, and that are lost for want of room.
pub(crate) const PUBLISHED: &str = "tollgate_audit_records_total{result=\"published\"}";
pub(crate) const SPOOLED: &str = "tollgate_audit_records_total{result=\"spooled\"}";
pub(crate) const DROPPED: &str = "tollgate_audit_records_total{result=\"dropped\"}";

pub(crate) type Client = ScoringServiceClient<Channel>;

/// How long anything may take before a test gives up. Only ever waited out by a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A poll of the policy folder that no test lives to see, so that what is seen was told by the file system.
const NEVER_S: u64 = 3_600;

pub(crate) const EVENT_TIME_S: i64 = 1_770_000_000;

/// A policy that shows what the store holds.
pub(crate) const POLICY: [(&str, &str); 5] = [
    (
        "schema.yaml",
        "attributes:\n  product: {type: text, values: [flight, hotel]}\n  passengers: number\n\
         entities:\n  card: {key: card_id, retain: [amount, merchant_country], retention: 40d}\n  \
         terminal: {key: terminal_id, retain: [amount], retention: 40d}\n",
    ),
    ("fx.yaml", "base: EUR\nrates: {USD: 0.5}\n"),
    (
        "features.yaml",
        "amount: transaction.amount\ncard_count: card.last(\"30d\").count()\n\
         card_sum: card.last(\"30d\").sum(amount)\n\
         card_declined: card.last(\"30d\").where(declined).count()\n\
         terminal_fraud: terminal.last(\"30d\").rate(fraud)\n",
    ),
    (
        "fallback.yaml",
        "cases:\n  - id: large\n    description: Too large to wave through.\n    \
         when: transaction.amount >= 1000\n    then: challenge\n    reason: LARGE_UNSEEN\n\
         otherwise: {then: approve}\nstatic: {then: approve}\n",
    ),
    (
        "rules/rules.yaml",
        "rules:\n  - id: burst\n    description: More than three in a month.\n    \
         when: features.card_count > 3\n    then: decline\n    reason: BURST\n\
         \x20 - id: large-in-shadow\n    description: Would flag large ones.\n    \
         when: transaction.amount >= 500\n    then: flag\n    reason: LARGE\n    mode: shadow\n",
    ),
];

pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) client: Client,
    pub(crate) policy: tempfile::TempDir,
}

pub(crate) fn write_policy(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// The ONNX Runtime library that tests use.
pub(crate) fn library() -> PathBuf {
    std::env::var_os("TOLLGATE_ONNXRUNTIME").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/onnxruntime/libonnxruntime.so"),
        PathBuf::from,
    )
}

pub(crate) fn loader(folder: &Path) -> Loader {
    let limits = ModelLimits {
        threads: 1,
        queue_rows_max: 16,
        ..ModelLimits::default()
    };
    // A policy without models does not miss it; one with models says where it should be.
    Loader::new(folder.to_owned(), Runtime::load(&library()), limits)
}

pub(crate) fn load_policy(loader: &Loader) -> Policy {
    let (policy, warnings) = loader
        .load()
        .unwrap_or_else(|errors| panic!("{}", errors.render()));
    assert!(warnings.is_empty(), "{}", warnings.render());
    policy
}

/// Puts the model `slow` (see `tests/models/make_slow.py`) into a policy folder as `slow/<version>`.
pub(crate) fn write_slow_bundle(policy: &Path, version: &str) {
    let model = include_bytes!("../models/slow.onnx");
    let features = features_digest([("amount", "transaction.amount")].into_iter());
    let manifest = format!(
        "description: As slow as the amount is large.\nfeatures_sha256: {features}\n\
         inputs: [{{feature: amount, missing: 0}}]\ntensor: input\n\
         output: {{name: probability, kind: probability}}\ncalibration: none\nmetrics: {{}}\n"
    );
    let golden = r#"{"tolerance": 1e-6, "rows": [{"inputs": [3], "score": 0.25}]}"#;
    write_bundle(policy, ("slow", version), model, &manifest, golden);
}

/// Puts a bundle into a policy folder. `manifest` is all of it but name, version and the model's digest.
pub(crate) fn write_bundle(
    policy: &Path,
    (name, version): (&str, &str),
    model: &[u8],
    manifest: &str,
    golden: &str,
) {
    let digest = Sha256::digest(model);
    let hexadecimal: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let manifest =
        format!("name: {name}\nversion: \"{version}\"\nmodel_sha256: {hexadecimal}\n{manifest}");
    let bundle = policy.join("models").join(name).join(version);
    std::fs::create_dir_all(&bundle).unwrap();
    std::fs::write(bundle.join("model.onnx"), model).unwrap();
    std::fs::write(bundle.join("manifest.yaml"), manifest).unwrap();
    std::fs::write(bundle.join("golden.json"), golden).unwrap();
    std::fs::write(bundle.join("model-card.md"), format!("# {name}\n")).unwrap();
}

/// Starts a service that has read its (empty) log.
pub(crate) async fn start() -> Running {
    start_with(write_policy(&POLICY)).await
}

pub(crate) async fn start_with(folder: tempfile::TempDir) -> Running {
    let path = folder.path().to_owned();
    start_at(&path, folder).await
}

/// Starts a service whose policy folder is `path`, which is in `folder` or leads there.
pub(crate) async fn start_at(path: &Path, folder: tempfile::TempDir) -> Running {
    start_polling(path, folder, NEVER_S).await
}

/// The same, for changes that no file system tells of.
pub(crate) async fn start_polling(path: &Path, folder: tempfile::TempDir, poll_s: u64) -> Running {
    start_configured(path, folder, |config| config.policy.poll_s = poll_s).await
}

/// The same, with whatever `configure` sets.
pub(crate) async fn start_configured(
    path: &Path,
    folder: tempfile::TempDir,
    configure: impl FnOnce(&mut Config),
) -> Running {
    let running = start_unawaited(path, folder, configure).await;
    tokio::time::timeout(PATIENCE, running.service.ready())
        .await
        .unwrap();
    running
}

/// The same, of which nobody waits until it is ready.
pub(crate) async fn start_unawaited(
    path: &Path,
    folder: tempfile::TempDir,
    configure: impl FnOnce(&mut Config),
) -> Running {
    let loader = loader(path);
    let policy = load_policy(&loader);
    let mut config = Config::default();
    config.grpc.listen.set_port(0);
    config.admin.listen.set_port(0);
    configure(&mut config);
    let service = Service::start(config, loader, policy).await.unwrap();
    let address = format!("http://{}", service.addresses().grpc);
    let client = ScoringServiceClient::connect(address).await.unwrap();
    Running {
        service,
        client,
        policy: folder,
    }
}

/// A transaction of `card` for `amount_minor` cents, `second` seconds into the test's time.
pub(crate) fn transaction(id: &str, card: &str, second: i64, amount_minor: i64) -> v1::Transaction {
    v1::Transaction {
        transaction_id: id.to_owned(),
        event_time: Some(prost_types::Timestamp {
            seconds: EVENT_TIME_S + second,
            nanos: 0,
        }),
        card_id: card.to_owned(),
        amount_minor,
        currency: "EUR".to_owned(),
        merchant_id: "merchant-1".to_owned(),
        terminal_id: "terminal-1".to_owned(),
        ..v1::Transaction::default()
    }
}

impl Running {
    pub(crate) async fn score(&mut self, transaction: v1::Transaction) -> v1::ScoreResponse {
        let request = v1::ScoreRequest {
            transaction: Some(transaction),
            include_features: true,
        };
        self.client.score(request).await.unwrap().into_inner()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.get("/metrics").await
    }

    /// A page of the admin port.
    pub(crate) async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.0\r\n\r\n")).await
    }

    /// A change through the admin port.
    pub(crate) async fn post(&self, path: &str) -> String {
        self.ask(&format!("POST {path} HTTP/1.0\r\n\r\n")).await
    }

    /// A request as it is written, to the admin port.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let admin = self.service.addresses().admin;
        let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    /// The value of a metric; 0 while it has no sample.
    pub(crate) async fn metric(&self, sample: &str) -> f64 {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Publishes records to a topic and waits until the service has dealt with all of it.
    pub(crate) async fn publish(&self, topic: &str, records: &[Vec<u8>]) {
        let sample = format!("tollgate_ingest_records_total{{topic=\"{topic}\"}}");
        let before = self.metric(&sample).await;
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.service.addresses().kafka)
            .create()
            .unwrap();
        for record in records {
            let topic = format!("tollgate.{topic}");
            let record = BaseRecord::<(), _>::to(&topic).payload(record);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let expected = before + f64::from(u32::try_from(records.len()).unwrap());
        let applied = async {
            while self.metric(&sample).await < expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, applied)
            .await
            .expect("the records were not applied");
    }

    pub(crate) async fn publish_transactions(&self, events: &[(v1::Transaction, bool)]) {
        let records: Vec<Vec<u8>> = events
            .iter()
            .map(|(transaction, authorized)| {
                let transaction = Some(transaction.clone());
                v1::TransactionEvent {
                    transaction,
                    authorized: *authorized,
                }
                .encode_to_vec()
            })
            .collect();
        self.publish("transactions", &records).await;
    }

    /// Reads `count` records of a topic from its beginning: their text for a search, their bytes to decode.
    pub(crate) async fn consume(&self, topic: &str, count: usize) -> Vec<(String, Vec<u8>)> {
        let bootstrap = self.service.addresses().kafka.clone();
        let topic = topic.to_owned();
        tokio::task::spawn_blocking(move || consume(&bootstrap, &topic, count))
            .await
            .unwrap()
    }
}

fn consume(bootstrap: &str, topic: &str, count: usize) -> Vec<(String, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "5")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..Config::default().kafka.embedded_partitions {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let message = match consumer
            .poll(PATIENCE)
            .expect("fewer records than expected")
        {
            Ok(message) => message,
            // Another test may have killed a broker, which comes back.
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BrokerTransportFailure)) => {
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let bytes = message.payload().unwrap_or_default().to_vec();
        let readable = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut text = format!("{:?} {}", message.key().map(readable), readable(&bytes));
        for header in message.headers().iter().flat_map(|headers| headers.iter()) {
            text += &format!(
                " {}={}",
                header.key,
                header.value.map(readable).unwrap_or_default()
            );
        }
        records.push((text, bytes));
    }
    records
}
