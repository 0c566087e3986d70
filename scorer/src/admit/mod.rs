//! Admission: how many requests are decided in full at once, across all connections, and what becomes of the others.
//!
//! Two things run out under load. The model: decisions in progress wait for it, so how many there may be is limited by how
//! long they take (`limit`). And the CPU: requests wait for a thread before anybody has looked at them, so their age as they
//! come here tells of it (`age`). Beyond, they wait a little, by priority and by turns of their connections
//! (`queue`), or are shed: answered at once from the request alone.
//!
//! `gate` is all of it, without a clock or a runtime; here it gets both. The path takes its lock twice, for well below a
//! microsecond each time, and never across an await. ADR 16 says why it is as it is.

mod age;
mod gate;
mod limit;
mod priority;
mod queue;
mod waits;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clock;
use crate::config::OverloadConfig;
use crate::metrics::AdmissionMetrics;
use gate::{Answer, Gate, Told};
pub(crate) use gate::{Ask, Load, Shed};
use limit::Sample;
pub(crate) use priority::HEADER as PRIORITY_HEADER;
pub(crate) use priority::Priority;
pub(crate) use queue::ConnectionId;
use queue::Ticket;
pub(crate) use waits::Measured;

/// How somebody who waits is told.
type Handle = oneshot::Sender<Result<Permit, Shed>>;

/// Shared by all connections.
pub(crate) struct Admission {
    gate: Mutex<Gate<Handle>>,
    metrics: AdmissionMetrics,
}

impl Admission {
    pub(crate) fn new(config: &OverloadConfig, metrics: AdmissionMetrics) -> Self {
        Self {
            gate: Mutex::new(Gate::new(config)),
            metrics,
        }
    }

    /// Waits for a place, for as long as that is of use. What waits may be dropped at any time.
    pub(crate) async fn admit(self: &Arc<Self>, ask: Ask) -> Result<Permit, Shed> {
        let now = clock::instant();
        let mut told = None;
        let (answer, displaced) = self.gate.lock().ask(ask, now, || {
            let (handle, receiver) = oneshot::channel();
            told = Some(receiver);
            handle
        });
        self.tell(displaced);
        let result = match (answer, told) {
            (Answer::Waits { ticket, until }, Some(told)) => {
                let place = Place {
                    admission: self,
                    ticket,
                };
                place.wait(told, until).await
            }
            (Answer::Shed(shed), _) => Err(shed),
            (Answer::Admitted, _) | (Answer::Waits { .. }, None) => Ok(self.permit(now)),
        };
        let decided = if told_at_once(answer) {
            now
        } else {
            clock::instant()
        };
        let age = decided.saturating_duration_since(ask.arrived);
        self.metrics.note(ask.priority, age, result.as_ref().err());
        result
    }

    /// A place for work that no caller waits for; `None` while callers might need it.
    pub(crate) fn spare(self: &Arc<Self>) -> Option<Permit> {
        let now = clock::instant();
        let is_spare = self.gate.lock().take_spare(now);
        is_spare.then(|| self.permit(now))
    }

    pub(crate) fn load(&self) -> Load {
        self.gate.lock().load(clock::instant())
    }

    /// Gauges are only worth setting when somebody looks.
    pub(crate) fn note_load(&self) {
        self.metrics.note_load(&self.load());
    }

    fn permit(self: &Arc<Self>, now: Instant) -> Permit {
        Permit {
            admission: Arc::clone(self),
            admitted: now,
            ended: None,
            sample: None,
        }
    }

    /// A place is free: those that get it, and those for whom it comes too late, are told.
    fn leave(self: &Arc<Self>, sample: Option<Sample>, now: Instant) {
        let mut told = Vec::new();
        self.gate.lock().leave(sample, now, &mut told);
        self.tell(told);
    }

    /// Outside of the lock: a permit that nobody is there to take is given back, which takes it.
    fn tell(self: &Arc<Self>, told: impl IntoIterator<Item = Told<Handle>>) {
        for Told { handle, result } in told {
            let result = result.map(|()| self.permit(clock::instant()));
            // Whoever has stopped waiting meanwhile does not want to know, and its permit is dropped here.
            let _ = handle.send(result);
        }
    }
}

const fn told_at_once(answer: Answer) -> bool {
    !matches!(answer, Answer::Waits { .. })
}

/// A place among the decisions in progress, given back when this is dropped, wherever that happens.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    admitted: Instant,
    /// When it was decided, if it was.
    ended: Option<Instant>,
    sample: Option<Sample>,
}

impl Permit {
    /// The decision is made. `served` is how long it took without waiting for a thread, `None` if that says nothing of
    /// the load: a model that did not answer is not slow for want of a smaller limit.
    pub(crate) fn decided(mut self, served: Option<Duration>) {
        let now = clock::instant();
        self.ended = Some(now);
        self.sample = served.map(|served| Sample {
            served,
            held: now.saturating_duration_since(self.admitted),
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.ended.unwrap_or_else(clock::instant);
        self.admission.leave(self.sample, now);
    }
}

/// A place in the queue, given up when this is dropped.
struct Place<'a> {
    admission: &'a Arc<Admission>,
    ticket: Ticket,
}

impl Place<'_> {
    async fn wait(
        self,
        mut told: oneshot::Receiver<Result<Permit, Shed>>,
        until: Instant,
    ) -> Result<Permit, Shed> {
        if let Ok(told) = tokio::time::timeout_at(until.into(), &mut told).await {
            return told.unwrap_or(Err(Shed::TimedOut));
        }
        let now = clock::instant();
        if self.admission.gate.lock().time_out(self.ticket, now) {
            return Err(Shed::TimedOut);
        }
        // It was told in this very moment.
        told.await.unwrap_or(Err(Shed::TimedOut))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.admission.gate.lock().give_up(self.ticket);
    }
}
