//! Lanes: what shares a key is done one after the other, everything else side by side.

use std::future::Future;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How much may wait in one lane. When a lane is full the sender waits, and the wait shows in the latency.
const LANE_ITEMS_MAX: usize = 64;

/// A fixed number of workers with a bounded queue each; the number bounds what is in flight.
pub struct Lanes<T, R> {
    queues: Vec<mpsc::Sender<T>>,
    workers: Vec<JoinHandle<Result<R>>>,
}

impl<T: Send + 'static, R: Send + 'static> Lanes<T, R> {
    /// Starts the workers on the current runtime. Each reads its queue until that is closed.
    pub fn start<F>(count: usize, worker: impl Fn(usize, mpsc::Receiver<T>) -> F) -> Self
    where
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let mut lanes = Self {
            queues: Vec::new(),
            workers: Vec::new(),
        };
        for lane in 0..count.max(1) {
            let (sender, receiver) = mpsc::channel(LANE_ITEMS_MAX);
            lanes.queues.push(sender);
            lanes.workers.push(tokio::spawn(worker(lane, receiver)));
        }
        lanes
    }

    /// The sending ends, by lane.
    pub fn queues(&self) -> Vec<mpsc::Sender<T>> {
        self.queues.clone()
    }

    /// Lets the workers finish what is queued and returns what each made of it. All other senders must be gone.
    pub async fn finish(self) -> Result<Vec<R>> {
        drop(self.queues);
        let mut results = Vec::new();
        for worker in self.workers {
            results.push(worker.await.context("a worker panicked")??);
        }
        Ok(results)
    }
}

/// The lane of a key: FNV-1a, which spreads ids well enough and is the same everywhere.
pub fn lane_of(key: &str, lanes: usize) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % lanes.max(1) as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_shares_a_key_keeps_its_order() {
        let lanes = Lanes::start(
            4,
            |_, mut queue: mpsc::Receiver<(String, u32)>| async move {
                let mut seen = Vec::new();
                while let Some(item) = queue.recv().await {
                    tokio::task::yield_now().await;
                    seen.push(item);
                }
                Ok(seen)
            },
        );
        let queues = lanes.queues();
        for number in 0..200 {
            let key = format!("card-{}", number % 7);
            queues[lane_of(&key, 4)].send((key, number)).await.unwrap();
        }
        drop(queues);
        let results = lanes.finish().await.unwrap();
        assert_eq!(results.iter().map(Vec::len).sum::<usize>(), 200);
        for key in (0..7).map(|card| format!("card-{card}")) {
            let of_key = |lane: &&Vec<(String, u32)>| lane.iter().any(|item| item.0 == key);
            assert_eq!(
                results.iter().filter(of_key).count(),
                1,
                "{key} is in one lane"
            );
        }
        for lane in &results {
            assert!(lane.windows(2).all(|pair| pair[0].1 < pair[1].1));
        }
    }
}
