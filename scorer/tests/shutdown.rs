//! SIGTERM to a real process under load.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use common::{POLICY, transaction, write_policy};
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use rustix::process::{Pid, Signal, kill_process};
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const PARTITIONS: i32 = 2;

/// How long anything may take before a test gives up. Only ever waited out by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// `tollgate serve` as a process, with a broker that outlives it.
struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
    grpc: String,
    admin: String,
    broker: MockCluster<'static, DefaultProducerContext>,
    policy: tempfile::TempDir,
}

impl Process {
    fn start(settings: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(settings);
        process.wait_for_line("ready: the log has been read");
        (process.grpc, process.admin) =
            read_addresses(&process.policy.path().join("addresses.json"));
        process
    }

    /// The same without waiting for it: it has no addresses yet.
    fn spawn(settings: &[(&str, &str)]) -> Self {
        let broker = MockCluster::new(1).unwrap();
        for topic in ["transactions", "labels", "decisions", "dead-letters"] {
            let topic = format!("tollgate.{topic}");
            broker.create_topic(&topic, PARTITIONS, 1).unwrap();
        }
        let policy = write_policy(&POLICY);
        let addresses = policy.path().join("addresses.json");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["serve", "--write-addresses", addresses.to_str().unwrap()])
            .env("TOLLGATE_POLICY__PATH", policy.path())
            .env("TOLLGATE_GRPC__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_ADMIN__LISTEN", "127.0.0.1:0")
            .env("TOLLGATE_KAFKA__BOOTSTRAP", broker.bootstrap_servers())
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            log,
            grpc: String::new(),
            admin: String::new(),
            broker,
            policy,
        }
    }

    /// Reads the log up to a line with `text`.
    fn wait_for_line(&mut self, text: &str) {
        let mut line = String::new();
        let mut all = String::new();
        while !line.contains(text) {
            line.clear();
            let length = self.log.read_line(&mut line).unwrap();
            all += &line;
            assert!(length > 0, "the process ended without `{text}`: {all}");
        }
    }

    fn signal(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Reads the rest of the log until the process has ended.
    fn ended(mut self) -> Ended {
        let mut log = String::new();
        std::io::Read::read_to_string(&mut self.log, &mut log).unwrap();
        let status = self.child.wait().unwrap();
        Ended {
            status,
            log,
            recorded: recorded(&self.broker.bootstrap_servers()),
        }
    }

    async fn client(&self) -> ScoringServiceClient<Channel> {
        let address = format!("http://{}", self.grpc);
        ScoringServiceClient::connect(address).await.unwrap()
    }

    /// The first line of the answer to a probe.
    fn readiness(&self) -> String {
        use std::io::Write as _;
        let mut stream = std::net::TcpStream::connect(&self.admin).unwrap();
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }
}

struct Ended {
    status: ExitStatus,
    log: String,
    /// Transactions in the decision log, as often as they are there.
    recorded: Vec<String>,
}

fn read_addresses(file: &Path) -> (String, String) {
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let of = |key: &str| json[key].as_str().unwrap().to_owned();
    (of("grpc"), of("admin"))
}

/// Everything that is in the decision log.
fn recorded(bootstrap: &str) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "test")
        .set("fetch.wait.max.ms", "5")
        .create()
        .unwrap();
    let topic = "tollgate.decisions";
    let mut assignment = TopicPartitionList::new();
    let mut expected = 0;
    for partition in 0..PARTITIONS {
        let offset = Offset::Beginning;
        assignment
            .add_partition_offset(topic, partition, offset)
            .unwrap();
        let (_, end) = consumer
            .fetch_watermarks(topic, partition, PATIENCE)
            .unwrap();
        expected += usize::try_from(end).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut ids = Vec::new();
    while ids.len() < expected {
        let message = consumer.poll(PATIENCE).unwrap().unwrap();
        let record = v1::DecisionRecord::decode(message.payload().unwrap()).unwrap();
        ids.push(record.response.unwrap().transaction_id);
    }
    ids
}

fn request(id: &str) -> v1::ScoreRequest {
    v1::ScoreRequest {
        transaction: Some(transaction(id, "card-1", 0, 1000)),
        include_features: false,
    }
}

