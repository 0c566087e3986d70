//! The full decision on a transaction that was answered without it.
//!
//! It is read at the transaction's own place among the events, so it is the decision that would have been made then, but for
//! events that have only arrived since. It is all or nothing: there is no lower level to fall to, as an answer has been given.

use std::time::Instant;

use tollgate_models::Rows;
use tollgate_types::{Cause, Degradation, Record};

use super::ladder::Standing;
use super::model::ModelAnswer;
use super::{Context, Decision, Found, Known, explain, frame_of, model};

/// Decides once more, at leisure, until the deadline of the context. The cause if there is no full decision.
///
/// The store is only read: the transaction was counted when it was answered. Guards of rules are not told, as they count
/// what was answered, and neither is the model's breaker, as nobody waits.
pub(crate) async fn decide_late(
    context: &Context<'_>,
    record: &Record<'_>,
    monotonic_now: impl Fn() -> Instant,
) -> Result<Decision, Cause> {
    let begun = monotonic_now();
    let mut causes = Vec::new();
    let mut frame = frame_of(context.policy, record, &mut causes);
    let mut known = Known::of(context, record, &mut frame, &mut causes, &monotonic_now);
    known.times.begun = Some(begun);
    let asked = if known.is_certain_decline() {
        ModelAnswer::not(Ok(None), Rows::default())
    } else {
        model::ask_at_leisure(context, &known.features, &known.texts, &monotonic_now).await
    };
    let verdict = known.verdict(context, &mut frame, asked.score?);
    let explained = explain::explain(context, verdict.outcome, &asked, &monotonic_now).await;
    causes.extend(explained.left_out);
    let level = Degradation::Full;
    let found = Found { asked, explained };
    Ok(known.decision(Standing { verdict, level }, causes, found))
}
