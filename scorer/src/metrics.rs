//! Every metric of the service, by name, in Prometheus' text form.
//!
//! Labels come from closed sets: outcomes, levels, causes, topics, results, the ids of the policy's rules, and its models
//! with their inputs.
//! Never a card, a merchant or a transaction.

mod admission;
mod connections;
mod decision_log;
mod idempotency;
mod ingest;
mod late_verdicts;
mod snapshot;
mod stalls;
mod topics;
mod watch;

use prometheus::{
    Counter, Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};
use tollgate_features::Limits;
use tollgate_models::Circuit;
use tollgate_rules::RuleSet;

pub(crate) use admission::AdmissionMetrics;
pub(crate) use connections::{ConnectionEvent, ConnectionMetrics};
pub(crate) use decision_log::{DecisionLogMetrics, RecordResult, Unlogged};
pub(crate) use idempotency::{Duplicate, IdempotencyMetrics};
pub(crate) use ingest::{IngestMetrics, IngestResult};
pub(crate) use late_verdicts::{LateResult, LateVerdictMetrics};
pub(crate) use snapshot::SnapshotMetrics;
pub(crate) use stalls::StallMetrics;
pub(crate) use topics::TopicMetrics;
pub(crate) use watch::{ChallengerResult, WatchMetrics};

/// Upper bounds of latency buckets in seconds: 50 µs to 100 ms, the contract's limit among them.
const LATENCY_BUCKETS: [f64; 12] = [
    5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 8e-2, 1e-1,
];

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) decisions: IntCounterVec,
    pub(crate) degradations: IntCounterVec,
    pub(crate) degradation_causes: IntCounterVec,
    pub(crate) refused: IntCounter,
    pub(crate) late: IntCounter,
    pub(crate) abandoned: IntCounter,
    pub(crate) stalls: StallMetrics,
    pub(crate) idempotency: IdempotencyMetrics,
    pub(crate) panics: IntCounter,
    pub(crate) score_latency: Histogram,
    pub(crate) model_latency: Histogram,
    pub(crate) rule_matches: IntCounterVec,
    pub(crate) ingest: IngestMetrics,
    pub(crate) topics: TopicMetrics,
    pub(crate) store: StoreMetrics,
    pub(crate) decision_log: DecisionLogMetrics,
    pub(crate) watch: WatchMetrics,
    pub(crate) late_verdicts: LateVerdictMetrics,
    pub(crate) snapshot: SnapshotMetrics,
    pub(crate) circuit: CircuitMetrics,
    pub(crate) policy: PolicyMetrics,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) admission: AdmissionMetrics,
    pub(crate) ready: IntGauge,
}

/// Whether the champion is asked.
#[derive(Debug, Clone)]
pub(crate) struct CircuitMetrics {
    pub(crate) state: IntGauge,
    pub(crate) opened: IntCounter,
}

/// What became of the policy folder.
#[derive(Debug, Clone)]
pub(crate) struct PolicyMetrics {
    pub(crate) loads: IntCounterVec,
    pub(crate) folder_refused: IntGauge,
    pub(crate) pinned: IntGauge,
    pub(crate) rules_demoted: IntGauge,
    pub(crate) rule_demotions: IntCounter,
}

/// How much is kept of cards, merchants and the like, and what was let go.
#[derive(Debug, Clone)]
pub(crate) struct StoreMetrics {
    pub(crate) in_flight_expired: IntCounter,
    pub(crate) events_evicted: IntCounter,
    pub(crate) events_cut_off: IntCounter,
    pub(crate) entities_pushed_out: IntCounter,
    pub(crate) entities: IntGauge,
    pub(crate) transactions: IntGauge,
    pub(crate) in_flight: IntGauge,
    pub(crate) pending_labels: IntGauge,
    pub(crate) bytes: IntGauge,
    pub(crate) bytes_max: IntGauge,
}

impl Metrics {
    /// Registers everything; fails only if a name is registered twice, which is a bug.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let make = Maker {
            registry: Registry::new(),
        };
        Ok(Self {
            decisions: make.counters("decisions", "Decisions by outcome.", "outcome")?,
            degradations: make.counters(
                "degradations",
                "Decisions by how much stood behind them.",
                "level",
            )?,
            degradation_causes: make.counters(
                "degradation_causes",
                "Why something was left out of a decision.",
                "cause",
            )?,
            refused: make.counter("refused", "Requests answered INVALID_ARGUMENT.")?,
            late: make.counter(
                "late",
                "Answers later than the client's deadline or the budget, whichever is earlier (the margin is not taken off), and requests \
                 abandoned after their answer was due.",
            )?,
            abandoned: make.counter(
                "requests_abandoned",
                "Requests, and messages of streams, that had no answer yet when their client gave up or their connection ended.",
            )?,
            stalls: StallMetrics::new(&make)?,
            idempotency: IdempotencyMetrics::new(&make)?,
            panics: make.counter(
                "panics",
                "Failures of the code of a request, answered by the fallback; each is a bug.",
            )?,
            score_latency: make.latency("score", "From arrival to answer.")?,
            model_latency: make.latency("model", "Champion asked to score received.")?,
            rule_matches: make.counters_by(
                "rule_matches",
                "Matches of each rule: `enforce` if it took part in the outcome, `shadow` if it was only reported.",
                &["rule", "mode"],
            )?,
            ingest: IngestMetrics::new(&make)?,
            topics: TopicMetrics::new(&make)?,
            store: StoreMetrics::new(&make)?,
            decision_log: DecisionLogMetrics::new(&make)?,
            watch: WatchMetrics::new(&make)?,
            late_verdicts: LateVerdictMetrics::new(&make)?,
            snapshot: SnapshotMetrics::new(&make)?,
            circuit: CircuitMetrics::new(&make)?,
            policy: PolicyMetrics::new(&make)?,
            connections: ConnectionMetrics::new(&make)?,
            admission: AdmissionMetrics::new(&make)?,
            ready: make.gauge(
                "ready",
                "1 once the log was read to where it ended at start.",
            )?,
            registry: make.registry,
        })
    }

    /// All metrics in Prometheus' text exposition format.
    pub(crate) fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing into a vector cannot fail; a family without samples is skipped by the encoder.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

