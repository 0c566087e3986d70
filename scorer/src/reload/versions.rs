//! Which policy is live, which were before it, and what came of the last look at the folder.
//!
//! Whoever changes what is live (a reload, or an operator who rolls back) does so under one lock, so that a roll-back
//! acts at once, whatever is being loaded meanwhile. Decisions only ever load the one pointer. Time is that of the steady
//! clock, since the guards of rules count by it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tollgate_source::{Diagnostics, Severity};
use tollgate_types::EventTime;

use crate::metrics::PolicyMetrics;
use crate::policy::Policy;

/// The loaded policies of a service.
pub(crate) struct Versions {
    live: Arc<ArcSwap<Policy>>,
    state: Mutex<State>,
    versions_max: usize,
    metrics: PolicyMetrics,
}

struct State {
    /// In the order in which they went live last; the last one is live.
    loaded: VecDeque<Loaded>,
    /// Whether an operator chose the live one, so that the folder is only checked.
    pinned: bool,
    problem: Option<Problem>,
}

struct Loaded {
    policy: Arc<Policy>,
    live_since: EventTime,
    /// The files that differ from what was live before it.
    changed: Vec<String>,
}

/// Why the folder as it is now is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// When it was found.
    pub(crate) since: String,
    /// Every mistake, as `tollgate check` shows it.
    pub(crate) errors: String,
}

/// A loaded policy, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionReport {
    pub(crate) version: String,
    pub(crate) live_since: String,
    pub(crate) live: bool,
    /// The files that differ from what was live before it.
    pub(crate) changed: Vec<String>,
}

/// What is loaded and what of the folder is not, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionsReport {
    /// The live one first, then the one before it.
    pub(crate) versions: Vec<VersionReport>,
    pub(crate) pinned: bool,
    /// `null` while the folder loads.
    pub(crate) problem: Option<Problem>,
}

/// What became of the folder's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    Swapped,
    Unchanged,
    /// It could be loaded, but an operator chose another.
    Held,
    Refused,
}

impl Judged {
    const fn name(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Unchanged => "unchanged",
            Self::Held => "held",
            Self::Refused => "refused",
        }
    }
}

/// There is no such version; the ones there are, the live one first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no loaded policy has the version `{version}`; there are {}", known.join(", "))]
pub(crate) struct UnknownVersion {
    version: String,
    known: Vec<String>,
}

impl Versions {
    /// Begins with the policy that was loaded at start.
    pub(crate) fn new(
        live: Arc<ArcSwap<Policy>>,
        versions_max: usize,
        metrics: PolicyMetrics,
        now: EventTime,
    ) -> Self {
        let first = Loaded {
            policy: live.load_full(),
            live_since: now,
            changed: Vec::new(),
        };
        Self {
            live,
            state: Mutex::new(State {
                loaded: [first].into(),
                pinned: false,
                problem: None,
            }),
            versions_max,
            metrics,
        }
    }

    /// All loaded policies, whose models need not be started again.
    pub(super) fn policies(&self) -> Vec<Arc<Policy>> {
        let state = self.lock();
        let policies = state.loaded.iter().map(|loaded| &loaded.policy);
        policies.map(Arc::clone).collect()
    }

    /// Takes what a load of the folder gave: a good policy goes live, unless another one is pinned; a bad one is told.
    pub(super) fn judge(
        &self,
        loaded: Result<(Policy, Diagnostics), Diagnostics>,
        now: EventTime,
    ) -> Judged {
        let mut state = self.lock();
        let judged = match loaded {
            Ok((policy, warnings)) => {
                state.problem = None;
                let judged = state.take(policy, now, &self.live);
                if judged == Judged::Swapped {
                    log(&warnings);
                }
                judged
            }
            Err(errors) => {
                let errors = state.refuse(&errors, now);
                tracing::error!(
                    errors,
                    "the policy folder does not load; the running policy stays"
                );
                Judged::Refused
            }
        };
        let gone = state.forget(self.versions_max);
        self.metrics.loads.with_label_values(&[judged.name()]).inc();
        self.note(&state);
        drop(state);
        // Frees lists and models: not while others wait for the lock.
        drop(gone);
        judged
    }

