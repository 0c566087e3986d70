//! What the decision log says of one decision.

use std::sync::Arc;

use tollgate_proto::v1;
use tollgate_types::contains_card_number;

use super::Entry;
use crate::convert;

/// The record of a decision, with what challengers made of it.
pub(super) fn record(entry: Entry, challengers: Vec<v1::ChallengerScore>) -> v1::DecisionRecord {
    v1::DecisionRecord {
        response: Some(entry.response),
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
    }
}

/// A model may be given what nobody may keep.
fn shown(texts: &[Arc<str>]) -> Vec<String> {
    let shown = |text: &Arc<str>| {
        if contains_card_number(text) {
            "(a card number)".to_owned()
        } else {
            text.to_string()
        }
    };
    texts.iter().map(shown).collect()
}
