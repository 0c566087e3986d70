//! Asks for decisions and keeps count of the answers.

mod lanes;
mod pace;
mod tally;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_client::ScoringServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub(crate) use lanes::{Lanes, Queues};
pub(crate) use pace::{Arrivals, Pace};
pub(crate) use tally::Tally;

/// What the payment system waits for an answer; it decides alone after that.
pub(crate) const DEADLINE: Duration = Duration::from_millis(100);

/// Connections to one service, shared by all who ask.
#[derive(Clone)]
pub(crate) struct Client {
    connections: Vec<ScoringServiceClient<Channel>>,
    deadline: Duration,
}

/// What came back and how long it took, from the moment it was due.
pub(crate) struct Answer {
    pub(crate) result: Result<v1::ScoreResponse, Status>,
    pub(crate) latency: Duration,
}

impl Client {
    /// Opens `connections` connections to `address` (host:port). Every request carries the deadline.
    pub(crate) async fn connect(
        address: &str,
        connections: usize,
        deadline: Duration,
    ) -> Result<Self> {
        // Small requests must leave at once: Nagle's algorithm would hold them back for milliseconds.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let mut opened = Vec::new();
        for _ in 0..connections.max(1) {
            let channel = endpoint
                .connect()
                .await
                .with_context(|| format!("cannot connect to the scoring service at {address}"))?;
            opened.push(ScoringServiceClient::new(channel));
        }
        Ok(Self {
            connections: opened,
            deadline,
        })
    }

    /// Asks for one decision. `due` is when the request should have been sent: whatever kept it from leaving
    /// then is part of the latency, or a slow service would slow its own measurement down.
    pub(crate) async fn score(
        &self,
        lane: usize,
        due: Instant,
        request: v1::ScoreRequest,
    ) -> Answer {
        let mut client = self.connections[lane % self.connections.len()].clone();
        let mut request = Request::new(request);
        request.set_timeout(self.deadline);
        let result = client.score(request).await.map(tonic::Response::into_inner);
        Answer {
            result,
            latency: Instant::now().saturating_duration_since(due),
        }
    }
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn request(id: &str) -> v1::ScoreRequest {
        let transaction = v1::Transaction {
            transaction_id: id.to_owned(),
            ..v1::Transaction::default()
        };
        v1::ScoreRequest {
            transaction: Some(transaction),
            include_features: false,
        }
    }

    #[tokio::test]
    async fn requests_carry_the_deadline_and_come_back_with_an_answer() {
        let service = fake::start().await;
        let client = service.client(2).await;
        for lane in 0..4 {
            let answer = client.score(lane, Instant::now(), request("a")).await;
            assert_eq!(answer.result.unwrap().outcome(), v1::Outcome::Approve);
        }
        assert_eq!(service.timeouts(), ["60000000u"; 4]);
    }

    #[tokio::test]
    async fn a_late_start_is_part_of_the_latency() {
        let service = fake::start().await;
        let client = service.client(1).await;
        let due = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        let answer = client.score(0, due, request("a")).await;
        assert!(answer.latency >= Duration::from_secs(2));
    }

    #[tokio::test]
    async fn errors_keep_their_code() {
        let service = fake::start().await;
        let client = service.client(1).await;
        let answer = client.score(0, Instant::now(), request("refuse")).await;
        assert_eq!(answer.result.unwrap_err().code(), Code::InvalidArgument);
    }
}
