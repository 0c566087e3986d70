//! The decision log while Kafka is away, the disk fails, or the process is killed: every decision arrives, in order, or is counted.

#![allow(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod brokers;
mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use brokers::until;
use common::{
    Client, DROPPED, POLICY, PUBLISHED, Running, SPOOLED, start_configured, transaction,
    write_policy,
};
use prost::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tollgate_scorer::{Config, Durability, WhenUnlogged};

type Cluster = MockCluster<'static, DefaultProducerContext>;

const CARDS: usize = 5;

/// A broker that outlives the services.
fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    for topic in ["transactions", "labels", "decisions", "dead-letters"] {
        let topic = format!("tollgate.{topic}");
        let partitions = Config::default().kafka.embedded_partitions;
        cluster.create_topic(&topic, partitions, 1).unwrap();
    }
    cluster
}

/// A service on the broker whose spool is `spool`.
async fn start(cluster: &Cluster, spool: &Path, configure: impl FnOnce(&mut Config)) -> Running {
    let policy = write_policy(&POLICY);
    let path = policy.path().to_owned();
    start_configured(&path, policy, |config| {
        config.kafka.bootstrap = cluster.bootstrap_servers();
        config.late_verdict.enabled = false;
        let log = &mut config.decision_log;
        log.spool_path = spool.to_owned();
        log.spool_after_ms = 20;
        configure(config);
    })
    .await
}

fn request(number: usize) -> v1::ScoreRequest {
    let card = format!("card-{}", number % CARDS);
    v1::ScoreRequest {
        transaction: Some(transaction(&format!("t{number}"), &card, 0, 500)),
        include_features: false,
    }
}

