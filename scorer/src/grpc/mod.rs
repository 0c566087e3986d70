//! The scoring service as tonic wants it: unary calls and streams, each message through [`Scoring`].

mod accept;
mod arrival;
mod asked;
mod body;
mod caller;
mod connections;
mod deadline;
mod entrance;
mod observe;
mod response;
mod scoring;
mod server;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tollgate_proto::v1;
use tollgate_proto::v1::scoring_service_server::ScoringService;
use tonic::{Request, Response, Status, Streaming};

use crate::clock;
use arrival::Arrival;
pub(crate) use asked::seconds;
use connections::Counted;
pub(crate) use response::response;
pub(crate) use scoring::Scoring;
pub(crate) use server::{GrpcServer, Health, ServerError};

/// Messages of one stream that are decided at once. One that comes while the one before it waits for a model does not wait for
/// that, and a stream takes no more than a third of what a connection may have in progress.
const STREAM_IN_PROGRESS_MAX: usize = 32;

/// The service as tonic wants it.
#[derive(Clone)]
pub(crate) struct ScoringHandler {
    scoring: Arc<Scoring>,
}

impl ScoringHandler {
    pub(crate) const fn new(scoring: Arc<Scoring>) -> Self {
        Self { scoring }
    }
}

#[tonic::async_trait]
impl ScoringService for ScoringHandler {
    async fn score(
        &self,
        mut request: Request<v1::ScoreRequest>,
    ) -> Result<Response<v1::ScoreResponse>, Status> {
        let _counted = request.extensions_mut().remove::<Arc<Counted>>();
        let arrival = Arrival::of(request.extensions());
        let timing = self.scoring.timing(arrival.at, arrival.timeout);
        let caller = self.scoring.caller(&request, arrival.connection);
        let answer = self.scoring.score(request.into_inner(), timing, caller);
        let answer = answer.await;
        answer
            .map(Response::new)
            .map_err(|error| self.scoring.refuse(&error))
    }

    type ScoreStreamStream = Pin<Box<dyn Stream<Item = Result<v1::ScoreResponse, Status>> + Send>>;

    async fn score_stream(
        &self,
        mut request: Request<Streaming<v1::ScoreRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let counted = request.extensions_mut().remove::<Arc<Counted>>();
        let scoring = Arc::clone(&self.scoring);
        let connection = Arrival::of(request.extensions()).connection;
        let caller = scoring.caller(&request, connection);
        // The deadline of a stream covers its whole life, so each message has the configured budget, from when it was received.
        let answers = request.into_inner().map(move |message| {
            // Held for as long as the stream.
            let _ = &counted;
            let scoring = Arc::clone(&scoring);
            let timing = scoring.timing(clock::instant(), None);
            async move {
                let answer = scoring.score(message?, timing, caller).await;
                answer.map_err(|error| scoring.refuse(&error))
            }
        });
        // Each is begun before the one after it, and answered in that order.
        let answers = answers.buffered(STREAM_IN_PROGRESS_MAX);
        Ok(Response::new(Box::pin(answers)))
    }
}
