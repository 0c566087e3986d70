//! What the metrics say of a decision, and of a request that never got one.

use std::time::Instant;

use tollgate_models::Circuit;
use tollgate_rules::{Demoted, Mode};

use super::Scoring;
use super::deadline::Timing;
use crate::clock;
use crate::decide::Decision;
use crate::watchdog::Late;

/// A request that has no answer yet. Dropped as that, it is counted: the server drops whatever works on a request when its client
/// gives it up (RST_STREAM, which clients of gRPC send when their deadline is over) or its connection ends.
pub(super) struct Unanswered<'a> {
    scoring: &'a Scoring,
    timing: Timing,
    ended: bool,
}

impl<'a> Unanswered<'a> {
    pub(super) const fn new(scoring: &'a Scoring, timing: Timing) -> Self {
        Self {
            scoring,
            timing,
            ended: false,
        }
    }

    /// It is answered, or refused.
    pub(super) fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.scoring.observe_abandoned(self.timing);
        }
    }
}

impl Scoring {
    /// An answer goes out, whoever decided it.
    pub(super) fn observe_answer(&self, timing: Timing) {
        let now = clock::instant();
        let took = now.saturating_duration_since(timing.arrived);
        self.metrics.score_latency.observe(took.as_secs_f64());
        self.note_if_late(timing, timing.late_at, now);
    }

    /// Nobody waits for an answer any more.
    ///
    /// A client that gives up at its own deadline says so over the way that the answer would have taken, a moment before or after
    /// `late_at`. So this is late from when the answer was due, the margin for that way taken off.
    fn observe_abandoned(&self, timing: Timing) {
        self.metrics.abandoned.inc();
        self.note_if_late(timing, timing.deadline, clock::instant());
    }

    fn note_if_late(&self, timing: Timing, due: Instant, now: Instant) {
        if now > due {
            self.metrics.late.inc();
            self.late_answers.tell(Late {
                arrived: timing.arrived,
                due,
                answered: now,
            });
        }
    }

    /// A decision has become the answer to a transaction.
    pub(super) fn observe_decision(&self, decision: &Decision) {
        let metrics = &self.metrics;
        metrics
            .decisions
            .with_label_values(&[decision.outcome.name()])
            .inc();
        metrics
            .degradations
            .with_label_values(&[decision.level.name()])
            .inc();
        for cause in &decision.causes {
            metrics
                .degradation_causes
                .with_label_values(&[cause.name()])
                .inc();
        }
        for rule in &decision.matched_rules {
            let mode = match decision.shadow_matches.contains(rule) {
                true => Mode::Shadow,
                false => Mode::Enforce,
            };
            let labels = [&**rule, mode.name()];
            metrics.rule_matches.with_label_values(&labels).inc();
        }
    }

    /// What happened while a decision was made, whether or not it became the answer.
    pub(super) fn observe_course(&self, decision: &Decision) {
        let metrics = &self.metrics;
        if decision.panicked {
            metrics.panics.inc();
        }
        self.tell_of_demotions(&decision.demoted);
        if decision.circuit == Some(Circuit::Open) {
            metrics.circuit.opened.inc();
        }
        if let Some(timings) = decision.model_timings {
            metrics
                .model_latency
                .observe((timings.answered - timings.asked).as_secs_f64());
        }
        if let Some(timings) = decision.reasons_timings {
            let latency = &metrics.watch.reasons_latency;
            latency.observe((timings.answered - timings.asked).as_secs_f64());
        }
    }

    /// A rule's guard has acted: once per demotion, so it may take the time that a line of the log takes.
    fn tell_of_demotions(&self, demoted: &[Demoted]) {
        for Demoted { rule, demotion } in demoted {
            let (declined, of) = (demotion.declined, demotion.of);
            let period = demotion.guard.period.to_string();
            tracing::error!(
                %rule,
                declined,
                of,
                period,
                "rule demoted to shadow: it declined a larger share than its guard allows; `tollgate rules resume {rule}` \
                 lets it decide again"
            );
            self.metrics.policy.rule_demotions.inc();
        }
        if !demoted.is_empty() {
            self.metrics
                .policy
                .note_demoted(&self.policy.load().logic().rules);
        }
    }
}
