//! Live traffic: each transaction is scored when it is due and then published, as the payment system would.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_proto::v1;

use super::findings::Findings;
use crate::generate::{Event, Generated};
use crate::kafka::Publisher;
use crate::lock;
use crate::progress::Progress;
use crate::score::{Arrivals, Client, Lanes, Pace, Queues, Tally};

/// Cards are spread over this many lanes, which bounds what is in flight. A card's next transaction is scored
/// only after its former one was answered; different cards rarely wait for each other.
const LANES: usize = 512;

/// The service under load.
pub(super) struct Live {
    client: Client,
    publisher: Arc<Publisher>,
    /// Held only to count.
    seen: Mutex<Seen>,
}

/// What came back, over all lanes.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) tally: Tally,
    pub(super) findings: Findings,
    /// Ids of the transactions that were answered.
    pub(super) answered: Vec<String>,
}

/// An event and when it is due.
type Due = (Instant, Event);

impl Live {
    pub(super) fn new(client: Client, publisher: Arc<Publisher>) -> Self {
        Self {
            client,
            publisher,
            seen: Mutex::new(Seen::default()),
        }
    }

    /// Plays all events and returns when the last one is done.
    pub(super) async fn play(
        self,
        events: Vec<Event>,
        rate: f64,
        arrivals: Arrivals,
        seed: u64,
    ) -> Result<Seen> {
        let stage = Arc::new(self);
        let lanes = Lanes::start(LANES, |lane, queue| {
            run_lane(lane, queue, Arc::clone(&stage))
        });
        lanes
            .feed(move |queues| {
                let pace = Pace::new(Instant::now(), rate, arrivals, seed);
                keep_pace(events, pace, queues);
            })
            .await?;
        Ok(std::mem::take(&mut *lock(&stage.seen)))
    }
}

fn keep_pace(events: Vec<Event>, mut pace: Pace, queues: &Queues<Due>) {
    let total = events.iter().filter(|event| event.is_transaction()).count();
    let mut progress = Progress::new("live", total as u64);
    let mut due = Instant::now();
    let mut asked = 0;
    for event in events {
        if event.is_transaction() {
            due = pace.sleep_until_next();
            asked += 1;
            progress.set(asked);
        }
        let card = event.card_id().to_owned();
        if !queues.send(&card, (due, event)) {
            return;
        }
    }
    progress.finish();
}

async fn run_lane(lane: usize, mut queue: mpsc::Receiver<Due>, stage: Arc<Live>) -> Result<()> {
    while let Some((due, event)) = queue.recv().await {
        match event {
            Event::Transaction(generated) => {
                let event = score(lane, due, *generated, &stage.client, &stage.seen).await;
                stage.publisher.transaction(&event).await?;
            }
            Event::Label(known) => stage.publisher.label(&known.card_id, &known.label).await?,
        }
    }
    Ok(())
}

/// Scores one transaction and returns what the payment system then publishes. Without an answer the issuer
/// decides alone.
async fn score(
    lane: usize,
    due: Instant,
    generated: Generated,
    client: &Client,
    seen: &Mutex<Seen>,
) -> v1::TransactionEvent {
    let Generated {
        mut event,
        amount_euro,
        fraud,
        ..
    } = generated;
    let transaction = event.transaction.clone();
    let id = transaction
        .as_ref()
        .map(|transaction| transaction.transaction_id.clone());
    let request = v1::ScoreRequest {
        transaction,
        include_features: false,
    };
    let answer = client.score(lane, due, request).await;
    let outcome = answer.result.as_ref().ok().map(v1::ScoreResponse::outcome);
    let mut seen = lock(seen);
    seen.tally.count(&answer);
    seen.findings.count(fraud, outcome, amount_euro);
    if answer.result.is_ok() {
        seen.answered.extend(id);
    }
    event.authorized &= outcome != Some(v1::Outcome::Decline);
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Config, Generator};
    use crate::score::fake;

    #[tokio::test]
    async fn what_is_declined_is_published_as_not_authorized() {
        let service = fake::start().await;
        let client = service.client(1).await;
        let seen = Mutex::new(Seen::default());
        let some = Generator::new(Config::new(50, 3, 1)).find_map(|event| match event {
            Event::Transaction(generated) if generated.event.authorized => Some(*generated),
            _ => None,
        });
        for (id, authorized) in [("approved", true), ("declined", false), ("refuse", true)] {
            let mut generated = some.clone().unwrap();
            generated.event.transaction.as_mut().unwrap().transaction_id = id.to_owned();
            let event = score(0, Instant::now(), generated, &client, &seen).await;
            assert_eq!(event.authorized, authorized, "{id}");
        }
        let result = seen.into_inner().unwrap();
        assert_eq!(result.answered, ["approved", "declined"]);
        assert_eq!(service.ids(), ["approved", "declined", "refuse"]);
        assert_eq!((result.tally.answered, result.tally.ended()), (2, 3));
    }
}
