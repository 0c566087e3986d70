//! A process that has no file descriptor left for a connection. Alone in its file: the limit is the whole process's.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop; its numbers are small and exact"
)]

mod common;

use std::fs::File;
use std::net::TcpStream;
use std::time::Duration;

use common::{start, transaction};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_ends_nothing() {
    let running = start().await;
    let before = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(256),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    // One is left, and the client's own end takes it.
    held.pop();
    let waiting = TcpStream::connect(running.service.addresses().grpc).unwrap();
    // The service cannot be asked whether it has tried to accept: its answer would need a descriptor as well.
    let given_back = held.split_off(held.len() - 20);
    drop(given_back);
    let failed = "tollgate_connection_events_total{event=\"accept_failed\"}";
    let accepted = "tollgate_connection_events_total{event=\"accepted\"}";
    while running.metric(accepted).await < 2.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let tries = running.metric(failed).await;
    assert!(tries < 100.0, "it tried {tries} times and did nothing else");
    drop(held);
    setrlimit(Resource::Nofile, before).unwrap();
    drop(waiting);
    let address = format!("http://{}", running.service.addresses().grpc);
    let endpoint = Endpoint::from_shared(address).unwrap();
    let mut client = ScoringServiceClient::connect(endpoint).await.unwrap();
    let request = v1::ScoreRequest {
        transaction: Some(transaction("s1", "card-1", 0, 100)),
        include_features: false,
    };
    client.score(request).await.unwrap();
    running.service.stop().await;
}