async fn score(client: &mut Client, numbers: std::ops::Range<usize>) -> Vec<v1::ScoreResponse> {
    let mut answers = Vec::new();
    for number in numbers {
        let answer = client.score(request(number)).await.unwrap();
        answers.push(answer.into_inner());
    }
    answers
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// Holds that the log has these answers once each and no other, those of a card in the order in which they were given.
async fn holds(running: &Running, answers: &[v1::ScoreResponse]) {
    until(running, PUBLISHED, count(answers.len())).await;
    let records = running.consume("tollgate.decisions", answers.len()).await;
    let mut recorded: BTreeMap<String, Vec<v1::ScoreResponse>> = BTreeMap::new();
    for (_, bytes) in records {
        let record = v1::DecisionRecord::decode(&bytes[..]).unwrap();
        let of_card = recorded.entry(record.card_id).or_default();
        of_card.push(record.response.unwrap());
    }
    for (card, recorded) in recorded {
        let answered = answers.iter().filter(|answer| {
            let number: usize = answer.transaction_id[1..].parse().unwrap();
            card == format!("card-{}", number % CARDS)
        });
        assert!(answered.eq(&recorded), "{card}");
    }
    // Nothing came twice.
    assert_eq!(running.metric(PUBLISHED).await, count(answers.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_decisions_wait_on_disk_and_arrive_in_order() {
    let (cluster, spool) = (cluster(), tempfile::tempdir().unwrap());
    let mut running = start(&cluster, spool.path(), |_| ()).await;
    let mut answers = score(&mut running.client, 0..50).await;
    until(&running, PUBLISHED, 50.0).await;
    cluster.broker_down(1).unwrap();
    answers.extend(score(&mut running.client, 50..250).await);
    until(&running, SPOOLED, 200.0).await;
    assert!(running.metric("tollgate_decision_log_spool_bytes").await > 0.0);
    answers.extend(score(&mut running.client, 250..300).await);
    cluster.broker_up(1).unwrap();
    answers.extend(score(&mut running.client, 300..350).await);
    holds(&running, &answers).await;
    assert_eq!(
        running.metric("tollgate_decision_log_spool_records").await,
        0.0
    );
    let status = running.get("/status").await;
    assert!(status.contains("\"durability\":\"async\""), "{status}");
    running.service.stop().await;
    assert_eq!(files(spool.path()), 0, "nothing is left of the spool");
}

/// Files of the spool, beside its lock.
fn files(spool: &Path) -> usize {
    let entries = std::fs::read_dir(spool).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".spool"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_has_not_taken_at_a_stop_goes_there_after_the_next_start() {
    let (cluster, spool) = (cluster(), tempfile::tempdir().unwrap());
    let mut running = start(&cluster, spool.path(), |config| {
        config.decision_log.spool_after_ms = 600_000;
    })
    .await;
    cluster.broker_down(1).unwrap();
    let mut answers = score(&mut running.client, 0..40).await;
    running.service.stop().await;
    assert!(files(spool.path()) > 0);
    cluster.broker_up(1).unwrap();
    let mut running = start(&cluster, spool.path(), |_| ()).await;
    answers.extend(score(&mut running.client, 40..60).await);
    holds(&running, &answers).await;
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_told_and_costs_nothing_while_memory_lasts() {
    let (cluster, spool) = (cluster(), tempfile::tempdir().unwrap());
    let mut running = start(&cluster, spool.path(), |_| ()).await;
    cluster.broker_down(1).unwrap();
    // No file can be made in a folder that is gone.
    std::fs::remove_dir_all(spool.path()).unwrap();
    let answers = score(&mut running.client, 0..100).await;
    until(&running, "tollgate_decision_log_spool_failures_total", 1.0).await;
    assert_eq!(running.metric(SPOOLED).await, 0.0);
    std::fs::create_dir_all(spool.path()).unwrap();
    until(&running, SPOOLED, 100.0).await;
    cluster.broker_up(1).unwrap();
    holds(&running, &answers).await;
    assert_eq!(running.metric(DROPPED).await, 0.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_cannot_be_logged_are_the_fallbacks_where_that_was_chosen() {
    let cluster = cluster();
    for (chosen, level) in [
        (WhenUnlogged::Degrade, v1::Degradation::RequestOnly),
        (WhenUnlogged::Answer, v1::Degradation::Full),
    ] {
        let mut running = start(&cluster, Path::new(""), |config| {
            config.decision_log.memory_records_max = 256;
            config.decision_log.when_unlogged = chosen;
        })
        .await;
        cluster.broker_down(1).unwrap();
        score(&mut running.client, 0..256).await;
        until(&running, "tollgate_decision_log_full", 1.0).await;
        let answers = score(&mut running.client, 256..260).await;
        for answer in &answers {
            assert_eq!(answer.degradation(), level);
            let names_it = answer.degradation_causes == ["decision_not_logged"];
            assert_eq!(names_it, chosen == WhenUnlogged::Degrade);
        }
        until(&running, DROPPED, 4.0).await;
        cluster.broker_up(1).unwrap();
        until(&running, PUBLISHED, 256.0).await;
        let answers = score(&mut running.client, 260..261).await;
        assert_eq!(answers[0].degradation(), v1::Degradation::Full);
        running.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn written_first_means_once_in_the_log_and_nothing_left_on_disk() {
    let (cluster, spool) = (cluster(), tempfile::tempdir().unwrap());
    let mut running = start(&cluster, spool.path(), |config| {
        config.decision_log.durability = Durability::SpoolFirst;
        config.decision_log.sync_wait_ms_max = 100;
        config.deadline.budget_ms = 100;
    })
    .await;
    let tasks = (0..CARDS).map(|card| {
        let mut client = running.client.clone();
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for number in (card..200).step_by(CARDS) {
                answers.extend(score(&mut client, number..number + 1).await);
            }
            answers
        })
    });
    let mut answers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        answers.extend(task.await.unwrap());
    }
    // Asked again, an answer is given again and no second decision is logged.
    let again = running.client.score(request(7)).await.unwrap().into_inner();
    assert!(answers.contains(&again));
    let syncs = running
        .metric("tollgate_decision_log_sync_latency_seconds_count")
        .await;
    assert!(syncs > 0.0 && syncs <= 200.0, "{syncs}");
    holds(&running, &answers).await;
    running.service.stop().await;
    assert_eq!(files(&spool.path().join("early")), 0);
    let mut running = start(&cluster, spool.path(), |_| ()).await;
    running.score(transaction("last", "card-0", 0, 500)).await;
    until(&running, PUBLISHED, 1.0).await;
    assert_eq!(running.consume("tollgate.decisions", 201).await.len(), 201);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_before_answers_is_answered_as_was_chosen() {
    let (cluster, spool) = (cluster(), tempfile::tempdir().unwrap());
    let mut running = start(&cluster, spool.path(), |config| {
        config.decision_log.durability = Durability::SpoolFirst;
        config.decision_log.when_unlogged = WhenUnlogged::Degrade;
    })
    .await;
    std::fs::remove_dir_all(spool.path()).unwrap();
    // Written to a file of an earlier run there is none, so the first one needs the folder.
    let answers = score(&mut running.client, 0..20).await;
    for answer in &answers {
        assert_eq!(answer.degradation(), v1::Degradation::RequestOnly);
        assert_eq!(answer.degradation_causes, ["decision_not_logged"]);
    }
    // They are logged all the same, since Kafka is there.
    holds(&running, &answers).await;
    let unlogged = "tollgate_decision_log_unlogged_total{reason=\"failed\"}";
    assert!(running.metric(unlogged).await > 0.0);
    running.service.stop().await;
}

/// `tollgate serve` as a process that can be killed.
struct Process {
    child: Child,
    policy: tempfile::TempDir,
}

impl Process {
    fn start(cluster: &Cluster, spool: &Path) -> Self {
        let policy = write_policy(&POLICY);
        let addresses = policy.path().join("addresses.json");
        let child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["serve", "--write-addresses", addresses.to_str().unwrap()])
            .env("TOLLGATE_POLICY__PATH", policy.path())
            .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_KAFKA__BOOTSTRAP", cluster.bootstrap_servers())
            .env("TOLLGATE_LATE_VERDICT__ENABLED", "false")
            .env("TOLLGATE_DECISION_LOG__DURABILITY", "spool-first")
            .env("TOLLGATE_DECISION_LOG__SPOOL_PATH", spool)
            .env("TOLLGATE_DECISION_LOG__SYNC_WAIT_MS_MAX", "100")
            .env("TOLLGATE_DECISION_LOG__WHEN_UNLOGGED", "degrade")
            .env("TOLLGATE_DEADLINE__BUDGET_MS", "100")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, policy }
    }

    async fn client(&mut self) -> Client {
        let file = self.policy.path().join("addresses.json");
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
                let address = format!("http://{}", json["grpc"].as_str().unwrap());
                return ScoringServiceClient::connect(address).await.unwrap();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended");
            tokio::task::yield_now().await;
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_first_and_answered_is_there_after_a_kill() {
    let (cluster, spool) = (cluster(), tempfile::tempdir().unwrap());
    let mut process = Process::start(&cluster, spool.path());
    let mut client = process.client().await;
    cluster.broker_down(1).unwrap();
    let mut answers = score(&mut client, 0..60).await;
    process.kill();
    // One whose disk was too slow is not promised; it says so.
    answers.retain(|answer| answer.degradation_causes != ["decision_not_logged"]);
    assert!(!answers.is_empty());
    cluster.broker_up(1).unwrap();
    let running = start(&cluster, spool.path(), |_| ()).await;
    holds_at_least(&running, &answers).await;
    running.service.stop().await;
}

/// Holds that the log has each of these answers.
async fn holds_at_least(running: &Running, answers: &[v1::ScoreResponse]) {
    until(running, PUBLISHED, count(answers.len())).await;
    let records = running.consume("tollgate.decisions", answers.len()).await;
    let recorded: Vec<v1::ScoreResponse> = records
        .iter()
        .map(|(_, bytes)| v1::DecisionRecord::decode(&bytes[..]).unwrap())
        .map(|record| record.response.unwrap())
        .collect();
    for answer in answers {
        assert!(recorded.contains(answer), "{answer:?}");
    }
}
