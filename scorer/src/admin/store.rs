//! `GET /store/digest`: one number for all that the log has brought, to compare two instances by, or one before and after a
//! restart.
//!
//! Nothing is applied from the log while it is made, so it is that of the positions that are told with it. It is made only
//! while nothing is left to read: how much of the log the watermark has seen by then depends on nothing but the log.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde::Serialize;
use tollgate_features::Store;

use super::{AdminState, refuse_web_pages};
use crate::ingest::{IngestState, LogPositions, Positions};

/// What a digest is made of.
#[derive(Clone)]
pub(crate) struct Digesting {
    store: Arc<Store>,
    ingest: Arc<IngestState>,
    positions: Arc<Positions>,
    /// Held by whoever makes one: each keeps the log waiting.
    one_at_a_time: Arc<Mutex<()>>,
}

/// The digest and where in the log it stands.
#[derive(Serialize)]
struct DigestReport {
    /// 32 hexadecimal digits.
    digest: String,
    entities: usize,
    /// Transactions, those in flight left out.
    events: usize,
    /// Labels, those that wait for their transaction included.
    labels: usize,
    watermark_us: i64,
    positions: LogPositions,
}

impl Digesting {
    pub(crate) fn new(
        store: Arc<Store>,
        ingest: Arc<IngestState>,
        positions: Arc<Positions>,
    ) -> Self {
        Self {
            store,
            ingest,
            positions,
            one_at_a_time: Arc::default(),
        }
    }

    /// Visits everything: seconds at ten million events, for which ingest waits.
    fn make(&self) -> Result<DigestReport, &'static str> {
        let Some(_one) = self.one_at_a_time.try_lock() else {
            return Err("another digest is being made; ask again later");
        };
        let pause = self.positions.pause();
        if self.positions.are_broken() {
            return Err("ingest failed, so where in the log the store stands is not known");
        }
        if !self.ingest.is_ready() || !self.ingest.is_at_end() {
            return Err("the log is still being read; ask again once nothing more is published");
        }
        let positions = pause.positions();
        // What the reading thread is about to do.
        self.store.advance_watermark(positions.event_time_max());
        let digest = self.store.digest();
        Ok(DigestReport {
            digest: format!("{:032x}", digest.sum),
            entities: digest.entities,
            events: digest.events,
            labels: digest.labels,
            watermark_us: self.store.watermark().micros(),
            positions,
        })
    }
}

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/store/digest", get(digest))
        .route_layer(middleware::from_fn(refuse_web_pages))
}

async fn digest(State(state): State<AdminState>) -> Response {
    let digesting = state.digesting.clone();
    let made = tokio::task::spawn_blocking(move || digesting.make()).await;
    match made {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        Err(_panicked) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
