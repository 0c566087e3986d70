//! A steady load, open loop, for as long as something else goes on: changes of the policy, most often.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_proto::v1;

use crate::generate;
use crate::score::{Answer, Arrivals, Client, Lanes, Pace};

/// Made before the clock starts and sent round after round, each with ids and times of its own.
const TRANSACTIONS: usize = 100_000;

/// How much is asked, and by how many.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Load {
    /// Requests per second.
    #[arg(long, default_value_t = 5_000.0)]
    pub(crate) rate: f64,
    /// gRPC connections.
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: usize,
    /// At most this many requests in flight.
    #[arg(long, default_value_t = 1_024)]
    pub(crate) in_flight: usize,
    /// How many cards pay.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) cards: u32,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Load {
    /// Asks until `meanwhile` is over, and returns what that gave once everything asked is answered. What `mark` says when
    /// a request is sent comes back with its answer, to `note`, which many tasks call.
    pub(crate) async fn during<M: Send + 'static, T>(
        &self,
        (client, include_features): (Client, bool),
        mark: impl Fn() -> M + Send + 'static,
        note: impl Fn(M, Answer) + Send + Sync + 'static,
        meanwhile: impl Future<Output = T>,
    ) -> Result<T> {
        let transactions = generate::transactions(self.cards, self.seed, TRANSACTIONS);
        let ended = Arc::new(AtomicBool::new(false));
        let note = Arc::new(note);
        let lanes = Lanes::start(self.in_flight, |lane, queue| {
            run_lane(
                lane,
                queue,
                client.clone(),
                include_features,
                Arc::clone(&note),
            )
        });
        let mut pace = Pace::new(Instant::now(), self.rate, Arrivals::Poisson, self.seed);
        let feeding = Arc::clone(&ended);
        let feed = lanes.feed(move |queues| {
            for transaction in rounds(&transactions) {
                if feeding.load(Ordering::Relaxed) {
                    return;
                }
                let due = pace.sleep_until_next();
                let card = transaction.card_id.clone();
                if !queues.send(&card, (due, mark(), transaction)) {
                    return;
                }
            }
        });
        let watched = async {
            let result = meanwhile.await;
            ended.store(true, Ordering::Relaxed);
            result
        };
        let (fed, result) = tokio::join!(feed, watched);
        fed.map(|()| result)
    }

    pub(crate) async fn connect(&self, address: &str, deadline: Duration) -> Result<Client> {
        Client::connect(address, self.connections, deadline).await
    }
}

/// The transactions again and again, each round later than the one before by as long as one lasts.
fn rounds(transactions: &[v1::Transaction]) -> impl Iterator<Item = v1::Transaction> + '_ {
    let seconds = |transaction: Option<&v1::Transaction>| {
        transaction
            .and_then(|transaction| transaction.event_time)
            .map_or(0, |at| at.seconds)
    };
    let lasts = seconds(transactions.last()) - seconds(transactions.first()) + 1;
    (0..).flat_map(move |round: i64| {
        transactions.iter().map(move |transaction| {
            let mut transaction = transaction.clone();
            transaction.transaction_id += &format!("-{round}");
            if let Some(at) = &mut transaction.event_time {
                at.seconds += round * lasts;
            }
            transaction
        })
    })
}

async fn run_lane<M>(
    lane: usize,
    mut queue: mpsc::Receiver<(Instant, M, v1::Transaction)>,
    client: Client,
    include_features: bool,
    note: Arc<impl Fn(M, Answer)>,
) -> Result<()> {
    while let Some((due, mark, transaction)) = queue.recv().await {
        let request = v1::ScoreRequest {
            transaction: Some(transaction),
            include_features,
        };
        note(mark, client.score(lane, due, request).await);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_repeat_nothing_and_time_goes_on() {
        let transaction = |id: &str, seconds| v1::Transaction {
            transaction_id: id.to_owned(),
            event_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..v1::Transaction::default()
        };
        let once = [transaction("a", 100), transaction("b", 109)];
        let shown: Vec<_> = rounds(&once)
            .take(5)
            .map(|transaction| {
                let at = transaction.event_time.unwrap().seconds;
                format!("{} {at}", transaction.transaction_id)
            })
            .collect();
        assert_eq!(
            shown,
            ["a-0 100", "b-0 109", "a-1 110", "b-1 119", "a-2 120"]
        );
    }
}
