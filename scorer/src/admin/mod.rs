//! For operators: metrics, probes, status, and which policy is live, over plain HTTP.
//!
//! Nothing here asks who is calling: the port is for the machine itself or a network that only operators reach. What
//! changes something is asked for by POST, and refused to web pages.

mod models;
mod policy;
mod rules;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admit::{Admission, Load};
use crate::audit::{AuditLog, LogReport};
use crate::clock;
use crate::ingest::{IngestState, Replay};
use crate::metrics::Metrics;
use crate::policy::{Model, Policy};
use crate::reload::{Problem, Versions, Wake};
use crate::watch::DriftReports;
pub(crate) use rules::DemotedReport;
pub(crate) use store::Digesting;

/// What the pages show.
#[derive(Clone)]
pub(crate) struct AdminState {
    pub(crate) metrics: Metrics,
    pub(crate) ingest: Arc<IngestState>,
    pub(crate) policy: Arc<ArcSwap<Policy>>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) wake: Wake,
    pub(crate) drift: DriftReports,
    pub(crate) admission: Arc<Admission>,
    pub(crate) digesting: Digesting,
    pub(crate) audit: AuditLog,
}

/// The running admin server.
pub(crate) struct AdminServer {
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

/// `/status`: what is served, in JSON.
#[derive(Serialize)]
struct Status {
    ready: bool,
    /// How far the log has been read up to where it ended at start.
    replay: Replay,
    policy_version: String,
    /// Whether an operator chose the policy, so that the folder is only checked.
    policy_pinned: bool,
    /// Why the folder as it is now is not loaded; `null` while it loads.
    policy_problem: Option<Problem>,
    champion: Option<String>,
    /// Whether it is asked: `closed`, `open` while it keeps missing or failing, `probing` while it is tried again.
    champion_circuit: Option<&'static str>,
    challengers: Vec<String>,
    rules: usize,
    /// Ids of those that their guard has taken back to shadow.
    demoted_rules: Vec<String>,
    features: usize,
    /// How much is being decided, and what waits for it.
    admission: Load,
    /// Where decisions are that Kafka does not have yet.
    decision_log: LogReport,
}

impl AdminServer {
    pub(crate) async fn start(listen: SocketAddr, state: AdminState) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(readiness))
            .route("/status", get(status))
            .merge(models::routes())
            .merge(policy::routes())
            .merge(rules::routes())
            .merge(store::routes())
            .with_state(state);
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, task })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A page of any web site can have a browser send a POST to a port of its own machine; it then says where the page came
/// from, which no tool does.
async fn refuse_web_pages(request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::ORIGIN) {
        let refusal = "refused: this is for the command line, not for web pages\n";
        return (StatusCode::FORBIDDEN, refusal).into_response();
    }
    next.run(request).await
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    let champion = state.policy.load().champion().map(Model::circuit);
    state.metrics.circuit.note(champion);
    state.admission.note_load();
    // Asked for here, so that it is right while nothing is read.
    let behind = state.ingest.behind(clock::wall_time());
    let behind_seconds = &state.metrics.ingest.behind_seconds;
    behind_seconds.set(behind.micros() / 1_000_000);
    state.metrics.snapshot.note_replay(state.ingest.replay());
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        state.metrics.render(),
    )
}

async fn readiness(State(state): State<AdminState>) -> impl IntoResponse {
    match state.ingest.unready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        ),
    }
}

async fn status(State(state): State<AdminState>) -> Json<Status> {
    let policy = state.policy.load();
    let report = state.versions.report();
    Json(Status {
        ready: state.ingest.is_ready(),
        replay: state.ingest.replay(),
        policy_version: policy.version().to_owned(),
        policy_pinned: report.pinned,
        policy_problem: report.problem,
        champion: policy.champion().map(|model| model.version().to_owned()),
        champion_circuit: policy.champion().map(|model| model.circuit().name()),
        challengers: policy
            .challengers()
            .iter()
            .map(|model| model.version().to_owned())
            .collect(),
        rules: policy.logic().rules.rules().len(),
        demoted_rules: policy
            .logic()
            .rules
            .demoted()
            .map(|(rule, _)| rule.id.to_string())
            .collect(),
        features: policy.logic().layout.features.len(),
        admission: state.admission.load(),
        decision_log: state.audit.report(),
    })
}
