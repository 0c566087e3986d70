//! FS-3: a service that starts from a snapshot answers as one that has read the whole log.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test that cannot go on should stop; counts and sums of cents come out exactly"
)]

mod brokers;
mod common;

use std::path::Path;

use brokers::until;
use common::{Client, Running, start_configured, start_unawaited, transaction, write_policy};
use prost::Message as _;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tollgate_proto::v1;
use tollgate_scorer::Config;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Partitions of each topic.
const PARTITIONS: i32 = 3;

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A broker that outlives the services.
fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["transactions", "labels", "decisions", "dead-letters"] {
        cluster
            .create_topic(&format!("tollgate.{topic}"), PARTITIONS, 1)
            .unwrap();
    }
    cluster
}

/// A service on the broker; `snapshots` is where it keeps them, empty for none.
async fn start(
    cluster: &Cluster,
    policy: tempfile::TempDir,
    snapshots: &Path,
    every_s: u64,
) -> Running {
    let path = policy.path().to_owned();
    let configure = |config: &mut Config| configure(config, cluster, snapshots, every_s);
    start_configured(&path, policy, configure).await
}

fn configure(config: &mut Config, cluster: &Cluster, snapshots: &Path, every_s: u64) {
    config.kafka.bootstrap = cluster.bootstrap_servers();
    let properties = &mut config.kafka.properties;
    properties.insert("fetch.wait.max.ms".to_owned(), "5".to_owned());
    config.snapshot.path = snapshots.to_owned();
    config.snapshot.every_s = every_s;
}

/// Events and labels with these numbers, of five cards, each card in a partition of its own.
fn publish(cluster: &Cluster, numbers: std::ops::Range<i64>) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .create()
        .unwrap();
    let send = |topic: &str, number: i64, value: &[u8]| {
        let partition = i32::try_from(number % 5).unwrap() % PARTITIONS;
        let record = BaseRecord::<(), _>::to(topic)
            .payload(value)
            .partition(partition);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    for number in numbers {
        let event = v1::TransactionEvent {
            transaction: Some(event(number)),
            authorized: number % 3 > 0,
        };
        send("tollgate.transactions", number, &event.encode_to_vec());
        // Half of them before their transaction.
        let of = if number % 2 == 0 { number + 4 } else { number };
        let label = v1::Label {
            transaction_id: format!("t{of}"),
            fraud: true,
            known_at: event.transaction.unwrap().event_time,
        };
        send("tollgate.labels", number, &label.encode_to_vec());
    }
    producer.flush(std::time::Duration::from_secs(30)).unwrap();
}

fn event(number: i64) -> v1::Transaction {
    transaction(
        &format!("t{number}"),
        &card(number % 5),
        number,
        100 + number,
    )
}

fn card(number: i64) -> String {
    format!("card-{number}")
}

/// What the service knows of each card.
async fn known(client: &mut Client, scored: &str) -> Vec<Vec<(String, f64)>> {
    let mut all = Vec::new();
    for number in 0..5 {
        let request = v1::ScoreRequest {
            transaction: Some(transaction(
                &format!("{scored}-{number}"),
                &card(number),
                10_000,
                1,
            )),
            include_features: true,
        };
        let features = client.score(request).await.unwrap().into_inner().features;
        let mut features: Vec<(String, f64)> = features.into_iter().collect();
        features.sort_by(|one, other| one.0.cmp(&other.0));
        all.push(features);
    }
    all
}

