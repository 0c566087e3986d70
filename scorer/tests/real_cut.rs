//! A log of real Apache Kafka, where `KAFKA_BOOTSTRAP` names one, that is cut before what was to be read next: while the service
//! is stopped, and while it reads.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;
mod letters;

use std::process::{Child, Command, Stdio};

use brokers::{Brokers, PATIENCE, event, start_unready, until_read};
use common::{Client, POLICY, transaction, write_policy};
use letters::{dead_letters, publish};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_proto::v1;
use tollgate_scorer::Format;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The partition that is cut.
const PARTITION: i32 = 1;

const LOST: &str = "tollgate_positions_lost_total{reason=\"before_beginning\"}";

/// Events of a card, as records.
fn events(card: &str, numbers: std::ops::Range<i64>) -> Vec<Option<Vec<u8>>> {
    let event = |number: i64| {
        let id = format!("{card}-{number}");
        Some(event(transaction(&id, card, number, 1000), true).1)
    };
    numbers.map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_behind_a_snapshot_is_read_from_where_it_begins_before_the_service_is_ready() {
    let Some(brokers) = Brokers::named("cut-while-stopped") else {
        return;
    };
    brokers.create_topics().await;
    let snapshots = tempfile::tempdir().unwrap();
    let path = snapshots.path().to_owned();
    let first = brokers
        .start_with(&POLICY, |config| config.snapshot.path.clone_from(&path))
        .await;
    publish(
        &brokers,
        "transactions",
        PARTITION,
        &events("card-1", 0..10),
    );
    until_read(&first, "transactions", 10).await;
    first.service.stop().await;

    publish(
        &brokers,
        "transactions",
        PARTITION,
        &events("card-1", 10..20),
    );
    brokers.delete_records("transactions", PARTITION, 15).await;
    let mut second = start_unready(&brokers, |config| config.snapshot.path = path).await;
    let ready = tokio::time::timeout(PATIENCE, second.service.ready()).await;
    assert!(ready.is_ok(), "the service did not become ready");
    assert_eq!(second.metric(LOST).await, 1.0);
    // Ten of the snapshot, five that the log still has, and the one that is asked about: nothing was ready before.
    let records = "tollgate_ingest_records_total{topic=\"transactions\"}";
    assert_eq!(second.metric(records).await, 5.0);
    let answer = second.score(transaction("s1", "card-1", 30, 500)).await;
    assert_eq!(answer.features["card_count"], 16.0);
    second.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_where_it_is_read_unreadies_the_service_until_it_has_read_what_is_left() {
    let Some(brokers) = Brokers::named("cut-while-read") else {
        return;
    };
    brokers.create_topics().await;
    let process = Process::start(&brokers).await;
    publish(
        &brokers,
        "transactions",
        PARTITION,
        &events("card-1", 0..10),
    );
    process
        .until(
            "tollgate_ingest_records_total{topic=\"transactions\"}",
            10.0,
        )
        .await;
    let endpoint = Endpoint::from_shared(format!("http://{}", process.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);

    // It reads nothing now; what it has asked for is answered with the first of these at most.
    process.signal(Signal::STOP);
    for record in events("card-2", 0..20) {
        publish(&brokers, "transactions", PARTITION, &[record]);
    }
    publish(&brokers, "transactions", PARTITION, &events("card-3", 0..6));
    brokers.delete_records("transactions", PARTITION, 30).await;
    process.signal(Signal::CONT);
    for expected in [ServingStatus::NotServing, ServingStatus::Serving] {
        let told = tokio::time::timeout(PATIENCE, watch.message()).await;
        assert_eq!(told.unwrap().unwrap().unwrap().status(), expected);
    }
    assert_eq!(process.metric(LOST).await, 1.0);
    assert_eq!(process.metric("tollgate_ready").await, 1.0);
    let page = process.get("/readyz").await;
    assert!(page.contains("200"), "{page}");
    let mut client = Client::connect(format!("http://{}", process.grpc))
        .await
        .unwrap();
    for (card, events) in [("card-1", 10.0), ("card-3", 6.0)] {
        let request = v1::ScoreRequest {
            transaction: Some(transaction(&format!("s-{card}"), card, 30, 500)),
            include_features: true,
        };
        let answer = client.score(request).await.unwrap().into_inner();
        assert_eq!(answer.features["card_count"], events + 1.0, "{card}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_retention_has_removed_are_told_by_a_replay() {
    let Some(brokers) = Brokers::named("letters-cut") else {
        return;
    };
    brokers.create_topics().await;
    let json = |number: i64| {
        let event = letters::event_json(&format!("j{number}"), number);
        Some(event.to_string().into_bytes())
    };
    let values: Vec<_> = (0..4).map(json).collect();
    publish(&brokers, "transactions", PARTITION, &values);
    let running = brokers.start(&POLICY).await;
    let published = "tollgate_dead_letters_total{result=\"published\"}";
    brokers::until(&running, published, 4.0).await;
    running.service.stop().await;
    brokers.delete_records("transactions", PARTITION, 3).await;
    let told = dead_letters(&brokers, &POLICY, Format::Json, &["replay"]).await;
    assert_eq!(told.code, 1, "{}", told.text);
    told.says("1 sent again 0 still unreadable 3 gone");
    told.says("retention or compaction has removed the record");
}

/// `tollgate serve` as a process, which can be held still.
struct Process {
    child: Child,
    grpc: String,
    admin: String,
    policy: tempfile::TempDir,
}

impl Process {
    async fn start(brokers: &Brokers) -> Self {
        let policy = write_policy(&POLICY);
        let addresses = policy.path().join("addresses.json");
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["serve", "--write-addresses", addresses.to_str().unwrap()])
            .env("TOLLGATE_POLICY__PATH", policy.path())
            .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
            .envs(letters::settings(brokers, Format::Protobuf))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self {
            child,
            grpc: String::new(),
            admin: String::new(),
            policy,
        };
        let started = async {
            while !process.read_addresses() {
                tokio::task::yield_now().await;
            }
            while process.metric("tollgate_ready").await < 1.0 {
                tokio::task::yield_now().await;
            }
        };
        let started = tokio::time::timeout(PATIENCE, started).await;
        assert!(started.is_ok(), "the process did not become ready");
        process
    }

    fn read_addresses(&mut self) -> bool {
        let text = std::fs::read_to_string(self.policy.path().join("addresses.json"));
        let json = text.ok().and_then(|text| serde_json::from_str(&text).ok());
        let Some::<serde_json::Value>(json) = json else {
            return false;
        };
        self.grpc = json["grpc"].as_str().unwrap().to_owned();
        self.admin = json["admin"].as_str().unwrap().to_owned();
        true
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    async fn metric(&self, sample: &str) -> f64 {
        let page = self.get("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(sample));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    async fn until(&self, sample: &str, value: f64) {
        let reached = async {
            while self.metric(sample).await < value {
                tokio::task::yield_now().await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{sample} did not reach {value}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Also one that is held still.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
