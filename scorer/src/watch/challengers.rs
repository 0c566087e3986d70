//! Challengers score what was decided, for comparison only, within a budget of CPU.
//!
//! Each has its own equal part of what they may use together, so that a slow one takes nothing from the others. One that
//! does not come back from a run is not asked again until it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::timeout_at;
use tollgate_models::Reply;
use tollgate_proto::v1::ChallengerScore;

use super::budget::Budget;
use crate::audit::Entry;
use crate::clock;
use crate::metrics::{ChallengerResult, WatchMetrics};
use crate::policy::{Model, Policy};

/// How long a batch waits for its challengers before its records go without their scores.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// The challengers seen so far.
pub(super) struct Challengers {
    /// CPU of all of them together, in seconds per second.
    share: f64,
    known: BTreeMap<String, Challenger>,
    metrics: WatchMetrics,
}

/// One challenger, by its version.
struct Challenger {
    budget: Budget,
    /// How much of its CPU time was paid for.
    cpu_paid: Duration,
    /// A row that it did not answer in time. Until it does it is asked nothing.
    unanswered: Option<Reply>,
}

/// One row for one challenger.
struct Asked<'e> {
    model: &'e Model,
    reply: Result<Reply, Unasked>,
}

/// Why a challenger was not asked.
#[derive(Clone, Copy)]
enum Unasked {
    OverBudget,
    Busy,
    QueueFull,
}

impl Challengers {
    pub(super) fn new(share: f64, metrics: WatchMetrics) -> Self {
        Self {
            share,
            known: BTreeMap::new(),
            metrics,
        }
    }

    /// The scores of every challenger for each entry, in order; of none for a decision made without features.
    pub(super) async fn score(&mut self, batch: &[Entry]) -> Vec<Vec<ChallengerScore>> {
        let mut quotas = self.quotas(batch);
        // All rows are submitted before the first answer is awaited, so that they run as batches.
        let asked: Vec<Vec<Asked<'_>>> = batch
            .iter()
            .map(|entry| ask_all(entry, &mut quotas))
            .collect();
        let until = clock::instant() + WAIT_MAX;
        let mut scores = Vec::with_capacity(batch.len());
        let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
        for (entry, asked) in batch.iter().zip(asked) {
            let mut of_entry = Vec::with_capacity(asked.len());
            for Asked { model, reply } in asked {
                *rows.entry(model.version()).or_default() += usize::from(reply.is_ok());
                of_entry.push(self.answer(entry, model, reply, until).await);
            }
            scores.push(of_entry);
        }
        for model in challengers(batch) {
            self.pay(model, rows.get(model.version()).copied().unwrap_or(0));
        }
        scores
    }

    /// Forgets those that `policy` does not name.
    pub(super) fn retain(&mut self, policy: &Policy) {
        let metrics = &self.metrics;
        self.known.retain(|version, _| {
            let named = |model: &Model| model.version() == version;
            let live = policy.challengers().iter().any(named);
            if !live {
                metrics.forget_challenger(version);
            }
            live
        });
    }

