//! The same transaction again: the same bytes, one decision, one record.

#![allow(
    clippy::float_cmp,
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{POLICY, Running, start, start_configured, transaction, write_policy};
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _};
use tollgate_proto::v1;
use tollgate_scorer::Config;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// An amount for which the model runs for seconds, far beyond any deadline.
const STUCK: i64 = 1_000_000_000;

/// Messages as the bytes that travel.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

async fn connect(running: &Running) -> Channel {
    let address = format!("http://{}", running.service.addresses().grpc);
    let endpoint = Endpoint::from_shared(address).unwrap();
    endpoint.connect().await.unwrap()
}

fn request(id: &str, amount_minor: i64) -> v1::ScoreRequest {
    v1::ScoreRequest {
        transaction: Some(transaction(id, "card-1", 0, amount_minor)),
        include_features: true,
    }
}

/// The bytes of the answer, which has as long as the service gives it.
async fn bytes(channel: Channel, request: v1::ScoreRequest) -> Vec<u8> {
    within(channel, request, None).await.unwrap()
}

/// The same with a deadline of so many milliseconds; `None` if the client itself gave up, which on a busy machine it may.
async fn within(
    channel: Channel,
    request: v1::ScoreRequest,
    milliseconds: impl Into<Option<u64>>,
) -> Option<Vec<u8>> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/tollgate.v1.ScoringService/Score");
    let mut request = Request::new(request.encode_to_vec());
    if let Some(milliseconds) = milliseconds.into() {
        request.set_timeout(Duration::from_millis(milliseconds));
    }
    match client.unary(request, path, Raw).await {
        Ok(answer) => Some(answer.into_inner()),
        Err(status) => {
            assert_eq!(status.code(), Code::Cancelled, "{status}");
            None
        }
    }
}

async fn duplicates(running: &Running, result: &str) -> f64 {
    let sample = format!("tollgate_duplicates_total{{result=\"{result}\"}}");
    running.metric(&sample).await
}

