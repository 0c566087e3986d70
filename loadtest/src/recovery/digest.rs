//! What a service says of all that the log has brought, by which it is compared with another one.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::log::{Ends, LABELS, Log, TRANSACTIONS};
use crate::service::Service;

/// How long a digest may take: seconds at ten million events.
const ANSWER_MAX: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(10);

/// `GET /store/digest`.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct Digest {
    digest: String,
    pub(super) entities: u64,
    pub(super) events: u64,
    pub(super) labels: u64,
    watermark_us: i64,
    positions: Positions,
}

#[derive(Deserialize, Clone, Debug)]
struct Positions {
    transactions: Vec<Position>,
    labels: Vec<Position>,
}

#[derive(Deserialize, Clone, Debug)]
struct Position {
    partition: i32,
    next: i64,
}

impl Digest {
    /// Whether two services know the same. Where in the log each has learned it is not compared.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let all = |of: &Self| (of.digest.clone(), of.entities, of.events, of.labels);
        (all(self), self.watermark_us) == (all(other), other.watermark_us)
    }

    /// Whether everything before these ends is in it.
    fn stands_at(&self, transactions: &Ends, labels: &Ends) -> bool {
        let covers = |positions: &[Position], ends: &Ends| {
            ends.iter().all(|(partition, (_, end))| {
                let known = positions.iter().find(|known| known.partition == *partition);
                known.map_or(0, |known| known.next) >= *end
            })
        };
        covers(&self.positions.transactions, transactions) && covers(&self.positions.labels, labels)
    }
}

/// That of a service once it has read all that its topics have now. Nothing may be published meanwhile.
pub(super) async fn digest(service: &Service, log: &Log, patience: Duration) -> Result<Digest> {
    let read = log.clone();
    let ends = move || Ok::<_, anyhow::Error>((read.ends(TRANSACTIONS)?, read.ends(LABELS)?));
    let (transactions, labels) = tokio::task::spawn_blocking(ends).await??;
    let began = Instant::now();
    loop {
        let said = service
            .admin
            .json::<Digest>("/store/digest", ANSWER_MAX)
            .await;
        match said {
            Ok(digest) if digest.stands_at(&transactions, &labels) => return Ok(digest),
            Ok(_) if began.elapsed() > patience => {
                bail!("the service has not read what its topics have after {patience:?}")
            }
            Err(error) if began.elapsed() > patience => {
                return Err(error).context(format!("no digest after {patience:?}"));
            }
            // It is still reading, and says so with an error.
            Ok(_) | Err(_) => sleep(POLL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(sum: &str, events: u64, next: i64) -> Digest {
        let at = |partition| Position { partition, next };
        Digest {
            digest: sum.to_owned(),
            entities: 1,
            events,
            labels: 0,
            watermark_us: 7,
            positions: Positions {
                transactions: vec![at(0), at(1)],
                labels: vec![at(0)],
            },
        }
    }

    #[test]
    fn services_are_the_same_wherever_they_stand_and_differ_by_what_they_know() {
        assert!(digest("ab", 3, 5).is_same(&digest("ab", 3, 9)));
        assert!(!digest("ab", 3, 5).is_same(&digest("ac", 3, 5)));
        assert!(!digest("ab", 3, 5).is_same(&digest("ab", 4, 5)));
    }

    #[test]
    fn everything_is_in_it_once_every_partition_has_been_read_to_its_end() {
        let ends = |ends: &[(i32, i64)]| -> Ends {
            let ends = ends.iter();
            ends.map(|&(partition, end)| (partition, (0, end)))
                .collect()
        };
        let stands = digest("ab", 3, 5);
        assert!(stands.stands_at(&ends(&[(0, 5), (1, 3)]), &ends(&[(0, 0)])));
        assert!(!stands.stands_at(&ends(&[(0, 6)]), &ends(&[])));
        assert!(!stands.stands_at(&ends(&[]), &ends(&[(1, 1)])));
    }
}