    /// How many rows of the batch each challenger may be asked.
    fn quotas<'e>(&mut self, batch: &'e [Entry]) -> BTreeMap<&'e str, Result<usize, Unasked>> {
        let now = clock::instant();
        let mut quotas = BTreeMap::new();
        for model in challengers(batch) {
            let version = model.version();
            let wanted = batch
                .iter()
                .filter(|entry| named_by(entry).any(|other| other.version() == version));
            let wanted = wanted.count();
            let others = batch.iter().map(|entry| entry.policy.challengers().len());
            let share =
                self.share / f64::from(u32::try_from(others.max().unwrap_or(1)).unwrap_or(1));
            let challenger = self
                .known
                .entry(version.to_owned())
                .or_insert_with(|| Challenger {
                    budget: Budget::new(share, now),
                    cpu_paid: model.cpu_time(),
                    unanswered: None,
                });
            challenger.budget.set_share(share, now);
            let quota = if challenger.is_busy() {
                Err(Unasked::Busy)
            } else {
                Ok(challenger.budget.rows(wanted, now))
            };
            quotas.insert(version, quota);
        }
        quotas
    }

    async fn answer(
        &mut self,
        entry: &Entry,
        model: &Model,
        reply: Result<Reply, Unasked>,
        until: std::time::Instant,
    ) -> ChallengerScore {
        let version = model.version();
        let score = match reply {
            Err(unasked) => Err(unasked.text().to_owned()),
            Ok(mut reply) => match timeout_at(until.into(), &mut reply).await {
                Ok(Ok(Ok(score))) => Ok(score.value()),
                Ok(Ok(Err(error))) => Err(error.to_string()),
                Ok(Err(_gone)) => Err("its thread ended".to_owned()),
                Err(_elapsed) => {
                    if let Some(challenger) = self.known.get_mut(version) {
                        // The first of them is the one that it is in.
                        challenger.unanswered.get_or_insert(reply);
                    }
                    Err("too late".to_owned())
                }
            },
        };
        let result = match &score {
            Ok(_) => ChallengerResult::Scored,
            Err(text) if text == OVER_BUDGET => ChallengerResult::DroppedOverBudget,
            Err(_) => ChallengerResult::Failed,
        };
        self.metrics.count(version, result);
        if let Ok(score) = score
            && entry.response.has_score
        {
            self.metrics.compare(version, score, entry.response.score);
        }
        ChallengerScore {
            model_version: version.to_owned(),
            score: score.as_ref().copied().unwrap_or_default(),
            error: score.err().unwrap_or_default(),
        }
    }

    fn pay(&mut self, model: &Model, rows: usize) {
        let Some(challenger) = self.known.get_mut(model.version()) else {
            return;
        };
        let cpu = model.cpu_time();
        // A bundle that was replaced under its name begins anew.
        let used = cpu.checked_sub(challenger.cpu_paid).unwrap_or(cpu);
        challenger.cpu_paid = cpu;
        // What a run that was not awaited has cost is seen later, and says nothing of what a row costs.
        let rows = if challenger.unanswered.is_some() {
            0
        } else {
            rows
        };
        challenger.budget.pay(used, rows);
        self.metrics
            .challenger_cpu(model.version(), used.as_secs_f64());
    }
}

impl Challenger {
    /// Whether it is still in a run that nobody waits for any more.
    fn is_busy(&mut self) -> bool {
        let unanswered = self.unanswered.as_mut();
        let busy = unanswered.is_some_and(|reply| reply.try_recv() == Err(TryRecvError::Empty));
        if !busy {
            self.unanswered = None;
        }
        busy
    }
}

const OVER_BUDGET: &str = "over its budget of CPU";

impl Unasked {
    /// As the decision log says it.
    const fn text(self) -> &'static str {
        match self {
            Self::OverBudget => OVER_BUDGET,
            Self::Busy => "busy with an earlier run",
            Self::QueueFull => "queue full",
        }
    }
}

/// The challengers that are asked about a decision: none without features.
fn named_by(entry: &Entry) -> impl Iterator<Item = &Model> {
    let asked = entry.is_watched();
    entry.policy.challengers().iter().filter(move |_| asked)
}

/// Every challenger of the batch once. Nearly always one policy has decided all of it.
fn challengers(batch: &[Entry]) -> Vec<&Model> {
    let mut found: Vec<&Model> = Vec::new();
    let mut before: Option<&Arc<Policy>> = None;
    for entry in batch.iter().filter(|entry| entry.is_watched()) {
        if before.is_some_and(|before| Arc::ptr_eq(before, &entry.policy)) {
            continue;
        }
        before = Some(&entry.policy);
        for model in entry.policy.challengers() {
            if !found.iter().any(|other| other.version() == model.version()) {
                found.push(model);
            }
        }
    }
    found
}

fn ask_all<'e>(
    entry: &'e Entry,
    quotas: &mut BTreeMap<&str, Result<usize, Unasked>>,
) -> Vec<Asked<'e>> {
    let ask = |model: &'e Model| {
        let reply = match quotas.get_mut(model.version()) {
            Some(Ok(0)) | None => Err(Unasked::OverBudget),
            Some(Err(unasked)) => Err(*unasked),
            Some(Ok(left)) => {
                *left -= 1;
                let row = model.row(&entry.features, &entry.texts);
                model.submit(row).map_err(|_full| Unasked::QueueFull)
            }
        };
        Asked { model, reply }
    };
    named_by(entry).map(ask).collect()
}