impl CircuitMetrics {
    /// Tells of the live champion; without one there is nothing that could be open.
    pub(crate) fn note(&self, circuit: Option<Circuit>) {
        self.state.set(match circuit {
            None | Some(Circuit::Closed) => 0,
            Some(Circuit::Probing) => 1,
            Some(Circuit::Open) => 2,
        });
    }

    fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            state: make.gauge(
                "model_circuit_state",
                "0 while the champion is asked, 1 while single decisions try it, 2 while nobody asks it.",
            )?,
            opened: make.counter(
                "model_circuit_opened",
                "How often the champion kept missing or failing and was not asked any more.",
            )?,
        })
    }
}

impl PolicyMetrics {
    /// Counts the demoted rules of what is live.
    pub(crate) fn note_demoted(&self, rules: &RuleSet) {
        let demoted = rules.demoted().count();
        self.rules_demoted
            .set(i64::try_from(demoted).unwrap_or(i64::MAX));
    }

    fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            loads: make.counters(
                "policy_loads",
                "Loads of the policy folder by what became of them.",
                "result",
            )?,
            folder_refused: make.gauge(
                "policy_folder_refused",
                "1 while the policy folder has a mistake and the policy before it stays.",
            )?,
            pinned: make.gauge(
                "policy_pinned",
                "1 while an operator has chosen the policy and the folder is only checked.",
            )?,
            rules_demoted: make.gauge(
                "rules_demoted",
                "Rules of the live policy that their guard has taken back to shadow.",
            )?,
            rule_demotions: make.counter(
                "rule_demotions",
                "How often a guard has taken a rule back to shadow.",
            )?,
        })
    }
}

impl StoreMetrics {
    pub(crate) fn note_limit(&self, limits: Limits) {
        self.bytes_max
            .set(i64::try_from(limits.bytes_max).unwrap_or(i64::MAX));
    }

    fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            in_flight_expired: make.counter(
                "in_flight_expired",
                "Scored transactions whose echo never came.",
            )?,
            events_evicted: make.counter("events_evicted", "Events let go after retention.")?,
            events_cut_off: make.counter(
                "events_cut_off",
                "Events let go because their entity had more than may be kept.",
            )?,
            entities_pushed_out: make.counter(
                "entities_pushed_out",
                "Entities let go because memory was short.",
            )?,
            entities: make.gauge("store_entities", "Entities with retained events.")?,
            transactions: make.gauge("store_transactions", "Transactions retained.")?,
            in_flight: make.gauge(
                "store_in_flight",
                "Scored transactions whose echo is awaited, and confirmed ones not yet forgotten.",
            )?,
            pending_labels: make.gauge(
                "store_pending_labels",
                "Labels that wait for their transaction.",
            )?,
            bytes: make.gauge("store_bytes", "Bytes of memory that histories take.")?,
            bytes_max: make.gauge("store_bytes_max", "Bytes beyond which entities are let go.")?,
        })
    }
}

struct Maker {
    registry: Registry,
}

impl Maker {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::new(format!("tollgate_{name}_total"), help)?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.counters_by(name, help, &[label])
    }

    fn counters_by(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let opts = Opts::new(format!("tollgate_{name}_total"), help);
        let counters = IntCounterVec::new(opts, labels)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(format!("tollgate_{name}"), help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// A time that adds up.
    fn seconds(&self, name: &str, help: &str) -> Result<Counter, prometheus::Error> {
        let counter = Counter::new(format!("tollgate_{name}_total"), help)?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    /// A time that goes up and down.
    fn seconds_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        let gauge = Gauge::new(format!("tollgate_{name}"), help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn latency(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::new(format!("tollgate_{name}_latency_seconds"), help)
            .buckets(LATENCY_BUCKETS.to_vec());
        let histogram = Histogram::with_opts(opts)?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_register_and_render() {
        let metrics = Metrics::new().unwrap();
        metrics.decisions.with_label_values(&["approve"]).inc();
        let text = metrics.render();
        assert!(
            text.contains("tollgate_decisions_total{outcome=\"approve\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("tollgate_score_latency_seconds_bucket{le=\"0.1\"} 0"),
            "{text}"
        );
    }
}
