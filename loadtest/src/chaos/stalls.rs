//! The generator's own pauses, which make answers look late that were not.
//!
//! A thread sleeps a millisecond at a time and keeps every span in which it was not woken: the process was not scheduled
//! then, or not enough of it. A late answer that overlaps with one is counted apart, and never left out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::lock;

const TICK: Duration = Duration::from_millis(1);

/// Timers of an idle machine are up to a millisecond late; five times that is a pause.
const STALL_MIN: Duration = Duration::from_millis(5);

/// Spans that are kept: one every ten milliseconds of a quarter of an hour.
const SPANS_MAX: usize = 90_000;

/// A running watchdog; it ends when this is dropped.
pub(super) struct Stalls {
    spans: Arc<Mutex<Vec<Span>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// From when the thread should have run to when it did.
type Span = (Instant, Instant);

impl Stalls {
    pub(super) fn watch() -> Result<Self> {
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (sink, stopped) = (Arc::clone(&spans), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("stalls".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    let due = Instant::now() + TICK;
                    std::thread::sleep(TICK);
                    let now = Instant::now();
                    if now.saturating_duration_since(due) >= STALL_MIN {
                        let mut spans = lock(&sink);
                        if spans.len() < SPANS_MAX {
                            spans.push((due, now));
                        }
                    }
                }
            })?;
        Ok(Self {
            spans,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.spans).len()
    }

    pub(super) fn longest(&self) -> Duration {
        let spans = lock(&self.spans);
        let lengths = spans.iter().map(|(from, to)| to.duration_since(*from));
        lengths.max().unwrap_or_default()
    }

    /// How many of these spans overlap with a pause.
    pub(super) fn overlapping(&self, spans: &[Span]) -> u64 {
        let stalls = lock(&self.spans);
        let overlaps = |&&(from, to): &&Span| {
            // In order of time, as they were kept.
            let first = stalls.partition_point(|stall| stall.1 <= from);
            stalls.get(first).is_some_and(|stall| stall.0 < to)
        };
        spans.iter().filter(overlaps).count() as u64
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spans_that_overlap_a_pause_are_blamed_on_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let stalls = Stalls {
            spans: Arc::new(Mutex::new(vec![(at(100), at(120)), (at(300), at(310))])),
            stop: Arc::default(),
            thread: None,
        };
        let spans = [
            (at(0), at(100)),
            (at(90), at(101)),
            (at(119), at(200)),
            (at(120), at(300)),
            (at(200), at(400)),
        ];
        assert_eq!(stalls.overlapping(&spans), 3);
        assert_eq!(stalls.longest(), Duration::from_millis(20));
    }
}