/// What the admin port says of all that the log has brought, once nothing is left to read.
async fn digest(running: &Running) -> String {
    let asked = async {
        loop {
            let answer = running.get("/store/digest").await;
            if let Some((_, body)) = answer.split_once("\r\n\r\n")
                && answer.starts_with("HTTP/1.0 200")
            {
                return body.to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(brokers::PATIENCE, asked)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_says_where_it_stands_and_is_another_one_after_another_event() {
    let (cluster, nowhere) = (cluster(), Path::new(""));
    publish(&cluster, 0..100);
    let running = start(&cluster, write_policy(&common::POLICY), nowhere, 3_600).await;
    let before = digest(&running).await;
    assert!(before.contains("\"events\":100,"), "{before}");
    assert_eq!(before, digest(&running).await);
    publish(&cluster, 100..101);
    let records = "tollgate_ingest_records_total{topic=\"labels\"}";
    until(&running, records, 101.0).await;
    let after = digest(&running).await;
    assert!(after.contains("\"events\":101,"), "{after}");
    let sum = |report: &str| report.split_once("entities").unwrap().0.to_owned();
    assert_ne!(sum(&before), sum(&after));
    // Every page of the port that keeps the service busy is refused to web pages.
    let request = "GET /store/digest HTTP/1.0\r\nOrigin: http://a.test\r\n\r\n";
    assert!(running.ask(request).await.starts_with("HTTP/1.0 403"));
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_a_start_change_nothing_that_is_known() {
    let (cluster, snapshots) = (cluster(), tempfile::tempdir().unwrap());
    publish(&cluster, 0..200);
    let mut first = start(
        &cluster,
        write_policy(&common::POLICY),
        snapshots.path(),
        3_600,
    )
    .await;
    assert_eq!(first.metric("tollgate_snapshot_age_seconds").await, -1.0);
    // Scored, and never echoed: the next run waits for its echo as this one did.
    let in_flight = transaction("in-flight", "card-2", 9_000, 5_000);
    first.score(in_flight.clone()).await;
    let Running {
        service, policy, ..
    } = first;
    service.stop().await;

    publish(&cluster, 200..300);
    let mut again = start(&cluster, policy, snapshots.path(), 3_600).await;
    let records = "tollgate_ingest_records_total{topic=\"transactions\"}";
    assert_eq!(
        again.metric(records).await,
        100.0,
        "the rest of the log and no more"
    );
    assert!(again.metric("tollgate_snapshot_age_seconds").await >= 0.0);
    let status = again.get("/status").await;
    assert!(
        status.contains("\"replay\":{\"events_left\":0,"),
        "{status}"
    );

    let nowhere = Path::new("");
    let mut plain = start(&cluster, write_policy(&common::POLICY), nowhere, 3_600).await;
    assert_eq!(plain.metric(records).await, 300.0);
    // One of the two has one in flight, of which the log knows nothing.
    assert_eq!(digest(&again).await, digest(&plain).await);
    plain.score(in_flight).await;
    let restored = known(&mut again.client, "asked").await;
    assert_eq!(restored, known(&mut plain.client, "asked").await);
    assert_eq!(restored[0][1], ("card_count".to_owned(), 61.0));
    assert_eq!(
        restored[2][1],
        ("card_count".to_owned(), 62.0),
        "with the one in flight"
    );
    for running in [again, plain] {
        running.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_written_while_the_service_runs_is_enough_after_a_crash() {
    let (cluster, snapshots) = (cluster(), tempfile::tempdir().unwrap());
    let first = start(&cluster, write_policy(&common::POLICY), snapshots.path(), 1).await;
    publish(&cluster, 0..100);
    let written = "tollgate_snapshot_written_total";
    let before = first.metric(written).await;
    let is_written = async {
        while first.metric(written).await < before + 2.0 {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    tokio::time::timeout(patience, is_written).await.unwrap();
    publish(&cluster, 100..150);
    // No stop: nothing is written at the end.
    let Running {
        service, policy, ..
    } = first;
    drop(service);
    let mut again = start(&cluster, policy, snapshots.path(), 3_600).await;
    let mut plain = start(
        &cluster,
        write_policy(&common::POLICY),
        Path::new(""),
        3_600,
    )
    .await;
    let records = "tollgate_ingest_records_total{topic=\"transactions\"}";
    assert!(again.metric(records).await <= 150.0);
    let restored = known(&mut again.client, "asked").await;
    assert_eq!(restored, known(&mut plain.client, "asked").await);
    assert_eq!(restored[0][1], ("card_count".to_owned(), 31.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_another_cluster_make_no_event_go_unread() {
    let (one, other) = (cluster(), cluster());
    let snapshots = tempfile::tempdir().unwrap();
    publish(&one, 0..100);
    let first = start(&one, write_policy(&common::POLICY), snapshots.path(), 3_600).await;
    let Running {
        service, policy, ..
    } = first;
    service.stop().await;
    publish(&other, 0..120);
    let mut again = start(&other, policy, snapshots.path(), 3_600).await;
    let skipped = "tollgate_snapshot_skipped_total{reason=\"other_log\"}";
    assert_eq!(again.metric(skipped).await, 1.0);
    let known = known(&mut again.client, "asked").await;
    assert_eq!(
        known[0][1],
        ("card_count".to_owned(), 25.0),
        "24 events and the one asked about"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_while_kafka_is_away_answers_from_the_snapshot_and_reads_on_once_it_is_back() {
    let (cluster, snapshots) = (cluster(), tempfile::tempdir().unwrap());
    publish(&cluster, 0..100);
    let policy = write_policy(&common::POLICY);
    let first = start(&cluster, policy, snapshots.path(), 3_600).await;
    let Running {
        service, policy, ..
    } = first;
    service.stop().await;
    publish(&cluster, 100..150);
    cluster.broker_down(1).unwrap();
    let path = policy.path().to_owned();
    let mut again = start_unawaited(&path, policy, |config| {
        configure(config, &cluster, snapshots.path(), 3_600);
    })
    .await;
    let count = |known: &[Vec<(String, f64)>]| known[0][1].clone();
    let from_snapshot = known(&mut again.client, "asked").await;
    assert_eq!(count(&from_snapshot), ("card_count".to_owned(), 21.0));
    until(
        &again,
        "tollgate_ingest_waiting{topic=\"transactions\"}",
        1.0,
    )
    .await;
    let page = again.get("/readyz").await;
    let is_told = page.contains("503") && page.contains("transactions cannot be read yet: ");
    assert!(is_told, "{page}");
    let status = again.get("/status").await;
    assert!(status.contains("\"seconds_left\":null"), "{status}");

    cluster.broker_up(1).unwrap();
    tokio::time::timeout(brokers::PATIENCE, again.service.ready())
        .await
        .unwrap();
    let records = "tollgate_ingest_records_total{topic=\"transactions\"}";
    assert_eq!(again.metric(records).await, 50.0);
    let all = known(&mut again.client, "again").await;
    assert_eq!(
        count(&all),
        ("card_count".to_owned(), 32.0),
        "with the one asked about before"
    );
    again.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_of_another_cluster_than_the_snapshot_are_not_read() {
    let (one, other) = (cluster(), cluster());
    let snapshots = tempfile::tempdir().unwrap();
    publish(&one, 0..100);
    let policy = write_policy(&common::POLICY);
    let first = start(&one, policy, snapshots.path(), 3_600).await;
    let Running {
        service, policy, ..
    } = first;
    service.stop().await;
    publish(&other, 0..120);
    other.broker_down(1).unwrap();
    let path = policy.path().to_owned();
    let again = start_unawaited(&path, policy, |config| {
        configure(config, &other, snapshots.path(), 3_600);
    })
    .await;
    other.broker_up(1).unwrap();
    for topic in ["transactions", "labels"] {
        let waiting = format!("tollgate_ingest_waiting{{topic=\"{topic}\"}}");
        until(&again, &waiting, 1.0).await;
    }
    assert!(again.get("/readyz").await.contains("503"));
    let records = "tollgate_ingest_records_total{topic=\"transactions\"}";
    assert_eq!(again.metric(records).await, 0.0);
    again.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_refuses_our_position_is_read_on_and_nothing_counts_twice() {
    let (cluster, nowhere) = (cluster(), Path::new(""));
    let policy = write_policy(&common::POLICY);
    let mut running = start(&cluster, policy, nowhere, 3_600).await;
    publish(&cluster, 0..50);
    let records = "tollgate_ingest_records_total{topic=\"transactions\"}";
    until(&running, records, 50.0).await;
    let endpoint = format!("http://{}", running.service.addresses().grpc);
    let endpoint = Endpoint::from_shared(endpoint).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let mut told = async || watch.message().await.unwrap().unwrap().status();
    assert_eq!(told().await, ServingStatus::Serving);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    cluster.request_errors(RDKafkaApiKey::Fetch, &[refusal; 8]);
    publish(&cluster, 50..100);
    until(&running, records, 100.0).await;
    let labels = "tollgate_ingest_records_total{topic=\"labels\"}";
    until(&running, labels, 100.0).await;
    let known = known(&mut running.client, "asked").await;
    assert_eq!(known[0][1], ("card_count".to_owned(), 21.0));
    for expected in [ServingStatus::NotServing, ServingStatus::Serving] {
        let told = tokio::time::timeout(brokers::PATIENCE, told()).await;
        assert_eq!(told.unwrap(), expected);
    }
    running.service.stop().await;
}
