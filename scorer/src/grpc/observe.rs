//! What the metrics say of a decision.

use tollgate_models::Circuit;
use tollgate_rules::{Demoted, Mode};

use super::Scoring;
use super::deadline::Timing;
use crate::clock;
use crate::decide::Decision;
use crate::watchdog::Late;

impl Scoring {
    /// An answer goes out, whoever decided it.
    pub(super) fn observe_answer(&self, timing: Timing) {
        let now = clock::instant();
        let took = now.saturating_duration_since(timing.arrived);
        self.metrics.score_latency.observe(took.as_secs_f64());
        if now > timing.late_at {
            self.metrics.late.inc();
            self.late_answers.tell(Late {
                arrived: timing.arrived,
                due: timing.late_at,
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