/// Asks one question after another on one connection until the service takes none any more; the ids that were answered.
async fn ask_on(mut client: ScoringServiceClient<Channel>, name: usize) -> BTreeSet<String> {
    let mut answered = BTreeSet::new();
    for number in 0.. {
        let id = format!("{name}-{number}");
        match client.score(request(&id)).await {
            Ok(answer) => {
                assert_eq!(answer.into_inner().transaction_id, id);
                answered.insert(id);
            }
            // The connection was told to end, and no other can be opened.
            Err(_) => break,
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_everything_that_is_accepted_is_answered_and_recorded() {
    let process = Process::start(&[("TOLLGATE_GRPC__LAME_DUCK_MS", "600000")]);
    let mut clients = Vec::new();
    for name in 0..4 {
        clients.push(tokio::spawn(ask_on(process.client().await, name)));
    }
    let mut client = process.client().await;
    assert!(process.readiness().contains("200"));
    client.score(request("before")).await.unwrap();
    process.signal();
    while process.readiness().contains("200") {
        tokio::task::yield_now().await;
    }
    // Not ready any more, and nobody notices: connections that are open, and a new one.
    client.score(request("open")).await.unwrap();
    process.client().await.score(request("new")).await.unwrap();
    // The second signal ends the wait, which would be ten minutes.
    process.signal();
    let mut answered: BTreeSet<String> = ["before", "open", "new"].map(str::to_owned).into();
    for client in clients {
        answered.extend(client.await.unwrap());
    }
    drop(client);
    let ended = process.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(answered.len() > 10, "there was no load");
    let recorded: BTreeSet<String> = ended.recorded.iter().cloned().collect();
    assert_eq!(recorded.len(), ended.recorded.len(), "a record twice");
    // What was decided was answered, and what was answered is in the log.
    assert_eq!(recorded, answered, "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_holds_on_to_its_stream_does_not_hold_up_the_end() {
    let settings = [
        ("TOLLGATE_GRPC__LAME_DUCK_MS", "0"),
        ("TOLLGATE_GRPC__DRAIN_MS", "50"),
    ];
    let process = Process::start(&settings);
    let mut client = process.client().await;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    requests.send(request("s1")).await.unwrap();
    let mut answers = client.score_stream(stream).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    process.signal();
    // The connection is served by other threads meanwhile.
    let ended = process.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert_eq!(ended.recorded, ["s1"]);
    // Held until after the process has ended.
    drop((requests, answers, client));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_watch_is_told_and_ends_and_does_not_hold_up_the_end() {
    let process = Process::start(&[
        ("TOLLGATE_GRPC__LAME_DUCK_MS", "0"),
        ("TOLLGATE_GRPC__DRAIN_MS", "600000"),
    ]);
    let endpoint = Endpoint::from_shared(format!("http://{}", process.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    process.signal();
    let second = watch.message().await.unwrap().unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap(), None);
    // The client keeps its connection, and the drain would take ten minutes.
    let ended = process.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(
        !ended.log.contains("kept their connections"),
        "{}",
        ended.log
    );
    drop(health);
}

#[tokio::test]
async fn a_start_that_waits_for_kafka_ends_when_it_is_told_to() {
    // Takes connections and says nothing; without it the snapshot's positions are of no known log.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let snapshots = tempfile::tempdir().unwrap();
    let mut process = Process::spawn(&[
        ("TOLLGATE_KAFKA__BOOTSTRAP", &address),
        (
            "TOLLGATE_SNAPSHOT__PATH",
            snapshots.path().to_str().unwrap(),
        ),
    ]);
    process.wait_for_line("starting");
    process.signal();
    let ended = process.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    assert!(
        ended.log.contains("before the start was over"),
        "{}",
        ended.log
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_lost_are_counted() {
    // The broker is gone before the first decision is made, so nothing can be acknowledged.
    let settings = [
        ("TOLLGATE_GRPC__LAME_DUCK_MS", "0"),
        ("TOLLGATE_GRPC__DRAIN_MS", "50"),
    ];
    let mut process = Process::start(&settings);
    let mut client = process.client().await;
    process.broker.broker_down(1).unwrap();
    for number in 0..3 {
        client.score(request(&format!("s{number}"))).await.unwrap();
    }
    process.signal();
    process.wait_for_line("lost=3");
    process.broker.broker_up(1).unwrap();
    let status = process.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
}
