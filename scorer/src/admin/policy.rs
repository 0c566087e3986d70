//! Which policies are loaded, and choosing between them.
//!
//! | request | does |
//! |---|---|
//! | `GET /policy/versions` | lists the loaded policies, the live one first |
//! | `POST /policy/rollback/<version>` | makes one of them live, until the folder is followed again |
//! | `POST /policy/follow` | lets the folder decide again |

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::{AdminState, refuse_web_pages};
use crate::clock;
use crate::reload::VersionsReport;

pub(super) fn routes() -> Router<AdminState> {
    let changes = Router::new()
        .route("/policy/rollback/{version}", post(roll_back))
        .route("/policy/follow", post(follow))
        .route_layer(middleware::from_fn(refuse_web_pages));
    Router::new()
        .route("/policy/versions", get(versions))
        .merge(changes)
}

async fn versions(State(state): State<AdminState>) -> Json<VersionsReport> {
    Json(state.versions.report())
}

async fn roll_back(State(state): State<AdminState>, Path(version): Path<String>) -> Response {
    match state.versions.roll_back(&version, clock::steady_time()) {
        Ok(()) => Json(state.versions.report()).into_response(),
        Err(unknown) => (StatusCode::NOT_FOUND, format!("{unknown}\n")).into_response(),
    }
}

async fn follow(State(state): State<AdminState>) -> Json<VersionsReport> {
    state.versions.follow();
    state.wake.look_anew();
    Json(state.versions.report())
}
