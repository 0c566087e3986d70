//! A scoring service for tests: declines ids that begin with "d", refuses "refuse", remembers what it saw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_server::{ScoringService, ScoringServiceServer};
use tonic::{Request, Response, Status, Streaming};

use super::Client;

/// What tests wait for an answer: a busy machine must not make them fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    timeouts: Vec<String>,
    ids: Vec<String>,
    on_decision: Option<OnDecision>,
}

/// Told the id of every transaction that is answered, before the answer leaves.
pub(crate) type OnDecision = Box<dyn FnMut(&str) + Send>;

#[derive(Clone)]
struct Service(Arc<Mutex<Seen>>);

/// A service that is being served on a port of its own.
pub(crate) struct Fake {
    pub(crate) address: String,
    service: Service,
}

pub(crate) async fn start() -> Fake {
    start_with(None).await
}

pub(crate) async fn start_with(on_decision: Option<OnDecision>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = Service(Arc::new(Mutex::new(Seen {
        on_decision,
        ..Seen::default()
    })));
    let server = ScoringServiceServer::new(service.clone());
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(server)
            .serve_with_incoming(incoming),
    );
    Fake { address, service }
}

impl Fake {
    pub(crate) async fn client(&self, connections: usize) -> Client {
        Client::connect(&self.address, connections, PATIENCE)
            .await
            .unwrap()
    }

    /// The `grpc-timeout` header of every request.
    pub(crate) fn timeouts(&self) -> Vec<String> {
        self.service.0.lock().unwrap().timeouts.clone()
    }

    /// The transactions asked about, in order of arrival.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.service.0.lock().unwrap().ids.clone()
    }
}

#[tonic::async_trait]
impl ScoringService for Service {
    type ScoreStreamStream = tokio_stream::Empty<Result<v1::ScoreResponse, Status>>;

    async fn score(
        &self,
        request: Request<v1::ScoreRequest>,
    ) -> Result<Response<v1::ScoreResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout").cloned();
        let id = request
            .into_inner()
            .transaction
            .unwrap_or_default()
            .transaction_id;
        {
            let mut seen = self.0.lock().unwrap();
            seen.timeouts
                .extend(timeout.and_then(|value| value.to_str().map(str::to_owned).ok()));
            seen.ids.push(id.clone());
        }
        if id == "refuse" {
            return Err(Status::invalid_argument("transaction_id: refused"));
        }
        if let Some(on_decision) = &mut self.0.lock().unwrap().on_decision {
            on_decision(&id);
        }
        let outcome = if id.starts_with('d') {
            v1::Outcome::Decline
        } else {
            v1::Outcome::Approve
        };
        Ok(Response::new(v1::ScoreResponse {
            transaction_id: id,
            outcome: outcome.into(),
            degradation: v1::Degradation::Full.into(),
            ..v1::ScoreResponse::default()
        }))
    }

    async fn score_stream(
        &self,
        _requests: Request<Streaming<v1::ScoreRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        Err(Status::unimplemented("not used here"))
    }
}
