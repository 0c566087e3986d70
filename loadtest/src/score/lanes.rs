//! Lanes: what shares a key is done one after the other, everything else side by side.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How much may wait in one lane. When a lane is full the sender waits, and the wait shows in the latency.
const LANE_ITEMS_MAX: usize = 64;

/// A fixed number of workers with a bounded queue each; the number bounds what is in flight.
pub(crate) struct Lanes<T> {
    queues: Queues<T>,
    workers: Vec<JoinHandle<Result<()>>>,
}

/// The ends of all lanes at which items are put in.
pub(crate) struct Queues<T>(Vec<mpsc::Sender<T>>);

impl<T: Send + 'static> Lanes<T> {
    /// Starts the workers on the current runtime. Each reads its queue until that is closed.
    pub(crate) fn start<F>(count: usize, worker: impl Fn(usize, mpsc::Receiver<T>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut queues = Vec::new();
        let mut workers = Vec::new();
        for lane in 0..count.max(1) {
            let (sender, receiver) = mpsc::channel(LANE_ITEMS_MAX);
            queues.push(sender);
            workers.push(tokio::spawn(worker(lane, receiver)));
        }
        Self {
            queues: Queues(queues),
            workers,
        }
    }

    /// Runs `feeder` on a thread of its own, so that it may block, and returns when all it put in is done.
    pub(crate) async fn feed(self, feeder: impl FnOnce(&Queues<T>) + Send + 'static) -> Result<()> {
        let Self { queues, workers } = self;
        // The queues are dropped behind the feeder, which lets the workers end.
        let feeder = tokio::task::spawn_blocking(move || feeder(&queues));
        let mut done = Ok(());
        for worker in workers {
            let result = worker.await.context("a worker panicked");
            done = done.and(result.flatten());
        }
        feeder.await.context("the feeder panicked")?;
        done
    }
}

impl<T> Queues<T> {
    /// Puts an item into the lane of its key and blocks while that is full. `false` if the lane has failed; its
    /// error is on the way.
    pub(crate) fn send(&self, key: &str, item: T) -> bool {
        self.0[lane_of(key, self.0.len())]
            .blocking_send(item)
            .is_ok()
    }
}

/// The lane of a key: FNV-1a, which spreads ids well enough and is the same everywhere.
fn lane_of(key: &str, lanes: usize) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % lanes.max(1) as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn what_shares_a_key_keeps_its_lane_and_its_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let lanes = Lanes::start(4, move |lane, mut queue: mpsc::Receiver<(usize, usize)>| {
            let sink = Arc::clone(&sink);
            async move {
                while let Some((card, number)) = queue.recv().await {
                    tokio::task::yield_now().await;
                    sink.lock().unwrap().push((card, lane, number));
                }
                Ok(())
            }
        });
        let feed = |queues: &Queues<_>| {
            for number in 0..200 {
                let card = number % 7;
                assert!(queues.send(&format!("card-{card}"), (card, number)));
            }
        };
        lanes.feed(feed).await.unwrap();

        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 200);
        let mut last = HashMap::new();
        for &(card, lane, number) in seen.iter() {
            if let Some((before, earlier)) = last.insert(card, (lane, number)) {
                assert_eq!(before, lane, "card {card} stays in its lane");
                assert!(earlier < number, "card {card} keeps its order");
            }
        }
        let lanes_used: std::collections::HashSet<_> =
            last.values().map(|(lane, _)| lane).collect();
        assert!(lanes_used.len() > 1, "different cards use different lanes");
    }

    #[tokio::test]
    async fn a_worker_that_fails_stops_the_feeder_and_its_error_is_returned() {
        let lanes = Lanes::start(1, |_, mut queue: mpsc::Receiver<u32>| async move {
            let Some(first) = queue.recv().await else {
                return Ok(());
            };
            bail!("cannot do {first}")
        });
        let feed = |queues: &Queues<_>| while queues.send("card", 7) {};
        let error = lanes.feed(feed).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot do 7");
    }
}
