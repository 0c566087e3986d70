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

use std::future;
use std::pin::Pin;
use std::sync::Arc;

use futures::{FutureExt, Stream, StreamExt};
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
/// that. Each stream is one request to all other bounds, so a connection may have as many streams times this in progress
/// (ADR 16).
const STREAM_IN_PROGRESS_MAX: usize = 8;

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
        let begun = request.into_inner().scan(false, move |refused, message| {
            // Held for as long as the stream.
            let _ = &counted;
            if *refused {
                return future::ready(None);
            }
            let scoring = Arc::clone(&scoring);
            let mut answer = Box::pin(async move {
                // The deadline of a stream covers its whole life, so each message has the configured budget, from when it is taken.
                let timing = scoring.timing(clock::instant(), None);
                let answer = scoring.score(message?, timing, caller).await;
                answer.map_err(|error| scoring.refuse(&error))
            });
            // It is begun here, before the one after it is taken. Whatever a message is refused for is found before it first
            // waits, so nothing behind one that is refused is begun: it would be decided, and its answer never sent.
            let known = (&mut answer).now_or_never();
            *refused = matches!(known, Some(Err(_)));
            future::ready(Some(async move {
                match known {
                    Some(answer) => answer,
                    None => answer.await,
                }
            }))
        });
        // Answered in the order in which they were begun.
        let answers = begun.buffered(STREAM_IN_PROGRESS_MAX);
        Ok(Response::new(Box::pin(answers)))
    }
}