/// Decisions that became answers: as many as there are records.
async fn decisions(running: &Running) -> f64 {
    let metrics = running.metrics().await;
    let samples = metrics
        .lines()
        .filter(|line| line.starts_with("tollgate_decisions_total"));
    let values = samples.filter_map(|line| line.split(' ').next_back());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

async fn records(running: &Running, count: usize) -> Vec<v1::DecisionRecord> {
    let records = running.consume("tollgate.decisions", count).await;
    let decoded = records
        .iter()
        .map(|(_, bytes)| v1::DecisionRecord::decode(bytes.as_slice()).unwrap());
    decoded.collect()
}

/// A service whose model is as slow as the amount is large.
async fn start_slow(configure: impl FnOnce(&mut Config)) -> Running {
    let mut files = POLICY.to_vec();
    files.push(("models.yaml", "champion: slow/1\n"));
    files.push((
        "rules/score.yaml",
        "rules:\n  - id: likely\n    description: The model finds it likely.\n    \
         when: model.score >= 0.2\n    then: flag\n    reason: MODEL_SCORE\n",
    ));
    let folder = write_policy(&files);
    common::write_slow_bundle(folder.path(), "1");
    let path = folder.path().to_owned();
    start_configured(&path, folder, configure).await
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_at_once_over_several_connections_get_the_same_bytes_and_one_record() {
    let running = start().await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(connect(&running).await);
    }
    let (transactions, copies) = (5, 200);
    let mut answers = BTreeMap::<_, BTreeSet<Vec<u8>>>::new();
    for transaction in 0..transactions {
        let id = format!("t{transaction}");
        let asked = (0..copies).map(|copy| {
            let channel = connections[copy % connections.len()].clone();
            tokio::spawn(bytes(channel, request(&id, 1000)))
        });
        for answer in asked.collect::<Vec<_>>() {
            let answer = answer.await.unwrap();
            answers.entry(id.clone()).or_default().insert(answer);
        }
    }
    assert!(answers.values().all(|different| different.len() == 1));
    assert_eq!(decisions(&running).await, f64::from(transactions));
    let (replayed, joined) = (
        duplicates(&running, "replayed").await,
        duplicates(&running, "joined").await,
    );
    let copies = f64::from(u32::try_from(copies).unwrap());
    assert_eq!(
        replayed + joined,
        f64::from(transactions) * (copies - 1.0),
        "{replayed} replayed, {joined} joined"
    );
    for record in records(&running, answers.len()).await {
        let response = record.response.unwrap();
        let answered = answers.remove(&response.transaction_id).unwrap();
        assert!(answered.contains(&response.encode_to_vec()));
    }
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_a_call_share_their_answers() {
    let mut running = start().await;
    let called = running.score(transaction("t1", "card-1", 0, 1000)).await;
    let twice = tokio_stream::iter([
        request("t1", 1000),
        request("t2", 1000),
        request("t2", 1000),
    ]);
    let answers = running.client.score_stream(twice).await.unwrap();
    let mut answers = answers.into_inner();
    let mut next = async || answers.message().await.unwrap().unwrap();
    assert_eq!(next().await, called);
    assert_eq!(next().await, next().await);
    assert_eq!(decisions(&running).await, 2.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_with_another_content_is_refused_with_what_to_do() {
    let mut running = start().await;
    let first = running.client.score(request("t1", 1000)).await.unwrap();
    let error = running.client.score(request("t1", 1001)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    for part in ["transaction.transaction_id", "an id of its own", "a retry"] {
        assert!(error.message().contains(part), "{error}");
    }
    // Neither is another content: that the same is asked for with features, or malformed.
    let mut without = request("t1", 1000);
    without.include_features = false;
    let error = running.client.score(without).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let malformed = running.client.score(request("t1", -1)).await.unwrap_err();
    assert!(malformed.message().contains("amount_minor"), "{malformed}");
    let again = running.client.score(request("t1", 1000)).await.unwrap();
    assert_eq!(again.into_inner(), first.into_inner());
    assert_eq!(duplicates(&running, "refused").await, 2.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_configuration_says_so_another_content_is_decided() {
    let folder = write_policy(&POLICY);
    let path = folder.path().to_owned();
    // As a file would say it: the type is the library's own.
    let conflict = serde_json::from_value(serde_json::json!("decide")).unwrap();
    let configure = |config: &mut Config| config.idempotency.conflict = conflict;
    let mut running = start_configured(&path, folder, configure).await;
    let mut ask = async |amount| {
        let answer = running.client.score(request("t1", amount)).await.unwrap();
        answer.into_inner()
    };
    let first = ask(1000).await;
    let other = ask(2000).await;
    assert_ne!(other.decision_id, first.decision_id);
    assert_eq!(ask(2000).await, other, "the later one is what is kept");
    assert_eq!(duplicates(&running, "decided_anew").await, 1.0);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_cannot_wait_answers_for_all() {
    // DE-4: the first waits until the stuck model's run is ended, after a quarter of a second at least; its duplicate has less. Of its
    // time half is kept back, so that a busy machine does not have its client give up first.
    let running = start_slow(|config| {
        config.deadline.budget_ms = 2_000;
        config.deadline.margin_ms = 100;
    })
    .await;
    let connections = [connect(&running).await, connect(&running).await];
    let mut answered_by_duplicate = false;
    // Fewer than would have the model not asked any more.
    for round in 0..8 {
        let request = request(&format!("t{round}"), STUCK);
        let [patient, hasty] = connections.clone();
        let patient = tokio::spawn(bytes(patient, request.clone()));
        // Takes longer than the way of the first to the service, nearly always.
        let joined = duplicates(&running, "joined").await;
        let hasty = tokio::spawn(within(hasty, request, 200));
        let (patient, hasty) = (patient.await.unwrap(), hasty.await.unwrap());
        let Some(hasty) = hasty else { continue };
        assert_eq!(patient, hasty);
        let answer = v1::ScoreResponse::decode(&*hasty).unwrap();
        // Unless the machine let the duplicate come first after all, or after the answer.
        answered_by_duplicate = answer.degradation() == v1::Degradation::RequestOnly
            && duplicates(&running, "joined").await > joined;
        if answered_by_duplicate {
            assert_eq!(answer.degradation_causes, ["deadline_too_short"]);
            break;
        }
    }
    assert!(answered_by_duplicate);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_of_a_request_whose_client_went_away_are_answered() {
    let running = start_slow(|_| {}).await;
    let connections = [connect(&running).await, connect(&running).await];
    for round in 0..20 {
        let request = request(&format!("t{round}"), STUCK);
        let [leader, others] = connections.clone();
        let leader = tokio::spawn(bytes(leader, request.clone()));
        let others: Vec<_> = (0..3)
            .map(|_| tokio::spawn(bytes(others.clone(), request.clone())))
            .collect();
        // Whoever leads by now: one of them goes away, and the connection tells the service.
        leader.abort();
        let mut answers = BTreeSet::new();
        for other in others {
            answers.insert(other.await.unwrap());
        }
        assert_eq!(answers.len(), 1);
    }
    assert!(decisions(&running).await >= 20.0);
    running.service.stop().await;
}
