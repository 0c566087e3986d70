//! The rules that their guard has taken back to shadow.
//!
//! | request | does |
//! |---|---|
//! | `GET /rules/demoted` | lists them, and what was counted |
//! | `POST /rules/resume/<rule>` | lets one decide again |

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tollgate_rules::RuleSet;

use super::{AdminState, refuse_web_pages};
use crate::clock;

/// A demoted rule, for people.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DemotedReport {
    pub(crate) rule: String,
    pub(crate) description: String,
    pub(crate) owner: Option<String>,
    pub(crate) since: String,
    /// Transactions that it declined in the period before.
    pub(crate) declined: u64,
    /// All transactions of that period.
    pub(crate) of: u64,
    pub(crate) period: String,
    pub(crate) share_max_per_million: u32,
}

pub(super) fn routes() -> Router<AdminState> {
    let resume = Router::new()
        .route("/rules/resume/{rule}", post(resume))
        .route_layer(middleware::from_fn(refuse_web_pages));
    Router::new()
        .route("/rules/demoted", get(demoted))
        .merge(resume)
}

async fn demoted(State(state): State<AdminState>) -> Json<Vec<DemotedReport>> {
    Json(report(&state.policy.load().logic().rules))
}

async fn resume(State(state): State<AdminState>, Path(rule): Path<String>) -> Response {
    let policy = state.policy.load();
    let rules = &policy.logic().rules;
    if rules.resume(&rule, clock::steady_time()) {
        state.metrics.policy.note_demoted(rules);
        tracing::warn!(rule, "rule decides again");
        return Json(report(rules)).into_response();
    }
    let ids: Vec<&str> = rules.demoted().map(|(rule, _)| &*rule.id).collect();
    let there_are = if ids.is_empty() {
        "no rule is".to_owned()
    } else {
        format!("these are: {}", ids.join(", "))
    };
    let refusal = format!("`{rule}` is not a demoted rule; {there_are}\n");
    (StatusCode::NOT_FOUND, refusal).into_response()
}

fn report(rules: &RuleSet) -> Vec<DemotedReport> {
    rules
        .demoted()
        .map(|(rule, demotion)| DemotedReport {
            rule: rule.id.to_string(),
            description: rule.description.to_string(),
            owner: rule.owner.clone(),
            since: demotion.at.to_string(),
            declined: demotion.declined,
            of: demotion.of,
            period: demotion.guard.period.to_string(),
            share_max_per_million: demotion.guard.share_max_per_million,
        })
        .collect()
}
