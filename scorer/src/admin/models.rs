//! `GET /models`: the models of the live policy, what they are, and how far things have moved since their training.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use super::AdminState;
use crate::model_report::ModelReport;

pub(super) fn routes() -> Router<AdminState> {
    Router::new().route("/models", get(models))
}

async fn models(State(state): State<AdminState>) -> Json<Vec<ModelReport>> {
    Json(ModelReport::all(&state.policy.load(), &state.drift))
}
