//! A decision as the message that answers a request.

use std::sync::Arc;

use tollgate_proto::v1;

use crate::convert;
use crate::decide::Decision;
use crate::policy::{Policy, feature_number};

pub(super) fn response(
    policy: &Policy,
    transaction_id: &str,
    decision: &Decision,
    include_features: bool,
) -> v1::ScoreResponse {
    let model_version = policy.champion().filter(|_| decision.score.is_some());
    let ids = |rules: &[Arc<str>]| rules.iter().map(ToString::to_string).collect();
    v1::ScoreResponse {
        transaction_id: transaction_id.to_owned(),
        outcome: convert::outcome(decision.outcome).into(),
        score: decision.score.unwrap_or_default(),
        has_score: decision.score.is_some(),
        reasons: decision.reasons.iter().map(convert::reason).collect(),
        degradation: convert::degradation(decision.level).into(),
        degradation_causes: decision
            .causes
            .iter()
            .map(|cause| cause.name().to_owned())
            .collect(),
        policy_version: policy.version().to_owned(),
        model_version: model_version
            .map(|model| model.version().to_owned())
            .unwrap_or_default(),
        features: if include_features {
            named_features(policy, decision)
        } else {
            Default::default()
        },
        shadow_matches: ids(&decision.shadow_matches),
        ..v1::ScoreResponse::default()
    }
}

fn named_features(policy: &Policy, decision: &Decision) -> std::collections::BTreeMap<String, f64> {
    let definitions = &policy.logic().layout.features;
    definitions
        .iter()
        .zip(&decision.features)
        .filter_map(|(feature, cell)| {
            Some((feature.name.clone(), feature_number(feature.kind, *cell)?))
        })
        .collect()
}
