//! What holds a connection, and what ends it: clients that never finish a request, never let go, or are too many.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::time::Duration;

use common::{Running, start, start_configured, transaction, write_policy};
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

fn endpoint(running: &Running) -> Endpoint {
    let address = format!("http://{}", running.service.addresses().grpc);
    Endpoint::from_shared(address).unwrap()
}

fn request(id: &str) -> v1::ScoreRequest {
    v1::ScoreRequest {
        transaction: Some(transaction(id, "card-1", 0, 100)),
        include_features: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_arrives_in_full_is_ended_by_its_deadline() {
    // DE-4
    let running = start().await;
    let channel = endpoint(&running).connect().await.unwrap();
    let mut raw = Grpc::new(channel);
    raw.ready().await.unwrap();
    let path = PathAndQuery::from_static("/tollgate.v1.ScoringService/Score");
    let codec = tonic_prost::ProstCodec::<v1::ScoreRequest, v1::ScoreResponse>::default();
    let nothing = Request::new(tokio_stream::pending());
    let ended = raw.client_streaming(nothing, path, codec).await;
    let status = ended.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("did not arrive"), "{status}");
    let incomplete = "tollgate_requests_incomplete_total ";
    assert!((running.metric(incomplete).await - 1.0).abs() < f64::EPSILON);
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_lets_go_does_not_hold_up_the_end() {
    let folder = write_policy(&common::POLICY);
    let path = folder.path().to_owned();
    let running = start_configured(&path, folder, |config| config.grpc.drain_ms = 50).await;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let mut client = running.client.clone();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    requests.send(request("s1")).await.unwrap();
    let mut answers = client.score_stream(stream).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.transaction_id, "s1");
    running.service.stop().await;
    let ended = answers.message().await;
    assert!(ended.is_err(), "the stream was cut, not ended: {ended:?}");
    drop(requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_bound_a_new_connection_is_closed_while_none_is_idle() {
    let folder = write_policy(&common::POLICY);
    let path = folder.path().to_owned();
    let one = |config: &mut tollgate_scorer::Config| config.grpc.connections_max = 1;
    let mut running = start_configured(&path, folder, one).await;
    let (requests, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    // It may be as old as it likes: it is not idle while a stream is open on it.
    let answers = running.client.score_stream(stream).await.unwrap();
    let another = ScoringServiceClient::connect(endpoint(&running)).await;
    if let Ok(mut another) = another {
        another.score(request("s1")).await.unwrap_err();
    }
    let refused = "tollgate_connection_events_total{event=\"refused\"}";
    assert!(running.metric(refused).await > 0.0);
    running.score(transaction("s2", "card-1", 0, 100)).await;
    drop((requests, answers));
    running.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_watches_and_answers_that_nobody_reads_are_no_calls_in_progress() {
    let folder = write_policy(&common::POLICY);
    let path = folder.path().to_owned();
    let one = |config: &mut tollgate_scorer::Config| config.overload.requests_max = 1;
    let mut running = start_configured(&path, folder, one).await;
    let mut health = HealthClient::new(endpoint(&running).connect().await.unwrap());
    let mut watches = Vec::new();
    for _ in 0..3 {
        let watch = health.watch(HealthCheckRequest::default()).await.unwrap();
        watches.push(watch);
    }
    running.score(transaction("s1", "card-1", 0, 100)).await;

    // It gives the server no window to answer into.
    let unread = endpoint(&running).initial_stream_window_size(0);
    let mut unread = ScoringServiceClient::new(unread.connect().await.unwrap());
    let asked = tokio::spawn(async move { unread.score(request("s2")).await });
    let both = "tollgate_decisions_total{outcome=\"approve\"}";
    let answered = async {
        while running.metric(both).await < 2.0 {
            tokio::task::yield_now().await;
        }
        // Its answer is known; a moment later it is no call in progress any more.
        while running.client.score(request("s3")).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    // Only ever waited out by a failure.
    let answered = tokio::time::timeout(Duration::from_secs(30), answered);
    answered.await.unwrap();
    assert!(!asked.is_finished());
    asked.abort();
    drop(watches);
    running.service.stop().await;
}
