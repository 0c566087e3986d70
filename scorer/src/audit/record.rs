//! What the decision log says of one decision: what was answered, and what it was made from, so that it can be made again.
//!
//! A decision hands over what it has, and all of this is done after the answer has gone out.

mod transaction;
mod vector;

use std::sync::Arc;
use std::time::Duration;

use tollgate_proto::v1;
use tollgate_rules::Mode;
use tollgate_types::{Cell, contains_card_number};

use super::Entry;
use crate::convert;
use crate::policy::Policy;
pub(crate) use vector::{pack, unpack};

/// The version of this program.
pub(crate) const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The record of a decision, with what challengers made of it.
pub(crate) fn record(entry: Entry, challengers: Vec<v1::ChallengerScore>) -> v1::DecisionRecord {
    let policy = &*entry.policy;
    let packed = |cells: &[Cell]| pack(cells.iter().copied());
    let aggregates = entry.aggregates.as_deref().map(packed);
    let features = aggregates.is_some().then(|| packed(&entry.features));
    let timings = timings(&entry);
    let (transaction, withheld) = transaction::message(&entry.transaction);
    let matched = entry.matched_rules.iter();
    v1::DecisionRecord {
        card_id: entry.card_id.as_str().to_owned(),
        event_time: Some(convert::to_timestamp(entry.event_time)),
        decided_at: Some(convert::to_timestamp(entry.decided_at)),
        model_inputs: entry.model_inputs.numbers,
        model_texts: shown(&entry.model_inputs.texts),
        challengers,
        late_verdict: entry.answered.is_some(),
        answered_outcome: entry
            .answered
            .map_or(0, |answered| convert::outcome(answered).into()),
        transaction: Some(transaction),
        withheld,
        aggregates,
        features,
        matched_rules: matched.map(ToString::to_string).collect(),
        demoted_rules: demoted(policy, &entry.response.shadow_matches),
        versions: Some(versions(policy)),
        timings: Some(timings),
        model_reasons_max: u32::try_from(entry.model_reasons_max).unwrap_or(u32::MAX),
        response: Some(entry.response),
    }
}

/// Rules that are no shadow rules and were reported as if they were.
fn demoted(policy: &Policy, shadow_matches: &[String]) -> Vec<String> {
    let is_enforced = |id: &&String| {
        let mut rules = policy.logic().rules.rules().iter();
        rules.any(|rule| *rule.id == ***id && rule.mode == Mode::Enforce)
    };
    let demoted = shadow_matches.iter().filter(is_enforced);
    demoted.cloned().collect()
}

pub(crate) fn versions(policy: &Policy) -> v1::Versions {
    let model = policy.champion().map(|champion| champion.digest());
    v1::Versions {
        program: PROGRAM.to_owned(),
        features: policy.features_version().to_owned(),
        fallback: policy.fallback_version().to_owned(),
        model: model.map_or_else(String::new, |digest| {
            tollgate_rules::version_of(digest).to_owned()
        }),
    }
}

fn timings(entry: &Entry) -> v1::Timings {
    let us = |length: Duration| u32::try_from(length.as_micros()).unwrap_or(u32::MAX);
    let times = &entry.times;
    v1::Timings {
        admitted_us: times.until_admitted(entry.arrived).map(us),
        features_us: times.features().map(us),
        rules_us: times.rules().map(us),
        model_us: entry.model_timings.map(|model| us(model.length())),
        reasons_us: entry.reasons_timings.map(|model| us(model.length())),
    }
}

/// A model may be given what nobody may keep.
pub(crate) fn shown(texts: &[Arc<str>]) -> Vec<String> {
    let shown = |text: &Arc<str>| {
        if contains_card_number(text) {
            "(a card number)".to_owned()
        } else {
            text.to_string()
        }
    };
    texts.iter().map(shown).collect()
}