    /// Makes an earlier policy live again, and keeps it so until [`Versions::follow`].
    pub(crate) fn roll_back(&self, version: &str, now: EventTime) -> Result<(), UnknownVersion> {
        let mut state = self.lock();
        let found = state.position(version).ok_or_else(|| UnknownVersion {
            version: version.to_owned(),
            known: state
                .newest_first()
                .map(|l| l.policy.version().to_owned())
                .collect(),
        })?;
        state.pinned = true;
        let last = state.loaded.len() - 1;
        if found != last {
            state.make_live(found, now, &self.live);
        }
        self.note(&state);
        tracing::warn!(
            version,
            "rolled back; the policy folder is only checked until `tollgate policy follow`"
        );
        Ok(())
    }

    /// Lets the folder decide again what is live. Whoever calls this wakes the reload.
    pub(crate) fn follow(&self) {
        let mut state = self.lock();
        state.pinned = false;
        self.note(&state);
        tracing::info!("following the policy folder");
    }

    pub(crate) fn report(&self) -> VersionsReport {
        let state = self.lock();
        let report = |(at, loaded): (usize, &Loaded)| VersionReport {
            version: loaded.policy.version().to_owned(),
            live_since: loaded.live_since.to_string(),
            live: at == 0,
            changed: loaded.changed.clone(),
        };
        VersionsReport {
            versions: state.newest_first().enumerate().map(report).collect(),
            pinned: state.pinned,
            problem: state.problem.clone(),
        }
    }

    fn note(&self, state: &State) {
        self.metrics
            .folder_refused
            .set(i64::from(state.problem.is_some()));
        self.metrics.pinned.set(i64::from(state.pinned));
        if let Some(live) = state.live() {
            self.metrics.note_demoted(&live.logic().rules);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, policy: Policy, now: EventTime, live: &ArcSwap<Policy>) -> Judged {
        if Some(policy.version()) == self.live().map(Policy::version) {
            return Judged::Unchanged;
        }
        if self.pinned {
            return Judged::Held;
        }
        // One that was live before is the same, and need not be kept twice.
        let at = self.position(policy.version()).unwrap_or_else(|| {
            self.loaded.push_front(Loaded {
                policy: Arc::new(policy),
                live_since: now,
                changed: Vec::new(),
            });
            0
        });
        self.make_live(at, now, live);
        Judged::Swapped
    }

    fn make_live(&mut self, at: usize, now: EventTime, live: &ArcSwap<Policy>) {
        let Some(mut next) = self.loaded.remove(at) else {
            return;
        };
        let changes = self.live().map(|before| next.policy.changed_since(before));
        let changed = changes.unwrap_or_default();
        next.changed = changed.iter().map(ToString::to_string).collect();
        next.live_since = now;
        let before = self.live().map(|before| &before.logic().rules);
        next.policy.logic().rules.begin(before, now);
        live.store(Arc::clone(&next.policy));
        tracing::info!(
            version = next.policy.version(),
            changed = next.changed.join(", "),
            "policy is live"
        );
        self.loaded.push_back(next);
    }

    /// The mistakes as text, each once.
    fn refuse(&mut self, errors: &Diagnostics, now: EventTime) -> String {
        let errors = errors.render();
        let same = self
            .problem
            .as_ref()
            .filter(|problem| problem.errors == errors);
        let since = same.map_or_else(|| now.to_string(), |problem| problem.since.clone());
        self.problem = Some(Problem {
            since,
            errors: errors.clone(),
        });
        errors
    }

    fn forget(&mut self, versions_max: usize) -> Vec<Loaded> {
        let excess = self.loaded.len().saturating_sub(versions_max.max(1));
        self.loaded.drain(..excess).collect()
    }

    fn position(&self, version: &str) -> Option<usize> {
        self.loaded
            .iter()
            .position(|loaded| loaded.policy.version() == version)
    }

    fn live(&self) -> Option<&Policy> {
        self.loaded.back().map(|loaded| &*loaded.policy)
    }

    fn newest_first(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.iter().rev()
    }
}

fn log(warnings: &Diagnostics) {
    for warning in warnings
        .iter()
        .filter(|note| note.severity == Severity::Warning)
    {
        let (line, column) = warning.position();
        let help = warning.help.as_deref().unwrap_or_default();
        let file = &warning.file.path;
        tracing::warn!(file, line, column, help, "policy: {}", warning.message);
    }
}
